"""What the benchmarks share: sizes, made-up arrays, and the ratio of two interleaved functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

IMPLS = ["fastnn", "numpy"]
NETWORKS = {  # widths and batch size, by the name that asv shows
    "2-16-2, batch 16": ([2, 16, 2], 16),
    "64-128-64-10, batch 32": ([64, 128, 64, 10], 32),
    "101-257-131-67-7, batch 129": ([101, 257, 131, 67, 7], 129),
    "784-500-500-10, batch 100": ([784, 500, 500, 10], 100),
    "128-1024-1024-10, batch 512": ([128, 1024, 1024, 10], 512),
}


def random(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(actual: Any, expected: Any, rtol: float = 1e-3) -> None:
    """Fail unless two results agree: a fast kernel that is wrong must not count."""
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * float(np.abs(expected).max()))


def relative_time(new: Callable[[], Any], base: Callable[[], Any], rounds: int = 15, seconds: float = 0.02) -> float:
    """Return the median of time(new) / time(base): the two take turns, so that a drift of the machine cancels."""
    counts = []
    for function in (new, base):
        function()
        start = time.perf_counter()
        function()
        counts.append(int(np.ceil(seconds / (time.perf_counter() - start))))
    ratios = []
    for _ in range(rounds):
        spent = []
        for function, count in zip((new, base), counts):
            start = time.perf_counter()
            for _ in range(count):
                function()
            spent.append((time.perf_counter() - start) / count)
        ratios.append(spent[0] / spent[1])
    return float(np.median(ratios))
