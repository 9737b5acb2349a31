"""What a prediction is judged by. Every function takes targets and outputs and returns a float.

Targets and outputs have shape (n_rows, n_outputs); labels have shape (n_rows,).
"""

from __future__ import annotations

import numpy as np

from .losses import CrossEntropy, Loss
from .validation import Array


def accuracy(y: Array, outputs: Array) -> float:
    """Return the share of right decisions.

    Parameters
    ----------
    y : ndarray
        Labels of shape (n_rows,), then the largest output decides; or targets of the shape of `outputs`: rows that
        `outputs` of one column or several labels a row meet one by one at 0.5.
    outputs : ndarray of shape (n_rows, n_outputs)

    Examples
    --------
    >>> accuracy(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]))
    0.6666666666666666
    >>> accuracy(np.array([[0.0], [1.0]]), np.array([[0.4], [0.7]]))
    1.0
    """
    if y.ndim == 1:
        return float(np.mean(outputs.argmax(axis=1) == y))
    return float(np.mean((outputs >= 0.5) == (y >= 0.5)))


def mean_absolute_error(y: Array, outputs: Array) -> float:
    """Return `mean(abs(outputs - y))`.

    Examples
    --------
    >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    1.5
    """
    return float(np.mean(np.abs(_difference(y, outputs))))


def mean_squared_error(y: Array, outputs: Array) -> float:
    """Return `mean((outputs - y)**2)`.

    Examples
    --------
    >>> mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    4.5
    """
    return float(np.mean(_difference(y, outputs) ** 2))


def max_error(y: Array, outputs: Array) -> float:
    """Return `max(abs(outputs - y))`.

    Examples
    --------
    >>> max_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    3.0
    """
    return float(np.max(np.abs(_difference(y, outputs))))


def r2(y: Array, outputs: Array) -> float:
    """Return `1 - sum((outputs - y)**2) / sum((y - mean(y))**2)`, the mean of it over several outputs.

    A column of equal targets has nothing to explain: it counts as 1 where it is met exactly, else as 0.

    Examples
    --------
    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    0.5
    """
    residual = np.sum(_difference(y, outputs) ** 2, axis=0)
    total = np.sum((y - y.mean(axis=0, dtype=np.float64)) ** 2, axis=0, dtype=np.float64)
    constant = total == 0
    score = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(np.mean(score))


def _difference(y: Array, outputs: Array) -> Array:
    return outputs.astype(np.float64) - y


def metrics_for(loss: Loss, y: Array, outputs: Array) -> dict[str, float]:
    """Return what belongs to the task of a loss: the accuracy, or mean absolute and squared error and R2."""
    if isinstance(loss, CrossEntropy):
        return {"accuracy": accuracy(y if y.ndim == 1 else y.argmax(axis=1), outputs)}
    if loss.classification:
        return {"accuracy": accuracy(y, outputs)}
    return {
        "mean_absolute_error": mean_absolute_error(y, outputs),
        "mean_squared_error": mean_squared_error(y, outputs),
        "root_mean_squared_error": mean_squared_error(y, outputs) ** 0.5,
        "max_error": max_error(y, outputs),
        "r2": r2(y, outputs),
    }
