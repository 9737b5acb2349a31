"""A dense layer: X @ W + b with the activation fused, and its gradients. Plain arrays, or weights packed once by the caller.

X is copied into panels, a few percent of the work of a product, since rows that lie a power of two apart would fall into one
set of the cache. A plain W is packed a panel at a time by whoever multiplies with it, unless X has so few rows that reading W is the
work: then it is read where it lies.
"""

from __future__ import annotations

import numba
import numpy as np

from ._bits import like
from ._jit import default_threads, helper, jit, kernel, parallel_helper, threads
from ._product import columns_product, rows_product
from ._tile import FLOOR, NO_FINISH, PANEL_BYTES, VECTOR_BYTES, make_tile, transpose_block, width_of
from .activations import IDENTITY, RELU, activation_backward, forward_range
from .panels import panels

__all__ = ["linear_backward", "linear_forward", "matmul"]

# Few rows: tiles of 4, 2 and 1 rows and as many panels side by side as the registers hold.
_BESIDE4, _BESIDE2, _BESIDE1 = {64: (4, 8, 8), 32: (1, 2, 4), 16: (1, 1, 2)}[VECTOR_BYTES]
_wide4, _wide2, _wide1 = make_tile(4, False, True, _BESIDE4), make_tile(2, False, True, _BESIDE2), make_tile(1, False, True, _BESIDE1)
_narrow4, _narrow2, _narrow1 = make_tile(4, False, True), make_tile(2, False, True), make_tile(1, False, True)
FEW_ROWS = 4


@helper
def _pack_rows(X, first, last, out, jump):
    """Rows first ... last - 1 of X into panels: out[k // width * jump + i * width + k % width] = X[i, k]."""
    width = PANEL_BYTES // out.itemsize
    for i in range(first, last):
        for k in range(0, X.shape[1], width):
            at = k // width * jump + i * width
            for l in range(min(width, X.shape[1] - k)):
                out[at + l] = X[i, k + l]


@helper
def _pack_panel(W, p, out):
    """Panel p of a plain W: out[k * width + j] = W[k, p * width + j], zeros beyond the last column."""
    width = PANEL_BYTES // out.itemsize
    left = min(width, W.shape[1] - p * width)
    for k in range(W.shape[0]):
        for j in range(left):
            out[k * width + j] = W[k, p * width + j]
        for j in range(left, width):
            out[k * width + j] = 0


@helper
def _pack_transposed(W, q, out):
    """Panel q of the transpose: out[n * width + i] = W[q * width + i, n], zeros beyond the last row of W."""
    zero, width = like(out[0], 0), PANEL_BYTES // out.itemsize
    height = min(width, W.shape[0] - q * width)
    whole = W.shape[1] // width * width if height == width and W.strides[1] == W.itemsize else 0
    for n in range(0, whole, width):
        transpose_block(zero, W[q * width :, n:].ctypes.data, W.strides[0] // W.itemsize, out.ctypes.data + n * PANEL_BYTES, width)
    for n in range(whole, W.shape[1]):
        for i in range(width):
            out[n * width + i] = W[q * width + min(i, height - 1), n] if i < height else zero


@helper
def _inputs_of(W):
    if W.ndim == 3:
        return W.shape[1]
    else:
        return W.shape[0]


@helper
def _panel_at(W, p, scratch):
    """Return the address of panel p of W, which is packed into scratch unless it is packed already."""
    if W.ndim == 3:
        return W.ctypes.data + p * W.shape[1] * PANEL_BYTES
    else:
        _pack_panel(W, p, scratch)
        return scratch.ctypes.data


@helper
def _product_task(t, parts, blocks, A, jump, n_rows, W, b, activation, out):
    """Some rows and panels of out = activation(X @ W + b); A is X in panels, b is padded to whole panels."""
    zero, width, itemsize = like(b[0], 0), PANEL_BYTES // b.itemsize, b.itemsize
    n_in, n_out = _inputs_of(W), out.shape[1]
    P = panels(n_out, width)
    part, block = t // blocks, t % blocks
    first, last = block * n_rows // blocks, (block + 1) * n_rows // blocks
    fused = activation == RELU or activation == IDENTITY
    direct = fused and out.strides[1] == itemsize
    scratch = np.empty(n_in * width, b.dtype)
    rows = np.empty((last - first) * width, b.dtype)
    mode = FLOOR if activation == RELU else NO_FINISH
    for p in range(part * P // parts, (part + 1) * P // parts):
        B, bias = _panel_at(W, p, scratch), b.ctypes.data + p * PANEL_BYTES
        a = A.ctypes.data + first * PANEL_BYTES
        if direct and (p + 1) * width <= n_out:
            C = out.ctypes.data + first * out.strides[0] + p * PANEL_BYTES
            rows_product(zero, a, jump, B, bias, 0, C, out.strides[0] // itemsize, mode, C, 0, n_in, last - first)
        else:
            rows_product(zero, a, jump, B, bias, 0, rows.ctypes.data, width, mode, bias, 0, n_in, last - first)
            if not fused:
                forward_range(activation, rows, rows)
            for i in range(last - first):
                for j in range(min(width, n_out - p * width)):
                    out[first + i, p * width + j] = rows[i * width + j]


@helper
def _few_rows_task(t, parts, X, W, b, activation, out):
    """Some columns of out = activation(X @ W + b) for few rows and a plain W, read where it lies."""
    zero, width, itemsize = like(b[0], 0), PANEL_BYTES // b.itemsize, b.itemsize
    n_in, n_out, n_rows = W.shape[0], out.shape[1], X.shape[0]
    P = panels(n_out, width)
    first, last = t * P // parts, (t + 1) * P // parts
    x_row, w_row = X.strides[0] // itemsize, W.strides[0] // itemsize
    rows = np.empty(n_rows * (last - first) * width, b.dtype)
    whole = min(last, n_out // width)  # panels without a column beyond the last
    mode, c_row = FLOOR if activation == RELU else NO_FINISH, (last - first) * width
    scratch = np.empty(n_in * width if last > whole else 0, b.dtype)
    i = 0
    while i < n_rows:
        height = 4 if n_rows - i >= 4 else 2 if n_rows - i >= 2 else 1
        beside = _BESIDE4 if height == 4 else _BESIDE2 if height == 2 else _BESIDE1
        x = X.ctypes.data + i * X.strides[0]
        p = first
        while p < last:
            B, bias, C = W.ctypes.data + p * PANEL_BYTES, b.ctypes.data + p * PANEL_BYTES, rows.ctypes.data + (i * c_row + (p - first) * width) * itemsize
            step, row = (beside if p + beside <= whole else 1), w_row
            if p >= whole:
                _pack_panel(W, p, scratch)
                B, row = scratch.ctypes.data, width
            if step > 1:
                if height == 4:
                    _wide4(zero, x, x_row, B, row, bias, 0, C, c_row, mode, C, 0, n_in)
                elif height == 2:
                    _wide2(zero, x, x_row, B, row, bias, 0, C, c_row, mode, C, 0, n_in)
                else:
                    _wide1(zero, x, x_row, B, row, bias, 0, C, c_row, mode, C, 0, n_in)
            elif height == 4:
                _narrow4(zero, x, x_row, B, row, bias, 0, C, c_row, mode, C, 0, n_in)
            elif height == 2:
                _narrow2(zero, x, x_row, B, row, bias, 0, C, c_row, mode, C, 0, n_in)
            else:
                _narrow1(zero, x, x_row, B, row, bias, 0, C, c_row, mode, C, 0, n_in)
            p += step
        i += height
    if activation != RELU and activation != IDENTITY:
        forward_range(activation, rows, rows)
    for i in range(n_rows):
        for j in range(min(c_row, n_out - first * width)):
            out[i, first * width + j] = rows[i * c_row + j]


@helper
def _check_forward(X, W, b, out):
    width = PANEL_BYTES // out.itemsize
    if W.ndim == 3:
        if W.shape[2] != width or W.shape[0] != panels(b.shape[0], width):
            raise ValueError("linear_forward: a packed W must have the shape packed_shape(n_in, n_out, dtype)")
        if W.strides[1] != PANEL_BYTES or W.strides[2] != W.itemsize or W.strides[0] != W.shape[1] * PANEL_BYTES:
            raise ValueError("linear_forward: a packed W must be contiguous")
    elif W.shape[1] != b.shape[0]:
        raise ValueError("linear_forward: b must have the shape (n_out,) of W (n_in, n_out)")
    if X.shape[1] != _inputs_of(W):
        raise ValueError("linear_forward: X must have the shape (n, n_in) to match W")
    if out.shape[0] != X.shape[0] or out.shape[1] != b.shape[0]:
        raise ValueError("linear_forward: out must have the shape (n, n_out)")


@helper
def _padded(b, like_out):
    width = PANEL_BYTES // like_out.itemsize
    padded = np.zeros(panels(b.shape[0], width) * width, like_out.dtype)
    padded[: b.shape[0]] = b
    return padded


@helper
def _reads_in_place(X, W):
    """Whether a plain W is read where it lies: few rows, unit strides."""
    if W.ndim == 3:
        return False
    else:
        return X.shape[0] <= FEW_ROWS and W.strides[1] == W.itemsize and X.strides[1] == X.itemsize


@helper
def _few_rows(t, parts, X, W, b, activation, out):
    if W.ndim == 2:
        _few_rows_task(t, parts, X, W, b, activation, out)


@helper
def _linear_serial(X, W, b, activation, out):
    n_rows, n_in = X.shape
    if n_rows == 0 or out.shape[1] == 0:
        return
    if _reads_in_place(X, W):
        _few_rows(0, 1, X, W, b, activation, out)
    else:
        width = PANEL_BYTES // out.itemsize
        jump = (n_rows | 1) * width
        A = np.empty(panels(n_in, width) * jump, out.dtype)
        _pack_rows(X, 0, n_rows, A, jump)
        _product_task(0, 1, 1, A, jump, n_rows, W, b, activation, out)


@parallel_helper
def _linear_parallel(X, W, b, activation, out, threads):
    n_rows, n_in = X.shape
    if _reads_in_place(X, W):
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


@helper
def _forward_checked(X, W, b, activation, out):
    _check_forward(X, W, b, out)
    _linear_serial(X, W, _padded(b, out), activation, out)


@jit
def _forward_checked_parallel(X, W, b, activation, out, threads):
    _check_forward(X, W, b, out)
    _linear_parallel(X, W, _padded(b, out), activation, out, threads)


@kernel
def linear_forward(X, W, b, activation, out):
    """Compute a dense layer: out = activation(X @ W + b).

    Called from Python it runs on the default number of threads where that pays, from nopython code on one.

    Parameters
    ----------
    X : ndarray of shape (n, n_in), float32 or float64
    W : ndarray of shape (n_in, n_out), or packed, of shape `packed_shape(n_in, n_out, dtype)`
        A packed W (see `pack`) saves the packing, a few percent of the time from a hundred rows on.
    b : ndarray of shape (n_out,)
    activation : int
        An elementwise activation: `kernels.IDENTITY`, `kernels.RELU`, ... `kernels.SIGMOID`.
    out : ndarray of shape (n, n_out), overwritten

    Raises
    ------
    ValueError
        If a shape does not match, or the activation needs whole rows (softmax).

    Notes
    -----
    Each output element is one chain of fused multiply-adds over the inputs in ascending order: the same bits for any
    number of threads and rows, packed or not.
    """
    _check_activation(activation)
    _forward_checked(X, W, b, activation, out)


@helper
def _check_activation(activation):
    if activation < 0 or activation > 10:
        raise ValueError("linear_forward: activation must be elementwise")


def _worker_count(multiplications):
    """Return how many threads pay for a product called from Python."""
    from .plan import region_work

    return default_threads() if multiplications > region_work() else 1


@linear_forward.from_python
def _linear_forward(X, W, b, activation, out):
    wanted = _worker_count(X.shape[0] * out.size) if isinstance(X, np.ndarray) and isinstance(out, np.ndarray) and X.ndim == 2 else 1
    if wanted == 1:
        return linear_forward.compiled(X, W, b, activation, out)
    with threads(wanted) as used:
        if used == 1:
            return linear_forward.compiled(X, W, b, activation, out)
        _check_activation(activation)
        return _forward_checked_parallel(X, W, b, activation, out, used)


@kernel
def matmul(A, B, out):
    """Compute the product of two matrices: out = A @ B. B plain or packed, as for `linear_forward`.

    Parameters
    ----------
    A : ndarray of shape (n, k), float32 or float64
    B : ndarray of shape (k, m), or packed
    out : ndarray of shape (n, m), overwritten

    Raises
    ------
    ValueError
        If a shape does not match.
    """
    _forward_checked(A, B, np.zeros(out.shape[1], out.dtype), IDENTITY, out)


@matmul.from_python
def _matmul(A, B, out):
    if not isinstance(out, np.ndarray) or out.ndim != 2:
        return matmul.compiled(A, B, out)
    return _linear_forward(A, B, np.zeros(out.shape[1], out.dtype), IDENTITY, out)


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
    dX : ndarray of shape (n, n_in), overwritten
    dW : ndarray of shape (n_in, n_out), overwritten
    db : ndarray of shape (n_out,), overwritten

    Raises
    ------
    ValueError
        If a shape does not match, or the activation needs whole rows (softmax).
    """
    n, n_in = X.shape
    n_out = W.shape[1]
    if activation < 0 or activation > 10:
        raise ValueError("linear_backward: activation must be elementwise")
    if W.shape[0] != n_in:
        raise ValueError("linear_backward: W must have the shape (n_in, n_out) to match X")
    if dA.shape[0] != n or dA.shape[1] != n_out or saved.shape[0] != n or saved.shape[1] != n_out:
        raise ValueError("linear_backward: dA and saved must have the shape (n, n_out)")
    if dX.shape[0] != n or dX.shape[1] != n_in or dW.shape[0] != n_in or dW.shape[1] != n_out or db.shape[0] != n_out:
        raise ValueError("linear_backward: dX, dW and db must have the shapes of X, W and b")
    _linear_backward(dA, saved, X, W, activation, dX, dW, db)


@helper
def _linear_backward(dA, saved, X, W, activation, dX, dW, db):
    n, n_in = X.shape
    n_out, zero, width = W.shape[1], like(dW[0, 0], 0) if dW.size else dW.dtype.type(0), PANEL_BYTES // dW.itemsize
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
            zero, D.ctypes.data, jump, transposed.ctypes.data, nothing.ctypes.data, 0, rows.ctypes.data, width, NO_FINISH, nothing.ctypes.data, 0, n_out, n
        )
        for i in range(n):
            for j in range(height):
                dX[i, q * width + j] = rows[i * width + j]
        for p in range(P):
            a, d = A.ctypes.data + q * jump * dW.itemsize, D.ctypes.data + p * jump * dW.itemsize
            columns_product(zero, a, d, 0, nothing.ctypes.data, block.ctypes.data, 0, 1, n, height)
            for i in range(height):
                for j in range(min(width, n_out - p * width)):
                    dW[q * width + i, p * width + j] = block[i * width + j]
    for p in range(P):
        rows_product(
            zero, ones.ctypes.data, 0, D.ctypes.data + p * jump * dW.itemsize, nothing.ctypes.data, 0, block.ctypes.data, width, NO_FINISH,
            nothing.ctypes.data, 0, n, 1,
        )  # fmt: skip
        for j in range(min(width, n_out - p * width)):
            db[p * width + j] = block[j]
