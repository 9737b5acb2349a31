"""Sparse features (SciPy's matrices and arrays): never dense as a whole, only some rows at a time.

SciPy need not be imported: what has `tocsr` is sparse, and rows are taken and made dense by its own methods.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

import kernels

from .batches import Chunk
from .validation import Array

BLOCK_BYTES = 1 << 25  # of dense rows at a time


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or array."""
    return hasattr(X, "tocsr")


def dense_chunk(chunk: Chunk) -> Chunk:
    """Return a chunk of minibatches with its rows dense, where they are sparse: these alone, in their order."""
    if not is_sparse(chunk.X):
        return chunk
    X: Any = chunk.X
    rows, weights = chunk.order, chunk.weights
    return Chunk(X[rows].toarray(), chunk.y[rows], np.arange(len(rows)), None if weights is None else weights[rows])


def blocks(X: Any) -> Iterator[tuple[slice, Array]]:
    """Yield the rows of a sparse X, made dense some at a time, and which they are."""
    n_rows, n_columns = X.shape
    height = max(1, BLOCK_BYTES // (8 * max(1, n_columns)))
    for first in range(0, n_rows, height):
        part = slice(first, min(n_rows, first + height))
        yield part, X[part].toarray()


class FullBatch:
    """As `kernels.FullBatch`, the loss of all rows and its gradient, for sparse rows: each call makes them dense again, block by block.

    Parameters
    ----------
    plan : kernels.Plan
    X : sparse matrix
    y : ndarray
    objective : kernels.Objective
    n_threads : int
    weights : ndarray, optional
    """

    def __init__(self, plan: kernels.Plan, X: Any, y: Array, objective: kernels.Objective, *, n_threads: int = 1, weights: Array | None = None) -> None:
        self.plan, self.X, self.y, self.n_threads = plan, X, y, n_threads
        self.objective = objective.sum_over_rows(len(y))
        self.weights = None if weights is None else objective.factors(weights, len(y))
        self.gradient = np.zeros(plan.parameters_size, plan.dtype)

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        """Return the loss and the flat gradient, which the next call overwrites."""
        total, self.gradient[:] = 0.0, 0.0
        plan = self.plan
        for part, rows in blocks(self.X):
            weights = None if self.weights is None else self.weights[part]
            function = kernels.FullBatch(plan, rows, self.y[part], self.objective, n_threads=self.n_threads, weights=weights)
            value, gradient = function(parameters)
            total += value
            self.gradient += gradient
            plan = dataclasses.replace(plan, penalties=())  # they count once
        return total, self.gradient
