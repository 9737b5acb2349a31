"""Print what the training steps of another checkout take beside those of this one.

    git worktree add ../base HEAD~1 && python benchmarks/against.py ../base
    python benchmarks/against.py .. --rounds 1 --seconds 0.02 --networks 1 --threads 1        does it run at all?

Two processes, each with its own sources and its own cache, make the same rows and measure one network for a round in turns. A ratio is
the median over the rounds of the other's time / ours, so above 1 this checkout is faster.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(ROOT)

from benchmarks import compare, peers  # noqa: E402
from benchmarks.compare import Report, counted  # noqa: E402

WORKER = """
import json, sys, time
import numpy as np, fastnn

print(json.dumps(fastnn.__file__), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "widths" in order:
        widths, rows, batch_size = order["widths"], order["rows"], order["batch_size"]
        rng = np.random.default_rng(1)
        X, y = rng.standard_normal((rows, widths[0]), dtype=np.float32), rng.integers(0, widths[-1], rows)
        layers = [fastnn.Dense(units, "relu") for units in widths[1:-1]] + [fastnn.Dense(widths[-1], "softmax")]
        net, optimizer, shuffle = fastnn.Sequential(layers, n_features=widths[0]), fastnn.Adam(), rng.permutation(rows)
    start = time.perf_counter()
    net.fit(X, y, optimizer=optimizer, epochs=order["epochs"], batch_size=batch_size, shuffle=shuffle, n_threads=int(sys.argv[1]), verbose=0)
    print(json.dumps((time.perf_counter() - start) / order["epochs"]), flush=True)
"""


class Checkout:
    """A process that trains with the sources of a checkout when it is told to."""

    def __init__(self, folder: Path, cache: str, threads: int) -> None:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-c", WORKER, str(threads)]
        self.process = subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        source = Path(self._answer())
        if folder not in source.parents:
            sys.exit(f"{folder} must be a checkout of fastnn; got {source} from it.")

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the process of {self.process.args!r} ended with code {self.process.wait()}")
        return json.loads(line)

    def __call__(self, epochs: int, **network: Any) -> float:
        """Train for some epochs, of another network where one is given, and return the seconds of each."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"epochs": epochs, **network}) + "\n")
        self.process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def cell(pair: list[Checkout], widths: list[int], batch_size: int, args: argparse.Namespace) -> np.ndarray[Any, Any]:
    """Return the seconds of an epoch in each round: a column for the other checkout and one for this."""
    rows = len(peers.make_problem(widths, batch_size, args.seconds).X)
    for side in pair:
        side(1, widths=widths, rows=rows, batch_size=batch_size)  # compiles
    epochs = math.ceil(args.seconds / min(side(1) for side in pair))
    times = np.empty((args.rounds, 2))
    for i, each in enumerate(times):
        for side in (0, 1) if i % 2 else (1, 0):
            time.sleep(args.pause)
            each[side] = pair[side](epochs)
    return times


def measure(report: Report, args: argparse.Namespace, threads: int, caches: tuple[str, str]) -> None:
    """Print a row a network and the geometric mean of the ratios."""
    report.title(f"Training step of {args.checkout} and of {ROOT}, Adam, float32, {counted(threads)}")
    pair = [Checkout(folder, cache, threads) for folder, cache in zip((args.checkout, ROOT), caches)]
    ratios = []
    try:
        for networks in (compare.NAMED, compare.OTHERS, compare.SMALL_BATCHES, compare.LARGE_BATCHES):
            for widths, batch_size in networks[: args.networks]:
                times = cell(pair, widths, batch_size, args)
                each = times[:, 0] / times[:, 1]
                ratios.append(float(np.median(each)))
                low, high = np.quantile(each, [0.25, 0.75])
                report.row(network="-".join(map(str, widths)), batch=batch_size, ratio=ratios[-1], quartiles=f"{low:.2f} to {high:.2f}")
    finally:
        for side in pair:
            side.close()
    mean = math.exp(np.mean(np.log(ratios)))
    print(f"\nIts time / ours: worst {min(ratios):.2f}, geometric mean {mean:.3f} of {len(ratios)} networks", flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print what the training steps of another checkout take beside those of this one.")
    parser.add_argument("checkout", type=lambda text: Path(text).resolve(), help="the folder of the other checkout")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, a pair of processes each (default: 1,2)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.25, help="the least time of a side in a round")
    parser.add_argument("--pause", type=float, default=0.1, help="between sides, in seconds")
    parser.add_argument("--networks", type=int, help="only the first of each list")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    args, report, cpus = parse(arguments), Report(), os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as theirs, tempfile.TemporaryDirectory() as ours:
        for threads in map(int, args.threads.split(",")):
            os.sched_setaffinity(0, sorted(cpus)[:threads])  # a child process inherits it
            try:
                measure(report, args, threads, (theirs, ours))
            finally:
                os.sched_setaffinity(0, cpus)


if __name__ == "__main__":
    main(sys.argv[1:])
