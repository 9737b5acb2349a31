"""Batch normalization: its record, its tasks, its `emit`.

A task takes a panel, all its rows: what a column needs is in it. Sums over the rows run over blocks of rows, which do not depend on the
number of threads, each row of a block for itself, and then over the rows of a block in a fixed tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import ClassVar

from . import _door
from ._bits import like
from ._elements import fill
from ._jit import helper, task
from ._tile import PANEL_BYTES, array_at, call, copy_line, width_of, zero_of
from .between import Between, pass_on
from .dense import apply, finishing
from .norm import BACKWARD_FIELDS, BLOCK_BYTES, FORWARD_FIELDS, NORM_ROWS, of_rows
from .program import Memory, Operation, Program, Value
from .records import NOW, F, I, Record

__all__ = ["BatchNorm"]

BLOCKS, LINES = 6, 4  # blocks in the scratch of a thread, and lines behind them

COLUMNS_FIELDS = {  # of the records of both ways
    "running_mean": (I, "address of the running mean of each column"),
    "running_variance": (I, "address of the running variance of each column"),
    "of_batch": (I, "whether the rows of the minibatch say mean and variance, or else the running ones are taken"),
    "statistics": (I, "address of three lines for each panel: mean, variance, 1 / deviation"),
}

FORWARD = Record(**FORWARD_FIELDS, **COLUMNS_FIELDS)

BACKWARD = Record(**BACKWARD_FIELDS, **COLUMNS_FIELDS, momentum=(F, "the share of the minibatch in new running statistics"))


@helper
def add_rows(zero, block, out):
    """Add up the rows of a block in halves, in their place; their sum goes to a line."""
    half = NORM_ROWS // 2 * width_of(zero)
    while half >= width_of(zero):
        low, high = array_at(zero, block, half), array_at(zero, block + half * PANEL_BYTES // width_of(zero), half)
        for k in range(half):
            low[k] += high[k]
        half //= 2
    copy_line(zero, block, out)


@task
def batchnorm_forward(tag, t, worker, record, now):
    """Y = (X - mean) / sqrt(var + eps) * gain + bias for a panel, and what follows."""
    zero, L, rows = zero_of(tag), FORWARD(record), NOW(now).rows
    width, n_rows = width_of(zero), like(zero, rows)
    size, at = NORM_ROWS * width, t * L.jump * (PANEL_BYTES // width)
    X, Y = (L.X if L.X != 0 else NOW(now).inputs) + at, L.Y + at
    room, lines = L.scratch + worker * L.scratch_bytes, L.statistics + 3 * t * PANEL_BYTES
    mean, variance, scale = array_at(zero, lines, width), array_at(zero, lines + PANEL_BYTES, width), array_at(zero, lines + 2 * PANEL_BYTES, width)
    total, center = array_at(zero, room, size), array_at(zero, room + BLOCK_BYTES, size)
    factor, shift = array_at(zero, room + 2 * BLOCK_BYTES, size), array_at(zero, room + 3 * BLOCK_BYTES, size)
    if L.of_batch != 0:
        fill(total, zero)
        for first in range(0, rows, NORM_ROWS):
            x = array_at(zero, X + first * PANEL_BYTES, min(NORM_ROWS, rows - first) * width)
            for k in range(x.size):
                total[k] += x[k]
        add_rows(zero, room, lines)
        for j in range(width):
            mean[j] /= n_rows
        of_rows(zero, lines, NORM_ROWS, room + BLOCK_BYTES)
        fill(total, zero)
        for first in range(0, rows, NORM_ROWS):
            x = array_at(zero, X + first * PANEL_BYTES, min(NORM_ROWS, rows - first) * width)
            for k in range(x.size):
                value = x[k] - center[k]
                total[k] += value * value
        add_rows(zero, room, lines + PANEL_BYTES)
        for j in range(width):
            variance[j] /= n_rows
    else:
        copy_line(zero, L.running_mean + t * PANEL_BYTES, lines)
        copy_line(zero, L.running_variance + t * PANEL_BYTES, lines + PANEL_BYTES)
        of_rows(zero, lines, NORM_ROWS, room + BLOCK_BYTES)
    gain = array_at(zero, L.gain + t * PANEL_BYTES, width)
    for j in range(width):  # where the variance has become infinite, the loss is to show it
        scale[j] = like(zero, 1.0) / sqrt(variance[j] + like(zero, L.eps)) if variance[j] < like(zero, inf) else like(zero, nan)
        factor[j] = scale[j] * gain[j]
    of_rows(zero, room + 2 * BLOCK_BYTES, NORM_ROWS, room + 2 * BLOCK_BYTES)
    of_rows(zero, L.bias + t * PANEL_BYTES, NORM_ROWS, room + 3 * BLOCK_BYTES)
    for first in range(0, rows, NORM_ROWS):
        count = min(NORM_ROWS, rows - first) * width
        x, y = array_at(zero, X + first * PANEL_BYTES, count), array_at(zero, Y + first * PANEL_BYTES, count)
        for k in range(count):
            y[k] = (x[k] - center[k]) * factor[k] + shift[k]
    apply(L.then, L.n_then, 0, rows, t, now)


@task
def batchnorm_backward(tag, t, worker, record, now):
    """With N = (X - mean) / sqrt(var + eps), for a panel: dgain and dbias, the sums of dY * N and of dY over the rows, and

    dX = (dY - dbias / rows - N * dgain / rows) * gain / sqrt(var + eps) in the place of dY, finished; without the means where mean
    and variance are constants. Then the running statistics: here, since a loss that is not finite does not come so far.
    """
    zero, L, rows = zero_of(tag), BACKWARD(record), NOW(now).rows
    width, n_rows = width_of(zero), like(zero, rows)
    size, at, n = NORM_ROWS * width, t * L.jump * (PANEL_BYTES // width), min(width, L.n - t * width)
    X, dY = (L.X if L.X != 0 else NOW(now).inputs) + at, L.dY + at
    room, lines = L.scratch + worker * L.scratch_bytes, L.statistics + 3 * t * PANEL_BYTES
    sums, ends = room + BLOCKS * BLOCK_BYTES, array_at(zero, room + BLOCKS * BLOCK_BYTES, LINES * width)
    shift, slant = array_at(zero, room, size), array_at(zero, room + BLOCK_BYTES, size)
    center, scale = array_at(zero, room + 2 * BLOCK_BYTES, size), array_at(zero, room + 3 * BLOCK_BYTES, size)
    factor, line = array_at(zero, room + 4 * BLOCK_BYTES, size), array_at(zero, L.gain + t * PANEL_BYTES, width)
    of_rows(zero, lines, NORM_ROWS, room + 2 * BLOCK_BYTES)
    of_rows(zero, lines + 2 * PANEL_BYTES, NORM_ROWS, room + 3 * BLOCK_BYTES)
    fill(shift, zero)
    fill(slant, zero)
    for first in range(0, rows, NORM_ROWS):
        count = min(NORM_ROWS, rows - first) * width
        x, d = array_at(zero, X + first * PANEL_BYTES, count), array_at(zero, dY + first * PANEL_BYTES, count)
        for k in range(count):
            shift[k] += d[k]
        for k in range(count):
            slant[k] += d[k] * ((x[k] - center[k]) * scale[k])
    add_rows(zero, room, sums)
    add_rows(zero, room + BLOCK_BYTES, sums + PANEL_BYTES)
    if L.wanted != 0:
        for j in range(width):
            factor[j] = scale[j] * line[j]
        of_rows(zero, room + 4 * BLOCK_BYTES, NORM_ROWS, room + 4 * BLOCK_BYTES)
        for j in range(2 * width):
            ends[2 * width + j] = ends[j] / n_rows if L.of_batch != 0 else zero
        of_rows(zero, sums + 2 * PANEL_BYTES, NORM_ROWS, room)
        of_rows(zero, sums + 3 * PANEL_BYTES, NORM_ROWS, room + BLOCK_BYTES)
        for first in range(0, rows, NORM_ROWS):
            count = min(NORM_ROWS, rows - first) * width
            x, d = array_at(zero, X + first * PANEL_BYTES, count), array_at(zero, dY + first * PANEL_BYTES, count)
            for k in range(count):
                d[k] = (d[k] - shift[k] - (x[k] - center[k]) * scale[k] * slant[k]) * factor[k]
        apply(L.finish, L.n_finish, 0, rows, t, now)
    for where, sum_ in ((L.dbias, ends[:n]), (L.dgain, ends[width : width + n])):
        if where != 0:
            gradient = array_at(zero, where + t * PANEL_BYTES, n)
            for j in range(n):
                gradient[j] = sum_[j]
            if L.update != 0:
                call(L.update, (0, L.optimizer, where + t * PANEL_BYTES, width, now))
    if L.of_batch != 0 and rows > 1:  # of a single row nobody knows the variance
        mean, variance = array_at(zero, L.running_mean + t * PANEL_BYTES, n), array_at(zero, L.running_variance + t * PANEL_BYTES, n)
        of_batch, share = array_at(zero, lines, 2 * width), like(zero, L.momentum)
        unbiased = n_rows / (n_rows - like(zero, 1.0))
        for j in range(n):
            mean[j] += share * (of_batch[j] - mean[j])
            variance[j] += share * (of_batch[width + j] * unbiased - variance[j])


@dataclass(frozen=True)
class BatchNorm(Between):
    """Y = (X - mean) / sqrt(var + eps) * gain + bias, mean and variance taken over the rows of a minibatch.

    A step of a fit takes them of its minibatch, the variance divided by the rows, and moves the running ones towards them:
    running += momentum * (theirs - running), the variance divided by the rows - 1; a minibatch of one row leaves them.
    Everything else, and a layer of which nothing is trained, takes the running ones as they are.

    Parameters
    ----------
    n : int
        Columns.
    eps : float
        Above 0, also in float32.
    momentum : float
        From 0 to 1.
    trained : (bool, bool)
        Whether training changes the gain, and the bias.

    Raises
    ------
    TypeError, ValueError
        If a field is of another kind or out of range.

    References
    ----------
    Ioffe, Szegedy, Batch normalization, ICML 2015.
    """

    follows: ClassVar[bool] = False
    flops: ClassVar[int] = 20

    eps: float = 1e-5
    momentum: float = 0.1
    trained: tuple[bool, bool] = (True, True)

    def __post_init__(self) -> None:
        super().__post_init__()
        eps, momentum = _door.above_zero("eps", self.eps), _door.number("momentum", self.momentum)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1]; got {momentum}.")
        _door.set_fields(self, eps=eps, momentum=momentum, trained=_door.flags("trained", self.trained, 2))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Its arrays, in the order in which they lie in the flat vector."""
        return dict.fromkeys(("gain", "bias", "mean", "variance"), (self.n,))

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """Add the way forward; return the outputs, and what adds the way back."""
        tasks, Y, (gain, bias, mean, variance) = program.panels(self.n), program.matrix(self.n), at.parameters
        shared = {"n": self.n, "X": X.where, "gain": gain, "jump": program.jump} | program.scratch((BLOCKS * NORM_ROWS + LINES) * program.width)
        shared |= {"running_mean": mean, "running_variance": variance, "of_batch": at.fitting and any(self.trained)}
        shared["statistics"] = program.zeros(3 * tasks * program.width)
        record, then = FORWARD.new(**shared, eps=self.eps, bias=bias, Y=Y), list[Operation]()
        program.operations(record, "then", then)
        name = f"B{at.index + 1}"
        program.phase(batchnorm_forward, tasks, record, 8.0 * program.rows * self.n, f"{name} = batchnorm({X.name})")
        out = Value(Y, self.n, name, epilogue=then, wanted=X.wanted or any(at.gradient))

        def backward(dY: int) -> int:
            if not out.wanted:
                return 0
            dgain, dbias = at.gradient[:2]
            record = BACKWARD.new(**shared, **at.update, momentum=self.momentum, dY=dY, wanted=X.wanted, dgain=dgain, dbias=dbias)
            program.operations(record, "finish", finishing(program, X, dY))
            i = at.index + 1
            made = [text for text, there in ((f"d{X.name}", X.wanted), (f"dgain{i}", dgain), (f"dbias{i}", dbias)) if there]
            note = f"{', '.join(made)} from d{name}" + (", updated" if at.update else "")
            program.phase(batchnorm_backward, tasks, record, 14.0 * program.rows * self.n, note)
            return pass_on(program, X, dY)

        return out, backward
