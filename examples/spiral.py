"""Neural Networks from Scratch: three arms of a spiral, told apart with ReLU, softmax and Adam.

The system of chapters 11 (Adam with decay), 14 (L2) and 15 (dropout) of "Neural Networks from Scratch" by Harrison
Kinsley and Daniel Kukiela; the printed numbers are those of github.com/Sentdex/nnfs_book (MIT licence). The spiral is
Andrej Karpathy's, from the course CS231n.

It teaches what a hidden layer is for: no straight line separates the arms, and 64 ReLU units bend one until it does. And
how far to trust the third digit: data moved by one part in ten million end anywhere from 0.065 to 0.092 in place of the
book's 0.074, here as in NumPy, because 10,001 steps at a high rate amplify rounding.

    python examples/spiral.py             chapters 11 and 14; with a path ending in .png, the regions of chapter 11
    python examples/spiral.py --full      chapter 15 too, with ten times the data
"""

import sys

import numpy as np

from fastnn import Adam, Dense, Dropout, InverseTime, Sequential

STEPS = 10_001

# Rows of a class, L2 of the first layer, dropout behind it, and the learning rate of each chapter.
CHAPTERS = {
    11: (100, 0.0, 0.0, InverseTime(0.05, decay=5e-7)),
    14: (100, 5e-4, 0.0, InverseTime(0.02, decay=5e-7)),
    15: (1000, 5e-4, 0.1, InverseTime(0.05, decay=5e-5)),
}

# The last printed training loss and accuracy, learning rate, and accuracy on new points.
PUBLISHED = {
    11: (0.074, 0.983, 0.04975126853296942, 0.803),
    14: (0.217, 0.947, 0.019900507413187767, 0.830),
    15: (0.727, 0.688, 0.03333444448148271, 0.757),
}


def normal(draws, *shape):
    """Return normal numbers in float32, as the book's library has them."""
    return draws.randn(*shape).astype(np.float32)


def spiral_data(draws, n_rows, n_classes=3):
    """Return points on `n_classes` arms, `n_rows` on each, with noisy angles."""
    radius = np.linspace(0, 1, n_rows)
    arms = []
    for label in range(n_classes):
        angle = 2.5 * (np.linspace(4 * label, 4 * label + 4, n_rows) + 0.2 * normal(draws, n_rows))
        arms.append(np.c_[radius * np.sin(angle), radius * np.cos(angle)])
    return np.concatenate(arms).astype(np.float32), np.repeat(np.arange(n_classes), n_rows)


def train(chapter):
    """Train as a chapter does; return the network, its data, and what the chapter prints."""
    n_rows, l2, dropout, learning_rate = CHAPTERS[chapter]
    draws = np.random.RandomState(0)  # the book's seed and order: data, then weights, then new points
    X, y = spiral_data(draws, n_rows)
    W1, W2 = 0.01 * normal(draws, 2, 64), 0.01 * normal(draws, 64, 3)
    X_test, y_test = spiral_data(draws, 100)
    layers = [Dense(64, "relu", initializer=W1, l2=l2, bias_l2=l2), Dropout(dropout), Dense(3, "softmax", initializer=W2)]
    net = Sequential(layers, n_features=2)
    history = net.fit(X, y, optimizer=Adam(learning_rate, eps=1e-7), epochs=STEPS, batch_size=None, verbose=0, n_threads=1)
    last_used = learning_rate(STEPS - 2)  # the book prints the rate of the step before
    printed = history["loss"][-1], net.evaluate(X, y)["accuracy"], last_used, net.evaluate(X_test, y_test)["accuracy"]
    return net, X, y, printed


def main(*arguments):
    """Print the numbers of the chapters beside the book's."""
    print(f"{'chapter':>7}  {'':<22}{'fastnn':>14}{'book':>14}")
    for chapter in (11, 14, 15) if "--full" in arguments else (11, 14):
        net, X, y, printed = train(chapter)
        for name, ours, published in zip(("loss", "accuracy", "learning rate", "accuracy, new points"), printed, PUBLISHED[chapter]):
            digits = 10 if name == "learning rate" else 3
            print(f"{chapter:>7}  {name:<22}{ours:>14.{digits}f}{published:>14.{digits}f}")
        if chapter == 11 and arguments and arguments[-1] != "--full":
            from fastnn.plots import save_boundary

            save_boundary(net, X, y, arguments[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
