"""What the machine is, how fast its registers are (the yardstick for every other kernel), and how it takes denormal numbers."""

from __future__ import annotations

import os
import platform
import time
from typing import Any

import numpy as np

from ._cache import cache_folder
from ._jit import default_threads, jit, max_threads
from ._tile import BFLOAT16, VECTOR_BYTES, cpu_features, cpu_name, fma_chains
from ._wait import DENORMALS_ARE_ZERO, float_mode, set_float_mode

__all__ = ["cpu_info", "fma_peak", "set_flush_denormal"]


@jit
def _chains(zero, rounds):
    return fma_chains(zero, rounds)


def fma_peak(dtype: Any = "float32", seconds: float = 0.2) -> float:
    """Measure how many GFLOP/s one core does in independent fused multiply-adds on registers, the best of several rounds.

    Parameters
    ----------
    dtype : "float32" or "float64"
    seconds : float
        How long to measure.
    """
    zero, rounds = np.dtype(dtype).type(0), 20_000
    _chains(zero, 1)
    best, end = 0.0, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        flops = int(_chains(zero, rounds))
        now = time.perf_counter()
        best = max(best, flops / (now - start) / 1e9)
        if now > end:
            return best


@jit
def set_flush_denormal(mode):
    """Let this thread take denormal numbers for zero, or not; return whether it did before.

    Programs of a network do so while they run. Loops of one's own say it themselves: CPUs may calculate a hundred times slower with numbers below 1.2e-38 in
    float32 (2.2e-308 in float64), such as running means of what gets no more gradient. `torch.set_flush_denormal` is the same.
    In nopython code it holds for arrays from there on; a compiler may calculate with numbers of its own sooner or later.

    Parameters
    ----------
    mode : bool

    Returns
    -------
    before : bool

    Examples
    --------
    >>> before, product = set_flush_denormal(True), float(np.float32(1e-30) * np.float32(1e-10))
    >>> set_flush_denormal(before), product
    (True, 0.0)
    """
    before = float_mode()
    set_float_mode(before | DENORMALS_ARE_ZERO if mode else before & ~DENORMALS_ARE_ZERO)
    return before & DENORMALS_ARE_ZERO == DENORMALS_ARE_ZERO


def cpu_info() -> dict[str, Any]:
    """Return the CPU as LLVM sees it, the threads and the cache folder of the kernels."""
    return {
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "model": _model_name(),
        "features": cpu_features(),
        "vector_bytes": VECTOR_BYTES,
        "bfloat16": "AVX512_BF16" if BFLOAT16 else "emulated",
        "cpus": os.cpu_count(),
        "max_threads": max_threads(),
        "default_threads": default_threads(),
        "cache_folder": cache_folder(),
    }


def _model_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
