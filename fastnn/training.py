"""The training loop, cut at its joints: a fit is epochs, an epoch is chunks, a chunk is one compiled call.

Between two chunks Python is back: Ctrl-C, the progress bar and callbacks are seen within some 20 ms or one minibatch.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import kernels

from . import trainers, validation, watching
from .batches import ArraySource, Chunk, Source, split
from .callbacks import TimeLimit
from .history import History
from .interrupts import Interrupts
from .layers import RANDOM, GaussianNoise, single
from .losses import Loss, loss_for
from .metrics import Metric, checked_metrics, directions, values
from .minimize import minimize
from .optimizers import FullBatchOptimizer, Optimizer, optimizer_for, step_optimizer
from .progress import Progress
from .runs import Checkpoints, Saved, facts_of
from .schedules import LearningRate, rates, spanning
from .sparse import as_read, in_form, take
from .state import State
from .streams import StreamSource, check_span, check_stream
from .trainers import Network
from .validation import Array

OF_UPDATES = {"learning_rate_factor": 1.0, "bias_learning_rate_factor": 1.0, "max_norm": None}  # of a layer, and without effect


class DivergedError(ValueError):
    """The loss is not finite any more; the message says where. The network has the parameters of the last finite loss.

    Attributes
    ----------
    history : History or None
        The epochs that `fit` had finished before; None where it was not a fit.
    """

    history: History | None = None


@dataclass
class Judged:
    """Checked data that is judged after every epoch."""

    X: Array
    y: Array
    row_weights: NDArray[np.float64] | None  # for the metrics that take them
    weights: NDArray[np.float64] | None  # of rows and classes, for the loss

    def arrays(self) -> tuple[Array, ...]:
        """Return what there is of it."""
        return tuple(A for A in (self.X, self.y, self.weights) if A is not None)


@dataclass
class Run:
    """A fit under way: what it works with, and the state that it changes."""

    network: Network
    loss: Loss
    epochs: int
    held_out: dict[str, Judged]
    metrics: dict[str, Metric]
    watchers: list[Any]
    progress: Progress
    threads: int
    state: State
    interrupts: Interrupts
    pausing: bool = False
    files: Checkpoints | None = None
    save: Callable[[], None] = lambda: None
    restore: Callable[[], None] = lambda: None
    undo: Callable[[], None] = lambda: None  # where a callback cannot begin, take back what it knew, or say it

    def entries(self) -> dict[str, bool | None]:
        """Return what the logs of an epoch hold, and whether larger is better; None where nobody knows."""
        judged = directions(self.metrics)
        return {"loss": False, **{f"{name}_{key}": up for name in self.held_out for key, up in judged.items()}, "seconds": False}

    def call(self, method: str, *args: Any) -> bool:
        """Call a method of every callback that has it; return whether one of them asks to stop."""
        return watching.call(self.watchers, method, *args)

    def end_epoch(self, losses: list[float], seconds: float, every: bool = True) -> None:
        """Judge, note and show what the last epochs gave, and ask whether to stop."""
        state, logs = self.state, {"loss": losses[-1]}
        epoch = state.epoch + len(losses)
        with self.interrupts.held():
            watching.end_epoch(self.watchers, "on_epoch_trained", epoch, epoch == self.epochs)
        for name, data in self.held_out.items():
            value, outputs = self.network.loss_and_outputs(self.loss, data.X, data.y, self.threads, data.weights)
            found = values(self.metrics, self.loss, data.y, outputs, data.row_weights)
            logs |= {f"{name}_{key}": value for key, value in {"loss": value, **found}.items()}
        with self.interrupts.held():
            state.end_epoch(losses, logs, seconds)
            logs["seconds"] = seconds
            self.progress.end_epoch(epoch, logs, every)
            state.stopped = watching.end_epoch(self.watchers, "on_epoch_end", epoch, epoch == self.epochs, logs)


@dataclass
class Steps:
    """What the steps of a fit of minibatches need."""

    trainer: kernels.Trainer
    source: Source
    learning_rate: LearningRate
    mean_rows: bool


def fit(
    network: Network,
    X: Any,
    y: Any,
    *,
    loss: str | Loss | None,
    optimizer: str | Optimizer | FullBatchOptimizer | None,
    epochs: int,
    batch_size: int | None,
    validation_data: Any,
    validation_split: float | None,
    shuffle: Any,
    n_threads: int | None,
    verbose: int,
    watchers: Any,
    sample_weight: Any,
    class_weight: Any,
    time_limit: float | None,
    continue_fit: bool,
    checkpoint: Any,
    checkpoint_every: float,
    checkpoint_keep: int,
    resume: bool,
    metrics: Any,
) -> History:
    """Train `network`; see `Sequential.fit`. Everything is checked before the first step."""
    last = trainers.continued(network) if validation.flag("continue_fit", continue_fit) else None
    loss = loss_for(network.loss if last and loss is None else loss, network.last_activation)
    optimizer = optimizer_for(last.optimizer if last and optimizer is None else optimizer)
    epochs = validation.integer("epochs", epochs, 1)
    batch_size = None if batch_size is None else validation.integer("batch_size", batch_size, 1)
    verbose = validation.integer("verbose", int(verbose) if isinstance(verbose, (bool, np.bool_)) else verbose, 0, 1)
    watchers, threads = watching.check_callbacks(watchers), validation.threads(n_threads)
    watchers += [] if time_limit is None else [TimeLimit(validation.positive("time_limit", time_limit))]
    source: ArraySource | StreamSource
    if y is None:
        check_stream(X, optimizer, shuffle, class_weight, checkpoint, validation_split, sample_weight)
    if validation_split is not None:
        check_split(validation_data, shuffle)
        X, y, sample_weight, validation_data = split_off(network, loss, X, y, sample_weight, validation_split)
    if y is not None:
        X, y = network.training_data(loss, X, y, learn=True)
        validation.usable("X", X, *network.scaling, network.dtype)
        weights = row_weights(loss, y, network.n_outputs, sample_weight, class_weight)
    judged, judges = held_out(network, loss, validation_data, class_weight), checked_metrics(metrics, loss)
    if validation.flag("resume", resume) and checkpoint is None:
        raise ValueError("resume must be False without checkpoint; got True.")
    progress = Progress(verbose, epochs, network.flops_per_row)
    if isinstance(optimizer, FullBatchOptimizer):
        if last:
            raise trainers.other_optimizer(last, optimizer)
        check_full_batch(network, optimizer, shuffle, watchers, checkpoint)
        function = trainers.full_batch(network, loss, X, y, weights, threads)
        run = Run(network, loss, epochs, judged, judges, watchers, progress, threads, State(0, 0), Interrupts())
        watching.check_monitors(watchers, run.entries())
        begin(network, loss)
        return _watch(run, lambda: _minimize(run, function, optimizer, len(X)))
    files = None if checkpoint is None else Checkpoints(checkpoint, checkpoint_every, checkpoint_keep, resume)
    saved = files.newest() if files and resume else None
    seed, epoch = (last.seed, last.epoch) if last else (trainers.fit_seed(network), 0)
    if y is None:
        check = functools.partial(stream_batch, network, loss, class_weight)
        source = StreamSource(X, check, *((saved.fit["seed"], saved.fit["epoch"], saved.fit["source"]) if saved else (seed, epoch)))
        for name, schedule in trainers.schedules_of(network, optimizer):
            check_span(name, schedule, source)
        X, weights, stored = source.description, class_weight, bool(source.stored)
    else:
        read = as_read(network.plan, X, network.scaling[1])
        source, stored = ArraySource(read, y, batch_size, shuffle, saved.fit["seed"] if saved else seed, weights, epoch), isinstance(read, kernels.CSR)
    n_steps = last.n_steps if last else epochs * source.n_batches(0)
    trainer = trainers.make_trainer(network, source.batch_size, loss, optimizer, threads, source.seed, source.full_batch, n_steps, stored)
    if last:
        state = trainers.go_on(last, trainer, optimizer, source.batch_size)
    else:
        state = State(seed, n_steps, optimizer, trainer.state, batch_size=source.batch_size)
    learning_rate = spanning(optimizer.learning_rate, state.n_steps)
    run = Run(network, loss, epoch + epochs, judged, judges, watchers, progress, threads, state, Interrupts(files is not None), files=files)
    watching.check_monitors(watchers, run.entries())
    if files:
        settings = {"loss": loss, "optimizer": replace(optimizer, learning_rate=learning_rate), "batch_size": source.batch_size}
        spanned = n_steps if trainers.spans(network, optimizer) else None
        sets = {name: data.arrays() for name, data in judged.items()}
        facts = facts_of(network, X, y, sets, judges, watchers, **settings, shuffle=shuffle, weights=weights, n_steps=spanned)
        let_save(run, files, facts, source)
        if saved:
            resume_from(run, saved, facts, trainer, optimizer, source)
    begin(network, loss, 0 if last else 1)
    if saved:
        network.n_fits = saved.settings["n_fits"]
    steps = Steps(trainer, source, learning_rate, loss.reduction != "sum")
    try:
        return _watch(run, lambda: _epochs(run, steps), trainer.settle)
    except Exception:
        run.undo()
        raise


def let_save(run: Run, files: Checkpoints, facts: dict[str, Any], source: Source) -> None:
    """Let a fit save checkpoints."""
    files.make_folder()
    run.save = lambda: files.write(run.network, run.state, facts, run.watchers, source)


def resume_from(run: Run, saved: Saved, facts: dict[str, Any], trainer: kernels.Trainer, optimizer: Optimizer, source: Source) -> None:
    """Go on from a checkpoint, if it is one of this fit."""
    saved.check(run.network, facts)
    saved.check_callbacks(run.watchers, run.network)
    run.undo = remembered(run.network)
    if isinstance(source, ArraySource):  # a stream was made where it stood
        source.load_state_dict(saved.fit["source"])
    run.state = saved.restore(run.network, trainer, optimizer)
    run.restore = lambda: saved.restore_callbacks(run.watchers)


def remembered(network: Network) -> Callable[[], None]:
    """Return what makes a network what it is now."""
    parameters, loss, n_fits, state = network.parameters.copy(), network.loss, network.n_fits, network._state

    def undo() -> None:
        network.parameters[:] = parameters
        network.loss, network.n_fits, network._state = loss, n_fits, state

    return undo


def begin(network: Network, loss: Loss, fits: int = 1) -> None:
    """Note that a fit begins."""
    network.loss, network.n_fits = loss, network.n_fits + fits


def stream_batch(
    network: Network,
    loss: Loss,
    class_weight: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    stored: bool | None,
) -> tuple[Any, Array, Array | None]:
    """Return a batch of a stream, checked, and its rows copied; see `sparse.in_form`."""
    X, y = network.training_data(loss, X, y)
    validation.usable("X", X, *network.scaling, network.dtype)
    rows = in_form(network.plan, X, network.scaling[1], stored)
    return rows, y, row_weights(loss, y, network.n_outputs, sample_weight, class_weight)


def check_split(validation_data: Any, shuffle: Any) -> None:
    """Raise for what cannot stand beside `validation_split`."""
    if validation_data is not None:
        raise ValueError("validation_split must be left out where validation_data is given; got both.")
    if not isinstance(shuffle, (bool, np.bool_)):
        raise ValueError(f"shuffle must be True or False with validation_split, which takes rows away; got {validation.shown(shuffle)}.")


def split_off(network: Network, loss: Loss, X: Any, y: Any, sample_weight: Any, share: float) -> tuple[Any, ...]:
    """Return what to train on, as X, y and sample_weight, and what to judge: copies of the rows of checked data."""
    X, y = network.check_data(loss, X, y)
    weights = None if sample_weight is None else validation.row_weights("sample_weight", sample_weight, len(y))
    rows, others = split(y, validation.number("validation_split", share, 0.0, 1.0), "validation_split")
    if not len(others):
        raise ValueError(f"validation_split must hold out at least one row; got {share:g} of {len(y)} rows.")
    held_out = take(X, others), y[others], *([] if weights is None else [weights[others]])
    if weights is not None and not weights[others].any():
        raise ValueError(f"validation_split must hold out a row whose weight is above 0; got {share:g} of {len(y)} rows.")
    return take(X, rows), y[rows], None if weights is None else weights[rows], held_out


def check_full_batch(network: Network, optimizer: FullBatchOptimizer, shuffle: Any, watchers: list[Any], checkpoint: Any) -> None:
    """Refuse what an optimizer that takes all rows together cannot do, and warn of what in the layers has no effect."""
    name = type(optimizer).__name__
    if not isinstance(shuffle, (bool, np.bool_)):
        raise ValueError(f"shuffle must be True or False for {name}, which takes all rows together; got {validation.shown(shuffle)}.")
    if checkpoint is not None:
        raise ValueError(f"checkpoint must be None for {name}, whose state SciPy keeps to itself; got {validation.shown(checkpoint)}.")
    refuse_watchers_of_steps(name, watchers)
    if any(isinstance(layer, RANDOM) and (layer.std if isinstance(layer, GaussianNoise) else layer.rate) for layer in single(network.layers)):
        warnings.warn(f"{name} minimizes the loss without dropout and noise: the layers that add them have no effect in this fit.", stacklevel=4)
    ignored = sorted({setting for layer in network.dense if layer.trainable for setting, without in OF_UPDATES.items() if getattr(layer, setting) != without})
    if ignored:
        help_ = "Use trainable to leave a layer, or its bias, as it is."
        warnings.warn(f"{name} minimizes the loss without {', '.join(ignored)} of the layers, which has no effect in this fit. {help_}", stacklevel=4)
    if trainers.batch_normalized(network):
        warnings.warn(f"{name} takes the running mean and variance of the BatchNorm layers as they are, and leaves them.", stacklevel=4)


def refuse_watchers_of_steps(name: str, watchers: list[Any]) -> None:
    """Raise where a callback watches the minibatches of an optimizer that has none."""
    for one in watchers:
        for method in watching.OF_STEPS:
            if hasattr(one, method):
                raise ValueError(f"callbacks must not have {method} for {name}, which has no minibatches; got {validation.shown(one)}.")


def held_out(network: Network, loss: Loss, validation_data: Any, class_weight: Any) -> dict[str, Judged]:
    """Return what is judged after every epoch, checked, by the name that it gets in the logs."""
    if validation_data is None:
        return {}
    named = isinstance(validation_data, dict)
    checked = {}
    for given, data in (validation_data if named else {"val": validation_data}).items():
        name = validation.text("a name in validation_data", given)
        where = f"validation_data[{name!r}]" if named else "validation_data"
        X, y, sample_weight = validation.weighted(where, data)
        X, y = network.check_data(loss, X, y, f"{where}[0]", f"{where}[1]")
        validation.usable(f"{where}[0]", X, *network.scaling, network.dtype)
        of_rows = None if sample_weight is None else validation.row_weights(f"{where}[2]", sample_weight, len(y))
        checked[name] = Judged(X, y, of_rows, row_weights(loss, y, network.n_outputs, of_rows, class_weight))
    return checked


def row_weights(loss: Loss, y: Array, n_outputs: int, sample_weight: Any, class_weight: Any) -> NDArray[np.float64] | None:
    """Return what the loss of each row is multiplied by, None where that is 1."""
    weights = None if sample_weight is None else validation.row_weights("sample_weight", sample_weight, len(y))
    if class_weight is None:
        return weights
    of_classes = validation.class_weights(class_weight, loss.classes(y), max(2, n_outputs))
    weights = of_classes if weights is None else weights * of_classes
    if not weights.any():
        raise ValueError(f"class_weight must be above 0 for a row that counts; got 0 for all {len(y)}.")
    return weights


def _watch(run: Run, work: Callable[[], None], settled: Callable[[], bool] = lambda: True) -> History:
    """Do the work of a fit until it is done, somebody asks to stop, or Ctrl-C; whatever ends it, those who have begun to watch hear of it."""
    begun: list[Any] = []
    network, state, history = run.network, run.state, run.state.history
    network._state, whole = None, True
    try:
        with run.interrupts:
            try:
                watching.begin_fit(run.watchers, network, begun)
                run.restore()
                run.save()
                run.undo = lambda: None
                work()
            except KeyboardInterrupt:
                history.interrupted, whole = True, settled()
            whole = whole and run.interrupts.whole
            if whole:
                run.save()
            if run.files:
                run.files.wait()
    except KeyboardInterrupt:  # a second one
        history.interrupted = True
    except DivergedError as error:
        error.history, whole = history, False
        raise
    except Exception:  # of a callback, or of a stream of batches: the network stays at its last whole step
        whole = settled()
        raise
    finally:
        if run.files:
            run.files.finish()
        if whole and run.interrupts.whole and state.optimizer:
            network._state = state
        run.progress.close()
        watching.end_fit(begun)
    run.interrupts.pass_on()
    return history


def _epochs(run: Run, steps: Steps) -> None:
    """Train epoch after epoch, until a callback asks to stop."""
    state = run.state
    while state.epoch < run.epochs and not (state.stopped or run.pausing):
        run.progress.begin_epoch(state.epoch + 1, steps.source.n_batches(state.epoch))
        with run.interrupts.held():
            watching.begin_epoch(run.watchers, state.epoch + 1)
        together = _together(run, steps)
        if together > 1:
            _full_batches(run, steps, together)
        else:
            _epoch(run, steps)
        if run.files and run.files.is_due(state.epoch) and not state.batch:
            with run.interrupts.held():
                run.save()


def _together(run: Run, steps: Steps) -> int:
    """Return how many epochs of a full batch are one compiled call: those that nobody looks at."""
    state = run.state
    if not steps.source.full_batch or run.held_out or state.batch:
        return 1
    unseen = watching.unseen(run.watchers, state.epoch), watching.unseen_steps(run.watchers, state.step)
    unsaved = run.files.epochs_left(state.epoch) if run.files else 1 << 30
    return min(steps.trainer.chunk, run.epochs - state.epoch, unsaved, *unseen)


def _full_batches(run: Run, steps: Steps, together: int) -> None:
    """Train some epochs of a full batch in one compiled call."""
    start, epoch, chunk = time.perf_counter(), run.state.epoch, steps.source.chunk(run.state.epoch, 0, 1)
    assert chunk is not None
    with run.interrupts.held():  # the epochs of a call are noted together
        losses = _train(run, steps, chunk, together, lambda done: f"epoch {epoch + done + 1}")
        settle(steps.trainer, f"the last update of epoch {epoch + together}")
        run.end_epoch(losses.tolist(), (time.perf_counter() - start) / together, every=False)


def _epoch(run: Run, steps: Steps) -> None:
    """Train what is left of an epoch, and judge it unless a callback asks to stop before its end."""
    start, state, source = time.perf_counter(), run.state, steps.source
    n_batches = source.n_batches(state.epoch)
    while True:
        before, unsaved = state.batch, run.files.batches_left(state.batch, n_batches) if run.files else 1 << 30
        size = min(steps.trainer.buffered, watching.unseen_steps(run.watchers, state.step), unsaved)
        chunk = source.chunk(state.epoch, state.batch, size)
        if chunk is None:
            break
        _train(run, steps, chunk, 1, lambda done: f"epoch {state.epoch + 1}, batch {state.batch + done + 1}")
        if run.pausing and state.batch != n_batches:
            return
        if state.batch == before + unsaved != n_batches:
            with run.interrupts.held():
                run.save()
    settle(steps.trainer, f"the last update of epoch {state.epoch + 1}")
    run.end_epoch([state.epoch_loss(steps.mean_rows)], time.perf_counter() - start)


def _train(run: Run, steps: Steps, chunk: Chunk, repeats: int, where: Callable[[int], str]) -> NDArray[np.float64]:
    """Take the steps of a chunk in one compiled call; return their losses."""
    state, trainer, batch_size = run.state, steps.trainer, steps.source.batch_size
    sizes = np.full(-(-len(chunk.order) // batch_size), batch_size)
    sizes[-1] = len(chunk.order) - batch_size * (len(sizes) - 1)
    n_steps = len(sizes) * repeats
    some = rates(steps.learning_rate, state.step, n_steps)
    run.call("on_rates", state.step, some)
    with run.interrupts.held():
        watching.begin_batch(run.watchers, state.step)
        losses: NDArray[np.float64] = trainer.train(chunk.X, chunk.y, chunk.order, state.step, some, chunk.weights, repeats)
        if len(losses) < n_steps or trainer.bad_row >= 0:
            raise_diverged(trainer, chunk.X, where(len(losses)))
        state.step += n_steps
        if repeats == 1:
            state.add(losses, sizes, steps.mean_rows)
        run.progress.advance(len(chunk.order) * repeats, n_steps, float(losses[-1]))
        stop = watching.end_batch(run.watchers, state.step - 1, float(losses[-1]))
    run.pausing = run.call("on_chunk_end", state.step) or stop
    return losses


def _minimize(run: Run, function: kernels.FullBatch, optimizer: FullBatchOptimizer, n_rows: int) -> None:
    """Let SciPy minimize the loss of all rows; each of its iterations is an epoch, whose parameters the network gets."""
    state, parameters, start = run.state, run.network.parameters, time.perf_counter()
    if not np.isfinite(function(parameters)[0]):
        raise DivergedError("loss must be finite; got NaN or infinity with the first parameters: scale X.")

    def begin_epoch() -> None:
        run.progress.begin_epoch(state.epoch + 1, 1)
        watching.begin_epoch(run.watchers, state.epoch + 1)

    def watch(x: Array, loss: float) -> bool:
        nonlocal start
        if not np.isfinite(loss):
            raise DivergedError(f"loss must be finite; got NaN or infinity in epoch {state.epoch + 1}. The network keeps the parameters before it.")
        parameters[:] = x
        run.progress.advance(n_rows, 1, loss)
        run.end_epoch([loss], time.perf_counter() - start, every=False)
        state.step += 1
        stop = run.call("on_chunk_end", state.step) or state.stopped
        start = time.perf_counter()
        if not stop:
            begin_epoch()
        return stop

    begin_epoch()
    state.history.message = minimize(function, parameters, optimizer, run.epochs, watch)


def settle(trainer: kernels.Trainer, where: str) -> None:
    """Raise, with the last update taken back, where it has made parameters that are not finite."""
    if not trainer.settle():
        raise DivergedError(f"parameters must be finite; got NaN or infinity from {where}. It was taken back: lower learning_rate.")


def raise_diverged(trainer: kernels.Trainer, X: Array, where: str, left: str = "keeps the parameters of the last finite loss") -> NoReturn:
    """Say why the training cannot go on: a value of X that the dtype cannot hold, or a loss that is not finite."""
    if trainer.bad_row >= 0:
        validation.unusable(X, trainer.bad_row, trainer.objective.scale, trainer.objective.shift, np.dtype(trainer.plan.dtype))
    raise DivergedError(f"loss must be finite; got NaN or infinity at {where}. The network {left}: lower learning_rate or scale X.")


def train_on_batch(
    network: Network,
    X: Any,
    y: Any,
    optimizer: str | Optimizer | None,
    loss: str | Loss | None,
    n_threads: int | None,
    sample_weight: Any,
    class_weight: Any,
) -> float:
    """Take one step; see `Sequential.train_on_batch`."""
    loss, optimizer = loss_for(loss, network.last_activation), step_optimizer(optimizer)
    threads = validation.threads(n_threads)
    X, y = network.training_data(loss, X, y)
    weights = row_weights(loss, y, network.n_outputs, sample_weight, class_weight)
    X = as_read(network.plan, X, network.scaling[1])
    stored = isinstance(X, kernels.CSR)
    X = X if stored else X[:]  # other sparse rows are a minibatch here, and dense
    stepper = trainers.stepper(network, len(X), loss, optimizer, threads, stored)
    rate = rates(optimizer.learning_rate, stepper.step, 1)
    stepper.trainer.forget()
    losses = stepper.trainer.train(X, y, np.arange(len(X)), stepper.step, rate, weights)
    if len(losses) == 0 or stepper.trainer.bad_row >= 0:
        raise_diverged(stepper.trainer, X, f"step {stepper.step}", "is as it was before the step")
    try:
        settle(stepper.trainer, f"the update of step {stepper.step}")
    except DivergedError:
        network._stepper = None  # the optimizer's state is not finite either
        raise
    stepper.step += 1
    return float(losses[0])
