"""The packed layout of a matrix: panels of 64 bytes of columns, 16 float32 or 8 float64.

Element (i, j) of an (n, m) matrix lies at `packed[j // width, i, j % width]`; columns beyond the last are zero. The
products of this package read weights in this layout, so weights that are packed once are never repacked to be used.

Packed as bfloat16, in uint16, a line has pairs of rows: element (i, j) lies at `packed[j // 16, i // 2, 2 * (j % 16) + i % 2]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import overlap
from ._checks import check_matrix, check_matrix_out, check_packed
from ._door import float_dtype, is_bfloat16, whole
from ._jit import helper, inline, kernel
from ._pairs import round_lines
from ._tile import PANEL_BYTES, array_at, line_buffer

__all__ = ["pack", "packed_shape", "panel_width", "unpack"]


def panel_width(dtype: Any) -> int:
    """Return the number of columns in a panel: 16 for float32, 8 for float64.

    Parameters
    ----------
    dtype : "float32" or "float64", or the NumPy dtype

    Raises
    ------
    ValueError
        If it is another: there are no panels of it.
    """
    return PANEL_BYTES // float_dtype(dtype).itemsize


def packed_shape(n_rows: int, n_columns: int, dtype: Any) -> tuple[int, int, int]:
    """Return the shape of a packed matrix: (panels, n_rows, width), or for "bfloat16" (panels, pairs of rows, 32).

    Parameters
    ----------
    n_rows, n_columns : int
        Of the matrix, from 0; panels = ceil(n_columns / width).
    dtype : "float32", "float64" or "bfloat16", or the NumPy dtype

    Raises
    ------
    TypeError, ValueError
        If a size is no such number, or the dtype is another.

    Examples
    --------
    >>> packed_shape(784, 500, "float32"), packed_shape(784, 500, "bfloat16")
    ((32, 784, 16), (32, 392, 32))
    """
    if is_bfloat16(dtype):
        return -(-whole("n_columns", n_columns, 0) // 16), -(-whole("n_rows", n_rows, 0) // 2), 32
    width = PANEL_BYTES // float_dtype(dtype, "'float32', 'float64' or 'bfloat16'").itemsize
    return -(-whole("n_columns", n_columns, 0) // width), whole("n_rows", n_rows, 0), width


@inline
def panels(n, width):
    return (n + width - 1) // width


@inline
def _lines(n, packed):
    return (n + 1) // 2 if packed.itemsize == 2 else n


@helper
def _pack_pairs(W, out):
    n, m = W.shape
    zero, lines = np.float32(0), line_buffer(np.float32(0))
    numbers, halves = array_at(zero, lines, 32), array_at(np.uint16(0), lines + 2 * PANEL_BYTES, 32)
    for p in range(out.shape[0]):
        count = min(16, m - p * 16)
        for i in range(0, n, 2):
            rows = min(2, n - i)
            for k in range(rows):
                for j in range(count):
                    numbers[k * 16 + j] = W[i + k, p * 16 + j]
            round_lines(lines, count, rows - 1, 0, lines + 2 * PANEL_BYTES)
            for j in range(32):
                out[p, i // 2, j] = halves[j]


@inline
def _widened(half):
    where = line_buffer(np.float32(0))
    array_at(np.uint32(0), where, 1)[0] = np.uint32(half) << np.uint32(16)
    return array_at(np.float32(0), where, 1)[0]


def to_panels(A: NDArray[Any], out: NDArray[Any]) -> None:
    """Do what `pack` does by NumPy: for arrays that Python makes and checks, before whose first use nothing is to be compiled."""
    n_panels, n_rows, width = out.shape
    rows = np.zeros((n_rows, n_panels * width), out.dtype)
    rows[:, : A.shape[1]] = A
    out[:] = rows.reshape(n_rows, n_panels, width).transpose(1, 0, 2)


def from_panels(packed: NDArray[Any], n_columns: int) -> NDArray[Any]:
    """Return a copy of panels as plain rows; `unpack` by NumPy."""
    rows: NDArray[Any] = packed.transpose(1, 0, 2).reshape(packed.shape[1], -1)[:, :n_columns].copy()
    return rows


@kernel
def pack(W, out):
    """Pack W into panels: out[j // width, i, j % width] = W[i, j].

    Parameters
    ----------
    W : ndarray of shape (n, m)
        Any real dtype is converted to that of out.
    out : float32 or float64 ndarray of shape `packed_shape(n, m, out.dtype)`, overwritten
        Columns beyond the last become zeros. Or uint16 of shape `packed_shape(n, m, "bfloat16")`: W is rounded to bfloat16.

    Raises
    ------
    TypeError
        If an argument is not such an array.
    ValueError
        If out has another shape, or shares memory with W.
    """
    check_matrix("pack: W", W)
    check_packed("pack: out", out)
    n, m = W.shape
    width = 16 if out.itemsize == 2 else out.shape[2]
    if out.shape[2] * out.itemsize != PANEL_BYTES or out.shape[1] != _lines(n, out) or out.shape[0] != panels(m, width):
        raise ValueError("pack: out must have the shape packed_shape(n, m, dtype)")
    if overlap(W, out):
        raise ValueError("pack: out must share no memory with W")
    if out.itemsize == 2:
        _pack_pairs(W, out)
        return
    for p in range(out.shape[0]):
        for i in range(n):
            for j in range(width):
                column = p * width + j
                out[p, i, j] = W[i, min(column, m - 1)] if column < m else 0


@kernel
def unpack(packed, out):
    """Unpack panels: out[i, j] = packed[j // width, i, j % width].

    Parameters
    ----------
    packed : float32 or float64 ndarray of shape (panels, n, width), or uint16 of shape `packed_shape(n, m, "bfloat16")`
    out : float32 or float64 ndarray of shape (n, m), overwritten

    Raises
    ------
    TypeError
        If an argument is not such an array.
    ValueError
        If packed does not hold n rows and m columns, or shares memory with out.
    """
    check_packed("unpack: packed", packed)
    check_matrix_out("unpack: out", out)
    n, m = out.shape
    width = 16 if packed.itemsize == 2 else packed.shape[2]
    if packed.shape[2] * packed.itemsize != PANEL_BYTES or packed.shape[1] != _lines(n, packed) or packed.shape[0] != panels(m, width):
        raise ValueError("unpack: packed must have the shape packed_shape(n, m, dtype)")
    if overlap(packed, out):
        raise ValueError("unpack: out must share no memory with packed")
    for p in range(packed.shape[0]):
        for i in range(n):
            for j in range(min(width, m - p * width)):
                out[i, p * width + j] = packed[p, i, j] if packed.itemsize != 2 else _widened(packed[p, i // 2, 2 * j + i % 2])
