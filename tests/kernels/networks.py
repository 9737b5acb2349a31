"""Networks and data for several test files, and what they compute, by the formula, in float64."""

import sys

import numpy as np

import kernels

CLASSES, SQUARES = kernels.Objective(kernels.CROSS_ENTROPY), kernels.Objective(kernels.SQUARED_ERROR)
ADAM = [0.9, 0.999, 1e-8, 0]
ACTIVATE = {
    kernels.IDENTITY: lambda z: z,
    kernels.RELU: lambda z: np.maximum(z, 0),
    kernels.TANH: np.tanh,
    kernels.SIGMOID: lambda z: 1 / (1 + np.exp(-z)),
    kernels.SILU: lambda z: z / (1 + np.exp(-z)),
    kernels.SOFTMAX: lambda z: np.exp(z - z.max(1, keepdims=True)) / np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True),
}


def objective_of(loss):
    """Return the objective that `reference_loss` calculates."""
    return kernels.Objective(loss, parameters=(0.3,) if loss == kernels.HUBER else ())


def network(widths, activations, dtype, dropouts=None, seed=0):
    rng = np.random.default_rng(seed)
    plan = kernels.Plan(widths, activations, dropouts or [0.0] * len(activations), np.dtype(dtype).name, seed)
    parameters = np.zeros(plan.parameters_size, dtype)
    for i, (n_in, n_out) in enumerate(zip(widths[:-1], widths[1:])):
        plan.set_weight(parameters, i, rng.standard_normal((n_in, n_out)) / np.sqrt(n_in), 0.1 * rng.standard_normal(n_out))
    return plan, parameters


def data(n, plan, labels=True, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, plan.widths[0])).astype(plan.dtype)
    return X, rng.integers(0, plan.widths[-1], n) if labels else rng.random((n, plan.widths[-1])).astype(plan.dtype)


def forward(plan, parameters, X):
    A = [X.astype("f8")]
    for i, activation in enumerate(plan.activations):
        W, b = plan.weight(parameters, i)
        A.append(ACTIVATE[activation](A[-1] @ W.astype("f8") + b.astype("f8")))
    return A


def reference_loss(plan, parameters, X, y, loss):
    """Return the loss summed over outputs, the mean over rows, by the formula."""
    P = forward(plan, parameters, X)[-1]
    if loss == kernels.CROSS_ENTROPY:
        return -np.log(P[np.arange(len(y)), y]).mean() if y.ndim == 1 else -(y * np.log(P)).sum(1).mean()
    if loss == kernels.BINARY_CROSS_ENTROPY:
        return -(y * np.log(P) + (1 - y) * np.log(1 - P)).sum(1).mean()
    return (
        {
            kernels.SQUARED_ERROR: lambda d: d * d,
            kernels.ABSOLUTE_ERROR: np.abs,
            kernels.HUBER: lambda d: np.where(np.abs(d) <= 0.3, d * d / 2, 0.3 * (np.abs(d) - 0.15)),
        }[loss](P - y)
        .sum(1)
        .mean()
    )


CASES = [
    ([5, 7, 3], [kernels.RELU, kernels.SOFTMAX], kernels.CROSS_ENTROPY, True),
    ([1, 1, 2], [kernels.TANH, kernels.SOFTMAX], kernels.CROSS_ENTROPY, True),
    ([20, 33, 17, 40], [kernels.SILU, kernels.RELU, kernels.SOFTMAX], kernels.CROSS_ENTROPY, True),
    ([16, 16, 16], [kernels.RELU, kernels.SOFTMAX], kernels.CROSS_ENTROPY, False),
    ([20, 31, 5], [kernels.SIGMOID, kernels.SIGMOID], kernels.BINARY_CROSS_ENTROPY, False),
    ([20, 31, 18], [kernels.TANH, kernels.SIGMOID], kernels.SQUARED_ERROR, False),
    ([6, 9, 17], [kernels.SILU, kernels.SILU], kernels.SQUARED_ERROR, False),
    ([6, 40, 1], [kernels.RELU, kernels.IDENTITY], kernels.ABSOLUTE_ERROR, False),
    ([6, 40, 2], [kernels.TANH, kernels.IDENTITY], kernels.HUBER, False),
]


def share_all(monkeypatch):
    """Let threads share every phase, however small."""
    for name in ("TEAM_WORK", "LARGE_WORK", "FUSED_WORK", "SURE_WORK"):
        monkeypatch.setattr(kernels.sharing, name, 0)
    kernels.sharing._sharing_of.cache_clear()  # what was chosen before
    monkeypatch.setattr(sys.modules["kernels.gather"], "LARGE_WORK", 0)  # `kernels.gather` is the kernel
