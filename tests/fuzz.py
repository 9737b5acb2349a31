"""Feed a reader with what a coverage-guided fuzzer makes of a few good files: it returns or raises a ValueError of one sentence.

    python -m tests.fuzz idx --minutes 10
    python -m tests.fuzz csv --minutes 10
    python -m tests.fuzz npz --minutes 10

With `atheris` installed the fuzzer sees which branches an input takes; without it, mutations of the good files are tried at random. An
input that raises something else, or takes more than five seconds, is shown.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def seeds() -> dict[str, list[bytes]]:
    """Return good files of each kind."""

    def npz(save: Any = np.savez, **arrays: Any) -> bytes:
        file = io.BytesIO()
        save(file, **arrays)
        return file.getvalue()

    idx = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6))
    csv = [
        b"a,b,y\n1,2.5,cat\n3,-4e-3,dog\n",
        b'x;y\n"1,5";0\n2,25;1\n',
        b"\xef\xbb\xbf0\t1\n2\t3\n",
        b"a|b\n1|?\n",
        b'"a ""q"" b",c\n1,"2"\n\n3,inf\n',
        gzip.compress(b"a,b\n1,2\n"),
    ]
    arrays = [npz(X=np.ones((3, 2), "f4"), y=np.arange(3)), npz(np.savez_compressed, X_train=np.ones((2, 2)), y_train=np.array(["a", "b"]))]
    return {"idx": [idx, gzip.compress(idx), bytes([0, 0, 8, 1, 0, 0, 0, 0])], "csv": csv, "npz": arrays}


class Reader:
    """Writes an input to a file and reads it."""

    def __init__(self, kind: str) -> None:
        from fastnn import datasets, tables

        self.read = {"idx": datasets.read_idx, "csv": self._csv, "npz": datasets.load_npz}[kind]
        self.tables, self.path = tables, Path(tempfile.mkdtemp(dir=MEMORY)) / f"input.{kind}"
        self.inputs = self.refused = 0
        self.slowest = 0.0

    def _csv(self, path: Path) -> None:
        self.tables.load_csv(path)
        self.tables.load_csv(path, target=None, header=False)

    def __call__(self, data: bytes) -> None:
        """Read an input; raises whatever the reader should not raise."""
        self.path.write_bytes(data)
        self.inputs += 1
        start = time.perf_counter()
        try:
            self.read(self.path)
        except ValueError as error:
            self.refused += 1
            said = str(error)
            if type(error) is not ValueError or "\n" in said or len(said) > 2000 or str(self.path) not in said:
                raise AssertionError(f"an error that is no sentence about the file: {type(error).__name__}: {said!r}") from error
        took = time.perf_counter() - start
        self.slowest = max(self.slowest, took)
        if took > 5.0:
            raise AssertionError(f"an input took {took:.1f} s")


def mutated(rng: np.random.Generator, files: list[bytes]) -> bytes:
    """Return a good file with some bytes changed, put in, taken out, or taken from another one."""
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 6)):
        at, n = int(rng.integers(len(data) + 1)), int(rng.integers(1, 9))
        kind = rng.integers(5)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << rng.integers(8)
        elif kind == 1:
            data[at:at] = rng.bytes(n)
        elif kind == 2:
            del data[at : at + n]
        elif kind == 3:
            data[at:at] = data[at : at + n] * int(rng.integers(1, 9))
        else:
            other = files[rng.integers(len(files))]
            data[at : at + n] = other[at : at + n]
    return bytes(data)


def at_random(kind: str, inputs: int, seconds: float, seed: int = 0) -> Reader:
    """Try mutations, at most so many and for so long."""
    reader, rng, files = Reader(kind), np.random.default_rng(seed), seeds()[kind]
    end = time.perf_counter() + seconds
    while reader.inputs < inputs and time.perf_counter() < end:
        data = mutated(rng, files)
        try:
            reader(data)
        except Exception as error:
            raise AssertionError(f"{kind}: input {data!r}") from error
    return reader


def by_coverage(kind: str, seconds: float) -> None:
    """Let atheris look for inputs; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["fastnn.datasets", "fastnn.tables", "zipfile", "csv", "numpy.lib._npyio_impl", "numpy.lib._format_impl", "gzip"]):
        import csv  # noqa: F401
        import gzip  # noqa: F401
        import zipfile  # noqa: F401

        reader = Reader(kind)
    corpus = Path(tempfile.mkdtemp(dir=MEMORY))
    for i, data in enumerate(seeds()[kind]):
        (corpus / str(i)).write_bytes(data)
    options = [
        f"-max_total_time={int(seconds)}",
        "-timeout=10",
        "-rss_limit_mb=4000",
        "-max_len=4096",
        "-print_final_stats=1",
        f"-artifact_prefix=/tmp/{kind}-",
    ]

    def one(data: bytes) -> None:
        try:
            reader(data)
        except MemoryError:
            raise AssertionError("MemoryError") from None

    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Feed a reader of files with what a fuzzer makes.")
    parser.add_argument("kind", choices=seeds())
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--random", action="store_true", help="mutations at random, also where atheris is installed")
    args = parser.parse_args(arguments)
    warnings.simplefilter("error")
    if importlib.util.find_spec("atheris") and not args.random:
        by_coverage(args.kind, 60 * args.minutes)
    reader = at_random(args.kind, 2**62, 60 * args.minutes)
    print(f"{args.kind}: {reader.inputs:,} inputs, {reader.refused:,} refused, at most {reader.slowest:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
