"""By what a setting is known again in another process: words that say what it is, not where it lies or what it remembers."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import re
from collections.abc import Iterable
from types import CodeType
from typing import Any

import numpy as np

from .sparse import SparseRows
from .validation import Array

DEPTH = 8  # of things in things, beyond which their type is all that is said: what holds itself has no end
SAMPLE = 64  # rows of data that a checksum looks at
UNCHANGING = (str, bytes, int, float, complex, type(None), np.generic, type)


def described(value: Any, depth: int = DEPTH) -> str:
    """Return what a setting is in words that are the same in another process.

    Examples
    --------
    >>> described(np.arange(3.0)), described(len), described(None)
    ('(3,) float64 ...', 'builtins.len', 'None')
    >>> described([{"b": 1, "a": 2}, functools.partial(int, base=2)])
    "[{['a', 2], ['b', 1]}, partial[builtins.int, [], {['base', 2]}]]"
    """
    if isinstance(value, (np.ndarray, SparseRows)):
        return _array(value)
    if depth <= 0:
        return type(value).__name__
    inner = functools.partial(described, depth=depth - 1)
    if isinstance(value, (list, tuple)):
        return f"[{_joined(map(inner, value))}]"
    if isinstance(value, (set, frozenset)):
        return f"{{{_joined(sorted(map(inner, value)))}}}"
    if isinstance(value, dict):
        return f"{{{_joined(sorted(map(inner, value.items())))}}}"
    if isinstance(value, functools.partial):
        return f"partial{inner((value.func, value.args, value.keywords))}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return f"{type(value).__name__}({_joined(f'{name}={inner(one)}' for name, one in fields.items())})"
    function = getattr(value, "py_func", value)  # of one that Numba compiles, that in Python
    if hasattr(function, "__code__"):
        return f"{function.__module__}.{function.__qualname__} {_checksum(inner(_parts_of_function(function)).encode())}"
    if hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', '')}.{value.__qualname__}"
    if callable(value):
        return described_object(value, depth - 1)
    without_address = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
    return " ".join(without_address.split())


def described_object(value: Any, depth: int = DEPTH) -> str:
    """Return the class of an object and the arguments of its constructor, as far as it keeps them under their names.

    Left out is what belongs to its state, and a path, which may change.

    Examples
    --------
    >>> from fastnn import StopWhen, TimeLimit
    >>> described_object(TimeLimit(60)), described_object(StopWhen("loss", below=0.1))
    ('TimeLimit(seconds=60.0)', "StopWhen(monitor='loss')")
    """
    arguments: Iterable[str] = ()
    with contextlib.suppress(TypeError, ValueError):  # of a class in C nothing is known
        arguments = inspect.signature(type(value)).parameters
    state: Iterable[str] = ()
    with contextlib.suppress(Exception):  # one that knows nothing before a fit begins
        state = list(value.state_dict())
    attributes = getattr(value, "__dict__", {})
    kept: dict[str, Any] = {}
    for name in arguments:
        for attribute in (name, f"_{name}"):
            if attribute in attributes and name != "path" and name not in state:
                kept[name] = attributes[attribute]
    return f"{type(value).__name__}({_joined(f'{name}={described(_unchanging(one), depth - 1)}' for name, one in kept.items())})"


def _array(A: Any) -> str:
    """Return shape and dtype of an array or of sparse rows, and a checksum of some rows, where these are numbers.

    Examples
    --------
    >>> _array(np.zeros((2, 3))), _array(np.array([None]))
    ('(2, 3) float64 17b0761f87b081d5', '(1,) object')
    """
    said = f"{A.shape} {A.dtype}"
    if A.dtype.hasobject:
        return said
    n_rows = A.shape[0] if A.shape else 0
    rows: Array = A[np.unique(np.linspace(0, n_rows - 1, SAMPLE).astype(np.int64))] if n_rows else np.asarray(A)
    return f"{said} {_checksum(np.ascontiguousarray(rows).tobytes())}"


def _parts_of_function(function: Any) -> list[Any]:
    """Return what a function does: its code, its defaults and what it has from around it, as far as that cannot change.

    Examples
    --------
    >>> _parts_of_function(lambda x, power=2, seen=[]: x**power)[1:]
    [2, <class 'list'>]
    """
    around = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty one
            around.append(cell.cell_contents)
    return [_parts_of_code(function.__code__, function.__doc__), *map(_unchanging, around)]


def _parts_of_code(code: CodeType, doc: str | None = None) -> list[Any]:
    """Return what compiled code does, without the place where it stands and what is said of it.

    Examples
    --------
    >>> _parts_of_code((lambda x: x.scaled(2.5)).__code__)[1:]
    [('scaled',), [2.5]]
    """
    constants = [_parts_of_code(one) if isinstance(one, CodeType) else one for one in code.co_consts if one is not None and one != doc]
    return [code.co_code, code.co_names, constants]


def _unchanging(value: Any) -> Any:
    """Return a value that cannot change, and of others, which may be a memory, the type.

    Examples
    --------
    >>> _unchanging((0.5, [1, 2], len))
    (0.5, <class 'list'>, <built-in function len>)
    """
    if isinstance(value, tuple):
        return tuple(map(_unchanging, value))
    return value if isinstance(value, UNCHANGING) or callable(value) else type(value)


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _joined(words: Iterable[str]) -> str:
    return ", ".join(words)
