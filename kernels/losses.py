"""Losses and their gradients in one call: `loss = scale * sum(...)` is returned, its gradient is written.

`scale` says what is averaged: `loss_scale(n_rows, n_outputs, True, False)` is the mean over rows of sums over outputs,
PyTorch's default for cross-entropy; `loss_scale(n_rows, n_outputs, True, True)` the mean over all elements, its default
for the others. Cross-entropies take logits, what stands before the softmax or the sigmoid: so they are finite for any
finite logits. Sums are taken in float64, in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _math
from ._arrays import door, is_integer
from ._bits import absolute, choose, like
from ._checks import check_numbers
from ._elements import sum_elements
from ._factory import Loss, sum_and_gradient
from ._jit import inline, kernel
from .activations import EXPONENTIAL, LOG_SOFTMAX, SIGMOID, SOFTMAX, exp_row


@kernel
def loss_scale(n_rows, n_outputs, mean_rows, mean_outputs):
    """Return 1 / (n_rows if mean_rows) / (n_outputs if mean_outputs): the `scale` of a loss.

    Parameters
    ----------
    n_rows, n_outputs : int
    mean_rows, mean_outputs : bool
        Whether to take the mean over rows, over outputs; the sum otherwise.
    """
    scale = 1.0 / n_rows if mean_rows else 1.0
    return scale / n_outputs if mean_outputs else scale


# One element: (value, derivative with respect to a).


@inline
def sigmoid_cross_entropy_pair(a, t):
    """Return (log(1 + e**a) - a * t, sigmoid(a) - t)."""
    zero, one = like(a, 0.0), like(a, 1.0)
    e = _math.exp(-absolute(a))
    above = zero if a < zero else a
    return (above - a * t) + _math.log1p(e), (e if a < zero else one) / (one + e) - t


_sigmoid_cross_entropy = Loss("sigmoid_cross_entropy", sigmoid_cross_entropy_pair)
BINARY_CROSS_ENTROPY, sigmoid_cross_entropy = 1, _sigmoid_cross_entropy.kernel


@inline
def squared_error_pair(a, t):
    """Return ((a - t)**2, 2 * (a - t))."""
    d = a - t
    return d * d, d + d


_squared_error = Loss("squared_error", squared_error_pair)
SQUARED_ERROR, squared_error = 2, _squared_error.kernel


@inline
def absolute_error_pair(a, t):
    """Return (|a - t|, sign of a - t)."""
    d = a - t
    zero, one = like(a, 0.0), like(a, 1.0)
    return absolute(d), one if d > zero else (-one if d < zero else d)


_absolute_error = Loss("absolute_error", absolute_error_pair)
ABSOLUTE_ERROR, absolute_error = 3, _absolute_error.kernel


@inline
def huber_pair(a, t, delta):
    """Return (d**2 / 2, d) where |d| <= delta, else (delta * (|d| - delta / 2), delta * sign of d), d = a - t."""
    d = a - t
    delta, half = like(a, delta), like(a, 0.5)
    size = absolute(d)
    slope = delta if d > delta else (-delta if d < -delta else d)
    return delta * (size - half * delta) if size > delta else half * (d * d), slope


_huber = Loss("huber", huber_pair, parameters=(1.0,))
HUBER, _check_huber = 4, door("huber", "A T dA", "dA")


@kernel
def huber(A, T, delta, scale, dA):
    """Return scale * sum(d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2)), d = A - T, with dA = scale * clip(d, -delta, delta).

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Outputs.
    T : array of that shape and dtype
        Targets.
    delta : float
        Where the parabola goes over into lines; 1 in PyTorch.
    scale : float
    dA : array of that shape and dtype, overwritten
        Shares no memory with A and T.

    References
    ----------
    Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35 (1964).
    """
    _check_huber((A, T, dA))
    check_numbers("huber: delta and scale", (delta, scale))
    if not delta > 0.0:
        raise ValueError("huber: delta must be above 0")
    return sum_and_gradient(huber_pair, A, T, (delta,), scale, dA)


_LOG_2 = 0.6931471805599453


@inline
def log_cosh_pair(a, t):
    """Return (log(cosh(a - t)), tanh(a - t))."""
    d = a - t
    size, slope, one = absolute(d), _math.tanh(d), like(d, 1.0)
    near = size < one  # where |d| + log(1 + e**-2|d|) - log(2) would lose digits
    part = _math.log1p(-(slope * slope) if near else _math.exp(-(size + size)))
    return like(d, -0.5) * part if near else (size - like(d, _LOG_2)) + part, slope


_log_cosh = Loss("log_cosh", log_cosh_pair)
LOG_COSH, log_cosh = 5, _log_cosh.kernel


@inline
def poisson_pair(a, t, constant):
    """Return (e**a - t * a + constant * (t * log(t) - t), e**a - t)."""
    zero, mean = like(a, 0.0), _math.exp(a)
    entropy = t * _math.log(t) if t > zero else zero
    return (mean - t * a) + like(a, constant) * (entropy - t), mean - t


_poisson = Loss("poisson", poisson_pair, parameters=(0.0,))
POISSON, poisson = 6, _poisson.kernel


@inline
def quantile_pair(a, t, share):
    """Return ((1 - share) * d, 1 - share) where d > 0, else (-share * d, -share), d = a - t; at d = 0 the slope is 0."""
    d = a - t
    zero, above, below = like(a, 0.0), like(a, 1.0 - share), -like(a, share)
    slope = above if d > zero else (below if d < zero else d)
    return (above if d > zero else below) * d, slope


_quantile = Loss("quantile", quantile_pair, parameters=(0.5,))
QUANTILE, quantile = 7, _quantile.kernel


@inline
def hinge_pair(a, t):
    """Return (m, 1 - 2t) where m = 1 - (2t - 1) * a is above 0, else (0, 0)."""
    zero, one = like(a, 0.0), like(a, 1.0)
    sign = t + t - one
    m = one - sign * a
    return zero if m < zero else m, zero if m <= zero else (-sign if m > zero else m)


_hinge = Loss("hinge", hinge_pair)
HINGE, hinge = 8, _hinge.kernel


@inline
def squared_hinge_pair(a, t):
    """Return (m**2, (2 - 4t) * m) with m = max(1 - (2t - 1) * a, 0)."""
    zero, one = like(a, 0.0), like(a, 1.0)
    sign = t + t - one
    m = one - sign * a
    m = zero if m < zero else m
    return m * m, like(a, -2.0) * (sign * m)


_squared_hinge = Loss("squared_hinge", squared_hinge_pair)
SQUARED_HINGE, squared_hinge = 9, _squared_hinge.kernel

_LEAST = (np.float32(1e-37), 1e-300)


@inline
def binary_focal_pair(a, t, gamma):
    """Return (c * m**gamma, (p - t) * m**gamma - c * gamma * m**(gamma - 1) * p * (1 - p) * (2t - 1)).

    c is the cross-entropy, p = sigmoid(a), m = p + t - 2 * p * t how far p is off.
    """
    one = like(a, 1.0)
    entropy, away = sigmoid_cross_entropy_pair(a, t)
    e = _math.exp(-absolute(a))
    p, rest = (e if a < like(a, 0.0) else one) / (one + e), (one if a < like(a, 0.0) else e) / (one + e)
    m = p * (one - t) + rest * t
    gamma, least = like(a, gamma), choose(a, _LEAST)
    m = least if m < least else m
    power = _math.exp(gamma * _math.log(m))
    return entropy * power, power * (away - entropy * gamma * ((p * rest) / m) * (t + t - one))


_binary_focal = Loss("binary_focal", binary_focal_pair, parameters=(2.0,))
BINARY_FOCAL, binary_focal = 10, _binary_focal.kernel


LOSSES: dict[int, Loss] = {
    BINARY_CROSS_ENTROPY: _sigmoid_cross_entropy,
    SQUARED_ERROR: _squared_error,
    ABSOLUTE_ERROR: _absolute_error,
    HUBER: _huber,
    LOG_COSH: _log_cosh,
    POISSON: _poisson,
    QUANTILE: _quantile,
    HINGE: _hinge,
    SQUARED_HINGE: _squared_hinge,
    BINARY_FOCAL: _binary_focal,
}


@dataclass(frozen=True)
class RowLoss:
    """A loss of whole rows; its task is in `row_losses`.

    Attributes
    ----------
    name : str
    parameters : tuple of float
        Numbers of the function, as in its default.
    """

    name: str
    parameters: tuple[float, ...]


CROSS_ENTROPY, FOCAL, GAUSSIAN_NLL = 0, 11, 12
ROW_LOSSES: dict[int, RowLoss] = {
    CROSS_ENTROPY: RowLoss("cross_entropy", (0.0,)),  # the share of label smoothing
    FOCAL: RowLoss("focal", (2.0,)),  # gamma
    GAUSSIAN_NLL: RowLoss("gaussian_nll", (1e-6,)),  # the least variance
}
OF_LABELS = (CROSS_ENTROPY, FOCAL)
# The last activations that are left out under a loss, which takes what stands before them.
FUSED: dict[Any, tuple[int, ...]] = {
    CROSS_ENTROPY: (SOFTMAX, LOG_SOFTMAX),
    FOCAL: (SOFTMAX, LOG_SOFTMAX),
    BINARY_CROSS_ENTROPY: (SIGMOID,),
    BINARY_FOCAL: (SIGMOID,),
    POISSON: (EXPONENTIAL,),
}


def parameters_of(loss: int | Loss) -> tuple[float, ...]:
    """Return the numbers of a loss, as in its default."""
    return loss.parameters if isinstance(loss, Loss) else (LOSSES | ROW_LOSSES)[loss].parameters


if not TYPE_CHECKING:  # a type checker, which does not read tables, takes every name for public
    __all__ = sorted(
        {
            "BINARY_CROSS_ENTROPY",
            "LOSSES",
            "ROW_LOSSES",
            "loss_scale",
            "softmax_cross_entropy",
            "softmax_cross_entropy_dense",
        }.union(
            (one.name for one in LOSSES.values()),
            (one.name.upper() for one in (*LOSSES.values(), *ROW_LOSSES.values()) if one is not _sigmoid_cross_entropy),
        )
    )


_check = door("softmax_cross_entropy", "logits dlogits", "dlogits", replaces="logits", others="labels", n_axes=2)
_check_dense = door("softmax_cross_entropy_dense", "logits targets dlogits", "dlogits", n_axes=2)


@kernel
def softmax_cross_entropy(logits, labels, scale, dlogits):
    """Return scale * sum(log(sum(e**logits)) - logits[label]), with dlogits = scale * (softmax(logits) - one-hot(labels)).

    Parameters
    ----------
    logits : float32 or float64 array (n, m)
    labels : integer array (n,)
        0 <= label < m.
    scale : float
    dlogits : array (n, m) of that dtype, overwritten
        May be logits; otherwise it shares no memory with the others.

    Raises
    ------
    ValueError
        Before anything is written, if a label is out of range or the shapes don't fit.
    """
    _check((logits, dlogits, labels))
    check_numbers("softmax_cross_entropy: scale", scale)
    if not is_integer(labels):
        raise TypeError("softmax_cross_entropy: labels must be integers")
    if labels.shape[0] != logits.shape[0]:
        raise ValueError("softmax_cross_entropy: labels must be one for each row of logits")
    n, m = logits.shape
    for i in range(n):
        if labels[i] < 0 or labels[i] >= m:
            raise ValueError("softmax_cross_entropy: labels must be at least 0 and less than the number of columns of logits")
    loss = 0.0
    for i in range(n):
        z, row, label = logits[i], dlogits[i], labels[i]
        for j in range(m):
            row[j] = z[j]
        chosen = np.float64(row[label])
        top = exp_row(row)
        total = sum_elements(row)
        loss += _math.log(total) - (chosen - top)
        for j in range(m):
            row[j] *= like(row[j], scale / total)
        row[label] -= like(row[label], scale)
    return scale * loss


@kernel
def softmax_cross_entropy_dense(logits, targets, scale, dlogits):
    """Return scale * sum(targets * (log(sum(e**logits)) - logits)), with dlogits = scale * (softmax(logits) * sum(targets) - targets).

    Parameters
    ----------
    logits : float32 or float64 array (n, m)
    targets : array (n, m) of the same dtype
        Probabilities, such as one-hot rows; the sum of a row may differ from 1.
    scale : float
    dlogits : array (n, m), overwritten
        Shares no memory with logits and targets.
    """
    _check_dense((logits, targets, dlogits))
    check_numbers("softmax_cross_entropy_dense: scale", scale)
    n, m = logits.shape
    loss = 0.0
    for i in range(n):
        z, t, row = logits[i], targets[i], dlogits[i]
        for j in range(m):
            row[j] = z[j]
        top = exp_row(row)
        total = sum_elements(row)
        shift = _math.log(total) + top
        for j in range(m):
            loss += t[j] * (shift - z[j])
        share = sum_elements(t) / total
        for j in range(m):
            row[j] = like(row[j], scale) * (row[j] * like(row[j], share) - t[j])
    return scale * loss
