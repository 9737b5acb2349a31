"""How scikit-learn's networks are trained, said with the kernels: minibatches for SGD and Adam, all rows for L-BFGS.

Both divide the squares of the weights by what the loss is divided by: the rows of a minibatch, or their weights' sum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import kernels

from . import watching
from .batches import Chunk, dense
from .interrupts import Interrupts
from .minimize import solve
from .network import Sequential
from .optimizers import FullBatchOptimizer
from .sparse import full_batch
from .training import DivergedError
from .validation import Array

RULES: dict[str, int | kernels.Rule] = {
    "adam": kernels.scikit.ADAM,
    "nesterov": kernels.NESTEROV,
    "momentum": kernels.MOMENTUM,
}


@dataclass
class Problem:
    """What is minimized: the loss of a network, and `alpha / 2` times the squares of its weights.

    Attributes
    ----------
    network : Sequential
    objective : kernels.Objective
    alpha : float
    seed : int
        Of the dropout.
    n_threads : int
    """

    network: Sequential
    objective: kernels.Objective
    alpha: float
    seed: int
    n_threads: int

    def plan(self, divisor: float = 1.0) -> kernels.Plan:
        """Return the network's plan with the squares of the weights added to the loss."""
        plan = self.network.plan
        penalties = ((0.0, 0.5 * self.alpha / divisor, 0.0, 0.0),) * plan.n_layers
        return dataclasses.replace(plan, penalties=penalties, seed=self.seed)


@dataclass
class StepSolver:
    """SGD or Adam between two epochs: what a later fit goes on with.

    Attributes
    ----------
    rule : str
        A name in `RULES`.
    hyper : dict of str to float
        The numbers of the rule.
    learning_rate : float
        Of the next steps.
    step : int
        How many were taken.
    """

    rule: str
    hyper: dict[str, float]
    learning_rate: float
    step: int = 0
    _state: Array | None = field(default=None, repr=False)
    _trainer: kernels.Trainer | None = field(default=None, repr=False)
    _settings: tuple[Any, ...] = field(default=(), repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy consists of: the state of the rule, without the memory of a network."""
        state = self._state if self._trainer is None else self._trainer.state.copy()
        return {**self.__dict__, "_state": state, "_trainer": None, "_settings": ()}

    def bind(self, problem: Problem, batch_size: int, stored: bool = False) -> None:
        """Train this network with minibatches of this size from now on; `stored` as for `kernels.Trainer`."""
        settings = (problem.objective, problem.alpha, problem.seed, problem.n_threads, batch_size, stored)
        old = self._trainer
        if old is not None and self._settings == settings and old.parameters is problem.network.parameters:
            return
        state = self._state if old is None else old.state
        self._trainer = kernels.Trainer(
            problem.plan(),
            problem.network.parameters,
            batch_size,
            problem.objective,
            RULES[self.rule],
            self.hyper,
            n_threads=problem.n_threads,
            stored=stored,
        )
        if state is not None:
            self._trainer.state[:] = state.reshape(self._trainer.state.shape)  # one row a buffer; older pickles have them one after the other
        self._settings, self._state = settings, None

    def slow_down(self, learning_rate: float) -> None:
        """Go on with another learning rate.

        The velocity of SGD is a sum of gradients here, of steps in scikit-learn: brought to the new rate, both go on alike.
        """
        if self._trainer is not None and self.rule in ("momentum", "nesterov") and learning_rate != self.learning_rate:
            self._trainer.state *= self.learning_rate / learning_rate
        self.learning_rate = learning_rate

    def epoch(self, data: Chunk, watchers: list[Any], interrupts: Interrupts) -> tuple[float, bool]:
        """Take the steps of an epoch; return its loss, and whether somebody asked to stop in its middle.

        The loss is the mean over the rows of the means of the minibatches.

        Raises
        ------
        DivergedError
            If a loss or, in the end, a parameter is not finite; the network has those of the last finite loss.
        """
        trainer, total, first, stop = self._bound, 0.0, 0, False
        while first < len(data.order) and not stop:
            rows = min(trainer.buffered, watching.unseen_steps(watchers, self.step)) * trainer.batch_size
            chunk = dense(data._replace(order=data.order[first : first + rows]))
            sizes, scales = _scales(chunk, trainer.batch_size)
            rates = np.full(len(sizes), self.learning_rate)
            watching.call(watchers, "on_rates", self.step, rates)
            with interrupts.held():
                watching.begin_batch(watchers, self.step)
                losses = trainer.train(chunk.X, chunk.y, chunk.order, self.step, rates, chunk.weights, penalty_scales=scales)
                if len(losses) < len(sizes):
                    raise DivergedError(f"loss must be finite; got NaN or infinity in step {self.step + len(losses)}.")
                self.step += len(sizes)
                stop = watching.end_batch(watchers, self.step - 1, float(losses[-1]))
                stop |= watching.call(watchers, "on_chunk_end", self.step)
            for loss, size in zip(losses.tolist(), sizes.tolist()):  # one by one: chunks are of any length, and the sum is the same
                total += loss * size  # may be infinite, which ends the fit
            first += rows
        if not trainer.settle():
            raise DivergedError("parameters must be finite; got NaN or infinity from the last update of an epoch.")
        return total / min(first, len(data.order)), stop

    @property
    def _bound(self) -> kernels.Trainer:
        if self._trainer is None:
            raise ValueError("bind must be called before a step is taken.")
        return self._trainer


def _scales(chunk: Chunk, batch_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows of each minibatch, and what its penalties are multiplied by: 1 / their number, or 1 / the sum of their weights."""
    starts = np.arange(0, len(chunk.order), batch_size)
    sizes = np.minimum(batch_size, len(chunk.order) - starts)
    if chunk.weights is None:
        return sizes, 1.0 / sizes
    sums = np.add.reduceat(chunk.weights[chunk.order], starts)
    return sizes, np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)


@dataclass(frozen=True)
class LBFGS(FullBatchOptimizer):
    """L-BFGS with the options that scikit-learn gives it, SciPy's own for the rest."""

    max_fun: int = 15000

    method: ClassVar[str] = "L-BFGS-B"

    def options(self) -> dict[str, float]:
        """Return the options of SciPy's `minimize`."""
        return {"gtol": self.tolerance, "maxfun": self.max_fun}


def lbfgs(
    problem: Problem,
    X: Array,
    y: Array,
    weights: NDArray[np.float64] | None,
    optimizer: LBFGS,
    max_iter: int,
    watch: Callable[[float], bool],
) -> Any:
    """Minimize the loss of all rows; return SciPy's result. The network has the parameters of each iteration when `watch` gets its loss."""
    parameters = problem.network.parameters

    def watch_iteration(x: Array, loss: float) -> bool:
        parameters[:] = x
        return watch(loss)

    plan = problem.plan(len(y) if weights is None else float(weights.sum()))
    function = full_batch(plan, X, y, problem.objective, n_threads=problem.n_threads, weights=weights)
    return solve(function, parameters, optimizer, max_iter, watch_iteration)
