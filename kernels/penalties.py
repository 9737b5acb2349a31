"""Penalties: l1 * sum(abs(w)) + l2 * sum(w**2) of a layer's weights and of its bias, added to the loss and to the gradient."""

from __future__ import annotations

import numpy as np
from numba import carray

from ._bits import absolute, like
from ._jit import task
from ._tile import PANEL_BYTES, pointer, width_of, zero_of
from .dense import Dense, elements
from .program import Memory, Program
from .records import NOW, F, I, Record

__all__ = ["emit_penalties"]

LINES, BLOCK = 4, 1024  # lines added up side by side, and lines in a task

PENALTY = Record(
    n_in=(I, "inputs of the layer"),
    n_out=(I, "its outputs"),
    W=(I, "address of its weights"),
    b=(I, "address of its bias"),
    dW=(I, "address of the gradient of the weights, or 0"),
    db=(I, "address of the gradient of the bias, or 0"),
    l1=(F, "factor of the weights' absolute values"),
    l2=(F, "factor of the weights' squares"),
    bias_l1=(F, "factor of the bias's absolute values"),
    bias_l2=(F, "factor of the bias's squares"),
    weight_blocks=(I, "tasks for the weights; the others are for the bias"),
    sums=(I, "address of where each task writes its sum"),
    lanes=(I, "address of four lines for each task"),
    tasks=(I, "how many tasks there are"),
)


@task
def penalty_block(tag, t, worker, record, now):
    """l1 * sum(abs(w)) + l2 * sum(w**2) over a block of a layer's parameters, its gradient added to theirs."""
    zero, L, factor = zero_of(tag), PENALTY(record), NOW(now).penalized
    if factor == 0:
        return
    width = width_of(zero)
    P = (L.n_out + width - 1) // width
    if t < L.weight_blocks:
        first, w, g, lines, l1, l2 = t, L.W, L.dW, P * L.n_in, like(zero, L.l1 * factor), like(zero, L.l2 * factor)
    else:
        first, w, g, lines, l1, l2 = t - L.weight_blocks, L.b, L.db, P, like(zero, L.bias_l1 * factor), like(zero, L.bias_l2 * factor)
    count, at, group = min(BLOCK, lines - first * BLOCK) * width, first * BLOCK * PANEL_BYTES, LINES * width
    x, total = elements(zero, w + at, count), elements(zero, L.lanes + t * LINES * PANEL_BYTES, group)
    for l in range(group):
        total[l] = zero
    for i in range(0, count // group * group, group):
        part = x[i : i + group]
        for l in range(group):
            total[l] += l1 * absolute(part[l]) + l2 * (part[l] * part[l])
    part = x[count // group * group :]
    for l in range(part.size):
        total[l] += l1 * absolute(part[l]) + l2 * (part[l] * part[l])
    if g != 0:
        slope, twice = elements(zero, g + at, count), l2 + l2
        for i in range(count):
            sign = l1 if x[i] > zero else (-l1 if x[i] < zero else zero)
            slope[i] += sign + twice * x[i]
    penalty = 0.0
    for l in range(group):
        penalty += np.float64(total[l])
    carray(pointer(0.0, L.sums), t + 1)[t] = penalty


@task
def penalty_sum(tag, t, worker, record, now):
    """Add up the blocks of a layer."""
    L, S = PENALTY(record), NOW(now)
    if S.penalized == 0:
        return
    sums = carray(pointer(0.0, L.sums), L.tasks)
    penalty = 0.0
    for k in range(L.tasks):
        penalty += sums[k]
    S.penalty += penalty


def emit_penalties(program: Program, layer: Dense, at: Memory) -> None:
    """Add the penalties of a layer, after its gradient was written."""
    lines = program.panels(layer.n_out) * layer.n_in
    weight_blocks, bias_blocks = -(-lines // BLOCK), -(-program.panels(layer.n_out) // BLOCK)
    tasks = weight_blocks + bias_blocks
    (W, b), (dW, db) = at.parameters, at.gradient
    record = PENALTY.new(n_in=layer.n_in, n_out=layer.n_out, W=W, b=b, dW=dW, db=db, weight_blocks=weight_blocks, tasks=tasks)
    for name, factor in zip(("l1", "l2", "bias_l1", "bias_l2"), layer.penalties):
        record[name] = factor
    record["sums"], record["lanes"] = program.keep(np.zeros(tasks)), program.zeros(tasks * LINES * program.width)
    i = at.index + 1
    program.phase(penalty_block, tasks, record, 4.0 * lines * program.width, f"penalty of W{i}, b{i}")
    program.phase(penalty_sum, 1, record, 0.0, f"penalty of W{i}, b{i}")
