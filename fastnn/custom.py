"""Functions of one's own in a network: an activation by its formula and derivative.

A file holds their names and parameters, never code. A loss of one's own is `fastnn.CustomLoss`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import kernels

from . import validation


@dataclass(frozen=True, repr=False)
class Activation:
    """An activation of one's own, for `Dense`: a function of one number, and its derivative.

    Both are compiled for themselves, when they are first used, and vectorized.

    Parameters
    ----------
    f : function (z, *parameters)
        A plain function of what Numba can compile, or one with `@njit`. `kernels.scalar` has exp, tanh and others that are
        fast in it. What it returns is rounded to the network's dtype.
    derivative : function (z, *parameters)
        Of `f` at the input z. `fastnn.check_gradient` tells whether it is right.
    parameters : sequence of float
        Numbers that both are given after z, in the network's dtype.
    name : str, optional
        What files call it; left out, the name of `f`.

    Examples
    --------
    >>> from fastnn import Dense, Sequential
    >>> def squared_relu(z):
    ...     return z * z if z > 0 else 0.0
    >>> def slope(z):
    ...     return 2 * z if z > 0 else 0.0
    >>> net = Sequential([Dense(1, Activation(squared_relu, slope))], n_features=1)
    >>> net.set_weights([([[1.0]], [0.0])])
    >>> net.predict([[-3.0], [3.0]])
    array([[0.],
           [9.]], dtype=float32)
    """

    f: Callable[..., Any]
    derivative: Callable[..., Any]
    parameters: Sequence[float] = ()
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", checked_parameters(self.parameters))
        names = [one.name for one in (kernels.ACTIVATIONS | kernels.ROW_ACTIVATIONS).values()]
        object.__setattr__(self, "name", checked_name(self.name, self.f, names))
        _ = self.record  # says what is wrong with the functions

    @property
    def record(self) -> kernels.Activation:
        """What the kernels calculate with."""
        return kernels.custom_activation(self.f, self.derivative, self.parameters, self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Activation({self.name}{f', parameters={self.parameters}' if self.parameters else ''})"


def checked_parameters(parameters: Any) -> tuple[float, ...]:
    """Return the numbers of a user's function."""
    if not isinstance(parameters, Iterable):
        raise TypeError(f"parameters must be a sequence of numbers; got {validation.shown(parameters)}.")
    return tuple(float(validation.number(f"parameters[{i}]", value)) for i, value in enumerate(parameters))


def checked_name(name: Any, f: Any, taken: Sequence[str]) -> str:
    """Return the name of a user's function, which is not a built-in one's."""
    own = validation.text("name", name or getattr(f, "__name__", ""))
    if own in taken:
        raise ValueError(f"name must not be that of a built-in function; got {own!r}.")
    return own
