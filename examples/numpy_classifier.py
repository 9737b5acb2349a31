"""A classifier of MNIST written with NumPy: 784-500-500-10, all sigmoid, one image at a time.

Rick Wierenga's "Neural Networks from scratch" (rickwierenga.github.io, notebook 4 of MLFundamentals, MIT licence). He adds
a column of ones to what enters a layer, so that the first row of its weights is the bias; targets are one-hot rows, and the
error term of the last layer is prediction minus target. His code takes one image at a time at rate 0.001, his text speaks of
minibatches of 100. It prints 90.29 % after two epochs. A slip makes its gradients too large (they use what enters a sigmoid
in place of what leaves it); with right ones a rate of 0.01 does what 0.001 did.

It teaches what the same layer sizes give once ReLU, softmax and Adam take over.

    python examples/numpy_classifier.py           minibatches, and one image at a time with 10,000 images
    python examples/numpy_classifier.py --full    one image at a time with all 60,000: two minutes
"""

import sys

import numpy as np

import fastnn
from fastnn import SGD, Adam, BinaryCrossEntropy, Dense, Scale, Sequential

SIZES = (784, 500, 500, 10)
PUBLISHED = 0.9029

# Summed over outputs and rows its gradient, before the last sigmoid, is prediction minus target: the error term.
LOSS = BinaryCrossEntropy(reduction="sum", outputs_reduction="sum")


def start_weights(sizes=SIZES):
    """Return his start: matrices with one row more than inputs, the first for the column of ones."""
    draws = np.random.RandomState(0)
    return [draws.randn(n_in + 1, n_out) * np.sqrt(2 / (n_in + n_out)) for n_in, n_out in zip(sizes, sizes[1:])]


def sigmoid_layer(W):
    """Return his layer in fastnn's form, where the bias stands apart from the weights."""
    return Dense(W.shape[1], "sigmoid", initializer=(W[1:], W[0]))


def sigmoid_layer_with_column(W):
    """Return his layer as he has it, without a bias: it takes `add_ones(X)`."""
    return Dense(W.shape[1], "sigmoid", initializer=W, bias=False)


def add_ones(X):
    """Return `X` with a column of ones in front."""
    return np.hstack([np.ones((len(X), 1)), X])


def error_terms(net, X, y):
    """Return prediction minus target: the gradient of the loss before the last sigmoid."""
    return net.predict(X) - np.eye(10)[y]


def sigmoid_network():
    """Return his network."""
    return Sequential([Scale(1 / 255), *map(sigmoid_layer, start_weights())], n_features=784)


def modern_network():
    """Return the same sizes with ReLU and softmax."""
    return Sequential([Scale(1 / 255), Dense(500, "relu"), Dense(500, "relu"), Dense(10, "softmax")], n_features=784)


def train(net, X, y, loss, optimizer, batch_size, epochs=2):
    """Train on one-hot targets."""
    net.fit(X, np.eye(10)[y], loss=loss, optimizer=optimizer, batch_size=batch_size, epochs=epochs, verbose=0, n_threads=1)


def accuracy(net, X, y):
    """Return the share of images whose largest output is that of their label."""
    return float(np.mean(net.predict(X).argmax(axis=1) == y))


def main(*arguments):
    """Print the test accuracy after two epochs of each way."""
    X, y, X_test, y_test = fastnn.load_mnist()
    n_rows, rates = (60_000, (0.001, 0.01)) if "--full" in arguments else (10_000, (0.01,))
    ways = [(f"one at a time, rate {rate}", sigmoid_network(), LOSS, SGD(rate), 1, n_rows) for rate in rates]
    ways += [(f"minibatches of 100, rate {rate}", sigmoid_network(), LOSS, SGD(rate), 100, 60_000) for rate in (0.001, 0.01)]
    ways += [("minibatches of 100, ReLU, softmax, Adam", modern_network(), "cross_entropy", Adam(0.001), 100, 60_000)]
    print(f"{'two epochs':<42}{'images':>8}{'fastnn':>8}{'published':>11}")
    for name, net, loss, optimizer, batch_size, n_images in ways:
        train(net, X[:n_images], y[:n_images], loss, optimizer, batch_size)
        published = PUBLISHED if name == "one at a time, rate 0.001" else ""
        print(f"{name:<42}{n_images:>8}{accuracy(net, X_test, y_test):>8.4f}{published:>11}")


if __name__ == "__main__":
    main(*sys.argv[1:])
