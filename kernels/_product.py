"""Products of any number of rows with one panel, cut into register tiles.

The fewest tiles that hold the rows, of nearly equal height: 100 rows are five tiles of 20 on AVX-512, so that none is so
low that the panel of B, read once a tile, is waited for.
"""

from __future__ import annotations

from typing import Any

from ._jit import helper, task
from ._tile import BFLOAT16, NO_FINISH, PANEL_BYTES, TILE_ROWS, VECTOR_BYTES, make_tiles, width_of, zero_of

# Pairs that are taken apart need registers for both halves: 16 of them do not hold the largest tile too.
PAIRS_ROWS = TILE_ROWS if BFLOAT16 or len(TILE_ROWS) > 4 else TILE_ROWS[1:]


def _make_rows_product(pairs: bool) -> Any:
    """Return `rows_product` of numbers, or of words that hold two of bfloat16."""
    sizes = PAIRS_ROWS if pairs else TILE_ROWS
    highest, step, depth = sizes[0], 4 if sizes[0] > 8 else 1, 2 if pairs else 1
    tile = make_tiles([(rows, 1) for rows in sizes], pairs=pairs)

    @helper
    def rows_product(zero, a, a_jump, b, init, init_row, c, c_row, mode, side, side_row, k, rows, ahead):
        """C (rows x panel) = finish(init + A @ B): A rows in panels, B one panel. See `make_tiles` for the arguments.

        ahead is where the next panel of B lies, of words the numbers that it is made from: its lines are asked for meanwhile.
        """
        itemsize = PANEL_BYTES // width_of(zero)
        tiles = (rows + highest - 1) // highest
        height = ((rows + tiles - 1) // max(tiles, 1) + step - 1) // step * step
        end, ahead_step = ahead + depth * k * PANEL_BYTES, PANEL_BYTES
        while rows > 0:
            if ahead >= end:
                ahead, ahead_step = b, 0
            done = tile(zero, min(height, rows), 1, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
            rows -= done
            ahead += depth * k // 4 * PANEL_BYTES
            a += PANEL_BYTES * done
            init += itemsize * done * init_row
            c += itemsize * done * c_row
            side += itemsize * done * side_row

    return rows_product


def _make_columns_product(pairs: bool) -> Any:
    """Return `columns_product` of numbers, or of words that hold two of bfloat16."""
    sizes = [rows for rows in (PAIRS_ROWS if pairs else TILE_ROWS) if rows in (16, 8, 6, 4, 3, 2, 1)]
    highest, tile = sizes[0], make_tiles([(rows, 1) for rows in sizes], transposed=True, pairs=pairs)

    @helper
    def columns_product(zero, a, b, b_step, none, c, c_step, count, k, rows):
        """C = A^T @ B for `count` panels of B: A the first `rows` columns of a panel, k rows of both, `none` a line of zeros.

        b_step and c_step are the bytes from one panel, and from one block of C, to the next.
        """
        width = width_of(zero)
        itemsize = PANEL_BYTES // width
        if rows == highest:  # no loop over heights in the common case: it would cost 4 % at k = 100
            for p in range(count):
                ahead = c + (p + 1) * c_step
                tile(zero, highest, 1, a, 0, b + p * b_step, 0, none, 0, c + p * c_step, width, NO_FINISH, none, 0, k, ahead, PANEL_BYTES)
            return
        for p in range(count):
            done, place = 0, c + p * c_step
            while done < rows:
                c_at = place + PANEL_BYTES * done
                done += tile(zero, rows - done, 1, a + itemsize * done, 0, b + p * b_step, 0, none, 0, c_at, width, NO_FINISH, none, 0, k, c_at, 0)

    return columns_product


rows_product, columns_product = _make_rows_product(False), _make_columns_product(False)
rows_of_pairs, columns_of_pairs = _make_rows_product(True), _make_columns_product(True)


# Few rows: one panel alone would wait for the latency of its chains, so some are multiplied side by side.
FEW_ROWS = 4
_BESIDE = {64: (8, 8, 8, 4), 32: (4, 2, 2, 1), 16: (2, 1, 1, 1)}[VECTOR_BYTES]
_few_tile = make_tiles([shape for rows in (4, 3, 2, 1) for shape in dict.fromkeys([(rows, _BESIDE[rows - 1]), (rows, 1)])])


@task
def few_rows_product(tag, a, jump, b, b_jump, init, c, mode, k, rows, count):
    """C (rows x count panels) = finish(init + A @ B) for at most FEW_ROWS rows; A and C in panels, `jump` from one to the next."""
    zero = zero_of(tag)
    width, p = width_of(zero), 0
    itemsize = PANEL_BYTES // width
    while p < count:
        b_at, init_at, c_at = b + p * b_jump * itemsize, init + p * PANEL_BYTES, c + p * jump * itemsize
        p += _few_tile(zero, rows, count - p, a, jump, b_at, b_jump, init_at, 0, c_at, width, mode, c_at, 0, k, b_at, 0) // rows


# The same for callers that know only addresses; the type of `tag`, a null pointer, says the dtype.


@task
def panel_product(tag, a, a_jump, b, init, init_row, c, c_row, mode, side, side_row, k, rows, ahead):
    """`rows_product`, called by its address."""
    rows_product(zero_of(tag), a, a_jump, b, init, init_row, c, c_row, mode, side, side_row, k, rows, ahead)


@task
def column_product(tag, a, b, b_step, none, c, c_step, count, k, rows):
    """`columns_product`, called by its address."""
    columns_product(zero_of(tag), a, b, b_step, none, c, c_step, count, k, rows)
