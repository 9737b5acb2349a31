"""What elementwise kernels ask of their arguments before they touch them: dtypes, shapes, and that arrays share no memory.

The questions are answered in compiled code, so they cost nanoseconds and are the same from Python and from nopython code. Those
about types are constants to the compiler.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import helper

NO_PROBLEM, DTYPE, SHAPE, MEMORY = range(4)


def _reach(
    builder: Any, number: Any, view: Any, lengths: Sequence[Any], strides: Sequence[Any]
) -> tuple[Any, Any, Any, Any]:
    """Return an array's first address, the one behind its last, its longest stride, and the bytes it spans without that axis."""
    low = builder.ptrtoint(view.data, number(0).type)
    high, pitch, along = builder.add(low, view.itemsize), number(0), number(0)
    for n, stride in zip(lengths, strides):
        back = builder.icmp_signed("<", stride, number(0))
        step = builder.select(back, builder.neg(stride), stride)
        way = builder.mul(builder.sub(n, number(1)), step)
        low = builder.select(back, builder.sub(low, way), low)
        high = builder.select(back, high, builder.add(high, way))
        longest = builder.and_(builder.icmp_signed(">", step, pitch), builder.icmp_signed(">", n, number(1)))
        pitch, along = builder.select(longest, step, pitch), builder.select(longest, way, along)
    inner = builder.sub(builder.sub(high, low), along)
    return low, builder.select(builder.icmp_signed("==", view.nitems, number(0)), low, high), pitch, inner


def _overlap(builder: Any, number: Any, one: Any, other: Any) -> Any:
    """Compare the ranges of two arrays; interleaved ones, such as columns of one matrix, do not overlap."""
    (low, high, pitch, inner), (low2, high2, pitch2, inner2) = one, other
    step = builder.select(builder.icmp_signed(">", pitch, number(0)), pitch, number(1))
    shift = builder.srem(builder.sub(low2, low), step)
    shift = builder.select(builder.icmp_signed("<", shift, number(0)), builder.add(shift, step), shift)
    fits = builder.icmp_signed("<=", builder.add(shift, inner2), step)
    beside = builder.and_(
        builder.and_(fits, builder.icmp_signed(">=", shift, inner)), builder.icmp_signed("==", pitch, pitch2)
    )
    pairs = ((low, high2), (low2, high), (low, high), (low2, high2))  # they meet, and none is empty
    return functools.reduce(builder.and_, [builder.icmp_signed("<", a, b) for a, b in pairs], builder.not_(beside))


def _finder(n_alike: int, written: Collection[int], replaces: tuple[int, int]) -> Any:
    """Return an intrinsic that says what is wrong with a tuple of arrays: see `door`."""

    @intrinsic
    def find(typingctx, arrays):
        kinds = arrays.types
        dtypes = {getattr(kind, "dtype", None) for kind in kinds[:n_alike]}
        known = DTYPE if len(dtypes) > 1 or not dtypes <= {types.float32, types.float64} else NO_PROBLEM
        known = SHAPE if not known and len({kind.ndim for kind in kinds[:n_alike]}) > 1 else known

        def codegen(context, builder, sig, args):
            number = functools.partial(context.get_constant, types.intp)
            if known:
                return number(known)
            views = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(kinds, cgutils.unpack_tuple(builder, args[0]))
            ]
            lengths, strides = (
                [cgutils.unpack_tuple(builder, getattr(view, part)) for view in views] for part in ("shape", "strides")
            )
            reaches = [_reach(builder, number, *one) for one in zip(views, lengths, strides)]
            problem = number(NO_PROBLEM)
            for i, j in ((i, j) for i in written for j in range(len(kinds)) if j < i or j not in written):
                overlap = _overlap(builder, number, reaches[i], reaches[j])
                if (i, j) == replaces:  # not where each element of both lies at one address
                    other = builder.icmp_signed("!=", reaches[i][0], reaches[j][0])
                    for n, s, t in zip(lengths[i], strides[i], strides[j]):
                        apart = builder.and_(builder.icmp_signed("!=", s, t), builder.icmp_signed(">", n, number(1)))
                        other = builder.or_(other, apart)
                    overlap = builder.and_(overlap, other)
                problem = builder.select(overlap, number(MEMORY), problem)
            for n, m in ((n, m) for one in lengths[1:n_alike] for n, m in zip(one, lengths[0])):
                problem = builder.select(builder.icmp_signed("!=", n, m), number(SHAPE), problem)
            return problem

        return types.intp(arrays), codegen

    return find


@intrinsic
def is_integer(typingctx, value):
    """Return whether a number, or the numbers of an array, are integers."""
    answer = isinstance(getattr(value, "dtype", value), types.Integer)
    return types.boolean(value), lambda context, builder, sig, args: context.get_constant(types.boolean, answer)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def door(kernel: str, arrays: str, written: str, replaces: str = "", others: str = "") -> Any:
    """Return a helper check((array, ...)) for the arguments of a kernel, which raises a literal sentence.

    Parameters
    ----------
    kernel : str
        The name of the kernel.
    arrays : str
        The names of its arrays, separated by spaces: of one dtype, float32 or float64, and of one shape.
    written : str
        Those that it writes. They share no memory with any other.
    replaces : str
        Which array the only one that is written may be: element for element.
    others : str
        Arrays of another kind, which are read: the last of the tuple.
    """
    alike, every, outs = arrays.split(), f"{arrays} {others}".split(), written.split()
    pair = (every.index(outs[0]), every.index(replaces)) if replaces else (-1, -1)
    find = _finder(len(alike), [every.index(name) for name in outs], pair)
    a_dtype = f"{kernel}: {_listed(alike)} must be {'arrays of one dtype,' if alike[1:] else 'an array of'} float32 or float64"
    a_shape = f"{kernel}: {_listed(alike[1:])} must have the shape of {alike[0]}"
    read = [name for name in every if name not in outs]
    apart = "it" if read == [replaces] else _listed(read) + (" or each other" if outs[1:] else "")
    a_place = (
        f"{kernel}: {_listed(outs)} must {f'be {replaces} itself or ' if replaces else ''}share no memory with {apart}"
    )

    @helper
    def check(given):
        problem = find(given)
        if problem == DTYPE:
            raise TypeError(a_dtype)
        if problem == SHAPE:
            raise ValueError(a_shape)
        if problem == MEMORY:
            raise ValueError(a_place)

    return check
