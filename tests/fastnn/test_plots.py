import sys

import numpy as np
import pytest

from fastnn import Adam, Dense, Sequential
from fastnn.plots import BoundaryMovie, save_boundary, save_curves

HISTORY = {"loss": [1.2, 0.7, 0.5], "val_loss": [1.1, 0.8, 0.7], "val_accuracy": [0.6, 0.7, 0.8]}


def test_save_curves_writes_a_png_with_one_panel_a_quantity(tmp_path):
    pytest.importorskip("matplotlib")
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    save_curves({name: HISTORY[name] for name in ("loss", "val_loss")}, one)
    save_curves(HISTORY, two)
    heights = [int.from_bytes(path.read_bytes()[20:24], "big") for path in (one, two)]
    assert one.read_bytes().startswith(b"\x89PNG")
    assert heights[1] == 2 * heights[0]


def drawn(monkeypatch, tmp_path, history):
    """Return the labels in every panel of the picture of a history, by the panel's quantity."""
    figure = pytest.importorskip("matplotlib.figure")
    panels = {}

    def look(self, path, **settings):
        panels.update({panel.get_ylabel(): {line.get_label(): line.get_ydata().tolist() for line in panel.lines} for panel in self.axes})

    monkeypatch.setattr(figure.Figure, "savefig", look)
    save_curves(history, tmp_path / "curves.png")
    return panels


def test_curves_are_labelled_by_the_set_that_was_judged(monkeypatch, tmp_path):
    history = {"loss": [2.0, 1.0], "val_loss": [3.0, 2.0], "old_test_loss": [4.0, 4.0], "old_test_max_error": [9.0, 8.0], "learned": [0.0, 1.0]}
    assert drawn(monkeypatch, tmp_path, history) == {
        "loss": {"training": [2.0, 1.0], "validation": [3.0, 2.0], "old_test": [4.0, 4.0]},
        "max error": {"old_test": [9.0, 8.0]},
        "learned": {"training": [0.0, 1.0]},
    }


def test_save_curves_takes_what_fit_returns(monkeypatch, tmp_path):
    X, y = POINTS, np.array([0, 1, 1, 0])
    net = Sequential([Dense(2, "softmax")], n_features=2)
    history = net.fit(X, y, epochs=3, validation_data={"corners": (X, y)}, verbose=0)
    panels = drawn(monkeypatch, tmp_path, history)
    assert panels == {"loss": {"training": history["loss"], "corners": history["corners_loss"]}, "accuracy": {"corners": history["corners_accuracy"]}}


def test_save_curves_refuses_what_is_no_history(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(TypeError, match="^history must be a History, as fit returns it, or a mapping of names to values; got a list.$"):
        save_curves([0.5, 0.25], tmp_path / "curves.png")


def test_save_curves_refuses_an_empty_history(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="at least one finished epoch"):
        save_curves({"loss": []}, tmp_path / "curves.png")


def test_save_curves_names_the_extra_when_matplotlib_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn\[plot\]'"):
        save_curves(HISTORY, tmp_path / "curves.png")


POINTS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


def side(units, activation, weights):
    """Return a network whose outputs tell the sign of the first input, and know nothing of the second."""
    net = Sequential([Dense(units, activation)], n_features=2)
    net.set_weights([([weights, [0.0] * units], [0.0] * units)])
    return net


SIDES = {
    "softmax": ((2, "softmax", [-9.0, 9.0]), [0, 0, 1, 1]),
    "one output": ((1, "tanh", [9.0]), [-1, -1, 1, 1]),
    "classes": ((2, "identity", [-1.0, 1.0]), np.eye(2)[[0, 0, 1, 1]]),
}


def pixels(path):
    """Return a picture as an array of shape (height, width, 3)."""
    return np.asarray(pytest.importorskip("PIL.Image").open(path).convert("RGB"), dtype=int)


@pytest.mark.parametrize("network, y", SIDES.values(), ids=SIDES.keys())
def test_save_boundary_colours_each_side_by_its_class(network, y, tmp_path):
    pytest.importorskip("matplotlib")
    save_boundary(side(*network), POINTS, y, tmp_path / "sides.png")
    picture = pixels(tmp_path / "sides.png")
    left, right = picture[240, 130], picture[240, 400]
    assert left[0] > left[2] + 50  # orange
    assert right[2] > right[0] + 50  # blue


def test_save_boundary_is_paler_where_the_network_is_less_sure(tmp_path):
    pytest.importorskip("matplotlib")
    save_boundary(side(2, "softmax", [-1.0, 1.0]), POINTS, [0, 0, 1, 1], tmp_path / "sides.png")
    row = pixels(tmp_path / "sides.png")[240]
    assert row[270].min() > row[400].min() + 20


def test_save_boundary_refuses_what_has_no_plane(tmp_path):
    pytest.importorskip("matplotlib")
    net = Sequential([Dense(2, "softmax")], n_features=3)
    with pytest.raises(ValueError, match="network must have two inputs, the axes of the picture; got 3."):
        save_boundary(net, POINTS, [0, 0, 1, 1], tmp_path / "sides.png")
    with pytest.raises(ValueError, match="path must end in one of"):
        save_boundary(side(1, "tanh", [9.0]), POINTS, [0, 0, 1, 1], tmp_path / "sides.doc")


def test_boundary_movie_writes_a_frame_before_the_fit_and_one_every_so_many_epochs(tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    net = Sequential([Dense(8, "tanh"), Dense(2, "softmax")], n_features=2)
    movie = BoundaryMovie(POINTS, [0, 1, 1, 0], tmp_path / "xor.gif", every=10, fps=5)
    net.fit(POINTS, [0, 1, 1, 0], optimizer=Adam(0.05), epochs=35, verbose=0, callbacks=[movie])
    with Image.open(tmp_path / "xor.gif") as film:
        assert (film.n_frames, film.info["duration"]) == (5, 200)  # before epoch 1, after 10, 20, 30, and after the last
        first = np.asarray(film.convert("RGB"))
        film.seek(4)
        assert (first != np.asarray(film.convert("RGB"))).mean() > 0.1
    assert [path.name for path in tmp_path.iterdir()] == ["xor.gif"]


def test_a_movie_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.animation import PillowWriter

    path = tmp_path / "xor.gif"
    path.write_bytes(b"old")
    movie = BoundaryMovie(POINTS, [0, 1, 1, 0], path)
    movie.on_fit_begin(side(2, "softmax", [-9.0, 9.0]))
    monkeypatch.setattr(PillowWriter, "finish", lambda writer: open(writer.outfile, "wb").close() or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        movie.on_fit_end()
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["xor.gif"]


def test_boundary_movie_refuses_before_the_fit(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.animation import FFMpegWriter

    with pytest.raises(ValueError, match="path must end in .gif or .mp4; got 'xor.png'."):
        BoundaryMovie(POINTS, [0, 1, 1, 0], "xor.png")
    with pytest.raises(ValueError, match="path must lie in a folder that exists"):
        BoundaryMovie(POINTS, [0, 1, 1, 0], tmp_path / "none" / "xor.gif")
    monkeypatch.setattr(FFMpegWriter, "isAvailable", lambda: False)
    with pytest.raises(RuntimeError, match="needs the program ffmpeg: install it, or choose a path that ends in .gif."):
        BoundaryMovie(POINTS, [0, 1, 1, 0], tmp_path / "xor.mp4")


def test_boundary_movie_writes_an_mp4_where_ffmpeg_is_installed(tmp_path):
    animation = pytest.importorskip("matplotlib.animation")
    if not animation.FFMpegWriter.isAvailable():
        pytest.skip("ffmpeg is not installed")
    movie = BoundaryMovie(POINTS, [0, 1, 1, 0], tmp_path / "xor.mp4")
    movie.on_fit_begin(side(2, "softmax", [-9.0, 9.0]))
    movie.on_fit_end()
    assert (tmp_path / "xor.mp4").read_bytes()[4:8] == b"ftyp"
