"""What compiled code asks of its arguments: kinds of arrays while it is compiled, shared memory while it runs."""

from __future__ import annotations

import math

from numba import types
from numba.core import errors
from numba.extending import intrinsic

from ._jit import helper, inline
from ._tile import address_of

FLOATS = (types.float32, types.float64)


@intrinsic(prefer_literal=True)
def check_read(typingctx, name, array):
    """Refuse, while compiling, what is not an array of real numbers; `name` says which kernel's argument it is."""
    kind = getattr(array, "dtype", None)
    if not isinstance(array, types.Array) or not (kind in FLOATS or isinstance(kind, (types.Integer, types.Boolean))):
        raise errors.TypingError(f"{_literal(name)} must be an array of real numbers; got {array}.")
    return types.void(name, array), _nothing


@intrinsic(prefer_literal=True)
def check_written(typingctx, name, array):
    """Refuse, while compiling, what is not a float32 or float64 array that can be written."""
    if not isinstance(array, types.Array) or array.dtype not in FLOATS or not array.mutable:
        raise errors.TypingError(f"{_literal(name)} must be a writeable float32 or float64 array; got {array}.")
    return types.void(name, array), _nothing


@intrinsic(prefer_literal=True)
def check_whole(typingctx, name, value):
    """Refuse, while compiling, what is not a whole number, or an array of them."""
    kind = value.dtype if isinstance(value, types.Array) else types.unliteral(value)
    if not isinstance(kind, types.Integer):
        raise errors.TypingError(f"{_literal(name)} must be whole numbers; got {value}.")
    return types.void(name, value), _nothing


def _literal(name):
    """Return a name as it was written; Numba tries once more without its letters."""
    return getattr(name, "literal_value", "an argument")


def _nothing(context, builder, signature, arguments):
    return context.get_dummy_value()


@inline
def _bounds(A, first):
    """Return where the bytes begin and end that the axes from `first` on take up, counted from the first element."""
    low, high = 0, A.itemsize
    for k in range(first, A.ndim):
        span = (A.shape[k] - 1) * A.strides[k]
        low, high = (low + span, high) if span < 0 else (low, high + span)
    return low, high


@inline
def _period(A, outer, period):
    """Return the largest number of bytes that divides `period` and every step along the first `outer` axes."""
    for k in range(min(outer, A.ndim)):
        if A.shape[k] > 1:
            period = math.gcd(period, abs(A.strides[k]))
    return period


@helper
def overlap(A, B):
    """Return whether two arrays may share memory.

    They don't where their bounds lie apart; or those of their rows do, seen from one row to the next: columns of one
    matrix; or those of their elements: every other column. What else is interleaved counts as shared.
    """
    if A.size == 0 or B.size == 0:
        return False
    for outer in range(max(A.ndim, B.ndim) + 1):
        period = _period(B, outer, _period(A, outer, 0))
        a_low, a_high = _bounds(A, outer)
        b_low, b_high = _bounds(B, outer)
        ahead = address_of(B) + b_low - address_of(A) - a_low
        if period == 0:
            apart = ahead >= a_high - a_low or -ahead >= b_high - b_low
        else:
            apart = ahead % period >= a_high - a_low and -ahead % period >= b_high - b_low
        if apart:
            return False
    return True
