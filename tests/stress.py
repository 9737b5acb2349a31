"""Fit, predict and multiply in threads and processes of every kind: the right bits each time, no abort, no deadlock.

    python -m tests.stress --times 50 --fits 500

`threads` runs 8 Python threads, each of which fits, predicts and multiplies as often as `--fits` says, once on each of Numba's threading layers that
can be loaded; the other scenarios start processes as often as `--times` says, while the parent's helpers are there.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SEEDS = 4
LIMIT = 120  # seconds that a process may take


def share_everything() -> None:
    """Let the team share phases however small, so that small networks try it."""
    import kernels

    for name in ("TEAM_WORK", "LARGE_WORK", "FUSED_WORK", "SURE_WORK"):
        assert hasattr(kernels.sharing, name)
        setattr(kernels.sharing, name, 0)


def network(seed: int) -> Any:
    from fastnn import Dense, Dropout, Sequential

    return Sequential([Dense(40, "relu"), Dropout(0.1), Dense(3, "softmax")], n_features=5, seed=seed)


def work(seed: int, n_threads: int = 2) -> str:
    """Return a hash of what a small network learns and predicts, and of two products."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((120, 5)).astype("f4"), rng.integers(0, 3, 120)
    net = network(seed)
    net.fit(X, y, epochs=2, batch_size=50, n_threads=n_threads, verbose=0)
    found = net.parameters.tobytes() + net.predict(X, n_threads=n_threads).tobytes() + products(rng, n_threads).tobytes()
    return hashlib.sha256(found).hexdigest()


def products(rng: np.random.Generator, n_threads: int) -> np.ndarray:
    """Return products that Python asks for: large enough for the team, or for one thread a few rows at a time, which it leaves alone."""
    import kernels

    A, B, b = (rng.standard_normal(shape).astype("f4") for shape in ((400, 64), (64, 90), (90,)))
    out = np.empty((2, 400, 90), "f4")
    few = 400 if n_threads > 1 else 50
    assert few * B.size > kernels.sharing.LARGE_WORK or n_threads == 1
    for i in range(0, 400, few):
        kernels.matmul(A[i : i + few], B, out[0, i : i + few])
        kernels.linear_forward(A[i : i + few], B, b, kernels.RELU, out[1, i : i + few])
    return out


def shared(seed: int) -> str:
    share_everything()
    return work(seed)


def expected() -> list[str]:
    return [work(seed, 1) for seed in range(SEEDS)]


# Threads.


def in_threads(threads: int, times: int, wanted: list[str]) -> int:
    """Return how many of the fits in some threads at once have other bits than those of each alone."""
    wrong: list[int] = []

    def one(k: int) -> None:
        for i in range(times):
            wrong.append(work((k + i) % SEEDS, 1 + i % 2) != wanted[(k + i) % SEEDS])

    workers = [threading.Thread(target=one, args=(k,)) for k in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(wrong) + (len(wrong) != threads * times)


ON_A_LAYER = """
import ctypes, os, sys, threading
if os.environ["NUMBA_THREADING_LAYER"] == "tbb":
    ctypes.CDLL(os.path.join(sys.prefix, "lib", "libtbb.so.12"), ctypes.RTLD_GLOBAL)
import numba
import numpy as np
import kernels
from tests import stress

X, W, b = np.ones((600, 200), np.float32), np.full((200, 300), 0.5, np.float32), np.zeros(300, np.float32)
stop, right = threading.Event(), []

@numba.njit(parallel=True)
def users(X, W, b, out):
    for i in numba.prange(len(out)):
        kernels.linear_forward(X, W, b, kernels.RELU, out[i])

def regions():
    while not stop.is_set():
        out = np.zeros((2, 600, 300), np.float32)
        users(X, W, b, out)
        right.append(bool((out == 100).all()))

beside = threading.Thread(target=regions)
beside.start()
stress.share_everything()
wrong = stress.in_threads(8, int(sys.argv[1]), stress.expected())
stop.set()
beside.join()
assert right and all(right) and wrong == 0, (wrong, len(right) - sum(right))
assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"], numba.threading_layer()
"""


def layers() -> list[str]:
    return ["omp", "workqueue"] + ["tbb"] * (Path(sys.prefix) / "lib" / "libtbb.so.12").exists()


def threads(times: int, fits: int, wanted: list[str]) -> Iterator[tuple[str, int, int]]:
    """Yield what was done, how often, and how often it was wrong."""
    for layer in layers():
        environment = {**os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
        done = subprocess.run([sys.executable, "-c", ON_A_LAYER, str(fits)], env=environment, capture_output=True, text=True, timeout=3600)
        if done.returncode:
            print(done.stderr[-1000:])
        yield f"8 threads beside a user's prange on {layer}, fits", 8 * fits, int(done.returncode != 0)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, [k % SEEDS for k in range(times)]))
    yield "fits in a ThreadPoolExecutor", times, sum(one != wanted[k % SEEDS] for k, one in enumerate(results))


# Processes.


def child(seed: int, depth: int, connection: Any) -> None:
    """Send the hash of a fit, and that of a child's."""
    share_everything()
    found = [work(seed)]
    if depth:
        found += in_child(multiprocessing.get_context("fork"), seed, depth - 1)
    connection.send(found)


def in_child(context: Any, seed: int, depth: int) -> list[str]:
    """Return the hashes of a process and its children; "hangs" or an exit code where there are none."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(seed, depth, theirs))
    process.start()
    theirs.close()
    try:
        found: list[str] = ours.recv() if ours.poll(LIMIT) else ["hangs"]
    except EOFError:
        found = []
    if found == ["hangs"]:
        process.kill()
    process.join()
    return found if process.exitcode == 0 else [*found, f"exit code {process.exitcode}"]


def processes(method: str, depth: int) -> Callable[[int, int, list[str]], Iterator[tuple[str, int, int]]]:
    """Return the scenario of processes started by a method, with children of their own."""

    def run(times: int, fits: int, wanted: list[str]) -> Iterator[tuple[str, int, int]]:
        context = multiprocessing.get_context(method)
        wrong = 0
        for i in range(times):
            shared(i % SEEDS)  # helpers are there
            wrong += in_child(context, i % SEEDS, depth) != [wanted[i % SEEDS]] * (1 + depth)
        yield f"{method}{' of ' + method if depth else ''}, processes", times, wrong

    return run


def forks_of_threads(times: int, fits: int, wanted: list[str]) -> Iterator[tuple[str, int, int]]:
    """Fork while other threads are inside fits."""
    stop, wrong = threading.Event(), 0

    def beside() -> None:
        while not stop.is_set():
            shared(0)

    others = [threading.Thread(target=beside) for _ in range(2)]
    for one in others:
        one.start()
    for i in range(times):
        wrong += in_child(multiprocessing.get_context("fork"), i % SEEDS, 0) != [wanted[i % SEEDS]]
    stop.set()
    for one in others:
        one.join()
    yield "fork beside threads inside fits, processes", times, wrong


def joblib(times: int, fits: int, wanted: list[str]) -> Iterator[tuple[str, int, int]]:
    """Fit in joblib's workers."""
    if importlib.util.find_spec("joblib"):
        import joblib

        for backend in ("loky", "threading", "multiprocessing"):
            results = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(shared)(i % SEEDS) for i in range(times))
            yield f"joblib {backend}, fits", times, sum(one != wanted[i % SEEDS] for i, one in enumerate(results))


class Rows:
    """A data set of PyTorch whose rows are predictions, made in the workers."""

    def __init__(self, net: Any) -> None:
        self.net, self.X = net, np.random.default_rng(0).standard_normal((32, 5)).astype("f4")

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, i: int) -> Any:
        return self.net.predict(self.X[i : i + 1], n_threads=2)[0]


def data_loader(times: int, fits: int, wanted: list[str]) -> Iterator[tuple[str, int, int]]:
    """Predict in the workers of PyTorch's DataLoader."""
    if importlib.util.find_spec("torch"):
        from torch.utils.data import DataLoader

        wrong, rows = 0, Rows(network(0))
        right = rows.net.predict(rows.X)
        for _ in range(times):
            found = np.concatenate([batch.numpy() for batch in DataLoader(rows, batch_size=8, num_workers=2)])  # type: ignore[arg-type, var-annotated]
            wrong += found.tobytes() != right.tobytes()
        yield "PyTorch's DataLoader with 2 workers, epochs", times, wrong


SCENARIOS: dict[str, Callable[[int, int, list[str]], Iterator[tuple[str, int, int]]]] = {
    "threads": threads,
    "fork": processes("fork", 0),
    "fork_of_fork": processes("fork", 1),
    "forks_of_threads": forks_of_threads,
    "spawn": processes("spawn", 0),
    "forkserver": processes("forkserver", 0),
    "joblib": joblib,
    "data_loader": data_loader,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fit and predict in threads and processes of every kind.")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--fits", type=int, default=500)
    parser.add_argument("--only", choices=SCENARIOS, action="append")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
    wanted, faults = expected(), 0
    for name in args.only or SCENARIOS:
        begin = time.perf_counter()
        for what, times, wrong in SCENARIOS[name](args.times, args.fits, wanted):
            faults += wrong
            print(f"{what}: {times:,}, {wrong} wrong, {time.perf_counter() - begin:.0f} s", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
