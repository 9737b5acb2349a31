"""Training: what a fit owns, allocated once, and the loss and gradient of all rows together."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _door
from ._factory import Rule
from ._jit import jit
from ._tile import address_of
from .blocks import block_rows, emit_step_of_rows
from .clip import Clip
from .csr import CSR
from .gather import NO_ORDER, Gather, check_row
from .losses import CROSS_ENTROPY, OF_LABELS
from .objective import Objective
from .optimizers import OPTIMIZERS
from .plan import CHUNK_BYTES, Array, Plan
from .program import Program, run
from .records import NOW, address, aligned_zeros, rows_of_pages
from .sharing import sharing_of
from .stored import Taken, take
from .team import share
from .updates import Pace, Updater

__all__ = ["FullBatch", "Trainer", "loss_and_gradient"]

CHUNK_SECONDS = 0.02
ASSUMED_FLOPS = 5e10  # of one core, for the length of a chunk
NO_LABELS, NO_WEIGHTS = np.zeros(0, np.int64), np.zeros(0)


@jit
def train_steps(phases, count, steps, team, now, labels, weights, rates, penalty_scales, losses, n_rows, first_step):
    """Take steps with the gathered minibatches; return how many had a finite loss."""
    S = NOW(now)
    S.all_labels = address_of(labels) if labels.size > 0 else 0
    S.all_weights = address_of(weights) if weights.size > 0 else 0
    S.rates, S.losses = address_of(rates), address_of(losses)
    S.penalty_scales = address_of(penalty_scales) if penalty_scales.size > 0 else 0
    S.penalized = 1.0
    S.all_rows, S.count, S.done, S.stop = n_rows, first_step, 0, 0
    return run(phases, 0, count, steps, team, now)


class Minibatches:
    """The gathered rows of some minibatches, as a program takes them.

    Parameters
    ----------
    program : Program
        Whose minibatches they are.
    plan : Plan
    count : int
        How many minibatches there is room for.
    takes_labels : bool
        Whether random rows come with labels, or with targets.
    layout : Program, optional
        Of whose minibatches these are parts, as `program` takes them; left out, they are whole.
    """

    def __init__(self, program: Program, plan: Plan, count: int, takes_labels: bool = True, layout: Program | None = None) -> None:
        layout = layout or program
        # What is read of a program, not the program, which keeps these arrays: a cycle frees nothing before Python looks for cycles.
        self.now, self.rows, self.batch, self.jump = program.now[0], program.rows, layout.rows, layout.jump
        self.dtype, self.count, self.n_outputs, self.takes_labels = plan.dtype, count, plan.widths[-1], takes_labels
        self.n_inputs, self.stored, self.target_stride = plan.widths[0], program.stored, program.panels(self.n_outputs) * self.jump
        self.blocks = blocks = -(-program.rows // layout.rows)
        if not self.stored:
            stride = program.panels(self.n_inputs) * self.jump
            inputs = aligned_zeros(count * stride, plan.dtype)
            self.gather_inputs = Gather(plan.dtype, self.batch, self.jump, self.n_inputs, inputs)
            self.now["inputs"] = self.now["all_inputs"] = address(inputs)
            self.now["input_bytes"] = blocks * stride * inputs.itemsize
        else:
            self.now["input_bytes"] = blocks * 8 * self.batch  # inputs are where the rows start in what is stored
        self.targets: Array = np.zeros(0, plan.dtype)
        self.taken: Taken | None = None  # of stored rows, those that the program reads
        self.labels = NO_LABELS
        self.no_rates, self.no_losses = np.zeros(count), np.zeros(count)
        program.sample = self.sample

    def sample(self) -> None:
        """Fill in random rows, labels and targets, and a learning rate of 0: for measurements."""
        rng, rows, now = np.random.default_rng(0), self.rows, self.now
        stored = sample_of_stored(rows, self.n_inputs, self.dtype) if self.stored else None
        X, Y = (rng.standard_normal((rows, n)).astype(self.dtype) for n in (0 if stored else self.n_inputs, self.n_outputs))
        objective = Objective(CROSS_ENTROPY)
        self.fill(stored or X, rng.integers(0, self.n_outputs, rows), NO_ORDER, objective, 0)
        if not self.takes_labels:
            self.fill(stored or X, Y, NO_ORDER, objective, 0)
        now["all_labels"], now["all_rows"], now["all_weights"] = address(self.labels) if self.takes_labels else 0, rows, 0
        now["rates"], now["losses"] = address(self.no_rates), address(self.no_losses)

    def fill(self, X: Array | CSR, y: Array, order: NDArray[np.int64], objective: Objective, team: int) -> int:
        """Gather the rows of an order, or where it is empty all as they lie; return one that is not finite, or -1."""
        rows = order.size or len(X)
        if not isinstance(X, CSR):
            bad_row = self.gather_inputs(X, order, 0, rows, objective.scale, objective.shift, team)
        else:
            taken = take(X, order, self.dtype, objective.scale)
            for one in self.stored:
                one.read(taken)
            self.taken = taken
            self.now["inputs"] = self.now["all_inputs"] = address(taken.starts)
            bad_row = taken.bad_row
        self.labels = (y[order] if order.size else y.copy()) if y.ndim == 1 else NO_LABELS
        if y.ndim != 1 and bad_row < 0:
            if not self.targets.size:
                self._make_targets()
            self.gather_targets(y, order, 0, rows, 1.0, 0.0, team)
        return bad_row

    def _make_targets(self) -> None:
        self.targets = aligned_zeros(self.count * self.target_stride, self.dtype)
        self.gather_targets = Gather(self.dtype, self.batch, self.jump, self.n_outputs, self.targets)
        self.now["targets"] = self.now["all_targets"] = address(self.targets)
        self.now["target_bytes"] = self.blocks * self.target_stride * self.targets.itemsize


def sample_of_stored(rows: int, n: int, dtype: str) -> CSR:
    """Return rows each of which stores a sixteenth of its columns, for measurements."""
    each = -(-n // 16)
    rng, columns = np.random.default_rng(0), np.arange(each) * 16
    data = rng.standard_normal(rows * each).astype(dtype)
    return CSR(data, np.concatenate([np.minimum(columns + i % 16, n - each + np.arange(each)) for i in range(rows)]), np.arange(rows + 1) * each, (rows, n))


class Trainer:
    """What a fit owns: gradient, optimizer state, workspace and the buffer of gathered minibatches, allocated once.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (plan.parameters_size,)
        Updated in place.
    batch_size : int
    objective : Objective
    rule : int or Rule
        A code such as `kernels.ADAM`, or what `custom_rule` returns.
    hyper : dict of str to float, or sequence of float
        The numbers of the rule, by name or in the order of `kernels.OPTIMIZERS[rule].hyper`.
    n_threads : int
    full_batch : bool
        Whether every step takes the same rows: then a call takes many steps with them.
    clip_norm : float, optional
        Before every update the gradient of all that is trained, penalties included, is multiplied by
        clip_norm / (its norm + 1e-6) where that is below 1, as by torch.nn.utils.clip_grad_norm_. A norm that is not
        finite changes nothing: the loss after it ends the run.
    clip_value : float, optional
        Before that, each number of the gradient is brought to the nearest in [-clip_value, clip_value].
    dropout_rates : function, optional
        Of a step, counted from 0, and of a number of steps: their rates, a row for each dropout whose rate in the plan is
        None, in the order of the data.
    paces : sequence of kernels.Pace
        The ranges of the parameters with a learning rate, or a weight decay, of their own.
    weight_decays : function, optional
        Of a step, counted from 0, and of a number of steps: their weight decays, in the place of that in `hyper`.
    largest_norms : sequence of (int, float)
        Dense layers, by their number, and what the norm of the weights of each of their units is brought to after an update,
        where it is larger.
    stored : bool
        Whether rows come as `kernels.CSR`: only what is stored of them is read, none is made dense. The plan must be one that
        `takes_stored`, and `objective.shift` 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan; see `kernels.evaluate` for the losses that fit.

    Attributes
    ----------
    chunk : int
        The number of steps that a call of `train` may take: some 20 ms.
    buffered : int
        The number of minibatches that are gathered at once.
    bad_row : int
        A row of X that is not finite, found by the last call, or -1.
    program : Program
        The step.
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Array,
        batch_size: int,
        objective: Objective,
        rule: int | Rule,
        hyper: Mapping[str, float] | Sequence[float],
        *,
        n_threads: int = 1,
        full_batch: bool = False,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        dropout_rates: Callable[[int, int], NDArray[np.float64]] | None = None,
        paces: Sequence[Pace] = (),
        weight_decays: Callable[[int, int], NDArray[np.float64]] | None = None,
        largest_norms: Sequence[tuple[int, float]] = (),
        stored: bool = False,
    ) -> None:
        _door.check_trainer(plan, parameters, batch_size, objective, rule, n_threads)
        self.stored = _door.yes_or_no("stored", stored)
        if self.stored:
            _door.check_takes_stored(plan, objective.shift)
        clip = Clip(_door.bound(plan, "clip_norm", clip_norm), _door.bound(plan, "clip_value", clip_value))
        self.plan, self.batch_size, self.n_threads, self.objective = plan, batch_size, n_threads, objective
        self.parameters = parameters
        self.gradient = aligned_zeros(plan.parameters_size, plan.dtype)
        chosen = rule if isinstance(rule, Rule) else OPTIMIZERS[rule]
        self.state = rows_of_pages(len(chosen.buffers), plan.parameters_size, plan.dtype)
        paces, norms = _door.paces(plan, paces), _door.largest_norms(plan, largest_norms)
        if weight_decays is not None and "weight_decay" not in chosen.hyper:
            raise ValueError(f"weight_decays must be None for a rule without weight_decay; got {weight_decays}.")
        self.weight_decays, seconds = weight_decays, max(2e-6, plan.flops_per_row * batch_size / ASSUMED_FLOPS / n_threads)
        self.chunk = int(max(1, CHUNK_SECONDS / seconds))
        self.decays = None if weight_decays is None else np.zeros(self.chunk)
        updater = Updater(parameters, self.gradient, self.state, chosen, hyper, paces, self.decays)
        block = block_rows(plan, batch_size, fitting=True, full_batch=full_batch)
        self.in_blocks = block > 0
        options: dict[str, Any] = {"updater": updater, "clip": clip, "largest_norms": norms, "gradient": self.gradient}
        options |= {"n_threads": n_threads, "stored": self.stored}
        self.program, layout = emit_step_of_rows(plan, parameters, batch_size, objective, block, **options)
        gathered = [] if self.stored else [plan.widths[0]]
        columns = sum(map(self.program.panels, gathered if objective.loss in OF_LABELS else [*gathered, plan.widths[-1]]))
        size = max(1, columns * self.program.jump * parameters.itemsize)
        fitting = max(CHUNK_BYTES // 4 // size, min(4, CHUNK_BYTES // size))
        self.buffered = 1 if full_batch else max(1, min(self.chunk, fitting))
        if not full_batch or self.program.overwrites_inputs:  # a dropout or noise on what was gathered
            self.chunk = self.buffered
        if (dropout_rates is None) != (not layout.schedules):
            raise ValueError(f"dropout_rates must be given for the {len(layout.schedules)} dropouts whose rate is None; got {dropout_rates}.")
        self.dropout_rates = dropout_rates
        self.thresholds = np.zeros((len(layout.schedules), self.chunk), np.int64)
        for schedule, thresholds in zip(self.program.schedules, itertools.cycle(self.thresholds)):  # those of each thread
            schedule["thresholds"] = address(thresholds)
        parts = self.buffered * -(-batch_size // layout.rows)
        self.minibatches = Minibatches(self.program, plan, parts, objective.loss in OF_LABELS, layout)
        self.program.keep_all(self.parameters, self.gradient, self.state, self.minibatches, self.thresholds)
        self.now = address(self.program.now)
        self.sharing = sharing_of(self.program.kinds() if n_threads > 1 else [], self.program.work)
        self.bad_row = -1

    def train(
        self,
        X: Array | CSR,
        y: Array,
        order: NDArray[np.int64],
        first_step: int,
        rates: NDArray[np.float64],
        weights: NDArray[np.float64] | None = None,
        repeats: int = 1,
        penalty_scales: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Train on the rows of `order`, cut in minibatches; return the loss of each, up to the last finite one.

        Where fewer losses than steps come back, the next one was not finite and the parameters are those of the last
        finite loss; or `bad_row` is not -1 but a row of X that is not finite, and nothing was done.

        Parameters
        ----------
        X : ndarray or CSR
            As `stored` says.
        y : ndarray
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
        penalty_scales : float64 ndarray, optional
            What the penalties of each step are multiplied by; left out, 1.

        Raises
        ------
        IndexError
            If order names a row that X does not have.
        TypeError, ValueError
            If an argument is of another kind, does not fit the plan or the others, or a label is out of range. Nothing was done.
        """
        _door.check_chunk(self.plan, self.objective, self.batch_size, X, y, order, first_step, rates, weights, repeats, penalty_scales, self.stored)
        minibatches = -(-order.size // self.batch_size)
        steps = minibatches * repeats
        if minibatches > self.buffered or steps > self.chunk:
            raise ValueError(f"order must have at most {self.chunk} minibatches of {self.batch_size}; got {order.size} rows, {repeats} times.")
        if repeats > 1 and self.program.overwrites_inputs:
            raise ValueError(f"repeats must be 1 where dropout or noise is done to the inputs, which overwrites them; got {repeats}.")
        losses = np.empty(steps)
        if not steps:
            return losses
        if self.dropout_rates is not None:
            self.thresholds[:, :steps] = np.round(_door.dropout_rates(self.dropout_rates(first_step, steps), len(self.thresholds), steps) * 2**32)
        if self.decays is not None and self.weight_decays is not None:
            decays = self.weight_decays(first_step, steps)
            _door.check_rates("weight_decays", decays, steps)
            self.decays[:steps] = decays[:steps]
        order, rates = np.ascontiguousarray(order), np.ascontiguousarray(rates)
        scales = NO_WEIGHTS if penalty_scales is None else np.ascontiguousarray(penalty_scales)
        start = time.perf_counter()
        self.program.now["apart"] = self.sharing.apart
        with share(self.n_threads if self.sharing.together else 1) as team:
            self.bad_row = self.minibatches.fill(X, y, order, self.objective, team)
            if self.bad_row >= 0:
                return losses[:0]
            _door.check_labels(self.plan, self.minibatches.labels)
            row_weights = NO_WEIGHTS if weights is None else self.objective.factors(weights[order], self.batch_size)
            program, labels = self.program, self.minibatches.labels
            done = train_steps(
                program.where,
                len(program.phases),
                steps,
                team,
                self.now,
                labels,
                row_weights,
                rates,
                scales,
                losses,
                order.size,
                first_step,
            )
        self.sharing.note((time.perf_counter() - start) / (order.size * repeats))
        if done < steps and self.program.now["updated"][0]:
            self._restore()
        return losses[:done]

    def serves(self, batch_size: int) -> bool:
        """Return whether steps of so many rows have the bits that a trainer for minibatches of that size gives them."""
        return batch_size == self.batch_size or (batch_size < self.batch_size and not self.in_blocks and not block_rows(self.plan, batch_size, True, False))

    def forget(self) -> None:
        """Let a loss or an update that is not finite leave the parameters as they are now, not as they were before the last update."""
        self.program.now["updated"] = 0

    def settle(self) -> bool:
        """Return whether the parameters are finite; if the last update made them otherwise, put back those from before it."""
        if math.isfinite(np.minimum.reduce(self.parameters)) and math.isfinite(np.maximum.reduce(self.parameters)):
            return True
        if self.program.now[0]["updated"]:
            self._restore()
        return False

    def _restore(self) -> None:
        """Put back the parameters from before the last update, which it left in the gradient."""
        for first, end in self.plan.trained_ranges():
            self.parameters[first:end] = self.gradient[first:end]


class FullBatch:
    """The loss of all rows together and its gradient, without dropout, for any parameters.

    The rows are gathered once, here; a call is then one compiled call.

    Parameters
    ----------
    plan : Plan
    X : ndarray or CSR
    y : ndarray
        Labels, or targets.
    objective : Objective
    n_threads : int
    weights : float64 ndarray, optional
        What the loss of each row is multiplied by.

    Raises
    ------
    RowError
        A ValueError, for a row that is not finite.
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan; see `kernels.evaluate` for the losses that fit.
    """

    def __init__(self, plan: Plan, X: Array | CSR, y: Array, objective: Objective, *, n_threads: int = 1, weights: NDArray[np.float64] | None = None) -> None:
        stored = _door.check_data(plan, objective, X, y, n_threads, weights)
        self.plan, self.n_threads = plan, n_threads
        self.parameters, self.gradient = (aligned_zeros(plan.parameters_size, plan.dtype) for _ in range(2))
        options: dict[str, Any] = {"gradient": self.gradient, "n_threads": n_threads, "stored": stored}
        self.program, layout = emit_step_of_rows(plan, self.parameters, len(X), objective, block_rows(plan, len(X)), **options)
        self.minibatches = Minibatches(self.program, plan, -(-len(X) // layout.rows), layout=layout)
        self.weights = NO_WEIGHTS if weights is None else np.ascontiguousarray(objective.factors(weights, len(X)))
        with share(n_threads) as team:
            check_row(self.minibatches.fill(X, y, NO_ORDER, objective, team), plan.dtype)
        now = self.program.now[0]
        now["all_labels"] = address(self.minibatches.labels) if y.ndim == 1 else 0
        now["all_weights"] = address(self.weights) if self.weights.size else 0
        self.rate, self.loss = np.zeros(1), np.zeros(1)
        now["rates"], now["losses"], now["all_rows"] = address(self.rate), address(self.loss), len(X)
        self.called = False

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        """Return the loss and the flat gradient, which the next call overwrites."""
        _door.check_point(self.plan, parameters)
        self.parameters[:] = parameters
        now = self.program.now[0]
        now["done"] = 0
        with share(self.n_threads) as team:
            self.program.run("place", "forward")
            now["seen"] = self.called
            self.program.run("forward", "end", team=team)
        self.called = True
        return float(self.loss[0]), self.gradient


def loss_and_gradient(plan: Plan, parameters: Array, X: Array | CSR, y: Array, objective: Objective, *, n_threads: int = 1) -> tuple[float, Array]:
    """Return the loss of all rows, without dropout, penalties included, and its flat gradient; 0 where nothing is trained.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (plan.parameters_size,), any real dtype
    X, y, objective, n_threads
        As for `evaluate`.

    Raises
    ------
    RowError
        A ValueError, for a row that is not finite.
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan.
    """
    return FullBatch(plan, X, y, objective, n_threads=n_threads)(parameters)
