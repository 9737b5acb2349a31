"""Readers and random inputs, a few of what `python -m tests.fuzz` tries."""

import tracemalloc

import pytest

from fastnn import datasets
from tests import fuzz


@pytest.mark.parametrize("kind", ["idx", "csv", "npz"])
def test_readers_refuse_what_they_cannot_read_in_one_sentence(kind):
    reader = fuzz.at_random(kind, 300, 60)
    assert 0 < reader.refused < reader.inputs


def test_what_another_exception_is_is_seen(monkeypatch):
    monkeypatch.setattr(datasets, "read_idx", lambda path: [][0])
    with pytest.raises(AssertionError, match="idx: input b"):
        fuzz.at_random("idx", 1, 10)


def test_an_idx_file_is_unpacked_no_further_than_its_header_says(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(fuzz.gzip.compress(b"\0\0\x08\1\0\0\0\4" + bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"must hold 4 bytes for the shape \(4,\) in its header; got more\."):
        datasets.read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
