"""What a network looks like and what it costs, as a text."""

from __future__ import annotations

import math

from .layers import BETWEEN, Dense, Dropout, Layer, Scale


class Summary(str):
    """A text that an interactive session shows as it is."""

    __repr__ = str.__str__


def describe(layers: tuple[Layer, ...], n_features: int, dtype: str, training_flops: float, fit: str, memory: int) -> Summary:
    """Return a table of the layers, the FLOPs of a row, and the bytes that a fit takes."""
    lines = [f"{'layer':<20}{'output':<12}{'parameters':>12}{'FLOPs a row':>16}"]
    n_in, parameters, flops = n_features, 0, 0
    for layer in layers:
        name, n_out, count, cost = _costs(layer, n_in)
        lines.append(f"{name:<20}{f'(..., {n_out})':<12}{count:>12,}{cost:>16,}")
        n_in, parameters, flops = n_out, parameters + count, flops + cost
    lines += [
        f"{parameters:,} parameters in {dtype}; a row costs {flops:,} FLOPs to predict, {training_flops:,.0f} to train with.",
        f"{fit} takes {memory / 1e6:.1f} MB beyond the data.",
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
