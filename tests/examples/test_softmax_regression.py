"""One softmax layer reads digits."""

from examples import softmax_regression


def test_accuracy():
    net, accuracy = softmax_regression.train()
    assert accuracy >= 0.93
    assert len(net.weights) == 1
