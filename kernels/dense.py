"""The dense layer: its record, its tasks, its `emit`.

    forward    Z = X W + b     A = rows of X,                  B = panels of W
    backward   dX = dZ W^T     A = rows of dZ,                 B = 16 rows of W for each panel, transposed into scratch
               dW = X^T dZ     A = panels of X, transposed,    B = panels of dZ

At most TOGETHER panels are multiplied at once. In a network of bfloat16 the operands are rounded, in pairs: see `bfloat16`. X and
dZ by the phases that write them, W here, some panels at a time, into a thread's scratch. What is zero of A may be left out: see `zeros`.

The work of each line is cut in equal tasks; an output element is written by one task, in one order, so its bits do not depend on
the number of threads. A backward task takes some inputs of the layer: their panels of dX, then their rows of dW.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ._factory import Activation
from ._jit import Task, helper, task
from ._product import FEW_ROWS, TOGETHER, column_product, few_rows_product, panel_product
from ._tile import FLOOR, MASK, NO_FINISH, PANEL_BYTES, TILE_PANELS, array_at, call, transpose_block, width_of, zero_of
from .activations import ACTIVATIONS, IDENTITY, RELU
from .bfloat16 import Rounded
from .panels import panels
from .program import Memory, Operation, Program, Value, task_address
from .records import NOW, OP, I, Record
from .stored import StoredRows
from .updates import OPTIMIZER
from .zeros import BY_COLUMNS, BY_ROWS, Lists, goes_by, pays

__all__ = ["Dense", "apply", "finishing"]

BOUND_ROWS = 8  # for fewer rows a product takes as long: it waits for the weights
UPDATED_NUMBERS, UPDATED_INPUTS = 16384, 512  # weights that are updated at once, and of how many inputs: their gradient is in the cache still
CACHED = 1 << 15  # bytes of inputs that stay in the cache of the first level while all that is to be multiplied with them passes
ROWS_A_THREAD = 16  # from so many on, a layer is cut along its rows

FORWARD = Record(
    n_in=(I, "inputs"),
    n_out=(I, "outputs"),
    X=(I, "address of the inputs, 0: the minibatch's"),
    W=(I, "address of the weights, in panels"),
    b=(I, "address of the bias"),
    Z=(I, "address of what the product is written to"),
    jump=(I, "numbers from one panel of X and Z to the next"),
    depth=(I, "numbers of a row of X, or words"),
    mode=(I, "how a tile ends: FLOOR for ReLU, or NO_FINISH"),
    panel_parts=(I, "tasks side by side in the outputs"),
    row_parts=(I, "tasks one above the other in the rows"),
    product=(I, "address of panel_product"),
    few=(I, "address of few_rows_product where rows are few, else 0"),
    zeros=(I, "address of the record of the lists of what is not zero in X, 0: there are none"),
    listed=(I, "address of listed_rows_product"),
    pack=(I, "address of the task that rounds a panel of weights to pairs of rows, 0: they are read as they are"),
    scratch=(I, "address of where a thread does that"),
    scratch_bytes=(I, "bytes of that for one thread"),
    then=(I, "address of the operations on what was written"),
    n_then=(I, "how many there are"),
)

BACKWARD = Record(
    n_in=(I, "inputs"),
    n_out=(I, "outputs"),
    X=(I, "address of the inputs, 0: the minibatch's; or in pairs of rows"),
    W=(I, "address of the weights, in panels"),
    dZ=(I, "address of the gradient of the product"),
    left=(I, "address of the same, or of its pairs along the rows: what W transposed is multiplied with"),
    right=(I, "address of the same, or of its pairs of rows: what X transposed is multiplied with"),
    dX=(I, "address of where the gradient of the inputs is written, 0: nobody asks for it"),
    dW=(I, "address of where the gradient of the weights is written, 0: they are not trained"),
    db=(I, "address of where the gradient of the bias is written, 0: it is not trained"),
    jump=(I, "numbers from one panel of dX, dZ and left to the next"),
    right_jump=(I, "numbers from one panel of X and right to the next"),
    pair=(I, "rows of X in a word of it: 1 or 2"),
    depth=(I, "numbers of a row of dZ, or words"),
    mode=(I, "how a tile of dX ends: MASK below ReLU, or NO_FINISH"),
    mask=(I, "address of the outputs of that ReLU"),
    input_parts=(I, "tasks side by side in the inputs"),
    output_parts=(I, "tasks side by side in the outputs, where nobody asks for dX and inputs are few"),
    scratch=(I, "address of where a thread transposes weights"),
    scratch_bytes=(I, "bytes of that for one thread"),
    constants=(I, "address of a line of ones and some lines of zeros"),
    pack=(I, "address of the task that transposes weights"),
    rows_product=(I, "address of panel_product"),
    columns_product=(I, "address of column_product"),
    sum_product=(I, "address of panel_product, of numbers"),
    zeros=(I, "address of the record of the lists of what is not zero in X, 0: there are none"),
    listed=(I, "address of listed_columns_product"),
    dZ_zeros=(I, "address of that of lists that hold all of dZ that is not zero, 0: there are none"),
    dZ_listed=(I, "address of listed_rows_product"),
    update=(I, "address of the task that updates some parameters at once, 0: later"),
    optimizer=(I, "address of the optimizer's record"),
    finish=(I, "address of the operations on dX"),
    n_finish=(I, "how many there are"),
    penalize=(I, "address of the task that adds a penalty"),
    W_penalty=(I, "address of the record of the weights' penalty, 0: none"),
    b_penalty=(I, "address of that of the bias's"),
)

ACTIVATION = Record(
    element=(I, "address of its task, forth or back"),
    values=(I, "address of its parameters"),
    source=(I, "address of what it is applied to, or of what the way back needs"),
    out=(I, "address of where it is written, or of the gradient"),
    jump=(I, "numbers from one panel to the next"),
)


@task
def activate(tag, record, first, last, panel, now):
    """out = f(source), or on the way back out = out * f'(source), for rows of a panel."""
    zero, A = zero_of(tag), ACTIVATION(record)
    width = width_of(zero)
    at = (panel * A.jump + first * width) * (PANEL_BYTES // width)
    call(A.element, (0, A.values, A.source + at, A.out + at, (last - first) * width))


@helper
def apply(operations, count, first, last, panel, now):
    """Apply operations to rows of a panel."""
    for k in range(count):
        one = OP(operations + k * OP_BYTES)
        call(one.task, (0, one.record, first, last, panel, now))


OP_BYTES = OP.dtype.itemsize


@helper
def _span(part, parts, count):
    """Return the first of the panels of a part, and the one behind its last: as many as a tile takes stay together."""
    groups = panels(count, TILE_PANELS)
    return part * groups // parts * TILE_PANELS, min(count, (part + 1) * groups // parts * TILE_PANELS)


@task
def dense_forward(tag, t, worker, record, now):
    """Z = X W + b for some rows and panels, and what follows."""
    zero, L, rows = zero_of(tag), FORWARD(record), NOW(now).rows
    width = width_of(zero)
    itemsize, P = PANEL_BYTES // width, panels(L.n_out, width)
    X = L.X if L.X != 0 else NOW(now).inputs
    part, block = t // L.row_parts, t % L.row_parts
    height = ((rows + L.row_parts - 1) // L.row_parts + 3) // 4 * 4
    first = min(rows, block * height)
    last = min(rows, first + height)
    if first == last:
        return
    scratch = L.scratch + worker * L.scratch_bytes
    first_panel, last_panel = _span(part, L.panel_parts, P)
    if L.few != 0:
        W, b, out = L.W + first_panel * L.n_in * PANEL_BYTES, L.b + first_panel * PANEL_BYTES, L.Z + first_panel * L.jump * itemsize
        call(L.few, (0, X, L.jump, W, L.n_in * width, b, out, L.mode, L.n_in, rows, last_panel - first_panel))
    for p0 in range(first_panel, last_panel, TOGETHER):
        count = min(TOGETHER, last_panel - p0)
        W, b, out = L.W + p0 * L.n_in * PANEL_BYTES, L.b + p0 * PANEL_BYTES, L.Z + p0 * L.jump * itemsize + first * PANEL_BYTES
        ahead = W + count * L.n_in * PANEL_BYTES
        if L.pack != 0:
            for p in range(count):
                call(L.pack, (0, W + p * L.n_in * PANEL_BYTES, L.n_in, scratch + p * L.depth * PANEL_BYTES))
            W = scratch
        if goes_by(L.zeros, BY_ROWS):
            call(L.listed, (0, L.zeros, X, W, L.depth * PANEL_BYTES, b, L.Z + p0 * L.jump * itemsize, L.mode, b, first, last, count, ahead))
        elif L.few == 0:
            call(L.product, (0, X + first * PANEL_BYTES, L.jump, W, L.depth * width, b, out, width, L.jump, L.mode, b, L.depth, last - first, count, ahead))
        for p in range(p0, p0 + count):
            apply(L.then, L.n_then, first, last, p, now)


@helper
def transpose_part(zero, source, out, rows):
    """Transpose the first rows of a block, the others taken as zeros."""
    width = width_of(zero)
    a, c = array_at(zero, source, rows * width), array_at(zero, out, width * width)
    for j in range(width):
        for i in range(width):
            c[j * width + i] = a[i * width + j] if i < rows else zero


@task
def transpose_weights(tag, W, n_in, n_out, first, last, out):
    """Transpose some panels of rows of W: numbers (j, i) of each lie at j * width + i."""
    zero = zero_of(tag)
    width = width_of(zero)
    P, block = panels(n_out, width), PANEL_BYTES * width
    for p in range(P):
        for q in range(first, last):
            source, Wt = W + (p * n_in + q * width) * PANEL_BYTES, out + ((q - first) * P + p) * block
            if n_in - q * width >= width:
                transpose_block(zero, source, width, Wt, width)
            else:  # what lies behind the last input is not a weight
                transpose_part(zero, source, Wt, n_in - q * width)


@helper
def _weight_gradient(L, width, X, step, depth, start, end, first, last, now):
    """dW = X^T dZ for panels start ... end - 1 of inputs and first ... last - 1 of outputs, and the update: nobody else reads these weights any more.

    Then it is done some panels at a time, whose gradient is in the cache, and the weights and what the optimizer keeps of them are asked for meanwhile.
    """
    from_panel, together = L.n_in * PANEL_BYTES, max(TOGETHER, min(UPDATED_INPUTS // width, CACHED // (max(depth, 1) * PANEL_BYTES)))
    arrays, state, state_step = 0, 0, 0
    if L.update != 0:
        O = OPTIMIZER(L.optimizer)
        arrays, state, state_step = 1 + O.buffers, O.state + L.dW - O.gradient, O.state_bytes
    for q0 in range(start, end, together):
        q1 = min(end, q0 + together)
        height, some = min(q1 * width, L.n_in) - q0 * width, max(1, last - first)
        if L.update != 0:
            some = max(1, UPDATED_NUMBERS // (height * width * TILE_PANELS)) * TILE_PANELS
        for p0 in range(first, last, some):
            count, at = min(some, last - p0), p0 * from_panel + q0 * width * PANEL_BYTES
            dW, dZ, asked = L.dW + at, L.right + p0 * step, (arrays, L.W + at, state + at, state_step)
            product = X + q0 * step, step, dZ, step, L.constants + PANEL_BYTES, dW, from_panel, count
            if goes_by(L.zeros, BY_COLUMNS):
                call(L.listed, (0, L.zeros, *product, depth, q0, height, *asked))
            else:
                call(L.columns_product, (0, *product, depth, height, *asked))
            for q in range(q0, q1 if L.W_penalty != 0 else q0):
                for p in range(p0, p0 + count):
                    call(L.penalize, (0, L.W_penalty, p, q, now))
            if L.update != 0 and height == L.n_in:  # the panels lie side by side
                call(L.update, (0, L.optimizer, dW, count * height * width, now))
            elif L.update != 0:
                for p in range(count):
                    call(L.update, (0, L.optimizer, dW + p * from_panel, height * width, now))


@task
def dense_backward(tag, t, worker, record, now):
    """dX = dZ W^T, finished, and dW = X^T dZ for some inputs of a layer; db = sum of dZ for some outputs."""
    zero, L, rows = zero_of(tag), BACKWARD(record), NOW(now).rows
    width = width_of(zero)
    itemsize = PANEL_BYTES // width
    X = L.X if L.X != 0 else NOW(now).inputs
    P, Q = panels(L.n_out, width), panels(L.n_in, width)
    scratch, ones, no_bias = L.scratch + worker * L.scratch_bytes, L.constants, L.constants + PANEL_BYTES
    step, right_step, right_depth = L.jump * itemsize, L.right_jump * itemsize, (rows + L.pair - 1) // L.pair
    Wt_bytes = panels(L.depth, width) * width * PANEL_BYTES
    part, outer = t // L.output_parts, t % L.output_parts
    first_panel, last_panel = _span(outer, L.output_parts, P)
    start, end = _span(part, L.input_parts, Q)
    for q0 in range(start, end if L.dX != 0 else start, TOGETHER):
        q1 = min(end, q0 + TOGETHER)
        call(L.pack, (0, L.W, L.n_in, L.n_out, q0, q1, scratch))
        dX, mask, count = L.dX + q0 * step, L.mask + q0 * step, q1 - q0
        if goes_by(L.dZ_zeros, BY_ROWS):
            call(L.dZ_listed, (0, L.dZ_zeros, L.left, scratch, Wt_bytes, no_bias, dX, L.mode, mask, 0, rows, count, scratch))
        else:
            call(
                L.rows_product,
                (0, L.left, L.jump, scratch, Wt_bytes // itemsize, no_bias, dX, width, L.jump, L.mode, mask, L.depth, rows, count, scratch),
            )
        for q in range(q0, q1):
            apply(L.finish, L.n_finish, 0, rows, q, now)
    if L.dW != 0:
        _weight_gradient(L, width, X, right_step, right_depth, start, end, first_panel, last_panel, now)
    for p in range(t, P if L.db != 0 else 0, L.input_parts * L.output_parts):  # a row of ones times dZ
        db = L.db + p * PANEL_BYTES
        call(L.sum_product, (0, ones, 0, L.dZ + p * step, 0, no_bias, db, width, 0, NO_FINISH, ones, rows, 1, 1, ones))
        if L.b_penalty != 0:
            call(L.penalize, (0, L.b_penalty, p, 0, now))
        if L.update != 0:
            call(L.update, (0, L.optimizer, db, width, now))


@dataclass(frozen=True)
class Dense:
    """A dense layer.

    Attributes
    ----------
    n_in, n_out : int
    activation : int or Activation
        One of rows is left to others.
    trained : (bool, bool)
        Whether training changes the weights, and the bias.
    penalties : (float, float, float, float)
        (l1, l2, bias_l1, bias_l2).
    """

    follows: ClassVar[bool] = False

    n_in: int
    n_out: int
    activation: int | Activation
    trained: tuple[bool, bool] = (True, True)
    penalties: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Its arrays, in the order in which they lie in the flat vector."""
        return {"W": (self.n_in, self.n_out), "b": (self.n_out,)}

    @property
    def element(self) -> Activation | None:
        """The elementwise activation, None for one of rows."""
        return self.activation if isinstance(self.activation, Activation) else ACTIVATIONS.get(self.activation)

    def emit(self, program: Program, X: Value, at: Memory) -> tuple[Value, Callable[[int], int]]:
        """Add the way forward; return the outputs, and what adds the way back."""
        rows, (W, b), activation = program.rows, at.parameters, self.element or ACTIVATIONS[IDENTITY]
        work = float(rows if X.stored is None else X.stored.forward_work) * self.n_in * self.n_out
        groups, shares = -(-program.panels(self.n_out) // TILE_PANELS), program.shares(max(work, 1.0 * BOUND_ROWS * work / rows))
        whole = -(-groups // program.n_threads) * program.n_threads  # what the threads would do if all did as much as the busiest one
        panel_parts = min(groups, shares) if whole < 1.07 * groups else 1
        row_parts = 1 if panel_parts > 1 else min(shares, -(-rows // ROWS_A_THREAD))
        Z = program.matrix(self.n_out)
        relu, plain = activation is ACTIVATIONS[RELU], activation is ACTIVATIONS[IDENTITY]
        saves = at.training and activation.saves_input
        A = program.matrix(self.n_out) if saves else Z
        record = FORWARD.new(
            n_in=self.n_in,
            n_out=self.n_out,
            X=X.where,
            W=W,
            b=b,
            Z=Z,
            jump=program.jump,
            depth=self.n_in,
            mode=FLOOR if relu else NO_FINISH,
            panel_parts=panel_parts,
            row_parts=row_parts,
            product=task_address(panel_product, program.dtype),
            few=task_address(few_rows_product, program.dtype) if rows <= FEW_ROWS and not program.bfloat16 and X.stored is None else 0,
        )
        rounded = Rounded(program, X, self, at) if program.bfloat16 else None
        if rounded is not None:
            rounded.fill_forward(record)
        lists = X.stored
        if lists is None and pays(program, X, self.n_out):
            lists = Lists(program, X.where, X.n, X.name) if rounded is None else rounded.lists_of_inputs()
            if rounded is None:
                X.lists.append(lists)
        if lists is not None:
            record["zeros"], record["listed"] = lists.by_rows()
        then: list[Operation] = []
        if not relu and not plain:
            then.append(activating(program, activation, activation.forward_task, Z, A))
        program.operations(record, "then", then)
        i = at.index + 1
        name = f"A{i}"
        program.phase(dense_forward, panel_parts * row_parts, record, work, f"{name} = f({X.name} W{i} + b{i})", True)
        trained = any(at.gradient)
        out = Value(A, self.n_out, name, epilogue=then, wanted=X.wanted or trained)
        if relu:
            out.mask = A
        elif not plain and at.training:
            out.finish = [activating(program, activation, activation.backward_task, Z if saves else A)]
        if rounded is not None and rounded.gradient is not None:
            out.finish.append(rounded.gradient)

        def backward(dZ: int) -> int:
            if not trained and not X.wanted:
                return 0
            return self._emit_backward(program, X, at, dZ, rounded, lists, out)

        return out, backward

    def _emit_backward(self, program: Program, X: Value, at: Memory, dZ: int, rounded: Rounded | None, lists: Lists | StoredRows | None, out: Value) -> int:
        rows, width, (dW, db) = program.rows, program.width, at.gradient
        work = float(rows if X.stored is None else X.stored.backward_work) * self.n_in * self.n_out * (bool(dW) + X.wanted)
        Q, P, shares = program.panels(self.n_in), program.panels(self.n_out), program.shares(work)
        groups = -(-Q // TILE_PANELS)
        dX = program.matrix(self.n_in) if X.wanted else 0
        output_parts = shares if not dX and groups < 4 * program.n_threads else 1
        input_parts = 1 if output_parts > 1 else min(groups, shares)
        product = task_address(panel_product, program.dtype)
        record = BACKWARD.new(
            n_in=self.n_in,
            n_out=self.n_out,
            X=X.where,
            W=at.parameters[0],
            dZ=dZ,
            left=dZ,
            right=dZ,
            dX=dX,
            dW=dW,
            db=db,
            jump=program.jump,
            right_jump=program.jump,
            pair=1,
            depth=self.n_out,
            mode=MASK if X.mask else NO_FINISH,
            mask=X.mask,
            input_parts=input_parts,
            output_parts=output_parts,
            constants=program.constants,
            pack=task_address(transpose_weights, program.dtype),
            rows_product=product,
            columns_product=task_address(column_product, program.dtype),
            sum_product=product,
            **program.scratch(TOGETHER * P * width * width),
            **at.update,
        )
        if rounded is not None:
            rounded.fill_backward(record)
        if lists is not None and dW:
            record["zeros"], record["listed"] = (lists if rounded is None else rounded.lists_of_rows()).by_columns()
        if dX and (out.lists or pays(program, out, self.n_in)):
            if rounded is not None:
                of_gradient = rounded.lists_of_gradient()
            else:
                of_gradient = out.lists[0] if out.lists else Lists(program, dZ, self.n_out, f"dA{at.index + 1}", by_columns=False)
            record["dZ_zeros"], record["dZ_listed"] = of_gradient.by_rows()
        program.operations(record, "finish", [place_gradient(one, dX) for one in X.finish] if dX else [])
        i = at.index + 1
        made = [name for name, there in ((f"d{X.name}", dX), (f"dW{i}", dW), (f"db{i}", db)) if there]
        program.phase(dense_backward, input_parts * output_parts, record, work, f"{', '.join(made)} from dA{i}" + (", updated" if at.update else ""), True)
        program.release(dZ)
        return dX


def activating(program: Program, activation: Activation, way: Task, source: int, out: int = 0) -> Operation:
    """Return the operation of an activation: forth, out = f(source); back, of the gradient whose place who writes it fills in."""
    record = ACTIVATION.new(element=way.address(program.dtype), values=program.keep(activation.values), source=source, out=out, jump=program.jump)
    return Operation(activate, record)


def place_gradient(operation: Operation, where: int) -> Operation:
    """Return an operation on the gradient that lies at an address."""
    record = operation.record.copy()
    for name in ("out", "source"):
        if name in record.dtype.names and record[name] == 0:
            record[name] = where
    return Operation(operation.task, record)


def finishing(program: Program, X: Value, where: int) -> list[Operation]:
    """Return what is done to a gradient of X that was just written to an address."""
    relu = ACTIVATIONS[RELU]
    mask = [activating(program, relu, relu.backward_task, X.mask)] if X.mask else []
    return [place_gradient(one, where) for one in (*mask, *X.finish)]
