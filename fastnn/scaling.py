"""Layers that scale the data on its way in, and targets: plain numbers beside the weights, applied in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels._lazy import cached_property

from . import validation
from .sparse import SparseRows
from .validation import Array


@dataclass(frozen=True, repr=False)
class Scale:
    """Scale the data on its way in: `X * scale + shift`. Only as the first layer.

    Parameters
    ----------
    scale, shift : float, or sequence of float
        One for every feature, or one for each; the latter are applied in float64 and rounded once to the network's dtype.

    Examples
    --------
    >>> Scale(1 / 255)
    Scale(scale=0.00392156862745098, shift=0.0)
    >>> Scale([1, 0.001])
    Scale(scale=(1.0, 0.001), shift=0.0)
    """

    scale: float | Sequence[float] = 1.0
    shift: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        validation.normalize(self, validation.one_or_each, "scale", "shift")

    @cached_property
    def affine(self) -> tuple[float | Array, float | Array]:
        """Return factor and shift as the kernels take them: both numbers, or both float64 arrays."""
        if isinstance(self.scale, float) and isinstance(self.shift, float):
            return self.scale, self.shift
        return _alike(self.scale, self.shift)

    def __repr__(self) -> str:
        """Return factor and shift, long ones in short."""
        return f"Scale(scale={_short(self.scale)}, shift={_short(self.shift)})"


@dataclass(frozen=True, repr=False)
class Standardize:
    """Give every feature mean 0 and deviation 1 on its way in: `(X - mean) / std`; or do so with the targets.

    As the first layer it is for X. `Standardize(targets=True)` is the last layer, of a network that predicts numbers: it
    learns `(y - mean) / std`, and what it predicts comes back as `outputs * std + mean`, in float64.

    It is calculated in float64 and rounded to the network's dtype once, beside the weights and never in them, so numbers
    near 1e9 keep what tells them apart in a float32 network. It is part of the network: `fit`, `predict` and `evaluate`
    take plain numbers, and give them. The loss is that of standardized targets; the metrics are in the targets' own units, as
    are the mean and the logarithm of the variance that a network for `GaussianNLL` predicts. Losses of classes, and `Poisson`,
    whose counts have no other unit, refuse it.

    Parameters
    ----------
    mean, std : float or sequence of float, optional
        One for every column, or one for each; std at least 0. Left out, they are those of the rows of the first fit. A
        column with std 0, such as a constant one, contributes nothing; of targets it is always predicted as its mean.
    targets : bool
        Whether it is for the targets.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Dense, Sequential
    >>> X = np.array([[1e9 + 1, 5], [1e9 + 2, 5], [1e9 + 3, 5], [1e9 + 4, 5]])
    >>> y = np.array([1000.25, 1000.50, 1000.75, 1001.00])
    >>> net = Sequential([Standardize(), Dense(1), Standardize(targets=True)], n_features=2)
    >>> history = net.fit(X, y, epochs=500, batch_size=None, optimizer="rprop", verbose=0)
    >>> net.predict(X[:2]).round(3)
    array([[1000.25],
           [1000.5 ]])
    >>> net.layers[0].mean
    (1000000002.5, 5.0)
    """

    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    targets: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", validation.flag("targets", self.targets))
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"mean and std must be given both or not at all; got mean={validation.shown(self.mean)} and std={validation.shown(self.std)}.")
        if self.mean is not None and self.std is not None:
            object.__setattr__(self, "mean", validation.one_or_each("mean", self.mean))
            object.__setattr__(self, "std", validation.one_or_each("std", self.std, 0.0))
            if not all(np.isfinite(A).all() for A in self.affine):
                raise ValueError("mean / std and 1 / std must be finite, or std 0; got a std that is too small.")

    @classmethod
    def of(cls, A: Any, *, targets: bool = False) -> Standardize:
        """Return the layer with mean and deviation of the columns of an array, calculated in float64.

        Parameters
        ----------
        A : array of shape (n_rows, n_columns), or (n_rows,) for one column
        targets : bool
            Whether it is for the targets.

        Examples
        --------
        >>> Standardize.of([[1, 5], [3, 5]])
        Standardize(mean=(2.0, 5.0), std=(1.0, 0.0))
        """
        columns: Any = A if isinstance(A, SparseRows) else validation.array("A", A)
        if columns.ndim not in (1, 2) or columns.size == 0:
            raise ValueError(f"A must have shape (n_rows, n_columns) with at least one row; got {columns.shape}.")
        validation.finite("A", columns)
        mean, std = mean_and_deviation(columns if columns.ndim == 2 else columns[:, None])
        return cls(tuple(mean.tolist()), tuple(std.tolist()), targets=targets)

    @cached_property
    def statistics(self) -> tuple[Array, Array]:
        """Return mean and deviation as float64 arrays."""
        if self.mean is None or self.std is None:
            what, of = ("targets", "y, targets=True") if self.targets else ("X", "X")
            raise ValueError(f"Standardize of {what} must have mean and std before it is used; got neither. Call fit first, or take Standardize.of({of}).")
        return _alike(self.mean, self.std)

    @cached_property
    def affine(self) -> tuple[Array, Array]:
        """Return factor and shift as float64 arrays: A * factor + shift is standardized, and 0 where std is 0."""
        mean, std = self.statistics
        with np.errstate(all="ignore"):
            factor = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
            return factor, -mean * factor

    def __repr__(self) -> str:
        """Return the settings that differ from the defaults, long ones in short."""
        shown = [f"{name}={_short(value)}" for name, value in (("mean", self.mean), ("std", self.std)) if value is not None]
        return f"Standardize({', '.join(shown + ['targets=True'] * self.targets)})"


def _alike(first: Any, second: Any) -> tuple[Array, Array]:
    """Return two settings as float64 arrays of one length, that of the longer one."""
    n = max(np.size(first), np.size(second))
    a, b = (np.full(n, value, np.float64) if np.size(value) == 1 else np.array(value, np.float64) for value in (first, second))
    if len(a) != len(b):
        raise ValueError(f"a layer must have as many factors as shifts, or means as deviations; got {len(a)} and {len(b)}.")
    return a, b


def _short(value: Any) -> str:
    """Return a setting as a text; of many numbers the first three."""
    if isinstance(value, float) or len(value) <= 6:
        return repr(value)
    return f"({', '.join(map(repr, value[:3]))}, ... {len(value)} numbers)"


STATISTICS_BLOCK = 1 << 16  # numbers looked at together: they stay in the cache, and a memory map out of the memory


def mean_and_deviation(A: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of every column of a finite (n, m) array, in float64.

    Block by block about the middle of each column's range, so that neither large numbers nor large offsets cost digits; the
    blocks are joined as in Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances,
    1979. The deviation is 0 where the numbers of a column differ by rounding only.
    """
    low, high = A.min(axis=0).astype(np.float64), A.max(axis=0).astype(np.float64)
    middle, reach = low / 2 + high / 2, high / 2 - low / 2
    constant = reach <= np.maximum(4 * np.finfo(np.float64).eps * np.maximum(np.abs(low), np.abs(high)), np.finfo(np.float64).tiny)
    unit = np.where(constant, 1.0, reach)
    mean, squares, n = np.zeros(len(low)), np.zeros(len(low)), 0
    height = max(1, STATISTICS_BLOCK // max(1, A.shape[1]))
    for start in range(0, len(A), height):
        block = np.subtract(A[start : start + height], middle, order="C")
        block /= unit
        rows, part = len(block), block.mean(axis=0)
        block -= part
        gap, n = part - mean, n + rows
        mean += gap * (rows / n)
        squares += np.square(block, out=block).sum(axis=0) + gap**2 * (rows * (n - rows) / n)
    return np.where(constant, low, middle + unit * mean), np.where(constant, 0.0, unit * np.sqrt(squares / len(A)))
