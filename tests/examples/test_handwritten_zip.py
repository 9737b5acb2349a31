"""Exercise 4 of the machine-learning class."""

import numpy as np
import pytest

from examples import handwritten_zip
from fastnn import LBFGS, ConjugateGradient, Dense, Sequential
from fastnn.functional import sigmoid


@pytest.mark.parametrize("optimizer", [ConjugateGradient(), LBFGS()], ids=lambda one: type(one).__name__)
def test_fifty_iterations_learn_the_training_images(data_dir, optimizer):
    pytest.importorskip("scipy")
    X, labels, _, _ = handwritten_zip.load()
    assert X.shape == (5000, 400)
    X, labels = X[:2000], labels[:2000]
    net, cost = handwritten_zip.train(optimizer, X, labels)
    assert handwritten_zip.accuracy(net, X, labels) >= 0.95
    assert cost < 0.5


def test_regularization_term_of_the_class_weights(data_dir):
    """The class prints 0.287629 without and 0.383770 with lambda 1: the difference is the penalty alone."""
    weights = pytest.importorskip("scipy.io").loadmat(data_dir / "ml_class" / "ex4weights.mat")
    net = handwritten_zip.make_network(lambda_=1.0)
    net.set_weights([(theta[:, 1:].T, theta[:, 0]) for theta in (weights["Theta1"], weights["Theta2"])])
    assert net.penalty == pytest.approx(0.383770 - 0.287629, abs=1e-6)


def test_label_10_is_the_digit_0(data_dir):
    _, labels, _, test_labels = handwritten_zip.load()
    assert set(labels) == set(test_labels) == set(range(1, 11))
    assert handwritten_zip.one_hot(np.array([1, 10])).argmax(axis=1).tolist() == [0, 9]


def test_slope_of_the_sigmoid_at_0():
    """The exercise's sigmoidGradient(0) is 0.25: here by central difference, and as the network has it."""
    h = 1e-6
    slope = (sigmoid(np.array([h])) - sigmoid(np.array([-h]))).item() / (2 * h)
    assert slope == pytest.approx(0.25, abs=1e-9)
    net = Sequential([Dense(1, "sigmoid", initializer=np.zeros((1, 1)))], n_features=1, dtype="float64")
    loss, gradient = net.loss_and_gradient([[0.0]], [[0.0]], "squared_error")
    assert gradient.sum() == pytest.approx(2 * 0.5 * 0.25, rel=1e-15)  # of the bias: 2 (a - t) sigmoid'(0)
