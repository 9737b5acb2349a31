"""Random numbers: the published test vectors, the twins in whole numbers, and what the distributions promise."""

import numba
import numpy as np
import pytest

import kernels
from kernels import random
from kernels.random import dropout_backward, dropout_forward, permutation, random_normal, random_uniform
from tests import reference
from tests.numerics import DTYPES, assert_same_bits, awkward, ulp_error

BIG_SEED = 0x0123456789ABCDEF

# kat_vectors of Random123: counter, key, words
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@numba.njit
def philox(counter, key):
    return random.philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1])


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_philox_known_answers(counter, key, words):
    assert list(philox(np.array(counter, np.uint32), np.array(key, np.uint32))) == words
    assert reference.philox(counter, key) == words


@pytest.mark.parametrize("n", [0, 1, 2, 37])
def test_permutation_against_the_twin(n):
    out = np.full(n, -1)
    permutation(BIG_SEED, 3, out)
    assert out.tolist() == reference.permutation(BIG_SEED, 3, n)


def test_permutation_is_one_and_every_order_is_as_likely():
    out = np.empty(10_007, np.int64)
    permutation(0, 0, out)
    np.testing.assert_array_equal(np.sort(out), np.arange(10_007))
    three, counts = np.empty(3, np.int64), {}
    for epoch in range(6000):
        permutation(1, epoch, three)
        counts[tuple(three)] = counts.get(tuple(three), 0) + 1
    chi_square = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    assert len(counts) == 6
    assert chi_square < 20.5  # 99.9 % of 5 degrees of freedom


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (0, 3), (41,)])
def test_initial_weights_against_the_twin(shape, dtype):
    uniform, normal = np.empty(shape, dtype), np.empty(shape, dtype)
    random_uniform(BIG_SEED, 4, -0.5, 2.0, uniform)
    random_normal(BIG_SEED, 4, 0.25, 2.0, normal)
    assert_same_bits(uniform, reference.random_uniform(BIG_SEED, 4, -0.5, 2.0, shape).astype(dtype))
    np.testing.assert_allclose(normal, reference.random_normal(BIG_SEED, 4, 0.25, 2.0, shape), rtol=1e-14 if dtype == np.float64 else 1e-7)


def test_float32_weights_are_the_rounded_float64_ones():
    limits = np.empty((2, 5))
    random_uniform(0, 0, -(2**62), 2**62, limits[0])
    random_uniform(0, 0, -(2.0**62), 2.0**62, limits[1])
    assert_same_bits(limits[0], limits[1])
    for fill in (random_uniform, random_normal):
        narrow, wide = np.empty((33, 20), np.float32), np.empty((33, 20))
        fill(7, 1, -1.0, 1.0, narrow)
        fill(7, 1, -1.0, 1.0, wide)
        assert_same_bits(narrow, wide.astype(np.float32))


def test_distributions():
    out = np.empty((400, 500))
    random_uniform(0, 0, -1.0, 1.0, out)
    assert abs(out.mean()) < 0.005
    assert abs(out.var() - 1 / 3) < 0.005
    assert -1 <= out.min() < -0.9999
    assert 0.9999 < out.max() < 1
    random_normal(0, 0, 0.0, 1.0, out)
    assert abs(out.mean()) < 0.01
    assert abs(out.var() - 1) < 0.02
    assert abs((out**3).mean()) < 0.03
    assert abs((out**4).mean() - 3) < 0.1
    assert abs((np.abs(out) > 1.959963984540054).mean() - 0.05) < 0.002


@numba.njit
def normal_quantile(p, out):
    for i in range(p.size):
        out[i] = random.normal_quantile(p[i])


def test_normal_quantile_reaches_its_tails():
    p = np.array([2.0**-53, 1e-12, 1e-7, 0.01, 0.0749, 0.0751, 0.3, 0.5, 0.9, 0.999999, 1 - 2.0**-53])
    actual, expected = np.empty_like(p), np.array([reference.NormalDist().inv_cdf(x) for x in p])
    normal_quantile(p, actual)
    assert ulp_error(actual, expected).max() <= 8


def test_seeds_streams_and_purposes_differ():
    out = np.empty((6, 200))
    for row, (seed, stream) in zip(out, [(0, 0), (1, 0), (0, 1), (2**32, 0), (2**63 - 1, 0)]):
        random_uniform(seed, stream, 0.0, 1.0, row)
    dropout_forward(np.ones((1, 200)), 0.5, 0, 0, 0, out[5:])
    correlations = np.corrcoef(out) - np.eye(6)
    assert np.abs(correlations).max() < 0.3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.999])
def test_dropout_against_the_twin(rate, dtype):
    for shape in [(4, 5), (7, 18), (1, 1), (3, 40), (0, 3), (5, 0)]:
        X = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        mask = reference.dropout_mask(rate, BIG_SEED, 5, 2, shape).astype(dtype)
        out = np.full_like(X, 7)
        dropout_forward(X, rate, BIG_SEED, 5, 2, out)
        assert_same_bits(out, X * mask)
        dropout_backward(X, rate, BIG_SEED, 5, 2, out)
        assert_same_bits(out, X * mask)


@pytest.mark.parametrize("rate", [0.1, 0.3, 1 / 3, 0.77, 0.999, 1e-9])
def test_dropout_is_that_of_a_network(rate):
    """A layer of one row whose loss is the distance to something far away: its gradient is its input after the dropout."""
    X = np.random.default_rng(3).standard_normal((1, 200))
    plan = kernels.Plan([200, 1], [kernels.IDENTITY], [rate], "float64", seed=BIG_SEED)
    parameters = np.zeros(plan.parameters_size)
    trainer = kernels.Trainer(plan, parameters, 1, kernels.Objective(kernels.ABSOLUTE_ERROR), kernels.SGD, [0.0])
    trainer.train(X, np.full((1, 1), -1e9), np.zeros(1, np.int64), 0, np.ones(1))
    actual = np.empty_like(X)
    dropout_forward(X, rate, BIG_SEED, 0, 0, actual)
    np.testing.assert_array_equal(actual[0], -plan.weight(parameters, 0)[0][:, 0])


def test_dropout_share_and_independence():
    kept = []
    for step, layer in [(0, 0), (1, 0), (0, 1)]:
        out = np.ones((400, 250), np.float32)
        dropout_forward(out, 0.3, 11, step, layer, out)
        kept.append(out.ravel() != 0)
    kept = np.array(kept)
    np.testing.assert_allclose(kept.mean(axis=1), 0.7, atol=0.01)
    assert np.abs(np.corrcoef(kept) - np.eye(3)).max() < 0.02


def test_dropout_strided_and_read_only():
    X = np.random.default_rng(0).standard_normal((9, 10)).astype(np.float32)
    expected, out = np.empty_like(X), np.empty((10, 9), np.float32).T
    dropout_forward(X, 0.4, 1, 2, 3, expected)
    dropout_forward(awkward(X), 0.4, 1, 2, 3, out)
    assert_same_bits(out, expected)


def test_nan_is_not_dropped():
    X = np.full((4, 50), np.nan)
    dropout_forward(X, 0.5, 0, 0, 0, X)
    assert np.isnan(X).all()


@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan])
def test_dropout_errors(rate):
    X = np.zeros((2, 3))
    for kernel in (dropout_forward, dropout_backward):
        with pytest.raises(ValueError, match="rate must be at least 0 and less than 1"):
            kernel(X, rate, 0, 0, 0, X)
        with pytest.raises(ValueError, match="out must have the shape of"):
            kernel(X, 0.5, 0, 0, 0, X[:1])


def test_from_nopython_code_serial_and_in_prange():
    @numba.njit(parallel=True)
    def each(X, seed, layer, out):  # a literal would compile another kernel
        for i in numba.prange(X.shape[0]):
            dropout_forward(X[i], 0.5, seed, i, layer, out[i])

    @numba.njit
    def one(seed, stream, out, weights):
        permutation(seed, stream, out)
        random_normal(seed, stream, 0.0, 1.0, weights)
        random_uniform(seed, stream, 0.0, 1.0, weights)

    X = np.random.default_rng(0).random((3, 6, 7))
    out, expected = np.empty_like(X), np.empty_like(X)
    each(X, 3, 0, out)
    for i in range(3):
        dropout_forward(X[i], 0.5, 3, i, 0, expected[i])
    assert_same_bits(out, expected)
    order, weights, expected_weights = np.empty(9, np.int64), np.empty((2, 3)), np.empty((2, 3))
    one(3, 0, order, weights)
    random_uniform(3, 0, 0.0, 1.0, expected_weights)
    assert order.tolist() == reference.permutation(3, 0, 9)
    assert_same_bits(weights, expected_weights)
