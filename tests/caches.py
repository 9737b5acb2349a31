"""Damage the folder of compiled kernels, and let many processes fill it at once: correct bits each time, and exit code 0.

    python -m tests.caches --processes 20

A damage is a function of the file of a kernel, of another kernel's file, and of that of the same kernel for another dtype.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WORK = """
import hashlib, sys, warnings
import numpy as np
import kernels
warnings.simplefilter("always")
digest = []
few = len(sys.argv) > 1
if few:
    out = np.empty(50, np.int64)
    kernels.permutation(1, 2, out)
    digest.append(out.tobytes().hex())
for dtype in () if few else (np.float32, np.float64):
    x = np.linspace(-3, 3, 50, dtype=dtype)
    for kernel in (kernels.relu_forward, kernels.sigmoid_forward):
        out = np.empty_like(x)
        kernel(x, out)
        digest.append(out.tobytes().hex())
print(hashlib.sha256("".join(digest).encode()).hexdigest()[:16], len(kernels.compilations()))
"""


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def _swap_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _swap_for_link(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


DAMAGES: dict[str, Callable[[Path, Path, Path], object]] = {
    "emptied": lambda path, other, dtype: path.write_bytes(b""),
    "one byte": lambda path, other, dtype: path.write_bytes(b"\x80"),
    "cut in half": lambda path, other, dtype: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut by a byte": lambda path, other, dtype: path.write_bytes(path.read_bytes()[:-1]),
    "longer by a byte": lambda path, other, dtype: path.write_bytes(path.read_bytes() + b"\0"),
    "garbage": lambda path, other, dtype: path.write_bytes(b"garbage" * 1000),
    "zeros": lambda path, other, dtype: path.write_bytes(bytes(path.stat().st_size)),
    "a bit flipped at the start": lambda path, other, dtype: _flip(path, 3),
    "a bit flipped in the middle": lambda path, other, dtype: _flip(path, path.stat().st_size // 2),
    "a bit flipped in the checksum": lambda path, other, dtype: _flip(path, -1),
    "another kernel's": lambda path, other, dtype: path.write_bytes(other.read_bytes()),
    "of another dtype": lambda path, other, dtype: path.write_bytes(dtype.read_bytes()),
    "a pickle that runs code": lambda path, other, dtype: path.write_bytes(pickle.dumps(Canary(path.with_name("canary")))),
    "removed": lambda path, other, dtype: path.unlink(),
    "a folder in its place": lambda path, other, dtype: _swap_for_folder(path),
    "a link to nothing": lambda path, other, dtype: _swap_for_link(path, path.with_name("nothing")),
    "writable by everybody": lambda path, other, dtype: path.chmod(0o666),
    "writable by the group": lambda path, other, dtype: path.chmod(0o660),
}
if hasattr(os, "geteuid") and os.geteuid() == 0:
    DAMAGES["another user's"] = lambda path, other, dtype: os.chown(path, 12345, 12345)

FOLDERS: dict[str, Callable[[Path], object]] = {
    "a folder that everybody may write": lambda folder: folder.chmod(0o777),
    "a link to a folder": lambda folder: (folder.rename(folder.with_name("elsewhere")), folder.symlink_to("elsewhere")),
    "a file in the place of the folder": lambda folder: (folder.rename(folder.with_name("elsewhere")), folder.write_bytes(b"")),
}
if hasattr(os, "geteuid") and os.geteuid() == 0:
    FOLDERS["another user's folder"] = lambda folder: os.chown(folder, 12345, 12345)


def start(cache: Path, *few: str) -> subprocess.Popen:
    """Start a process that calls four kernels, or, with `few`, one that is compiled soon."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.Popen([sys.executable, "-c", WORK, *few], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Runs:
    """Processes that must print the same bits."""

    def __init__(self) -> None:
        self.bits, self.faults = "", 0

    def end(self, what: str, process: subprocess.Popen, compiled: range | None = None) -> str:
        """Wait for a process, look at what it printed, and return its warnings."""
        out, err = process.communicate(timeout=600)
        bits, _, count = out.strip().partition(" ")
        self.bits = self.bits or bits
        if process.returncode != 0 or bits != self.bits or (compiled is not None and int(count) not in compiled):
            self.faults += 1
            print(f"WRONG {what}: exit code {process.returncode}, bits {bits} for {self.bits}, compiled {count}: {err[-300:]}", flush=True)
        return err


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Damage the folder of compiled kernels, and let many processes fill it at once.")
    parser.add_argument("--processes", type=int, default=20)
    args = parser.parse_args(arguments)
    runs, begin = Runs(), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        together = [start(Path(name)) for _ in range(args.processes)]
        for process in together:
            runs.end("at once", process)
        runs.end("after all at once", start(Path(name)), range(1))
        print(f"{args.processes} processes at once with an empty folder: {runs.faults} faults", flush=True)
        (folder,) = (path for path in Path(name).iterdir())
        path, dtype = sorted(folder.glob("relu_forward-*.nbc"))[:2]
        other = next(folder.glob("sigmoid_forward-*.nbc"))
        whole = path.read_bytes()
        for what, damage in DAMAGES.items():
            damage(path, other, dtype)
            runs.end(what, start(Path(name)), range(1, 2))
            if path.is_dir():
                path.rmdir()
            runs.end(f"after {what}", start(Path(name)), range(2))
            path.unlink(missing_ok=True)
            path.write_bytes(whole)
            path.chmod(0o600)
        if (folder / "canary").exists():
            runs.faults += 1
            print("WRONG a pickle ran code")
        print(f"{len(DAMAGES)} damaged files: {runs.faults} faults", flush=True)
    for what, change in FOLDERS.items():
        with tempfile.TemporaryDirectory() as name:
            runs.end(f"before {what}", start(Path(name)))
            (folder,) = Path(name).iterdir()
            change(folder)
            err = runs.end(what, start(Path(name)))
            if "RuntimeWarning" not in err and "file" not in what:
                runs.faults += 1
                print(f"WRONG {what}: no warning")
    print(f"{len(FOLDERS)} folders of others: {runs.faults} faults in {time.perf_counter() - begin:.0f} s")
    return int(runs.faults > 0)


if __name__ == "__main__":
    sys.exit(main())
