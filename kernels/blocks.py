"""A full batch, or a large minibatch, in blocks of rows that stay in the cache: each goes through the whole network, and the gradients are added up.

A task takes some blocks, one after the other, in a program of its worker's own. Which blocks a task has and the order of every sum
follow from the number of rows alone, so bits do not depend on who does what.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from . import _jit
from ._elements import fill
from ._jit import task
from ._tile import PANEL_BYTES, array_at, call, copy_line, width_of, zero_of
from .batchnorm import BatchNorm
from .objective import Objective, end_forward
from .panels import panels
from .plan import Array, Plan
from .program import PHASE_BYTES, Program, task_address
from .records import NOW, I, Record, address, aligned_zeros, new_array
from .steps import emit_step
from .workspaces import BOUND, run_bound

__all__ = ["BLOCK_ROWS", "block_rows", "emit_step_of_rows"]

BLOCK_ROWS = 512
LEAST_ROWS = 4096  # of a minibatch that is cut, into blocks of equal size: 16 of 256 rows, of more rows up to 512
LEAST_ROWS_EACH = 10  # times the parameters for each number that a row becomes: fewer rows do not make up for gradients that are added up
GROUPS = 16  # tasks at most, each with a gradient: so many that threads share them well
CHUNK = 4096  # numbers of a sum that stay in the nearest cache while gradient after gradient is added

BLOCKS = Record(
    run=(I, "address of run_bound"),
    bound=(I, "address of the first worker's program; one a worker"),
    rows=(I, "rows of a block"),
    n_blocks=(I, "blocks"),
    groups=(I, "tasks, each of which takes some blocks"),
    own=(I, "address of the first worker's gradient; one a worker"),
    sums=(I, "address of the first task's sum of gradients; one a task"),
    size=(I, "numbers of a gradient"),
    losses=(I, "address of the loss of each block"),
    gradient=(I, "address of the sum of all"),
    parts=(I, "tasks of that sum"),
    stops=(I, "whether a loss that is not finite ends the run"),
)
BOUND_BYTES = BOUND.dtype.itemsize


@task
def block_gradients(tag, t, worker, record, now):
    """The losses of some blocks and the sum of their gradients."""
    zero, B, S = zero_of(tag), BLOCKS(record), NOW(now)
    bound, itemsize = B.bound + worker * BOUND_BYTES, PANEL_BYTES // width_of(zero)
    N, losses = NOW(BOUND(bound).now), array_at(0.0, B.losses, B.n_blocks)
    own, total = array_at(zero, B.own + worker * B.size * itemsize, B.size), array_at(zero, B.sums + t * B.size * itemsize, B.size)
    first, last = t * B.n_blocks // B.groups, (t + 1) * B.n_blocks // B.groups
    fill(losses[first:last], 0.0)
    last = min(last, panels(S.rows, B.rows))  # of a short minibatch the last blocks have no rows
    for k in range(first, last):
        N.rows, N.mean_rows, N.seen = min(B.rows, S.rows - k * B.rows), S.rows, S.seen
        N.first_row, N.drawn, N.done = k * B.rows, S.drawn, S.done
        N.inputs, N.targets = S.inputs + k * (S.input_bytes // B.n_blocks), S.targets + k * (S.target_bytes // B.n_blocks)
        N.labels = S.labels + k * B.rows * 8 if S.labels != 0 else 0
        N.weights = S.weights + k * B.rows * 8 if S.weights != 0 else 0
        call(B.run, (0, bound, 0))
        losses[k] = N.loss
        if k == first:
            for i in range(B.size):
                total[i] = own[i]
        else:
            for i in range(B.size):
                total[i] += own[i]
    if last <= first:
        fill(total, zero)


@task
def add_losses(tag, t, worker, record, now):
    """Add up the losses of the blocks in their order; stop before an update where the sum is not finite."""
    B = BLOCKS(record)
    end_forward(NOW(now), array_at(0.0, B.losses, B.n_blocks), B.stops)


@task
def add_gradients(tag, t, worker, record, now):
    """Add up the gradients of the tasks in their order, for a part of them."""
    zero, B = zero_of(tag), BLOCKS(record)
    width, lines = width_of(zero), B.size // width_of(zero)
    itemsize = PANEL_BYTES // width
    for start in range(t * lines // B.parts * width, (t + 1) * lines // B.parts * width, CHUNK):
        at, count = start * itemsize, min(CHUNK, (t + 1) * lines // B.parts * width - start)
        out = array_at(zero, B.gradient + at, count)
        for line in range(0, count, width):
            copy_line(zero, B.sums + at + line * itemsize, B.gradient + at + line * itemsize)
        for g in range(1, B.groups):
            one = array_at(zero, B.sums + g * B.size * itemsize + at, count)
            for i in range(count):
                out[i] += one[i]


def block_rows(plan: Plan, n_rows: int, fitting: bool = False, full_batch: bool = True) -> int:
    """Return of how many rows the blocks are in which a full batch, or a minibatch, goes through a network, 0 where it goes as one.

    In a fit batch normalization takes statistics of all rows. Of minibatches all blocks are equal, so that the next one begins with a block, and of groups
    of four rows, which dropout and noise draw numbers for.
    """
    if fitting and any(isinstance(placed.layer, BatchNorm) for placed in plan.layers):
        return 0
    if full_batch:
        return BLOCK_ROWS if n_rows > BLOCK_ROWS else 0
    if n_rows < max(LEAST_ROWS, LEAST_ROWS_EACH * plan.parameters_size / sum(plan.widths)):
        return 0
    most = min(BLOCK_ROWS, n_rows // GROUPS)
    return max((rows for rows in range(max(4, most // 8 * 4), most + 1, 4) if n_rows % rows == 0), default=0)


class BlocksProgram:
    """The program of a step in blocks of `rows` rows, or without an updater that of a gradient; and `layout`, one that says how a block lies.

    Its marks and its other arguments are those of `steps.emit_step`.
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Array,
        n_rows: int,
        objective: Objective,
        rows: int,
        *,
        gradient: Array,
        n_threads: int = 1,
        stored: bool = False,
        **options: Any,
    ) -> None:
        self.plan, self.n_blocks, self.rows, self.gradient, self.stops = plan, -(-n_rows // rows), rows, gradient, "updater" in options
        size, workers = plan.parameters_size, _jit.max_threads() if n_threads > 1 else 1
        self.own = aligned_zeros(workers * size, plan.dtype)
        plain, own = replace(plan, penalties=((0.0,) * 4,) * plan.n_layers), self.own.reshape(workers, size)
        self.inner = [emit_step(plain, parameters, rows, objective, gradient=one, fitting=self.stops, stored=stored) for one in own]
        self.layout = self.inner[0]
        self.program = emit_step(plan, parameters, n_rows, objective, gradient=gradient, n_threads=n_threads, fitting=False, rows_through=self._emit, **options)
        self.program.keep_all(self.inner, self.own)
        self.program.stored = [rows for one in self.inner for rows in one.stored]
        self.program.schedules = [schedule for one in self.inner for schedule in one.schedules]
        self.program.overwrites_inputs = self.layout.overwrites_inputs

    def _emit(self, program: Program) -> None:
        size, blocks, groups = self.plan.parameters_size, self.n_blocks, min(self.n_blocks, GROUPS)
        table = new_array(BOUND, len(self.inner))
        for bound, one in zip(table, self.inner):
            first = one.marks["forward"]
            bound["phases"], bound["count"], bound["now"] = one.where + first * PHASE_BYTES, one.marks["close"] - first, address(one.now)
        parts, work = program.shares(float(groups * size)), self.plan.flops_per_row * program.rows / 2.0
        record = BLOCKS.new(
            run=task_address(run_bound, program.dtype),
            bound=program.keep(table),
            rows=self.rows,
            n_blocks=blocks,
            groups=groups,
            own=address(self.own),
            sums=program.zeros(groups * size),
            size=size,
            losses=program.keep(np.zeros(blocks)),
            gradient=address(self.gradient),
            parts=parts,
            stops=self.stops,
        )
        program.phase(block_gradients, groups, record, work, f"losses and gradients of {blocks} blocks of {self.rows} rows", True)
        program.phase(add_losses, 1, record, 0.0, "loss, looked at")
        program.phase(add_gradients, parts, record, float(groups * size), "the gradient")


def emit_step_of_rows(plan: Plan, parameters: Array, n_rows: int, objective: Objective, block: int, **options: Any) -> tuple[Program, Program]:
    """Return the program of a step, or without an updater that of a gradient, in blocks of `block` rows where that is not 0; and one that says how rows lie."""
    if block:
        cut = BlocksProgram(plan, parameters, n_rows, objective, block, **options)
        return cut.program, cut.layout
    program = emit_step(plan, parameters, n_rows, objective, fitting="updater" in options, **options)
    return program, program
