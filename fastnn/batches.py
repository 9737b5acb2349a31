"""Where minibatches come from: one small protocol, and its form for arrays.

The loop asks a source for one chunk of an epoch after the other. A chunk is arrays and the rows of them to take, in
order; the compiled call gathers them. So arrays are never copied as a whole, and a source of another kind (a generator, a
file) hands out what it has read, with the rows in any order it likes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import kernels

from . import validation
from .sparse import SparseRows
from .validation import Array


class Chunk(NamedTuple):
    """Some minibatches: the rows `order` of `X`, `y` and, where rows are weighted, `weights`, cut every `batch_size` rows."""

    X: Any  # an array, or sparse rows
    y: Array
    order: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None


def dense(chunk: Chunk) -> Chunk:
    """Return a chunk with its rows, where they are sparse, made dense: these alone, in their order."""
    if not isinstance(chunk.X, SparseRows):
        return chunk
    rows, weights = chunk.order, chunk.weights
    return Chunk(chunk.X[rows], chunk.y[rows], np.arange(len(rows)), None if weights is None else weights[rows])


class Source(Protocol):
    """What the training loop needs of a source of minibatches.

    One that can go on in another process has two methods more: `state_dict()`, which returns a dict for JSON, and
    `load_state_dict(state)`, called before the first chunk.
    """

    batch_size: int
    full_batch: bool  # whether every minibatch is the same rows in the same order

    def n_batches(self, epoch: int) -> int:
        """Return the number of minibatches of an epoch."""

    def chunk(self, epoch: int, batch: int, size: int) -> Chunk | None:
        """Return at most `size` minibatches of an epoch, from number `batch` on; None where there are no more.

        Only the last minibatch of an epoch may be short. They are asked for in their order; a fit that goes on in the
        middle of an epoch asks first for what comes next.
        """


class ArraySource:
    """Minibatches of arrays in memory or mapped into it.

    Parameters
    ----------
    X, y : ndarray
        Features and targets, already checked.
    batch_size : int or None
        Rows of a minibatch; None or more than there are rows is one minibatch, which takes them as they lie.
    shuffle : bool, array or function
        True: another order every epoch, a function of the seed and the epoch. False: as they lie. An array of row
        numbers, for every epoch; of two dimensions: one row an epoch. A function that takes the epoch, counted from
        0, and returns row numbers.
    seed : int
        For `shuffle=True`.
    weights : ndarray, optional
        What the loss of each row is multiplied by.
    epoch : int
        The first one that will be asked for.

    Attributes
    ----------
    full_batch : bool
        Whether every minibatch is all rows as they lie.

    Examples
    --------
    >>> source = ArraySource(np.zeros((5, 2)), np.zeros(5), batch_size=2, shuffle=[4, 3, 2, 1, 0], seed=0)
    >>> source.chunk(epoch=0, batch=1, size=2).order
    array([2, 1, 0])
    """

    def __init__(self, X: Array, y: Array, batch_size: int | None, shuffle: Any, seed: int, weights: NDArray[np.float64] | None = None, epoch: int = 0) -> None:
        self.X, self.y, self.weights, self.seed = X, y, weights, seed
        self.full_batch = isinstance(shuffle, (bool, np.bool_)) and (batch_size is None or batch_size >= len(X))
        self._asks = callable(shuffle)
        self._orders = orders(False if self.full_batch else shuffle, len(X), seed)
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)
        largest = max(len(X), len(self.order(epoch)))
        self.batch_size = largest if batch_size is None else min(batch_size, largest)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the rows of an epoch in their order; asked for once an epoch, it may come from a function with a memory."""
        if epoch != self._epoch:
            self._order, self._epoch = self._orders(epoch), epoch
        return self._order

    def n_batches(self, epoch: int) -> int:
        """Return the number of minibatches of an epoch."""
        return -(-len(self.order(epoch)) // self.batch_size)

    def chunk(self, epoch: int, batch: int, size: int) -> Chunk | None:
        """Return at most `size` minibatches of an epoch, from number `batch` on; None where there are no more."""
        rows = self.order(epoch)[batch * self.batch_size : (batch + size) * self.batch_size]
        return dense(Chunk(self.X, self.y, rows, self.weights)) if len(rows) else None

    def state_dict(self) -> dict[str, int]:
        """Return the epoch whose order was asked for last, and a checksum of it where it came from a function."""
        return {"epoch": self._epoch, "order": zlib.crc32(self._order.data)} if self._asks else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Ask for the orders of the epochs before, since a function may have a memory; raise where the last one is another."""
        for epoch in range(state.get("epoch", -1) + 1):
            self.order(epoch)
        if state != self.state_dict():
            raise ValueError(f"shuffle must give the rows that it gave before; got others in epoch {self._epoch + 1}.")


def orders(shuffle: Any, n_rows: int, seed: int) -> Callable[[int], NDArray[np.int64]]:
    """Return the function from the epoch to the order of the rows that `shuffle` means; see `ArraySource`."""
    if callable(shuffle):
        return lambda epoch: validation.row_order(shuffle(epoch), n_rows)
    if isinstance(shuffle, (bool, np.bool_)):
        return lambda epoch: permutation(seed, epoch, n_rows) if shuffle else np.arange(n_rows, dtype=np.int64)
    numbers = validation.orders(shuffle)
    if numbers.ndim == 0:
        raise TypeError(f"shuffle must be True, False, an array of row numbers or a function of the epoch; got {validation.shown(shuffle)}.")
    given = [validation.row_order(order, n_rows) for order in (numbers if numbers.ndim == 2 else [numbers])]
    return lambda epoch: given[epoch % len(given)]


def permutation(seed: int, epoch: int, n_rows: int) -> NDArray[np.int64]:
    """Return the numbers 0 to n_rows - 1 in an order that is a function of the seed and the epoch."""
    order = np.empty(n_rows, dtype=np.int64)
    kernels.permutation(seed, epoch, order)
    return order


def split(y: Array, share: float, name: str) -> tuple[Array, Array]:
    """Return the rows to train on and those to hold out, always the same ones for the same targets.

    The rows are put in a random order, then sorted by their first target; every so many-th is held out. So both parts
    hold all classes, or small and large targets, in equal shares.

    Examples
    --------
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
