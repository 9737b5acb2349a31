"""Training: what a fit owns, allocated once, and the loss and gradient of all rows together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import _door
from . import network as net
from ._jit import threads
from .bound import EMPTY_WEIGHTS, Objective, bind
from .losses import CROSS_ENTROPY
from .optimizers import N_BUFFERS
from .plan import CHUNK_BYTES, Array, Plan, aligned_zeros, lay_out

__all__ = ["FullBatch", "Trainer", "loss_and_gradient"]

CHUNK_SECONDS = 0.02
ASSUMED_FLOPS = 5e10  # of one core, for the length of a chunk
ROWS = 8192  # whose activations are in memory at once in a full batch


class Trainer:
    """What a fit owns: gradient, optimizer state, workspace and the buffer of gathered minibatches, allocated once.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (plan.parameters_size,)
        Updated in place.
    batch_size : int
    objective : Objective
    rule : int
        A code such as `kernels.ADAM`.
    hyper : sequence of float
        The numbers of the rule; see `kernels.optimizers`.
    n_threads : int
    full_batch : bool
        Whether every step takes the same rows: then a call takes many steps with them.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan; see `kernels.evaluate` for the losses that fit.

    Attributes
    ----------
    chunk : int
        The number of steps that a call of `train` may take: some 20 ms.
    bad_row : int
        A row of X that is not finite, found by the last call, or -1.
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Array,
        batch_size: int,
        objective: Objective,
        rule: int,
        hyper: Sequence[float],
        *,
        n_threads: int = 1,
        full_batch: bool = False,
    ) -> None:
        _door.check_trainer(plan, parameters, batch_size, objective, rule, hyper, n_threads)
        self.plan, self.batch_size, self.n_threads, self.objective = plan, batch_size, n_threads, objective
        self.gradient = aligned_zeros(plan.parameters_size, plan.dtype)
        self.state = aligned_zeros(N_BUFFERS[rule] * plan.parameters_size, plan.dtype)
        layout = lay_out(plan, batch_size, training=True)
        seconds = max(2e-6, plan.flops_per_row * batch_size / ASSUMED_FLOPS / n_threads)
        bytes_ = (layout.input_size + (0 if objective.loss == CROSS_ENTROPY else layout.target_size)) * layout.itemsize
        self.chunk = int(max(1, CHUNK_SECONDS / seconds))
        self.buffered = 1 if full_batch else max(1, min(self.chunk, CHUNK_BYTES // bytes_))
        if not full_batch or plan.dropouts[0] > 0:  # the dropout overwrites what was gathered
            self.chunk = self.buffered
        self.bound = bind(
            plan,
            parameters,
            batch_size,
            training=True,
            objective=objective,
            rule=rule,
            hyper=hyper,
            gradient=self.gradient,
            state=self.state,
            chunk=self.buffered,
        )
        self.targets = np.zeros(0, plan.dtype)
        self.bad_row = -1

    def train(
        self,
        X: Array,
        y: Array,
        order: NDArray[np.int64],
        first_step: int,
        rates: NDArray[np.float64],
        weights: NDArray[np.float64] | None = None,
        repeats: int = 1,
    ) -> NDArray[np.float64]:
        """Train on the rows of `order`, cut in minibatches; return the loss of each, up to the last finite one.

        Where fewer losses than steps come back, the next one was not finite and the parameters are those of the last
        finite loss; or `bad_row` is not -1 but a row of X that is not finite, and nothing was done.

        Parameters
        ----------
        X, y : ndarray
        order : int64 ndarray
            Rows, at most `chunk` minibatches.
        first_step : int
            How many steps were taken before.
        rates : float64 ndarray
            The learning rate of each step.
        weights : float64 ndarray, optional
            What the loss of each row of X is multiplied by.
        repeats : int
            How often to go through these rows.

        Raises
        ------
        IndexError
            If order names a row that X does not have.
        TypeError, ValueError
            If an argument is of another kind, does not fit the plan or the others, or a label is out of range. Nothing was done.
        """
        _door.check_chunk(self.plan, self.objective, self.batch_size, X, y, order, first_step, rates, weights, repeats)
        bound = self.bound
        minibatches = -(-order.size // self.batch_size)
        steps = minibatches * repeats
        if minibatches > self.buffered or steps > self.chunk:
            raise ValueError(f"order must have at most {self.chunk} minibatches of {self.batch_size}; got {order.size} rows, {repeats} times.")
        losses = np.empty(steps)
        with threads(self.n_threads) as n_threads:
            bound.use_threads(n_threads)
            self.bad_row = bound.gather(X, order, self.objective.scale, self.objective.shift, n_threads)
            if self.bad_row >= 0:
                return losses[:0]
            if y.ndim > 1 and not self.targets.size:
                self.targets = aligned_zeros(self.buffered * bound.layout.target_size, self.plan.dtype)
            labels, targets = bound.gather_targets(y, order, self.targets, n_threads)
            _door.check_labels(self.plan, labels)
            row_weights = EMPTY_WEIGHTS if weights is None else weights[order]
            bound.numbers[net.STEP_COUNT] = first_step
            done = net.network_train.compiled(bound.table, bound.numbers, bound.inputs, labels, targets, row_weights, rates, losses, order.size, steps)
        return losses[:done]

    def settle(self) -> bool:
        """Return whether the parameters are finite; if the last update made them otherwise, put back those from before it."""
        parameters = self.bound.parameters
        if np.isfinite(parameters.min()) and np.isfinite(parameters.max()):
            return True
        if self.bound.table[0, net.UPDATED]:
            for first, end in self.plan.trained_ranges():
                parameters[first:end] = self.gradient[first:end]
        return False


class FullBatch:
    """The loss of all rows together and its gradient, without dropout, for any parameters.

    The rows are gathered once, here; a call is then one compiled call for every 8,192 rows.

    Parameters
    ----------
    plan : Plan
    X, y : ndarray
        Features; labels, or targets.
    objective : Objective
    n_threads : int
    weights : float64 ndarray, optional
        What the loss of each row is multiplied by.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan; see `kernels.evaluate` for the losses that fit.
    """

    def __init__(self, plan: Plan, X: Array, y: Array, objective: Objective, *, n_threads: int = 1, weights: NDArray[np.float64] | None = None) -> None:
        _door.check_data(plan, objective, X, y, n_threads, weights)
        self.plan, self.n_threads = plan, n_threads
        self.parameters, self.gradient = (aligned_zeros(plan.parameters_size, plan.dtype) for _ in range(2))
        self.rows = min(len(X), ROWS)
        n_blocks = -(-len(X) // self.rows)
        self.part = self.gradient if n_blocks == 1 else aligned_zeros(plan.parameters_size, plan.dtype)
        self.bound = bound = bind(
            plan,
            self.parameters,
            self.rows,
            training=True,
            objective=objective.sum_over_rows(len(X)),
            gradient=self.part,
            chunk=n_blocks,
            dropout=False,
        )
        every = np.arange(len(X))
        targets = aligned_zeros(n_blocks * bound.layout.target_size if y.ndim > 1 else 0, plan.dtype)
        with threads(n_threads) as used:
            self.bad_row = bound.gather(X, every, objective.scale, objective.shift, used)
            labels, targets = bound.gather_targets(y, every, targets, used)
        self.blocks = []
        for k in range(n_blocks):
            rows, sizes = slice(k * self.rows, (k + 1) * self.rows), (bound.layout.input_size, bound.layout.target_size)
            inputs, block_targets = (A[k * size : (k + 1) * size] for A, size in zip((bound.inputs, targets), sizes))
            row_weights = EMPTY_WEIGHTS if weights is None else np.ascontiguousarray(weights[rows])
            self.blocks.append((inputs, labels[rows], block_targets, row_weights, len(every[rows])))

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        """Return the loss and the flat gradient, which the next call overwrites."""
        _door.check_point(self.plan, parameters)
        self.parameters[:] = parameters
        loss = 0.0
        with threads(self.n_threads) as used:
            self.bound.use_threads(used)
            for k, block in enumerate(self.blocks):
                self.bound.penalize(k == 0)
                loss += net.network_gradient.compiled(self.bound.table, self.bound.numbers, *block)
                if k == 0 and self.part is not self.gradient:
                    self.gradient[:] = self.part
                elif k > 0:
                    self.gradient += self.part
        self.bound.table[0, net.SEEN] = 1
        return float(loss), self.gradient


def loss_and_gradient(plan: Plan, parameters: Array, X: Array, y: Array, objective: Objective, *, n_threads: int = 1) -> tuple[float, Array]:
    """Return the loss of all rows, without dropout, and its flat gradient; 0 where nothing is trained."""
    return FullBatch(plan, X, y, objective, n_threads=n_threads)(parameters)
