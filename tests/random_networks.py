"""Train random networks beside a float64 twin and print where they differ.

    python -m tests.random_networks --count 500 --seed 1

The twin is PyTorch where it is installed, otherwise the formulas of `tests.reference`. A network is a function of the seed and its
number, so that one can be had again: `--first 17 --count 1`. One network in some thousands may differ without a fault: a number within
a rounding of a kink is on its other side, of an activation in float32, of an absolute value where signs add up to zero.
`--twin numpy` beside `--twin torch` tells them apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import sys
from dataclasses import asdict, dataclass, replace

import numpy as np

import fastnn
import kernels
from fastnn import AbsoluteError, BinaryCrossEntropy, CrossEntropy, Dense, Huber, Scale, Sequential, SquaredError
from tests import reference

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}  # of the largest number of an array: ten times what 500 networks show
CLASSES, VALUES = (CrossEntropy,), (SquaredError, AbsoluteError, Huber)


@dataclass
class Training:
    """A network and how it is trained."""

    net: Sequential
    X: np.ndarray
    y: np.ndarray
    loss: fastnn.losses.Loss
    optimizer: fastnn.optimizers.Optimizer
    batch_size: int | None
    orders: list[np.ndarray]
    sample_weight: np.ndarray | None

    def __str__(self):
        weighted = "" if self.sample_weight is None else ", rows weighted"
        return f"{self.net}, {self.loss}, {self.optimizer}, {len(self.X)} rows, batch {self.batch_size}, {len(self.orders)} epochs{weighted}"

    def fit(self):
        """Train it and return the losses of its epochs."""
        settings = {"batch_size": self.batch_size, "epochs": len(self.orders), "shuffle": self.orders, "sample_weight": self.sample_weight}
        return self.net.fit(self.X, self.y, self.loss, self.optimizer, verbose=0, **settings).history["loss"]

    def minibatches(self):
        """Yield epochs of minibatches as (rows, targets, weights of the rows) in float64."""
        scale, shift = self.net.scaling
        X, n_outputs = self.X.astype(np.float64) * scale + shift, self.net.n_outputs
        T = np.eye(n_outputs)[self.y] if self.y.ndim == 1 else self.y.astype(np.float64)
        weights = np.ones(len(X)) if self.sample_weight is None else self.sample_weight
        for order in self.orders:
            size = self.batch_size or len(order)
            parts = [order[i : i + size] for i in range(0, len(order), size)]
            yield [(X[rows], T[rows], weights[rows]) for rows in parts]


def draw(seed: int, number: int) -> Training:
    """Return a random network with random data."""
    rng = np.random.default_rng([seed, number])

    def some(*choices):
        return choices[rng.integers(len(choices))]

    def maybe(share, value, otherwise):
        return value if rng.random() < share else otherwise

    dtype, kind = some("float32", "float64"), some("classes", "labels", "values")
    activations = [name for name in reference.ACTIVATIONS if name != "exponential"]
    widths = [int(np.exp(rng.uniform(0, np.log(80)))) for _ in range(rng.integers(1, 6))]
    last = {"classes": some("softmax", "log_softmax"), "labels": "sigmoid", "values": some(*activations)}[kind]
    widths[-1] = max(2, widths[-1]) if kind == "classes" else widths[-1]
    layers = [_dense(width, some(*activations) if i + 1 < len(widths) else last, rng, maybe) for i, width in enumerate(widths)]
    if not any(any(layer.trained) for layer in layers):
        layers[-1] = replace(layers[-1], trainable="weights")
    n_features, n_rows = int(rng.integers(1, 60)), int(rng.integers(1, 120))
    layers = [*maybe(0.2, [Scale(float(rng.uniform(0.5, 1.5)), float(rng.uniform(-1, 1)))], []), *layers]
    net = Sequential(layers, n_features, dtype, seed=number)
    loss = {"classes": CrossEntropy, "labels": BinaryCrossEntropy, "values": some(*VALUES)}[kind](
        reduction=some("mean", "sum"), outputs_reduction=some("mean", "sum")
    )
    loss = replace(loss, scale=float(rng.uniform(0.5, 2)) / (20 if loss.reduction == "sum" else 1) / (4 if loss.outputs_reduction == "sum" else 1))
    loss = replace(loss, delta=float(rng.uniform(0.2, 2))) if isinstance(loss, Huber) else loss
    X, y = rng.normal(size=(n_rows, n_features)).astype(some(dtype, "float64")), _targets(rng, kind, n_rows, widths[-1])
    orders = [rng.permutation(n_rows) for _ in range(rng.integers(1, 5))]
    batch_size = maybe(0.2, None, int(rng.integers(max(1, n_rows // 5), n_rows + 1)))
    if batch_size in (None, n_rows):
        batch_size, orders = None, [np.arange(n_rows)] * len(orders)
    optimizer = _optimizer(rng, dtype, some, maybe)
    row_weights = np.maximum(rng.normal(1, 1, n_rows), [0.1] + [0] * (n_rows - 1))  # not all 0, which is refused
    return Training(net, X, y, loss, optimizer, batch_size, orders, maybe(0.3, row_weights, None))


def _dense(width, activation, rng, maybe):
    settings = {name: maybe(0.15, float(rng.uniform(0, 0.02)), 0.0) for name in ("l1", "l2", "bias_l1", "bias_l2")}
    trainable = maybe(0.7, True, (False, "weights", "bias")[rng.integers(3)])
    return Dense(width, activation, bias=bool(maybe(0.8, True, False)), trainable=trainable, **settings)


def _targets(rng, kind, n_rows, n_outputs):
    if kind == "values":
        return rng.normal(size=(n_rows, n_outputs))
    if kind == "labels":
        return rng.random((n_rows, n_outputs)).round(int(rng.integers(0, 3)))
    return rng.dirichlet(np.ones(n_outputs), n_rows) if rng.random() < 0.3 else rng.integers(0, n_outputs, n_rows)


def _optimizer(rng, dtype, some, maybe):
    """Return random settings that rounding errors of a gradient do not carry far.

    What divides by a root gets an eps above them; to Rprop a sign is all, so it gets float64.
    """
    rules = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] + ["rprop"] * (dtype == "float64")
    optimizer = fastnn.optimizers.OPTIMIZERS[some(*rules)]
    rate = float(np.exp(rng.uniform(np.log(0.002), np.log(0.03))))
    schedule = maybe(0.3, fastnn.InverseTime(rate, 0.2), rate)
    settings = {"learning_rate": schedule, "weight_decay": maybe(0.4, float(rng.uniform(0, 0.1)), 0.0)}
    if isinstance(optimizer, fastnn.Rprop):
        return replace(optimizer, learning_rate=rate, eta_minus=float(rng.uniform(0.3, 0.7)), eta_plus=float(rng.uniform(1.1, 1.5)), max_step=0.05)
    limits = {"momentum": 0.95, "dampening": 0.8, "alpha": 0.99, "beta1": 0.95, "beta2": 0.999, "lr_decay": 0.5}
    settings |= {name: float(rng.uniform(0, limit)) for name, limit in limits.items() if hasattr(optimizer, name) and rng.random() < 0.5}
    if "beta2" in settings:
        settings["beta2"] = max(settings["beta2"], 0.9)  # with a short memory a step is little more than a sign
    if hasattr(optimizer, "eps"):
        settings["eps"] = float(10 ** rng.uniform(-3, -1)) if dtype == "float32" else float(10 ** rng.uniform(-8, -3))
    return replace(optimizer, **settings)


class NumpyTwin:
    """The formulas of `reference`."""

    def __init__(self, training: Training) -> None:
        self.net, self.loss, self.optimizer = training.net, training.loss, training.optimizer
        self.dense = training.net.dense
        self.weights = [[W.astype(np.float64), np.zeros(W.shape[1]) if b is None else b.astype(np.float64)] for W, b in training.net.weights]
        self.rule = getattr(reference, kernels.OPTIMIZERS[self.optimizer.rule].name)
        self.names = list(inspect.signature(self.rule).parameters)
        n_buffers = self.names.index("learning_rate") - 2
        self.buffers = {(i, j): [np.zeros_like(A)] * n_buffers for i, pair in enumerate(self.weights) for j, A in enumerate(pair)}
        self.settings = {name: value for name, value in asdict(self.optimizer).items() if name in self.names}

    def forward(self, X):
        """Return the input of every layer, what its activation is applied to, and the outputs."""
        inputs, sums = [X], []
        for layer, (W, b) in zip(self.dense, self.weights):
            sums.append(inputs[-1] @ W + b)
            last = {"softmax": reference.softmax, "log_softmax": reference.log_softmax}
            inputs.append((last.get(layer.activation) or reference.ACTIVATIONS[layer.activation][0])(sums[-1]))
        return inputs, sums

    def predict(self, X):
        return self.forward(X)[0][-1]

    def loss_and_gradient(self, X, T, row_weights):
        inputs, sums = self.forward(X)
        factor = self.loss.scale_of_outputs(T.shape[1]) / (len(X) if self.loss.reduction == "mean" else 1) * row_weights[:, None]
        values, slope = self._loss(inputs[-1], sums[-1], T)
        loss, d, gradients = float((values * factor).sum()), slope * factor, []
        for i in reversed(range(len(self.dense))):
            W, layer = self.weights[i][0], self.dense[i]
            gradients.insert(0, [inputs[i].T @ d, d.sum(axis=0)])
            if i:
                d = d @ W.T * reference.ACTIVATIONS[self.dense[i - 1].activation][1](sums[i - 1])
            for A, g, l1, l2 in zip(self.weights[i], gradients[0], layer.penalties[::2], layer.penalties[1::2]):
                loss += l1 * np.abs(A).sum() + l2 * (A**2).sum()
                g += l1 * np.sign(A) + 2 * l2 * A
        trained = [[g * yes for g, yes in zip(pair, layer.trained)] for pair, layer in zip(gradients, self.dense)]
        return loss, trained

    def _loss(self, A, Z, T):
        """Return the loss of each output, and the derivative with regard to the last sums."""
        if isinstance(self.loss, CrossEntropy):
            return -T * reference.log_softmax(Z), reference.softmax(Z) * T.sum(axis=1, keepdims=True) - T
        if isinstance(self.loss, BinaryCrossEntropy):
            return np.logaddexp(0, Z) - Z * T, reference.sigmoid(Z) - T
        slope, d = reference.ACTIVATIONS[self.dense[-1].activation][1](Z), A - T
        if isinstance(self.loss, SquaredError):
            return d**2, 2 * d * slope
        if isinstance(self.loss, AbsoluteError):
            return np.abs(d), np.sign(d) * slope
        delta = self.loss.delta
        return np.where(np.abs(d) <= delta, d**2 / 2, delta * (np.abs(d) - delta / 2)), np.clip(d, -delta, delta) * slope

    def step(self, minibatch, step, rate):
        """Take one step and return the loss before it."""
        loss, gradients = self.loss_and_gradient(*minibatch)
        settings = self.settings | {"learning_rate": rate} | ({"step": step + 1} if "step" in self.names else {})
        for (i, j), buffers in self.buffers.items():
            if self.dense[i].trained[j]:
                self.weights[i][j], *self.buffers[i, j] = self.rule(self.weights[i][j], gradients[i][j], *buffers, **settings)
        return loss


class TorchTwin:
    """PyTorch's automatic differentiation and optimizers."""

    def __init__(self, training: Training) -> None:
        import torch
        from torch.nn import functional as F

        self.torch, self.loss, self.dense = torch, training.loss, training.net.dense
        self.functions = {"identity": lambda Z: Z, "gelu_tanh": lambda Z: F.gelu(Z, approximate="tanh"), "softplus": lambda Z: F.softplus(Z, threshold=700)}
        self.functions |= {"hard_swish": F.hardswish, "exponential": torch.exp}
        self.functions |= {name: getattr(F, name) for name in reference.ACTIVATIONS if name not in self.functions}
        self.functions |= {"softmax": lambda Z: F.softmax(Z, 1), "log_softmax": lambda Z: F.log_softmax(Z, 1)}
        self.tensors = [[torch.tensor(np.zeros(W.shape[1]) if A is None else A, dtype=torch.float64) for A in (W, b)] for W, b in training.net.weights]
        trained = [A.requires_grad_() for pair, layer in zip(self.tensors, self.dense) for A, yes in zip(pair, layer.trained) if yes]
        self.optimizer = self._optimizer(training.optimizer, trained)

    def _optimizer(self, ours, parameters):
        optim, decay = self.torch.optim, ours.weight_decay
        s = {name: value for name, value in asdict(ours).items() if name in ("lr_decay", "eps", "alpha", "momentum", "dampening")}
        if isinstance(ours, fastnn.Rprop):
            return optim.Rprop(parameters, ours.learning_rate, (ours.eta_minus, ours.eta_plus), (ours.min_step, ours.max_step))
        if isinstance(ours, fastnn.Adam):
            s["betas"] = ours.beta1, ours.beta2
        s |= {"nesterov": True} if isinstance(ours, fastnn.Nesterov) else {}
        name = {"Momentum": "SGD", "Nesterov": "SGD"}.get(type(ours).__name__, type(ours).__name__)
        if s.get("nesterov") and s["momentum"] == 0:
            s.pop("nesterov")
        return getattr(optim, name)(parameters, lr=0.0, weight_decay=decay, **s)

    @property
    def weights(self):
        return [[A.detach().numpy().copy() for A in pair] for pair in self.tensors]

    @weights.setter
    def weights(self, pairs):
        with self.torch.no_grad():
            for tensors, pair in zip(self.tensors, pairs):
                for tensor, A in zip(tensors, pair):
                    tensor[:] = self.torch.tensor(A)

    def _sums(self, X):
        A = self.torch.tensor(X)
        for layer, (W, b) in zip(self.dense, self.tensors):
            Z = A @ W + b
            A = self.functions[layer.activation](Z)
        return Z, A

    def predict(self, X):
        return self._sums(X)[1].detach().numpy()

    def _backward(self, X, T, row_weights):
        F, loss = self.torch.nn.functional, self.loss
        (Z, A), T = self._sums(X), self.torch.tensor(T)
        if isinstance(loss, CrossEntropy):
            values = -T * F.log_softmax(Z, 1)
        elif isinstance(loss, BinaryCrossEntropy):
            values = F.binary_cross_entropy_with_logits(Z, T, reduction="none")
        elif isinstance(loss, Huber):
            values = F.huber_loss(A, T, reduction="none", delta=loss.delta)
        else:
            values = (F.mse_loss if isinstance(loss, SquaredError) else F.l1_loss)(A, T, reduction="none")
        rows = values.sum(1) * loss.scale_of_outputs(T.shape[1]) * self.torch.tensor(row_weights)
        total = rows.mean() if loss.reduction == "mean" else rows.sum()
        for layer, (W, b) in zip(self.dense, self.tensors):
            l1, l2, bias_l1, bias_l2 = layer.penalties
            total = total + l1 * W.abs().sum() + l2 * (W**2).sum() + bias_l1 * b.abs().sum() + bias_l2 * (b**2).sum()
        self.optimizer.zero_grad()
        total.backward()
        return total.item()

    def loss_and_gradient(self, X, T, row_weights):
        loss = self._backward(X, T, row_weights)
        return loss, [[np.zeros(A.shape) if A.grad is None else A.grad.numpy().copy() for A in pair] for pair in self.tensors]

    def step(self, minibatch, step, rate):
        """Take one step and return the loss before it."""
        loss = self._backward(*minibatch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return loss


TWINS = {"torch": TorchTwin, "numpy": NumpyTwin}


def differences(training: Training, twin) -> list[str]:
    """Train both and return a line for each thing in which they differ: losses, weights, gradient, outputs."""
    net, tolerance = training.net, TOLERANCE[training.net.dtype.name]
    rate = training.optimizer.learning_rate
    expected, step = [], 0
    for minibatches in training.minibatches():
        losses, sizes = [], [len(minibatch[0]) for minibatch in minibatches]
        for minibatch in minibatches:
            losses.append(twin.step(minibatch, step, rate(step) if callable(rate) else rate))
            step += 1
        expected.append(np.average(losses, weights=sizes) if training.loss.reduction == "mean" else sum(losses))
    found = [_compare("losses", training.fit(), expected, tolerance)]
    found += _compare_pairs("trained", net.weights, twin.weights, tolerance)
    # from here on with the same weights: of all rows in one
    twin.weights = [[A.astype(np.float64) if A is not None else np.zeros(W.shape[1]) for A in (W, b)] for W, b in net.weights]
    everything = replace(training, batch_size=None, orders=[np.arange(len(training.X))], sample_weight=None)
    rows = next(everything.minibatches())[0]
    loss, gradient = net.loss_and_gradient(training.X, training.y, training.loss)
    expected_loss, expected_gradient = twin.loss_and_gradient(*rows)
    found.append(_compare("loss of all rows", loss, expected_loss, tolerance))
    unpacked = Sequential(net.layers, net.n_features, net.dtype)
    unpacked.parameters = gradient
    # a gradient adds up terms that may cancel: those of a bias alone can be a thousandth of what each row gives
    found += _compare_pairs("gradient of", unpacked.weights, expected_gradient, tolerance, least=0.01 * abs(expected_loss))
    found.append(_compare("outputs", net.predict(training.X), twin.predict(rows[0]), tolerance))
    return [line for line in found if line]


def _compare_pairs(name, actual, expected, tolerance, least=0.0):
    largest = max(least, *(np.abs(A).max() for pair in expected for A in pair))
    return [
        _compare(f"{name} {what} {i}", A, B, tolerance, largest)
        for i, (ours, theirs) in enumerate(zip(actual, expected))
        for what, A, B in zip(("weights", "bias"), ours, theirs)
        if A is not None
    ]


def _compare(name, actual, expected, tolerance, largest=None):
    """Return a line where two arrays differ by more than the tolerance, of the largest number that is compared, allows."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected)
    error = np.abs(actual - expected).max()
    limit = tolerance * (np.abs(expected).max() if largest is None else largest)
    return "" if error <= limit else f"{name} differ by {error:.2g}, allowed is {limit:.2g}"


def run(first: int, count: int, seed: int, twin: str) -> int:
    """Compare some networks, print the differences, and return how many there are."""
    total = 0
    for number in range(first, first + count):
        training = draw(seed, number)
        shown = str(training)
        for line in differences(training, TWINS[twin](training)):
            print(f"network {number} of seed {seed}: {line}: {shown}", flush=True)
            total += 1
    return total


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train random networks beside a float64 twin and print where they differ.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first network")
    parser.add_argument("--twin", choices=TWINS, default="torch" if importlib.util.find_spec("torch") else "numpy")
    args = parser.parse_args(arguments)
    total = run(args.first, args.count, args.seed, args.twin)
    print(f"{args.count} networks, {total} differences from {args.twin}, seed {args.seed}")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
