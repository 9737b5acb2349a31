"""Networks as scikit-learn's estimators (extra `sklearn`): its parameters, attributes and rules, on the kernels.

The module is imported with the first use of `fastnn.MLPClassifier` or `fastnn.MLPRegressor`.
"""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np

import kernels

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils import check_array, check_random_state, column_or_1d
    from sklearn.utils._param_validation import Interval, Options, StrOptions
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
    from sklearn.utils.optimize import _check_optimize_result
    from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("MLPClassifier and MLPRegressor need scikit-learn 1.6 or later: pip install 'fastnn[sklearn]'.") from error

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand for what scikit-learn does not have yet."""


from . import validation, watching
from .batches import Chunk
from .custom import Activation
from .perceptron import HIDDEN, NOT_FINITE, STEPWISE, Perceptron, Weights
from .solvers import Problem
from .sparse import SparseRows, take
from .training import refuse_watchers_of_steps
from .validation import Array

__all__ = ["MLPClassifier", "MLPRegressor"]


class FitTasks:
    """Tells scikit-learn's callbacks of a fit and of its iterations."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator = estimator
        self.root: Any = None
        self.task: Any = None
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.data = {"X": X.matrix if isinstance(X, SparseRows) else X, "y": y, "metadata": metadata}
        if hasattr(estimator, "_skl_callbacks"):
            self.root = estimator._init_callback_context(max_subtasks=estimator.max_iter + 1)
            self.root.call_on_fit_task_begin(estimator=estimator, **self.data)

    def begin(self) -> None:
        """Say that an iteration begins."""
        if self.root is not None:
            self.task = self.root.subcontext(task_name="iteration")
            self.task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end(self) -> bool:
        """Say that it ended; return whether the fit should."""
        if self.task is None:
            return False
        task, self.task = self.task, None
        stop = task.call_on_fit_task_end(estimator=self.estimator, reconstruction_attributes=self.fitted, **self.data)
        return bool(stop)

    def close(self) -> None:
        """Say that the fit ended."""
        self.end()
        if self.root is not None:
            self.root.call_on_fit_task_end(estimator=self.estimator, reconstruction_attributes=dict, **self.data)

    def fitted(self) -> dict[str, Any]:
        """Return the attributes of the estimator as if the fit had ended."""
        weights = self.estimator._network.weights
        return {"_network": None, "coefs_": [W for W, _ in weights], "intercepts_": [b for _, b in weights]}


class MLP(Perceptron, CallbackSupportMixin, BaseEstimator):
    """What the classifier and the regressor share."""

    _parameter_constraints: dict[str, Any] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(HIDDEN)), Activation, "array-like"],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "callbacks": "no_validation",
        "dtype": [StrOptions({"float32", "float64", "bfloat16"}), type, np.dtype, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    def _check(self, X: Any, y: Any = "no_validation", reset: bool = False, **how: Any) -> Any:
        """Return what scikit-learn makes of X, and y; sparse matrices by rows."""
        validation.not_masked("X", X)
        validation.not_masked("y", y)
        validation.not_times("X", X)
        dtypes = "numeric" if isinstance(y, str) or self.dtype is not None else (np.float64, np.float32)
        checked = validate_data(self, X, y, accept_sparse=("csr", "csc"), dtype=dtypes, reset=reset, **how)
        if isinstance(y, str):
            return _by_rows(checked)
        X, y = checked
        return _by_rows(X), column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None) -> Any:
        """Fit the model to data matrix X and target(s) y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            A sparse one is never dense as a whole.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or numbers.
        sample_weight : array-like of shape (n_samples,), optional
            At least 0; the loss of a minibatch is the weighted mean of those of its rows.
        X_val, y_val : array-like, optional
            Scored after every iteration: `validation_scores_`. `early_stopping` takes them instead of a part of X.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any = None, y_val: Any = None, incremental: bool = False) -> Any:
        before = self.__dict__.copy()
        try:
            X, y, targets, weights, rows, held_out, watchers, problem = self._prepared(X, y, sample_weight, X_val, y_val, incremental)
        except BaseException:  # what was fitted before stays whole
            self.__dict__ = before
            raise
        network = problem.network
        tasks = FitTasks(self, X, y, sample_weight)
        begun: list[Any] = []
        try:
            watching.begin_fit(watchers, network, begun)
            if self.solver in STEPWISE:
                self._fit_steps(problem, Chunk(X, targets, rows, weights), held_out, incremental, watchers, tasks)
            else:
                self._fit_lbfgs(problem, X, targets, weights, held_out, watchers, tasks)
        finally:
            watching.end_fit(begun)
            self._unpack(network)
        if not np.isfinite(network.parameters).all():
            raise ValueError(NOT_FINITE)
        tasks.close()
        return self

    def _prepared(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, incremental: bool) -> tuple[Any, ...]:
        """Return what a fit works with, checked, and initialize the network where it begins anew; `rows` are those to train on."""
        self._sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        watchers = watching.check_callbacks([] if self.callbacks is None else self.callbacks)
        if self.solver not in STEPWISE:
            refuse_watchers_of_steps(self.solver, watchers)
        X, y = self._validated(X, y, incremental, first_pass)
        targets = self._encoded(y)
        weights = self._row_weights(sample_weight, X, self._class_weights(y, targets, incremental))
        held_out = None if X_val is None and y_val is None else self._held_out(X_val, y_val, targets)
        early_stopping = self.early_stopping and self.solver in STEPWISE
        scored = {"val_score": True} if held_out or early_stopping else {}
        watching.check_monitors(watchers, {"loss": False, **scored, "seconds": False})
        if early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self.out_activation_ = self._kind_of_output()
            self._initialize(targets.shape[1] if targets.ndim == 2 else len(self.classes_), X.dtype)
        objective = kernels.Objective(self._loss(), weighted_mean=True)
        problem = Problem(self.network_, objective, float(self.alpha), self._dropout_seed, validation.threads(self.n_threads))
        rows = np.arange(len(targets))
        if early_stopping and held_out is None:
            rows, judged = self._split(targets)
            held_out = take(X, judged), targets[judged], None if weights is None else weights[judged]
        return X, y, targets, weights, rows, held_out, watchers, problem

    def _class_weights(self, y: Any, targets: Array, incremental: bool) -> Weights:
        """Return the weight of every row by its class, or None."""
        return None

    def _row_weights(self, sample_weight: Any, X: Any, of_classes: Weights) -> Weights:
        """Return the weight of every row as float64, or None."""
        weights = None
        if sample_weight is not None:
            validation.not_masked("sample_weight", sample_weight)
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if of_classes is not None:
            weights = of_classes if weights is None else weights * of_classes
        if weights is not None and not weights.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return None if weights is None else np.ascontiguousarray(weights, dtype=np.float64)

    def _held_out(self, X: Any, y: Any, targets: Array) -> tuple[Any, Array, None]:
        """Return checked rows to be scored after every iteration, their targets like those of the rows to train on."""
        if X is None or y is None:
            raise ValueError(f"X_val and y_val must be given together; got only {'y_val' if X is None else 'X_val'}.")
        validation.not_masked("y_val", y)
        X, y = self._check(X), check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y_val")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y.toarray() if hasattr(y, "toarray") else y)
        check_consistent_length(X, y)
        self._check_targets("y_val", y)
        judged = self._encoded(y)
        if judged.shape[1:] != targets.shape[1:]:
            raise ValueError(f"y_val must have as many columns as y, {targets[0].size}; got {judged[0].size}.")
        return X, judged, None

    def _split(self, y: Array) -> tuple[Any, Any]:
        rows, judged = train_test_split(
            np.arange(len(y)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._strata(y),
        )
        if len(judged) < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        return rows, judged

    def _warn_of_end(self, message: str) -> None:
        warnings.warn(message, ConvergenceWarning, stacklevel=5)

    def _note_lbfgs(self, result: Any) -> int:
        return int(_check_optimize_result("lbfgs", result, self.max_iter))

    def _forward(self, X: Any) -> Array:
        """Return the outputs for rows that the user gives."""
        fitted = self.__dict__
        if "coefs_" not in fitted:
            check_is_fitted(self)
        plain = type(X) is np.ndarray and X.ndim == 2 and len(X) > 0 and X.dtype.char in "fd"
        if not plain or X.shape[1] != self.n_features_in_ or "feature_names_in_" in fitted:
            X = self._check(X)
        try:
            return self._outputs(self.network_, X)
        except ValueError:
            self._check(X)  # words what is wrong with it
            raise

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy consists of: its network is made of `coefs_` and `intercepts_` again."""
        self._follow()
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_network": None, "_known": []} if "_network" in state else state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _by_rows(X: Any) -> Any:
    return SparseRows(X) if hasattr(X, "tocsr") else X


def _weights_of(table: Any, classes: list[Any]) -> Array:
    """Return the weight of each class, 1 where the table has none."""
    if not isinstance(table, dict):
        raise TypeError(f"class_weight must hold a dict from classes to weights for each label; got {validation.shown(table)}.")
    unknown = [label for label in table if label not in classes]
    if unknown:
        raise ValueError(f"class_weight must have classes of y as keys; got {unknown[0]!r}.")
    checked = {label: validation.number("a weight in class_weight", weight, 0.0) for label, weight in table.items()}
    weights = np.array([checked.get(label, 1.0) for label in classes])
    if not weights.any():
        raise ValueError(f"class_weight must be above 0 for some class; got 0 for all {len(classes)}.")
    return weights


def _keep(estimator: Any, parameters: dict[str, Any]) -> None:
    """Set the parameters of an estimator, given the local variables of its constructor."""
    for name, value in parameters.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def _can_go_on(estimator: Any) -> bool:
    """Whether an estimator has `partial_fit`."""
    if estimator.solver not in STEPWISE:
        raise AttributeError(f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic.")
    return True


class MLPClassifier(ClassifierMixin, MLP):
    """Multi-layer perceptron classifier: scikit-learn's `MLPClassifier`, with its parameters, attributes and numbers.

    Replace the import. In float64 a fit takes the same start weights, minibatches and steps, up to rounding. New are
    the parameters from `dropout` on, `X_val` and `y_val` in `fit`, other activations, and `network_`.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int
        Units of each hidden layer.
    activation : str or fastnn.Activation, or a list with one for each hidden layer
        "identity", "logistic", "tanh", "relu", and all of `Dense` but softmax.
    solver : {"adam", "sgd", "lbfgs"}
        lbfgs takes all rows together, the others minibatches.
    alpha : float
        `alpha / 2` times the squares of the weights, divided by the rows of a minibatch, is added to the loss.
    batch_size : int or "auto"
        Rows of a minibatch; "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive"}
        Of sgd: `learning_rate_init`; divided by `(t_ + 1) ** power_t`; or by 5 where the fit would end otherwise.
    learning_rate_init, power_t : float
    max_iter : int
        Iterations at most: each takes all rows once, or is one of lbfgs.
    shuffle : bool
        Whether the minibatches of every iteration are drawn anew.
    random_state : int, RandomState instance or None
        For the start weights, the split of `early_stopping`, the minibatches and dropout.
    tol : float
        The fit ends when the loss, or with `early_stopping` the score, did not improve by it for `n_iter_no_change`
        iterations.
    verbose : bool
    warm_start : bool
        Whether `fit` goes on with the weights of the last one.
    momentum : float
    nesterovs_momentum : bool
        Of sgd.
    early_stopping : bool
        Of sgd and adam: whether to hold out the share `validation_fraction`, stop by its score, and keep the weights with the best one.
    validation_fraction : float
    beta_1, beta_2, epsilon : float
        Of adam.
    n_iter_no_change : int or inf
    max_fun : int
        How often lbfgs may look at the data.
    dropout : float, or a list with one for each hidden layer
        Share of a hidden layer's outputs that a step sets to 0. Without effect with lbfgs.
    class_weight : dict, list of dict, "balanced" or None
        What the weight of a row is multiplied by: at least 0 for each class, 1 for those left out, a dict for each label
        where rows have several. "balanced", not in `partial_fit`, is n_samples / (n_classes * rows of the class).
    callbacks : list or None
        Objects that watch, see `fastnn.callbacks`, with lbfgs none that watches minibatches; for scikit-learn's own use
        `set_callbacks`.
    dtype : {"float32", "float64", "bfloat16"} or None
        In which the network calculates; None: that of X.
    n_threads : int or None
        At most; None: all that this process may use. The result has the same bits for any number.

    Attributes
    ----------
    classes_ : ndarray, or list of ndarray
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_in, n_out) and biases of each layer. They may be replaced, but not written in place.
    network_ : fastnn.Sequential
        The network that they are taken from, also after a fit of its own.
    loss_, best_loss_ : float
        The last and the smallest loss; `best_loss_` is None with `early_stopping`.
    loss_curve_ : list of float
        The loss of each iteration, not clipped where probabilities come within eps of 0 or 1, as scikit-learn's is.
    validation_scores_ : list of float or None
        The accuracy of held-out rows after each iteration that had some.
    best_validation_score_ : float or None
    n_iter_, t_ : int
        Iterations, and rows seen by them.
    n_features_in_, n_outputs_, n_layers_ : int
    feature_names_in_ : ndarray
        Where X has names that are all strings.
    out_activation_ : str

    Examples
    --------
    >>> from fastnn import MLPClassifier
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> MLPClassifier(solver="lbfgs", random_state=0).fit(X, y).score(X, y)
    1.0
    """

    _parameter_constraints: dict[str, Any] = {
        **MLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    classes_: Array

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        class_weight: Any = None,
        callbacks: Any = None,
        dtype: Any = None,
        n_threads: int | None = None,
    ) -> None:
        _keep(self, locals())

    def _validated(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = self._check(X, y, reset, multi_output=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return X, y
        if y.ndim == 2 and not self._label_binarizer.y_type_.startswith("multilabel"):  # whose numbers would be taken for probabilities
            raise ValueError(f"y must be one label a row, as in the fit before; got {y.shape[1]} labels a row.")
        classes = unique_labels(y)
        if self.warm_start and set(classes) != set(self.classes_):
            before = "warm_start can only be used where `y` has the same classes as in the previous call to fit."
            raise ValueError(f"{before} Previously got {self.classes_}, `y` has {classes}")
        if not self.warm_start:
            self._check_labels("y", classes)
        return X, y

    def _check_labels(self, name: str, classes: Any) -> None:
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            known = f"`self.classes_` has {self.classes_}."
            raise ValueError(f"`{name}` has classes not in `self.classes_`. {known} '{name}' has {classes}.")

    def _kind_of_output(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _loss(self) -> int:
        return int(kernels.CROSS_ENTROPY if self.out_activation_ == "softmax" else kernels.BINARY_CROSS_ENTROPY)

    def _check_targets(self, name: str, y: Any) -> None:
        """Raise where labels, or their number for each row, are not those of the training."""
        several, kind = self._label_binarizer.y_type_.startswith("multilabel"), type_of_target(y, input_name=name)
        if kind.startswith("multilabel") != several:
            raise ValueError(f"{name} must be {'zeros and ones for each label' if several else 'one label a row'}, as y is; got {kind} targets.")
        self._check_labels(name, unique_labels(y))

    def _encoded(self, y: Any) -> Array:
        """Return class numbers as int64, or zeros and ones of shape (n_rows, n_outputs)."""
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return np.ascontiguousarray(self._label_binarizer.transform(y), dtype=np.float64)
        numbers: Array = np.searchsorted(self.classes_, y)
        if self._label_binarizer.y_type_ == "multiclass":
            return numbers.astype(np.int64)
        targets: Array = (numbers == 1).astype(np.float64)[:, None]
        return targets

    def _class_weights(self, y: Any, targets: Array, incremental: bool) -> Weights:
        """Return the weight of every row: of its class, or the product of those of its labels."""
        given = self.class_weight
        if given is None:
            return None
        if isinstance(given, str):
            if incremental:
                help_ = "Pass the dict of compute_class_weight('balanced', classes=classes, y=y) with a large sample as y, or sample_weight."
                raise ValueError(f"class_weight must not be 'balanced' in partial_fit, which sees a part of the rows only; got {given!r}. {help_}")
            balanced: Weights = compute_sample_weight(given, y)
            return balanced
        several = self._label_binarizer.y_type_.startswith("multilabel")
        tables = given if isinstance(given, list) else [given]
        if isinstance(given, list) != several or (several and len(tables) != targets.shape[1]):
            wanted = f"a list with a dict for each of {targets.shape[1]} labels" if several else "a dict from classes to weights"
            raise ValueError(f"class_weight must be {wanted}, or 'balanced'; got {validation.shown(given)}.")
        weights = np.ones(len(targets))
        for table, numbers in zip(tables, targets.reshape(len(targets), -1).T):
            weights *= _weights_of(table, [0, 1] if several else self.classes_.tolist())[numbers.astype(np.int64)]
        return weights

    def _strata(self, y: Array) -> Array | None:
        """Return what the split of the rows keeps the shares of: two classes, as in scikit-learn."""
        return y.astype(bool) if y.ndim == 2 and y.shape[1] == 1 else None

    def _score_of(self, outputs: Array, y: Array, weights: Weights) -> float:
        right = outputs.argmax(axis=1) == y if y.ndim == 1 else ((outputs > 0.5) == (y > 0.5)).all(axis=1)
        return float(np.average(right, weights=weights))

    def predict(self, X: Any) -> Array:
        """Return the class of each row, or zeros and ones of shape (n_samples, n_classes) with several labels a row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        """
        outputs, labels = self._forward(X), self.classes_
        if self.out_activation_ == "softmax":
            labels = labels.take(outputs.argmax(axis=1))
        elif self.n_outputs_ == 1 and len(labels) == 2:
            labels = labels.take((outputs[:, 0] > 0.5).view(np.uint8))
        else:
            labels = self._label_binarizer.inverse_transform(outputs[:, 0] if self.n_outputs_ == 1 else outputs)
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        """
        outputs = self._forward(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @available_if(_can_go_on)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train with a single iteration over the given data.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like of shape (n_classes,), optional
            All classes that later calls may bring; needed in the first call.

        Returns
        -------
        self : object
        """
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, MLP):
    """Multi-layer perceptron regressor: scikit-learn's `MLPRegressor`, with its parameters, attributes and numbers.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}
        Half the squared error; or half the deviance of counts, with a network that gives the logarithm of their mean.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter
        See `MLPClassifier`, also for the attributes.
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction
        The score of held-out rows is R2.
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, callbacks, dtype, n_threads
        See `MLPClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import MLPRegressor
    >>> X = np.linspace(0, 1, 100)[:, None]
    >>> model = MLPRegressor(activation="tanh", solver="lbfgs", random_state=0).fit(X, np.sin(6 * X[:, 0]))
    >>> model.score(X, np.sin(6 * X[:, 0])) > 0.99
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **MLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        callbacks: Any = None,
        dtype: Any = None,
        n_threads: int | None = None,
    ) -> None:
        _keep(self, locals())

    def _validated(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        validation.not_times("y", y)
        X, y = self._check(X, y, reset, multi_output=True, y_numeric=True)
        self._check_targets("y", y)
        return X, y

    def _held_out(self, X: Any, y: Any, targets: Array) -> tuple[Any, Array, None]:
        validation.not_times("y_val", y)
        return super()._held_out(X, y, targets)

    def _check_targets(self, name: str, y: Any) -> None:
        """Raise where the loss is not defined for targets."""
        if self.loss == "poisson" and np.min(y) < 0:
            raise ValueError(f"Some value(s) of {name} are out of the valid range of the loss 'poisson': they must be at least 0.")

    def _kind_of_output(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _loss(self) -> kernels.Loss:
        return kernels.scikit.POISSON if self.loss == "poisson" else kernels.scikit.squares(self.n_outputs_)

    def _encoded(self, y: Any) -> Array:
        return np.ascontiguousarray(y if y.dtype.char in "fd" else y.astype(np.float64)).reshape(len(y), -1)

    def _strata(self, y: Array) -> None:
        return None

    def _score_of(self, outputs: Array, y: Array, weights: Weights) -> float:
        return float(r2_score(y, outputs, sample_weight=weights))

    def predict(self, X: Any) -> Array:
        """Return the numbers of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        """
        outputs = self._forward(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    @available_if(_can_go_on)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train with a single iteration over the given data.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, incremental=True)
