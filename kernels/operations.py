"""What is done to rows that were just written: an operation of the phase that wrote them, or for the inputs a phase."""

from __future__ import annotations

from numba import carray

from ._jit import helper, task
from ._tile import PANEL_BYTES, call, copy_line, pointer, width_of
from .program import Operation, Program, Value, task_address
from .records import NOW, I, Record

__all__ = ["follow", "four_lines"]

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
    return carray(pointer(zero, out), 4 * width_of(zero))


def follow(program: Program, X: Value, operation: Operation, work: float) -> None:
    """Add an operation on X to the phase that writes it, or where none does, a phase."""
    if X.epilogue is not None:
        X.epilogue.append(operation)
        return
    record = OPERATION.new(task=task_address(operation.task, program.dtype), record=program.keep(operation.record))
    program.phase(operate, program.panels(X.n), record, work, operation.note)
