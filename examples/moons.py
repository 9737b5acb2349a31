"""Two moons: a 2-3-2 network of tanh and softmax with L2, and the boundary that it draws between the classes.

The network and its numbers are those of Denny Britz, "Implementing a Neural Network from Scratch in Python" (2015,
github.com/dennybritz/nn-from-scratch, MIT licence). He sums the gradients over all 200 rows, adds reg_lambda * W, whose
integral is the penalty reg_lambda / 2 * sum(W**2), and prints loss and penalty together, divided by 200: after the first
step, the 1,001st and so on.

His learning rate is a little too large. Before step 2,000 the steps begin to overshoot, and from then on the loss jumps
between 0.0713 and 0.0708 at every other step; rounding decides which of the two an even step meets, so both are shown.

`python examples/moons.py moons.png` draws the boundary. Needs scikit-learn, which makes the data, and matplotlib for
the picture.
"""

import sys

import numpy as np

from fastnn import SGD, CrossEntropy, Dense, Sequential

REG_LAMBDA, LEARNING_RATE = 0.01, 0.01
PUBLISHED = (0.432387, 0.068947, 0.068936, 0.071218, 0.071253, 0.071278, 0.071293, 0.071303, 0.071308, 0.071312, 0.071314, 0.071315, 0.071315, 0.071316)


def moons():
    """Return the data of the notebook: 200 points, and the moon to which each belongs."""
    from sklearn.datasets import make_moons

    return make_moons(200, noise=0.20, random_state=0)


def network():
    """Return the network with the start weights of the notebook."""
    random = np.random.RandomState(0)  # noqa: NPY002
    W1, W2 = random.randn(2, 3) / np.sqrt(2), random.randn(3, 2) / np.sqrt(3)
    return Sequential([Dense(3, "tanh", W1, l2=REG_LAMBDA / 2), Dense(2, "softmax", W2, l2=REG_LAMBDA / 2)], n_features=2, dtype="float64")


def train(net, X, y, steps):
    """Take full-batch steps and return the loss after them."""
    loss = CrossEntropy(reduction="sum")
    net.fit(X, y, loss=loss, optimizer=SGD(learning_rate=LEARNING_RATE), epochs=steps, batch_size=None, verbose=0)
    return net.evaluate(X, y, loss=loss)["loss"] / len(X)


def run(X, y):
    """Return the network and its losses after 1, 1,001, ... 20,001 steps, each with the loss one step later."""
    net = network()
    losses = [(train(net, X, y, 1), train(net, X, y, 1))]
    losses += [(train(net, X, y, 999), train(net, X, y, 1)) for _ in range(20)]
    return net, losses


def main(picture=None):
    """Print the losses beside the published ones and draw the boundary."""
    X, y = moons()
    net, losses = run(X, y)
    print("  step      loss  a step later  published")
    for i, (loss, later) in enumerate(losses):
        published = f"{PUBLISHED[i]:.6f}" if i < len(PUBLISHED) else ""
        print(f"{i * 1_000:6,}  {loss:.6f}      {later:.6f}  {published}".rstrip())
    if picture:
        from fastnn.plots import save_boundary

        save_boundary(net, X, y, picture)


if __name__ == "__main__":
    main(*sys.argv[1:2])
