"""Neural Networks and Deep Learning: digits with sigmoid units, two costs, L2, and two ways to start.

The systems of Michael Nielsen's book (2015): `network.py` of chapter 1, quadratic cost, and `network2.py` of chapter 3,
cross-entropy, L2, better initial weights and monitoring. The published hit counts are those of the figures' data in
github.com/mnielsen/neural-networks-and-deep-learning (MIT licence, Michael Nielsen). They were made with a seed, so the
same start weights and the same order of the images give the same counts here. Two of the runs are from the text, which
names no seed: that with the quadratic cost, and that with 100 hidden units.

It teaches overfitting, seen with 1,000 training images: the training cost falls for ever, the test hits stop rising;
and what holds against it: L2, more images, stopping early.

    python examples/nielsen.py           1,000 images, and one epoch of the large runs
    python examples/nielsen.py --full    100 hidden units, 60 epochs, two minutes: 98 %
"""

import functools
import random
import sys

import numpy as np

import fastnn
from fastnn import SGD, BinaryCrossEntropy, Dense, EarlyStopping, Scale, Sequential, SquaredError

SEED = 12345678
CROSS_ENTROPY = BinaryCrossEntropy(outputs_reduction="sum")
QUADRATIC = SquaredError(scale=0.5, outputs_reduction="sum")

# Hits among 10,000 images: the test images, or in "start" and "large start" the validation images.
PUBLISHED = {
    "overfitting": {1: 5887, 2: 6505, 5: 7433, 10: 7899, 15: 8046, 30: 8126},
    "regularized": {1: 5898, 2: 6512, 5: 7455, 10: 7942, 15: 8089},
    "overfitting, full": {1: 9136},
    "regularized, full": {1: 9212},
    "default start": {1: 9270},
    "quadratic cost": {1: 9129},
}


@functools.cache
def load():
    """Return the book's three sets, of 50,000, 10,000 and 10,000 images, as pairs of images and one-hot rows."""
    X, y, X_test, y_test = fastnn.load_mnist()
    return (X[:50_000], np.eye(10)[y[:50_000]]), (X[50_000:], np.eye(10)[y[50_000:]]), (X_test, np.eye(10)[y_test])


def start_weights(sizes, large):
    """Return what the book's code draws: first the default weights, then, if asked for, the large ones."""
    draws = np.random.RandomState(SEED)
    for scales in (np.sqrt(sizes[:-1]), np.ones(len(sizes) - 1))[: 1 + large]:
        biases = [draws.randn(n_out) for n_out in sizes[1:]]
        weights = [draws.randn(n_out, n_in).T / scale for n_in, n_out, scale in zip(sizes, sizes[1:], scales)]
    return list(zip(weights, biases))


def python2_shuffle(n_rows):
    """Return the order of the rows for each epoch, one shuffled further from the other as in Python 2."""
    draws, order = random.Random(SEED), list(range(n_rows))

    def next_order(epoch):
        for i in reversed(range(1, n_rows)):
            j = int(draws.random() * (i + 1))
            order[i], order[j] = order[j], order[i]
        return np.array(order)

    return next_order


def make_network(sizes=(784, 30, 10), large=True, lambda_=0.0, n_rows=50_000):
    """Return the book's network; its lambda / (2 n) times the sum of the squared weights is `l2`."""
    start = start_weights(sizes, large)
    layers = [Dense(units, "sigmoid", initializer=pair, l2=lambda_ / (2 * n_rows)) for units, pair in zip(sizes[1:], start)]
    return Sequential([Scale(1 / 256), *layers], n_features=784, dtype="float64")


def hits(net, data):
    """Return how many images have their largest output where their one-hot row has its 1."""
    images, rows = data
    return int(np.sum(net.predict(images, n_threads=1).argmax(axis=1) == rows.argmax(axis=1)))


class Hits:
    """Count the hits on some data after every epoch, as the book's monitoring does."""

    def __init__(self, data):
        self.data, self.counts = data, []

    def on_fit_begin(self, network):
        """Remember whom to ask."""
        self.network = network

    def on_epoch_end(self, epoch, logs):
        """Count."""
        self.counts.append(hits(self.network, self.data))


def train(net, training, monitored, eta, epochs, loss=CROSS_ENTROPY):
    """Train in minibatches of 10, in the book's order; return the hits on the monitored data after every epoch."""
    images, rows = training
    order, counter = python2_shuffle(len(images)), Hits(monitored)
    net.fit(images, rows, loss, SGD(eta), epochs, batch_size=10, shuffle=order, callbacks=[counter], verbose=0, n_threads=1)
    return counter.counts


def small_run(lambda_, epochs):
    """Train with the first 1,000 images; return the test hits after every epoch."""
    (images, rows), _, test = load()
    net = make_network(lambda_=lambda_, n_rows=1000)
    return train(net, (images[:1000], rows[:1000]), test, 0.5, epochs)


def large_run(name, epochs=1):
    """Train one of the published runs with 50,000 images; return the hits after every epoch."""
    training, validation, test = load()
    if name == "default start":
        return train(make_network(large=False, lambda_=5.0), training, validation, 0.1, epochs)
    if name == "quadratic cost":
        return train(make_network(), training, test, 3.0, epochs, QUADRATIC)
    return train(make_network(lambda_=5.0 if name == "regularized, full" else 0.0), training, test, 0.5, epochs)


def stop_early(patience=10):
    """Train with 1,000 images until the validation cost has not fallen for some epochs; return history, best epoch and test hits."""
    (images, rows), validation, test = load()
    net, rule = make_network(large=False), EarlyStopping("validation_loss", patience)
    history = net.fit(
        images[:1000],
        rows[:1000],
        loss=CROSS_ENTROPY,
        optimizer=SGD(0.5),
        epochs=100,
        batch_size=10,
        validation_data={"validation": validation, "test": test},
        shuffle=python2_shuffle(1000),
        callbacks=[rule],
        verbose=0,
        n_threads=1,
    )
    return history, rule.best_epoch, hits(net, test)


def full_run():
    """Train 100 hidden units for 60 epochs, lambda 5, eta 0.1; return the validation hits after every epoch, and the test hits."""
    training, validation, test = load()
    net = make_network((784, 100, 10), large=False, lambda_=5.0)
    return train(net, training, validation, 0.1, 60), hits(net, test)


def main(*arguments):
    """Print hits among 10,000 images beside the book's."""
    if "--full" in arguments:
        counts, test_hits = full_run()
        print("100 hidden units, 60 epochs, hits among 10,000 images")
        print(f"validation: {counts[-1]} at the end, {max(counts)} at best; book 9804")
        print(f"test: {test_hits}")
        return
    print(f"{'hits among 10,000':<24}{'epoch':>6}{'fastnn':>8}{'book':>8}")
    for name, published in PUBLISHED.items():
        lambda_ = {"overfitting": 0.0, "regularized": 0.1}.get(name)
        counts = large_run(name) if lambda_ is None else small_run(lambda_, max(published))
        for epoch, count in published.items():
            print(f"{name:<24}{epoch:>6}{counts[epoch - 1]:>8}{count:>8}")
    history, best_epoch, count = stop_early()
    print(f"stopped early after {len(history.epochs)} epochs, best validation cost in epoch {best_epoch}: {count} test hits")


if __name__ == "__main__":
    main(*sys.argv[1:])
