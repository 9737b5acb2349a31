"""Activations, losses and optimizers: one pass over an array."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from benchmarks.baseline import Network, zeros
from benchmarks.common import IMPLS, Call, close, hold_threads, random

ACTIVATIONS = ["relu", "tanh", "sigmoid", "gelu_tanh", "softmax"]


def activate(activation: str, Z: Any, out: Any, scratch: Any) -> Any:
    """Compute an activation with NumPy alone."""
    if activation == "relu":
        return np.maximum(Z, Z.dtype.type(0), out=out)
    if activation == "tanh":
        return np.tanh(Z, out=out)
    if activation == "sigmoid":  # by tanh, which overflows nowhere
        np.multiply(Z, 0.5, out=out)
        np.tanh(out, out=out)
        np.multiply(out, 0.5, out=out)
        return np.add(out, 0.5, out=out)
    if activation == "softmax":
        np.subtract(Z, np.max(Z, axis=1, keepdims=True), out=out)
        np.exp(out, out=out)
        return np.divide(out, np.sum(out, axis=1, keepdims=True), out=out)
    np.multiply(Z, Z, out=scratch)  # gelu_tanh: 0.5 z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3)))
    np.multiply(scratch, 0.044715, out=scratch)
    np.add(scratch, 1, out=scratch)
    np.multiply(scratch, Z, out=scratch)
    np.multiply(scratch, float(np.sqrt(2 / np.pi)), out=scratch)
    np.tanh(scratch, out=scratch)
    np.add(scratch, 1, out=scratch)
    np.multiply(scratch, 0.5, out=scratch)
    return np.multiply(scratch, Z, out=out)


def differentiate(activation: str, A: Any, dA: Any, out: Any, mask: Any) -> Any:
    """Compute `out = dA * activation'(Z)` from the output A with NumPy alone."""
    if activation == "relu":
        np.greater(A, A.dtype.type(0), out=mask)
        return np.multiply(dA, mask, out=out)
    if activation == "tanh":  # 1 - A**2
        np.multiply(A, A, out=out)
        np.subtract(1, out, out=out)
    else:  # sigmoid: A - A**2
        np.multiply(A, A, out=out)
        np.subtract(A, out, out=out)
    return np.multiply(dA, out, out=out)


def activation_calls(activation: str, shape: tuple[int, int], dtype: Any = np.float32) -> dict[str, Call]:
    """Return an activation of both sides, checked against each other."""
    Z = random(*shape, dtype=dtype)
    out, scratch = zeros(shape, dtype), zeros(shape, dtype)
    kernel = getattr(kernels, f"{activation}_forward")
    kernel(Z, out)
    close(out, activate(activation, Z, zeros(shape, dtype), scratch))
    return {"fastnn": lambda: kernel(Z, out), "numpy": lambda: activate(activation, Z, out, scratch)}


def derivative_calls(activation: str, shape: tuple[int, int]) -> dict[str, Call]:
    """Return an activation's backward pass of both sides, checked against each other."""
    dA, A, out, scratch, mask = random(*shape, seed=1), zeros(shape), zeros(shape), zeros(shape), zeros(shape, np.bool_)
    activate(activation, random(*shape), A, scratch)
    kernel = getattr(kernels, f"{activation}_backward")
    kernel(A, dA, out)
    close(out, differentiate(activation, A, dA, scratch, mask))
    return {"fastnn": lambda: kernel(A, dA, out), "numpy": lambda: differentiate(activation, A, dA, out, mask)}


def optimizer_calls(rule: str, widths: list[int]) -> dict[str, Call]:
    """Return the update of a network's weights of both sides, checked against each other."""
    net = Network(widths, 1)
    g, rate, memory = net.gradient, np.float32(1e-3), np.float32(0.9)
    g[:] = random(g.size) * np.float32(1e-3)
    w, m, v, scratch = (zeros(g.shape) for _ in range(4))
    w[:] = net.parameters

    def sgd() -> None:
        np.multiply(g, rate, out=scratch)
        np.subtract(net.parameters, scratch, out=net.parameters)

    def momentum() -> None:
        np.multiply(net._m, memory, out=net._m)
        np.add(net._m, g, out=net._m)
        np.multiply(net._m, rate, out=scratch)
        np.subtract(net.parameters, scratch, out=net.parameters)

    calls: dict[str, dict[str, Call]] = {
        "sgd": {"fastnn": lambda: kernels.sgd_update(w, g, 1e-3, 0.0), "numpy": sgd},
        "momentum": {"fastnn": lambda: kernels.momentum_update(w, g, m, 1e-3, 0.9, 0.0, 0.0, 2), "numpy": momentum},
        "adam": {"fastnn": lambda: kernels.adam_update(w, g, m, v, 1e-3, 0.9, 0.999, 1e-8, 0.0, 1), "numpy": net.update},
    }
    for call in calls[rule].values():
        call()
    close(w, net.parameters)
    return calls[rule]


def cross_entropy_calls(n: int, classes: int) -> dict[str, Call]:
    """Return softmax cross-entropy with its gradient of both sides, checked against each other."""
    logits, labels = random(n, classes), np.random.default_rng(0).integers(0, classes, n)
    starts, ones, gradient, column = np.arange(n) * classes, np.ones(n, np.float32), zeros((n, classes)), zeros((n, 1))
    picks, likelihoods = np.empty_like(starts), zeros(n)
    scale = 1 / n

    def with_numpy() -> float:
        np.max(logits, axis=1, keepdims=True, out=column)
        np.subtract(logits, column, out=gradient)
        np.exp(gradient, out=gradient)
        np.sum(gradient, axis=1, keepdims=True, out=column)
        np.divide(gradient, column, out=gradient)
        np.add(starts, labels, out=picks)
        np.take(gradient, picks, out=likelihoods, mode="clip")
        np.put(gradient, picks, likelihoods - ones, mode="clip")
        np.multiply(gradient, np.float32(scale), out=gradient)
        np.log(likelihoods, out=likelihoods)
        return -float(likelihoods.mean())

    def with_fastnn() -> float:
        return float(kernels.softmax_cross_entropy(logits, labels, scale, gradient))

    close(with_fastnn(), with_numpy())
    expected = gradient.copy()
    with_fastnn()
    close(gradient, expected)
    return {"fastnn": with_fastnn, "numpy": with_numpy}


def squared_error_calls(n: int, outputs: int) -> dict[str, Call]:
    """Return the squared error with its gradient of both sides, checked against each other."""
    A, T, gradient, scratch = random(n, outputs), random(n, outputs, seed=1), zeros((n, outputs)), zeros((n, outputs))
    scale = 1 / A.size

    def with_numpy() -> float:
        np.subtract(A, T, out=gradient)
        np.multiply(gradient, gradient, out=scratch)
        np.multiply(gradient, np.float32(2 * scale), out=gradient)
        return scale * float(np.sum(scratch))

    def with_fastnn() -> float:
        return float(kernels.squared_error(A, T, scale, gradient))

    close(with_fastnn(), with_numpy())
    expected = gradient.copy()
    with_fastnn()
    close(gradient, expected)
    return {"fastnn": with_fastnn, "numpy": with_numpy}


class Activation:
    """100 rows of 500."""

    params = (ACTIVATIONS, IMPLS)
    param_names = ("activation", "impl")

    def setup(self, activation: str, impl: str) -> None:
        hold_threads(1)
        self.call = activation_calls(activation, (100, 500))[impl]

    def time_forward(self, activation: str, impl: str) -> None:
        self.call()


class ActivationFloat64(Activation):
    """The same in float64, where the polynomials are longer."""

    params = (["tanh", "softmax"], IMPLS)

    def setup(self, activation: str, impl: str) -> None:
        hold_threads(1)
        self.call = activation_calls(activation, (100, 500), np.float64)[impl]


class Derivative:
    """100 rows of 500, from the outputs."""

    params = (["relu", "tanh", "sigmoid"], IMPLS)
    param_names = ("activation", "impl")

    def setup(self, activation: str, impl: str) -> None:
        hold_threads(1)
        self.call = derivative_calls(activation, (100, 500))[impl]

    def time_backward(self, activation: str, impl: str) -> None:
        self.call()


class Optimizer:
    """One step for the 17,226 weights of 64-128-64-10, which stay in the cache, or the 648,010 of 784-500-500-10, which come from memory."""

    params = (["sgd", "momentum", "adam"], ["64-128-64-10", "784-500-500-10"], IMPLS)
    param_names = ("rule", "network", "impl")

    def setup(self, rule: str, network: str, impl: str) -> None:
        hold_threads(1)
        self.call = optimizer_calls(rule, [int(width) for width in network.split("-")])[impl]

    def time_update(self, rule: str, network: str, impl: str) -> None:
        self.call()


class Loss:
    """100 rows of 10, with the gradient."""

    params = (["softmax_cross_entropy", "squared_error"], IMPLS)
    param_names = ("loss", "impl")

    def setup(self, loss: str, impl: str) -> None:
        hold_threads(1)
        self.call = {"softmax_cross_entropy": cross_entropy_calls, "squared_error": squared_error_calls}[loss](100, 10)[impl]

    def time_loss(self, loss: str, impl: str) -> None:
        self.call()
