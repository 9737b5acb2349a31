"""What zeros save: training on MNIST with products that leave them out beside whole products, in turns.

    FASTNN_DATA_DIR=... python benchmarks/zeros.py [--rows 10000] [--rounds 7]

Both sides do the same steps and come to the same bits. Networks go on training from round to round, and their units leave more and more out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import kernels.dense  # noqa: E402
from fastnn import Dense, Dropout, Scale, Sequential, load_mnist  # noqa: E402

CASES = [((100,), 0.0, 200), ((500, 500), 0.0, 100), ((1024, 1024), 0.0, 256), ((1024, 1024), 0.5, 256)]


def network(hidden: tuple[int, ...], dropout: float) -> Sequential:
    layers = [layer for n in hidden for layer in (Dense(n, "relu"), Dropout(dropout))]
    return Sequential([Scale(1 / 255), *layers, Dense(10, "softmax")], n_features=784)


def main() -> None:
    """Print a table of times of a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    data = load_mnist()
    X, y = data.X_train.reshape(-1, 784)[: options.rows], data.y_train[: options.rows]
    print("| network | dropout | batch | threads | us | whole products us | ratio |\n|---|---|---|---|---|---|---|")
    for hidden, dropout, batch in CASES:
        for threads in (1, 2):
            nets, times = [network(hidden, dropout) for _ in range(2)], ([], [])  # type: tuple[list[Sequential], tuple[list[float], list[float]]]
            for round_ in range(options.rounds + 1):
                for whole, (net, found) in enumerate(zip(nets, times)):
                    pays = (lambda *_: False) if whole else kernels.dense.pays
                    start = time.perf_counter()
                    with mock.patch.object(kernels.dense, "pays", pays):
                        net.fit(X, y, epochs=1, batch_size=batch, n_threads=threads, verbose=0)
                    if round_ > 0:  # the first compiles
                        found.append((time.perf_counter() - start) / -(-options.rows // batch) * 1e6)
            np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
            ratio = statistics.median(b / a for a, b in zip(*times))
            row = [f"784-{'-'.join(map(str, hidden))}-10", dropout, batch, threads, *(f"{statistics.median(found):,.0f}" for found in times), f"{ratio:.2f}"]
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
