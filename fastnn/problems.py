"""What the command line trains on: data ready for a network, how its targets are encoded, and settings known to work.

Text classes become labels, and rows are held out for testing where the data has no test part. What cannot be used is refused
here, before anything is trained.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from . import datasets, validation
from .batches import split
from .tables import is_table
from .validation import Array

MOST_CLASSES = 50  # whole numbers of more different values are quantities, not classes
ROWS_PER_CLASS = 5  # on average; two values are always classes
FEW_ROWS = 50  # from which none are held out


@dataclass(frozen=True)
class Recipe:
    """Settings that train a kind of data well: those of the command line where it is given none.

    A share `validation_split` of the training rows is held out; the fit ends after `patience` epochs without a smaller loss on
    them, and the best epoch is kept.
    """

    layers: tuple[int, ...]
    dropout: float
    learning_rate: float
    epochs: int
    batch_size: int
    schedule: str = "one_cycle"
    validation_split: float = 0.0
    patience: int | None = None
    initializer: str | None = None


RECIPES = {
    "digits": Recipe(layers=(256, 128), dropout=0.2, learning_rate=5e-3, epochs=30, batch_size=32),
    "mnist": Recipe(layers=(512, 512), dropout=0.2, learning_rate=2e-3, epochs=10, batch_size=128),
    "fashion-mnist": Recipe(layers=(512, 512), dropout=0.2, learning_rate=2e-3, epochs=15, batch_size=128),
}
# Of tables by their rows, up to so many: benchmarks/tables.py prints how good they are.
TABLE_RECIPES = {
    FEW_ROWS: Recipe((64, 64), 0.0, 3e-3, epochs=60, batch_size=8),
    500: Recipe((128, 128), 0.1, 3e-3, epochs=100, batch_size=16, validation_split=0.2, patience=50),
    2_000: Recipe((128, 128), 0.1, 3e-3, epochs=100, batch_size=32, validation_split=0.2, patience=50),
    12_000: Recipe((256, 256), 0.1, 3e-3, epochs=80, batch_size=64, validation_split=0.15, patience=40),
    math.inf: Recipe((256, 256), 0.1, 3e-3, epochs=30, batch_size=256, validation_split=0.1, patience=15),
}
NOISY_ROWS = 2_000  # up to which classes, unlike numbers, are often known by chance only: more dropout


def table_recipe(n_rows: int, classes: bool) -> Recipe:
    """Return the settings for a table with so many rows to train on."""
    recipe = next(recipe for most, recipe in TABLE_RECIPES.items() if n_rows <= most)
    dropout = 2 * recipe.dropout if classes and n_rows <= NOISY_ROWS else recipe.dropout
    return replace(recipe, dropout=dropout, initializer="glorot_uniform")  # by benchmarks/initializers.py


LOADERS: dict[str, Callable[[str | None], datasets.Dataset]] = {
    "digits": lambda data_dir: datasets.load_digits(),
    "mnist": datasets.load_mnist,
    "fashion-mnist": datasets.load_fashion_mnist,
}
LARGEST_PIXEL = {"digits": 16, "mnist": 255, "fashion-mnist": 255}


@dataclass
class Problem:
    """Data to train on and to test with.

    Attributes
    ----------
    X, X_test : ndarray of shape (n_samples, n_features)
    y, y_test : ndarray
        int64 labels of shape (n_samples,) for classes, else numbers of shape (n_samples, n_outputs).
    classes : tuple of str, or None
        Names of the labels; None for a regression.
    columns : tuple of str or of int, or None
        Names of the features of a table, their numbers where it has no names.
    recipe : Recipe
    scale : float
        What the network multiplies X by on its way in: other than 1 for images, which need no standardization.
    """

    X: Array
    y: Array
    X_test: Array
    y_test: Array
    classes: tuple[str, ...] | None
    columns: tuple[str, ...] | tuple[int, ...] | None
    recipe: Recipe
    scale: float = 1.0


class Reading(NamedTuple):
    """How to read a file: see `fastnn.datasets.load_csv`; `format` is "csv" or "npz" where its name does not say so."""

    target: str = "-1"
    header: bool | None = None
    ignore: Sequence[str] = ()
    format: str | None = None

    def is_table(self, path: str) -> bool:
        """Whether a file is to be read as a table."""
        return self.format == "csv" or (self.format is None and is_table(path))

    def is_npz(self, path: str) -> bool:
        """Whether a file is to be read as arrays."""
        return self.format == "npz" or (self.format is None and path.lower().endswith(".npz"))


AS_FOUND = Reading()


def load_problem(
    source: str,
    data_dir: str | None = None,
    reading: Reading = AS_FOUND,
    task: str | None = None,
    test_split: float = 0.2,
    test: str | None = None,
) -> Problem:
    """Return the problem in a known data set or in a file.

    Parameters
    ----------
    source : str
        A name in `LOADERS`, or the path of an npz or CSV file.
    data_dir : path, optional
        Folder of the downloaded data sets.
    reading : Reading
        How to read a file.
    task : {"classification", "regression"}, optional
        Default: see `encode_targets`.
    test_split : float
        Share of the rows to hold out for the test where a file has no test part.
    test : path, optional
        A file with the rows to test on.

    Returns
    -------
    Problem
    """
    if source in LOADERS:
        X, y, X_test, y_test = LOADERS[source](data_dir)
        classes = tuple(str(label) for label in range(10))
        return Problem(X, y.astype(np.int64), X_test, y_test.astype(np.int64), classes, None, RECIPES[source], 1 / LARGEST_PIXEL[source])
    if reading.is_table(source):
        table = datasets.load_table(source, reading.target, reading.header, reading.ignore)
        arrays: dict[str, Any] = {"X": table.X, "y": table.y}
        if test is not None:
            test_table = datasets.load_table(test, reading.target, reading.header, columns=table.columns)
            arrays |= {"X_test": test_table.X, "y_test": test_table.y}
        problem = _problem_of_arrays(source, arrays, task, test_split, test)
        problem.columns = table.columns
        return problem
    if reading.is_npz(source):
        arrays = dict(datasets.load_npz(source))
        if test is not None:
            rows = datasets.load_npz(test)
            arrays |= {f"{name}_test": rows.get(name) for name in ("X", "y")}
        return _problem_of_arrays(source, arrays, task, test_split, test)
    endings = ".npz, .csv, .tsv or .txt (the last three also with .gz), .parquet, .feather or .arrow"
    raise ValueError(f"source must be one of {', '.join(LOADERS)}, or a file that ends in {endings}; got {source!r}. Files with other names need --format.")


def _problem_of_arrays(source: str, arrays: dict[str, Any], task: str | None, test_split: float, test: str | None = None) -> Problem:
    """Return a problem of the arrays X and y, and X_test and y_test where the file, or one of their own, has them."""
    names = {"X": f"X of {source}", "y": f"the targets of {source}", "X_test": f"X_test of {source}", "y_test": f"y_test of {source}"}
    if test is not None:
        names |= {"X_test": f"X of {test}", "y_test": f"the targets of {test}"}
    for X_name, y_name in (("X", "y"), ("X_test", "y_test")):
        X, y = arrays.get(X_name), arrays.get(y_name)
        if (X is None) != (y is None) or (X is not None and y is not None and (X.ndim < 2 or y.ndim < 1 or len(X) != len(y))):
            file, ending = (test, "") if test and X_name == "X_test" else (source, X_name[1:])
            shapes = _shapes({f"{one}{ending}": arrays.get(f"{one}{X_name[1:]}") for one in "Xy"})
            raise ValueError(f"{file} must hold X{ending} of shape (n_samples, n_features) with as many targets y{ending}; got {shapes}.")
    X, y = _features(names["X"], arrays["X"]), arrays["y"]
    scale = 1 / max(1, int(X.max())) if X.dtype == np.uint8 else 1.0
    if "X_test" not in arrays:
        y, classes = encode_targets(source, y, task)
        rows, test_rows = split(y, test_split, "test_split")
        return Problem(X[rows], y[rows], X[test_rows], y[test_rows], classes, None, table_recipe(len(rows), classes is not None), scale)
    X_test, y_test = _features(names["X_test"], arrays["X_test"]), arrays["y_test"]
    if X_test.shape[1] != X.shape[1] or y_test.shape[1:] != y.shape[1:] or (y.dtype.kind in "biuf") != (y_test.dtype.kind in "biuf"):
        got = f"{_shapes(arrays)}, y of dtype {y.dtype} and y_test of {y_test.dtype}"
        held = f"{source} must hold X_test and y_test with columns" if test is None else f"{test} must hold columns and targets such"
        raise ValueError(f"{held} as those of {'X and y' if test is None else source}; got {got}.")
    for name in ("y", "y_test"):
        if arrays[name].dtype.kind in "iuf":
            validation.finite(names[name], validation.array(names[name], arrays[name]))
    y, classes = encode_targets(source, np.concatenate([y, y_test]), task)
    if classes is not None and (unknown := np.setdiff1d(y[len(X) :], y[: len(X)])).size:
        raise ValueError(f"{names['y_test']} must be of classes that rows to train on have; got {classes[unknown[0]]!r}, which none of them has.")
    return Problem(X, y[: len(X)], X_test, y[len(X) :], classes, None, table_recipe(len(X), classes is not None), scale)


def _features(name: str, X: Array) -> Array:
    """Return features as rows of finite numbers, images flattened."""
    X = flat_rows(validation.array(name, X))
    if X.size == 0:
        raise ValueError(f"{name} must have at least one row and one column; got shape {X.shape}.")
    validation.finite(name, X)
    return X


def check_range(name: str, X: Array, scale: float | Array, shift: float | Array, dtype: np.dtype[Any]) -> None:
    """Raise where the network's dtype cannot hold what it makes of a row: a look at the largest numbers of each column."""
    with np.errstate(all="ignore"):
        limits = [np.max(np.abs(one.astype(np.float64) * scale + shift)) for one in (X.min(axis=0), X.max(axis=0))]
    if max(limits) > np.finfo(dtype).max:
        raise ValueError(f"{name} must fit into {dtype} as it is scaled; got numbers from {X.min():g} to {X.max():g}.")


def _shapes(arrays: dict[str, Any]) -> str:
    return ", ".join(f"{name} {np.shape(array)}" for name, array in arrays.items() if array is not None)


def flat_rows(X: Array) -> Array:
    """Return images and the like as rows of features."""
    return X.reshape(len(X), -1) if X.ndim > 2 and len(X) else X


def encode_targets(source: str | os.PathLike[str], y: Array, task: str | None) -> tuple[Array, tuple[str, ...] | None]:
    """Return the targets as labels and the names of the classes, or as columns of numbers and None.

    If it is not said what they are, classes are: text; whole numbers, also written 0.0 and 1.0, of two different values, or of
    at most 50 with five rows each on average; rows with a single 1 among zeros. All other numbers are quantities.

    Examples
    --------
    >>> import numpy as np
    >>> encode_targets("pets.csv", np.array(["dog", "cat", "dog"]), None)
    (array([1, 0, 1]), ('cat', 'dog'))
    >>> encode_targets("pets.npz", np.array([[0, 1], [1, 0], [0, 1]]), None)
    (array([1, 0, 1]), ('0', '1'))
    >>> encode_targets("ages.csv", np.array([1.5, 2.0]), None)
    (array([[1.5],
           [2. ]]), None)
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    numbers = y.dtype.kind in "biuf"
    if numbers:
        y = validation.array(f"the targets of {source}", y) if y.dtype != np.bool_ else y
        validation.finite(f"the targets of {source}", y)
    if task != "regression" and numbers and _is_one_hot(y):
        return y.argmax(axis=1).astype(np.int64), tuple(str(label) for label in range(y.shape[1]))
    if task is None:
        task = "classification" if not numbers or _are_labels(y) else "regression"
    if task == "regression":
        if not numbers:
            raise ValueError(f"the targets of {source} must be numbers for a regression; got dtype {y.dtype}.")
        return y.reshape(len(y), -1).astype(np.float64), None
    names, labels = np.unique(y, return_inverse=True)
    if y.ndim != 1 or len(names) < 2:
        raise ValueError(f"the targets of {source} must be one column of at least 2 classes; got shape {y.shape} with {len(names)}.")
    return labels.astype(np.int64), tuple(map(str, names.tolist()))


def _is_one_hot(y: Array) -> bool:
    """Whether every row has a single 1 among zeros."""
    return y.ndim == 2 and bool(np.all((y == 0) | (y == 1)) and np.all(np.count_nonzero(y, axis=1) == 1))


def _are_labels(y: Array) -> bool:
    """Whether numbers are those of classes: whole, few different ones, and several rows of each."""
    if y.ndim != 1 or not np.all(y == np.floor(y)):
        return False
    n = len(np.unique(y))
    return n <= 2 or n <= min(MOST_CLASSES, len(y) / ROWS_PER_CLASS)
