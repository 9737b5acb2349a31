"""Threads and processes of every kind, a few of what `python -m tests.stress` runs."""

import warnings

import pytest

from tests import stress
from tests.kernels.networks import share_all

forks = pytest.mark.skipif(not hasattr(stress.os, "fork"), reason="needs fork")


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Take back afterwards that threads share everything."""
    share_all(monkeypatch)


@forks
@pytest.mark.parametrize("name", ["fork_of_fork", "forks_of_threads"])
def test_bits_are_right_wherever_a_network_is_fitted(name, capsys):
    with warnings.catch_warnings():
        assert stress.main(["--only", name, "--times", "2"]) == 0, capsys.readouterr().out


@forks
def test_wrong_bits_are_seen(monkeypatch):
    monkeypatch.setattr(stress, "expected", lambda: ["other bits"] * stress.SEEDS)
    assert stress.main(["--only", "fork", "--times", "1"]) == 1
