"""Plans: what a network is to the compiled code, and where its matrices lie in flat arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from . import _door
from ._factory import Activation
from ._lazy import cached_property
from .activations import IDENTITY
from .batchnorm import BatchNorm
from .dense import Dense
from .dropout import Dropout
from .noise import GaussianNoise
from .norm import LayerNorm
from .panels import from_panels, packed_shape, panel_width, to_panels
from .prelu import PReLU
from .residual import Fork, Join
from .zeros import LEAST_INPUTS

__all__ = ["CHUNK_BYTES", "Array", "Placed", "Plan"]

Array = NDArray[Any]
CHUNK_BYTES = 1 << 22  # of gathered rows, for four minibatches to make up for a call; more of them take a quarter, to stay in a near cache
# Kinds of layers that stand between the dense ones and keep their n columns. Each is a frozen dataclass with `shapes`, the names and
# shapes of its parameters, `trained`, a truth value for each of those that training may change, which come first, `penalties`,
# `flops_per_row`, `matrices`, how many it takes memory for, `follows`, whether it is part of the phase before it, and `emit`.
Other = LayerNorm | BatchNorm | Dropout | GaussianNoise | PReLU | Fork | Join
OTHERS = get_args(Other)
Layer = Dense | Other
OWN_STREAMS = 1 << 20  # the first random stream of those that are not a dropout on the input of a dense layer


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges, in order, those that touch as one."""
    found: list[tuple[int, int]] = []
    for first, end in ranges:
        if found and found[-1][1] == first:
            found[-1] = found[-1][0], end
        else:
            found.append((first, end))
    return found


@dataclass(frozen=True)
class Placed:
    """A layer and where its parameters lie.

    Attributes
    ----------
    layer : Dense, or one of OTHERS
    index : int
        Which of its kind it is.
    ranges : tuple of (int, int)
        The first and the last + 1 of each of its arrays in the flat vector: whole panels.
    """

    layer: Layer
    index: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def trained_ranges(self) -> list[tuple[int, int]]:
        """The first and the last + 1 of every part of the flat vector that training changes."""
        return _joined(one for one, trained in zip(self.ranges, self.layer.trained) if trained)

    @property
    def names(self) -> str:
        """Its arrays, for listings."""
        return ", ".join(f"{name}{self.index + 1}" for name in self.layer.shapes)


@dataclass(frozen=True)
class Plan:
    """What a network is: `len(widths) - 1` dense layers, and others between them.

    Parameters
    ----------
    widths : tuple of int
        Features, then the outputs of each layer.
    activations : tuple of int or Activation
        The code of each layer, such as `kernels.RELU`, or what `custom_activation` returns; softmax and log-softmax at the last layer only.
    dropouts : tuple of float or None
        The rate of the dropout on the input of each layer; None where a `Trainer` is told the rate of each step.
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
    others : tuple of (int, layer)
        A place and the layer there, one of LayerNorm, BatchNorm, Dropout, GaussianNoise, PReLU, Fork and Join, in the order
        of the data: place i is the input of dense layer i, before its dropout; i = n_layers is the end, which takes the
        outputs of a last layer without softmax or log-softmax.
    bfloat16 : bool
        Whether products read inputs, weights and gradients rounded to bfloat16: twice as fast on CPUs with AVX512_BF16. The dtype is
        float32 then, and so is all that is not read by a product.

    Raises
    ------
    TypeError, ValueError
        If a field is of another kind, has not one entry a layer, or an entry is out of range. Numbers become Python's.
    """

    widths: tuple[int, ...]
    activations: tuple[int | Activation, ...]
    dropouts: tuple[float | None, ...]
    dtype: str = "float32"
    seed: int = 0
    trained: tuple[tuple[bool, bool], ...] = ()
    penalties: tuple[tuple[float, float, float, float], ...] = ()
    others: tuple[tuple[int, Other], ...] = ()
    bfloat16: bool = False

    def __post_init__(self) -> None:
        _door.set_fields(self, **_door.plan_fields(self, OTHERS))

    @property
    def n_layers(self) -> int:
        """The number of dense layers."""
        return len(self.widths) - 1

    @property
    def panel(self) -> int:
        """The number of columns in a panel."""
        return panel_width(self.dtype)

    @cached_property
    def layers(self) -> tuple[Placed, ...]:
        """All layers in the order of the data, each with its place in the flat vector."""
        found: list[Layer] = []
        for i, rate in enumerate(self.dropouts):
            found += self._others_at(i)
            if rate != 0:
                found.append(Dropout(self.widths[i], rate, i))
            found.append(Dense(self.widths[i], self.widths[i + 1], self.activations[i], self.trained[i], self.penalties[i]))
        found += self._others_at(self.n_layers)
        placed, end, counts = [], 0, dict.fromkeys(map(type, found), 0)
        for layer in found:
            ranges = []
            for shape in layer.shapes.values():
                first, end = end, end + math.prod(shape[:-1]) * -(-shape[-1] // self.panel) * self.panel
                ranges.append((first, end))
            placed.append(Placed(layer, counts[type(layer)], tuple(ranges)))
            counts[type(layer)] += 1
        return tuple(placed)

    def _others_at(self, place: int) -> list[Other]:
        """Return the other layers at a place, each that draws random numbers with a stream of its own."""
        streams = enumerate(self.others, OWN_STREAMS)
        found = [(layer, stream) for stream, (at, layer) in streams if at == place]
        return [replace(layer, stream=stream) if isinstance(layer, (Dropout, GaussianNoise)) else layer for layer, stream in found]

    @cached_property
    def _dense(self) -> tuple[Placed, ...]:
        return tuple(one for one in self.layers if isinstance(one.layer, Dense))

    @property
    def takes_stored(self) -> bool:
        """Whether it reads rows of which only some numbers are stored: its first layer is a dense one, and nothing is rounded to bfloat16."""
        return self.layers[0] is self._dense[0] and not self.bfloat16

    @property
    def last_activation(self) -> int | Activation:
        """What the outputs have gone through: the identity where another layer follows the last dense one."""
        return self.activations[-1] if self.layers[-1] is self._dense[-1] else IDENTITY

    @cached_property
    def parameters_size(self) -> int:
        """The length of the flat vector, padding included."""
        return max(end for one in self.layers for _, end in one.ranges)

    def packed(self, parameters: Array, placed: Placed) -> list[Array]:
        """Return views of the arrays of a layer in the flat vector: (panels, n_in, width), or of one dimension whole panels."""
        _door.check_parameters(self, parameters)
        flat = [parameters[first:end] for first, end in placed.ranges]
        shapes = placed.layer.shapes.values()
        return [part.reshape(packed_shape(*shape, self.dtype)) if len(shape) == 2 else part for part, shape in zip(flat, shapes)]

    def arrays(self, parameters: Array, placed: Placed) -> list[Array]:
        """Return copies of the arrays of one of `layers`, with its shapes."""
        found = []
        for packed, shape in zip(self.packed(parameters, placed), placed.layer.shapes.values()):
            found.append(from_panels(packed, shape[1]) if len(shape) == 2 else packed[: shape[0]].copy())
        return found

    def set_arrays(self, parameters: Array, placed: Placed, arrays: Sequence[Array]) -> None:
        """Write the arrays of one of `layers` into the flat vector."""
        packed = self.packed(parameters, placed)
        _door.check_arrays(placed.layer.shapes, placed.index, arrays)
        for A, out in zip(arrays, packed):
            if out.ndim == 3:
                to_panels(np.asarray(A), out)
            else:
                out[: len(A)] = A

    def weight_panels(self, parameters: Array, layer: int) -> tuple[Array, Array]:
        """Return views of a dense layer in the flat vector: weights (panels, n_in, width) and bias (panels * width,)."""
        W, b = self.packed(parameters, self._dense[_door.check_layer(self, layer)])
        return W, b

    def weight(self, parameters: Array, layer: int) -> tuple[Array, Array]:
        """Return copies of the weights (n_in, n_out) and the bias (n_out,) of a dense layer."""
        W, b = self.arrays(parameters, self._dense[_door.check_layer(self, layer)])
        return W, b

    def set_weight(self, parameters: Array, layer: int, W: Array, b: Array) -> None:
        """Write the weights (n_in, n_out) and the bias (n_out,) of a dense layer into the flat vector."""
        self.set_arrays(parameters, self._dense[_door.check_layer(self, layer)], (W, b))

    def mask(self) -> NDArray[np.bool_]:
        """Return the flat vector of where a parameter lies; the rest is padding and always zero."""
        ones = np.zeros(self.parameters_size, self.dtype)
        for placed in self.layers:
            self.set_arrays(ones, placed, [np.ones(shape) for shape in placed.layer.shapes.values()])
        mask: NDArray[np.bool_] = ones != 0
        return mask

    def trained_ranges(self) -> list[tuple[int, int]]:
        """Return the first and the last + 1 of every part of the flat vector that training changes, in order, apart."""
        return _joined(found for placed in self.layers for found in placed.trained_ranges)

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
        """Floating-point operations for one row of training: of the products, 6 a weight, 4 in the first layer, and of the other layers."""
        products = [a * b for a, b in zip(self.widths[:-1], self.widths[1:])]
        return 6 * sum(products) - 2 * products[0] + sum(layer.flops_per_row for _, layer in self.others)

    def workspace_bytes(self, batch_size: int, stored: bool = False) -> int:
        """Return the bytes of the gathered minibatches, activations and gradients of a fit; of inputs of which only some numbers are `stored` without these."""
        width, itemsize = self.panel, np.dtype(self.dtype).itemsize
        row = [-(-n // width) * width * itemsize for n in self.widths]
        elements = [placed.layer.element for placed in self._dense if isinstance(placed.layer, Dense)]
        saved = [element is not None and element.saves_input for element in elements]
        others = [(place, layer.matrices) for place, layer in self.others]
        copies = [(i > 0) + twice + (rate != 0) for i, (twice, rate) in enumerate(zip((False, *saved), (*self.dropouts, 0.0)))]
        rows = -(-_door.whole("batch_size", batch_size, 1) // width) * width + 1
        largest = max(row[0 if others and others[0][0] == 0 else 1 :])
        activations = rows * (2 * largest + sum(size * n for size, n in zip(row, copies)) + sum(row[place] * n for place, n in others))
        if self.bfloat16:  # rows of pairs for two layers in turn, and of both for gradients; pairs of rows for each layer
            activations += rows * (3 * max(row) + sum(row[:-1]) // 2)
        activations += rows * sum(n + n // 2 for n in self.widths[stored:-1] if n >= LEAST_INPUTS)  # lists of what is not zero
        return activations + max(0 if stored else rows * row[0], CHUNK_BYTES)
