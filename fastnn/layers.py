"""The layers of a network: plain settings, in the order in which the data goes through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

import kernels

from . import validation
from .custom import Activation
from .initializers import Initializer, check_initializer

ACTIVATIONS: dict[str, int] = {one.name: code for code, one in (kernels.ACTIVATIONS | kernels.ROW_ACTIVATIONS).items()}

LAST_ONLY = tuple(one.name for one in kernels.ROW_ACTIVATIONS.values())  # they need whole rows


@dataclass(frozen=True)
class Scale:
    """Scale the data on its way in: `X * scale + shift`. Only as the first layer.

    Parameters
    ----------
    scale, shift : float
        The same for every feature.

    Examples
    --------
    >>> Scale(1 / 255)
    Scale(scale=0.00392156862745098, shift=0.0)
    """

    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        validation.number("scale", self.scale)
        validation.number("shift", self.shift)


@dataclass(frozen=True, repr=False)
class Dense:
    """Connect every input with every unit: `activation(X @ W + b)`.

    Parameters
    ----------
    units : int
        The number of outputs.
    activation : str or Activation
        A name in `fastnn.layers.ACTIVATIONS`, or a function of one's own; softmax and log_softmax only in the last layer.
    initializer : str, Initializer, array or pair of arrays, optional
        How the weights start: a name such as "he_normal", the weights `W` of shape (n_in, units), or `(W, b)`. Left
        out, it follows the activation. A bias that is not given starts at zero.
    bias : bool
        Whether there is one.
    trainable : bool, "weights" or "bias"
        What of the layer a fit changes: all, nothing, only the weights or only the bias.
    l1, l2 : float
        `l1 * sum(abs(W)) + l2 * sum(W**2)` is added to the loss of every minibatch.
    bias_l1, bias_l2 : float
        The same of the bias.

    Examples
    --------
    >>> Dense(10, "rleu")
    Traceback (most recent call last):
    ValueError: activation must be one of 'identity', 'relu', ...; got 'rleu'. Did you mean 'relu'?
    """

    units: int
    activation: str | Activation = "identity"
    initializer: str | Initializer | Any = field(default=None, compare=False)
    bias: bool = True
    trainable: bool | Literal["weights", "bias"] = True
    l1: float = 0.0
    l2: float = 0.0
    bias_l1: float = 0.0
    bias_l2: float = 0.0

    def __post_init__(self) -> None:
        validation.integer("units", self.units, 1)
        if not isinstance(self.activation, Activation):
            validation.choice("activation", self.activation, ACTIVATIONS)
        check_initializer(self.initializer)
        validation.flag("bias", self.bias)
        if not isinstance(self.trainable, (bool, np.bool_)) and self.trainable not in ("weights", "bias"):
            raise ValueError(f"trainable must be True, False, 'weights' or 'bias'; got {validation.shown(self.trainable)}.")
        for name, value in zip(("l1", "l2", "bias_l1", "bias_l2"), self.penalties):
            validation.number(name, value, 0.0)

    @property
    def penalties(self) -> tuple[float, float, float, float]:
        """Return (l1, l2, bias_l1, bias_l2)."""
        return self.l1, self.l2, self.bias_l1, self.bias_l2

    @property
    def code(self) -> int | kernels.Activation:
        """Return the activation as the kernels know it."""
        return self.activation.record if isinstance(self.activation, Activation) else ACTIVATIONS[self.activation]

    @property
    def trained(self) -> tuple[bool, bool]:
        """Return whether a fit changes the weights, and the bias."""
        return self.trainable in (True, "weights"), self.bias and self.trainable in (True, "bias")

    def __repr__(self) -> str:
        """Return the settings that differ from the defaults."""
        shown = [repr(self.units), repr(self.activation)]
        shown += [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self)[3:] if getattr(self, one.name) != one.default]
        return f"Dense({', '.join(shown)})"


@dataclass(frozen=True)
class Dropout:
    """Set each input of the next layer to zero with probability `rate`, and scale the others by `1 / (1 - rate)`.

    Only while training: predictions use all of them.

    Parameters
    ----------
    rate : float
        From 0, below 1.

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.
    """

    rate: float

    def __post_init__(self) -> None:
        validation.number("rate", self.rate, 0.0, 1.0)


Layer = Scale | Dense | Dropout


def check_layers(layers: Any) -> tuple[Layer, ...]:
    """Return the layers as a tuple if they can follow each other."""
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise TypeError(f"layers must be a list of Scale, Dense and Dropout; got {validation.shown(layers)}.")
    for position, layer in enumerate(layers):
        where = f"layers[{position}]"
        if not isinstance(layer, (Scale, Dense, Dropout)):
            raise TypeError(f"{where} must be a Scale, Dense or Dropout; got {validation.shown(layer)}.")
        following = layers[position + 1] if position + 1 < len(layers) else None
        if isinstance(layer, Scale) and position > 0:
            raise ValueError(f"{where} must not be a Scale: only the first layer can be; got {layer}.")
        if isinstance(layer, Dropout) and not isinstance(following, Dense):
            raise ValueError(f"{where} must be followed by a Dense layer, whose inputs it drops; got {following}.")
        if isinstance(layer, Dense) and layer.activation in LAST_ONLY and (following is not None or layer.units == 1):
            help_ = "only the last layer can have it" if following is not None else "of one unit it is always 1, use 'sigmoid'"
            raise ValueError(f"{where} must not have the activation {layer.activation!r}: {help_}; got {layer}.")
    if not any(isinstance(layer, Dense) for layer in layers):
        raise ValueError(f"layers must have at least one Dense layer; got {list(layers)}.")
    return tuple(layers)
