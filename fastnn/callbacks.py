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

OF_STEPS = ("on_rates", "on_batch_begin", "on_batch_end")
OF_EPOCHS = ("on_epoch_begin", "on_epoch_trained", "on_epoch_end")
METHODS = ("on_fit_begin", *OF_STEPS, *OF_EPOCHS, "on_chunk_end", "on_fit_end")


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


def check_callbacks(callbacks: Any) -> list[Any]:
    """Return the callbacks as a list if each has a method that the loop calls."""
    found = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    for one in found:
        if isinstance(one, type) or not any(callable(getattr(one, method, None)) for method in METHODS):
            raise TypeError(f"callbacks must be objects with one of the methods {', '.join(METHODS)}; got {validation.shown(one)}.")
        _every(one)
        _steps(one)
    return found


def check_monitors(callbacks: list[Any], names: list[str]) -> None:
    """Raise where one of the callbacks here waits for a quantity that the logs of a fit, with these names, will not have."""
    for one in callbacks:
        if isinstance(one, (EarlyStopping, StopWhen)):
            validation.choice("monitor", one.monitor, names)


def _every(callback: Any) -> int:
    """Return how many epochs lie between two that a callback sees."""
    return validation.integer("every of a callback", getattr(callback, "every", 1), 1)


def _steps(callback: Any) -> int:
    """Return how many minibatches lie between two that a callback sees."""
    return validation.integer("every_steps of a callback", getattr(callback, "every_steps", 1), 1)


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


def begin_epoch(callbacks: list[Any], epoch: int) -> None:
    """Call `on_epoch_begin` of those who want to see this epoch, or the end of those that begin here."""
    call([one for one in callbacks if (epoch - 1) % _every(one) == 0], "on_epoch_begin", epoch)


def end_epoch(callbacks: list[Any], method: str, epoch: int, last: bool, *logs: dict[str, float]) -> bool:
    """Call a method of those who want to see the end of this epoch; return whether one of them asks to stop."""
    return call([one for one in callbacks if last or epoch % _every(one) == 0], method, epoch, *logs)


def begin_batch(callbacks: list[Any], step: int) -> None:
    """Call `on_batch_begin` of those who want to see the minibatches from this one, counted from 0, on."""
    call([one for one in callbacks if step % _steps(one) == 0], "on_batch_begin", step)


def end_batch(callbacks: list[Any], step: int, loss: float) -> bool:
    """Call `on_batch_end` of those who want to see this minibatch, counted from 0; return whether one of them asks to stop."""
    return call([one for one in callbacks if (step + 1) % _steps(one) == 0], "on_batch_end", step, loss)


def unseen(callbacks: list[Any], epoch: int) -> int:
    """Return how many epochs after `epoch` go by until somebody wants to see one."""
    return min((_every(one) - epoch % _every(one) for one in callbacks if _has(one, OF_EPOCHS)), default=1 << 30)


def unseen_steps(callbacks: list[Any], step: int) -> int:
    """Return how many minibatches after the first `step` go by until somebody wants to see one."""
    return min((_steps(one) - step % _steps(one) for one in callbacks if _has(one, OF_STEPS[1:])), default=1 << 30)


def _has(callback: Any, methods: tuple[str, ...]) -> bool:
    return any(hasattr(callback, method) for method in methods)


def call(callbacks: list[Any], method: str, *args: Any) -> bool:
    """Call a method of every callback that has it; return whether one of them asks to stop."""
    answers = [getattr(one, method)(*args) for one in callbacks if hasattr(one, method)]
    return any(bool(answer) if isinstance(answer, (bool, np.bool_)) else isinstance(answer, str) and answer == "stop" for answer in answers)
