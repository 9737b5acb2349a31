"""The functions that a network chains, each by itself: arrays in, a new array out.

They calculate in float32 where all they are given is float32, otherwise in float64, with the kernels that networks use.
Activations take arrays of any shape; `softmax` and `log_softmax` are over the last axis: a vector, or rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import kernels

from . import validation
from .layers import ACTIVATIONS
from .validation import Array

__all__ = ["linear", *ACTIVATIONS]


def linear(X: Any, W: Any, b: Any = None) -> Array:
    """Return `X @ W + b`.

    Parameters
    ----------
    X : array of shape (..., n_in)
        Rows, or a single vector.
    W : array of shape (n_in, n_out)
    b : array of shape (n_out,), optional
        Left out, zero.

    Returns
    -------
    out : ndarray of shape (..., n_out)

    Examples
    --------
    >>> linear([1, 0], [[7], [3]], [-2])
    array([5.])
    """
    X, W = validation.array("X", X), validation.array("W", W)
    if W.ndim != 2:
        raise ValueError(f"W must have shape (n_in, n_out); got {W.shape}.")
    n_in, n_out = W.shape
    if X.ndim == 0 or X.shape[-1] != n_in:
        raise ValueError(f"X must have shape (..., n_in) = (..., {n_in}); got {X.shape}.")
    b = np.zeros(n_out, W.dtype) if b is None else validation.flat("b", b, (n_out,))
    dtype = _dtype(X, W, b)
    out = np.empty((*X.shape[:-1], n_out), dtype)
    kernels.linear_forward(_rows(X, dtype), np.ascontiguousarray(W, dtype), np.ascontiguousarray(b, dtype), kernels.IDENTITY, _rows(out, dtype))
    return out


def identity(Z: Any) -> Array:
    """Return a copy of `Z`.

    Parameters
    ----------
    Z : array of any shape
    """
    return _activation(kernels.IDENTITY, Z)


def relu(Z: Any) -> Array:
    """Return `max(Z, 0)`.

    Parameters
    ----------
    Z : array of any shape

    Examples
    --------
    >>> relu([-1.0, 2.0])
    array([0., 2.])
    """
    return _activation(kernels.RELU, Z)


def leaky_relu(Z: Any) -> Array:
    """Return `Z` where it is positive, else `0.01 * Z`.

    Parameters
    ----------
    Z : array of any shape
    """
    return _activation(kernels.LEAKY_RELU, Z)


def elu(Z: Any) -> Array:
    """Return `Z` where it is positive, else `e**Z - 1`.

    Parameters
    ----------
    Z : array of any shape

    References
    ----------
    Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by exponential linear units, arXiv 1511.07289.
    """
    return _activation(kernels.ELU, Z)


def selu(Z: Any) -> Array:
    """Return `1.0507 * (Z where it is positive, else 1.6733 * (e**Z - 1))`.

    Parameters
    ----------
    Z : array of any shape

    References
    ----------
    Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.
    """
    return _activation(kernels.SELU, Z)


def gelu(Z: Any) -> Array:
    """Return `Z * (1 + erf(Z / sqrt(2))) / 2`.

    Parameters
    ----------
    Z : array of any shape

    References
    ----------
    Hendrycks, Gimpel, Gaussian error linear units, arXiv 1606.08415.
    """
    return _activation(kernels.GELU, Z)


def gelu_tanh(Z: Any) -> Array:
    """Return `Z * (1 + tanh(sqrt(2 / pi) * (Z + 0.044715 * Z**3))) / 2`.

    Parameters
    ----------
    Z : array of any shape

    References
    ----------
    Hendrycks, Gimpel, Gaussian error linear units, arXiv 1606.08415.
    """
    return _activation(kernels.GELU_TANH, Z)


def silu(Z: Any) -> Array:
    """Return `Z / (1 + e**-Z)`.

    Parameters
    ----------
    Z : array of any shape

    References
    ----------
    Elfwing, Uchibe, Doya, Sigmoid-weighted linear units, arXiv 1702.03118.
    """
    return _activation(kernels.SILU, Z)


def mish(Z: Any) -> Array:
    """Return `Z * tanh(log(1 + e**Z))`.

    Parameters
    ----------
    Z : array of any shape

    References
    ----------
    Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.
    """
    return _activation(kernels.MISH, Z)


def hard_swish(Z: Any) -> Array:
    """Return `Z * min(max(Z + 3, 0), 6) / 6`.

    Parameters
    ----------
    Z : array of any shape

    References
    ----------
    Howard et al., Searching for MobileNetV3, ICCV 2019.
    """
    return _activation(kernels.HARD_SWISH, Z)


def softsign(Z: Any) -> Array:
    """Return `Z / (1 + abs(Z))`.

    Parameters
    ----------
    Z : array of any shape

    Examples
    --------
    >>> softsign([-3, 1])
    array([-0.75,  0.5 ])
    """
    return _activation(kernels.SOFTSIGN, Z)


def exponential(Z: Any) -> Array:
    """Return `e**Z`.

    Parameters
    ----------
    Z : array of any shape
    """
    return _activation(kernels.EXPONENTIAL, Z)


def softplus(Z: Any) -> Array:
    """Return `log(1 + e**Z)`.

    Parameters
    ----------
    Z : array of any shape
    """
    return _activation(kernels.SOFTPLUS, Z)


def tanh(Z: Any) -> Array:
    """Return the hyperbolic tangent `(e**Z - e**-Z) / (e**Z + e**-Z)`.

    Parameters
    ----------
    Z : array of any shape
    """
    return _activation(kernels.TANH, Z)


def sigmoid(Z: Any) -> Array:
    """Return `1 / (1 + e**-Z)`.

    Parameters
    ----------
    Z : array of any shape

    Examples
    --------
    >>> sigmoid([0, 5])
    array([0.5       , 0.99330715])
    """
    return _activation(kernels.SIGMOID, Z)


def softmax(Z: Any) -> Array:
    """Return `e**Z / sum(e**Z)`, with the sum over the last axis.

    The largest number is subtracted first, so nothing overflows.

    Parameters
    ----------
    Z : array of shape (..., n)
        Rows, or a single vector.

    Examples
    --------
    >>> softmax([[0, 0], [1000, 0]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    return _activation(kernels.SOFTMAX, _vectors(Z))


def log_softmax(Z: Any) -> Array:
    """Return `Z - log(sum(e**Z))`, with the sum over the last axis.

    The largest number is subtracted first, so nothing overflows.

    Parameters
    ----------
    Z : array of shape (..., n)
        Rows, or a single vector.
    """
    return _activation(kernels.LOG_SOFTMAX, _vectors(Z))


def _activation(code: int, Z: Any) -> Array:
    Z = validation.array("Z", Z)
    out = np.empty(Z.shape, _dtype(Z))
    kernels.activation_forward(code, _rows(Z, out.dtype), _rows(out, out.dtype))
    return out


def _vectors(Z: Any) -> Array:
    """Return `Z` as an array if it has a last axis."""
    A = validation.array("Z", Z)
    if A.ndim == 0:
        raise ValueError(f"Z must have shape (..., n); got {A.shape}.")
    return A


def _dtype(*arrays: Array) -> np.dtype[Any]:
    """Return float32 if all arrays have it, else float64."""
    return np.dtype(np.float32 if all(A.dtype == np.float32 for A in arrays) else np.float64)


def _rows(A: Array, dtype: np.dtype[Any]) -> Array:
    """Return a C-ordered matrix of the last axis, so that no shape compiles the kernels anew; a view where that is possible."""
    columns = A.shape[-1] if A.ndim else 1
    return np.ascontiguousarray(A, dtype).reshape(math.prod(A.shape[:-1]), columns)
