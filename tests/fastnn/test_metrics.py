import numpy as np
import pytest

from fastnn.losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from fastnn.metrics import accuracy, mean_absolute_error, mean_squared_error, metrics_for, r2

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
