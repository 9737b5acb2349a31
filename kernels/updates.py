"""The update of a network's parameters: an optimizer's record, its tasks, what emits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._factory import Rule
from ._jit import task
from ._tile import PANEL_BYTES, call, width_of, zero_of
from .optimizers import OPTIMIZERS
from .program import Program, task_address
from .records import NOW, I, Record, address

__all__ = ["Updater"]

OPTIMIZER = Record(
    rule=(I, "address of the rule's task"),
    parameters=(I, "address of the flat parameters"),
    gradient=(I, "address of the flat gradient; after an update the parameters from before it"),
    state=(I, "address of the first buffer"),
    state_bytes=(I, "from one buffer to the next"),
    hyper=(I, "address of the record of the rule's numbers"),
)

RANGE = Record(
    optimizer=(I, "address of the optimizer's record"),
    first=(I, "the first parameter"),
    count=(I, "how many"),
    parts=(I, "tasks"),
)


PACE = NOW.offset("rate")  # the learning rate, and behind it the number of the step


@task
def update_some(tag, optimizer, gradient, count, now):
    """One step of the optimizer for the parameters whose gradient lies at an address; the old ones are left in its place."""
    O = OPTIMIZER(optimizer)
    at = gradient - O.gradient
    call(O.rule, (0, O.hyper, O.parameters + at, gradient, O.state + at, O.state_bytes, count, now + PACE))
    NOW(now).updated = 1


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
    rule : int or Rule
        A code such as `kernels.ADAM`, or what `custom_rule` returns.
    hyper : dict of str to float, or sequence of float
        The numbers of the rule, by name or in order.
    """

    def __init__(self, parameters: Any, gradient: Any, state: Any, rule: int | Rule, hyper: Mapping[str, float] | Sequence[float]) -> None:
        chosen = rule if isinstance(rule, Rule) else OPTIMIZERS[rule]
        self.hyper = chosen.record(hyper)
        self.record = OPTIMIZER.new(parameters=address(parameters), gradient=address(gradient), state=address(state))
        self.record["rule"], self.record["hyper"] = chosen.task.address(parameters.dtype), address(self.hyper)
        self.record["state_bytes"] = parameters.nbytes

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
