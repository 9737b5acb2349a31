"""Workspaces of a network inside compiled code: its programs, each bound to memory of its own, and the tasks that call them.

A call takes the first workspace that is free, starting at one that follows from where the calling thread's stack lies, so that
threads seldom meet; it waits where all are taken. So any number of threads may call one network at once, and a call allocates nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._bits import fma, like
from ._jit import helper, named, task
from ._tile import PANEL_BYTES, array_at, call, convert_columns, convert_panel, line_buffer, pointer, pointer_address, width_of, zero_of
from ._wait import exchange, flush_denormals, give_way, load, pause, set_float_mode, store
from .activations import ROW_ACTIVATIONS
from .panels import panels
from .program import PHASE_BYTES
from .records import NOW, PHASE, F, I, Record

__all__ = ["BLOCK_ROWS", "BOUND", "FINISH", "INTEGRANDS", "MODEL", "SLOT", "gradient_rows", "predict_c", "predict_rows", "run_bound"]

BLOCK_ROWS = 32  # rows that go forward together
LINE = 128  # bytes between words that different threads write: a CPU fetches lines in pairs
SPINS = 100  # of a wait for a workspace, before others get the CPU

MODEL = Record(
    parameters=(I, "address of the flat vector"),
    n_parameters=(I, "its length"),
    n_in=(I, "features"),
    n_out=(I, "outputs"),
    scale=(F, "X * scale + shift goes in"),
    shift=(F, "X * scale + shift goes in"),
    scales=(I, "address of a factor for each feature, as float64, or 0: `scale` is for all"),
    shifts=(I, "address of a shift for each feature"),
    mean=(I, "address of the mean of each output, as float64, or 0: they go out as they are"),
    std=(I, "address of the deviation of each output"),
    factor=(I, "address of 1 / deviation of each output, 0 where that is 0"),
    batch=(I, "most rows of a gradient, 0: there are none"),
    takes_labels=(I, "whether targets may be labels"),
    gaps=(I, "address of the first and the last + 1 of each part of the flat vector that is not trained"),
    n_gaps=(I, "how many such parts there are"),
    run=(I, "address of `run_bound`"),
    slots=(I, "address of the first workspace"),
    n_slots=(I, "how many there are: a power of two"),
)

SLOT = Record(
    taken=(I, "whether a call works with it"),
    one=(I, "address of the program for one row"),
    some=(I, "address of the program for up to BLOCK_ROWS rows"),
    step=(I, "address of the program for a loss and its gradient"),
    labels=(I, "address of room for labels"),
    weights=(I, "address of room for the weights of rows"),
    targets=(I, "address of room for targets, in panels"),
    gradient=(I, "address of where the records say that the gradient is written"),
    words=(I, "address of the addresses of the words that say so"),
    n_words=(I, "how many there are"),
    away=(np.dtype((np.int8, LINE - 80)), "nothing: the next workspace lies in another line"),
)

BOUND = Record(
    phases=(I, "address of the first phase"),
    count=(I, "how many phases there are"),
    now=(I, "address of the record of what changes"),
    inputs=(I, "address of the rows, in panels"),
    jump=(I, "bytes from one panel of them to the next"),
    outputs=(I, "address of the outputs, in plain rows"),
    finish=(I, "address of the last activation, where it is one of rows, or 0"),
)


@task
def run_bound(tag, bound, n_out):
    """Do the phases of a program, alone, as `run` does, and the last activation."""
    B, before = BOUND(bound), flush_denormals()
    for k in range(B.count):
        phase = PHASE(B.phases + k * PHASE_BYTES)
        for t in range(phase.tasks):
            call(phase.task, (0, t, 0, phase.record, B.now))
    if B.finish != 0:
        call(B.finish, (0, B.outputs, NOW(B.now).rows, n_out))
    set_float_mode(before)


def _of_rows(name: str, rows: Any) -> Any:
    """Return the task of an activation of rows: it replaces plain rows."""

    def finish(tag, where, n_rows, n):
        rows(array_at(zero_of(tag), where, (n_rows, n)))

    return task(named(finish, __name__, f"finish_{name}"))


FINISH = {code: _of_rows(one.name, one.rows) for code, one in ROW_ACTIVATIONS.items()}


@helper
def take_slot(zero, M):
    """Return the address of a workspace that is nobody else's until `taken` is 0 again."""
    last = M.n_slots - 1
    k = ((line_buffer(zero) >> 16) * 0x9E3779B1 >> 16) & last
    waited = 0
    while True:
        for _ in range(M.n_slots):
            slot = M.slots + k * SLOT_BYTES
            if load(slot) == 0 and exchange(slot, 1) == 0:
                return slot
            k = (k + 1) & last
        waited += 1
        if waited < SPINS:
            pause()
        else:
            give_way()


SLOT_BYTES = SLOT.dtype.itemsize


@helper
def place_rows(zero, M, B, source_tag, X, row_bytes, column_bytes, rows):
    """Convert, scale and place some rows in panels, as a gather does."""
    width, n = width_of(zero), M.n_in
    scale, shift = like(zero, M.scale), like(zero, M.shift)
    whole = n // width if column_bytes == array_at(source_tag, X, 1).itemsize else 0
    for i in range(rows):
        for p in range(whole):
            source, place = X + i * row_bytes + p * width * column_bytes, B.inputs + p * B.jump + i * PANEL_BYTES
            if M.scales == 0:
                convert_panel(zero, pointer(source_tag, source), place, scale, shift)
            else:
                convert_columns(zero, pointer(source_tag, source), place, M.scales + p * width * 8, M.shifts + p * width * 8)
        for p in range(whole, panels(n, width)):
            count, at = min(width, n - p * width), X + i * row_bytes + p * width * column_bytes
            line = array_at(zero, B.inputs + p * B.jump + i * PANEL_BYTES, width)
            if M.scales == 0:
                for j in range(count):
                    line[j] = like(zero, array_at(source_tag, at + j * column_bytes, 1)[0]) * scale + shift
            else:
                scales, shifts = array_at(0.0, M.scales + p * width * 8, width), array_at(0.0, M.shifts + p * width * 8, width)
                for j in range(count):
                    number = np.float64(array_at(source_tag, at + j * column_bytes, 1)[0])
                    line[j] = like(zero, fma(number, scales[j], shifts[j]))


@helper
def write_rows(zero, M, B, out_tag, out, row_bytes, column_bytes, rows):
    """Write plain outputs to an array, in the units of the targets."""
    n = M.n_out
    A = array_at(zero, B.outputs, rows * n)
    mean, std = array_at(0.0, M.mean, n), array_at(0.0, M.std, n)
    for i in range(rows):
        for j in range(n):
            place = array_at(out_tag, out + i * row_bytes + j * column_bytes, 1)
            if M.mean == 0:
                place[0] = A[i * n + j]
            else:
                place[0] = np.float64(A[i * n + j]) * std[j] + mean[j]


@task
def predict_rows(tag, model, source_tag, X, X_row, X_column, out_tag, out, out_row, out_column, n_rows):
    """Send rows forward, in blocks."""
    zero, M = zero_of(tag), MODEL(model)
    slot = take_slot(zero, M)
    first = 0
    while first < n_rows:
        rows = min(BLOCK_ROWS, n_rows - first)
        bound = SLOT(slot).one if rows == 1 else SLOT(slot).some
        B = BOUND(bound)
        place_rows(zero, M, B, source_tag, X + first * X_row, X_row, X_column, rows)
        NOW(B.now).rows = rows
        call(M.run, (0, bound, M.n_out))
        write_rows(zero, M, B, out_tag, out + first * out_row, out_row, out_column, rows)
        first += rows
    store(slot, 0)


@helper
def place_targets(zero, M, B, targets, source_tag, y, row_bytes, column_bytes, rows):
    """Convert, standardize and place the targets of some rows in panels."""
    width, n = width_of(zero), M.n_out
    mean, factor = array_at(0.0, M.mean, n), array_at(0.0, M.factor, n)
    for i in range(rows):
        for j in range(n):
            number = array_at(source_tag, y + i * row_bytes + j * column_bytes, 1)[0]
            place = array_at(zero, targets + j // width * B.jump + i * PANEL_BYTES, width)
            if M.mean == 0:
                place[j % width] = like(zero, number)
            else:
                place[j % width] = like(zero, (np.float64(number) - mean[j]) * factor[j])


@helper
def move_gradient(slot, gradient):
    """Let the records of a step say that the gradient is written to another address."""
    S = SLOT(slot)
    words, by = array_at(np.int64(0), S.words, S.n_words), gradient - S.gradient
    for k in range(S.n_words):
        array_at(np.int64(0), words[k], 1)[0] += by
    S.gradient = gradient


@task
def gradient_rows(tag, model, source_tag, X, X_row, X_column, y_tag, y, y_row, y_column, labels, weight_tag, weights, weight_step, gradient, n_rows):
    """Write the gradient of the loss of some rows, and return the loss; y are labels or targets, `weights` may be 0."""
    zero, M = zero_of(tag), MODEL(model)
    slot = take_slot(zero, M)
    S = SLOT(slot)
    B = BOUND(S.step)
    now = NOW(B.now)
    place_rows(zero, M, B, source_tag, X, X_row, X_column, n_rows)
    now.rows, now.seen, now.labels, now.weights = n_rows, 0, 0, 0
    if labels:
        now.labels = S.labels
        into = array_at(np.int64(0), S.labels, n_rows)
        for i in range(n_rows):
            into[i] = np.int64(array_at(y_tag, y + i * y_row, 1)[0])
    else:
        place_targets(zero, M, B, S.targets, y_tag, y, y_row, y_column, n_rows)
    if weights != 0:
        now.weights = S.weights
        factors = array_at(0.0, S.weights, n_rows)
        for i in range(n_rows):
            factors[i] = np.float64(array_at(weight_tag, weights + i * weight_step, 1)[0])
    move_gradient(slot, gradient)
    call(M.run, (0, S.step, M.n_out))
    gaps, flat = array_at(np.int64(0), M.gaps, 2 * M.n_gaps), array_at(zero, gradient, M.n_parameters)
    for k in range(M.n_gaps):
        for i in range(gaps[2 * k], gaps[2 * k + 1]):
            flat[i] = zero
    loss = now.loss + now.penalty
    store(slot, 0)
    return loss


# For callers in C. Their pointers say the dtypes.


@task
def predict_c(model, x, out, n_rows):
    """Write the outputs for contiguous rows: void (void *model, const T *x, T *out, int64_t n_rows)."""
    M, size = MODEL(model), PANEL_BYTES // width_of(zero_of(x))
    predict_rows(x, model, x, pointer_address(x), M.n_in * size, size, out, pointer_address(out), M.n_out * size, size, n_rows)


def _integrand(zero: Any) -> Any:
    """Return the task of a network with a single output as a function of doubles: double (int n, double *x, void *model)."""

    def integrand(n, x, model):
        out = line_buffer(0.0)
        if n != MODEL(model).n_in:
            return np.nan
        predict_rows(pointer(zero, 0), model, x, pointer_address(x), 0, 8, pointer(0.0, out), out, 0, 8, 1)
        return array_at(0.0, out, 1)[0]

    return task(named(integrand, __name__, f"integrand_{zero.dtype}"))


INTEGRANDS = {zero.dtype.name: _integrand(zero) for zero in (np.float32(0), np.float64(0))}
