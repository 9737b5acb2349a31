"""Small problems that others have published with their times: full batches, networks of a few units, and a width at which threads hurt.

Where a problem comes from a tutorial, NumPy's side is the tutorial's own loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.baseline import Network, zeros
from benchmarks.common import IMPLS, Call, close, hold_threads
from benchmarks.peers import SIDES, Problem, available, make_problem
from fastnn import SGD, Adam, Dense, Sequential

Array = np.ndarray[Any, Any]


def exponential(A: Array) -> Array:
    """Return the matrix exponential of each of many small matrices: a Taylor series of A / 1024, squared ten times."""
    A = A.astype(np.float64) / 1024
    term = total = np.broadcast_to(np.eye(A.shape[-1]), A.shape)
    for k in range(1, 10):
        term = term @ A / k
        total = total + term
    for _ in range(10):
        total = total @ total
    return total


class SmallRegression:
    """Full-batch Adam on 4-32-16-4 with tanh, which learns exp(A) of 10,000 random 2 x 2 matrices.

    The first example of SimpleChains.jl (docs/src/examples/smallmlp.md), 10,000 steps of which take 1.64 s on the eight threads of its authors.
    """

    params = ["fastnn", "numpy", "torch"]
    param_names = ("impl",)
    steps = 20

    def setup(self, impl: str) -> None:
        if not available([impl]):
            raise NotImplementedError
        hold_threads(1)
        self.X = np.random.default_rng(0).standard_normal((10_000, 4), dtype=np.float32)
        self.Y = exponential(self.X.reshape(-1, 2, 2)).reshape(-1, 4).astype(np.float32)
        self.baseline = Network([4, 32, 16, 4], 1)
        self.baseline.parameters *= np.float32(0.7)
        getattr(self, impl)()  # a first fit, which compiles
        self.call: Call = getattr(self, impl)

    def fastnn(self) -> Sequential:
        net = Sequential([Dense(32, "tanh"), Dense(16, "tanh"), Dense(4)], n_features=4)
        net.set_weights([(W.copy(), b.copy()) for W, b in self.baseline.weights])
        net.fit(self.X, self.Y, optimizer=Adam(1e-3), epochs=self.steps, batch_size=None, n_threads=1, verbose=0)
        return net

    def numpy(self) -> Network:
        net, X, rows = Network([4, 32, 16, 4], 1), self.X, len(self.X)
        net.parameters[:] = self.baseline.parameters
        activations = [X, *(zeros((rows, width)) for width in net.widths[1:])]
        gradients = [zeros((rows, width)) for width in net.widths]
        ones = np.ones(rows, np.float32)
        for _ in range(self.steps):
            for layer, (W, b) in enumerate(net.weights, 1):
                Z = activations[layer]
                np.matmul(activations[layer - 1], W, out=Z)
                np.add(Z, b, out=Z)
                if layer < 3:
                    np.tanh(Z, out=Z)
            np.subtract(activations[3], self.Y, out=gradients[3])
            np.multiply(gradients[3], np.float32(2 / self.Y.size), out=gradients[3])
            for layer in (2, 1, 0):
                dZ, A, (dW, db) = gradients[layer + 1], activations[layer], net._weight_gradients[layer]
                np.matmul(A.T, dZ, out=dW)
                np.matmul(ones, dZ, out=db)
                if layer:
                    np.matmul(dZ, net.weights[layer][0].T, out=gradients[layer])
                    np.multiply(A, A, out=A)
                    np.subtract(1, A, out=A)
                    np.multiply(gradients[layer], A, out=gradients[layer])
            net.update()
        return net

    def torch(self) -> Any:
        import torch

        torch.set_num_threads(1)
        net = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
        X, Y = torch.from_numpy(self.X), torch.from_numpy(self.Y)
        for _ in range(self.steps):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.mse_loss(net(X), Y).backward()
            optimizer.step()
        return net

    def time_20_steps(self, impl: str) -> None:
        self.call()


def eleven_lines(steps: int) -> Array:
    """Train 3-4-1 on four rows: the loop of I Am Trask's "A neural network in 11 lines of Python" (2015)."""
    X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    y = np.array([[0, 1, 1, 0]]).T
    rng = np.random.RandomState(1)
    syn0, syn1 = 2 * rng.random_sample((3, 4)) - 1, 2 * rng.random_sample((4, 1)) - 1
    for _ in range(steps):
        l1 = 1 / (1 + np.exp(-(np.dot(X, syn0))))
        l2 = 1 / (1 + np.exp(-(np.dot(l1, syn1))))
        l2_delta = (y - l2) * (l2 * (1 - l2))
        l1_delta = l2_delta.dot(syn1.T) * (l1 * (1 - l1))
        syn1 += l1.T.dot(l2_delta)
        syn0 += X.T.dot(l1_delta)
    return l2


def eleven_lines_fastnn(steps: int) -> Array:
    """Train the same network; it has biases, which the loop has not."""
    X, y = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], float), np.array([[0, 1, 1, 0]], float).T
    net = Sequential([Dense(4, "sigmoid"), Dense(1, "sigmoid")], n_features=3, dtype="float64", seed=1)
    net.fit(X, y, loss="squared_error", optimizer=SGD(2.0), epochs=steps, batch_size=4, shuffle=False, n_threads=1, verbose=0)
    return net.predict(X)


X_STEP, T_STEP = np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
W1, B1, W2, B2 = np.array([[0.15, 0.25], [0.20, 0.30]]), np.full(2, 0.35), np.array([[0.40, 0.50], [0.45, 0.55]]), np.full(2, 0.60)


def step_by_step(steps: int) -> Array:
    """Train 2-2-2 on one row: Matt Mazur's "A step by step backpropagation example" (2015), its biases trained too."""
    w1, b1, w2, b2 = (array.copy() for array in (W1, B1, W2, B2))
    for _ in range(steps):
        h = 1 / (1 + np.exp(-(X_STEP @ w1 + b1)))
        o = 1 / (1 + np.exp(-(h @ w2 + b2)))
        d2 = (o - T_STEP) * o * (1 - o)
        d1 = (d2 @ w2.T) * h * (1 - h)
        w2 -= 0.5 * h.T @ d2
        b2 -= 0.5 * d2[0]
        w1 -= 0.5 * X_STEP.T @ d1
        b1 -= 0.5 * d1[0]
    return 1 / (1 + np.exp(-(1 / (1 + np.exp(-(X_STEP @ w1 + b1))) @ w2 + b2)))


def step_by_step_fastnn(steps: int) -> Array:
    """Train the same network."""
    net = Sequential([Dense(2, "sigmoid", (W1, B1)), Dense(2, "sigmoid", (W2, B2))], n_features=2, dtype="float64")
    net.fit(X_STEP, T_STEP, loss="squared_error", optimizer=SGD(0.5), epochs=steps, batch_size=1, shuffle=False, n_threads=1, verbose=0)
    return net.predict(X_STEP)


class Tutorial:
    """The whole training of two tutorials: 60,000 steps of 3-4-1 on four rows, 10,000 of 2-2-2 on one."""

    params = (["11 lines, 60,000 steps", "step by step, 10,000 steps"], IMPLS)
    param_names = ("tutorial", "impl")
    number, repeat, rounds, warmup_time = 1, 3, 1, 0

    def setup(self, tutorial: str, impl: str) -> None:
        hold_threads(1)
        name, count, _ = tutorial.replace(", ", " steps: ", 1).rsplit(" ", 2)
        self.steps = int(count.replace(",", ""))
        sides = (eleven_lines_fastnn, eleven_lines) if name.startswith("11") else (step_by_step_fastnn, step_by_step)
        self.call: Any = sides[IMPLS.index(impl)]
        close(step_by_step_fastnn(20), step_by_step(20), 1e-9)
        self.call(2)

    def time_training(self, tutorial: str, impl: str) -> None:
        self.call(self.steps)


class Width:
    """An epoch of 10-w-w-10 with batches of 128 on two threads: pytorch#144633, where one unit more made a step nine times slower."""

    params = ([8, 45, 46, 128], ["fastnn", "numpy", "torch"])
    param_names = ("w", "impl")

    def setup(self, w: int, impl: str) -> None:
        if not available([impl]):
            raise NotImplementedError
        hold_threads(2)
        problem: Problem = make_problem([10, w, w, 10], 128, 0.0, least_steps=50)
        self.run = SIDES[impl][1](problem, 2).run
        self.run(50)

    def time_50_steps(self, w: int, impl: str) -> None:
        self.run(50)
