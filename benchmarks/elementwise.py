"""Activations, the loss and the optimizer: one pass over an array."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from benchmarks.baseline import Network
from benchmarks.common import IMPLS, close, random

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


class Activation:
    """100 rows of 500."""

    params = (ACTIVATIONS, IMPLS)
    param_names = ("activation", "impl")

    def setup(self, activation: str, impl: str) -> None:
        Z = random(100, 500)
        out, scratch = np.empty_like(Z), np.empty_like(Z)
        kernel = getattr(kernels, f"{activation}_forward")
        kernel(Z, out)
        close(out, activate(activation, Z, np.empty_like(Z), scratch))
        self.call: Any = (lambda: kernel(Z, out)) if impl == "fastnn" else (lambda: activate(activation, Z, out, scratch))

    def time_forward(self, activation: str, impl: str) -> None:
        self.call()


class Optimizer:
    """One step for the 648,010 weights of 784-500-500-10."""

    params = (["sgd", "adam"], IMPLS)
    param_names = ("rule", "impl")

    def setup(self, rule: str, impl: str) -> None:
        net = Network([784, 500, 500, 10], 1)
        g = net.gradient
        g[:] = random(g.size) * np.float32(1e-3)
        w, m, v = net.parameters.copy(), np.zeros_like(g), np.zeros_like(g)
        scratch = np.empty_like(g)

        def sgd() -> None:
            np.multiply(g, np.float32(1e-3), out=scratch)
            np.subtract(w, scratch, out=w)

        if rule == "adam":
            calls = {"fastnn": lambda: kernels.adam_update(w, g, m, v, 1e-3, 0.9, 0.999, 1e-8, 0.0, 1), "numpy": net.update}
            for call in calls.values():
                call()
            close(w, net.parameters)
        else:
            calls = {"fastnn": lambda: kernels.sgd_update(w, g, 1e-3, 0.0), "numpy": sgd}
            calls["fastnn"]()
            close(w, net.parameters - np.float32(1e-3) * g)
        self.call: Any = calls[impl]

    def time_update(self, rule: str, impl: str) -> None:
        self.call()


class Loss:
    """Softmax cross-entropy of 100 rows of 10, with its gradient."""

    params = IMPLS
    param_names = ("impl",)

    def setup(self, impl: str) -> None:
        logits, labels = random(100, 10), np.random.default_rng(0).integers(0, 10, 100)
        rows, ones = np.arange(100) * 10, np.ones(100, np.float32)
        gradient, column, picks, likelihoods = np.empty_like(logits), np.empty((100, 1), np.float32), np.empty_like(rows), np.empty_like(ones)

        def with_numpy() -> float:
            np.max(logits, axis=1, keepdims=True, out=column)
            np.subtract(logits, column, out=gradient)
            np.exp(gradient, out=gradient)
            np.sum(gradient, axis=1, keepdims=True, out=column)
            np.divide(gradient, column, out=gradient)
            np.add(rows, labels, out=picks)
            np.take(gradient, picks, out=likelihoods, mode="clip")
            np.put(gradient, picks, likelihoods - ones, mode="clip")
            np.multiply(gradient, np.float32(0.01), out=gradient)
            np.log(likelihoods, out=likelihoods)
            return -float(likelihoods.mean())

        def with_fastnn() -> float:
            return float(kernels.softmax_cross_entropy(logits, labels, 0.01, gradient))

        close(with_fastnn(), with_numpy())
        expected = gradient.copy()
        with_fastnn()
        close(gradient, expected)
        self.call: Any = with_fastnn if impl == "fastnn" else with_numpy

    def time_softmax_cross_entropy(self, impl: str) -> None:
        self.call()
