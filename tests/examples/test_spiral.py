"""Chapters 11, 14 and 15 of Neural Networks from Scratch."""

import pytest

from examples import spiral


def test_chapter_11_adam():
    net, X, y, (loss, accuracy, _, _) = spiral.train(11)
    assert loss == pytest.approx(0.074, abs=0.01)
    assert accuracy >= 0.95
    assert X.shape == (300, 2)


def test_chapter_14_adds_an_l2_penalty():
    net, _, _, (loss, accuracy, _, _) = spiral.train(14)
    assert loss == pytest.approx(0.217, abs=0.03)
    assert accuracy >= 0.92
    assert net.penalty == pytest.approx(0.060, abs=0.02)  # the book's share of the penalty in the loss


def test_chapter_15_adds_dropout(monkeypatch):
    monkeypatch.setattr(spiral, "STEPS", 1001)
    net, X, _, (loss, accuracy, _, _) = spiral.train(15)
    assert len(X) == 3000
    assert net.layers[1].rate == 0.1
    assert loss < 1.0
    assert accuracy > 0.55


@pytest.mark.parametrize("chapter", spiral.CHAPTERS)
def test_learning_rates_are_exact(chapter):
    assert spiral.CHAPTERS[chapter][-1](spiral.STEPS - 2) == spiral.PUBLISHED[chapter][2]


def test_the_picture_is_written(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(spiral, "STEPS", 100)
    spiral.main(str(tmp_path / "spiral.png"))
    assert (tmp_path / "spiral.png").read_bytes().startswith(b"\x89PNG")
    assert "0.0497512685" in capsys.readouterr().out
