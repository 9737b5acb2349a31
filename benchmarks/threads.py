"""Print what a second core brings, what a phase and a shuffled order cost, and what threads cost that have nothing to do.

    python benchmarks/threads.py
    python benchmarks/threads.py --rounds 1 --seconds 0.02 --networks 1        does it run at all?

On an idle machine: `busy.py` is for the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import peers  # noqa: E402
from benchmarks.busy import two_cpus  # noqa: E402
from benchmarks.compare import Report, counted, interleave, ratio  # noqa: E402
from kernels._jit import jit, task  # noqa: E402
from kernels._wait import ticks  # noqa: E402
from kernels.program import task_address  # noqa: E402
from kernels.team import run_tasks, share  # noqa: E402

NETWORKS = [([64, 128, 64, 10], 32), ([100] * 6 + [10], 20), ([784, 500, 500, 10], 100), ([128, 1024, 1024, 1024, 1024, 10], 512)]
TABLES, ROWS = [([13, 37, 3], 50), ([54, 128, 7], 256)], 200_000
WAIT = 1.0  # seconds
TASK_TICKS = (2_000, 10_000, 50_000)


class Wait:
    """A callback that waits once, after a few minibatches, and notes the share of a CPU that the process then uses."""

    def __init__(self) -> None:
        self.share = 0.0

    def on_batch_end(self, step: int, loss: float) -> None:
        if step == 5:
            self.share = waiting()


def waiting() -> float:
    """Return the CPU time of this process, all its threads, while it waits in Python, for each second."""
    wall, cpu = time.perf_counter(), time.process_time()
    time.sleep(WAIT)
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


def second_core(report: Report, args: argparse.Namespace) -> None:
    report.title("One thread's time / two threads'")
    for widths, batch_size in NETWORKS[: args.networks]:
        problem = peers.make_problem(widths, batch_size, args.seconds)
        times = interleave({str(n): peers.Fastnn(problem, n).run for n in (1, 2)}, args)
        us = {f"{n}_us": float(np.median(times[str(n)])) * 1e6 for n in (1, 2)}
        report.row(network=problem.name, batch=batch_size, **us, speed_up=ratio(times, "1", "2"))


def spend(tag, where, worker, record, now):  # type: ignore[no-untyped-def]
    """A task that takes so many ticks as its record says."""
    end = ticks() + record
    while ticks() < end:
        pass


def run_phases(team, function, record, count):  # type: ignore[no-untyped-def]
    """Run phases of two such tasks."""
    for _ in range(count):
        run_tasks(team, function, 2, record, 0)


def phase(report: Report, args: argparse.Namespace) -> None:
    report.title("What a phase of two equal tasks takes on two threads beyond one task's time")
    where, phases = task_address(task(spend, cached=False), "float32"), jit(run_phases)

    def side(n_threads: int, length: int) -> Callable[[int], int]:
        def run(count: int) -> int:
            with share(n_threads) as team:
                phases(team, where, length, count)
            return count

        return run

    for length in TASK_TICKS:
        times = interleave({str(n): side(n, length) for n in (1, 2)}, args)
        alone, together = (float(np.median(times[name])) * 1e6 for name in ("1", "2"))
        report.row(task_us=alone / 2, phase_us=together, overhead_us=together - alone / 2)


def shuffled(report: Report, args: argparse.Namespace) -> None:
    report.title(f"A shuffled order's time / that of rows as they lie, {ROWS:,} rows")
    for widths, batch_size in TABLES[: args.networks]:
        problem = peers.make_problem(widths, batch_size, seconds=1e9, most_rows=ROWS)
        orders = {"in_order": np.arange(len(problem.X)), "shuffled": problem.order}
        for threads in (1, 2):
            times = interleave({name: peers.Fastnn(dataclasses.replace(problem, order=order), threads).run for name, order in orders.items()}, args)
            us = {f"{name}_us": float(np.median(times[name])) * 1e6 for name in orders}
            report.row(network=problem.name, batch=batch_size, threads=counted(threads), **us, ratio=ratio(times, "shuffled", "in_order"))


def idle(report: Report, args: argparse.Namespace) -> None:
    report.title("CPU use of a process that trained on two threads and waits in Python")
    for widths, batch_size in NETWORKS[: args.networks]:
        side = peers.Fastnn(peers.make_problem(widths, batch_size, args.seconds, least_steps=10), 2)
        side.run(1)
        p, watcher = side.problem, Wait()
        between = []
        for _ in range(min(args.rounds, 3)):
            side.run(1)
            between.append(waiting())
        side.net.fit(p.X, p.y, optimizer=side.optimizer, batch_size=p.batch_size, n_threads=2, verbose=0, callbacks=[watcher])
        report.row(network=p.name, batch=batch_size, **{"% between two fits": 100 * max(between), "% between two steps": 100 * watcher.share})


SECTIONS: dict[str, Callable[[Report, argparse.Namespace], None]] = {"second_core": second_core, "phase": phase, "shuffled": shuffled, "idle": idle}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print what a second core brings, what a shuffled order costs, and what waiting threads cost.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="the least time of a side in a round")
    parser.add_argument("--pause", type=float, default=0.1, help="between sides, in seconds")
    parser.add_argument("--networks", type=int, help="only the first of each list")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS))
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    args, report = parse(arguments), Report()
    two_cpus()
    for name in args.only:
        SECTIONS[name](report, args)


if __name__ == "__main__":
    main(sys.argv[1:])
