"""What compiled code asks of its arguments while it is compiled: kinds of arrays and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import errors
from numba.extending import intrinsic

FLOATS = (types.float32, types.float64)


def _checker(wanted: str, allowed: Callable[[Any], bool]) -> Any:
    """Return an intrinsic check(name, value) that refuses what is not allowed; `name` says which kernel's argument it is."""

    @intrinsic(prefer_literal=True)
    def check(typingctx, name, value):
        if not allowed(types.unliteral(value)):
            argument = getattr(name, "literal_value", "an argument")  # Numba tries once more without the letters of a literal
            raise errors.TypingError(f"{argument} must be {wanted}; got {value}.")
        return types.void(name, value), lambda context, builder, signature, arguments: context.get_dummy_value()

    return check


def _is_array(kind: Any, *n_axes: int) -> bool:
    return isinstance(kind, types.Array) and kind.ndim in n_axes


def _is_real(kind: Any) -> bool:
    kind = kind.type if isinstance(kind, types.Optional) else kind
    return kind in FLOATS or isinstance(kind, (types.Integer, types.Boolean))


def is_read(kind: Any, *n_axes: int) -> bool:
    """Return whether this is the type of an array of real numbers with one of these numbers of axes."""
    return _is_array(kind, *n_axes) and _is_real(kind.dtype)


def _is_written(kind: Any, n_axes: int) -> bool:
    return _is_array(kind, n_axes) and kind.dtype in FLOATS and kind.mutable


def _is_packed(kind: Any) -> bool:
    return _is_array(kind, 3) and kind.dtype in (*FLOATS, types.uint16)


_PACKED = "an array of panels, of float32, float64, or uint16 for bfloat16"
check_vector = _checker("an array of one dimension of real numbers", lambda kind: is_read(kind, 1))
check_matrix = _checker("a matrix of real numbers", lambda kind: is_read(kind, 2))
check_weights = _checker(f"a matrix of real numbers or {_PACKED}", lambda kind: is_read(kind, 2) or _is_packed(kind))
check_packed = _checker(_PACKED, _is_packed)
check_vector_out = _checker("a writeable float32 or float64 array of one dimension", lambda kind: _is_written(kind, 1))
check_matrix_out = _checker("a writeable float32 or float64 matrix", lambda kind: _is_written(kind, 2))
check_order = _checker("an array of one dimension of whole numbers", lambda kind: _is_array(kind, 1) and isinstance(kind.dtype, types.Integer))
check_whole = _checker("a whole number", lambda kind: isinstance(kind, types.Integer))
check_numbers = _checker("real numbers", lambda kind: all(map(_is_real, kind)) if isinstance(kind, types.BaseTuple) else _is_real(kind))
