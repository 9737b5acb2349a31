"""What a network looks like and what it costs, as a text."""

from __future__ import annotations

import math

from .layers import BEGIN, BETWEEN, END, Dense, Layer, Scale, in_order


class Summary(str):
    """A text that an interactive session shows as it is."""

    __repr__ = str.__str__


def describe(layers: tuple[Layer, ...], n_features: int, dtype: str, training_flops: float, fit: str, memory: int) -> Summary:
    """Return a table of the layers, the FLOPs of a row, and the bytes that a fit takes."""
    rows, n, depth = [], n_features, 0
    for layer in in_order(layers):
        depth -= layer is END
        if layer is not END:
            name, n, count, cost = ("Residual", n, 0, n) if layer is BEGIN else _costs(layer, n)
            rows.append(("  " * depth + name, f"(..., {n})", count, cost))
        depth += layer is BEGIN
    kind = "float32, products in bfloat16" if dtype == "bfloat16" else dtype
    parameters, flops = (sum(column) for column in list(zip(*rows))[2:])
    width = max(20, *(len(row[0]) + 1 for row in rows))
    lines = [f"{'layer':<{width}}{'output':<12}{'parameters':>12}{'FLOPs a row':>16}"]
    lines += [f"{name:<{width}}{output:<12}{count:>12,}{cost:>16,}" for name, output, count, cost in rows]
    lines += [
        f"{parameters:,} parameters in {kind}; a row costs {flops:,} FLOPs to predict, {training_flops:,.0f} to train with.",
        f"{fit} takes {memory / 1e6:.1f} MB beyond the data.",
    ]
    return Summary("\n".join(lines))


def _costs(layer: Layer, n_in: int) -> tuple[str, int, int, int]:
    """Return the name of a layer, its outputs, its parameters and the FLOPs of a prediction with one row."""
    if isinstance(layer, Dense):
        return f"Dense({layer.activation})", layer.units, (n_in + layer.bias) * layer.units, 2 * n_in * layer.units
    if isinstance(layer, BETWEEN):
        shapes = layer.shapes(n_in) if hasattr(layer, "shapes") else {}
        return layer.name, n_in, sum(map(math.prod, shapes.values())), layer.flops(n_in)
    if isinstance(layer, Scale) and isinstance(layer.scale, float):
        return f"Scale({layer.scale:.4g})", n_in, 0, 0
    return type(layer).__name__ + " targets" * getattr(layer, "targets", False), n_in, 0, 0
