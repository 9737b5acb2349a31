"""How close is close: one table of tolerances by dtype, errors in ULP, directional gradients."""

import numpy as np

DTYPES = (np.float32, np.float64)

# relative and absolute, for results of a few dozen roundings of numbers near 1
TOLERANCE = {np.dtype(np.float32): (1e-5, 1e-6), np.dtype(np.float64): (1e-12, 1e-13)}


def assert_close(actual, expected, looser=1.0):
    """Compare with the tolerance of the dtype of `actual`; a test that needs it `looser` says why."""
    rtol, atol = TOLERANCE[np.asarray(actual).dtype]
    np.testing.assert_allclose(actual, expected, rtol=looser * rtol, atol=looser * atol)


def assert_same_bits(actual, expected):
    """Compare arrays to the last bit: signs of zeros count, nan equals nan."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
    numbers = ~np.isnan(actual)
    np.testing.assert_array_equal(np.signbit(actual[numbers]), np.signbit(expected[numbers]))


def ulp_error(actual, exact):
    """Return |actual - exact| in units of the last place that `exact`, of more digits, has in the dtype of `actual`."""
    info = np.finfo(actual.dtype)
    _, exponent = np.frexp(exact)
    place = np.maximum(exponent - (info.nmant + 1), info.minexp - info.nmant)
    return np.abs(np.ldexp(actual.astype(exact.dtype) - exact, -place))


def assert_gradient(function, gradient, *arrays, step=1e-5, rtol=1e-7):
    """Compare <gradient, direction> with the central difference of a scalar function along a random direction, in float64."""
    rng = np.random.default_rng(1)
    directions = [rng.standard_normal(array.shape) for array in arrays]
    above = function(*(array + step * u for array, u in zip(arrays, directions)))
    below = function(*(array - step * u for array, u in zip(arrays, directions)))
    slope = sum(np.vdot(g, u) for g, u in zip(gradient, directions))
    np.testing.assert_allclose((above - below) / (2 * step), slope, rtol=rtol, atol=rtol)


def awkward(array):
    """Return the same numbers as a strided, read-only array."""
    wide = np.repeat(array, 2, axis=-1)
    wide.flags.writeable = False
    return wide[..., ::2]
