"""What a checkpoint after every epoch costs, on MNIST with 784-500-500-10: less than 2 % of an epoch is the aim.

    python -m benchmarks.checkpoints --cycles 15

One fit writes a checkpoint after every fourth epoch. Two epochs of a cycle pay for it, the one that copies what is written and the one
beside which a thread writes it; the other two are what they are compared with, a second later. So what else the machine does hits all of
them, and the cost is the median over the cycles. Wall time, CPU time of the thread that trains and of the process are compared.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import Any

from fastnn import Dense, Scale, Sequential, load_mnist

CYCLE = 4
CLOCKS = {"wall time": time.perf_counter, "CPU of the thread that trains": time.thread_time, "CPU of the process": time.process_time}


class Stamps:
    """Reads the clocks whenever an epoch begins."""

    def __init__(self) -> None:
        self.read: list[list[float]] = []

    def on_epoch_begin(self, epoch: int) -> None:
        self.read.append([clock() for clock in CLOCKS.values()])


def costs(seconds: list[float]) -> tuple[float, float]:
    """Return the median time of an epoch without a checkpoint, and of what one adds, from the times of epochs from the first on."""
    cycles = [seconds[i : i + CYCLE] for i in range(CYCLE - 1, len(seconds) - CYCLE + 1, CYCLE)]  # each begins with the epoch that copies
    plain = [(two + three) / 2 for _, _, two, three in cycles]
    return statistics.median(plain), statistics.median(copying + beside - 2 * without for (copying, beside, _, _), without in zip(cycles, plain))


def main() -> None:
    """Print what an epoch takes, and what a checkpoint adds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="where to write (default: the folder for temporary files)")
    parser.add_argument("--cycles", type=int, default=15)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    data = load_mnist()
    X, y = data.X_train.reshape(-1, 784)[: options.rows], data.y_train[: options.rows]
    net = Sequential([Scale(1 / 255), Dense(500, "relu"), Dense(500, "relu"), Dense(10, "softmax")], n_features=784)
    stamps, settings = Stamps(), dict[str, Any](batch_size=100, verbose=0, n_threads=options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        net.fit(X, y, epochs=CYCLE * options.cycles + CYCLE, callbacks=stamps, checkpoint=folder, checkpoint_every=CYCLE, **settings)
    for (name, _), times in zip(CLOCKS.items(), zip(*stamps.read)):
        plain, more = costs([after - before for before, after in zip(times, times[1:])])
        print(f"{name:30} {plain:.3f} s an epoch, {1e3 * more:+.1f} ms ({100 * more / plain:+.2f} %) a checkpoint")


if __name__ == "__main__":
    main()
