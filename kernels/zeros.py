"""Zeros of the inputs, such as the background of images or what a sparse matrix leaves out: products go by lists of what is not zero.

Four rows of X share a list of the columns in which one of them is not zero: the terms of four rows of X W. Four columns share one of rows: the terms of four
rows of X^T dZ. A term of zero changes no sum, so bits are those of the whole product but for the sign of a zero, and as the groups are everywhere
the same, that does not depend on threads either. A minibatch gets lists if a sample of it has enough zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._jit import helper, inline, task
from ._tile import NO_FINISH, PANEL_BYTES, TILE_PANELS, TILE_ROWS, append_positions, array_at, make_tiles, nonzero_bits, ones, width_of, zero_of
from .panels import panels
from .program import Program, Value, task_address
from .records import NOW, I, Record

__all__ = ["BY_COLUMNS", "BY_ROWS", "Lists", "lists_of"]

GROUP = 4  # rows, or columns, that share a list
LISTED = 256  # how many a part of a list is taken from: they are bytes
PART_BYTES = LISTED + 8  # how many there are, then their numbers in the part
LEAST_ROWS, LEAST_INPUTS, LEAST_OUTPUTS = 8, 128, 17  # of a layer that has lists: below they cost what they save
SAMPLE_GROUPS, SAMPLE_PANELS = 4, 16  # of rows, and in each of columns, that are looked at first
WORTH = 0.75  # how many may be not zero, of the columns in a group of rows, or of the rows in a group of columns
BY_ROWS, BY_COLUMNS = 1, 2  # which products go by lists

ZEROS = Record(
    n=(I, "columns"),
    jump=(I, "numbers from one panel to the next"),
    groups=(I, "groups of rows of a full minibatch, an even number"),
    parts=(I, "tasks of a phase"),
    depth=(I, "columns in a part of a list, whole panels"),
    crossed=(I, "address of 16 bits for each panel and group of rows: rows that are not zero, four for each group of columns"),
    row_lists=(I, "address of the lists of the groups of rows, one behind the other, then their second parts"),
    column_lists=(I, "address of the lists of the groups of columns, likewise"),
)

_SHAPES = [(rows, panels) for panels in TILE_ROWS for rows in (4, 2, 1) if rows <= TILE_ROWS[panels][0]]
_rows_tile, _columns_tile = make_tiles(_SHAPES, listed=True), make_tiles(_SHAPES, transposed=True, listed=True)


@inline
def _together(bits, shift, width):
    """Return four numbers of `width` bits, `shift` bits apart, as one: their union."""
    bits |= bits >> np.uint64(2 * shift)
    return np.int64((bits | bits >> np.uint64(shift)) & np.uint64((1 << width) - 1))


@inline
def _look(zero, Z, inputs, g, q, rows):
    """Return which columns of a panel are not zero in a group of rows, as bits, and which rows in each of its groups of columns."""
    width = width_of(zero)
    bits = np.uint64(nonzero_bits(zero, inputs + (q * Z.jump // width + g * GROUP) * PANEL_BYTES))  # those of a row stand side by side
    if rows - g * GROUP < GROUP:
        bits &= (np.uint64(1) << np.uint64((rows - g * GROUP) * width)) - np.uint64(1)
    if Z.n - q * width < width:
        there = (np.uint64(1) << np.uint64(Z.n - q * width)) - np.uint64(1)
        there |= there << np.uint64(width)
        bits &= there | there << np.uint64(2 * width)
    some = bits | bits >> np.uint64(1)
    some = (some | some >> np.uint64(2)) & np.uint64(0x1111111111111111)
    return _together(bits, width, width), _together(some, width - 1, width)


@inline
def _part(lists, count, number, part):
    """Return the address of a part of one of `count` lists, and its length as an array of one number."""
    at = lists + (part * count + number) * PART_BYTES
    return at + 8, array_at(np.int64(0), at, 1)


@inline
def _append(numbers, count, bits, width, first):
    """Add first + the positions of the bits that are set to a list; return how many it has."""
    append_positions(numbers + count, bits & 0xFF, first)
    if width > 8:
        count += ones(bits & 0xFF)
        append_positions(numbers + count, bits >> 8, first + 8)
        return count + ones(bits >> 8)
    return count + ones(bits)


@helper
def _worth(zero, Z, inputs, rows):
    """Return which products are to go by lists: a sample of the inputs tells."""
    width, groups, seen, columns, crossed = width_of(zero), panels(rows, GROUP), 0, 0, 0
    some, step = min(SAMPLE_GROUPS, groups), max(1, panels(Z.n, width_of(zero)) // SAMPLE_PANELS)
    for k in range(some):
        for q in range(k * step // some, panels(Z.n, width), step):
            one, other = _look(zero, Z, inputs, k * groups // some, q, rows)
            seen, columns, crossed = seen + min(width, Z.n - q * width), columns + ones(one), crossed + ones(other)
    return (BY_ROWS if columns < WORTH * seen else 0) | (BY_COLUMNS if crossed < WORTH * seen else 0)


@task
def list_columns(tag, t, worker, record, now):
    """List the columns that are not zero for some groups of rows."""
    zero, Z, S = zero_of(tag), ZEROS(record), NOW(now)
    width, groups = width_of(zero), panels(S.rows, GROUP)
    listed = _worth(zero, Z, S.inputs, S.rows)
    if t == 0:
        S.listed = listed
    first, last = t * groups // Z.parts, (t + 1) * groups // Z.parts if listed != 0 else 0
    for start in range(0, Z.n, Z.depth):
        for g in range(first, last):
            _part(Z.row_lists, Z.groups, g, start // Z.depth)[1][0] = 0
        for q in range(start // width, panels(min(Z.n, start + Z.depth), width)):
            all_crossed = array_at(np.uint16(0), Z.crossed + 2 * q * Z.groups, Z.groups)
            for g in range(first, last):
                columns, all_crossed[g] = _look(zero, Z, S.inputs, g, q, S.rows)
                numbers, length = _part(Z.row_lists, Z.groups, g, start // Z.depth)
                length[0] = _append(numbers, length[0], columns, width, q * width - start)


@task
def list_rows(tag, t, worker, record, now):
    """List the rows that are not zero for the groups of columns of some panels."""
    zero, Z, S = zero_of(tag), ZEROS(record), NOW(now)
    width = width_of(zero)
    groups, each, Q = panels(S.rows, GROUP), width // GROUP, panels(Z.n, width)
    for q in range(t * Q // Z.parts, (t + 1) * Q // Z.parts if S.listed & BY_COLUMNS else 0):
        crossed = array_at(np.uint16(0), Z.crossed + 2 * q * Z.groups, Z.groups)
        if groups < Z.groups:
            crossed[groups] = 0
        for start in range(0, S.rows, LISTED):
            end = min(groups, (start + LISTED) // GROUP)
            for k in range(each):
                numbers, length = _part(Z.column_lists, Q * each, q * each + k, start // LISTED)
                count = 0
                for g in range(start // GROUP, end, 2):
                    rows = np.int64(crossed[g]) >> GROUP * k & 15 | (np.int64(crossed[g + 1]) >> GROUP * k & 15) << GROUP
                    append_positions(numbers + count, rows, g * GROUP - start)
                    count += ones(rows)
                length[0] = count


@task
def listed_rows_product(tag, zeros, X, W, b, out, mode, first, last, count, ahead):
    """out = finish(b + X W) for rows first ... last - 1 and some panels of W, whose addresses begin at row 0.

    Asks meanwhile for the lines of W that come next; `ahead` is what comes behind the last ones.
    """
    zero, Z = zero_of(tag), ZEROS(zeros)
    width = width_of(zero)
    W_jump, W_step, step = Z.n * width, Z.n * PANEL_BYTES, Z.jump // width * PANEL_BYTES
    for start in range(0, Z.n, Z.depth):
        end = min(Z.n, start + Z.depth)
        how, p = mode if end == Z.n else NO_FINISH, 0
        while p < count:
            beside = TILE_PANELS if count - p >= TILE_PANELS else 1
            W_at, next_W, line = W + p * W_step + start * PANEL_BYTES, W + (p + beside) * W_step + start * PANEL_BYTES, 0
            if p + beside >= count:
                next_W = W + end * PANEL_BYTES if end < Z.n else ahead
            for g in range(first // GROUP, panels(last, GROUP)):
                lines, length = _part(Z.row_lists, Z.groups, g, start // Z.depth)
                i = g * GROUP
                while i < min(last, (g + 1) * GROUP):
                    X_at, C = X + start // width * step + i * PANEL_BYTES, out + p * step + i * PANEL_BYTES
                    init, init_row, init_jump = (C, width, Z.jump) if start > 0 else (b + p * PANEL_BYTES, 0, width)
                    asked, asked_step = next_W + line * PANEL_BYTES, PANEL_BYTES
                    if line >= end - start:
                        asked += W_step - (end - start) * PANEL_BYTES
                    if line >= beside * (end - start):
                        asked, asked_step = W_at, 0
                    line += length[0] // 4
                    rows = min(last, (g + 1) * GROUP) - i
                    done, _ = _rows_tile(
                        zero, rows, beside, X_at, Z.jump, W_at, W_jump, init, init_row, init_jump, C, width, Z.jump, how, lines, length[0], asked, asked_step
                    )
                    i += done
            p += beside


@task
def listed_columns_product(tag, zeros, a, a_step, b, b_step, none, c, c_step, count, k, first, rows, arrays, ahead, behind, behind_step):
    """`columns_product` of the columns of X from the panel `first` on."""
    zero, Z = zero_of(tag), ZEROS(zeros)
    width = width_of(zero)
    b_jump, c_jump = b_step // PANEL_BYTES * width, c_step // PANEL_BYTES * width
    each, p = width // GROUP, 0
    while p < count:
        beside, run, line = TILE_PANELS if count - p >= TILE_PANELS else 1, 0, 0
        place, lines = c + p * c_step, ahead + p * c_step
        for start in range(0, k, LISTED):
            b_at, done = b + p * b_step + start * PANEL_BYTES, 0
            while done < rows:
                numbers, length = _part(Z.column_lists, panels(Z.n, width) * each, first * each + done // GROUP, start // LISTED)
                c_at, a_at = place + PANEL_BYTES * done, a + done // width * a_step + done % width * (PANEL_BYTES // width) + start * PANEL_BYTES
                init, init_row, init_jump = (c_at, width, c_jump) if start > 0 else (none, 0, width)
                asked, asked_step = c_at, 0
                if run < arrays * beside:
                    asked, asked_step = lines + line * PANEL_BYTES, PANEL_BYTES
                    line += length[0] // 2
                    if line >= rows:
                        line, run = 0, run + 1
                        lines = (behind + (run // beside - 1) * behind_step if run >= beside else ahead) + (p + run % beside) * c_step
                some = min(rows - done, GROUP - done % GROUP)
                tall, _ = _columns_tile(
                    zero, some, beside, a_at, 0, b_at, b_jump, init, init_row, init_jump, c_at, width, c_jump, NO_FINISH, numbers, length[0], asked, asked_step
                )
                done += tall
        p += beside


class Lists:
    """What a dense layer that reads the inputs needs to go by lists, where it is large enough for them.

    Parameters
    ----------
    program : Program
    layer : Dense
    """

    def __init__(self, program: Program, layer: Any) -> None:
        self.program, self.rows, n = program, program.rows, layer.n_in
        groups, Q = -(-self.rows // (2 * GROUP)) * 2, program.panels(n)
        work = 2.0 * self.rows * n
        parts = program.shares(work)
        cuts = -(-n // LISTED)
        depth = -(-Q // cuts) * program.width
        crossed, of_rows = np.zeros(Q * groups, np.uint16), np.zeros(groups * cuts * PART_BYTES, np.uint8)
        self.record = ZEROS.new(n=n, jump=program.jump, groups=groups, parts=parts, depth=depth, crossed=program.keep(crossed), row_lists=program.keep(of_rows))
        program.phase(list_columns, parts, self.record, work, "columns of X that are not zero, for four rows each")

    def fill_forward(self, record: Any) -> None:
        """Let the way forward go by lists of columns."""
        record["zeros"], record["listed"] = self.program.keep(self.record), task_address(listed_rows_product, self.program.dtype)

    def fill_backward(self, record: Any) -> None:
        """Add a phase that lists rows, and let the way back go by these lists."""
        program, n = self.program, int(self.record["n"][0])
        Q = program.panels(n)
        lists = np.zeros(Q * program.width // GROUP * -(-self.rows // LISTED) * PART_BYTES, np.uint8)
        self.record["column_lists"] = program.keep(lists)
        program.phase(list_rows, int(self.record["parts"][0]), self.record, float(self.rows * n), "rows of X that are not zero, for four columns each")
        record["zeros"], record["listed"] = program.keep(self.record), task_address(listed_columns_product, program.dtype)


def lists_of(program: Program, X: Value, layer: Any) -> Lists | None:
    """Return what a layer needs to go by lists of its inputs, None for one that should not."""
    large = program.rows >= LEAST_ROWS and layer.n_in >= LEAST_INPUTS and layer.n_out >= LEAST_OUTPUTS
    return Lists(program, layer) if X.where == 0 and large and not program.bfloat16 else None
