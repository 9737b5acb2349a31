"""The checks of what comes from outside, and their wording: `<name> must be <constraint>; got <value>.`

A wrong kind is a `TypeError`, a wrong value or shape a `ValueError`. Every function returns the value in the form that
the rest of the library works with.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import kernels
from kernels._door import is_bfloat16

from .sparse import SparseRows

Array = NDArray[Any]

USUAL = (np.dtype(np.float32), np.dtype(np.float64))
TIMES = re.compile("date|time|duration|period", re.IGNORECASE)  # how the names of their dtypes begin
BLOCK = 1 << 20  # elements looked at together, so that a memory map is never in memory as a whole

# What Keras, PyTorch and scikit-learn call things, in small letters and digits and without "loss" at the end. They are no names here, but hints.
SYNONYMS = {
    "squared_error": "mse l2",
    "absolute_error": "mae l1",
    "huber": "smoothl1",
    "cross_entropy": "categoricalcrossentropy sparsecategoricalcrossentropy nll log",
    "binary_cross_entropy": "bce bcewithlogits",
    "focal": "categoricalfocalcrossentropy",
    "binary_focal": "binaryfocalcrossentropy sigmoidfocal",
    "quantile": "pinball",
    "identity": "linear",
    "sigmoid": "logistic",
    "silu": "swish",
    "exponential": "exp",
    "sgd": "gradientdescent",
    "conjugate_gradient": "cg",
    "glorot_uniform": "xavieruniform",
    "glorot_normal": "xaviernormal",
    "he_uniform": "kaiminguniform",
    "he_normal": "kaimingnormal",
    "accuracy": "acc binaryaccuracy categoricalaccuracy sparsecategoricalaccuracy",
    "roc_auc": "auc auroc",
    "quantile_loss": "meanpinball",
}


def choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return `value` if it is one of `choices`; if it is not, suggest the one that others call so, or the nearest one."""
    if isinstance(value, str) and value in choices:
        return str(value)
    listed = ", ".join(map(repr, choices))
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {listed}; got {shown(value)}.")
    import difflib

    plain = re.sub("[^a-z0-9]", "", value.lower()).removesuffix("loss")
    for ours, theirs in SYNONYMS.items():
        if ours in choices and plain in theirs.split():
            raise ValueError(f"{name} must be one of {listed}; got {value!r}. It is called {ours!r} here.")
    near = difflib.get_close_matches(value.lower(), choices, n=1)
    raise ValueError(f"{name} must be one of {listed}; got {value!r}." + (f" Did you mean {near[0]!r}?" if near else ""))


def setting(name: str, value: Any, kind: type | tuple[type, ...], table: dict[str, Any]) -> Any:
    """Return an instance of `kind`: `value` itself, or what `table` has under the name `value`."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        return table[choice(name, value, table)]
    raise TypeError(f"{name} must be a name or settings such as {next(iter(table.values()))!r}; got {shown(value)}.")


def text(name: str, value: Any) -> str:
    """Return `value` if it is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string; got {shown(value)}.")
    return str(value)


def flag(name: str, value: Any) -> bool:
    """Return `value` as a bool if it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {shown(value)}.")
    return bool(value)


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int from `low` to `high`."""
    wanted = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be {wanted}; got {shown(value)}.")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be {wanted}; got {number}.")
    return number


def number(name: str, value: Any, low: float = -math.inf, below: float = math.inf) -> float:
    """Return `value` as a finite float with `low <= value < below`."""
    wanted = "a finite number"
    if low > -math.inf:
        wanted = f"a finite number of at least {low:g}" + (f" and below {below:g}" if below < math.inf else "")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {wanted}; got {shown(value)}.")
    try:
        number = float(value)
    except OverflowError:  # an integer or a fraction beyond float64
        number = math.inf
    if not (math.isfinite(number) and low <= number < below):
        raise ValueError(f"{name} must be {wanted}; got {number:g}.")
    return number


def positive(name: str, value: Any) -> float:
    """Return `value` as a finite float above zero."""
    found = number(name, value, 0.0)
    if found == 0.0:
        raise ValueError(f"{name} must be above 0; got 0.")
    return found


def normalize(settings: Any, check: Callable[..., Any], *names: str, **limits: Any) -> None:
    """Replace fields of a frozen dataclass by what `check(name, value, **limits)` returns.

    So the settings hold plain Python numbers, whatever NumPy scalars they were made from: arithmetic with them does not wrap
    around, and JSON can hold them.
    """
    for name in names:
        object.__setattr__(settings, name, check(name, getattr(settings, name), **limits))


def survives(name: str, value: float, dtype: np.dtype[Any]) -> None:
    """Raise where a number above 0 is none any more, or not finite, for programs of `dtype`: they take denormal numbers for 0."""
    least = np.finfo(dtype).tiny
    with np.errstate(all="ignore"):
        if not least <= dtype.type(value) < math.inf:
            raise ValueError(f"{name} must be at least {least:.3g} and finite in {dtype}; got {value:g}.")


def one_or_each(name: str, value: Any, low: float = -math.inf) -> float | tuple[float, ...]:
    """Return a finite number of at least `low` as a float, or a sequence of them as a tuple of float."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return number(name, value, low)
    A = array(name, value)
    if A.ndim != 1 or len(A) == 0:
        raise ValueError(f"{name} must be a number or a sequence of them; got shape {A.shape}.")
    finite(name, A)
    inside(name, A, low, math.inf, f"be at least {low:g}")
    return tuple(A.astype(np.float64).tolist())


def precision(value: Any) -> str:
    """Return in what a network calculates: "float32", "float64", or "bfloat16" for float32 with products of bfloat16."""
    if is_bfloat16(value):
        return "bfloat16"
    for name in ("float32", "float64"):
        with contextlib.suppress(TypeError):
            if value is not None and np.dtype(value) == np.dtype(name):
                return name
    raise ValueError(f"dtype must be 'float32', 'float64' or 'bfloat16'; got {shown(value)}.")


def real_dtype(value: Any) -> np.dtype[Any]:
    """Return the dtype of a network's numbers."""
    return np.dtype("float64" if precision(value) == "float64" else "float32")


def threads(value: Any) -> int:
    """Return the number of threads to use: `value`, at most as many as there are; None is what this process may use."""
    if value is None:
        return kernels.default_threads()
    at_least_one = value.__class__ is int and value > 0  # the usual case, ten times as fast
    return min(value if at_least_one else integer("n_threads", value, 1), kernels.max_threads())


def not_masked(name: str, value: Any) -> None:
    """Raise where an array has a mask, which NumPy would leave aside."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask; got a masked array. Use {name}.filled(value).")


def not_times(name: str, value: Any) -> None:
    """Raise for points or lengths of time, also in a column of a frame: libraries make numbers of them in silence.

    What holds objects or is a list is known by its first row.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "buif":
        return
    columns = getattr(getattr(value, "schema", None), "types", getattr(value, "dtypes", None))  # of Arrow; of pandas and polars
    kinds = [str(one) for one in (columns if isinstance(columns, Iterable) else [getattr(value, "dtype", "")])]
    if isinstance(value, (list, tuple)) or (hasattr(value, "__array__") and "object" in kinds):
        first = value[:1] if getattr(value, "ndim", 1) else value
        with contextlib.suppress(ValueError, TypeError, RuntimeError):  # of what is no array, which others refuse
            kinds = [type(one).__name__ for one in np.asarray(first, dtype=object).ravel()]
    for j, kind in enumerate(kinds):
        if TIMES.match(kind):
            raise TypeError(f"{name} must hold real numbers; got dtype {kind}{f' in column {j}' if len(kinds) > 1 else ''}.")


def array(name: str, value: Any) -> Array:
    """Return `value` as an array of real numbers that the kernels can read, without a copy where that is possible."""
    not_masked(name, value)
    not_times(name, value)
    if hasattr(value, "toarray") and not hasattr(value, "__array__"):
        raise TypeError(f"{name} must be a dense array; got {shown(value)}. Use {name}.toarray().")
    try:
        A = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        if hasattr(value, "detach"):  # of PyTorch, with a gradient, on a GPU, or in a dtype that NumPy does not have
            raise TypeError(f"{name} must be a tensor that NumPy can read; got {shown(value)}. Use {name}.detach().cpu().double().") from None
        raise ValueError(f"{name} must be an array with rows of equal length; got {shown(value)}: {error}") from None
    if A.dtype.kind not in "buif":
        text = A.dtype.kind in "OSUT" and A.ndim == 1
        help_ = f" Number classes from 0: np.unique({name}, return_inverse=True)." if text else ""
        if A.dtype.kind == "O" and A.ndim == 2:  # a frame whose columns have several dtypes, or nullable ones
            help_ = f" Use {name}.astype(float) where all of it is numbers."
        raise TypeError(f"{name} must hold real numbers; got dtype {A.dtype}.{help_}")
    if A.dtype == np.bool_:
        return A.view(np.uint8)
    if A.dtype.kind == "f" and A.dtype.itemsize not in (4, 8):
        return A.astype(np.float32 if A.dtype.itemsize < 4 else np.float64)
    if not (A.dtype.isnative and A.flags.aligned):
        return A.astype(A.dtype.newbyteorder("="))
    return A


def column_names(value: Any) -> tuple[str, ...] | None:
    """Return the names of a frame's columns (pandas, polars, Arrow, whatever has them); None where not all are str."""
    columns = getattr(value, "column_names", getattr(value, "columns", None))
    if isinstance(value, np.ndarray) or not isinstance(columns, Iterable):
        return None
    names = tuple(columns)
    return tuple(map(str, names)) if names and all(isinstance(name, str) for name in names) else None


def same_columns(name: str, value: Any, feature_names: tuple[str, ...] | None) -> None:
    """Raise where `value` is a frame whose columns are not those that a network was trained on, in their order."""
    names = None if feature_names is None else column_names(value)
    if feature_names is None or names is None or names == feature_names:
        return
    length = min(len(names), len(feature_names))
    at = next((i for i in range(length) if names[i] != feature_names[i]), length)
    got, wanted = (repr(all_[at]) if at < len(all_) else "no column" for all_ in (names, feature_names))
    help_ = f" Use {name}[list(network.feature_names)]." if set(feature_names) <= set(names) else ""
    constraint = "have the columns that the network was trained on, in their order"
    raise ValueError(f"{name} must {constraint}; got {got} instead of {wanted} in column {at}.{help_}")


def matrix(name: str, value: Any, n_features: int, feature_names: tuple[str, ...] | None = None, look: bool = True) -> Any:
    """Return `value` as a finite array of shape (n_rows, n_features), not copied, or as sparse rows; a frame must have these names.

    Without a `look` it may hold NaN and infinity: for those who find them on their way.
    """
    if not look and value.__class__ is np.ndarray and value.dtype in USUAL and value.shape[1:] == (n_features,) and value.flags.aligned:
        return value  # at once: a prediction of a row takes no longer than some of these checks
    same_columns(name, value, feature_names)
    X: Any = sparse_rows(name, value) if isinstance(value, SparseRows) or hasattr(value, "tocsr") else array(name, value)
    wanted = f"{name} must have shape (n_rows, n_features) = (..., {n_features}); got {X.shape}."
    if X.ndim == 1 and X.size == n_features:
        raise ValueError(f"{wanted} For a single row use {name}.reshape(1, -1).")
    if X.ndim > 2 and X[:1].size == n_features:
        raise ValueError(f"{wanted} Use {name}.reshape(len({name}), -1).")
    if X.ndim != 2 or X.shape[1] != n_features:
        raise ValueError(wanted)
    if look:
        finite(name, X)
    return X


def sparse_rows(name: str, value: Any) -> SparseRows:
    """Return a sparse matrix of real numbers as rows that become dense when they are taken."""
    if value.dtype.kind not in "buif" or value.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers; got dtype {value.dtype}.")
    return value if isinstance(value, SparseRows) else SparseRows(value)


def not_empty(name: str, A: Any) -> Any:
    """Return `A` if it has a row."""
    if len(A) == 0:
        raise ValueError(f"{name} must have at least one row; got shape {A.shape}.")
    return A


def finite(name: str, A: Any) -> None:
    """Raise where `A` holds NaN or infinity, with row and column.

    A finite sum proves that every term is finite, and costs a fifth of `np.isfinite(A).all()`.
    """
    if isinstance(A, SparseRows):
        sparse_finite(name, A.matrix)
        return
    if A.dtype.kind != "f":
        return
    height = max(1, BLOCK * len(A) // max(1, A.size))
    for start in range(0, len(A), height):
        block = A[start : start + height]
        with np.errstate(all="ignore"):
            proven = np.isfinite(block.sum())
        if not proven:
            found = np.argwhere(~np.isfinite(block))
            if len(found):
                at = tuple(int(i) for i in found[0])
                raise ValueError(f"{name} must be finite; got {block[at]} in {place((at[0] + start, *at[1:]))}.") from None


def sparse_finite(name: str, A: Any) -> None:
    """Raise where a sparse matrix in CSR form holds NaN or infinity."""
    if A.dtype.kind == "f" and not np.isfinite(A.data).all():
        at = int(np.argmin(np.isfinite(A.data)))
        row = int(np.searchsorted(A.indptr, at, side="right")) - 1
        raise ValueError(f"{name} must be finite; got {A.data[at]} in {place((row, int(A.indices[at])))}.")


def unusable(X: Any, row: int, scale: float | Array, shift: float | Array, dtype: np.dtype[Any], name: str = "X") -> NoReturn:
    """Raise for a row whose numbers leave the range of the network's dtype when they are converted and scaled."""
    one = X[row : row + 1]
    numbers = one.toarray() if isinstance(one, kernels.CSR) else one
    column = int(np.argmin(_stays_finite(numbers, scale, shift, dtype)))
    raise ValueError(f"{name} must be finite as scaled {dtype}; got {numbers[0, column]} in {place((row, column))}.") from None


def usable(name: str, X: Any, scale: float | Array, shift: float | Array, dtype: np.dtype[Any]) -> None:
    """Raise where a number of the finite `X` leaves the range of the network's dtype when it is converted and scaled.

    What is done to a column never turns its order around, or does for all of it: where its ends stay finite, the column does.
    """
    limits: Any = X.limits if isinstance(X, SparseRows) else np.finfo(X.dtype) if X.dtype.kind == "f" else np.iinfo(X.dtype)
    if _stays_finite(np.array([[limits.min], [limits.max]], X.dtype), scale, shift, dtype).all():
        return
    height = max(1, BLOCK * len(X) // max(1, X.size))
    for start in range(0, len(X), height):
        block = X[start : start + height]
        if not _stays_finite(np.stack([block.min(axis=0), block.max(axis=0)]), scale, shift, dtype).all():
            wrong = ~_stays_finite(block, scale, shift, dtype).all(axis=1)
            unusable(X, start + int(np.argmax(wrong)), scale, shift, dtype, name)


def _stays_finite(A: Array, scale: float | Array, shift: float | Array, dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Return which numbers are finite when they are converted and scaled: by columns in float64, as the kernels do."""
    inner = np.dtype(np.float64) if isinstance(scale, np.ndarray) else dtype
    with np.errstate(all="ignore"):
        scaled = (A.astype(inner) * np.asarray(scale, inner) + np.asarray(shift, inner)).astype(dtype)
        finite: NDArray[np.bool_] = np.isfinite(scaled)
    return finite


def same_rows(name: str, y: Array, n_rows: int) -> None:
    """Raise unless `y` has as many rows as X."""
    if y.ndim == 0 or len(y) != n_rows:
        got = "a single number" if y.ndim == 0 else str(len(y))
        raise ValueError(f"{name} must have as many rows as X, {n_rows}; got {got}.")


def class_targets(name: str, y: Any, n_rows: int, n_classes: int, dtype: np.dtype[Any]) -> Array:
    """Return labels 0 to n_classes - 1 as int64 of shape (n_rows,), or one-hot rows as they are, in `dtype`."""
    A = array(name, y)
    same_rows(name, A, n_rows)
    if A.shape == (n_rows, n_classes):
        return one_hot(name, A, dtype)
    if A.shape == (n_rows, 1):
        A = A[:, 0]
    if A.ndim != 1:
        raise ValueError(f"{name} must have shape (n_rows,) with labels or (n_rows, n_classes) = ({n_rows}, {n_classes}); got {A.shape}.")
    if A.dtype.kind == "f":
        finite(name, A)
        raise TypeError(f"{name} must be integers, the labels of the classes; got dtype {A.dtype}. Use {name}.astype(int) if they are whole numbers.")
    inside(name, A, 0, n_classes - 1, f"hold labels from 0 to {n_classes - 1}, one for each output")
    return A.astype(np.int64)


def one_hot(name: str, A: Array, dtype: np.dtype[Any]) -> Array:
    """Return rows that are probabilities of the classes, in `dtype`."""
    finite(name, A)
    inside(name, A, 0, 1, "hold probabilities from 0 to 1 where it has a column for each class")
    sums = A.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-3)
    if len(wrong):
        raise ValueError(f"{name} must have rows that sum to 1 where it has a column for each class; got {sums[wrong[0]]:g} in row {wrong[0]}.")
    return np.ascontiguousarray(A, dtype=dtype)


def value_targets(name: str, y: Any, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> Array:
    """Return finite targets of shape (n_rows, n_outputs) that fit into `dtype`, as they are: they are judged with all their digits."""
    A = array(name, y)
    same_rows(name, A, n_rows)
    if A.ndim == 1 and n_outputs == 1:
        A = A[:, None]
    if A.shape != (n_rows, n_outputs):
        raise ValueError(f"{name} must have shape (n_rows, n_outputs) = ({n_rows}, {n_outputs}); got {A.shape}.")
    fits(name, A, dtype)
    return A


def fits(name: str, A: Array, dtype: np.dtype[Any]) -> None:
    """Raise where an array is not finite, or would not be in `dtype`."""
    finite(name, A)
    if A.dtype.kind == "f" and A.dtype.itemsize > dtype.itemsize:
        limit = float(np.finfo(dtype).max)
        inside(name, A, -limit, limit, f"fit into {dtype}")


def warn_of_constants(name: str, A: Array, learned: Array) -> None:
    """Warn where a column of targets varies, by more than rounding does, and does not any more in the dtype in which it is learned."""
    if A.dtype == learned.dtype:
        return
    for j in np.flatnonzero((learned == learned[0]).all(axis=0)[: A.shape[1]]):
        low, high = float(A[:, j].min()), float(A[:, j].max())
        if high - low > 1e-12 * max(abs(low), abs(high)):
            said = f"{name} goes from {low!r} to {high!r} in column {j}, which is one number in {learned.dtype}"
            warnings.warn(f"{said}: let Standardize(targets=True) be the last layer.", stacklevel=5)


def in_dtype(name: str, A: Array, dtype: np.dtype[Any]) -> Array:
    """Return a finite array in `dtype`, row-major, if it is finite there too."""
    fits(name, A, dtype)
    return np.ascontiguousarray(A, dtype=dtype)


def probability_targets(name: str, y: Any, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> Array:
    """Return targets from 0 to 1 of shape (n_rows, n_outputs) in `dtype`."""
    A = np.ascontiguousarray(value_targets(name, y, n_rows, n_outputs, dtype), dtype=dtype)
    inside(name, A, 0, 1, "lie from 0 to 1 for this loss")
    return A


def row_weights(name: str, value: Any, n_rows: int) -> NDArray[np.float64]:
    """Return a finite weight of at least 0 for every row, as float64."""
    A = array(name, value)
    if A.shape != (n_rows,):
        raise ValueError(f"{name} must have shape (n_rows,) = ({n_rows},); got {A.shape}.")
    finite(name, A)
    inside(name, A, 0, math.inf, "be at least 0")
    if not A.any():
        raise ValueError(f"{name} must be above 0 for some row; got 0 for all {n_rows}.")
    return A.astype(np.float64)


def class_weights(value: Any, labels: Array, n_classes: int) -> NDArray[np.float64]:
    """Return the weight of every row from the one of its class: a dict, where 1 is left out, or "balanced"."""
    if isinstance(value, str) and value == "balanced":
        counts = np.bincount(labels, minlength=n_classes)
        balanced: NDArray[np.float64] = (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[labels]
        return balanced
    if not isinstance(value, Mapping):
        raise TypeError(f"class_weight must be a dict from labels to weights, or 'balanced'; got {shown(value)}.")
    weights = np.ones(n_classes)
    for label, weight in value.items():
        weights[integer("a label in class_weight", label, 0, n_classes - 1)] = number("a weight in class_weight", weight, 0.0)
    return weights[labels]


def inside(name: str, A: Array, low: float, high: float, constraint: str) -> None:
    """Raise where the targets `A` leave the range from `low` to `high`, with row and column."""
    if A.size and (A.min() < low or A.max() > high):
        at = tuple(int(i) for i in np.argwhere((A < low) | (A > high))[0])
        raise ValueError(f"{name} must {constraint}; got {A[at]} in {place(at)}.")


def row_order(value: Any, n_rows: int) -> NDArray[np.int64]:
    """Return row numbers as int64; they may repeat or leave rows out."""
    order = orders(value)
    if order.ndim != 1 or order.dtype.kind not in "iu" or len(order) == 0:
        raise ValueError(f"shuffle must give a one-dimensional array of row numbers; got dtype {order.dtype} and shape {order.shape}.")
    if order.min() < 0 or order.max() >= n_rows:
        wrong = order[(order < 0) | (order >= n_rows)][0]
        raise ValueError(f"shuffle must give row numbers from 0 to {n_rows - 1}; got {wrong}.")
    return np.ascontiguousarray(order, dtype=np.int64)


def orders(value: Any) -> Array:
    """Return row numbers, or rows of them, as an array."""
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"shuffle must give as many row numbers for each epoch; got {shown(value)} with rows of different lengths.") from None


def pair(name: str, value: Any, parts: str) -> tuple[Any, Any]:
    """Return `value` as a pair of what `parts` names."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError(f"{name} must be a pair {parts}; got {shown(value)}.")
    return value[0], value[1]


def weighted(name: str, value: Any) -> tuple[Any, Any, Any]:
    """Return `value` as X, y and the weights of the rows, None where there are none."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise TypeError(f"{name} must be a pair (X, y) or (X, y, sample_weight); got {shown(value)}.")
    return value[0], value[1], value[2] if len(value) == 3 else None


def parts(name: str, value: Any, names: Collection[str]) -> tuple[Any, ...]:
    """Return `value` as a tuple of what `names` says."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(names):
        raise TypeError(f"{name} must be {'a pair ' if len(names) == 2 else ''}({', '.join(names)}); got {shown(value)}.")
    return tuple(value)


def flat(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Return `value` as an array of real numbers of the given shape."""
    A = array(name, value)
    if A.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {A.shape}.")
    return A


def saved_vector(name: str, value: Any, like: Array, empty: bool) -> Array:
    """Return an array of a saved state: finite, of the shape and dtype of `like`, or where that may be without elements."""
    A = array(name, value)
    if empty and A.shape == (0,):
        return A
    flat(name, A, like.shape)
    if A.dtype != like.dtype:
        raise TypeError(f"{name} must have dtype {like.dtype}; got {A.dtype}.")
    finite(name, A)
    return A


def place(at: tuple[int, ...]) -> str:
    """Say where an element is: `row 3, column 5`."""
    return f"row {at[0]}" + "".join(f", column {j}" for j in at[1:])


def shown(value: Any) -> str:
    """Return a short form of a value for a message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if value is None or isinstance(value, (str, bytes, numbers.Number, np.generic, type)):
        return repr(value) if len(repr(value)) < 60 else f"{repr(value)[:57]}..."
    return f"a {type(value).__name__}"
