"""Losses and their gradients in one call: `loss = scale * sum(...)` is returned, its gradient is written.

`scale` says what is averaged: `loss_scale(n_rows, n_outputs, True, False)` is the mean over rows of sums over outputs,
PyTorch's default for cross-entropy; `loss_scale(n_rows, n_outputs, True, True)` the mean over all elements, its default
for the others. Cross-entropies take logits, what stands before the softmax or the sigmoid: so they are finite for any
finite logits. Sums are taken in float64, in a fixed order.
"""

from __future__ import annotations

import numpy as np

from . import _math
from ._activations import exp_row
from ._bits import absolute, like
from ._elements import sum_elements
from ._jit import inline, kernel

__all__ = [
    "ABSOLUTE_ERROR",
    "BINARY_CROSS_ENTROPY",
    "CROSS_ENTROPY",
    "HUBER",
    "SQUARED_ERROR",
    "absolute_error",
    "huber",
    "loss_scale",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "softmax_cross_entropy_dense",
    "squared_error",
]

CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, ABSOLUTE_ERROR, HUBER = range(5)

exp, log, log1p = _math.exp, _math.log, _math.log1p


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
    e = exp(-absolute(a))
    above = zero if a < zero else a
    return (above - a * t) + log1p(e), (e if a < zero else one) / (one + e) - t


@inline
def squared_error_pair(a, t):
    """Return ((a - t)**2, 2 * (a - t))."""
    d = a - t
    return d * d, d + d


@inline
def absolute_error_pair(a, t):
    """Return (|a - t|, sign of a - t)."""
    d = a - t
    zero, one = like(a, 0.0), like(a, 1.0)
    return absolute(d), one if d > zero else (-one if d < zero else d)


@inline
def huber_pair(a, t, delta):
    """Return (d**2 / 2, d) where |d| <= delta, else (delta * (|d| - delta / 2), delta * sign of d), d = a - t."""
    d = a - t
    delta, half = like(a, delta), like(a, 0.5)
    size = absolute(d)
    slope = delta if d > delta else (-delta if d < -delta else d)
    return delta * (size - half * delta) if size > delta else half * (d * d), slope


@inline
def elementwise_loss(loss, a, t, delta):
    """Return the (value, derivative) of a loss known at run time only; for BINARY_CROSS_ENTROPY a is a logit."""
    if loss == BINARY_CROSS_ENTROPY:
        return sigmoid_cross_entropy_pair(a, t)
    if loss == SQUARED_ERROR:
        return squared_error_pair(a, t)
    if loss == ABSOLUTE_ERROR:
        return absolute_error_pair(a, t)
    return huber_pair(a, t, delta)


@kernel
def softmax_cross_entropy(logits, labels, scale, dlogits):
    """Return scale * sum(log(sum(e**logits)) - logits[label]), with dlogits = scale * (softmax(logits) - one-hot(labels)).

    Parameters
    ----------
    logits : float32 or float64 array (n, m)
    labels : integer array (n,)
        0 <= label < m.
    scale : float
    dlogits : array (n, m), overwritten
        May be logits.

    Raises
    ------
    ValueError
        Before anything is written, if a label is out of range or the shapes don't fit.
    """
    if logits.shape != dlogits.shape:
        raise ValueError("softmax_cross_entropy: dlogits must have the shape of logits")
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
        loss += log(total) - (chosen - top)
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
    if logits.shape != dlogits.shape or logits.shape != targets.shape:
        raise ValueError("softmax_cross_entropy_dense: targets and dlogits must have the shape of logits")
    if _is_one_of(dlogits, logits, targets):
        raise ValueError("softmax_cross_entropy_dense: dlogits must be another array than logits and targets")
    n, m = logits.shape
    loss = 0.0
    for i in range(n):
        z, t, row = logits[i], targets[i], dlogits[i]
        for j in range(m):
            row[j] = z[j]
        top = exp_row(row)
        total = sum_elements(row)
        shift = log(total) + top
        for j in range(m):
            loss += t[j] * (shift - z[j])
        share = sum_elements(t) / total
        for j in range(m):
            row[j] = like(row[j], scale) * (row[j] * like(row[j], share) - t[j])
    return scale * loss


@inline
def _is_one_of(out, A, T):
    """Whether out is A or T."""
    return out.size > 0 and (out.ctypes.data == A.ctypes.data or out.ctypes.data == T.ctypes.data)


# The gradient's place takes the values first: so both loops vectorize, where a sum inside would keep them from it.


@inline
def _sum_and_gradient(loss, A, T, delta, scale, dA):
    """Return scale * sum(values) of an elementwise loss, with dA = scale * derivatives."""
    a, t, d = A.flat, T.flat, dA.flat
    for i in range(dA.size):
        d[i], _ = elementwise_loss(loss, a[i], t[i], delta)
    total = sum_elements(dA)
    for i in range(dA.size):
        _, slope = elementwise_loss(loss, a[i], t[i], delta)
        d[i] = like(slope, scale) * slope
    return scale * total


@kernel
def sigmoid_cross_entropy(logits, targets, scale, dlogits):
    """Return scale * sum(log(1 + e**logits) - logits * targets), with dlogits = scale * (sigmoid(logits) - targets).

    Parameters
    ----------
    logits : float32 or float64 array of any shape
    targets : array of that shape and dtype
        Probabilities, such as 0 and 1; with several columns, of several labels each.
    scale : float
    dlogits : array of that shape, overwritten
        Shares no memory with logits and targets.
    """
    if logits.shape != targets.shape or logits.shape != dlogits.shape:
        raise ValueError("sigmoid_cross_entropy: targets and dlogits must have the shape of logits")
    if _is_one_of(dlogits, logits, targets):
        raise ValueError("sigmoid_cross_entropy: dlogits must be another array than logits and targets")
    return _sum_and_gradient(BINARY_CROSS_ENTROPY, logits, targets, 0.0, scale, dlogits)


@kernel
def squared_error(A, T, scale, dA):
    """Return scale * sum((A - T)**2), with dA = 2 * scale * (A - T).

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Outputs.
    T : array of that shape and dtype
        Targets.
    scale : float
    dA : array of that shape, overwritten
        Shares no memory with A and T.
    """
    if A.shape != T.shape or A.shape != dA.shape:
        raise ValueError("squared_error: T and dA must have the shape of A")
    if _is_one_of(dA, A, T):
        raise ValueError("squared_error: dA must be another array than A and T")
    return _sum_and_gradient(SQUARED_ERROR, A, T, 0.0, scale, dA)


@kernel
def absolute_error(A, T, scale, dA):
    """Return scale * sum(|A - T|), with dA = scale * sign(A - T), 0 where they are equal.

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Outputs.
    T : array of that shape and dtype
        Targets.
    scale : float
    dA : array of that shape, overwritten
        Shares no memory with A and T.
    """
    if A.shape != T.shape or A.shape != dA.shape:
        raise ValueError("absolute_error: T and dA must have the shape of A")
    if _is_one_of(dA, A, T):
        raise ValueError("absolute_error: dA must be another array than A and T")
    return _sum_and_gradient(ABSOLUTE_ERROR, A, T, 0.0, scale, dA)


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
    dA : array of that shape, overwritten
        Shares no memory with A and T.

    References
    ----------
    Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35 (1964).
    """
    if A.shape != T.shape or A.shape != dA.shape:
        raise ValueError("huber: T and dA must have the shape of A")
    if _is_one_of(dA, A, T):
        raise ValueError("huber: dA must be another array than A and T")
    return _sum_and_gradient(HUBER, A, T, delta, scale, dA)
