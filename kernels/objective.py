"""The objective of a training: its record, the task of its losses and derivatives, its `emit`.

A panel's width of rows is transposed at a time, so that what is done for a row is done for all of them in one vector, and sums run
over the outputs in ascending order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import _door
from ._bits import like
from ._elements import fill
from ._factory import Activation, Loss
from ._jit import helper, task
from ._tile import PANEL_BYTES, array_at, call, multiply_line, transpose_block, width_of, zero_of
from .dense import apply, finishing
from .losses import FUSED, LOSSES, parameters_of
from .panels import panels
from .plan import Array
from .program import Program, Value
from .records import NOW, F, I, Record
from .row_losses import LINES, ROW_TASKS, output_lanes, output_line

__all__ = ["Objective", "fuses"]

LOSS_ROWS = 32  # rows in a task

LOSS = Record(
    loss=(I, "address of the loss's task"),
    by_rows=(I, "whether it takes whole rows, or elements side by side"),
    values=(I, "address of its parameters"),
    n=(I, "outputs"),
    A=(I, "address of the outputs"),
    dA=(I, "address of where the gradient is written"),
    jump=(I, "numbers from one panel to the next"),
    scale=(F, "what the loss summed over the outputs of a row is multiplied by"),
    mean_rows=(I, "whether it is divided by the rows of the minibatch"),
    row_losses=(I, "address of where the loss of each row is written"),
    lanes=(I, "address of some lines for each task"),
    finish=(I, "address of the operations on the gradient"),
    n_finish=(I, "how many there are"),
)

SUM = Record(
    row_losses=(I, "address of the loss of each row"),
    stops=(I, "whether a sum that is not finite ends the run"),
)


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
    scale, shift : float, or float64 arrays of shape (n_features,)
        X * scale + shift is what the first layer sees: with numbers calculated in the plan's dtype, with arrays in float64
        and rounded once.
    parameters : tuple of float
        The numbers of the loss, where they are not the defaults of `kernels.LOSSES` and `ROW_LOSSES`.
    weighted_mean : bool
        Whether that mean divides by the sum of the weights of the rows, where they have some, instead of their number.
    """

    loss: int | Loss
    outputs_scale: float = 1.0
    mean_rows: bool = True
    scale: float | Array = 1.0
    shift: float | Array = 0.0
    parameters: tuple[float, ...] = ()
    weighted_mean: bool = False

    def __post_init__(self) -> None:
        _door.set_fields(self, **_door.objective_fields(self))

    def sum_over_rows(self, n_rows: int) -> Objective:
        """Return the objective whose sum over parts of `n_rows` rows is this one over all of them."""
        return replace(self, mean_rows=False, outputs_scale=self.outputs_scale / n_rows) if self.mean_rows else self

    def factors(self, weights: NDArray[np.float64], batch_size: int) -> NDArray[np.float64]:
        """Return what the losses of rows are multiplied by before they are added up, or their mean is taken, minibatch by minibatch.

        These are their weights; for a weighted mean weights with mean 1 in each minibatch, or zeros where they are.
        """
        if not (self.mean_rows and self.weighted_mean and weights.size):
            return weights
        starts = np.arange(0, weights.size, batch_size)
        sums, sizes = np.add.reduceat(weights, starts), np.diff(starts, append=weights.size)
        factors: NDArray[np.float64] = weights * np.repeat(np.divide(sizes, sums, out=np.zeros_like(sums), where=sums > 0), sizes)
        return factors

    def emit(self, program: Program, X: Value, stops: bool) -> int:
        """Add the losses of the rows and their sum, which may end the run; return where the gradient of X lies."""
        tasks = -(-program.rows // LOSS_ROWS)
        dA, row_losses = program.matrix(X.n), program.keep(np.zeros(program.rows))
        found = self.loss if isinstance(self.loss, Loss) else LOSSES.get(self.loss)
        loss = ROW_TASKS[self.loss] if found is None else found.task  # type: ignore[index]
        record = LOSS.new(
            loss=loss.address(program.dtype),
            by_rows=found is None,
            values=program.keep(np.array(self.parameters or parameters_of(self.loss))),
            n=X.n,
            A=X.where,
            dA=dA,
            jump=program.jump,
            scale=self.outputs_scale,
            mean_rows=self.mean_rows,
            row_losses=row_losses,
            lanes=program.zeros(tasks * LINES * program.width),
        )
        program.operations(record, "finish", finishing(program, X, dA))
        program.phase(loss_rows, tasks, record, 32.0 * program.rows * X.n, f"loss of {X.name}, d{X.name}")
        program.phase(loss_sum, 1, SUM.new(row_losses=row_losses, stops=stops), 0.0, "loss, looked at")
        return dA


def fuses(loss: int | Loss, activation: int | Activation) -> bool:
    """Return whether a loss takes what stands before the last activation."""
    return activation in FUSED.get(loss, ())


@task
def loss_rows(tag, t, worker, record, now):
    """The loss of some rows and its gradient with regard to the last layer's product."""
    zero, L, S = zero_of(tag), LOSS(record), NOW(now)
    width, n = width_of(zero), L.n
    P, jump = panels(n, width), L.jump * (PANEL_BYTES // width)
    scale = L.scale / (S.mean_rows if S.mean_rows != 0 else S.rows) if L.mean_rows else L.scale
    losses = array_at(0.0, L.row_losses, S.rows)
    lanes = L.lanes + t * LINES * PANEL_BYTES
    array_at(0.0, lanes + (LINES - 1) * PANEL_BYTES, 1)[0] = scale
    for first in range(t * LOSS_ROWS, min(S.rows, (t + 1) * LOSS_ROWS), width):
        last = min(S.rows, first + width)
        a, d, targets = L.A + first * PANEL_BYTES, L.dA + first * PANEL_BYTES, S.targets + first * PANEL_BYTES
        for p in range(P):
            transpose_block(zero, a + p * jump, width, d + p * jump, width)
            if S.labels == 0 and S.seen == 0:
                transpose_block(zero, targets + p * jump, width, targets + p * jump, width)
        if L.by_rows != 0:
            call(L.loss, (0, L.values, a, d, targets, S.labels, jump, n, first, last, lanes, L.row_losses))
        else:
            _elementwise(zero, L.loss, L.values, d, targets, jump, n, first, last, scale, lanes, losses)
        if S.weights != 0:
            _weigh(zero, d, jump, n, first, last, array_at(0.0, S.weights, last), lanes, losses)
        for j in range(n, P * width):
            fill(output_lanes(zero, d, jump, j), zero)
        for p in range(P):
            transpose_block(zero, d + p * jump, width, d + p * jump, width)
            apply(L.finish, L.n_finish, first, last, p, now)


@helper
def end_forward(S, losses, stops):
    """Write down the sum of losses, added up in their order, in the record of the step, which a sum that is not finite may end."""
    total = 0.0
    for i in range(losses.size):
        total += losses[i]
    S.loss, S.penalty = total, 0.0
    S.count += 1.0
    if stops != 0 and not math.isfinite(total):
        S.stop = 1


@task
def loss_sum(tag, t, worker, record, now):
    """Add up the losses in the order of the rows; stop before an update where the sum is not finite."""
    L, S = SUM(record), NOW(now)
    end_forward(S, array_at(0.0, L.row_losses, S.rows), L.stops)


@helper
def _elementwise(zero, loss, values, d, targets, jump, n, first, last, scale, lanes, losses):
    """The loss summed over the outputs of each row, and its derivative times scale in the place of the outputs."""
    width = width_of(zero)
    total = array_at(zero, lanes, width)
    fill(total, zero)
    for p in range(panels(n, width)):
        count = min(width, n - p * width) * width
        call(loss, (0, values, d + p * jump, targets + p * jump, lanes, count, lanes + (LINES - 1) * PANEL_BYTES))
    for l in range(last - first):
        losses[first + l] = np.float64(total[l]) * scale


@helper
def _weigh(zero, d, jump, n, first, last, weights, lanes, losses):
    """Multiply the loss of each row and its derivatives by the weight of the row."""
    width = width_of(zero)
    factors = array_at(zero, lanes, width)
    for l in range(last - first):
        factors[l] = like(zero, weights[first + l])
        losses[first + l] *= weights[first + l]
    for j in range(n):
        multiply_line(zero, lanes, output_line(zero, d, jump, j))
