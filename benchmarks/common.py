"""What the benchmarks share: sizes, made-up arrays, the number of threads, and the ratio of two interleaved functions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import threadpoolctl

import kernels
from benchmarks.baseline import zeros

IMPLS = ["fastnn", "numpy"]
NETWORKS = {  # widths and batch size, by the name that asv shows
    "2-16-2, batch 16": ([2, 16, 2], 16),
    "64-128-64-10, batch 32": ([64, 128, 64, 10], 32),
    "101-257-131-67-7, batch 129": ([101, 257, 131, 67, 7], 129),
    "784-500-500-10, batch 100": ([784, 500, 500, 10], 100),
    "128-1024-1024-10, batch 512": ([128, 1024, 1024, 10], 512),
}
UNIT = "x NumPy's time"

Call = Callable[[], Any]


def random(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return standard normal numbers, aligned to a cache line."""
    out = zeros(shape, dtype)
    out[...] = np.random.default_rng(seed).standard_normal(shape)
    return out


def close(actual: Any, expected: Any, rtol: float = 1e-3) -> None:
    """Fail unless two results agree: a fast kernel that is wrong must not count."""
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * float(np.abs(expected).max()))


def hold_threads(n_threads: int) -> None:
    """Let this process use so many threads from here on; asv skips the benchmark where there are fewer CPUs.

    Called in every setup, before a kernel runs. It is done here and not by variables of the environment, because asv loads NumPy,
    and with it the BLAS, before this suite, and because both numbers of threads then stand on one chart.
    """
    if n_threads > (os.cpu_count() or 1):
        raise NotImplementedError
    os.environ["NUMBA_NUM_THREADS"] = str(n_threads)
    numba.core.config.reload_config()  # fails if a pool of another size runs
    kernels.default_threads.cache_clear()  # type: ignore[attr-defined]
    threadpoolctl.threadpool_limits(n_threads)
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    assert pools and set(pools) == {n_threads} == {kernels.default_threads()}, (pools, kernels.default_threads())


def best_seconds(function: Call, rounds: int = 15, seconds: float = 0.002) -> float:
    """Return the time of the fastest turn, for what is measured against a peak that is itself the best of many."""
    count = _calls_in(function, seconds, time.perf_counter)
    return min(spent(function, count, time.perf_counter) for _ in range(rounds)) / count


def relative_time(
    make: Callable[[], tuple[Call, Call]],
    blocks: int = 9,
    rounds: int = 25,
    seconds: float = 0.002,
    pause: float = 0.0,
    clock: Callable[[], float] | None = None,
) -> float:
    """Return time(new) / time(base), both on one thread unless another clock is given: stable to a percent or two on a busy machine.

    In a block the two take turns. Of each side the fast turns of its best block count, since another load can only make a turn slower; medians
    of all turns, or of the blocks' ratios, were tried and go astray by 10 to 15 % in one process out of ten when four others run on two CPUs.

    Parameters
    ----------
    make : callable
        Returns both functions with arrays of their own. It is called for every block, because where the arrays lie in memory changes the time.
    rounds, seconds : int, float
        Turns of a side in a block, and for how long each works: short, so that many of them are not disturbed.
    pause : float
        Seconds of sleep before each turn, for the threads of the other side to stop spinning: OpenBLAS's take between 30 and 100 ms.
    clock : callable, default time.thread_time
        CPU time of this thread does not count when another process has the CPU. Several threads need `time.perf_counter`.
    """
    clock = clock or time.thread_time
    pairs = [make() for _ in range(blocks)]  # all at once, or each would get the memory of the one before
    new, base = np.min([_block(pair, rounds, seconds, pause, clock) for pair in pairs], axis=0)
    return float(new / base)


def _block(pair: tuple[Call, Call], rounds: int, seconds: float, pause: float, clock: Callable[[], float]) -> Any:
    """Return the time that a tenth of the turns stay below, of each side."""
    counts = [_calls_in(function, seconds, clock) for function in pair]
    times = np.empty((rounds, 2))
    for turn in times:
        for side, (function, count) in enumerate(zip(pair, counts)):
            if pause:
                time.sleep(pause)
                function()  # wakes its threads
            turn[side] = spent(function, count, clock) / count
    return np.quantile(times, 0.1, axis=0)


def _calls_in(function: Call, seconds: float, clock: Callable[[], float]) -> int:
    """Return how many calls take about `seconds`, once the function is compiled and its arrays are in the cache."""
    function()
    count = 1
    while (taken := spent(function, count, clock)) < seconds / 2:
        count *= 2
    return max(1, round(count * seconds / taken))


def spent(function: Call, count: int = 1, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return what some calls take."""
    start = clock()
    for _ in range(count):
        function()
    return clock() - start
