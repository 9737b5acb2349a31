"""Columns of Parquet, Feather and Arrow files as arrays, and lines of text read fast: all that needs pyarrow (extra `table`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Path = str | os.PathLike[str]

ENDINGS = (".parquet", ".feather", ".arrow")


def is_arrow(path: Path) -> bool:
    """Return whether a file has the name of one that pyarrow reads."""
    return os.fspath(path).lower().endswith(ENDINGS)


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a file."""
    opened = _open(path)
    schema = getattr(opened, "schema_arrow", opened.schema)  # the other one of Parquet names the parts of nested columns
    return [str(name) for name in schema.names]


def n_rows(path: Path) -> int:
    """Return the number of rows of a file."""
    opened = _open(path)
    return int(opened.num_rows if hasattr(opened, "num_rows") else opened.metadata.num_rows)


def read(path: Path, features: Sequence[str], target: str | None) -> tuple[Array, Array | None]:
    """Return columns of a file as float64 of shape (n_rows, n_features), and the target as int64, float64 or text."""
    X, y = _arrays(path, _selected(_open(path), list(_wanted(features, target))), features, target, 0)
    return X, y


def batches(path: Path, features: Sequence[str], target: str | None, size: int) -> Iterator[tuple[Array, Array | None]]:
    """Yield the same in batches of `size` rows, the last one perhaps of fewer; no more of the file is in memory."""
    opened, wanted = _open(path), list(_wanted(features, target))
    first = 0
    if hasattr(opened, "iter_batches"):
        parts = opened.iter_batches(batch_size=size, columns=wanted)
    else:
        parts = (opened.slice(start, size).select(wanted) for start in range(0, opened.num_rows, size))
    for part in parts:
        yield _arrays(path, part, features, target, first)
        first += part.num_rows


def _wanted(features: Sequence[str], target: str | None) -> dict[str, None]:
    return dict.fromkeys([*features, *([] if target is None else [target])])


def _open(path: Path) -> Any:
    """Return a Parquet file, or the mapped table of an Arrow file."""
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError:
        raise ImportError("Parquet and Arrow files need pyarrow: pip install 'fastnn[table]'.") from None
    with open(path, "rb"):  # a missing file is Python's error
        pass
    try:
        if os.fspath(path).lower().endswith(".parquet"):
            return parquet.ParquetFile(path)
        return ipc.open_file(pyarrow.memory_map(os.fspath(path))).read_all()
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} must be a whole Parquet or Arrow file; got a damaged or foreign one ({error}).") from None


def _selected(opened: Any, names: list[str]) -> Any:
    return opened.read(columns=names) if hasattr(opened, "iter_batches") else opened.select(names)


def _arrays(path: Path, part: Any, features: Sequence[str], target: str | None, first: int) -> tuple[Array, Array | None]:
    """Return some rows, the first of which has a number, as arrays."""
    X = np.empty((part.num_rows, len(features)))
    for k, name in enumerate(features):
        values = _values(path, part.column(name), name, first)
        if values.dtype.kind not in "biuf":
            raise ValueError(f"{path}, column {name!r} must hold numbers; got {part.column(name).type}. Leave it out, or turn it into numbers.")
        X[:, k] = values
    if target is None:
        return X, None
    y = _values(path, part.column(target), target, first)
    if y.dtype.kind in "iuf":
        return X, y.astype(np.float64 if y.dtype.kind == "f" else np.int64)
    return X, y.astype(np.str_)


def _values(path: Path, column: Any, name: str, first: int) -> Array:
    """Return a column of numbers or text without missing values."""
    import pyarrow

    if column.null_count:
        row = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False) if not hasattr(column, "chunks") else column.is_null().to_numpy())[0])
        raise ValueError(f"{path}, row {row}, column {name!r} must have a value; got a missing one ({column.null_count} of them in this column).")
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    values: Array = np.asarray(column.to_numpy() if hasattr(column, "chunks") else column.to_numpy(zero_copy_only=False))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"{path}, row {first + row}, column {name!r} must hold a finite number; got {values[row]}.")
    return values


def parse(text: str, separator: str, kinds: Sequence[str]) -> tuple[Array, list[str]] | None:
    """Return the numbers and the text of lines, in half the time of NumPy and with several threads; None where it cannot.

    Parameters
    ----------
    text : str
        Whole lines.
    separator : str
        Between two cells.
    kinds : sequence of {"f8", "O", "U1"}
        What each column holds: numbers, text, what nobody wants.
    """
    try:
        import pyarrow
        from pyarrow import csv
    except ImportError:
        return None
    types = {"f8": pyarrow.float64(), "O": pyarrow.string()}
    wanted = {str(j): types[kind] for j, kind in enumerate(kinds) if kind in types}
    try:
        table = csv.read_csv(
            pyarrow.py_buffer(text.encode()),
            csv.ReadOptions(column_names=[str(j) for j in range(len(kinds))]),
            csv.ParseOptions(delimiter=separator, newlines_in_values='"' in text),
            csv.ConvertOptions(column_types=wanted, null_values=[], include_columns=list(wanted)),
        )
    except pyarrow.ArrowInvalid:
        return None
    columns = dict(zip(wanted, table.columns))
    numbers = np.empty((len(table), kinds.count("f8")))
    for k, name in enumerate(name for name in wanted if wanted[name] == types["f8"]):
        numbers[:, k] = columns[name]
    return numbers, columns[str(kinds.index("O"))].to_numpy().tolist() if "O" in kinds else []
