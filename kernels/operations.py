"""What is done to rows that were just written: an operation of the phase that wrote them, or for the inputs a phase."""

from __future__ import annotations

from ._jit import task
from ._tile import call
from .program import Operation, Program, Value, task_address
from .records import NOW, I, Record

__all__ = ["follow"]

OPERATION = Record(
    task=(I, "address of what is done to rows of a panel"),
    record=(I, "address of the record that it reads"),
)


@task
def operate(tag, t, worker, record, now):
    """Apply an operation to all rows of a panel."""
    R = OPERATION(record)
    call(R.task, (0, R.record, 0, NOW(now).rows, t, now))


def follow(program: Program, X: Value, operation: Operation, work: float) -> None:
    """Add an operation on X to the phase that writes it, or where none does, a phase."""
    if X.epilogue is not None:
        X.epilogue.append(operation)
        return
    record = OPERATION.new(task=task_address(operation.task, program.dtype), record=program.keep(operation.record))
    program.phase(operate, program.panels(X.n), record, work, operation.note)
