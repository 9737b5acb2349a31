"""Measure what goes wrong when a package compiled by Numba is benchmarked without care, and what the cure gives: about a minute.

python benchmarks/traps.py

"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(ROOT)

import numba  # noqa: E402
import numpy as np  # noqa: E402
import threadpoolctl  # noqa: E402

import kernels  # noqa: E402
from benchmarks import elementwise, linear, parallel  # noqa: E402
from benchmarks.baseline import zeros  # noqa: E402
from benchmarks.common import Call, best_seconds, hold_threads, relative_time, spent  # noqa: E402
from benchmarks.detect import other_load  # noqa: E402

Row = tuple[str, str, str]


def us(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:,.1f} ms"


def python(code: str, **environment: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True).stdout.strip()


def compilation() -> Row:
    @numba.njit
    def scale(x, out):  # type: ignore[no-untyped-def]
        for i in range(x.size):
            out[i] = 2 * x[i]

    x = np.ones(10_000, np.float32)
    out = np.empty_like(x)
    first = spent(lambda: scale(x, out))
    return "the first call compiles: asv takes it for a slow benchmark and calls it once", us(first), us(best_seconds(lambda: scale(x, out)))


def shared_cache() -> Row:
    """Two commits that differ in a function which a cached one calls: the second runs the first one's machine code."""
    caller = "import numba\nfrom callee import factor\n\n@numba.njit(cache=True)\ndef kernel(x):\n    return factor(x)\n"
    with tempfile.TemporaryDirectory() as folder:
        place, answers = Path(folder), []
        (place / "caller.py").write_text(caller)
        for value, cache in ((1, "shared"), (2, "shared"), (2, "own")):
            (place / "callee.py").write_text(f"import numba\n\n@numba.njit\ndef factor(x):\n    return {value} * x\n")
            code = f"import sys; sys.path.insert(0, {folder!r}); import caller; print(caller.kernel(1))"
            answers.append(python(code, NUMBA_CACHE_DIR=str(place / cache), PYTHONDONTWRITEBYTECODE="1"))
    return "a cache that commits share runs another commit's machine code (a factor changed from 1 to 2)", answers[1], answers[2]


def late_variables() -> Row:
    code = """
import os, numpy
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import threadpoolctl
{cure}
print(max(pool["num_threads"] for pool in threadpoolctl.threadpool_info()))
"""
    environment = {"OPENBLAS_NUM_THREADS": str(os.cpu_count())}
    wrong, right = (python(code.format(cure=cure), **environment) for cure in ("", "threadpoolctl.threadpool_limits(1)"))
    return "BLAS variables that the suite sets: asv has imported NumPy before", f"{wrong} threads", f"{right} thread"


def spinning() -> Row:
    """A layer of both sides on all CPUs, in turns: its time over NumPy's."""
    hold_threads(os.cpu_count() or 1)
    layer = linear.Layer(*linear.SHAPES["256 x 1024 x 1024"])
    ratios = []
    for pause in (0.03, 0.1):
        turns = {**parallel.TURNS, "pause": pause}
        ratios.append(f"{relative_time(lambda: (layer.forward_fastnn, layer.forward_numpy), **turns):.2f}")
    return "threads of the other side still spin: our time over NumPy's on all CPUs, in turns with pauses of 0.03 s, of 0.1 s", ratios[0], ratios[1]


def process_start() -> Row:
    spawned = spent(lambda: python("import benchmarks.relative"))
    start = time.perf_counter()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return (
        "a new process for each combination: imports each time (spawn), or a fork of one that has them (forkserver)",
        us(spawned),
        us(time.perf_counter() - start),
    )


def cold_arrays() -> Row:
    shape = 20_000, 600  # more than an allocator keeps for the next array

    def arrays() -> Call:
        return partial(kernels.relu_forward, np.ones(shape, np.float32), np.empty(shape, np.float32))

    fresh = [spent(arrays()) for _ in range(9)]
    return (
        "setup runs before each sample: with one call a sample, it is the call on memory that was never touched",
        us(float(np.median(fresh))),
        us(best_seconds(arrays())),
    )


def placement() -> Row:
    """A call on arrays that lie anywhere in a page, beside NumPy's on others."""
    rng = np.random.default_rng(0)

    def arrays() -> list[Any]:
        return [zeros(4000 + 1024)[16 * start :][:4000] for start in rng.integers(0, 64, 2)]

    def make() -> tuple[Call, Call]:
        (Z, out), (Z_base, out_base) = arrays(), arrays()
        return partial(kernels.relu_forward, Z, out), partial(np.maximum, Z_base, np.float32(0), out_base)

    return "arrays lie where the allocator puts them: spread of ten ratios from one pair of arrays each, and from the best of nine", *(
        spread([relative_time(make, blocks=blocks) for _ in range(10)]) for blocks in (1, 9)
    )


def spread(values: Any) -> str:
    return f"{100 * (np.max(values) / np.min(values) - 1):.0f} %"


def busy_machine() -> Row:
    """Spread of ten ratios with as many other loads as there are CPUs."""
    calls = elementwise.activation_calls("tanh", (100, 300))

    def plain() -> float:
        new, base = (spent(call, 3000) for call in calls.values())
        return new / base

    with other_load(), other_load():
        return (
            "another program runs: spread of ten ratios of wall times one after the other, and by relative_time",
            spread([plain() for _ in range(10)]),
            spread([relative_time(lambda: tuple(elementwise.activation_calls("tanh", (100, 300)).values())) for _ in range(10)]),
        )


def rows() -> Iterator[Row]:
    yield late_variables()
    yield spinning()
    threadpoolctl.threadpool_limits(1)  # the threads of Numba wait
    yield compilation()
    yield shared_cache()
    yield process_start()
    yield cold_arrays()
    yield placement()
    yield busy_machine()


def main() -> None:
    print("| trap | without care | with the cure |\n|---|---|---|")
    for row in rows():
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
