"""The training loop, cut at its joints: a fit is epochs, an epoch is chunks, a chunk is one compiled call.

Between two chunks Python is back: Ctrl-C, the progress bar and callbacks are seen within some 20 ms or one minibatch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import callbacks, validation
from .batches import ArraySource, Chunk, Source
from .losses import Loss, loss_for
from .metrics import metrics_for
from .optimizers import Optimizer, optimizer_for
from .progress import Progress
from .schedules import LearningRate, rates, spanning
from .validation import Array

if TYPE_CHECKING:
    from .network import Sequential


class DivergedError(ValueError):
    """The loss is not finite any more; the message says where. The network has the parameters of the last finite loss."""


@dataclass(repr=False)
class History:
    """What a fit was like.

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

    Examples
    --------
    >>> History({"loss": [0.5, 0.25]}, [1, 2], [0.1, 0.1])
    epoch      loss  seconds
        1       0.5     0.10
        2      0.25     0.10
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    interrupted: bool = False

    def add(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Add what an epoch gave."""
        self.epochs.append(epoch)
        self.seconds.append(seconds)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> list[float]:
        return self.history[validation.choice("name", name, self.history)]

    def __repr__(self) -> str:
        names = list(self.history)
        widths = [max(8, len(name)) for name in names]
        lines = ["  ".join(["epoch", *(name.rjust(width) for name, width in zip(names, widths)), "seconds"])]
        for i, (epoch, seconds) in enumerate(zip(self.epochs, self.seconds)):
            cells = [f"{self.history[name][i]:.4g}".rjust(width) for name, width in zip(names, widths)]
            lines.append("  ".join([f"{epoch:5d}", *cells, f"{seconds:7.2f}"]))
        return "\n".join(lines + ["interrupted"] * self.interrupted)


@dataclass
class Run:
    """A fit under way: what the steps need, and how many were taken."""

    trainer: Any
    source: Source
    learning_rate: LearningRate
    mean_rows: bool
    watchers: list[Any]
    progress: Progress
    step: int = 0

    @property
    def watched(self) -> bool:
        """Whether somebody wants to see every minibatch."""
        return any(hasattr(one, "on_batch_end") for one in self.watchers)


def fit(
    network: Sequential,
    X: Any,
    y: Any,
    loss: str | Loss | None,
    optimizer: str | Optimizer | None,
    epochs: int,
    batch_size: int,
    validation_data: Any,
    shuffle: Any,
    n_threads: int | None,
    verbose: int,
    watchers: Any,
) -> History:
    """Train `network`; see `Sequential.fit`. Everything is checked before the first step."""
    loss, optimizer = loss_for(loss, network.last_activation), optimizer_for(optimizer)
    epochs = validation.integer("epochs", epochs, 1)
    batch_size = validation.integer("batch_size", batch_size, 1)
    verbose = validation.integer("verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0, 1)
    watchers, threads = callbacks.check_callbacks(watchers), validation.threads(n_threads)
    X, y = network.check_data(loss, X, y)
    held_out = None
    if validation_data is not None:
        held_out = validation.pair("validation_data", validation_data, "(X, y)")
        held_out = network.check_data(loss, *held_out, "validation_data[0]", "validation_data[1]")
    source = ArraySource(X, y, batch_size, shuffle, network.fit_seed)
    run = Run(
        trainer=network.make_trainer(source.batch_size, loss, optimizer, threads),
        source=source,
        learning_rate=spanning(optimizer.learning_rate, epochs * source.n_batches(0)),
        mean_rows=loss.reduction == "mean",
        watchers=watchers,
        progress=Progress(verbose, epochs, network.flops_per_row),
    )
    network.begin_fit(loss)
    return _fit(network, run, loss, epochs, held_out, threads)


def _fit(network: Sequential, run: Run, loss: Loss, epochs: int, held_out: tuple[Array, Array] | None, threads: int) -> History:
    """Run the epochs until they are done, somebody asks to stop, or Ctrl-C."""
    history = History()
    try:
        callbacks.call(run.watchers, "on_fit_begin", network)
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            logs = {"loss": _epoch(run, epoch)}
            seconds = time.perf_counter() - start
            if not run.trainer.settle():
                raise DivergedError(
                    f"parameters must be finite; got NaN or infinity from the last update of epoch {epoch}. It was taken back: lower learning_rate."
                )
            if held_out is not None:
                logs |= {f"val_{name}": value for name, value in judge(network, loss, *held_out, threads).items()}
            history.add(epoch, logs, seconds)
            run.progress.end_epoch(epoch, {**logs, "seconds": seconds})
            if callbacks.call(run.watchers, "on_epoch_end", epoch, {**logs, "seconds": seconds}):
                break
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        run.progress.close()
    callbacks.call(run.watchers, "on_fit_end")
    return history


def _epoch(run: Run, epoch: int) -> float:
    """Train one epoch; return its loss, the mean or the sum of the minibatches' as the loss is reduced over rows."""
    run.progress.begin_epoch(epoch, run.source.n_batches(epoch - 1))
    losses: list[NDArray[np.float64]] = []
    done = rows = 0
    for chunk in run.source.chunks(epoch - 1, 1 if run.watched else run.trainer.chunk):
        losses.append(_chunk(run, chunk, epoch, done))
        done += len(losses[-1])
        rows += len(chunk.order)
        run.progress.advance(len(chunk.order), len(losses[-1]), float(losses[-1][-1]))
    every = np.concatenate(losses)
    if not run.mean_rows:
        return float(every.sum())
    sizes = np.full(len(every), run.source.batch_size)
    sizes[-1] = rows - run.source.batch_size * (len(every) - 1)
    return float((every * sizes).sum() / rows)


def _chunk(run: Run, chunk: Chunk, epoch: int, done: int) -> NDArray[np.float64]:
    """Train with some minibatches in one compiled call; return their losses."""
    n_batches = -(-len(chunk.order) // run.source.batch_size)
    losses: NDArray[np.float64] = run.trainer.train(*chunk, run.step, rates(run.learning_rate, run.step, n_batches))
    if len(losses) < n_batches or run.trainer.bad_row >= 0:
        raise_diverged(run.trainer, chunk.X, f"epoch {epoch}, batch {done + len(losses) + 1}")
    run.step += n_batches
    if run.watched:
        callbacks.call(run.watchers, "on_batch_end", run.step - 1, float(losses[-1]))
    return losses


def raise_diverged(trainer: Any, X: Array, where: str) -> NoReturn:
    """Say why the training cannot go on: a value of X that the dtype cannot hold, or a loss that is not finite."""
    if trainer.bad_row >= 0:
        validation.unusable(X, trainer.bad_row, trainer.scale, trainer.shift, np.dtype(trainer.plan.dtype))
    raise DivergedError(
        f"loss must be finite; got NaN or infinity at {where}. The network keeps the parameters of the last finite loss: lower learning_rate or scale X."
    )


def judge(network: Sequential, loss: Loss, X: Array, y: Array, threads: int) -> dict[str, float]:
    """Return loss and metrics for data that is already checked."""
    value, outputs = network.loss_and_outputs(loss, X, y, threads)
    return {"loss": value, **metrics_for(loss, y, outputs)}


def train_on_batch(network: Sequential, X: Any, y: Any, optimizer: str | Optimizer | None, loss: str | Loss | None, n_threads: int | None) -> float:
    """Take one step; see `Sequential.train_on_batch`."""
    loss, optimizer = loss_for(loss, network.last_activation), optimizer_for(optimizer)
    threads = validation.threads(n_threads)
    X, y = network.check_data(loss, X, y)
    stepper = network.stepper(len(X), loss, optimizer, threads)
    losses = stepper.trainer.train(X, y, np.arange(len(X)), stepper.step, rates(optimizer.learning_rate, stepper.step, 1))
    if len(losses) == 0 or stepper.trainer.bad_row >= 0:
        raise_diverged(stepper.trainer, X, f"step {stepper.step}")
    stepper.step += 1
    return float(losses[0])
