"""fastnn's time over NumPy's for work that is too large for the L2 cache, on one thread and on two: wall time, by which no comparison should fail.

Threads of either side spin for a while after their work, so every turn begins after a pause.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import common, linear
from benchmarks.common import UNIT, hold_threads, relative_time
from benchmarks.peers import SIDES, make_problem
from benchmarks.training import WIDE

TURNS: dict[str, Any] = {"blocks": 1, "rounds": 9, "seconds": 0.04, "pause": 0.1, "clock": time.perf_counter}


class Training:
    """Steps of `fit`, gather and Adam included."""

    params = (WIDE, [1, 2])
    param_names = ("network", "threads")
    unit = UNIT

    def setup(self, network: str, threads: int) -> None:
        hold_threads(threads)

    def track_steps(self, network: str, threads: int) -> float:
        problem = make_problem(*common.NETWORKS[network], 0.0, least_steps=4)
        new, base = (SIDES[name][1](problem, threads).run for name in ("fastnn", "numpy"))
        return relative_time(lambda: (lambda: new(4), lambda: base(4)), **TURNS)


class Linear:
    """A layer with ReLU of plain arrays."""

    params = (["100 x 784 x 500", "256 x 1024 x 1024"], [1, 2])
    param_names = ("rows x n_in x n_out", "threads")
    unit = UNIT

    def setup(self, shape: str, threads: int) -> None:
        hold_threads(threads)

    def track_forward(self, shape: str, threads: int) -> float:
        layer = linear.Layer(*linear.SHAPES[shape])
        pair = layer.forward_fastnn, layer.forward_numpy
        return relative_time(lambda: pair, **TURNS)
