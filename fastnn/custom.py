"""Functions of one's own in a network: an activation by its formula and derivative, and whether a derivative is right.

A file holds their names and parameters, never code. A loss of one's own is `fastnn.CustomLoss`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import kernels

from . import validation
from .validation import Array

if TYPE_CHECKING:
    from .losses import Loss
    from .network import Sequential


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
    return tuple(float(validation.number(f"parameters[{i}]", value)) for i, value in enumerate(parameters))


def checked_name(name: Any, f: Any, taken: Sequence[str]) -> str:
    """Return the name of a user's function, which is not a built-in one's."""
    name = name or getattr(f, "__name__", "")
    if not isinstance(name, str):
        raise TypeError(f"name must be a string; got {validation.shown(name)}.")
    if name in taken:
        raise ValueError(f"name must not be that of a built-in function; got {name!r}.")
    return name


def check_gradient(
    network: Sequential, X: Any, y: Any, loss: str | Loss | None = None, tolerance: float = 1e-4
) -> float:
    """Compare the gradient of a network with what its loss does when single parameters change; return the worst relative error.

    Calculated in float64, whatever the network's dtype, for up to 25 weights and 25 biases of each layer. A gradient between
    the slopes to both sides is right, so kinks do not count as errors.

    Parameters
    ----------
    network : Sequential
        Its parameters stay as they are.
    X, y : array
        As for `Sequential.fit`; a few rows are enough.
    loss : str or Loss, optional
        Left out, the loss of the last fit, or the one that follows the last activation.
    tolerance : float
        The largest error that is not reported, in units of the gradient.

    Raises
    ------
    ValueError
        If an error is larger: the derivative of an `Activation`, or the gradient of a `CustomLoss`, is wrong.

    Examples
    --------
    >>> from fastnn import Dense, Sequential
    >>> net = Sequential([Dense(3, Activation(lambda z: z**3, lambda z: 3 * z**2, name="cube")), Dense(1)], n_features=2)
    >>> check_gradient(net, [[1.0, 2.0], [-1.0, 0.5]], [1.0, 0.0]) < 1e-6
    True
    """
    twin = type(network)(network.layers, network.n_features, "float64", network.seed)
    twin.set_weights(network.weights)
    chosen = network.loss if loss is None else _loss_for(loss, network.last_activation)
    function, parameters = twin.full_batch(chosen, *twin.check_data(chosen, X, y), None, 1), twin.parameters.copy()
    value, gradient = function(parameters)
    gradient = gradient.copy()
    largest = float(np.abs(gradient).max())
    worst, where = 0.0, ""
    for layer, (one, places) in enumerate(_places(twin)):
        for at in places:
            above, below = ((function(_moved(parameters, at, h))[0] - value) / h for h in (1e-5, -1e-5))
            beyond = max(min(above, below) - gradient[at], gradient[at] - max(above, below), 0.0)
            error = beyond / max(abs(above), abs(below), abs(gradient[at]), 1e-3 * largest, 1e-12)
            if not error <= worst:  # nan is the worst of all
                worst = error
                where = f"{gradient[at]:.6g} where the loss changes by {(above + below) / 2:.6g}, in dense layer {layer}, {one.activation}"
    if not worst <= tolerance:
        raise ValueError(
            f"gradient must be that of the loss; got {where} (relative error {worst:.2g}). Look at the derivatives of your functions."
        )
    return worst


def _loss_for(loss: str | Loss, activation: str) -> Loss:
    from .losses import loss_for

    return loss_for(loss, activation)


def _moved(parameters: Array, at: int, step: float) -> Array:
    moved: Array = parameters.copy()
    moved[at] += step
    return moved


def _places(network: Sequential) -> list[tuple[Any, list[int]]]:
    """Return for each dense layer the places of some of its trained parameters in the flat vector."""
    positions, random = np.arange(network.parameters.size, dtype=np.float64), np.random.default_rng(0)
    found = []
    for i, layer in enumerate(network.dense):
        parts = [part.ravel() for part, trained in zip(network.plan.weight(positions, i), layer.trained) if trained]
        some = [random.choice(part, min(25, part.size), replace=False) for part in parts]
        found.append((layer, [int(at) for part in some for at in part]))
    return found
