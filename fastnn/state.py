"""Where a fit stands: all that its future depends on beside its data and settings, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .history import History
from .optimizers import Optimizer
from .validation import Array

NUMBERS = ("seed", "n_steps", "step", "epoch", "batch", "rows", "batch_size", "last_loss", "stopped")


@dataclass
class State:
    """What a fit changes on its way, the parameters of the network aside.

    The order of the rows and dropout are functions of seed, epoch and step, so there is no generator whose state would
    belong here.

    Attributes
    ----------
    seed : int
        Of the order of the rows and of dropout.
    n_steps : int
        Over how many steps a schedule goes that spans the fit.
    optimizer : Optimizer, optional
        The settings; None where it takes no single steps.
    buffers : ndarray
        What the optimizer knows: moments, velocities, ... of every parameter, a row each; in a file one after the other.
    step : int
        How many steps were taken.
    epoch : int
        How many epochs were finished.
    batch, rows : int
        How many minibatches, and rows, of the epoch under way were used.
    batch_size : int
        Rows of a minibatch.
    losses : list of float64 ndarray
        Their losses, multiplied by their rows where the loss is a mean over rows.
    last_loss : float
        The last one as it is.
    stopped : bool
        Whether a callback has asked to stop at the end of an epoch.
    history : History
        The epochs that were finished.
    """

    seed: int
    n_steps: int
    optimizer: Optimizer | None = None
    buffers: Array = field(default_factory=lambda: np.zeros(0))
    step: int = 0
    epoch: int = 0
    batch: int = 0
    rows: int = 0
    batch_size: int = 0
    losses: list[Array] = field(default_factory=list)
    last_loss: float = np.nan
    stopped: bool = False
    history: History = field(default_factory=History)

    def add(self, losses: Array, sizes: Array, mean: bool) -> None:
        """Note the losses of some minibatches of so many rows each, which are means over them or sums."""
        self.losses.append(losses * sizes if mean else losses)
        self.batch, self.rows, self.last_loss = self.batch + len(losses), self.rows + int(np.add.reduce(sizes)), float(losses[-1])

    def epoch_loss(self, mean: bool) -> float:
        """Return the loss of the epoch under way: the mean over its rows, or the sum."""
        if self.batch == 1:  # its rows, multiplied and divided by, would change the last bit
            return self.last_loss
        total = float(np.concatenate(self.losses).sum())
        return total / self.rows if mean else total

    def end_epoch(self, losses: list[float], logs: dict[str, float], seconds: float) -> None:
        """Note what some epochs gave, and stand at the beginning of the next one."""
        self.epoch = self.history.add(losses, logs, seconds)
        self.batch, self.rows, self.losses = 0, 0, []

    def settings(self) -> dict[str, Any]:
        """Return what of it is numbers, for JSON."""
        return {name: getattr(self, name) for name in NUMBERS}

    def arrays(self) -> dict[str, Array]:
        """Return copies of what of it is arrays, by name."""
        seconds, values = self.history.arrays()
        arrays = {"buffers": self.buffers.flatten(), "losses": np.concatenate([np.zeros(0), *self.losses]), "seconds": seconds}
        return arrays | {f"history.{name}": A for name, A in values.items()}

    @classmethod
    def of(cls, settings: dict[str, Any], arrays: dict[str, Array]) -> State:
        """Return the state that `settings` and `arrays` describe, without its optimizer."""
        values = {name[len("history.") :]: A for name, A in arrays.items() if name.startswith("history.")}
        history = History(values, range(1, settings["epoch"] + 1), arrays["seconds"])
        numbers = {name: settings[name] for name in NUMBERS}
        return cls(**numbers, buffers=arrays["buffers"], losses=[arrays["losses"]], history=history)
