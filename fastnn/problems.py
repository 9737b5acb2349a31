"""What the command line trains on: data ready for a network, how its targets are encoded, and settings known to work.

Text classes become labels, numbers from tables are standardised, and rows are held out for testing where the data has no
test part. Once trained, the standardisation moves into the weights, so that the network takes and gives plain numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kernels

from . import datasets
from .network import Sequential
from .tables import is_table
from .validation import Array

MOST_CLASSES = 50  # integers with more different values are quantities, not classes


@dataclass(frozen=True)
class Recipe:
    """Settings that train a kind of data well: those of the command line where it is given none."""

    layers: tuple[int, ...]
    dropout: float
    learning_rate: float
    epochs: int
    batch_size: int
    schedule: str = "one_cycle"


TABLE_RECIPE = Recipe(layers=(128, 128), dropout=0.0, learning_rate=3e-3, epochs=30, batch_size=64)
RECIPES = {
    "digits": Recipe(layers=(256, 128), dropout=0.2, learning_rate=5e-3, epochs=30, batch_size=32),
    "mnist": Recipe(layers=(512, 512), dropout=0.2, learning_rate=2e-3, epochs=10, batch_size=128),
    "fashion-mnist": Recipe(layers=(512, 512), dropout=0.2, learning_rate=2e-3, epochs=15, batch_size=128),
}
LOADERS: dict[str, Callable[[str | None], datasets.Dataset]] = {
    "digits": lambda data_dir: datasets.load_digits(),
    "mnist": datasets.load_mnist,
    "fashion-mnist": datasets.load_fashion_mnist,
}
LARGEST_PIXEL = {"digits": 16, "mnist": 255, "fashion-mnist": 255}


@dataclass
class Standardization:
    """`(A - mean) / std`, column by column.

    Examples
    --------
    >>> import numpy as np
    >>> Standardization.of(np.array([[1.0, 5.0], [3.0, 5.0]]))
    Standardization(mean=array([2., 5.]), std=array([1., 1.]))
    """

    mean: Array
    std: Array

    @classmethod
    def of(cls, A: Array) -> Standardization:
        """Return the one that gives every column of `A` mean 0 and deviation 1, a constant column mean 0."""
        mean, std = A.mean(axis=0, dtype=np.float64), A.std(axis=0, dtype=np.float64)
        return cls(mean, np.where(std > 1e-12 * np.abs(mean), std, 1.0))

    def __call__(self, A: Array) -> Array:
        """Return the standardised `A`."""
        return np.asarray((A - self.mean) / self.std)


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
        What the network multiplies X by on its way in.
    inputs, targets : Standardization, or None
        What X and y went through, and the test part did not.
    """

    X: Array
    y: Array
    X_test: Array
    y_test: Array
    classes: tuple[str, ...] | None
    columns: tuple[str, ...] | tuple[int, ...] | None
    recipe: Recipe
    scale: float = 1.0
    inputs: Standardization | None = None
    targets: Standardization | None = None

    def standardize(self) -> None:
        """Standardise X, and y where it is numbers; images, which are scaled, stay as they are."""
        if self.scale == 1:
            self.inputs = Standardization.of(self.X)
            self.X = self.inputs(self.X)
        if self.classes is None:
            self.targets = Standardization.of(self.y)
            self.y = self.targets(self.y)

    def fold_into(self, network: Sequential) -> None:
        """Change the weights of a trained network so that it takes and gives numbers that are not standardised.

        `((X - mean) / std) @ W + b = X @ (W / std) + (b - mean / std @ W)` in the first layer, `(A @ W + b) * std + mean` in the
        last one, which is linear where targets are numbers.
        """
        weights = [(W.astype(np.float64), np.asarray(b, np.float64)) for W, b in network.weights]
        if self.inputs is not None:
            W, b = weights[0]
            weights[0] = (W / self.inputs.std[:, None], b - (self.inputs.mean / self.inputs.std) @ W)
        if self.targets is not None:
            W, b = weights[-1]
            weights[-1] = (W * self.targets.std, b * self.targets.std + self.targets.mean)
        network.set_weights(weights)


def load_problem(
    source: str,
    data_dir: str | None = None,
    target: str = "-1",
    header: bool | None = None,
    ignore: Sequence[str] = (),
    task: str | None = None,
    test_split: float = 0.2,
) -> Problem:
    """Return the problem in a known data set or in a file.

    Parameters
    ----------
    source : str
        A name in `LOADERS`, or the path of an npz or CSV file.
    data_dir : path, optional
        Folder of the downloaded data sets.
    target, header, ignore
        How to read a CSV file: see `fastnn.datasets.load_csv`.
    task : {"classification", "regression"}, optional
        Default: text and integers of few different values are classes.
    test_split : float
        Share of the rows to hold out for the test where a file has no test part.

    Returns
    -------
    Problem
    """
    if source in LOADERS:
        X, y, X_test, y_test = LOADERS[source](data_dir)
        classes = tuple(str(label) for label in range(10))
        return Problem(X, y.astype(np.int64), X_test, y_test.astype(np.int64), classes, None, RECIPES[source], 1 / LARGEST_PIXEL[source])
    if is_table(source):
        table = datasets.load_csv(source, target, header, ignore)
        return _problem_of_arrays(source, {"X": table.X, "y": table.y}, table.columns, task, test_split)
    if source.lower().endswith(".npz"):
        return _problem_of_arrays(source, datasets.load_npz(source), None, task, test_split)
    endings = ".npz, .csv, .tsv or .txt (the last three also with .gz)"
    raise ValueError(f"source must be one of {', '.join(LOADERS)}, or a file that ends in {endings}; got {source!r}.")


def _problem_of_arrays(source: str, arrays: dict[str, Any], columns: tuple[str, ...] | tuple[int, ...] | None, task: str | None, test_split: float) -> Problem:
    """Return a problem of the arrays X and y, and X_test and y_test where the file has them."""
    for X_name, y_name in (("X", "y"), ("X_test", "y_test")):
        X, y = arrays.get(X_name), arrays.get(y_name)
        if (X is None) != (y is None) or (X is not None and y is not None and (X.ndim < 2 or y.ndim < 1 or len(X) != len(y))):
            raise ValueError(f"{source} must hold {X_name} of shape (n_samples, n_features) with as many targets {y_name}; got {_shapes(arrays)}.")
    X, y = flat_rows(arrays["X"]), arrays["y"]
    scale = 1 / max(1, int(X.max())) if X.dtype == np.uint8 and X.size else 1.0
    if "X_test" in arrays:
        y, classes = encode_targets(source, np.concatenate([y, arrays["y_test"]]), task)
        return Problem(X, y[: len(X)], flat_rows(arrays["X_test"]), y[len(X) :], classes, columns, TABLE_RECIPE, scale)
    y, classes = encode_targets(source, y, task)
    rows, test_rows = split(y, test_split, "test_split")
    return Problem(X[rows], y[rows], X[test_rows], y[test_rows], classes, columns, TABLE_RECIPE, scale)


def _shapes(arrays: dict[str, Any]) -> str:
    return ", ".join(f"{name} {np.shape(array)}" for name, array in arrays.items() if array is not None)


def flat_rows(X: Array) -> Array:
    """Return images and the like as rows of features."""
    return X.reshape(len(X), -1) if X.ndim > 2 and len(X) else X


def encode_targets(source: str | os.PathLike[str], y: Array, task: str | None) -> tuple[Array, tuple[str, ...] | None]:
    """Return the targets as labels and the names of the classes, or as columns of numbers and None.

    Examples
    --------
    >>> import numpy as np
    >>> encode_targets("pets.csv", np.array(["dog", "cat", "dog"]), None)
    (array([1, 0, 1]), ('cat', 'dog'))
    >>> encode_targets("ages.csv", np.array([1.5, 2.0]), None)
    (array([[1.5],
           [2. ]]), None)
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if task is None:
        few = y.ndim == 1 and y.dtype.kind in "biu" and len(np.unique(y)) <= MOST_CLASSES
        task = "classification" if few or y.dtype.kind not in "biuf" else "regression"
    if task == "regression":
        if y.dtype.kind not in "biuf":
            raise ValueError(f"the targets of {source} must be numbers for a regression; got dtype {y.dtype}.")
        return y.reshape(len(y), -1).astype(np.float64), None
    names, labels = np.unique(y, return_inverse=True)
    if y.ndim != 1 or len(names) < 2:
        raise ValueError(f"the targets of {source} must be one column of at least 2 classes; got shape {y.shape} with {len(names)}.")
    return labels.astype(np.int64), tuple(map(str, names.tolist()))


def split(y: Array, share: float, name: str) -> tuple[Array, Array]:
    """Return the rows to train on and those to hold out, always the same ones for the same targets.

    The rows are put in a random order, then sorted by their first target; every so many-th is held out. So both parts
    hold all classes, or small and large targets, in equal shares.

    Examples
    --------
    >>> import numpy as np
    >>> rows, held_out = split(np.repeat([0, 1], 10), 0.2, "test_split")
    >>> len(rows), (held_out < 10).tolist()
    (16, [True, True, False, False])
    """
    if not 0 <= share < 1:
        raise ValueError(f"{name} must be a share from 0 to below 1; got {share:g}.")
    n_held_out = round(share * len(y))
    if n_held_out == len(y):
        raise ValueError(f"{name} must leave rows to train on; got {share:g} of {len(y)} rows.")
    order = np.arange(len(y), dtype=np.int64)
    kernels.permutation(0, 0, order)
    order = order[np.argsort(y.reshape(len(y), -1)[order, 0], kind="stable")]
    held_out = order[((np.arange(n_held_out) + 0.5) * len(y) / max(1, n_held_out)).astype(np.int64)]
    return np.setdiff1d(order, held_out), held_out
