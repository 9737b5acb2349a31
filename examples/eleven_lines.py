"""A neural network in 11 lines: the 3-1 and the 3-4-1 network of sigmoids without bias, at six learning rates.

The networks and the printed numbers are those of Andrew Trask, "A Neural Network in 11 lines of Python" (parts 1 and 2,
iamtrask.github.io, 2015, Apache-2.0). All four rows are one batch, gradients are summed over it, and the loss whose
gradient he takes is half the squared error. Between two of his printed lines lie 10,000 steps: a network this small takes
hundreds of them in one compiled call.
"""

import numpy as np

from fastnn import SGD, Dense, Sequential, SquaredError

X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
FIRST_INPUT, XOR = np.array([[0], [0], [1], [1]]), np.array([[0], [1], [1], [0]])
LOSS = SquaredError(scale=0.5, reduction="sum", outputs_reduction="sum")

OUTPUTS = (0.00966449, 0.00786506, 0.99358898, 0.99211957)  # of the 3-1 network in the forward pass of step 10,000
ERRORS = {  # mean |error| of the 3-4-1 network after 0, 10,000, ... 50,000 steps
    0.001: (0.496410031903, 0.495164025493, 0.493596043188, 0.491606358559, 0.489100166544, 0.485977857846),
    0.01: (0.496410031903, 0.457431074442, 0.359097202563, 0.239358137159, 0.143070659013, 0.0985964298089),
    0.1: (0.496410031903, 0.0428880170001, 0.0240989942285, 0.0181106521468, 0.0149876162722, 0.0130144905381),
    1: (0.496410031903, 0.00858452565325, 0.00578945986251, 0.00462917677677, 0.00395876528027, 0.00351012256786),
    10: (0.496410031903, 0.00312938876301, 0.00214459557985, 0.00172397549956, 0.00147821451229, 0.00131274062834),
    100: (0.496410031903, 0.125476983855, 0.125330333528, 0.125267728765, 0.12523107366, 0.125206352756),
}


def start_weights(*shapes):
    """Return weights from -1 to 1, drawn as in the post."""
    random = np.random.RandomState(1).random_sample  # noqa: NPY002
    return [2 * random(shape) - 1 for shape in shapes]


def network(weights):
    """Return a network of sigmoid layers without bias that starts from the given weights."""
    return Sequential([Dense(W.shape[1], "sigmoid", W, bias=False) for W in weights], n_features=3, dtype="float64")


def train(net, y, learning_rate, steps=10_000):
    """Take full-batch steps."""
    net.fit(X, y, loss=LOSS, optimizer=SGD(learning_rate=learning_rate), epochs=steps, batch_size=None, verbose=0)


def two_layers(weights):
    """Return the outputs of the 3-1 network that lead to step 10,000, as the post prints them: 9,999 steps are behind them."""
    net = network(weights)
    train(net, FIRST_INPUT, learning_rate=1, steps=9_999)
    return net.predict(X)[:, 0]


def three_layers(weights, learning_rate):
    """Return the mean |error| of the 3-4-1 network after 0, 10,000, ... 50,000 steps, and the network after 60,000."""
    net = network(weights)
    errors = []
    for _ in range(6):
        errors.append(np.abs(net.predict(X) - XOR).mean())
        train(net, XOR, learning_rate)
    return errors, net


def main():
    """Print outputs and errors beside the published ones."""
    print("3-1 network, at step 10,000\n   output         published")
    for ours, published in zip(two_layers(start_weights((3, 1))), OUTPUTS):
        print(f"   {ours:.8f}     {published:.8f}")
    for learning_rate, published in ERRORS.items():
        errors, _ = three_layers(start_weights((3, 4), (4, 1)), learning_rate)
        print(f"\n3-4-1 network, learning rate {learning_rate}\n   steps  mean |error|     published")
        for i, (ours, number) in enumerate(zip(errors, published)):
            print(f"{i * 10_000:8,}  {ours:<15.12g}  {number:.12g}")


if __name__ == "__main__":
    main()
