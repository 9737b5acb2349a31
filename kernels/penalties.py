"""Penalties: l1 * sum(abs(w)) + l2 * sum(w**2) of a layer's weights and of its bias, added to the loss and to the gradient.

Who updates parameters as soon as their gradient is written adds the penalties first; otherwise that is a phase.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._bits import absolute, like
from ._elements import fill
from ._jit import task
from ._tile import PANEL_BYTES, array_at, line_buffer, width_of, zero_of
from .panels import panels
from .program import Memory, Program, task_address
from .records import NOW, F, I, Record

__all__ = ["emit_penalties", "prepare_penalties"]

LINES = 4  # added up side by side

PENALTY = Record(
    n_in=(I, "rows of the array; 1 for a bias"),
    w=(I, "address of the array, in panels"),
    g=(I, "address of its gradient, or 0"),
    l1=(F, "factor of the absolute values"),
    l2=(F, "factor of the squares"),
    sums=(I, "address of a line for each block, which its sum is written to"),
    blocks=(I, "how many there are"),
)


@task
def penalty_block(tag, record, p, q, now):
    """l1 * sum(abs(w)) + l2 * sum(w**2) over as many rows of a panel as it has columns, its gradient added to theirs."""
    zero, L, factor = zero_of(tag), PENALTY(record), NOW(now).penalized
    if factor == 0:
        return
    width = width_of(zero)
    count, at = min(width, L.n_in - q * width) * width, (p * L.n_in + q * width) * PANEL_BYTES
    l1, l2 = like(zero, L.l1 * factor), like(zero, L.l2 * factor)
    x, lanes, group = array_at(zero, L.w + at, count), array_at(zero, line_buffer(zero), LINES * width), LINES * width
    fill(lanes, zero)
    for i in range(0, count // group * group, group):
        part = x[i : i + group]
        for l in range(group):
            lanes[l] += l1 * absolute(part[l]) + l2 * (part[l] * part[l])
    part = x[count // group * group :]
    for l in range(part.size):
        lanes[l] += l1 * absolute(part[l]) + l2 * (part[l] * part[l])
    total = array_at(zero, L.sums + (p * panels(L.n_in, width) + q) * PANEL_BYTES, width)
    for l in range(width):
        total[l] = (lanes[l] + lanes[width + l]) + (lanes[2 * width + l] + lanes[3 * width + l])
    if L.g != 0:
        slope, twice = array_at(zero, L.g + at, count), l2 + l2
        for i in range(count):
            sign = l1 if x[i] > zero else (-l1 if x[i] < zero else zero)
            slope[i] += sign + twice * x[i]


@task
def penalty_panel(tag, t, worker, record, now):
    """The same over a whole panel."""
    for q in range(panels(PENALTY(record).n_in, width_of(zero_of(tag)))):
        penalty_block(tag, record, t, q, now)


@task
def penalty_sum(tag, t, worker, record, now):
    """Add up the blocks of an array."""
    zero, L, S = zero_of(tag), PENALTY(record), NOW(now)
    if S.penalized == 0:
        return
    width = width_of(zero)
    sums, total = array_at(zero, L.sums, L.blocks * width), array_at(0.0, line_buffer(zero), width)
    fill(total, 0.0)
    for i in range(0, L.blocks * width, width):
        for l in range(width):
            total[l] += np.float64(sums[i + l])
    penalty = 0.0
    for l in range(width):
        penalty += total[l]
    S.penalty += penalty


def prepare_penalties(program: Program, layer: Any, at: Memory) -> None:
    """Note the records of a layer's penalties in its memory; and what adds them to a gradient, for who updates at once."""
    if not any(layer.penalties):
        return
    for name, n_in, w, g, l1, l2 in zip("Wb", (layer.n_in, 1), at.parameters, at.gradient, layer.penalties[::2], layer.penalties[1::2]):
        if l1 or l2:
            blocks = program.panels(layer.n_out) * program.panels(n_in)
            at.penalties[name] = PENALTY.new(n_in=n_in, w=w, g=g, l1=l1, l2=l2, sums=program.zeros(blocks * program.width), blocks=blocks)
    if at.update:
        at.update |= {f"{name}_penalty": program.keep(record) for name, record in at.penalties.items()}
        at.update["penalize"] = task_address(penalty_block, program.dtype)


def emit_penalties(program: Program, layer: Any, at: Memory) -> None:
    """Add the penalties of a layer to the loss, and to the gradient where it is not yet used."""
    for name, record in at.penalties.items():
        note = f"penalty of {name}{at.index + 1}"
        if not at.update or not record["g"]:
            program.phase(penalty_panel, program.panels(layer.n_out), record, 4.0 * layer.n_out * int(record["n_in"][0]), note)
        program.phase(penalty_sum, 1, record, 0.0, f"{note}, added up")
