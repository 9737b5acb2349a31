"""Backpropagation step by step: a 2-2-2 network of sigmoids and one training row.

The network and its numbers are those of Matt Mazur, "A Step by Step Backpropagation Example" (2015); his text has no
open licence, so only numbers are repeated here. The error is half the squared distance, the learning rate 0.5, and the
biases stay as they are: `trainable="weights"`.

The post mixes two calculations. Its error after one step, 0.291027924, takes the gradient of the first layer with the
weights of the second that are already updated, while backpropagation takes all gradients first and gives 0.2910277737;
its error after 10,000 steps, 0.0000351085, is that of backpropagation after 9,999.
"""

import numpy as np

from fastnn import SGD, Dense, Sequential, SquaredError
from fastnn.functional import linear, sigmoid

X, TARGETS = np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
W1, B1 = np.array([[0.15, 0.25], [0.20, 0.30]]), np.array([0.35, 0.35])  # w1 and w2 lead to the first hidden unit: a column
W2, B2 = np.array([[0.40, 0.50], [0.45, 0.55]]), np.array([0.60, 0.60])
LOSS = SquaredError(scale=0.5, outputs_reduction="sum")


def network(trainable="weights"):
    """Return the network with Mazur's weights; `trainable=True` trains the biases too."""
    layers = [Dense(2, "sigmoid", (W1, B1), trainable=trainable), Dense(2, "sigmoid", (W2, B2), trainable=trainable)]
    return Sequential(layers, n_features=2, dtype="float64")


def train(net, steps):
    """Take some steps and return the error after them."""
    net.fit(X, TARGETS, loss=LOSS, optimizer=SGD(learning_rate=0.5), epochs=steps, batch_size=None, verbose=0)
    return net.evaluate(X, TARGETS, loss=LOSS)["loss"]


def forward():
    """Return net inputs and outputs of both layers and the error, one function after the other."""
    hidden_input = linear(X, W1, B1)
    hidden = sigmoid(hidden_input)
    output_input = linear(hidden, W2, B2)
    outputs = sigmoid(output_input)
    return hidden_input[0], hidden[0], output_input[0], outputs[0], 0.5 * np.sum((TARGETS - outputs) ** 2)


def named_weights(net):
    """Return w1 to w8 as the post numbers them."""
    return np.concatenate([W.T.ravel() for W, b in net.weights])


def main():
    """Print the forward pass, the weights after one step and the errors, beside the published numbers."""
    hidden_input, hidden, output_input, outputs, error = forward()
    print(f"{'':24}{'ours':>24}  published")
    for name, (first, second), published in (
        ("net input of h1, h2", hidden_input, "0.3775"),
        ("output of h1, h2", hidden, "0.593269992, 0.596884378"),
        ("net input of o1, o2", output_input, "1.105905967"),
        ("output of o1, o2", outputs, "0.75136507, 0.772928465"),
    ):
        print(f"{name:24}{f'{first:.9f}, {second:.9f}':>24}  {published}")
    print(f"{'error':24}{error:24.9f}  0.298371109")
    net = network()
    after_one = train(net, 1)
    published = "0.149780716 0.19956143 0.24975114 0.29950229 0.35891648 0.408666186 0.511301270 0.561370121".split()
    for i, (weight, number) in enumerate(zip(named_weights(net), published), start=1):
        print(f"{f'w{i} after 1 step':24}{weight:24.9f}  {number}")
    print(f"{'error after 1 step':24}{after_one:24.10f}  0.291027924 (first layer after the second)")
    print(f"{'after 9,999 steps':24}{train(net, 9_998):24.10f}  0.0000351085 (as that of 10,000)")
    print(f"{'after 10,000 steps':24}{train(net, 1):24.10f}")
    net = network(trainable=True)
    print("with biases trained, which the post leaves out:")
    print(f"{'error after 1 step':24}{train(net, 1):24.10f}")
    print(f"{'after 10,000 steps':24}{train(net, 9_999):24.10f}")


if __name__ == "__main__":
    main()
