"""Products of any number of rows with one panel, cut into register tiles.

The fewest tiles that hold the rows, of nearly equal height: 100 rows are five tiles of 20 on AVX-512, so that none is so
low that the panel of B, read once a tile, is waited for.
"""

from __future__ import annotations

from typing import Any

from ._jit import helper, task
from ._tile import BFLOAT16, NO_FINISH, PANEL_BYTES, TILE_ROWS, VECTOR_BYTES, make_tile, width_of, zero_of

# Pairs that are taken apart need registers for both halves: 16 of them do not hold the largest tile too.
PAIRS_ROWS = TILE_ROWS if BFLOAT16 or len(TILE_ROWS) > 4 else TILE_ROWS[1:]


def _filled(sizes: tuple[int, ...], count: int) -> tuple[int, ...]:
    return sizes + (1,) * (count - len(sizes))


def _make_rows_product(pairs: bool) -> Any:
    """Return `rows_product` of numbers, or of words that hold two of bfloat16."""
    sizes = _filled(PAIRS_ROWS if pairs else TILE_ROWS, 8)
    S0, S1, S2, S3, S4, S5, S6, S7 = sizes
    step, depth = 4 if S0 > 8 else 1, 2 if pairs else 1
    row0, row1, row2, row3, row4, row5, row6, row7 = (make_tile(rows, False, pairs=pairs) for rows in sizes)

    @helper
    def rows_product(zero, a, a_jump, b, init, init_row, c, c_row, mode, side, side_row, k, rows, ahead):
        """C (rows x panel) = finish(init + A @ B): A rows in panels, B one panel. See `make_tile` for the arguments.

        ahead is where the next panel of B lies, of words the numbers that it is made from: its lines are asked for meanwhile.
        """
        itemsize = PANEL_BYTES // width_of(zero)
        tiles = (rows + S0 - 1) // S0
        height = ((rows + tiles - 1) // max(tiles, 1) + step - 1) // step * step
        end, ahead_step = ahead + depth * k * PANEL_BYTES, PANEL_BYTES
        while rows > 0:
            left = min(height, rows)
            if ahead >= end:
                ahead, ahead_step = b, 0
            if left >= S0:
                row0(zero, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
                done = S0
            elif left >= S1:
                row1(zero, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
                done = S1
            elif left >= S2:
                row2(zero, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
                done = S2
            elif left >= S3:
                row3(zero, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
                done = S3
            elif left >= S4:
                row4(zero, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
                done = S4
            elif left >= S5:
                row5(zero, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
                done = S5
            elif left >= S6:
                row6(zero, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
                done = S6
            else:
                row7(zero, a, a_jump, b, 0, init, init_row, c, c_row, mode, side, side_row, k, ahead, ahead_step)
                done = S7
            rows -= done
            ahead += depth * k // 4 * PANEL_BYTES
            a += PANEL_BYTES * done
            init += itemsize * done * init_row
            c += itemsize * done * c_row
            side += itemsize * done * side_row

    return rows_product


def _make_columns_product(pairs: bool) -> Any:
    """Return `columns_product` of numbers, or of words that hold two of bfloat16."""
    sizes = _filled(tuple(rows for rows in (PAIRS_ROWS if pairs else TILE_ROWS) if rows in (16, 8, 6, 4, 3, 2, 1)), 5)
    C0, C1, C2, C3, C4 = sizes
    column0, column1, column2, column3, column4 = (make_tile(rows, True, pairs=pairs) for rows in sizes)

    @helper
    def columns_product(zero, a, b, b_step, none, c, c_step, count, k, rows):
        """C = A^T @ B for `count` panels of B: A the first `rows` columns of a panel, k rows of both, `none` a line of zeros.

        b_step and c_step are the bytes from one panel, and from one block of C, to the next.
        """
        width = width_of(zero)
        itemsize = PANEL_BYTES // width
        if rows == C0:  # no loop over heights in the common case: it would cost 4 % at k = 100
            for p in range(count):
                column0(zero, a, 0, b + p * b_step, 0, none, 0, c + p * c_step, width, NO_FINISH, none, 0, k, c + (p + 1) * c_step, PANEL_BYTES)
            return
        for p in range(count):
            first, left, place = a, rows, c + p * c_step
            while left > 0:
                if left >= C0:
                    column0(zero, first, 0, b + p * b_step, 0, none, 0, place, width, NO_FINISH, none, 0, k, place, 0)
                    done = C0
                elif left >= C1:
                    column1(zero, first, 0, b + p * b_step, 0, none, 0, place, width, NO_FINISH, none, 0, k, place, 0)
                    done = C1
                elif left >= C2:
                    column2(zero, first, 0, b + p * b_step, 0, none, 0, place, width, NO_FINISH, none, 0, k, place, 0)
                    done = C2
                elif left >= C3:
                    column3(zero, first, 0, b + p * b_step, 0, none, 0, place, width, NO_FINISH, none, 0, k, place, 0)
                    done = C3
                else:
                    column4(zero, first, 0, b + p * b_step, 0, none, 0, place, width, NO_FINISH, none, 0, k, place, 0)
                    done = C4
                left -= done
                first += itemsize * done
                place += PANEL_BYTES * done

    return columns_product


rows_product, columns_product = _make_rows_product(False), _make_columns_product(False)
rows_of_pairs, columns_of_pairs = _make_rows_product(True), _make_columns_product(True)


# Few rows: one panel alone would wait for the latency of its chains, so some are multiplied side by side.
FEW_ROWS = 4
_BESIDE = {64: (8, 8, 8, 4), 32: (4, 2, 2, 1), 16: (2, 1, 1, 1)}[VECTOR_BYTES]


def _make_few(rows: int) -> Any:
    """Return a helper that multiplies `rows` rows of A with panels of B."""
    beside = _BESIDE[rows - 1]
    together, alone = make_tile(rows, False, panels=beside), make_tile(rows, False)

    @helper
    def few(zero, a, jump, b, b_jump, init, c, mode, k, count):
        width, p = width_of(zero), 0
        itemsize = PANEL_BYTES // width
        while p < count:
            b_at, init_at, c_at = b + p * b_jump * itemsize, init + p * PANEL_BYTES, c + p * jump * itemsize
            if p + beside <= count:
                together(zero, a, jump, b_at, b_jump, init_at, 0, c_at, width, mode, c_at, 0, k, b_at, 0)
                p += beside
            else:
                alone(zero, a, jump, b_at, b_jump, init_at, 0, c_at, width, mode, c_at, 0, k, b_at, 0)
                p += 1

    return few


_few1, _few2, _few3, _few4 = (_make_few(rows) for rows in (1, 2, 3, 4))


@task
def few_rows_product(tag, a, jump, b, b_jump, init, c, mode, k, rows, count):
    """C (rows x count panels) = finish(init + A @ B) for at most FEW_ROWS rows; A and C in panels, `jump` from one to the next."""
    zero = zero_of(tag)
    if rows == 1:
        _few1(zero, a, jump, b, b_jump, init, c, mode, k, count)
    elif rows == 2:
        _few2(zero, a, jump, b, b_jump, init, c, mode, k, count)
    elif rows == 3:
        _few3(zero, a, jump, b, b_jump, init, c, mode, k, count)
    else:
        _few4(zero, a, jump, b, b_jump, init, c, mode, k, count)


# The same for callers that know only addresses; the type of `tag`, a null pointer, says the dtype.


@task
def panel_product(tag, a, a_jump, b, init, init_row, c, c_row, mode, side, side_row, k, rows, ahead):
    """`rows_product`, called by its address."""
    rows_product(zero_of(tag), a, a_jump, b, init, init_row, c, c_row, mode, side, side_row, k, rows, ahead)


@task
def column_product(tag, a, b, b_step, none, c, c_step, count, k, rows):
    """`columns_product`, called by its address."""
    columns_product(zero_of(tag), a, b, b_step, none, c, c_step, count, k, rows)
