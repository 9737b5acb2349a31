"""Records: what Python writes is what compiled code reads, and every field has a word."""

import importlib
import pkgutil

import numpy as np
import pytest
from numba import njit

import kernels
from kernels.records import F, I, Record, address, new_array

MIXED = Record(first=(I, "a whole number"), small=(np.int32, "half a word"), rate=(F, "a fraction"), last=(I, "another whole number"))


@njit
def read(where):
    M = MIXED(where)
    return M.first, M.small, M.rate, M.last


@njit
def write(where):
    MIXED(where).rate = 2.5
    MIXED(where).last += 1


def test_compiled_code_reads_what_python_wrote_and_python_what_it_wrote():
    record = MIXED.new(first=2**60 + 1, small=-7, rate=0.1, last=-(2**50))
    assert read(address(record)) == (2**60 + 1, -7, 0.1, -(2**50))
    write(address(record))
    assert record.tolist() == [(2**60 + 1, -7, 2.5, -(2**50) + 1)]


@pytest.mark.parametrize(
    "array", [np.arange(12.0), np.arange(12)[3::2], np.zeros((3, 4), "f4").T, np.zeros(0), MIXED.new(), np.ma.ones(3), np.broadcast_to(1.0, 5)]
)
def test_an_address_is_where_the_first_number_lies(array):
    assert address(array) == array.ctypes.data


def test_fields_that_are_not_given_are_zero():
    assert MIXED.new(small=3).tolist() == [(0, 3, 0.0, 0)]


def test_offsets_are_where_the_fields_lie():
    record = MIXED.new(first=1, small=2, rate=3, last=4)
    for name in MIXED.words:
        kind = MIXED.dtype[name]
        assert record.view(np.uint8)[MIXED.offset(name) :][: kind.itemsize].view(kind)[0] == record[name][0]


def test_an_array_of_records_lies_side_by_side_at_a_cache_line():
    records = new_array(MIXED, 5)
    records["last"] = np.arange(5)
    assert address(records) % 64 == 0
    assert [read(address(records) + k * MIXED.dtype.itemsize)[-1] for k in range(5)] == list(range(5))


def records():
    for module in pkgutil.iter_modules(kernels.__path__):
        if not module.name.startswith("__"):
            for name, value in vars(importlib.import_module(f"kernels.{module.name}")).items():
                if isinstance(value, Record):
                    yield pytest.param(value, id=f"{module.name}.{name}")


@pytest.mark.parametrize("record", list(records()))
def test_every_field_has_a_word(record):
    assert list(record.words) == list(record.dtype.names)
    assert all(word.strip() and word != name for name, word in record.words.items())
