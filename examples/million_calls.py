"""A PyTorch model, brought in and called a million times, one row after the other, each depending on the one before.

Some searches cannot ask for many rows at once: here a walk that tries a small change of the inputs and keeps it where the model's answer becomes
larger (a hill climb over a learned score). `Sequential.from_torch` brings the weights in; `compiled()` makes the network an argument of
the compiled search. Where PyTorch is not installed, the weights come as plain arrays.
"""

import time
from importlib.util import find_spec

import numpy as np
from numba import njit

from fastnn import Sequential

WIDTHS, TRIES = (64, 128, 64, 10), 1_000_000


def torch_model():
    """Return a model of PyTorch with the weights that it starts with."""
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10), torch.nn.Softmax(dim=1)]
    return torch.nn.Sequential(*layers).eval()


def plain_network(seed=0):
    """Return such a network from plain arrays."""
    rng = np.random.default_rng(seed)
    arrays = [(rng.uniform(-1, 1, (n, m)).astype(np.float32) / n**0.5, np.zeros(m, np.float32)) for n, m in zip(WIDTHS, WIDTHS[1:])]
    return Sequential.from_arrays(arrays, ["relu", "relu", "softmax"])


@njit
def climb(model, x, wanted, tries, seed):
    """Change x in place, one feature at a time, where the probability of a class grows; return it."""
    out = np.empty(model.n_outputs, np.float32)
    np.random.seed(seed)
    model.predict(x, out)
    best = out[wanted]
    for _ in range(tries):
        j = np.random.randint(x.size)
        before = x[j]
        x[j] = min(max(before + 0.1 * np.random.normal(), -1), 1)
        model.predict(x, out)
        if out[wanted] > best:
            best = out[wanted]
        else:
            x[j] = before
    return best


def calls_of_torch(model, calls=2000):
    """Return the microseconds of a call of PyTorch with one row, on one thread."""
    import torch

    torch.set_num_threads(1)
    x = torch.zeros(1, 64)
    with torch.inference_mode():
        start = time.perf_counter()
        for _ in range(calls):
            model(x)
    return (time.perf_counter() - start) / calls * 1e6


def main():
    """Print what a million calls take."""
    has_torch = find_spec("torch") is not None
    original = torch_model() if has_torch else None
    net = Sequential.from_torch(original) if has_torch else plain_network()
    model, x = net.compiled(), np.zeros(64, np.float32)
    start_at = climb(model, x, 3, 0, 0)
    start = time.perf_counter()
    best = climb(model, x, 3, TRIES, 0)
    seconds = time.perf_counter() - start
    print(f"probability of class 3: {start_at:.3f} before, {best:.3f} after {TRIES:,} calls")
    print(f"inside @njit   {seconds / TRIES * 1e6:7.2f} us a call")
    if has_torch:
        taken = calls_of_torch(original)
        print(f"PyTorch        {taken:7.2f} us a call, {taken / (seconds / TRIES * 1e6):.0f} times as long")


if __name__ == "__main__":
    main()
