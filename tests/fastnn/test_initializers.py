import numpy as np
import pytest

import kernels
from fastnn import Dense, Initializer, Normal, Orthogonal, Sequential, Uniform, Zeros, initializers
from fastnn.initializers import INITIALIZERS, initial_weights
from fastnn.layers import ACTIVATIONS


@pytest.mark.parametrize("name", [name for name, one in INITIALIZERS.items() if isinstance(one, Initializer)])
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


@pytest.mark.parametrize("made", [Uniform(0.3), Normal(0.3)])
def test_a_chosen_scale(made):
    W = made.draw(400, 300, 3, 0, np.dtype("float64"))
    assert W.std() == pytest.approx(0.3 / np.sqrt(3) if isinstance(made, Uniform) else 0.3, rel=0.01)
    assert abs(W.mean()) < 5 * W.std() / np.sqrt(W.size)
    assert (np.abs(W).max() <= 0.3) == isinstance(made, Uniform)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (1, 1), (30, 29), (29, 30)])
def test_orthogonal_is_the_q_of_random_numbers(shape, monkeypatch):
    """With positive numbers on the diagonal of R, as PyTorch's, in blocks and at once."""
    small, large = min(shape), max(shape)
    A = np.empty((small, large))
    kernels.random_normal(7, 2, 0.0, 1.0, A)
    Q, R = np.linalg.qr(A.T)
    expected = 1.5 * Q * np.sign(np.diag(R))
    for rows in (256, 8):
        monkeypatch.setattr(initializers, "ROWS", rows)
        W = Orthogonal(1.5).draw(*shape, 7, 2, np.dtype("float64"))
        np.testing.assert_allclose(W if shape[0] > shape[1] else W.T, expected, atol=1e-13)
        np.testing.assert_allclose((W.T @ W if shape[0] > shape[1] else W @ W.T), 1.5**2 * np.eye(small), atol=1e-14)


def test_a_last_layer_may_start_at_zero():
    net = Sequential([Dense(4, "relu"), Dense(3, "softmax", "zeros")], n_features=2)
    np.testing.assert_array_equal(net.predict(np.eye(2)), np.full((2, 3), 1 / 3, np.float32))
    assert net.layers[1].initializer == "zeros" and Zeros() == INITIALIZERS["zeros"]
    net.fit(np.eye(2), [0, 1], epochs=2, verbose=0)
    assert all(W.any() for W, _ in net.weights)


@pytest.mark.parametrize("make, name", [(lambda: Uniform(0), "limit"), (lambda: Normal(-1.0), "std"), (lambda: Orthogonal(0), "gain")])
def test_a_scale_is_above_zero(make, name):
    with pytest.raises(ValueError, match=f"^{name} must be "):
        make()


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
def test_the_default_is_glorots_except_for_selu(activation):
    W, b = initial_weights(None, activation, 200, 100, 0, 0, np.dtype("float64"))
    assert np.var(W) == pytest.approx(1 / 200 if activation == "selu" else 2 / 300, rel=0.05)
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
