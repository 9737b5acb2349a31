"""PReLU, an activation whose slope is trained: its record, its tasks, its `emit`.

Forward it is an operation on what was just written. On the way back a task takes a panel, all its rows, as those of batch normalization
do: so the gradient of a slope does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from . import _door
from ._elements import fill
from ._jit import helper, task
from ._tile import PANEL_BYTES, array_at, call, copy_line, width_of, zero_of
from .batchnorm import add_rows
from .between import BACK_FIELDS, Between, pass_on
from .dense import apply, finishing
from .norm import NORM_ROWS, add_lanes
from .operations import follow
from .panels import panels
from .program import Memory, Operation, Program, Value
from .records import NOW, I, Record

__all__ = ["PReLU"]

BOTH_FIELDS = {  # of the records of both ways
    "slope": (I, "address of the slope of each column, or of the one of all"),
    "shared": (I, "whether there is one of all"),
    "Z": (I, "address of the inputs, 0: the minibatch's"),
    "jump": (I, "numbers from one panel to the next"),
}

FORWARD = Record(**BOTH_FIELDS, out=(I, "address of where the outputs are written"))

BACKWARD = Record(
    **BOTH_FIELDS,
    **BACK_FIELDS,
    n=(I, "columns"),
    dA=(I, "address of the gradient of the outputs; that of Z is written in its place"),
    scratch=(I, "address of what a thread calculates with"),
    scratch_bytes=(I, "bytes of that for one thread"),
    sums=(I, "address of a line for each panel: the gradient of a slope, column by column"),
    dslope=(I, "address of where the gradient of the slopes is written, 0: they are not trained"),
)


@helper
def multiply(zero, Z, source, out, rows, slopes, shared, panel):
    """out = source where Z > 0, else slope * source, for rows of a panel."""
    width = width_of(zero)
    if shared != 0:
        slope, count = array_at(zero, slopes, 1)[0], rows * width
        z, s, o = array_at(zero, Z, count), array_at(zero, source, count), array_at(zero, out, count)
        for k in range(count):
            value = s[k]
            o[k] = value if z[k] > zero else slope * value
        return
    line = array_at(zero, slopes + panel * PANEL_BYTES, width)
    for i in range(rows):
        z, s = array_at(zero, Z + i * PANEL_BYTES, width), array_at(zero, source + i * PANEL_BYTES, width)
        o = array_at(zero, out + i * PANEL_BYTES, width)
        for j in range(width):
            value = s[j]
            o[j] = value if z[j] > zero else line[j] * value


@task
def prelu(tag, record, first, last, panel, now):
    """out = Z where Z > 0, else slope * Z, for rows of one panel."""
    zero, L = zero_of(tag), FORWARD(record)
    width = width_of(zero)
    at = panel * L.jump * (PANEL_BYTES // width) + first * PANEL_BYTES
    Z = (L.Z if L.Z != 0 else NOW(now).inputs) + at
    multiply(zero, Z, Z, L.out + at, last - first, L.slope, L.shared, panel)


@task
def prelu_backward(tag, t, worker, record, now):
    """The sums of dA * min(Z, 0) over the rows of a panel, and dZ = dA where Z > 0, else slope * dA, in the place of dA, finished."""
    zero, L, rows = zero_of(tag), BACKWARD(record), NOW(now).rows
    width = width_of(zero)
    size, at = NORM_ROWS * width, t * L.jump * (PANEL_BYTES // width)
    Z, dA, room = (L.Z if L.Z != 0 else NOW(now).inputs) + at, L.dA + at, L.scratch + worker * L.scratch_bytes
    total = array_at(zero, room, size)
    fill(total, zero)
    for first in range(0, rows, NORM_ROWS):
        count = min(NORM_ROWS, rows - first) * width
        z, d = array_at(zero, Z + first * PANEL_BYTES, count), array_at(zero, dA + first * PANEL_BYTES, count)
        for k in range(count):
            total[k] += zero if z[k] > zero else d[k] * z[k]
    add_rows(zero, room, L.sums + t * PANEL_BYTES)
    sums = array_at(zero, L.sums + t * PANEL_BYTES, width)
    for j in range(L.n - t * width, width):
        sums[j] = zero
    if L.wanted != 0:
        multiply(zero, Z, dA, dA, rows, L.slope, L.shared, t)
        apply(L.finish, L.n_finish, 0, rows, t, now)
    if L.dslope != 0 and L.shared == 0:
        copy_line(zero, L.sums + t * PANEL_BYTES, L.dslope + t * PANEL_BYTES)
        if L.update != 0:
            call(L.update, (0, L.optimizer, L.dslope + t * PANEL_BYTES, width, now))


@task
def prelu_sum(tag, t, worker, record, now):
    """Add up the panels: the gradient of one slope of all columns, updated where that is done at once."""
    zero, L = zero_of(tag), BACKWARD(record)
    width = width_of(zero)
    total = array_at(zero, L.sums, width)
    for p in range(1, panels(L.n, width)):
        part = array_at(zero, L.sums + p * PANEL_BYTES, width)
        for j in range(width):
            total[j] += part[j]
    array_at(zero, L.dslope, 1)[0] = add_lanes(total, 0, width)
    if L.update != 0:
        call(L.update, (0, L.optimizer, L.dslope, width, now))


@dataclass(frozen=True)
class PReLU(Between):
    """A = Z where Z > 0, else slope * Z.

    Parameters
    ----------
    n : int
        Columns.
    shared : bool
        Whether all columns have one slope, or each its own.
    trained : (bool,)
        Whether training changes it.

    Raises
    ------
    TypeError, ValueError
        If a field is of another kind or out of range.

    References
    ----------
    He, Zhang, Ren, Sun, Delving deep into rectifiers, ICCV 2015.
    """

    flops: ClassVar[int] = 4

    shared: bool = True
    trained: tuple[bool] = (True,)

    def __post_init__(self) -> None:
        super().__post_init__()
        _door.set_fields(self, shared=_door.yes_or_no("shared", self.shared), trained=_door.flags("trained", self.trained, 1))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Its array."""
        return {"slope": (1 if self.shared else self.n,)}

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """Add it to the phase that writes X, or for the inputs a phase; return the outputs, and what adds the way back."""
        i, out, (slope,) = at.index + 1, program.matrix(self.n), at.parameters
        both = {"slope": slope, "shared": self.shared, "Z": X.where, "jump": program.jump}
        work, name = 2.0 * program.rows * self.n, f"P{i}"
        follow(program, X, Operation(prelu, FORWARD.new(**both, out=out), f"{name} = prelu({X.name})"), work)
        A = Value(out, self.n, name, epilogue=X.epilogue, wanted=X.wanted or any(at.gradient))

        def backward(dA: int) -> int:
            if not A.wanted:
                return 0
            tasks, (dslope,) = program.panels(self.n), at.gradient
            own = at.update | program.scratch(NORM_ROWS * program.width)
            record = BACKWARD.new(**both, **own, n=self.n, dA=dA, wanted=X.wanted, dslope=dslope, sums=program.zeros(tasks * program.width))
            program.operations(record, "finish", finishing(program, X, dA))
            made, updated = [f"d{X.name}"] * X.wanted + [f"dslope{i}"] * bool(dslope), ", updated" if at.update and dslope else ""
            program.phase(prelu_backward, tasks, record, 2 * work, f"{', '.join(made)} from d{name}{'' if self.shared else updated}")
            if dslope and self.shared:
                program.phase(prelu_sum, 1, record, 0.0, f"dslope{i}, added up{updated}")
            return pass_on(program, X, dA)

        return A, backward
