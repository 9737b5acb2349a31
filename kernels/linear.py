"""A dense layer: X @ W + b with the activation fused, and its gradients. Plain arrays, or weights packed once by the caller.

X is copied into panels, a few percent of the work of a product, since rows that lie a power of two apart would fall into one
set of the cache. A plain W is packed a panel at a time by whoever multiplies with it, unless X has so few rows that reading W is the
work: then it is read where it lies.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ._arrays import overlap
from ._bits import like
from ._checks import check_read, check_whole, check_written
from ._jit import OMP_REGION, default_threads, helper, jit, kernel, parallel_helper, region_work, threads
from ._product import columns_product, rows_product
from ._tile import FLOOR, NO_FINISH, PANEL_BYTES, VECTOR_BYTES, address_of, copy_line, make_tile, transpose_block
from .activations import ELEMENTWISE, IDENTITY, RELU, activation_backward, forward_range
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


@helper
def _few(zero, rows, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count):
    if rows == 6:
        _few6(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
    elif rows == 4:
        _few4(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
    elif rows == 3:
        _few3(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
    elif rows == 2:
        _few2(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
    else:
        _few1(zero, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)


@helper
def _pack_rows(X, first, last, out, jump):
    """Rows first ... last - 1 of X into panels: out[k // width * jump + i * width + k % width] = X[i, k]."""
    zero, width, n = out.dtype.type(0), PANEL_BYTES // out.itemsize, X.shape[1]
    whole = n // width if X.strides[1] == X.itemsize and X.dtype == out.dtype else 0
    for i in range(first, last):
        source, target = address_of(X) + i * X.strides[0], address_of(out) + i * PANEL_BYTES
        for p in range(whole):
            copy_line(zero, source + p * PANEL_BYTES, target + p * jump * out.itemsize)
        for k in range(whole * width, n):
            out[k // width * jump + i * width + k % width] = X[i, k]


@helper
def _pack_panels(W, first, last, out):
    """Panels first ... last - 1 of a plain W, one after the other; zeros beyond the last column."""
    zero, width, n_in = out.dtype.type(0), PANEL_BYTES // out.itemsize, W.shape[0]
    block = n_in * width
    whole = min(last, W.shape[1] // width) if W.strides[1] == W.itemsize and W.dtype == out.dtype else first
    for k in range(n_in):
        source, target = address_of(W) + k * W.strides[0], address_of(out) + k * PANEL_BYTES
        for p in range(first, whole):
            copy_line(zero, source + p * PANEL_BYTES, target + (p - first) * n_in * PANEL_BYTES)
    for p in range(max(first, whole), last):
        left = min(width, W.shape[1] - p * width)
        for k in range(n_in):
            at = (p - first) * block + k * width
            for j in range(left):
                out[at + j] = W[k, p * width + j]
            for j in range(left, width):
                out[at + j] = zero


@helper
def _has_plain_rows(A, out):
    """Whether the rows of a matrix are numbers of the dtype of `out` that lie side by side, whole numbers of them apart.

    The rows of a field of a structure may lie any number of bytes apart.
    """
    return A.dtype == out.dtype and A.strides[1] == A.itemsize and A.strides[0] % A.itemsize == 0


@helper
def _pack_transposed(W, q, out):
    """Panel q of the transpose: out[n * width + i] = W[q * width + i, n], zeros beyond the last row of W."""
    zero, width = out.dtype.type(0), PANEL_BYTES // out.itemsize
    height = min(width, W.shape[0] - q * width)
    whole = W.shape[1] // width * width if height == width and _has_plain_rows(W, out) else 0
    for n in range(0, whole, width):
        block = address_of(W) + q * width * W.strides[0] + n * W.itemsize
        transpose_block(zero, block, W.strides[0] // W.itemsize, address_of(out) + n * PANEL_BYTES, width)
    for n in range(whole, W.shape[1]):
        for i in range(width):
            out[n * width + i] = W[q * width + min(i, height - 1), n] if i < height else zero


@helper
def _inputs_of(W):
    if W.ndim == 3:
        return W.shape[1]
    return W.shape[0]


@helper
def _panels_at(W, first, last, scratch):
    """Return the address of panels first ... last - 1 of W, which are packed into scratch unless they are packed already."""
    if W.ndim == 3:
        return address_of(W) + first * W.shape[1] * PANEL_BYTES
    _pack_panels(W, first, last, scratch)
    return address_of(scratch)


@helper
def _product_task(t, parts, blocks, A, jump, n_rows, W, b, activation, out):
    """Some rows and panels of out = activation(X @ W + b); A is X in panels, b is padded to whole panels."""
    zero, width, itemsize = like(b[0], 0), PANEL_BYTES // b.itemsize, b.itemsize
    n_in, n_out = _inputs_of(W), out.shape[1]
    P = panels(n_out, width)
    part, block = t // blocks, t % blocks
    first, last = block * n_rows // blocks, (block + 1) * n_rows // blocks
    fused = activation == RELU or activation == IDENTITY
    direct = fused and _has_plain_rows(out, out)
    scratch = np.empty(TOGETHER * n_in * width, b.dtype)
    rows = np.empty((last - first) * width, b.dtype)
    mode, a = FLOOR if activation == RELU else NO_FINISH, address_of(A) + first * PANEL_BYTES
    end = (part + 1) * P // parts
    for p0 in range(part * P // parts, end, TOGETHER):
        p1 = min(end, p0 + TOGETHER)
        packed = _panels_at(W, p0, p1, scratch)
        for p in range(p0, p1):
            B, bias = packed + (p - p0) * n_in * PANEL_BYTES, address_of(b) + p * PANEL_BYTES
            if direct and (p + 1) * width <= n_out:
                C = address_of(out) + first * out.strides[0] + p * PANEL_BYTES
                rows_product(zero, a, jump, B, bias, 0, C, out.strides[0] // itemsize, mode, C, 0, n_in, last - first, B + n_in * PANEL_BYTES)
            else:
                rows_product(zero, a, jump, B, bias, 0, address_of(rows), width, mode, bias, 0, n_in, last - first, B + n_in * PANEL_BYTES)
                if not fused:
                    forward_range(activation, rows, rows)
                for i in range(last - first):
                    for j in range(min(width, n_out - p * width)):
                        out[first + i, p * width + j] = rows[i * width + j]


@helper
def _few_rows_task(t, parts, X, W, b, activation, out):
    """Some columns of out = activation(X @ W + b) for few rows and a plain W, read where it lies, in the order in which it lies.

    A block of inputs is multiplied with all columns before the next: the sums wait in the cache, W streams through. A last panel
    that W does not fill is read into the next rows; the last rows of W, where that would end behind the matrix, are copied.
    """
    zero, width, itemsize = like(b[0], 0), PANEL_BYTES // b.itemsize, b.itemsize
    n_in, n_out, n_rows = W.shape[0], out.shape[1], X.shape[0]
    P = panels(n_out, width)
    first, last = t * P // parts, (t + 1) * P // parts
    count, columns = last - first, min(n_out, last * width) - first * width
    x_row, w_row, c_row = X.strides[0] // itemsize, W.strides[0] // itemsize, count * width
    sums, tail = np.empty(n_rows * c_row, b.dtype), np.zeros(count * width, b.dtype)
    beyond = count * width - columns
    whole = max(0, n_in - (beyond + w_row - 1) // w_row) if beyond > 0 else n_in
    k = 0
    while k < n_in or k == 0:
        in_place = k < whole
        depth = min(BLOCK, whole - k) if in_place else min(1, n_in)
        if not in_place:
            for j in range(columns if n_in > 0 else 0):
                tail[j] = W[k, first * width + j]
        w = address_of(W) + k * W.strides[0] + first * PANEL_BYTES if in_place else address_of(tail)
        mode = FLOOR if activation == RELU and k + depth >= n_in else NO_FINISH
        i = 0
        while i < n_rows:
            left = n_rows - i
            height = 6 if left >= 6 else 4 if left >= 4 else left
            x, c = address_of(X) + i * X.strides[0] + k * itemsize, address_of(sums) + i * c_row * itemsize
            init, init_row = address_of(b) + first * PANEL_BYTES, 0
            if k > 0:
                init, init_row = c, c_row
            _few(zero, height, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count)
            i += height
        k += max(depth, 1)
    if activation != RELU and activation != IDENTITY:
        forward_range(activation, sums, sums)
    for i in range(n_rows):
        for j in range(columns):
            out[i, first * width + j] = sums[i * c_row + j]


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
        if X.shape[1] != _inputs_of(W):
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


@helper
def _padded(b, like_out):
    width = PANEL_BYTES // like_out.itemsize
    padded = np.zeros(panels(b.shape[0], width) * width, like_out.dtype)
    padded[: b.shape[0]] = b
    return padded


@helper
def _reads_in_place(X, W, out):
    """Whether a plain W is read where it lies: few rows, one dtype, unit strides."""
    if W.ndim == 3:
        return False
    if X.shape[0] > FEW_ROWS or W.strides[0] < W.shape[1] * W.itemsize:
        return False
    return _has_plain_rows(X, out) and _has_plain_rows(W, out)


@helper
def _few_rows(t, parts, X, W, b, activation, out):
    if W.ndim == 2:
        _few_rows_task(t, parts, X, W, b, activation, out)


@helper
def _linear_serial(X, W, b, activation, out):
    n_rows, n_in = X.shape
    if n_rows == 0 or out.shape[1] == 0:
        return
    if _reads_in_place(X, W, out):
        _few_rows(0, 1, X, W, b, activation, out)
    else:
        width = PANEL_BYTES // out.itemsize
        height = _block_height(W, n_rows)
        jump = (height | 1) * width
        A = np.empty(panels(n_in, width) * jump, out.dtype)
        for first in range(0, n_rows, height):
            last = min(n_rows, first + height)
            _pack_rows(X[first:last], 0, last - first, A, jump)
            _product_task(0, 1, 1, A, jump, last - first, W, b, activation, out[first:last])


@helper
def _block_height(W, n_rows):
    """How many rows of X are packed and multiplied before the next: as many as stay in a cache of the second level, if W is packed."""
    if W.ndim == 3:
        most = max(24, CACHED // (max(W.shape[1], 1) * W.itemsize) // 24 * 24)
        blocks = (n_rows + most - 1) // most
        return min(most, ((n_rows + blocks - 1) // blocks + 3) // 4 * 4)
    return n_rows


@parallel_helper
def _linear_parallel(X, W, b, activation, out, threads):
    n_rows, n_in = X.shape
    if _reads_in_place(X, W, out):
        for t in numba.prange(threads):
            _few_rows(np.int64(t), threads, X, W, b, activation, out)
    else:
        width = PANEL_BYTES // out.itemsize
        jump = (n_rows | 1) * width
        A = np.empty(panels(n_in, width) * jump, out.dtype)
        for t in numba.prange(threads):
            _pack_rows(X, np.int64(t) * n_rows // threads, (np.int64(t) + 1) * n_rows // threads, A, jump)
        by_panel = panels(out.shape[1], width) >= 4 * threads
        parts, blocks = (threads, 1) if by_panel else (1, threads)
        for t in numba.prange(threads):
            _product_task(np.int64(t), parts, blocks, A, jump, n_rows, W, b, activation, out)


@jit
def _linear_in_threads(X, W, b, activation, out, threads):
    _check_forward(X, W, b, activation, out)
    _linear_parallel(X, W, _padded(b, out), activation, out, threads)


@jit
def _check_matmul_only(A, B, out):
    _check_matmul(A, B, out)


@helper
def _no_bias(out):
    width = PANEL_BYTES // out.itemsize
    return np.zeros(panels(out.shape[1], width) * width, out.dtype)


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
    _linear_serial(X, W, _padded(b, out), activation, out)


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
    _linear_serial(A, B, _no_bias(out), IDENTITY, out)


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
    _linear_backward(dA, saved, X, W, activation, dX, dW, db)


@helper
def _overlaps_any(out, dA, saved, X, W):
    return overlap(out, dA) or overlap(out, saved) or overlap(out, X) or overlap(out, W)


@helper
def _linear_backward(dA, saved, X, W, activation, dX, dW, db):
    n, n_in = X.shape
    n_out, zero, width = W.shape[1], dW.dtype.type(0), PANEL_BYTES // dW.itemsize
    P, Q, jump = panels(n_out, width), panels(n_in, width), (n | 1) * width
    dZ = np.empty((n, n_out), dW.dtype)
    activation_backward(activation, saved, dA, dZ)
    D, A = np.zeros(P * jump, dW.dtype), np.zeros(Q * jump, dW.dtype)
    _pack_rows(dZ, 0, n, D, jump)
    _pack_rows(X, 0, n, A, jump)
    nothing, ones = np.zeros(width, dW.dtype), np.ones(width, dW.dtype)
    block, rows, transposed = np.empty(width * width, dW.dtype), np.empty(n * width, dW.dtype), np.empty(n_out * width, dW.dtype)
    for q in range(Q):
        height = min(width, n_in - q * width)
        _pack_transposed(W, q, transposed)
        rows_product(
            zero,
            address_of(D),
            jump,
            address_of(transposed),
            address_of(nothing),
            0,
            address_of(rows),
            width,
            NO_FINISH,
            address_of(nothing),
            0,
            n_out,
            n,
            address_of(transposed),
        )
        for i in range(n):
            for j in range(height):
                dX[i, q * width + j] = rows[i * width + j]
        for p in range(P):
            a, d = address_of(A) + q * jump * dW.itemsize, address_of(D) + p * jump * dW.itemsize
            columns_product(zero, a, d, 0, address_of(nothing), address_of(block), 0, 1, n, height)
            for i in range(height):
                for j in range(min(width, n_out - p * width)):
                    dW[q * width + i, p * width + j] = block[i * width + j]
    for p in range(P):
        rows_product(
            zero, address_of(ones), 0, address_of(D) + p * jump * dW.itemsize, address_of(nothing), 0, address_of(block), width, NO_FINISH,
            address_of(nothing), 0, n, 1, address_of(ones),
        )  # fmt: skip
        for j in range(min(width, n_out - p * width)):
            db[p * width + j] = block[j]
