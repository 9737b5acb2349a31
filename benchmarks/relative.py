"""fastnn's time over NumPy's on one thread, measured in turns in one process: what a comparison of two commits may fail on.

A tracked number has no statistics, so each is made stable by itself (see `relative_time`), and every array lies in the L2 cache: what
another program does to the L3 cache and to memory does not reach it. Lower is better.
"""

from __future__ import annotations

from benchmarks import elementwise, gather, linear, prediction
from benchmarks.common import UNIT, hold_threads, relative_time
from benchmarks.peers import SIDES, make_problem

NETWORKS = {  # widths, batch size, minibatches, and for how many steps each side runs: some milliseconds
    "2-16-2, batch 16": ([2, 16, 2], 16, 50, 2000, 100),
    "64-128-64-10, batch 32": ([64, 128, 64, 10], 32, 10, 100, 30),
    "128-160-160-10, batch 64": ([128, 160, 160, 10], 64, 5, 20, 10),
}


class OneThread:
    """What every family shares."""

    unit = UNIT

    def setup(self, *_: str) -> None:
        hold_threads(1)


class Training(OneThread):
    """Steps of `fit`, gather and Adam included."""

    params = list(NETWORKS)
    param_names = ("network",)

    def track_steps(self, network: str) -> float:
        widths, batch_size, minibatches, steps, base_steps = NETWORKS[network]

        def make():  # type: ignore[no-untyped-def]
            problem = make_problem(widths, batch_size, 0.0, least_steps=minibatches)
            new, base = (SIDES[name][1](problem, 1).run for name in ("fastnn", "numpy"))
            return lambda: new(steps), lambda: base(base_steps)

        return relative_time(make) * base_steps / steps


class Linear(OneThread):
    """A layer with ReLU: whole panels, odd sizes, few rows."""

    params = ["64 x 128 x 128", "61 x 101 x 67", "4 x 128 x 128"]
    param_names = ("rows x n_in x n_out",)

    def ratio(self, shape: str, new: str, base: str) -> float:
        def make():  # type: ignore[no-untyped-def]
            layer = linear.Layer(*map(int, shape.split(" x ")))
            layer.forward_numpy()  # the outputs that backward reads
            return getattr(layer, new), getattr(layer, base)

        return relative_time(make)

    def track_forward(self, shape: str) -> float:
        return self.ratio(shape, "forward_fastnn", "forward_numpy")

    def track_forward_packed(self, shape: str) -> float:
        return self.ratio(shape, "forward_packed", "forward_numpy")

    def track_backward(self, shape: str) -> float:
        return self.ratio(shape, "backward_fastnn", "backward_numpy")


class Activation(OneThread):
    """100 rows of 300."""

    params = elementwise.ACTIVATIONS
    param_names = ("activation",)

    def track_forward(self, activation: str) -> float:
        return relative_time(lambda: tuple(elementwise.activation_calls(activation, (100, 300)).values()))


class Derivative(OneThread):
    """100 rows of 300."""

    params = ["relu", "tanh"]
    param_names = ("activation",)

    def track_backward(self, activation: str) -> float:
        return relative_time(lambda: tuple(elementwise.derivative_calls(activation, (100, 300)).values()))


class Optimizer(OneThread):
    """One step for the 17,226 weights of 64-128-64-10."""

    params = ["sgd", "adam"]
    param_names = ("rule",)

    def track_update(self, rule: str) -> float:
        return relative_time(lambda: tuple(elementwise.optimizer_calls(rule, [64, 128, 64, 10]).values()))


class Others(OneThread):
    """The kernels around the layers, and a whole prediction."""

    def track_softmax_cross_entropy(self) -> float:
        return relative_time(lambda: tuple(elementwise.cross_entropy_calls(200, 10).values()))

    def track_squared_error(self) -> float:
        return relative_time(lambda: tuple(elementwise.squared_error_calls(100, 100).values()))

    def track_gather(self) -> float:
        return relative_time(lambda: tuple(gather.gather_calls("float32", 300, 200, 64).values()))

    def track_predict(self) -> float:
        return relative_time(lambda: tuple(prediction.predict_calls([64, 128, 64, 10], 1).values()))
