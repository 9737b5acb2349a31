"""Layer normalization: its record, its tasks, its `emit`.

Rows go in blocks: a block of a panel lies in one piece, and so do the lanes of its rows' sums. These run over the panels in ascending
order, each lane for itself, and then over the lanes in a fixed tree. The gradients of gain and bias are summed over the rows of a
block, and the blocks, which do not depend on the number of threads, in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from . import _door
from ._bits import like
from ._elements import fill
from ._jit import helper, task
from ._tile import PANEL_BYTES, add_line, array_at, call, copy_line, width_of, zero_of
from .between import BACK_FIELDS, Between, pass_on
from .dense import apply, finishing
from .panels import panels
from .program import Memory, Operation, Program, Value
from .records import NOW, F, I, Record, aligned_zeros

__all__ = ["LayerNorm"]

NORM_ROWS = 32  # rows in a task
BLOCK_BYTES = NORM_ROWS * PANEL_BYTES  # a panel of such rows: what is the same for a row or a column is spread over it,
BLOCKS = 7  # so that loops are long and over vectors; how many of them a task takes

BOTH_FIELDS = {  # of the records of both ways, here and in batch normalization
    "n": (I, "columns"),
    "X": (I, "address of the inputs, 0: the minibatch's"),
    "gain": (I, "address of the factor of each column"),
    "scratch": (I, "address of what a thread calculates with"),
    "scratch_bytes": (I, "bytes of that for one thread"),
    "jump": (I, "numbers from one panel of X, Y and dY to the next"),
}

FORWARD_FIELDS = BOTH_FIELDS | {
    "eps": (F, "added to the variance"),
    "bias": (I, "address of the shift of each column"),
    "Y": (I, "address of where the outputs are written"),
    "then": (I, "address of the operations on what was written"),
    "n_then": (I, "how many there are"),
}

BACKWARD_FIELDS = BOTH_FIELDS | {
    "dY": (I, "address of the gradient of the outputs; that of the inputs is written in its place"),
    "dgain": (I, "address of where the gradient of the gain is written, 0: it is not trained"),
    "dbias": (I, "address of where the gradient of the bias is written, 0: it is not trained"),
    **BACK_FIELDS,
}

ROWS_FIELDS = {  # of the records of both ways, here
    "inside": (I, "address of a block of ones, and of one with ones for the columns of the last panel, else zeros"),
    "rows": (I, "address of mean and 1 / deviation of each row"),
}

FORWARD = Record(**FORWARD_FIELDS, **ROWS_FIELDS)

BACKWARD = Record(**BACKWARD_FIELDS, **ROWS_FIELDS, sums=(I, "address of where each task writes its sums, for the gain and then for the bias"))


@helper
def spread(block, i, width, value):
    """Write a number to all lanes of a row."""
    for l in range(width):
        block[i * width + l] = value


@helper
def add_lanes(block, i, width):
    """Return the sum of the lanes of a row, added in halves, in their place."""
    half = width // 2
    while half > 0:
        for l in range(half):
            block[i * width + l] += block[i * width + half + l]
        half //= 2
    return block[i * width]


@helper
def of_rows(zero, source, rows, out):
    """Write a line to each of some rows."""
    for i in range(rows):
        copy_line(zero, source, out + i * PANEL_BYTES)


@task
def norm_forward(tag, t, worker, record, now):
    """Y = (X - mean) / sqrt(var + eps) * gain + bias for some rows, and what follows."""
    zero, L = zero_of(tag), FORWARD(record)
    width, n = width_of(zero), like(zero, L.n)
    first, last = t * NORM_ROWS, min(NOW(now).rows, (t + 1) * NORM_ROWS)
    if first >= last:
        return
    P, step = panels(L.n, width), L.jump * (PANEL_BYTES // width)
    rows, count = last - first, (last - first) * width
    X, Y = (L.X if L.X != 0 else NOW(now).inputs) + first * PANEL_BYTES, L.Y + first * PANEL_BYTES
    statistics, room = array_at(zero, L.rows, 2 * last), L.scratch + worker * L.scratch_bytes
    total, mean = array_at(zero, room, count), array_at(zero, room + BLOCK_BYTES, count)
    scale, gain = array_at(zero, room + 2 * BLOCK_BYTES, count), array_at(zero, room + 3 * BLOCK_BYTES, count)
    fill(total, zero)
    for p in range(P):
        x, inside = array_at(zero, X + p * step, count), array_at(zero, L.inside + (p == P - 1) * BLOCK_BYTES, count)
        for k in range(count):
            value = x[k]
            total[k] += value if inside[k] > zero else zero
    for i in range(rows):
        statistics[2 * (first + i)] = add_lanes(total, i, width) / n
        spread(mean, i, width, statistics[2 * (first + i)])
    fill(total, zero)
    for p in range(P):
        x, inside = array_at(zero, X + p * step, count), array_at(zero, L.inside + (p == P - 1) * BLOCK_BYTES, count)
        for k in range(count):
            value = x[k] - mean[k]
            total[k] += value * value if inside[k] > zero else zero
    for i in range(rows):
        statistics[2 * (first + i) + 1] = like(zero, 1.0) / sqrt(add_lanes(total, i, width) / n + like(zero, L.eps))
        spread(scale, i, width, statistics[2 * (first + i) + 1])
    for p in range(P):
        x, inside = array_at(zero, X + p * step, count), array_at(zero, L.inside + (p == P - 1) * BLOCK_BYTES, count)
        y = array_at(zero, Y + p * step, count)
        of_rows(zero, L.gain + p * PANEL_BYTES, rows, room + 3 * BLOCK_BYTES)
        for k in range(count):
            value = (x[k] - mean[k]) * scale[k] * gain[k]
            y[k] = value if inside[k] > zero else zero
        for i in range(rows):
            add_line(zero, L.bias + p * PANEL_BYTES, Y + p * step + i * PANEL_BYTES)
        apply(L.then, L.n_then, first, last, p, now)


@task
def norm_backward(tag, t, worker, record, now):
    """With N = (X - mean) / sqrt(var + eps) and dN = dY * gain, for some rows: the sums of dY * N and of dY over them, and

    dX = (dN - mean(dN) - N * mean(dN * N)) / sqrt(var + eps) in the place of dY, finished.
    """
    zero, L = zero_of(tag), BACKWARD(record)
    width, n = width_of(zero), like(zero, L.n)
    first, last = t * NORM_ROWS, min(NOW(now).rows, (t + 1) * NORM_ROWS)
    if first >= last:
        return
    P, step = panels(L.n, width), L.jump * (PANEL_BYTES // width)
    rows, count = last - first, (last - first) * width
    X, dY = (L.X if L.X != 0 else NOW(now).inputs) + first * PANEL_BYTES, L.dY + first * PANEL_BYTES
    statistics, room = array_at(zero, L.rows, 2 * last), L.scratch + worker * L.scratch_bytes
    shift, mean = array_at(zero, room, count), array_at(zero, room + BLOCK_BYTES, count)
    scale, gain = array_at(zero, room + 2 * BLOCK_BYTES, count), array_at(zero, room + 3 * BLOCK_BYTES, count)
    slant, normal = array_at(zero, room + 4 * BLOCK_BYTES, count), array_at(zero, room + 5 * BLOCK_BYTES, count)
    product, sums = array_at(zero, room + 6 * BLOCK_BYTES, count), L.sums + t * 2 * P * PANEL_BYTES
    fill(array_at(zero, sums, 2 * P * width), zero)
    fill(shift, zero)
    fill(slant, zero)
    for i in range(rows):
        spread(mean, i, width, statistics[2 * (first + i)])
        spread(scale, i, width, statistics[2 * (first + i) + 1])
    for p in range(P):
        x, inside = array_at(zero, X + p * step, count), array_at(zero, L.inside + (p == P - 1) * BLOCK_BYTES, count)
        d = array_at(zero, dY + p * step, count)
        for k in range(count):
            value = (x[k] - mean[k]) * scale[k]
            normal[k] = value if inside[k] > zero else zero
        for k in range(count):
            product[k] = d[k] * normal[k]
        for i in range(rows):
            add_line(zero, room + 6 * BLOCK_BYTES + i * PANEL_BYTES, sums + p * PANEL_BYTES)
            add_line(zero, dY + p * step + i * PANEL_BYTES, sums + (P + p) * PANEL_BYTES)
        if L.wanted == 0:
            continue
        of_rows(zero, L.gain + p * PANEL_BYTES, rows, room + 3 * BLOCK_BYTES)
        for k in range(count):
            d[k] *= gain[k]
        for k in range(count):
            shift[k] += d[k]
        for k in range(count):
            slant[k] += d[k] * normal[k]
    if L.wanted == 0:
        return
    for i in range(rows):
        spread(shift, i, width, add_lanes(shift, i, width) / n)
        spread(slant, i, width, add_lanes(slant, i, width) / n)
    for p in range(P):
        x, inside = array_at(zero, X + p * step, count), array_at(zero, L.inside + (p == P - 1) * BLOCK_BYTES, count)
        d = array_at(zero, dY + p * step, count)
        for k in range(count):
            value = (d[k] - shift[k] - (x[k] - mean[k]) * scale[k] * slant[k]) * scale[k]
            d[k] = value if inside[k] > zero else zero
        apply(L.finish, L.n_finish, first, last, p, now)


@task
def norm_sum(tag, t, worker, record, now):
    """Add up the blocks of rows: dgain or dbias, updated where that is done at once."""
    zero, L = zero_of(tag), BACKWARD(record)
    where, length = L.dgain if t == 0 else L.dbias, panels(L.n, width_of(zero)) * width_of(zero)
    if where == 0:
        return
    out, line = array_at(zero, where, length), length * PANEL_BYTES // width_of(zero)
    fill(out, zero)
    for block in range((NOW(now).rows + NORM_ROWS - 1) // NORM_ROWS):
        part = array_at(zero, L.sums + (2 * block + t) * line, length)
        for j in range(length):
            out[j] += part[j]
    if L.update != 0:
        call(L.update, (0, L.optimizer, where, length, now))


@dataclass(frozen=True)
class LayerNorm(Between):
    """Y = (X - mean) / sqrt(var + eps) * gain + bias, mean and variance taken over the columns of each row.

    Parameters
    ----------
    n : int
        Columns.
    eps : float
        Above 0, also in float32.
    trained : (bool, bool)
        Whether training changes the gain, and the bias.

    Raises
    ------
    TypeError, ValueError
        If a field is of another kind or out of range.

    References
    ----------
    Ba, Kiros, Hinton, Layer normalization, arXiv 1607.06450.
    """

    follows: ClassVar[bool] = False
    flops: ClassVar[int] = 24

    eps: float = 1e-5
    trained: tuple[bool, bool] = (True, True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _door.set_fields(self, eps=_door.above_zero("eps", self.eps), trained=_door.flags("trained", self.trained, 2))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Its arrays, in the order in which they lie in the flat vector."""
        return {"gain": (self.n,), "bias": (self.n,)}

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """Add the way forward; return the outputs, and what adds the way back."""
        tasks, Y, (gain, bias) = -(-program.rows // NORM_ROWS), program.matrix(self.n), at.parameters
        inside = aligned_zeros(2 * NORM_ROWS * program.width, program.dtype).reshape(2, NORM_ROWS, program.width)
        inside[0], inside[1, :, : (self.n - 1) % program.width + 1] = 1, 1
        shared = {"n": self.n, "X": X.where, "gain": gain, "jump": program.jump} | program.scratch(BLOCKS * NORM_ROWS * program.width)
        shared |= {"inside": program.keep(inside), "rows": program.zeros(2 * program.rows)}
        record, then = FORWARD.new(**shared, eps=self.eps, bias=bias, Y=Y), list[Operation]()
        program.operations(record, "then", then)
        name = f"N{at.index + 1}"
        program.phase(norm_forward, tasks, record, 8.0 * program.rows * self.n, f"{name} = norm({X.name})")
        out = Value(Y, self.n, name, epilogue=then, wanted=X.wanted or any(at.gradient))

        def backward(dY: int) -> int:
            if not out.wanted:
                return 0
            dgain, dbias = at.gradient
            sums = program.zeros(tasks * 2 * program.panels(self.n) * program.width)
            record = BACKWARD.new(**shared, **at.update, dY=dY, wanted=X.wanted, sums=sums, dgain=dgain, dbias=dbias)
            program.operations(record, "finish", finishing(program, X, dY))
            program.phase(norm_backward, tasks, record, 16.0 * program.rows * self.n, f"d{X.name} from d{name}" if X.wanted else f"sums of d{name}")
            if dgain or dbias:
                i = at.index + 1
                program.phase(norm_sum, 2, record, 2.0 * tasks * self.n, f"dgain{i}, dbias{i}" + (", updated" if at.update else ""))
            return pass_on(program, X, dY)

        return out, backward
