"""Residual blocks: the outputs of some layers are added to their inputs.

Of a plan the block is what stands between a `Fork` and its `Join`. Behind the fork the inputs go on without what finishes a gradient
of them: the sum of both gradients is finished, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from ._jit import task
from ._tile import PANEL_BYTES, array_at, width_of, zero_of
from .between import Between
from .dense import apply, finishing
from .operations import follow
from .program import Memory, Operation, Program, Value
from .records import NOW, I, Record

__all__ = ["Fork", "Join"]

SUM = Record(
    a=(I, "address of one matrix, 0: the minibatch's inputs"),
    b=(I, "address of another one, 0: the minibatch's inputs"),
    out=(I, "address of where the sum is written"),
    jump=(I, "numbers from one panel to the next"),
)

PASS = Record(
    source=(I, "address of the gradient of the sum"),
    out=(I, "address of the gradient of the block's inputs, to which that is added, or of where that of its outputs is written"),
    jump=(I, "numbers from one panel to the next"),
    adds=(I, "whether it is added"),
    finish=(I, "address of the operations on what was written"),
    n_finish=(I, "how many there are"),
)


@task
def add(tag, record, first, last, panel, now):
    """out = a + b for rows of one panel."""
    zero, R = zero_of(tag), SUM(record)
    width = width_of(zero)
    at, count = panel * R.jump * (PANEL_BYTES // width) + first * PANEL_BYTES, (last - first) * width
    a = array_at(zero, (R.a if R.a != 0 else NOW(now).inputs) + at, count)
    b = array_at(zero, (R.b if R.b != 0 else NOW(now).inputs) + at, count)
    out = array_at(zero, R.out + at, count)
    for k in range(count):
        out[k] = a[k] + b[k]


@task
def pass_gradient(tag, t, worker, record, now):
    """out = source, or out + source, for a panel, finished."""
    zero, R, rows = zero_of(tag), PASS(record), NOW(now).rows
    width = width_of(zero)
    at, count = t * R.jump * (PANEL_BYTES // width), rows * width
    source, out = array_at(zero, R.source + at, count), array_at(zero, R.out + at, count)
    if R.adds != 0:
        for k in range(count):
            out[k] += source[k]
    else:
        for k in range(count):
            out[k] = source[k]
    apply(R.finish, R.n_finish, 0, rows, t, now)


def _emit_pass(program: Program, X: Value, source: int, out: int, adds: bool, note: str) -> None:
    """Add the phase that writes a gradient of X, finished."""
    record = PASS.new(source=source, out=out, jump=program.jump, adds=adds)
    program.operations(record, "finish", finishing(program, X, out))
    program.phase(pass_gradient, program.panels(X.n), record, 1.0 * program.rows * X.n, note)


@dataclass
class Block:
    """A residual block that is being emitted.

    Attributes
    ----------
    X : Value
        Its inputs.
    gradient : int
        Address of the gradient of the sum, 0 where nobody asks for it.
    """

    X: Value
    gradient: int = 0


@dataclass(frozen=True)
class Fork(Between):
    """Where a residual block begins; see `Join`.

    Parameters
    ----------
    n : int
        Columns.
    """

    matrices: ClassVar[int] = 0

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """Pass X on without finish; the way back adds the gradients."""
        block = Block(X)
        program.blocks.append(block)
        inner = replace(X, mask=0, finish=[], kept=True, ends=None, lists=[])

        def backward(dX: int) -> int:
            if X.wanted:
                _emit_pass(program, X, block.gradient, dX, True, f"d{X.name} of both")
            program.release(block.gradient)
            return dX if X.wanted else 0

        return inner, backward


@dataclass(frozen=True)
class Join(Between):
    """Where a residual block ends: Y = X + F(X), F being the layers since its `Fork`.

    Parameters
    ----------
    n : int
        Columns, as many as the `Fork` has.

    References
    ----------
    He et al., Deep residual learning for image recognition, CVPR 2016.
    """

    matrices: ClassVar[int] = 2
    flops: ClassVar[int] = 2

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """Add the sum; the way back gives the block a gradient of its own."""
        block = program.blocks.pop()
        below, name = block.X, f"S{at.index + 1}"
        out = program.matrix(self.n)
        record = SUM.new(a=below.where, b=X.where, out=out, jump=program.jump)
        follow(program, X, Operation(add, record, f"{name} = {below.name} + {X.name}"), 1.0 * program.rows * self.n)
        total = Value(out, self.n, name, epilogue=X.epilogue, wanted=X.wanted or below.wanted, ends=below)

        def backward(dS: int) -> int:
            block.gradient = dS if total.wanted else 0
            if not X.wanted:
                return 0
            dX = program.matrix(self.n)
            _emit_pass(program, X, dS, dX, False, f"d{X.name} from d{name}")
            return dX

        return total, backward
