"""The estimators against scikit-learn: its checks, its tests, its numbers."""

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
import joblib
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, make_regression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

import kernels
from fastnn import EMA, SWA, Activation, Dense, Dropout, EarlyStopping, MLPClassifier, MLPRegressor, StopWhen
from fastnn.solvers import Problem

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


# Sparse rows; see also test_sparse.py.


class Guarded(scipy.sparse.csr_array):
    """Sparse rows of which not many may become dense at a time."""

    def toarray(self, *args, **kwargs):
        assert self.shape[0] <= 120
        return super().toarray(*args, **kwargs)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows_give_the_same_numbers_and_are_never_dense_together(digits, monkeypatch, solver):
    monkeypatch.setattr("fastnn.sparse.BLOCK_BYTES", 100 * 64 * 8)
    monkeypatch.setattr("kernels.training.CHUNK_BYTES", 2 * 40 * 64 * 8)
    X, y = digits
    settings = {"solver": solver, "random_state": 0, "max_iter": 3, "batch_size": 40, "hidden_layer_sizes": 8, "early_stopping": True}
    dense, sparse = MLPClassifier(**settings).fit(X, y), MLPClassifier(**settings).fit(Guarded(X), y)
    looser = 1e-10 if solver == "lbfgs" else 0  # the blocks' gradients are added up
    np.testing.assert_allclose(sparse.coefs_[0], dense.coefs_[0], rtol=looser, atol=looser)
    np.testing.assert_allclose(sparse.predict_proba(Guarded(X)), dense.predict_proba(X), rtol=looser, atol=looser)
    np.testing.assert_array_equal(dense.predict(scipy.sparse.csc_array(X)), dense.predict(X))


# What scikit-learn's tests look for in private parts.


def test_a_step_worked_out_by_hand():
    X, y = np.array([[0.6, 0.8, 0.7]]), np.array([0])
    settings = {"solver": "sgd", "learning_rate_init": 0.1, "alpha": 0.1, "activation": "logistic", "momentum": 0}
    model = MLPClassifier(hidden_layer_sizes=2, random_state=1, **settings).partial_fit(X, y, classes=[0, 1])
    W1, b1 = np.array([[0.1, 0.2], [0.3, 0.1], [0.5, 0.0]]), np.array([0.1, 0.1])
    W2, b2 = np.array([[0.1], [0.2]]), np.array([1.0])
    model.coefs_, model.intercepts_ = [W1, W2], [b1, b2]
    h = 1 / (1 + np.exp(-(X @ W1 + b1)))
    p = 1 / (1 + np.exp(-(h @ W2 + b2)))
    assert p[0, 0] == pytest.approx(0.7654, abs=1e-4)
    d1 = p @ W2.T * h * (1 - h)
    model.partial_fit(X, y)
    np.testing.assert_allclose(model.coefs_[0], W1 - 0.1 * (X.T @ d1 + 0.1 * W1), rtol=1e-14)
    np.testing.assert_allclose(model.coefs_[1], W2 - 0.1 * (h.T @ p + 0.1 * W2), rtol=1e-14)
    np.testing.assert_allclose(model.intercepts_[0], (b1 - 0.1 * d1)[0], rtol=1e-14)
    np.testing.assert_allclose(model.intercepts_[1], (b2 - 0.1 * p)[0], rtol=1e-14)
    assert model.predict_proba(X)[0, 1] == pytest.approx(0.739, abs=1e-3)


@pytest.mark.parametrize("loss", ["multiclass", "binary", "squared_error", "poisson"])
def test_the_gradient_is_the_slope_of_the_loss(loss):
    rng = np.random.default_rng(0)
    X, labels = rng.random((5, 10)), np.array([1, 2, 0, 1, 2])
    kind, y = (MLPRegressor, labels.astype(float)) if loss in ("squared_error", "poisson") else (MLPClassifier, labels)
    y = y == 1 if loss == "binary" else y
    model = kind(hidden_layer_sizes=4, activation="tanh", alpha=0.3, random_state=1, **({"loss": loss} if kind is MLPRegressor else {})).fit(X, y)
    network, targets = model.network_, model._encoded(y)
    weights = np.array([0.5, 2.0, 1.0, 0.0, 3.0])
    problem = Problem(network, kernels.Objective(model._loss(), weighted_mean=True), model.alpha, 0, 1)
    function = kernels.FullBatch(problem.plan(weights.sum()), X, targets, problem.objective, weights=weights)
    start = network.parameters.copy()
    value, gradient = function(start)
    direction = np.where(network.plan.mask(), rng.standard_normal(start.size), 0)
    slope = float(gradient @ direction)
    above, below = (function(start + sign * 1e-5 * direction)[0] for sign in (1, -1))
    assert (above - below) / 2e-5 == pytest.approx(slope, rel=1e-7)


def test_rates_and_patience_are_those_of_scikit_learn():
    X, y = [[3, 2], [1, 6], [5, 6], [-2, -4]], [1, 1, 1, 0]
    for rate in ("invscaling", "constant"):
        model = MLPClassifier(4, solver="sgd", learning_rate=rate, max_iter=1, power_t=0.25, warm_start=True).fit(X, y)
        before = model._optimizer.learning_rate
        after = model.fit(X, y)._optimizer.learning_rate
        assert after == (before if rate == "constant" else 0.001 / (8 + 1) ** 0.25)
    model = MLPClassifier(tol=0.5, max_iter=3000, solver="sgd", learning_rate="adaptive").fit(X, y)
    assert model.n_iter_ < 3000 and model._optimizer.learning_rate < 1e-6
    model = MLPClassifier(tol=0.01, max_iter=3000, solver="sgd", n_iter_no_change=5).fit(X, y)
    assert model._no_improvement_count == 6
    model = MLPClassifier(tol=1e9, max_iter=50, solver="sgd", n_iter_no_change=np.inf).fit(X, y)
    assert model.n_iter_ == 50 and model._no_improvement_count == 49


# In scikit-learn's company.


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_grid_search_is_the_same_with_processes_and_threads(digits, backend):
    X, y = digits
    grid = {"mlp__alpha": [1e-4, 1.0], "mlp__hidden_layer_sizes": [4, 8]}
    model = Pipeline([("scale", StandardScaler()), ("mlp", MLPClassifier(max_iter=3, random_state=0))])
    alone = GridSearchCV(model, grid, cv=2).fit(X, y)
    with joblib.parallel_backend(backend):
        shared = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(shared.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(shared.best_estimator_["mlp"].coefs_[0], alone.best_estimator_["mlp"].coefs_[0])


def test_copies_predict_the_same(digits):
    X, y = digits
    model = MLPClassifier(max_iter=2, activation=["tanh", "gelu"], hidden_layer_sizes=(5, 4), dropout=0.1, random_state=0).fit(X, y)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    twin = clone(model)
    assert not hasattr(twin, "coefs_") and twin.get_params() == model.get_params()
    np.testing.assert_array_equal(twin.fit(X, y).coefs_[0], model.coefs_[0])


def test_names_of_columns_are_known(digits):
    polars = pytest.importorskip("polars")
    X, y = digits
    frame = polars.DataFrame(X, schema=[f"pixel {i}" for i in range(64)])
    scaler = StandardScaler().set_output(transform="polars")
    model = make_pipeline(scaler, MLPClassifier(max_iter=2, random_state=0)).fit(frame, y)
    assert list(model[-1].feature_names_in_) == frame.columns
    with pytest.raises(ValueError, match="feature names should match"):
        model[-1].predict(scaler.transform(frame).select(frame.columns[::-1]))


def test_weights_are_routed(digits):
    X, y = digits
    weights = np.arange(len(X)) % 3
    model = MLPClassifier(max_iter=2, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, clone(model).set_fit_request(sample_weight=True)).fit(X, y, sample_weight=weights)
    expected = clone(model).fit(StandardScaler().fit_transform(X), y, sample_weight=weights)
    np.testing.assert_array_equal(pipeline[-1].coefs_[0], expected.coefs_[0])


class Recorder:
    """Notes what scikit-learn's callbacks hear, and stops a fit in its third iteration."""

    def __init__(self):
        self.heard, self.scores = [], []

    def setup(self, estimator, context):
        self.heard.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.heard.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_id == 2

    def teardown(self, estimator, context):
        self.heard.append("teardown")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_scikit_learn_hear_every_iteration(digits, solver):
    pytest.importorskip("sklearn.callback")
    X, y = digits
    recorder = Recorder()
    model = MLPClassifier(solver=solver, random_state=0).set_callbacks(recorder).fit(X, y)
    assert model.n_iter_ == 3
    assert recorder.heard == ["setup", "begin fit", *["begin iteration", "end iteration"] * 3, "end fit", "teardown"]
    assert recorder.scores[-2] == recorder.scores[-1] == model.score(X, y)


# What is new.


def test_callbacks_of_fastnn_watch_and_stop(digits):
    X, y = digits
    seen = []

    class Watcher:
        def on_fit_begin(self, network):
            self.network = network

        def on_batch_end(self, step, loss):
            seen.append(step)

        def on_epoch_end(self, epoch, logs):
            assert set(logs) == {"loss", "val_score", "seconds"}
            return epoch == 2

        def on_fit_end(self):
            seen.append("end")

    model = MLPClassifier(callbacks=[Watcher()], random_state=0).fit(X, y, X_val=X[:50], y_val=y[:50])
    assert seen == [0, 1, 2, 3, 4, 5, "end"] and model.n_iter_ == 2
    with pytest.raises(TypeError, match="callbacks must be objects with one of the methods"):
        MLPClassifier(callbacks=[print]).fit(X, y)


def test_validation_data_of_ones_own_are_scored_and_stop_a_fit(digits):
    X, y = digits
    model = MLPClassifier(max_iter=4, random_state=0).fit(X, y, X_val=X[:80], y_val=y[:80])
    plain = MLPClassifier(max_iter=4, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
    assert plain.validation_scores_ is None
    assert len(model.validation_scores_) == 4 and model.validation_scores_[-1] == model.score(X[:80], y[:80])
    model = MLPRegressor(early_stopping=True, random_state=0, tol=10.0, n_iter_no_change=2).fit(X, y, X_val=X[:80], y_val=y[:80])
    assert model.n_iter_ < 10 and model.t_ == model.n_iter_ * len(X)
    assert model.best_validation_score_ == max(model.validation_scores_) == pytest.approx(model.score(X[:80], y[:80]))


@pytest.mark.parametrize("kind", TWINS)
def test_validation_data_are_scored_after_every_iteration_of_lbfgs(digits, kind):
    X, y = digits
    seen = []

    class Watcher:
        def on_epoch_end(self, epoch, logs):
            assert set(logs) == {"loss", "val_score", "seconds"}
            seen.append(logs["val_score"])

    model = kind(solver="lbfgs", max_iter=5, random_state=0, callbacks=Watcher()).fit(X, y, X_val=X[:80], y_val=y[:80])
    plain = kind(solver="lbfgs", max_iter=5, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
    assert plain.validation_scores_ is None and plain.best_validation_score_ is None
    assert len(seen) == 5 and model.validation_scores_ == seen and seen[-1] == model.score(X[:80], y[:80])
    assert model.best_validation_score_ == max(seen)


def test_callbacks_of_epochs_work_with_lbfgs_and_those_of_minibatches_are_refused(digits):
    X, y = digits
    parameters = []

    class Watcher:
        def on_fit_begin(self, network):
            self.network = network

        def on_epoch_trained(self, epoch):
            parameters.append(self.network.parameters.copy())

    settings = {"solver": "lbfgs", "max_iter": 4, "random_state": 0, "hidden_layer_sizes": 5}
    MLPClassifier(callbacks=Watcher(), **settings).fit(X, y)
    averaged = MLPClassifier(callbacks=SWA(), **settings).fit(X, y)
    np.testing.assert_allclose(averaged.network_.parameters, np.mean(parameters, axis=0), rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match=r"^callbacks must not have on_batch_end for lbfgs, which has no minibatches; got a EMA\.$"):
        MLPClassifier(callbacks=EMA(), **settings).fit(X, y)


def test_a_callback_that_stops_lbfgs_is_no_failure(digits, recwarn):
    model = MLPClassifier(solver="lbfgs", callbacks=StopWhen("val_score", above=0.3), random_state=0).fit(*digits, X_val=digits[0], y_val=digits[1])
    assert model.n_iter_ == len(model.validation_scores_) < 50 and model.validation_scores_[-1] == model.score(*digits) > 0.3
    assert not recwarn


def test_scores_are_those_of_the_fits_that_had_validation_data(digits):
    X, y = digits
    model = MLPClassifier(max_iter=2, warm_start=True, random_state=0).fit(X, y, X_val=X, y_val=y)
    scores = list(model.validation_scores_)
    assert model.fit(X, y).validation_scores_ == scores and len(scores) == 2 and len(model.loss_curve_) == 4
    assert model.fit(X, y, X_val=X, y_val=y).validation_scores_[:2] == scores and len(model.validation_scores_) == 4


def test_class_weights_are_weights_of_rows(digits):
    X, y = digits
    for weight in ("balanced", {3: 2.0, 4: 0.0}):
        actual = MLPClassifier(max_iter=2, random_state=0, class_weight=weight).fit(X, y, sample_weight=np.full(len(X), 2.0))
        expected = MLPClassifier(max_iter=2, random_state=0).fit(X, y, sample_weight=2.0 * compute_sample_weight(weight, y))
        np.testing.assert_array_equal(actual.coefs_[0], expected.coefs_[0])


def test_class_weights_of_parts_of_the_rows_are_those_of_all_classes(digits):
    X, y = digits
    for names in (y, np.where(y == 3, "three", "other"), np.array(["a", "b"])[y % 2]):  # the last two are binary
        classes = np.unique(names)
        weight = {classes[-1]: 3.0}
        actual = MLPClassifier(random_state=0, class_weight=weight).partial_fit(X, names, classes=classes)
        some = names != classes[-1]  # a batch without the class
        actual.partial_fit(X[some], names[some])
        expected = MLPClassifier(random_state=0).partial_fit(X, names, np.where(names == classes[-1], 3.0, 1.0), classes=classes)
        expected.partial_fit(X[some], names[some], np.ones(some.sum()))
        np.testing.assert_array_equal(actual.coefs_[0], expected.coefs_[0])
    with pytest.raises(ValueError, match=r"^class_weight must not be 'balanced' in partial_fit, .*; got 'balanced'\. Pass the dict of compute_class_weight"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=np.unique(y))


def test_class_weights_of_several_labels_are_multiplied(digits):
    X, y = digits
    labels = np.stack([y > 4, y % 2 == 0, y == 3], axis=1).astype(int)
    tables = [{0: 2.0, 1: 0.5}, {0: 1.0, 1: 3.0}, {0: 1.0, 1: 4.0}]
    actual = MLPClassifier(max_iter=2, random_state=0, class_weight=tables).fit(X, labels)
    expected = MLPClassifier(max_iter=2, random_state=0).fit(X, labels, sample_weight=compute_sample_weight(tables, labels))
    np.testing.assert_array_equal(actual.coefs_[0], expected.coefs_[0])
    for wrong in ({0: 1.0}, tables[:2]):
        with pytest.raises(ValueError, match="^class_weight must be a list with a dict for each of 3 labels, or 'balanced'; got a (dict|list)"):
            MLPClassifier(class_weight=wrong).fit(X, labels)


def test_dropout_activations_and_dtype_make_the_network(digits):
    X, y = digits
    settings = {"hidden_layer_sizes": (6, 5), "max_iter": 3, "random_state": 0}
    model = MLPClassifier(activation=["tanh", "silu"], dropout=[0.5, 0.0], dtype="float32", **settings).fit(X, y)
    layers = [Dense(6, "tanh"), Dropout(0.5), Dense(5, "silu"), Dense(10, "softmax")]
    assert list(model.network_.layers) == layers and model.coefs_[0].dtype == np.float32
    np.testing.assert_array_equal(model.predict_proba(X), model.network_.predict(X))
    again = clone(model).set_params(n_threads=1).fit(X, y)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    assert np.any(clone(model).set_params(dropout=0.0).fit(X, y).coefs_[0] != model.coefs_[0])
    own = Activation(lambda z: z * z, lambda z: 2 * z, name="square")
    assert MLPRegressor(activation=own, **settings).fit(X, y).network_.layers[0].activation is own
    assert MLPRegressor(dtype=np.float64, **settings).fit((16 * X).astype(np.uint8), y).predict(X).dtype == np.float64


def test_weights_may_be_replaced_but_not_written(digits):
    X, y = digits
    model = MLPRegressor(max_iter=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][0] = 1
    model.coefs_[-1], model.intercepts_ = np.zeros((100, 1)), [np.zeros(100), np.array([7.0])]
    np.testing.assert_array_equal(model.predict(X), 7.0)


def test_weights_follow_the_network(digits):
    """What trains `network_` changes `coefs_`, copies and scores alike; arrays that were put in their place win."""
    X, y = digits
    model = MLPClassifier(hidden_layer_sizes=8, max_iter=2, random_state=0).fit(X, y)
    before = model.coefs_
    assert model.coefs_[0] is before[0]
    model.network_.fit(X, y, epochs=5, verbose=0)
    twins = pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)
    for twin in twins:
        np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    for (W, b), coefs, intercepts in zip(model.network_.weights, model.coefs_, model.intercepts_, strict=True):
        np.testing.assert_array_equal(coefs, W)
        np.testing.assert_array_equal(intercepts, b)
    assert np.any(model.coefs_[0] != before[0])
    model.network_.fit(X, y, verbose=0)
    model.intercepts_ = [np.zeros(8), np.zeros(10)]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    with pytest.raises(AttributeError, match="'MLPClassifier' object has no attribute 'coefs_'"):
        MLPClassifier().coefs_


def test_ctrl_c_keeps_what_was_learned(digits):
    X, y = digits

    class Interrupt:
        def on_epoch_end(self, epoch, logs):
            if epoch == 3:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        model = MLPClassifier(callbacks=[Interrupt()], random_state=0).fit(X, y)
    expected = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.n_iter_ == 3


# Bad input.


@pytest.mark.parametrize(
    ("parameters", "fit", "message"),
    [
        ({"solver": "hadoken"}, {}, r"The 'solver' parameter of MLPClassifier must be a str among"),
        ({"activation": "softmax"}, {}, r"The 'activation' parameter of MLPClassifier must be a str among"),
        ({"hidden_layer_sizes": (5, -1)}, {}, r"hidden_layer_sizes must be > 0, got \[5, -1\]\."),
        ({"activation": ["tanh"], "hidden_layer_sizes": (3, 3)}, {}, r"activation must be one of .* for each of 2 hidden layers"),
        ({"dropout": 1.0}, {}, r"The 'dropout' parameter of MLPClassifier must be"),
        ({"dropout": [0.1, 0.2, 0.3], "hidden_layer_sizes": (3, 3)}, {}, r"dropout must be one rate, or one for each of 2 hidden layers"),
        ({"dtype": "float16"}, {}, r"The 'dtype' parameter of MLPClassifier must be"),
        ({"class_weight": {11: 1.0}}, {}, r"^class_weight must have classes of y as keys; got 11\.$"),
        ({"class_weight": {3: 2.0, "3": 1.0}}, {}, r"^class_weight must have classes of y as keys; got '3'\.$"),
        ({"class_weight": {3: -1.0}}, {}, r"^a weight in class_weight must be a finite number of at least 0; got -1\.$"),
        ({"class_weight": {0: float("nan")}}, {}, r"^a weight in class_weight must be a finite number of at least 0; got nan\.$"),
        ({"class_weight": dict.fromkeys(range(10), 0)}, {}, r"^class_weight must be above 0 for some class; got 0 for all 10\.$"),
        ({"class_weight": [{0: 1.0}]}, {}, r"^class_weight must be a dict from classes to weights, or 'balanced'; got a list\.$"),
        ({}, {"sample_weight": [-1.0] * 430}, r"Negative values in data passed to `sample_weight`"),
        ({}, {"sample_weight": [0.0] * 430}, r"Sample weights must contain at least one non-zero number"),
        ({}, {"X_val": np.zeros((2, 64))}, r"X_val and y_val must be given together; got only X_val\."),
        ({}, {"X_val": np.zeros((2, 64)), "y_val": [0, 99]}, r"`y_val` has classes not in `self\.classes_`"),
        ({}, {"X_val": np.zeros((2, 60)), "y_val": [0, 1]}, r"X has 60 features, but MLPClassifier is expecting 64 features as input"),
    ],
)
def test_bad_input_is_refused(digits, parameters, fit, message):
    model = MLPClassifier(**{"max_iter": 2} | parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(*digits, **fit)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize(
    ("parameters", "fit"),
    [
        ({}, {"sample_weight": -np.ones(60)}),
        ({}, {"X_val": np.zeros((2, 9)), "y_val": [0, 1]}),
        ({"class_weight": {7: 1.0}}, {}),
        ({"callbacks": [EarlyStopping("val_regret")]}, {}),
        ({"hidden_layer_sizes": (5, 3), "activation": ["relu"]}, {}),
        ({"hidden_layer_sizes": (5, 3), "dropout": [0.1]}, {}),
        ({"hidden_layer_sizes": (10**9, 10**9)}, {}),
        ({"early_stopping": True, "validation_fraction": 0.01}, {}),
        ({"early_stopping": True}, {"incremental": True}),
    ],
)
def test_a_fit_that_is_refused_leaves_what_was_fitted(parameters, fit):
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    model = MLPClassifier((7,), max_iter=2, random_state=0).fit(X, y)
    before, known, fit = model.predict_proba(X), vars(model).copy(), dict(fit)
    again = model.partial_fit if fit.pop("incremental", False) else model.fit
    model.set_params(hidden_layer_sizes=(5,)).set_params(**parameters)
    with pytest.raises((ValueError, MemoryError)):
        again(X[:, : 4 if again == model.partial_fit else 3], y % 2, **fit)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert {name for name, value in vars(model).items() if value is not known.get(name)} <= {"hidden_layer_sizes", *parameters}
    assert vars(model).keys() == known.keys()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_of_several_labels_cannot_follow_on_one_label_a_row(n_classes):
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % n_classes
    model = MLPClassifier((7,), max_iter=2, random_state=0, warm_start=True).fit(X, y)
    before = model.predict_proba(X)
    for go_on in (model.fit, model.partial_fit):
        for several in (np.eye(n_classes, dtype=int)[y], scipy.sparse.csr_matrix(np.eye(n_classes, dtype=int)[y])):
            with pytest.raises(ValueError, match=rf"^y must be one label a row, as in the fit before; got {n_classes} labels a row\.$"):
                go_on(X, several)
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize(
    ("loss", "outputs", "y_val", "error", "message"),
    [
        ("squared_error", 1, [np.nan] * 3, ValueError, r"^Input y_val contains NaN\."),
        ("squared_error", 1, np.zeros((3, 2)), ValueError, r"^y_val must have as many columns as y, 1; got 2\."),
        ("squared_error", 2, [0.0] * 3, ValueError, r"^y_val must have as many columns as y, 2; got 1\."),
        ("poisson", 1, [1.0, -1.0, 0.0], ValueError, r"^Some value\(s\) of y_val are out of the valid range of the loss 'poisson'"),
        ("squared_error", 1, [0.0] * 2, ValueError, r"^Found input variables with inconsistent numbers of samples: \[3, 2\]"),
        ("squared_error", 1, np.ma.masked_array([0.0] * 3, [True] * 3), TypeError, r"^y_val must be an array without a mask; got a masked array\."),
        ("squared_error", 1, np.zeros(3, "datetime64[s]"), TypeError, r"^y_val must hold real numbers; got dtype datetime64\[s\]\."),
        (None, 1, np.eye(3, dtype=int), ValueError, r"^y_val must be one label a row, as y is; got multilabel-indicator targets\."),
        (None, 1, [0.0, np.nan, 1.0], ValueError, r"^Input y_val contains NaN\."),
        (None, 2, [0, 1, 1], ValueError, r"^y_val must be zeros and ones for each label, as y is; got binary targets\."),
        (None, 2, np.eye(3, dtype=int), ValueError, r"^`y_val` has classes not in|^y_val must have as many columns as y, 2; got 3\."),
    ],
)
def test_validation_targets_are_checked_before_the_first_step(digits, loss, outputs, y_val, error, message):
    X, y = digits
    y = np.stack([y > 4, y % 2 == 0], axis=1).astype(int) if outputs == 2 else y
    model = MLPClassifier() if loss is None else MLPRegressor(loss)
    with pytest.raises(error, match=message):
        model.fit(X, y, X_val=X[:3], y_val=y_val)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize(
    ("parameters", "change", "error", "message"),
    [
        ({}, {"X": lambda X: np.ma.masked_array(X, X > 0)}, TypeError, r"^X must be an array without a mask; got a masked array\."),
        ({}, {"y": lambda y: np.ma.masked_array(y, y > 0)}, TypeError, r"^y must be an array without a mask; got a masked array\."),
        ({}, {"sample_weight": lambda y: np.ma.masked_array(y, y > 0)}, TypeError, r"^sample_weight must be an array without a mask"),
        ({}, {"X": lambda X: (16 * X).astype("datetime64[s]")}, TypeError, r"^X must hold real numbers; got dtype datetime64\[s\]\."),
        ({}, {"y": lambda y: y.astype("timedelta64[s]")}, TypeError, r"^y must hold real numbers; got dtype timedelta64\[s\]\."),
        ({"hidden_layer_sizes": (5.9,)}, {}, TypeError, r"^hidden_layer_sizes must be integers; got 5\.9\."),
        ({"hidden_layer_sizes": (3, True)}, {}, TypeError, r"^hidden_layer_sizes must be integers; got True\."),
        ({"hidden_layer_sizes": [[3]]}, {}, TypeError, r"^hidden_layer_sizes must be integers; got a list\."),
        ({"hidden_layer_sizes": (10**9, 10**9)}, {}, MemoryError, r"^hidden_layer_sizes must fit into .* GiB of memory; got an estimate of .* GiB\."),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused(digits, parameters, change, error, message):
    X, y = digits
    data = {"X": X, "y": y, "sample_weight": None} | {name: make({"X": X}.get(name, y)) for name, make in change.items()}
    model = MLPRegressor(**parameters)
    with pytest.raises(error, match=message):
        model.fit(**data)
    assert not hasattr(model, "coefs_")


def test_frames_of_times_are_refused(digits):
    polars = pytest.importorskip("polars")
    X, y = digits
    frame = polars.DataFrame((16 * X[:, :2]).astype("datetime64[ms]"), schema=["a", "b"])
    with pytest.raises(TypeError, match=r"^X must hold real numbers; got dtype Datetime\(time_unit='ms'.* in column 0\.$"):
        MLPClassifier().fit(frame, y)


def test_bad_rows_are_refused_in_predictions(digits):
    X, y = digits
    model = MLPRegressor(max_iter=2).fit(X, y)
    bad = X.copy()
    bad[3, 2] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.predict(bad)
    with pytest.raises(ValueError, match="X has 63 features, but MLPRegressor is expecting 64 features"):
        model.predict(X[:, 1:])
    with pytest.raises(sklearn.exceptions.NotFittedError, match="This MLPRegressor instance is not fitted yet"):
        MLPRegressor().predict(X)
    with pytest.raises(ValueError, match="out of the valid range of the loss 'poisson'"):
        MLPRegressor("poisson").fit(X, y - 1.0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(solver="sgd", learning_rate_init=1e6, activation="identity").fit(X * 1e6, y)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(solver="lbfgs").fit(X * 1e200, y)


def test_without_scikit_learn_one_sentence_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import fastnn; fastnn.MLPClassifier"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stderr.endswith("MLPClassifier and MLPRegressor need scikit-learn 1.6 or later: pip install 'fastnn[sklearn]'.\n")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_what_is_not_there_to_be_watched_is_refused_before_the_first_step(solver):
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    model = MLPClassifier((4,), solver=solver, max_iter=2, callbacks=[EarlyStopping("val_score")])
    with pytest.raises(ValueError, match=r"^monitor must be one of 'loss', 'seconds'; got 'val_score'\."):
        model.fit(X, y)
    assert not hasattr(model, "loss_curve_") or not model.loss_curve_


def test_arrays_put_into_a_float32_network_stay():
    X, y = np.random.default_rng(0).normal(size=(40, 3)).astype("f4"), np.arange(40) % 2
    model = MLPClassifier((4,), max_iter=2).fit(X, y)
    model.coefs_ = given = [W.astype("f8") + 1e-12 for W in model.coefs_]
    model.predict(X)
    assert all(one is other for one, other in zip(model.coefs_, given))
