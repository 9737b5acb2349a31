"""Layers as other libraries list them, one after the other with activations on their own, and as they are listed for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from . import validation
from .custom import Activation
from .layers import BatchNorm, Dense, Layer, LayerNorm, PReLU, Scale, in_order
from .validation import Array

SLOPES = {"relu": 0.0, "leaky_relu": 0.01}


@dataclass(frozen=True)
class Found:
    """A network of another library: its layers, with their arrays, and what else is known of it."""

    layers: list[Layer]
    n_features: int
    dtype: str
    classes: list[str] | None = None
    feature_names: tuple[str, ...] | None = None


class Part(NamedTuple):
    """A layer and its arrays, as a network lists them for other libraries."""

    layer: Any
    arrays: tuple[Any, ...]


def parts(net: Any) -> Iterator[Part]:
    """Yield each layer of a network with its arrays, in the order in which the data reaches them; a residual block between two marks."""
    weights = iter(net.weights)
    for layer in in_order(net.layers):
        yield Part(layer, next(weights) if hasattr(layer, "shapes") else ())


def is_alone(part: Part) -> bool:
    """Return whether a dense layer does nothing but its activation, as `Stack` puts one behind what is no dense layer."""
    layer, arrays = part
    frozen = isinstance(layer, Dense) and not layer.bias and layer.trainable is False and arrays[0].shape[0] == arrays[0].shape[1]
    return frozen and bool(np.array_equal(arrays[0], np.eye(len(arrays[0]))))


def activation_name(layer: Dense, library: str, known: Any) -> str:
    """Return the name of a layer's activation, if the other library has it."""
    if isinstance(layer.activation, Activation):
        raise ValueError(f"activations must be ones that {library} has; got {layer.activation.name!r}, a function of one's own.")
    if layer.activation not in known:
        raise ValueError(f"activations must be ones that {library} has: {', '.join(map(repr, known))}; got {layer.activation!r}.")
    return layer.activation


def trainable(weights: bool, bias: bool) -> bool | Literal["weights", "bias"]:
    """Return what of a dense layer is trained, as `Dense` takes it."""
    if weights == bias:
        return weights
    return "weights" if weights else "bias"


@dataclass
class Stack:
    """The layers of a network of another library, put together in the order in which they are read.

    Parameters
    ----------
    library : str
        Its name, for messages.
    """

    library: str

    def __post_init__(self) -> None:
        self.layers: list[Layer] = []
        self.n_features = 0
        self.width = 0
        self._dtypes: list[np.dtype[Any]] = []
        self._last = ""

    def dense(self, where: str, W: Array, b: Array | None, activation: str | None = None, **settings: Any) -> None:
        """Add `activation(X @ W + b)`."""
        self._take_width(where, W.shape[0])
        self.width = W.shape[1]
        arrays = (W, np.zeros(self.width, W.dtype) if b is None else b)
        self._add(where, Dense(self.width, initializer=arrays, bias=b is not None, **settings), *arrays)
        if activation is not None:
            self.activation(where, activation)

    def activation(self, where: str, name: str) -> None:
        """Add an activation: to the dense layer before it, or where there is none as what does nothing else."""
        before = self.layers[-1] if self.layers else None
        if name == "identity":
            return
        if isinstance(before, Dense) and before.activation == "identity":
            self.replace_last(replace(before, activation=name))
        elif not self.width:
            raise ValueError(f"activations must follow a layer with a number of columns; got {where} after {self._last or 'the inputs'}.")
        elif name in SLOPES:
            self.prelu(where, np.array([SLOPES[name]]), False)
        else:
            self._add(where, Dense(self.width, name, initializer=np.eye(self.width), bias=False, trainable=False))
        self._last = where

    def prelu(self, where: str, slopes: Array, trainable: bool) -> None:
        """Add what multiplies numbers below zero by slopes, one for all columns or one for each."""
        if slopes.size not in (1, self.width or slopes.size):
            raise ValueError(f"{where} must have one slope, or one for each of the {self.width} columns; got {slopes.size}.")
        self._add(where, PReLU(per_unit=slopes.size > 1, trainable=trainable, initializer=slopes.reshape(-1)))

    def batch_norm(self, where: str, arrays: tuple[Array, ...], eps: float, momentum: float, trainable: bool = True) -> None:
        """Add a normalization of columns: gain, bias, mean, variance."""
        self._take_width(where, len(arrays[0]))
        self._add(where, BatchNorm(eps=eps, momentum=momentum, trainable=trainable, initializer=arrays), *arrays)

    def norm(self, where: str, gain: Array | None, bias: Array | None, n: int, eps: float, trainable: bool = True) -> None:
        """Add a normalization of rows."""
        self._take_width(where, n)
        dtype = next((A.dtype for A in (gain, bias) if A is not None), np.dtype(np.float32))
        arrays = (np.ones(n, dtype) if gain is None else gain, np.zeros(n, dtype) if bias is None else bias)
        given = [A for A in (gain, bias) if A is not None]
        self._add(where, LayerNorm(eps=eps, trainable=trainable, initializer=arrays), *given)

    def dropout(self, where: str, layer: Layer) -> None:
        """Add what is only in training."""
        self._add(where, layer)

    def scale(self, where: str, layer: Layer, *arrays: Array) -> None:
        """Add what scales the inputs."""
        if self.layers:
            raise ValueError(f"layers that scale by constants must be the first; got {where} after {self._last}.")
        self._add(where, layer, *arrays)

    def replace_last(self, layer: Dense) -> None:
        """Put a dense layer in the place of the last one."""
        self.layers[-1], self.width = layer, layer.units

    def finish(self) -> Found:
        """Return the network."""
        if not self.n_features:
            raise ValueError(f"a network of {self.library} must have a linear layer; got none.")
        floats = [dtype for dtype in self._dtypes if dtype.kind == "f"]
        wide = any(dtype.itemsize > 4 for dtype in floats)
        return Found(self.layers, self.n_features, "float64" if wide else "float32")

    def _add(self, where: str, layer: Layer, *arrays: Array) -> None:
        self.layers.append(layer)
        self._dtypes += [A.dtype for A in arrays]
        self._last = where

    def _take_width(self, where: str, n: int) -> None:
        """Raise unless a layer takes as many inputs as there are."""
        if self.width and n != self.width:
            raise ValueError(f"{where} must take the {self.width} outputs of {self._last}; got {n} inputs.")
        self.n_features, self.width = self.n_features or n, n


def from_arrays(arrays: Any, activations: Any) -> Found:
    """Return a network of plain arrays: pairs (W, b), or W, b, W, b, ... one after the other."""
    items = list(arrays)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in items):
        if len(items) % 2:
            raise ValueError(f"arrays must be pairs (W, b), or W, b, W, b, ...; got {len(items)} arrays.")
        items = list(zip(items[::2], items[1::2]))
    if not isinstance(activations, Sequence) or isinstance(activations, str) or len(activations) != len(items):
        got = len(activations) if isinstance(activations, (list, tuple)) else validation.shown(activations)
        raise ValueError(f"activations must be a list of names, one for each of the {len(items)} layers; got {got}.")
    stack = Stack("arrays")
    for i, ((W, b), activation) in enumerate(zip(items, activations)):
        W = validation.array(f"W of layer {i}", W)
        if W.ndim != 2:
            raise ValueError(f"W of layer {i} must have shape (n_in, n_out); got {W.shape}.")
        b = None if b is None else validation.flat(f"b of layer {i}", b, (W.shape[1],))
        stack.dense(f"layer {i}", W, b)
        last: Any = stack.layers[-1]
        stack.layers[-1] = replace(last, activation=activation)
    return stack.finish()


def to_scale(layer: Any) -> tuple[Array | float, Array | float]:
    """Return factor and shift of a layer that scales inputs, or of what gives targets their units back."""
    if isinstance(layer, Scale) or not layer.targets:
        scale, shift = layer.affine
        return scale, shift
    mean, std = layer.statistics
    return std, mean


def columns(value: Any, n: int) -> Array:
    """Return a number, or one for each column, as a float64 array of n of them."""
    return np.array(np.broadcast_to(np.asarray(value, np.float64), (n,)))
