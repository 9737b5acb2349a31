"""What elementwise kernels ask of their arguments before they touch them: dtypes, shapes, and that arrays share no memory.

The questions are answered in compiled code, so they cost nanoseconds and are the same from Python and from nopython code. Those
about types are constants to the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from ._jit import helper, task
from ._link import linked_task
from ._tile import array_at

NO_PROBLEM, DTYPE, SHAPE, MEMORY = range(4)
SIZE, ITEMSIZE, DATA, AXES = 2, 3, 4, 5  # words of an array as Numba keeps it; from AXES on lengths, then strides


@intrinsic
def _table(typingctx, arrays):
    """Return the address of a row for each array of a tuple: where its words lie, and how many axes it has; room for a number follows."""

    def codegen(context, builder, sig, args):
        number = context.get_value_type(types.intp)
        rows = cgutils.alloca_once(builder, number, 2 * len(arrays) + 1)
        for k, (kind, array) in enumerate(zip(arrays, cgutils.unpack_tuple(builder, args[0]))):
            words = cgutils.alloca_once_value(builder, array)
            row = (builder.ptrtoint(words, number), context.get_constant(types.intp, getattr(kind, "ndim", 0)))
            for part, value in enumerate(row):
                builder.store(value, cgutils.gep_inbounds(builder, rows, 2 * k + part))
        return builder.ptrtoint(rows, number)

    return types.intp(arrays), codegen


@helper
def _words(table, k):
    """Return the words of an array of a table and its number of axes."""
    row = array_at(np.int64(0), table + k * 16, 2)
    return array_at(np.int64(0), row[0], AXES + 2 * row[1]), row[1]


@helper
def _extent(array, axes, step):
    """Return where the bytes begin and end that the axes of steps below `step` span, and what divides all other steps."""
    low, high, period = array[DATA], array[DATA] + array[ITEMSIZE], 0
    for k in range(axes):
        n, stride = array[AXES + k], array[AXES + axes + k]
        if n > 1 and abs(stride) < step:
            low, high = low + min(0, (n - 1) * stride), high + max(0, (n - 1) * stride)
        elif n > 1:
            period = math.gcd(period, abs(stride))
    return low, high, period


@helper
def _apart(A, a_axes, B, b_axes, step):
    """Return whether the parts that the axes of steps below `step` span lie beside each other, wherever the others lead."""
    low, high, period = _extent(A, a_axes, step)
    low2, high2, period2 = _extent(B, b_axes, step)
    ahead, period = low2 - low, math.gcd(period, period2)
    if period == 0:
        return ahead >= high - low or -ahead >= high2 - low2
    return ahead % period >= high - low and -ahead % period >= high2 - low2


@helper
def _meet(table, i, j):
    """Return whether two arrays of a table may share memory."""
    (A, a_axes), (B, b_axes) = _words(table, i), _words(table, j)
    if A[SIZE] == 0 or B[SIZE] == 0 or _apart(A, a_axes, B, b_axes, np.int64(2**62)):
        return False
    for array, axes in ((A, a_axes), (B, b_axes)):
        for k in range(axes):
            if _apart(A, a_axes, B, b_axes, abs(array[AXES + axes + k])):
                return False
    return True


@helper
def _problem(table, count, alike, written, place, replaced):
    first, axes = _words(table, 0)
    for i in range(1, alike):
        other = _words(table, i)[0]
        for k in range(axes):
            if other[AXES + k] != first[AXES + k]:
                return SHAPE
    for i in range(count):
        for j in range(i):
            if (written >> i | written >> j) & 1 != 0 and _meet(table, i, j):
                if max(place, replaced) != i or min(place, replaced) != j or not _same(table, i, j):
                    return MEMORY
    return NO_PROBLEM


@helper
def _same(table, i, j):
    """Return whether each element of two arrays of one shape lies at one address."""
    (A, axes), (B, _) = _words(table, i), _words(table, j)
    for k in range(axes):
        if A[AXES + k] > 1 and A[AXES + axes + k] != B[AXES + axes + k]:
            return False
    return A[DATA] == B[DATA]


@task
def compare_arrays(tag, table, count, alike, written, place, replaced):
    """Write behind a table what is wrong with its arrays, the first of which are alike; `written` has a bit for each that is."""
    array_at(np.int64(0), table + count * 16, 1)[0] = _problem(table, count, alike, written, place, replaced)


_compare = linked_task(compare_arrays)


@helper
def _compared(table, count, alike, written, place, replaced):
    _compare(np.float32(0), 0, (table, count, alike, written, place, replaced))
    return array_at(np.int64(0), table + count * 16, 1)[0]


@helper
def overlap(A, B):
    """Return whether two arrays may share memory.

    They don't where their bounds lie apart; or those of their rows do, seen from one row to the next: columns of one
    matrix; or those of their elements: every other column. What else is interleaved counts as shared.
    """
    return _compared(_table((A, B)), 2, 0, 3, -1, -1) == MEMORY


def _finder(alike: int, written: Sequence[int], n_axes: int, an_axis: str, a_write: str) -> Any:
    """Return an intrinsic that says what is wrong with the types of a tuple of arrays, of which the first are alike.

    What kernels could not be compiled for, or would write all the same, it refuses in these words.
    """

    @intrinsic
    def find(typingctx, arrays):
        kinds = arrays.types[:alike]
        dtypes = {kind.dtype if isinstance(kind, types.Array) else None for kind in kinds}
        known = NO_PROBLEM
        if len(dtypes) > 1 or not dtypes <= {types.float32, types.float64}:
            known = DTYPE
        elif n_axes not in (0, kinds[0].ndim):
            raise errors.TypingError(an_axis)
        elif not all(kinds[k].mutable for k in written):
            raise errors.TypingError(a_write)
        elif len({kind.ndim for kind in kinds}) > 1:
            known = SHAPE
        return types.intp(arrays), lambda context, builder, sig, args: context.get_constant(types.intp, known)

    return find


@intrinsic
def is_integer(typingctx, value):
    """Return whether a number, or the numbers of an array, are integers."""
    answer = isinstance(getattr(value, "dtype", value), types.Integer)
    return types.boolean(value), lambda context, builder, sig, args: context.get_constant(types.boolean, answer)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def door(kernel: str, arrays: str, written: str, replaces: str = "", others: str = "", n_axes: int = 0) -> Any:
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
    n_axes : int
        How many axes the arrays have; 0: any number.
    """
    alike, every, outs = arrays.split(), f"{arrays} {others}".split(), written.split()
    place, replaced = (every.index(outs[0]), every.index(replaces)) if replaces else (-1, -1)
    n_arrays, n_alike, bits = len(every), len(alike), sum(1 << every.index(name) for name in outs)
    an_axis = f"{kernel}: {_listed(alike)} must have {n_axes} axes" if n_axes > 1 else f"{kernel}: {_listed(alike)} must have one axis"
    find = _finder(n_alike, [every.index(name) for name in outs], n_axes, an_axis, f"{kernel}: {_listed(outs)} must be writeable")
    a_dtype = f"{kernel}: {_listed(alike)} must be {'arrays of one dtype,' if alike[1:] else 'an array of'} float32 or float64"
    a_shape = f"{kernel}: {_listed(alike[1:])} must have the shape of {alike[0]}"
    read = [name for name in every if name not in outs]
    apart = "it" if read == [replaces] else _listed(read) or "others"
    a_place = f"{kernel}: {_listed(outs)} must {f'be {replaces} itself or ' if replaces else ''}share no memory with {apart}"

    @helper
    def check(given):
        problem = find(given)
        if n_arrays > 1 and problem == NO_PROBLEM:
            problem = _compared(_table(given), n_arrays, n_alike, bits, place, replaced)
        if problem == DTYPE:
            raise TypeError(a_dtype)
        if problem == SHAPE:
            raise ValueError(a_shape)
        if problem == MEMORY:
            raise ValueError(a_place)

    return check
