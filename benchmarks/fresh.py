"""What can only be seen in a new process: import time, the first step with a cold or a warm cache, the memory of a fit and of a table."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

IMPORT = """
import json, time
start = time.perf_counter(); import numba
middle = time.perf_counter(); import fastnn
print(json.dumps([middle - start, time.perf_counter() - middle]))
"""

FIRST_STEP = """
import json, os, time
import numpy as np, fastnn, kernels

def train(widths):
    layers = [fastnn.Dense(units, "relu") for units in widths[1:-1]] + [fastnn.Dense(widths[-1], "softmax")]
    X, y = np.ones((32, widths[0]), np.float32), np.arange(32) % widths[-1]
    fastnn.Sequential(layers, n_features=widths[0], seed=0).fit(X, y, optimizer=fastnn.Adam(), epochs=1, batch_size=32, verbose=0)

def cached():
    return sum(len(files) for _, _, files in os.walk(os.environ["NUMBA_CACHE_DIR"]))

train([64, 32, 10])
end, files, compiled = time.time(), cached(), len(kernels.compilations())
train([13, 37, 5, 3])
print(json.dumps({"end": end, "files": cached() - files, "compiled": compiled, "compiled_again": len(kernels.compilations()) - compiled}))
"""

MEMORY = """
import json, sys
import numpy as np, fastnn

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

def train(widths, rows, batch_size, epochs=1):
    X = np.random.default_rng(0).standard_normal((rows, widths[0]), dtype=np.float32)
    y = np.arange(rows) % widths[-1]
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    layers = [fastnn.Dense(units, "relu") for units in widths[1:-1]] + [fastnn.Dense(widths[-1], "softmax")]
    net = fastnn.Sequential(layers, n_features=widths[0], seed=0)
    net.fit(X, y, optimizer=fastnn.Adam(), epochs=epochs, batch_size=batch_size, verbose=0)
    return (status("VmHWM") - before) / 1e6

widths, batch_size = json.loads(sys.argv[1])
print(json.dumps([train([8, 8, 2], 64, 16), train(widths, 20 * batch_size, batch_size), train(widths, 20 * batch_size, batch_size, 3)]))
"""

READING = """
import json, sys, time
if sys.argv[2] == "numpy":
    sys.modules["pyarrow"] = None  # as if it were not installed
from fastnn.datasets import load_csv
start = time.perf_counter(); table = load_csv(sys.argv[1]); seconds = time.perf_counter() - start
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
print(json.dumps([seconds, peak]))
"""


class FirstStep(NamedTuple):
    """What a new process has to do before it trains; the counts are of the kernels that the cache did not hold."""

    seconds: float  # from process start to the end of the first step
    compiled: int
    files_of_second_network: int
    compiled_for_second_network: int


class Reading(NamedTuple):
    """What a table costs."""

    seconds: float  # of load_csv, the import of pyarrow included
    peak: float  # bytes of the whole process (Linux only)


def _run(code: str, *arguments: str, **environment: str) -> Any:
    """Run code in a new interpreter that imports the same fastnn, and return the JSON that it prints."""
    spec = importlib.util.find_spec("fastnn")
    assert spec and spec.origin
    environment = {**os.environ, "PYTHONPATH": str(Path(spec.origin).parent.parent), **environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def import_seconds() -> tuple[float, float]:
    """Return the seconds that `import numba` takes, and what `import fastnn` takes after it."""
    numba, fastnn = _run(IMPORT)
    return numba, fastnn


def first_step(cache_folder: str) -> FirstStep:
    """Train one batch in a new process, and then a network of another shape."""
    start = time.time()
    result = _run(FIRST_STEP, NUMBA_CACHE_DIR=cache_folder)
    return FirstStep(result["end"] - start, result["compiled"], result["files"], result["compiled_again"])


def folder_bytes(folder: str) -> int:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def fit_memory(widths: list[int], batch_size: int) -> dict[str, float]:
    """Return the peak memory of a fit beyond data and imports, in MB (Linux only).

    `fit` is that of 20 steps and `three_epochs` that of 60, in a process that has loaded the compiled kernels, which
    takes `kernels` once. `bar` counts four arrays of parameters (Adam), two copies of the largest layer, the
    activations twice and 16 MB.
    """
    kernels, fit, three_epochs = _run(MEMORY, json.dumps([widths, batch_size]))
    layers = [n_in * n_out + n_out for n_in, n_out in zip(widths[:-1], widths[1:])]
    bar = 4 * (4 * sum(layers) + 2 * max(layers) + 2 * batch_size * sum(widths)) / 1e6 + 16
    return {"fit": fit, "three_epochs": three_epochs, "kernels": kernels, "bar": bar}


def reading(path: str, parser: str) -> Reading:
    """Read a table in a new process by the parser "pyarrow" or "numpy"."""
    return Reading(*_run(READING, path, parser))
