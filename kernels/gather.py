"""The gather of minibatches: rows of any plain array, by index, into panels of the network's dtype.

Rows are scaled and converted on the way, so an array of bytes, a strided view or a memory map is never copied whole. A factor
and a shift for each column are applied in float64: a column of numbers near 1e9 keeps what tells its rows apart. Rows that are
taken at random are asked for well before they are used: one that has to be waited for costs more than a small network's step.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from ._arrays import overlap
from ._bits import fma, like
from ._checks import check_matrix, check_numbers, check_order, check_vector_out, check_whole
from ._jit import DTYPES, helper, jit, kernel, task
from ._jit import address as address_of_function
from ._tile import PANEL_BYTES, address_of, array_at, call, convert_columns, convert_panel, keep, pointer, prefetch, width_of, zero_of
from .panels import panels
from .plan import Array
from .program import task_address
from .records import F, I, Record, address
from .sharing import LARGE_WORK
from .team import run_tasks

__all__ = ["NO_ORDER", "Gather", "RowError", "check_row", "gather", "gather_some"]

ROWS = 16  # rows in a task
AHEAD_BYTES, LEAST_AHEAD, MOST_AHEAD = 4096, 4, 64  # how far ahead rows are asked for: so many bytes, but some rows

SOURCE = Record(
    X=(I, "address of the array"),
    row_bytes=(I, "from one row to the next"),
    column_bytes=(I, "from one column to the next"),
    n=(I, "columns"),
    order=(I, "address of the rows to take, 0: from `first` on, as they lie"),
    first=(I, "the first row, without an order"),
    rows=(I, "how many to take"),
    batch=(I, "rows in a minibatch"),
    scale=(F, "X * scale + shift is placed"),
    shift=(F, "X * scale + shift is placed"),
    scales=(I, "address of a factor for each column, as float64, or 0: `scale` is for all"),
    shifts=(I, "address of a shift for each column"),
    out=(I, "address of the panels"),
    stride=(I, "numbers from one minibatch to the next"),
    jump=(I, "numbers from one panel to the next"),
    bad=(I, "address of a row for each task: one that is not finite, or -1"),
    convert=(I, "address of `gather_converted` for the array's dtype"),
)


SOURCE_WORDS = SOURCE.dtype.itemsize // 8


@helper
def _gather_task(source_tag, zero, t, S):
    """Rows t * ROWS ... of the order: converted, scaled, placed; return the first that is not finite, or -1."""
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    factor, offset = like(zero, S.scale), like(zero, S.shift)
    element = array_at(source_tag, S.X, 1).itemsize
    first_bad, side_by_side = np.int64(-1), S.column_bytes == element
    whole = S.n // width if side_by_side else 0
    panel_bytes, row_size = width * element, S.n * element
    distance = max(LEAST_AHEAD, min(MOST_AHEAD, AHEAD_BYTES // max(1, row_size)))
    order = array_at(np.int64(0), S.order, S.rows)
    minibatch, i = t * ROWS // S.batch, t * ROWS % S.batch
    for position in range(t * ROWS, min(S.rows, (t + 1) * ROWS)):
        index = order[position] if S.order != 0 else S.first + position
        source = S.X + index * S.row_bytes
        at = minibatch * S.stride + i * width
        target, wrong = S.out + at * itemsize, 0
        if S.order != 0 and side_by_side:
            ahead = S.X + order[min(position + distance, S.rows - 1)] * S.row_bytes
            for line in range(whole * panel_bytes, row_size, 64):
                prefetch(ahead + line)
            prefetch(ahead + row_size - 1)
        else:
            ahead = source
        if S.scales != 0:
            for p in range(whole):
                prefetch(ahead + p * panel_bytes)
                columns, place = p * width * 8, target + p * S.jump * itemsize
                panel = pointer(source_tag, source + p * panel_bytes)
                wrong |= convert_columns(zero, panel, place, S.scales + columns, S.shifts + columns)
            scales, shifts = array_at(0.0, S.scales, S.n), array_at(0.0, S.shifts, S.n)
            for j in range(whole * width, S.n):
                number = array_at(source_tag, source + j * S.column_bytes, 1)[0]
                value = like(zero, fma(np.float64(number), scales[j], shifts[j]))
                array_at(zero, target + j // width * S.jump * itemsize, width)[j % width] = value
                wrong |= 0 if value - value == zero else 1
        else:
            for p in range(whole):
                prefetch(ahead + p * panel_bytes)
                wrong |= convert_panel(zero, pointer(source_tag, source + p * panel_bytes), target + p * S.jump * itemsize, factor, offset)
            for p in range(whole, (S.n + width - 1) // width):
                first = p * width
                line = array_at(zero, target + p * S.jump * itemsize, width)
                for j in range(first, min(S.n, first + width)):
                    value = like(zero, array_at(source_tag, source + j * S.column_bytes, 1)[0]) * factor + offset
                    line[j - first] = value
                    wrong |= 0 if value - value == zero else 1
        if wrong != 0 and first_bad < 0:
            first_bad = index
        i += 1
        if i == S.batch:
            minibatch, i = minibatch + 1, 0
    return first_bad


@task
def gather_converted(source_tag, tag, t, record):
    """Gather some rows of an array of the dtype that `source_tag` points to."""
    S = SOURCE(record)
    array_at(np.int64(0), S.bad, t + 1)[t] = _gather_task(source_tag, zero_of(tag), t, S)


@task
def gather_rows(tag, t, worker, record, now):
    """Place some rows in panels."""
    call(SOURCE(record).convert, (0, 0, t, record))


@jit
def gather_some(task, record, X, row_bytes, column_bytes, order, first, rows, team):
    """Gather the rows of an order, or where it is empty `rows` from the first on; return one that is not finite, or -1."""
    S = SOURCE(record)
    S.X, S.row_bytes, S.column_bytes = X, row_bytes, column_bytes
    S.order, S.first, S.rows = address_of(order) if order.size > 0 else 0, first, rows
    tasks = (rows + ROWS - 1) // ROWS
    run_tasks(team if rows * S.n * 20 > LARGE_WORK else 0, task, tasks, record, np.int64(0))
    bad = array_at(np.int64(0), S.bad, tasks)
    for t in range(tasks):
        if bad[t] >= 0:
            return bad[t]
    return np.int64(-1)


NO_ORDER = np.zeros(0, np.int64)


class RowError(ValueError):
    """A row of X is not finite in the dtype of a plan, converted and scaled; `row` says which."""

    def __init__(self, row: int, dtype: str) -> None:
        super().__init__(f"X must be finite as scaled {dtype}; got NaN or infinity in row {row}.")
        self.row = row


def check_row(row: int, dtype: str) -> None:
    """Raise where a gather has found a row that is not finite."""
    if row >= 0:
        raise RowError(row, dtype)


class Gather:
    """Fills the panels of minibatches with rows of arrays.

    Parameters
    ----------
    dtype : str
        Of the panels.
    batch : int
        Rows in a minibatch.
    jump : int
        Numbers from one panel to the next.
    n : int
        Columns.
    out : ndarray
        The panels of some minibatches.
    """

    def __init__(self, dtype: str, batch: int, jump: int, n: int, out: Array) -> None:
        self.dtype, self.out, self.n = dtype, out, n
        stride = -(-n * np.dtype(dtype).itemsize // PANEL_BYTES) * jump
        self.minibatches = out.size // stride
        self.bad = np.empty(-(-self.minibatches * batch // ROWS), np.int64)
        self.record = SOURCE.new(n=n, batch=batch, out=address(out), jump=jump, stride=stride, bad=address(self.bad))
        self.task, self.where = task_address(gather_rows, dtype), address(self.record)
        self._read: tuple[Any, ...] = ()

    def __call__(self, X: Array, order: NDArray[np.int64], first: int, rows: int, scale: float | Array, shift: float | Array, team: int) -> int:
        """Place the rows of an order, or where it is empty `rows` from the first on; return one that is not finite, or -1."""
        self.read(X.dtype, scale, shift)
        row_bytes, column_bytes = X.strides
        return int(gather_some(self.task, self.where, address(X), row_bytes, column_bytes, order, first, rows, team))

    def read(self, kind: np.dtype[Any], scale: float | Array, shift: float | Array) -> None:
        """Say what the next rows are converted from, and how they are scaled."""
        by_column = isinstance(scale, np.ndarray)
        if by_column or (kind, scale, shift) != self._read:
            record = self.record[0]
            record["scale"], record["shift"] = (1.0, 0.0) if by_column else (scale, shift)
            record["scales"], record["shifts"] = (address(scale), address(shift)) if by_column else (0, 0)
            record["convert"] = _convert_address(kind, self.dtype)
            self._read = () if by_column else (kind, scale, shift)  # arrays may be changed in place


@functools.cache
def _convert_address(source: np.dtype[Any], dtype: str) -> int:
    """Return the address of `gather_converted` from one dtype to another."""
    kind = types.CPointer(numba.from_dtype(source))
    return address_of_function(gather_converted, types.void(kind, types.CPointer(DTYPES[dtype]), types.int64, types.int64))


@kernel
def gather(X, order, batch, scale, shift, out, stride, jump):
    """Place rows in panels: row order[s * batch + i] * scale + shift is row i of minibatch s; return a row that is not finite, or -1.

    Parameters
    ----------
    X : ndarray of shape (n, m), any real dtype and layout
    order : integer ndarray of shape (rows,)
        Rows of X, in the order in which they are used.
    batch : int
        Rows in a minibatch, at least 1.
    scale, shift : float
    out : ndarray of shape (size,), float32 or float64, contiguous, overwritten
        Element (i, j) of minibatch s lies at [s * stride + j // width * jump + i * width + j % width].
        Shares no memory with X and order.
    stride, jump : int
        From one minibatch to the next, from one panel to the next.

    Raises
    ------
    IndexError
        If order names a row that X does not have.
    TypeError
        If an argument is of another kind.
    ValueError
        If out is too small, not contiguous, or shares memory with X or order, or batch is below 1.
    """
    check_matrix("gather: X", X)
    check_vector_out("gather: out", out)
    check_order("gather: order", order)
    check_whole("gather: batch", batch)
    check_whole("gather: stride", stride)
    check_whole("gather: jump", jump)
    check_numbers("gather: scale and shift", (scale, shift))
    batch, stride, jump = np.int64(batch), np.int64(stride), np.int64(jump)
    if batch < 1:
        raise ValueError("gather: batch must be at least 1")
    width = PANEL_BYTES // out.itemsize
    minibatches, n_panels = (order.size - 1) // batch + 1, panels(X.shape[1], width)
    # divided, not multiplied: products of large numbers would wrap around
    panels_overlap = jump // width < batch or stride // max(n_panels, 1) < jump
    if minibatches > 0 and (panels_overlap or out.size // minibatches < stride):
        raise ValueError("gather: out must hold every minibatch")
    if out.size > 1 and out.strides[0] != out.itemsize:
        raise ValueError("gather: out must be contiguous")
    if overlap(out, X) or overlap(out, order):
        raise ValueError("gather: out must share no memory with X and order")
    for i in range(order.size):
        if order[i] < 0 or order[i] >= X.shape[0]:
            raise IndexError("gather: order must name rows of X")
    rows, room, first = order.astype(np.int64), np.zeros(SOURCE_WORDS, np.int64), np.int64(-1)
    S = SOURCE(address_of(room))
    S.X, S.row_bytes, S.column_bytes, S.n = address_of(X), X.strides[0], X.strides[1], X.shape[1]
    S.order, S.rows, S.batch, S.scale, S.shift = address_of(rows), rows.size, batch, scale, shift
    S.out, S.stride, S.jump = address_of(out), stride, jump
    for t in range((rows.size + ROWS - 1) // ROWS):
        bad = _gather_task(pointer(X, 0), like(out[0], 0), t, S)
        first = bad if first < 0 else first
    keep(rows)
    keep(room)
    return first


@gather.from_python
def _gather(X, order, batch, scale, shift, out, stride, jump):
    try:
        return gather.compiled(X, order, batch, scale, shift, out, stride, jump)
    except IndexError as error:
        position = int(((order < 0) | (order >= len(X))).argmax())
        raise IndexError(f"{error}, 0 to {len(X) - 1}; got {order[position]} at position {position}.") from None
