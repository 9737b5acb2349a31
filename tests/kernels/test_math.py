"""The elementary functions: every exponent of float32, float64 against more digits, the extremes, loops that vectorize."""

import math
import platform
import re

import numba
import numpy as np
import pytest

from kernels import elementary
from kernels._jit import FLAGS
from tests import reference
from tests.numerics import DTYPES, assert_same_bits, awkward, ulp_error

FUNCTIONS = {"exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "erf": reference.erf}
BOUND = {"exp": 1.0, "expm1": 2.0, "log": 1.0, "log1p": 2.0, "tanh": 2.5, "erf": 2.0}
SUBJECTS = sorted(FUNCTIONS)
# math.erf and the longdouble of some platforms are no better than float64
SLACK = 0.0 if np.finfo(np.longdouble).nmant > 60 else 1.0

INF, NAN = np.inf, np.nan
EXTREMES = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e4, INF), (-1e4, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (NAN, NAN), (1e4, INF), (-1e4, -1.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-INF, NAN), (-1.0, NAN), (NAN, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (INF, INF), (-INF, NAN), (NAN, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (1e4, 1.0), (-1e4, -1.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (1e4, 1.0), (-1e4, -1.0)],
}

# From mpmath at 120 bits, rounded to float64; NumPy has no erf.
ERF = [
    (0.1, 0.1124629160182849),
    (0.5, 0.5204998778130465),
    (0.75, 0.7111556336535151),
    (0.9, 0.7969082124228322),
    (0.99, 0.8385080695553698),
    (1.0, 0.8427007929497149),
    (1.01, 0.8468104962282768),
    (1.1, 0.8802050695740817),
    (1.25, 0.9229001282564583),
    (1.5, 0.9661051464753108),
    (2.0, 0.9953222650189527),
    (2.5, 0.999593047982555),
    (3.0, 0.9999779095030014),
    (4.0, 0.9999999845827421),
    (5.0, 0.9999999999984626),
    (5.75, 0.9999999999999996),
    (6.0, 1.0),
]


def call(name, x):
    """Call a kernel; a vector goes in as a matrix of one row, for which it is compiled anyway."""
    out = np.empty_like(x)
    getattr(elementary, name)(*(np.atleast_2d(A) for A in (x, out)))
    return out


@pytest.mark.parametrize("name", SUBJECTS)
def test_float32_over_all_exponents(name):
    stride = 30011 if name == "erf" else 1009  # math.erf is called once an element
    x = np.arange(0, 2**32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)
    actual = call(name, x)
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name](x.astype(np.float64))
        expected = exact.astype(np.float32)
    finite = np.isfinite(expected)
    assert_same_bits(actual[~finite], expected[~finite])
    np.testing.assert_array_equal(np.signbit(actual[finite]), np.signbit(expected[finite]))
    assert ulp_error(actual[finite], exact[finite]).max() <= BOUND[name]


@pytest.mark.parametrize("name", SUBJECTS)
def test_float64_over_its_range(name):
    rng = np.random.default_rng(0)
    tiny = 10.0 ** rng.uniform(-320, 0, 3000)
    ranges = {
        "exp": [rng.uniform(-745, 709.7, 20_000), rng.uniform(-745.2, -708, 2000)],
        "expm1": [rng.uniform(-40, 709.7, 10_000), rng.uniform(-1, 1, 20_000)],
        "log": [np.exp(rng.uniform(-700, 709, 10_000)), rng.uniform(0.4, 2.5, 20_000)],
        "log1p": [np.exp(rng.uniform(-30, 709, 10_000)), rng.uniform(-0.7, 1.6, 20_000), 10.0 ** rng.uniform(-16, 0, 2000) - 1],
        "tanh": [rng.uniform(-20, 20, 10_000), rng.uniform(-1, 1, 20_000)],
        "erf": [rng.uniform(-6.5, 6.5, 10_000), rng.uniform(-1.5, 1.5, 20_000)],
    }
    signs = (1,) if name == "log" else (1, -1)
    x = np.concatenate(ranges[name] + [sign * tiny for sign in signs])
    digits = np.float64 if name == "erf" else np.longdouble
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name](x.astype(digits))
    normal = np.isfinite(exact)
    assert ulp_error(call(name, x)[normal], exact[normal]).max() <= BOUND[name] + (1.0 if name == "erf" else SLACK)


def test_erf_float64_against_stored_digits():
    x, expected = np.array(ERF).T
    assert ulp_error(call("erf", x), expected).max() <= BOUND["erf"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_extremes(name, dtype):
    x, expected = np.array(EXTREMES[name], dtype).T
    assert_same_bits(call(name, np.ascontiguousarray(x)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh"])
def test_small_arguments_are_kept(name, dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    x = np.array([smallest, -smallest, 3 * smallest, np.finfo(dtype).tiny, -np.finfo(dtype).tiny * dtype(0.7)], dtype)
    assert_same_bits(call(name, x), x)


@pytest.mark.parametrize("shape", [(0,), (1,), (17,), (3, 0), (5, 7), (2, 3, 5), ()])
def test_any_shape(shape):
    x, out = np.full(shape, 0.5), np.zeros(shape)
    elementary.exp(x, out)
    np.testing.assert_allclose(out, math.exp(0.5))


def test_strided_and_in_place():
    x = np.linspace(-2, 2, 35).reshape(5, 7)
    expected = call("tanh", x)
    assert_same_bits(call("tanh", awkward(x)), expected)
    out = np.zeros((7, 5)).T
    elementary.tanh(x, out)
    assert_same_bits(out, expected)
    elementary.tanh(x, x)
    assert_same_bits(x, expected)


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"exp: out must have the shape of Z; got float64\[3\], float64\[4\]\."):
        elementary.exp(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_bits_do_not_depend_on_the_place_in_the_array(name, dtype):
    """A vector loop and the scalar loop for its last elements agree."""
    x = np.linspace(0.01, 5, 67).astype(dtype)
    one_by_one = np.concatenate([call(name, x[i : i + 1]) for i in range(x.size)])
    assert_same_bits(call(name, x), one_by_one)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("name", SUBJECTS)
def test_loops_are_vectors(name):
    kernel = numba.njit(getattr(elementary, name).compiled.py_func, **FLAGS)  # what comes from a cache has no assembly
    signature = (numba.float32[::1], numba.float32[::1])
    kernel.compile(signature)
    assembly = kernel.inspect_asm(signature)
    assert len(re.findall(r"v?mulps|vfn?m[a-z]+\d+ps", assembly)) > 5
