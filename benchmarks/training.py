"""An epoch of `fit`, a minibatch from Python, the memory that it takes and what it learns."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn
from benchmarks.baseline import Network
from benchmarks.common import IMPLS, NETWORKS, close, hold_threads
from benchmarks.peers import SIDES, available, make_problem
from benchmarks.prediction import same_network

WIDE = ["784-500-500-10, batch 100", "128-1024-1024-10, batch 512"]


class Epoch:
    """Gather, forward, backward and Adam for 4 to 1250 minibatches, fewer of large networks; fastnn's are one `fit`."""

    params = (list(NETWORKS), IMPLS)
    param_names = ("network", "impl")

    def setup(self, network: str, impl: str, threads: int = 1) -> None:
        if not available([impl]):
            raise NotImplementedError
        hold_threads(threads)
        widths, batch_size = NETWORKS[network]
        problem = make_problem(widths, batch_size, seconds=0.05)
        self.run, self.steps = SIDES[impl][1](problem, threads).run, len(problem.minibatches)
        assert self.run(self.steps) == self.steps

    def time_epoch(self, network: str, impl: str, threads: int = 1) -> None:
        self.run(self.steps)


class EpochOnTwo(Epoch):
    """The same on two threads, where the network is wide enough for them."""

    params = (WIDE, IMPLS, [2])
    param_names = ("network", "impl", "threads")


class EpochOfPeers(Epoch):
    """The same by other libraries, where they are installed: see `--python=same` in the README."""

    params = (["64-128-64-10, batch 32", "784-500-500-10, batch 100"], ["torch", "jax", "sklearn"])


class Batch:
    """One minibatch handed over by the caller, where the cost of a call shows."""

    params = (["2-16-2, batch 16", "64-128-64-10, batch 32", "784-500-500-10, batch 100"], IMPLS)
    param_names = ("network", "impl")

    def setup(self, network: str, impl: str) -> None:
        hold_threads(1)
        widths, batch_size = NETWORKS[network]
        problem = make_problem(widths, batch_size, 0.0)
        X, y, rows = problem.X[:batch_size], problem.y[:batch_size], np.arange(batch_size)
        baseline = Network(widths, batch_size)
        net = same_network(baseline)
        close(net.loss_and_gradient(X, y)[0], baseline.loss_and_gradient(X, y, rows)[0])
        optimizer = fastnn.Adam(learning_rate=1e-3)
        self.step: Any = (lambda: net.train_on_batch(X, y, optimizer)) if impl == "fastnn" else (lambda: baseline.step(X, y, rows))
        self.step()

    def time_train_on_batch(self, network: str, impl: str) -> None:
        self.step()


class Memory:
    """Peak memory of a process that trains 784-500-500-10, beside one that does nothing but import and make the data."""

    def setup(self) -> None:
        hold_threads(1)
        self.problem = make_problem([784, 500, 500, 10], 100, most_rows=5000, least_steps=50)

    def peakmem_reference(self) -> None:
        pass

    def peakmem_fit(self) -> None:
        SIDES["fastnn"][1](self.problem, 1).run(1)

    def peakmem_numpy(self) -> None:
        SIDES["numpy"][1](self.problem, 1).run(50)


class Quality:
    """A faster step must not learn less: what a fixed number of steps leaves on the digits, from the same weights in the same order."""

    params = IMPLS
    param_names = ("impl",)

    def setup(self, impl: str) -> None:
        hold_threads(1)

    def _train(self, impl: str, epochs: int = 20, batch_size: int = 32) -> tuple[np.ndarray[Any, Any], Any, Any]:
        """Return the probabilities of all rows, their labels, and which of them were trained on."""
        data = fastnn.load_digits()
        X = np.concatenate([data.X_train, data.X_test]).astype(np.float32) / 16
        y, n = np.concatenate([data.y_train, data.y_test]).astype(np.int64), len(data.X_train)
        baseline = Network([64, 128, 10], batch_size)
        net, order = same_network(baseline), np.random.default_rng(0).permutation(n)
        if impl == "fastnn":
            net.fit(X[:n], y[:n], optimizer=fastnn.Adam(1e-3), epochs=epochs, batch_size=batch_size, shuffle=order, n_threads=1, verbose=0)
            return net.predict(X), y, np.arange(len(X)) < n
        for _ in range(epochs):
            for start in range(0, n, batch_size):
                baseline.step(X, y, order[start : start + batch_size])
        return baseline.forward(X, np.empty((len(X), 10), np.float32)), y, np.arange(len(X)) < n

    def track_loss(self, impl: str) -> float:
        probabilities, y, trained = self._train(impl)
        return -float(np.mean(np.log(probabilities[np.arange(len(y)), y][trained])))

    def track_error(self, impl: str) -> float:
        probabilities, y, trained = self._train(impl)
        return float(np.mean(probabilities.argmax(1)[~trained] != y[~trained]))


Quality.track_loss.unit = "cross-entropy of the training digits"  # type: ignore[attr-defined]
Quality.track_error.unit = "share of the test digits that are misread"  # type: ignore[attr-defined]
