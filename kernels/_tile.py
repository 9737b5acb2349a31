"""The kernels that are told to LLVM as vectors: a register tile of a matrix product and the transpose of a block.

A panel is 64 bytes of columns (16 float32 or 8 float64), one cache line, whatever the machine's vector width. In a
matrix that lies in panels, element (i, j) is found at [j // width * jump + i * width + j % width].

Every output element is one chain of fused multiply-adds over k in ascending order, whatever the vector width, the
number of rows in a tile or the number of threads: so the bits of a product depend on none of them.

Addresses are integers and count bytes, strides and sizes count elements. The first argument of each intrinsic is a
zero of the dtype it works on.
"""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

llvm.initialize_native_asmparser()  # for what `_multiply_spread_pairs` and `_pairs` write as assembly

PANEL_BYTES = 64
I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
NO_FINISH, FLOOR, MASK = range(3)
STORED_AHEAD = 32  # numbers after the one at work, in tiles of what is stored, whose lines are asked for


def _target_machine() -> Any:
    """Return the machine that Numba compiles for, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES honoured."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return llvm.Target.from_default_triple().create_target_machine(cpu=config.CPU_NAME or llvm.get_host_cpu_name(), features=features, opt=2)


def _vector_bytes() -> int:
    """Return how wide LLVM makes explicit vectors: where more than the CPU's features decides, what it does to the sum of two panels tells."""
    features = cpu_features()
    if config.CPU_NAME is None and config.CPU_FEATURES is None and "avx512f" not in features:
        return 32 if "avx" in features else 16
    code = """define void @f(ptr %a) {
        %x = load <16 x float>, ptr %a
        %y = fadd <16 x float> %x, %x
        store <16 x float> %y, ptr %a
        ret void }"""
    assembly = _target_machine().emit_assembly(llvm.parse_assembly(code))
    return 64 if "%zmm" in assembly else 32 if "%ymm" in assembly else 16


def _wished_vector_bytes() -> int:
    """Return what FASTNN_VECTOR_BYTES asks for, 0 where it is not set."""
    wish = os.environ.get("FASTNN_VECTOR_BYTES", "0")
    if wish not in ("0", "16", "32", "64"):
        raise ImportError(f"FASTNN_VECTOR_BYTES must be 16, 32 or 64, or 0 for what the machine has; got {wish!r}.")
    return int(wish)


def _multiplies_bfloat16() -> bool:
    """Return whether the CPU multiplies pairs of bfloat16 and code may use it: FASTNN_BFLOAT16=emulated says no."""
    wish = os.environ.get("FASTNN_BFLOAT16", "")
    if wish not in ("", "emulated"):
        raise ImportError(f"FASTNN_BFLOAT16 must be emulated, or not be set; got {wish!r}.")
    return not wish and {"avx512bf16", "avx512vl"} <= set(cpu_features())


def cpu_name() -> str:
    """Return the name of the CPU that code is made for."""
    return str(config.CPU_NAME or llvm.get_host_cpu_name())


def cpu_features() -> list[str]:
    """Return the features of the CPU that code is made for."""
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return sorted(name[1:] for name in features.split(",") if name.startswith("+"))


VECTOR_BYTES = _wished_vector_bytes() or _vector_bytes()
BFLOAT16 = _multiplies_bfloat16()
_WIDE_REGISTER_FILE = VECTOR_BYTES == 64 or llvm.get_default_triple().startswith(("aarch64", "arm64"))
# Accumulators fill the registers but for a few: 32 of them on AVX-512 and NEON, 16 elsewhere.
# 16 = 6 + 6 + 4: a tile of 5 rows runs at 88 % of the peak, one of 4 at 99 % (AVX2, measured).
# A CPU that multiplies two vectors of 64 bytes in a cycle reads no more than two: a number of A must serve two panels (24 x 1 ran at 82 % of the peak of a
# Cascade Lake, 12 x 2 at 93 %, all in the first cache).
TILE_PANELS = 2 if VECTOR_BYTES == 64 else 1
_TILES: dict[int, dict[int, tuple[int, ...]]] = {
    64: {2: (12, 8, 4, 2, 1), 1: (24, 16, 8, 4, 2, 1)},
    32: {1: (6, 4, 2, 1)},
    16: {1: (6, 4, 2, 1) if _WIDE_REGISTER_FILE else (3, 2, 1)},
}
TILE_ROWS = _TILES[VECTOR_BYTES]  # heights, by how many panels a tile takes


def _float_type(numba_type: Any) -> tuple[Any, int, str]:
    return (ir.DoubleType(), 8, "f64") if numba_type == types.float64 else (ir.FloatType(), 4, "f32")


def _call(builder: Any, name: str, *operands: Any) -> Any:
    """Call an LLVM intrinsic of operands of one vector type, such as llvm.fma.v8f32."""
    kind = operands[0].type
    suffix = "f64" if kind.element == ir.DoubleType() else "f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * len(operands)), f"llvm.{name}.v{kind.count}{suffix}")
    return builder.call(function, operands)


def _shuffle(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def _finish(builder: Any, value: Any, mode: int, side: Any) -> Any:
    """Apply what a tile does with a finished vector; NaN survives both."""
    zero = ir.Constant(value.type, None)
    if mode == FLOOR:
        return builder.select(builder.fcmp_ordered("<", value, zero), zero, value)
    if mode == MASK:
        return builder.select(builder.fcmp_ordered(">", side, zero), value, zero)
    return value


def _prefetch(builder: Any, address: Any) -> None:
    """Ask for the cache line at an address; the hint never faults."""
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.inttoptr(address, I8.as_pointer()), I32(0), I32(2), I32(1)])


class BFloat(ir.types._BaseFloatType):
    """LLVM's bfloat, which llvmlite has no type for; only vectors of it are named, never a number."""

    null, intrinsic_name = "0.0", "bf16"

    def __str__(self) -> str:
        return "bfloat"


BFloat._create_instance()


def _halves(builder: Any, pairs: Any) -> tuple[Any, Any]:
    """Return the upper and the lower numbers of words that hold two of bfloat16, as float32."""
    words = builder.bitcast(pairs, ir.VectorType(I32, pairs.type.count))
    upper = builder.and_(words, ir.Constant(words.type, [-65536] * words.type.count))
    return builder.bitcast(upper, pairs.type), builder.bitcast(builder.shl(words, ir.Constant(words.type, [16] * words.type.count)), pairs.type)


def _multiply_pairs(builder: Any, x: Any, y: Any, total: Any) -> Any:
    """Return total + the products of pairs of bfloat16, lane by lane: two fused multiply-adds, that of the upper numbers first."""
    if not BFLOAT16:
        for a, b in zip(_halves(builder, x), _halves(builder, y)):
            total = _call(builder, "fma", a, b, total)
        return total
    kind, pairs = total.type, ir.VectorType(BFloat(), 2 * total.type.count)
    name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * kind.count}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, pairs, pairs]), name)
    return builder.call(function, [total, builder.bitcast(x, pairs), builder.bitcast(y, pairs)])


def _multiply_spread_pairs(builder: Any, x: Any, displacement: int, y: Any, total: Any) -> Any:
    """`_multiply_pairs` with the word at an address as all lanes of x, which the instruction reads itself: LLVM would load it in one more (measured: 1.5
    instead of 2 times the speed of float32).
    """
    kind = ir.FunctionType(total.type, [total.type, y.type, x.type])
    code = f"vdpbf16ps {displacement}($3){{1to{total.type.count}}}, $2, $0"
    return builder.asm(kind, code, "=v,0,v,r,~{memory}", [total, y, x], False)


def _write_tile(builder: Any, zero: Any, args: Any, shape: tuple[int, int], transposed: bool, strided: bool, pairs: bool, listed: bool, stored: bool) -> None:
    """Write the code of one tile of `make_tiles`."""
    rows, panels = shape
    a, a_jump, b, b_row, init, init_row, init_jump, c, c_row, c_jump, mode, side, k, ahead, ahead_step = args
    scalar, itemsize, _ = _float_type(zero)
    width, lanes = PANEL_BYTES // itemsize, VECTOR_BYTES // itemsize
    vec, one_panel = ir.VectorType(scalar, lanes), PANEL_BYTES // VECTOR_BYTES
    vectors = one_panel * panels
    unroll = min(4 if strided or listed or stored else 8 if VECTOR_BYTES == 64 or rows * vectors > 12 else 16, width)
    a_line = 2 if pairs or transposed else 4  # numbers, or words, for each line that is asked for
    a, b, init, c, side = (builder.inttoptr(x, scalar.as_pointer()) for x in (a, b, init, c, side))
    places = [(i, j) for i in range(rows) for j in range(vectors)]

    def vector_at(base: Any, row_stride: Any, i: int, j: int, panel_jump: Any = None) -> Any:
        row = builder.gep(base, [builder.mul(row_stride, I64(i))])
        if panel_jump is not None and j >= one_panel:
            row, j = builder.gep(row, [builder.mul(panel_jump, I64(j // one_panel))]), j % one_panel
        return builder.bitcast(builder.gep(row, [I64(j * lanes)]), vec.as_pointer())

    def load(base: Any, row_stride: Any, i: int, j: int, panel_jump: Any = None) -> Any:
        return builder.load(vector_at(base, row_stride, i, j, panel_jump), align=itemsize)

    acc = {place: cgutils.alloca_once(builder, vec) for place in places}
    for i, j in places:
        start = load(init, init_row, i, j, init_jump)
        if listed and pairs:  # the whole product flushes a denormal bias at its first term, which a list may not have
            start = builder.fadd(start, ir.Constant(vec, None))
        builder.store(start, acc[i, j])

    def steps(first: Any, count: int, a_first: Any = None) -> None:
        if strided:
            a_first = builder.gep(a, [first])
            b_stride = b_row
        elif stored:
            b_stride = I64(width)
        else:
            shift, a_step = width.bit_length() - 1, I64(width if transposed else 1)
            jump = I64(width * width) if transposed else a_jump
            a_first = builder.gep(
                a, [builder.add(builder.mul(builder.lshr(first, I64(shift)), jump), builder.mul(builder.and_(first, I64(width - 1)), a_step))]
            )
            b_stride = I64(width)
        b_first = builder.gep(b, [builder.mul(first, b_stride)])

        def b_vector(p: int, j: int) -> Any:
            return load(b_first, b_stride, p, j, None if strided else b_row)

        def a_number(p: int, i: int) -> Any:
            row = builder.gep(a_first, [builder.mul(a_jump, I64(i))]) if strided else a_first
            place = p if strided else i + p * width if transposed else i * width + p
            if pairs and BFLOAT16:
                return row, place * itemsize
            x = builder.load(builder.gep(row, [I64(place)]), align=itemsize)
            x = builder.insert_element(ir.Constant(vec, ir.Undefined), x, I32(0))
            return _shuffle(builder, x, x, [0] * lanes)

        def multiply(x: Any, y: Any, place: tuple[int, int]) -> None:
            total = builder.load(acc[place])
            if pairs and BFLOAT16:
                total = _multiply_spread_pairs(builder, x[0], x[1], y, total)
            else:
                total = _multiply_pairs(builder, x, y, total) if pairs else _call(builder, "fma", x, y, total)
            builder.store(total, acc[place])

        for p in range(count):
            if rows < vectors and (listed or stored):  # so there are registers for all numbers of A and one vector of B
                numbers = [a_number(p, i) for i in range(rows)]
                for j in range(vectors):
                    y = b_vector(p, j)
                    for i in range(rows):
                        multiply(numbers[i], y, (i, j))
            else:
                b_vectors = [b_vector(p, j) for j in range(vectors)]
                for i in range(rows):
                    x = a_number(p, i)
                    for j in range(vectors):
                        multiply(x, b_vectors[j], (i, j))

    def listed_steps(first: Any, count: int) -> None:
        for p in range(count):
            line = builder.gep(builder.inttoptr(ahead_step, I8.as_pointer()), [builder.add(first, I64(p))])
            steps(builder.zext(builder.load(line), I64), 1)

    def stored_steps(first: Any, count: int) -> None:
        numbers = builder.gep(builder.inttoptr(ahead_step, I32.as_pointer()), [first])
        for p in range(count):
            later = builder.gep(b, [builder.mul(builder.sext(builder.load(builder.gep(numbers, [I64(p + STORED_AHEAD)])), I64), I64(width))])
            for j in range(panels):
                _prefetch(builder, builder.ptrtoint(builder.gep(later, [builder.mul(b_row, I64(j))]), I64))
            steps(builder.sext(builder.load(builder.gep(numbers, [I64(p)])), I64), 1, builder.gep(a, [builder.add(first, I64(p))]))

    do, asked_step = (stored_steps, I64(0)) if stored else (listed_steps, I64(PANEL_BYTES)) if listed else (steps, ahead_step)
    whole = builder.and_(k, I64(-unroll))
    with cgutils.for_range_slice(builder, I64(0), whole, I64(unroll), intp=I64, inc=True) as (p, _):
        line = builder.add(ahead, builder.mul(asked_step, builder.lshr(p, I64(a_line.bit_length() - 1))))
        for _ in range(0 if stored else unroll // a_line):
            _prefetch(builder, line)
            line = builder.add(line, asked_step)
        do(p, unroll)
    with cgutils.for_range_slice(builder, whole, k, I64(1), intp=I64, inc=True) as (p, _):
        do(p, 1)

    with builder.if_then(builder.icmp_signed("==", mode, I64(FLOOR))):
        for place in places:
            builder.store(_finish(builder, builder.load(acc[place]), FLOOR, None), acc[place])
    with builder.if_then(builder.icmp_signed("==", mode, I64(MASK))):
        for i, j in places:
            builder.store(_finish(builder, builder.load(acc[i, j]), MASK, load(side, c_row, i, j, c_jump)), acc[i, j])
    for i, j in places:
        builder.store(builder.load(acc[i, j]), vector_at(c, c_row, i, j, c_jump), align=itemsize)


def make_tiles(
    shapes: list[tuple[int, int]],
    transposed: bool = False,
    strided: bool = False,
    pairs: bool = False,
    listed: bool = False,
    stored: bool = False,
) -> Any:
    """Return an intrinsic height, wide = tile(zero, rows, count, a, a_jump, b, b_row, init, init_row, init_jump, c, c_row, c_jump, mode, side, k, ahead,
    ahead_step).

    It multiplies the first of some shapes, (rows, panels) in descending order, that `rows` and `count` panels hold, in any case the last one, and returns
    it.

    C (rows x panels) = finish(init + A @ B). A is rows x k in panels, `a_jump` from one to the next, or, transposed, k x rows inside
    one panel, or, strided, row-major with `a_jump` from row to row. B is k x panels: strided, with `b_row` from row to row, else
    one panel or some, `b_row` from one to the next. Of init and C, a row is 0 (one for all) or more numbers from the next, and a panel's
    part of it `init_jump` and `c_jump`; side lies as C does. mode says how to finish: NO_FINISH, FLOOR: max(C, 0), MASK: C where side > 0, else 0. While the
    loop runs it asks for the cache lines from `ahead` on, `ahead_step` bytes apart, one for four numbers of a row of A, transposed for two: what comes
    next, which the hardware would not fetch beyond the end of a page.

    With `pairs` the numbers of A and B are words that hold two numbers of bfloat16 each, and k counts words. With `listed` the sum goes over k lines in place
    of the first k: `ahead_step` is the address of their numbers, bytes in ascending order, and the lines that are asked for lie side by side.

    With `stored` A is one row, k numbers side by side, and each is multiplied with a line of its own: `ahead_step` is the address of the numbers of these
    lines, of 32 bits, with STORED_AHEAD more behind them, whose lines are asked for.
    """

    @intrinsic
    def tile(typingctx, zero, rows, count, a, a_jump, b, b_row, init, init_row, init_jump, c, c_row, c_jump, mode, side, k, ahead, ahead_step):
        def codegen(context, builder, sig, args):
            _, rows, count, *others = args
            done, end = [cgutils.alloca_once(builder, I64) for _ in range(2)], builder.append_basic_block()
            for height, panels in shapes:
                this, next_one = builder.append_basic_block(), builder.append_basic_block()
                fits = builder.and_(builder.icmp_signed(">=", rows, I64(height)), builder.icmp_signed(">=", count, I64(panels)))
                builder.cbranch(fits, this, this if (height, panels) == shapes[-1] else next_one)
                builder.position_at_end(this)
                _write_tile(builder, zero, others, (height, panels), transposed, strided, pairs, listed, stored)
                for place, number in zip(done, (height, panels)):
                    builder.store(I64(number), place)
                builder.branch(end)
                builder.position_at_end(next_one)
            builder.unreachable()
            builder.position_at_end(end)
            return context.make_tuple(builder, sig.return_type, [builder.load(place) for place in done])

        return types.UniTuple(types.int64, 2)(zero, *[types.intp] * 17), codegen

    return tile


@intrinsic
def transpose_block(typingctx, zero, a, a_row, c, c_row):
    """Transpose a block of one panel's width: c[j * c_row + i] = a[i * a_row + j] for i, j < width; c may be a.

    It is cut into squares of vectors, which stay in the registers. A vector is put together from 16 bytes of some rows, as it is loaded; then rows are
    transposed inside each 16 bytes.
    """
    scalar, itemsize, _ = _float_type(zero)
    lanes, some = VECTOR_BYTES // itemsize, 16 // itemsize
    piece, squares = ir.VectorType(scalar, some), PANEL_BYTES // VECTOR_BYTES

    def codegen(context, builder, sig, args):
        _, a, a_row, c, c_row = args
        a, c = (builder.inttoptr(x, scalar.as_pointer()) for x in (a, c))

        def address(base: Any, stride: Any, i: int, j: int) -> Any:
            return builder.gep(base, [builder.add(builder.mul(stride, I64(i)), I64(j))])

        def load(i: int, j: int) -> Any:
            """`some` columns, from j on, of the rows i, i + some, ... of a square."""
            parts = [builder.load(builder.bitcast(address(a, a_row, row, j), piece.as_pointer()), align=itemsize) for row in range(i, i + lanes, some)]
            while len(parts) > 1:
                both = list(range(2 * parts[0].type.count))
                parts = [_shuffle(builder, x, y, both) for x, y in zip(parts[::2], parts[1::2])]
            return parts[0]

        def interleave(x: Any, y: Any, half: int) -> Any:
            """The lower or upper halves of each 16 bytes of two vectors, in turn."""
            return _shuffle(builder, x, y, [at // some * some + half * some // 2 + at % some // 2 + at % 2 * lanes for at in range(lanes)])

        for i in range(squares):
            for j in range(i, squares):
                places = [(i, j), (j, i)][: 1 if i == j else 2]
                loaded = [[load(p * lanes + row, q * lanes + column) for row in range(some)] for p, q in places for column in range(0, lanes, some)]
                for k, rows in enumerate(loaded):
                    for _ in range(some.bit_length() - 1):
                        rows = [interleave(x, y, half) for x, y in zip(rows[: some // 2], rows[some // 2 :]) for half in (0, 1)]
                    p, q = places[k // (lanes // some)]
                    for column, value in enumerate(rows, k % (lanes // some) * some):
                        target = address(c, c_row, q * lanes + column, p * lanes)
                        builder.store(value, builder.bitcast(target, value.type.as_pointer()), align=itemsize)
        return context.get_dummy_value()

    return types.void(zero, *[types.intp] * 4), codegen


def _widen(context: Any, builder: Any, source: Any, kind: Any, scalar: Any, n: int) -> Any:
    """Load n numbers of `kind` that lie side by side, as floats of the type `scalar`."""
    stored, vec = context.get_data_type(kind), ir.VectorType(scalar, n)
    raw = builder.load(builder.bitcast(source, ir.VectorType(stored, n).as_pointer()), align=1)
    if not isinstance(kind, types.Float):
        return builder.sitofp(raw, vec) if getattr(kind, "signed", False) else builder.uitofp(raw, vec)
    if stored == scalar:
        return raw
    return builder.fpext(raw, vec) if isinstance(scalar, ir.DoubleType) else builder.fptrunc(raw, vec)


def _store_panel(builder: Any, value: Any, out: Any, itemsize: int) -> Any:
    """Store a panel and return 0 if all of it is finite, else not."""
    builder.store(value, builder.inttoptr(out, value.type.as_pointer()), align=itemsize)
    wrong = builder.fcmp_unordered("uno", builder.fsub(value, value), ir.Constant(value.type, None))  # inf - inf and nan - nan are nan
    return builder.zext(builder.bitcast(wrong, ir.IntType(value.type.count)), I64)


def _line_operation(name: str, combine: Any, doc: str) -> Any:
    """Return an intrinsic operation(zero, source, out) on the numbers of one line of a panel at two addresses: out = combine(builder, out, source).

    LLVM would unroll a loop over a line, so short and of known length, to single numbers.
    """

    def operation(typingctx, zero, source, out):
        scalar, itemsize, _ = _float_type(zero)
        line = ir.VectorType(scalar, PANEL_BYTES // itemsize).as_pointer()

        def codegen(context, builder, sig, args):
            source, out = (builder.inttoptr(address, line) for address in args[1:])
            value = combine(builder, builder.load(out, align=itemsize), builder.load(source, align=itemsize))
            builder.store(value, out, align=itemsize)
            return context.get_dummy_value()

        return types.void(zero, types.intp, types.intp), codegen

    operation.__name__, operation.__doc__ = name, doc
    return intrinsic(operation)


copy_line = _line_operation("copy_line", lambda builder, x, y: y, "out = source.")
add_line = _line_operation("add_line", lambda builder, x, y: builder.fadd(x, y), "out += source.")
subtract_line = _line_operation("subtract_line", lambda builder, x, y: builder.fsub(x, y), "out -= source.")
multiply_line = _line_operation("multiply_line", lambda builder, x, y: builder.fmul(x, y), "out *= source.")
raise_line = _line_operation("raise_line", lambda builder, x, y: builder.select(builder.fcmp_ordered(">", y, x), y, x), "out = source where it is greater.")


BUFFER_LINES = 16


@intrinsic
def line_buffer(typingctx, zero):
    """Return the address of BUFFER_LINES lines on the stack, which are the caller's until it returns."""
    scalar, itemsize, _ = _float_type(zero)

    def codegen(context, builder, sig, args):
        room = cgutils.alloca_once(builder, ir.VectorType(scalar, PANEL_BYTES // itemsize), BUFFER_LINES)
        return builder.ptrtoint(room, I64)

    return types.intp(zero), codegen


@intrinsic
def convert_panel(typingctx, zero, source, out, scale, shift):
    """Write out = source * scale + shift for the numbers of a panel that lie side by side; return 0 if all are finite, else not.

    `source` is a pointer whose type says what to convert from, `out` an address.
    """
    scalar, itemsize, _ = _float_type(zero)
    n, kind = PANEL_BYTES // itemsize, source.dtype
    vec = ir.VectorType(scalar, n)

    def codegen(context, builder, sig, args):
        _, source, out, scale, shift = args

        def spread(x: Any) -> Any:
            x = builder.insert_element(ir.Constant(vec, ir.Undefined), x, I32(0))
            return _shuffle(builder, x, x, [0] * n)

        value = _widen(context, builder, source, kind, scalar, n)
        return _store_panel(builder, builder.fadd(builder.fmul(value, spread(scale)), spread(shift)), out, itemsize)

    return types.intp(zero, source, types.intp, zero, zero), codegen


@intrinsic
def convert_columns(typingctx, zero, source, out, scales, shifts):
    """Write out = source * scales + shifts as `convert_panel`, with a factor and a shift for each column: in float64, rounded to out once.

    `scales` and `shifts` are addresses of float64 numbers.
    """
    scalar, itemsize, _ = _float_type(zero)
    n, kind = PANEL_BYTES // itemsize, source.dtype
    double = ir.VectorType(ir.DoubleType(), n)

    def codegen(context, builder, sig, args):
        _, source, out, *addresses = args
        scale, shift = (builder.load(builder.inttoptr(at, double.as_pointer()), align=8) for at in addresses)
        value = _call(builder, "fma", _widen(context, builder, source, kind, ir.DoubleType(), n), scale, shift)
        value = value if itemsize == 8 else builder.fptrunc(value, ir.VectorType(scalar, n))
        return _store_panel(builder, value, out, itemsize)

    return types.intp(zero, source, types.intp, types.intp, types.intp), codegen


@intrinsic
def nonzero_bits(typingctx, zero, source):
    """Return a bit for each number, or word, of four lines that lie side by side, in their order: set where it is not zero.

    A denormal number is not, for it may be a word whose upper number is 0.
    """
    itemsize = _float_type(zero)[1]
    n = 4 * PANEL_BYTES // itemsize
    vec = ir.VectorType(ir.IntType(8 * itemsize), n)

    def codegen(context, builder, sig, args):
        value = builder.load(builder.inttoptr(args[1], vec.as_pointer()), align=itemsize)
        size = builder.and_(value, ir.Constant(vec, [(1 << 8 * itemsize - 1) - 1] * n))
        bits = builder.bitcast(builder.icmp_unsigned("!=", size, ir.Constant(vec, None)), ir.IntType(n))
        return bits if n == 64 else builder.zext(bits, I64)

    return types.intp(zero, types.intp), codegen


_POSITIONS = [sum(place << 8 * k for k, place in enumerate(bit for bit in range(8) if byte >> bit & 1)) for byte in range(256)]


@intrinsic
def ones(typingctx, bits):
    """Return how many bits of an integer are set."""

    def codegen(context, builder, sig, args):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I64, [I64]), "llvm.ctpop.i64")
        return builder.call(function, args)

    return types.intp(types.intp), codegen


@intrinsic
def append_positions(typingctx, where, bits, first):
    """Write first + the position of each bit that is set of a byte, as bytes from an address on; 8 of them change."""

    def codegen(context, builder, sig, args):
        where, bits, first = args
        table = cgutils.global_constant(builder, "positions", ir.Constant(ir.ArrayType(I64, 256), _POSITIONS))
        found = builder.load(builder.gep(table, [I64(0), bits]))
        spread = builder.mul(first, I64(0x0101010101010101))
        builder.store(builder.add(found, spread), builder.inttoptr(where, I64.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@intrinsic
def address_of(typingctx, array):
    """Return where an array's first element lies, signed: an unsigned address plus an integer would be a float."""

    def codegen(context, builder, sig, args):
        return builder.ptrtoint(context.make_array(array)(context, builder, args[0]).data, I64)

    return types.intp(array), codegen


@intrinsic
def keep(typingctx, array):
    """Use an array: before this it is not freed, though only its address is known to what works with it."""

    def codegen(context, builder, sig, args):
        return context.get_dummy_value()

    return types.void(array), codegen


@intrinsic
def pointer_address(typingctx, where):
    """Return the address that a pointer holds."""

    def codegen(context, builder, sig, args):
        return builder.ptrtoint(args[0], I64)

    return types.intp(where), codegen


@intrinsic
def array_at(typingctx, kind, address, shape):
    """Return memory that nobody owns as an array in C's order, of the type of `kind`: a number, or an array or a pointer of such.

    As `numba.carray` does, which compiles some functions of Numba's for each type and shape, and needs what they need when they are found on the disk.
    """
    lengths = shape if isinstance(shape, types.BaseTuple) else types.UniTuple(types.intp, 1)
    array = types.Array(types.unliteral(getattr(kind, "dtype", kind)), len(lengths), "C")

    def codegen(context, builder, sig, args):
        from numba.np import arrayobj  # takes 50 ms to load

        made, values = context.make_array(array)(context, builder), [args[2]] if lengths is not shape else cgutils.unpack_tuple(builder, args[2])
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype)))
        strides = [itemsize]
        for length in reversed(values[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        data = builder.inttoptr(args[1], made.data.type)
        arrayobj.populate_array(made, data=data, shape=values, strides=strides, itemsize=itemsize, meminfo=None)
        return made._getvalue()

    return array(kind, types.intp, types.UniTuple(types.intp, len(lengths)) if lengths is shape else types.intp), codegen


@intrinsic
def width_of(typingctx, zero):
    """Return the number of columns in a panel of the dtype of `zero`, a constant to the compiler."""
    width = PANEL_BYTES // _float_type(zero)[1]

    def codegen(context, builder, sig, args):
        return I64(width)

    return types.intp(zero), codegen


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at an address; the hint never faults."""

    def codegen(context, builder, sig, args):
        _prefetch(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def pointer(typingctx, kind, address):
    """Return an address as a pointer to the dtype of `kind`: a number, or an array or a pointer of such."""
    made = types.CPointer(types.unliteral(getattr(kind, "dtype", kind)))

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[1], context.get_value_type(made))

    return made(kind, types.intp), codegen


@intrinsic
def call(typingctx, function, arguments):
    """Call a compiled void function of integers by its address; the arguments are a tuple."""

    def codegen(context, builder, sig, args):
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [I64] * len(values))
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.intp, types.UniTuple(types.intp, len(arguments))), codegen


@intrinsic
def zero_of(typingctx, tag):
    """Return the zero of the dtype that a null pointer points to: how functions called by address are told their dtype."""

    def codegen(context, builder, sig, args):
        return ir.Constant(context.get_value_type(tag.dtype), 0.0)

    return tag.dtype(tag), codegen


@intrinsic
def fma_chains(typingctx, zero, rounds):
    """Run independent chains of fused multiply-adds on registers; return the number of floating-point operations done."""
    scalar, itemsize, _ = _float_type(zero)
    lanes, chains, unroll = VECTOR_BYTES // itemsize, 10, 100
    vec = ir.VectorType(scalar, lanes)

    def codegen(context, builder, sig, args):
        zero, rounds = args
        start = builder.insert_element(ir.Constant(vec, ir.Undefined), zero, I32(0))
        start = _shuffle(builder, start, start, [0] * lanes)
        acc = [cgutils.alloca_once(builder, vec) for _ in range(chains)]
        for place in acc:
            builder.store(start, place)
        with cgutils.for_range_slice(builder, I64(0), rounds, I64(1), intp=I64, inc=True):
            for _ in range(unroll // chains):
                for place in acc:
                    builder.store(_call(builder, "fma", start, start, builder.load(place)), place)
        total = builder.load(acc[0])
        for place in acc[1:]:
            total = builder.fadd(total, builder.load(place))
        keep = builder.extract_element(total, I32(0))  # what is not used would not be done
        none = builder.fcmp_ordered(">", keep, ir.Constant(scalar, 1e30))
        return builder.add(builder.mul(rounds, I64(2 * lanes * unroll)), builder.zext(none, I64))

    return types.int64(zero, types.intp), codegen
