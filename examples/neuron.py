"""One neuron: inputs 1 and 0, weights 7 and 3, bias -2. Then one that filters spam.

The net input is 7 * 1 + 3 * 0 - 2 = 5, the activation sigmoid(5) = 0.9933071491. The same neuron is written twice: with
plain functions, and as a network of one layer with one unit. The spam filter shows what such a neuron means: it adds up
evidence, so much for every word, and the bias says how much it takes to be convinced.
"""

import numpy as np

from fastnn import Dense, Sequential
from fastnn.functional import linear, sigmoid

WORDS = ("free", "meeting")
MESSAGES = ("free free free", "free meeting", "meeting at noon", "hello")
SPAM_WEIGHTS = ([[2.0], [-4.0]], [-1.0])  # "free" speaks for spam, "meeting" against it, and without words it is not spam


def as_functions(inputs, weights, bias):
    """Return net input and activation."""
    net_input = linear(inputs, weights, bias)
    return net_input, sigmoid(net_input)


def as_network(inputs, weights, bias):
    """Return net input and activation."""
    neuron = Sequential([Dense(1, "sigmoid")], n_features=len(weights), dtype="float64")
    neuron.set_weights([(weights, bias)])
    return neuron.predict(inputs, logits=True), neuron.predict(inputs)


def count_words(messages):
    """Return how often each of WORDS is in each message."""
    return np.array([[message.split().count(word) for word in WORDS] for message in messages])


def main():
    """Print net input and activation both ways, and the verdict on four messages."""
    print("                  net input   activation     published")
    for name, neuron in (("functions", as_functions), ("network", as_network)):
        net_input, activation = neuron([[1, 0]], [[7], [3]], [-2])
        print(f"{name:16}{net_input[0, 0]:11.1f}{activation[0, 0]:13.10f}  0.9933071491")
    print(f"\n{'message':18}{WORDS[0]:>6}{WORDS[1]:>9}  probability of spam")
    counts = count_words(MESSAGES)
    for message, count, probability in zip(MESSAGES, counts, as_network(counts, *SPAM_WEIGHTS)[1][:, 0]):
        print(f"{message:18}{count[0]:6}{count[1]:9}{probability:21.3f}  {'spam' if probability > 0.5 else ''}".rstrip())


if __name__ == "__main__":
    main()
