import numpy as np
import pytest

from fastnn import Dense, Sequential
from fastnn.losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from fastnn.metrics import accuracy, max_error, mean_absolute_error, mean_squared_error, metric_names, metrics_for, r2

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


def test_metrics_follow_the_loss():
    one_hot, outputs = np.eye(3)[[2, 0]], np.array([[0.2, 0.3, 0.5], [0.3, 0.3, 0.4]])
    assert metrics_for(CrossEntropy(), one_hot, outputs) == {"accuracy": 0.5}
    assert metrics_for(CrossEntropy(), np.array([2, 0]), np.log(outputs)) == {"accuracy": 0.5}
    assert list(metrics_for(BinaryCrossEntropy(), one_hot, outputs)) == ["accuracy"]
    assert list(metrics_for(SquaredError(), one_hot, outputs)) == [
        "mean_absolute_error",
        "mean_squared_error",
        "root_mean_squared_error",
        "max_error",
        "r2",
    ]


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


def test_names_of_metrics_are_known_before_they_are_calculated():
    y, outputs = np.array([[0.0], [1.0]]), np.array([[0.2], [0.7]])
    for loss in (BinaryCrossEntropy(), SquaredError()):
        assert tuple(metrics_for(loss, y, outputs)) == metric_names(loss)
