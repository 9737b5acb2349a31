"""The check of a network's gradient against its loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import trainers
from .losses import Loss, loss_for
from .network import Sequential
from .validation import Array

__all__ = ["check_gradient"]

STEP = 1e-5  # of a parameter


def check_gradient(network: Sequential, X: Any, y: Any, loss: str | Loss | None = None, tolerance: float = 1e-4) -> float:
    """Compare the gradient of a network with what its loss does when single parameters change; return the worst relative error.

    Calculated in float64, whatever the network's dtype, for up to 25 numbers of each array of each layer, without dropout and
    noise and with the running statistics of a `BatchNorm`. A gradient between the slopes to both sides is right, so kinks do
    not count as errors. Nor does what rounding of the loss may be.

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
        If an error is larger: the derivative of an `Activation`, or the gradient of a `CustomLoss`, is wrong. Or if rounding of
        the loss hides every slope, as with targets of 1e10 that are not standardized.

    Examples
    --------
    >>> from fastnn import Activation, Dense, Sequential
    >>> net = Sequential([Dense(3, Activation(lambda z: z**3, lambda z: 3 * z**2, name="cube")), Dense(1)], n_features=2)
    >>> check_gradient(net, [[1.0, 2.0], [-1.0, 0.5]], [1.0, 0.0]) < 1e-6
    True
    """
    twin = type(network)(network.layers, network.n_features, "float64", network.seed)
    twin.set_weights(network.weights)
    chosen = network.loss if loss is None else loss_for(loss, network.last_activation)
    function, parameters = (
        trainers.full_batch(twin, chosen, *twin.training_data(chosen, X, y), None, 1),
        twin.parameters.copy(),
    )
    value, gradient = function(parameters)
    gradient = gradient.copy()
    largest = float(np.abs(gradient).max())
    noise = 16 * np.finfo(np.float64).eps * abs(value) / STEP  # what rounding of the loss does to a slope
    worst, where, seen = 0.0, "", largest
    for name, places in _places(twin):
        for at in places:
            above, below = ((function(_moved(parameters, at, h))[0] - value) / h for h in (STEP, -STEP))
            beyond = max(min(above, below) - gradient[at], gradient[at] - max(above, below), noise) - noise
            seen = max(seen, abs(above), abs(below))
            error = beyond / max(abs(above), abs(below), abs(gradient[at]), 1e-3 * largest, np.finfo(np.float64).tiny)
            if not error <= worst:  # nan is the worst of all
                worst = error
                where = f"{gradient[at]:.6g} where the loss changes by {(above + below) / 2:.6g}, in {name}"
    if noise > seen > 0:  # a loss that nothing changes hides none
        raise ValueError(f"loss must not be so large that its rounding hides its slopes; got {value:.3g}. Standardize X and y, or take smaller ones.")
    if not worst <= tolerance:
        raise ValueError(f"gradient must be that of the loss; got {where} (relative error {worst:.2g}). Look at the derivatives of your functions.")
    return worst


def _moved(parameters: Array, at: int, step: float) -> Array:
    moved: Array = parameters.copy()
    moved[at] += step
    return moved


def _places(network: Sequential) -> list[tuple[str, list[int]]]:
    """Return the name of each layer and the places of some of its trained parameters in the flat vector."""
    positions, random = np.arange(network.parameters.size, dtype=np.float64), np.random.default_rng(0)
    found, dense = [], iter(network.dense)
    for placed in network.plan.layers:
        kind = type(placed.layer).__name__
        name = f"dense layer {placed.index}, {next(dense).activation}" if kind == "Dense" else f"{kind} {placed.index}"
        parts = [part.ravel() for part, trained in zip(network.plan.arrays(positions, placed), placed.layer.trained) if trained]
        some = [random.choice(part, min(25, part.size), replace=False) for part in parts]
        found.append((name, [int(at) for part in some for at in part]))
    return found
