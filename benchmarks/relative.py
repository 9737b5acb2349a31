"""fastnn's time over NumPy's, measured in turns in one process: the same on every machine, more or less, and lower is better."""

from __future__ import annotations

from benchmarks.common import NETWORKS, relative_time
from benchmarks.linear import SHAPES, Layer
from benchmarks.peers import SIDES, make_problem

UNIT = "x NumPy's time"


class Training:
    """An epoch of `fit`."""

    params = list(NETWORKS)
    param_names = ("network",)
    unit = UNIT

    def track_epoch(self, network: str) -> float:
        widths, batch_size = NETWORKS[network]
        problem = make_problem(widths, batch_size, seconds=0.05)
        new, base = (SIDES[name][1](problem, 1).run for name in ("fastnn", "numpy"))
        steps = len(problem.minibatches)
        return relative_time(lambda: new(steps), lambda: base(steps))


class Linear:
    """A layer with ReLU."""

    params = ["1 x 784 x 500", "32 x 64 x 128", "100 x 784 x 500"]
    param_names = ("rows x n_in x n_out",)
    unit = UNIT

    def track_forward(self, shape: str) -> float:
        layer = Layer(*SHAPES[shape])
        return relative_time(layer.forward_fastnn, layer.forward_numpy)

    def track_backward(self, shape: str) -> float:
        layer = Layer(*SHAPES[shape])
        layer.forward_numpy()
        return relative_time(layer.backward_fastnn, layer.backward_numpy)
