"""Damaged and hostile files, a few of what `python -m tests.damage` tries."""

import pytest

from fastnn import Dense, Sequential, files
from tests import damage

pytestmark = pytest.mark.skipif(not hasattr(damage.signal, "setitimer"), reason="needs an alarm")


def test_damaged_files_are_refused(capsys):
    assert damage.main(["--flips", "200"]) == 0, capsys.readouterr().out


def test_a_fault_is_seen(capsys, monkeypatch):
    monkeypatch.setattr(files, "checksum", lambda text, arrays: "the same")
    monkeypatch.setattr(damage, "hostile", lambda original: {})
    assert damage.main(["--flips", "50"]) == 1
    assert "WRONG flipped bits: loads another network" in capsys.readouterr().out


def test_what_would_be_refused_is_not_written(tmp_path):
    net = Sequential([Dense(1)], n_features=1)
    net.metadata = {"empty": [[]] * 200_000}
    with pytest.raises(ValueError, match=r"^metadata must take at most 14 MB in memory beside these weights; got \d+ MB\.$"):
        net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())
    net.metadata = {"numbers": [0.5] * 200_000, "text": "ä" * 200_000}
    net.save(tmp_path / "net")
    assert Sequential.load(tmp_path / "net").metadata == net.metadata


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    Sequential([Dense(1)], n_features=1).save(tmp_path / "net")

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(files.np, "empty", full)
    with pytest.raises(MemoryError):
        Sequential.load(tmp_path / "net")
