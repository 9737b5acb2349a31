"""Print how well networks do on many data sets by how their weights start: what the start of `fastnn train` was chosen from.

    python -m benchmarks.initializers [--data-dir FOLDER] [--sets digits,mpg] [--activations relu,gelu,tanh] [--hidden 2] [--seeds 0,1,2]
        [--cache FILE] [--write]

Networks of two hidden layers of 128 units, trained by Adam at 0.001 with minibatches of 32; a fifth of the training rows says which epoch
is kept. A cell is the loss on the test rows in percent of that of a constant prediction, the mean over the seeds; the last lines are the
means of the columns and of the places in each row. The seed gives the split, too. At most 2,000 rows are trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import fastnn
from benchmarks import tables
from fastnn import Adam, Dense, EarlyStopping, Initializer, Scale, Sequential, Standardize
from fastnn.batches import split

ROWS = 2_000
IMAGES = {"digits": 16, "mnist": 255}  # the largest pixel
SETS = (*tables.SOURCES, *IMAGES)
STARTS = {
    "he_uniform": "he_uniform",
    "he_normal": "he_normal",
    "glorot_uniform": "glorot_uniform",
    "lecun_uniform": "lecun_uniform",
    "PyTorch's": Initializer(1 / 3, "in", "uniform"),
}
BEGIN, END = "<!-- initializers: begin, made by: python -m benchmarks.initializers --write -->", "<!-- initializers: end -->"


def load(name: str, folder: Path, seed: int) -> tables.Split:
    """Return at most `ROWS` rows to train on, chosen by the seed, and all the rows to test on."""
    if name in IMAGES:
        data = fastnn.load_digits() if name == "digits" else fastnn.load_mnist(folder)
        data = tables.Split(data.X_train, data.y_train.astype(np.int64), data.X_test, data.y_test.astype(np.int64))
    else:
        data = tables.load(name, folder, seed)
    rows = np.random.default_rng(seed).permutation(len(data.X))[:ROWS]
    return data._replace(X=data.X[rows], y=data.y[rows])


def test_loss(name: str, data: tables.Split, activation: str, start: str, seed: int, n_hidden: int = 2) -> float:
    """Return the loss on the test rows of the epoch that was best on a fifth of the training rows."""
    rows, others = split(data.y, 0.2, "validation_split")
    X, y = data.X[rows], data.y[rows]
    hidden = [Dense(128, activation, STARTS[start]) for _ in range(n_hidden)]
    first = Scale(1 / IMAGES[name]) if name in IMAGES else Standardize.of(X)
    if data.y.dtype.kind == "i":
        last = [Dense(int(data.y.max()) + 1, "softmax", STARTS[start])]
    else:
        last = [Dense(1, "identity", STARTS[start]), Standardize.of(y, targets=True)]
    net = Sequential([first, *hidden, *last], n_features=X.shape[1], seed=seed)
    stop = EarlyStopping(patience=10)
    held_out = data.X[others], data.y[others]
    net.fit(X, y, optimizer=Adam(), epochs=100, batch_size=32, validation_data=held_out, callbacks=[stop], n_threads=1, verbose=0)
    return 100 * net.evaluate(data.X_test, data.y_test)["loss"] / constant_loss(data, y)


def constant_loss(data: tables.Split, y: np.ndarray) -> float:
    """Return the test loss of a network that knows nothing of X: the shares of the classes, or the mean, of the training rows."""
    if y.dtype.kind == "i":
        return float(-np.log(np.bincount(y)[data.y_test] / len(y)).mean())
    return float(((data.y_test - y.mean()) ** 2).mean() / y.var())


def losses(sets: list[str], folder: Path, activation: str, seeds: list[int], cache: Path | None, n_hidden: int = 2) -> dict[str, list[float]]:
    """Return the mean losses of every start by the name of the data set."""
    known = json.loads(cache.read_text()) if cache and cache.exists() else {}
    for name in sets:
        for seed in seeds:
            data = None
            for start in STARTS:
                key = f"{name} {activation} {start} {seed} {n_hidden}"
                if key not in known:
                    data = data or load(name, folder, seed)
                    known[key] = test_loss(name, data, activation, start, seed, n_hidden)
            if cache:
                cache.write_text(json.dumps(known))
    return {name: [float(np.mean([known[f"{name} {activation} {start} {seed} {n_hidden}"] for seed in seeds])) for start in STARTS] for name in sets}


def table(activation: str, found: dict[str, list[float]]) -> str:
    """Return a table in Markdown."""
    values = np.array(list(found.values()))
    lines = [f"| {activation} | {' | '.join(STARTS)} |", "|" + "---|" * (len(STARTS) + 1)]
    lines += [f"| {name} | {' | '.join(f'{value:.2f}' for value in row)} |" for name, row in zip(found, values)]
    places = 1 + (values[:, :, None] > values[:, None, :]).sum(axis=2)
    for what, means in (("mean", values.mean(axis=0)), ("mean place", places.mean(axis=0))):
        lines.append(f"| **{what}** | {' | '.join(f'{mean:.2f}' for mean in means)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare start weights on many data sets.")
    parser.add_argument("--data-dir", default=tables.FOLDER)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--activations", default="relu")
    parser.add_argument("--hidden", type=int, default=2, help="number of hidden layers")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--cache", type=Path, help="file with what was found before")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    found = [(one, losses(args.sets.split(","), Path(args.data_dir), one, seeds, args.cache, args.hidden)) for one in args.activations.split(",")]
    text = "\n\n".join(table(activation, rows) for activation, rows in found)
    print(text)
    if args.write:
        tables.write(BEGIN, END, text)


if __name__ == "__main__":
    main()
