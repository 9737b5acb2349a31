"""The training loop, cut at its joints: a fit is epochs, an epoch is chunks, a chunk is one compiled call.

Between two chunks Python is back: Ctrl-C, the progress bar and callbacks are seen within some 20 ms or one minibatch.
"""

from __future__ import annotations

import time
import warnings
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import kernels

from . import callbacks, trainers, validation
from .batches import ArraySource, Chunk, Source
from .losses import Loss, loss_for
from .metrics import metric_names, metrics_for
from .minimize import minimize
from .optimizers import FullBatchOptimizer, Optimizer, optimizer_for, step_optimizer
from .progress import Progress
from .schedules import LearningRate, rates, spanning
from .trainers import Network
from .validation import Array


class DivergedError(ValueError):
    """The loss is not finite any more; the message says where. The network has the parameters of the last finite loss.

    Attributes
    ----------
    history : History or None
        The epochs that `fit` had finished before; None where it was not a fit.
    """

    history: History | None = None


class History:
    """What a fit was like.

    It is stored in 24 bytes an epoch; the lists are made when they are asked for.

    Attributes
    ----------
    history : dict of str to list of float
        A value for each epoch of "loss" and, with validation data, of "val_loss", "val_accuracy", ...
    epochs : list of int
        The epochs that were finished, counted from 1.
    seconds : list of float
        How long the training of each took, validation left out.
    interrupted : bool
        Whether Ctrl-C ended the fit.
    message : str
        Why L-BFGS or conjugate gradient ended, in SciPy's words.

    Examples
    --------
    >>> History({"loss": [0.5, 0.25]}, [1, 2], [0.1, 0.1])
    epoch      loss  seconds
        1       0.5     0.10
        2      0.25     0.10
    """

    def __init__(
        self,
        history: Mapping[str, Iterable[float]] | None = None,
        epochs: Iterable[int] = (),
        seconds: Iterable[float] = (),
        interrupted: bool = False,
        message: str = "",
    ) -> None:
        self._values = {name: array("d", values) for name, values in (history or {}).items()}
        self._epochs, self._seconds = array("q", epochs), array("d", seconds)
        self.interrupted, self.message = interrupted, message

    @property
    def history(self) -> dict[str, list[float]]:
        """The values of every quantity by its name."""
        return {name: values.tolist() for name, values in self._values.items()}

    @property
    def epochs(self) -> list[int]:
        """The epochs that were finished."""
        return self._epochs.tolist()

    @property
    def seconds(self) -> list[float]:
        """How long each epoch took."""
        return self._seconds.tolist()

    def add(self, losses: Iterable[float], logs: dict[str, float], seconds: float) -> int:
        """Add the losses of some epochs, what else is known of the last one, and the time that each took; return the last epoch."""
        stored, first = self._values.setdefault("loss", array("d")), len(self._epochs) + 1
        stored.extend(losses)
        self._epochs.extend(range(first, len(stored) + 1))
        self._seconds.extend(array("d", [seconds]) * (len(stored) + 1 - first))
        for name, value in logs.items():
            if name != "loss":
                self._values.setdefault(name, array("d")).append(value)
        return len(stored)

    def __getitem__(self, name: str) -> list[float]:
        return self._values[validation.choice("name", name, self._values)].tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        names = list(self._values)
        widths = [max(8, len(name)) for name in names]
        lines = ["  ".join(["epoch", *(name.rjust(width) for name, width in zip(names, widths)), "seconds"])]
        for i, (epoch, seconds) in enumerate(zip(self._epochs, self._seconds)):
            cells = [f"{self._values[name][i]:.4g}".rjust(width) for name, width in zip(names, widths)]
            lines.append("  ".join([f"{epoch:5d}", *cells, f"{seconds:7.2f}"]))
        return "\n".join(lines + ["interrupted"] * self.interrupted)


@dataclass
class Run:
    """A fit under way: what every kind of it needs."""

    network: Network
    loss: Loss
    epochs: int
    held_out: dict[str, tuple[Array, Array]]
    watchers: list[Any]
    progress: Progress
    threads: int
    history: History = field(default_factory=History)
    n_done: int = 0

    def log_names(self) -> list[str]:
        """Return what the logs of an epoch hold."""
        judged = ("loss", *metric_names(self.loss))
        return ["loss", *(f"{name}_{key}" for name in self.held_out for key in judged), "seconds"]

    def end_epoch(self, losses: list[float], seconds: float, every: bool = True) -> bool:
        """Judge, note and show what the last epochs gave; return whether somebody asks to stop."""
        logs = {"loss": losses[-1]}
        for name, data in self.held_out.items():
            logs |= {f"{name}_{key}": value for key, value in judge(self.network, self.loss, *data, self.threads).items()}
        epoch = self.n_done = self.history.add(losses, logs, seconds)
        logs["seconds"] = seconds
        self.progress.end_epoch(epoch, logs, every)
        return callbacks.end_epoch(self.watchers, epoch, epoch == self.epochs, logs)


@dataclass
class Steps:
    """Where a fit of minibatches stands: what its steps need, and how many were taken."""

    trainer: kernels.Trainer
    source: Source
    learning_rate: LearningRate
    mean_rows: bool
    step: int = 0


def fit(
    network: Network,
    X: Any,
    y: Any,
    loss: str | Loss | None,
    optimizer: str | Optimizer | FullBatchOptimizer | None,
    epochs: int,
    batch_size: int | None,
    validation_data: Any,
    shuffle: Any,
    n_threads: int | None,
    verbose: int,
    watchers: Any,
    sample_weight: Any,
    class_weight: Any,
) -> History:
    """Train `network`; see `Sequential.fit`. Everything is checked before the first step."""
    loss, optimizer = loss_for(loss, network.last_activation), optimizer_for(optimizer)
    epochs = validation.integer("epochs", epochs, 1)
    batch_size = None if batch_size is None else validation.integer("batch_size", batch_size, 1)
    verbose = validation.integer("verbose", int(verbose) if isinstance(verbose, (bool, np.bool_)) else verbose, 0, 1)
    watchers, threads = callbacks.check_callbacks(watchers), validation.threads(n_threads)
    X, y = network.training_data(loss, X, y, learn=True)
    validation.usable("X", X, *network.scaling, network.dtype)
    weights = row_weights(loss, y, network.n_outputs, sample_weight, class_weight)
    run = Run(network, loss, epochs, held_out(network, loss, validation_data), watchers, Progress(verbose, epochs, network.flops_per_row), threads)
    callbacks.check_monitors(watchers, run.log_names())
    if isinstance(optimizer, FullBatchOptimizer):
        check_full_batch(network, optimizer, shuffle, watchers)
        function = trainers.full_batch(network, loss, X, y, weights, threads)
        begin(network, loss)
        return _watch(run, lambda: _minimize(run, function, optimizer, len(X)))
    source = ArraySource(X, y, batch_size, shuffle, trainers.fit_seed(network), weights)
    trainer = trainers.make_trainer(network, source.batch_size, loss, optimizer, threads, source.full_batch)
    learning_rate = spanning(optimizer.learning_rate, epochs * source.n_batches(0))
    begin(network, loss)
    return _watch(run, lambda: _epochs(run, Steps(trainer, source, learning_rate, loss.reduction != "sum")))


def begin(network: Network, loss: Loss) -> None:
    """Note that a fit begins."""
    network.loss, network.n_fits = loss, network.n_fits + 1


def check_full_batch(network: Network, optimizer: FullBatchOptimizer, shuffle: Any, watchers: list[Any]) -> None:
    """Refuse what an optimizer that takes all rows together cannot do, and warn where a dropout has no effect."""
    name = type(optimizer).__name__
    if not isinstance(shuffle, (bool, np.bool_)):
        raise ValueError(f"shuffle must be True or False for {name}, which takes all rows together; got {validation.shown(shuffle)}.")
    for one in watchers:
        if hasattr(one, "on_batch_end"):
            raise ValueError(f"callbacks must not have on_batch_end for {name}, which has no minibatches; got {validation.shown(one)}.")
    if any(network.plan.dropouts):
        warnings.warn(f"{name} minimizes the loss without dropout: the Dropout layers have no effect in this fit.", stacklevel=4)
    if trainers.batch_normalized(network):
        warnings.warn(f"{name} takes the running mean and variance of the BatchNorm layers as they are, and leaves them.", stacklevel=4)


def held_out(network: Network, loss: Loss, validation_data: Any) -> dict[str, tuple[Array, Array]]:
    """Return what is judged after every epoch, checked, by the name that it gets in the logs."""
    if validation_data is None:
        return {}
    named = isinstance(validation_data, dict)
    checked = {}
    for name, data in (validation_data if named else {"val": validation_data}).items():
        where = f"validation_data[{name!r}]" if named else "validation_data"
        X, y = network.check_data(loss, *validation.pair(where, data, "(X, y)"), f"{where}[0]", f"{where}[1]")
        validation.usable(f"{where}[0]", X, *network.scaling, network.dtype)
        checked[str(name)] = X, y
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


def _watch(run: Run, work: Callable[[], None]) -> History:
    """Do the work of a fit until it is done, somebody asks to stop, or Ctrl-C; whatever ends it, those who have begun to watch hear of it."""
    begun: list[Any] = []
    try:
        callbacks.begin_fit(run.watchers, run.network, begun)
        work()
    except KeyboardInterrupt:
        run.history.interrupted = True
    except DivergedError as error:
        error.history = run.history
        raise
    finally:
        run.progress.close()
        callbacks.end_fit(begun)
    return run.history


def _epochs(run: Run, steps: Steps) -> None:
    """Train epoch after epoch; full batches that nobody looks at are many to a compiled call."""
    epoch, watched = 0, any(hasattr(one, "on_batch_end") for one in run.watchers)
    while epoch < run.epochs:
        together = 1
        if steps.source.full_batch and not watched and not run.held_out:
            together = min(steps.trainer.chunk, run.epochs - epoch, callbacks.unseen(run.watchers, epoch))
        start = time.perf_counter()
        run.progress.begin_epoch(epoch + 1, steps.source.n_batches(epoch))
        losses = _full_batches(run, steps, epoch, together) if together > 1 else [_epoch(run, steps, epoch, watched)]
        seconds = (time.perf_counter() - start) / together
        epoch += together
        settle(steps.trainer, f"the last update of epoch {epoch}")
        if run.end_epoch(losses, seconds, every=together == 1):
            break


def _full_batches(run: Run, steps: Steps, epoch: int, together: int) -> list[float]:
    """Train some epochs of a full batch in one compiled call; return their losses."""
    chunk = next(steps.source.chunks(epoch, 1))
    losses: list[float] = _train(run, steps, chunk, together, lambda done: f"epoch {epoch + done + 1}").tolist()
    return losses


def _epoch(run: Run, steps: Steps, epoch: int, watched: bool) -> float:
    """Train one epoch; return its loss, the mean or the sum of the minibatches' as the loss is reduced over rows."""
    losses: list[NDArray[np.float64]] = []
    before = rows = 0
    for chunk in steps.source.chunks(epoch, 1 if watched else steps.trainer.buffered):
        losses.append(_train(run, steps, chunk, 1, lambda done: f"epoch {epoch + 1}, batch {before + done + 1}"))  # noqa: B023  called at once
        before += len(losses[-1])
        rows += len(chunk.order)
        if watched:
            callbacks.call(run.watchers, "on_batch_end", steps.step - 1, float(losses[-1][-1]))
    every = np.concatenate(losses)
    if len(every) == 1:  # its weight, multiplied and divided by, would change the last bit
        return float(every[0])
    if not steps.mean_rows:
        return float(every.sum())
    sizes = np.full(len(every), steps.source.batch_size)
    sizes[-1] = rows - steps.source.batch_size * (len(every) - 1)
    return float((every * sizes).sum() / rows)


def _train(run: Run, steps: Steps, chunk: Chunk, repeats: int, where: Callable[[int], str]) -> NDArray[np.float64]:
    """Take the steps of a chunk in one compiled call; return their losses."""
    n_steps = -(-len(chunk.order) // steps.source.batch_size) * repeats
    some = rates(steps.learning_rate, steps.step, n_steps)
    losses: NDArray[np.float64] = steps.trainer.train(chunk.X, chunk.y, chunk.order, steps.step, some, chunk.weights, repeats)
    if len(losses) < n_steps or steps.trainer.bad_row >= 0:
        raise_diverged(steps.trainer, chunk.X, where(len(losses)))
    steps.step += n_steps
    run.progress.advance(len(chunk.order) * repeats, n_steps, float(losses[-1]))
    return losses


def _minimize(run: Run, function: kernels.FullBatch, optimizer: FullBatchOptimizer, n_rows: int) -> None:
    """Let SciPy minimize the loss of all rows; each of its iterations is an epoch, whose parameters the network gets."""
    parameters, start = run.network.parameters, time.perf_counter()
    if not np.isfinite(function(parameters)[0]):
        raise DivergedError("loss must be finite; got NaN or infinity with the first parameters: scale X.")

    def watch(x: Array, loss: float) -> bool:
        nonlocal start
        if not np.isfinite(loss):
            raise DivergedError(f"loss must be finite; got NaN or infinity in epoch {run.n_done + 1}. The network keeps the parameters before it.")
        parameters[:] = x
        run.progress.advance(n_rows, 1, loss)
        stop = run.end_epoch([loss], time.perf_counter() - start, every=False)
        start = time.perf_counter()
        run.progress.begin_epoch(run.n_done + 1, 1)
        return stop

    run.progress.begin_epoch(1, 1)
    run.history.message = minimize(function, parameters, optimizer, run.epochs, watch)


def settle(trainer: kernels.Trainer, where: str) -> None:
    """Raise, with the last update taken back, where it has made parameters that are not finite."""
    if not trainer.settle():
        raise DivergedError(f"parameters must be finite; got NaN or infinity from {where}. It was taken back: lower learning_rate.")


def raise_diverged(trainer: kernels.Trainer, X: Array, where: str, left: str = "keeps the parameters of the last finite loss") -> NoReturn:
    """Say why the training cannot go on: a value of X that the dtype cannot hold, or a loss that is not finite."""
    if trainer.bad_row >= 0:
        validation.unusable(X, trainer.bad_row, trainer.objective.scale, trainer.objective.shift, np.dtype(trainer.plan.dtype))
    raise DivergedError(f"loss must be finite; got NaN or infinity at {where}. The network {left}: lower learning_rate or scale X.")


def judge(network: Network, loss: Loss, X: Array, y: Array, threads: int, weights: Array | None = None) -> dict[str, float]:
    """Return loss and metrics for data that is already checked; the weights of rows are those of the loss."""
    value, outputs = network.loss_and_outputs(loss, X, y, threads, weights)
    return {"loss": value, **metrics_for(loss, y, outputs)}


def train_on_batch(network: Network, X: Any, y: Any, optimizer: str | Optimizer | None, loss: str | Loss | None, n_threads: int | None) -> float:
    """Take one step; see `Sequential.train_on_batch`."""
    loss, optimizer = loss_for(loss, network.last_activation), step_optimizer(optimizer)
    threads = validation.threads(n_threads)
    X, y = network.training_data(loss, X, y)
    stepper = trainers.stepper(network, len(X), loss, optimizer, threads)
    rate = rates(optimizer.learning_rate, stepper.step, 1)
    stepper.trainer.forget()
    losses = stepper.trainer.train(X, y, np.arange(len(X)), stepper.step, rate)
    if len(losses) == 0 or stepper.trainer.bad_row >= 0:
        raise_diverged(stepper.trainer, X, f"step {stepper.step}", "is as it was before the step")
    try:
        settle(stepper.trainer, f"the update of step {stepper.step}")
    except DivergedError:
        network._stepper = None  # the optimizer's state is not finite either
        raise
    stepper.step += 1
    return float(losses[0])
