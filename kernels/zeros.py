"""Zeros of what a dense layer reads, such as the background of images or units that a ReLU left off: products go by lists of what is not zero.

Two rows of X share a list of the columns in which one of them is not zero: the terms of two rows of X W. Two columns share one of rows: the terms of two
rows of X^T dZ. Below a ReLU the gradient is zero where X is: the same lists hold the terms of two rows of dZ W^T. A term of zero changes no sum, so bits are
those of the whole product but for the sign of a zero, and for weights that are not finite, which a list may leave out. A minibatch, or a block of rows of
a prediction, gets lists if a sample of it has enough zeros.

Of bfloat16, columns and rows are words that hold two: those along the rows for X W and dZ W^T, those down the columns for X^T dZ, in lists of their own.
A number that is not zero may be rounded to zero, so there the lists of X hold nothing of the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._jit import helper, inline, task
from ._tile import NO_FINISH, PANEL_BYTES, TILE_ROWS, VECTOR_BYTES, append_positions, array_at, make_tiles, nonzero_bits, ones, width_of, zero_of
from .panels import panels
from .program import Program, Value, task_address
from .records import NOW, I, Record

__all__ = ["BY_COLUMNS", "BY_ROWS", "Lists", "goes_by", "pays"]

# Two numbers of X serve so many panels that there are enough accumulators to hide the latency of an FMA, and registers for them. A part of a list is of so
# many columns, or rows, that lines of these panels stay in the cache of the first level.
MOST_PANELS, LISTED = {64: (4, 96), 32: (3, 128), 16: (3, 128) if TILE_ROWS[1][0] > 4 else (1, 128)}[VECTOR_BYTES]
PART_BYTES = LISTED + 8  # how many there are, then their numbers in the part, as bytes
LEAST_ROWS, LEAST_INPUTS, LEAST_OUTPUTS = 8, 128, 17  # of a layer that has lists: below they cost what they save; one row alone does not lie in panels
LEAST_EACH, LEAST_WORK = 900, 1e6  # multiplications for each input, and in all of a layer that reads another one's outputs
SAMPLE_QUADS, SAMPLE_PANELS = 4, 16  # of rows, and in each of columns, that are looked at first
WORTH = 0.6 if VECTOR_BYTES == 64 else 0.75  # how many may be not zero, of the columns for two rows, or of the rows for two columns
BY_ROWS, BY_COLUMNS = 1, 2  # which products go by lists

ZEROS = Record(
    listed=(I, "address of which products go by lists: BY_ROWS, BY_COLUMNS"),  # first here, as in every record that `goes_by` reads
    X=(I, "address of the matrix, 0: the minibatch's inputs"),
    n=(I, "its columns"),
    jump=(I, "numbers from one panel to the next"),
    pair=(I, "rows of a minibatch in a row of it: 1 or 2"),
    quads=(I, "groups of four of its rows in a full minibatch, an even number"),
    parts=(I, "tasks of a phase"),
    crossed=(I, "address of 64 bits for each panel and four rows: which two columns are not zero in a row; 0: nobody needs them"),
    row_lists=(I, "address of the lists of columns, one for each two rows, one behind the other, then their second parts; 0: none are made"),
    column_lists=(I, "address of the lists of rows, one for each two columns, likewise"),
)

_SHAPES = [(rows, beside) for rows in (2, 1) for beside in range(MOST_PANELS, 0, -1)]


@inline
def _together(count):
    """Return with how many panels of some to begin: in as few turns as can be, of as equal numbers, for one alone takes as long as two."""
    return panels(count, panels(count, MOST_PANELS))


@inline
def _look(zero, Z, X, g, q, rows):
    """Return which columns of a panel are not zero in two rows, and in the next two, and which two of the columns are not in each row, all as bits."""
    width = width_of(zero)
    one, two, row = np.uint64(width), np.uint64(2 * width), np.uint64((1 << width) - 1)
    bits = np.uint64(nonzero_bits(zero, X + (q * Z.jump // width + g * 4) * PANEL_BYTES))  # those of a row stand side by side
    if rows - g * 4 < 4:
        bits &= (np.uint64(1) << np.uint64((rows - g * 4) * width)) - np.uint64(1)
    if Z.n - q * width < width:
        there = (np.uint64(1) << np.uint64(Z.n - q * width)) - np.uint64(1)
        there |= there << one
        bits &= there | there << two
    both = bits | bits >> one
    return np.int64(both & row), np.int64(both >> two & row), (bits | bits >> np.uint64(1)) & np.uint64(0x5555555555555555)


@inline
def _four(crossed, width, k):
    """Return of four rows which are not zero in the columns 2 k and 2 k + 1, as four bits."""
    first, gather = np.uint64(0), np.uint64(0)
    for r in range(4):
        first, gather = first | np.uint64(1) << np.uint64(r * width), gather | np.uint64(1) << np.uint64(3 * width + r - r * width)
    return np.int64(((crossed >> np.uint64(2 * k) & first) * gather >> np.uint64(3 * width)) & np.uint64(15))


@inline
def _part(lists, count, number, part):
    """Return the address of a part of one of `count` lists, and its length as an array of one number."""
    at = lists + (part * count + number) * PART_BYTES
    return at + 8, array_at(np.int64(0), at, 1)


@inline
def _append(numbers, count, bits, width, first):
    """Add first + the positions of the bits that are set to a list of `count` numbers; return how many it has then."""
    for half in range(0, width, 8):
        some = bits >> half & 0xFF
        append_positions(numbers + count, some, first + half)
        count += ones(some)
    return count


@inline
def goes_by(zeros, which):
    """Return whether a product goes by lists, of those at an address; 0: there are none."""
    return zeros != 0 and array_at(np.int64(0), ZEROS(zeros).listed, 1)[0] & which != 0


@helper
def _worth(zero, Z, X, rows):
    """Return which products are to go by lists: a sample of X tells."""
    width, quads, seen, columns, crossed = width_of(zero), panels(rows, 4), 0, 0, 0
    some, step = min(SAMPLE_QUADS, quads), max(1, panels(Z.n, width_of(zero)) // SAMPLE_PANELS)
    for k in range(some):
        for q in range(k * step // some, panels(Z.n, width), step):
            first, second, pairs = _look(zero, Z, X, k * quads // some, q, rows)
            seen += 2 * min(width, Z.n - q * width)
            columns, crossed = columns + ones(first) + ones(second), crossed + ones(np.int64(pairs))
    by_rows, by_columns = Z.row_lists != 0 and columns < WORTH * seen, Z.crossed != 0 and crossed < WORTH * seen
    return (BY_ROWS if by_rows else 0) | (BY_COLUMNS if by_columns else 0)


@inline
def _rows(Z, now):
    """Return how many rows of the matrix this minibatch has."""
    return (NOW(now).rows + Z.pair - 1) // Z.pair


@task
def list_columns(tag, t, worker, record, now):
    """List the columns that are not zero for some pairs of rows, and note what lists of rows are made from."""
    zero, Z = zero_of(tag), ZEROS(record)
    rows, X = _rows(Z, now), Z.X if Z.X != 0 else NOW(now).inputs
    width, quads, listed = width_of(zero), panels(rows, 4), _worth(zero, Z, X, rows)
    if t == 0:
        array_at(np.int64(0), Z.listed, 1)[0] = listed
    first, last = t * quads // Z.parts, (t + 1) * quads // Z.parts if listed != 0 else 0
    for start in range(0, Z.n, LISTED):
        for k in range(2 * first, 2 * last if Z.row_lists != 0 else 0):
            _part(Z.row_lists, 2 * Z.quads, k, start // LISTED)[1][0] = 0
        for q in range(start // width, panels(min(Z.n, start + LISTED), width)):
            for g in range(first, last):
                columns, others, crossed = _look(zero, Z, X, g, q, rows)
                if Z.crossed != 0:
                    array_at(np.uint64(0), Z.crossed + 8 * (q * Z.quads + g), 1)[0] = crossed
                if Z.row_lists != 0:
                    for k, some in ((2 * g, columns), (2 * g + 1, others)):
                        numbers, length = _part(Z.row_lists, 2 * Z.quads, k, start // LISTED)
                        length[0] = _append(numbers, length[0], some, width, q * width - start)


@task
def list_rows(tag, t, worker, record, now):
    """List the rows that are not zero for the pairs of columns of some panels."""
    zero, Z = zero_of(tag), ZEROS(record)
    width, rows = width_of(zero), _rows(Z, now)
    quads, pairs, Q = panels(rows, 4), width // 2, panels(Z.n, width)
    for q in range(t * Q // Z.parts, (t + 1) * Q // Z.parts if goes_by(record, BY_COLUMNS) else 0):
        crossed = array_at(np.uint64(0), Z.crossed + 8 * q * Z.quads, Z.quads)
        if quads < Z.quads:
            crossed[quads] = 0
        for start in range(0, rows, LISTED):
            end = min(quads, (start + LISTED) // 4)
            for k in range(pairs):
                numbers, length = _part(Z.column_lists, Q * pairs, q * pairs + k, start // LISTED)
                count = 0
                for g in range(start // 4, end, 2):
                    some = _four(crossed[g], width, k) | _four(crossed[g + 1], width, k) << 4
                    count = _append(numbers, count, some, 8, g * 4 - start)
                length[0] = count


def _make_rows_product(pairs: bool) -> Any:
    """Return `listed_rows` of numbers, or of words that hold two of bfloat16."""
    tile = make_tiles(_SHAPES, pairs=pairs, listed=True)

    @helper
    def listed_rows(zero, Z, A, B, B_step, init, C, mode, side, first, last, count, ahead):
        """C = finish(init + A @ B) for rows first ... last - 1 and some panels of B, B_step bytes apart, by the lists of A; addresses are those of row 0.

        Asks meanwhile for the lines of B that come next; `ahead` is what comes behind the last ones. Otherwise as `rows_product`.
        """
        width = width_of(zero)
        B_jump, step = B_step // PANEL_BYTES * width, Z.jump // width * PANEL_BYTES
        for start in range(0, Z.n, LISTED):
            lines, how, p = min(LISTED, Z.n - start), mode if start + LISTED >= Z.n else NO_FINISH, 0
            while p < count:
                beside = _together(count - p)
                B_at, asked, line = B + p * B_step + start * PANEL_BYTES, B + (p + beside) * B_step + start * PANEL_BYTES, 0
                if p + beside >= count:
                    asked = B + (start + lines) * PANEL_BYTES if start + lines < Z.n else ahead
                for i in range(first, last, 2):
                    numbers, length = _part(Z.row_lists, 2 * Z.quads, i // 2, start // LISTED)
                    A_at, C_at, side_at = A + start // width * step + i * PANEL_BYTES, C + p * step + i * PANEL_BYTES, side + p * step + i * PANEL_BYTES
                    init_at, init_row, init_jump = (C_at, width, Z.jump) if start > 0 else (init + p * PANEL_BYTES, 0, width)
                    next_B = asked + line % lines * PANEL_BYTES + line // lines * B_step if line < beside * lines else B_at
                    line += length[0] // 4
                    rows, places = min(2, last - i), (init_at, init_row, init_jump, C_at, width, Z.jump)
                    tile(zero, rows, beside, A_at, Z.jump, B_at, B_jump, *places, how, side_at, length[0], next_B, numbers)
                p += beside

    return listed_rows


def _make_columns_product(pairs: bool) -> Any:
    """Return `listed_columns` of numbers, or of words that hold two of bfloat16."""
    tile = make_tiles(_SHAPES, transposed=True, pairs=pairs, listed=True)

    @helper
    def listed_columns(zero, Z, a, a_step, b, b_step, none, c, c_step, count, k, first, rows, arrays, ahead, behind, behind_step):
        """`columns_product` of the columns of X from the panel `first` on, by the lists of X."""
        width = width_of(zero)
        b_jump, c_jump = b_step // PANEL_BYTES * width, c_step // PANEL_BYTES * width
        each, p = width // 2, 0
        while p < count:
            beside, run, line = _together(count - p), 0, 0
            place, lines = c + p * c_step, ahead + p * c_step
            for start in range(0, k, LISTED):
                b_at = b + p * b_step + start * PANEL_BYTES
                for i in range(0, rows, 2):
                    numbers, length = _part(Z.column_lists, panels(Z.n, width) * each, first * each + i // 2, start // LISTED)
                    c_at, a_at = place + PANEL_BYTES * i, a + i // width * a_step + i % width * (PANEL_BYTES // width) + start * PANEL_BYTES
                    init_at, init_row, init_jump = (c_at, width, c_jump) if start > 0 else (none, 0, width)
                    asked = b_at
                    if run < arrays * beside:
                        asked = lines + line * PANEL_BYTES
                        line += length[0] // 2
                        if line >= rows:
                            line, run = 0, run + 1
                            lines = (behind + (run // beside - 1) * behind_step if run >= beside else ahead) + (p + run % beside) * c_step
                    places = init_at, init_row, init_jump, c_at, width, c_jump
                    tile(zero, min(2, rows - i), beside, a_at, 0, b_at, b_jump, *places, NO_FINISH, none, length[0], asked, numbers)
            p += beside

    return listed_columns


_rows_of_numbers, _columns_of_numbers = _make_rows_product(False), _make_columns_product(False)
_rows_of_pairs, _columns_of_pairs = _make_rows_product(True), _make_columns_product(True)


@task
def listed_rows_product(tag, zeros, A, B, B_step, init, C, mode, side, first, last, count, ahead):
    """`listed_rows`, called by its address."""
    _rows_of_numbers(zero_of(tag), ZEROS(zeros), A, B, B_step, init, C, mode, side, first, last, count, ahead)


@task
def listed_columns_product(tag, zeros, a, a_step, b, b_step, none, c, c_step, count, k, first, rows, arrays, ahead, behind, behind_step):
    """`listed_columns`, called by its address."""
    _columns_of_numbers(zero_of(tag), ZEROS(zeros), a, a_step, b, b_step, none, c, c_step, count, k, first, rows, arrays, ahead, behind, behind_step)


@task
def listed_rows_of_pairs(tag, zeros, A, B, B_step, init, C, mode, side, first, last, count, ahead):
    """The same of words."""
    _rows_of_pairs(zero_of(tag), ZEROS(zeros), A, B, B_step, init, C, mode, side, first, last, count, ahead)


@task
def listed_columns_of_pairs(tag, zeros, a, a_step, b, b_step, none, c, c_step, count, k, first, rows, arrays, ahead, behind, behind_step):
    """The same of words."""
    _columns_of_pairs(zero_of(tag), ZEROS(zeros), a, a_step, b, b_step, none, c, c_step, count, k, first, rows, arrays, ahead, behind, behind_step)


class Lists:
    """Lists of what is not zero in a matrix that a dense layer reads.

    Parameters
    ----------
    program : Program
    where : int
        Its address, 0: the minibatch's inputs.
    n : int
        Its columns.
    name : str
        For listings.
    pair : int
        Rows of a minibatch in a row of it.
    by_rows, by_columns : bool
        Which lists are wanted, of columns for pairs of rows, and of rows for pairs of columns.
    """

    def __init__(self, program: Program, where: int, n: int, name: str, pair: int = 1, by_rows: bool = True, by_columns: bool = True) -> None:
        rows, Q = -(-program.rows // pair), program.panels(n)
        quads, cuts, self.work = -(-rows // 8) * 2, -(-n // LISTED), 2.0 * rows * n
        self.program, self.rows, self.name, self.parts = program, rows, name, program.shares(self.work)
        self.record = ZEROS.new(
            X=where,
            n=n,
            jump=program.jump if pair == 1 else program.down_jump,
            pair=pair,
            quads=quads,
            parts=self.parts,
            listed=program.keep(np.zeros(1, np.int64)),
            crossed=program.keep(np.zeros(Q * quads, np.uint64)) if by_columns else 0,
            row_lists=program.keep(np.zeros(2 * quads * cuts * PART_BYTES, np.uint8)) if by_rows else 0,
        )
        self.where = program.keep(self.record)
        note = f"columns of {name} that are not zero, for two rows each" if by_rows else f"what is not zero of {name}"
        program.phase(list_columns, self.parts, self.record, self.work, note)

    def by_rows(self) -> tuple[int, int]:
        """Return the address of the record, and of the product that goes by lists of columns."""
        one = listed_rows_of_pairs if self.program.bfloat16 else listed_rows_product
        return self.where, task_address(one, self.program.dtype)

    def by_columns(self) -> tuple[int, int]:
        """Add a phase that lists rows; return the address of the record, and of the product that goes by these lists."""
        program, Q = self.program, self.program.panels(int(self.record["n"][0]))
        lists = np.zeros(Q * program.width // 2 * -(-self.rows // LISTED) * PART_BYTES, np.uint8)
        self.record["column_lists"] = program.keep(lists)
        program.phase(list_rows, self.parts, self.record, 0.5 * self.work, f"rows of {self.name} that are not zero, for two columns each")
        one = listed_columns_of_pairs if program.bfloat16 else listed_columns_product
        return self.where, task_address(one, program.dtype)


def pays(program: Program, X: Value, n_out: int) -> bool:
    """Return whether lists of X may pay for a product with so many outputs."""
    rows, each = program.rows, program.rows * n_out
    large = rows >= LEAST_ROWS and X.n >= LEAST_INPUTS and n_out >= LEAST_OUTPUTS and each >= LEAST_EACH
    return large and (X.where == 0 or (X.mask != 0 and 1.0 * X.n * each >= LEAST_WORK))
