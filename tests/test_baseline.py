"""The NumPy baseline of the benchmarks, against a naive float64 twin: a fast opponent must also be a right one."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from benchmarks.baseline import Network

Array = np.ndarray[Any, Any]
WIDTHS = [[2, 16, 2], [7, 3], [64, 128, 64, 10], [5, 1, 3], [11, 13, 17, 19, 23, 4]]
RTOL = {"float32": 2e-5, "float64": 1e-12}


def reference_logits(weights: list[tuple[Array, Array]], X: Array) -> list[Array]:
    activations = [X.astype(np.float64)]
    for layer, (W, b) in enumerate(weights, 1):
        Z = activations[-1] @ W + b
        activations.append(np.where(Z > 0, Z, 0.0) if layer < len(weights) else Z)
    return activations


def reference_loss_and_gradient(weights: list[tuple[Array, Array]], X: Array, y: Array) -> tuple[float, Array]:
    *activations, logits = reference_logits(weights, X)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(probabilities[np.arange(len(y)), y]))
    delta = (probabilities - np.eye(logits.shape[1])[y]) / len(y)
    parts: list[Array] = []
    for A, (W, _) in zip(activations[::-1], weights[::-1]):
        parts = [(A.T @ delta).ravel(), delta.sum(axis=0)] + parts
        delta = (delta @ W.T) * (A > 0)
    return float(loss), np.concatenate(parts)


def as_float64(net: Network) -> list[tuple[Array, Array]]:
    return [(W.astype(np.float64), b.astype(np.float64)) for W, b in net.weights]


def make(widths: list[int], dtype: str, batch_size: int = 12) -> tuple[Network, Array, Array, Array]:
    rng = np.random.default_rng(5)
    net = Network(widths, batch_size, dtype, seed=1)
    net.parameters += rng.normal(0, 0.1, net.parameters.size).astype(dtype)  # biases too
    X = rng.standard_normal((40, widths[0])).astype(dtype)
    return net, X, rng.integers(0, widths[-1], 40), rng.permutation(40)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_loss_and_gradient_match_the_reference(widths: list[int], dtype: str) -> None:
    net, X, y, order = make(widths, dtype)
    for rows in (order[:12], order[12:19], order[:1]):  # a full batch, a short one, a single row
        actual_loss, actual = net.loss_and_gradient(X, y, rows)
        expected_loss, expected = reference_loss_and_gradient(as_float64(net), X[rows], y[rows])
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual_loss, expected_loss, rtol=RTOL[dtype])
        np.testing.assert_allclose(actual, expected, rtol=RTOL[dtype], atol=RTOL[dtype] * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward_gives_the_probabilities_of_any_number_of_rows(dtype: str) -> None:
    net, X, _, _ = make([64, 128, 64, 10], dtype)
    logits = reference_logits(as_float64(net), X)[-1]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for n in (40, 12, 1, 0):
        actual = net.forward(X[:n], np.full((n, 10), np.nan, dtype))
        np.testing.assert_allclose(actual, expected[:n], rtol=10 * RTOL[dtype])


def test_forward_does_not_overflow() -> None:
    net, X, _, _ = make([7, 3], "float32")
    actual = net.forward(X * np.float32(1e6), np.empty((40, 3), np.float32))
    np.testing.assert_allclose(actual.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_those_of_adam(dtype: str) -> None:
    net, X, y, order = make([7, 13, 3], dtype)
    w = net.parameters.astype(np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    twin = Network([7, 13, 3], 12, np.float64)
    for t in range(1, 21):
        rows = np.roll(order, 5 * t)[: 12 if t % 4 else 7]
        twin.parameters[...] = w
        _, g = reference_loss_and_gradient(twin.weights, X[rows], y[rows])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        net.step(X, y, rows)
    # float32: Adam divides by the root of a gradient that may itself be rounding noise
    np.testing.assert_allclose(net.parameters, w, rtol=0, atol={"float32": 1e-5, "float64": 1e-12}[dtype])


def test_a_step_allocates_no_array() -> None:
    batch, width = 64, 1000
    rng = np.random.default_rng(5)
    net = Network([width, width, 10], batch)
    X, y, rows = rng.standard_normal((100, width)).astype(np.float32), rng.integers(0, 10, 100), rng.permutation(100)[:batch]
    net.step(X, y, rows)
    tracemalloc.start()
    net.step(X, y, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < batch * width * 4 / 4  # NumPy casts the boolean mask in pieces of 8192 elements
