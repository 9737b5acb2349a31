"""The update of a network's parameters: an optimizer's record, its tasks, what emits them.

Ranges of the parameters may have a pace of their own, the weight decay a number for every step, and columns of weights a largest norm.
What a training has of these is a phase of its own: the others do without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._bits import like
from ._elements import fill
from ._factory import Rule
from ._jit import task
from ._tile import PANEL_BYTES, array_at, call, line_buffer, width_of, zero_of
from .program import Program, task_address
from .records import NOW, F, I, Record, address, new_array

__all__ = ["Pace", "Updater", "emit_largest_norm"]

OPTIMIZER = Record(
    rule=(I, "address of the rule's task"),
    parameters=(I, "address of the flat parameters"),
    gradient=(I, "address of the flat gradient; after an update the parameters from before it"),
    state=(I, "address of the first buffer"),
    state_bytes=(I, "from one buffer to the next"),
    buffers=(I, "how many there are"),
    hyper=(I, "address of the record of the rule's numbers"),
    pace=(I, "address of the learning rate, and behind it the number of the step"),
)

PACE = Record(
    factor=(F, "of the learning rate"),
    pace=(I, "address of where it is written, and behind it the number of the step; 0: nobody reads it"),
    decay=(I, "address of the weight decay among the rule's numbers; 0: it stays"),
    decays=(I, "address of the weight decay of each step of this call"),
)

COLUMNS = Record(
    W=(I, "address of the weights, in panels"),
    n_in=(I, "how many rows"),
    largest=(F, "the largest norm of a column"),
)

RANGE = Record(
    optimizer=(I, "address of the optimizer's record"),
    first=(I, "the first parameter"),
    count=(I, "how many"),
    parts=(I, "tasks"),
)


@dataclass(frozen=True)
class Pace:
    """How a range of the flat vector is updated, where that differs from the rest.

    Attributes
    ----------
    first, end : int
        Whole panels.
    factor : float
        Of the learning rate.
    decays : bool
        Whether the weight decay of the rule holds there.
    """

    first: int
    end: int
    factor: float = 1.0
    decays: bool = True


@task
def set_paces(tag, t, worker, record, now):
    """Write down the learning rate and the weight decay of this step, of one pace."""
    S, P = NOW(now), PACE(record + t * PACE_BYTES)
    if P.pace != 0:
        pace = array_at(0.0, P.pace, 2)
        pace[0], pace[1] = S.rate * P.factor, S.count
    if P.decay != 0:
        array_at(0.0, P.decay, 1)[0] = array_at(0.0, P.decays, S.done + 1)[S.done]


PACE_BYTES = PACE.dtype.itemsize


@task
def largest_norm(tag, t, worker, record, now):
    """w *= largest / norm for each column, of one panel, whose norm is larger."""
    zero, C = zero_of(tag), COLUMNS(record)
    width = width_of(zero)
    w, factors = C.W + t * C.n_in * PANEL_BYTES, array_at(0.0, line_buffer(zero), width)
    fill(factors, 0.0)
    for i in range(C.n_in):
        row = array_at(zero, w + i * PANEL_BYTES, width)
        for l in range(width):
            x = np.float64(row[l])
            factors[l] += x * x
    for l in range(width):
        norm = math.sqrt(factors[l])
        factors[l] = C.largest / norm if norm > C.largest else 1.0
    for i in range(C.n_in):
        row = array_at(zero, w + i * PANEL_BYTES, width)
        for l in range(width):
            row[l] *= like(zero, factors[l])


def emit_largest_norm(program: Program, W: Any, largest: float, note: str) -> None:
    """Add the shortening of columns of weights, packed as (panels, n_in, width), to a norm of at most `largest`."""
    record = COLUMNS.new(W=address(W), n_in=W.shape[1], largest=largest)
    program.phase(largest_norm, len(W), record, 3.0 * W.size, note)


@task
def update_some(tag, optimizer, gradient, count, now):
    """One step of the optimizer for the parameters whose gradient lies at an address; the old ones are left in its place."""
    O = OPTIMIZER(optimizer)
    at = gradient - O.gradient
    call(O.rule, (0, O.hyper, O.parameters + at, gradient, O.state + at, O.state_bytes, count, O.pace))
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
    parameters, gradient : ndarray
        Flat, of one dtype.
    state : ndarray
        Of that dtype, a row for each of the rule's buffers.
    rule : Rule
    hyper : dict of str to float, or sequence of float
        The numbers of the rule, by name or in order.
    paces : sequence of Pace
        Of ranges that do not overlap, in order.
    decays : float64 ndarray, optional
        Where the weight decay of each step of a call will lie; left out, it is that of `hyper`.
    """

    def __init__(
        self,
        parameters: Any,
        gradient: Any,
        state: Any,
        rule: Rule,
        hyper: Mapping[str, float] | Sequence[float],
        paces: Sequence[Pace] = (),
        decays: Any = None,
    ) -> None:
        self.hyper, self.paces, self.decays = rule.record(hyper), paces, decays
        self.record = OPTIMIZER.new(
            rule=rule.task.address(parameters.dtype),
            parameters=address(parameters),
            gradient=address(gradient),
            state=address(state),
            state_bytes=state.strides[0],
            buffers=len(state),
            hyper=address(self.hyper),
        )
        self.own: dict[tuple[float, bool], tuple[Any, Any, Any]] = {}  # of each other pace the record, its numbers, its pace
        for pace in paces:
            record, numbers, place = self.record.copy(), self.hyper.copy(), np.zeros(2)
            if not pace.decays and "weight_decay" in rule.hyper:
                numbers["weight_decay"] = 0.0
            record["hyper"], record["pace"] = address(numbers), address(place)
            self.own.setdefault((pace.factor, pace.decays), (record, numbers, place))

    def emit_paces(self, program: Program) -> None:
        """Add what is to be done before the updates of a step."""
        self.record["pace"] = address(program.now) + NOW.offset("rate")
        program.keep_all(self.hyper, self.own, self.decays)
        entries = [{"factor": factor, "pace": address(place)} for (factor, _), (_, _, place) in self.own.items()]
        if self.decays is not None:
            decayed = [self.hyper, *(numbers for (_, decays), (_, numbers, _) in self.own.items() if decays)]
            at, decays = address(self.hyper["weight_decay"]) - address(self.hyper), address(self.decays)
            entries += [{"decay": address(numbers) + at, "decays": decays} for numbers in decayed]
        if entries:
            records = new_array(PACE, len(entries))
            for record, entry in zip(records, entries):
                for name, value in entry.items():
                    record[name] = value
            program.phase(set_paces, len(entries), records, 0.0, "learning rates and weight decays")

    def at_once(self, program: Program) -> dict[str, int]:
        """Return the fields `update` and `optimizer` of who updates some parameters as soon as their gradient is written."""
        return {"update": task_address(update_some, program.dtype), "optimizer": program.keep(self.record)}

    def emit(self, program: Program, first: int, count: int, note: str) -> None:
        """Add the update of `count` parameters from the `first` on."""
        end = first + count
        for pace in self.paces:
            if first < pace.end and pace.first < end:
                self._emit(program, self.record, first, max(first, pace.first), note)
                self._emit(program, self.own[pace.factor, pace.decays][0], max(first, pace.first), min(end, pace.end), note)
                first = min(end, pace.end)
        self._emit(program, self.record, first, end, note)

    def _emit(self, program: Program, optimizer: Any, first: int, end: int, note: str) -> None:
        """Add the update of a range at one pace."""
        if first >= end:
            return
        work = 20.0 * (end - first)
        parts = program.shares(work)
        record = RANGE.new(optimizer=program.keep(optimizer), first=first, count=end - first, parts=parts)
        program.phase(update, parts, record, work, note)
