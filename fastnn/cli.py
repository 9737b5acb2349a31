"""The command `fastnn`: train, predict, export, info, warmup. Bad input ends it with one sentence and a status other than 0."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

import kernels

from . import __version__, validation
from .batches import split
from .callbacks import EarlyStopping
from .initializers import INITIALIZERS
from .layers import BatchNorm, Dense, Dropout, GaussianNoise, Layer, LayerNorm, PReLU, Residual, Scale, Standardize
from .losses import loss_for
from .metrics import METRICS, checked_metrics
from .network import Sequential
from .optimizers import OPTIMIZERS, FullBatchOptimizer, Optimizer
from .reports import class_report
from .schedules import Cosine, CosLog4, FlatCosine, LearningRate, Linear, OneCycle

if TYPE_CHECKING:
    from .history import History
    from .problems import Problem
    from .validation import Array

# Those that are said by their highest rate: the others need numbers of their own.
SCHEDULES: dict[str, Any] = {
    "constant": float,
    "linear": Linear,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "flat_cosine": FlatCosine,
    "coslog4": CosLog4,
}
# Where Adam wants the rate of a recipe, the others want this.
LEARNING_RATES = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adagrad": 0.01}
# The options that only some sources read: elsewhere they would be ignored in silence.
READ_BY = {
    "data_dir": ("mnist", "fashion-mnist"),
    "target": (".csv",),
    "header": (".csv",),
    "ignore": (".csv",),
    "task": (".csv", ".npz"),
    "test": (".csv", ".npz"),
    "test_split": (".csv", ".npz"),
    "format": (".csv", ".npz"),
}
STEP_OPTIONS = ("learning_rate", "schedule", "batch_size", "dropout", "weight_decay")  # which optimizers over all rows at once do without
FORMATS = ("csv", "npz")
RECIPE = "(default: depends on the data)"
NAMES = {"rmse": "RMSE", "mae": "MAE", "r2": "R2"}
CPU_FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512vl", "avx512bf16", "neon", "sve", "sve2")
EXPORTS: dict[str, Any] = {"c": Sequential.to_c, "onnx": Sequential.to_onnx, "npz": Sequential.to_npz}
INTERRUPTED = 130
TEST_SPLIT = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0 for success, 1 for bad input, 130 after Ctrl-C; a wrong option leaves with status 2.
    """
    options = parser().parse_args(arguments)
    try:
        status: int = options.command(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of our output has gone, as in `fastnn info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error)
    except (ImportError, TypeError, ValueError) as error:
        return _fail(error)
    except MemoryError as error:
        return _fail(f"network and data must fit into the memory; got: {error or 'too little'}. Take smaller --layers or fewer rows.")
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)


def _fail(message: object, status: int = 1) -> int:
    print(f"fastnn: {message}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, without the usage, and guesses no option from its beginning."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog="fastnn", description="Train multilayer perceptrons on the CPU.")
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="train a network and test it"))
    predict = commands.add_parser("predict", help="print what a saved network predicts, one line a row")
    predict.add_argument("model", metavar="MODEL", help="file written by fastnn train --save")
    predict.add_argument("file", metavar="FILE", help="npz file with an array X, or CSV file with the columns trained on")
    predict.add_argument(
        "--header", action=argparse.BooleanOptionalAction, default=None, help="whether the CSV file begins with names (default: as the one trained on)"
    )
    _add_format(predict)
    predict.add_argument("--out", metavar="FILE", help="write the lines to a file")
    predict.add_argument("--threads", type=int, help="number of threads (default: all CPUs)")
    predict.set_defaults(command=_predict)
    export = commands.add_parser("export", help="write a saved network as C source, as an ONNX file, or its arrays")
    export.add_argument("model", metavar="MODEL", help="file written by fastnn train --save")
    export.add_argument("--format", choices=EXPORTS, required=True, help="c: a C99 file without dependencies; onnx: needs the package onnx; npz: arrays")
    export.add_argument("-o", "--out", metavar="FILE", help="default: the name of MODEL with the ending of the format")
    export.set_defaults(command=_export)
    info = commands.add_parser("info", help="describe this machine as the kernels see it")
    info.set_defaults(command=_info)
    warmup = commands.add_parser("warmup", help="compile all kernels into the cache")
    warmup.set_defaults(command=_warmup)
    return parser


def _add_format(parser: Any) -> None:
    parser.add_argument("--format", choices=FORMATS, help="of a file whose name does not end as usual")


def _add_train(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn train`."""
    parser.add_argument(
        "source",
        nargs="?",
        default="digits",
        metavar="SOURCE",
        help="digits, mnist, fashion-mnist, or a file: NAME.csv, .tsv or .txt, also with .gz, .parquet, .feather or .arrow, or NAME.npz with arrays X and y, "
        "and X_test and y_test to test on rows of their own",
    )
    parser.set_defaults(command=_train)
    data = parser.add_argument_group("data")
    _add_format(data)
    data.add_argument("--data-dir", metavar="FOLDER", help="folder with mnist/ and fashion_mnist/ (default: FASTNN_DATA_DIR, else they are downloaded)")
    data.add_argument("--target", metavar="COLUMN", help="target of a CSV file: name, or number counted from 0 (default: the last)")
    data.add_argument("--header", action=argparse.BooleanOptionalAction, default=None, help="whether a CSV file begins with names (default: found out)")
    data.add_argument("--ignore", type=_names, metavar="COLUMN,...", help="columns of a CSV file to leave out")
    data.add_argument(
        "--task",
        choices=["classification", "regression"],
        help="default: classes are text, whole numbers of two different values, or of at most 50 with five rows each "
        "on average, and, in an npz file, rows with a single 1 among zeros",
    )
    data.add_argument(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="give numbers mean 0 and deviation 1; the network that is saved does it itself (default: yes; images are divided by their largest value)",
    )
    data.add_argument("--test", metavar="FILE", help="rows to test on, in a file like the one to train on")
    data.add_argument(
        "--test-split",
        type=float,
        metavar="SHARE",
        help=f"share of a file's rows to test on, unless --test or an npz file with X_test and y_test gives them (default: {TEST_SPLIT:g})",
    )
    data.add_argument("--validation-split", type=float, metavar="SHARE", help=f"share of the training rows held out for validation {RECIPE}")
    network = parser.add_argument_group("network")
    network.add_argument("--layers", type=_sizes, metavar="N,N,...", help=f"units of the hidden layers, 'none' for no hidden layer {RECIPE}")
    network.add_argument("--activation", default="relu", help="of the hidden layers (default: %(default)s)")
    network.add_argument("--dropout", type=float, metavar="RATE", help=f"after each hidden layer {RECIPE}")
    network.add_argument("--initializer", help=f"of the weights: {', '.join(INITIALIZERS)} {RECIPE}")
    network.add_argument("--dtype", default="float32", help="float32, float64 or bfloat16 (default: %(default)s)")
    training = parser.add_argument_group("training")
    training.add_argument("--loss", help="default: cross_entropy for classes, squared_error for numbers")
    training.add_argument("--optimizer", default="adam", help=f"{', '.join(OPTIMIZERS)} (default: %(default)s)")
    training.add_argument("--learning-rate", type=float, metavar="RATE", help=RECIPE)
    training.add_argument("--schedule", help=f"of the learning rate: {', '.join(SCHEDULES)} {RECIPE}")
    training.add_argument("--epochs", type=int, help=RECIPE)
    training.add_argument("--batch-size", type=_batch_size, metavar="N", help=f"rows of a minibatch, 'all' for all of them {RECIPE}")
    training.add_argument("--l2", type=float, default=0.0, metavar="FACTOR", help="add FACTOR * sum of the squared weights to the loss (default: %(default)s)")
    training.add_argument("--weight-decay", type=float, metavar="FACTOR", help="of the optimizer (default: its own)")
    training.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help=f"end after N epochs without a better loss of the validation rows; the best epoch is kept {RECIPE}",
    )
    training.add_argument(
        "--metrics",
        type=_names,
        metavar="NAME,...",
        help=f"by which validation and test rows are judged (default: accuracy, or rmse,mae,r2), of {', '.join(METRICS)}",
    )
    training.add_argument("--balanced", action="store_true", help="give every class the same share of the loss")
    training.add_argument("--seed", type=int, default=0, help="of weights, shuffling and dropout (default: %(default)s)")
    training.add_argument("--threads", type=int, help="the result does not depend on it (default: all CPUs)")
    output = parser.add_argument_group("output")
    output.add_argument("--quiet", action="store_true", help="print the result of the test only")
    output.add_argument("--plot", metavar="FILE", help="draw the curves into a file such as curves.png")
    output.add_argument("--checkpoint", metavar="FOLDER", help="keep checkpoints of the training in a folder, one after each epoch")
    output.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    output.add_argument("--save", metavar="FILE", help="save the network")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _sizes(text: str) -> tuple[int, ...]:
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(validation.integer("units", int(size), 1) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be sizes such as 500,500, or none; got {text!r}.") from None


def _batch_size(text: str) -> int | str:
    """Return a number of rows, or "all"."""
    try:
        return "all" if text.strip().lower() == "all" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of rows such as 32, or all; got {text!r}.") from None


# fastnn train


def _train(options: argparse.Namespace) -> int:
    """Train, test, and write what was asked for; everything that can be refused is refused before the training."""
    from .problems import Reading, check_range, load_problem

    _check_files(options)
    _check_source(options)
    if options.test:
        _must_be_left_out(options, "test_split", "--test, whose rows are the test")
    target, test_split = options.target or "-1", TEST_SPLIT if options.test_split is None else options.test_split
    table = Reading(target, options.header, tuple(options.ignore or ()), options.format)
    problem = load_problem(options.source, options.data_dir, table, options.task, test_split, options.test)
    _fill_in(options, problem)
    rows, held_out = split(problem.y, options.validation_split, "validation_split")
    data = (problem.X[rows], problem.y[rows]) if len(held_out) else (problem.X, problem.y)
    network = _network(options, problem, *data)
    loss = loss_for(options.loss, network.last_activation)
    options.metrics = options.metrics or (["accuracy"] if problem.classes else list(NAMES))
    checked_metrics(options.metrics, loss)
    for X, y, name in ((problem.X, problem.y, ""), (problem.X_test, problem.y_test, "_test")):
        if len(X):
            check_range(f"X{name} of {options.source}", X, *network.scaling, network.dtype)
            network.check_data(loss, X, _targets(options, problem, y), f"X{name}", f"y{name} of {options.source}")
    if not options.quiet:
        print(_description(options, problem, network), flush=True)
    history = _fit(options, problem, network, data, (problem.X[held_out], problem.y[held_out]) if len(held_out) else None)
    network.metadata = {"classes": problem.classes, "columns": problem.columns}
    if len(problem.X_test):
        _test(options, problem, network)
    if options.save:
        network.save(options.save)
    if options.plot and history.epochs:
        from .plots import save_curves

        save_curves(history.history, options.plot)
    return INTERRUPTED if history.interrupted else 0


def _check_source(options: argparse.Namespace) -> None:
    """Raise for an option that the source does not read."""
    from .problems import Reading

    reading = Reading(format=options.format)
    kind = ".csv" if reading.is_table(options.source) else ".npz" if reading.is_npz(options.source) else options.source
    if kind in (".csv", ".npz", "digits", "mnist", "fashion-mnist"):
        for name, kinds in READ_BY.items():
            if kind not in kinds:
                _must_be_left_out(options, name, f"{options.source}, it is for {' and '.join(kinds)}")


def _test(options: argparse.Namespace, problem: Problem, network: Sequential) -> None:
    """Print how good the network is on the test rows."""
    y = _targets(options, problem, problem.y_test)
    if problem.classes and not options.quiet:
        outputs = network.predict(problem.X_test, n_threads=options.threads)
        print(f"\n{class_report(problem.classes, y, outputs)}\n")
    found = network.evaluate(problem.X_test, y, n_threads=options.threads, metrics=options.metrics)
    for name in options.metrics:
        print(f"test {NAMES.get(name, name)} {found[name]:{'.4f' if METRICS[name].upwards else '.6g'}}", flush=True)


def _must_be_left_out(options: argparse.Namespace, name: str, reason: str) -> None:
    """Raise where an option was given that would be ignored."""
    value, harmless = getattr(options, name), {"dropout": 0.0, "batch_size": "all"}
    if value is not None and value != harmless.get(name):
        raise ValueError(f"{name} must be left out for {reason}; got {value!r}.")


def _check_files(options: argparse.Namespace) -> None:
    """Raise before the training where its results could not be written after it."""
    for name in ("save", "plot"):
        path = getattr(options, name)
        if path and (os.path.isdir(path) or not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK)):
            raise ValueError(f"{name} must name a file in a folder that exists and can be written; got {path!r}.")
    if options.plot:
        from .plots import check_plot

        check_plot(options.plot)


def _fill_in(options: argparse.Namespace, problem: Problem) -> None:
    """Give the options that were left out the values of the problem's recipe."""
    recipe = problem.recipe
    if _takes_all_rows(options):
        for name in STEP_OPTIONS:
            _must_be_left_out(options, name, f"{options.optimizer}, which takes all rows at once")
        options.dropout = 0.0
        options.validation_split = options.validation_split or 0.0
    if options.learning_rate is None:
        options.learning_rate = LEARNING_RATES.get(options.optimizer, recipe.learning_rate)
    for name in ("layers", "dropout", "schedule", "epochs", "batch_size", "validation_split", "initializer"):
        if getattr(options, name) is None:
            setattr(options, name, getattr(recipe, name))
    if options.patience is not None and options.validation_split == 0:
        raise ValueError("patience must be left out without rows to judge on; got it without --validation-split.")
    if options.patience is None and options.validation_split > 0:
        options.patience = recipe.patience
    validation.number("learning_rate", options.learning_rate, 0.0)
    validation.number("dropout", options.dropout, 0.0, 1.0)
    validation.number("l2", options.l2, 0.0)
    if options.patience is not None:
        validation.integer("patience", options.patience, 1)
    if options.weight_decay is not None:
        validation.number("weight_decay", options.weight_decay, 0.0)


def _takes_all_rows(options: argparse.Namespace) -> bool:
    """Whether the optimizer takes all rows at once, and finds its steps itself."""
    return isinstance(OPTIMIZERS.get(options.optimizer), FullBatchOptimizer)


def _is_binary(options: argparse.Namespace, problem: Problem) -> bool:
    """Whether two classes are told apart by one output."""
    return options.loss == "binary_cross_entropy" and problem.classes is not None and len(problem.classes) == 2


def _targets(options: argparse.Namespace, problem: Problem, y: Array) -> Array:
    return y[:, None].astype(np.float64) if _is_binary(options, problem) else y


def _network(options: argparse.Namespace, problem: Problem, X: Array, y: Array) -> Sequential:
    """Return the network that the options describe, untrained; it knows mean and deviation of the training rows X and y."""
    layers: list[Layer] = []
    if problem.scale != 1:
        layers.append(Scale(problem.scale))
    elif options.standardize:
        layers.append(Standardize.of(X))
    dense = functools.partial(Dense, initializer=options.initializer, l2=options.l2)
    for units in options.layers:
        layers += [dense(units, options.activation)] + [Dropout(options.dropout)] * (options.dropout > 0)
    if _is_binary(options, problem):
        layers.append(dense(1, "sigmoid"))
    elif problem.classes is not None:
        layers.append(dense(len(problem.classes), "softmax"))
    else:
        layers.append(dense(problem.y.shape[1]))
        layers += [Standardize.of(y, targets=True)] * options.standardize
    return Sequential(layers, n_features=problem.X.shape[1], dtype=options.dtype, seed=options.seed)


def _optimizer(options: argparse.Namespace) -> Optimizer | FullBatchOptimizer:
    """Return the optimizer that the options describe."""
    optimizer = OPTIMIZERS[validation.choice("optimizer", options.optimizer, OPTIMIZERS)]
    if isinstance(optimizer, FullBatchOptimizer):
        return optimizer
    learning_rate: LearningRate = SCHEDULES[validation.choice("schedule", options.schedule, SCHEDULES)](options.learning_rate)
    decay = {} if options.weight_decay is None else {"weight_decay": options.weight_decay}
    return replace(optimizer, learning_rate=learning_rate, **decay)


def _fit(
    options: argparse.Namespace,
    problem: Problem,
    network: Sequential,
    data: tuple[Array, Array],
    held_out: tuple[Array, Array] | None,
) -> History:
    """Train the network, judge it on the rows that are held out where there are some, and print the throughput."""
    stop = None if options.patience is None else EarlyStopping(patience=options.patience)
    history = network.fit(
        data[0],
        _targets(options, problem, data[1]),
        loss=options.loss,
        optimizer=_optimizer(options),
        epochs=options.epochs,
        batch_size=None if options.batch_size == "all" else options.batch_size,
        class_weight="balanced" if options.balanced else None,
        validation_data=None if held_out is None else (held_out[0], _targets(options, problem, held_out[1])),
        metrics=options.metrics,
        n_threads=options.threads,
        verbose=int(not options.quiet),
        callbacks=[] if stop is None else [stop],
        checkpoint=options.checkpoint,
        resume=options.resume,
    )
    if history.interrupted:
        print(f"interrupted after {len(history.epochs)} of {options.epochs} epochs", file=sys.stderr)
    if history.epochs and not options.quiet:
        speed = len(data[0]) * len(history.epochs) / sum(history.seconds)
        print(f"trained {sum(history.seconds):.2f} s: {speed:,.0f} samples/s, {speed * network.flops_per_row / 1e9:.1f} GFLOP/s")
        if stop is not None and held_out is not None:
            print(f"kept epoch {stop.best_epoch} of {len(history.epochs)}, with the smallest loss of {len(held_out[0]):,} held-out rows, {stop.best:.4g}")
    return history


def _description(options: argparse.Namespace, problem: Problem, network: Sequential) -> str:
    """Say what is trained on what, in two lines."""
    task = f"{len(problem.classes)} classes" if problem.classes else f"{problem.y.shape[1]} numbers to predict" if problem.y.shape[1] > 1 else "regression"
    if problem.classes is None and options.standardize:
        task += "; the loss is that of standardized targets"
    sizes = "-".join(map(str, (network.n_features, *options.layers, network.n_outputs)))
    steps = "all rows at once" if _takes_all_rows(options) else f"rate {options.learning_rate:g} {options.schedule}, batch {options.batch_size}"
    return (
        f"{options.source}: {len(problem.X):,} training and {len(problem.X_test):,} test rows of {network.n_features} features, {task}\n"
        f"{sizes} {options.activation}, dropout {options.dropout:g}, {network.n_parameters:,} parameters, {network.precision}; "
        f"{options.optimizer}, {steps}, {validation.threads(options.threads)} threads"
    )


# fastnn predict


def _predict(options: argparse.Namespace) -> int:
    """Print a line for each row: the name of its class, or its numbers."""
    network = Sequential.load(options.model)
    outputs = network.predict(_features(options, network), n_threads=options.threads)
    classes = [_one_line(name) for name in network.metadata.get("classes") or ()]
    if network.last_activation in ("softmax", "log_softmax"):
        lines = [classes[label] if classes else str(label) for label in outputs.argmax(axis=1)]
    elif classes:
        lines = [classes[int(output >= 0.5)] for output in outputs[:, 0]]
    else:
        digits = 9 if outputs.dtype == np.float32 else 15
        lines = [",".join(f"{value:.{digits}g}" for value in row) for row in outputs]
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    else:
        print("\n".join(lines))
    return 0


def _one_line(name: str) -> str:
    """Return the name of a class with line breaks as two characters, so that a row is a line."""
    return name.replace("\r", "\\r").replace("\n", "\\n")


def _features(options: argparse.Namespace, network: Sequential) -> Array:
    """Return the rows of the file, of a table those columns that the network was trained on."""
    from .datasets import load_npz, load_table
    from .problems import Reading, flat_rows

    reading = Reading(format=options.format)
    if reading.is_npz(options.file):
        return flat_rows(load_npz(options.file)["X"])
    if not reading.is_table(options.file):
        endings = ".npz, .csv, .tsv or .txt (the last three also with .gz), .parquet, .feather or .arrow"
        raise ValueError(f"file must end in {endings}; got {options.file!r}. Or say --format csv.")
    return load_table(options.file, target=None, header=options.header, columns=network.metadata.get("columns")).X


# fastnn export


def _export(options: argparse.Namespace) -> int:
    """Write a network for others, and print where."""
    network = Sequential.load(options.model)
    out = options.out or f"{os.path.splitext(options.model)[0]}.{options.format}"
    if os.path.realpath(out) == os.path.realpath(options.model):
        raise ValueError(f"out must be another file than the model; got {out!r}.")
    EXPORTS[options.format](network, out)
    print(out)
    return 0


# fastnn info, fastnn warmup


def _info(options: argparse.Namespace) -> int:
    """Print what the kernels see of this machine, with a measured peak."""
    from importlib.metadata import version

    cpu, peak = kernels.cpu_info(), kernels.fma_peak()
    libraries = ", ".join(f"{package} {version(package)}" for package in ("numpy", "numba", "llvmlite"))
    for name, value in (
        ("fastnn", f"{__version__}, Python {sys.version.split()[0]}, {libraries}"),
        ("CPU", f"{cpu['model']} ({cpu['machine']}, {cpu['cpu']} to LLVM), {cpu['cpus']} CPUs"),
        ("CPU features", " ".join(feature for feature in CPU_FEATURES if feature in cpu["features"]) or "none that matters here"),
        ("vector width", f"{cpu['vector_bytes']} bytes"),
        ("bfloat16", "in one instruction" if cpu["bfloat16"] == "AVX512_BF16" else "emulated: the bits of others, not their speed"),
        ("threads", f"{cpu['default_threads']} by default, at most {cpu['max_threads']}"),
        ("FMA peak", f"{peak:.1f} GFLOP/s on one core in float32, measured"),
        ("cache folder", cpu["cache_folder"] or "none that can be written: every process compiles anew"),
    ):
        print(f"{name:<17}{value}")
    return 0


def _warmup(options: argparse.Namespace) -> int:
    """Fit tiny networks of every kind, and predict from arrays of every usual kind, so that all kernels that a fit needs are in the cache."""
    start = time.perf_counter()
    classes = np.arange(4) % 2
    targets = ((2, "softmax", classes), (2, "softmax", np.eye(2)[classes]), (1, "sigmoid", classes), (1, "identity", np.zeros(4)))
    for dtype in ("float32", "float64"):
        for units, activation, y in targets:
            X = np.zeros((4, 3))
            layers: list[Layer] = [Dense(4, "relu"), LayerNorm(), BatchNorm(), Residual([PReLU(), Dense(4)]), GaussianNoise(0.1), Dropout(0.5)]
            network = Sequential([*layers, Dense(units, activation, l2=1.0)], n_features=3, dtype=dtype)
            network.fit(X, y, batch_size=3, verbose=0)  # not all rows at once, which are not shuffled
            network.evaluate(X, y)
            network.loss_and_gradient(X, y)
            network.predict(X)
        for data in (np.uint8, np.int64, np.float32, np.float64):
            for order in ("C", "F"):
                X = np.zeros((4, 3), data, order)
                network.predict(X)
                X.flags.writeable = False
                network.predict(X)
    compiled = len(kernels.compilations())
    folder = kernels.cpu_info()["cache_folder"]
    print(f"compiled {compiled} functions in {time.perf_counter() - start:.1f} s; cache: {folder or 'none, because no folder can be written'}")
    return 0
