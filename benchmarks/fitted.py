"""Time steps of a network that goes on training after it fits its data, where most numbers come near 0.

    python benchmarks/fitted.py
    python benchmarks/fitted.py --peers torch --threads 2

Probabilities and gradients then fall below the smallest normal number (1.2e-38 in float32), with which CPUs may calculate a hundred
times slower: a fit takes them for 0. Each line is a part of one run, each side trains for itself from its own start.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import peers  # noqa: E402
from benchmarks.compare import Report, describe_machine  # noqa: E402

WIDTHS, BATCH_SIZE, ROWS = [784, 500, 500, 10], 100, 2_000


def main() -> None:
    """Print the milliseconds of a step, part by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--steps", type=int, default=400, help="in a part")
    parser.add_argument("--peers", default="", help="such as torch")
    args = parser.parse_args()
    names = [name for name in args.peers.split(",") if name]
    describe_machine(names)
    problem = peers.make_problem(WIDTHS, BATCH_SIZE, most_rows=ROWS, least_steps=ROWS // BATCH_SIZE)
    sides = {name: peers.SIDES[name][1](problem, args.threads) for name in ["fastnn", *names]}
    report = Report()
    report.title(f"{problem.name}, batch {BATCH_SIZE}, {ROWS:,} random rows, Adam: ms a step")
    for part in range(args.parts):
        spent = {}
        for name, side in sides.items():
            start = time.perf_counter()
            done = side.run(args.steps)
            spent[name] = 1e3 * (time.perf_counter() - start) / done
        report.row(steps=f"{part * args.steps} to {(part + 1) * args.steps}", **spent)


if __name__ == "__main__":
    main()
