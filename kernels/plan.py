"""Plans: what a network is to the compiled code, and where its matrices lie in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._factory import Activation
from .activations import ACTIVATIONS, LOG_SOFTMAX, SOFTMAX
from .panels import pack, packed_shape, panel_width, unpack

__all__ = ["CHUNK_BYTES", "Array", "Plan", "aligned_zeros"]

Array = NDArray[Any]
CHUNK_BYTES = 1 << 20  # of gathered rows: they stay in the cache until they are read
HUGE_PAGE = 1 << 21
DTYPES = ("float32", "float64")


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
    """

    widths: tuple[int, ...]
    activations: tuple[int | Activation, ...]
    dropouts: tuple[float, ...]
    dtype: str = "float32"
    seed: int = 0
    trained: tuple[tuple[bool, bool], ...] = ()
    penalties: tuple[tuple[float, float, float, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("widths", "activations", "dropouts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        n_layers = len(self.widths) - 1
        if n_layers < 1 or len(self.activations) != n_layers or len(self.dropouts) != n_layers:
            raise ValueError(f"activations and dropouts must have one entry a layer; got {self.activations} and {self.dropouts} for widths {self.widths}.")
        if min(self.widths) < 1:
            raise ValueError(f"widths must be at least 1; got {self.widths}.")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be 'float32' or 'float64'; got {self.dtype!r}.")
        if any(code in (SOFTMAX, LOG_SOFTMAX) for code in self.activations[:-1]):
            raise ValueError("softmax must be the activation of the last layer only.")
        if not all(0 <= rate < 1 for rate in self.dropouts):
            raise ValueError(f"dropouts must lie in [0, 1); got {self.dropouts}.")
        for name, default in (("trained", (True, True)), ("penalties", (0.0,) * 4)):
            entries = tuple(tuple(entry) for entry in getattr(self, name)) or (default,) * n_layers
            if len(entries) != n_layers or any(len(entry) != len(default) for entry in entries):
                raise ValueError(f"{name} must have an entry such as {default} for each of {n_layers} layers; got {entries}.")
            object.__setattr__(self, name, entries)

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
        for i in range(layer + 1):
            panels = -(-self.widths[i + 1] // self.panel)
            bias = start + panels * self.widths[i] * self.panel
            start, first = bias + panels * self.panel, start
        return first, bias, start

    @property
    def parameters_size(self) -> int:
        """The length of the flat vector, padding included."""
        return self.pieces(self.n_layers - 1)[2]

    def weight_panels(self, parameters: Array, layer: int) -> tuple[Array, Array]:
        """Return views of a layer in the flat vector: weights (panels, n_in, width) and bias (panels * width,)."""
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
        """Return the first and the last + 1 of every part of the flat vector that training changes."""
        ranges = [self.trained_range(i) for i in range(self.n_layers)]
        return [(first, end) for first, end in ranges if first < end]

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
        rows = -(-batch_size // width) * width + 1
        activations = rows * (2 * max(row[1:]) + sum(size * n for size, n in zip(row[1:], copies)))
        return activations + max(rows * row[0], CHUNK_BYTES)
