"""Minibatches that somebody else makes: an iterable of them, a function of the epoch that returns one, read ahead in a thread."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import kernels

from . import validation
from .batches import Chunk
from .optimizers import FullBatchOptimizer
from .schedules import LearningRate, spans
from .validation import Array

Check = Callable[[Any, Any, Any, bool | None], tuple[Any, Array, Array | None]]


def is_stream(X: Any) -> bool:
    """Return whether something yields batches, and is not data itself."""
    return callable(X) or (isinstance(X, Iterable) and not hasattr(X, "__array__") and not hasattr(X, "shape") and not isinstance(X, (list, tuple, str)))


def check_stream(X: Any, optimizer: Any, shuffle: Any, class_weight: Any, checkpoint: Any, validation_split: Any, sample_weight: Any) -> None:
    """Refuse what cannot be done with batches that come one by one."""
    if not is_stream(X):
        raise TypeError(f"y must be given unless X yields batches (X, y); got None with {validation.shown(X)}.")
    if validation_split is not None:
        raise ValueError(f"validation_split must be left out where X yields batches; got {validation_split}. Keep rows for validation_data.")
    if sample_weight is not None:
        raise ValueError(f"sample_weight must be left out where X yields batches; got {validation.shown(sample_weight)}. Yield (X, y, sample_weight).")
    if checkpoint is not None and isinstance(X, Iterator) and not _has_state(X):
        help_ = "Pass a function of the epoch that returns its batches, or give X state_dict and load_state_dict."
        raise ValueError(f"checkpoint must be None where X can be used up once; got {checkpoint!r} with {validation.shown(X)}. {help_}")
    if not isinstance(shuffle, (bool, np.bool_)):
        raise ValueError(f"shuffle must be left out where X yields batches, which are taken as they come; got {validation.shown(shuffle)}.")
    if isinstance(class_weight, str):
        raise ValueError(f"class_weight must be a dict where X yields batches; got {class_weight!r}.")
    if isinstance(optimizer, FullBatchOptimizer):
        raise ValueError(f"optimizer must take minibatches where X yields them; got {type(optimizer).__name__}.")


def _has_state(X: Any) -> bool:
    return hasattr(X, "state_dict") and hasattr(X, "load_state_dict")


def check_span(name: str, schedule: LearningRate, source: StreamSource) -> None:
    """Raise for a schedule that spans a fit whose number of steps nobody knows."""
    if source.length is None and spans(schedule):
        raise ValueError(f"{name} must have n_steps where the batches have no len; got {schedule}.")


class Ahead:
    """Do some work in a thread, and hand out what it returns or raises."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._result: tuple[Any, BaseException | None] = (None, None)

        def run() -> None:
            try:
                self._result = work(), None
            except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
                self._result = None, error

        self._thread = threading.Thread(target=run, name="fastnn-reads-ahead", daemon=True)
        self._thread.start()

    def result(self) -> Any:
        """Wait for the result; Ctrl-C is heard meanwhile."""
        while self._thread.is_alive():
            self._thread.join(0.1)
        value, error = self._result
        if error is not None:
            raise error
        return value


class StreamSource:
    """Minibatches of an iterable, each as it comes: the next one is read and checked while the training goes on.

    Parameters
    ----------
    batches : iterable of (X, y) or (X, y, sample_weight), or function of the epoch that returns one
        A function is called with the epoch, counted from 0. An iterable is asked anew in each epoch, so a generator, which
        can be used up once, does for a single one. To resume a fit, an epoch must yield again what it has yielded: where that
        depends on more than its number, the iterable has `state_dict` and `load_state_dict`, called between two epochs.
    check : function (X, y, sample_weight, stored)
        Returns the first three as the kernels take them, X copied: in CSR form where `stored`, dense where not, as is best where it is None.
    seed : int
        Of dropout.
    epoch : int
        The first one that will be asked for; its first batch is read at once.
    state : dict, optional
        What `state_dict` returned in an earlier process.

    Attributes
    ----------
    batch_size : int
        The rows of the first batch: no other one may have more.
    full_batch : bool
        False.
    stored : bool
        Whether the first batch, and so all, are in CSR form.

    Examples
    --------
    >>> source = StreamSource(lambda epoch: [(np.zeros((3, 2)), np.zeros(3))] * 2, lambda X, y, w, stored: (X, y, w))
    >>> source.batch_size, source.chunk(0, 1, 5).order, source.chunk(0, 2, 5)
    (3, array([0, 1, 2]), None)
    """

    full_batch = False
    _ahead: Ahead
    _epoch: int
    _batch: int
    _first: int | None
    stored: bool | None

    def __init__(self, batches: Any, check: Check, seed: int = 0, epoch: int = 0, state: dict[str, Any] | None = None) -> None:
        self._batches, self._check, self.seed = batches, check, seed
        if state and "batches" in state:
            batches.load_state_dict(state["batches"])
        self.length = len(batches) if hasattr(batches, "__len__") else None
        self.batch_size, self.stored = 0, None
        self._begin(epoch)
        first = self._ahead.result()
        if first is None:
            self._check_end(0)
        self.batch_size, self.stored = len(first.order), isinstance(first.X, kernels.CSR)
        if state and state.get("first") not in (None, self._first):
            raise ValueError(f"X must yield in epoch {epoch + 1} what it yielded before; got another first batch.")

    @property
    def description(self) -> str:
        """What the batches are, in words that are the same in another process."""
        return f"batches of {getattr(self._batches, '__qualname__', type(self._batches).__qualname__)}"

    def n_batches(self, epoch: int) -> int:
        """Return the number of minibatches of an epoch; 0 where it is not known."""
        return self.length or 0

    def chunk(self, epoch: int, batch: int, size: int) -> Chunk | None:
        """Return the minibatch of an epoch with number `batch`; None where there are no more."""
        if epoch != self._epoch or batch < self._batch:
            self._begin(epoch)
        while True:
            chunk: Chunk | None = self._ahead.result()
            if chunk is None:
                self._check_end(self._batch)
                self._first, self._state = None, self._states()
                return None
            self._batch += 1
            self._ahead = Ahead(self._read)
            if self._batch > batch:
                return chunk

    def state_dict(self) -> dict[str, Any]:
        """Return a checksum of the targets that the epoch under way began with, and the state of the batches before it."""
        return {"first": self._first, **self._state}

    def _states(self) -> dict[str, Any]:
        return {"batches": self._batches.state_dict()} if _has_state(self._batches) else {}

    def _begin(self, epoch: int) -> None:
        """Start to read an epoch."""
        self._state = self._states()
        self._first = None
        batches = self._batches(epoch) if callable(self._batches) else self._batches
        if not isinstance(batches, Iterable):
            raise TypeError(f"X must be an array with targets y, or yield batches (X, y); got {validation.shown(batches)}.")
        self._epoch, self._batch = epoch, 0
        self._iterator: Iterator[Any] = iter(batches)
        self._ahead = Ahead(self._read)

    def _read(self) -> Chunk | None:
        """Return the next batch, checked; None at the end."""
        where = f"batch {self._batch + 1} of epoch {self._epoch + 1}"
        try:
            batch = next(self._iterator, None)
        except Exception as error:
            raise RuntimeError(f"{where} must be read without an error; got {type(error).__name__}: {error}.") from error
        if batch is None:
            return None
        batch = validation.weighted(where, batch)
        try:
            X, y, weights = self._check(*batch, self.stored)
        except (TypeError, ValueError) as error:
            raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{where}: {error}") from error
        if self.batch_size and len(X) > self.batch_size:
            raise ValueError(f"{where} must have at most as many rows as the first one, {self.batch_size}; got {len(X)}.")
        if self._first is None:
            self._first = zlib.crc32(np.ascontiguousarray(y).data)
        return Chunk(X, y.copy(), np.arange(len(X), dtype=np.int64), weights)

    def _check_end(self, n_batches: int) -> None:
        """Raise where an epoch ends before its time."""
        expected = self.length if self.length is not None else 1
        if n_batches < expected:
            help_ = " A generator can be used up once: pass a function of the epoch that returns one." if n_batches == 0 else ""
            wanted = "yield at least one batch" if self.length is None else f"yield as many batches as its len says, {self.length},"
            raise ValueError(f"X must {wanted} in every epoch; got {n_batches} in epoch {self._epoch + 1}.{help_}")
