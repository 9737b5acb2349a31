"""Let the disk fail while a training writes checkpoints, and see that it ends with the same bits and leaves what was there.

Run as root, `python -m tests.disk_faults`: it mounts a small tmpfs in a temporary folder, fills it, makes it read-only, takes it
away, and trains as a user who may not write. Each fault comes in the middle of a training; after it the training is resumed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastnn import Adam, Dense, OneCycle, Sequential, files
from fastnn.runs import THREAD

X = np.random.default_rng(0).normal(size=(200, 6))
y = (X[:, 0] * X[:, 1] > 0) + (X[:, 2] > 0)
NOBODY = 65534


class Fault:
    """Lets something happen when an epoch begins."""

    def __init__(self, epoch: int, what: Callable[[], object]) -> None:
        self.epoch, self.what = epoch, what

    def on_epoch_begin(self, epoch: int) -> None:
        """Let it happen."""
        if epoch == self.epoch:
            for thread in threading.enumerate():
                if thread.name == THREAD:  # what was there before is there
                    thread.join()
            self.what()


def train(folder: Path | None, *callbacks: object) -> tuple[bytes, list[str]]:
    """Return the bits of a training, and its warnings."""
    net = Sequential([Dense(32, "relu"), Dense(3, "softmax")], n_features=6, seed=1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        net.fit(X, y, optimizer=Adam(OneCycle(0.02)), epochs=20, verbose=0, callbacks=list(callbacks), checkpoint=folder, resume=folder is not None)
    return net.parameters.tobytes(), [str(one.message) for one in seen]


def fill(folder: Path) -> None:
    """Leave no room."""
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(1024)):
                pass
        except OSError:
            pass


def main() -> int:
    """Try every fault."""
    whole, _ = train(None)
    failed = False
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        disk, run = Path(top, "disk"), Path(top, "disk", "run")
        disk.mkdir()

        def mount(*options: str) -> None:
            subprocess.run(["mount", *options, str(disk)], check=True)

        faults: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "disk full": (lambda: fill(disk), lambda: os.unlink(disk / "filler")),
            "read-only": (lambda: mount("-o", "remount,ro"), lambda: mount("-o", "remount,rw")),
            "permission denied": (lambda: (os.chmod(run, 0o555), os.seteuid(NOBODY)), lambda: (os.seteuid(0), os.chmod(run, 0o755))),
            "path gone": (lambda: os.rename(run, disk / "away"), lambda: os.rename(disk / "away", run)),
            "a file in its place": (
                lambda: (os.rename(run, disk / "away"), run.write_text("")),
                lambda: (os.unlink(run), os.rename(disk / "away", run)),
            ),
        }
        for name, (break_, mend) in faults.items():
            mount("-t", "tmpfs", "-o", "size=64k", "tmpfs")
            try:
                bits, warned = train(run, Fault(8, break_))
                mend()
                left = sorted(path.name for path in run.iterdir())
                for path in run.glob("*.safetensors"):
                    files.read(path)
                again, _ = train(run)
            finally:
                subprocess.run(["umount", str(disk)], check=True)
            good = bits == whole == again and len(warned) == 1 and f"step-{7 * 7:012d}.safetensors" in left and not any(one.startswith(".") for one in left)
            failed |= not good
            print(f"{name}: {'as it should be' if good else 'WRONG'}; left {', '.join(left)}; warned: {warned}")
    return int(failed)


if __name__ == "__main__":
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        sys.exit("disk_faults must run as root on a system that mounts tmpfs.")
    sys.exit(main())
