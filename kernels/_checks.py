"""What compiled code asks of its arguments while it is compiled: kinds of arrays and numbers."""

from __future__ import annotations

from numba import types
from numba.core import errors
from numba.extending import intrinsic

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
def check_packed(typingctx, name, array):
    """Refuse, while compiling, what is not an array of panels: of float32, float64 or, for bfloat16, uint16."""
    if not isinstance(array, types.Array) or array.dtype not in (*FLOATS, types.uint16):
        raise errors.TypingError(f"{_literal(name)} must be an array of float32, float64, or uint16 for bfloat16; got {array}.")
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
