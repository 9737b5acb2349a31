"""The inputs of a first dense layer as rows of which only some numbers are stored: see `csr`.

    forward    Z = X W + b     a row of Z is b and the lines of W of what the row of X stores, each times its number
    backward   dW = X^T dZ     a row of dW is the lines of dZ of what the column of X stores: a phase sorts a minibatch by columns

What is not stored is zero, and a term of zero changes no sum: bits are those of the same rows dense but for the sign of a zero, and for
weights that are not finite, which meet nothing where nothing is stored.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._bits import like
from ._jit import helper, jit, task
from ._tile import NO_FINISH, PANEL_BYTES, STORED_AHEAD, VECTOR_BYTES, array_at, make_tiles, width_of, zero_of
from .csr import CSR
from .program import Program, task_address
from .records import NOW, I, Record, address
from .zeros import BY_COLUMNS, BY_ROWS

__all__ = ["StoredRows", "Taken", "take"]

Array = NDArray[Any]

MOST_PANELS = {64: 4, 32: 4, 16: 2}[VECTOR_BYTES]  # of outputs at once: as many accumulators as hide the latency of an FMA

# What phases say of their work: the share of a matrix that is taken to be stored, and the multiplications that take as long as the update of a weight.
ASSUMED_SHARE, UPDATE_WORK = 1 / 16, 32

STORED = Record(
    listed=(I, "address of which products go by what is stored: BY_ROWS | BY_COLUMNS"),  # first, as in `zeros`
    n=(I, "columns"),
    jump=(I, "numbers from one panel of the outputs to the next"),
    values=(I, "address of the numbers of some minibatches, row by row"),
    columns=(I, "address of their columns, int32, ascending in each row"),
    ends=(I, "address of where each column of this minibatch ends in what follows"),
    sorted=(I, "address of its numbers, column by column"),
    rows=(I, "address of their rows, int32, ascending in each column"),
)


@jit
def gather_stored(data, indices, indptr, order, rows, n, scales, by_column, values, columns, starts):
    """Take the rows of an order, or where it is empty as they lie; return one that is not finite, or -1, and one whose columns are not in order, or -1."""
    zero, bad, end = like(values[0], 0), np.int64(-1), np.int64(0)
    for i in range(rows):
        row, before = order[i] if order.size > 0 else i, np.int64(-1)
        starts[i] = end
        for k in range(indptr[row], indptr[row + 1]):
            j = np.int64(indices[k])
            if j <= before or j >= n:
                return bad, np.int64(row)
            value = like(zero, np.float64(data[k]) * scales[j]) if by_column else like(zero, data[k]) * like(zero, scales[0])
            if value - value != zero and bad < 0:
                bad = np.int64(row)
            values[end], columns[end], before = value, j, j
            end += 1
    starts[rows] = end
    return bad, np.int64(-1)


@task
def sort_columns(tag, t, worker, record, now):
    """Sort what a minibatch stores by columns, each in the order of its rows."""
    S, rows = STORED(record), NOW(now).rows
    starts = array_at(np.int64(0), NOW(now).inputs, rows + 1)
    columns, values = array_at(np.int32(0), S.columns, starts[rows]), array_at(zero_of(tag), S.values, starts[rows])
    size, ends = starts[rows] - starts[0], array_at(np.int64(0), S.ends, S.n + 1)
    by_column, numbers = array_at(zero_of(tag), S.sorted, size), array_at(np.int32(0), S.rows, size)
    ends[:] = 0
    for k in range(starts[0], starts[rows]):
        ends[columns[k] + 1] += 1
    for j in range(S.n):
        ends[j + 1] += ends[j]
    for i in range(rows):
        for k in range(starts[i], starts[i + 1]):
            at = ends[columns[k]]
            by_column[at], numbers[at] = values[k], i
            ends[columns[k]] = at + 1


_tile = make_tiles([(1, panels) for panels in range(MOST_PANELS, 0, -1)], stored=True)


@helper
def _lines(zero, values, numbers, first, end, B, B_step, init, init_jump, C, C_step, mode, side, count):
    """C = finish(init + the sum of values[k] * line numbers[k] of B) for k = first ... end - 1, and `count` panels of B and C."""
    width, p = width_of(zero), 0
    B_jump, C_jump = B_step // PANEL_BYTES * width, C_step // PANEL_BYTES * width
    A, at = values + first * (PANEL_BYTES // width), numbers + first * 4
    while p < count:
        c, s = C + p * C_step, side + p * C_step
        places = B + p * B_step, B_jump, init + p * (init_jump // width * PANEL_BYTES), 0, init_jump, c, width, C_jump
        _, done = _tile(zero, 1, count - p, A, 0, *places, mode, s, end - first, B, at)
        p += done


@task
def stored_rows_product(tag, record, starts, B, B_step, init, C, mode, side, first, last, count, ahead):
    """C = finish(init + X B) for rows first ... last - 1 of a minibatch and some panels of B, as `zeros.listed_rows_product`."""
    zero, S = zero_of(tag), STORED(record)
    width, at = width_of(zero), array_at(np.int64(0), starts, last + 1)
    step = S.jump // width * PANEL_BYTES
    for i in range(first, last):
        c = C + i * PANEL_BYTES
        _lines(zero, S.values, S.columns, at[i], at[i + 1], B, B_step, init, width, c, step, mode, side, count)


@task
def stored_columns_product(tag, record, a, a_step, b, b_step, none, c, c_step, count, k, first, rows, arrays, ahead, behind, behind_step):
    """C = X^T B for the columns of X from the panel `first` on and some panels of B, as `zeros.listed_columns_product`."""
    zero, S = zero_of(tag), STORED(record)
    start, ends = first * width_of(zero), array_at(np.int64(0), S.ends, S.n + 1)
    for i in range(rows):
        begin = ends[start + i - 1] if start + i > 0 else 0
        _lines(zero, S.sorted, S.rows, begin, ends[start + i], b, b_step, none, 0, c + i * PANEL_BYTES, c_step, NO_FINISH, none, count)


class Taken(NamedTuple):
    """Rows as programs read them."""

    values: Array
    columns: NDArray[np.int32]  # with some more behind them, which are asked for
    starts: NDArray[np.int64]
    bad_row: int  # one that is not finite, or -1


def take(X: CSR, order: NDArray[np.int64], dtype: str, scale: float | Array) -> Taken:
    """Return the rows of an order, or where it is empty all, in a dtype, scaled.

    Raises
    ------
    ValueError
        If a row has columns that do not ascend, or that X does not have.
    """
    rows, (_, n) = order.size or len(X), X.shape
    size = int((X.indptr[order + 1] - X.indptr[order]).sum()) if order.size else int(X.indptr[-1] - X.indptr[0])
    values, columns, starts = np.empty(size + 1, dtype), np.zeros(size + STORED_AHEAD, np.int32), np.empty(rows + 1, np.int64)
    by_column = isinstance(scale, np.ndarray)
    scales = np.ascontiguousarray(scale, np.float64) if by_column else np.array([scale], np.float64)
    bad_row, wrong = gather_stored(X.data, X.indices, X.indptr, order, rows, n, scales, by_column, values, columns, starts)
    if wrong >= 0:
        raise ValueError(f"X must have columns from 0 to {n - 1} that ascend in each row; got others in row {X.first + wrong}.")
    return Taken(values, columns, starts, bad_row)


class StoredRows:
    """The inputs of a program as rows of which only some numbers are stored.

    Parameters
    ----------
    program : Program
    n : int
        Columns.
    """

    def __init__(self, program: Program, n: int) -> None:
        self.program = weakref.proxy(program)  # which keeps these: a cycle frees nothing before Python looks for cycles
        self.record = STORED.new(n=n, jump=program.jump, listed=program.keep(np.array([BY_ROWS | BY_COLUMNS])))
        self.where, self.room = program.keep(self.record), (np.zeros(0, program.dtype), np.zeros(0, np.int32))
        self.rows = program.rows
        self.forward_work = self.rows * ASSUMED_SHARE  # multiplications for each weight
        self.backward_work = max(self.forward_work, UPDATE_WORK)

    def by_rows(self) -> tuple[int, int]:
        """Return the address of the record, and of the product of rows."""
        return self.where, task_address(stored_rows_product, self.program.dtype)

    def by_columns(self) -> tuple[int, int]:
        """Add a phase that sorts by columns; return the address of the record, and of the product of columns."""
        n = int(self.record["n"][0])
        self.record["ends"] = self.program.keep(np.zeros(n + 1, np.int64))
        self.program.phase(sort_columns, 1, self.record, 0.0, "X, column by column")
        return self.where, task_address(stored_columns_product, self.program.dtype)

    def read(self, taken: Taken) -> None:
        """Take these rows next; the caller keeps them as long as they are read."""
        record = self.record[0]
        record["values"], record["columns"] = address(taken.values), address(taken.columns)
        if record["ends"]:
            size = int(np.diff(taken.starts[: -1 : self.rows], append=taken.starts[-1]).max()) + STORED_AHEAD  # of the largest minibatch
            if size > self.room[0].size:
                self.room = np.zeros(size, self.room[0].dtype), np.zeros(size, np.int32)
                record["sorted"], record["rows"] = (address(one) for one in self.room)
