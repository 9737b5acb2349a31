"""Train MNIST with dropout, as it comes, without distortions, and print the accuracy on the test images and the time it took.

    python benchmarks/mnist_dropout.py [--data-dir FOLDER] [--seed 0] [--epochs 40] [--threads N]

784-1024-1024-10, ReLU, dropout of 0.2 on the pixels and 0.5 on the hidden units, Adam with one cycle of the learning rate. With three such
layers Srivastava et al., Dropout, JMLR 2014, report 1.25 % errors. No test image has a say: the last epoch is taken.
"""

from __future__ import annotations

import argparse
import time

import fastnn
from fastnn import Adam, Dense, Dropout, OneCycle, Scale, Sequential


def main() -> None:
    parser = argparse.ArgumentParser(description="MNIST with dropout: test accuracy and seconds.")
    parser.add_argument("--data-dir")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    X, y, X_test, y_test = fastnn.load_mnist(args.data_dir)
    layers = [Scale(1 / 255), Dropout(0.2), Dense(1024, "relu"), Dropout(0.5), Dense(1024, "relu"), Dropout(0.5), Dense(10, "softmax")]
    net = Sequential(layers, n_features=784, seed=args.seed)
    start = time.perf_counter()
    history = net.fit(X, y, optimizer=Adam(OneCycle(2e-3)), epochs=args.epochs, batch_size=256, n_threads=args.threads)
    seconds = time.perf_counter() - start
    found = net.evaluate(X_test, y_test, metrics=["accuracy", "log_loss"])
    print(f"{len(history.epochs)} epochs in {seconds:.0f} s: test accuracy {found['accuracy']:.4f}, log loss {found['log_loss']:.4f}")


if __name__ == "__main__":
    main()
