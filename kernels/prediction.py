"""Prediction and evaluation: rows sent forward in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import network as net
from ._jit import threads
from .activations import LOG_SOFTMAX, SIGMOID, SOFTMAX, log_softmax_forward, sigmoid_forward, softmax_forward
from .bound import EMPTY_WEIGHTS, Bound, Objective, bind
from .plan import Array, Plan, aligned_zeros

__all__ = ["evaluate", "predict"]

BLOCK = 512  # rows that go forward together
ROW_ACTIVATIONS = {SOFTMAX: softmax_forward, LOG_SOFTMAX: log_softmax_forward}
FUSED_ACTIVATIONS = {**ROW_ACTIVATIONS, SIGMOID: sigmoid_forward}

# Bound plans of predictions of a few rows, for the next call: binding takes longer than the products. Each is taken out while it is used.
_SPARE: dict[Any, Bound] = {}
SMALL, SPARES = 16, 8
_NOTHING: Array = np.zeros(0)


def predict(
    plan: Plan,
    parameters: Array,
    X: Array,
    *,
    logits: bool = False,
    n_threads: int = 1,
    scale: float | Array = 1.0,
    shift: float | Array = 0.0,
) -> Array:
    """Return the outputs of the last layer, (n, n_outputs); with `logits` what its activation is applied to."""
    out = np.empty((len(X), plan.widths[-1]), plan.dtype)
    if len(X):
        key = (plan, len(X), logits)
        spare = _SPARE.pop(key, None)
        if spare is None:
            bound = bind(plan, parameters, min(BLOCK, len(X)), training=False, logits=logits)
        else:
            bound = spare
            bound.use_parameters(parameters)
        for first in range(0, len(X), BLOCK):
            rows = np.arange(first, min(len(X), first + BLOCK))
            with threads(n_threads) as used:
                bound.use_threads(used)
                bound.gather(X, rows, scale, shift, used)
                net.network_forward.compiled(bound.table, bound.inputs, len(rows))
                net.network_output.compiled(bound.table, out[first : first + len(rows)])
        if len(X) <= SMALL:
            while len(_SPARE) >= SPARES:
                _SPARE.popitem()
            bound.parameters = _NOTHING  # the network may go
            _SPARE[key] = bound
    if not logits and plan.activations[-1] in ROW_ACTIVATIONS:
        ROW_ACTIVATIONS[plan.activations[-1]](out, out)
    return out


def evaluate(plan: Plan, parameters: Array, X: Array, y: Array, objective: Objective, *, n_threads: int = 1) -> tuple[float, Array]:
    """Return the loss over all rows, penalties included, and the outputs of the last layer."""
    out = np.empty((len(X), plan.widths[-1]), plan.dtype)
    bound = bind(plan, parameters, min(BLOCK, len(X)), training=False, objective=objective.sum_over_rows(len(X)))
    targets = aligned_zeros(bound.layout.target_size if y.ndim > 1 else 0, plan.dtype)
    total = 0.0
    for first in range(0, len(X), BLOCK):
        rows = np.arange(first, min(len(X), first + BLOCK))
        with threads(n_threads) as used:
            bound.use_threads(used)
            bound.gather(X, rows, objective.scale, objective.shift, used)
            batch = bound.gather_targets(y, rows, targets, used)
            total += net.network_loss.compiled(bound.table, bound.numbers, bound.inputs, *batch, EMPTY_WEIGHTS, len(rows))
            net.network_output.compiled(bound.table, out[first : first + len(rows)])
    if bound.table[0, net.FUSED]:
        FUSED_ACTIVATIONS[plan.activations[-1]](out, out)
    return total + plan.penalty(parameters), out
