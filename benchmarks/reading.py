"""Time and memory of reading a table of a million rows of 11 cells, 87 MB: `python reading.py` prints them."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import fresh  # noqa: E402

PARSERS = ("pyarrow", "numpy")
TARGETS = {"numbers": ("0", "1"), "text classes": ("cat", "dog", "mouse")}


def write_table(folder: str, target: str) -> str:
    """Write ten numbers and a class in each row, and return the path."""
    names = TARGETS[target]
    rows = np.random.default_rng(0).standard_normal((10_000, 10)).tolist()
    block = "".join(",".join(f"{value:.5f}" for value in row) + f",{names[i % len(names)]}\n" for i, row in enumerate(rows))
    path = os.path.join(folder, "table.csv")
    with open(path, "w") as file:
        file.write(",".join("abcdefghij") + ",y\n")
        file.writelines(block for _ in range(100))
    return path


class Table:
    """The best of three readings, each in a new process."""

    params = [PARSERS]
    param_names = ["parser"]
    timeout = 300

    def setup_cache(self) -> str:
        return write_table(tempfile.mkdtemp(dir=os.getcwd()), "numbers")  # a folder that asv removes

    def setup(self, path: str, parser: str) -> None:
        if not importlib.util.find_spec(parser):
            raise NotImplementedError(f"{parser} is not installed")

    def track_seconds(self, path: str, parser: str) -> float:
        return min(fresh.reading(path, parser).seconds for _ in range(3))

    def track_peak(self, path: str, parser: str) -> float:
        return fresh.reading(path, parser).peak


Table.setup_cache.timeout = 300  # type: ignore[attr-defined]
Table.track_seconds.unit = "seconds"  # type: ignore[attr-defined]
Table.track_peak.unit = "bytes"  # type: ignore[attr-defined]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for target in TARGETS:
            path = write_table(folder, target)
            for parser in PARSERS:
                readings = [fresh.reading(path, parser) for _ in range(5)]
                seconds, peak = min(one.seconds for one in readings), max(one.peak for one in readings)
                print(f"{target}, {parser}: {seconds:.2f} s, peak {peak / 1e6:.0f} MB of the process")
