"""The command `fastnn`: train, predict, export, info, warmup. Bad input ends it with one sentence and a status other than 0."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

import kernels

from . import __version__, files, validation
from .batches import split
from .callbacks import EarlyStopping
from .initializers import INITIALIZERS
from .layers import BatchNorm, Dense, Dropout, GaussianNoise, Layer, LayerNorm, PReLU, Residual, Scale, Standardize
from .losses import LOSSES, LabelLoss, Loss
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
    format_before, warnings.formatwarning = warnings.formatwarning, _line_of_warning
    try:
        status: int = options.command(options)
        if sys.stdout is not None:  # None where it is closed
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
        said = str(error)  # a sentence where an estimate was refused, not where NumPy could not have an array
        said = said if said.endswith(".") else f"network and data must fit into the memory; got: {said or 'too little'}."
        return _fail(f"{said} Take smaller --layers or fewer rows.")
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    finally:
        warnings.formatwarning = format_before


def _fail(message: object, status: int = 1) -> int:
    print(f"fastnn: {message}", file=sys.stderr)
    return status


def _line_of_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """Return a warning as the command says it: without a place in the source."""
    return f"fastnn: {message}\n"


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
    training.add_argument("--loss", help=f"{', '.join(LOSSES)} (default: cross_entropy for classes, squared_error for numbers)")
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
        help=f"by which validation and test rows are judged (default: accuracy, or rmse,mae,r2), of {', '.join(METRICS)}, or scikit-learn's scorers "
        "such as neg_log_loss",
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
    from .problems import LOADERS, Reading, check_range, load_problem

    _check_files(options, {"the source": None if options.source in LOADERS else options.source, "that of test": options.test})
    _check_source(options)
    if options.test:
        _must_be_left_out(options, "test_split", "--test, whose rows are the test")
    target, test_split = options.target or "-1", TEST_SPLIT if options.test_split is None else options.test_split
    table = Reading(target, options.header, tuple(options.ignore or ()), options.format)
    problem = load_problem(options.source, options.data_dir, table, options.task, test_split, options.test)
    _fill_in(options, problem)
    rows, held_out = split(problem.y, options.validation_split, "validation_split")
    data = (problem.X[rows], problem.y[rows]) if len(held_out) else (problem.X, problem.y)
    loss = _loss(options, problem)
    network = _network(options, problem, loss, *data)
    options.metrics = options.metrics or (["accuracy"] if problem.classes else list(NAMES))
    checked_metrics(options.metrics, loss)
    test = (f"X of {options.test}", f"y of {options.test}") if options.test else (f"X_test of {options.source}", f"y_test of {options.source}")
    for X, y, names in ((problem.X, problem.y, (f"X of {options.source}", f"y of {options.source}")), (problem.X_test, problem.y_test, test)):
        if len(X):
            check_range(names[0], X, *network.scaling, network.dtype)
            network.check_data(loss, X, _targets(loss, y), *names)
    if not options.quiet:
        print(_description(options, problem, network), flush=True)
    stop = None if options.patience is None else EarlyStopping(patience=options.patience)
    history = _fit(options, network, loss, data, (problem.X[held_out], problem.y[held_out]) if len(held_out) else None, stop)
    network.metadata = {"classes": problem.classes, "columns": problem.columns}
    try:
        _report(options, network, history, len(data[0]), len(held_out), stop)
        if len(problem.X_test):
            _test(options, problem, network)
    finally:  # whatever becomes of the report, the network is not lost
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
    y = _targets(network.loss, problem.y_test)
    if problem.classes and not options.quiet:
        outputs = network.loss.predictions(network.predict(problem.X_test, n_threads=options.threads))
        print(f"\n{class_report(problem.classes, y, outputs)}\n")
    found = network.evaluate(problem.X_test, y, n_threads=options.threads, metrics=options.metrics)
    for name in options.metrics:
        share = name in METRICS and METRICS[name].upwards
        print(f"test {NAMES.get(name, name)} {found[name]:{'.4f' if share else '.6g'}}", flush=True)


def _must_be_left_out(options: argparse.Namespace, name: str, reason: str) -> None:
    """Raise where an option was given that would be ignored."""
    value, harmless = getattr(options, name), {"dropout": 0.0, "batch_size": "all"}
    if value is not None and value != harmless.get(name):
        raise ValueError(f"{name} must be left out for {reason}; got {value!r}.")


def _check_files(options: argparse.Namespace, taken: dict[str, str | None], stream: str = "") -> None:
    """Raise before the work where its results could not be written after it, or would replace what it reads, or each other; one may be a stream."""
    for name in ("out", "save", "plot", "checkpoint"):
        path = getattr(options, name, None)
        if not path:
            continue
        for other, used in taken.items():
            if used and _same_file(path, used):
                raise ValueError(f"{name} must be another file than {other}; got {path!r}.")
        taken[f"that of {name}"] = path
        folder = os.path.dirname(os.path.realpath(path))
        if _is_stream(path) and name != stream:
            raise ValueError(f"{name} must be a file, which takes the place of what is there; got {path!r}, a pipe or a device.")
        if name != "checkpoint" and not _is_stream(path) and (os.path.isdir(path) or not os.access(folder, os.W_OK)):
            raise ValueError(f"{name} must name a file in a folder that exists and can be written; got {path!r}.")
    if getattr(options, "plot", None):
        from .plots import check_plot

        check_plot(options.plot)


def _same_file(first: str, second: str) -> bool:
    """Whether two paths lead to one file, also by links or other letters."""
    if os.path.exists(first) and os.path.exists(second):
        return os.path.samefile(first, second)
    return os.path.realpath(first) == os.path.realpath(second)


def _is_stream(path: str) -> bool:
    """Whether a path leads to a pipe or a device such as /dev/stdout, which is written to and not replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


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


def _loss(options: argparse.Namespace, problem: Problem) -> Loss:
    """Return the loss that the options name, if it fits what the targets are."""
    from .problems import LOADERS

    n_classes = len(problem.classes or ())
    name = validation.choice("loss", options.loss or ("cross_entropy" if n_classes else "squared_error"), LOSSES)
    fitting = [one for one, loss in LOSSES.items() if loss.classification == bool(n_classes) and (n_classes == 2 or not isinstance(loss, LabelLoss))]
    if name not in fitting:
        of = f"{n_classes} classes" if n_classes else "numbers"
        help_ = " Classes need --task classification." if LOSSES[name].classification else " Numbers need --task regression."
        help_ = "" if LOSSES[name].classification == bool(n_classes) or options.source in LOADERS else help_
        raise ValueError(f"loss must be one of {', '.join(map(repr, fitting))} for {of}; got {name!r}.{help_}")
    return LOSSES[name]


def _targets(loss: Loss, y: Array) -> Array:
    """Return the targets as a loss takes them: two classes that one output tells apart are a column."""
    return y[:, None].astype(np.float64) if isinstance(loss, LabelLoss) else y


def _network(options: argparse.Namespace, problem: Problem, loss: Loss, X: Array, y: Array) -> Sequential:
    """Return the network that the options describe, untrained; it knows mean and deviation of the training rows X and y.

    It ends as the loss needs it.
    """
    layers: list[Layer] = []
    if problem.scale != 1:
        layers.append(Scale(problem.scale))
    elif options.standardize:
        layers.append(Standardize.of(X))
    dense = functools.partial(Dense, initializer=options.initializer, l2=options.l2)
    for units in options.layers:
        layers += [dense(units, options.activation)] + [Dropout(options.dropout)] * (options.dropout > 0)
    last = next(iter(loss.needs), "identity")
    if problem.classes is not None:
        layers.append(dense(1 if isinstance(loss, LabelLoss) else len(problem.classes), last))
    else:
        layers.append(dense(loss.for_outputs(y).shape[1], last))
        if options.standardize and last == "identity":  # counts, the targets of an exponential, have no other unit
            mean, std = loss.units(*Standardize.of(y).statistics)
            layers.append(Standardize(tuple(mean.tolist()), tuple(std.tolist()), targets=True))
    network = Sequential(layers, n_features=problem.X.shape[1], dtype=options.dtype, seed=options.seed)
    if last == "exponential":  # of counts of any size: it begins at their mean
        *before, (W, _) = network.weights
        network.set_weights([*before, (W, np.log(np.maximum(loss.for_outputs(y).mean(axis=0), 1e-6)))])
    return network


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
    network: Sequential,
    loss: Loss,
    data: tuple[Array, Array],
    held_out: tuple[Array, Array] | None,
    stop: EarlyStopping | None,
) -> History:
    """Train the network, and judge it on the rows that are held out where there are some."""
    return network.fit(
        data[0],
        _targets(loss, data[1]),
        loss=loss,
        optimizer=_optimizer(options),
        epochs=options.epochs,
        batch_size=None if options.batch_size == "all" else options.batch_size,
        class_weight="balanced" if options.balanced else None,
        validation_data=None if held_out is None else (held_out[0], _targets(loss, held_out[1])),
        metrics=options.metrics,
        n_threads=options.threads,
        verbose=int(not options.quiet),
        callbacks=[] if stop is None else [stop],
        checkpoint=options.checkpoint,
        resume=options.resume,
    )


def _report(options: argparse.Namespace, network: Sequential, history: History, n_rows: int, n_held_out: int, stop: EarlyStopping | None) -> None:
    """Print the throughput, and which epoch was kept."""
    if history.interrupted:
        print(f"interrupted after {len(history.epochs)} of {options.epochs} epochs", file=sys.stderr)
    if history.epochs and not options.quiet:
        speed = n_rows * len(history.epochs) / sum(history.seconds)
        print(f"trained {sum(history.seconds):.2f} s: {speed:,.0f} samples/s, {speed * network.flops_per_row / 1e9:.1f} GFLOP/s")
        if stop is not None and n_held_out:
            print(f"kept epoch {stop.best_epoch} of {len(history.epochs)}, with the smallest loss of {n_held_out:,} held-out rows, {stop.best:.4g}")


def _description(options: argparse.Namespace, problem: Problem, network: Sequential) -> str:
    """Say what is trained on what, in two lines."""
    task = f"{len(problem.classes)} classes" if problem.classes else f"{problem.y.shape[1]} numbers to predict" if problem.y.shape[1] > 1 else "regression"
    if isinstance(network.layers[-1], Standardize):
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
    _check_files(options, {"the model": options.model, "the data": options.file}, "out")
    if sys.stdout is None and not options.out:
        raise ValueError("out must be given where standard output is closed; got neither.")
    network = Sequential.load(options.model)
    outputs = network.predict(_features(options, network), n_threads=options.threads)
    classes = [_one_line(str(name)) for name in _known(network, "classes", (str, int, float), max(2, network.n_outputs)) or ()]
    if network.last_activation in ("softmax", "log_softmax"):
        lines = [classes[label] if classes else str(label) for label in outputs.argmax(axis=1)]
    elif classes and network.loss.classification and network.n_outputs == 1:
        lines = [classes[int(output >= 0.5)] for output in network.loss.predictions(outputs)[:, 0]]
    else:
        digits = 9 if outputs.dtype == np.float32 else 15
        lines = [",".join(f"{value:.{digits}g}" for value in row) for row in outputs]
    if options.out:
        _write(options.out, "".join(f"{line}\n" for line in lines).encode())
    else:
        print("\n".join(lines))
    return 0


def _known(network: Sequential, name: str, kinds: tuple[type, ...], length: int) -> list[Any] | None:
    """Return what `fastnn train` has put into the metadata; None where they are somebody else's and do not fit."""
    found = network.metadata.get(name) if isinstance(network.metadata, dict) else None
    fits = isinstance(found, list) and len(found) == length and all(isinstance(one, kinds) for one in found)
    return found if fits else None


def _write(path: str, data: bytes) -> None:
    """Write a file whole or not at all, to a stream as it comes."""
    if _is_stream(path):
        with open(path, "wb") as file:
            file.write(data)
    else:
        files.replace(path, data)


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
    columns = _known(network, "columns", (str, int), network.n_features)
    return load_table(options.file, target=None, header=options.header, columns=columns).X


# fastnn export


def _export(options: argparse.Namespace) -> int:
    """Write a network for others, and print where."""
    options.out = options.out or f"{os.path.splitext(options.model)[0]}.{options.format}"
    _check_files(options, {"the model": options.model})
    EXPORTS[options.format](Sequential.load(options.model), options.out)
    print(options.out)
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
        # Enough for threads, which update a weight as soon as its gradient is there, and for lists of zeros.
        wide, X = Sequential([Dense(64)], n_features=128, dtype=dtype), np.zeros((128, 128))
        wide.fit(X, X[:, :64], epochs=1, batch_size=64, verbose=0)
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
