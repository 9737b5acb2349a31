"""The layers of a network: plain settings, in the order in which the data goes through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

import kernels

from . import validation
from .between import BatchNorm, Dropout, GaussianNoise, LayerNorm, PReLU
from .custom import Activation
from .initializers import Initializer, check_initializer, initial_weights
from .scaling import Scale, Standardize
from .validation import Array

__all__ = [
    "ACTIVATIONS",
    "BatchNorm",
    "Dense",
    "Dropout",
    "GaussianNoise",
    "LayerNorm",
    "PReLU",
    "Residual",
    "Scale",
    "Standardize",
]

ACTIVATIONS: dict[str, int] = {one.name: code for code, one in (kernels.ACTIVATIONS | kernels.ROW_ACTIVATIONS).items()}

LAST_ONLY = tuple(one.name for one in kernels.ROW_ACTIVATIONS.values())  # they need whole rows
BOUNDED = (*LAST_ONLY, "sigmoid", "exponential")


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
        How the weights start: a name such as "he_normal" or "zeros", an `Initializer`, `Uniform`, `Normal` or `Orthogonal`
        of a chosen scale, the weights `W` of shape (n_in, units), or `(W, b)`. Left out, "glorot_uniform", for SELU
        "lecun_normal". A bias that is not given starts at zero.
    bias : bool
        Whether there is one.
    trainable : bool, "weights" or "bias"
        What of the layer a fit changes: all, nothing, only the weights or only the bias.
    l1, l2 : float
        `l1 * sum(abs(W)) + l2 * sum(W**2)` is added to the loss of every minibatch.
    bias_l1, bias_l2 : float
        The same of the bias.
    learning_rate_factor, bias_learning_rate_factor : float
        What the learning rate is multiplied by for the weights, and for the bias. Without effect in a fit with L-BFGS or conjugate
        gradient, as is `max_norm`.
    max_norm : float, optional
        After an update the weights of every unit whose norm is larger are brought to it.

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014 (max_norm).

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
    learning_rate_factor: float = 1.0
    bias_learning_rate_factor: float = 1.0
    max_norm: float | None = None

    def __post_init__(self) -> None:
        validation.normalize(self, validation.integer, "units", low=1)
        if not isinstance(self.activation, Activation):
            validation.normalize(self, validation.choice, "activation", choices=ACTIVATIONS)
        check_initializer(self.initializer)
        validation.normalize(self, validation.flag, "bias")
        if not isinstance(self.trainable, (bool, np.bool_, str)) or (isinstance(self.trainable, str) and self.trainable not in ("weights", "bias")):
            raise ValueError(f"trainable must be True, False, 'weights' or 'bias'; got {validation.shown(self.trainable)}.")
        object.__setattr__(self, "trainable", str(self.trainable) if isinstance(self.trainable, str) else bool(self.trainable))
        factors = "learning_rate_factor", "bias_learning_rate_factor"
        validation.normalize(self, validation.number, "l1", "l2", "bias_l1", "bias_l2", *factors, low=0.0)
        if self.max_norm is not None:
            validation.normalize(self, validation.positive, "max_norm")

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

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of its arrays."""
        return {"W": (n_in, self.units), **({"b": (self.units,)} if self.bias else {})}

    def start(self, n_in: int, seed: int, index: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        """Return the weights and the bias, zero where there is none, that the dense layer of an index starts with."""
        W, b = initial_weights(self.initializer, str(self.activation), n_in, self.units, seed, index, dtype)
        return W, b if self.bias else np.zeros_like(b)

    def __repr__(self) -> str:
        """Return the settings that differ from the defaults."""
        shown = [repr(self.units), repr(self.activation)]
        shown += [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self)[3:] if getattr(self, one.name) != one.default]
        return f"Dense({', '.join(shown)})"


@dataclass(frozen=True)
class Residual:
    """Add what goes into a block of layers to what comes out: `X + block(X)`.

    Parameters
    ----------
    layers : list of Dense, Dropout, GaussianNoise, LayerNorm, BatchNorm, PReLU and Residual
        The block, which gives as many columns as it takes. Of a network they count as its other layers do: in
        `Sequential.dense`, in `weights`, and for `set_trainable`, at the place where the data reaches them.

    References
    ----------
    He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016.

    Examples
    --------
    >>> from fastnn import Dense, LayerNorm, Sequential
    >>> block = Residual([LayerNorm(), Dense(32, "relu"), Dense(8)])
    >>> Sequential([Dense(8), block, block, Dense(1)], n_features=3).n_parameters
    1177
    """

    layers: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", _check_block(self.layers))

    def __repr__(self) -> str:
        return f"Residual([{', '.join(map(repr, self.layers))}])"


Layer = Scale | Standardize | Dense | Dropout | LayerNorm | BatchNorm | Residual | GaussianNoise | PReLU
KINDS: dict[str, type] = {
    "scale": Scale,
    "standardize": Standardize,
    "dense": Dense,
    "dropout": Dropout,
    "norm": LayerNorm,
    "batchnorm": BatchNorm,
    "residual": Residual,
    "noise": GaussianNoise,
    "prelu": PReLU,
}
BETWEEN = (LayerNorm, BatchNorm, Dropout, GaussianNoise, PReLU)  # what keeps the width; the plan takes its `record`
RANDOM = (Dropout, GaussianNoise)  # what is only in a fit


class Mark:
    """Where a residual block begins, and where it ends."""

    def __init__(self, record: type) -> None:
        self.record = record


BEGIN, END = Mark(kernels.Fork), Mark(kernels.Join)


def in_order(layers: Sequence[Any]) -> Iterator[Any]:
    """Yield the layers in the order in which the data reaches them, a `Residual` as BEGIN, its layers, END."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield BEGIN
            yield from in_order(layer.layers)
            yield END
        else:
            yield layer


def single(layers: Sequence[Any]) -> list[Any]:
    """Return the layers in the order in which the data reaches them, those of a `Residual` one by one."""
    return [layer for layer in in_order(layers) if not isinstance(layer, Mark)]


def changed(layers: Sequence[Any], change: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return the layers with each of `single` replaced by what `change` makes of it."""
    return tuple(replace(layer, layers=changed(layer.layers, change)) if isinstance(layer, Residual) else change(layer) for layer in layers)


def check_layers(layers: Any) -> tuple[Layer, ...]:
    """Return the layers as a tuple if they can follow each other."""
    checked = _check_kinds("layers", layers, KINDS.values())
    for position, layer in enumerate(checked):
        where = f"layers[{position}]"
        before = checked[position - 1] if position else None
        following = checked[position + 1] if position + 1 < len(checked) else None
        if isinstance(layer, Standardize) and layer.targets:
            _check_target_layer(where, layer, before, following)
        elif isinstance(layer, (Scale, Standardize)) and position > 0:
            help_ = " For the targets use Standardize(targets=True)." if isinstance(layer, Standardize) else ""
            raise ValueError(f"{where} must not be a {type(layer).__name__}: only the first layer can be; got {layer}.{help_}")
        if isinstance(layer, RANDOM) and (following is None or isinstance(following, Standardize)):
            raise ValueError(f"{where} must be followed by another layer, whose inputs it changes; got {following}.")
        if isinstance(layer, Dense) and layer.activation in LAST_ONLY and (following is not None or layer.units == 1):
            help_ = "only the last layer can have it" if following is not None else "of one unit it is always 1, use 'sigmoid'"
            raise ValueError(f"{where} must not have the activation {layer.activation!r}: {help_}; got {layer}.")
    if not any(isinstance(layer, Dense) for layer in single(checked)):
        raise ValueError(f"layers must have at least one Dense layer; got {list(checked)}.")
    return checked


def check_widths(layers: Sequence[Any], n_in: int, where: str = "layers") -> int:
    """Return the columns that come out, if every residual block gives as many as it takes."""
    n = n_in
    for position, layer in enumerate(layers):
        if isinstance(layer, Residual):
            given = check_widths(layer.layers, n, f"{where}[{position}].layers")
            if given != n:
                raise ValueError(f"{where}[{position}] must give as many columns as it takes, {n}, to be added to them; got {given}.")
        n = getattr(layer, "units", n)
    return n


def _check_kinds(name: str, layers: Any, kinds: Any) -> tuple[Any, ...]:
    """Return a list of layers of some kinds as a tuple."""
    *names, last = (kind.__name__ for kind in kinds)
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise TypeError(f"{name} must be a list of {', '.join(names)} and {last}; got {validation.shown(layers)}.")
    for position, layer in enumerate(layers):
        if not isinstance(layer, tuple(kinds)):
            raise TypeError(f"{name}[{position}] must be a {', '.join(names)} or {last}; got {validation.shown(layer)}.")
    return tuple(layers)


def _check_block(layers: Any) -> tuple[Any, ...]:
    """Return the layers of a residual block as a tuple."""
    checked = _check_kinds("layers of Residual", layers, (Dense, *BETWEEN, Residual))
    if not checked:
        raise ValueError("layers of Residual must have at least one layer; got [].")
    for layer in checked:
        if isinstance(layer, Dense) and layer.activation in LAST_ONLY:
            raise ValueError(f"layers of Residual must not have the activation {layer.activation!r}: only the last layer can have it; got {layer}.")
    return checked


def _check_target_layer(where: str, layer: Standardize, before: Any, following: Any) -> None:
    """Raise unless a layer that standardizes targets follows the last Dense layer, of outputs that can be any number."""
    if following is not None or not isinstance(before, (Dense, Residual, *BETWEEN)):
        raise ValueError(f"{where} must be the last layer, after a Dense one, to standardize the targets; got {layer}.")
    if isinstance(before, Dense) and before.activation in BOUNDED:
        raise ValueError(f"{where} must follow outputs that can be any number, which those of {before.activation!r} cannot; got it after {before}.")
