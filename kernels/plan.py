"""Plans: what a network is to the compiled code, and where its matrices lie in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _door
from ._factory import Activation
from .activations import ACTIVATIONS
from .panels import pack, packed_shape, panel_width, unpack

__all__ = ["CHUNK_BYTES", "Array", "Plan", "aligned_zeros"]

Array = NDArray[Any]
CHUNK_BYTES = 1 << 20  # of gathered rows: they stay in the cache until they are read
HUGE_PAGE = 1 << 21


def aligned_zeros(size: int, dtype: Any) -> Array:
    """Return zeros that start at a cache line, and at a huge page where they fill some."""
    itemsize = np.dtype(dtype).itemsize
    alignment = HUGE_PAGE if size * itemsize >= 2 * HUGE_PAGE else 64
    room = np.zeros(size * itemsize + alignment, np.uint8)
    start = -room.ctypes.data % alignment
    return room[start : start + size * itemsize].view(dtype)


@dataclass(frozen=True)
class Plan:
    """What a network is: `len(widths) - 1` dense layers.

    Parameters
    ----------
    widths : tuple of int
        Features, then the outputs of each layer.
    activations : tuple of int or Activation
        The code of each layer, such as `kernels.RELU`, or what `custom_activation` returns; softmax and log-softmax at the last layer only.
    dropouts : tuple of float
        The rate of the dropout on the input of each layer.
    dtype : str
        "float32" or "float64".
    seed : int
        Of the dropout.
    trained : tuple of (bool, bool)
        Whether training changes the weights, and the bias, of each layer; empty: all of them. A layer without a bias is one
        whose bias is zero and stays so.
    penalties : tuple of (float, float, float, float)
        (l1, l2, bias_l1, bias_l2) of each layer; empty: none. l1 * sum(abs(W)) + l2 * sum(W**2), and so for the bias, is
        added to the loss of every minibatch.

    Raises
    ------
    TypeError, ValueError
        If a field is of another kind, has not one entry a layer, or an entry is out of range. Numbers become Python's.
    """

    widths: tuple[int, ...]
    activations: tuple[int | Activation, ...]
    dropouts: tuple[float, ...]
    dtype: str = "float32"
    seed: int = 0
    trained: tuple[tuple[bool, bool], ...] = ()
    penalties: tuple[tuple[float, float, float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, value in _door.plan_fields(self).items():
            object.__setattr__(self, name, value)

    @property
    def n_layers(self) -> int:
        """The number of dense layers."""
        return len(self.widths) - 1

    @property
    def panel(self) -> int:
        """The number of columns in a panel."""
        return panel_width(self.dtype)

    def element(self, layer: int) -> Activation | None:
        """Return the elementwise activation of a layer, None for one of rows."""
        activation = self.activations[layer]
        return activation if isinstance(activation, Activation) else ACTIVATIONS.get(activation)

    def pieces(self, layer: int) -> tuple[int, int, int]:
        """Return where in the flat vector the weights and the bias of a layer start, and where they end."""
        start = 0
        for i in range(_door.check_layer(self, layer) + 1):
            panels = -(-self.widths[i + 1] // self.panel)
            bias = start + panels * self.widths[i] * self.panel
            start, first = bias + panels * self.panel, start
        return first, bias, start

    @cached_property
    def parameters_size(self) -> int:
        """The length of the flat vector, padding included."""
        return self.pieces(self.n_layers - 1)[2]

    def weight_panels(self, parameters: Array, layer: int) -> tuple[Array, Array]:
        """Return views of a layer in the flat vector: weights (panels, n_in, width) and bias (panels * width,)."""
        _door.check_parameters(self, parameters)
        first, bias, end = self.pieces(layer)
        return parameters[first:bias].reshape(packed_shape(self.widths[layer], self.widths[layer + 1], self.dtype)), parameters[bias:end]

    def weight(self, parameters: Array, layer: int) -> tuple[Array, Array]:
        """Return copies of the weights (n_in, n_out) and the bias (n_out,) of a layer."""
        packed, bias = self.weight_panels(parameters, layer)
        W = np.empty((self.widths[layer], self.widths[layer + 1]), self.dtype)
        unpack(packed, W)
        return W, bias[: W.shape[1]].copy()

    def set_weight(self, parameters: Array, layer: int, W: Array, b: Array) -> None:
        """Write the weights (n_in, n_out) and the bias (n_out,) of a layer into the flat vector."""
        packed, bias = self.weight_panels(parameters, layer)
        _door.check_layer_weights(self, layer, W, b)
        pack(np.ascontiguousarray(W, self.dtype), packed)
        bias[: self.widths[layer + 1]] = b

    def mask(self) -> NDArray[np.bool_]:
        """Return the flat vector of where a weight or bias lies; the rest is padding and always zero."""
        ones = np.zeros(self.parameters_size, self.dtype)
        for i in range(self.n_layers):
            self.set_weight(ones, i, np.ones((self.widths[i], self.widths[i + 1])), np.ones(self.widths[i + 1]))
        mask: NDArray[np.bool_] = ones != 0
        return mask

    def trained_range(self, layer: int) -> tuple[int, int]:
        """Return the first and the last + 1 of the part of the flat vector that belongs to a layer and that training changes."""
        first, middle, end = self.pieces(layer)
        weights, bias = self.trained[layer]
        return (first if weights else middle), (end if bias else middle)

    def trained_ranges(self) -> list[tuple[int, int]]:
        """Return the first and the last + 1 of every part of the flat vector that training changes, in order, apart."""
        ranges: list[tuple[int, int]] = []
        for first, end in (self.trained_range(i) for i in range(self.n_layers)):
            if ranges and ranges[-1][1] == first:
                ranges[-1] = ranges[-1][0], end
            elif first < end:
                ranges.append((first, end))
        return ranges

    def penalty(self, parameters: Array) -> float:
        """Return what the penalties add to the loss."""
        total = 0.0
        for i, factors in enumerate(self.penalties):
            for l1, l2, part in zip(factors[::2], factors[1::2], self.weight_panels(parameters, i)):
                if l1 or l2:
                    total += l1 * float(np.abs(part).sum(dtype=np.float64)) + l2 * float(np.square(part, dtype=np.float64).sum())
        return total

    @property
    def flops_per_row(self) -> int:
        """Floating-point operations of the products for one row of training: 6 a weight, 4 in the first layer."""
        products = [a * b for a, b in zip(self.widths[:-1], self.widths[1:])]
        return 6 * sum(products) - 2 * products[0]

    def workspace_bytes(self, batch_size: int) -> int:
        """Return the bytes of the gathered minibatches, activations and gradients of a fit."""
        width, itemsize = self.panel, np.dtype(self.dtype).itemsize
        row = [-(-n // width) * width * itemsize for n in self.widths]
        elements = [self.element(i) for i in range(self.n_layers)]
        saved = [element is not None and element.saves_input for element in elements]
        copies = [1 + twice + (rate > 0) for twice, rate in zip(saved, (*self.dropouts[1:], 0.0))]
        rows = -(-_door.whole("batch_size", batch_size, 1) // width) * width + 1
        activations = rows * (2 * max(row[1:]) + sum(size * n for size, n in zip(row[1:], copies)))
        return activations + max(rows * row[0], CHUNK_BYTES)
