"""Networks in files: safetensors with the weights as plain arrays, and the settings as JSON beside them.

A file is written under another name, flushed to the disk and renamed, so there is always a whole one. A SHA-256 over
settings and weights is in it: a damaged file is refused, with one sentence.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from . import layers, validation
from .custom import Activation
from .losses import LOSSES, CustomLoss, Loss
from .validation import Array

T = TypeVar("T")

FORMAT = 2  # 2: layers that standardize, factors for each feature
KINDS: dict[str, type] = {"scale": layers.Scale, "standardize": layers.Standardize, "dense": layers.Dense, "dropout": layers.Dropout}


def layer_settings(layer: Any) -> dict[str, Any]:
    """Return a layer as a dict for JSON: its kind and its settings, the initializer left out."""
    kind = next(name for name, one in KINDS.items() if isinstance(layer, one))
    values = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer) if field.name != "initializer"}
    if isinstance(activation := values.get("activation"), Activation):
        values["activation"] = {"custom": activation.name, "parameters": activation.parameters}
    return {"kind": kind, **values}


def write(path: str | os.PathLike[str], settings: dict[str, Any], weights: list[tuple[Array, Array | None]]) -> None:
    """Write settings and weights to `path`, whole or not at all.

    Parameters
    ----------
    path : path
        The file, replaced where it exists.
    settings : dict
        What JSON can hold.
    weights : list of (W, b)
        Plain arrays, stored as `dense.0.W`, `dense.0.b`, `dense.1.W`, ...; b may be None.

    Raises
    ------
    OSError
        If the file cannot be written; the old one is intact.
    """
    from safetensors.numpy import save

    try:
        text = json.dumps({"format": FORMAT, **settings})
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must hold what JSON can; got {validation.shown(settings['metadata'])}: {error}.") from None
    arrays = {f"dense.{i}.{name}": np.ascontiguousarray(A) for i, pair in enumerate(weights) for name, A in zip("Wb", pair) if A is not None}
    replace(path, save(arrays, metadata={"fastnn": text, "sha256": checksum(text, arrays)}))


def replace(path: str | os.PathLike[str], data: bytes) -> None:
    """Put `data` into the file `path` by a rename, after it has reached the disk."""
    target = os.path.realpath(os.fspath(path))
    folder, base = os.path.split(target)
    name = os.path.join(folder, f".{base}.{uuid.uuid4().hex}.part")
    try:
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # there may be no file to replace
            shutil.copymode(target, name)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _flush_folder(folder)


def _flush_folder(folder: str) -> None:
    """Let the rename reach the disk, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        entry = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)


def read(path: str | os.PathLike[str], build: Callable[[dict[str, Any], list[Any]], T], custom: Mapping[str, Any]) -> T:
    """Return what `build(settings, layers)` makes of a file; the dense layers have their weights, `custom` has the user's functions by name.

    Raises
    ------
    OSError
        If there is no such file or it cannot be read.
    ValueError
        If it is damaged, not a network, or of a newer format.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        settings, weights = _parse(data)
        settings["loss"] = read_loss(settings["loss"], custom)
        return build(settings, read_layers(settings, weights, custom))
    except _Unknown as error:
        raise ValueError(f"custom must have {error}, which {os.fspath(path)} names; got {list(custom) or None}. Files hold no code.") from None
    except _Newer as error:
        raise ValueError(f"{os.fspath(path)} must be a network of format {FORMAT} or older; got format {error}. Update fastnn.") from None
    except Exception as error:
        raise ValueError(f"{os.fspath(path)} must be an intact network saved by fastnn; got a file with {_what(error)}.") from None


class _Newer(Exception):
    """The file is of a format from the future."""


class _Unknown(Exception):
    """Says which function of the user's is not given."""


class _Damaged(Exception):
    """Says what is wrong with the content of a file."""


def _what(error: Exception) -> str:
    return str(error) if isinstance(error, _Damaged) else f"unreadable content ({type(error).__name__}: {error})".replace("\n", " ")


def _parse(data: bytes) -> tuple[dict[str, Any], list[tuple[Array, Array]]]:
    """Take a file apart; whatever is wrong raises."""
    from safetensors.numpy import load

    arrays = load(data)
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    if "fastnn" not in metadata:
        raise _Damaged("no settings of a network")
    settings = json.loads(metadata["fastnn"])
    if isinstance(settings["format"], int) and settings["format"] > FORMAT:
        raise _Newer(settings["format"])
    if settings["format"] not in range(1, FORMAT + 1):
        raise _Damaged("an unknown format")
    if metadata.get("sha256") != checksum(metadata["fastnn"], arrays):
        raise _Damaged("a wrong checksum")
    return settings, _weights(arrays, settings)


def _weights(arrays: dict[str, Array], settings: dict[str, Any]) -> list[tuple[Array, Array]]:
    """Return the arrays in the order of the layers, if they are the ones that the settings name; a bias that is not there is zero."""
    dense = [layer for layer in settings["layers"] if layer["kind"] == "dense"]
    n_in, dtype = settings["n_features"], validation.real_dtype(settings["dtype"])
    shapes: dict[str, tuple[int, ...]] = {}
    pairs = []
    for i, layer in enumerate(dense):
        n_out = layer["units"]
        shapes[f"dense.{i}.W"] = n_in, n_out
        if layer.get("bias", True):
            shapes[f"dense.{i}.b"] = (n_out,)
        pairs.append((f"dense.{i}.W", f"dense.{i}.b", n_out))
        n_in = n_out
    if sorted(arrays) != sorted(shapes):
        raise _Damaged("other arrays than its settings name")
    if any(arrays[name].shape != shape or arrays[name].dtype != dtype for name, shape in shapes.items()):
        raise _Damaged("arrays of other shapes than its settings say")
    return [(arrays[W], arrays.get(b, np.zeros(n_out, dtype))) for W, b, n_out in pairs]


def read_loss(saved: dict[str, Any], custom: Mapping[str, Any]) -> Loss:
    """Return the loss of a file."""
    values = {name: value for name, value in saved.items() if name != "name"}
    loss = LOSSES.get(saved["name"])
    return dataclasses.replace(_own(saved["name"], CustomLoss, custom) if loss is None else loss, **values)


def _own(name: str, kind: type, custom: Mapping[str, Any]) -> Any:
    """Return a function of the user's by its name."""
    if not isinstance(custom.get(name), kind):
        raise _Unknown(f"the {kind.__name__} {name!r}")
    return dataclasses.replace(custom[name], name=name)


def read_layers(settings: dict[str, Any], weights: list[tuple[Array, Array]], custom: Mapping[str, Any]) -> list[Any]:
    """Return the layers of a file, the dense ones with their weights."""
    found, left = [], iter(weights)
    for saved in settings["layers"]:
        values = {name: value for name, value in saved.items() if name != "kind"}
        if saved["kind"] == "dense":
            values["initializer"] = next(left)
            if isinstance(own := values["activation"], dict):
                values["activation"] = dataclasses.replace(_own(own["custom"], Activation, custom), parameters=own["parameters"])
        found.append(KINDS[saved["kind"]](**values))
    return found


def checksum(settings: str, arrays: dict[str, Array]) -> str:
    """Return the SHA-256 of the settings and of name, dtype, shape and content of every array."""
    digest = hashlib.sha256(settings.encode())
    for name in sorted(arrays):
        A = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name} {A.dtype.str} {A.shape}\n".encode())
        digest.update(A.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
