"""Workspaces of a network inside compiled code: its programs, each bound to memory of its own, and the tasks that call them.

A call takes the first workspace that is free, starting at one that follows from where the calling thread's stack lies, so that
threads seldom meet; it waits where all are taken. So any number of threads may call one network at once, and a call allocates nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from ._bits import fma, like
from ._jit import helper, named, task
from ._tile import PANEL_BYTES, call, line_buffer, pointer, pointer_as, width_of, zero_of
from ._wait import exchange, give_way, load, pause, store
from .activations import ROW_ACTIVATIONS
from .panels import panels
from .program import PHASE_BYTES
from .records import NOW, PHASE, F, I, Record

__all__ = ["BLOCK_ROWS", "BOUND", "FINISH", "MODEL", "SLOT", "predict_rows", "run_bound"]

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
    run=(I, "address of `run_bound`"),
    slots=(I, "address of the first workspace"),
    n_slots=(I, "how many there are"),
)

SLOT = Record(
    taken=(I, "whether a call works with it"),
    one=(I, "address of the program for one row"),
    some=(I, "address of the program for up to BLOCK_ROWS rows"),
    away=(np.dtype((np.int8, LINE - 24)), "nothing: the next workspace lies in another line"),
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
    """Do the phases of a program, alone, and the last activation."""
    B = BOUND(bound)
    for k in range(B.count):
        phase = PHASE(B.phases + k * PHASE_BYTES)
        for t in range(phase.tasks):
            call(phase.task, (0, t, 0, phase.record, B.now))
    if B.finish != 0:
        call(B.finish, (0, B.outputs, NOW(B.now).rows, n_out))


def _of_rows(name: str, rows: Any) -> Any:
    """Return the task of an activation of rows: it replaces plain rows."""

    def finish(tag, where, n_rows, n):
        rows(carray(pointer(zero_of(tag), where), (n_rows, n)))

    return task(named(finish, __name__, f"finish_{name}"))


FINISH = {code: _of_rows(one.name, one.rows) for code, one in ROW_ACTIVATIONS.items()}


@helper
def take_slot(zero, M):
    """Return the address of a workspace that is nobody else's until `taken` is 0 again."""
    k = ((line_buffer(zero) >> 16) * 0x9E3779B1 >> 16) % M.n_slots
    waited = 0
    while True:
        for _ in range(M.n_slots):
            slot = M.slots + k * SLOT_BYTES
            if load(slot) == 0 and exchange(slot, 1) == 0:
                return slot
            k = k + 1 if k + 1 < M.n_slots else 0
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
    for i in range(rows):
        for p in range(panels(n, width)):
            count, at = min(width, n - p * width), X + i * row_bytes + p * width * column_bytes
            line = carray(pointer(zero, B.inputs + p * B.jump + i * PANEL_BYTES), width)
            if M.scales == 0:
                for j in range(count):
                    line[j] = like(zero, carray(pointer_as(source_tag, at + j * column_bytes), 1)[0]) * scale + shift
            else:
                scales, shifts = carray(pointer(0.0, M.scales + p * width * 8), width), carray(pointer(0.0, M.shifts + p * width * 8), width)
                for j in range(count):
                    number = np.float64(carray(pointer_as(source_tag, at + j * column_bytes), 1)[0])
                    line[j] = like(zero, fma(number, scales[j], shifts[j]))


@helper
def write_rows(zero, M, B, out_tag, out, row_bytes, column_bytes, rows):
    """Write plain outputs to an array, in the units of the targets."""
    n = M.n_out
    A = carray(pointer(zero, B.outputs), rows * n)
    mean, std = carray(pointer(0.0, M.mean), n), carray(pointer(0.0, M.std), n)
    for i in range(rows):
        for j in range(n):
            place = carray(pointer_as(out_tag, out + i * row_bytes + j * column_bytes), 1)
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
