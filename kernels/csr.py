"""Rows of which only some numbers are stored, such as bags of words."""

from __future__ import annotations

import copy
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CSR"]

Array = NDArray[Any]
WHOLE = (np.dtype(np.int32), np.dtype(np.int64))
REAL = frozenset(np.dtype(code) for code in "?bBhHiIlLqQfd")  # in this machine's byte order


class CSR:
    """Rows of which only some numbers are stored, the others are zero; the fields are those of SciPy's `csr_array`.

    Parameters
    ----------
    data : ndarray of shape (size,), any real dtype
        What is stored, row by row.
    indices : int32 or int64 ndarray of shape (size,)
        The columns, ascending in each row. They are looked at where the rows are read.
    indptr : int32 or int64 ndarray of shape (n_rows + 1,)
        Row i is `data[indptr[i]:indptr[i + 1]]`.
    shape : (int, int)

    Raises
    ------
    TypeError, ValueError
        If an array is of another kind, or they do not fit each other.

    Examples
    --------
    >>> X = CSR(np.array([3.0, 4.0]), np.array([1, 0]), np.array([0, 1, 2]), (2, 3))
    >>> X.toarray()
    array([[0., 3., 0.],
           [4., 0., 0.]])
    """

    ndim = 2
    first = 0  # the number of the first row in what this is a part of, for messages

    def __init__(self, data: Array, indices: Array, indptr: Array, shape: tuple[int, int]) -> None:
        for name, array, kinds in (("data", data, REAL), ("indices", indices, WHOLE), ("indptr", indptr, WHOLE)):
            if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype not in kinds:
                wanted = "real numbers" if name == "data" else "int32 or int64 numbers"
                raise TypeError(f"{name} must be an array of one dimension of {wanted}; got {getattr(array, 'dtype', array)} {getattr(array, 'shape', '')}.")
        try:
            n_rows, n_columns = (operator.index(n) for n in shape)
        except (TypeError, ValueError):
            raise TypeError(f"shape must be two integers; got {shape!r}.") from None
        if n_rows < 0 or not 0 <= n_columns < 2**31:
            raise ValueError(f"shape must be of 0 or more rows and fewer than 2**31 columns; got {shape}.")
        if indptr.size != n_rows + 1:
            raise ValueError(f"indptr must have a number for each row and one more; got {indptr.shape} for the shape {shape}.")
        if data.shape != indices.shape:
            raise ValueError(f"indices must have a column for each number of data; got {indices.shape} for {data.shape}.")
        if indptr[0] < 0 or indptr[-1] > data.size or (indptr[1:] < indptr[:-1]).any():
            raise ValueError(f"indptr must ascend from 0 or more to at most {data.size}, how many numbers are stored.")
        self.data, self.indices, self.indptr, self.shape = data, indices, indptr, (n_rows, n_columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of what is stored."""
        return self.data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> CSR:
        """Return some rows that lie one after the other."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(f"rows must be a slice of rows one after the other; got {rows!r}.")
        first, end, _ = rows.indices(len(self))
        some = copy.copy(self)  # the arrays were looked at
        some.indptr, some.shape = self.indptr[first : max(first, end) + 1], (max(0, end - first), self.shape[1])
        some.first = self.first + first
        return some

    def copy(self) -> CSR:
        """Return a copy that shares no memory."""
        return CSR(self.data.copy(), self.indices.copy(), self.indptr.copy(), self.shape)

    def toarray(self) -> Array:
        """Return the rows as a dense array."""
        dense = np.zeros(self.shape, self.dtype)
        some = slice(self.indptr[0], self.indptr[-1])
        dense[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices[some]] = self.data[some]
        return dense
