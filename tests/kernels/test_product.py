"""Products of panels: whatever tiles and blocks they are cut into, each sum is one chain, so its bits are those of a row and a panel alone."""

import numpy as np
import pytest

from kernels import _product
from kernels._jit import Task
from kernels._tile import FLOOR, MASK, NO_FINISH
from kernels.program import aligned_zeros
from tests.kernels.tasks import run_task

ROWS, COLUMNS, FEW = (Task(one) for one in (_product.panel_product, _product.column_product, _product.few_rows_product))


def in_panels(A, height):
    """Return a matrix in panels of `height` rows each, in one flat array."""
    width = 64 // A.itemsize
    out = aligned_zeros(-(-A.shape[1] // width) * height * width, A.dtype).reshape(-(-A.shape[1] // width), height, width)
    for j in range(A.shape[1]):
        out[j // width, : len(A), j % width] = A[:, j]
    return out


def out_of_panels(panels, rows, columns):
    return panels[:, :rows].transpose(1, 0, 2).reshape(rows, -1)[:, :columns]


def multiply(A, B, init, mode, side, dtype):
    """Return A @ B by `panel_product`."""
    width, (rows, k), n = 64 // dtype().itemsize, A.shape, B.shape[1]
    height = rows | 1
    a, b, sides, c = in_panels(A, height), in_panels(B, k), in_panels(side, height), in_panels(np.full((rows, n), np.nan, dtype), height)
    line = aligned_zeros(b.shape[0] * width, dtype)
    line[:n] = init
    run_task(ROWS, dtype, a, height * width, b, k * width, line, c, width, height * width, mode, sides, k, rows, b.shape[0], b)
    return out_of_panels(c, rows, n)


# (rows, inputs, outputs): each height of a tile, one off a block of inputs or two, odd and even numbers of panels
SHAPES = [(1, 5, 16), (3, 16, 40), (12, 127, 32), (13, 128, 33), (25, 129, 48), (31, 300, 17), (50, 257, 100), (24, 512, 16), (100, 784, 130), (7, 0, 20)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "k", "n"), SHAPES)
def test_rows_product(rows, k, n, dtype):
    rng = np.random.default_rng(rows)
    A, B, init, side = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, k), (k, n), n, (rows, n)))
    wide, tolerance = A.astype(np.float64) @ B.astype(np.float64) + init, 1e-5 if dtype == np.float32 else 1e-13
    for mode, expected in ((NO_FINISH, wide), (FLOOR, np.maximum(wide, 0)), (MASK, np.where(side > 0, wide, 0))):
        actual = multiply(A, B, init, mode, side, dtype)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1, k) ** 0.5)
        for i, j in {(0, 0), (rows - 1, n - 1), (rows // 2, n // 2)}:  # alone
            alone = multiply(A[i : i + 1], B[:, j : j + 1], init[j], mode, side[i : i + 1, j : j + 1], dtype)
            assert alone[0, 0] == actual[i, j]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "k", "n"), [(1, 3, 16), (5, 16, 33), (16, 127, 32), (37, 129, 50), (50, 260, 17), (100, 300, 100), (9, 0, 20)])
def test_columns_product(rows, k, n, dtype):
    """A^T @ B for k rows of both; C in blocks of all rows, a panel each."""
    rng = np.random.default_rng(rows)
    width, A, B = 64 // dtype().itemsize, *(rng.standard_normal((k, m)).astype(dtype) for m in (rows, n))
    height, count = max(k, 1), -(-n // width)
    a, b, c, none = in_panels(A, height), in_panels(B, height), aligned_zeros(count * rows * width, dtype), aligned_zeros(8 * width, dtype)
    step, c_step = height * 64, rows * 64
    run_task(COLUMNS, dtype, a, step, b, step, none, c, c_step, count, k, rows, 3, c, c, c_step)
    actual = out_of_panels(c.reshape(count, rows, width), rows, n)
    expected = A.astype(np.float64).T @ B.astype(np.float64)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=(1e-5 if dtype == np.float32 else 1e-13) * max(1, k) ** 0.5)
    alone = aligned_zeros(width, dtype)
    for i, p in {(0, 0), (rows - 1, count - 1)}:  # one row, one panel
        place = a.ctypes.data + i // width * step + i % width * a.itemsize
        run_task(COLUMNS, dtype, place, step, b.ctypes.data + p * step, step, none, alone, c_step, 1, k, 1, 0, c, c, 0)
        np.testing.assert_array_equal(alone, c[(p * rows + i) * width : (p * rows + i + 1) * width])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_few_rows_have_the_bits_of_many(rows, dtype):
    rng = np.random.default_rng(rows)
    width, k, n, height = 64 // dtype().itemsize, 300, 200, 33
    A, B, init = (rng.standard_normal(shape).astype(dtype) for shape in ((height, k), (k, n), n))
    a, b, c = in_panels(A, height), in_panels(B, k), in_panels(np.full((height, n), np.nan, dtype), height)
    line = aligned_zeros(b.shape[0] * width, dtype)
    line[:n] = init
    run_task(FEW, dtype, a, height * width, b, k * width, line, c, FLOOR, k, rows, b.shape[0])
    expected = multiply(A, B, init, FLOOR, np.ones((height, n), dtype), dtype)
    np.testing.assert_array_equal(out_of_panels(c, rows, n), expected[:rows])
