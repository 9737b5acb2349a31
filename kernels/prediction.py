"""Prediction and evaluation: rows sent forward in blocks."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _door, _jit, sharing
from ._jit import jit, task
from ._tile import address_of, array_at, call
from ._wait import flush_denormals, set_float_mode
from .activations import EXPONENTIAL, ROW_ACTIVATIONS, SIGMOID, exponential_forward, sigmoid_forward
from .csr import CSR
from .dense import BOUND_ROWS
from .gather import NO_ORDER, Gather, check_row, gather_some
from .hardware import set_flush_denormal
from .objective import Objective, fuses
from .plan import Array, Plan
from .program import Program, run, task_address
from .records import NOW, I, Record, address, aligned_zeros, new_array
from .sharing import Sharing
from .steps import emit_prediction, emit_step
from .stored import take
from .team import run_tasks, share
from .training import NO_WEIGHTS, Minibatches
from .workspaces import FINISH

__all__ = ["Predictor", "evaluate", "predict"]

BLOCK = 512  # rows that go forward together, where threads share the phases
OWN_ROWS, LEAST_ROWS = 128, 32  # at most, and at least, where each block is a thread's own; at most BLOCK where each block rounds the weights
CACHED_WEIGHTS = 1 << 19  # bytes that stay in a core's cache: all of larger ones are read by each thread for each block of its own
CALL_WORK = 2e9  # multiplications of a compiled call on each thread, a tenth of a second: Python hears of Ctrl-C after it
NUMBER_WORK = 50  # for each number that is gathered or activated, about
FUSED_FORWARD: dict[Any, Any] = {code: one.forward for code, one in ROW_ACTIVATIONS.items()}
FUSED_FORWARD |= {SIGMOID: sigmoid_forward, EXPONENTIAL: exponential_forward}

PREDICTION = Record(
    X=(I, "address of the rows"),
    row_bytes=(I, "from one row to the next"),
    column_bytes=(I, "from one column to the next"),
    n_rows=(I, "how many"),
    block=(I, "how many go forward together"),
    n_out=(I, "outputs"),
    out=(I, "address of where they are written, in plain rows"),
    out_bytes=(I, "of a row of them"),
    gather=(I, "address of the gather's task, 0: X is where each row starts in what is stored"),
    finish=(I, "address of the last activation, where it is one of rows, or 0"),
    programs=(I, "address of what is a worker's own, one a worker"),
    n_programs=(I, "how many there are"),
    team=(I, "the team that shares the phases of a block, 0: none does"),
)

WORKER = Record(
    phases=(I, "address of the first phase"),
    count=(I, "how many phases there are"),
    now=(I, "address of the record of what changes"),
    source=(I, "address of the record of the gather"),
    bad=(I, "a row that is not finite, the first of those found, or -1"),
)


@task
def predict_block(tag, t, worker, record, now):
    """Send a block of rows forward."""
    P, before = PREDICTION(record), flush_denormals()
    W, first = WORKER(P.programs + worker * WORKER_BYTES), t * P.block
    S, as_they_lie = NOW(W.now), array_at(np.int64(0), record, 0)
    S.rows, S.out = min(P.block, P.n_rows - first), P.out + first * P.out_bytes
    if P.gather != 0:
        wrong = gather_some(P.gather, W.source, P.X, P.row_bytes, P.column_bytes, as_they_lie, first, S.rows, P.team)
        if wrong >= 0 and (W.bad < 0 or wrong < W.bad):
            W.bad = wrong
    else:
        S.inputs = P.X + first * 8
    run(W.phases, 0, W.count, 1, P.team, W.now)
    if P.finish != 0:
        call(P.finish, (0, S.out, S.rows, P.n_out))
    set_float_mode(before)


WORKER_BYTES = WORKER.dtype.itemsize


@jit
def predict_blocks(task, record, X, row_bytes, column_bytes, out, block, own, apart, team):
    """Send rows forward in blocks, with `own` each by one thread; return the first that is not finite, or -1."""
    P = PREDICTION(record)
    P.X, P.row_bytes, P.column_bytes, P.n_rows = X, row_bytes, column_bytes, out.shape[0]
    P.out, P.out_bytes, P.block, P.team = address_of(out), out.shape[1] * out.itemsize, block, 0 if own else team
    for k in range(P.n_programs):
        W = WORKER(P.programs + k * WORKER_BYTES)
        W.bad, NOW(W.now).apart = -1, apart
    run_tasks(team if own else 0, task, (P.n_rows + block - 1) // block, record, np.int64(0))
    first_bad = np.int64(-1)
    for k in range(P.n_programs):
        bad = WORKER(P.programs + k * WORKER_BYTES).bad
        first_bad = bad if first_bad < 0 or 0 <= bad < first_bad else first_bad
    return first_bad


class _Bound:
    """A network bound to memory for predictions of blocks of up to `rows` rows; with `own` each block is one thread's.

    Of `stored` rows only some numbers are there.
    """

    def __init__(self, plan: Plan, parameters: Array, rows: int, logits: bool, n_threads: int, own: bool, stored: bool) -> None:
        self.own, self.n_threads, self.dtype, last = own, n_threads, plan.dtype, plan.last_activation
        emit = functools.partial(emit_prediction, plan, parameters, rows, logits, 1 if own else n_threads, stored)
        self.programs = [emit() for _ in range(_jit.max_threads() if own else 1)]
        self.table = new_array(WORKER, len(self.programs))
        self.gathers: list[Gather] = []
        for place, program in zip(self.table, self.programs):
            place["phases"], place["count"], place["now"] = program.where, program.marks["end"], address(program.now)
            if not stored:
                inputs = aligned_zeros(program.panels(plan.widths[0]) * program.jump, plan.dtype)
                self.gathers.append(Gather(plan.dtype, rows, program.jump, plan.widths[0], inputs))
                program.now["inputs"], place["source"] = address(inputs), self.gathers[-1].where
        finish = task_address(FINISH[last], plan.dtype) if last in FINISH and not logits else 0
        gather = 0 if stored else self.gathers[0].task
        self.record = PREDICTION.new(n_out=plan.widths[-1], gather=gather, finish=finish, programs=address(self.table), n_programs=len(self.table))
        self.task, self.where = task_address(predict_block, plan.dtype), address(self.record)
        kinds = [sharing.LARGE] if own else program.kinds()
        self.sharing = Sharing(kinds if n_threads > 1 else [], program.work)
        self.at_once = max(rows, int(n_threads * CALL_WORK / (program.work / rows + NUMBER_WORK * sum(plan.widths))))  # rows of a compiled call

    def __call__(self, X: Array | CSR, out: Array, block: int, scale: float | Array, shift: float | Array) -> int:
        """Write the outputs; return the first row that is not finite, or -1."""
        self.scale = scale
        for gather in self.gathers:
            gather.read(X.dtype, scale, shift)
        if self.n_threads == 1:
            return self._predict(X, out, block, 0)
        start = time.perf_counter()
        if self.sharing.together:
            with share(self.n_threads) as team:
                bad_row = self._predict(X, out, block, team)
        else:
            bad_row = self._predict(X, out, block, 0)
        self.sharing.note((time.perf_counter() - start) / len(X))
        return bad_row

    def _predict(self, X: Array | CSR, out: Array, block: int, team: int) -> int:
        if len(X) <= self.at_once:
            row_bytes = column_bytes = 0
            if isinstance(X, CSR):
                taken = take(X, NO_ORDER, self.dtype, self.scale)
                if taken.bad_row >= 0:
                    return taken.bad_row
                for program in self.programs:
                    program.stored[0].read(taken)
                where = address(taken.starts)
            else:
                where, (row_bytes, column_bytes) = address(X), X.strides
            return int(predict_blocks(self.task, self.where, where, row_bytes, column_bytes, out, block, self.own, self.sharing.apart, team))
        height = self.at_once // block * block
        for first in range(0, len(X), height):
            bad_row = self._predict(X[first : first + height], out[first : first + height], block, team)
            if bad_row >= 0:
                return first + bad_row
        return -1


def _own_block(n_rows: int, n_threads: int, most: int) -> int:
    """Return how many rows are a block where each is one thread's: whole tiles, and as many blocks for each thread."""
    turns = -(-n_rows // (most * n_threads))
    return max(LEAST_ROWS, min(most, (-(-n_rows // (turns * n_threads)) + 3) // 4 * 4))


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
        self.many = LEAST_ROWS if self.work * np.dtype(plan.dtype).itemsize <= CACHED_WEIGHTS else OWN_ROWS  # rows of each thread for blocks of its own
        self._spare: dict[tuple[int, bool, int, bool, bool], list[_Bound]] = {}

    def __call__(
        self,
        X: Array | CSR,
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
        own, block = False, n_rows if n_rows < BLOCK else BLOCK
        if n_threads > 1 and self.work * max(block, BOUND_ROWS) <= sharing.LARGE_WORK:
            n_threads = 1
        elif n_threads > 1 and n_rows >= n_threads * self.many:
            own, block = True, _own_block(n_rows, n_threads, BLOCK if plan.bfloat16 else OWN_ROWS)
        rows = 1 << (block - 1).bit_length()
        key = rows, logits, n_threads, own, isinstance(X, CSR)
        spare = self._spare.setdefault(key, [])
        try:
            bound = spare.pop()
        except IndexError:
            bound = _Bound(plan, self.parameters, *key)
        bad_row = bound(X, out, block, scale, shift)
        spare.append(bound)
        check_row(bad_row, plan.dtype)
        return out


_predictors: dict[tuple[Plan, int], Predictor] = {}
_evaluations: dict[tuple[Any, ...], tuple[Program, Minibatches]] = {}
KEPT = 8


def predict(
    plan: Plan,
    parameters: Array,
    X: Array | CSR,
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
    X : ndarray or CSR of shape (n, plan.widths[0])
        Of any real dtype and layout; CSR where the plan `takes_stored`, with a shift of 0.
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
    predictor.parameters = _NOTHING  # the network may go; another one at its address has the same plan
    _keep(_predictors, key, predictor)
    return out


_NOTHING: Array = np.zeros(0)


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep a value, and no more than KEPT."""
    kept[key] = value
    for longest_ago in list(kept)[:-KEPT]:  # a copy: other Python threads keep theirs meanwhile
        kept.pop(longest_ago, None)


def _bound_evaluation(plan: Plan, parameters: Array, rows: int, objective: Objective, n_threads: int, stored: bool) -> tuple[Program, Minibatches]:
    program = emit_step(plan, parameters, rows, objective, fitting=False, n_threads=n_threads, stored=stored)
    return program, Minibatches(program, plan, 1)


def evaluate(
    plan: Plan,
    parameters: Array,
    X: Array | CSR,
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
    X : ndarray or CSR of shape (n, plan.widths[0]), n > 0
        Of any real dtype and layout; CSR where the plan `takes_stored`, with a shift of 0.
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
    _door.check_parameters(plan, parameters)
    stored = _door.check_data(plan, objective, X, y, n_threads, weights)
    out = np.empty((len(X), plan.widths[-1]), plan.dtype)
    rows, total, of_sum = min(BLOCK, len(X)), 0.0, objective.sum_over_rows(len(X))
    key = plan, address(parameters), rows, n_threads, of_sum.loss, of_sum.outputs_scale, of_sum.mean_rows, of_sum.parameters, stored
    kept = _evaluations.pop(key, None)
    program, minibatches = kept or _bound_evaluation(plan, parameters, rows, of_sum, n_threads, stored)
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
    minibatches.taken = None
    if fuses(objective.loss, plan.last_activation):
        before = set_flush_denormal(True)
        FUSED_FORWARD[plan.last_activation].compiled(out, out)
        set_flush_denormal(before)
    _keep(_evaluations, key, (program, minibatches))
    return total + plan.penalty(parameters), out
