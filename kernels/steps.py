"""What a network's programs are: a training step, a gradient, a prediction, each emitted by its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import sharing
from ._jit import task
from ._tile import PANEL_BYTES, array_at, width_of, zero_of
from .activations import IDENTITY
from .clip import NO_CLIP, Clip
from .dense import Dense
from .objective import Objective, fuses
from .panels import panels
from .penalties import emit_penalties, prepare_penalties
from .plan import Array, Placed, Plan
from .program import Memory, Program, Value
from .records import NOW, I, Record, address
from .stored import StoredRows
from .updates import Updater, emit_largest_norm

__all__ = ["emit_prediction", "emit_step"]

BY_PARTS_FROM = 200_000  # parameters, from which on some are updated while their gradient is in the cache
OUTPUT_ROWS = 64  # rows in a task of the output

NEVER, AT_ONCE, BY_LAYER, AT_END = range(4)  # when a step updates: who writes a gradient does, after the way back of a layer, or of all

OUTPUT = Record(
    A=(I, "address of the last layer's outputs"),
    n=(I, "how many"),
    jump=(I, "numbers from one panel to the next"),
)


@task
def place(tag, t, worker, record, now):
    """Go on to the next minibatch, after the last one to the first."""
    S = NOW(now)
    k = S.done % ((S.all_rows + S.batch - 1) // S.batch)
    S.seen = S.done * S.batch >= S.all_rows
    S.rows = min(S.batch, S.all_rows - k * S.batch)
    S.inputs = S.all_inputs + k * S.input_bytes
    S.labels = S.all_labels + k * S.batch * 8 if S.all_labels != 0 else 0
    S.targets = S.all_targets + k * S.target_bytes
    S.weights = S.all_weights + k * S.batch * 8 if S.all_weights != 0 else 0
    S.rate = array_at(0.0, S.rates, S.done + 1)[S.done]
    if S.penalty_scales != 0:
        S.penalized = array_at(0.0, S.penalty_scales, S.done + 1)[S.done]
    S.drawn = np.int64(S.count)


@task
def close(tag, t, worker, record, now):
    """Write down the loss of the step."""
    S = NOW(now)
    array_at(0.0, S.losses, S.done + 1)[S.done] = S.loss + S.penalty
    S.done += 1


@task
def output(tag, t, worker, record, now):
    """Copy some rows of the outputs to plain rows: out[i, j] = A[i, j]."""
    zero, L, S = zero_of(tag), OUTPUT(record), NOW(now)
    width = width_of(zero)
    first, last = t * OUTPUT_ROWS, min(S.rows, (t + 1) * OUTPUT_ROWS)
    for p in range(panels(L.n, width)):
        count = min(width, L.n - p * width)
        for i in range(first, last):
            row = array_at(zero, L.A + (p * L.jump + i * width) * (PANEL_BYTES // width), count)
            out = array_at(zero, S.out + (i * L.n + p * width) * (PANEL_BYTES // width), count)
            for j in range(count):
                out[j] = row[j]


def _layers(plan: Plan, parameters: Array, gradient: Array | None, plain: bool, fitting: bool = False) -> list[tuple[Placed, Memory]]:
    """Return the layers and their memory; with `plain` the last one without its activation."""
    start, itemsize = address(parameters), parameters.itemsize
    layers = []
    for placed in plan.layers:
        layer = placed.layer
        where = [first * itemsize for first, _ in placed.ranges]
        slopes = [address(gradient) + at if gradient is not None and trained else 0 for at, trained in zip(where, layer.trained)]
        memory = Memory(placed.index, tuple(start + at for at in where), tuple(slopes), gradient is not None, fitting, plan.seed)
        layers.append((placed, memory))
    if plain and isinstance(layer, Dense):
        layers[-1] = replace(placed, layer=replace(layer, activation=IDENTITY)), memory
    return layers


def _inputs(program: Program, plan: Plan, stored: bool) -> Value:
    """Return what the first layer reads."""
    program.stored = [StoredRows(program, plan.widths[0])] if stored else []
    return Value(0, plan.widths[0], "X", stored=program.stored[0] if stored else None)


def _when_updated(plan: Plan, program: Program, updater: Updater | None, whole: bool) -> int:
    """Return when a step updates the parameters; `whole`: not before all of the gradient is there."""
    if updater is None:
        return NEVER
    if whole:
        return AT_END
    largest = 2.0 * program.rows * max(a * b for a, b in zip(plan.widths, plan.widths[1:]))
    if not updater.paces and ((program.shares(largest) > 1 and largest > sharing.FUSED_WORK) or plan.parameters_size > BY_PARTS_FROM):
        return AT_ONCE
    all_trained = all(all(placed.layer.trained) for placed in plan.layers)
    return BY_LAYER if plan.parameters_size > BY_PARTS_FROM or not all_trained else AT_END


def emit_step(
    plan: Plan,
    parameters: Array,
    rows: int,
    objective: Objective,
    *,
    gradient: Array | None = None,
    updater: Updater | None = None,
    clip: Clip = NO_CLIP,
    largest_norms: Sequence[tuple[int, float]] = (),
    fitting: bool = True,
    n_threads: int = 1,
    rows_through: Callable[[Program], None] | None = None,
    stored: bool = False,
) -> Program:
    """Return the program of a training step; without an updater that of a gradient, without a gradient that of a loss.

    With `fitting` it has what only a fit has: dropout, and the statistics of the minibatch instead of the running ones.

    Its marks: place, forward, loss, backward, update, close; losses and gradients of rows placed by other means are from forward to
    backward, and to update. With a clip every update comes after the whole way back, all of which the norm needs.
    `rows_through` adds phases that make loss and gradient otherwise than layer by layer. Of `stored` inputs only some numbers are there.
    """
    program = Program(plan.dtype, rows, n_threads, plan.bfloat16)
    layers = _layers(plan, parameters, gradient, fuses(objective.loss, plan.last_activation), fitting)
    clips = clip != NO_CLIP
    when = _when_updated(plan, program, updater, clips or rows_through is not None)
    program.mark("place")
    program.phase(place, 1, program.now, 0.0, "the next minibatch")
    program.mark("forward")
    for placed, memory in layers if gradient is not None else ():
        if updater is not None and when == AT_ONCE:
            memory.update = updater.at_once(program)
        prepare_penalties(program, placed.layer, memory)
    X, dX, backward = _inputs(program, plan, stored), 0, []
    if rows_through is None:
        for placed, memory in layers:
            X, step = placed.layer.emit(program, X, memory)
            backward.append(step)
    else:
        rows_through(program)
        backward = [lambda dY: dY] * len(layers)
    program.mark("loss")
    if rows_through is None:
        dX = objective.emit(program, X, stops=updater is not None)
    if updater is not None:
        updater.emit_paces(program)
    program.mark("backward")
    if gradient is None:
        _emit_output(program, X)
    else:
        _emit_backward(program, layers, backward, dX, updater if when == BY_LAYER else None)
    program.mark("update")
    if clips and gradient is not None:
        clip.emit(program, gradient, plan.trained_ranges())
    if updater is not None and when == AT_END:
        for first, end in plan.trained_ranges():
            whole = end - first == plan.parameters_size
            updater.emit(program, first, end - first, "all parameters" if whole else f"parameters {first} to {end - 1}")
    for layer, norm in largest_norms:
        emit_largest_norm(program, plan.weight_panels(parameters, layer)[0], norm, f"W{layer + 1}, columns bounded")
    program.mark("close")
    program.phase(close, 1, program.now, 0.0, "the loss written down")
    program.close()
    return program


def _emit_backward(program: Program, layers: list[tuple[Placed, Memory]], backward: list[Any], dX: int, updater: Updater | None) -> None:
    """Add the way back of all layers, the last one first, and with an updater after each the update of what it trains."""
    for (placed, memory), step in zip(reversed(layers), reversed(backward)):
        dX = step(dX)
        emit_penalties(program, placed.layer, memory)
        if updater is not None:
            for first, end in placed.trained_ranges:
                updater.emit(program, first, end - first, placed.names)


def _emit_output(program: Program, X: Value) -> None:
    """Add the writing of a matrix as plain rows."""
    record = OUTPUT.new(A=X.where, n=X.n, jump=program.jump)
    program.phase(output, -(-program.rows // OUTPUT_ROWS), record, 2.0 * program.rows * X.n, f"{X.name} as plain rows")


def emit_prediction(plan: Plan, parameters: Array, rows: int, logits: bool, n_threads: int = 1, stored: bool = False) -> Program:
    """Return the program of a prediction: forward, output; softmax is applied to its output by others. Of `stored` inputs only some numbers are there."""
    program = Program(plan.dtype, rows, n_threads, plan.bfloat16)
    program.jump = program.width if rows == 1 else program.jump  # a row alone is a plain vector
    program.mark("forward")
    X, dead = _inputs(program, plan, stored), list[Value]()
    for placed, memory in _layers(plan, parameters, None, logits):
        if not placed.layer.follows:  # what follows in the last phase must not write to what that still reads
            while dead:
                program.release(dead.pop().where)
        A, _ = placed.layer.emit(program, X, memory)
        if A is not X:
            dead += [one for one in (X, A.ends) if one is not None and one.where != A.where and not one.kept]
        X = A
    program.mark("output")
    _emit_output(program, X)
    program.close()
    return program
