"""The gather of minibatches: rows of any plain array, by index, into panels of the network's dtype.

Rows are scaled and converted on the way, so an array of bytes, a strided view or a memory map is never copied whole. A factor
and a shift for each column are applied in float64: a column of numbers near 1e9 keeps what tells its rows apart.
"""

from __future__ import annotations

import numba
import numpy as np

from ._bits import fma, like
from ._jit import helper, kernel, parallel_jit
from ._tile import PANEL_BYTES, address_of, array_pointer, convert_columns, convert_panel, prefetch, width_of

__all__ = ["gather"]

ROWS = 16  # rows in a task


NO_COLUMNS = np.empty(0)  # instead of factors and shifts for each column: one of each is for all


@helper
def _gather_task(t, X, order, batch, scale, shift, scales, shifts, out, stride, jump, bad):
    """Rows t * ROWS ... of the order: converted, scaled, placed; bad[t] = the first that is not finite, or -1."""
    zero, itemsize = like(out[0], 0), out.itemsize
    width, factor, offset = width_of(zero), like(zero, scale), like(zero, shift)
    n, first_bad = X.shape[1], np.int64(-1)
    side_by_side = X.strides[1] == X.itemsize
    whole = n // width if side_by_side else 0
    row_bytes, panel_bytes = X.strides[0], width * X.itemsize
    by_column, of_scales, of_shifts = scales.size > 0, address_of(scales), address_of(shifts)
    minibatch, i = t * ROWS // batch, t * ROWS % batch
    for position in range(t * ROWS, min(order.size, (t + 1) * ROWS)):
        index = order[position]
        source = address_of(X) + index * row_bytes
        ahead = address_of(X) + order[min(position + 4, order.size - 1)] * row_bytes
        at = minibatch * stride + i * width
        target = address_of(out) + at * itemsize
        wrong = 0
        if by_column:
            for p in range(whole):
                prefetch(ahead + p * panel_bytes)
                columns = p * width * 8
                panel, place = array_pointer(X, source + p * panel_bytes), target + p * jump * itemsize
                wrong |= convert_columns(zero, panel, place, of_scales + columns, of_shifts + columns)
            for j in range(whole * width, n):
                value = like(zero, fma(np.float64(X[index, j]), scales[j], shifts[j]))
                out[at + j // width * jump + j % width] = value
                wrong |= 0 if value - value == zero else 1
        else:
            for p in range(whole):
                prefetch(ahead + p * panel_bytes)
                wrong |= convert_panel(zero, array_pointer(X, source + p * panel_bytes), target + p * jump * itemsize, factor, offset)
            for j in range(whole * width, n):
                value = like(zero, X[index, j]) * factor + offset
                out[at + j // width * jump + j % width] = value
                wrong |= 0 if value - value == zero else 1
        if wrong != 0 and first_bad < 0:
            first_bad = index
        i += 1
        if i == batch:
            minibatch, i = minibatch + 1, 0
    bad[t] = first_bad


@parallel_jit
def gather_rows(X, order, batch, scale, shift, scales, shifts, out, stride, jump, bad, parallel):
    """See `gather`; scales, shifts: float64, for each column, or both empty; bad: int64, one entry for 16 rows, overwritten."""
    tasks = (order.size + ROWS - 1) // ROWS
    if parallel:
        for t in numba.prange(tasks):
            _gather_task(np.int64(t), X, order, batch, scale, shift, scales, shifts, out, stride, jump, bad)
    else:
        for t in range(tasks):
            _gather_task(t, X, order, batch, scale, shift, scales, shifts, out, stride, jump, bad)
    for t in range(tasks):
        if bad[t] >= 0:
            return bad[t]
    return np.int64(-1)


@kernel
def gather(X, order, batch, scale, shift, out, stride, jump):
    """Place rows in panels: row order[s * batch + i] * scale + shift is row i of minibatch s; return a row that is not finite, or -1.

    Parameters
    ----------
    X : ndarray of shape (n, m), any real dtype and layout
    order : int64 ndarray
        Rows of X, in the order in which they are used.
    batch : int
        Rows in a minibatch.
    scale, shift : float
    out : ndarray of shape (size,), float32 or float64, overwritten
        Element (i, j) of minibatch s lies at [s * stride + j // width * jump + i * width + j % width].
    stride, jump : int
        From one minibatch to the next, from one panel to the next.

    Raises
    ------
    IndexError
        If order names a row that X does not have.
    ValueError
        If out is too small.
    """
    width = PANEL_BYTES // out.itemsize
    minibatches = (order.size + batch - 1) // batch
    if minibatches * stride > out.size or (X.shape[1] + width - 1) // width * jump > stride or batch * width > jump:
        raise ValueError("gather: out must hold every minibatch")
    for i in range(order.size):
        if order[i] < 0 or order[i] >= X.shape[0]:
            raise IndexError("gather: order must name rows of X")
    bad = np.empty((order.size + ROWS - 1) // ROWS, np.int64)
    first, none = np.int64(-1), np.empty(0)
    for t in range(bad.size):
        _gather_task(t, X, order, batch, scale, shift, none, none, out, stride, jump, bad)
        first = bad[t] if first < 0 else first
    return first
