"""The gather against indexing: with one factor and shift, and with one for each column."""

import dataclasses

import numpy as np
import pytest

import kernels
from kernels.gather import Gather
from kernels.team import share
from tests.numerics import assert_same_bits, awkward

ROWS, COLUMNS, STRIDED = np.ascontiguousarray, np.asfortranarray, lambda X: np.repeat(X, 2, axis=1)[::-1, ::2]


@pytest.mark.parametrize(
    ("layout", "kind"),  # few of the combinations: each is compiled
    [
        *[(ROWS, kind) for kind in (np.uint8, np.int16, np.float32, np.float64, np.bool_)],
        (COLUMNS, np.float32),
        (awkward, np.float64),
        (awkward, np.uint8),
        (lambda X: awkward(X[::-1])[::-1], np.uint8),
    ],
)
def test_gather_places_rows_of_any_array(layout, kind):
    X = layout((np.random.default_rng(0).random((40, 37)) * 200).astype(kind))
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


def gathered(X, order, scale, shift, dtype, n_threads=1):
    """Return the rows as the network sees them, and what the gather says of them."""
    width = 64 // np.dtype(dtype).itemsize
    panels, n = -(-X.shape[1] // width), len(order)
    out = np.zeros(panels * n * width, dtype)
    with share(n_threads) as team:
        bad = Gather(np.dtype(dtype).name, n, n * width, X.shape[1], out)(X, np.asarray(order), 0, n, scale, shift, team)
    return out.reshape(panels, n, width).transpose(1, 0, 2).reshape(n, -1)[:, : X.shape[1]], bad


def factors(n, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=n) * 10.0 ** rng.integers(-3, 4, n), rng.normal(size=n)


@pytest.mark.parametrize(
    ("layout", "kind", "dtype"),  # a compilation each
    [
        (ROWS, np.uint8, np.float32),
        (ROWS, np.float32, np.float32),
        (ROWS, np.float64, np.float32),
        (ROWS, np.float64, np.float64),
        (COLUMNS, np.float64, np.float32),
        (STRIDED, np.int64, np.float64),
    ],
)
def test_columns_are_scaled_in_float64_and_rounded_once(layout, kind, dtype):
    X = layout((np.random.default_rng(0).random((23, 37)) * 200).astype(kind))
    scale, shift = factors(37)
    order = np.random.default_rng(1).permutation(23)[:19]
    actual, bad = gathered(X, order, scale, shift, dtype)
    exact = X[order].astype(np.longdouble) * scale + shift
    assert bad == -1
    assert np.all(np.abs(actual - exact) <= np.spacing(np.abs(actual)) * 0.501)


@pytest.mark.parametrize("n", [1, 7, 8, 15, 16, 17, 33])
def test_every_width_has_the_same_bits_in_panels_and_beside_them(n):
    X = np.random.default_rng(n).normal(size=(11, n))
    scale, shift = factors(n)
    in_panels, one_by_one = (gathered(A, np.arange(11), scale, shift, np.float32)[0] for A in (X, COLUMNS(X)))
    assert_same_bits(in_panels, one_by_one)


def test_large_offsets_cancel():
    rows = np.arange(40.0)
    X = np.c_[1e12 + 7 * rows, np.full(40, 1.7e9), 1e15 + rows]
    scale = np.array([1 / 7, 0.0, 1.0])
    actual, _ = gathered(X, np.arange(40), scale, -np.array([1e12 / 7, 0.0, 1e15]), np.float32)
    np.testing.assert_allclose(actual, np.c_[rows, np.zeros(40), rows], atol=1e-4)


def test_a_row_beyond_the_dtype_is_named():
    for n, j in ((20, 3), (20, 18)):
        X, (scale, shift) = np.ones((64, n)), factors(n)
        X[41, j] = 1e300
        assert gathered(X, np.arange(64), scale, shift, np.float32)[1] == 41
        assert gathered(X, np.arange(64), scale, shift, np.float64)[1] == -1


def test_threads_change_no_bit():
    X, (scale, shift) = np.random.default_rng(4).normal(size=(300, 50)), factors(50)
    one, several = (gathered(X, np.arange(300), scale, shift, np.float32, n)[0] for n in (1, kernels.max_threads()))
    assert_same_bits(one, several)


def test_one_factor_for_all_is_the_factor_of_each():
    X = np.random.default_rng(5).normal(size=(9, 21))
    plan = kernels.Plan((21, 4), (kernels.TANH,), (0.0,), "float64")
    parameters = np.random.default_rng(6).normal(size=plan.parameters_size) * plan.mask()
    y, together = X[:, :4].copy(), kernels.Objective(kernels.SQUARED_ERROR, scale=0.5, shift=-1.0)  # a factor that rounds nothing
    each = dataclasses.replace(together, scale=np.full(21, 0.5), shift=np.full(21, -1.0))
    for function in (kernels.evaluate, kernels.loss_and_gradient):
        actual, expected = (function(plan, parameters, X, y, objective) for objective in (each, together))
        assert actual[0] == expected[0]
        assert_same_bits(actual[1], expected[1])
    outputs = (kernels.predict(plan, parameters, X, scale=one.scale, shift=one.shift) for one in (each, together))
    assert_same_bits(*outputs)


@pytest.mark.parametrize(
    ("scale", "shift", "error", "message"),
    [
        (np.ones(4), np.ones(5), ValueError, "shift must be contiguous, finite and as long as the other one; got float64"),
        (np.ones(4), np.ones(4), ValueError, r"scale and shift must have the shape \(5,\); got \(4,\)"),
        (np.ones(5, np.float32), np.ones(5), TypeError, "scale must be .* got float32"),
        (np.ones(5), np.ones(10)[::2], ValueError, "shift must be"),
        (np.ones(5), 1.0, TypeError, "shift must be .* got 1.0"),
        (2.0, np.ones(5), TypeError, "scale must be .* got 2.0"),
        (np.ones(5), np.full(5, np.nan), ValueError, "shift must be"),
    ],
)
def test_factors_that_would_be_read_beyond_their_end_are_refused(scale, shift, error, message):
    plan = kernels.Plan((5, 1), (kernels.IDENTITY,), (0.0,))
    with pytest.raises(error, match=message):
        kernels.predict(plan, np.zeros(plan.parameters_size, np.float32), np.ones((3, 5)), scale=scale, shift=shift)
    with pytest.raises(error, match=message):
        objective = kernels.Objective(kernels.SQUARED_ERROR, scale=scale, shift=shift)
        kernels.evaluate(plan, np.zeros(plan.parameters_size, np.float32), np.ones((3, 5)), np.ones((3, 1)), objective)
