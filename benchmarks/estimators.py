"""fastnn's estimators against scikit-learn's, in turns: fits, a grid search, predictions.

    FASTNN_DATA_DIR=... python benchmarks/estimators.py [fits [digits] [phoneme] [adult] [diamonds] [mnist]] [search] [predictions] [sparse]

Both get the same parameters and seeds; a fit takes a fixed number of epochs of scikit-learn's defaults (100 hidden units, Adam,
minibatches of 200). Shown is the best of some rounds of each side; the scores are those of the held-out fifth, for each seed.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # a script finds its own folder first, but this one needs the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import fastnn  # noqa: E402
from fastnn.datasets import load_mnist  # noqa: E402

try:
    from scipy.sparse import csr_array
    from sklearn import neural_network
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV, train_test_split
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from threadpoolctl import threadpool_limits
except ImportError:  # asv imports every file, in an environment without it
    pass

SEEDS = (0, 1, 2)
PAUSE = 0.15  # for the other side's threads to stop spinning


def data_dir() -> Path:
    folder = os.environ.get("FASTNN_DATA_DIR")
    if not folder:
        raise SystemExit("FASTNN_DATA_DIR must name the folder with mnist, adult and tables; got none.")
    return Path(folder)


def one_hot(rows: list[list[str]], target: int) -> tuple[Any, Any]:
    """Return the numbers of a table, scaled, with a column for each text, and the column of classes."""
    columns = [np.array(column) for column in zip(*rows)]
    y = np.unique(columns.pop(target), return_inverse=True)[1]
    parts = []
    for column in columns:
        try:
            parts.append(column.astype(float)[:, None])
        except ValueError:
            parts.append(OneHotEncoder(sparse_output=False).fit_transform(column[:, None]))
    return StandardScaler().fit_transform(np.hstack(parts)), y


def read(path: Path, skip: int = 0) -> list[list[str]]:
    lines = path.read_text().splitlines()[skip:]
    return [[cell.strip().strip('"') for cell in line.split(",")] for line in lines if line.strip()]


def digits() -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def mnist() -> tuple[Any, Any]:
    X, y, _, _ = load_mnist(data_dir())
    return X.reshape(len(X), -1).astype(np.float32) / 255, y


DATA: dict[str, tuple[Callable[[], tuple[Any, Any]], int]] = {  # and the epochs of a fit
    "digits": (digits, 30),
    "phoneme": (lambda: one_hot(read(data_dir() / "tables" / "phoneme.csv"), -1), 15),
    "adult": (lambda: one_hot(read(data_dir() / "adult" / "adult-train.csv"), -1), 3),
    "diamonds": (lambda: one_hot(read(data_dir() / "tables" / "diamonds.csv", skip=1), 1), 2),
    "mnist": (mnist, 1),
}


def turns(*sides: Callable[[int], Any], rounds: tuple[int, ...] = SEEDS) -> list[float]:
    """Return the seconds of the best turn of each side, which take turns."""
    times: list[list[float]] = [[] for _ in sides]
    for number in rounds:
        for side, function in zip(times, sides):
            time.sleep(PAUSE)
            start = time.perf_counter()
            function(number)
            side.append(time.perf_counter() - start)
    return [min(side) for side in times]


def line(name: str, theirs: float, ours: float, more: str = "") -> float:
    print(f"{name:28} {1e3 * theirs:10.2f} {1e3 * ours:10.2f} {theirs / ours:6.1f} x  {more}", flush=True)
    return theirs / ours


def fits(names: list[str]) -> None:
    """Compare fits with one and two threads."""
    ratios = []
    for name, (load, epochs) in ((name, DATA[name]) for name in names or DATA):
        X, X_test, y, y_test = train_test_split(*load(), test_size=0.2, random_state=0)
        for threads in (1, 2):
            scores: dict[str, list[float]] = {}
            common = {"max_iter": epochs, "tol": 0.0, "n_iter_no_change": np.inf}

            def fit(kind: Any, seed: int, **more: Any) -> None:
                model = kind(random_state=seed, **common, **more).fit(X, y)  # noqa: B023  called at once
                scores.setdefault(kind.__module__.split(".")[0], []).append(model.score(X_test, y_test))  # noqa: B023

            with threadpool_limits(threads):
                fit(fastnn.MLPClassifier, 0, n_threads=threads)  # compiles
                scores.clear()
                theirs, ours = turns(
                    lambda seed: fit(neural_network.MLPClassifier, seed),  # noqa: B023
                    lambda seed: fit(fastnn.MLPClassifier, seed, n_threads=threads),  # noqa: B023
                )
            shown = "  ".join(f"{side} {' '.join(f'{score:.4f}' for score in found)}" for side, found in scores.items())
            ratios.append(line(f"{name}, {len(y):,} rows, {threads} threads", theirs, ours, shown))
    print(f"least {min(ratios):.1f} x, median {statistics.median(ratios):.1f} x")


def search() -> None:
    """Compare a grid search of 60 fits in two processes, once they run."""
    X, y = digits()
    grid = {"alpha": [1e-5, 1e-4, 1e-3, 1e-2], "learning_rate_init": [1e-3, 3e-3, 1e-2]}

    def run(kind: Any) -> Callable[[int], Any]:
        return lambda seed: GridSearchCV(kind(max_iter=40, random_state=seed), grid, cv=5, n_jobs=2).fit(X, y)

    start = time.perf_counter()
    run(fastnn.MLPClassifier)(0)
    cold = time.perf_counter() - start
    theirs, ours = turns(run(neural_network.MLPClassifier), run(fastnn.MLPClassifier), rounds=(0, 1))
    line("60 fits, n_jobs=2", theirs, ours, f"(with the start of the processes {cold:.2f} s)")


def predictions() -> None:
    """Compare predictions of one row and of 10,000."""
    X, y = digits()
    models = [kind(max_iter=20, random_state=0).fit(X, y) for kind in (neural_network.MLPClassifier, fastnn.MLPClassifier)]
    for rows, calls in ((1, 300), (10_000, 5)):
        some = np.tile(X, (6, 1))[:rows]
        for method in ("predict", "predict_proba"):
            sides = [lambda _, model=model: [getattr(model, method)(some) for _ in range(calls)] for model in models]  # noqa: B023
            theirs, ours = turns(*sides, rounds=tuple(range(6)))
            line(f"{method}, {rows:,} rows", theirs / calls, ours / calls)


def bags_of_words(n_rows: int, n_words: int, length: int) -> tuple[Any, Any]:
    """Return logarithms of counts of words, rare and frequent as those of a language are, as sparse rows, and classes that depend on them."""
    rng, frequency = np.random.default_rng(0), 1 / np.arange(1, n_words + 1)
    words = rng.choice(n_words, n_rows * length, p=frequency / frequency.sum())
    X = csr_array((np.ones(words.size, np.float32), words, np.arange(n_rows + 1) * length), shape=(n_rows, n_words))
    X.sum_duplicates()
    np.log1p(X.data, out=X.data)
    return X, np.argmax(X @ rng.standard_normal((n_words, 5)), axis=1)


def sparse() -> None:
    """Compare fits and predictions of sparse rows."""
    X, y = bags_of_words(4_000, 20_000, 100)
    for threads in (1, 2):
        kinds = ((neural_network.MLPClassifier, {}), (fastnn.MLPClassifier, {"n_threads": threads}))
        models = [kind(max_iter=2, random_state=0, **more).fit(X, y) for kind, more in kinds]
        with threadpool_limits(threads):
            for method, calls, values in (("fit", 1, (X, y)), ("predict", 10, (X,))):
                sides = [lambda _, model=model: [getattr(model, method)(*values) for _ in range(calls)] for model in models]  # noqa: B023
                theirs, ours = turns(*sides, rounds=tuple(range(5)))
                line(f"sparse {method}, {threads} threads", theirs / calls, ours / calls)


def main() -> None:
    parts = {"fits": lambda: fits(chosen), "search": search, "predictions": predictions, "sparse": sparse}
    warnings.simplefilter("ignore")
    print(f"{'':28} {'sklearn ms':>10} {'fastnn ms':>10}")
    chosen = [name for name in sys.argv[1:] if name in DATA]
    for name in [name for name in sys.argv[1:] if name not in DATA] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
