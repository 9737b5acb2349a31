"""What a prediction is judged by. Every function takes targets and outputs and returns a float; `METRICS` names them.

Targets and outputs have shape (n_rows, n_outputs), labels (n_rows,). Targets and outputs of one column may come without it,
as (n_rows,); any other difference in shape is refused. Outputs of classes are probabilities: one column for each class, or
one for each of several labels that a row may have. Everything is calculated in float64. `sample_weight`, of shape (n_rows,),
says how often a row counts.

Raises ValueError where the shapes do not belong together or there is no row, TypeError where something is not numbers.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from . import validation
from .losses import ClassLoss, Loss
from .validation import Array


class _Decisions(NamedTuple):
    """One question for every row: the class that is right, the one decided for (-1 after NaN), a score for each class."""

    labels: Array
    decided: Array
    scores: Array


def _decisions(y: Array, outputs: Array) -> list[_Decisions]:
    """Return what is decided for each row: one class of several, or for each column yes or no, at 0.5."""
    y, outputs = (validation.not_empty(name, np.atleast_1d(validation.array(name, A))) for name, A in (("y", y), ("outputs", outputs)))
    if outputs.ndim == 2 and outputs.shape[1] > 1 and y.shape in ((len(outputs),), (len(outputs), 1)):
        n_classes = outputs.shape[1]
        validation.finite("y", y)
        validation.inside("y", y, 0, n_classes - 1, f"hold labels from 0 to {n_classes - 1}, one for each output")
        decided = np.where(np.isnan(outputs).any(axis=1), -1, outputs.argmax(axis=1))
        return [_Decisions(y.reshape(-1).astype(np.int64), decided, outputs.astype(np.float64))]
    y, outputs = (A.reshape(len(A), -1) for A in _alike(y, outputs))
    decided = np.where(np.isnan(outputs), -1, outputs >= 0.5)
    labels = (y >= 0.5).astype(np.int64)
    return [_Decisions(labels[:, j], decided[:, j], np.stack([1 - outputs[:, j], outputs[:, j]], axis=1)) for j in range(y.shape[1])]


def _mean(values: Any, sample_weight: Array | None) -> float:
    """Return the mean of numbers over rows, or of rows of numbers over both; rows count as often as their weights say."""
    return float(np.mean(values) if sample_weight is None else np.mean(np.average(values, axis=0, weights=sample_weight)))


def accuracy(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
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
    return _mean(np.stack([one.decided == one.labels for one in _decisions(y, outputs)], axis=1), sample_weight)


def confusion_matrix(y: Array, outputs: Array) -> Array:
    """Return how many rows of each class, one to a row of the matrix, were decided to be of each class; rows with NaN are left out.

    Raises
    ------
    ValueError
        If a row has several labels.

    Examples
    --------
    >>> confusion_matrix(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]))
    array([[1, 0],
           [1, 1]])
    """
    found = _decisions(y, outputs)
    if len(found) > 1:
        raise ValueError(f"y must hold one label a row for a confusion matrix; got {len(found)} columns.")
    return _confusion(found[0], None)


def _confusion(one: _Decisions, sample_weight: Array | None) -> Array:
    n, known = one.scores.shape[1], one.decided >= 0
    weights = None if sample_weight is None else sample_weight[known]
    return np.bincount(one.labels[known] * n + one.decided[known], weights, minlength=n * n).reshape(n, n)


def balanced_accuracy(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return the mean over the classes of the share of their rows that is decided right; over several labels the mean of it.

    Examples
    --------
    >>> balanced_accuracy(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]))
    0.75
    """
    return float(np.mean([_mean_recall(one, sample_weight) for one in _decisions(y, outputs)]))


def _mean_recall(one: _Decisions, sample_weight: Array | None) -> Any:
    there = np.bincount(one.labels, sample_weight, minlength=one.scores.shape[1])
    right = np.diag(_confusion(one, sample_weight))
    return np.mean(right[there > 0] / there[there > 0])


def f1(y: Array, outputs: Array, macro: bool = False, sample_weight: Array | None = None) -> float:
    """Return `2 * precision * recall / (precision + recall)` of class 1 of two; of more classes or labels the mean over all.

    Parameters
    ----------
    y, outputs : ndarray
        See `accuracy`.
    macro : bool
        Whether it is the mean over both classes also where there are two. Classes neither there nor decided for do not count.

    Examples
    --------
    >>> f1(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]))
    0.6666666666666666
    """
    return float(np.mean([_f1(one, macro, sample_weight) for one in _decisions(y, outputs)]))


def _f1(one: _Decisions, macro: bool, sample_weight: Array | None) -> Any:
    n, confusion = one.scores.shape[1], _confusion(one, sample_weight)
    counts = np.bincount(one.labels, sample_weight, minlength=n) + confusion.sum(axis=0)
    each = 2 * np.diag(confusion) / np.where(counts > 0, counts, 1)
    return np.mean(each[counts > 0]) if macro or n > 2 else each[1]


def roc_auc(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return the probability that a row of a class has a larger output for it than a row of another one, ties half.

    It is the area under the ROC curve of class 1 of two, otherwise the mean of those of all classes or labels, each against the
    rest. A class that no row or every row has does not count; NaN where no class does, or outputs are NaN.

    References
    ----------
    Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006.

    Examples
    --------
    >>> roc_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    areas, weights = [], np.ones(len(outputs)) if sample_weight is None else sample_weight
    for one in _decisions(y, outputs):
        n = one.scores.shape[1]
        areas += [_area(one.labels == k, one.scores[:, k], weights) for k in (range(n) if n > 2 else [1])]
    found = [area for area in areas if area is not None]
    return float(np.mean(found)) if found else float("nan")


def _area(positive: Array, scores: Array, weights: Array) -> float | None:
    """Return the area under the ROC curve: what of the others lies below each row of a class, ties half; None where one side is empty."""
    n, m = weights[positive].sum(), weights[~positive].sum()
    if n == 0 or m == 0:
        return None
    if np.isnan(scores).any():
        return float("nan")
    place = np.unique(scores, return_inverse=True)[1]
    others = np.bincount(place, np.where(positive, 0.0, weights))
    below = np.cumsum(others) - others / 2
    return float((weights * below[place])[positive].sum() / (n * m))


def log_loss(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return `-mean(log(p))`, p the probability that the outputs give to what is right, at least the eps of their dtype.

    Examples
    --------
    >>> round(log_loss(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])), 6)
    0.164252
    """
    dtype = np.asarray(outputs).dtype
    eps = float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)
    found = _decisions(y, outputs)
    right = np.concatenate([np.take_along_axis(one.scores, one.labels[:, None], axis=1) for one in found], axis=1)
    return -_mean(np.log(np.clip(right, eps, 1 - eps)), sample_weight)


def top_k_accuracy(y: Array, outputs: Array, k: int = 2, sample_weight: Array | None = None) -> float:
    """Return the share of rows whose class is among the `k` with the largest outputs; of equal ones the first count as larger.

    Examples
    --------
    >>> top_k_accuracy(np.array([2, 0]), np.array([[0.5, 0.1, 0.4], [0.2, 0.5, 0.3]]))
    0.5
    """
    validation.integer("k", k, 1)
    found = []
    for labels, decided, scores in _decisions(y, outputs):
        own, columns = np.take_along_axis(scores, labels[:, None], axis=1), np.arange(scores.shape[1])
        before = np.sum((scores > own) | ((scores == own) & (columns < labels[:, None])), axis=1)
        found.append((before < k) & (decided >= 0))
    return _mean(np.stack(found, axis=1), sample_weight)


def mean_absolute_error(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return `mean(abs(outputs - y))`.

    Examples
    --------
    >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    1.5
    """
    return _mean(np.abs(_difference(y, outputs)), sample_weight)


def mean_squared_error(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return `mean((outputs - y)**2)`.

    Examples
    --------
    >>> mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    4.5
    """
    return _mean(_difference(y, outputs) ** 2, sample_weight)


def root_mean_squared_error(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return `sqrt(mean((outputs - y)**2))`.

    Examples
    --------
    >>> root_mean_squared_error(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    1.0
    """
    return float(np.sqrt(mean_squared_error(y, outputs, sample_weight)))


def mean_absolute_percentage_error(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return `mean(abs(outputs - y) / abs(y))`, a share and not percents; targets of 0 count as float64's eps.

    Examples
    --------
    >>> mean_absolute_percentage_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    0.75
    """
    y, outputs = _alike(y, outputs)
    return _mean(np.abs(outputs - y) / np.maximum(np.abs(y), np.finfo(np.float64).eps), sample_weight)


def quantile_loss(y: Array, outputs: Array, q: float = 0.5, sample_weight: Array | None = None) -> float:
    """Return `mean(max(q * (y - outputs), (q - 1) * (y - outputs)))`, least where a share q of the targets lies below the outputs.

    Examples
    --------
    >>> quantile_loss(np.array([1.0, 2.0]), np.array([0.0, 4.0]), q=0.9)
    0.55
    """
    q, difference = validation.number("q", q, 0.0, 1.0), _difference(y, outputs)
    return _mean(np.maximum(-q * difference, (1 - q) * difference), sample_weight)


def max_error(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return `max(abs(outputs - y))` over the rows whose weight is not 0.

    Examples
    --------
    >>> max_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    3.0
    """
    difference = _difference(y, outputs)
    return float(np.max(np.abs(difference if sample_weight is None else difference[sample_weight > 0])))


def r2(y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return `1 - sum((outputs - y)**2) / sum((y - mean(y))**2)`, the mean of it over several outputs.

    A column of equal targets has nothing to explain: it counts as 1 where it is met exactly, else as 0.

    Examples
    --------
    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    0.5
    """
    y, outputs = _alike(y, outputs)
    weights: Any = 1.0
    if sample_weight is not None:
        counts = sample_weight > 0
        y, outputs, weights = y[counts], outputs[counts], sample_weight[counts].reshape(-1, *[1] * (y.ndim - 1))
    residual = np.sum(weights * (outputs - y) ** 2, axis=0)
    mean = y.mean(axis=0) if sample_weight is None else np.sum(weights * y, axis=0) / np.sum(weights)
    total = np.sum(weights * (y - mean) ** 2, axis=0)
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


@dataclass(frozen=True)
class Metric:
    """A function that judges outputs, and what is known of it.

    Parameters
    ----------
    function : callable (y, outputs) -> float
        y are the checked targets: labels (n_rows,) for classes, else (n_rows, n_outputs). Outputs are those of `predict`;
        of classes they are probabilities. Weights of the rows are handed to one that has an argument `sample_weight`.
    upwards : bool, optional
        Whether a larger value is better. Left out, a callback that needs to know must be told.
    classes : bool, optional
        Whether it is for classes, or not; left out, for both.
    """

    function: Callable[[Array, Array], float]
    upwards: bool | None = None
    classes: bool | None = None


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, True, True),
    "balanced_accuracy": Metric(balanced_accuracy, True, True),
    "f1": Metric(f1, True, True),
    "f1_macro": Metric(functools.partial(f1, macro=True), True, True),
    "roc_auc": Metric(roc_auc, True, True),
    "log_loss": Metric(log_loss, False, True),
    "top_2_accuracy": Metric(functools.partial(top_k_accuracy, k=2), True, True),
    "top_3_accuracy": Metric(functools.partial(top_k_accuracy, k=3), True, True),
    "top_5_accuracy": Metric(functools.partial(top_k_accuracy, k=5), True, True),
    "mean_absolute_error": Metric(mean_absolute_error, False, False),
    "mean_squared_error": Metric(mean_squared_error, False, False),
    "root_mean_squared_error": Metric(root_mean_squared_error, False, False),
    "mean_absolute_percentage_error": Metric(mean_absolute_percentage_error, False, False),
    "max_error": Metric(max_error, False, False),
    "quantile_loss": Metric(quantile_loss, False, False),
    "r2": Metric(r2, True, False),
    "mae": Metric(mean_absolute_error, False, False),
    "mse": Metric(mean_squared_error, False, False),
    "rmse": Metric(root_mean_squared_error, False, False),
    "mape": Metric(mean_absolute_percentage_error, False, False),
}
DEFAULTS = {
    True: ("accuracy",),
    False: ("mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "max_error", "r2"),
}
# What names in the logs say: whether larger is better. "val_score" is that of the estimators, accuracy or R2.
NAMED: dict[str, bool | None] = {"loss": False, "seconds": False, "val_score": True}
NAMED |= {name: one.upwards for name, one in METRICS.items()}
NAMED |= {f"neg_{name}": True for name, one in METRICS.items() if not one.upwards}


def checked_metrics(metrics: Any, loss: Loss) -> dict[str, Metric]:
    """Return the metrics that are meant, by the names that they get in the logs.

    Parameters
    ----------
    metrics : str, function, Metric, a sequence or a dict of them, or None
        Names in `METRICS`, or functions (y, outputs) -> float, which are called by their own name, or by the key of a dict; or
        scorers of scikit-learn, such as `get_scorer("neg_log_loss")`, or their names. A scorer is called by the name of its
        function, with "neg_" before it where it gives the negative.
        None: what belongs to the task of the loss.
    loss : Loss
        Of the fit.

    Examples
    --------
    >>> from fastnn.losses import SquaredError
    >>> list(checked_metrics(["rmse", "r2"], SquaredError()))
    ['rmse', 'r2']
    >>> checked_metrics("accuracy", SquaredError())
    Traceback (most recent call last):
    ValueError: metrics must fit the loss, 'squared_error'; got 'accuracy', which is for classes.
    """
    if metrics is None:
        metrics = DEFAULTS[loss.classification]
    if isinstance(metrics, (str, Metric)) or callable(metrics) or not isinstance(metrics, Iterable):
        metrics = [metrics]
    pairs = metrics.items() if isinstance(metrics, Mapping) else [(_name(one), one) for one in metrics]
    found: dict[str, Metric] = {}
    for given, one in pairs:
        name = validation.text("a name in metrics", given)
        if name in found or name == "loss":
            raise ValueError(f"metrics must have different names, none of them 'loss'; got {name!r}. Name functions by a dict.")
        found[name] = _metric(one, loss)
    return found


def _name(metric: Any) -> str:
    """Return what a metric is called in the logs: as its function, after "neg_" for a scorer that gives the negative of it."""
    if isinstance(metric, str):
        return metric
    function = metric.function if isinstance(metric, Metric) else metric
    sign = "neg_" if getattr(function, "_sign", 1) < 0 else ""
    function = getattr(function, "func", getattr(function, "_score_func", function))  # of a partial, of a scorer
    return sign + str(getattr(function, "__name__", type(function).__name__))


def _metric(one: Any, loss: Loss) -> Metric:
    """Return a metric that fits a loss."""
    metric = _named(one) if isinstance(one, str) else one
    if callable(metric):
        metric = Metric(metric, _direction(metric))
    if not isinstance(metric, Metric):
        raise TypeError(f"metrics must be names or functions (y, outputs) -> float; got {validation.shown(one)}.")
    if type(metric.function).__module__.startswith("sklearn."):
        function = functools.partial(_scored, metric.function, loss.classification)
        metric = replace(metric, function=function, upwards=True if metric.upwards is None else metric.upwards)
    if metric.classes is not None and metric.classes != loss.classification:
        kind = "classes" if metric.classes else "numbers"
        raise ValueError(f"metrics must fit the loss, {loss.name!r}; got {one!r}, which is for {kind}.")
    return metric


def _direction(function: Any) -> bool | None:
    """Return whether a larger value of a function is better, also with some arguments fixed, if it is one of this module."""
    return next((one.upwards for one in METRICS.values() if _whole(one.function) is _whole(function)), None)


def _whole(function: Any) -> Any:
    return function.func if isinstance(function, functools.partial) else function


def _named(name: str) -> Any:
    """Return the metric of a name, or the scorer of scikit-learn."""
    if name in METRICS:
        return METRICS[name]
    from . import exchange_sklearn

    try:
        scorers = exchange_sklearn.scorers()
    except ImportError:
        help_ = "Names of scikit-learn's scorers need it: pip install 'fastnn[sklearn]'."
        raise ValueError(f"metrics must be one of {', '.join(METRICS)}; got {name!r}. {help_}") from None
    return scorers.get_scorer(validation.choice("metrics", name, [*METRICS, *_scorer_names()]))


def _scorer_names() -> list[str]:
    """Return the names of scikit-learn's scorers, none before it is imported: larger is better for all of them."""
    return list(sys.modules["sklearn.metrics"].get_scorer_names()) if "sklearn.metrics" in sys.modules else []


def _scored(scorer: Any, classes: bool, y: Array, outputs: Array, sample_weight: Array | None = None) -> float:
    """Return what a scorer of scikit-learn gives for outputs."""
    weights = {"sample_weight": sample_weight} if sample_weight is not None and _takes_weights(scorer._score_func) else {}
    if classes:
        y = (y if y.ndim == 1 else y >= 0.5).astype(np.int64)
        y = y if y.shape[1:] > (1,) else y.reshape(-1)
    score: float = scorer(_Answers(classes, y.ndim, outputs), outputs, y, **weights)
    return score


class _Answers:
    """What a scorer of scikit-learn asks an estimator for, when the outputs are there already."""

    def __init__(self, classes: bool, dimensions: int, outputs: Array) -> None:
        self._kind = "classifier" if classes else "regressor"
        self._outputs = outputs
        self.classes_: Any = None
        if classes and dimensions == 2:  # several labels a row
            self.classes_ = [np.arange(2)] * outputs.shape[1]
        elif classes:
            self._outputs = np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs
            self.classes_ = np.arange(self._outputs.shape[1])

    def __sklearn_tags__(self) -> Any:
        return SimpleNamespace(estimator_type=self._kind)

    def fit(self, X: Any, y: Any) -> _Answers:
        """Do nothing: a scorer looks for this."""
        return self

    def predict(self, X: Any) -> Array:
        """Return the classes decided for, or the numbers."""
        if self._kind == "regressor":
            return self._outputs
        if isinstance(self.classes_, list):
            return (self._outputs >= 0.5).astype(np.int64)
        two = self._outputs.shape[1] == 2
        labels: Array = self.classes_[(self._outputs[:, 1] >= 0.5).astype(np.int64) if two else self._outputs.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities."""
        return self._outputs


def values(metrics: Mapping[str, Metric], loss: Loss, y: Array, outputs: Array, sample_weight: Array | None = None) -> dict[str, float]:
    """Return what the metrics give for checked targets and the outputs of a network; weights go to those that take them.

    Rows of probabilities become labels, the logarithms of probabilities (log_softmax) become probabilities.
    """
    outputs = loss.predictions(outputs)
    if isinstance(loss, ClassLoss):
        y = y if y.ndim == 1 else y.argmax(axis=1)
        if outputs.max() <= 0:
            outputs = np.exp(outputs)
    found = {}
    for name, metric in metrics.items():
        takes = sample_weight is not None and _takes_weights(metric.function)
        value = metric.function(y, outputs, **{"sample_weight": sample_weight} if takes else {})
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metrics must return a number; got {validation.shown(value)} from {name!r}.") from None
    return found


def _takes_weights(function: Any) -> bool:
    """Return whether a function has an argument for the weights of rows."""
    with contextlib.suppress(ValueError):  # of one in C nothing is known
        return "sample_weight" in inspect.signature(function).parameters
    return False


def quantity(name: str) -> str:
    """Return what an entry of the logs measures, without the name of the set; the name itself where nobody knows it.

    Examples
    --------
    >>> quantity("val_balanced_accuracy"), quantity("test_loss"), quantity("val_regret")
    ('balanced_accuracy', 'loss', 'val_regret')
    """
    return _known(name, ("loss", *METRICS, *_scorer_names()))


def _known(name: str, names: Iterable[str]) -> str:
    return max((one for one in names if name == one or name.endswith(f"_{one}")), key=len, default=name)


def improves_upwards(name: str) -> bool | None:
    """Return whether an entry of the logs is better when it is larger, as its name says; None where it says nothing.

    It is the same whether scikit-learn is imported or not: of its scorers only those are known that negate a metric here.

    Examples
    --------
    >>> improves_upwards("val_accuracy"), improves_upwards("val_loss"), improves_upwards("val_neg_log_loss"), improves_upwards("val_regret")
    (True, False, True, None)
    """
    return NAMED.get(_known(name, NAMED))


def directions(metrics: Mapping[str, Metric]) -> dict[str, bool | None]:
    """Return for the loss and for metrics, by their names in the logs, whether larger is better; None where nobody knows."""
    return {"loss": False} | {name: NAMED.get(name) if one.upwards is None else one.upwards for name, one in metrics.items()}
