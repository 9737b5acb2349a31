"""Tables in text files: their separator, their decimal sign and whether the first line holds names, then their numbers.

The first lines decide. The bulk of the numbers goes, some lines at a time, through pyarrow or NumPy; lines that they
refuse are read again in Python, which knows more forms of a number and says which cell is none.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import arrow, validation

__all__ = ["Table", "TableBatches", "is_table", "load_csv", "load_table"]

Array = NDArray[Any]
Path = str | os.PathLike[str]

ENDINGS = (".csv", ".tsv", ".txt")
MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
SEPARATORS = ";\t|,"  # the comma last: between semicolons it may be the decimal sign
KNOWN = "commas, semicolons, tabs or |"
SWAP = str.maketrans(",.", ".,")
SAMPLE = 1 << 18  # characters that decide
SAMPLE_ROWS = 1000
BLOCK = 1 << 22  # characters read together
LITTLE = 1 << 20  # characters that are not worth importing pyarrow
WIDE = 300  # columns, each of which costs pyarrow so much in every block that NumPy is faster


class Table(NamedTuple):
    """The content of a CSV file.

    Attributes
    ----------
    X : ndarray of float64, shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), or None
        The target column: int64 where every cell is an integer, float64 where every cell is a number, else text.
    columns : tuple of str or of int
        The columns of X: their names, or in a file without names their numbers, counted from 0. As the argument `columns` of
        `load_csv` they read the same ones from another file, by name where they have names.
    """

    X: Array
    y: Array | None
    columns: tuple[str, ...] | tuple[int, ...]


class _Layout(NamedTuple):
    """How a file is written: its separator, how many lines the names take (0: there are none), and the names."""

    separator: str
    header: int
    names: list[str]
    sample: list[list[str]]


class _Refused(Exception):
    """A column has a cell that is no finite number."""

    def __init__(self, column: int) -> None:
        self.column = column


def is_table(path: Path) -> bool:
    """Return whether a file has the name of a table: .csv, .tsv or .txt, also with .gz, or .parquet, .feather or .arrow."""
    return os.fspath(path).lower().removesuffix(".gz").endswith(ENDINGS) or arrow.is_arrow(path)


def load_table(
    path: Path,
    target: int | str | None = -1,
    header: bool | None = None,
    ignore: Sequence[int | str] = (),
    columns: Sequence[int | str] | None = None,
) -> Table:
    """Return the numbers of a Parquet, Feather or Arrow file, or else of a CSV file, and its target column.

    Parameters
    ----------
    path, target, ignore, columns
        See `load_csv`.
    header : bool, optional
        See `load_csv`; left out for the other files, which have names.

    Returns
    -------
    Table
    """
    if not arrow.is_arrow(path):
        return load_csv(path, target, header, ignore, columns)
    if header is not None:
        raise ValueError(f"header must be left out for {path}, whose columns have names; got {header}.")
    features, name = _named(path, target, ignore, columns)
    X, y = arrow.read(path, features, name)
    if len(X) == 0:
        raise ValueError(f"{path} must hold at least one row; got none.")
    return Table(X, y, tuple(features))


class TableBatches:
    """Batches (X, y) of a Parquet, Feather or Arrow file, read from the disk anew in each epoch: what `fit` takes in place of arrays.

    The rows come as they lie; where they are sorted, shuffle the file.

    Parameters
    ----------
    path : path
    target : int or str
        Name or number of the target, a column of numbers: integers are labels.
    batch_size : int
        Rows of a batch.
    ignore, columns : sequence of int or str
        See `load_csv`.
    """

    def __init__(
        self, path: Path, target: int | str = -1, batch_size: int = 256, ignore: Sequence[int | str] = (), columns: Sequence[int | str] | None = None
    ) -> None:
        self.path, self.batch_size = path, validation.integer("batch_size", batch_size, 1)
        self.features, self.target = _named(path, target, ignore, columns)
        self.n_rows = arrow.n_rows(path)

    def __len__(self) -> int:
        return -(-self.n_rows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, Array | None]]:
        return arrow.batches(self.path, self.features, self.target, self.batch_size)


def _named(path: Path, target: int | str | None, ignore: Sequence[int | str], columns: Sequence[int | str] | None) -> tuple[list[str], str | None]:
    """Return the names of the features and of the target in a file whose columns have names."""
    layout = _Layout("", 1, arrow.column_names(path), [])
    features, target_column = _chosen(path, layout, target, ignore, columns)
    return [layout.names[j] for j in features], None if target_column is None else layout.names[target_column]


def load_csv(
    path: Path,
    target: int | str | None = -1,
    header: bool | None = None,
    ignore: Sequence[int | str] = (),
    columns: Sequence[int | str] | None = None,
) -> Table:
    """Return the numbers of a CSV file, which may be gzipped, and its target column.

    Commas, semicolons, tabs or | separate the cells. Where it is not commas, numbers may have decimal commas, all or none.
    Empty cells, `?`, `NA`, `NaN` and `null` are missing values: an error.

    Parameters
    ----------
    path : path
    target : int, str or None
        Name of the target column, or its number counted from 0, negative from the end. None: the file has no target.
    header : bool, optional
        Whether the first line holds names. Default: it does where `columns` are names, not where they are numbers.
        Without `columns`, it does if no cell of it is a number, if one is text above a column of numbers, or if it counts
        0, 1, 2, ..., perhaps with an empty cell before and text after that. (0 and 1 alone must be above fractions.)
    ignore : sequence of int or str
        Columns to leave out.
    columns : sequence of int or str, optional
        The features to read, in this order: a str is a name, an int a number. Default: all columns but the target and
        those to leave out.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If a value is missing or not finite, a feature is text, lines have different lengths, a column does not exist or is
        not the only one of its name, or no feature is left.
    """
    layout = _layout(path, _names_expected(columns) if header is None else header)
    features, target_column = _chosen(path, layout, target, ignore, columns)
    X, cells, swapped = _read(path, layout, features, target_column)
    if len(X) == 0:
        raise ValueError(f"{path} must hold at least one line of values; got only a header.")
    y = None if target_column is None else _target(path, layout, target_column, cells, swapped)
    return Table(X, y, tuple(layout.names[j] for j in features) if layout.header else tuple(features))


# What the first lines say.


def _names_expected(columns: Sequence[int | str] | None) -> bool | None:
    """Whether columns are names; None where that is open, as with "column 3", once the name of what has none."""
    if not columns or all(isinstance(column, str) and re.fullmatch(r"column \d+", column) for column in columns):
        return None
    return any(isinstance(column, str) for column in columns)


def _layout(path: Path, header: bool | None) -> _Layout:
    """Find out how a file is written."""
    _, text = next(_blocks(path, 0, SAMPLE), (0, ""))
    separator = _separator(path, text)
    numbered = list(islice(_parse(path, text, 0, separator), SAMPLE_ROWS))
    if not numbered:
        raise ValueError(f"{path} must hold at least one line; got an empty file.")
    sample = [cells for _, cells in numbered]
    if header is None:
        header = _is_header(sample[0], [cells for cells in sample[1:] if len(cells) == len(sample[0])], separator)
    if header:
        return _Layout(separator, numbered[0][0], sample[0], sample[1:])
    return _Layout(separator, 0, [f"column {j}" for j in range(len(sample[0]))], sample)


def _separator(path: Path, text: str) -> str:
    """Return what cuts all lines into as many cells, the most of them numbers; else what the first line has most of."""
    best, most = "", -1.0
    for separator in SEPARATORS:
        try:
            rows = [cells for _, cells in islice(_parse(path, text, 0, separator), SAMPLE_ROWS)]
        except ValueError:  # a cell too long to be one
            continue
        if len({len(cells) for cells in rows}) == 1 and len(rows[0]) > 1:
            below = [cell for cells in rows[1:] or rows for cell in cells]
            share = sum(_is_number(cell, separator) for cell in below) / len(below)
            if share > most:
                best, most = separator, share
    unquoted = re.sub('"[^"]*"', "", text.lstrip().split("\n", 1)[0])
    return best or max(",;\t|", key=unquoted.count)


def _is_header(first: list[str], rows: list[list[str]], separator: str) -> bool:
    """Whether the first line holds names."""
    if not any(_is_number(cell, separator) for cell in first):
        return True
    below = list(zip(*rows)) or [()] * len(first)
    if any(_is_text(cell, separator) and _are_numbers(column, separator) for cell, column in zip(first, below)):
        return True
    start = int(first[0] == "")  # pandas writes nothing above an index
    end = next((j for j in range(start, len(first)) if first[j] != str(j - start)), len(first))
    if end == start or any(_is_number(cell, separator) for cell in first[end:]):
        return False
    return start == 1 or end - start > 2 or any(column and not _has_integers(column) for column in below[start:end])


def _is_number(cell: str, separator: str) -> bool:
    """Whether a cell is a number, perhaps with a decimal comma."""
    try:
        float(cell)
    except ValueError:
        return separator != "," and "," in cell and _is_number(cell.translate(SWAP), ",")
    return True


def _has_integers(cells: Iterable[str]) -> bool:
    return any(re.fullmatch(r"[+-]?\d*", cell) for cell in cells)


def _is_text(cell: str, separator: str) -> bool:
    return cell.lower() not in MISSING and not _is_number(cell, separator)


def _are_numbers(cells: Iterable[str], separator: str) -> bool:
    """Whether there are numbers, and nothing else but missing values."""
    present = [cell for cell in cells if cell.lower() not in MISSING]
    return bool(present) and all(_is_number(cell, separator) for cell in present)


# Which columns are read.


def _chosen(
    path: Path, layout: _Layout, target: int | str | None, ignore: Sequence[int | str], columns: Sequence[int | str] | None
) -> tuple[list[int], int | None]:
    """Return the numbers of the features and of the target."""
    names, index = layout.names, {name: j for j, name in enumerate(layout.names)}
    target_column = None if target is None else _find_column(path, target, names, index, "target")
    ignored = {_find_column(path, column, names, index, "ignore") for column in ignore}
    if target_column in ignored:
        raise ValueError(f"ignore must leave the target in; got {names[target_column]!r}. Name another one as the target.")
    wanted = range(len(names)) if columns is None else [_find_column(path, one, names, index, "columns") for one in columns]
    features = [j for j in wanted if j not in ignored and j != target_column]
    if not features:
        shown = f"one column, {names[0]!r}" if len(names) == 1 else "none besides the target and those to ignore"
        raise ValueError(f"{path} must hold columns of features, separated by {KNOWN}; got {shown}.")
    counts = Counter(names)
    for j in [*features, *([] if target_column is None else [target_column])]:
        if counts[names[j]] > 1:
            raise ValueError(f"columns of {path} must have different names; got {names[j]!r} more than once.")
    return features, target_column


def _find_column(path: Path, column: int | str, names: Sequence[str], index: dict[str, int], argument: str) -> int:
    """Return the number of a column given by name or number; a number may be text, but not as one of `columns`."""
    if column in index:
        return index[str(column)]
    if isinstance(column, (int, np.integer)) or (argument != "columns" and re.fullmatch(r"-?\d+", column)):
        number = int(column)
        if -len(names) <= number < len(names):
            return number % len(names)
    help_ = f" Cells must be separated by {KNOWN}." if len(names) == 1 else ""
    wanted = f"a column of {path}: one of {_listed(names)} or a number below {len(names)}"
    raise ValueError(f"{argument} must be {wanted}; got {column!r}.{help_}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:12]) + (", ..." if len(names) > 12 else "")


# The values.


def _read(path: Path, layout: _Layout, features: list[int], target: int | None) -> tuple[Array, list[Array], bool]:
    """Return features, cells of the target, and whether commas and points were swapped to read decimal commas."""
    refused = None
    for swapped in _decimals(layout, [*features, *([] if target is None else [target])]):
        try:
            return *_values(path, layout, features, target, swapped), swapped
        except _Refused as error:
            refused = refused or (error.column, swapped)
    assert refused
    raise _refusal(path, layout, *refused, features)


def _decimals(layout: _Layout, used: list[int]) -> tuple[bool, ...]:
    """Return whether to swap commas and points; both possibilities where the first lines have no fraction."""
    if layout.separator == ",":
        return (False,)
    signs = set()
    for cells in layout.sample:
        for cell in (cells[j] for j in used if j < len(cells)):
            if ("," in cell or "." in cell) and _is_number(cell, layout.separator):
                signs.add(not _is_number(cell, ","))
    return (False, True) if not signs else (signs == {True},)


def _values(path: Path, layout: _Layout, features: list[int], target: int | None, swapped: bool) -> tuple[Array, list[Array]]:
    """Return the features and the cells of the target, read block by block."""
    chosen = set(features)
    wanted = sorted(chosen)
    # What nobody wants is text, cut short.
    kinds = ["f8" if j in chosen else "O" if j == target else "U1" for j in range(len(layout.names))]
    X = np.empty((0, len(wanted)))
    targets: list[Array] = []
    for before, text in _blocks(path, layout.header, BLOCK):
        if swapped:
            text = text.translate(SWAP)
        read = _fast(text, layout.separator, kinds)
        numbers, cells = _exact(path, text, before, layout, wanted, target) if read is None else read
        if len(numbers):
            start = len(X)  # X grows in place: joining blocks would take the memory twice
            X.resize((start + len(numbers), len(wanted)), refcheck=False)
            X[start:] = numbers
            targets.append(np.array([cell.strip() for cell in cells]))  # a list of all cells would take as much as X
    if wanted != features:
        X = X[:, np.searchsorted(wanted, features)]
    return X, targets


def _fast(text: str, separator: str, kinds: list[str]) -> tuple[Array, list[str]] | None:
    """Return features and target of some lines as compiled code reads them; None where it cannot or might be wrong."""
    if '"' in text and separator + " " in text:  # a quote after a space opens a cell for csv only
        return None
    read = arrow.parse(text, separator, kinds) if len(text) > LITTLE and len(kinds) < WIDE else None
    if read is None:
        read = _numpy(text, separator, kinds)
    return read if read is not None and np.isfinite(read[0]).all() else None


def _numpy(text: str, separator: str, kinds: list[str]) -> tuple[Array, list[str]] | None:
    """Read lines with NumPy."""
    runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
    dtype = np.dtype([(f"{kind} {i}", kind, (length,)) for i, (kind, length) in enumerate(runs)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lines may all be empty
            quote = '"' if '"' in text else None
            rows = np.loadtxt(io.StringIO(text), dtype, None, separator, ndmin=1, encoding="utf-8", quotechar=quote)
    except ValueError:
        return None
    names = dtype.names or ()
    numbers = np.concatenate([rows[name] for name in names if name.startswith("f8")], axis=1)
    return numbers, next((rows[name][:, 0].tolist() for name in names if name.startswith("O")), [])


def _exact(path: Path, text: str, before: int, layout: _Layout, wanted: list[int], target: int | None) -> tuple[Array, list[str]]:
    """Return features and target of some lines as Python reads them."""
    rows: list[list[str]] = []
    for line, cells in _parse(path, text, before, layout.separator):
        if len(cells) != len(layout.names):
            width = f"{len(layout.names)} values like the first line"
            raise ValueError(f"{path}, line {line} must have {width}; got {len(cells)}.")
        rows.append(cells)
    numbers = np.empty((len(rows), len(wanted)))
    for k, j in enumerate(wanted):
        try:
            numbers[:, k] = np.array([cells[j] for cells in rows], dtype=np.float64)
        except ValueError:
            raise _Refused(j) from None
        if not np.isfinite(numbers[:, k]).all():
            raise _Refused(j)
    return numbers, [] if target is None else [cells[target] for cells in rows]


def _blocks(path: Path, skip: int, size: int) -> Iterator[tuple[int, str]]:
    """Yield some lines at a time and how many came before, `skip` lines left out, cut where no quoted cell is open."""
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if zipped else open)(path, "rt", encoding="utf-8-sig") as file:
            before = sum(1 for _ in islice(file, skip))
            while text := file.read(size) + file.readline():
                while text.count('"') % 2 or text.count("\n") < 2:
                    more = file.read(len(text)) + file.readline()
                    if not more:
                        break
                    text += more
                if "\0" in text:
                    raise ValueError(f"{path} must be a CSV file in UTF-8; got something else (NUL characters).")
                yield before, text
                before += text.count("\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} must be a whole gzip file; got a truncated or damaged one ({error}).") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8; got something else ({error}).") from None


def _parse(path: Path, text: str, before: int, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and stripped cells of every line that is not empty."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=separator != "\t")
    try:
        for cells in reader:
            if cells:
                yield before + reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8; got something else ({error}).") from None


def _column(path: Path, layout: _Layout, column: int) -> Iterator[tuple[int, str]]:
    """Yield line number and cell of a column, as far as the lines have as many cells as they should."""
    for before, text in _blocks(path, layout.header, BLOCK):
        for line, cells in _parse(path, text, before, layout.separator):
            if len(cells) != len(layout.names):
                return
            yield line, cells[column]


def _refusal(path: Path, layout: _Layout, column: int, swapped: bool, features: Sequence[int] = ()) -> ValueError:
    """Return the error for the first cell of a column that is no finite number, for text before a missing value; it names others of the features."""

    def is_finite(cell: str) -> bool:
        text = cell.translate(SWAP) if swapped else cell
        return _is_number(text, ",") and bool(np.isfinite(float(text)))

    bad = [(line, cell) for line, cell in _column(path, layout, column) if not is_finite(cell)]
    line, cell = next(((line, cell) for line, cell in bad if cell.lower() not in MISSING), bad[0])
    where = f"{path}, line {line}, column {layout.names[column]!r}"
    # The first line may be names.
    others = [layout.names[j] for j in features if j != column and not all(is_finite(cells[j]) for cells in layout.sample[1:] if j < len(cells))]
    also = f" Such cells are also in {_listed(others)}." if others else ""
    if cell.lower() in MISSING:
        return ValueError(f"{where} must hold a number; got a missing value ({len(bad)} of them in this column).{also}")
    help_ = " Leave out columns of text (ignore or --ignore), turn them into numbers, or name the target if this is it."
    if _is_number(cell, ""):
        help_ = ""
        if "," in cell or (swapped and "." in cell):
            help_ = " Decimal commas are read where semicolons, tabs or | separate, and where no number has a point."
    elif line == 1 and not layout.header:
        help_ += " A line of names needs header=True or --header."
    return ValueError(f"{where} must hold a finite number; got {cell!r}.{help_}{also}")


def _target(path: Path, layout: _Layout, column: int, blocks: list[Array], swapped: bool) -> Array:
    """Return the target column as int64, float64 or text, whatever all its cells are."""
    if any(cell.lower() in MISSING for cells in blocks for cell in set(cells.tolist())):
        line = next(line for line, cell in _column(path, layout, column) if cell.lower() in MISSING)
        where = f"{path}, line {line}, target column {layout.names[column]!r}"
        raise ValueError(f"{where} must have a value; got a missing one.")
    for dtype in (np.int64, np.float64):
        try:
            y = np.concatenate([np.array(cells.tolist(), dtype) for cells in blocks])
        except (ValueError, OverflowError):
            continue
        if not np.isfinite(y).all():
            raise _refusal(path, layout, column, swapped)
        return y
    y = np.concatenate(blocks)
    return np.array([cell.translate(SWAP) for cell in y.tolist()]) if swapped else y
