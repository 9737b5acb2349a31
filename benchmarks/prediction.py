"""Prediction: one row, where latency counts, and many."""

from __future__ import annotations

import fastnn
from benchmarks.baseline import Network, zeros
from benchmarks.common import IMPLS, Call, close, hold_threads, random


def same_network(baseline: Network) -> fastnn.Sequential:
    """Return the network of a baseline, with its weights."""
    *hidden, n_classes = baseline.widths[1:]
    layers = [fastnn.Dense(units, "relu") for units in hidden] + [fastnn.Dense(n_classes, "softmax")]
    net = fastnn.Sequential(layers, n_features=baseline.widths[0], dtype=baseline.dtype.name)
    net.set_weights([(W.copy(), b.copy()) for W, b in baseline.weights])
    return net


def predict_calls(widths: list[int], rows: int) -> dict[str, Call]:
    """Return the class probabilities of both sides, checked against each other."""
    X, out = random(rows, widths[0]), zeros((rows, widths[-1]))
    baseline = Network(widths, min(rows, 256))
    net = same_network(baseline)
    close(net.predict(X), baseline.forward(X, out))
    return {"fastnn": lambda: net.predict(X), "numpy": lambda: baseline.forward(X, out)}


class Predict:
    """Class probabilities."""

    params = (["64-128-64-10", "784-500-500-10"], [1, 1000], IMPLS)
    param_names = ("network", "rows", "impl")

    def setup(self, network: str, rows: int, impl: str, threads: int = 1) -> None:
        hold_threads(threads)
        self.call = predict_calls([int(width) for width in network.split("-")], rows)[impl]

    def time_predict(self, network: str, rows: int, impl: str, threads: int = 1) -> None:
        self.call()


class PredictOnTwo(Predict):
    """The same on two threads."""

    params = (["784-500-500-10"], [1, 1000], IMPLS, [2])
    param_names = ("network", "rows", "impl", "threads")
