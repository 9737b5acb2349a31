"""Print how good `fastnn train` is on thirteen tables beside scikit-learn's MLP and gradient boosting, all with their defaults.

    python -m benchmarks.tables [--data-dir FOLDER] [--tables mpg,titanic] [--seeds 0,1,2] [--cache FOLDER] [--write]

Every side gets the same numbers: text columns one-hot, missing numbers replaced by the median of the training rows, the same fifth of
the rows to test on, another one for each seed. The seed is also that of the training. Classes are judged by accuracy and log loss,
numbers by the root of the mean squared error.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastnn
from fastnn import cli, metrics

Array = np.ndarray[Any, Any]

FOLDER = os.environ.get("FASTNN_DATA_DIR", ".")
README = Path(__file__).with_name("README.md")
BEGIN = "<!-- tables: begin, made by: python -m benchmarks.tables --write -->"
END = "<!-- tables: end -->"
MISSING = ("", "?")
SHARE = 0.2


@dataclass(frozen=True)
class Source:
    """Where a table is, and which columns are the target, names of rows, dates, or give the target away."""

    file: str
    target: int
    ignore: Sequence[int] = ()
    header: bool = False
    test_file: str | None = None


SOURCES = {
    "auto_imports": Source("tables/auto_imports.csv", 25),
    "horse-colic": Source("tables/horse-colic.csv", 23, ignore=(2, 24, 25, 26)),
    "penguins": Source("tables/penguins.csv", 0, header=True),
    "mpg": Source("tables/mpg.csv", 0, ignore=(8,), header=True),
    "titanic": Source("tables/titanic.csv", 0, ignore=(13,), header=True),
    "german": Source("tables/german.csv", 20),
    "abalone": Source("tables/abalone.csv", 8),
    "phoneme": Source("tables/phoneme.csv", 5),
    "taxis": Source("tables/taxis.csv", 4, ignore=(0, 1, 7), header=True),
    "mammography": Source("tables/mammography.csv", 6),
    "california": Source("california_housing/housing.csv", 8, header=True),
    "adult": Source("adult/adult-train.csv", 14, test_file="adult/adult-test.csv"),
    "diamonds": Source("tables/diamonds.csv", 6, header=True),
}
NUMBERS = ("auto_imports", "mpg", "abalone", "taxis", "california", "diamonds")


class Split(NamedTuple):
    X: Array
    y: Array
    X_test: Array
    y_test: Array


def cells(path: Path, header: bool) -> list[list[str]]:
    """Return the rows of a file, without names, dots behind classes and quotes."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [[cell.strip().strip("'") for cell in row] for row in csv.reader(file, skipinitialspace=True) if len(row) > 1]
    return rows[int(header) :]


def load(name: str, folder: Path, seed: int) -> Split:
    """Return the rows to train and to test on as numbers; labels count from 0."""
    source = SOURCES[name]
    rows = cells(folder / source.file, source.header)
    n_train = len(rows)
    if source.test_file:
        rows += cells(folder / source.test_file, source.header)
    columns = list(zip(*rows))
    target = [cell.rstrip(".") for cell in columns[source.target]]
    y = np.array(target, np.float64) if name in NUMBERS else np.unique(target, return_inverse=True)[1]
    if source.test_file:
        train, test = np.arange(n_train), np.arange(n_train, len(rows))
    else:
        order = np.random.default_rng(seed).permutation(len(rows))
        n_test = round(SHARE * len(rows))
        train, test = np.sort(order[n_test:]), np.sort(order[:n_test])
    left_out = {source.target, *source.ignore}
    X = np.concatenate([encoded(column, train) for j, column in enumerate(columns) if j not in left_out], axis=1)
    return Split(X[train], y[train], X[test], y[test])


def encoded(column: Sequence[str], train: Array) -> Array:
    """Return a column of numbers with its medians filled in, or text one-hot: the values of the training rows, a missing one is none of them."""
    missing = np.array([cell in MISSING for cell in column])
    try:
        numbers = np.array([np.nan if cell in MISSING else float(cell) for cell in column])
    except ValueError:
        text = np.array(column)
        values = np.unique(text[train][~missing[train]])
        return (text[:, None] == values).astype(np.float64)
    return np.where(missing, np.nanmedian(numbers[train]), numbers)[:, None]


# The sides: each returns probabilities of the classes, or numbers, for the test rows.


def of_fastnn(data: Split, seed: int) -> Array:
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        file, model = os.path.join(folder, "data.npz"), os.path.join(folder, "model")
        np.savez(file, X=data.X, y=data.y, X_test=data.X_test, y_test=data.y_test)
        task = "classification" if data.y.dtype.kind == "i" else "regression"
        assert cli.main(["train", file, "--task", task, "--seed", str(seed), "--quiet", "--save", model]) == 0
        return fastnn.Sequential.load(model).predict(data.X_test)


def of_mlp(data: Split, seed: int) -> Array:
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = MLPClassifier if data.y.dtype.kind == "i" else MLPRegressor
    return _predicted(make_pipeline(StandardScaler(), kind(random_state=seed)), data)


def of_boosting(data: Split, seed: int) -> Array:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if data.y.dtype.kind == "i" else HistGradientBoostingRegressor
    return _predicted(kind(random_state=seed), data)


def _predicted(estimator: Any, data: Split) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 200 epochs were not enough
        estimator.fit(data.X, data.y)
    return estimator.predict_proba(data.X_test) if data.y.dtype.kind == "i" else estimator.predict(data.X_test)


SIDES: dict[str, Callable[[Split, int], Array]] = {"fastnn train": of_fastnn, "MLP": of_mlp, "HistGradientBoosting": of_boosting}


def score(data: Split, outputs: Array) -> list[float]:
    """Return accuracy and log loss, or the root of the mean squared error."""
    if data.y.dtype.kind == "i":
        return [metrics.accuracy(data.y_test, outputs), metrics.log_loss(data.y_test, outputs)]
    return [metrics.root_mean_squared_error(data.y_test, outputs)]


def scores(names: list[str], folder: Path, seeds: list[int], cache: Path | None) -> dict[str, dict[str, Array]]:
    """Return the mean scores by table and side; a side whose predictions are in the folder `cache` is not run again."""
    found: dict[str, dict[str, Array]] = {}
    for name in names:
        each: dict[str, list[list[float]]] = {side: [] for side in SIDES}
        for seed in seeds:
            data = load(name, folder, seed)
            for side, predictions in SIDES.items():
                file = None if cache is None else cache / f"{name} {side} {seed}.npy"
                outputs = np.load(file) if file and file.exists() else predictions(data, seed)
                if file:
                    np.save(file, outputs)
                each[side].append(score(data, outputs))
        found[name] = {side: np.mean(values, axis=0) for side, values in each.items()}
    return found


def table(found: dict[str, dict[str, Array]], folder: Path) -> str:
    """Return a table in Markdown; what is best in its row is bold."""
    lines = [f"| table | rows | | {' | '.join(SIDES)} |", "|" + "---|" * (3 + len(SIDES))]
    better = dict.fromkeys(list(SIDES)[1:], 0)
    for name, sides in found.items():
        rows = len(load(name, folder, 0).X)
        values = np.array(list(sides.values()))
        for k, what in enumerate(["accuracy", "log loss"] if values.shape[1] == 2 else ["RMSE"]):
            column = values[:, k] * (-1 if what == "accuracy" else 1)
            texts = [f"{value:.4g}" for value in values[:, k]]
            cells = [f"**{text}**" if value == column.min() else text for text, value in zip(texts, column)]
            lines.append(f"| {name if k == 0 else ''} | {f'{rows:,}' if k == 0 else ''} | {what} | {' | '.join(cells)} |")
        for side, other in zip(better, values[1:]):
            better[side] += int(_is_better(values[0], other))
    counts = " and ".join(f"{side} on {count}" for side, count in better.items())
    return "\n".join([*lines, "", f"By accuracy, where it is equal by log loss, or by RMSE, `fastnn train` is better than {counts} of {len(found)} tables."])


def _is_better(ours: Array, theirs: Array) -> bool:
    """Whether a larger accuracy, at equal ones a smaller log loss, or a smaller error is ours."""
    if len(ours) == 1:
        return bool(ours[0] < theirs[0])
    return bool((-ours[0], ours[1]) < (-theirs[0], theirs[1]))


def write(begin: str, end: str, text: str) -> None:
    """Put a text between two marks of benchmarks/README.md."""
    before, rest = README.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    README.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="fastnn train beside scikit-learn on tables.")
    parser.add_argument("--data-dir", default=FOLDER)
    parser.add_argument("--tables", default=",".join(SOURCES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--cache", type=Path, help="folder with the predictions that were made before")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    args = parser.parse_args()
    folder = Path(args.data_dir)
    found = scores(args.tables.split(","), folder, [int(seed) for seed in args.seeds.split(",")], args.cache)
    text = table(found, folder)
    print(text)
    if args.write:
        write(BEGIN, END, text)


if __name__ == "__main__":
    main()
