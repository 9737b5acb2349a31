"""Plans bound to memory: the table of sizes, codes and addresses that the kernels of `network` read."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import network as net
from ._factory import Loss, Rule
from ._jit import Task, region_work
from .activations import IDENTITY, LOG_SOFTMAX, SIGMOID, SOFTMAX
from .gather import ROWS as GATHER_ROWS
from .gather import gather_rows
from .losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, HUBER, LOSSES
from .optimizers import OPTIMIZERS
from .plan import Array, Plan, aligned_zeros, lay_out

__all__ = ["Bound", "Objective", "bind"]

BY_LAYER_FROM = 200_000  # parameters, from which on a layer is updated while its gradient is in the cache


@dataclass(frozen=True)
class Objective:
    """What is minimized, and how X comes in.

    Parameters
    ----------
    loss : int or Loss
        A code such as `kernels.CROSS_ENTROPY`, or what `custom_loss` returns.
    outputs_scale : float
        What the loss summed over the outputs of a row is multiplied by: 1 / n_outputs for the mean.
    mean_rows : bool
        Whether the loss is a mean over the rows of a minibatch, or a sum.
    delta : float
        Of the Huber loss.
    scale, shift : float
        X * scale + shift is what the first layer sees.
    """

    loss: int | Loss
    outputs_scale: float = 1.0
    mean_rows: bool = True
    delta: float = 1.0
    scale: float = 1.0
    shift: float = 0.0

    def sum_over_rows(self, n_rows: int) -> Objective:
        """Return the objective whose sum over parts of `n_rows` rows is this one over all of them."""
        return replace(self, mean_rows=False, outputs_scale=self.outputs_scale / n_rows) if self.mean_rows else self


PREDICTION = Objective(CROSS_ENTROPY)  # for plans that only go forward

@functools.cache
def _tasks() -> tuple[Task, ...]:
    return tuple(Task(function) for function in net.TASKS)


class Bound:
    """A plan bound to memory: `table` for the kernels of `network`, and the arrays whose addresses it holds."""

    def __init__(
        self,
        plan: Plan,
        parameters: Array,
        rows: int,
        *,
        training: bool,
        objective: Objective = PREDICTION,
        rule: int | Rule = 0,
        hyper: Mapping[str, float] | Sequence[float] = (),
        gradient: Array | None = None,
        state: Array | None = None,
        logits: bool = False,
        chunk: int = 1,
        dropout: bool = True,
    ) -> None:
        if parameters.shape != (plan.parameters_size,) or parameters.dtype != plan.dtype or not parameters.flags.c_contiguous:
            raise ValueError(f"parameters must be a flat {plan.dtype} array of {plan.parameters_size}; got {parameters.dtype} {parameters.shape}.")
        if not (training and dropout):
            plan = replace(plan, dropouts=(0.0,) * plan.n_layers)
        layout, loss = lay_out(plan, rows, training), objective.loss
        width, itemsize, last = plan.panel, layout.itemsize, plan.n_layers - 1
        fused = (loss == CROSS_ENTROPY and plan.activations[last] in (SOFTMAX, LOG_SOFTMAX)) or (
            loss == BINARY_CROSS_ENTROPY and plan.activations[last] == SIGMOID
        )
        self.plan, self.parameters, self.gradient, self.state, self.layout, self.rows = plan, parameters, gradient, state, layout, rows
        self.inputs = aligned_zeros(chunk * layout.input_size, plan.dtype)
        self.workspace = aligned_zeros(layout.size, plan.dtype)
        widest = -(-max(plan.widths[1:]) // width)
        self.scratch_size = net.TOGETHER * widest * width * width if training else 0
        self.scratch = np.zeros(0, plan.dtype)
        self.constants = aligned_zeros(2 * width, plan.dtype)
        self.constants[width:] = 1
        self.row_losses = np.zeros(rows)
        self.lanes = aligned_zeros(-(-rows // net.LOSS_ROWS) * 3 * width, plan.dtype)
        self.numbers = np.zeros(net.N_NUMBERS)
        self.numbers[net.LOSS_SCALE] = objective.outputs_scale

        self.table = table = np.zeros((1 + plan.n_layers, net.N_FIELDS), np.int64)
        H = table[0]
        H[net.N_LAYERS], H[net.ROWS], H[net.BATCH], H[net.CAPACITY], H[net.JUMP], H[net.PANEL] = plan.n_layers, rows, rows, rows, layout.jump, width
        has_gradient, dropping = gradient is not None, any(plan.dropouts)
        needed = {net.FORWARD: True, net.BACKWARD: has_gradient, net.LOSS: True, net.UPDATE: state is not None, net.ROWS_PRODUCT: True}
        needed |= {net.COLUMNS_PRODUCT: has_gradient, net.DROP: dropping, net.RUN: True}
        needed |= {net.PENALIZE: training and bool(np.any(plan.penalties))}
        for index, (field, wanted) in enumerate(needed.items()):
            H[field] = _tasks()[index].address(plan.dtype) if wanted else 0
        H[net.SIZE], H[net.SEED], H[net.MEAN_ROWS] = plan.parameters_size, plan.seed, objective.mean_rows
        if loss != CROSS_ENTROPY:
            element_loss = self.element_loss = loss if isinstance(loss, Loss) else LOSSES[loss]
            self.loss_values = np.array((objective.delta,) if loss == HUBER else element_loss.parameters, np.float64)
            H[net.LOSS_CODE], H[net.LOSS_VALUES] = -1, self.loss_values.ctypes.data
            H[net.ELEMENT_LOSS] = element_loss.task.address(plan.dtype)
        all_trained = all(weights and bias for weights, bias in plan.trained)
        H[net.FUSED], H[net.BY_LAYER] = fused, plan.parameters_size > BY_LAYER_FROM or not all_trained
        lowest = H[net.LOWEST] = next((i for i, parts in enumerate(plan.trained) if any(parts)), plan.n_layers)
        H[net.INPUT_BYTES], H[net.TARGET_BYTES] = layout.input_size * itemsize, layout.target_size * itemsize
        H[net.NUMBERS], H[net.ROW_LOSSES] = self.numbers.ctypes.data, self.row_losses.ctypes.data
        H[net.LANES], H[net.CONSTANTS] = self.lanes.ctypes.data, self.constants.ctypes.data
        self.starts = np.array([plan.pieces(i)[:2] for i in range(plan.n_layers)]) * itemsize
        self.use_parameters(parameters)
        if gradient is not None:
            H[net.GRADIENT] = gradient.ctypes.data
        if state is not None:
            chosen = self.rule = rule if isinstance(rule, Rule) else OPTIMIZERS[rule]
            self.hyper = chosen.record(hyper)
            H[net.STATE], H[net.HYPER], H[net.RULE] = state.ctypes.data, self.hyper.ctypes.data, chosen.task.address(plan.dtype)
        self.penalties = np.array(plan.penalties)
        lines = max(-(-n_out // width) * n_in for n_in, n_out in zip(plan.widths, plan.widths[1:]))
        self.penalty_sums = np.zeros(2 + 2 * lines // net.PENALTY_BLOCK if training and self.penalties.any() else 0)
        self.penalty_lanes = aligned_zeros(self.penalty_sums.size * net.PENALTY_LINES * width, plan.dtype)
        H[net.PENALTY_SUMS], H[net.PENALTY_LANES] = self.penalty_sums.ctypes.data, self.penalty_lanes.ctypes.data
        self.penalize(bool(self.penalty_sums.size))
        base = self.workspace.ctypes.data
        for i, L in enumerate(table[1:]):
            first, bias, _ = plan.pieces(i)
            activation, record = plan.activations[i], plan.element(i)
            plain = i == last and (logits or fused or record is None)
            L[net.K], L[net.N], L[net.INDEX] = plan.widths[i], plan.widths[i + 1], i
            if record is not None and not plain and activation != IDENTITY:
                L[net.ACTIVATION] = activation if isinstance(activation, int) else -1
                L[net.VALUES], L[net.ACTIVATE] = record.values.ctypes.data, record.forward_task.address(plan.dtype)
                L[net.DERIVE] = record.backward_task.address(plan.dtype) if training else 0
            if gradient is not None:
                weights_trained, bias_trained = plan.trained[i]
                L[net.DW] = H[net.GRADIENT] + first * itemsize if weights_trained else 0
                L[net.DB] = H[net.GRADIENT] + bias * itemsize if bias_trained else 0
            L[net.X] = self.inputs.ctypes.data if i == 0 else base + layout.X[i] * itemsize
            L[net.Z], L[net.D] = base + layout.Z[i] * itemsize, base + layout.D[i] * itemsize
            L[net.A] = L[net.Z] if plain else base + layout.A[i] * itemsize
            L[net.SAVED] = L[net.Z] if record is not None and record.saves_input else L[net.A]
            L[net.THRESHOLD] = round(plan.dropouts[i] * 2**32)
            if i < last:
                L[net.X_NEXT] = base + layout.X[i + 1] * itemsize
                L[net.NEXT_THRESHOLD] = round(plan.dropouts[i + 1] * 2**32)
            if i > lowest:
                L[net.D_PREVIOUS] = base + layout.D[i - 1] * itemsize
                L[net.PREVIOUS_ACTIVATION], L[net.PREVIOUS_SAVED] = table[i, net.ACTIVATION], table[i, net.SAVED]
                L[net.PREVIOUS_DERIVE], L[net.PREVIOUS_VALUES] = table[i, net.DERIVE], table[i, net.VALUES]

    def penalize(self, yes: bool) -> None:
        """Add the penalties to losses and gradients, or leave them out."""
        for i, factors in enumerate(self.penalties):
            self.table[1 + i, net.PENALTIES] = factors.ctypes.data if yes and factors.any() else 0

    def use_parameters(self, parameters: Array) -> None:
        """Read and update another flat vector of the same network."""
        address = parameters.ctypes.data
        self.parameters = parameters
        self.table[0, net.PARAMETERS] = address
        self.table[1:, net.W : net.B + 1] = address + self.starts

    def use_threads(self, n_threads: int) -> None:
        """Say how many threads a region may use, and from how much work on it pays to open one."""
        H = self.table[0]
        H[net.THREADS], H[net.REGION] = n_threads, region_work()
        if self.scratch.size < n_threads * self.scratch_size:
            # the transpose of a last block writes whole panels
            self.scratch = aligned_zeros(n_threads * self.scratch_size, self.plan.dtype)
            H[net.SCRATCH], H[net.SCRATCH_BYTES] = self.scratch.ctypes.data, self.scratch_size * self.layout.itemsize

    def gather(self, X: Array, order: NDArray[np.int64], scale: float, shift: float, n_threads: int) -> int:
        """Gather rows into the inputs; return a row that is not finite, or -1."""
        return gather_into(X, order, self.rows, scale, shift, self.inputs, self.layout.input_size, self.layout.jump, n_threads)

    def gather_targets(self, y: Array, order: NDArray[np.int64], targets: Array, n_threads: int) -> tuple[NDArray[np.int64], Array]:
        """Return labels, or targets in panels, as the kernels take them; the others are empty."""
        if y.ndim == 1:
            return y[order], targets[:0]
        gather_into(y, order, self.rows, 1.0, 0.0, targets, self.layout.target_size, self.layout.jump, n_threads)
        return EMPTY_LABELS, targets


EMPTY_LABELS = np.zeros(0, np.int64)
EMPTY_WEIGHTS = np.zeros(0)


def gather_into(X: Array, order: NDArray[np.int64], batch: int, scale: float, shift: float, out: Array, stride: int, jump: int, n_threads: int) -> int:
    """Gather rows in threads; see `kernels.gather`, which checks its arguments."""
    bad = np.empty(-(-order.size // GATHER_ROWS), np.int64)
    parallel = n_threads > 1 and order.size * X.shape[1] * 20 > region_work()
    return int(gather_rows(X, order, batch, scale, shift, out, stride, jump, bad, parallel))


def bind(plan: Plan, parameters: Array, rows: int, **settings: Any) -> Bound:
    """Bind a plan to memory for `rows` rows at once; see `Bound`."""
    return Bound(plan, parameters, rows, **settings)
