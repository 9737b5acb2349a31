"""A dense layer: X @ W + b with the activation fused, and its gradients. Plain arrays, or weights packed once by the caller.

X is copied into panels, a few percent of the work of a product, since rows that lie a power of two apart would fall into one
set of the cache. A plain W is packed a panel at a time by whoever multiplies with it, unless X has so few rows that reading W is the
work: then it is read where it lies.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import carray

from ._arrays import overlap
from ._checks import check_read, check_whole, check_written
from ._jit import OMP_REGION, Task, default_threads, helper, inline, jit, kernel, parallel_helper, region_work, task, threads
from ._link import linked, linked_task
from ._product import column_product, panel_product
from ._tile import FLOOR, NO_FINISH, PANEL_BYTES, VECTOR_BYTES, address_of, copy_line, make_tile, pointer, transpose_block, width_of, zero_of
from .activations import ELEMENTWISE, IDENTITY, RELU, back, forth
from .panels import panels

__all__ = ["linear_backward", "linear_forward", "matmul"]

# Few rows: how many panels side by side the registers hold for so many rows.
_BESIDE = {
    64: {6: (4, 1), 4: (4, 1), 3: (8, 4, 1), 2: (8, 4, 1), 1: (8, 4, 1)},
    32: {6: (1,), 4: (1,), 3: (2, 1), 2: (2, 1), 1: (4, 1)},
    16: {6: (1,), 4: (1,), 3: (1,), 2: (1,), 1: (2, 1)},
}[VECTOR_BYTES]
FEW_ROWS = 16
CACHED = 1 << 19  # bytes of X that are multiplied with all of a packed W before the next
BLOCK = 32  # inputs that few rows are multiplied with before the next ones
TOGETHER = 4  # panels that are packed at once: they lie side by side


def _make_few(rows: int) -> Any:
    """Return a helper that multiplies `rows` rows of X with all whole panels of a plain W, some inputs deep."""
    sizes = (_BESIDE[rows] * 3)[:3] if len(_BESIDE[rows]) == 1 else (_BESIDE[rows][0], *_BESIDE[rows][-2:])
    beside0, beside1, beside2 = sizes
    tile0, tile1, tile2 = (make_tile(rows, False, True, beside) for beside in sizes)

    @helper
    def few(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count):
        p = 0
        while p < count:
            at = p * PANEL_BYTES
            if p + beside0 <= count:
                tile0(zero, x, x_row, w + at, w_row, init + at, init_row, c + at, c_row, mode, c, 0, depth, c, 0)
                p += beside0
            elif p + beside1 <= count:
                tile1(zero, x, x_row, w + at, w_row, init + at, init_row, c + at, c_row, mode, c, 0, depth, c, 0)
                p += beside1
            else:
                tile2(zero, x, x_row, w + at, w_row, init + at, init_row, c + at, c_row, mode, c, 0, depth, c, 0)
                p += beside2

    return few


_few6, _few4, _few3, _few2, _few1 = (_make_few(rows) for rows in (6, 4, 3, 2, 1))


@task
def plain_product(tag, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count, rows):
    """C = finish(init + X @ W) for `count` whole panels of a plain W, `depth` inputs deep; a row of X is `x_row` numbers from the next."""
    zero = zero_of(tag)
    itemsize = PANEL_BYTES // width_of(zero)
    while rows > 0:
        height = 6 if rows >= 6 else min(4, rows)
        if height == 6:
            _few6(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
        elif height == 4:
            _few4(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
        elif height == 3:
            _few3(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
        elif height == 2:
            _few2(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
        else:
            _few1(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
        rows -= height
        x += height * x_row * itemsize
        init += height * init_row * itemsize
        c += height * c_row * itemsize


_rows_product, _columns_product, _plain_product = (linked_task(one) for one in (panel_product, column_product, plain_product))


@inline
def _number(zero, where):
    return carray(pointer(zero, where), 1)[0]


@inline
def _put(zero, where, value):
    carray(pointer(zero, where), 1)[0] = value


@helper
def _pack_rows(X, x_row, x_column, n, n_in, first, out, jump):
    """n rows of X into panels, from row `first` on: out[k // width * jump + i * width + k % width] = X[i, k]."""
    zero, itemsize = out.dtype.type(0), out.itemsize
    width = PANEL_BYTES // itemsize
    whole = n_in // width if x_column == 1 else 0
    for i in range(n):
        source, target = X + i * x_row * itemsize, address_of(out) + (first + i) * PANEL_BYTES
        for p in range(whole):
            copy_line(zero, source + p * PANEL_BYTES, target + p * jump * itemsize)
        for k in range(whole * width, n_in):
            out[k // width * jump + (first + i) * width + k % width] = _number(zero, source + k * x_column * itemsize)


@helper
def _pack_panels(W, w_row, w_column, n_in, columns, out):
    """Some columns of a plain W into panels, one after the other; zeros beyond the last column."""
    zero, itemsize = out.dtype.type(0), out.itemsize
    width = PANEL_BYTES // itemsize
    whole = columns // width if w_column == 1 else 0
    for k in range(n_in):
        source, target = W + k * w_row * itemsize, address_of(out) + k * PANEL_BYTES
        for p in range(whole):
            copy_line(zero, source + p * PANEL_BYTES, target + p * n_in * PANEL_BYTES)
    for p in range(whole, panels(columns, width)):
        left = min(width, columns - p * width)
        for k in range(n_in):
            source, at = W + (k * w_row + p * width * w_column) * itemsize, (p * n_in + k) * width
            for j in range(left):
                out[at + j] = _number(zero, source + j * w_column * itemsize)
            for j in range(left, width):
                out[at + j] = zero


@helper
def _pack_transposed(W, w_row, w_column, height, n_out, out):
    """At most a panel's width of rows of W, transposed: out[n * width + i] = W[i, n], zeros beyond the last row of W."""
    zero, itemsize = out.dtype.type(0), out.itemsize
    width = PANEL_BYTES // itemsize
    whole = n_out // width * width if height == width and w_column == 1 else 0
    for n in range(0, whole, width):
        transpose_block(zero, W + n * itemsize, w_row, address_of(out) + n * PANEL_BYTES, width)
    for n in range(whole, n_out):
        for i in range(width):
            out[n * width + i] = _number(zero, W + (i * w_row + n * w_column) * itemsize) if i < height else zero


@helper
def _product_part(t, parts, blocks, A, jump, W, w_row, w_column, packed, bias, out, out_row, out_column, n, n_in, n_out, activation):
    """Some rows and panels of out = activation(X @ W + b); A is X in panels, b is padded to whole panels."""
    zero, itemsize = A.dtype.type(0), A.itemsize
    width = PANEL_BYTES // itemsize
    P = panels(n_out, width)
    part, block = t // blocks, t % blocks
    first, last = block * n // blocks, (block + 1) * n // blocks
    fused = activation == RELU or activation == IDENTITY
    scratch, rows = np.empty(0 if packed else TOGETHER * n_in * width, A.dtype), np.empty((last - first) * width, A.dtype)
    mode, end = FLOOR if activation == RELU else NO_FINISH, (part + 1) * P // parts
    for p0 in range(part * P // parts, end, TOGETHER):
        p1 = min(end, p0 + TOGETHER)
        if not packed:
            _pack_panels(W + p0 * width * w_column * itemsize, w_row, w_column, n_in, min(n_out, p1 * width) - p0 * width, scratch)
        for p in range(p0, p1):
            a, b = address_of(A) + first * PANEL_BYTES, bias + p * PANEL_BYTES
            B = W + p * n_in * PANEL_BYTES if packed else address_of(scratch) + (p - p0) * n_in * PANEL_BYTES
            C = out + (first * out_row + p * width * out_column) * itemsize
            if fused and out_column == 1 and (p + 1) * width <= n_out:
                _rows_product(zero, 0, (a, jump, B, b, 0, C, out_row, mode, C, 0, n_in, last - first, B + n_in * PANEL_BYTES))
                continue
            _rows_product(zero, 0, (a, jump, B, b, 0, address_of(rows), width, mode, b, 0, n_in, last - first, B + n_in * PANEL_BYTES))
            if not fused:
                forth(zero, activation, (0, address_of(rows), address_of(rows), rows.size))
            for i in range(last - first):
                for j in range(min(width, n_out - p * width)):
                    _put(zero, C + (i * out_row + j * out_column) * itemsize, rows[i * width + j])


@helper
def _few_rows_part(zero, t, parts, X, x_row, W, w_row, bias, out, out_row, out_column, n, n_in, n_out, activation):
    """Some columns of out = activation(X @ W + b) for few rows and a plain W, read where it lies, in the order in which it lies.

    A block of inputs is multiplied with all columns before the next: the sums wait in the cache, W streams through. A last panel
    that W does not fill is read into the next rows; the last rows of W, where that would end behind the matrix, are copied.
    """
    width = width_of(zero)
    itemsize, P = PANEL_BYTES // width, panels(n_out, width)
    first, last = t * P // parts, (t + 1) * P // parts
    count, columns, start = last - first, min(n_out, last * width) - first * width, first * PANEL_BYTES
    c_row = count * width
    sums, tail = np.empty(n * c_row + 1, type(zero)), np.zeros(c_row, type(zero))
    beyond = c_row - columns
    whole = max(0, n_in - (beyond + w_row - 1) // w_row) if beyond > 0 else n_in
    k = 0
    while k < n_in or k == 0:
        in_place = k < whole
        depth = min(BLOCK, whole - k) if in_place else min(1, n_in)
        if not in_place:
            for j in range(columns if n_in > 0 else 0):
                tail[j] = _number(zero, W + start + (k * w_row + j) * itemsize)
        w = W + k * w_row * itemsize + start if in_place else address_of(tail)
        mode = FLOOR if activation == RELU and k + depth >= n_in else NO_FINISH
        c, init, init_row = address_of(sums), bias + start, 0
        if k > 0:
            init, init_row = c, c_row
        _plain_product(zero, 0, (X + k * itemsize, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count, n))
        k += max(depth, 1)
    if activation != RELU and activation != IDENTITY:
        forth(zero, activation, (0, address_of(sums), address_of(sums), n * c_row))
    for i in range(n):
        for j in range(columns):
            _put(zero, out + (i * out_row + (first * width + j) * out_column) * itemsize, sums[i * c_row + j])


@helper
def _reads_in_place(x_column, w_row, w_column, packed, n, n_out):
    """Whether a plain W is read where it lies: for few rows, if the numbers of a row lie side by side."""
    return not packed and n <= FEW_ROWS and x_column == 1 and w_column == 1 and w_row >= n_out


@helper
def _block_height(packed, n, n_in, itemsize):
    """How many rows of X are packed and multiplied before the next: as many as stay in a cache of the second level, if W is packed."""
    if packed:
        most = max(24, CACHED // (max(n_in, 1) * itemsize) // 24 * 24)
        blocks = (n + most - 1) // most
        return min(most, ((n + blocks - 1) // blocks + 3) // 4 * 4)
    return n


@task
def linear_task(tag, X, x_row, x_column, W, w_row, w_column, packed, bias, out, out_row, out_column, n, n_in, n_out, activation, threads):
    """out = activation(X @ W + b): addresses, and how many numbers it is from row to row and from column to column."""
    zero = zero_of(tag)
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    if _reads_in_place(x_column, w_row, w_column, packed, n, n_out):
        _few_rows_part(zero, 0, 1, X, x_row, W, w_row, bias, out, out_row, out_column, n, n_in, n_out, activation)
        return
    height = _block_height(packed, n, n_in, itemsize)
    jump = (height | 1) * width
    A = np.empty(panels(n_in, width) * jump, type(zero))
    for first in range(0, n, height):
        rows, C = min(n - first, height), out + first * out_row * itemsize
        _pack_rows(X + first * x_row * itemsize, x_row, x_column, rows, n_in, 0, A, jump)
        _product_part(0, 1, 1, A, jump, W, w_row, w_column, packed, bias, C, out_row, out_column, rows, n_in, n_out, activation)


@parallel_helper
def _linear_parallel(zero, X, x_row, x_column, W, w_row, w_column, packed, bias, out, out_row, out_column, n, n_in, n_out, activation, threads):
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    if _reads_in_place(x_column, w_row, w_column, packed, n, n_out):
        for t in numba.prange(threads):
            _few_rows_part(zero, np.int64(t), threads, X, x_row, W, w_row, bias, out, out_row, out_column, n, n_in, n_out, activation)
    else:
        jump = (n | 1) * width
        A = np.empty(panels(n_in, width) * jump, type(zero))
        for t in numba.prange(threads):
            first = np.int64(t) * n // threads
            _pack_rows(X + first * x_row * itemsize, x_row, x_column, (np.int64(t) + 1) * n // threads - first, n_in, first, A, jump)
        parts, blocks = (threads, 1) if panels(n_out, width) >= 4 * threads else (1, threads)
        for t in numba.prange(threads):
            _product_part(
                np.int64(t), parts, blocks, A, jump, W, w_row, w_column, packed, bias, out, out_row, out_column, n, n_in, n_out, activation
            )  # fmt: skip


@task
def linear_parallel_task(tag, X, x_row, x_column, W, w_row, w_column, packed, bias, out, out_row, out_column, n, n_in, n_out, activation, threads):
    """`linear_task` in threads."""
    _linear_parallel(
        zero_of(tag), X, x_row, x_column, W, w_row, w_column, packed, bias, out, out_row, out_column, n, n_in, n_out, activation, threads
    )  # fmt: skip


@task
def linear_backward_task(tag, dZ, X, x_row, x_column, W, w_row, w_column, dX, dx_row, dx_column, dW, dw_row, dw_column, db, n, n_in, n_out):
    """dX = dZ @ W.T, dW = X.T @ dZ, db = dZ.sum(0); dZ and db lie side by side."""
    zero = zero_of(tag)
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    P, Q, jump = panels(n_out, width), panels(n_in, width), (n | 1) * width
    D, A = np.zeros(P * jump, type(zero)), np.zeros(Q * jump, type(zero))
    _pack_rows(dZ, n_out, 1, n, n_out, 0, D, jump)
    _pack_rows(X, x_row, x_column, n, n_in, 0, A, jump)
    nothing, ones, block = np.zeros(width, type(zero)), np.ones(width, type(zero)), np.empty(width * width, type(zero))
    rows, transposed = np.empty(n * width, type(zero)), np.empty(n_out * width, type(zero))
    for q in range(Q):
        height, none, Wt = min(width, n_in - q * width), address_of(nothing), address_of(transposed)
        _pack_transposed(W + q * width * w_row * itemsize, w_row, w_column, height, n_out, transposed)
        _rows_product(zero, 0, (address_of(D), jump, Wt, none, 0, address_of(rows), width, NO_FINISH, none, 0, n_out, n, Wt))
        for i in range(n):
            for j in range(height):
                _put(zero, dX + (i * dx_row + (q * width + j) * dx_column) * itemsize, rows[i * width + j])
        for p in range(P):
            a, d = address_of(A) + q * jump * itemsize, address_of(D) + p * jump * itemsize
            _columns_product(zero, 0, (a, d, 0, none, address_of(block), 0, 1, n, height))
            for i in range(height):
                for j in range(min(width, n_out - p * width)):
                    _put(zero, dW + ((q * width + i) * dw_row + (p * width + j) * dw_column) * itemsize, block[i * width + j])
    for p in range(P):
        one, none, d = address_of(ones), address_of(nothing), address_of(D) + p * jump * itemsize
        _rows_product(zero, 0, (one, 0, d, none, 0, address_of(block), width, NO_FINISH, none, 0, n, 1, one))
        for j in range(min(width, n_out - p * width)):
            _put(zero, db + (p * width + j) * itemsize, block[j])


SERIAL, PARALLEL = range(2)
_linear = linked("linear", 16, {SERIAL: functools.partial(Task, linear_task), PARALLEL: functools.partial(Task, linear_parallel_task)})
_backward = linked_task(linear_backward_task)


# Arrays of any layout, and of another dtype where they are read.


@helper
def _is_readable(A, out):
    """Whether tasks can take a matrix where it lies: packed, or numbers of the dtype of out, whole numbers of them apart.

    The rows of a field of a structure may lie any number of bytes apart.
    """
    return A.ndim == 3 or (A.dtype == out.dtype and A.strides[0] % A.itemsize == 0 and A.strides[1] % A.itemsize == 0)


@helper
def _room_for(A, out):
    return 0 if _is_readable(A, out) else A.size


@helper
def _copy_matrix(A, room, at):
    if A.ndim == 2:
        for i in range(A.shape[0]):
            for j in range(A.shape[1]):
                room[at + i * A.shape[1] + j] = A[i, j]


@helper
def _take_back(A, room, at):
    if not _is_readable(A, A):
        for i in range(A.shape[0]):
            for j in range(A.shape[1]):
                A[i, j] = room[at + i * A.shape[1] + j]


@helper
def _place(A, room, at):
    """Return where the numbers of a matrix lie, and how many it is from row to row and from column to column, in room if it is copied there."""
    if _is_readable(A, room):
        return address_of(A), A.strides[0] // A.itemsize, A.strides[1] // A.itemsize
    _copy_matrix(A, room, at)
    return address_of(room) + at * room.itemsize, A.shape[1], 1


@helper
def _run_linear(X, W, b, activation, out, threads):
    zero, width = out.dtype.type(0), PANEL_BYTES // out.itemsize
    (n, n_out), n_in = out.shape, X.shape[1]
    if n == 0 or n_out == 0:
        return
    at_x = panels(n_out, width) * width
    at_w = at_x + _room_for(X, out)
    at_out = at_w + _room_for(W, out)
    room = np.empty(at_out + _room_for(out, out), out.dtype)
    for j in range(at_x):
        room[j] = b[j] if j < b.shape[0] else zero
    x, w, c = _place(X, room, at_x), _place(W, room, at_w), _place(out, room, at_out)
    code = PARALLEL if threads > 1 else SERIAL
    _linear(zero, code, (*x, *w, np.int64(W.ndim == 3), address_of(room), *c, n, n_in, n_out, np.int64(activation), threads))
    _take_back(out, room, at_out)


def _make_check_product(kernel: str, x: str, w: str) -> Any:
    """Return the check of what both products have: `x` and `w` are what the kernel calls X and W."""
    kind_x, kind_w, kind_out = f"{kernel}: {x}", f"{kernel}: {w}", f"{kernel}: out"
    packed = f"{kernel}: a packed {w} must be contiguous, of the dtype of out and the shape packed_shape(n_in, n_out, dtype)"
    inputs = f"{kernel}: {x} must have the shape (n, n_in) to match {w} (n_in, n_out)"
    outputs = f"{kernel}: out must have the shape (n, n_out)"
    shared = f"{kernel}: out must share no memory with the other arrays"

    @helper
    def check(X, W, out):
        check_read(kind_x, X)
        check_read(kind_w, W)
        check_written(kind_out, out)
        n_out = out.shape[1]
        if W.ndim == 3:
            width = PANEL_BYTES // out.itemsize
            if not (W.dtype == out.dtype and W.shape[2] == width and W.shape[0] == panels(n_out, width)):
                raise ValueError(packed)
            between_rows, between_panels = PANEL_BYTES, W.shape[1] * PANEL_BYTES
            if W.size > 0 and W.strides != (between_panels, between_rows, W.itemsize):
                raise ValueError(packed)
        elif W.shape[1] != n_out:
            raise ValueError(outputs)
        if X.shape[1] != W.shape[W.ndim - 2]:
            raise ValueError(inputs)
        if out.shape[0] != X.shape[0]:
            raise ValueError(outputs)
        if overlap(out, X) or overlap(out, W):
            raise ValueError(shared)

    return check


_check_linear, _check_matmul = _make_check_product("linear_forward", "X", "W"), _make_check_product("matmul", "A", "B")


@helper
def _check_forward(X, W, b, activation, out):
    check_read("linear_forward: b", b)
    check_whole("linear_forward: activation", activation)
    if activation not in ELEMENTWISE:
        raise ValueError("linear_forward: activation must be elementwise")
    if W.ndim == 2 and W.shape[1] != b.shape[0]:
        raise ValueError("linear_forward: b must have the shape (n_out,) of W (n_in, n_out)")
    if out.shape[1] != b.shape[0]:
        raise ValueError("linear_forward: out must have the shape (n, n_out)")
    _check_linear(X, W, out)
    if overlap(out, b):
        raise ValueError("linear_forward: out must share no memory with the other arrays")


@jit
def _linear_in_threads(X, W, b, activation, out, threads):
    _check_forward(X, W, b, activation, out)
    _run_linear(X, W, b, activation, out, threads)


@jit
def _check_matmul_only(A, B, out):
    _check_matmul(A, B, out)


@kernel
def linear_forward(X, W, b, activation, out):
    """Compute a dense layer: out = activation(X @ W + b).

    Called from Python it runs on the default number of threads where that pays, from nopython code on one.

    Parameters
    ----------
    X : ndarray of shape (n, n_in)
    W : ndarray of shape (n_in, n_out), or packed, of shape `packed_shape(n_in, n_out, dtype)` and the dtype of out
        A packed W (see `pack`) saves the packing, a few percent of the time from a hundred rows on.
    b : ndarray of shape (n_out,)
    activation : int
        An elementwise activation: `kernels.IDENTITY`, `kernels.RELU` and so on.
    out : ndarray of shape (n, n_out), float32 or float64, overwritten
        Shares no memory with the others. X, a plain W and b of another real dtype are converted to its dtype first.

    Raises
    ------
    TypeError
        If an argument is not such an array, or the activation not an integer.
    ValueError
        If a shape does not match, out shares memory, or the activation needs whole rows (softmax).

    Notes
    -----
    Each output element is one chain of fused multiply-adds over the inputs in ascending order: the same bits for any
    number of threads and rows, packed or not.
    """
    _check_forward(X, W, b, activation, out)
    _run_linear(X, W, b, activation, out, 1)


def _threads_pay(X: Any, W: Any) -> bool:
    """Return whether a product is worth a parallel region; what is no matrix is not."""
    try:
        work = X.shape[0] * W.size
    except (AttributeError, IndexError):
        return False
    return bool(work > OMP_REGION and default_threads() > 1 and work > region_work())


@linear_forward.from_python
def _linear_forward(X, W, b, activation, out):
    if _threads_pay(X, W):
        with threads(default_threads()) as used:
            if used > 1:
                return _linear_in_threads(X, W, b, activation, out, used)
    return linear_forward.compiled(X, W, b, activation, out)


@kernel
def matmul(A, B, out):
    """Compute the product of two matrices: out = A @ B. B plain or packed, as for `linear_forward`.

    Parameters
    ----------
    A : ndarray of shape (n, k)
    B : ndarray of shape (k, m), or packed
    out : ndarray of shape (n, m), float32 or float64, overwritten
        Shares no memory with the others. A and a plain B of another real dtype are converted to its dtype first.

    Raises
    ------
    TypeError
        If an argument is not such an array.
    ValueError
        If a shape does not match, or out shares memory with A or B.
    """
    _check_matmul(A, B, out)
    _run_linear(A, B, np.empty(0, out.dtype), IDENTITY, out, 1)


@matmul.from_python
def _matmul(A, B, out):
    if _threads_pay(A, B):
        with threads(default_threads()) as used:
            if used > 1:
                _check_matmul_only(A, B, out)
                return _linear_in_threads(A, B, np.zeros(out.shape[1], out.dtype), IDENTITY, out, used)
    return matmul.compiled(A, B, out)


@kernel
def linear_backward(dA, saved, X, W, activation, dX, dW, db):
    """Compute the gradients of a dense layer: dZ = dA * activation'(Z), dX = dZ @ W.T, dW = X.T @ dZ, db = dZ.sum(0).

    Parameters
    ----------
    dA : ndarray of shape (n, n_out)
        Gradient with regard to the layer's output.
    saved : ndarray of shape (n, n_out)
        What the activation saved of the forward pass: the layer's output, but for gelu, gelu_tanh and silu their input,
        X @ W + b.
    X : ndarray of shape (n, n_in)
    W : ndarray of shape (n_in, n_out)
    activation : int
        As in `linear_forward`.
    dX : ndarray of shape (n, n_in), float32 or float64, overwritten
    dW : ndarray of shape (n_in, n_out), float32 or float64, overwritten
        Its dtype is that of the calculation: what is read is converted to it first, what is written last.
    db : ndarray of shape (n_out,), float32 or float64, overwritten
        dX, dW and db share no memory with each other or with what is read.

    Raises
    ------
    TypeError
        If an argument is not such an array, or the activation not an integer.
    ValueError
        If a shape does not match, what is written shares memory, or the activation needs whole rows (softmax).
    """
    check_read("linear_backward: dA", dA)
    check_read("linear_backward: saved", saved)
    check_read("linear_backward: X", X)
    check_read("linear_backward: W", W)
    check_written("linear_backward: dX", dX)
    check_written("linear_backward: dW", dW)
    check_written("linear_backward: db", db)
    check_whole("linear_backward: activation", activation)
    n, n_in = X.shape
    n_out = W.shape[1]
    if activation not in ELEMENTWISE:
        raise ValueError("linear_backward: activation must be elementwise")
    if W.shape[0] != n_in:
        raise ValueError("linear_backward: W must have the shape (n_in, n_out) to match X")
    if dA.shape[0] != n or dA.shape[1] != n_out or saved.shape[0] != n or saved.shape[1] != n_out:
        raise ValueError("linear_backward: dA and saved must have the shape (n, n_out)")
    if dX.shape[0] != n or dX.shape[1] != n_in or dW.shape[0] != n_in or dW.shape[1] != n_out or db.shape[0] != n_out:
        raise ValueError("linear_backward: dX, dW and db must have the shapes of X, W and b")
    if _overlaps_any(dX, dA, saved, X, W) or _overlaps_any(dW, dA, saved, X, W) or _overlaps_any(db, dA, saved, X, W):
        raise ValueError("linear_backward: dX, dW and db must share no memory with the other arrays")
    if overlap(dX, dW) or overlap(dX, db) or overlap(dW, db):
        raise ValueError("linear_backward: dX, dW and db must share no memory with each other")
    _run_backward(dA, saved, X, W, activation, dX, dW, db)


@helper
def _overlaps_any(out, dA, saved, X, W):
    return overlap(out, dA) or overlap(out, saved) or overlap(out, X) or overlap(out, W)


@helper
def _run_backward(dA, saved, X, W, activation, dX, dW, db):
    zero, (n, n_in), n_out = dW.dtype.type(0), X.shape, W.shape[1]
    at_d, at_db = n * n_out, 2 * n * n_out
    at_x = at_db + n_out
    at_w = at_x + _room_for(X, dW)
    at_dx = at_w + _room_for(W, dW)
    at_dw = at_dx + _room_for(dX, dW)
    room = np.empty(at_dw + _room_for(dW, dW), dW.dtype)
    _copy_matrix(saved, room, 0)
    _copy_matrix(dA, room, at_d)
    saved_at = address_of(room)
    dZ, db_at = saved_at + at_d * room.itemsize, saved_at + at_db * room.itemsize
    back(zero, np.int64(activation), (0, saved_at, dZ, n * n_out))
    x, w, dx, dw = _place(X, room, at_x), _place(W, room, at_w), _place(dX, room, at_dx), _place(dW, room, at_dw)
    _backward(zero, 0, (dZ, *x, *w, *dx, *dw, db_at, n, n_in, n_out))
    for j in range(n_out):
        db[j] = room[at_db + j]
    _take_back(dX, room, at_dx)
    _take_back(dW, room, at_dw)
