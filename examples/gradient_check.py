"""Gradient checking: central differences against backpropagation, for every layer, activation and loss.

A wrong gradient often still trains, only worse, so it is checked against a slope that nobody derived: change one weight
by a little, up and down, and see what the loss does, (loss(w + h) - loss(w - h)) / 2h. In float64 and with h = 1e-5 the
two agree to about 9 digits; 1e-7 is the usual bound. At a kink, such as that of ReLU at 0, there is no slope to compare:
networks whose weights are drawn at random are hardly ever within 1e-5 of one.
"""

import copy
from itertools import cycle

import numpy as np

from fastnn import SGD, Dense, Dropout, Scale, Sequential
from fastnn.layers import ACTIVATIONS
from fastnn.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    BinaryFocal,
    CrossEntropy,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    LogCosh,
    Poisson,
    Quantile,
    SquaredError,
    SquaredHinge,
)

ELEMENTWISE = [name for name in ACTIVATIONS if name not in ("softmax", "log_softmax")]
LAST = {  # the last activations that each loss goes with
    CrossEntropy: ["softmax", "log_softmax"],
    BinaryCrossEntropy: ["sigmoid"],
    SquaredError: ELEMENTWISE,
    AbsoluteError: ELEMENTWISE,
    Huber: ELEMENTWISE,
    LogCosh: ELEMENTWISE,
    Focal: ["softmax"],
    BinaryFocal: ["sigmoid"],
    Poisson: ["exponential"],
    Quantile: ["tanh"],
    Hinge: ["softsign"],
    SquaredHinge: ["identity"],
    GaussianNLL: ["identity"],
}


def networks():
    """Yield a network, data and loss for every loss and last activation, with all layers and hidden activations in turn."""
    hidden = cycle(ELEMENTWISE)
    first_layers = cycle([[Scale(0.5, 0.1)], []])
    dropouts = cycle([[], [], [Dropout(0.3)]])
    options = cycle([{}, {"bias": False}, {"l1": 0.01, "l2": 0.02}, {"bias_l1": 0.03, "bias_l2": 0.04}, {"l2": 0.1, "bias": False}])
    reductions = cycle([("mean", "mean"), ("sum", "mean"), ("mean", "sum"), ("sum", "sum")])
    for seed, (loss, last) in enumerate((loss, last) for loss, activations in LAST.items() for last in activations):
        layers = [*next(first_layers), Dense(4, next(hidden), **next(options)), *next(dropouts), Dense(5, next(hidden)), Dense(4, last, **next(options))]
        net = Sequential(layers, n_features=3, dtype="float64", seed=seed)
        rows, outputs = next(reductions)
        yield randomized(net, seed), *data(loss, seed), loss(reduction=rows, outputs_reduction=outputs, scale=0.7)


def randomized(net, seed):
    """Return the network with normal weights and biases."""
    rng = np.random.default_rng(seed)
    net.set_weights([(rng.normal(size=W.shape), None if b is None else rng.normal(size=b.shape)) for W, b in net.weights])
    return net


def data(loss, seed, n_rows=6):
    """Return rows and targets that suit a loss."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3))
    if loss in (CrossEntropy, Focal):
        return X, rng.integers(0, 4, n_rows)
    y = rng.random((n_rows, 4)) if loss.classification or loss is Poisson else rng.normal(size=(n_rows, 4))
    return X, y[:, :2] if loss is GaussianNLL else y


def as_weights(net, vector):
    """Return a flat vector in the order of `net.parameters` as one array of weights and biases without padding."""
    other = copy.deepcopy(net)
    other.parameters = vector
    return np.concatenate([part.ravel() for pair in other.weights for part in pair if part is not None])


def backpropagation(net, X, y, loss):
    """Return the gradient of a first training step: with dropout, it is what one step of plain SGD takes away."""
    if not any(isinstance(layer, Dropout) for layer in net.layers):
        return as_weights(net, net.loss_and_gradient(X, y, loss)[1])
    trained = copy.deepcopy(net)
    trained.train_on_batch(X, y, SGD(learning_rate=1.0), loss)
    return as_weights(net, net.parameters - trained.parameters)


def training_loss(net, weights, X, y, loss):
    """Return the loss of a first training step from some weights; the same seed drops the same units."""
    other = copy.deepcopy(net)
    other.set_weights(weights)
    return other.train_on_batch(X, y, SGD(learning_rate=0.0), loss)


def central_differences(net, X, y, loss, h=1e-5):
    """Return the slope of the loss along every weight and bias."""
    weights, slopes = net.weights, []
    for part in (part for pair in weights for part in pair if part is not None):
        for i in np.ndindex(part.shape):
            here = part[i]
            part[i] = here + h
            above = training_loss(net, weights, X, y, loss)
            part[i] = here - h
            below = training_loss(net, weights, X, y, loss)
            part[i] = here
            slopes.append((above - below) / (2 * h))
    return np.array(slopes)


def relative_difference(net, X, y, loss):
    """Return |numerical - backpropagated| / (|numerical| + |backpropagated|)."""
    numerical, backpropagated = central_differences(net, X, y, loss), backpropagation(net, X, y, loss)
    return np.linalg.norm(numerical - backpropagated) / (np.linalg.norm(numerical) + np.linalg.norm(backpropagated))


def main():
    """Print the largest difference for every loss."""
    print(f"{'loss':24}networks  largest relative difference, below 1e-7")
    differences = {}
    for net, X, y, loss in networks():
        differences.setdefault(loss.name, []).append(relative_difference(net, X, y, loss))
    for name, found in differences.items():
        print(f"{name:24}{len(found):8}  {max(found):.1e}")


if __name__ == "__main__":
    main()
