"""C source of `Sequential.to_c`, compiled by gcc, beside `Sequential.compiled()` in nopython code: a row at a time, serial.

Run `python benchmarks/exported.py`; it prints microseconds a row, the least of some rounds in turns.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import fastnn  # noqa: E402

NETWORKS = {"2-16-2": 20_000, "64-128-64-10": 4_000, "784-500-500-10": 60}  # rows in a round
ROUNDS = 15


@njit
def row_by_row(model: Any, X: Any, out: Any) -> None:
    for i in range(len(X)):
        model.predict(X[i], out[i])


def in_c(net: fastnn.Sequential, X: Any, out: Any) -> Callable[[], None]:
    """Return a call of the compiled source."""
    folder = tempfile.mkdtemp()
    source, library = Path(folder, "model.c"), Path(folder, "model.so")
    net.to_c(source)
    subprocess.run(["gcc", "-O3", "-march=native", "-fno-trapping-math", "-shared", "-fPIC", source, "-o", library, "-lm"], check=True)
    predict = ctypes.CDLL(str(library)).model_predict
    arguments = X.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(len(X)), out.ctypes.data_as(ctypes.c_void_p)
    return lambda: predict(*arguments)


def main() -> None:
    print(f"{'network':<16}{'dtype':<10}{'activation':<12}{'C, us':>8}{'compiled():':>13}{'ratio':>8}{'difference':>12}")
    for name, rows in NETWORKS.items():
        for dtype, activation in (("float32", "relu"), ("float64", "relu"), ("float32", "tanh")):
            n_in, *hidden, n_out = map(int, name.split("-"))
            layers = [*(fastnn.Dense(units, activation) for units in hidden), fastnn.Dense(n_out, "softmax")]
            net = fastnn.Sequential(layers, n_features=n_in, dtype=dtype)
            X = np.random.default_rng(0).normal(size=(rows, n_in)).astype(dtype)
            out, other, model = np.empty((rows, n_out), dtype), np.empty((rows, n_out), dtype), net.compiled()
            calls = [in_c(net, X, out), lambda model=model, X=X, other=other: row_by_row(model, X, other)]
            best = [np.inf, np.inf]
            for _ in range(ROUNDS):
                for i, call in enumerate(calls):
                    start = time.perf_counter()
                    call()
                    best[i] = min(best[i], (time.perf_counter() - start) / rows * 1e6)
            difference = np.abs(out - other).max()
            print(f"{name:<16}{dtype:<10}{activation:<12}{best[0]:8.3f}{best[1]:13.3f}{best[0] / best[1]:8.2f}{difference:12.1e}", flush=True)


if __name__ == "__main__":
    main()
