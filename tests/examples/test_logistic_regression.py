"""Logistic regression finds the coefficients of scikit-learn, by gradient descent and by L-BFGS."""

import numpy as np
import pytest

from examples import logistic_regression
from fastnn import Dense, Sequential

METHODS = [logistic_regression.gradient_descent, logistic_regression.lbfgs]


@pytest.fixture(autouse=True)
def packages():
    pytest.importorskip("sklearn")
    pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def exam_scores(data_dir):
    """Return the scores of exercise 2 of the machine-learning class, as they are and standardized, and who was admitted."""
    table = np.loadtxt(data_dir / "ml_class" / "ex2data1.txt", delimiter=",")
    return table[:, :2], logistic_regression.standardized(table[:, :2]), table[:, 2].astype(int)


@pytest.mark.parametrize("method", METHODS)
def test_coefficients_of_made_scores(method):
    X, y = logistic_regression.exam_scores()
    coefficients, _ = method(X, y)
    np.testing.assert_allclose(coefficients, logistic_regression.scikit_learn(X, y), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_coefficients_of_the_class(method, exam_scores):
    _, X, y = exam_scores
    coefficients, _ = method(X, y)
    np.testing.assert_allclose(coefficients, logistic_regression.scikit_learn(X, y), rtol=0, atol=1e-6)


def test_the_class_prints_the_same_coefficients(exam_scores):
    scores, X, y = exam_scores
    coefficients, n_steps = logistic_regression.lbfgs(X, y)
    W = coefficients[:2] / scores.std(axis=0)
    b = coefficients[2] - W @ scores.mean(axis=0)
    np.testing.assert_allclose([b, *W], [-25.161, 0.206, 0.201], rtol=0, atol=5e-4)
    net = Sequential([Dense(1, "sigmoid", (W[:, None], [b]))], n_features=2, dtype="float64")
    assert net.evaluate(scores, y)["loss"] == pytest.approx(0.203, abs=5e-4)
    assert n_steps < 50
