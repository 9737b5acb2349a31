"""One training loop and one prediction for each library, all doing the same work from the same arrays.

A side is made from a `Problem`; `run(steps)` takes at least that many minibatches, waits until the work is done and
returns how many it took. No side computes more than a step needs; what a loop can prepare before it starts (tensors,
indices on the device) is prepared in the constructor.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.baseline import Network

LEARNING_RATE = 1e-3


@dataclass
class Problem:
    """A network and made-up rows for it: `order` visits each row once, in minibatches of `batch_size`."""

    widths: list[int]
    batch_size: int
    X: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    order: np.ndarray[Any, Any]

    @property
    def minibatches(self) -> list[np.ndarray[Any, Any]]:
        return [self.order[i : i + self.batch_size] for i in range(0, len(self.order), self.batch_size)]

    @property
    def flops_per_step(self) -> int:
        """Two for each multiply-add of the forward product and of both backward products; the first layer needs no dX."""
        return self.batch_size * (sum(6 * n_in * n_out for n_in, n_out in zip(self.widths[:-1], self.widths[1:])) - 2 * self.widths[0] * self.widths[1])

    @property
    def name(self) -> str:
        return "-".join(map(str, self.widths))


def make_problem(widths: list[int], batch_size: int, seconds: float = 0.25, most_rows: int = 20_000, least_steps: int = 4) -> Problem:
    """Return random rows for about `seconds` of training on one fast core."""
    rng, nothing = np.random.default_rng(1), np.empty(0)
    steps = seconds * 1e11 / Problem(widths, batch_size, nothing, nothing, nothing).flops_per_step
    n = batch_size * max(int(min(steps, most_rows // batch_size)), least_steps)
    return Problem(widths, batch_size, rng.standard_normal((n, widths[0]), dtype=np.float32), rng.integers(0, widths[-1], n), rng.permutation(n))


class Side(Protocol):
    def run(self, steps: int) -> int: ...


class Fastnn:
    """`Sequential.fit` with the order given and no progress."""

    def __init__(self, problem: Problem, threads: int, dtype: str = "float32") -> None:
        import fastnn

        self.problem, self.threads = problem, threads
        *hidden, n_classes = problem.widths[1:]
        layers = [fastnn.Dense(units, "relu") for units in hidden] + [fastnn.Dense(n_classes, "softmax")]
        self.net = fastnn.Sequential(layers, n_features=problem.widths[0], dtype=dtype, seed=0)
        self.optimizer = fastnn.Adam(learning_rate=LEARNING_RATE)

    def run(self, steps: int) -> int:
        p = self.problem
        an_epoch = -(-len(p.order) // p.batch_size)
        epochs = -(-steps // an_epoch)
        self.net.fit(p.X, p.y, optimizer=self.optimizer, epochs=epochs, batch_size=p.batch_size, shuffle=p.order, n_threads=self.threads, verbose=0)
        return epochs * an_epoch


class _Loop:
    """A Python loop over minibatches, started again from the first when they run out."""

    def __init__(self, step: Callable[[Any], None], minibatches: list[Any], wait: Callable[[], Any] | None = None) -> None:
        self.step, self.minibatches, self.wait = step, minibatches, wait

    def run(self, steps: int) -> int:
        step, left = self.step, steps
        while left > 0:
            for rows in self.minibatches[:left]:
                step(rows)
            left -= len(self.minibatches)
        if self.wait:
            self.wait()
        return steps


class Numpy(_Loop):
    """The plain NumPy of `baseline.py`."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.net = net = Network(problem.widths, problem.batch_size)
        X, y = problem.X, problem.y
        super().__init__(lambda rows: net.step(X, y, rows, LEARNING_RATE), problem.minibatches)


def torch_side(problem: Problem, threads: int, bfloat16: bool = False) -> Side:
    """PyTorch eager with fused Adam; with `bfloat16` forward and loss under autocast."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layers: list[Any] = []
    for n_in, n_out in zip(problem.widths[:-1], problem.widths[1:]):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)

    def step(rows: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = torch.nn.functional.cross_entropy(net(X.index_select(0, rows)), y.index_select(0, rows))
        loss.backward()
        optimizer.step()

    return _Loop(step, [torch.from_numpy(rows) for rows in problem.minibatches])


def jax_side(problem: Problem, threads: int) -> Side:
    """JAX: one jitted step with donated parameters and moments, waited for at the end of a round."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    params = [
        (jnp.asarray(rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out)), jnp.float32), jnp.zeros(n_out, jnp.float32))
        for n_in, n_out in zip(problem.widths[:-1], problem.widths[1:])
    ]

    def loss(params: Any, A: Any, labels: Any) -> Any:
        for i, (W, b) in enumerate(params):
            A = A @ W + b
            if i < len(params) - 1:
                A = jnp.maximum(A, 0)
        return -jnp.mean(jax.nn.log_softmax(A)[jnp.arange(labels.shape[0]), labels])

    def update(state: Any, X: Any, y: Any, rows: Any) -> Any:
        params, m, v, t = state
        g = jax.grad(loss)(params, X[rows], y[rows])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, root = LEARNING_RATE / (1 - 0.9**t), 1 / (1 - 0.999**t)
        return jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v * root) + 1e-8), params, m, v), m, v, t

    jitted = jax.jit(update, donate_argnums=0)
    X, y = jnp.asarray(problem.X), jnp.asarray(problem.y, jnp.int32)
    state = [(params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params), jnp.float32(0))]

    def step(rows: Any) -> None:
        state[0] = jitted(state[0], X, y, rows)

    minibatches = [jnp.asarray(rows, jnp.int32) for rows in problem.minibatches]
    return _Loop(step, minibatches, wait=lambda: jax.block_until_ready(state[0]))


class Sklearn:
    """scikit-learn's MLPClassifier, its own shuffling included."""

    def __init__(self, problem: Problem, threads: int) -> None:
        from sklearn.neural_network import MLPClassifier

        self.problem = problem
        self.make = lambda epochs: MLPClassifier(
            tuple(problem.widths[1:-1]), alpha=0.0, batch_size=problem.batch_size, learning_rate_init=LEARNING_RATE, max_iter=epochs, n_iter_no_change=epochs
        )

    def run(self, steps: int) -> int:
        an_epoch = len(self.problem.minibatches)
        epochs = -(-steps // an_epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged
            self.make(epochs).fit(self.problem.X, self.problem.y)
        return epochs * an_epoch


SIDES: dict[str, tuple[str, Callable[[Problem, int], Side]]] = {
    "fastnn": ("fastnn", Fastnn),
    "torch": ("torch", torch_side),
    "jax": ("jax", jax_side),
    "numpy": ("numpy", Numpy),
    "sklearn": ("sklearn", Sklearn),
}


Weights = list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
Predict = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def torch_predictor(weights: Weights, threads: int) -> Predict:
    """PyTorch eager in inference mode, from NumPy to NumPy."""
    import torch

    torch.set_num_threads(threads)
    layers: list[Any] = []
    for W, b in weights:
        layers += [torch.nn.Linear(*W.shape), torch.nn.ReLU()]
        with torch.no_grad():
            layers[-2].weight[:], layers[-2].bias[:] = torch.tensor(W.T), torch.tensor(b)
    net = torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(1)).eval()

    def predict(X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            return np.asarray(net(torch.from_numpy(X)).numpy())

    return predict


def onnxruntime_predictor(weights: Weights, threads: int) -> Predict:
    """ONNX Runtime with its own optimizations: a Gemm and a Relu a layer, then a Softmax."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, arrays, name = [], [], "X"
    for i, (W, b) in enumerate(weights):
        arrays += [numpy_helper.from_array(A, f"{part}{i}") for part, A in (("W", W), ("b", b))]
        last = i + 1 == len(weights)
        nodes += [helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"Z{i}"])]
        nodes += [helper.make_node("Softmax" if last else "Relu", [f"Z{i}"], [f"A{i}"])]
        name = f"A{i}"
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["rows", n]) for end, n in (("X", len(weights[0][0])), (name, len(weights[-1][1])))]
    model = helper.make_model(helper.make_graph(nodes, "net", ends[:1], ends[1:], arrays), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda X: np.asarray(session.run(None, {"X": X})[0])


PREDICTORS: dict[str, tuple[str, Callable[[Weights, int], Predict]]] = {
    "torch": ("torch", torch_predictor),
    "onnxruntime": ("onnxruntime", onnxruntime_predictor),
}
NEEDS = {"onnxruntime": ["onnx"]}  # beside the package itself


def package(name: str) -> str:
    """Return the package that a peer is."""
    return (SIDES.get(name) or PREDICTORS[name])[0]


def available(names: list[str]) -> list[str]:
    """Return those of the named peers that are installed."""
    return [name for name in names if all(map(importlib.util.find_spec, [package(name), *NEEDS.get(name, [])]))]
