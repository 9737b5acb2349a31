"""The loop's side of callbacks: which of them want to see what, and the calls."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from . import validation
from .averages import Average
from .callbacks import Monitor, StopWhen

OF_STEPS = ("on_rates", "on_batch_begin", "on_batch_end")
OF_EPOCHS = ("on_epoch_begin", "on_epoch_trained", "on_epoch_end")
METHODS = ("on_fit_begin", *OF_STEPS, *OF_EPOCHS, "on_chunk_end", "on_fit_end")


def check_callbacks(callbacks: Any) -> list[Any]:
    """Return the callbacks as a list if each has a method that the loop calls."""
    found = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    for one in found:
        if isinstance(one, type) or not any(callable(getattr(one, method, None)) for method in METHODS):
            raise TypeError(f"callbacks must be objects with one of the methods {', '.join(METHODS)}; got {validation.shown(one)}.")
        _every(one)
        _steps(one)
    averages = [type(one).__name__ for one in found if isinstance(one, Average)]
    if len(averages) > 1:
        raise ValueError(f"callbacks must have at most one average of the parameters; got {' and '.join(averages)}.")
    return sorted(found, key=lambda one: not isinstance(one, Average))  # what others judge, keep and write is the average


def check_monitors(callbacks: list[Any], entries: dict[str, bool | None]) -> None:
    """Raise where one of the callbacks here waits for what the logs of a fit will not have, or cannot know when it is better.

    `entries` are what the logs will have, and whether larger is better, None where nobody knows.
    """
    for one in callbacks:
        if isinstance(one, Monitor):
            one.prepare(entries)
        elif isinstance(one, StopWhen):
            validation.choice("monitor", one.monitor, entries)


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
    if not callbacks:
        return False
    answers = [getattr(one, method)(*args) for one in callbacks if hasattr(one, method)]
    return any(bool(answer) if isinstance(answer, (bool, np.bool_)) else isinstance(answer, str) and answer == "stop" for answer in answers)
