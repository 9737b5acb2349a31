"""What zeros of the inputs save: training on MNIST's images beside random bytes of the same shape, none of which is zero, in turns.

    FASTNN_DATA_DIR=... python benchmarks/zeros.py [--rows 10000] [--rounds 7]

Both sides do the same steps with the same network; where the inputs have enough zeros, the products of the first layer leave them out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from fastnn import Dense, Scale, Sequential, load_mnist  # noqa: E402

CASES = [((30,), 10), ((100,), 200), ((500, 500), 100), ((1024, 1024), 256)]


def main() -> None:
    """Print a table of times of a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    data = load_mnist()
    images, labels = data.X_train.reshape(-1, 784)[: options.rows], data.y_train[: options.rows]
    sides = images, np.random.default_rng(0).integers(1, 256, images.shape, np.uint8)
    print("| network | batch | threads | images us | random bytes us | ratio |\n|---|---|---|---|---|---|")
    for hidden, batch in CASES:
        for threads in (1, 2):
            nets = [Sequential([Scale(1 / 255), *(Dense(n, "relu") for n in hidden), Dense(10, "softmax")], n_features=784) for _ in sides]
            settings: dict[str, Any] = {"epochs": 1, "batch_size": batch, "n_threads": threads, "verbose": 0}
            times: list[list[float]] = [[], []]
            for round_ in range(options.rounds + 1):
                for net, X, found in zip(nets, sides, times):
                    start = time.perf_counter()
                    net.fit(X, labels, **settings)
                    if round_ > 0:  # the first compiles
                        found.append((time.perf_counter() - start) / -(-options.rows // batch) * 1e6)
            few, many = (statistics.median(found) for found in times)
            ratio = statistics.median(b / a for a, b in zip(*times))
            print(f"| 784-{'-'.join(map(str, hidden))}-10 | {batch} | {threads} | {few:,.0f} | {many:,.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
