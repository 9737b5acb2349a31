"""Blocks and lines of a panel, which LLVM is told as vectors."""

import numba
import numpy as np
import pytest

import kernels
from kernels._tile import add_line, address_of, keep, multiply_line, raise_line, subtract_line, transpose_block

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@numba.njit
def transpose(a, a_row, c, c_row):
    transpose_block(a.dtype.type(0), address_of(a), a_row, address_of(c), c_row)
    keep(a)
    keep(c)


@DTYPES
@pytest.mark.parametrize(("a_more", "c_more"), [(0, 0), (3, 0), (0, 5), (7, 1)])
def test_a_block_is_transposed_and_nothing_else_is_written(dtype, a_more, c_more):
    width = kernels.panel_width(np.dtype(dtype).name)
    a = np.random.default_rng(0).random((width, width + a_more)).astype(dtype)
    c = np.full((width, width + c_more), -1, dtype)
    transpose(a, width + a_more, c, width + c_more)
    np.testing.assert_array_equal(c[:, :width], a[:, :width].T)
    assert (c[:, width:] == -1).all()


@DTYPES
def test_a_block_is_transposed_in_its_place(dtype):
    width = kernels.panel_width(np.dtype(dtype).name)
    a = np.random.default_rng(0).random((width, width + 3)).astype(dtype)
    before = a.copy()
    transpose(a, width + 3, a, width + 3)
    np.testing.assert_array_equal(a[:, :width], before[:, :width].T)
    np.testing.assert_array_equal(a[:, width:], before[:, width:])


@DTYPES
@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (add_line, lambda x, y: x + y),
        (subtract_line, lambda x, y: x - y),
        (multiply_line, lambda x, y: x * y),
        (raise_line, lambda x, y: np.where(y > x, y, x)),
    ],
)
def test_a_line_is_combined_with_another(dtype, operation, expected):
    @numba.njit
    def call(source, out):
        operation(out.dtype.type(0), address_of(source), address_of(out))
        keep(source)
        keep(out)

    width = kernels.panel_width(np.dtype(dtype).name)
    source, out = np.random.default_rng(0).standard_normal((2, width)).astype(dtype)
    source[0], out[1], out = np.nan, np.nan, np.append(out, dtype(7))
    wanted = np.append(expected(out[:width], source), dtype(7))
    call(source, out)
    np.testing.assert_array_equal(out, wanted)
