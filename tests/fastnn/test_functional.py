"""The functions of a network by themselves: against NumPy, for every kind of array, and beside the network that they make up."""

import numpy as np
import pytest

import kernels
from fastnn import Dense, Sequential, functional
from fastnn.layers import ACTIVATIONS
from tests import reference
from tests.numerics import DTYPES, assert_close, assert_same_bits, awkward

EXPECTED = {**{name: value for name, (value, slope) in reference.ACTIVATIONS.items()}, "softmax": reference.softmax, "log_softmax": reference.log_softmax}
rng = np.random.default_rng(0)


def test_there_is_a_function_for_every_activation():
    assert set(functional.__all__) == {"linear", *ACTIVATIONS}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_rows(name, dtype):
    Z = (3 * rng.normal(size=(5, 7))).astype(dtype)
    actual = getattr(functional, name)(Z)
    assert actual.dtype == dtype
    assert_close(actual, EXPECTED[name](Z.astype(np.float64)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_a_single_vector_and_of_a_stack_are_those_of_rows(name):
    function, Z = getattr(functional, name), rng.normal(size=(2, 3, 4))
    expected = function(Z.reshape(6, 4))
    assert_same_bits(function(Z), expected.reshape(2, 3, 4))
    assert_same_bits(function(Z[0, 1]), expected[1])


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"softmax", "log_softmax"}))
def test_activations_of_a_number_and_of_nothing(name):
    function = getattr(functional, name)
    assert_same_bits(function(0.5), function([0.5])[0])
    assert function(np.empty((0, 3))).shape == (0, 3)
    assert function([]).shape == (0,)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_leave_their_argument_alone(name):
    Z = np.array([[-1.0, 2.0]])
    out = getattr(functional, name)(Z)
    assert not np.shares_memory(out, Z)
    assert_same_bits(Z, [[-1.0, 2.0]])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_wants_a_last_axis(name):
    with pytest.raises(ValueError, match=r"^Z must have shape \(\.\.\., n\); got \(\)\.$"):
        getattr(functional, name)(1.0)


def test_softmax_does_not_overflow():
    assert_close(functional.softmax([1e4, 1e4, -1e4]), [0.5, 0.5, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear(dtype):
    X, W, b = (rng.normal(size=shape).astype(dtype) for shape in ((5, 6), (6, 3), 3))
    actual = functional.linear(X, W, b)
    assert actual.dtype == dtype
    assert_close(actual, X.astype(np.float64) @ W + b)


def test_linear_of_a_single_vector_and_of_a_stack():
    X, W, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 5)), rng.normal(size=5)
    expected = functional.linear(X.reshape(6, 4), W, b)
    assert_same_bits(functional.linear(X, W, b), expected.reshape(2, 3, 5))
    assert_same_bits(functional.linear(X[0, 1], W, b), expected[1])


def test_linear_without_bias():
    X, W = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    assert_same_bits(functional.linear(X, W), functional.linear(X, W, np.zeros(4)))
    assert functional.linear(X.astype(np.float32), W.astype(np.float32)).dtype == np.float32


def test_linear_of_strided_and_transposed_arrays():
    X, W, b = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    expected = functional.linear(X, W, b)
    assert_same_bits(functional.linear(awkward(X), np.asfortranarray(W), awkward(b)), expected)


def test_numbers_other_than_float32_are_calculated_in_float64():
    assert functional.linear([1, 0], [[7], [3]], [-2]).dtype == np.float64
    assert functional.linear(np.ones(2, np.float32), np.ones((2, 1)), np.ones(1, np.float32)).dtype == np.float64
    assert_same_bits(functional.relu(np.array([-1, 2], np.int8)), np.array([0.0, 2.0]))


def test_chained_by_hand_they_are_the_network():
    net = Sequential([Dense(8, "tanh"), Dense(3, "softmax")], n_features=4, dtype="float64")
    X, ((W1, b1), (W2, b2)) = rng.normal(size=(6, 4)), net.weights
    actual = functional.softmax(functional.linear(functional.tanh(functional.linear(X, W1, b1)), W2, b2))
    assert_close(actual, net.predict(X))


@pytest.mark.parametrize(
    ("X", "W", "b", "message"),
    [
        ([1, 2], [3, 4], None, r"W must have shape \(n_in, n_out\); got \(2,\)\."),
        ([1, 2, 3], [[3], [4]], None, r"X must have shape \(\.\.\., n_in\) = \(\.\.\., 2\); got \(3,\)\."),
        (1, [[3], [4]], None, r"X must have shape \(\.\.\., n_in\) = \(\.\.\., 2\); got \(\)\."),
        ([1, 2], [[3], [4]], [1, 2], r"b must have shape \(1,\); got \(2,\)\."),
    ],
)
def test_linear_says_which_shape_is_wrong(X, W, b, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        functional.linear(X, W, b)


def test_what_is_not_a_number_is_refused():
    with pytest.raises(TypeError, match="^Z must hold real numbers; got dtype"):
        functional.relu(["a"])


def test_no_shape_compiles_anew():
    functional.tanh([1.0])
    functional.linear(np.ones(2), np.ones((2, 3)))
    before = kernels.compilations()
    for Z in (1.0, np.ones((2, 3)), np.ones((3, 2)).T, np.ones((2, 3, 4))[:, ::2], np.ones((1, 2, 3, 4)).T):
        functional.tanh(Z)
    functional.linear(np.ones((3, 5, 2)), np.ones((4, 2)).T)
    functional.linear(np.ones((2, 5)).T, np.ones((4, 2)).T)
    assert kernels.compilations() == before
