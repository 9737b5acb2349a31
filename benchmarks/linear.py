"""One dense layer with ReLU, forward and backward, as kernels and as plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from benchmarks.baseline import zeros
from benchmarks.common import IMPLS, best_seconds, close, hold_threads, random

SHAPES = {  # rows, n_in, n_out
    "1 x 784 x 500": (1, 784, 500),
    "32 x 64 x 128": (32, 64, 128),
    "97 x 501 x 503": (97, 501, 503),
    "100 x 784 x 500": (100, 784, 500),
    "256 x 1024 x 1024": (256, 1024, 1024),
}
HOW = {"plain": ("float32", 1), "float64": ("float64", 1), "2 threads": ("float32", 2)}


class Layer:
    """A layer with its arrays, and both ways to compute it; every result goes to an array that is there."""

    def __init__(self, rows: int, n_in: int, n_out: int, dtype: Any = np.float32) -> None:
        self.X, self.W, self.b = random(rows, n_in, dtype=dtype), random(n_in, n_out, dtype=dtype, seed=1), random(n_out, dtype=dtype, seed=2)
        self.packed = zeros(kernels.packed_shape(n_in, n_out, dtype), dtype)
        kernels.pack(self.W, self.packed)
        self.out = zeros((rows, n_out), dtype)
        self.dA = random(rows, n_out, dtype=dtype, seed=3)
        self.dZ, self.mask, self.ones = zeros(self.dA.shape, dtype), zeros((rows, n_out), np.bool_), np.ones(rows, dtype)
        self.dX, self.dW, self.db = zeros(self.X.shape, dtype), zeros(self.W.shape, dtype), zeros(self.b.shape, dtype)
        self.zero = self.dA.dtype.type(0)

    def forward_packed(self) -> Any:
        kernels.linear_forward(self.X, self.packed, self.b, kernels.RELU, self.out)
        return self.out

    def forward_fastnn(self) -> Any:
        kernels.linear_forward(self.X, self.W, self.b, kernels.RELU, self.out)
        return self.out

    def forward_numpy(self) -> Any:
        np.matmul(self.X, self.W, out=self.out)
        np.add(self.out, self.b, out=self.out)
        return np.maximum(self.out, self.zero, out=self.out)

    def backward_fastnn(self) -> list[Any]:
        kernels.linear_backward(self.dA, self.out, self.X, self.W, kernels.RELU, self.dX, self.dW, self.db)
        return [self.dX, self.dW, self.db]

    def backward_numpy(self) -> list[Any]:
        np.greater(self.out, self.zero, out=self.mask)
        np.multiply(self.dA, self.mask, out=self.dZ)
        np.matmul(self.dZ, self.W.T, out=self.dX)
        np.matmul(self.X.T, self.dZ, out=self.dW)
        np.matmul(self.ones, self.dZ, out=self.db)
        return [self.dX, self.dW, self.db]


class Forward:
    """`out = relu(X @ W + b)`; packed: the weights packed before."""

    params = (list(SHAPES), ["packed", *IMPLS])
    param_names = ("rows x n_in x n_out", "impl")

    def setup(self, shape: str, impl: str, how: str = "plain") -> None:
        dtype, threads = HOW[how]
        hold_threads(threads)
        layer = Layer(*SHAPES[shape], dtype)
        self.call: Any = getattr(layer, f"forward_{impl}")
        close(self.call().copy(), layer.forward_numpy())

    def time_forward(self, *_: str) -> None:
        self.call()


class ForwardOtherwise(Forward):
    """The same in float64, and on two threads."""

    params = (["97 x 501 x 503", "256 x 1024 x 1024"], IMPLS, ["float64", "2 threads"])
    param_names = ("rows x n_in x n_out", "impl", "how")


class Backward:
    """The gradients of X, W and b from that of the output."""

    params = (list(SHAPES), IMPLS)
    param_names = ("rows x n_in x n_out", "impl")

    def setup(self, shape: str, impl: str, how: str = "plain") -> None:
        dtype, threads = HOW[how]
        hold_threads(threads)
        layer = Layer(*SHAPES[shape], dtype)
        layer.forward_numpy()
        self.call: Any = getattr(layer, f"backward_{impl}")
        for actual, expected in zip([gradient.copy() for gradient in self.call()], layer.backward_numpy()):
            close(actual, expected)

    def time_backward(self, *_: str) -> None:
        self.call()


class BackwardOtherwise(Backward):
    """The same in float64, and on two threads."""

    params, param_names = ForwardOtherwise.params, ForwardOtherwise.param_names


class ShareOfPeak:
    """A layer whose weights are packed, beside the fused multiply-adds that the core can do at most, measured in the same process.

    1.05 means 95 % of the peak: like every number of asv's, lower is better.
    """

    params = (["32 x 64 x 128", "100 x 784 x 500", "256 x 1024 x 1024"], ["float32", "float64"])
    param_names = ("rows x n_in x n_out", "dtype")
    unit = "x the time at the FMA peak"

    def setup(self, shape: str, dtype: str) -> None:
        hold_threads(1)

    def track_forward(self, shape: str, dtype: str) -> float:
        rows, n_in, n_out = SHAPES[shape]
        call = Layer(rows, n_in, n_out, dtype).forward_packed
        shares = []
        for _ in range(7):
            shares.append(kernels.fma_peak(dtype, 0.03) * best_seconds(call) / (2e-9 * rows * n_in * n_out))
        return float(np.median(shares))
