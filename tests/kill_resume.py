"""Kill a training with checkpoints at random moments, resume it, and compare what comes out with an uninterrupted one.

Run as `python -m tests.kill_resume --count 200`. Each process is ended by SIGKILL, which nothing can catch; most of the time it
is about to write a checkpoint. The short form is a test.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fastnn import EMA, Adam, CSVLogger, Dense, Dropout, EarlyStopping, OneCycle, ReduceOnPlateau, Sequential, files

X = np.random.default_rng(0).normal(size=(200, 6))
y = (X[:, 0] * X[:, 1] > 0) + (X[:, 2] > 0)


def train(folder: str, n_threads: int, resume: bool = True) -> str:
    """Train, or go on, with checkpoints in a folder; return a hash of parameters, history and files."""
    net = Sequential([Dense(32, "relu"), Dropout(0.1), Dense(3, "softmax")], n_features=6, seed=1)
    log = os.path.join(folder, "log.csv")
    stopping = EarlyStopping(patience=25)
    history = net.fit(
        X,
        y,
        optimizer=Adam(OneCycle(0.02)),
        epochs=60,
        batch_size=16,
        validation_split=0.2,
        n_threads=n_threads,
        verbose=0,
        callbacks=[stopping, EMA(0.9, every_steps=3), ReduceOnPlateau(patience=6, factor=0.7), CSVLogger(log)],
        checkpoint=folder,
        checkpoint_every=0.3,
        resume=resume,
    )
    seen = sorted((name, values) for name, values in history.history.items())
    lines = [line.rsplit(",", 1)[0] for line in Path(log).read_text().splitlines()]  # without the seconds
    known = stopping.best, stopping.best_epoch, net.n_fits
    return hashlib.sha256(net.parameters.tobytes() + repr((seen, lines, known)).encode()).hexdigest()


def into(folder: str, n_threads: int, out: str) -> None:
    """Train in a process of its own, and write the hash where the parent finds it."""
    Path(out).write_text(train(folder, n_threads))


def written(folder: str) -> set[str]:
    """Return the names of the checkpoints in a folder."""
    return {path.name for path in Path(folder).glob("step-*.safetensors")}


def kill_and_resume(count: int, seed: int = 0, fresh: bool = False) -> tuple[int, int]:
    """Kill `count` trainings; return how many ended with other bits, and how many kills left a file half written.

    Parameters
    ----------
    count : int
        How many processes to kill.
    seed : int
        Of the moments.
    fresh : bool
        Whether each is a new interpreter, not a fork of this one.
    """
    draw, context = random.Random(seed), multiprocessing.get_context("spawn" if fresh else "fork")
    kills = wrong = halves = 0
    with tempfile.TemporaryDirectory() as top:
        expected = train(os.path.join(top, "whole"), 1)
        start = time.monotonic()
        train(os.path.join(top, "timed"), 1)
        seconds = time.monotonic() - start
        run = 0
        while kills < count:
            run += 1
            folder, out = os.path.join(top, f"run {run}"), os.path.join(top, f"hash {run}")
            while not os.path.exists(out):
                child = context.Process(target=into, args=(folder, draw.choice((1, 2)), out))
                child.start()
                before = written(folder)
                while fresh and kills < count and child.is_alive() and written(folder) == before:
                    time.sleep(0.001)  # an interpreter takes longer to start than the training
                if kills < count:
                    child.join(draw.uniform(0.0, 0.6 * seconds))
                    if child.is_alive():
                        os.kill(child.pid, signal.SIGKILL)
                        kills += 1
                child.join()
                if child.exitcode not in (0, -signal.SIGKILL):
                    print(f"run {run}: exit status {child.exitcode}", file=sys.stderr)
                    wrong += 1
                    break
                halves += bool(list(Path(folder).glob(".*.part")))
                for path in Path(folder).glob("*.safetensors"):
                    files.read(path)  # raises where it is not intact
            else:
                wrong += Path(out).read_text() != expected
    return wrong, halves


def main() -> int:
    """Run the long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="a new interpreter each time")
    options = parser.parse_args()
    wrong, halves = kill_and_resume(options.count, options.seed, options.fresh)
    print(f"{options.count} kills, {halves} of them while a file was written: {wrong} runs ended with other bits or an error")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
