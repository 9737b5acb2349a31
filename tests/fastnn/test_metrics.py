import sys
from functools import partial

import numpy as np
import pytest

from fastnn import Dense, Sequential
from fastnn.losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from fastnn.metrics import (
    METRICS,
    Metric,
    accuracy,
    balanced_accuracy,
    checked_metrics,
    confusion_matrix,
    directions,
    f1,
    improves_upwards,
    log_loss,
    max_error,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    quantile_loss,
    r2,
    roc_auc,
    top_k_accuracy,
    values,
)

rng = np.random.default_rng(0)


def test_accuracy_of_labels():
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]], np.float32)
    assert accuracy(np.array([1, 0, 1, 1]), outputs) == 0.75


def test_accuracy_of_single_decisions():
    assert accuracy(np.array([[0.0], [1.0], [1.0]]), np.array([[0.2], [0.5], [0.49]])) == pytest.approx(2 / 3)
    assert accuracy(np.array([[0, 1], [1, 1]]), np.array([[0.2, 0.9], [0.1, 0.8]])) == 0.75


def test_regression_metrics_match_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    y, outputs = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    assert mean_absolute_error(y, outputs) == pytest.approx(metrics.mean_absolute_error(y, outputs), rel=1e-13)
    assert mean_squared_error(y, outputs) == pytest.approx(metrics.mean_squared_error(y, outputs), rel=1e-13)
    assert r2(y, outputs) == pytest.approx(metrics.r2_score(y, outputs), rel=1e-13)


def test_r2_of_equal_targets():
    y = np.ones((3, 1))
    assert r2(y, y) == 1.0
    assert r2(y, y + 1) == 0.0


def test_errors_of_float32_are_summed_in_float64():
    y = np.zeros((100_000, 1), np.float32)
    assert mean_absolute_error(y, np.full_like(y, 0.1)) == float(np.float32(0.1))


def judged(loss, y, outputs):
    return values(checked_metrics(None, loss), loss, y, outputs)


def test_metrics_follow_the_loss():
    one_hot, outputs = np.eye(3)[[2, 0]], np.array([[0.2, 0.3, 0.5], [0.3, 0.3, 0.4]])
    assert judged(CrossEntropy(), one_hot, outputs) == {"accuracy": 0.5}
    assert judged(CrossEntropy(), np.array([2, 0]), np.log(outputs)) == {"accuracy": 0.5}
    assert list(judged(BinaryCrossEntropy(), one_hot, outputs)) == ["accuracy"]
    assert list(judged(SquaredError(), one_hot, outputs)) == [
        "mean_absolute_error",
        "mean_squared_error",
        "root_mean_squared_error",
        "max_error",
        "r2",
    ]


def test_log_probabilities_are_judged_as_probabilities():
    log_loss = checked_metrics("log_loss", CrossEntropy())
    assert values(log_loss, CrossEntropy(), LABELS, np.log(PROBABILITIES)) == pytest.approx(values(log_loss, CrossEntropy(), LABELS, PROBABILITIES))


# Shapes.

PAIRS = [(7,), (7, 1)]


@pytest.mark.parametrize("of_y", PAIRS)
@pytest.mark.parametrize("of_outputs", PAIRS)
@pytest.mark.parametrize("metric", [mean_absolute_error, mean_squared_error, max_error, r2])
def test_a_column_may_be_left_out(metric, of_y, of_outputs):
    y, outputs = rng.normal(size=7), rng.normal(size=7).astype(np.float32)
    assert metric(y.reshape(of_y), outputs.reshape(of_outputs)) == metric(y[:, None], outputs[:, None])


@pytest.mark.parametrize("metric", [mean_absolute_error, mean_squared_error, max_error, r2, accuracy])
@pytest.mark.parametrize("of_y, of_outputs", [((4,), (1,)), ((4, 1), (1, 4)), ((4, 1), (3, 1)), ((4,), (4, 4, 1)), ((1, 3), (4, 3)), ((4, 2), (4, 3))])
def test_other_shapes_are_refused(metric, of_y, of_outputs):
    with pytest.raises(ValueError, match="^y must have the shape of outputs, "):
        metric(np.ones(of_y), np.ones(of_outputs))


def test_no_rows_are_refused():
    for metric in (accuracy, r2, max_error):
        with pytest.raises(ValueError, match="^y must have at least one row"):
            metric(np.ones((0, 1)), np.ones((0, 1)))
    with pytest.raises(ValueError, match="^y must have at least one row"):
        accuracy(np.ones(0, int), np.ones((0, 3)))


def test_metrics_of_a_fit_are_those_of_its_predictions():
    X = rng.normal(size=(33, 2))
    y = X[:, 1] - 3 * X[:, 0]
    net = Sequential([Dense(1)], n_features=2, dtype="float64")
    net.fit(X, y, optimizer="lbfgs", epochs=50, verbose=0)
    judged, outputs = net.evaluate(X, y), net.predict(X)
    for metric in (mean_absolute_error, mean_squared_error, max_error, r2):
        assert metric(y, outputs) == judged[metric.__name__]
    assert judged["r2"] > 0.999


def test_labels_against_one_column_are_decided_at_one_half():
    labels, outputs = np.array([1, 0, 1, 0], np.uint8), np.array([0.7, 0.6, 0.5, 0.1], np.float32)
    for y in (labels, labels[:, None], labels.tolist(), labels > 0):
        assert accuracy(y, outputs) == accuracy(y, outputs[:, None]) == 0.75


def test_labels_may_be_a_column():
    outputs = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    assert accuracy(np.array([[2], [1]]), outputs) == 0.5


def test_a_row_with_nan_is_never_right():
    assert accuracy(np.array([0, 1]), np.array([[np.nan, 0.0], [0.1, 0.9]])) == 0.5
    assert accuracy(np.array([[0.0], [0.0]]), np.array([[np.nan], [0.2]])) == 0.5


# Numbers.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("constant", [0.1, -1e8 / 3, 1 / 3])
def test_r2_of_equal_targets_whose_mean_is_rounded(constant, dtype):
    y = np.full((777, 2), constant, dtype)
    assert r2(y, y) == 1.0
    assert r2(y, y * 1.5) == 0.0
    y[:, 1] = np.arange(777)
    assert r2(y, np.stack([y[:, 0] + 1, y[:, 1]], axis=1)) == 0.5


def test_integers_do_not_wrap_around():
    assert mean_absolute_error(np.array([250, 3], np.uint8), np.array([3, 250], np.uint8)) == 247
    assert mean_squared_error(np.array([-100, 100], np.int8), np.array([100, -100], np.int8)) == 40_000


# Every metric against scikit-learn.

N_CLASSES = 4
LABELS = rng.integers(0, N_CLASSES, 60)
SCORES = rng.integers(1, 9, (60, N_CLASSES)) / 8  # with ties
PROBABILITIES = SCORES / SCORES.sum(axis=1, keepdims=True)
YES, SURE = rng.integers(0, 2, 50), rng.integers(0, 11, 50) / 10
NUMBERS, PREDICTED = rng.normal(size=(2, 50))


def sklearn_value(name):
    metrics = pytest.importorskip("sklearn.metrics")
    decided, yes = PROBABILITIES.argmax(axis=1), (SURE >= 0.5).astype(int)
    return {
        "accuracy": lambda: (metrics.accuracy_score(LABELS, decided), metrics.accuracy_score(YES, yes)),
        "balanced_accuracy": lambda: (metrics.balanced_accuracy_score(LABELS, decided), metrics.balanced_accuracy_score(YES, yes)),
        "f1": lambda: (metrics.f1_score(LABELS, decided, average="macro"), metrics.f1_score(YES, yes)),
        "f1_macro": lambda: (metrics.f1_score(LABELS, decided, average="macro"), metrics.f1_score(YES, yes, average="macro")),
        "roc_auc": lambda: (metrics.roc_auc_score(LABELS, PROBABILITIES, multi_class="ovr"), metrics.roc_auc_score(YES, SURE)),
        "log_loss": lambda: (metrics.log_loss(LABELS, PROBABILITIES), metrics.log_loss(YES, SURE)),
        "top_2_accuracy": lambda: (metrics.top_k_accuracy_score(LABELS, DISTINCT, k=2), 1.0),
        "top_3_accuracy": lambda: (metrics.top_k_accuracy_score(LABELS, DISTINCT, k=3), 1.0),
        "top_5_accuracy": lambda: (1.0, 1.0),
        "mean_absolute_error": lambda: (metrics.mean_absolute_error(NUMBERS, PREDICTED),) * 2,
        "mean_squared_error": lambda: (metrics.mean_squared_error(NUMBERS, PREDICTED),) * 2,
        "root_mean_squared_error": lambda: (metrics.mean_squared_error(NUMBERS, PREDICTED) ** 0.5,) * 2,
        "mean_absolute_percentage_error": lambda: (metrics.mean_absolute_percentage_error(NUMBERS, PREDICTED),) * 2,
        "max_error": lambda: (metrics.max_error(NUMBERS, PREDICTED),) * 2,
        "quantile_loss": lambda: (metrics.mean_pinball_loss(NUMBERS, PREDICTED),) * 2,
        "r2": lambda: (metrics.r2_score(NUMBERS, PREDICTED),) * 2,
    }[name]()


DISTINCT = PROBABILITIES + np.arange(N_CLASSES)[::-1] * 1e-9  # of equal ones the first is the larger one
SHORT = {"mae": "mean_absolute_error", "mse": "mean_squared_error", "rmse": "root_mean_squared_error", "mape": "mean_absolute_percentage_error"}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_the_value_of_scikit_learn(name):
    expected = sklearn_value(SHORT.get(name, name))
    metric = METRICS[name]
    if metric.classes:
        actual = metric.function(LABELS, PROBABILITIES), metric.function(YES, SURE)
        assert metric.function(YES[:, None].astype(float), SURE[:, None]) == actual[1]
    else:
        actual = metric.function(NUMBERS, PREDICTED), metric.function(NUMBERS[:, None], PREDICTED[:, None])
    assert actual == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("name", sorted(set(METRICS) - set(SHORT)))
def test_weights_of_rows_count_them_as_often(name):
    metric = METRICS[name]
    for y, outputs in ((LABELS, PROBABILITIES), (YES, SURE)) if metric.classes else ((NUMBERS, PREDICTED), (np.c_[NUMBERS, PREDICTED], np.ones((50, 2)))):
        weights = np.arange(len(y)) % 3
        expected = metric.function(np.repeat(y, weights, axis=0), np.repeat(outputs, weights, axis=0))
        assert metric.function(y, outputs, sample_weight=weights) == pytest.approx(expected, rel=1e-13)
        assert metric.function(y, outputs, sample_weight=np.full(len(y), 0.3)) == pytest.approx(metric.function(y, outputs), rel=1e-13)


def test_evaluate_hands_weights_to_what_takes_them():
    metrics, net = pytest.importorskip("sklearn.metrics"), Sequential([Dense(1)], n_features=1)
    weights, outputs = np.arange(50) % 3 + 0.5, net.predict(NUMBERS[:, None])
    found = net.evaluate(NUMBERS[:, None], PREDICTED, sample_weight=weights, metrics=["mae", "neg_mean_absolute_error", regret])
    expected = metrics.mean_absolute_error(PREDICTED, outputs, sample_weight=weights)
    assert found["mae"] == pytest.approx(expected, rel=1e-12)
    assert found["neg_mean_absolute_error"] == pytest.approx(-expected, rel=1e-12)
    assert found["regret"] == 7.0


def test_metrics_with_settings_match_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    assert quantile_loss(NUMBERS, PREDICTED, q=0.9) == pytest.approx(metrics.mean_pinball_loss(NUMBERS, PREDICTED, alpha=0.9), rel=1e-13)
    np.testing.assert_array_equal(confusion_matrix(LABELS, PROBABILITIES), metrics.confusion_matrix(LABELS, PROBABILITIES.argmax(axis=1)))
    several, sure = np.stack([YES, YES[::-1]], axis=1), np.stack([SURE, SURE**2], axis=1)
    assert f1(several, sure) == pytest.approx(metrics.f1_score(several, sure >= 0.5, average="macro"), rel=1e-13)
    assert roc_auc(several, sure) == pytest.approx(metrics.roc_auc_score(several, sure), rel=1e-13)
    single = PROBABILITIES.astype(np.float32)
    single[0] = np.eye(N_CLASSES)[LABELS[0] - 1]  # a class with probability 0 is there
    assert log_loss(LABELS, single) == pytest.approx(metrics.log_loss(LABELS, single), rel=1e-6)
    assert mean_absolute_percentage_error([0.0, 1.0], [1.0, 1.0]) == metrics.mean_absolute_percentage_error([0.0, 1.0], [1.0, 1.0])


def test_a_class_that_is_not_there_does_not_count():
    labels, outputs = np.array([0, 0, 2]), np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.5, 0.1, 0.4]])
    assert balanced_accuracy(labels, outputs) == 0.5
    assert f1(labels, outputs) == pytest.approx(0.4)  # of class 0 4/5, of class 2 0
    assert roc_auc(labels, outputs) == 1.0
    assert np.isnan(roc_auc(np.zeros(3), outputs[:, 0]))


def test_metrics_of_rows_with_nan():
    labels, outputs = np.array([0, 1]), np.array([[np.nan, 0.0], [0.1, 0.9]])
    assert (balanced_accuracy(labels, outputs), top_k_accuracy(labels, outputs, k=2)) == (0.5, 0.5)
    assert np.isnan(log_loss(labels, outputs))
    assert np.isnan(roc_auc(labels, np.array([0.5, np.nan])))


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, f1, roc_auc, log_loss, top_k_accuracy, confusion_matrix])
def test_labels_without_an_output_are_refused(metric):
    with pytest.raises(ValueError, match="^y must hold labels from 0 to 2, one for each output; got 3 in row 1"):
        metric(np.array([0, 3]), np.full((2, 3), 1 / 3))


def regret(y, outputs):
    return 7.0


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        (None, ["accuracy"]),
        ("roc_auc", ["roc_auc"]),
        (["f1", regret], ["f1", "regret"]),
        ({"mine": regret, "auc": "roc_auc"}, ["mine", "auc"]),
        ((partial(top_k_accuracy, k=4), Metric(regret, upwards=False)), ["top_k_accuracy", "regret"]),
    ],
)
def test_metrics_are_names_and_functions(metrics, names):
    checked = checked_metrics(metrics, CrossEntropy())
    assert list(checked) == names
    assert list(values(checked, CrossEntropy(), np.array([0, 1]), np.eye(2))) == names


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("acuracy", "metrics must be one of .*; got 'acuracy'. Did you mean 'accuracy'"),
        (["accuracy", "accuracy"], "metrics must have different names"),
        ({"loss": regret}, "metrics must have different names, none of them 'loss'"),
        ("rmse", "metrics must fit the loss, 'cross_entropy'; got 'rmse', which is for numbers"),
        ([3], "metrics must be names or functions"),
        (3, "metrics must be names or functions"),
    ],
)
def test_other_metrics_are_refused(metrics, message):
    with pytest.raises((ValueError, TypeError), match=message):
        checked_metrics(metrics, CrossEntropy())


def test_the_direction_of_a_metric_is_known_by_its_name():
    upwards = ("accuracy", "test_balanced_accuracy", "val_r2", "a_b_roc_auc", "val_top_3_accuracy")
    assert [improves_upwards(name) for name in upwards] == [True] * len(upwards)
    downwards = ("loss", "val_loss", "val_log_loss", "val_rmse", "val_mean_squared_error", "seconds")
    assert [improves_upwards(name) for name in downwards] == [False] * len(downwards)
    unknown = ("val_regret", "val_f1_score", "score", "mean")
    assert [improves_upwards(name) for name in unknown] == [None] * len(unknown)


def test_the_direction_of_a_metric_is_that_of_a_fit():
    metrics = {
        "declared": Metric(regret, upwards=True),
        "loss of mine": Metric(regret, upwards=False),
        "by its function": accuracy,
        "by a part of it": partial(top_k_accuracy, k=4),
        "unknown": regret,
        "gain_loss": regret,
        "r2": regret,
        "accuracy": Metric(regret, upwards=False),
    }
    found = directions(checked_metrics(metrics, CrossEntropy()))
    assert list(found.items()) == [("loss", False), *zip(metrics, (True, False, True, True, None, None, True, False))]


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "f1_macro", "roc_auc_ovr", "neg_log_loss"])
def test_scorers_of_scikit_learn_judge_classes(name):
    scorer = pytest.importorskip("sklearn.metrics").get_scorer(name)
    ours = {"roc_auc_ovr": "roc_auc", "neg_log_loss": "log_loss"}.get(name, name)
    checked = checked_metrics({"theirs": scorer, "ours": ours}, CrossEntropy())
    found = values(checked, CrossEntropy(), LABELS, PROBABILITIES)
    assert found["theirs"] == pytest.approx(-found["ours"] if name.startswith("neg") else found["ours"], rel=1e-13)
    binary = values({"one": checked["theirs"]}, BinaryCrossEntropy(), YES[:, None].astype(float), SURE[:, None])
    assert abs(binary["one"]) == pytest.approx(METRICS[ours].function(YES, SURE), rel=1e-13)


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("name", ["f1_macro", "accuracy", "roc_auc", "average_precision", "jaccard_macro"])
def test_scorers_of_scikit_learn_judge_several_labels_a_row(name, n_labels):
    sklearn = pytest.importorskip("sklearn.metrics")
    y, outputs = (rng.uniform(size=(40, n_labels)) for _ in range(2))
    function, answers = {
        "f1_macro": (partial(sklearn.f1_score, average="macro"), outputs >= 0.5),
        "accuracy": (sklearn.accuracy_score, outputs >= 0.5),
        "roc_auc": (sklearn.roc_auc_score, outputs),
        "average_precision": (sklearn.average_precision_score, outputs),
        "jaccard_macro": (partial(sklearn.jaccard_score, average="macro"), outputs >= 0.5),
    }[name]
    weights = rng.uniform(size=40)
    for given, settings in (((), {}), ((weights,), {"sample_weight": weights})):
        actual = values(checked_metrics(sklearn.get_scorer(name), BinaryCrossEntropy()), BinaryCrossEntropy(), y, outputs, *given)
        np.testing.assert_allclose(list(actual.values()), function(y >= 0.5, answers, **settings), rtol=1e-13)


@pytest.mark.parametrize("value", ["x", None, np.ones(2), 1j])
def test_a_metric_without_a_number_is_named(value):
    with pytest.raises(TypeError, match=r"^metrics must return a number; got .* from 'mine'\.$"):
        values(checked_metrics({"mine": lambda y, outputs: value}, CrossEntropy()), CrossEntropy(), LABELS, PROBABILITIES)


def test_scorers_of_scikit_learn_judge_numbers():
    scorer = pytest.importorskip("sklearn.metrics").get_scorer("neg_mean_absolute_error")
    net = Sequential([Dense(1)], n_features=1)
    found = net.evaluate(NUMBERS[:, None], PREDICTED, metrics=[scorer, "mae"])
    assert list(found) == ["loss", "neg_mean_absolute_error", "mae"]
    assert found["neg_mean_absolute_error"] == pytest.approx(-found["mae"], rel=1e-13)


def test_scorers_have_the_names_of_scikit_learn(monkeypatch):
    pytest.importorskip("sklearn.metrics")
    found = values(checked_metrics(["neg_log_loss", "log_loss"], CrossEntropy()), CrossEntropy(), LABELS, PROBABILITIES)
    assert found["neg_log_loss"] == pytest.approx(-found["log_loss"], rel=1e-13)
    assert improves_upwards("val_neg_log_loss") and not improves_upwards("val_log_loss")
    sklearn = pytest.importorskip("sklearn.metrics")
    scorers = [sklearn.get_scorer("neg_log_loss"), sklearn.make_scorer(sklearn.f1_score, average="weighted"), "roc_auc_ovr"]
    assert directions(checked_metrics(scorers, CrossEntropy())) == {"loss": False, "neg_log_loss": True, "f1_score": True, "roc_auc_ovr": True}
    wrapped = checked_metrics([Metric(scorers[0]), Metric(scorers[1], upwards=False)], CrossEntropy())
    assert directions(wrapped) == {"loss": False, "neg_log_loss": True, "f1_score": False}
    assert values(wrapped, CrossEntropy(), LABELS, PROBABILITIES)["neg_log_loss"] == found["neg_log_loss"]
    with pytest.raises(ValueError, match="metrics must be one of .*; got 'neg_log_los'. Did you mean 'neg_log_loss'"):
        checked_metrics("neg_log_los", CrossEntropy())
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ValueError, match=r"got 'neg_log_loss'. Names of scikit-learn's scorers need it: pip install 'fastnn\[sklearn\]'\."):
        checked_metrics("neg_log_loss", CrossEntropy())


def test_scorers_without_weights_judge_weighted_rows():
    from sklearn.metrics import make_scorer

    cost = make_scorer(lambda y, outputs: float(np.mean(y != outputs)), greater_is_better=False)
    net, X, y = Sequential([Dense(3, "softmax")], n_features=4), np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    history = net.fit(X, y, sample_weight=np.linspace(0, 1, 60), validation_split=0.2, metrics={"cost": cost, "accuracy": "accuracy"}, verbose=0)
    assert -1 <= history.history["val_cost"][0] <= 0
