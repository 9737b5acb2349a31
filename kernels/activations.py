"""Activations and their derivatives: `*_forward` computes out = f(Z), `*_backward` out = dA * f'(Z).

`saved` is what the way back needs of the way forth: the activation's output, but its input for those in `SAVES_INPUT`.
nan stays nan: `x if x > 0 else 0` would lose it, `0 if x < 0 else x` keeps it. Elementwise activations take arrays of any shape,
softmax and log_softmax rows of a matrix. `out` may be the array that it replaces, `Z` or `dA`; otherwise it shares no memory
with what is read.

An elementwise activation is two functions of one element and a line of `ACTIVATIONS`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import door
from ._bits import absolute, copysign, like
from ._checks import check_whole
from ._elements import copy_elements, sum_elements
from ._factory import Activation
from ._jit import Kernel, helper, inline, kernel, named
from ._link import linked
from ._math import erf, exp, expm1, log, log1p, tanh
from ._tile import address_of

LEAKY_SLOPE = 0.01
# Klambauer et al., Self-normalizing neural networks, NeurIPS 2017: these keep mean 0 and variance 1
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_ROOT_HALF, _ROOT_2_OVER_PI, _GELU_CUBE = 0.7071067811865476, 0.7978845608028654, 0.044715
_ONE_OVER_ROOT_2PI = 0.3989422804014327
_SIXTH, _LARGE = 1.0 / 6.0, 1e30
_MISH_FLAT = 25.0  # from there on mish is z to the last bit, and what its derivative lacks of 1 is lost even times 1000
_FAR = 1000.0  # beyond it a gate is 0 or 1 to the last bit: stops infinity * 0 from being nan


# Of one element: forth, and back from what was saved and the gradient d of the output.


@inline
def identity(z):
    """Return z."""
    return z


@inline
def identity_gradient(a, d):
    """Return d."""
    return d


_identity = Activation("identity", identity, identity_gradient)
IDENTITY, identity_forward, identity_backward = 0, _identity.forward, _identity.backward


@inline
def relu(z):
    """Return max(z, 0)."""
    return like(z, 0.0) if z < 0.0 else z


@inline
def relu_gradient(a, d):
    """Return d where a > 0, else 0."""
    return d if a > 0.0 else like(d, 0.0)


_relu = Activation("relu", relu, relu_gradient)
RELU, relu_forward, relu_backward = 1, _relu.forward, _relu.backward


@inline
def leaky_relu(z):
    """Return z where z > 0, else 0.01 z."""
    return like(z, LEAKY_SLOPE) * z if z < 0.0 else z


@inline
def leaky_relu_gradient(a, d):
    """Return d where a > 0, else 0.01 d."""
    return d if a > 0.0 else like(d, LEAKY_SLOPE) * d


_leaky_relu = Activation("leaky_relu", leaky_relu, leaky_relu_gradient)
LEAKY_RELU, leaky_relu_forward, leaky_relu_backward = 2, _leaky_relu.forward, _leaky_relu.backward


@inline
def elu(z):
    """Return z where z > 0, else e**z - 1."""
    return z if z > 0.0 else expm1(z)


@inline
def elu_gradient(a, d):
    """Return d where a > 0, else d * (1 + a)."""
    return d if a > 0.0 else d * (like(a, 1.0) + a)


_elu = Activation(
    "elu",
    elu,
    elu_gradient,
    reference="Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by exponential linear units, arXiv 1511.07289.",
)
ELU, elu_forward, elu_backward = 3, _elu.forward, _elu.backward


@inline
def selu(z):
    """Return scale * z where z > 0, else scale * alpha * (e**z - 1)."""
    return like(z, SELU_SCALE) * z if z > 0.0 else like(z, SELU_SCALE * SELU_ALPHA) * expm1(z)


@inline
def selu_gradient(a, d):
    """Return d * scale where a > 0, else d * (a + scale * alpha)."""
    return d * (like(a, SELU_SCALE) if a > 0.0 else a + like(a, SELU_SCALE * SELU_ALPHA))


_selu = Activation(
    "selu",
    selu,
    selu_gradient,
    reference="Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.",
)
SELU, selu_forward, selu_backward = 4, _selu.forward, _selu.backward


@inline
def sigmoid(z):
    """Return 1 / (1 + e**-z)."""
    e = exp(-absolute(z))
    one = like(z, 1.0)
    return (e if z < 0.0 else one) / (one + e)


@inline
def sigmoid_gradient(a, d):
    """Return d * a * (1 - a)."""
    return d * (a * (like(a, 1.0) - a))


_sigmoid = Activation("sigmoid", sigmoid, sigmoid_gradient)
SIGMOID, sigmoid_forward, sigmoid_backward = 10, _sigmoid.forward, _sigmoid.backward


@inline
def tanh_gradient(a, d):
    """Return d * (1 - a**2)."""
    return d * ((like(a, 1.0) - a) * (like(a, 1.0) + a))


_tanh = Activation("tanh", tanh, tanh_gradient)
TANH, tanh_forward, tanh_backward = 9, _tanh.forward, _tanh.backward


@inline
def softplus(z):
    """Return log(1 + e**z)."""
    return relu(z) + log1p(exp(-absolute(z)))


@inline
def softplus_gradient(a, d):
    """Return d * (1 - e**-a), which is d * sigmoid(z)."""
    return d * -expm1(-a)


_softplus = Activation("softplus", softplus, softplus_gradient)
SOFTPLUS, softplus_forward, softplus_backward = 8, _softplus.forward, _softplus.backward


@inline
def _normal_share(z):
    """Return (1 + erf(z / sqrt(2))) / 2, the share of a normal distribution below z."""
    return like(z, 0.5) + like(z, 0.5) * erf(z * like(z, _ROOT_HALF))


@inline
def _within(z):
    """Return z, or -1000 or 1000 where it is farther from 0."""
    z = like(z, -_FAR) if z < -_FAR else z
    return like(z, _FAR) if z > _FAR else z


@inline
def gelu(z):
    """Return z * (1 + erf(z / sqrt(2))) / 2."""
    z = like(z, -_FAR) if z < -_FAR else z
    return z * _normal_share(z)


@inline
def gelu_gradient(z, d):
    """Return d * (share of a normal distribution below z + z * its density at z)."""
    z = _within(z)
    density = like(z, _ONE_OVER_ROOT_2PI) * exp(like(z, -0.5) * (z * z))
    return d * (_normal_share(z) + z * density)


_gelu = Activation(
    "gelu",
    gelu,
    gelu_gradient,
    saves_input=True,
    reference="Hendrycks, Gimpel, Gaussian error linear units, arXiv 1606.08415.",
)
GELU, gelu_forward, gelu_backward = 5, _gelu.forward, _gelu.backward


@inline
def _twice_gelu_inner(z):
    """Return twice the argument of gelu_tanh's tanh: (1 + tanh(x)) / 2 = sigmoid(2x)."""
    return like(z, 2.0 * _ROOT_2_OVER_PI) * (z + like(z, _GELU_CUBE) * (z * z * z))


@inline
def gelu_tanh(z):
    """Return z * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 z**3))) / 2."""
    z = like(z, -_FAR) if z < -_FAR else z
    return z * sigmoid(_twice_gelu_inner(z))


@inline
def gelu_tanh_gradient(z, d):
    """Return d * (s + z * s * (1 - s) * u') with s = sigmoid(u), u = 2 sqrt(2 / pi) * (z + 0.044715 z**3)."""
    z = _within(z)
    s = sigmoid(_twice_gelu_inner(z))
    slope = like(z, 2.0 * _ROOT_2_OVER_PI) * (like(z, 1.0) + like(z, 3.0 * _GELU_CUBE) * (z * z))
    return d * (s + z * (s * (like(z, 1.0) - s)) * slope)


_gelu_tanh = Activation(
    "gelu_tanh",
    gelu_tanh,
    gelu_tanh_gradient,
    saves_input=True,
    reference="Hendrycks, Gimpel, Gaussian error linear units, arXiv 1606.08415.",
)
GELU_TANH, gelu_tanh_forward, gelu_tanh_backward = 6, _gelu_tanh.forward, _gelu_tanh.backward


@inline
def silu(z):
    """Return z / (1 + e**-z)."""
    z = like(z, -_FAR) if z < -_FAR else z
    return z * sigmoid(z)


@inline
def silu_gradient(z, d):
    """Return d * (s + z * s * (1 - s)) with s = sigmoid(z)."""
    z = _within(z)
    s = sigmoid(z)
    return d * (s + z * (s * (like(z, 1.0) - s)))


_silu = Activation(
    "silu",
    silu,
    silu_gradient,
    saves_input=True,
    reference="Elfwing, Uchibe, Doya, Sigmoid-weighted linear units, arXiv 1702.03118.",
)
SILU, silu_forward, silu_backward = 7, _silu.forward, _silu.backward


@inline
def _mish_parts(z):
    """Return e, n and 1 / (n + 2) with e = e**z and n = e * (e + 2): tanh(log(1 + e)) = n / (n + 2), but for rounding 1 from z = 20 on."""
    e = exp(like(z, _MISH_FLAT) if z > _MISH_FLAT else z)
    n = e * (e + like(z, 2.0))
    return e, n, like(z, 1.0) / (n + like(z, 2.0))


@inline
def mish(z):
    """Return z * tanh(log(1 + e**z))."""
    z = like(z, -_FAR) if z < -_FAR else z
    _, n, r = _mish_parts(z)
    return z * (n * r)


@inline
def mish_gradient(z, d):
    """Return d * (t + z * (1 - t**2) * sigmoid(z)) with t = tanh(log(1 + e**z))."""
    z = _within(z)
    e, n, r = _mish_parts(z)
    return d * (n * r + like(z, 4.0) * z * (e * r) * ((e + like(z, 1.0)) * r))


_mish = Activation(
    "mish",
    mish,
    mish_gradient,
    saves_input=True,
    reference="Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.",
)
MISH, mish_forward, mish_backward = 13, _mish.forward, _mish.backward


@inline
def hard_swish(z):
    """Return z * min(max(z + 3, 0), 6) / 6."""
    gate = z + like(z, 3.0)
    gate = like(z, 0.0) if gate < 0.0 else gate
    gate = like(z, 6.0) if gate > 6.0 else gate
    return like(z, 0.0) if z <= -3.0 else z * (gate * like(z, _SIXTH))


@inline
def hard_swish_gradient(z, d):
    """Return 0 where z <= -3, d where z >= 3, else d * (2z + 3) / 6."""
    slope = (z + z + like(z, 3.0)) * like(z, _SIXTH)
    slope = like(z, 0.0) if z <= -3.0 else slope
    return d * (like(z, 1.0) if z >= 3.0 else slope)


_hard_swish = Activation(
    "hard_swish",
    hard_swish,
    hard_swish_gradient,
    saves_input=True,
    reference="Howard et al., Searching for MobileNetV3, ICCV 2019.",
)
HARD_SWISH, hard_swish_forward, hard_swish_backward = 14, _hard_swish.forward, _hard_swish.backward


@inline
def softsign(z):
    """Return z / (1 + |z|)."""
    size = absolute(z)
    size = like(z, _LARGE) if size > _LARGE else size  # of an infinite z
    return copysign(size, z) / (like(z, 1.0) + size)


@inline
def softsign_gradient(z, d):
    """Return d / (1 + |z|)**2."""
    root = like(z, 1.0) + absolute(z)
    return (d / root) / root


_softsign = Activation(
    "softsign",
    softsign,
    softsign_gradient,
    saves_input=True,
    reference="Glorot, Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.",
)
SOFTSIGN, softsign_forward, softsign_backward = 15, _softsign.forward, _softsign.backward


@inline
def exponential(z):
    """Return e**z."""
    return exp(z)


@inline
def exponential_gradient(a, d):
    """Return d * a, which is d * e**z."""
    return d * a


_exponential = Activation("exponential", exponential, exponential_gradient)
EXPONENTIAL, exponential_forward, exponential_backward = 16, _exponential.forward, _exponential.backward


@dataclass(frozen=True)
class RowActivation:
    """An activation that needs whole rows: its name, its public pair, and helpers that replace rows: rows(out), gradient_rows(saved, out)."""

    name: str
    forward: Kernel
    backward: Kernel
    rows: Any
    gradient_rows: Any


# Of rows.


@inline
def softmax_rows(out):
    """Replace each row z by e**z / sum(e**z)."""
    for i in range(out.shape[0]):
        row = out[i]
        exp_row(row)
        total = sum_elements(row)
        for j in range(row.size):
            row[j] = row[j] / like(row[j], total)


@inline
def exp_row(row):
    """Replace a row z by e**(z - max(z)), which cannot overflow; return max(z)."""
    top = -np.inf
    for j in range(row.size):
        top = row[j] if row[j] > top else top
    for j in range(row.size):
        row[j] = exp(row[j] - like(row[j], top))
    return top


@inline
def log_softmax_rows(out):
    """Replace each row z by z - log(sum(e**z))."""
    for i in range(out.shape[0]):
        row = out[i]
        top = -np.inf
        for j in range(row.size):
            top = row[j] if row[j] > top else top
        total = 0.0
        for j in range(row.size):
            row[j] -= like(row[j], top)
            total += exp(row[j])
        shift = log(total)
        for j in range(row.size):
            row[j] -= like(row[j], shift)


@inline
def softmax_gradient_rows(A, out):
    """Replace each row d by a * (d - sum(a * d))."""
    for i in range(out.shape[0]):
        a, row = A[i], out[i]
        product = 0.0
        for j in range(row.size):
            product += np.float64(a[j]) * row[j]
        for j in range(row.size):
            row[j] = a[j] * (row[j] - like(row[j], product))


@inline
def log_softmax_gradient_rows(A, out):
    """Replace each row d by d - e**a * sum(d)."""
    for i in range(out.shape[0]):
        a, row = A[i], out[i]
        total = sum_elements(row)
        for j in range(row.size):
            row[j] -= exp(a[j]) * like(row[j], total)


def _row_kernels(name: str, rows: Any, gradient_rows: Any) -> tuple[Kernel, Kernel]:
    """Return the public pair of an activation of rows."""
    check = door(f"{name}_forward", "Z out", "out", replaces="Z", n_axes=2)
    check_back = door(f"{name}_backward", "saved dA out", "out", replaces="dA", n_axes=2)
    doc = f"""{rows.__doc__} That is out, of Z.

    The largest of a row is subtracted first, so nothing overflows.

    Parameters
    ----------
    Z : float32 or float64 array (n, m)
    out : array (n, m) of that dtype, overwritten
        May be Z; otherwise it shares no memory with it.
    """
    back_doc = f"""{gradient_rows.__doc__} That is out, of saved and dA.

    Parameters
    ----------
    saved : float32 or float64 array (n, m)
        Output of `{name}_forward`.
    dA : array (n, m) of that dtype
        Gradient with respect to the output.
    out : array (n, m) of that dtype, overwritten
        Gradient with respect to the input. May be dA; otherwise it shares no memory with the others.
    """

    def forward(Z, out):
        check((Z, out))
        copy_elements(Z, out)
        rows(out)

    def backward(saved, dA, out):
        check_back((saved, dA, out))
        copy_elements(dA, out)
        gradient_rows(saved, out)

    return kernel(named(forward, __name__, f"{name}_forward", doc)), kernel(named(backward, __name__, f"{name}_backward", back_doc))


SOFTMAX, LOG_SOFTMAX = 11, 12
softmax_forward, softmax_backward = _row_kernels("softmax", softmax_rows, softmax_gradient_rows)
log_softmax_forward, log_softmax_backward = _row_kernels("log_softmax", log_softmax_rows, log_softmax_gradient_rows)


ACTIVATIONS: dict[int, Activation] = {
    IDENTITY: _identity,
    RELU: _relu,
    LEAKY_RELU: _leaky_relu,
    ELU: _elu,
    SELU: _selu,
    GELU: _gelu,
    GELU_TANH: _gelu_tanh,
    SILU: _silu,
    SOFTPLUS: _softplus,
    TANH: _tanh,
    SIGMOID: _sigmoid,
    MISH: _mish,
    HARD_SWISH: _hard_swish,
    SOFTSIGN: _softsign,
    EXPONENTIAL: _exponential,
}
ROW_ACTIVATIONS: dict[int, RowActivation] = {
    SOFTMAX: RowActivation("softmax", softmax_forward, softmax_backward, softmax_rows, softmax_gradient_rows),
    LOG_SOFTMAX: RowActivation("log_softmax", log_softmax_forward, log_softmax_backward, log_softmax_rows, log_softmax_gradient_rows),
}
ELEMENTWISE = tuple(ACTIVATIONS)
CODES = (*ACTIVATIONS, *ROW_ACTIVATIONS)
SAVES_INPUT = tuple(code for code, one in ACTIVATIONS.items() if one.saves_input)

if not TYPE_CHECKING:  # a type checker, which does not read tables, takes every name for public
    __all__ = sorted(
        {"ACTIVATIONS", "ROW_ACTIVATIONS", "SAVES_INPUT", "activation_backward", "activation_forward"}.union(
            *((one.name.upper(), f"{one.name}_backward", f"{one.name}_forward") for one in (ACTIVATIONS | ROW_ACTIVATIONS).values())
        )
    )


# Chosen by a code: tasks of numbers that lie side by side, (parameters, source, out, count) and (parameters, saved, d, count).

forth = linked("forth", 4, {code: functools.partial(getattr, one, "forward_task") for code, one in ACTIVATIONS.items()})
back = linked("back", 4, {code: functools.partial(getattr, one, "backward_task") for code, one in ACTIVATIONS.items()})
_PIECE = 256  # elements of arrays of other layouts that are copied, calculated with and copied back


def _elementwise(call: Any) -> Any:
    """Return a helper that runs the task of a code over arrays of any shape and layout."""

    @helper
    def apply(activation, X, out):
        zero, code = out.dtype.type(0), np.int64(activation)
        if X.flags.c_contiguous and out.flags.c_contiguous:
            call(zero, code, (0, address_of(X), address_of(out), out.size))
            return
        x, y, room = X.flat, out.flat, np.empty(2 * _PIECE, out.dtype)
        for first in range(0, out.size, _PIECE):
            n = min(_PIECE, out.size - first)
            for i in range(n):
                room[i], room[_PIECE + i] = x[first + i], y[first + i]
            call(zero, code, (0, address_of(room), address_of(room) + _PIECE * out.itemsize, n))
            for i in range(n):
                y[first + i] = room[_PIECE + i]

    return apply


_forward, _backward = _elementwise(forth), _elementwise(back)
_check_forward = door("activation_forward", "Z out", "out", replaces="Z")
_check_backward = door("activation_backward", "saved dA out", "out", replaces="dA")


@kernel
def activation_forward(activation, Z, out):
    """Compute out = f(Z) for an activation known at run time only.

    Parameters
    ----------
    activation : int
        `RELU`, `SIGMOID` and so on; `SOFTMAX` and `LOG_SOFTMAX` for a matrix only.
    Z : float32 or float64 array
    out : array of that shape and dtype, overwritten
        May be Z; otherwise it shares no memory with it.
    """
    _check_forward((Z, out))
    check_whole("activation_forward: activation", activation)
    if activation not in CODES:
        raise ValueError("activation_forward: activation must be one of the codes such as RELU")
    if Z.ndim != 2 and activation not in ELEMENTWISE:
        raise ValueError("activation_forward: Z must be a matrix for softmax and log_softmax")
    if activation in ELEMENTWISE:
        _forward(activation, Z, out)
    elif Z.ndim == 2:
        copy_elements(Z, out)
        if activation == SOFTMAX:
            softmax_rows(out)
        else:
            log_softmax_rows(out)


@kernel
def activation_backward(activation, saved, dA, out):
    """Compute out = dA * f' for an activation known at run time only.

    Parameters
    ----------
    activation : int
        `RELU`, `SIGMOID` and so on; `SOFTMAX` and `LOG_SOFTMAX` for a matrix only.
    saved : float32 or float64 array
        Output of the activation; its input for those in `SAVES_INPUT`.
    dA : array of that shape and dtype
        Gradient with respect to the output.
    out : array of that shape and dtype, overwritten
        Gradient with respect to the input. May be dA; otherwise it shares no memory with the others.
    """
    _check_backward((saved, dA, out))
    check_whole("activation_backward: activation", activation)
    if activation not in CODES:
        raise ValueError("activation_backward: activation must be one of the codes such as RELU")
    if out.ndim != 2 and activation not in ELEMENTWISE:
        raise ValueError("activation_backward: saved must be a matrix for softmax and log_softmax")
    copy_elements(dA, out)
    if activation in ELEMENTWISE:
        _backward(activation, saved, out)
    elif out.ndim == 2:
        if activation == SOFTMAX:
            softmax_gradient_rows(saved, out)
        else:
            log_softmax_gradient_rows(saved, out)
