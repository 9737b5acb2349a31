"""What the command line says of a test: for classes a confusion matrix and a line for each of them, for numbers their errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import metrics
from .validation import Array

MOST_CLASSES = 20  # of a confusion matrix that fits a screen
WIDTH = 24  # of a name


def class_report(names: Sequence[str], y: Array, outputs: Array) -> str:
    """Return a confusion matrix, and precision, recall and F1 of every class.

    Parameters
    ----------
    names : sequence of str
        Of the classes.
    y : ndarray
        Labels, or a column of 0 and 1 for two classes with one output.
    outputs : ndarray
        Probabilities.

    Examples
    --------
    >>> print(class_report(["cat", "dog"], np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])))
    right / decided  cat  dog
    cat                1    0
    dog                1    1
    <BLANKLINE>
    class     precision   recall       F1     rows
    cat           0.500    1.000    0.667        1
    dog           1.000    0.500    0.667        2
    mean          0.750    0.750    0.667
    """
    confusion = metrics.confusion_matrix(y, outputs)
    names = [_short(name) for name in names]
    return "\n\n".join([_matrix(names, confusion)] * (len(names) <= MOST_CLASSES) + [_table(names, confusion)])


def _matrix(names: list[str], confusion: Array) -> str:
    """Return how many rows of each class were decided to be of each."""
    corner = "right / decided"
    width = max(len(corner), *map(len, names))
    cells = [[str(count) for count in row] for row in confusion.tolist()]
    widths = [max(4, len(name), *(len(row[j]) for row in cells)) for j, name in enumerate(names)]
    lines = [(corner, names), *zip(names, cells)]
    return "\n".join(first.ljust(width) + "".join(f" {cell.rjust(w)}" for cell, w in zip(row, widths)) for first, row in lines)


def _table(names: list[str], confusion: Array) -> str:
    """Return precision, recall and F1 of every class that has rows or was decided for, and their means."""
    right, rows, decided = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    there = rows + decided > 0
    values = np.stack([right / np.maximum(decided, 1), right / np.maximum(rows, 1), 2 * right / np.maximum(rows + decided, 1)], axis=1)
    width = max(8, *map(len, names))
    lines = [f"{'class':{width}}  precision   recall       F1     rows"]
    for name, (precision, recall, f1), count in [(names[k], values[k], rows[k]) for k in np.flatnonzero(there)]:
        lines.append(f"{name:{width}}  {precision:9.3f}{recall:9.3f}{f1:9.3f}{count:9,d}")
    precision, recall, f1 = values[there].mean(axis=0)
    return "\n".join([*lines, f"{'mean':{width}}  {precision:9.3f}{recall:9.3f}{f1:9.3f}"])


def _short(name: str) -> str:
    """Return a name that fits a line."""
    name = " ".join(name.split())
    return name if len(name) <= WIDTH else f"{name[: WIDTH - 3]}..."
