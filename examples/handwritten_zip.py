"""Exercise 4 of the machine-learning class: handwritten digits, 400-25-10 sigmoid, minimized as a whole.

The exercise of Andrew Ng's course (Stanford, Coursera) has 5,000 images of 20x20 pixels, labels 1 to 10 where 10 is the
digit 0, a cross-entropy summed over the ten outputs, lambda / (2 m) times the sum of the squared weights, and lets fmincg,
a conjugate gradient, take 50 iterations: about 95.3 % of the training images. The course's images may not be passed on, so
this trains on something else: the middle 20x20 pixels of the first 5,000 images of MNIST.

It teaches that training is minimization: with all images at once, any minimizer of a function with a gradient will do, and
there is no learning rate to choose.
"""

import numpy as np

import fastnn
from fastnn import LBFGS, BinaryCrossEntropy, ConjugateGradient, Dense, Scale, Sequential

N_IMAGES = 5000
PUBLISHED = 0.953


def load():
    """Return 5,000 training and 10,000 test images of 20x20 pixels, with labels 1 to 10."""
    X, y, X_test, y_test = fastnn.load_mnist()
    crops = [images.reshape(-1, 28, 28)[:, 4:24, 4:24].reshape(-1, 400) for images in (X[:N_IMAGES], X_test)]
    labels = [np.where(digits == 0, 10, digits) for digits in (y[:N_IMAGES], y_test)]
    return crops[0], labels[0], crops[1], labels[1]


def one_hot(labels):
    """Return a row of ten outputs for each label: label 1 is the first of them, label 10, the digit 0, the last."""
    return np.eye(10)[labels - 1]


def make_network(lambda_, n_images=N_IMAGES):
    """Return the class's network: weights and biases start uniform in -0.12 to 0.12."""
    draws = np.random.default_rng(0)
    start = [(draws.uniform(-0.12, 0.12, shape), draws.uniform(-0.12, 0.12, shape[1])) for shape in ((400, 25), (25, 10))]
    l2 = lambda_ / (2 * n_images)
    layers = [Scale(1 / 255), Dense(25, "sigmoid", initializer=start[0], l2=l2), Dense(10, "sigmoid", initializer=start[1], l2=l2)]
    return Sequential(layers, n_features=400, dtype="float64")


def accuracy(net, X, labels):
    """Return the share of images whose largest output is that of their label."""
    return float(np.mean(net.predict(X).argmax(axis=1) + 1 == labels))


def train(optimizer, X, labels, lambda_=1.0, iterations=50):
    """Minimize the class's cost; return the network and the cost at the end."""
    net = make_network(lambda_, len(X))
    cost = BinaryCrossEntropy(reduction="mean", outputs_reduction="sum")
    net.fit(X, one_hot(labels), loss=cost, optimizer=optimizer, epochs=iterations, batch_size=None, verbose=0, n_threads=1)
    return net, net.evaluate(X, one_hot(labels))["loss"]


def main():
    """Print the accuracy after 50 iterations of two minimizers beside the class's."""
    X, labels, X_test, test_labels = load()
    print("MNIST cropped to 20x20 pixels in place of the class's images; 50 iterations, lambda 1")
    print(f"{'':<22}{'cost':>8}{'training':>10}{'test':>8}")
    for optimizer in (ConjugateGradient(), LBFGS()):
        net, cost = train(optimizer, X, labels)
        print(f"{type(optimizer).__name__:<22}{cost:>8.4f}{accuracy(net, X, labels):>10.4f}{accuracy(net, X_test, test_labels):>8.4f}")
    print(f"{'class, its own images':<22}{'':>8}{PUBLISHED:>10.4f}")


if __name__ == "__main__":
    main()
