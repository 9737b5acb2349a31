"""Records: memory with named fields, which Python fills in and compiled tasks read by its address.

A record is said once, with a word behind each field; `new` makes one of zeros, a call in compiled code reads the one at an address:

    FRAME = Record(rows=(I, "rows of the minibatch"), rate=(F, "the learning rate"))
    frame = FRAME.new(rows=32)
    FRAME(address).rows               # in nopython code
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, typeof_impl

__all__ = ["NOW", "OP", "PHASE", "F", "I", "Record", "address", "aligned_zeros", "new_array"]

I, F = np.int64, np.float64
PAGE, HUGE_PAGE = 1 << 12, 1 << 21


class Record:
    """The layout of a record: a type and a word for each field, in the order in which they lie."""

    def __init__(self, **fields: tuple[Any, str]) -> None:
        self.words = {name: word for name, (_, word) in fields.items()}
        self.dtype = np.dtype([(name, kind) for name, (kind, _) in fields.items()])

        @intrinsic
        def record_at(typingctx: Any, where: Any) -> Any:
            kind = _type_of(self.dtype)

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return builder.inttoptr(args[0], context.get_value_type(kind))

            return kind(types.intp), codegen

        self.record_at = record_at

    def new(self, **values: Any) -> Any:
        """Return a record of zeros but for the fields that are given."""
        record = new_array(self, 1)
        for name, value in values.items():
            record[name] = value
        return record

    def offset(self, name: str) -> int:
        """Return how many bytes from the start a field lies."""
        return int(self.dtype.fields[name][1])  # type: ignore[index]


@functools.cache
def _type_of(dtype: np.dtype[Any]) -> Any:
    """Return Numba's type of a record: only who compiles asks for it."""
    return numba.from_dtype(dtype)


@typeof_impl.register(Record)
def _typeof_record(value: Record, context: Any) -> Any:
    return cpu_target.typing_context.resolve_value_type(value.record_at)


def new_array(record: Record, count: int) -> Any:
    """Return `count` records of zeros, one after the other, the first at a cache line."""
    size = record.dtype.itemsize * count
    room = np.zeros(size + 64, np.uint8)
    start = -address(room) % 64
    return room[start : start + size].view(record.dtype)


def aligned_zeros(size: int, dtype: Any) -> Any:
    """Return zeros that start at a cache line, and where they fill some at a page, or at a huge page.

    Who reads some arrays side by side and writes one then never waits for a store some lines before in a page that holds what is read now: to a CPU,
    which at first compares the places in the page only, that looks the same. An update took up to 1.9 times as long.
    """
    itemsize = np.dtype(dtype).itemsize
    alignment = HUGE_PAGE if size * itemsize >= 2 * HUGE_PAGE else PAGE if size * itemsize >= PAGE else 64
    room = np.zeros(size * itemsize + alignment, np.uint8)
    start = -address(room) % alignment
    return room[start : start + size * itemsize].view(dtype)


def rows_of_pages(count: int, size: int, dtype: Any) -> Any:
    """Return rows of zeros, (count, size), each of which starts at a page."""
    line = PAGE // np.dtype(dtype).itemsize
    stride = -(-size // line) * line
    return aligned_zeros(count * stride, dtype).reshape(count, stride)[:, :size]


# Behind an object's header an array begins with this, which compiled extensions read there too, so that no release of NumPy can move it.
_HEADER, _word_at = object.__basicsize__, ctypes.c_ssize_t.from_address


def address(record: Any) -> int:
    """Return where a record, or an array, lies: `record.ctypes.data` in a tenth of its microsecond."""
    return _word_at(id(record) + _HEADER).value


# What every program has; the records of the kinds of layers stand beside their tasks.

PHASE = Record(
    task=(I, "address of a compiled task (tag, t, worker, record, now)"),
    tasks=(I, "how many tasks there are"),
    record=(I, "address of the record that they read"),
    together=(I, "ALONE: no threads share them; SMALL, LARGE: they may, as now.apart says"),
)

OP = Record(
    task=(I, "address of a compiled (tag, record, first row, last row, panel, now): done to rows of a panel just written"),
    record=(I, "address of the record that it reads"),
)

NOW = Record(
    rows=(I, "rows of this minibatch, or of this block of it"),
    mean_rows=(I, "of a block, the rows of its minibatch, which a mean is over; 0: those here"),
    inputs=(I, "address of its inputs, in panels"),
    labels=(I, "address of its labels, or 0"),
    targets=(I, "address of its targets, in panels, or 0"),
    weights=(I, "address of the weights of its rows, or 0"),
    first_row=(I, "of a block, the place of its first row in its minibatch, a multiple of four"),
    drawn=(I, "steps taken before this one: which numbers dropout draws"),
    rate=(F, "the learning rate of this step"),
    count=(F, "the number of this step, from 1"),
    loss=(F, "the loss of this minibatch, penalties left out"),
    penalty=(F, "what the penalties add to it"),
    stop=(I, "whether the loss is not finite: nothing more is done"),
    updated=(I, "whether the gradient holds the parameters from before the last update"),
    seen=(I, "whether the targets are transposed already"),
    penalized=(F, "what penalties are multiplied by; 0: they do not count"),
    done=(I, "steps of this call that are done"),
    all_rows=(I, "rows of all minibatches of this call"),
    batch=(I, "rows of a full minibatch"),
    all_inputs=(I, "address of the first minibatch's inputs"),
    input_bytes=(I, "bytes from one minibatch's inputs to the next's"),
    all_labels=(I, "address of the first minibatch's labels, or 0"),
    all_targets=(I, "address of the first minibatch's targets, or 0"),
    target_bytes=(I, "bytes from one minibatch's targets to the next's"),
    all_weights=(I, "address of the weights of all rows, or 0"),
    rates=(I, "address of the learning rate of each step of this call"),
    penalty_scales=(I, "address of what penalties are multiplied by in each step of this call, or 0"),
    losses=(I, "address of where the loss of each step is written"),
    out=(I, "address of where plain outputs are written"),
    apart=(I, "up to which kind of phases, of ALONE, SMALL and LARGE, threads do not share the tasks"),
)
