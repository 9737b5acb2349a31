"""Prediction: one row, where latency counts, and many."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn
from benchmarks.baseline import Network
from benchmarks.common import IMPLS, close, random


class Predict:
    """Class probabilities."""

    params = (["64-128-64-10", "784-500-500-10"], [1, 1000], IMPLS)
    param_names = ("network", "rows", "impl")

    def setup(self, network: str, rows: int, impl: str) -> None:
        widths = [int(width) for width in network.split("-")]
        X, out = random(rows, widths[0]), np.empty((rows, widths[-1]), np.float32)
        baseline = Network(widths, min(rows, 256))
        net = fastnn.Sequential([fastnn.Dense(n, "relu") for n in widths[1:-1]] + [fastnn.Dense(widths[-1], "softmax")], n_features=widths[0])
        net.set_weights([(W.copy(), b.copy()) for W, b in baseline.weights])
        close(net.predict(X), baseline.forward(X, out))
        self.call: Any = (lambda: net.predict(X)) if impl == "fastnn" else (lambda: baseline.forward(X, out))

    def time_predict(self, network: str, rows: int, impl: str) -> None:
        self.call()
