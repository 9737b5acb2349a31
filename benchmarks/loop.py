"""What callbacks that watch cost, on MNIST with 784-500-500-10: less than 2 % is the aim.

Run as `python -m benchmarks.loop`; sides take turns, so that what else the machine does hits all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from fastnn import EMA, CSVLogger, Dense, EarlyStopping, ReduceOnPlateau, Scale, Sequential, load_mnist


def watching(folder: str) -> dict[str, Any]:
    """Return settings with callbacks that watch, and a line an epoch."""
    return {
        "callbacks": [EarlyStopping("loss", patience=99), ReduceOnPlateau("loss", patience=99), CSVLogger(os.path.join(folder, "log.csv"))],
        "verbose": 1,
    }


SIDES: dict[str, Callable[[str], dict[str, Any]]] = {
    "plain": lambda folder: {},
    "callbacks": watching,
    "EMA, every 10 steps": lambda folder: {"callbacks": EMA(every_steps=10)},
}


def main() -> None:
    """Print for each side the time of an epoch, and how much more it is than without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="where to write (default: the folder for temporary files)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    data = load_mnist()
    X, y = data.X_train.reshape(-1, 784), data.y_train
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(options.rounds + 1):
        for name, settings in SIDES.items():
            net = Sequential([Scale(1 / 255), Dense(500, "relu"), Dense(500, "relu"), Dense(10, "softmax")], n_features=784)
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                start = time.perf_counter()
                net.fit(X, y, epochs=3, batch_size=100, **{"verbose": 0, **settings(folder)})
                seconds[name].append((time.perf_counter() - start) / 3)
    plain = seconds["plain"][1:]  # the first round warms up
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times[1:], plain))
        print(f"{name:20} {statistics.median(times[1:]):.3f} s an epoch, {100 * (ratio - 1):+.1f} %")


if __name__ == "__main__":
    main()
