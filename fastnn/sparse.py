"""Sparse features (SciPy's matrices and arrays): never dense as a whole. A first dense layer reads what is stored, others some rows at a time.

SciPy need not be imported: what has `tocsr` is sparse, and rows are taken and made dense by its own methods.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import kernels
from kernels._lazy import cached_property

Array = NDArray[Any]
Weights = NDArray[np.float64] | None

BLOCK_BYTES = 1 << 25  # of dense rows at a time
# Of a matrix that is stored, up to which kernels read what is stored: of more they read dense rows faster. And the same where the weights stay in a cache.
LARGEST_SHARE, LARGEST_CACHED, CACHED = 0.05, 0.1, 1 << 20


class Limits(NamedTuple):
    """Bounds of some numbers."""

    min: float
    max: float


class SparseRows:
    """A sparse matrix whose rows become dense when they are taken, `X[rows]`; for kernels that need none dense, `stored`.

    Parameters
    ----------
    matrix : sparse matrix or array
        Of two dimensions.

    Attributes
    ----------
    matrix : sparse matrix or array
        In the form of which rows are taken, CSR; of bytes where it was boolean.
    """

    ndim = 2

    def __init__(self, matrix: Any) -> None:
        rows = matrix.tocsr()
        self.matrix = rows.astype(np.uint8) if rows.dtype == np.bool_ else rows
        self.shape = int(matrix.shape[0]), int(matrix.shape[1])
        self.dtype: np.dtype[Any] = self.matrix.dtype
        self.size = self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        dense: Array = self.matrix[rows].toarray()
        return dense

    def __repr__(self) -> str:
        return f"SparseRows of shape {self.shape}, {self.dtype}, {self.matrix.nnz} stored"

    def part(self, rows: Any) -> SparseRows:
        """Return some rows, still sparse."""
        return SparseRows(self.matrix[rows])

    @property
    def limits(self) -> Limits:
        """The smallest and the largest number of all, as `np.finfo` has them of all that a dtype can hold."""
        return Limits(self.matrix.data.min(initial=0), self.matrix.data.max(initial=0))

    def min(self, axis: int) -> Array:
        """Return the smallest number of every column."""
        return np.asarray(self.matrix.min(axis=axis).toarray()).ravel()

    def max(self, axis: int) -> Array:
        """Return the largest number of every column."""
        return np.asarray(self.matrix.max(axis=axis).toarray()).ravel()

    @cached_property
    def stored(self) -> kernels.CSR:
        """The rows as the kernels read them: the columns of each ascend, and none is stored twice."""
        matrix = self.matrix
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        return kernels.CSR(matrix.data, matrix.indices, matrix.indptr, self.shape)

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield all rows, some at a time, and which they are."""
        height = max(1, BLOCK_BYTES // (8 * max(1, self.shape[1])))
        for first in range(0, max(1, len(self)), height):
            part = slice(first, min(len(self), first + height))
            yield part, self[part]

    def map(self, function: Callable[[Array], Array]) -> Array:
        """Return what a function makes of all rows, called with some at a time."""
        return np.concatenate([function(rows) for _, rows in self.blocks()])


def as_read(plan: kernels.Plan, X: Any, shift: float | Array = 0.0) -> Any:
    """Return sparse rows in the form of which the kernels read only what is stored, where they can and that is faster; everything else as it is."""
    if not isinstance(X, SparseRows) or not plan.takes_stored:
        return X
    cached = plan.widths[0] * plan.widths[1] * np.dtype(plan.dtype).itemsize <= CACHED
    if X.matrix.nnz > (LARGEST_CACHED if cached else LARGEST_SHARE) * X.size or X.dtype not in kernels.csr.REAL:
        return X
    return X if np.any(np.asarray(shift) != 0) else X.stored


def in_form(plan: kernels.Plan, X: Any, shift: float | Array, stored: bool | None) -> Any:
    """Return a copy of rows, in CSR form where `stored`, dense where not, as `as_read` has them where it is None."""
    if stored is None:
        stored = isinstance(as_read(plan, X, shift), kernels.CSR)
    if not stored:
        return np.array(X[:])
    if isinstance(X, SparseRows):
        return X.stored.copy()
    rows, columns = np.nonzero(X)
    return kernels.CSR(X[rows, columns], columns, np.searchsorted(rows, np.arange(len(X) + 1)), X.shape)


def take(X: Any, rows: Any) -> Any:
    """Return some rows of an array, or of sparse rows, which they stay."""
    return X.part(rows) if isinstance(X, SparseRows) else X[rows]


Part = tuple[kernels.Plan, Array, Array, kernels.Objective, Weights]  # with rows and targets


def parts(plan: kernels.Plan, X: SparseRows, y: Array, objective: kernels.Objective, weights: Weights) -> Iterator[Part]:
    """Yield the objective of all rows as a sum over blocks of them, penalties counted once."""
    of_sum = objective.sum_over_rows(len(X))
    factors = None if weights is None else objective.factors(weights, len(X))
    for part, rows in X.blocks():
        yield plan, rows, y[part], of_sum, None if factors is None else factors[part]
        plan = dataclasses.replace(plan, penalties=())


def evaluate(
    plan: kernels.Plan,
    parameters: Array,
    X: SparseRows,
    y: Array,
    objective: kernels.Objective,
    *,
    n_threads: int = 1,
    weights: Weights = None,
) -> tuple[float, Array]:
    """Return the loss over all rows and the outputs, as `kernels.evaluate`."""
    total, outputs = 0.0, []
    for part, rows, targets, of_sum, factors in parts(plan, X, y, objective, weights):
        value, out = kernels.evaluate(part, parameters, rows, targets, of_sum, n_threads=n_threads, weights=factors)
        total += value
        outputs.append(out)
    return total, np.concatenate(outputs)


class FullBatch:
    """The loss of all rows and its gradient, as `kernels.FullBatch`: each call makes the rows dense, block by block.

    Parameters
    ----------
    plan : kernels.Plan
    X : SparseRows
    y : ndarray
    objective : kernels.Objective
    n_threads : int
    weights : ndarray, optional
    """

    def __init__(self, plan: kernels.Plan, X: SparseRows, y: Array, objective: kernels.Objective, *, n_threads: int = 1, weights: Weights = None) -> None:
        self.data, self.n_threads = (plan, X, y, objective, weights), n_threads
        self.gradient: Array = np.zeros(plan.parameters_size, plan.dtype)

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        """Return the loss and the flat gradient, which the next call overwrites."""
        total, self.gradient[:] = 0.0, 0.0
        for plan, rows, y, objective, weights in parts(*self.data):
            value, gradient = kernels.FullBatch(plan, rows, y, objective, n_threads=self.n_threads, weights=weights)(parameters)
            total += value
            self.gradient += gradient
        return total, self.gradient


def full_batch(plan: kernels.Plan, X: Any, y: Array, objective: kernels.Objective, *, n_threads: int = 1, weights: Weights = None) -> Any:
    """Return the function from parameters to the loss of all rows and its gradient."""
    read = as_read(plan, X, objective.shift)
    kind = FullBatch if isinstance(read, SparseRows) else kernels.FullBatch
    return kind(plan, read, y, objective, n_threads=n_threads, weights=weights)
