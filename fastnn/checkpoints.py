"""Networks in files: safetensors with the weights as plain arrays, and the settings as JSON beside them; `files` says how they are written."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from . import files, layers, schedules, validation
from .custom import Activation
from .files import Damaged
from .losses import LOSSES, CustomLoss, Loss
from .validation import Array

T = TypeVar("T")

FORMAT = 2  # 2: layers that standardize, factors for each feature
KINDS = layers.KINDS
OF_FIT = "fit."  # how the names of the arrays begin that a checkpoint of a fit has beside those of a network
MAX_FITS = 1 << 32  # the seed of a fit, of 64 bits, has their number above that of the network
MAX_SAID = 300  # characters of an error, which may show what a file holds


def layer_settings(layer: Any) -> dict[str, Any]:
    """Return a layer as a dict for JSON: its kind and its settings, the initializer left out."""
    values = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer) if field.name != "initializer"}
    if isinstance(layer, layers.Residual):
        values["layers"] = [layer_settings(one) for one in layer.layers]
    if callable(values.get("rate")):
        values["rate"] = schedules.settings(values["rate"])
    if isinstance(activation := values.get("activation"), Activation):
        values["activation"] = {"custom": activation.name, "parameters": activation.parameters}
    return {"kind": _kind(layer), **values}


def _kind(layer: Any) -> str:
    return next(name for name, one in KINDS.items() if isinstance(layer, one))


def _prefixes(found: Sequence[Any]) -> list[tuple[Any, str]]:
    """Return every layer that has arrays, those of residual blocks among them, and how their names start: `dense.0.`, `norm.0.`, `dense.1.`, ..."""
    counts: Counter[str] = Counter()
    prefixes = []
    for layer in layers.single(found):
        if hasattr(layer, "shapes"):
            prefixes.append((layer, f"{_kind(layer)}.{counts[_kind(layer)]}."))
            counts[_kind(layer)] += 1
    return prefixes


def named(found: Sequence[Any], weights: Iterable[tuple[Array | None, ...]]) -> dict[str, Array]:
    """Return the arrays of the layers by their names in a file: `dense.0.W`, `dense.0.b`, `norm.0.gain`, ...; without those that are None."""
    arrays: dict[str, Array] = {}
    for (layer, prefix), some in zip(_prefixes(found), weights):
        arrays |= {prefix + name: A for name, A in zip(layer.shapes(0), some) if A is not None}
    return arrays


def listed(found: Sequence[Any], arrays: Mapping[str, Array]) -> list[tuple[Array | None, ...]]:
    """Return the weights of the layers from arrays that are named as `named` names them."""
    return [tuple(arrays.get(prefix + name) for name in layer.shapes(0)) for layer, prefix in _prefixes(found)]


def write(path: str | os.PathLike[str], settings: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Write settings and arrays to `path`, whole or not at all.

    Parameters
    ----------
    path : path
        The file, replaced where it exists.
    settings : dict
        What JSON can hold.
    arrays : dict of str to array
        Plain arrays, as `named` names them.

    Raises
    ------
    OSError
        If the file cannot be written; the old one is intact.
    TypeError, ValueError
        If the metadata is not what JSON can hold, or so much that it would be refused as hostile when it is read.
    """
    path = files.checked_path("path", path)
    try:
        text = files.as_text({"format": FORMAT, **settings})
    except (Damaged, TypeError, ValueError) as error:
        raise TypeError(f"metadata must hold what JSON can; got {validation.shown(settings['metadata'])}: {error}.") from None
    files.write(path, text, arrays)


def read(path: str | os.PathLike[str], build: Callable[[dict[str, Any], list[Any]], T], custom: Mapping[str, Any]) -> T:
    """Return what `build(settings, layers)` makes of a file; the layers have their arrays, `custom` has the user's functions by name.

    Raises
    ------
    OSError
        If there is no such file or it cannot be read.
    ValueError
        If it is damaged, not a network, or of a newer format.
    """
    path = files.checked_path("path", path)
    try:
        settings, arrays = files.read(path)
        check_format(settings)
        settings["loss"] = read_loss(settings["loss"], custom)
        return build(settings, _with_arrays(read_layers(settings, custom), settings, arrays))
    except _Unknown as error:
        raise ValueError(f"custom must have {error}, which {path} names; got {list(custom) or None}. Files hold no code.") from None
    except Newer as error:
        raise ValueError(f"{path} must be a network of format {FORMAT} or older; got format {error}. Update fastnn.") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{path} must be an intact network saved by fastnn; got a file with {_what(error)}.") from None


class Newer(Exception):
    """The file is of a format from the future."""


class _Unknown(Exception):
    """Says which function of the user's is not given."""


def _what(error: Exception) -> str:
    said = str(error).replace("\n", " ")
    said = said if len(said) <= MAX_SAID else f"{said[:MAX_SAID]}..."
    return said if isinstance(error, Damaged) else f"unreadable content ({type(error).__name__}: {said})"


def check_format(settings: dict[str, Any]) -> None:
    """Raise where a file is of no format that is known."""
    if isinstance(settings["format"], int) and settings["format"] > FORMAT:
        raise Newer(validation.shown(settings["format"]))
    if settings["format"] not in range(1, FORMAT + 1):
        raise Damaged("an unknown format")


def _with_arrays(found: list[Any], settings: dict[str, Any], arrays: dict[str, Array]) -> list[Any]:
    """Return the layers with their arrays, if they are the ones that the settings name."""
    arrays = {name: A for name, A in arrays.items() if not name.startswith(OF_FIT)}
    n_in, dtype, prefixes = settings["n_features"], validation.real_dtype(settings["dtype"]), _prefixes(found)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, prefix in prefixes:
        shapes |= {prefix + name: shape for name, shape in layer.shapes(n_in).items()}
        n_in = getattr(layer, "units", n_in)
    if sorted(arrays) != sorted(shapes):
        raise Damaged("other arrays than its settings name")
    if any(arrays[name].shape != shape or arrays[name].dtype != dtype for name, shape in shapes.items()):
        raise Damaged("arrays of other shapes than its settings say")
    starts = iter([tuple(arrays[prefix + name] for name in layer.shapes(0)) for layer, prefix in prefixes])

    def with_start(layer: Any) -> Any:
        if not hasattr(layer, "shapes"):
            return layer
        own = next(starts)
        return dataclasses.replace(layer, initializer=own if len(own) > 1 else own[0])

    return list(layers.changed(found, with_start))


def read_loss(saved: dict[str, Any], custom: Mapping[str, Any]) -> Loss:
    """Return the loss of a file."""
    values = {name: value for name, value in saved.items() if name != "name"}
    loss = LOSSES.get(saved["name"])
    return dataclasses.replace(_own(saved["name"], CustomLoss, custom) if loss is None else loss, **values)


def _own(name: str, kind: type, custom: Mapping[str, Any]) -> Any:
    """Return a function of the user's by its name."""
    if not isinstance(custom.get(name), kind):
        raise _Unknown(f"the {kind.__name__} {validation.shown(name)}")
    return dataclasses.replace(custom[name], name=name)


def read_layers(settings: dict[str, Any], custom: Mapping[str, Any]) -> list[Any]:
    """Return the layers of a file, or of a residual block in it, without their arrays."""
    found = []
    for saved in settings["layers"]:
        values = {name: value for name, value in saved.items() if name != "kind"}
        if isinstance(own := values.get("activation"), dict):
            values["activation"] = dataclasses.replace(_own(own["custom"], Activation, custom), parameters=own["parameters"])
        if saved["kind"] == "residual":
            values["layers"] = read_layers(saved, custom)
        if isinstance(rate := values.get("rate"), dict):
            values["rate"] = schedules.from_settings(rate)
        found.append(KINDS[saved["kind"]](**values))
    return found
