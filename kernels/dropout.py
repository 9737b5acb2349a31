"""Dropout in a network: an operation on what was just written, the same on the gradient of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ._bits import like
from ._jit import task
from ._tile import PANEL_BYTES, call, width_of, zero_of
from .dense import elements
from .program import Memory, Operation, Program, Value, task_address
from .random import PURPOSE_DROPOUT, philox
from .records import NOW, I, Record

__all__ = ["Dropout"]

DROPOUT = Record(
    source=(I, "address of what is dropped from"),
    out=(I, "address of where what is left is written"),
    jump=(I, "numbers from one panel to the next"),
    threshold=(I, "random words below it drop"),
    layer=(I, "which layer's numbers are drawn"),
    seed=(I, "of the network"),
    drop=(I, "address of `drop`, for inputs"),
    n=(I, "columns, for inputs"),
)


@task
def drop(tag, record, first, last, panel, now):
    """out = source * keep / (1 - rate) for rows of one panel; whole groups of four rows, as the generator gives them."""
    zero, D = zero_of(tag), DROPOUT(record)
    width, seed = width_of(zero), D.seed
    low, high = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    stream, time, limit = np.uint32(PURPOSE_DROPOUT | D.layer), np.uint32(NOW(now).drawn & 0xFFFFFFFF), np.uint32(D.threshold)
    scale = like(zero, (1 << 32) / ((1 << 32) - D.threshold))
    step, column, at = 4 * width, panel * width, panel * D.jump * (PANEL_BYTES // width)
    source = D.source if D.source != 0 else NOW(now).inputs
    out = D.out if D.out != 0 else NOW(now).inputs
    for i in range(first, last, 4):
        s, o = elements(zero, source + at + i * PANEL_BYTES, step), elements(zero, out + at + i * PANEL_BYTES, step)
        for j in range(width):
            a, b, c, d = philox(np.uint32(column + j), np.uint32(i >> 2), time, stream, low, high)
            o[j] = s[j] * scale if a >= limit else zero
            o[width + j] = s[width + j] * scale if b >= limit else zero
            o[2 * width + j] = s[2 * width + j] * scale if c >= limit else zero
            o[3 * width + j] = s[3 * width + j] * scale if d >= limit else zero


@task
def drop_inputs(tag, t, worker, record, now):
    """The same for a panel of the inputs, in their place."""
    D = DROPOUT(record)
    call(D.drop, (0, record, 0, NOW(now).rows, t, now))


@dataclass(frozen=True)
class Dropout:
    """Dropout of what the dense layer of a number reads, with probability `threshold / 2**32`."""

    shapes: ClassVar[dict[str, tuple[int, ...]]] = {}
    trained: ClassVar[tuple[bool, ...]] = ()
    penalties: ClassVar[tuple[float, ...]] = ()

    layer: int
    threshold: int
    seed: int

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """In a fit add it to the phase that writes X, or for the inputs a phase; the way back is an operation on the gradient."""
        if not at.fitting:
            return X, lambda d: d
        settings = {"jump": program.jump, "threshold": self.threshold, "layer": self.layer, "seed": self.seed}
        if X.epilogue is None:
            record = DROPOUT.new(**settings, drop=task_address(drop, program.dtype), n=X.n)
            program.phase(drop_inputs, program.panels(X.n), record, 4.0 * program.rows * X.n, f"drop of {X.name}")
            return X, lambda d: d
        out = program.matrix(X.n)
        X.epilogue.append(Operation(drop, DROPOUT.new(**settings, source=X.where, out=out)))
        finish = [Operation(drop, DROPOUT.new(**settings)), *X.finish]
        return Value(out, X.n, X.name, X.mask, finish, X.epilogue, X.wanted), lambda d: d
