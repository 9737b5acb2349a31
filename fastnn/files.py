"""Text and arrays in one safetensors file: written whole or not at all, read after every size in it was checked.

A file is written under another name, flushed to the disk and renamed, so there is always a whole one. A SHA-256 over the
text and over name, dtype, shape and content of every array is in it. Reading runs no code, and allocates nothing that the
file is too short to fill.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import stat
import uuid
from typing import Any

import numpy as np

from . import validation
from .validation import Array

DTYPES = {"U64": "<u8", "I64": "<i8", "F64": "<f8", "F32": "<f4", "U32": "<u4", "I32": "<i4", "U8": "|u1"}  # in the order of safetensors' files
CODES = {dtype: code for code, dtype in DTYPES.items()}
TEXT, CHECKSUM = "fastnn", "sha256"  # in the metadata of a file
MAX_DIMENSIONS, MAX_DEPTH = 8, 200  # of an array, of JSON

# What a text takes once it is parsed: bytes of a list, a dict, an entry of a dict, a number or a place in a list, half a string.
COSTS = {b"[": 88, b"{": 232, b":": 100, b",": 40, b'"': 28}
FREE = 12 << 20  # bytes that may be taken anyway


class Damaged(Exception):
    """Says what is wrong with the content of a file."""


def checked_path(name: str, path: Any, kind: str = "file") -> str:
    """Return a path as text."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be the path of a {kind}; got {validation.shown(path)}.")
    text = os.fsdecode(path)
    if "\0" in text:
        raise ValueError(f"{name} must be without null characters; got {validation.shown(text)}.")
    return text


def as_text(settings: Any) -> str:
    """Return JSON from which `read` makes the same again.

    Raises
    ------
    Damaged, TypeError, ValueError
        If there is none.
    """
    _check_plain(settings)
    return json.dumps(settings)


def _check_plain(value: Any, depth: int = MAX_DEPTH) -> None:
    """Raise where a name is no string, which JSON would make one of it, or where lists and dicts are too deep in each other."""
    if not depth:
        raise Damaged(f"lists and dicts that lie more than {MAX_DEPTH} deep in each other")
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise Damaged(f"a name that is no string, {validation.shown(name)}")
    for one in value.values() if isinstance(value, dict) else value:
        if isinstance(one, (dict, list, tuple)):
            _check_plain(one, depth - 1)


def entries(arrays: dict[str, Array]) -> dict[str, dict[str, Any]]:
    """Return dtype, shape and place of every array, in the order of a file.

    Raises
    ------
    Damaged
        If `read` would refuse them.
    """
    found, end = {}, 0
    ranks = {dtype: i for i, dtype in enumerate(CODES)}
    for name in sorted(arrays, key=lambda name: (ranks.get(arrays[name].dtype.str, -1), name)):
        A = arrays[name]
        found[name] = {"dtype": CODES.get(A.dtype.str), "shape": list(A.shape), "data_offsets": [end, end + A.nbytes]}
        end += A.nbytes
    _places(found, end)
    return found


def write(path: str | os.PathLike[str], text: str, arrays: dict[str, Array]) -> None:
    """Write a text of JSON and plain arrays to `path`, whole or not at all.

    The bytes are those of `safetensors.numpy.save`, without a copy of the arrays.

    Parameters
    ----------
    path : path
        The file, replaced where it exists.
    text : str
        JSON, from `as_text`.
    arrays : dict of str to array
        Of the dtypes in `DTYPES`.

    Raises
    ------
    OSError
        If the file cannot be written; the old one is intact.
    Damaged, ValueError
        If there are arrays, or so many parts in the text, that `read` would refuse it.
    """
    arrays = {name: np.asarray(A, order="C") for name, A in arrays.items()}
    places = entries(arrays)
    settings = {"__metadata__": {TEXT: text, CHECKSUM: checksum(text, arrays)}, **places}
    header = json.dumps(settings, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    length = 8 + len(header) + sum(A.nbytes for A in arrays.values())
    if (taken := max(cost(text.encode()), cost(header))) > limit(length):
        raise ValueError(f"metadata must take at most {limit(length) >> 20} MB in memory beside these weights; got {taken >> 20} MB.")
    replace(path, len(header).to_bytes(8, "little"), header, *(_content(arrays[name]) for name in places))


def _content(A: Array) -> memoryview:
    """Return the bytes of a C-contiguous array."""
    return A.reshape(-1).view(np.uint8).data


def replace(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Put `parts` into the file `path` by a rename, after they have reached the disk."""
    target = os.path.realpath(os.fspath(path))
    check_replaceable(target)
    folder, base = os.path.split(target)
    name = os.path.join(folder, f".{base}.{uuid.uuid4().hex}.part")
    try:
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # there may be no file to replace
            shutil.copymode(target, name)
        os.replace(name, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError) and error.filename is not None:  # not of the file that nobody asked for
            raise OSError(error.errno, error.strerror, os.fsdecode(path)) from None
        raise
    _flush_folder(folder)


def check_replaceable(path: str) -> None:
    """Raise OSError for what a file must not take the place of; the system says so itself of a folder."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise OSError(f"path must be a regular file where it exists; got {path!r}, a pipe or a device.")


def _flush_folder(folder: str) -> None:
    """Let the rename reach the disk, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        entry = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)


def read(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Array]]:
    """Return what the JSON of a file says, and its arrays.

    Raises
    ------
    OSError
        If there is no such file or it cannot be read.
    Damaged
        If it is not what `write` wrote. Content that is no JSON raises whatever `json` raises, a `ValueError` or a `RecursionError`.
    """
    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
        raise Damaged("no end: it is a pipe or a device")
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        header, start = _header(file, length)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not isinstance(metadata.get(TEXT), str):
            raise Damaged("no settings of a network")
        places = _places(header, length - start)
        arrays = {name: np.empty(shape, dtype) for name, dtype, shape in places}
        for A in arrays.values():
            if file.readinto(_content(A)) != A.nbytes:
                raise Damaged("less content than it had when it was opened")
    if metadata.get(CHECKSUM) != checksum(metadata[TEXT], arrays):
        raise Damaged("a wrong checksum")
    return _parsed(metadata[TEXT].encode(), length), arrays


def _header(file: Any, length: int) -> tuple[dict[str, Any], int]:
    """Return the header of a file, and where its arrays begin."""
    size = int.from_bytes(file.read(8), "little")
    if length < 8 or size > length - 8:
        raise Damaged(f"{length} bytes, too few for its header")
    header = _parsed(file.read(size), length)
    if not isinstance(header, dict):
        raise Damaged("a header that is no object")
    return header, 8 + size


def _parsed(text: bytes, length: int) -> Any:
    """Return what a text of JSON says, if it is not much larger once it is parsed than the file that it is from."""
    if cost(text) > limit(length):
        raise Damaged("settings with too many parts for its length")
    found = json.loads(text.decode("utf-8"), object_pairs_hook=_object)
    if isinstance(found, (dict, list)):
        _check_plain(found)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Damaged("a name that is given twice")
    return found


def cost(text: bytes) -> int:
    """Return about how many bytes JSON takes once it is parsed: in a string one wide character makes all of them wide."""
    wide = not text.isascii() or (b"\\u" in text and len(text) > 32 * text.count(b","))
    return (4 if wide else 1) * len(text) + sum(each * text.count(sign) for sign, each in COSTS.items())


def limit(length: int) -> int:
    """Return how many bytes the text in a file of a length may take once it is parsed."""
    return FREE + 3 * length


def _places(header: dict[str, Any], length: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return name, dtype and shape of every array in the order of the file, if they fill its `length` bytes without hole and overlap."""
    found = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or sorted(entry) != ["data_offsets", "dtype", "shape"]:
            raise Damaged(f"an array {_short(name)} without dtype, shape and place")
        if name.encode(errors="replace").decode() != name:
            raise Damaged(f"an array {_short(name)} whose name is no text")
        dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise Damaged(f"an array {_short(name)} of an unknown dtype")
        if not (_sizes(shape) and len(shape) <= MAX_DIMENSIONS and _sizes(place) and len(place) == 2):
            raise Damaged(f"an array {_short(name)} of an impossible shape or place")
        if place[1] - place[0] != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
            raise Damaged(f"an array {_short(name)} that has not the place that its shape needs")
        found.append((place[0], place[1], name, DTYPES[dtype], tuple(shape)))
    found.sort(key=lambda one: one[:2])
    ends = [0, *(end for _, end, *_ in found)]
    if [begin for begin, *_ in found] != ends[:-1] or ends[-1] != length:
        raise Damaged("arrays that do not fill it, or lie in each other")
    return [(name, dtype, shape) for _, _, name, dtype, shape in found]


def _sizes(value: Any) -> bool:
    """Whether a value is a list of integers from 0 on."""
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _short(name: str) -> str:
    return ascii(name if len(name) < 40 else f"{name[:37]}...")


def checksum(text: str, arrays: dict[str, Array]) -> str:
    """Return the SHA-256 of the text and of name, dtype, shape and content of every array."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        A = np.asarray(arrays[name], order="C")
        digest.update(f"\n{name} {A.dtype.str} {A.shape}\n".encode())
        digest.update(_content(A))
    return digest.hexdigest()
