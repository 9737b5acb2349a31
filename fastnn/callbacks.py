"""Who watches a fit: objects with one or more of these methods, called by the training loop.

- `on_fit_begin(network)`
- `on_epoch_begin(epoch)`: epochs count from 1
- `on_rates(step, rates)`: the learning rates of the next steps, the first of which is number `step`, counted from 0; they may
  be changed in place
- `on_batch_begin(step)` and `on_batch_end(step, loss)`: where somebody has one, every minibatch is a call of its own, which
  is slower
- `on_chunk_end(step)`: `step` steps were taken; after each compiled call, of some 20 ms or one minibatch
- `on_epoch_trained(epoch)`: all minibatches of an epoch were used, before it is judged on the validation data
- `on_epoch_end(epoch, logs)`: `logs` is a dict with "loss", "val_loss", ... and "seconds"
- `on_fit_end()`, whatever ends the fit: Ctrl-C, a loss that is not finite, another callback that raises

To end the fit, `on_epoch_end`, `on_batch_end` and `on_chunk_end` return True (a bool, also one of NumPy) or "stop"; the latter
two end it in the middle of an epoch, which then is not judged.

A callback with an attribute `every` sees only the epochs that it divides, and the last one; one with an attribute `every_steps` only
the minibatches whose number, counted from 1, it divides (`on_batch_begin`: the first after each of them). Between them many
minibatches, and full batches of a small network, are one compiled call.

What a callback has to remember for a fit that goes on in another process (`fit(..., resume=True)`) it returns from
`state_dict()`, as a dict of arrays and of what JSON can hold, and takes back in `load_state_dict(state)`, which is called after
`on_fit_begin`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import files, validation
from .metrics import improves_upwards
from .validation import Array


class Monitor:
    """Know whether a quantity of the logs has improved: what those have that wait for it.

    Parameters
    ----------
    monitor : str
        A key of `logs`, such as "val_loss", or "test_accuracy" of `validation_data={"test": ...}`.
    mode : {"auto", "min", "max"}
        Whether it improves downwards or upwards; "auto": as the metric of the fit says, see `fastnn.metrics.Metric`, or else the
        name: losses and errors downwards, accuracy, R2 and the like, also an estimator's "val_score", upwards.
    min_delta : float
        How much better counts as an improvement.

    Attributes
    ----------
    best : float
        The best value seen.
    best_epoch : int
        Its epoch, counted from 1.

    Raises
    ------
    ValueError
        When a fit begins: if `mode` is "auto" and nothing says what is better.
    """

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a key of the logs such as 'val_loss'; got {validation.shown(monitor)}.")
        self.monitor, self.mode = monitor, validation.choice("mode", mode, ("auto", "min", "max"))
        self.min_delta = validation.number("min_delta", min_delta, 0.0)
        self.best, self.best_epoch = math.nan, 0
        self._entries: Mapping[str, bool | None] = {}

    def prepare(self, entries: Mapping[str, bool | None]) -> None:
        """Take from a fit what its logs will have, and whether larger is better; raise where that does not do."""
        validation.choice("monitor", self.monitor, entries)
        self._entries = entries
        self._upwards()

    def _upwards(self) -> bool:
        """Return whether the quantity improves upwards."""
        if self.mode != "auto":
            return self.mode == "max"
        upwards = self._entries.get(self.monitor, improves_upwards(self.monitor))
        if upwards is None:
            help_ = "Or say it of the metric: Metric(function, upwards=True)."
            raise ValueError(f"mode must be 'min' or 'max' for {self.monitor!r}, of which nothing says whether larger is better; got 'auto'. {help_}")
        return upwards

    def on_fit_begin(self, network: Any) -> None:
        """Forget the fit before."""
        self._upwards()  # refused before the first step
        self._network = network
        self.best, self.best_epoch = math.nan, 0

    def improves(self, epoch: int, logs: dict[str, float]) -> bool:
        """Return whether this epoch is better than those before, and remember it if it is."""
        value = logs[validation.choice("monitor", self.monitor, logs)]
        if self.best_epoch == 0:
            better = not math.isnan(value)
        elif self._upwards():
            better = value > self.best + self.min_delta
        else:
            better = value < self.best - self.min_delta
        if better:
            self.best, self.best_epoch = value, epoch
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return what a fit that is resumed must know."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class EarlyStopping(Monitor):
    """Stop when a quantity has not improved for some epochs, and go back to the parameters of the best one.

    Parameters
    ----------
    monitor, min_delta, mode
        See `Monitor`.
    patience : int
        The number of epochs without improvement that end the fit, at least 1.
    restore_best : bool
        Whether the network gets the parameters of the best epoch when the fit ends, by whatever reason.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, restore_best: bool = True, mode: str = "auto") -> None:
        super().__init__(monitor, mode, min_delta)
        self.restore_best, self.patience = validation.flag("restore_best", restore_best), validation.integer("patience", patience, 1)

    def on_fit_begin(self, network: Any) -> None:
        """Forget the fit before."""
        super().on_fit_begin(network)
        self._parameters: Array = np.empty(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Return True when the patience is over."""
        if self.improves(epoch, logs) and self.restore_best:
            self._parameters = self._network.parameters.copy()
        return epoch - self.best_epoch >= self.patience

    def on_fit_end(self) -> None:
        """Give the network the best parameters."""
        if self.restore_best and self.best_epoch:
            self._network.parameters = self._parameters

    def state_dict(self) -> dict[str, Any]:
        """Return what a fit that is resumed must know."""
        return {**super().state_dict(), "parameters": self._parameters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        kept = self.restore_best and state["best_epoch"] > 0
        parameters = validation.saved_vector("parameters", state["parameters"], self._network.parameters, empty=not kept)
        super().load_state_dict(state)
        self._parameters = parameters


class ReduceOnPlateau(Monitor):
    """Multiply the learning rate by `factor` whenever a quantity has not improved for some epochs.

    Parameters
    ----------
    monitor, min_delta, mode
        See `Monitor`.
    factor : float
        Above 0, below 1.
    patience : int
        The number of epochs without improvement that lower the rate, at least 1.
    cooldown : int
        How many epochs after that do not count.
    min_rate : float
        Below which no rate is brought.

    Attributes
    ----------
    scale : float
        What the learning rates of the optimizer are multiplied by now.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        cooldown: int = 0,
        min_rate: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = validation.number("factor", validation.positive("factor", factor), 0.0, 1.0)
        self.patience, self.cooldown = validation.integer("patience", patience, 1), validation.integer("cooldown", cooldown, 0)
        self.min_rate = validation.number("min_rate", min_rate, 0.0)
        self.scale = 1.0

    def on_fit_begin(self, network: Any) -> None:
        """Forget the fit before."""
        super().on_fit_begin(network)
        self.scale, self._since = 1.0, 0

    def on_rates(self, step: int, rates: Array) -> None:
        """Lower the rates."""
        if self.scale < 1.0:
            rates[:] = np.maximum(rates * self.scale, np.minimum(rates, self.min_rate))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Lower the rates from now on when the patience is over."""
        if self.improves(epoch, logs):
            self._since = max(self._since, epoch)
        elif epoch - self._since >= self.patience:
            self.scale, self._since = self.scale * self.factor, epoch + self.cooldown

    def state_dict(self) -> dict[str, Any]:
        """Return what a fit that is resumed must know."""
        return {**super().state_dict(), "scale": self.scale, "since": self._since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        super().load_state_dict(state)
        self.scale, self._since = state["scale"], state["since"]


class ModelCheckpoint(Monitor):
    """Save the network, as `Sequential.save` does, after every epoch that is better than those before.

    What a fit needs to go on is more, see `fit(..., checkpoint=...)`.

    Parameters
    ----------
    path : path
        It may hold fields: "net-{epoch:03d}-{val_loss:.4f}.safetensors".
    monitor : str, optional
        See `Monitor`; None: save after every epoch.
    min_delta, mode
        See `Monitor`.
    every : int
        Only epochs that it divides, and the last one, count.

    Raises
    ------
    ValueError
        If the path cannot be filled in; when a fit begins, if it has a field that the logs will not have.

    Warns
    -----
    UserWarning
        Once, if a file cannot be written: the fit goes on.
    """

    def __init__(self, path: str | os.PathLike[str], monitor: str | None = "val_loss", mode: str = "auto", min_delta: float = 0.0, every: int = 1) -> None:
        super().__init__(monitor or "loss", mode, min_delta)
        self.path, self.always, self.every = files.checked_path("path", path), monitor is None, every
        self._writing = Writing()
        self._filled(defaultdict(float, epoch=1), "such as 'epoch' and 'val_loss'")

    def prepare(self, entries: Mapping[str, bool | None]) -> None:
        """Take from a fit what its logs will have; raise where a field of the path is not among it."""
        super().prepare(entries)
        self._filled({"epoch": 1, **dict.fromkeys(entries, 0.0)})

    def _filled(self, values: Mapping[str, float], fields: str = "") -> str:
        """Return the path with the values in its fields."""
        try:
            return self.path.format_map(values)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            fields = fields or f"among {', '.join(map(repr, values))}"
            raise ValueError(f"path must be a file name with fields {fields}; got {self.path!r}: {error}.") from None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Save the network."""
        if self.improves(epoch, logs) or self.always:
            path = self._filled({"epoch": epoch, **logs})
            with self._writing(path):
                self._network.save(path)


class CSVLogger:
    """Write a line of `logs` into a CSV file after every epoch, names in the first one.

    Parameters
    ----------
    path : path
        Written anew by a fit; by one that is resumed continued.
    every : int
        Only epochs that it divides, and the last one, are written.

    Warns
    -----
    UserWarning
        Once, if the file cannot be written: the fit goes on.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.path, self.every = files.checked_path("path", path), every
        self._size, self._writing = 0, Writing()

    def on_fit_begin(self, network: Any) -> None:
        """Begin anew."""
        self._size = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write a line."""
        rows = [("epoch", *logs)] * (self._size == 0) + [(epoch, *(repr(float(value)) for value in logs.values()))]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        with self._writing(self.path), open(self.path, "r+b" if self._size else "wb") as file:
            file.truncate(self._size)  # what a run wrote after the checkpoint from which this one goes on
            file.seek(0, os.SEEK_END)
            file.write(text.getvalue().encode())
            file.flush()
            self._size = file.tell()

    def state_dict(self) -> dict[str, Any]:
        """Return what a fit that is resumed must know."""
        return {"size": self._size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self._size = state["size"]


class Writing:
    """Let a fit go on where a file cannot be written, with one warning."""

    def __init__(self) -> None:
        self.warned = False

    @contextlib.contextmanager
    def __call__(self, path: str) -> Iterator[None]:
        """Write in the block."""
        try:
            yield
        except OSError as error:
            if not self.warned:
                warnings.warn(f"{path} cannot be written ({error.strerror or error}): the training goes on without it.", stacklevel=2)
            self.warned = True


class StopWhen:
    """Stop when a quantity is low enough or high enough.

    Parameters
    ----------
    monitor : str
        A key of `logs`, such as "loss" or "val_accuracy".
    below, above : float, optional
        The fit ends after the first epoch with a value below, or above; one of the two.

    Examples
    --------
    >>> StopWhen("loss")
    Traceback (most recent call last):
    ValueError: below or above must be given, one of the two; got below=None and above=None.
    """

    def __init__(self, monitor: str = "loss", below: float | None = None, above: float | None = None) -> None:
        if (below is None) == (above is None):
            raise ValueError(f"below or above must be given, one of the two; got below={below} and above={above}.")
        self.monitor = monitor
        self.low = -math.inf if below is None else validation.number("below", below)
        self.high = math.inf if above is None else validation.number("above", above)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Return True when the value is reached."""
        value = logs[validation.choice("monitor", self.monitor, logs)]
        return value < self.low or value > self.high


class TimeLimit:
    """Stop when `seconds` are over since the fit began, within 0.2 s or one minibatch, also in the middle of an epoch.

    Parameters
    ----------
    seconds : float
        Above 0.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = validation.positive("seconds", seconds)

    def on_fit_begin(self, network: Any) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_chunk_end(self, step: int) -> bool:
        """Return True when the time is over."""
        return time.monotonic() - self._start > self.seconds
