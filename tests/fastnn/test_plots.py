import sys

import pytest

from fastnn.plots import save_curves

HISTORY = {"loss": [1.2, 0.7, 0.5], "val_loss": [1.1, 0.8, 0.7], "val_accuracy": [0.6, 0.7, 0.8]}


def test_save_curves_writes_a_png_with_one_panel_a_quantity(tmp_path):
    pytest.importorskip("matplotlib")
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    save_curves({name: HISTORY[name] for name in ("loss", "val_loss")}, one)
    save_curves(HISTORY, two)
    heights = [int.from_bytes(path.read_bytes()[20:24], "big") for path in (one, two)]
    assert one.read_bytes().startswith(b"\x89PNG")
    assert heights[1] == 2 * heights[0]


def test_save_curves_refuses_an_empty_history(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="at least one finished epoch"):
        save_curves({"loss": []}, tmp_path / "curves.png")


def test_save_curves_names_the_extra_when_matplotlib_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn\[plot\]'"):
        save_curves(HISTORY, tmp_path / "curves.png")
