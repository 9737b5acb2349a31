"""Numbers at the edges: a million classes, a hundred layers, a batch of one, denormals, constants, what is not finite."""

import numpy as np
import pytest

from fastnn import SGD, Adam, Dense, DivergedError, LayerNorm, Sequential, Standardize
from tests import reference

rng = np.random.default_rng(0)


def test_a_million_classes():
    n = 10**6
    net = Sequential([Dense(n, "softmax", initializer=np.zeros((1, n)))], 1)
    X, y = [[1.0], [-1.0]], [0, n - 1]
    assert net.evaluate(X, y)["loss"] == pytest.approx(np.log(n), rel=1e-6)
    net.train_on_batch(X, y, SGD(1.0))
    W, b = net.weights[0]
    np.testing.assert_allclose(W[0, [0, 1, -1]], [0.5, 0, -0.5], atol=1e-6)
    np.testing.assert_allclose(b[[0, 1, -1]], [0.5, -1 / n, 0.5], atol=1e-6)
    assert net.predict(X).argmax(axis=1).tolist() == y
    with pytest.raises(ValueError, match="^y must hold labels from 0 to 999999, one for each output; got 1000000 in row 1"):
        net.train_on_batch(X, [0, n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_hundred_layers(dtype):
    net = Sequential([*(Dense(9, "tanh") for _ in range(100)), Dense(2, "softmax")], 4, dtype)
    A = X = rng.standard_normal((7, 4))
    for W, b in net.weights[:-1]:
        A = np.tanh(A @ W + b)
    W, b = net.weights[-1]
    np.testing.assert_allclose(net.predict(X), reference.softmax(A @ W + b), atol=1e-4 if dtype == "float32" else 1e-12)
    before = net.evaluate(X, np.arange(7) % 2)["loss"]
    net.fit(X, np.arange(7) % 2, optimizer=Adam(1e-3), epochs=20, verbose=0)
    assert net.evaluate(X, np.arange(7) % 2)["loss"] < before


def test_a_batch_of_one_is_a_step_of_one_row():
    net = Sequential([Dense(3)], 4, "float64")
    (W, b), X, y = net.weights[0], rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    net.fit(X, y, optimizer=SGD(0.1), batch_size=1, shuffle=False, verbose=0)
    for x, t in zip(X, y):
        d = 2 * (x @ W + b - t) / 3
        W, b = W - 0.1 * np.outer(x, d), b - 0.1 * d
    np.testing.assert_allclose(net.weights[0][0], W, rtol=1e-12)
    np.testing.assert_allclose(net.weights[0][1], b, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "tiny"), [("float32", 1e-40), ("float64", 1e-310)])
def test_denormals_are_zero(dtype, tiny):
    net = Sequential([Dense(1, initializer=np.full((2, 1), 3.0))], 2, dtype)
    X = np.array([[tiny, 2 * tiny]], dtype)
    assert net.predict(X)[0, 0] == 0
    net.fit(X, [0.0], optimizer="adam", verbose=0)
    assert np.isfinite(net.parameters).all()


def test_constant_and_zero_columns_are_harmless():
    X = np.c_[np.full(20, 1e9), np.zeros(20), rng.standard_normal(20)]
    net = Sequential([Standardize(), Dense(4, "relu"), LayerNorm(), Dense(1), Standardize(targets=True)], 3)
    history = net.fit(X, np.full(20, 7.0), epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    np.testing.assert_array_equal(net.predict(X), np.full((20, 1), 7.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_end_a_fit_and_stay_unsaved(value, tmp_path):
    net = Sequential([Dense(3, "tanh"), Dense(1)], 2)
    net.parameters[np.flatnonzero(net.plan.mask())[-1]] = value  # in place, which nobody sees
    with pytest.raises(DivergedError):
        net.fit(rng.standard_normal((6, 2)), np.zeros(6), verbose=0)
    with pytest.raises(ValueError, match="^parameters must be finite"):
        net.save(tmp_path / "net")


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_losses_at_certain_probabilities_are_finite(p):
    net = Sequential([Dense(1, "sigmoid", initializer=(np.zeros((1, 1)), np.array([1e4 if p else -1e4])))], 1)
    assert net.predict([[0.0]])[0, 0] == p
    assert net.evaluate([[0.0]], [1.0 - p])["loss"] == pytest.approx(1e4)
    assert net.evaluate([[0.0]], [p])["loss"] == 0.0
