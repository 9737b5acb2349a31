"""The estimators against scikit-learn: its checks, its tests, its numbers."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
import scipy.sparse
import sklearn.neural_network
from sklearn.datasets import load_digits, make_regression
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import MLPClassifier, MLPRegressor

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:430] / 16, y[:430]  # two minibatches, and a short one


@pytest.fixture(scope="module")
def numbers():
    X, y = make_regression(230, 12, n_targets=3, noise=5.0, random_state=0)
    return X, y / 100


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_scikit_learns_own_tests():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.fastnn.sklearn_plugin", "--pyargs"]
    private = ["-k", "not test_fit and not test_gradient"]  # they set and call private parts; rewritten below
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    run = subprocess.run(
        [*command, "sklearn.neural_network.tests.test_mlp", *private],
        cwd=ROOT.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:]
    counted = {what: int(number) for number, what in re.findall(r"(\d+) (passed|skipped|failed)", run.stdout)}
    assert counted.get("passed", 0) + counted.get("skipped", 0) >= 53


# The same numbers.

TWINS = {
    MLPClassifier: sklearn.neural_network.MLPClassifier,
    MLPRegressor: sklearn.neural_network.MLPRegressor,
}


def fit_both(kind, X, y, sample_weight=None, **parameters):
    """Fit fastnn's and scikit-learn's estimator and return both."""
    parameters = {"random_state": 3, "max_iter": 12, "hidden_layer_sizes": (30, 20)} | parameters
    return [one(**parameters).fit(X, y, sample_weight=sample_weight) for one in (kind, TWINS[kind])]


SOLVERS = {
    "adam": {},
    "adam large alpha": {"alpha": 1.0, "batch_size": 64, "activation": "logistic"},
    "adam in order": {"shuffle": False, "learning_rate_init": 0.01, "activation": "identity"},
    "nesterov": {"solver": "sgd", "activation": "tanh"},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.1},
    "no momentum": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "learning_rate_init": 0.1},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.2, "tol": 0.1, "n_iter_no_change": 2},
}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("what", ["multiclass", "binary", "multilabel", "squared_error", "outputs", "poisson"])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_fit_takes_the_steps_of_scikit_learns(digits, numbers, name, what, weighted):
    (X, y), kind, parameters = digits, MLPClassifier, SOLVERS[name]
    if what == "binary":
        y = np.where(y > 4, "large", "small")
    elif what == "multilabel":
        y = np.stack([y > 4, y % 2 == 0, y == 3], axis=1).astype(int)
    elif what != "multiclass":
        (X, y), kind = numbers, MLPRegressor
        y = y if what == "outputs" else y[:, 0] if what == "squared_error" else np.floor(np.exp(y[:, 0] / 2))
        parameters = {"learning_rate_init": 0.01} | parameters | {"loss": "poisson" if what == "poisson" else "squared_error"}
        parameters["learning_rate_init"] = min(parameters["learning_rate_init"], 0.02)
    weights = np.random.default_rng(0).integers(0, 4, len(X)) / 3 if weighted else None
    actual, expected = fit_both(kind, X, y, weights, **parameters)
    assert actual.n_iter_ == expected.n_iter_ and actual.t_ == expected.t_
    np.testing.assert_allclose(actual.loss_curve_, expected.loss_curve_, rtol=1e-10, atol=1e-10)
    if actual.early_stopping:
        np.testing.assert_allclose(actual.validation_scores_, expected.validation_scores_, rtol=1e-10)
    for one, other in zip(actual.coefs_ + actual.intercepts_, expected.coefs_ + expected.intercepts_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
    predicted, wanted = actual.predict(X), expected.predict(X)
    assert predicted.dtype == wanted.dtype and predicted.shape == wanted.shape
    if kind is MLPClassifier:
        np.testing.assert_array_equal(predicted, wanted)
        np.testing.assert_allclose(actual.predict_proba(X), expected.predict_proba(X), rtol=1e-7, atol=1e-10)
    else:
        np.testing.assert_allclose(predicted, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_lbfgs_goes_the_way_of_scikit_learns(digits, numbers, weighted):
    weights = np.random.default_rng(0).integers(0, 4, 430) / 3 if weighted else None
    for kind, (X, y), loss in ((MLPClassifier, digits, {}), (MLPRegressor, numbers, {}), (MLPRegressor, numbers, {"loss": "poisson"})):
        y = np.floor(np.exp(y / 2)) if loss else y
        rows = None if weights is None else weights[: len(X)]
        actual, expected = fit_both(kind, X, y, rows, solver="lbfgs", alpha=0.01, max_iter=6, activation="tanh", **loss)
        assert actual.n_iter_ == expected.n_iter_
        assert actual.loss_ == pytest.approx(expected.loss_, rel=1e-10)
        np.testing.assert_allclose(actual.coefs_[0], expected.coefs_[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", TWINS)
def test_partial_fit_and_warm_start_go_on_as_scikit_learns(digits, kind):
    X, y = digits
    pair = [one(hidden_layer_sizes=9, random_state=1, learning_rate="adaptive", solver="sgd", learning_rate_init=0.05) for one in (kind, TWINS[kind])]
    first = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    for one in pair:
        one.partial_fit(X[:150], y[:150], **first).partial_fit(X[150:], y[150:]).partial_fit(X[:150], y[:150])
    np.testing.assert_allclose(pair[0].loss_curve_, pair[1].loss_curve_, rtol=1e-10)
    restored = pickle.loads(pickle.dumps(pair[0]))
    for one in (restored, pair[1]):
        one.partial_fit(X, y)
    np.testing.assert_allclose(restored.coefs_[0], pair[1].coefs_[0], rtol=1e-9, atol=1e-12)
    pair = [one.set_params(warm_start=True, max_iter=3).fit(X, y) for one in pair]
    for one in pair:
        one.fit(X, y)
    assert pair[0].n_iter_ == 3


# Weights of rows.


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", TWINS)
def test_a_weight_is_a_number_of_rows(digits, kind, solver):
    X, y = digits
    counts = np.random.default_rng(0).integers(0, 3, len(X))
    rows = np.repeat(np.arange(len(X)), counts)
    settings = {"solver": solver, "batch_size": len(X), "shuffle": False, "random_state": 0, "max_iter": 5, "hidden_layer_sizes": 8}
    weighted = kind(**settings).fit(X, y, sample_weight=counts)
    repeated = kind(**settings).set_params(batch_size=len(rows)).fit(X[rows], y[rows])
    left_out = kind(**settings).set_params(batch_size=np.count_nonzero(counts)).fit(X[counts > 0], y[counts > 0], sample_weight=counts[counts > 0])
    for one, other, third in zip(weighted.coefs_, repeated.coefs_, left_out.coefs_):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(one, third, rtol=1e-12, atol=1e-12)


# Sparse rows.


class Guarded(scipy.sparse.csr_array):
    """Sparse rows of which not many may become dense at a time."""

    def toarray(self, *args, **kwargs):
        assert self.shape[0] <= 120
        return super().toarray(*args, **kwargs)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows_give_the_same_bits_and_are_never_dense_together(digits, monkeypatch, solver):
    monkeypatch.setattr("fastnn.sparse.BLOCK_BYTES", 100 * 64 * 8)
    monkeypatch.setattr("kernels.training.CHUNK_BYTES", 2 * 40 * 64 * 8)
    X, y = digits
    settings = {"solver": solver, "random_state": 0, "max_iter": 3, "batch_size": 40, "hidden_layer_sizes": 8}
    dense, sparse = MLPClassifier(**settings).fit(X, y), MLPClassifier(**settings).fit(Guarded(X), y)
    looser = 1e-10 if solver == "lbfgs" else 0  # the blocks' gradients are added up
    np.testing.assert_allclose(sparse.coefs_[0], dense.coefs_[0], rtol=looser, atol=looser)
    np.testing.assert_allclose(sparse.predict_proba(Guarded(X)), dense.predict_proba(X), rtol=looser, atol=looser)
    np.testing.assert_array_equal(dense.predict(scipy.sparse.csc_array(X)), dense.predict(X))
