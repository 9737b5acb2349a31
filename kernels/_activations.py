"""The formulas of the activations: for one element, for rows, and as loops over arrays chosen by a code.

nan stays nan: `x if x > 0 else 0` would lose it, `0 if x < 0 else x` keeps it.
"""

from __future__ import annotations

import numpy as np

from . import _math
from ._bits import absolute, like
from ._elements import copy_elements, sum_elements
from ._jit import inline, jit

IDENTITY, RELU, LEAKY_RELU, ELU, SELU, GELU, GELU_TANH, SILU, SOFTPLUS, TANH, SIGMOID, SOFTMAX, LOG_SOFTMAX = range(13)
SAVES_INPUT = (GELU, GELU_TANH, SILU)

LEAKY_SLOPE = 0.01
# Klambauer et al., Self-normalizing neural networks, NeurIPS 2017: these keep mean 0 and variance 1
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_ROOT_HALF, _ROOT_2_OVER_PI, _GELU_CUBE = 0.7071067811865476, 0.7978845608028654, 0.044715
_ONE_OVER_ROOT_2PI = 0.3989422804014327
_FAR = 1000.0  # beyond it a gate is 0 or 1 to the last bit: stops infinity * 0 from being nan

exp, expm1, log, log1p, erf, tanh = _math.exp, _math.expm1, _math.log, _math.log1p, _math.erf, _math.tanh


# One element, forth.


@inline
def identity(z):
    """Return z."""
    return z


@inline
def relu(z):
    """Return max(z, 0)."""
    return like(z, 0.0) if z < 0.0 else z


@inline
def leaky_relu(z):
    """Return z where z > 0, else 0.01 z."""
    return like(z, LEAKY_SLOPE) * z if z < 0.0 else z


@inline
def elu(z):
    """Return z where z > 0, else e**z - 1."""
    return z if z > 0.0 else expm1(z)


@inline
def selu(z):
    """Return scale * z where z > 0, else scale * alpha * (e**z - 1)."""
    return like(z, SELU_SCALE) * z if z > 0.0 else like(z, SELU_SCALE * SELU_ALPHA) * expm1(z)


@inline
def gelu(z):
    """Return z * (1 + erf(z / sqrt(2))) / 2."""
    z = like(z, -_FAR) if z < -_FAR else z
    return z * _normal_share(z)


@inline
def gelu_tanh(z):
    """Return z * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 z**3))) / 2."""
    z = like(z, -_FAR) if z < -_FAR else z
    return z * sigmoid(_twice_gelu_inner(z))


@inline
def silu(z):
    """Return z / (1 + e**-z)."""
    z = like(z, -_FAR) if z < -_FAR else z
    return z * sigmoid(z)


@inline
def softplus(z):
    """Return log(1 + e**z)."""
    return relu(z) + log1p(exp(-absolute(z)))


@inline
def sigmoid(z):
    """Return 1 / (1 + e**-z)."""
    e = exp(-absolute(z))
    one = like(z, 1.0)
    return (e if z < 0.0 else one) / (one + e)


@inline
def _normal_share(z):
    """Return (1 + erf(z / sqrt(2))) / 2, the share of a normal distribution below z."""
    return like(z, 0.5) + like(z, 0.5) * erf(z * like(z, _ROOT_HALF))


@inline
def _twice_gelu_inner(z):
    """Return twice the argument of gelu_tanh's tanh: (1 + tanh(x)) / 2 = sigmoid(2x)."""
    return like(z, 2.0 * _ROOT_2_OVER_PI) * (z + like(z, _GELU_CUBE) * (z * z * z))


@inline
def _within(z):
    """Return z, or -1000 or 1000 where it is farther from 0."""
    z = like(z, -_FAR) if z < -_FAR else z
    return like(z, _FAR) if z > _FAR else z


# One element, back: from what was saved and the gradient d of the output.


@inline
def identity_gradient(a, d):
    """Return d."""
    return d


@inline
def relu_gradient(a, d):
    """Return d where a > 0, else 0."""
    return d if a > 0.0 else like(d, 0.0)


@inline
def leaky_relu_gradient(a, d):
    """Return d where a > 0, else 0.01 d."""
    return d if a > 0.0 else like(d, LEAKY_SLOPE) * d


@inline
def elu_gradient(a, d):
    """Return d where a > 0, else d * (1 + a)."""
    return d if a > 0.0 else d * (like(a, 1.0) + a)


@inline
def selu_gradient(a, d):
    """Return d * scale where a > 0, else d * (a + scale * alpha)."""
    return d * (like(a, SELU_SCALE) if a > 0.0 else a + like(a, SELU_SCALE * SELU_ALPHA))


@inline
def gelu_gradient(z, d):
    """Return d * (share of a normal distribution below z + z * its density at z)."""
    z = _within(z)
    density = like(z, _ONE_OVER_ROOT_2PI) * exp(like(z, -0.5) * (z * z))
    return d * (_normal_share(z) + z * density)


@inline
def gelu_tanh_gradient(z, d):
    """Return d * (s + z * s * (1 - s) * u') with s = sigmoid(u), u = 2 sqrt(2 / pi) * (z + 0.044715 z**3)."""
    z = _within(z)
    s = sigmoid(_twice_gelu_inner(z))
    slope = like(z, 2.0 * _ROOT_2_OVER_PI) * (like(z, 1.0) + like(z, 3.0 * _GELU_CUBE) * (z * z))
    return d * (s + z * (s * (like(z, 1.0) - s)) * slope)


@inline
def silu_gradient(z, d):
    """Return d * (s + z * s * (1 - s)) with s = sigmoid(z)."""
    z = _within(z)
    s = sigmoid(z)
    return d * (s + z * (s * (like(z, 1.0) - s)))


@inline
def softplus_gradient(a, d):
    """Return d * (1 - e**-a), which is d * sigmoid(z)."""
    return d * -expm1(-a)


@inline
def tanh_gradient(a, d):
    """Return d * (1 - a**2)."""
    return d * ((like(a, 1.0) - a) * (like(a, 1.0) + a))


@inline
def sigmoid_gradient(a, d):
    """Return d * a * (1 - a)."""
    return d * (a * (like(a, 1.0) - a))


# A switch over whole loops, so that each of them vectorizes.


@jit
def forward_range(activation, Z, out):
    """Compute out = f(Z) for an elementwise activation; out may be Z."""
    copy_elements(Z, out)
    a = out.flat
    if activation == RELU:
        for i in range(out.size):
            a[i] = relu(a[i])
    elif activation == LEAKY_RELU:
        for i in range(out.size):
            a[i] = leaky_relu(a[i])
    elif activation == ELU:
        for i in range(out.size):
            a[i] = elu(a[i])
    elif activation == SELU:
        for i in range(out.size):
            a[i] = selu(a[i])
    elif activation == GELU:
        for i in range(out.size):
            a[i] = gelu(a[i])
    elif activation == GELU_TANH:
        for i in range(out.size):
            a[i] = gelu_tanh(a[i])
    elif activation == SILU:
        for i in range(out.size):
            a[i] = silu(a[i])
    elif activation == SOFTPLUS:
        for i in range(out.size):
            a[i] = softplus(a[i])
    elif activation == TANH:
        for i in range(out.size):
            a[i] = tanh(a[i])
    elif activation == SIGMOID:
        for i in range(out.size):
            a[i] = sigmoid(a[i])


@jit
def backward_range(activation, saved, d, out):
    """Compute out = d * f' for an elementwise activation; out may be d."""
    copy_elements(d, out)
    a, y = saved.flat, out.flat
    if activation == RELU:
        for i in range(out.size):
            y[i] = relu_gradient(a[i], y[i])
    elif activation == LEAKY_RELU:
        for i in range(out.size):
            y[i] = leaky_relu_gradient(a[i], y[i])
    elif activation == ELU:
        for i in range(out.size):
            y[i] = elu_gradient(a[i], y[i])
    elif activation == SELU:
        for i in range(out.size):
            y[i] = selu_gradient(a[i], y[i])
    elif activation == GELU:
        for i in range(out.size):
            y[i] = gelu_gradient(a[i], y[i])
    elif activation == GELU_TANH:
        for i in range(out.size):
            y[i] = gelu_tanh_gradient(a[i], y[i])
    elif activation == SILU:
        for i in range(out.size):
            y[i] = silu_gradient(a[i], y[i])
    elif activation == SOFTPLUS:
        for i in range(out.size):
            y[i] = softplus_gradient(a[i], y[i])
    elif activation == TANH:
        for i in range(out.size):
            y[i] = tanh_gradient(a[i], y[i])
    elif activation == SIGMOID:
        for i in range(out.size):
            y[i] = sigmoid_gradient(a[i], y[i])


# Whole rows.


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
