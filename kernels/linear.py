"""A dense layer: X @ W + b with the activation fused, and its gradients. Plain arrays, or weights packed once by the caller.

X is copied into panels, a few percent of the work of a product, since rows that lie a power of two apart would fall into one
set of the cache. A plain W is packed some panels at a time by whoever multiplies with it, unless X has so few rows that reading W is the
work: then it is read where it lies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import overlap
from ._checks import check_matrix, check_matrix_out, check_vector, check_vector_out, check_weights, check_whole
from ._jit import default_threads, helper, inline, jit, kernel, task
from ._link import linked_task
from ._pairs import round_lines
from ._product import BLOCK_DEPTH, TOGETHER, column_product, panel_product
from ._tile import (
    FLOOR,
    NO_FINISH,
    PANEL_BYTES,
    VECTOR_BYTES,
    address_of,
    array_at,
    copy_line,
    keep,
    line_buffer,
    make_tiles,
    transpose_block,
    width_of,
    zero_of,
)
from .activations import ELEMENTWISE, IDENTITY, RELU, back, forth
from .bfloat16 import pairs_column_product, pairs_panel_product, round_panel, transpose_pairs
from .panels import panels
from .program import task_address
from .records import I, Record
from .sharing import LARGE_WORK
from .team import run_tasks, share

__all__ = ["linear_backward", "linear_forward", "matmul"]

# How many panels side by side the registers hold for so many rows.
_STRIDED_TILES = {
    64: {6: (4, 1), 4: (4, 1), 3: (8, 4, 1), 2: (8, 4, 1), 1: (8, 4, 1)},
    32: {6: (1,), 4: (1,), 3: (2, 1), 2: (2, 1), 1: (4, 1)},
    16: {6: (1,), 4: (1,), 3: (1,), 2: (1,), 1: (2, 1)},
}[VECTOR_BYTES]
IN_PLACE_ROWS = 16  # at most: a plain W is then read where it lies
CACHED = 1 << 19  # bytes that stay in a cache of the second level: of X, multiplied with all of a packed W before the next, or of sums that wait
BLOCK = 32  # inputs that few rows are multiplied with before the next ones
PLAIN, PACKED, PAIRS = range(3)

MATRIX = Record(
    at=(I, "address of its first number"),
    row=(I, "numbers from one row to the next"),
    column=(I, "numbers from one column to the next"),
)

LINEAR = Record(
    X=(MATRIX.dtype, "inputs"),
    W=(MATRIX.dtype, "weights"),
    kind=(I, "how it lies: PLAIN, PACKED in panels, or packed in PAIRS of bfloat16"),
    bias=(I, "address of the bias, in whole panels"),
    out=(MATRIX.dtype, "outputs"),
    n=(I, "rows"),
    n_in=(I, "inputs"),
    n_out=(I, "outputs"),
    activation=(I, "its code"),
    A=(I, "address of where X is packed, 0: it is not"),
    jump=(I, "numbers from one panel of that to the next"),
    packs=(I, "tasks that pack it"),
    parts=(I, "tasks side by side in the outputs"),
    blocks=(I, "tasks one above the other in the rows"),
)

GRADIENT = Record(
    dA=(MATRIX.dtype, "gradient with regard to the outputs"),
    saved=(MATRIX.dtype, "what the activation saved"),
    X=(MATRIX.dtype, "inputs"),
    W=(MATRIX.dtype, "weights"),
    kind=(I, "how it lies: PLAIN, or packed in PAIRS of bfloat16"),
    dX=(MATRIX.dtype, "gradient with regard to the inputs"),
    dW=(MATRIX.dtype, "gradient with regard to the weights"),
    db=(I, "address of db"),
    n=(I, "rows"),
    n_in=(I, "inputs"),
    n_out=(I, "outputs"),
    activation=(I, "its code"),
)
LINEAR_WORDS, GRADIENT_WORDS = LINEAR.dtype.itemsize // 8, GRADIENT.dtype.itemsize // 8


_strided_tile = make_tiles([(rows, beside) for rows in _STRIDED_TILES for beside in _STRIDED_TILES[rows]], strided=True)


@task
def plain_product(tag, x, x_row, w, w_row, init, init_row, c, c_row, mode, depth, count, rows):
    """C = finish(init + X @ W) for `count` whole panels of a plain W, `depth` inputs deep; a row of X is `x_row` numbers from the next."""
    zero = zero_of(tag)
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    while rows > 0:
        height, p = 6 if rows >= 6 else min(4, rows), 0
        while p < count:
            at = p * PANEL_BYTES
            _, wide = _strided_tile(zero, height, count - p, x, x_row, w + at, w_row, init + at, init_row, width, c + at, c_row, width, mode, c, depth, c, 0)
            p += wide
        rows -= height
        x += height * x_row * itemsize
        init += height * init_row * itemsize
        c += height * c_row * itemsize


# Code 0: of numbers, 1: of pairs.
_rows_product, _columns_product = linked_task(panel_product, pairs_panel_product), linked_task(column_product, pairs_column_product)
_plain_product, _transpose_pairs = linked_task(plain_product), linked_task(transpose_pairs)


@inline
def _number(zero, where):
    return array_at(zero, where, 1)[0]


@inline
def _put(zero, where, value):
    array_at(zero, where, 1)[0] = value


@inline
def _element(zero, M, i, j):
    """The address of element (i, j) of a MATRIX."""
    return M.at + (i * M.row + j * M.column) * (PANEL_BYTES // width_of(zero))


@helper
def _pack_rows(zero, X, x_row, x_column, n, n_in, out, jump):
    """n rows of X into panels: element (i, k) to k // width * jump + i * width + k % width behind an address; zeros beyond the last column."""
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    whole = n_in // width if x_column == 1 else 0
    for i in range(n):
        source, target = X + i * x_row * itemsize, out + i * PANEL_BYTES
        for p in range(whole):
            copy_line(zero, source + p * PANEL_BYTES, target + p * jump * itemsize)
        for k in range(whole * width, panels(n_in, width) * width):
            value = _number(zero, source + k * x_column * itemsize) if k < n_in else zero
            _put(zero, target + (k // width * jump + k % width) * itemsize, value)


@helper
def _take_panels(zero, source, step, n, columns, out, out_row, out_column):
    """The inverse of `_pack_rows`: n rows of panels, `step` bytes from one to the next, into some columns of a plain matrix."""
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    whole = columns // width if out_column == 1 else 0
    for i in range(n):
        line, target = source + i * PANEL_BYTES, out + i * out_row * itemsize
        for p in range(whole):
            copy_line(zero, line + p * step, target + p * PANEL_BYTES)
        for j in range(whole * width, columns):
            _put(zero, target + j * out_column * itemsize, _number(zero, line + j // width * step + j % width * itemsize))


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
def _pack(zero, L, first, last, out):
    """Rows of X in panels, the first at an address; for pairs rounded, along the rows."""
    width = width_of(zero)
    X = L.X.at + first * L.X.row * (PANEL_BYTES // width)
    if L.kind != PAIRS:
        _pack_rows(zero, X, L.X.row, L.X.column, last - first, L.n_in, out, L.jump)
        return
    lines = line_buffer(zero)
    for p in range(panels(L.n_in, width)):
        count, place = min(width, L.n_in - p * width), out + p // 2 * L.jump * 4 + p % 2 * (PANEL_BYTES // 2)
        for i in range(0, last - first, 2):
            rows = min(2, last - first - i)
            _pack_rows(zero, X + (i * L.X.row + p * width * L.X.column) * 4, L.X.row, L.X.column, rows, count, lines, 0)
            round_lines(lines, count, rows - 1, place + i * PANEL_BYTES, 0)


@inline
def _stays_in_place(depth, n_bytes):
    """Whether sums of so many inputs are written at once to rows that span so many bytes: sums that wait for more inputs are to stay in a cache."""
    return depth <= BLOCK_DEPTH or abs(n_bytes) <= CACHED


@helper
def _product_part(zero, L, part, parts, first, last, A):
    """Some panels of rows first ... last - 1 of out = activation(X @ W + b); these rows lie packed at A."""
    width = width_of(zero)
    itemsize, P, n_in, jump = PANEL_BYTES // width, panels(L.n_out, width), L.n_in, L.jump
    fused = L.activation == RELU or L.activation == IDENTITY
    depth = (n_in + 1) // 2 if L.kind == PAIRS else n_in
    height = last - first
    direct = fused and L.out.column == 1 and _stays_in_place(depth, height * L.out.row * itemsize)
    scratch, rows = np.empty(TOGETHER * n_in * width if L.kind == PLAIN else 0, type(zero)), np.empty(TOGETHER * height * width, type(zero))
    mode, end = FLOOR if L.activation == RELU else NO_FINISH, (part + 1) * P // parts
    p1 = part * P // parts
    while p1 < end:
        p0, p1 = p1, min(end, p1 + TOGETHER)
        if direct and p1 - p0 > 1 and p1 * width > L.n_out:  # a last panel that is not whole goes through `rows`, alone
            p1 -= 1
        B = L.W.at + p0 * depth * PANEL_BYTES
        if L.kind == PLAIN:
            _pack_panels(L.W.at + p0 * width * L.W.column * itemsize, L.W.row, L.W.column, n_in, min(L.n_out, p1 * width) - p0 * width, scratch)
            B = address_of(scratch)
        count, b, ahead = p1 - p0, L.bias + p0 * PANEL_BYTES, B + (p1 - p0) * depth * PANEL_BYTES
        C = L.out.at + (first * L.out.row + p0 * width * L.out.column) * itemsize
        whole = direct and p1 * width <= L.n_out
        c, c_row, c_jump = (C, L.out.row, width) if whole else (address_of(rows), width, height * width)
        _rows_product(zero, np.int64(L.kind == PAIRS), (A, jump, B, depth * width, b, c, c_row, c_jump, mode, b, depth, height, count, ahead))
        if not whole:
            if not fused:
                forth(zero, L.activation, (0, c, c, count * height * width))
            _take_panels(zero, c, height * PANEL_BYTES, height, min(count * width, L.n_out - p0 * width), C, L.out.row, L.out.column)
    keep(scratch)


@helper
def _few_rows_part(zero, L, t, parts):
    """Some columns of out = activation(X @ W + b) for few rows and a plain W, read where it lies, in the order in which it lies.

    A block of inputs is multiplied with all columns before the next: the sums wait in the cache, W streams through. A last panel
    that W does not fill is read into the next rows; the last rows of W, where that would end behind the matrix, are copied.
    """
    width, n_in, w_row = width_of(zero), L.n_in, L.W.row
    itemsize, P = PANEL_BYTES // width, panels(L.n_out, width)
    first, last = t * P // parts, (t + 1) * P // parts
    count, columns, start = last - first, min(L.n_out, last * width) - first * width, first * PANEL_BYTES
    c_row = count * width
    sums, tail = np.empty(L.n * c_row + 1, type(zero)), np.zeros(c_row, type(zero))
    beyond = c_row - columns
    whole = max(0, n_in - (beyond + w_row - 1) // w_row) if beyond > 0 else n_in
    k = 0
    while k < n_in or k == 0:
        in_place = k < whole
        depth = min(BLOCK, whole - k) if in_place else min(1, n_in)
        if not in_place:
            for j in range(columns if n_in > 0 else 0):
                tail[j] = _number(zero, L.W.at + start + (k * w_row + j) * itemsize)
        w = L.W.at + k * w_row * itemsize + start if in_place else address_of(tail)
        mode = FLOOR if L.activation == RELU and k + depth >= n_in else NO_FINISH
        c, init, init_row = address_of(sums), L.bias + start, 0
        if k > 0:
            init, init_row = c, c_row
        _plain_product(zero, 0, (L.X.at + k * itemsize, L.X.row, w, w_row, init, init_row, c, c_row, mode, depth, count, L.n))
        k += max(depth, 1)
    keep(tail)
    if L.activation != RELU and L.activation != IDENTITY:
        forth(zero, L.activation, (0, address_of(sums), address_of(sums), L.n * c_row))
    n, out_row, out_column = L.n, L.out.row * itemsize, L.out.column * itemsize
    whole = columns // width if out_column == itemsize else 0
    for i in range(n):
        out = L.out.at + i * out_row + first * width * out_column
        for p in range(whole):
            copy_line(zero, address_of(sums) + (i * c_row + p * width) * itemsize, out + p * PANEL_BYTES)
        for j in range(whole * width, columns):
            _put(zero, out + j * out_column, sums[i * c_row + j])


@helper
def _reads_in_place(L):
    """Whether a plain W is read where it lies: for few rows, if the numbers of a row lie side by side."""
    return L.kind == PLAIN and L.n <= IN_PLACE_ROWS and L.X.column == 1 and L.W.column == 1 and L.W.row >= L.n_out


@helper
def _block_height(L, itemsize):
    """How many rows of X are packed and multiplied before the next: as many as stay in a cache of the second level, if W is packed."""
    if L.kind == PLAIN:
        return L.n
    most = max(24, CACHED // (max(L.n_in, 1) * itemsize) // 24 * 24)
    blocks = (L.n + most - 1) // most
    return min(most, ((L.n + blocks - 1) // blocks + 3) // 4 * 4)


@task
def pack_part(tag, t, worker, record, now):
    """Pack some rows of X."""
    L = LINEAR(record)
    first, last = t * L.n // L.packs, (t + 1) * L.n // L.packs
    _pack(zero_of(tag), L, first, last, L.A + first * PANEL_BYTES)


@task
def linear_part(tag, t, worker, record, now):
    """Some rows and columns of out = activation(X @ W + b)."""
    zero, L = zero_of(tag), LINEAR(record)
    if L.A == 0:
        _few_rows_part(zero, L, t, L.parts)
        return
    part, block = t // L.blocks, t % L.blocks
    first, last = block * L.n // L.blocks, (block + 1) * L.n // L.blocks
    _product_part(zero, L, part, L.parts, first, last, L.A + first * PANEL_BYTES)


@task
def linear_task(tag, record, team, n_threads, pack, part):
    """out = activation(X @ W + b), alone or with a team of threads: addresses of it and of the tasks `pack_part` and `linear_part`."""
    zero, L = zero_of(tag), LINEAR(record)
    width = width_of(zero)
    in_place = _reads_in_place(L)
    height = 0 if in_place else L.n if team != 0 else _block_height(L, PANEL_BYTES // width)
    L.jump = (height | 1) * width
    A = np.empty(panels(L.n_in, width) * L.jump if height > 0 else 0, type(zero))
    L.A = address_of(A) if height > 0 else 0
    if team != 0:
        L.packs = n_threads
        L.parts, L.blocks = (n_threads, 1) if in_place or panels(L.n_out, width) >= 4 * n_threads else (1, n_threads)
        if not in_place:
            run_tasks(team, pack, L.packs, record, np.int64(0))
        run_tasks(team, part, L.parts * L.blocks, record, np.int64(0))
    elif in_place:
        _few_rows_part(zero, L, 0, 1)
    else:
        for first in range(0, L.n, height):
            last = min(L.n, first + height)
            _pack(zero, L, first, last, L.A)
            _product_part(zero, L, 0, 1, first, last, L.A)
    keep(A)


@helper
def _widen_panel(W, depth, q, P, out):
    """A panel's width of rows of a W in pairs of rows, as float32: those of each of its panels one after the other; beyond the last, zeros."""
    for p in range(P):
        for line in range(8):
            at = out + (16 * p + 2 * line) * PANEL_BYTES
            low, high = array_at(np.int32(0), at, 16), array_at(np.int32(0), at + PANEL_BYTES, 16)
            for j in range(16):
                low[j] = high[j] = 0
            if 8 * q + line < depth:
                words = array_at(np.int32(0), W + (p * depth + 8 * q + line) * PANEL_BYTES, 16)
                for j in range(16):
                    low[j], high[j] = words[j] << 16, words[j] & -65536


@helper
def _transpose_some(zero, L, q0, q1, P, wide, out):
    """Some panels of rows of W, transposed, one after the other; `wide` is room for one of pairs as float32."""
    width = width_of(zero)
    size = P * width * width
    for q in range(q0, q1):
        Wt = out[(q - q0) * size :]
        if L.kind == PAIRS:
            _widen_panel(L.W.at, (L.n_in + 1) // 2, q, P, address_of(wide))
            _transpose_pairs(zero, 0, (address_of(wide), width, L.n_out, 0, 1, address_of(Wt)))
        else:
            source = L.W.at + q * width * L.W.row * (PANEL_BYTES // width)
            _pack_transposed(source, L.W.row, L.W.column, min(width, L.n_in - q * width), L.n_out, Wt)


@helper
def _sum_rows(zero, D, step, n, n_out, out):
    """The sums of the columns of n rows in panels, `step` bytes from one to the next: a row of ones times each."""
    width = width_of(zero)
    ones, zeros, sums = np.ones(width, type(zero)), np.zeros(width, type(zero)), np.empty(width, type(zero))
    for p in range(panels(n_out, width)):
        one, none, place = address_of(ones), address_of(zeros), address_of(sums)
        _rows_product(zero, 0, (one, 0, D + p * step, 0, none, place, width, 0, NO_FINISH, none, n, 1, 1, one))
        _take_panels(zero, place, 0, 1, min(width, n_out - p * width), out + p * PANEL_BYTES, 0, 1)


@helper
def _round_operands(zero, n, n_in, n_out, D, A, step, out):
    """dZ in pairs along its rows, dZ in pairs of rows and X in pairs of rows, one behind the other at an address; return where each lies."""
    width = width_of(zero)
    P, Q = panels(n_out, width), panels(n_in, width)
    right = out + (P + 1) // 2 * step
    inputs = right + P * step
    for p in range(P):
        along = out + p // 2 * step + p % 2 * (PANEL_BYTES // 2)
        round_panel(D + p * step, n, min(width, n_out - p * width), along, right + p * step)
    for q in range(Q):
        round_panel(A + q * step, n, min(width, n_in - q * width), 0, inputs + q * step)
    return out, right, inputs


@helper
def _input_gradient(zero, L, q0, q1, left, jump, depth, Wt, rows, none, direct):
    """dX = dZ @ W.T for panels q0 ... q1 - 1 of inputs; `rows` is room for those that cannot be written where they belong."""
    width, n = width_of(zero), L.n
    P, count, B = panels(L.n_out, width), q1 - q0, address_of(Wt)
    dX, whole = _element(zero, L.dX, 0, q0 * width), direct and q1 * width <= L.n_in
    c, c_row, c_jump = (dX, L.dX.row, width) if whole else (address_of(rows), width, n * width)
    _rows_product(zero, np.int64(L.kind == PAIRS), (left, jump, B, P * width * width, none, c, c_row, c_jump, NO_FINISH, none, depth, n, count, B))
    if not whole:
        _take_panels(zero, c, n * PANEL_BYTES, n, min(L.n_in, q1 * width) - q0 * width, dX, L.dX.row, L.dX.column)


@helper
def _weight_gradient(zero, L, q0, q1, inputs, right, step, depth, block, none):
    """dW = X.T @ dZ for panels q0 ... q1 - 1 of inputs, some panels of outputs at a time, through `block`."""
    width = width_of(zero)
    P, height, block_step = panels(L.n_out, width), min(L.n_in, q1 * width) - q0 * width, (q1 - q0) * width * PANEL_BYTES
    for p0 in range(0, P, TOGETHER):
        p1, product = min(P, p0 + TOGETHER), address_of(block)
        arguments = (inputs + q0 * step, step, right + p0 * step, step, none, product, block_step, p1 - p0, depth, height, 0, product, product, 0)
        _columns_product(zero, np.int64(L.kind == PAIRS), arguments)
        dW = _element(zero, L.dW, q0 * width, p0 * width)
        _take_panels(zero, product, block_step, height, min(L.n_out, p1 * width) - p0 * width, dW, L.dW.row, L.dW.column)


@task
def linear_backward_task(tag, record):
    """dZ = dA * activation'(saved), dX = dZ @ W.T, dW = X.T @ dZ, db = dZ.sum(0); some panels of X and W at a time."""
    zero, L = zero_of(tag), GRADIENT(record)
    width, n, n_in, n_out, paired = width_of(zero), L.n, L.n_in, L.n_out, L.kind == PAIRS
    itemsize = PANEL_BYTES // width
    P, Q, jump = panels(n_out, width), panels(n_in, width), (n | 1) * width
    step = jump * itemsize
    D, S = np.empty(P * jump, type(zero)), np.empty(P * jump if L.activation != IDENTITY else 0, type(zero))
    _pack_rows(zero, L.dA.at, L.dA.row, L.dA.column, n, n_out, address_of(D), jump)
    if L.activation != IDENTITY:
        _pack_rows(zero, L.saved.at, L.saved.row, L.saved.column, n, n_out, address_of(S), jump)
        for p in range(P):
            back(zero, L.activation, (0, address_of(S) + p * step, address_of(D) + p * step, n * width))
    A = np.empty(Q * jump, type(zero))
    _pack_rows(zero, L.X.at, L.X.row, L.X.column, n, n_in, address_of(A), jump)
    left, right, inputs, depth, right_depth = address_of(D), address_of(D), address_of(A), n_out, n
    pairs, wide = np.zeros((P + 1) // 2 * jump + (P + Q) * jump if paired else 0, type(zero)), np.empty(P * width * width if paired else 0, type(zero))
    if paired:
        left, right, inputs = _round_operands(zero, n, n_in, n_out, left, inputs, step, address_of(pairs))
        depth, right_depth = (n_out + 1) // 2, (n + 1) // 2
    direct = L.dX.column == 1 and _stays_in_place(depth, n * L.dX.row * itemsize)
    zeros, Wt = np.zeros(TOGETHER * width, type(zero)), np.empty(min(Q, TOGETHER) * P * width * width, type(zero))
    rows, block = np.empty(min(Q, TOGETHER) * n * width, type(zero)), np.empty(TOGETHER * TOGETHER * width * width, type(zero))
    q1 = 0
    while q1 < Q:
        q0, q1 = q1, min(Q, q1 + TOGETHER)
        if direct and q1 - q0 > 1 and q1 * width > n_in:  # a last panel that is not whole goes through `rows`, alone
            q1 -= 1
        _transpose_some(zero, L, q0, q1, P, wide, Wt)
        _input_gradient(zero, L, q0, q1, left, jump, depth, Wt, rows, address_of(zeros), direct)
        _weight_gradient(zero, L, q0, q1, inputs, right, step, right_depth, block, address_of(zeros))
    _sum_rows(zero, address_of(D), step, n, n_out, L.db)
    keep(D)
    keep(S)
    keep(A)
    keep(pairs)
    keep(zeros)


_linear, _backward = linked_task(linear_task), linked_task(linear_backward_task)


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
def _take_back(A, room, at):
    if not _is_readable(A, room):
        for i in range(A.shape[0]):
            for j in range(A.shape[1]):
                A[i, j] = room[at + i * A.shape[1] + j]


@helper
def _place(A, room, at):
    """Return where the numbers of a matrix lie, and how many it is from row to row and from column to column, in room if it is copied there."""
    if _is_readable(A, room):
        return address_of(A), A.strides[0] // A.itemsize, A.strides[1] // A.itemsize
    if A.ndim == 2:
        for i in range(A.shape[0]):
            for j in range(A.shape[1]):
                room[at + i * A.shape[1] + j] = A[i, j]
    return address_of(room) + at * room.itemsize, A.shape[1], 1


@helper
def _kind(W):
    return PLAIN if W.ndim == 2 else PAIRS if W.itemsize == 2 else PACKED


@helper
def _run_linear(X, W, b, activation, out, team, n_threads, pack, part):
    zero, width = out.dtype.type(0), PANEL_BYTES // out.itemsize
    (n, n_out), n_in = out.shape, X.shape[1]
    if n == 0 or n_out == 0:
        return
    at_x = panels(n_out, width) * width
    at_w = at_x + _room_for(X, out)
    at_out = at_w + _room_for(W, out)
    room, record = np.empty(at_out + _room_for(out, out), out.dtype), np.zeros(LINEAR_WORDS, np.int64)
    for j in range(at_x):
        room[j] = b[j] if j < b.shape[0] else zero
    L = LINEAR(address_of(record))
    L.X.at, L.X.row, L.X.column = _place(X, room, at_x)
    L.W.at, L.W.row, L.W.column = _place(W, room, at_w)
    L.out.at, L.out.row, L.out.column = _place(out, room, at_out)
    L.kind, L.bias, L.n, L.n_in, L.n_out, L.activation = _kind(W), address_of(room), n, n_in, n_out, activation
    _linear(zero, 0, (address_of(record), team, n_threads, pack, part))
    keep(record)
    _take_back(out, room, at_out)
    keep(room)


def _make_check_product(kernel: str, x: str, w: str) -> Any:
    """Return the check of what both products have: `x` and `w` are what the kernel calls X and W."""
    kind_x, kind_w, kind_out = f"{kernel}: {x}", f"{kernel}: {w}", f"{kernel}: out"
    packed = f"{kernel}: a packed {w} must be contiguous, of the dtype of out (or bfloat16 for float32) and the shape packed_shape(n_in, n_out, dtype)"
    inputs = f"{kernel}: {x} must have the shape (n, n_in) to match {w} (n_in, n_out)"
    outputs = f"{kernel}: out must have the shape (n, n_out)"
    shared = f"{kernel}: out must share no memory with the other arrays"

    @helper
    def check(X, W, out):
        check_matrix(kind_x, X)
        check_weights(kind_w, W)
        check_matrix_out(kind_out, out)
        n_out = out.shape[1]
        if W.ndim == 3:
            width = PANEL_BYTES // out.itemsize
            fits = W.dtype == out.dtype or (W.itemsize == 2 and out.itemsize == 4)
            if not (fits and W.shape[2] * W.itemsize == PANEL_BYTES and W.shape[0] == panels(n_out, width)):
                raise ValueError(packed)
            between_rows, between_panels = PANEL_BYTES, W.shape[1] * PANEL_BYTES
            if W.size > 0 and W.strides != (between_panels, between_rows, W.itemsize):
                raise ValueError(packed)
        elif W.shape[1] != n_out:
            raise ValueError(outputs)
        if W.shape[W.ndim - 2] != ((X.shape[1] + 1) // 2 if _kind(W) == PAIRS else X.shape[1]):
            raise ValueError(inputs)
        if out.shape[0] != X.shape[0]:
            raise ValueError(outputs)
        if overlap(out, X) or overlap(out, W):
            raise ValueError(shared)

    return check


_check_linear, _check_matmul = _make_check_product("linear_forward", "X", "W"), _make_check_product("matmul", "A", "B")


@helper
def _check_forward(X, W, b, activation, out):
    check_vector("linear_forward: b", b)
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
def _linear_in_threads(X, W, b, activation, out, *team):
    _check_forward(X, W, b, activation, out)
    _run_linear(X, W, b, activation, out, *team)


@jit
def _matmul_in_threads(A, B, out, *team):
    _check_matmul(A, B, out)
    _run_linear(A, B, np.empty(0, out.dtype), IDENTITY, out, *team)


@kernel
def linear_forward(X, W, b, activation, out):
    """Compute a dense layer: out = activation(X @ W + b).

    Called from Python it runs on the default number of threads where that pays, from nopython code on one.

    Parameters
    ----------
    X : ndarray of shape (n, n_in)
    W : ndarray of shape (n_in, n_out), or packed, of shape `packed_shape(n_in, n_out, dtype)` and the dtype of out
        A packed W (see `pack`) saves the packing, a few percent of the time from a hundred rows on. A W packed as bfloat16, uint16 of
        shape `packed_shape(n_in, n_out, "bfloat16")`, with an out of float32: X is rounded too, and CPUs with AVX512_BF16 are twice as fast.
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
    number of threads and rows, packed or not. Of a W packed as bfloat16 the chain takes inputs in pairs, the second one first.
    """
    _check_forward(X, W, b, activation, out)
    _run_linear(X, W, b, activation, out, 0, 1, 0, 0)


def _in_threads(function: Any, X: Any, W: Any, *others: Any) -> bool:
    """Do a product with a team of threads if it is worth that and there is one; return whether it was done. What is no matrix is not worth it."""
    out, n_threads = others[-1], default_threads()
    if n_threads == 1 or not all(isinstance(A, np.ndarray) for A in (X, W, out)) or X.ndim != 2 or out.dtype.char not in "fd":
        return False
    if X.shape[0] * W.size <= LARGE_WORK:
        return False
    addresses = (task_address(one, out.dtype.name) for one in (pack_part, linear_part))
    with share(n_threads) as team:
        if team:
            function(X, W, *others, team, n_threads, *addresses)
    return bool(team)


@linear_forward.from_python
def _linear_forward(X, W, b, activation, out):
    if not _in_threads(_linear_in_threads, X, W, b, activation, out):
        linear_forward.compiled(X, W, b, activation, out)


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
    _run_linear(A, B, np.empty(0, out.dtype), IDENTITY, out, 0, 1, 0, 0)


@matmul.from_python
def _matmul(A, B, out):
    if not _in_threads(_matmul_in_threads, A, B, out):
        matmul.compiled(A, B, out)


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
    W : ndarray of shape (n_in, n_out), or packed as bfloat16
        Packed, products read X and dZ rounded as well.
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
    check_matrix("linear_backward: dA", dA)
    check_matrix("linear_backward: saved", saved)
    check_matrix("linear_backward: X", X)
    check_weights("linear_backward: W", W)
    check_matrix_out("linear_backward: dX", dX)
    check_matrix_out("linear_backward: dW", dW)
    check_vector_out("linear_backward: db", db)
    check_whole("linear_backward: activation", activation)
    n, n_in = X.shape
    n_out = W.shape[1] if W.ndim == 2 else dA.shape[1]
    if activation not in ELEMENTWISE:
        raise ValueError("linear_backward: activation must be elementwise")
    if W.ndim == 3:
        pairs = (n_in + 1) // 2
        if W.itemsize != 2 or dW.itemsize != 4 or W.shape != (panels(n_out, 16), pairs, 32) or (W.size > 0 and W.strides != (pairs * 64, 64, 2)):
            raise ValueError("linear_backward: a packed W must be of bfloat16, contiguous, of the shape packed_shape(n_in, n_out, 'bfloat16'), and dW float32")
    elif W.shape[0] != n_in:
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
    zero, n_out = dW.dtype.type(0), dA.shape[1]
    at_saved = n_out + _room_for(dA, dW)
    at_x = at_saved + _room_for(saved, dW)
    at_w = at_x + _room_for(X, dW)
    at_dx = at_w + _room_for(W, dW)
    at_dw = at_dx + _room_for(dX, dW)
    room, record = np.empty(at_dw + _room_for(dW, dW), dW.dtype), np.zeros(GRADIENT_WORDS, np.int64)
    L = GRADIENT(address_of(record))
    L.dA.at, L.dA.row, L.dA.column = _place(dA, room, n_out)
    L.saved.at, L.saved.row, L.saved.column = _place(saved, room, at_saved)
    L.X.at, L.X.row, L.X.column = _place(X, room, at_x)
    L.W.at, L.W.row, L.W.column = _place(W, room, at_w)
    L.dX.at, L.dX.row, L.dX.column = _place(dX, room, at_dx)
    L.dW.at, L.dW.row, L.dW.column = _place(dW, room, at_dw)
    L.kind, L.db, L.activation = _kind(W), address_of(room), activation
    L.n, L.n_in, L.n_out = X.shape[0], X.shape[1], n_out
    _backward(zero, 0, (address_of(record),))
    keep(record)
    for j in range(n_out):
        db[j] = room[j]
    _take_back(dX, room, at_dx)
    _take_back(dW, room, at_dw)
