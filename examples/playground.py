"""TensorFlow Playground: circle, xor, gauss and spiral, and the boundary as it forms.

The Playground (playground.tensorflow.org; Daniel Smilkov and Shan Carter; github.com/tensorflow/playground, Apache-2.0)
draws 500 points, trains on half of them and shows half the mean squared error of the other half; targets are -1 and 1. The
generators below follow its `src/dataset.ts`, without noise. All networks see the two coordinates only.

It teaches to see what a network does: a film of the boundary says more than the loss.

    python examples/playground.py spiral spiral.gif
"""

import sys

import numpy as np

from fastnn import Adam, Dense, OneCycle, Scale, Sequential, SquaredError

N_POINTS = 500


def circle(draws):
    """Return points of a disc, and of a ring around it."""
    radius = np.concatenate([draws.uniform(0, 2.5, N_POINTS // 2), draws.uniform(3.5, 5, N_POINTS // 2)])
    angle = draws.uniform(0, 2 * np.pi, N_POINTS)
    X = np.c_[radius * np.sin(angle), radius * np.cos(angle)]
    return X, np.where(radius < 2.5, 1.0, -1.0)


def xor(draws):
    """Return points in four squares with a gap between them: 1 where both coordinates have the same sign."""
    X = draws.uniform(-5, 5, (N_POINTS, 2))
    X += np.where(X > 0, 0.3, -0.3)
    return X, np.where(X[:, 0] * X[:, 1] >= 0, 1.0, -1.0)


def gauss(draws):
    """Return two normal clouds, of variance 1/2 around (2, 2) and (-2, -2)."""
    y = np.repeat([1.0, -1.0], N_POINTS // 2)
    return 2 * y[:, None] + np.sqrt(0.5) * draws.standard_normal((N_POINTS, 2)), y


def spiral(draws):
    """Return two arms of a spiral; without noise nothing is drawn."""
    step = np.arange(N_POINTS // 2) / (N_POINTS // 2)
    angle = 1.75 * 2 * np.pi * step + np.array([[0], [np.pi]])
    X = np.stack([5 * step * np.sin(angle), 5 * step * np.cos(angle)], axis=-1).reshape(-1, 2)
    return X, np.repeat([1.0, -1.0], N_POINTS // 2)


# The generator, the hidden layers, their activation, the highest learning rate and the number of epochs.
TASKS = {
    "circle": (circle, [8], "tanh", 0.02, 200),
    "xor": (xor, [8], "tanh", 0.02, 200),
    "gauss": (gauss, [4], "tanh", 0.02, 200),
    "spiral": (spiral, [32, 32], "relu", 0.003, 800),
}


def split(name):
    """Return the training half and the test half of a task: X, y, X_test, y_test."""
    draws = np.random.default_rng(0)
    X, y = TASKS[name][0](draws)
    train, test = np.split(draws.permutation(N_POINTS), 2)
    return X[train], y[train], X[test], y[test]


def train(name, callbacks=()):
    """Train a task; return the network and its losses for the training half and the test half."""
    _, hidden, activation, rate, epochs = TASKS[name]
    X, y, X_test, y_test = split(name)
    start = "he_uniform" if activation == "relu" else "glorot_uniform"
    net = Sequential([Scale(1 / 5), *(Dense(units, activation, start) for units in hidden), Dense(1, "tanh")], n_features=2)
    half, optimizer = SquaredError(scale=0.5), Adam(OneCycle(rate))
    net.fit(X, y, loss=half, optimizer=optimizer, epochs=epochs, batch_size=10, callbacks=callbacks, verbose=0, n_threads=1)
    return net, net.evaluate(X, y)["loss"], net.evaluate(X_test, y_test)["loss"]


def film(name, path, n_frames=5):
    """Return the callback that films the boundary of a task."""
    from fastnn.plots import BoundaryMovie

    X, y, _, _ = split(name)
    return BoundaryMovie(X, y, path, every=TASKS[name][-1] // n_frames, fps=3)


def main(name=None, path=None):
    """Print the losses of one task or of all, and film the boundary of the one."""
    print(f"{'':<8}{'training loss':>14}{'test loss':>14}")
    for task in [name] if name else TASKS:
        _, train_loss, test_loss = train(task, [film(task, path)] if path else ())
        print(f"{task:<8}{train_loss:>14.4f}{test_loss:>14.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
