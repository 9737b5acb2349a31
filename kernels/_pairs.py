"""The operations on words that hold two numbers of bfloat16."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._tile import BFLOAT16, I32, I64, PANEL_BYTES, BFloat

LANES = 16  # columns of a panel
LINE = ir.VectorType(I32, LANES)


def _spread(builder: Any, value: Any) -> Any:
    """Return a line with a word in all its lanes."""
    x = builder.insert_element(ir.Constant(LINE, ir.Undefined), builder.trunc(value, I32), I32(0))
    return builder.shuffle_vector(x, x, ir.Constant(LINE, [0] * LANES))


def _all(value: int) -> Any:
    return ir.Constant(LINE, [value] * LANES)


def _round(builder: Any, bits: Any) -> Any:
    """Return a line of float32, given as words, rounded: the numbers of bfloat16 as words with an upper half of zeros."""
    if BFLOAT16:
        narrow = ir.FunctionType(ir.VectorType(BFloat(), LANES), [ir.VectorType(ir.FloatType(), LANES)])
        function = cgutils.get_or_insert_function(builder.module, narrow, "llvm.x86.avx512bf16.cvtneps2bf16.512")
        rounded = builder.call(function, [builder.bitcast(bits, narrow.args[0])])
        return builder.zext(builder.bitcast(rounded, ir.VectorType(ir.IntType(16), LANES)), LINE)
    size = builder.and_(bits, _all(0x7FFFFFFF))
    last = builder.and_(builder.lshr(bits, _all(16)), _all(1))
    nearest = builder.add(builder.add(bits, _all(0x7FFF)), last)
    nearest = builder.select(builder.icmp_unsigned(">", size, _all(0x7F800000)), builder.or_(bits, _all(0x400000)), nearest)
    nearest = builder.select(builder.icmp_unsigned("<", size, _all(0x800000)), builder.and_(bits, _all(-0x80000000)), nearest)
    return builder.lshr(nearest, _all(16))


@intrinsic
def round_lines(typingctx, source, n, both, along, down):
    """Round the line of a panel at an address, and with `both` the next one, of which n columns count; the others become zeros.

    The numbers of each line are written side by side to `along`, from one line to the next as many bytes as a panel has; those of
    both, or of one and zeros, as pairs to `down`. An address of 0: not written.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, n, both, along, down = args
        inside = builder.icmp_signed("<", ir.Constant(LINE, list(range(LANES))), _spread(builder, n))
        second = builder.icmp_signed("!=", both, I64(0))

        def line(at: Any) -> Any:
            found = builder.load(builder.inttoptr(at, LINE.as_pointer()), align=4)
            return _round(builder, builder.select(inside, found, _all(0)))

        def write(value: Any, at: Any) -> None:
            builder.store(value, builder.inttoptr(at, value.type.as_pointer()), align=4)

        low = line(source)
        high = line(builder.select(second, builder.add(source, I64(PANEL_BYTES)), source))
        with builder.if_then(builder.icmp_signed("!=", along, I64(0))):
            narrow = ir.VectorType(ir.IntType(16), LANES)
            write(builder.trunc(low, narrow), along)
            with builder.if_then(second):
                write(builder.trunc(high, narrow), builder.add(along, I64(PANEL_BYTES)))
        with builder.if_then(builder.icmp_signed("!=", down, I64(0))):
            upper = builder.shl(high, _all(16))
            write(builder.or_(low, builder.select(second, upper, _all(0))), down)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), codegen


@intrinsic
def clear_line(typingctx, out):
    """Write zeros to the line at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(_all(0), builder.inttoptr(args[0], LINE.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.intp), codegen
