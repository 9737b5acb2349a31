"""Gaussian noise in a network: an operation on what was just written; a gradient goes through it unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from . import _door
from ._bits import like
from ._jit import inline, task
from ._tile import PANEL_BYTES, width_of, zero_of
from .between import Between
from .operations import DRAWING_FIELDS, drawing, follow, four_lines, room_beside
from .program import Memory, Operation, Program, Value
from .random import PURPOSE_NOISE, normal_quantile, philox
from .records import F, I, Record

__all__ = ["GaussianNoise"]

NOISE = Record(**DRAWING_FIELDS, n=(I, "columns"), std=(F, "standard deviation of the noise"))


@inline
def normal(word):
    """Return the quantile of the middle of one of 2**32 equal parts, which is neither 0 nor 1."""
    return normal_quantile((np.float64(word) + 0.5) * 2.0**-32)


@task
def add_noise(tag, record, first, last, panel, now):
    """out = source + std * normal for rows of one panel; whole groups of four rows, as the generator gives them."""
    zero, D = zero_of(tag), NOISE(record)
    width, std, n, column = width_of(zero), D.std, D.n, panel * width_of(zero)
    source, out, before, drawn = drawing(zero, D, PURPOSE_NOISE, panel, now)
    for i in range(first, last, 4):
        x = four_lines(zero, source + i * PANEL_BYTES, out + i * PANEL_BYTES)
        for j in range(width):
            a, b, c, d = philox(np.uint32(column + j), np.uint32((before + i) >> 2), *drawn)
            factor = std if column + j < n else 0.0
            x[j] += like(zero, factor * normal(a))
            x[width + j] += like(zero, factor * normal(b))
            x[2 * width + j] += like(zero, factor * normal(c))
            x[3 * width + j] += like(zero, factor * normal(d))


@dataclass(frozen=True)
class GaussianNoise(Between):
    """Y = X + std * normal in the steps of a fit, elsewhere Y = X.

    Parameters
    ----------
    n : int
        Columns.
    std : float
        At least 0.
    stream : int
        Which of the streams of random numbers it draws from; a plan counts them.

    Raises
    ------
    TypeError, ValueError
        If a field is of another kind or out of range.
    """

    flops: ClassVar[int] = 60

    std: float
    stream: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        std = _door.number("std", self.std)
        if not 0 <= std <= float(np.finfo(np.float32).max):
            raise ValueError(f"std must be at least 0 and finite, also in float32; got {std}.")
        _door.set_fields(self, std=std, stream=_door.whole("stream", self.stream, 0, 2**28 - 1))

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """In a fit add it to the phase that writes X, or for the inputs a phase."""
        if not at.fitting or self.std == 0:
            return X, lambda d: d
        out = room_beside(program, X)
        record = NOISE.new(source=X.where, out=out, n=X.n, jump=program.jump, std=self.std, stream=self.stream, seed=at.seed)
        follow(program, X, Operation(add_noise, record, f"{X.name} with noise"), 30.0 * program.rows * X.n)
        return replace(X, where=out, lists=[]), lambda d: d
