"""What the kinds of layers between dense ones have in common: what each says of itself, and the fields of its way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from . import _door
from .program import Program, Value
from .records import I

__all__ = ["BACK_FIELDS", "Between", "pass_on"]

BACK_FIELDS = {  # of the records of the ways back
    "wanted": (I, "whether anybody asks for the gradient of the inputs"),
    "update": (I, "address of the task that updates some parameters at once, 0: later"),
    "optimizer": (I, "address of the optimizer's record"),
    "finish": (I, "address of the operations on the gradient of the inputs"),
    "n_finish": (I, "how many there are"),
}


@dataclass(frozen=True)
class Between:
    """A layer that keeps its n columns; as it is where a kind does not say otherwise.

    Attributes
    ----------
    n : int
        Columns.
    penalties : tuple of float
        None, see `Dense`.
    matrices : int
        How many it takes memory for.
    follows : bool
        Whether it is part of the phase before it.
    flops : int
        Floating-point operations for one number of training.
    """

    penalties: ClassVar[tuple[float, ...]] = ()
    matrices: ClassVar[int] = 1
    follows: ClassVar[bool] = True
    flops: ClassVar[int] = 0

    n: int

    def __post_init__(self) -> None:
        _door.set_fields(self, n=_door.whole("n", self.n, 1))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Its arrays, in the order in which they lie in the flat vector."""
        return {}

    @property
    def trained(self) -> tuple[bool, ...]:
        """Whether training changes the first of these, the second ..."""
        return ()

    @property
    def flops_per_row(self) -> int:
        """Floating-point operations for one row of training."""
        return self.flops * self.n


def pass_on(program: Program, X: Value, dX: int) -> int:
    """Return where the gradient of X lies; where nobody asks for it, 0, and its matrix is given back."""
    if X.wanted:
        return dX
    program.release(dX)
    return 0
