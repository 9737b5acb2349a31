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


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": Initializer(1.0, "average", "uniform"),
    "glorot_normal": Initializer(1.0, "average", "normal"),
    "he_uniform": Initializer(2.0, "in", "uniform"),
    "he_normal": Initializer(2.0, "in", "normal"),
    "lecun_uniform": Initializer(1.0, "in", "uniform"),
    "lecun_normal": Initializer(1.0, "in", "normal"),
}

DEFAULTS = {"relu": "he_uniform", "leaky_relu": "he_uniform", "elu": "he_uniform", "gelu": "he_uniform", "gelu_tanh": "he_uniform"}
DEFAULTS |= {"silu": "he_uniform", "softplus": "he_uniform", "selu": "lecun_normal"}


def check_initializer(initializer: Any) -> None:
    """Raise where a name is unknown or the thing is neither a name, an `Initializer` nor arrays."""
    if isinstance(initializer, str):
        validation.choice("initializer", initializer, INITIALIZERS)
    elif isinstance(initializer, (numbers.Number, np.generic)) or callable(initializer):
        raise TypeError(f"initializer must be a name, an Initializer, W or (W, b); got {validation.shown(initializer)}.")


def initial_weights(initializer: Any, activation: str, n_in: int, n_out: int, seed: int, layer: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return the weights and biases that a dense layer starts with.

    Parameters
    ----------
    initializer : str, Initializer, array or pair of arrays, or None
        See `Dense`; None follows the activation.
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
        initializer = DEFAULTS.get(activation, "glorot_uniform")
    if isinstance(initializer, str):
        initializer = INITIALIZERS[initializer]
    b = np.zeros(n_out, dtype=dtype)
    if isinstance(initializer, Initializer):
        return initializer.draw(n_in, n_out, seed, layer, dtype), b
    if isinstance(initializer, tuple) and len(initializer) == 2:
        initializer, b = initializer[0], given(f"initializer of layer {layer}, b,", initializer[1], (n_out,), dtype)
    return given(f"initializer of layer {layer}, W,", initializer, (n_in, n_out), dtype), b


def given(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a user's array, checked, in the network's dtype."""
    return np.array(validation.in_dtype(name, validation.flat(name, value, shape), dtype))
