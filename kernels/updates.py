"""The update of a network's parameters: an optimizer's record, its tasks, what emits them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray

from ._jit import task
from ._tile import PANEL_BYTES, pointer, width_of, zero_of
from .dense import elements
from .optimizers import N_HYPER, update_range
from .program import Program, task_address
from .records import NOW, F, I, Record, address

__all__ = ["Updater"]

OPTIMIZER = Record(
    rule=(I, "its code"),
    parameters=(I, "address of the flat parameters"),
    gradient=(I, "address of the flat gradient; after an update the parameters from before it"),
    state=(I, "address of the first buffer"),
    state_bytes=(I, "from one buffer to the next"),
    hyper=(I, "address of the rule's numbers"),
)

RANGE = Record(
    optimizer=(I, "address of the optimizer's record"),
    first=(I, "the first parameter"),
    count=(I, "how many"),
    parts=(I, "tasks"),
)


@task
def update_some(tag, optimizer, gradient, count, now):
    """One step of the optimizer for the parameters whose gradient lies at an address; the old ones are left in its place."""
    zero, O, S = zero_of(tag), OPTIMIZER(optimizer), NOW(now)
    at = gradient - O.gradient
    w, g = elements(zero, O.parameters + at, count), elements(zero, gradient, count)
    s1, s2 = elements(zero, O.state + at, count), elements(zero, O.state + O.state_bytes + at, count)
    update_range(O.rule, w, g, s1, s2, carray(pointer(0.0, O.hyper), N_HYPER), S.rate, np.int64(S.count))
    S.updated = 1


@task
def update(tag, t, worker, record, now):
    """The same for a part of a range, in whole lines."""
    R = RANGE(record)
    line = width_of(zero_of(tag))
    lines = R.count // line
    first, end = t * lines // R.parts, (t + 1) * lines // R.parts
    update_some(tag, R.optimizer, OPTIMIZER(R.optimizer).gradient + (R.first // line + first) * PANEL_BYTES, (end - first) * line, now)


class Updater:
    """Emits the updates of a flat vector.

    Parameters
    ----------
    parameters, gradient, state : ndarray
        Flat, of one dtype; the state has the rule's buffers one after the other.
    rule : int
        A code such as `kernels.ADAM`.
    hyper : sequence of float
        The numbers of the rule; see `kernels.optimizers`.
    """

    def __init__(self, parameters: Any, gradient: Any, state: Any, rule: int, hyper: Sequence[float]) -> None:
        self.hyper = np.zeros(N_HYPER)
        self.hyper[: len(hyper)] = hyper
        self.record = OPTIMIZER.new(rule=rule, parameters=address(parameters), gradient=address(gradient), state=address(state))
        self.record["state_bytes"], self.record["hyper"] = parameters.nbytes, address(self.hyper)

    def at_once(self, program: Program) -> tuple[int, int]:
        """Return the addresses of the task that updates some parameters and of its record, for who has just written their gradient."""
        program.keep(self.hyper)
        return task_address(update_some, program.dtype), program.keep(self.record)

    def emit(self, program: Program, first: int, count: int, note: str) -> None:
        """Add the update of `count` parameters from the `first` on."""
        if not count:
            return
        work = 20.0 * count
        parts = program.shares(work)
        record = RANGE.new(optimizer=program.keep(self.record), first=first, count=count, parts=parts)
        program.keep(self.hyper)
        program.phase(update, parts, record, work, note)
