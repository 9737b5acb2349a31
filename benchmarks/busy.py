"""Print what two threads take beside one while other programs are busy on one of the two CPUs.

    python benchmarks/busy.py
    python benchmarks/busy.py --rounds 1 --seconds 0.02 --only 64-128-64-10        does it run at all?

The process is held to two CPUs; none, one or three endless loops are held to the second of them. One thread and two take turns under
the same load. A ratio is the time of two threads / that of one: a fit that its threads wait for is above 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import peers  # noqa: E402
from benchmarks.compare import Report, interleave  # noqa: E402

NETWORKS = [([16, 256, 128, 26], 64), ([64, 128, 64, 10], 32), ([784, 500, 500, 10], 100), ([128, 1024, 1024, 10], 256)]
LOADS = (0, 1, 3)
LOOP = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile os.getppid() == int(sys.argv[2]): sum(range(10_000))"


def two_cpus() -> list[int]:
    """Hold this process, and the threads and processes that it starts from here on, to two CPUs; return them."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        sys.exit("two CPUs are needed: this process may use one")
    os.sched_setaffinity(0, cpus)
    return cpus


@contextlib.contextmanager
def busy(count: int, cpu: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep a CPU busy with some processes, which end with this one at the latest."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP, str(cpu), str(os.getpid())]) for _ in range(count)]
    try:
        yield loops
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def parse(arguments: list[str]) -> argparse.Namespace:
    names = ["-".join(map(str, widths)) for widths, _ in NETWORKS]
    parser = argparse.ArgumentParser(description="Print what two threads take beside one while other programs are busy on one of the two CPUs.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="the least time of a side in a round")
    parser.add_argument("--pause", type=float, default=0.1, help="between sides, in seconds")
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="networks")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    args, report, cpus = parse(arguments), Report(), two_cpus()
    report.title("Two threads' time / one thread's, other processes on one of the two CPUs")
    for widths, batch_size in NETWORKS:
        problem = peers.make_problem(widths, batch_size, args.seconds)
        if problem.name not in args.only:
            continue
        for count in LOADS:
            with busy(count, cpus[1]):
                times = interleave({str(n): peers.Fastnn(problem, n).run for n in (1, 2)}, args)
            ratios = times["2"] / times["1"]
            us = {f"{n}_us": float(np.median(times[str(n)])) * 1e6 for n in (1, 2)}
            report.row(network=problem.name, batch=batch_size, busy=count, **us, median=float(np.median(ratios)), worst=float(ratios.max()))


if __name__ == "__main__":
    main(sys.argv[1:])
