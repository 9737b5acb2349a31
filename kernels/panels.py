"""The packed layout of a matrix: panels of 64 bytes of columns, 16 float32 or 8 float64.

Element (i, j) of an (n, m) matrix lies at `packed[j // width, i, j % width]`; columns beyond the last are zero. The
products of this package read weights in this layout, so weights that are packed once are never repacked to be used.
"""

from __future__ import annotations

from typing import Any

from ._arrays import overlap
from ._checks import check_read, check_written
from ._door import float_dtype, whole
from ._jit import inline, kernel
from ._tile import PANEL_BYTES

__all__ = ["pack", "packed_shape", "panel_width", "unpack"]


def panel_width(dtype: Any) -> int:
    """Return the number of columns in a panel: 16 for float32, 8 for float64; there are no panels of other dtypes."""
    return PANEL_BYTES // float_dtype(dtype).itemsize


def packed_shape(n_rows: int, n_columns: int, dtype: Any) -> tuple[int, int, int]:
    """Return the shape of a packed matrix: (panels, n_rows, width)."""
    width = panel_width(dtype)
    return -(-whole("n_columns", n_columns, 0) // width), whole("n_rows", n_rows, 0), width


@inline
def panels(n, width):
    return (n + width - 1) // width


@kernel
def pack(W, out):
    """Pack W into panels: out[j // width, i, j % width] = W[i, j].

    Parameters
    ----------
    W : ndarray of shape (n, m)
        Any real dtype is converted to that of out.
    out : float32 or float64 ndarray of shape `packed_shape(n, m, out.dtype)`, overwritten
        Columns beyond the last become zeros.

    Raises
    ------
    TypeError
        If an argument is not such an array.
    ValueError
        If out has another shape, or shares memory with W.
    """
    check_read("pack: W", W)
    check_written("pack: out", out)
    n, m = W.shape
    width = out.shape[2]
    if width != PANEL_BYTES // out.itemsize or out.shape[1] != n or out.shape[0] != panels(m, width):
        raise ValueError("pack: out must have the shape packed_shape(n, m, dtype)")
    if overlap(W, out):
        raise ValueError("pack: out must share no memory with W")
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
    packed : float32 or float64 ndarray of shape (panels, n, width)
    out : float32 or float64 ndarray of shape (n, m), overwritten

    Raises
    ------
    TypeError
        If an argument is not such an array.
    ValueError
        If packed does not hold n rows and m columns, or shares memory with out.
    """
    check_read("unpack: packed", packed)
    check_written("unpack: out", out)
    n, m = out.shape
    width = packed.shape[2]
    if width != PANEL_BYTES // packed.itemsize or packed.shape[1] != n or packed.shape[0] != panels(m, width):
        raise ValueError("unpack: packed must have the shape packed_shape(n, m, dtype)")
    if overlap(packed, out):
        raise ValueError("unpack: out must share no memory with packed")
    for p in range(packed.shape[0]):
        for i in range(n):
            for j in range(min(width, m - p * width)):
                out[i, p * width + j] = packed[p, i, j]
