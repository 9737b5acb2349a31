"""What a network looks like and what it costs, as a text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .layers import BETWEEN, Dense, Dropout, Layer, Scale
from .optimizers import Optimizer

if TYPE_CHECKING:
    from .network import Sequential


class Summary(str):
    """A text that an interactive session shows as it is."""

    __repr__ = str.__str__


def describe(network: Sequential, batch_size: int, optimizer: Optimizer) -> Summary:
    """Return a table of the layers, the FLOPs of a row, and the memory of a fit."""
    lines = [f"{'layer':<20}{'output':<12}{'parameters':>12}{'FLOPs a row':>16}"]
    n_in, flops = network.n_features, 0
    for layer in network.layers:
        name, n_out, count, cost = _costs(layer, n_in)
        lines.append(f"{name:<20}{f'(..., {n_out})':<12}{count:>12,}{cost:>16,}")
        n_in, flops = n_out, flops + cost
    lines += [
        f"{network.n_parameters:,} parameters in {network.dtype}; a row costs {flops:,} FLOPs to predict, {network.flops_per_row:,.0f} to train with.",
        f"A fit with {type(optimizer).__name__} and batch_size={batch_size} takes {network.memory(batch_size, optimizer) / 1e6:.1f} MB beyond the data.",
    ]
    return Summary("\n".join(lines))


def _costs(layer: Layer, n_in: int) -> tuple[str, int, int, int]:
    """Return the name of a layer, its outputs, its parameters and the FLOPs of a prediction with one row."""
    if isinstance(layer, Dense):
        return f"Dense({layer.activation})", layer.units, (n_in + layer.bias) * layer.units, 2 * n_in * layer.units
    if isinstance(layer, BETWEEN):
        return type(layer).__name__, n_in, sum(map(math.prod, layer.shapes(n_in).values())), layer.flops(n_in)
    if isinstance(layer, Dropout):
        return f"Dropout({layer.rate:g})", n_in, 0, 0
    if isinstance(layer, Scale) and isinstance(layer.scale, float):
        return f"Scale({layer.scale:.4g})", n_in, 0, 0
    return type(layer).__name__ + " targets" * getattr(layer, "targets", False), n_in, 0, 0
