"""Rick Wierenga's classifier, all sigmoid, and its modern form."""

import numpy as np
import pytest

import fastnn
from examples import numpy_classifier
from fastnn import SGD, Adam, Sequential

rng = np.random.default_rng(0)


def test_a_column_of_ones_is_a_bias():
    W = rng.standard_normal((5, 3))
    X = rng.standard_normal((7, 4))
    expected = Sequential([numpy_classifier.sigmoid_layer(W)], n_features=4, dtype="float64").predict(X)
    actual = Sequential([numpy_classifier.sigmoid_layer_with_column(W)], n_features=5, dtype="float64").predict(numpy_classifier.add_ones(X))
    np.testing.assert_allclose(actual, expected, rtol=1e-14)


def test_the_bias_moves_by_the_error_terms():
    """One step of rate 1: the bias of the last layer changes by target minus prediction."""
    net = Sequential([numpy_classifier.sigmoid_layer(rng.standard_normal((5, 10)))], n_features=4, dtype="float64")
    X, y = rng.standard_normal((1, 4)), np.array([3])
    before, expected = net.weights[0][1], numpy_classifier.error_terms(net, X, y)[0]
    numpy_classifier.train(net, X, y, numpy_classifier.LOSS, SGD(1.0), 1, epochs=1)
    np.testing.assert_allclose(before - net.weights[0][1], expected, rtol=1e-12)


def test_start_weights_are_the_notebooks():
    weights = numpy_classifier.start_weights()
    assert [W.shape for W in weights] == [(785, 500), (501, 500), (501, 10)]
    assert weights[0].std() == pytest.approx(np.sqrt(2 / 1284), rel=0.01)


def test_one_image_at_a_time(data_dir):
    """1,500 images in place of 60,000: two epochs of all give 0.94, and take too long here."""
    X, y, X_test, y_test = fastnn.load_mnist()
    net = numpy_classifier.sigmoid_network()
    numpy_classifier.train(net, X[:1500], y[:1500], numpy_classifier.LOSS, SGD(0.01), batch_size=1)
    assert numpy_classifier.accuracy(net, X_test, y_test) >= 0.47


def test_minibatches_of_100(data_dir):
    X, y, X_test, y_test = fastnn.load_mnist()
    net = numpy_classifier.sigmoid_network()
    numpy_classifier.train(net, X, y, numpy_classifier.LOSS, SGD(0.01), batch_size=100, epochs=1)
    assert numpy_classifier.accuracy(net, X_test, y_test) >= 0.90


def test_relu_softmax_and_adam(data_dir):
    X, y, X_test, y_test = fastnn.load_mnist()
    net = numpy_classifier.modern_network()
    numpy_classifier.train(net, X[:10000], y[:10000], "cross_entropy", Adam(0.001), batch_size=100, epochs=1)
    assert numpy_classifier.accuracy(net, X_test, y_test) >= 0.91
