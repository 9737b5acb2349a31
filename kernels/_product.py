"""Products of any number of rows with some panels, cut into register tiles.

The fewest tiles that hold the rows, of nearly equal height. The inputs are cut too where they are many: all rows are multiplied with lines of B
that stay in the cache of the first level, the sums wait in C meanwhile. A number that is stored and loaded is the same number, so this changes no bit.
"""

from __future__ import annotations

from typing import Any

from ._jit import helper, inline, task
from ._tile import BFLOAT16, NO_FINISH, PANEL_BYTES, TILE_PANELS, TILE_ROWS, VECTOR_BYTES, make_tiles, width_of, zero_of

# Pairs that are taken apart need registers for both halves: there are none left for those beside the largest tiles.
PAIRS_ROWS = TILE_ROWS if BFLOAT16 else {panels: rows[1:] for panels, rows in TILE_ROWS.items()}
BLOCK_DEPTH = 128  # lines of each panel of B that stay in the cache of the first level while all rows pass: 8 KB, 16 with two panels
TOGETHER = 8  # panels of B that all rows are multiplied with before the next


@inline
def _block_depth(k):
    """Into parts of which size to cut k: equal ones of whole panels of A."""
    if k <= BLOCK_DEPTH:
        return k
    parts = (k + BLOCK_DEPTH - 1) // BLOCK_DEPTH
    return ((k + parts - 1) // parts + 15) // 16 * 16


@inline
def _tile_height(rows, most):
    """Into tiles of which height to cut rows: the fewest, nearly equal."""
    if rows <= most:
        return rows
    tiles, step = (rows + most - 1) // most, 4 if most > 8 else 1
    return ((rows + tiles - 1) // tiles + step - 1) // step * step


def _make_rows_product(pairs: bool) -> Any:
    """Return `rows_product` of numbers, or of words that hold two of bfloat16."""
    sizes, depth = PAIRS_ROWS if pairs else TILE_ROWS, 2 if pairs else 1
    tallest, alone = sizes[TILE_PANELS][0], sizes[1][0]
    tile = make_tiles([(rows, panels) for panels in sizes for rows in sizes[panels]], pairs=pairs)

    @helper
    def rows_product(zero, a, a_jump, b, b_jump, init, c, c_row, c_jump, mode, side, k, rows, count, ahead):
        """C (rows x count panels) = finish(init + A @ B): A rows in panels, init a line for each panel. See `make_tiles` for the arguments.

        Some lines of all panels of B are multiplied with all rows before the next lines are: these columns of A, and C, stay in the cache of the second level,
        the lines in that of the first. Those that come next are asked for meanwhile; ahead is what comes behind the last ones, of words the numbers that
        they are made from.
        """
        width = width_of(zero)
        itemsize = PANEL_BYTES // width
        block, k0 = k if rows <= tallest else _block_depth(k), 0
        while k0 == 0 or k0 < k:
            deep, p = min(block, k - k0), 0
            how = mode if k0 + deep == k else NO_FINISH
            while p < count:
                beside, left = TILE_PANELS if count - p >= TILE_PANELS else 1, rows
                height = _tile_height(rows, tallest) if beside == TILE_PANELS else _tile_height(rows, alone)
                b_at, a_at = b + p * b_jump * itemsize + k0 * PANEL_BYTES, a + k0 // width * a_jump * itemsize
                c_at, side_at, init_at, init_row, init_jump = c + p * c_jump * itemsize, side + p * c_jump * itemsize, init + p * PANEL_BYTES, 0, width
                if k0 > 0:
                    init_at, init_row, init_jump = c_at, c_row, c_jump
                lines, line = depth * deep, 0
                if pairs:
                    next_b, next_jump = ahead + (p * k + k0) * depth * PANEL_BYTES, depth * k * PANEL_BYTES
                else:
                    next_b, next_jump = b_at + beside * b_jump * itemsize, b_jump * itemsize
                    if p + beside >= count:
                        next_b = b + (k0 + deep) * PANEL_BYTES if k0 + deep < k else ahead
                while left > 0:
                    asked, asked_step = next_b + line * PANEL_BYTES, PANEL_BYTES
                    if line >= lines:
                        asked += next_jump - lines * PANEL_BYTES
                    if line >= beside * lines:
                        asked, asked_step = b_at, 0
                    tall = min(height, left)
                    done, _ = tile(
                        zero, tall, beside, a_at, a_jump, b_at, b_jump, init_at, init_row, init_jump, c_at, c_row, c_jump, how, side_at, deep, asked, asked_step
                    )
                    left -= done
                    line += lines // 4
                    a_at += PANEL_BYTES * done
                    init_at += itemsize * done * init_row
                    c_at += itemsize * done * c_row
                    side_at += itemsize * done * c_row
                p += beside
            k0 += max(block, 1)

    return rows_product


def _make_columns_product(pairs: bool) -> Any:
    """Return `columns_product` of numbers, or of words that hold two of bfloat16."""
    sizes = PAIRS_ROWS if pairs else TILE_ROWS
    shapes = [(rows, panels) for panels in sizes for rows in sizes[panels] if rows * panels <= 16]
    tallest = shapes[0][0]
    tile = make_tiles(shapes, transposed=True, pairs=pairs)

    @helper
    def columns_product(zero, a, a_step, b, b_step, none, c, c_step, count, k, rows, arrays, ahead, behind, behind_step):
        """C = A^T @ B for `count` panels of B: A the first `rows` columns of some panels, k rows of both, `none` a line of zeros for each panel of a tile.

        a_step, b_step and c_step are the bytes from one panel of A and B, and from one block of C, to the next. Meanwhile it asks for the cache lines of
        `arrays` arrays that lie as C does and are needed next: of one at `ahead`, the others `behind_step` bytes apart from `behind` on.
        """
        width = width_of(zero)
        itemsize = PANEL_BYTES // width
        b_jump, c_jump, block, p = b_step // itemsize, c_step // itemsize, _block_depth(k), 0
        # 8 rows are 4 and 4: after 6 there would be 2, which take as long as 4.
        at_once = _tile_height(width, tallest) if tallest < 8 else width
        while p < count:
            beside, k0, run, line = TILE_PANELS if count - p >= TILE_PANELS else 1, 0, 0, 0
            place, lines = c + p * c_step, ahead + p * c_step
            while k0 == 0 or k0 < k:
                deep, done = min(block, k - k0), 0
                b_at, init, init_row, init_jump = b + p * b_step + k0 * PANEL_BYTES, none, 0, width
                while done < rows:
                    c_at, a_at = place + PANEL_BYTES * done, a + done // width * a_step + done % width * itemsize + k0 * PANEL_BYTES
                    if k0 > 0:
                        init, init_row, init_jump = c_at, width, c_jump
                    asked, asked_step = c_at, 0
                    if run < arrays * beside:
                        asked, asked_step = lines + line * PANEL_BYTES, PANEL_BYTES
                        line += deep // 2
                        if line >= rows:
                            line, run = 0, run + 1
                            lines = (behind + (run // beside - 1) * behind_step if run >= beside else ahead) + (p + run % beside) * c_step
                    height = min(at_once, width - done % width, rows - done)
                    tall, _ = tile(
                        zero, height, beside, a_at, 0, b_at, b_jump, init, init_row, init_jump, c_at, width, c_jump, NO_FINISH, none, deep, asked, asked_step
                    )
                    done += tall
                k0 += max(block, 1)
            p += beside

    return columns_product


rows_product, columns_product = _make_rows_product(False), _make_columns_product(False)
rows_of_pairs, columns_of_pairs = _make_rows_product(True), _make_columns_product(True)


# Few rows: one panel alone would wait for the latency of its chains, so some are multiplied side by side.
FEW_ROWS = 4
_FEW_TILES = {64: {4: 4, 3: 8, 2: 8, 1: 8}, 32: {4: 1, 3: 2, 2: 2, 1: 4}, 16: {4: 1, 3: 1, 2: 1, 1: 2}}[VECTOR_BYTES]
_few_tile = make_tiles([shape for rows, beside in _FEW_TILES.items() for shape in dict.fromkeys([(rows, beside), (rows, 1)])])


@task
def few_rows_product(tag, a, jump, b, b_jump, init, c, mode, k, rows, count):
    """C (rows x count panels) = finish(init + A @ B) for at most FEW_ROWS rows; A and C in panels, `jump` from one to the next."""
    zero = zero_of(tag)
    width, p = width_of(zero), 0
    itemsize = PANEL_BYTES // width
    while p < count:
        b_at, init_at, c_at = b + p * b_jump * itemsize, init + p * PANEL_BYTES, c + p * jump * itemsize
        _, wide = _few_tile(zero, rows, count - p, a, jump, b_at, b_jump, init_at, 0, width, c_at, width, jump, mode, c_at, k, b_at, 0)
        p += wide


# The same for callers that know only addresses; the type of `tag`, a null pointer, says the dtype.


@task
def panel_product(tag, a, a_jump, b, b_jump, init, c, c_row, c_jump, mode, side, k, rows, count, ahead):
    """`rows_product`, called by its address."""
    rows_product(zero_of(tag), a, a_jump, b, b_jump, init, c, c_row, c_jump, mode, side, k, rows, count, ahead)


@task
def column_product(tag, a, a_step, b, b_step, none, c, c_step, count, k, rows, arrays, ahead, behind, behind_step):
    """`columns_product`, called by its address."""
    columns_product(zero_of(tag), a, a_step, b, b_step, none, c, c_step, count, k, rows, arrays, ahead, behind, behind_step)
