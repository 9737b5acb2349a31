"""What a prediction is judged by. Every function takes targets and outputs and returns a float.

Targets and outputs have shape (n_rows, n_outputs), labels (n_rows,). Targets and outputs of one column may come without it,
as (n_rows,); any other difference in shape is refused. Everything is calculated in float64.

Raises ValueError where the shapes do not belong together or there is no row, TypeError where something is not numbers.
"""

from __future__ import annotations

import numpy as np

from . import validation
from .losses import CrossEntropy, Loss
from .validation import Array

UPWARDS = ("accuracy", "r2")  # what is better when it is larger
METRICS = ("accuracy", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "max_error", "r2")


def accuracy(y: Array, outputs: Array) -> float:
    """Return the share of right decisions.

    Parameters
    ----------
    y : ndarray
        Labels of shape (n_rows,) or (n_rows, 1): then the largest output decides, a single one by whether it reaches 0.5.
        Or targets of the shape of `outputs`, several labels a row: each decides at 0.5.
    outputs : ndarray of shape (n_rows, n_outputs)
        A row with NaN is never right.

    Examples
    --------
    >>> accuracy(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]))
    0.6666666666666666
    >>> accuracy(np.array([[0.0], [1.0]]), np.array([[0.4], [0.7]]))
    1.0
    """
    y, outputs = (validation.not_empty(name, np.atleast_1d(validation.array(name, A))) for name, A in (("y", y), ("outputs", outputs)))
    if outputs.ndim == 2 and outputs.shape[1] > 1 and y.shape in ((len(outputs),), (len(outputs), 1)):
        right = (outputs.argmax(axis=1) == y.reshape(-1)) & ~np.isnan(outputs).any(axis=1)
    else:
        y, outputs = _alike(y, outputs)
        right = ((outputs >= 0.5) == (y >= 0.5)) & ~np.isnan(outputs)
    return float(np.mean(right))


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
    y, outputs = _alike(y, outputs)
    residual = np.sum((outputs - y) ** 2, axis=0)
    total = np.sum((y - y.mean(axis=0)) ** 2, axis=0)
    constant = y.max(axis=0) == y.min(axis=0)  # their mean is rounded, so the sum of squares need not be 0
    score = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(np.mean(score))


def _alike(y: Array, outputs: Array) -> tuple[Array, Array]:
    """Return targets and outputs in float64, of one shape: without it NumPy would compare every row with every other one."""
    y, outputs = (validation.not_empty(name, np.atleast_1d(validation.array(name, A))).astype(np.float64) for name, A in (("y", y), ("outputs", outputs)))
    if y.ndim != outputs.ndim:
        y, outputs = (A[:, None] if A.ndim == 1 else A for A in (y, outputs))
    if y.shape != outputs.shape:
        raise ValueError(f"y must have the shape of outputs, {outputs.shape}; got {y.shape}.")
    return y, outputs


def _difference(y: Array, outputs: Array) -> Array:
    y, outputs = _alike(y, outputs)
    return outputs - y


def metric_names(loss: Loss) -> tuple[str, ...]:
    """Return the names of what `metrics_for` gives."""
    return METRICS[:1] if loss.classification else METRICS[1:]


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
