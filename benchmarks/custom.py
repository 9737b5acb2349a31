"""Functions of one's own beside the built-in ones in a whole training step, and elementary functions beside NumPy's.

    python benchmarks/custom.py

Prints the time of a step with silu and Huber's loss as a user writes them over that with the built-in ones, and the speed of tanh, sigmoid,
gelu, exp and log over NumPy's, all on one thread: medians of pairs that take turns.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import kernels  # noqa: E402
from kernels import scalar  # noqa: E402

WIDTHS, BATCH, PAIRS, ELEMENTS = (784, 500, 500, 10), 100, 15, 50_000


def swish(z: Any) -> Any:
    """Return z / (1 + e**-z)."""
    return z / (scalar.like(z, 1.0) + scalar.exp(-z))


def swish_slope(z: Any) -> Any:
    """Return its derivative."""
    one = scalar.like(z, 1.0)
    s = one / (one + scalar.exp(-z))
    return s + z * s * (one - s)


def bend(a: Any, t: Any, delta: Any) -> Any:
    """Return Huber's loss."""
    d = a - t
    size, half = scalar.absolute(d), scalar.like(a, 0.5)
    return half * d * d if size <= delta else delta * (size - half * delta)


def bend_slope(a: Any, t: Any, delta: Any) -> Any:
    """Return its derivative."""
    return min(max(a - t, -delta), delta)


def trainer(activation: Any, loss: Any) -> Any:
    """Return a function that takes ten training steps."""
    rng = np.random.default_rng(0)
    plan = kernels.Plan(WIDTHS, (activation, activation, kernels.IDENTITY), (0.0,) * 3)
    parameters = np.zeros(plan.parameters_size, np.float32)
    for i, (n_in, n_out) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        plan.set_weight(parameters, i, rng.normal(size=(n_in, n_out)) / math.sqrt(n_in), np.zeros(n_out))
    X, y = rng.normal(size=(BATCH, WIDTHS[0])).astype(np.float32), rng.normal(size=(BATCH, WIDTHS[-1])).astype(np.float32)
    fit = kernels.Trainer(plan, parameters, BATCH, kernels.Objective(loss, 0.1), kernels.ADAM, [0.9, 0.999, 1e-8, 0.0], full_batch=True)
    steps = min(10, fit.chunk)
    order, rates = np.arange(BATCH), np.full(steps, 1e-4)
    return lambda: fit.train(X, y, order, 0, rates, repeats=steps)


def ratio(one: Any, other: Any) -> float:
    """Return the time of one call over that of another, the median of pairs."""
    found = []
    for call in (one, other) * 3:
        call()
    for _ in range(PAIRS):
        seconds = []
        for call in (one, other):
            start = time.perf_counter()
            for _ in range(5):
                call()
            seconds.append(time.perf_counter() - start)
        found.append(seconds[0] / seconds[1])
    return statistics.median(found)


def numpy_erf(X: Any) -> Any:
    """Return erf, of which NumPy has none: by SciPy where it is, else by tanh as GELU's approximation has it."""
    try:
        from scipy.special import erf
    except ImportError:
        return np.tanh(1.1283791670955126 * (X + np.float32(0.08943) * X * X * X))
    return erf(X)


def main() -> None:
    """Print both tables."""
    own = kernels.custom_activation(swish, swish_slope), kernels.custom_loss(bend, bend_slope, [1.0])
    print(f"A step of {'-'.join(map(str, WIDTHS))}, batch {BATCH}, float32, Adam: functions of one's own over built-in ones")
    for name, activation, loss in (("silu", own[0], kernels.HUBER), ("Huber", kernels.SILU, own[1]), ("both", *own)):
        print(f"{name:10}{ratio(trainer(activation, loss), trainer(kernels.SILU, kernels.HUBER)):8.3f}")
    Z = np.random.default_rng(0).normal(size=ELEMENTS).astype(np.float32)
    positive, out = np.abs(Z) + np.float32(0.1), np.empty_like(Z)
    half, root, one = np.float32(0.5), np.float32(math.sqrt(0.5)), np.float32(1.0)
    calls = {
        "tanh": (lambda: kernels.tanh(Z, out), lambda: np.tanh(Z, out=out)),
        "sigmoid": (lambda: kernels.sigmoid_forward(Z, out), lambda: np.divide(one, one + np.exp(-Z), out=out)),
        "gelu": (lambda: kernels.gelu_forward(Z, out), lambda: np.multiply(half * Z, one + numpy_erf(Z * root), out=out)),
        "exp": (lambda: kernels.exp(Z, out), lambda: np.exp(Z, out=out)),
        "log": (lambda: kernels.log(positive, out), lambda: np.log(positive, out=out)),
    }
    print(f"\n{ELEMENTS:,} elements, float32: speed over NumPy's {np.__version__}")
    for name, (ours, theirs) in calls.items():
        print(f"{name:10}{1 / ratio(ours, theirs):8.2f}")


if __name__ == "__main__":
    main()
