"""The gather of minibatches: rows of any plain array, by index, into panels of the network's dtype.

Rows are scaled and converted on the way, so an array of bytes, a strided view or a memory map is never copied whole.
"""

from __future__ import annotations

import numba
import numpy as np

from ._bits import like
from ._checks import check_read, check_whole, check_written, overlap
from ._jit import helper, kernel, parallel_jit
from ._tile import PANEL_BYTES, address_of, array_pointer, convert_panel, prefetch, width_of

__all__ = ["gather"]

ROWS = 16  # rows in a task


@helper
def _gather_task(t, X, order, batch, scale, shift, out, stride, jump, bad):
    """Rows t * ROWS ... of the order: converted, scaled, placed; bad[t] = the first that is not finite, or -1."""
    zero, itemsize = like(out[0], 0), out.itemsize
    width, factor, offset = width_of(zero), like(zero, scale), like(zero, shift)
    n, first_bad = X.shape[1], np.int64(-1)
    side_by_side = X.strides[1] == X.itemsize
    whole = n // width if side_by_side else 0
    row_bytes, panel_bytes = X.strides[0], width * X.itemsize
    minibatch, i = t * ROWS // batch, t * ROWS % batch
    for position in range(t * ROWS, min(order.size, (t + 1) * ROWS)):
        index = np.int64(order[position])
        source = address_of(X) + index * row_bytes
        ahead = address_of(X) + np.int64(order[min(position + 4, order.size - 1)]) * row_bytes
        at = minibatch * stride + i * width
        target = address_of(out) + at * itemsize
        wrong = 0
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
def gather_rows(X, order, batch, scale, shift, out, stride, jump, bad, parallel):
    """See `gather`; bad: int64, one entry for 16 rows, overwritten."""
    tasks = (order.size + ROWS - 1) // ROWS
    if parallel:
        for t in numba.prange(tasks):
            _gather_task(np.int64(t), X, order, batch, scale, shift, out, stride, jump, bad)
    else:
        for t in range(tasks):
            _gather_task(t, X, order, batch, scale, shift, out, stride, jump, bad)
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
    order : integer ndarray
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
    check_read("gather: X", X)
    check_written("gather: out", out)
    check_whole("gather: order", order)
    check_whole("gather: batch", batch)
    check_whole("gather: stride", stride)
    check_whole("gather: jump", jump)
    batch, stride, jump = np.int64(batch), np.int64(stride), np.int64(jump)
    if batch < 1:
        raise ValueError("gather: batch must be at least 1")
    width = PANEL_BYTES // out.itemsize
    minibatches, n_panels = (order.size - 1) // batch + 1, (X.shape[1] + width - 1) // width
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
    bad = np.empty((order.size + ROWS - 1) // ROWS, np.int64)
    first = np.int64(-1)
    for t in range(bad.size):
        _gather_task(t, X, order, batch, scale, shift, out, stride, jump, bad)
        first = bad[t] if first < 0 else first
    return first


@gather.from_python
def _gather(X, order, batch, scale, shift, out, stride, jump):
    try:
        return gather.compiled(X, order, batch, scale, shift, out, stride, jump)
    except IndexError as error:
        position = int(((order < 0) | (order >= len(X))).argmax())
        raise IndexError(f"{error}, 0 to {len(X) - 1}; got {order[position]} at position {position}.") from None
