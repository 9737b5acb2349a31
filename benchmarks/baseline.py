"""A multilayer perceptron in plain NumPy, written to be fast: the opponent that every speed figure is measured against.

It does what a careful engineer does with NumPy alone. One dtype throughout, every buffer allocated once, every call
with `out=`, no temporary array in a step. All parameters are one flat vector, so that Adam is twelve calls however many
layers there are. (Cutting that vector into blocks that fit the cache was tried: up to 2 times slower for small
blocks, no faster for large ones.) The products are the BLAS's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def zeros(shape: Any, dtype: Any = np.float32) -> Array:
    """Return zeros that begin at a cache line: wherever else the allocator puts an array, its speed is a matter of luck."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


class _Buffers:
    """Everything that a step writes to, for a number of rows."""

    def __init__(self, widths: list[int], rows: int, dtype: Any) -> None:
        self.activations = [zeros((rows, width), dtype) for width in widths]
        self.gradients = [zeros((rows, width), dtype) for width in widths]
        self.masks = [zeros((rows, width), np.bool_) for width in widths]
        self.column, self.likelihoods, self.residuals = zeros((rows, 1), dtype), zeros(rows, dtype), zeros(rows, dtype)
        self.ones = np.ones(rows, dtype)
        self.labels = np.zeros(rows, np.int64)
        self.starts = np.arange(rows, dtype=np.int64) * widths[-1]

    def head(self, rows: int) -> _Buffers:
        """Return views of the first `rows` rows."""
        views = copy.copy(self)
        for name, value in vars(self).items():
            setattr(views, name, [array[:rows] for array in value] if isinstance(value, list) else value[:rows])
        return views


class Network:
    """ReLU layers and a softmax, trained with cross-entropy (mean over rows) and Adam.

    Parameters
    ----------
    widths : sequence of int
        Number of features, units of each hidden layer, number of classes.
    batch_size : int
        The most rows that one step takes.
    dtype : dtype, default float32
        float32 or float64, of everything but the labels.
    seed : int, default 0
        Of the He-normal initial weights; the biases are zero.

    Attributes
    ----------
    parameters, gradient : ndarray of shape (n_parameters,)
        Layer after layer, its weights `(n_in, n_out)` row by row and then its bias.
    weights : list of (W, b)
        Views of `parameters`.
    """

    def __init__(self, widths: list[int], batch_size: int, dtype: Any = np.float32, seed: int = 0) -> None:
        self.widths, self.batch_size, self.dtype = list(widths), batch_size, np.dtype(dtype)
        n_parameters = sum((n_in + 1) * n_out for n_in, n_out in zip(widths[:-1], widths[1:]))
        self.parameters, self.gradient, self._m, self._v, self._scratch = (zeros(n_parameters, self.dtype) for _ in range(5))
        self.weights, self._weight_gradients = list(self._layers(self.parameters)), list(self._layers(self.gradient))
        rng = np.random.default_rng(seed)
        for W, _ in self.weights:
            W[...] = rng.normal(0.0, np.sqrt(2.0 / W.shape[0]), W.shape)
        self._zero = self.dtype.type(0)
        self._steps = 0
        self._buffers = {batch_size: _Buffers(self.widths, batch_size, self.dtype)}

    def _layers(self, flat: Array) -> Iterator[tuple[Array, Array]]:
        start = 0
        for n_in, n_out in zip(self.widths[:-1], self.widths[1:]):
            middle, end = start + n_in * n_out, start + (n_in + 1) * n_out
            yield flat[start:middle].reshape(n_in, n_out), flat[middle:end]
            start = end

    def _cut(self, rows: int) -> _Buffers:
        """Return the buffers for `rows` rows; a short batch uses the head of those of a full one."""
        if rows not in self._buffers:
            self._buffers[rows] = self._buffers[self.batch_size].head(rows)
        return self._buffers[rows]

    def _forward(self, buffers: _Buffers) -> Array:
        """Compute the logits of the rows in `buffers.activations[0]`."""
        A = buffers.activations[0]
        for layer, (W, b) in enumerate(self.weights, 1):
            Z = buffers.activations[layer]
            np.matmul(A, W, out=Z)
            np.add(Z, b, out=Z)
            if layer < len(self.weights):
                np.maximum(Z, self._zero, out=Z)
            A = Z
        return A

    def _softmax(self, Z: Array, column: Array) -> None:
        np.max(Z, axis=1, keepdims=True, out=column)
        np.subtract(Z, column, out=Z)
        np.exp(Z, out=Z)
        np.sum(Z, axis=1, keepdims=True, out=column)
        np.divide(Z, column, out=Z)

    def forward(self, X: Array, out: Array) -> Array:
        """Compute `out = softmax(X W + b ...)`, `batch_size` rows at a time.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
        out : ndarray of shape (n, n_classes), overwritten
        """
        for start in range(0, len(X), self.batch_size):
            part = X[start : start + self.batch_size]
            buffers = self._cut(len(part))
            np.copyto(buffers.activations[0], part)
            Z = self._forward(buffers)
            self._softmax(Z, buffers.column)
            np.copyto(out[start : start + self.batch_size], Z)
        return out

    def _gradient(self, X: Array, y: Array, rows: Array) -> _Buffers:
        """Overwrite `self.gradient`; the probability of each row's label is left in the buffers."""
        buffers = self._cut(len(rows))
        # with mode="raise" NumPy would fill a buffer of its own first
        np.take(X, rows, axis=0, out=buffers.activations[0], mode="clip")
        np.take(y, rows, out=buffers.labels, mode="clip")
        dZ = self._forward(buffers)
        self._softmax(dZ, buffers.column)
        np.add(buffers.labels, buffers.starts, out=buffers.labels)
        np.take(dZ, buffers.labels, out=buffers.likelihoods, mode="clip")
        np.subtract(buffers.likelihoods, buffers.ones, out=buffers.residuals)
        np.put(dZ, buffers.labels, buffers.residuals, mode="clip")
        np.divide(dZ, self.dtype.type(len(rows)), out=dZ)
        for layer in range(len(self.weights) - 1, -1, -1):
            A, (dW, db) = buffers.activations[layer], self._weight_gradients[layer]
            np.matmul(A.T, dZ, out=dW)
            np.matmul(buffers.ones, dZ, out=db)  # half the time of np.sum(dZ, axis=0)
            if layer:
                dA, mask = buffers.gradients[layer], buffers.masks[layer]
                np.matmul(dZ, self.weights[layer][0].T, out=dA)
                np.greater(A, self._zero, out=mask)
                np.multiply(dA, mask, out=dA)
                dZ = dA
        return buffers

    def loss_and_gradient(self, X: Array, y: Array, rows: Array) -> tuple[float, Array]:
        """Return the mean cross-entropy of `X[rows]` and its gradient.

        Parameters
        ----------
        X : ndarray of shape (n, n_features), of the network's dtype
        y : int64 ndarray of shape (n,)
            Class of each row.
        rows : int64 ndarray of at most `batch_size` entries

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_parameters,)
            Overwritten by the next call.
        """
        likelihoods = self._gradient(X, y, rows).likelihoods
        return -float(np.mean(np.log(likelihoods))), self.gradient

    def step(self, X: Array, y: Array, rows: Array, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        """Take one step of Adam on `X[rows]`: gather, forward, backward, update; the loss is not computed.

        `w -= learning_rate / (1 - beta1**t) * m / (sqrt(v / (1 - beta2**t)) + eps)`, both corrections drawn out of
        the loop over the weights.
        """
        self._gradient(X, y, rows)
        self.update(learning_rate, beta1, beta2, eps)

    def update(self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        """Move `parameters` by one step of Adam along `gradient`."""
        self._steps += 1
        scalar = self.dtype.type
        root = (1 - beta2**self._steps) ** 0.5
        g, m, v, scratch = self.gradient, self._m, self._v, self._scratch
        np.subtract(g, m, out=scratch)
        np.multiply(scratch, scalar(1 - beta1), out=scratch)
        np.add(m, scratch, out=m)
        np.multiply(g, g, out=scratch)
        np.subtract(scratch, v, out=scratch)
        np.multiply(scratch, scalar(1 - beta2), out=scratch)
        np.add(v, scratch, out=v)
        np.sqrt(v, out=scratch)
        np.add(scratch, scalar(eps * root), out=scratch)
        np.divide(m, scratch, out=scratch)
        np.multiply(scratch, scalar(learning_rate * root / (1 - beta1**self._steps)), out=scratch)
        np.subtract(self.parameters, scratch, out=self.parameters)
