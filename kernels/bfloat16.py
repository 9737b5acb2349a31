"""bfloat16: what products read is rounded once, where it is written; everything else stays float32.

A number of bfloat16 is the upper half of a float32: eight bits of it count. CPUs with AVX512_BF16 add the products of two pairs of them
to a float32 in one instruction, twice the speed of a fused multiply-add. So operands lie as words of 32 bits, each with two numbers, in
panels as wide as those of float32, and a tile reads words where it would read numbers:

    along    word (i, c) holds elements (i, 2c) and (i, 2c + 1): rows that are multiplied from the left
    down     word (r, j) holds elements (2r, j) and (2r + 1, j): what stands right of a product, and X of X^T dZ

The first number is the lower half of its word. A product adds the upper numbers first, then the lower ones, as two fused multiply-adds
do that take denormal numbers for zero: so CPUs without the instruction calculate the same bits from widened numbers. To round is
to take the nearest, in a tie the one whose last bit is 0; denormal numbers become zero.
"""

from __future__ import annotations

from typing import Any

from ._jit import helper, task
from ._pairs import clear_line, round_lines
from ._product import TOGETHER, columns_of_pairs, rows_of_pairs
from ._tile import PANEL_BYTES, line_buffer, transpose_block, width_of, zero_of
from ._wait import flush_denormals, set_float_mode
from .operations import follow
from .panels import panels
from .program import Memory, Operation, Program, Value, task_address
from .records import NOW, I, Record
from .zeros import Lists

__all__ = ["Rounded", "pack_pairs", "pairs_column_product", "pairs_panel_product", "transpose_pairs"]

ROUND = Record(
    source=(I, "address of what is rounded; 0: the minibatch's inputs"),
    n=(I, "its columns"),
    jump=(I, "numbers from one panel of it to the next, and words from one panel of `along` to the next"),
    along=(I, "address of where pairs along the rows are written, 0: nobody reads them"),
    down=(I, "address of where pairs of rows are written, 0: nobody reads them"),
    down_jump=(I, "words from one panel of those to the next"),
)


# Products of words, called by their addresses.


@task
def pairs_panel_product(tag, a, a_jump, b, b_jump, init, c, c_row, c_jump, mode, side, k, rows, count, ahead):
    """C (rows x count panels) = finish(init + A @ B), A in pairs along its rows, B in pairs of rows; k words deep. See `rows_product`."""
    before = flush_denormals()
    rows_of_pairs(zero_of(tag), a, a_jump, b, b_jump, init, c, c_row, c_jump, mode, side, k, rows, count, ahead)
    set_float_mode(before)


@task
def pairs_column_product(tag, a, a_step, b, b_step, none, c, c_step, count, k, rows, arrays, ahead, behind, behind_step):
    """C = A^T @ B, both in pairs of rows; k words deep. See `columns_product`."""
    before = flush_denormals()
    columns_of_pairs(zero_of(tag), a, a_step, b, b_step, none, c, c_step, count, k, rows, arrays, ahead, behind, behind_step)
    set_float_mode(before)


# What rounds.


@helper
def round_panel(source, n_rows, n, along, down):
    """Round rows of a panel, of which n columns count: see `round_lines`."""
    for i in range(0, n_rows, 2):
        round_lines(source + i * PANEL_BYTES, n, i + 1 < n_rows, along + i * PANEL_BYTES if along != 0 else 0, down + i // 2 * PANEL_BYTES if down != 0 else 0)


@task
def round_rows(tag, record, first, last, panel, now):
    """Round rows of a panel, from an even one on."""
    zero, R = zero_of(tag), ROUND(record)
    width = width_of(zero)
    source = (R.source if R.source != 0 else NOW(now).inputs) + panel * R.jump * 4 + first * PANEL_BYTES
    along = R.along + panel // 2 * R.jump * 4 + first * PANEL_BYTES + panel % 2 * (PANEL_BYTES // 2) if R.along != 0 else 0
    down = R.down + panel * R.down_jump * 4 + first // 2 * PANEL_BYTES if R.down != 0 else 0
    round_panel(source, last - first, min(width, R.n - panel * width), along, down)


@task
def pack_pairs(tag, W, n_in, out):
    """Round a panel of weights to pairs of rows."""
    round_panel(W, n_in, width_of(zero_of(tag)), 0, out)


@task
def transpose_pairs(tag, W, n_in, n_out, first, last, out):
    """Round some panels of rows of W, transposed, to pairs of rows: of each, one after the other, the lines fill whole blocks."""
    zero = zero_of(tag)
    width = width_of(zero)
    P, block, words = panels(n_out, width), PANEL_BYTES * width, line_buffer(zero)
    for p in range(0, P, 2):
        for q in range(first, last):
            rows = min(width, n_in - q * width)
            for half in range(min(2, P - p)):
                round_panel(W + ((p + half) * n_in + q * width) * PANEL_BYTES, rows, width, words + half * (PANEL_BYTES // 2), 0)
            for i in range(rows, width):  # what lies behind the last input is not a weight
                clear_line(words + i * PANEL_BYTES)
            transpose_block(zero, words, width, out + ((q - first) * ((P + 1) // 2) + p // 2) * block, width)


class Rounded:
    """What a dense layer reads in a network of bfloat16: its inputs, and the gradient of its product.

    Parameters
    ----------
    program : Program
    X : Value
        The inputs: the phase that writes them, or one of their own, rounds them.
    layer : Dense
    at : Memory

    Attributes
    ----------
    gradient : Operation or None
        What the gradient of the product must go through at last.
    """

    def __init__(self, program: Program, X: Value, layer: Any, at: Memory) -> None:
        turn = at.index % 2  # pairs along the rows are read by the next phase of products only
        self.program, self.layer, self.names = program, layer, (f"rounded {X.name}", f"rounded dA{at.index + 1}")
        for_weights, P, Q = bool(at.gradient and at.gradient[0]), program.panels(layer.n_out), program.panels(X.n)
        lies = {"jump": program.jump, "down_jump": program.down_jump}
        along, down = program.in_turn(f"X along {turn}", (Q + 1) // 2 * program.jump), program.zeros(Q * program.down_jump) if for_weights else 0
        self.inputs = ROUND.new(**lies, source=X.where, n=X.n, along=along, down=down)
        follow(program, X, Operation(round_rows, self.inputs, f"{X.name} rounded"), 2.0 * program.rows * X.n)
        along = program.in_turn(f"dZ along {turn}", (P + 1) // 2 * program.jump) if at.training and X.wanted else 0
        down = program.in_turn(f"dZ down {turn}", P * program.down_jump) if at.training and for_weights else 0
        self.outputs = ROUND.new(**lies, n=layer.n_out, along=along, down=down)
        self.gradient = Operation(round_rows, self.outputs, "rounded") if along or down else None

    def fill_forward(self, record: Any) -> None:
        """Let the way forward read what is rounded."""
        program, depth = self.program, (self.layer.n_in + 1) // 2
        record["X"], record["depth"] = self.inputs["along"], depth
        record["product"], record["pack"] = (task_address(one, program.dtype) for one in (pairs_panel_product, pack_pairs))
        record["scratch"], record["scratch_bytes"] = program.scratch(TOGETHER * depth * program.width).values()

    def fill_backward(self, record: Any) -> None:
        """Let the way back read what is rounded."""
        program = self.program
        record["X"], record["left"], record["right"] = self.inputs["down"], self.outputs["along"], self.outputs["down"]
        record["right_jump"], record["pair"], record["depth"] = program.down_jump, 2, (self.layer.n_out + 1) // 2
        record["pack"], record["rows_product"], record["columns_product"] = (
            task_address(one, program.dtype) for one in (transpose_pairs, pairs_panel_product, pairs_column_product)
        )

    def lists_of_inputs(self) -> Lists:
        """Return lists of what is not zero along the rows of the inputs."""
        return Lists(self.program, int(self.inputs["along"][0]), (self.layer.n_in + 1) // 2, self.names[0], by_columns=False)

    def lists_of_rows(self) -> Lists:
        """Return lists of what is not zero down their columns."""
        return Lists(self.program, int(self.inputs["down"][0]), self.layer.n_in, self.names[0], pair=2, by_rows=False)

    def lists_of_gradient(self) -> Lists:
        """Return lists of what is not zero along the rows of the gradient of the product."""
        return Lists(self.program, int(self.outputs["along"][0]), (self.layer.n_out + 1) // 2, self.names[1], by_columns=False)
