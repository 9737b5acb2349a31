"""What a fit shows while it runs: a bar on a terminal, and a line for every epoch."""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

INTERVAL, LINES = 0.1, 0.5  # seconds between two updates: a bar that is drawn at every step costs more than the step, and thousands of lines tell nothing


class Progress:
    """Show loss, samples/s and GFLOP/s of an epoch on stderr while it runs, and its result on stdout.

    The bar appears on a terminal only.

    Parameters
    ----------
    verbose : int
        0 shows nothing.
    n_epochs : int
        How many there will be.
    flops_per_row : float
        The work of training with one row.
    """

    def __init__(self, verbose: int, n_epochs: int, flops_per_row: float) -> None:
        self.verbose, self.n_epochs, self.flops_per_row = verbose, n_epochs, flops_per_row
        self.shows_bar = bool(verbose) and sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._printed = -LINES

    def begin_epoch(self, epoch: int, n_batches: int) -> None:
        """Start a bar of so many minibatches."""
        self._rows, self._batches = 0, 0
        self._start = self._drawn = time.perf_counter()
        if self.shows_bar and n_batches > 1:
            from tqdm import tqdm

            self._bar = tqdm(total=n_batches, desc=f"epoch {epoch}/{self.n_epochs}", unit="batch", leave=False, file=sys.stderr, mininterval=0)

    def advance(self, rows: int, batches: int, loss: float) -> None:
        """Count what was done, and draw it if the last time is long enough ago."""
        self._rows += rows
        self._batches += batches
        now = time.perf_counter()
        if self._bar is not None and now - self._drawn >= INTERVAL:
            self._drawn = now
            self._bar.set_postfix_str(f"loss {loss:.4g}, {self._speed(now - self._start)}", refresh=False)
            self._bar.update(self._batches)
            self._batches = 0

    def end_epoch(self, epoch: int, logs: dict[str, float], every: bool = True) -> None:
        """Print the line of an epoch; not of `every` one: at most two a second, and the last one."""
        self.close()
        now = time.perf_counter()
        if self.verbose and (every or epoch == self.n_epochs or now - self._printed >= LINES):
            self._printed = now
            values = "  ".join(f"{name} {value:.4g}" for name, value in logs.items() if name != "seconds")
            print(f"epoch {epoch}/{self.n_epochs}  {values}  ({logs['seconds']:.2f} s, {self._speed(logs['seconds'])})", flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _speed(self, seconds: float) -> str:
        rate = self._rows / max(seconds, 1e-9)
        return f"{rate:,.0f} samples/s, {rate * self.flops_per_row / 1e9:.3g} GFLOP/s"


@functools.cache
def announce_compilation() -> None:
    """Say on stderr, once, that kernels are being compiled which the cache does not hold."""
    if sys.stderr is not None:
        print("fastnn: compiling kernels, about 10 s, once on this machine ...", file=sys.stderr, flush=True)
