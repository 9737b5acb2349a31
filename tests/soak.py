"""Fit, predict, save and load for a while, and watch memory and speed.

    python -m tests.soak --minutes 120

The first tenth is for warming up. After it the memory of the process may grow by 1 %, and the time of a round in the last third may differ by 5 %
from that in the first third. CPU time is what counts, since other programs may run beside, divided by that of some of NumPy's work, since machines
change their speed. Rounds are summed up as they go: a list of them would grow by more than what is looked for.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fastnn import Adam, Dense, Dropout, Sequential


def resident() -> int:
    """Return the bytes of memory that the process has in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def round_of_work(i: int, X: np.ndarray, y: np.ndarray, path: Path) -> float:
    """Make a network, train it, predict, save and load; return the CPU seconds."""
    start = time.thread_time()
    net = Sequential([Dense(128, "relu"), Dropout(0.2), Dense(64, "gelu"), Dense(10, "softmax")], n_features=64, seed=i % 7)
    net.fit(X, y, optimizer=Adam(1e-3), epochs=2, batch_size=64, n_threads=1, verbose=0)
    net.save(path)
    copy = Sequential.load(path)
    if copy.predict(X).tobytes() != net.predict(X).tobytes():
        raise AssertionError("a loaded network predicts otherwise")
    return time.thread_time() - start


def reference_work(A: np.ndarray) -> float:
    """Let NumPy do what is always the same; return the CPU seconds."""
    start = time.thread_time()
    for _ in range(50):
        np.tanh(A)
    return time.thread_time() - start


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fit, predict, save and load for a while, and watch memory and speed.")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--growth", type=float, default=0.01, help="allowed share of the memory")
    parser.add_argument("--slower", type=float, default=0.05, help="allowed share of the time of a round")
    args = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 64)).astype("f4"), rng.integers(0, 10, 2000)
    A, parts = rng.standard_normal((100, 100)), 90
    begin, length, rounds, found = time.monotonic(), 60 * args.minutes / parts, 0, np.zeros((parts, 3))
    with tempfile.TemporaryDirectory() as folder:
        for part in range(parts):
            seconds, references = [], []
            while not seconds or time.monotonic() - begin < (part + 1) * length:
                seconds.append(round_of_work(rounds, X, y, Path(folder) / "net"))
                references.append(reference_work(A))
                rounds += 1
            found[part] = np.median(seconds), np.median(seconds) / np.median(references), resident()
    found = found[parts // 10 :]
    third = len(found) // 3
    start, end = np.median(found[:third], axis=0), np.median(found[-third:], axis=0)
    _, slower, growth = end / start - 1
    print(f"{rounds:,} rounds of {np.median(found[:, 0]) * 1e3:.1f} ms CPU, {args.minutes:g} minutes, of which the first tenth to warm up")
    print(f"memory {start[2] / 2**20:.1f} -> {end[2] / 2**20:.1f} MB ({growth:+.2%}), time of a round beside NumPy's work {slower:+.2%}")
    return int(growth > args.growth or abs(slower) > args.slower)


if __name__ == "__main__":
    sys.exit(main())
