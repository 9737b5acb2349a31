"""A minibatch from Python, an epoch of `fit`, its memory and what it learns."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn
from benchmarks.baseline import Network
from benchmarks.common import IMPLS, NETWORKS, close
from benchmarks.peers import SIDES, make_problem


class Epoch:
    """Gather, forward, backward and Adam for 4 to 1250 minibatches, fewer of large networks; fastnn's are one `fit`."""

    params = (list(NETWORKS), IMPLS)
    param_names = ("network", "impl")

    def setup(self, network: str, impl: str) -> None:
        widths, batch_size = NETWORKS[network]
        problem = make_problem(widths, batch_size, seconds=0.05)
        self.run, self.steps = SIDES[impl][1](problem, 1).run, len(problem.minibatches)
        assert self.run(self.steps) == self.steps

    def time_epoch(self, network: str, impl: str) -> None:
        self.run(self.steps)


class Batch:
    """One minibatch handed over by the caller, where the cost of a call shows."""

    params = (["2-16-2, batch 16", "64-128-64-10, batch 32", "784-500-500-10, batch 100"], IMPLS)
    param_names = ("network", "impl")

    def setup(self, network: str, impl: str) -> None:
        widths, batch_size = NETWORKS[network]
        problem = make_problem(widths, batch_size)
        X, y, rows = problem.X[:batch_size], problem.y[:batch_size], np.arange(batch_size)
        baseline = Network(widths, batch_size)
        net = fastnn.Sequential([fastnn.Dense(n, "relu") for n in widths[1:-1]] + [fastnn.Dense(widths[-1], "softmax")], n_features=widths[0])
        net.set_weights([(W.copy(), b.copy()) for W, b in baseline.weights])
        close(net.loss_and_gradient(X, y)[0], baseline.loss_and_gradient(X, y, rows)[0])
        optimizer = fastnn.Adam(learning_rate=1e-3)
        self.step: Any = (lambda: net.train_on_batch(X, y, optimizer)) if impl == "fastnn" else (lambda: baseline.step(X, y, rows))
        self.step()

    def time_train_on_batch(self, network: str, impl: str) -> None:
        self.step()


class Memory:
    """Peak memory of a process that trains 784-500-500-10, beside one that does nothing but import and make the data."""

    def setup(self) -> None:
        self.problem = make_problem([784, 500, 500, 10], 100, most_rows=5000, least_steps=50)

    def peakmem_reference(self) -> None:
        pass

    def peakmem_fit(self) -> None:
        SIDES["fastnn"][1](self.problem, 1).run(1)

    def peakmem_numpy(self) -> None:
        SIDES["numpy"][1](self.problem, 1).run(50)


class Quality:
    """A faster step must not learn less."""

    unit = "share of the test digits that are misread"

    def track_digits_error(self) -> float:
        data = fastnn.load_digits()
        net = fastnn.Sequential([fastnn.Scale(1 / 16), fastnn.Dense(128, "relu"), fastnn.Dense(10, "softmax")], n_features=64, seed=0)
        net.fit(data.X_train, data.y_train, optimizer=fastnn.Adam(), epochs=20, batch_size=32, n_threads=1, verbose=0)
        return 1 - float(net.evaluate(data.X_test, data.y_test)["accuracy"])
