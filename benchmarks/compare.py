"""Print every speed figure that this project states, beside the libraries that are installed.

    python benchmarks/compare.py                        all of it: about an hour on two quiet cores
    python benchmarks/compare.py --only training --threads 1 --peers torch,numpy
    python benchmarks/compare.py --rounds 1 --seconds 0.02 --networks 3        does it run at all?

Each number of threads gets a process of its own, held to as many CPUs, because BLAS, OpenMP and XLA read their settings
once. In it the sides take turns; a side works for at least `--seconds` a round, and a pause follows, because the last
side's worker threads spin on for tens of milliseconds. A ratio is the median over the rounds of peer / fastnn, so above
1 fastnn is faster.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import fresh, peers  # noqa: E402
from benchmarks.baseline import Network  # noqa: E402
from benchmarks.common import close, random  # noqa: E402
from benchmarks.linear import Layer  # noqa: E402
from benchmarks.prediction import same_network  # noqa: E402

NAMED = [([2, 16, 2], 16), ([64, 128, 64, 10], 32), ([784, 500, 500, 10], 100), ([784, 500, 500, 10], 256),
         ([784, 1024, 1024, 1024, 10], 256), ([128, 1024, 1024, 1024, 1024, 10], 512)]  # fmt: skip
OTHERS = [([64, 10], 100), ([784, 30, 10], 16), ([13, 37, 5], 50), ([561, 300, 6], 64), ([784, 128, 64, 10], 64), ([101, 257, 131, 67, 7], 128),
          ([784, 800, 10], 200), ([3072, 1000, 1000, 10], 128), ([300, 333, 333, 333, 20], 333), ([28, 300, 300, 300, 300, 300, 2], 500),
          ([54, 100, 100, 100, 100, 100, 100, 7], 1000), ([200, 201, 203, 205, 207, 209, 211, 213, 10], 250)]  # fmt: skip
SMALL_BATCHES = [([784, 500, 500, 10], batch_size) for batch_size in (1, 2, 4, 8)] + [([64, 128, 64, 10], batch_size) for batch_size in (1, 8)]
LARGE_BATCHES = [([4, 32, 16, 4], 4096), ([30, 128, 128, 128, 128, 26], 4096), ([64, 300, 300, 10], 8192)]
WIDE = [([784, 500, 500, 10], 100), ([784, 1024, 1024, 1024, 10], 256), ([128, 1024, 1024, 1024, 1024, 10], 512)]
PREDICTIONS = [([64, 128, 64, 10], (1, 32)), ([784, 500, 500, 10], (1, 100, 10_000)), ([128, 1024, 1024, 1024, 1024, 10], (512,))]
PLAIN_ROWS = [1, 2, 8, 16, 32, 64, 100, 256, 512, 1024]
PLAIN_SHAPES = [(64, 64), (101, 203), (784, 500), (500, 500), (1024, 1024)]

Run = Callable[[int], int]


def repeat(function: Callable[[], Any]) -> Run:
    """Return a side that calls a function `n` times."""

    def run(n: int) -> int:
        for _ in range(n):
            function()
        return n

    return run


def interleave(sides: dict[str, Run], args: argparse.Namespace) -> dict[str, np.ndarray[Any, Any]]:
    """Return the seconds per step of each side, one entry a round; the sides take turns."""
    counts = {}
    for name, run in sides.items():
        run(1)  # compile
        count, spent = 1, 0.0
        while spent < args.seconds / 4:
            start = time.perf_counter()
            done = run(count)
            spent = time.perf_counter() - start
            count = 2 * max(done, count)
        counts[name] = int(np.ceil(args.seconds * done / spent * 1.05))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name, run in sides.items():
            time.sleep(args.pause)
            start = time.perf_counter()
            done = run(counts[name])
            times[name].append((time.perf_counter() - start) / done)
    return {name: np.array(each) for name, each in times.items()}


class Report:
    """Prints rows of a Markdown table as they come, and keeps them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._head: tuple[str, ...] = ()

    def title(self, text: str) -> None:
        print(f"\n### {text}\n")
        self._section, self._head = text, ()

    def row(self, **cells: Any) -> None:
        if tuple(cells) != self._head:
            self._head = tuple(cells)
            print("| " + " | ".join(name.replace("_", " ") for name in cells) + " |\n|" + "---|" * len(cells))
        print("| " + " | ".join(_show(value) for value in cells.values()) + " |", flush=True)
        self.rows.append({"section": self._section, **cells})

    def summary(self, text: str, ratios: list[float]) -> None:
        print(f"\n{text}: worst {min(ratios):.2f}, median {np.median(ratios):.2f}")
        self.rows.append({"section": self._section, "summary": text, "worst": min(ratios), "median": float(np.median(ratios))})


def _show(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) and abs(value) >= 10 else f"{value:.2f}" if isinstance(value, float) else str(value)


def counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def ratio(times: dict[str, np.ndarray[Any, Any]], name: str, subject: str = "fastnn") -> float:
    return float(np.median(times[name] / times[subject]))


def peak_gflops(threads: int) -> float:
    """Return the FMA peak of `threads` cores: what one core does with independent FMAs on registers, times their number."""
    import kernels

    return threads * kernels.fma_peak("float32", 0.1)


def packed_linear(report: Report, args: argparse.Namespace, threads: int) -> None:
    """Time a layer whose weights are packed, as a share of the peak."""
    report.title(f"Packed linear_forward with ReLU, float32, {counted(threads)}")
    for width in (500, 1024):
        for rows in (100, 256, 512):
            peak = peak_gflops(threads)
            seconds = float(np.median(interleave({"packed": repeat(Layer(rows, width, width).forward_packed)}, args)["packed"]))
            gflops = 2e-9 * rows * width * width / seconds
            report.row(rows=rows, width=width, us=seconds * 1e6, gflops=gflops, **{"% of peak": 100 * gflops / peak})


def plain_linear(report: Report, args: argparse.Namespace, threads: int) -> None:
    """Time a layer of plain arrays beside NumPy's three calls."""
    report.title(f"Plain linear_forward with ReLU against np.matmul, np.add, np.maximum with out=, float32, {counted(threads)}")
    ratios = []
    for n_in, n_out in PLAIN_SHAPES:
        for rows in PLAIN_ROWS:
            layer = Layer(rows, n_in, n_out)
            times = interleave({"fastnn": repeat(layer.forward_fastnn), "numpy": repeat(layer.forward_numpy)}, args)
            ratios.append(ratio(times, "numpy"))
            report.row(shape=f"{n_in} x {n_out}", rows=rows, us=float(np.median(times["fastnn"])) * 1e6, numpy=ratios[-1])
    report.summary("NumPy's time / fastnn's", ratios)


def training(report: Report, args: argparse.Namespace, threads: int) -> None:
    """Time a training step of every network beside every peer."""
    shapes = {"": NAMED, ", other shapes": OTHERS, ", batches of 1 to 8": SMALL_BATCHES, ", large batches": LARGE_BATCHES}
    for title, networks in shapes.items():
        report.title(f"Training step{title}, Adam, float32, {counted(threads)}")
        best = []
        for widths, batch_size in networks[: args.networks]:
            problem = peers.make_problem(widths, batch_size, args.seconds)
            names = [name for name in args.peers if name in peers.SIDES]
            sides = {name: peers.SIDES[name][1](problem, threads).run for name in ["fastnn", *names]}
            peak, times = peak_gflops(threads), interleave(sides, args)
            seconds = float(np.median(times["fastnn"]))
            gflops = problem.flops_per_step / seconds * 1e-9
            ratios = {name: ratio(times, name) for name in names}
            report.row(network=problem.name, batch=batch_size, us=seconds * 1e6, **ratios, gflops=gflops, **{"% of peak": 100 * gflops / peak})
            best += [min(ratios.values())] if ratios else []
        if best:
            report.summary("the best peer's time / fastnn's", best)


def prediction(report: Report, args: argparse.Namespace, threads: int) -> None:
    """Time class probabilities of few and many rows, from NumPy to NumPy, beside every peer that predicts."""
    report.title(f"Prediction, float32, {counted(threads)}")
    names, best = [name for name in args.peers if name in peers.PREDICTORS], []
    for widths, counts in PREDICTIONS[: args.networks]:
        net = same_network(Network(widths, 1))
        predictors = {name: peers.PREDICTORS[name][1](net.weights, threads) for name in names}
        for rows in counts:
            X = random(rows, widths[0])
            calls = {"fastnn": partial(net.predict, X, n_threads=threads), **{name: partial(predictors[name], X) for name in names}}
            for call in calls.values():
                close(call(), calls["fastnn"]())
            times = interleave({name: repeat(call) for name, call in calls.items()}, args)
            ratios = {name: ratio(times, name) for name in names}
            report.row(network="-".join(map(str, widths)), rows=rows, us=float(np.median(times["fastnn"])) * 1e6, **ratios)
            best += [min(ratios.values())] if ratios else []
    if best:
        report.summary("the best peer's time / fastnn's", best)


def scaling(report: Report, args: argparse.Namespace, threads: int) -> None:
    """Time fastnn on one thread and on all, in one process."""
    report.title(f"{threads} threads against one")
    for widths, batch_size in WIDE[: args.networks]:
        problem = peers.make_problem(widths, batch_size, args.seconds)
        times = interleave({str(n): peers.Fastnn(problem, n).run for n in (1, threads)}, args)
        report.row(network=problem.name, batch=batch_size, one_thread_us=float(np.median(times["1"])) * 1e6, speed_up=ratio(times, "1", str(threads)))


def starts(report: Report, args: argparse.Namespace, threads: int) -> None:
    """Time imports and first steps in new processes."""
    report.title("Start")
    imports = np.median([fresh.import_seconds() for _ in range(args.rounds)], axis=0)
    report.row(what="import numba", seconds=float(imports[0]))
    report.row(what="import fastnn after it", seconds=float(imports[1]))
    with tempfile.TemporaryDirectory() as folder:
        report.row(what="process start to the end of the first step, cold cache", seconds=fresh.first_step(folder).seconds)
        seconds, _, files, _ = np.median([fresh.first_step(folder) for _ in range(args.rounds)], axis=0)
        report.row(what="the same, warm cache", seconds=float(seconds))
        print(f"\nThe cache takes {fresh.folder_bytes(folder) / 1e6:.1f} MB; a second network of another shape and depth adds {files:.0f} files to it.")


def memory(report: Report, args: argparse.Namespace, threads: int) -> None:
    """Print the memory of a fit beside the bar."""
    report.title("Peak memory of a fit beyond data and imports, MB")
    for widths, batch_size in WIDE[: args.networks]:
        report.row(network="-".join(map(str, widths)), batch=batch_size, **fresh.fit_memory(widths, batch_size))


SECTIONS: dict[str, tuple[bool, Callable[[Report, argparse.Namespace, int], None]]] = {  # name: (once for each number of threads, function)
    "packed": (True, packed_linear),
    "linear": (True, plain_linear),
    "training": (True, training),
    "prediction": (True, prediction),
    "scaling": (False, scaling),
    "start": (False, starts),
    "memory": (False, memory),
}


def describe_machine(peer_names: list[str]) -> None:
    """Print what the figures depend on."""
    import kernels

    info = kernels.cpu_info()
    packages = ["numba", "llvmlite", "numpy", *(peers.package(name) for name in peer_names if name != "numpy")]
    versions = ", ".join(f"{name} {importlib.import_module(name).__version__}" for name in packages)
    print(
        f"CPU: {info['model']} ({info['cpu']}), {info['cpus']} CPUs, vectors of {info['vector_bytes']} bytes, FMA peak of a core {peak_gflops(1):.1f} GFLOP/s"
    )
    print(f"Python {platform.python_version()}, {versions}", flush=True)


def run_child(section: str, threads: int, arguments: list[str]) -> list[dict[str, Any]]:
    """Run a section in a process of its own with that many threads and CPUs; return its rows."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cpus)[:threads])  # a child process inherits it
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows.json")
            command = [sys.executable, __file__, *arguments, "--threads", str(threads), "--child", section, "--json", path]
            code = subprocess.run(command, env=environment).returncode
            if code:
                sys.exit(f"the section {section} with {counted(threads)} ended with code {code}")
            return list(json.loads(Path(path).read_text()))
    finally:
        os.sched_setaffinity(0, cpus)


def parse(arguments: list[str]) -> argparse.Namespace:
    known = [name for name in {**peers.SIDES, **peers.PREDICTORS} if name != "fastnn"]
    parser = argparse.ArgumentParser(description="Print fastnn's speed beside its peers.")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, a process each (default: 1,2)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="the least time of a side in a round")
    parser.add_argument("--pause", type=float, default=0.1, help="between sides, in seconds")
    parser.add_argument("--peers", default="torch,jax,numpy,onnxruntime", help=f"any of {', '.join(known)}")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"any of {', '.join(SECTIONS)}")
    parser.add_argument("--networks", type=int, help="only the first of each list")
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--child", choices=SECTIONS, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    args.only, names = args.only.split(","), [name for name in args.peers.split(",") if name]
    for unknown in [name for name in args.only if name not in SECTIONS] + [name for name in names if name not in known]:
        parser.error(f"--only and --peers must name sections and peers; got {unknown!r}")
    args.peers = peers.available(names)
    args.missing = [name for name in names if name not in args.peers]
    return args


def main(arguments: list[str]) -> None:
    args = parse(arguments)
    report = Report()
    if args.child:
        SECTIONS[args.child][1](report, args, int(args.threads))
    else:
        describe_machine(args.peers)
        for name in args.missing:
            print(f"{name} is not installed: left out")
        counts = [int(n) for n in args.threads.split(",")]
        for section in args.only:
            for threads in counts if SECTIONS[section][0] else counts[-1:]:
                report.rows += run_child(section, threads, arguments)
    if args.json:
        Path(args.json).write_text(json.dumps(report.rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
