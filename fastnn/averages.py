"""Averages of the parameters along a fit: what is judged, kept and left behind in place of the last ones."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels

from . import validation
from .validation import Array


class Average:
    """A callback that averages the parameters; the network has the average while an epoch is judged, and after the fit.

    Other callbacks see the average too: `EarlyStopping` keeps the best one. The running statistics of `BatchNorm` are
    averaged like the parameters.
    """

    def on_fit_begin(self, network: Any) -> None:
        """Forget the fit before."""
        self._network, self._swapped, self._count = network, False, 0
        self._average: Array = np.empty(0)

    def on_epoch_begin(self, epoch: int) -> None:
        """Go on from the last parameters."""
        self._swap(False)

    def on_fit_end(self) -> None:
        """Leave the average in the network."""
        self._swap(True)
        self._average, self._swapped = np.empty(0), False

    def update(self, share: float) -> None:
        """Take the parameters into the average: `average += share * (parameters - average)`."""
        parameters = self._network.parameters
        if not self._average.size:
            self._average = parameters.copy()
            return
        before = kernels.set_flush_denormal(True)  # weights that decay stop just above the denormal numbers, their changes below
        try:
            change = parameters - self._average
            change *= share
            self._average += change
        finally:
            kernels.set_flush_denormal(before)

    def _swap(self, averaged: bool) -> None:
        """Let the network have the average, or the last parameters."""
        if self._average.size and averaged != self._swapped:
            parameters = self._network.parameters.copy()
            self._network.parameters[:] = self._average
            self._average, self._swapped = parameters, averaged

    def state_dict(self) -> dict[str, Any]:
        """Return what a fit that is resumed must know."""
        return {"average": self._average, "swapped": self._swapped, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        average = validation.saved_vector("average", state["average"], self._network.parameters, empty=True)
        self._average, self._swapped, self._count = average, state["swapped"], state["count"]


class EMA(Average):
    """Average with weights that shrink backwards: `average += (1 - decay) * (parameters - average)` after a minibatch.

    It begins with the parameters after the first one.

    Parameters
    ----------
    decay : float
        From 0, below 1.
    every_steps : int
        How many minibatches go by between two updates. Each is a pass over all parameters, so that some are cheaper than one.

    References
    ----------
    Polyak and Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control and Optimization 1992.
    """

    def __init__(self, decay: float = 0.999, every_steps: int = 1) -> None:
        self.decay = validation.number("decay", decay, 0.0, 1.0)
        self.every_steps = validation.integer("every_steps", every_steps, 1)

    def on_batch_end(self, step: int, loss: float) -> None:
        """Take the parameters into the average."""
        self.update(1.0 - self.decay)

    def on_epoch_trained(self, epoch: int) -> None:
        """Let the average be judged."""
        self._swap(True)


class SWA(Average):
    """Average over epochs, all alike: `average += (parameters - average) / n` after each from `start` on.

    A learning rate that stays high suits it.

    Parameters
    ----------
    start : int
        The first epoch that counts, at least 1.
    every : int
        Only epochs that it divides count.

    References
    ----------
    Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018.
    """

    def __init__(self, start: int = 1, every: int = 1) -> None:
        self.start, self._every = validation.integer("start", start, 1), validation.integer("every", every, 1)

    def on_fit_begin(self, network: Any) -> None:
        """Forget the fit before."""
        super().on_fit_begin(network)
        self._epoch = 0

    def on_epoch_trained(self, epoch: int) -> None:
        """Take the parameters into the average, and let it be judged."""
        if epoch >= self.start and epoch % self._every == 0 and epoch > self._epoch:  # not twice where its judging was interrupted
            self._count, self._epoch = self._count + 1, epoch
            self.update(1.0 / self._count)
        self._swap(True)

    def state_dict(self) -> dict[str, Any]:
        """Return what a fit that is resumed must know."""
        return {**super().state_dict(), "epoch": self._epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        super().load_state_dict(state)
        self._epoch = state["epoch"]
