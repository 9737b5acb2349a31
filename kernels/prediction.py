"""Prediction and evaluation: rows sent forward in blocks."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _door, sharing
from ._jit import jit
from ._tile import address_of, call
from .activations import EXPONENTIAL, ROW_ACTIVATIONS, SIGMOID, exponential_forward, sigmoid_forward
from .dense import BOUND_ROWS
from .gather import NO_ORDER, Gather, check_row, gather_some
from .objective import Objective, fuses
from .plan import Array, Plan
from .program import run, task_address
from .records import NOW, address, aligned_zeros
from .sharing import Sharing
from .steps import emit_prediction, emit_step
from .team import share
from .training import NO_WEIGHTS, Minibatches
from .workspaces import FINISH

__all__ = ["Predictor", "evaluate", "predict"]

BLOCK = 512  # rows that go forward together
FUSED_FORWARD: dict[Any, Any] = {code: one.forward for code, one in ROW_ACTIVATIONS.items()}
FUSED_FORWARD |= {SIGMOID: sigmoid_forward, EXPONENTIAL: exponential_forward}


@jit
def predict_blocks(phases, count, now, team, finish, task, source, X, row_bytes, column_bytes, block, bad, out):
    """Send rows forward in blocks; return one that is not finite, or -1."""
    S, order, bad_row = NOW(now), bad[:0], np.int64(-1)
    for first in range(0, out.shape[0], block):
        S.rows = min(block, out.shape[0] - first)
        S.out = address_of(out) + first * out.shape[1] * out.itemsize
        wrong = gather_some(task, source, X, row_bytes, column_bytes, order, first, S.rows, bad, team)
        bad_row = wrong if bad_row < 0 else bad_row
        run(phases, 0, count, 1, team, now)
        if finish != 0:
            call(finish, (0, S.out, S.rows, out.shape[1]))
    return bad_row


class _Bound:
    """A network bound to memory for predictions of up to `rows` rows."""

    def __init__(self, plan: Plan, parameters: Array, rows: int, logits: bool, n_threads: int) -> None:
        self.rows = rows
        self.program = program = emit_prediction(plan, parameters, rows, logits, n_threads)
        self.inputs = aligned_zeros(program.panels(plan.widths[0]) * program.jump, plan.dtype)
        self.gather = Gather(plan.dtype, rows, program.jump, plan.widths[0], self.inputs)
        program.now["inputs"] = address(self.inputs)
        self.count, self.now = program.marks["end"], address(program.now)
        last: Any = plan.last_activation
        self.finish = task_address(FINISH[last], plan.dtype) if last in FINISH and not logits else 0
        self.n_threads, self.sharing = n_threads, Sharing(program.kinds() if n_threads > 1 else [], program.work)

    def __call__(self, X: Array, out: Array, scale: float | Array, shift: float | Array) -> int:
        """Write the outputs; return a row that is not finite, or -1."""
        self.gather.read(X.dtype, scale, shift)
        if self.n_threads == 1:
            return self._predict(X, out, 0)
        start = time.perf_counter()
        self.program.now["apart"] = self.sharing.apart
        with share(self.n_threads if self.sharing.together else 1) as team:
            bad_row = self._predict(X, out, team)
        self.sharing.note((time.perf_counter() - start) / len(X))
        return bad_row

    def _predict(self, X: Array, out: Array, team: int) -> int:
        gather, (row_bytes, column_bytes) = self.gather, X.strides
        phases, now = self.program.where, self.now
        return int(
            predict_blocks(
                phases,
                self.count,
                now,
                team,
                self.finish,
                gather.task,
                gather.where,
                address(X),
                row_bytes,
                column_bytes,
                self.rows,
                gather.bad,
                out,
            )
        )


class Predictor:
    """Predictions of a network, whose bound programs are kept from call to call.

    Several Python threads may call it at once: each has a program of its own.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (plan.parameters_size,)
        Of the plan's dtype, contiguous. Read anew in each call.

    Raises
    ------
    TypeError, ValueError
        If the parameters do not fit the plan; of a call, see `kernels.predict`.
    """

    def __init__(self, plan: Plan, parameters: Array) -> None:
        _door.check_parameters(plan, parameters)
        self.plan, self.parameters = plan, parameters
        self.work = sum(a * b for a, b in zip(plan.widths, plan.widths[1:]))
        self._spare: dict[tuple[int, bool, int], list[_Bound]] = {}

    def __call__(
        self,
        X: Array,
        *,
        logits: bool = False,
        n_threads: int = 1,
        scale: float | Array = 1.0,
        shift: float | Array = 0.0,
    ) -> Array:
        """Return the outputs of the last layer, (n, n_outputs); see `kernels.predict`."""
        plan = self.plan
        _door.check_prediction(plan, X, n_threads, scale, shift)
        n_rows = len(X)
        out = np.empty((n_rows, plan.widths[-1]), plan.dtype)
        if n_rows == 0:
            return out
        rows = min(BLOCK, 1 << (n_rows - 1).bit_length())
        if self.work * max(rows, BOUND_ROWS) <= sharing.LARGE_WORK:
            n_threads = 1
        key = rows, logits, n_threads
        spare = self._spare.setdefault(key, [])
        try:
            bound = spare.pop()
        except IndexError:
            bound = _Bound(plan, self.parameters, rows, logits, n_threads)
        bad_row = bound(X, out, scale, shift)
        spare.append(bound)
        check_row(bad_row, plan.dtype)
        return out


_predictors: dict[tuple[Plan, int], Predictor] = {}
KEPT = 8


def predict(
    plan: Plan,
    parameters: Array,
    X: Array,
    *,
    logits: bool = False,
    n_threads: int = 1,
    scale: float | Array = 1.0,
    shift: float | Array = 0.0,
) -> Array:
    """Return the outputs of the last layer, (n, n_outputs); with `logits` what its activation is applied to.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (plan.parameters_size,)
        Of the plan's dtype, contiguous.
    X : ndarray of shape (n, plan.widths[0]), any real dtype and layout
    logits : bool
    n_threads : int
    scale, shift : float, or float64 arrays of shape (n_features,)
        X * scale + shift is what the first layer sees: with numbers calculated in the plan's dtype, with arrays in float64
        and rounded once.

    Raises
    ------
    RowError
        A ValueError, for a row that is not finite.
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan.
    """
    _door.check_parameters(plan, parameters)
    key = plan, address(parameters)
    predictor = _predictors.pop(key, None) or Predictor(plan, parameters)
    predictor.parameters = parameters
    out = predictor(X, logits=logits, n_threads=n_threads, scale=scale, shift=shift)
    while len(_predictors) >= KEPT:
        _predictors.pop(next(iter(_predictors)), None)  # the one that was used longest ago
    predictor.parameters = _NOTHING  # the network may go; another one at its address has the same plan
    _predictors[key] = predictor
    return out


_NOTHING: Array = np.zeros(0)


def evaluate(
    plan: Plan,
    parameters: Array,
    X: Array,
    y: Array,
    objective: Objective,
    *,
    n_threads: int = 1,
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, Array]:
    """Return the loss over all rows, penalties included, and the outputs of the last layer.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (plan.parameters_size,)
        Of the plan's dtype, contiguous.
    X : ndarray of shape (n, plan.widths[0]), any real dtype and layout, n > 0
    y : ndarray
        Targets of shape (n, n_outputs), of any real dtype; for cross-entropy and the focal loss also int64 labels of shape (n,).
    objective : Objective
        Its loss fits the last activation: cross-entropy softmax, log-softmax or, for logits, the identity; binary
        cross-entropy sigmoid or the identity; the others every activation but softmax and log-softmax.
    n_threads : int
    weights : float64 ndarray of shape (n,), optional
        What the loss of each row is multiplied by.

    Raises
    ------
    RowError
        A ValueError, for a row that is not finite.
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan, or a label is out of range.
    """
    _door.check_evaluation(plan, parameters, X, y, objective, n_threads, weights)
    out = np.empty((len(X), plan.widths[-1]), plan.dtype)
    rows, total = min(BLOCK, len(X)), 0.0
    program = emit_step(plan, parameters, rows, objective.sum_over_rows(len(X)), fitting=False, n_threads=n_threads)
    minibatches = Minibatches(program, plan, 1)
    factors = NO_WEIGHTS if weights is None else np.ascontiguousarray(objective.factors(weights, len(X)))
    now = program.now[0]
    for first in range(0, len(X), BLOCK):
        some = slice(first, first + BLOCK)
        with share(n_threads) as team:
            bad_row = minibatches.fill(X[some], np.ascontiguousarray(y[some]), NO_ORDER, objective, team)
            check_row(bad_row + first if bad_row >= 0 else bad_row, plan.dtype)
            now["labels"], now["out"] = address(minibatches.labels) if y.ndim == 1 else 0, address(out[some])
            now["rows"], now["weights"] = len(X[some]), address(factors[some]) if factors.size else 0
            program.run("forward", "close", team=team)
        total += float(now["loss"])
    if fuses(objective.loss, plan.last_activation):
        FUSED_FORWARD[plan.last_activation].compiled(out, out)
    return total + plan.penalty(parameters), out
