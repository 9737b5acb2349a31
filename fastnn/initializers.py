"""How weights start: random with a variance that keeps the signal alive through the layers, or the user's own arrays.

The numbers are a function of the seed and the layer, made by `kernels.random`: no NumPy release changes them.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import kernels

from . import validation
from .validation import Array

__all__ = ["Initializer", "Normal", "Orthogonal", "Uniform", "Zeros"]


@dataclass(frozen=True)
class Initializer:
    """Draw weights with mean 0 and variance `gain / n`, where `n` counts what is connected.

    Parameters
    ----------
    gain : float
        Above 0.
    fan : {"in", "average"}
        `n` is the number of inputs, or the mean of inputs and outputs.
    distribution : {"normal", "uniform"}
        The shape; a uniform one goes to `sqrt(3 * gain / n)` on both sides.

    References
    ----------
    Glorot and Bengio, AISTATS 2010. He et al., ICCV 2015. LeCun et al., Efficient BackProp, 1998.

    Examples
    --------
    >>> INITIALIZERS["he_normal"]
    Initializer(gain=2.0, fan='in', distribution='normal')
    """

    gain: float
    fan: Literal["in", "average"]
    distribution: Literal["normal", "uniform"]

    def __post_init__(self) -> None:
        validation.normalize(self, validation.positive, "gain")
        validation.normalize(self, validation.choice, "fan", choices=("in", "average"))
        validation.normalize(self, validation.choice, "distribution", choices=("normal", "uniform"))

    def draw(self, n_in: int, n_out: int, seed: int, layer: int, dtype: np.dtype[Any]) -> Array:
        """Return weights of shape (n_in, n_out)."""
        W = np.empty((n_in, n_out), dtype=dtype)
        std = math.sqrt(self.gain / (n_in if self.fan == "in" else (n_in + n_out) / 2))
        if self.distribution == "normal":
            kernels.random_normal(seed, layer, 0.0, std, W)
        else:
            limit = math.sqrt(3.0) * std
            kernels.random_uniform(seed, layer, -limit, limit, W)
        return W


@dataclass(frozen=True)
class Uniform:
    """Draw weights from `-limit` to `limit`, whatever the shape of the layer.

    Parameters
    ----------
    limit : float
        Above 0.
    """

    limit: float = 0.05

    def __post_init__(self) -> None:
        validation.normalize(self, validation.positive, "limit")

    def draw(self, n_in: int, n_out: int, seed: int, layer: int, dtype: np.dtype[Any]) -> Array:
        """Return weights of shape (n_in, n_out)."""
        W = np.empty((n_in, n_out), dtype=dtype)
        kernels.random_uniform(seed, layer, -self.limit, self.limit, W)
        return W


@dataclass(frozen=True)
class Normal:
    """Draw weights with mean 0 and deviation `std`, whatever the shape of the layer.

    Parameters
    ----------
    std : float
        Above 0.
    """

    std: float = 0.05

    def __post_init__(self) -> None:
        validation.normalize(self, validation.positive, "std")

    def draw(self, n_in: int, n_out: int, seed: int, layer: int, dtype: np.dtype[Any]) -> Array:
        """Return weights of shape (n_in, n_out)."""
        W = np.empty((n_in, n_out), dtype=dtype)
        kernels.random_normal(seed, layer, 0.0, self.std, W)
        return W


@dataclass(frozen=True)
class Orthogonal:
    """Draw weights whose rows, or columns, whichever are fewer, are at right angles and of length `gain`.

    Parameters
    ----------
    gain : float
        Above 0.

    References
    ----------
    Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, ICLR 2014.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        validation.normalize(self, validation.positive, "gain")

    def draw(self, n_in: int, n_out: int, seed: int, layer: int, dtype: np.dtype[Any]) -> Array:
        """Return weights of shape (n_in, n_out)."""
        A = np.empty((min(n_in, n_out), max(n_in, n_out)))
        kernels.random_normal(seed, layer, 0.0, 1.0, A)
        W = self.gain * orthonormal(A)
        return np.ascontiguousarray(W if n_in <= n_out else W.T, dtype)


@dataclass(frozen=True)
class Zeros:
    """Start at zero. For the last layer: the first outputs are then those of its bias; a hidden one would stay at zero."""

    def draw(self, n_in: int, n_out: int, seed: int, layer: int, dtype: np.dtype[Any]) -> Array:
        """Return weights of shape (n_in, n_out)."""
        return np.zeros((n_in, n_out), dtype)


ROWS = 256  # that are made orthonormal together: fewer need no product, which would have to be compiled


def orthonormal(A: Array) -> Array:
    """Return Q of A = L Q with positive numbers on the diagonal of L, for a float64 array with at most as many rows as columns.

    The method of Gram and Schmidt, twice, block by block with the products of `kernels` and sums of NumPy in a fixed order:
    LAPACK's bits depend on the machine.
    """
    Q: Array = A.copy()
    for first in range(0, len(Q), ROWS):
        before, block = Q[:first], Q[first : first + ROWS]
        for _ in range(2):
            if first:
                shares, away = np.empty((len(block), first)), np.empty(block.shape)
                kernels.matmul(block, np.ascontiguousarray(before.T), shares)
                kernels.matmul(shares, before, away)
                block -= away
            for i, row in enumerate(block):
                row -= ((block[:i] * row).sum(axis=1)[:, None] * block[:i]).sum(axis=0)
                row /= math.sqrt((row * row).sum())
    return Q


KINDS = (Initializer, Uniform, Normal, Orthogonal, Zeros)
INITIALIZERS: dict[str, Initializer | Uniform | Normal | Orthogonal | Zeros] = {
    "glorot_uniform": Initializer(1.0, "average", "uniform"),
    "glorot_normal": Initializer(1.0, "average", "normal"),
    "he_uniform": Initializer(2.0, "in", "uniform"),
    "he_normal": Initializer(2.0, "in", "normal"),
    "lecun_uniform": Initializer(1.0, "in", "uniform"),
    "lecun_normal": Initializer(1.0, "in", "normal"),
    "uniform": Uniform(),
    "normal": Normal(),
    "orthogonal": Orthogonal(),
    "zeros": Zeros(),
}

# By benchmarks/initializers.py: He's starts were the worst of five on most data sets. SELU keeps mean and variance with its own.
DEFAULT = "glorot_uniform"
DEFAULTS = {"selu": "lecun_normal"}


def check_initializer(initializer: Any) -> None:
    """Raise where a name is unknown or the thing is neither a name, one of `KINDS` nor arrays."""
    if isinstance(initializer, str):
        validation.choice("initializer", initializer, INITIALIZERS)
    elif isinstance(initializer, (numbers.Number, np.generic)) or callable(initializer):
        raise TypeError(f"initializer must be a name, an Initializer, W or (W, b); got {validation.shown(initializer)}.")


def initial_weights(initializer: Any, activation: str, n_in: int, n_out: int, seed: int, layer: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return the weights and biases that a dense layer starts with.

    Parameters
    ----------
    initializer : str, one of `KINDS`, array or pair of arrays, or None
        See `Dense`; None is the default.
    activation : str
        The layer's activation.
    n_in, n_out : int
        The shape of the weights.
    seed, layer : int
        What the numbers are a function of.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    W : ndarray of shape (n_in, n_out)
    b : ndarray of shape (n_out,)
    """
    if initializer is None:
        initializer = DEFAULTS.get(activation, DEFAULT)
    if isinstance(initializer, str):
        initializer = INITIALIZERS[initializer]
    b = np.zeros(n_out, dtype=dtype)
    if isinstance(initializer, KINDS):
        return initializer.draw(n_in, n_out, seed, layer, dtype), b
    if isinstance(initializer, tuple) and len(initializer) == 2:
        initializer, b = initializer[0], given(f"initializer of layer {layer}, b,", initializer[1], (n_out,), dtype)
    return given(f"initializer of layer {layer}, W,", initializer, (n_in, n_out), dtype), b


def given(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a user's array, checked, in the network's dtype."""
    return np.array(validation.in_dtype(name, validation.flat(name, value, shape), dtype))
