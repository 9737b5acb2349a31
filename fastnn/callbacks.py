"""Who watches a fit: objects with one or more of four methods, called by the training loop.

- `on_fit_begin(network)`
- `on_batch_end(step, loss)`; where somebody has it, every minibatch is a call of its own, which is slower
- `on_epoch_end(epoch, logs)`: epochs count from 1, `logs` is a dict with "loss", "val_loss", ... and "seconds"; return
  True (a bool, also one of NumPy) or "stop" to end the fit
- `on_fit_end()`, whatever ends the fit: Ctrl-C, a loss that is not finite, another callback that raises

A callback with an attribute `every` sees only the epochs that it divides, and the last one. Between them the full batches
of a small network are many to a compiled call.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import numpy as np

from . import validation
from .metrics import UPWARDS
from .validation import Array

METHODS = ("on_fit_begin", "on_batch_end", "on_epoch_end", "on_fit_end")


class EarlyStopping:
    """Stop when a quantity has not improved for some epochs, and go back to the parameters of the best one.

    Parameters
    ----------
    monitor : str
        A key of `logs`, such as "val_loss", or "test_accuracy" of `validation_data={"test": ...}`. Accuracy and R2 improve
        upwards, everything else downwards.
    patience : int
        The number of epochs without improvement that end the fit, at least 1.
    min_delta : float
        How much better counts as an improvement.
    restore_best : bool
        Whether the network gets the parameters of the best epoch when the fit ends, by whatever reason.

    Attributes
    ----------
    best : float
        The best value seen.
    best_epoch : int
        Its epoch, counted from 1.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, restore_best: bool = True) -> None:
        self.monitor, self.restore_best = monitor, validation.flag("restore_best", restore_best)
        self.patience = validation.integer("patience", patience, 1)
        self.min_delta = validation.number("min_delta", min_delta, 0.0)
        self.best, self.best_epoch = math.nan, 0

    def on_fit_begin(self, network: Any) -> None:
        """Forget the fit before."""
        self._network = network
        self._parameters: Array = np.empty(0)
        self.best, self.best_epoch = math.nan, 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Return True when the patience is over."""
        value = logs[validation.choice("monitor", self.monitor, logs)]
        if self._improves(value):
            self.best, self.best_epoch = value, epoch
            if self.restore_best:
                self._parameters = self._network.parameters.copy()
        return epoch - self.best_epoch >= self.patience

    def on_fit_end(self) -> None:
        """Give the network the best parameters."""
        if self.restore_best and self.best_epoch:
            self._network.parameters = self._parameters

    def _improves(self, value: float) -> bool:
        if self.best_epoch == 0:
            return not math.isnan(value)
        upwards = self.monitor.rsplit("_", 1)[-1] in UPWARDS  # behind the name of any set
        return value > self.best + self.min_delta if upwards else value < self.best - self.min_delta


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
    """Stop after the first epoch that ends later than `seconds` after the fit began.

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

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Return True when the time is over."""
        return time.monotonic() - self._start > self.seconds


def check_callbacks(callbacks: Any) -> list[Any]:
    """Return the callbacks as a list if each has a method that the loop calls."""
    found = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    for one in found:
        if isinstance(one, type) or not any(callable(getattr(one, method, None)) for method in METHODS):
            raise TypeError(f"callbacks must be objects with one of the methods {', '.join(METHODS)}; got {validation.shown(one)}.")
        _every(one)
    return found


def check_monitors(callbacks: list[Any], names: list[str]) -> None:
    """Raise where one of the callbacks here waits for a quantity that the logs of a fit, with these names, will not have."""
    for one in callbacks:
        if isinstance(one, (EarlyStopping, StopWhen)):
            validation.choice("monitor", one.monitor, names)


def _every(callback: Any) -> int:
    """Return how many epochs lie between two that a callback sees."""
    return validation.integer("every of a callback", getattr(callback, "every", 1), 1)


def begin_fit(callbacks: list[Any], network: Any, begun: list[Any]) -> None:
    """Call `on_fit_begin` of every callback, and put into `begun` those that have begun."""
    for one in callbacks:
        call([one], "on_fit_begin", network)
        begun.append(one)


def end_fit(begun: list[Any]) -> None:
    """Call `on_fit_end` of every callback in turn, also where one of them raises."""
    with contextlib.ExitStack() as ends:
        for one in reversed(begun):  # the stack goes from its top
            ends.callback(call, [one], "on_fit_end")


def end_epoch(callbacks: list[Any], epoch: int, last: bool, logs: dict[str, float]) -> bool:
    """Call `on_epoch_end` of those who want to see this epoch; return whether one of them asks to stop."""
    return call([one for one in callbacks if last or epoch % _every(one) == 0], "on_epoch_end", epoch, logs)


def unseen(callbacks: list[Any], epoch: int) -> int:
    """Return how many epochs after `epoch` go by until somebody wants to see one."""
    every = [_every(one) for one in callbacks if hasattr(one, "on_epoch_end")]
    return min((one - epoch % one for one in every), default=1 << 30)


def call(callbacks: list[Any], method: str, *args: Any) -> bool:
    """Call a method of every callback that has it; return whether one of them asks to stop."""
    answers = [getattr(one, method)(*args) for one in callbacks if hasattr(one, method)]
    return any(bool(answer) if isinstance(answer, (bool, np.bool_)) else isinstance(answer, str) and answer == "stop" for answer in answers)
