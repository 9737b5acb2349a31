import numpy as np
import pytest

from fastnn import Dense, Initializer, Sequential
from fastnn.initializers import INITIALIZERS, initial_weights
from fastnn.layers import ACTIVATIONS


@pytest.mark.parametrize("name", INITIALIZERS)
def test_variance_and_shape_of_the_distribution(name):
    n_in, n_out = 400, 300
    variance = {"glorot": 2 / (n_in + n_out), "he": 2 / n_in, "lecun": 1 / n_in}[name.split("_")[0]]
    W = INITIALIZERS[name].draw(n_in, n_out, 3, 0, np.dtype("float64"))
    assert W.shape == (n_in, n_out)
    assert np.var(W) == pytest.approx(variance, rel=0.03)  # 120,000 numbers: 0.4 % to 0.8 % of one sigma
    assert abs(W.mean()) < 5 * np.sqrt(variance / W.size)
    if name.endswith("uniform"):
        assert np.abs(W).max() <= np.sqrt(3 * variance)
    else:
        assert np.abs(W).max() > np.sqrt(9 * variance)


def test_float32_weights_are_the_rounded_float64_ones():
    wide, narrow = (INITIALIZERS["he_normal"].draw(20, 30, 1, 2, np.dtype(dtype)) for dtype in ("float64", "float32"))
    np.testing.assert_array_equal(narrow, wide.astype(np.float32))


def test_weights_are_a_function_of_seed_and_layer():
    def draw(seed, layer):
        return INITIALIZERS["glorot_uniform"].draw(4, 5, seed, layer, np.dtype("float64"))

    np.testing.assert_array_equal(draw(1, 2), draw(1, 2))
    assert np.all(draw(1, 2) != draw(1, 3))
    assert np.all(draw(1, 2) != draw(2, 2))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_default_follows_the_activation(activation):
    W, b = initial_weights(None, activation, 200, 100, 0, 0, np.dtype("float64"))
    gain = {"relu": 2 / 200, "selu": 1 / 200, "tanh": 2 / 300, "softmax": 2 / 300}.get(activation)
    if gain is not None:
        assert np.var(W) == pytest.approx(gain, rel=0.05)
    np.testing.assert_array_equal(b, np.zeros(100))


def test_users_arrays_and_settings():
    W, b = np.arange(6.0).reshape(3, 2), [7.0, 8.0]
    net = Sequential([Dense(2, "tanh", initializer=(W, b)), Dense(2, initializer=Initializer(1e-8, "in", "normal")), Dense(3, initializer=W.T)], 3)
    np.testing.assert_array_equal(net.weights[0][0], W)
    np.testing.assert_array_equal(net.weights[0][1], b)
    assert 0 < np.abs(net.weights[1][0]).max() < 1e-3
    np.testing.assert_array_equal(net.weights[2][0], W.T)
    np.testing.assert_array_equal(net.weights[2][1], np.zeros(3))
    W[:] = 0
    assert net.weights[0][0].any()


@pytest.mark.parametrize(
    "initializer, error, message",
    [
        (np.zeros((2, 2)), ValueError, r"initializer of layer 0, W, must have shape \(3, 2\); got \(2, 2\)"),
        ((np.zeros((3, 2)), np.zeros(3)), ValueError, r"initializer of layer 0, b, must have shape \(2,\); got \(3,\)"),
        (np.full((3, 2), np.nan), ValueError, "initializer of layer 0, W, must be finite; got nan in row 0, column 0"),
        (1.0, TypeError, r"initializer must be a name, an Initializer, W or \(W, b\); got 1.0"),
        ("glorot", ValueError, "initializer must be one of 'glorot_uniform', .* Did you mean 'glorot_normal'|'glorot_uniform'"),
    ],
)
def test_bad_initializers(initializer, error, message):
    with pytest.raises(error, match=message):
        Sequential([Dense(2, initializer=initializer)], n_features=3)
