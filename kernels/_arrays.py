"""What elementwise kernels ask of their arguments before they touch them: dtypes, shapes, and that arrays share no memory.

The questions are answered in compiled code, so they cost nanoseconds and are the same from Python and from nopython code. Those
about types are constants to the compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import helper

FLOATS = (types.float32, types.float64)


def _constant(value: bool, *kinds: Any) -> Any:
    """Return what an intrinsic returns that is a constant."""
    return types.boolean(*kinds), lambda context, builder, sig, args: context.get_constant(types.boolean, value)


@intrinsic
def one_dtype(typingctx, arrays):
    """Return whether all of a tuple are arrays of one dtype, float32 or float64."""
    dtypes = {kind.dtype if isinstance(kind, types.Array) else None for kind in arrays.types}
    return _constant(len(dtypes) == 1 and dtypes <= set(FLOATS), arrays)


@intrinsic
def is_integer(typingctx, value):
    """Return whether a number, or the numbers of an array, are integers."""
    return _constant(isinstance(getattr(value, "dtype", value), types.Integer), value)


def _views(context: Any, builder: Any, kinds: Any, values: Any) -> list[Any]:
    return [context.make_array(kind)(context, builder, value) for kind, value in zip(kinds, values)]


def _sizes(builder: Any, view: Any, kind: Any) -> list[tuple[Any, Any]]:
    """Return (length, stride in bytes) of each axis."""
    return list(
        zip(
            cgutils.unpack_tuple(builder, view.shape, kind.ndim), cgutils.unpack_tuple(builder, view.strides, kind.ndim)
        )
    )


@intrinsic
def one_shape(typingctx, arrays):
    """Return whether all arrays of a tuple have the same shape."""
    if len({kind.ndim for kind in arrays.types}) > 1:
        return _constant(False, arrays)

    def codegen(context, builder, sig, args):
        views = _views(context, builder, arrays.types, cgutils.unpack_tuple(builder, args[0]))
        shapes = [[n for n, _ in _sizes(builder, view, kind)] for view, kind in zip(views, arrays.types)]
        same = context.get_constant(types.boolean, True)
        for shape in shapes[1:]:
            for n, m in zip(shape, shapes[0]):
                same = builder.and_(same, builder.icmp_signed("==", n, m))
        return same

    return types.boolean(arrays), codegen


@intrinsic
def same_place(typingctx, a, b):
    """Return whether two arrays of one dtype and shape are one: each element of both lies at the same address."""
    if a.ndim != b.ndim:
        return _constant(False, a, b)

    def codegen(context, builder, sig, args):
        x, y = _views(context, builder, sig.args, args)
        one = context.get_constant(types.intp, 1)
        address = context.get_value_type(types.intp)
        same = builder.icmp_signed("==", builder.ptrtoint(x.data, address), builder.ptrtoint(y.data, address))
        for (n, s), (_, t) in zip(_sizes(builder, x, a), _sizes(builder, y, b)):
            same = builder.and_(same, builder.or_(builder.icmp_signed("==", s, t), builder.icmp_signed("<=", n, one)))
        return same

    return types.boolean(a, b), codegen


def _reach(context: Any, builder: Any, view: Any, kind: Any) -> tuple[Any, Any, Any, Any]:
    """Return the first address of an array and the one behind its last, the longest stride, and what is reached without that axis."""
    zero, one, address = (
        context.get_constant(types.intp, 0),
        context.get_constant(types.intp, 1),
        context.get_value_type(types.intp),
    )
    low = high = builder.ptrtoint(view.data, address)
    pitch, along, empty = zero, zero, context.get_constant(types.boolean, False)
    for n, s in _sizes(builder, view, kind):
        steps = builder.mul(builder.sub(n, one), s)
        forward = builder.icmp_signed(">=", steps, zero)
        low, high = (
            builder.select(forward, low, builder.add(low, steps)),
            builder.select(forward, builder.add(high, steps), high),
        )
        empty = builder.or_(empty, builder.icmp_signed("==", n, zero))
        length, way = (builder.select(builder.icmp_signed(">=", x, zero), x, builder.neg(x)) for x in (s, steps))
        longest = builder.and_(builder.icmp_signed(">", length, pitch), builder.icmp_signed(">", n, one))
        pitch, along = builder.select(longest, length, pitch), builder.select(longest, way, along)
    high = builder.add(
        high, context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    )
    high = builder.select(empty, low, high)
    return low, high, pitch, builder.sub(builder.sub(high, low), along)


def _overlap(context: Any, builder: Any, one: Any, other: Any) -> Any:
    """Compare the ranges of two arrays; interleaved ones, such as columns of one matrix, do not overlap."""
    zero, unit = context.get_constant(types.intp, 0), context.get_constant(types.intp, 1)
    (low, high, pitch, inner), (low2, high2, pitch2, inner2) = one, other
    meet = builder.and_(builder.icmp_signed("<", low, high2), builder.icmp_signed("<", low2, high))
    some = builder.and_(builder.icmp_signed("<", low, high), builder.icmp_signed("<", low2, high2))
    step = builder.select(builder.icmp_signed(">", pitch, zero), pitch, unit)
    shift = builder.srem(builder.sub(low2, low), step)
    shift = builder.select(builder.icmp_signed("<", shift, zero), builder.add(shift, step), shift)
    beside = builder.and_(
        builder.icmp_signed(">=", shift, inner), builder.icmp_signed("<=", builder.add(shift, inner2), step)
    )
    beside = builder.and_(beside, builder.icmp_signed("==", pitch, pitch2))
    return builder.and_(builder.and_(meet, some), builder.not_(beside))


@intrinsic
def apart(typingctx, written, read):
    """Return whether each array of the tuple `written` shares no memory with any other array of both tuples."""

    def codegen(context, builder, sig, args):
        kinds = [*written.types, *read.types]
        values = [*cgutils.unpack_tuple(builder, args[0]), *cgutils.unpack_tuple(builder, args[1])]
        reaches = [
            _reach(context, builder, view, kind) for view, kind in zip(_views(context, builder, kinds, values), kinds)
        ]
        answer = context.get_constant(types.boolean, True)
        for i in range(len(written.types)):
            for other in reaches[i + 1 :]:
                answer = builder.and_(answer, builder.not_(_overlap(context, builder, reaches[i], other)))
        return answer

    return types.boolean(written, read), codegen


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def check_alike(kernel: str, *names: str) -> Any:
    """Return a helper that takes a tuple of the arrays of these names and refuses other dtypes and shapes than the first one's."""
    dtype = f"{kernel}: {_listed(names)} must be arrays of one dtype, float32 or float64"
    shape = f"{kernel}: {_listed(names[1:])} must have the shape of {names[0]}"

    @helper
    def check(arrays):
        if not one_dtype(arrays):
            raise TypeError(dtype)
        if not one_shape(arrays):
            raise ValueError(shape)

    return check


def check_place(kernel: str, source: str, out: str = "out") -> Any:
    """Return a helper check(source, out) for two arrays of one dtype and shape: they are one, or share no memory."""
    message = f"{kernel}: {out} must be {source} itself or share no memory with it"

    @helper
    def check(X, out):
        if not same_place(X, out) and not apart((out,), (X,)):
            raise ValueError(message)

    return check


def check_apart(kernel: str, written: Sequence[str], read: Sequence[str]) -> Any:
    """Return a helper check(written, read), tuples of arrays: what is written shares no memory with any other."""
    verb = "share no memory with" if read else "share no memory"
    message = f"{kernel}: {_listed(written)} must {verb} {_listed(read)}".rstrip()

    @helper
    def check(outs, ins):
        if not apart(outs, ins):
            raise ValueError(message)

    return check
