"""The gather against indexing."""

import numpy as np
import pytest

import kernels
from tests.numerics import assert_same_bits


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, lambda X: np.repeat(X, 2, axis=1)[:, ::2], lambda X: X[::-1].copy()[::-1]])
def test_gather_places_rows_of_any_array(kind, layout):
    X = layout((np.random.default_rng(0).random((40, 37)) * 200).astype(kind))
    X.flags.writeable = False
    order = np.random.default_rng(1).permutation(40)[:25]
    jump, stride = 11 * 16, 3 * 11 * 16
    out = np.full(3 * stride, np.nan, np.float32)
    assert kernels.gather(X, order, 10, 0.5, -1.0, out, stride, jump) == -1
    for position, row in enumerate(order):
        s, i = divmod(position, 10)
        j = np.arange(37)
        actual = out[s * stride + j // 16 * jump + i * 16 + j % 16]
        assert_same_bits(actual, X[row].astype(np.float32) * np.float32(0.5) - np.float32(1))


def test_gather_refuses_rows_that_do_not_exist():
    with pytest.raises(IndexError, match="order must name rows of X"):
        kernels.gather(np.zeros((3, 4), np.float32), np.array([0, 3]), 2, 1.0, 0.0, np.zeros(48, np.float32), 48, 48)
    with pytest.raises(ValueError, match="out must hold every minibatch"):
        kernels.gather(np.zeros((3, 4), np.float32), np.array([0, 1]), 2, 1.0, 0.0, np.zeros(16, np.float32), 48, 48)
