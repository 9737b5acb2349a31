"""What is done to rows that were just written, an operation of the phase that wrote them, or for the inputs a phase; what dropout and noise share."""

from __future__ import annotations

import numpy as np

from ._jit import helper, task
from ._tile import PANEL_BYTES, array_at, call, copy_line, width_of
from .program import Operation, Program, Value, task_address
from .random import seed_key
from .records import NOW, I, Record

__all__ = ["DRAWING_FIELDS", "drawing", "follow", "four_lines", "room_beside"]

DRAWING_FIELDS = {  # of the record of an operation that draws random numbers
    "source": (I, "address of what it is done to, 0: the minibatch's inputs, or the gradient"),
    "out": (I, "address of where the outcome is written, 0: the same"),
    "jump": (I, "numbers from one panel to the next"),
    "stream": (I, "which of the streams of random numbers is drawn from"),
    "seed": (I, "of the network"),
}

OPERATION = Record(
    task=(I, "address of what is done to rows of a panel"),
    record=(I, "address of the record that it reads"),
)


@task
def operate(tag, t, worker, record, now):
    """Apply an operation to all rows of a panel."""
    R = OPERATION(record)
    call(R.task, (0, R.record, 0, NOW(now).rows, t, now))


@helper
def four_lines(zero, source, out):
    """Return the four lines at `out`, which are copied from another address, as one array: then a loop over it need not know whether both are the same."""
    if source != out:
        for k in range(4):
            copy_line(zero, source + k * PANEL_BYTES, out + k * PANEL_BYTES)
    return array_at(zero, out, 4 * width_of(zero))


@helper
def drawing(zero, D, purpose, panel, now):
    """Return what who draws random numbers needs: where a panel is read and written; the place of its first row; time, stream and key for `philox`."""
    at, inputs = panel * D.jump * (PANEL_BYTES // width_of(zero)), NOW(now).inputs
    source, out = D.source if D.source != 0 else inputs, D.out if D.out != 0 else inputs
    drawn = np.uint32(NOW(now).drawn & 0xFFFFFFFF), np.uint32(purpose | D.stream), *seed_key(D.seed)
    return source + at, out + at, NOW(now).first_row, drawn


def room_beside(program: Program, X: Value) -> int:
    """Return the address of a matrix for what is made of X; 0, in the place of X, for inputs that nobody else reads."""
    if X.where == 0 and not X.kept:
        program.overwrites_inputs = True
        return 0
    return program.matrix(X.n)


def follow(program: Program, X: Value, operation: Operation, work: float) -> None:
    """Add an operation on X to the phase that writes it, or where none does, a phase."""
    if X.epilogue is not None:
        X.epilogue.append(operation)
        return
    record = OPERATION.new(task=task_address(operation.task, program.dtype), record=program.keep(operation.record))
    program.phase(operate, program.panels(X.n), record, work, operation.note)
