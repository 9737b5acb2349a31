"""Clipping of the gradient before an update: numbers to [-value, value], all together to a norm of at most `norm`.

What is trained is cut in blocks, whatever the threads; the squares of a block are added up in float64 lanes, the blocks
in their order. So who does a task changes no bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._bits import like
from ._elements import fill
from ._jit import helper, task
from ._tile import PANEL_BYTES, array_at, width_of, zero_of
from .plan import Array
from .program import Program
from .records import F, I, Record, address, aligned_zeros

__all__ = ["NO_CLIP", "Clip"]

BLOCK = 1024  # lines whose squares are one sum
LANES = 64  # sums side by side in a block
LEAST = 1e-6  # added to the norm, as torch.nn.utils.clip_grad_norm_ does

CLIP = Record(
    gradient=(I, "address of the gradient of a range of parameters"),
    count=(I, "how many"),
    parts=(I, "tasks"),
    value=(F, "the largest absolute value, infinity where there is none"),
    sums=(I, "address of where the squares of each block are written, 0: nobody asks for them"),
    lanes=(I, "address of the sums side by side of each task"),
    n_lanes=(I, "how many; a field, since of a constant becomes no loop over vectors, which takes 2.5 times as long"),
    factor=(I, "address of what the gradient is multiplied by"),
)

NORM = Record(
    sums=(I, "address of the squares of each block of all ranges"),
    blocks=(I, "how many blocks"),
    norm=(F, "the largest norm"),
    factor=(I, "address of where is written what the gradient is multiplied by"),
)


@helper
def _clip_value(g, most):
    """g = min(max(g, -most), most); NaN stays."""
    for i in range(g.size):
        x = g[i]
        x = most if x > most else x
        g[i] = -most if x < -most else x


@helper
def _squares(g, lanes):
    """Return the sum of the squares of g."""
    n = lanes.size
    whole = g.size // n * n
    fill(lanes, 0.0)
    for i in range(0, whole, n):
        part = g[i : i + n]
        for l in range(n):
            x = np.float64(part[l])
            lanes[l] += x * x
    for i in range(whole, g.size):
        x = np.float64(g[i])
        lanes[i - whole] += x * x
    total = 0.0
    for l in range(n):
        total += lanes[l]
    return total


@task
def clip_blocks(tag, t, worker, record, now):
    """Clip some blocks by value, and add up the squares of each."""
    zero, R = zero_of(tag), CLIP(record)
    size, lanes = BLOCK * width_of(zero), array_at(0.0, R.lanes + t * R.n_lanes * 8, R.n_lanes)
    blocks = (R.count + size - 1) // size
    for k in range(t * blocks // R.parts, (t + 1) * blocks // R.parts):
        g = array_at(zero, R.gradient + k * BLOCK * PANEL_BYTES, min(size, R.count - k * size))
        if R.value < math.inf:
            _clip_value(g, like(zero, R.value))
        if R.sums != 0:
            array_at(0.0, R.sums, blocks)[k] = _squares(g, lanes)


@task
def clip_norm(tag, t, worker, record, now):
    """factor = norm / (sqrt(sum of squares) + 1e-6), and 1 where the root is not finite: that is not to be hidden."""
    R = NORM(record)
    sums, total = array_at(0.0, R.sums, R.blocks), 0.0
    for k in range(R.blocks):
        total += sums[k]
    found = math.sqrt(total)
    array_at(0.0, R.factor, 1)[0] = R.norm / (found + LEAST) if found < math.inf else 1.0


@task
def clip_scale(tag, t, worker, record, now):
    """Multiply a part of a range by the factor where it is below 1."""
    zero, R = zero_of(tag), CLIP(record)
    factor, width = array_at(0.0, R.factor, 1)[0], width_of(zero)
    if factor >= 1.0:
        return
    lines, scale = R.count // width, like(zero, factor)
    first, end = t * lines // R.parts, (t + 1) * lines // R.parts
    g = array_at(zero, R.gradient + first * PANEL_BYTES, (end - first) * width)
    for i in range(g.size):
        g[i] *= scale


@dataclass(frozen=True)
class Clip:
    """Clips a gradient: by value first, then by the norm of what is left.

    Attributes
    ----------
    norm : float
        The gradient is multiplied by norm / (its norm + 1e-6) where that is below 1; infinity for never.
    value : float
        The largest absolute value of its numbers, or infinity.
    """

    norm: float = math.inf
    value: float = math.inf

    def emit(self, program: Program, gradient: Array, ranges: list[tuple[int, int]]) -> None:
        """Add the clipping of these parts of the flat gradient, of whose other parts nothing is read."""
        blocks = [-(-(end - first) // (BLOCK * program.width)) for first, end in ranges]
        sums, factor = (program.keep(aligned_zeros(size, np.float64)) for size in (sum(blocks), 1))
        records = []
        for k, (first, end) in enumerate(ranges):
            parts = program.shares(4.0 * (end - first))
            record = CLIP.new(
                gradient=address(gradient) + first * program.itemsize,
                count=end - first,
                parts=parts,
                value=self.value,
                sums=sums + 8 * sum(blocks[:k]) if self.norm < math.inf else 0,
                lanes=program.keep(aligned_zeros(parts * LANES, np.float64)),
                n_lanes=LANES,
                factor=factor,
            )
            records.append(record)
        _emit_all(program, clip_blocks, records, "gradient, clipped by value, and its squares")
        if self.norm < math.inf:
            record = NORM.new(sums=sums, blocks=sum(blocks), norm=self.norm, factor=factor)
            program.phase(clip_norm, 1, record, 0.0, "norm of the gradient")
            _emit_all(program, clip_scale, records, "gradient, scaled to the norm")


NO_CLIP = Clip()


def _emit_all(program: Program, task_: Any, records: list[Any], note: str) -> None:
    """Add a phase for each range."""
    for record in records:
        program.phase(task_, int(record["parts"][0]), record, 4.0 * int(record["count"][0]), note)
