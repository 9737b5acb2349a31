"""Dropout in a network: an operation on what was just written, the same on the gradient of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from . import _door
from ._bits import like
from ._jit import task
from ._tile import PANEL_BYTES, array_at, width_of, zero_of
from .between import Between
from .operations import DRAWING_FIELDS, drawing, follow, four_lines, room_beside
from .program import Memory, Operation, Program, Value
from .random import PURPOSE_DROPOUT, philox
from .records import NOW, I, Record

__all__ = ["Dropout"]

DROPOUT = Record(
    **DRAWING_FIELDS,
    threshold=(I, "random words below it drop"),
    schedule=(I, "address of the record of the thresholds of each step, 0: there is one for all"),
)

SCHEDULE = Record(
    thresholds=(I, "address of the threshold of each step of this call"),
)


@task
def drop(tag, record, first, last, panel, now):
    """out = source * keep / (1 - rate) for rows of one panel; whole groups of four rows, as the generator gives them."""
    zero, D = zero_of(tag), DROPOUT(record)
    width, threshold = width_of(zero), D.threshold
    if D.schedule != 0:
        threshold = array_at(np.int64(0), SCHEDULE(D.schedule).thresholds, NOW(now).done + 1)[NOW(now).done]
    limit, scale, column = np.uint32(threshold), like(zero, (1 << 32) / ((1 << 32) - threshold)), panel * width
    source, out, before, drawn = drawing(zero, D, PURPOSE_DROPOUT, panel, now)
    for i in range(first, last, 4):
        x = four_lines(zero, source + i * PANEL_BYTES, out + i * PANEL_BYTES)
        for j in range(width):
            a, b, c, d = philox(np.uint32(column + j), np.uint32((before + i) >> 2), *drawn)
            x[j] = x[j] * scale if a >= limit else zero
            x[width + j] = x[width + j] * scale if b >= limit else zero
            x[2 * width + j] = x[2 * width + j] * scale if c >= limit else zero
            x[3 * width + j] = x[3 * width + j] * scale if d >= limit else zero


@dataclass(frozen=True)
class Dropout(Between):
    """Y = X * keep / (1 - rate) in the steps of a fit, keep being 0 with probability `rate`, else 1; elsewhere Y = X.

    Parameters
    ----------
    n : int
        Columns.
    rate : float or None
        From 0, more than 2**-33 below 1. None: a `Trainer` is told the rate of each step.
    stream : int
        Which of the streams of random numbers it draws from; a plan counts them.

    Raises
    ------
    TypeError, ValueError
        If a field is of another kind or out of range.
    """

    rate: float | None
    stream: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _door.set_fields(self, rate=_door.dropout_rate("rate", self.rate), stream=_door.whole("stream", self.stream, 0, 2**28 - 1))

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """In a fit add it to the phase that writes X, or for the inputs a phase; the way back is an operation on the gradient."""
        if not at.fitting or self.rate == 0:
            return X, lambda d: d
        settings = {"jump": program.jump, "threshold": round((self.rate or 0.0) * 2**32), "stream": self.stream, "seed": at.seed}
        if self.rate is None:
            schedule = SCHEDULE.new()
            program.schedules.append(schedule)
            settings["schedule"] = program.keep(schedule)
        out = room_beside(program, X)
        record = DROPOUT.new(**settings, source=X.where, out=out)
        follow(program, X, Operation(drop, record, f"drop of {X.name}"), 4.0 * program.rows * X.n)
        return replace(X, where=out, finish=[Operation(drop, DROPOUT.new(**settings)), *X.finish]), lambda d: d
