"""Activations and their derivatives: `*_forward` computes out = f(Z), `*_backward` out = dA * f'(Z).

`saved` is what the way back needs of the way forth: the activation's output, but its input for those in `SAVES_INPUT`.
nan stays nan. Elementwise activations take arrays of any shape, softmax and log_softmax rows of a matrix. `out` may be
the array that it replaces, `Z` or `dA`.
"""

from __future__ import annotations

from . import _activations as formulas
from ._activations import (
    ELU,
    GELU,
    GELU_TANH,
    IDENTITY,
    LEAKY_RELU,
    LOG_SOFTMAX,
    RELU,
    SAVES_INPUT,
    SELU,
    SIGMOID,
    SILU,
    SOFTMAX,
    SOFTPLUS,
    TANH,
    backward_range,
    forward_range,
)
from ._elements import copy_elements, map_elements, map_pairs
from ._jit import kernel

__all__ = [
    "ELU",
    "GELU",
    "GELU_TANH",
    "IDENTITY",
    "LEAKY_RELU",
    "LOG_SOFTMAX",
    "RELU",
    "SAVES_INPUT",
    "SELU",
    "SIGMOID",
    "SILU",
    "SOFTMAX",
    "SOFTPLUS",
    "TANH",
    "activation_backward",
    "activation_forward",
    "elu_backward",
    "elu_forward",
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "identity_backward",
    "identity_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "log_softmax_backward",
    "log_softmax_forward",
    "relu_backward",
    "relu_forward",
    "selu_backward",
    "selu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softmax_backward",
    "softmax_forward",
    "softplus_backward",
    "softplus_forward",
    "tanh_backward",
    "tanh_forward",
]


@kernel
def activation_forward(activation, Z, out):
    """Compute out = f(Z) for an activation known at run time only.

    Parameters
    ----------
    activation : int
        `RELU`, `SIGMOID` and so on; `SOFTMAX` and `LOG_SOFTMAX` for a matrix only.
    Z : float32 or float64 array
    out : array of that shape, overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("activation_forward: out must have the shape of Z")
    if activation < IDENTITY or activation > LOG_SOFTMAX:
        raise ValueError("activation_forward: activation must be one of the codes from IDENTITY to LOG_SOFTMAX")
    if Z.ndim != 2 and activation >= SOFTMAX:
        raise ValueError("activation_forward: Z must be a matrix for softmax and log_softmax")
    forward_range(activation, Z, out)
    if Z.ndim == 2:
        if activation == SOFTMAX:
            formulas.softmax_rows(out)
        elif activation == LOG_SOFTMAX:
            formulas.log_softmax_rows(out)


@kernel
def activation_backward(activation, saved, dA, out):
    """Compute out = dA * f' for an activation known at run time only.

    Parameters
    ----------
    activation : int
        `RELU`, `SIGMOID` and so on; `SOFTMAX` and `LOG_SOFTMAX` for a matrix only.
    saved : float32 or float64 array
        Output of the activation; its input for those in `SAVES_INPUT`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if saved.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("activation_backward: dA and out must have the shape of saved")
    if activation < IDENTITY or activation > LOG_SOFTMAX:
        raise ValueError("activation_backward: activation must be one of the codes from IDENTITY to LOG_SOFTMAX")
    if out.ndim != 2 and activation >= SOFTMAX:
        raise ValueError("activation_backward: saved must be a matrix for softmax and log_softmax")
    backward_range(activation, saved, dA, out)
    if out.ndim == 2:
        if activation == SOFTMAX:
            formulas.softmax_gradient_rows(saved, out)
        elif activation == LOG_SOFTMAX:
            formulas.log_softmax_gradient_rows(saved, out)


@kernel
def identity_forward(Z, out):
    """Compute out = Z.

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("identity_forward: out must have the shape of Z")
    map_elements(formulas.identity, Z, out)


@kernel
def identity_backward(A, dA, out):
    """Compute out = dA.

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Output of `identity_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("identity_backward: dA and out must have the shape of A")
    map_pairs(formulas.identity_gradient, A, dA, out)


@kernel
def relu_forward(Z, out):
    """Compute out = max(Z, 0).

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("relu_forward: out must have the shape of Z")
    map_elements(formulas.relu, Z, out)


@kernel
def relu_backward(A, dA, out):
    """Compute out = dA where A > 0, else 0.

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Output of `relu_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("relu_backward: dA and out must have the shape of A")
    map_pairs(formulas.relu_gradient, A, dA, out)


@kernel
def leaky_relu_forward(Z, out):
    """Compute out = Z where Z > 0, else 0.01 * Z.

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("leaky_relu_forward: out must have the shape of Z")
    map_elements(formulas.leaky_relu, Z, out)


@kernel
def leaky_relu_backward(A, dA, out):
    """Compute out = dA where A > 0, else 0.01 * dA.

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Output of `leaky_relu_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("leaky_relu_backward: dA and out must have the shape of A")
    map_pairs(formulas.leaky_relu_gradient, A, dA, out)


@kernel
def elu_forward(Z, out):
    """Compute out = Z where Z > 0, else e**Z - 1.

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.

    References
    ----------
    Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by exponential linear units, arXiv 1511.07289.
    """
    if Z.shape != out.shape:
        raise ValueError("elu_forward: out must have the shape of Z")
    map_elements(formulas.elu, Z, out)


@kernel
def elu_backward(A, dA, out):
    """Compute out = dA where A > 0, else dA * (1 + A).

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Output of `elu_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("elu_backward: dA and out must have the shape of A")
    map_pairs(formulas.elu_gradient, A, dA, out)


@kernel
def selu_forward(Z, out):
    """Compute out = 1.0507 * (Z where Z > 0, else 1.6733 * (e**Z - 1)).

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.

    References
    ----------
    Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.
    """
    if Z.shape != out.shape:
        raise ValueError("selu_forward: out must have the shape of Z")
    map_elements(formulas.selu, Z, out)


@kernel
def selu_backward(A, dA, out):
    """Compute out = dA * (1.0507 where A > 0, else A + 1.0507 * 1.6733).

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Output of `selu_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("selu_backward: dA and out must have the shape of A")
    map_pairs(formulas.selu_gradient, A, dA, out)


@kernel
def gelu_forward(Z, out):
    """Compute out = Z * (1 + erf(Z / sqrt(2))) / 2.

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.

    References
    ----------
    Hendrycks, Gimpel, Gaussian error linear units, arXiv 1606.08415.
    """
    if Z.shape != out.shape:
        raise ValueError("gelu_forward: out must have the shape of Z")
    map_elements(formulas.gelu, Z, out)


@kernel
def gelu_backward(Z, dA, out):
    """Compute out = dA * (P(Z) + Z * p(Z)) with the normal distribution P and its density p.

    Parameters
    ----------
    Z : float32 or float64 array of any shape
        Input of `gelu_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if Z.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("gelu_backward: dA and out must have the shape of Z")
    map_pairs(formulas.gelu_gradient, Z, dA, out)


@kernel
def gelu_tanh_forward(Z, out):
    """Compute out = Z * (1 + tanh(sqrt(2 / pi) * (Z + 0.044715 * Z**3))) / 2.

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.

    References
    ----------
    Hendrycks, Gimpel, Gaussian error linear units, arXiv 1606.08415.
    """
    if Z.shape != out.shape:
        raise ValueError("gelu_tanh_forward: out must have the shape of Z")
    map_elements(formulas.gelu_tanh, Z, out)


@kernel
def gelu_tanh_backward(Z, dA, out):
    """Compute out = dA * d/dZ of the formula of `gelu_tanh_forward`.

    Parameters
    ----------
    Z : float32 or float64 array of any shape
        Input of `gelu_tanh_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if Z.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("gelu_tanh_backward: dA and out must have the shape of Z")
    map_pairs(formulas.gelu_tanh_gradient, Z, dA, out)


@kernel
def silu_forward(Z, out):
    """Compute out = Z / (1 + e**-Z).

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.

    References
    ----------
    Elfwing, Uchibe, Doya, Sigmoid-weighted linear units, arXiv 1702.03118.
    """
    if Z.shape != out.shape:
        raise ValueError("silu_forward: out must have the shape of Z")
    map_elements(formulas.silu, Z, out)


@kernel
def silu_backward(Z, dA, out):
    """Compute out = dA * (s + Z * s * (1 - s)) with s = 1 / (1 + e**-Z).

    Parameters
    ----------
    Z : float32 or float64 array of any shape
        Input of `silu_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if Z.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("silu_backward: dA and out must have the shape of Z")
    map_pairs(formulas.silu_gradient, Z, dA, out)


@kernel
def softplus_forward(Z, out):
    """Compute out = log(1 + e**Z).

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("softplus_forward: out must have the shape of Z")
    map_elements(formulas.softplus, Z, out)


@kernel
def softplus_backward(A, dA, out):
    """Compute out = dA * (1 - e**-A).

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Output of `softplus_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("softplus_backward: dA and out must have the shape of A")
    map_pairs(formulas.softplus_gradient, A, dA, out)


@kernel
def tanh_forward(Z, out):
    """Compute out = tanh(Z).

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("tanh_forward: out must have the shape of Z")
    map_elements(formulas.tanh, Z, out)


@kernel
def tanh_backward(A, dA, out):
    """Compute out = dA * (1 - A**2).

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Output of `tanh_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("tanh_backward: dA and out must have the shape of A")
    map_pairs(formulas.tanh_gradient, A, dA, out)


@kernel
def sigmoid_forward(Z, out):
    """Compute out = 1 / (1 + e**-Z).

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("sigmoid_forward: out must have the shape of Z")
    map_elements(formulas.sigmoid, Z, out)


@kernel
def sigmoid_backward(A, dA, out):
    """Compute out = dA * A * (1 - A).

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Output of `sigmoid_forward`.
    dA : array of that shape
        Gradient with respect to the output.
    out : array of that shape, overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("sigmoid_backward: dA and out must have the shape of A")
    map_pairs(formulas.sigmoid_gradient, A, dA, out)


@kernel
def softmax_forward(Z, out):
    """Compute out = e**Z / sum(e**Z), row by row.

    The largest of a row is subtracted first, so nothing overflows.

    Parameters
    ----------
    Z : float32 or float64 array (n, m)
    out : array (n, m), overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("softmax_forward: out must have the shape of Z")
    copy_elements(Z, out)
    formulas.softmax_rows(out)


@kernel
def softmax_backward(A, dA, out):
    """Compute out = A * (dA - sum(A * dA)), row by row.

    Parameters
    ----------
    A : float32 or float64 array (n, m)
        Output of `softmax_forward`.
    dA : array (n, m)
        Gradient with respect to the output.
    out : array (n, m), overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("softmax_backward: dA and out must have the shape of A")
    copy_elements(dA, out)
    formulas.softmax_gradient_rows(A, out)


@kernel
def log_softmax_forward(Z, out):
    """Compute out = Z - log(sum(e**Z)), row by row.

    The largest of a row is subtracted first, so nothing overflows.

    Parameters
    ----------
    Z : float32 or float64 array (n, m)
    out : array (n, m), overwritten
        May be Z.
    """
    if Z.shape != out.shape:
        raise ValueError("log_softmax_forward: out must have the shape of Z")
    copy_elements(Z, out)
    formulas.log_softmax_rows(out)


@kernel
def log_softmax_backward(A, dA, out):
    """Compute out = dA - e**A * sum(dA), row by row.

    Parameters
    ----------
    A : float32 or float64 array (n, m)
        Output of `log_softmax_forward`.
    dA : array (n, m)
        Gradient with respect to the output.
    out : array (n, m), overwritten
        Gradient with respect to the input. May be dA.
    """
    if A.shape != dA.shape or dA.shape != out.shape:
        raise ValueError("log_softmax_backward: dA and out must have the shape of A")
    copy_elements(dA, out)
    formulas.log_softmax_gradient_rows(A, out)
