"""What arithmetic on floats needs from LLVM: fused multiply-add, polynomials, exponents as bits.

Every one of them is a scalar that vectorizes in the loop around it, and gives the same bits at any vector width.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# bits of the mantissa, bits of 1.0, and the integer of the same size
_FORMATS = {
    types.float32: (23, 0x3F800000, ir.IntType(32), "f32"),
    types.float64: (52, 0x3FF0000000000000, ir.IntType(64), "f64"),
}


def _call(builder: Any, name: str, suffix: str, *operands: Any) -> Any:
    kind = operands[0].type
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * len(operands)), f"llvm.{name}.{suffix}")
    return builder.call(function, operands)


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x * y + z, rounded once. The three have one dtype."""
    if x not in _FORMATS or y != x or z != x:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "fma", _FORMATS[x][3], *args)

    return x(x, x, x), codegen


@intrinsic
def polynomial(typingctx: Any, x: Any, coefficients: Any) -> Any:
    """Return coefficients[0] + coefficients[1] * x + ... by Horner's rule with fused multiply-adds."""
    if x not in _FORMATS or not isinstance(coefficients, types.UniTuple) or coefficients.dtype != x:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        point, terms = args[0], cgutils.unpack_tuple(builder, args[1])
        value = terms[-1]
        for term in terms[-2::-1]:
            value = _call(builder, "fma", _FORMATS[x][3], value, point, term)
        return value

    return x(x, coefficients), codegen


@intrinsic
def choose(typingctx: Any, x: Any, pair: Any) -> Any:
    """Return pair[0] where x is a float32, pair[1] where it is a float64: constants for either dtype."""
    if x not in _FORMATS:
        return None
    index = 0 if x == types.float32 else 1

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_value(args[1], index)

    return pair.types[index](x, pair), codegen


@intrinsic
def like(typingctx: Any, x: Any, value: Any) -> Any:
    """Return `value` in the dtype of x, so that a literal does not turn a float32 loop into a float64 one."""
    if x not in _FORMATS or isinstance(value, types.Array):  # of an array Numba casts the first number
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[1], value, x)

    return x(x, value), codegen


@intrinsic
def all_like(typingctx: Any, x: Any, values: Any) -> Any:
    """Return a tuple of numbers in the dtype of x."""
    if x not in _FORMATS or not isinstance(values, types.BaseTuple) or any(isinstance(one, types.Array) for one in values):
        return None
    kind = types.UniTuple(x, len(values))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = cgutils.unpack_tuple(builder, args[1])
        return context.make_tuple(builder, kind, [context.cast(builder, part, one, x) for part, one in zip(parts, values)])

    return kind(x, values), codegen


@intrinsic
def absolute(typingctx: Any, x: Any) -> Any:
    """Return |x|, nan kept."""
    if x not in _FORMATS:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "fabs", _FORMATS[x][3], args[0])

    return x(x), codegen


@intrinsic
def copysign(typingctx: Any, x: Any, sign: Any) -> Any:
    """Return |x| with the sign of `sign`, that of zeros included."""
    if x not in _FORMATS or sign != x:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "copysign", _FORMATS[x][3], *args)

    return x(x, x), codegen


@intrinsic
def power_of_two(typingctx: Any, t: Any) -> Any:
    """Return 2**n for t = n + 1.5 * 2**mantissa, n a whole number whose power is a normal number."""
    if t not in _FORMATS:
        return None
    mantissa, one, integer, _ = _FORMATS[t]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        exponent = builder.shl(builder.bitcast(args[0], integer), integer(mantissa))
        return builder.bitcast(builder.add(exponent, integer(one)), args[0].type)

    return t(t), codegen


@intrinsic
def split_exponent(typingctx: Any, x: Any) -> Any:
    """Return (m, e) with x = m * 2**e and m in [sqrt(1/2), sqrt(2)), x positive and normal; e is a float."""
    if x not in _FORMATS:
        return None
    mantissa, one, integer, _ = _FORMATS[x]
    half_root = 0x3F3504F3 if x == types.float32 else 0x3FE6A09E667F3BCD
    result = types.UniTuple(x, 2)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        offset = builder.sub(builder.bitcast(args[0], integer), integer(half_root))
        digits = builder.add(builder.and_(offset, integer((1 << mantissa) - 1)), integer(half_root))
        # narrowed first: AVX2 converts 32-bit integers only
        exponent = builder.ashr(offset, integer(mantissa))
        if exponent.type.width == 64:
            exponent = builder.trunc(exponent, ir.IntType(32))
        parts = [builder.bitcast(digits, args[0].type), builder.sitofp(exponent, args[0].type)]
        return context.make_tuple(builder, result, parts)

    return result(x), codegen
