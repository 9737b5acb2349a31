"""Pictures of a training run, drawn with matplotlib (extra `plot`) without a display."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import validation
from .files import replace
from .history import History
from .metrics import quantity
from .validation import Array

if TYPE_CHECKING:
    from .network import Sequential

__all__ = ["BoundaryMovie", "check_plot", "save_boundary", "save_curves"]

PIXELS = 200  # of the decision regions, on either side
SHADES = 10  # between white and a colour: steps are seen as lines of equal output, and a GIF of them stays small
COLOURS = ("C1", "C0", "C2", "C3", "C4", "C5", "C6", "C8", "C9", "C7")


def save_curves(history: History | Mapping[str, Sequence[float]], path: str | os.PathLike[str]) -> None:
    """Draw every quantity of a history over the epochs and write the picture to a file.

    The curves of a quantity share one panel: that of the training (`loss`) and those of the sets that were judged, by their
    names (`val_loss`: validation, `test_loss`: test).

    Parameters
    ----------
    history : History, or mapping of str to sequence of float
        What `fit` returns, or one value an epoch for each name.
    path : path
        The ending chooses the format: png, pdf, svg.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If there is nothing to draw, or the ending is unknown.

    Examples
    --------
    >>> from fastnn.plots import save_curves
    >>> save_curves({"loss": [1.2, 0.7, 0.5], "val_loss": [1.1, 0.8, 0.7]}, "curves.png")  # doctest: +SKIP
    """
    figure_class = _figure_class(path)
    values = history.history if isinstance(history, History) else history
    if not isinstance(values, Mapping):
        raise TypeError(f"history must be a History, as fit returns it, or a mapping of names to values; got {validation.shown(history)}.")
    panels = _curves(values)
    if not panels:
        raise ValueError("history must hold at least one finished epoch; got none.")
    figure = figure_class(figsize=(6.4, 3.2 * len(panels)), layout="constrained")
    for panel, (measured, curves) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items()):
        for label, curve in curves.items():
            panel.plot(range(1, len(curve) + 1), curve, marker="." if len(curve) < 50 else "", label=label)
        panel.set_ylabel(measured.replace("_", " "))
        panel.legend()
        panel.grid(alpha=0.3)
    panel.set_xlabel("epoch")
    figure.savefig(path, dpi=150)


def _curves(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Sequence[float]]]:
    """Return the curves by quantity, then by label: the name of the judged set is what stands before that of the quantity."""
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for name, curve in values.items():
        measured = quantity(name).removeprefix("val_")
        judged = name.removesuffix(measured).removesuffix("_")
        if len(curve):
            panels.setdefault(measured, {})[{"": "training", "val": "validation"}.get(judged, judged)] = curve
    return panels


def save_boundary(network: Sequential, X: Any, y: Any, path: str | os.PathLike[str]) -> None:
    """Draw which outputs a network with two inputs gives where, the data on top, and write the picture to a file.

    Several outputs: the colour of the largest one, paler where softmax or sigmoid is less sure. One output: two colours,
    white halfway between the smallest and the largest target.

    Parameters
    ----------
    network : Sequential
        With two inputs.
    X : array of shape (n_rows, 2)
        The points.
    y : array
        Their labels of shape (n_rows,), or targets of shape (n_rows, n_outputs).
    path : path
        The ending chooses the format: png, pdf, svg.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the network does not have two inputs, the data do not fit it, or the ending is unknown.

    Examples
    --------
    >>> from fastnn import Dense, Sequential
    >>> from fastnn.plots import save_boundary
    >>> net = Sequential([Dense(8, "tanh"), Dense(2, "softmax")], n_features=2)
    >>> save_boundary(net, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], "xor.png")  # doctest: +SKIP
    """
    _figure_class(path, "path")
    plane = _Plane(network, X, y)
    plane.show(plane.regions())
    plane.figure.savefig(path, dpi=150)


class BoundaryMovie:
    """Film the decision boundary of a network with two inputs while it is trained: a callback for `fit`.

    It keeps a small picture before the first epoch, after every `every` epochs and after the last one, and writes the film when the fit
    ends, also after Ctrl-C: whole, or not at all.

    Parameters
    ----------
    X : array of shape (n_rows, 2)
        The points.
    y : array
        Their labels of shape (n_rows,), or targets of shape (n_rows, n_outputs).
    path : path
        Ends in .gif, or in .mp4 where the program ffmpeg is installed.
    every : int
        The number of epochs from frame to frame, at least 1.
    fps : int
        Frames a second, at least 1.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the ending is another one, or the data do not fit. `fit` raises it for a network without two inputs.
    RuntimeError
        If the ending is .mp4 and ffmpeg is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Dense, Sequential
    >>> from fastnn.plots import BoundaryMovie
    >>> X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    >>> net = Sequential([Dense(8, "tanh"), Dense(2, "softmax")], n_features=2)
    >>> net.fit(X, y, epochs=500, callbacks=[BoundaryMovie(X, y, "xor.gif", every=25)], verbose=0)  # doctest: +SKIP
    """

    def __init__(self, X: Any, y: Any, path: str | os.PathLike[str], every: int = 10, fps: int = 10) -> None:
        self.every = validation.integer("every", every, 1)
        self.fps = validation.integer("fps", fps, 1)
        self.path = Path(path)
        if self.path.suffix.lower() not in (".gif", ".mp4"):
            raise ValueError(f"path must end in .gif or .mp4; got {os.fspath(path)!r}.")
        if not self.path.parent.is_dir():
            raise ValueError(f"path must lie in a folder that exists; got {os.fspath(path)!r}.")
        _figure_class("frame.png", "path")
        self._writer()
        self._X, self._y = X, y

    def on_fit_begin(self, network: Sequential) -> None:
        """Keep the first picture."""
        self._plane = _Plane(network, self._X, self._y)
        self._frames = [(0, self._plane.regions())]

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Keep one more."""
        self._frames.append((epoch, self._plane.regions()))

    def on_fit_end(self) -> None:
        """Write the film."""
        writer, figure = self._writer(), self._plane.figure
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder, "film" + self.path.suffix.lower())
            with writer.saving(figure, part, dpi=figure.dpi):
                for epoch, regions in self._frames:
                    self._plane.show(regions, f"epoch {epoch}")
                    writer.grab_frame()
            replace(self.path, part.read_bytes())

    def _writer(self) -> Any:
        """Return matplotlib's writer for the ending."""
        from matplotlib.animation import FFMpegWriter, PillowWriter

        if self.path.suffix.lower() == ".gif":
            return PillowWriter(fps=self.fps)
        if not FFMpegWriter.isAvailable():
            raise RuntimeError("Writing an .mp4 needs the program ffmpeg: install it, or choose a path that ends in .gif.")
        return FFMpegWriter(fps=self.fps)


class _Plane:
    """A figure with points, and below them the regions into which a network divides the plane."""

    def __init__(self, network: Sequential, X: Any, y: Any) -> None:
        from matplotlib.figure import Figure

        if network.n_features != 2:
            raise ValueError(f"network must have two inputs, the axes of the picture; got {network.n_features}.")
        self._network = network
        points, targets = validation.not_empty("X", validation.matrix("X", X, 2)), validation.array("y", y)
        validation.same_rows("y", targets, len(points))
        self._low, self._high = float(targets.min()), float(targets.max())
        corners = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
        margin = 0.08 * np.maximum(corners[1] - corners[0], 1e-3)
        (left, bottom), (right, top) = corners[0] - margin, corners[1] + margin
        self._grid = np.stack(np.meshgrid(np.linspace(left, right, PIXELS), np.linspace(bottom, top, PIXELS)), axis=-1).reshape(-1, 2)
        self.figure = Figure(figsize=(3.2, 3.2), layout="constrained")
        self._axes = self.figure.subplots()
        blank = np.full((PIXELS, PIXELS, 3), 255, dtype=np.uint8)
        self._image = self._axes.imshow(blank, origin="lower", extent=(left, right, bottom, top), aspect="auto", interpolation="nearest")
        self._axes.scatter(points[:, 0], points[:, 1], c=_colours(self._classes(targets)), s=12, edgecolors="white", linewidths=0.5)

    def regions(self) -> Array:
        """Return an image of shape (PIXELS, PIXELS, 3): what the network gives at each point of the plane."""
        outputs = self._network.predict(self._grid)
        if self._network.n_outputs == 1:
            side = (2 * outputs - self._low - self._high) / max(self._high - self._low, 1e-3)
            sureness = np.minimum(np.abs(side), 1)
        elif self._network.last_activation in ("softmax", "sigmoid"):
            n = self._network.n_outputs
            sureness = np.maximum(n * outputs.max(axis=1, keepdims=True) - 1, 0) / (n - 1)
        else:
            sureness = np.ones((len(outputs), 1))
        paint = 0.7 * np.ceil(SHADES * sureness) / SHADES
        image: Array = (255 * (1 - paint * (1 - _colours(self._classes(outputs))))).astype(np.uint8)
        return image.reshape(PIXELS, PIXELS, 3)

    def show(self, regions: Array, title: str = "") -> None:
        """Put regions below the points, and a title above."""
        self._image.set_data(regions)
        self._axes.set_title(title, fontsize=9)

    def _classes(self, values: Array) -> Array:
        """Return a label for each row of outputs or targets: the column of the largest, or whether one lies above the middle."""
        labels: Array = values.reshape(-1)
        if values.ndim == 2 and values.shape[1] > 1:
            labels = values.argmax(axis=1)
        elif self._network.n_outputs == 1:
            labels = (labels > (self._low + self._high) / 2).astype(int)
        return labels


def _colours(labels: Array) -> Array:
    """Return the colour of each label, of shape (n, 3), from 0 to 1."""
    from matplotlib.colors import to_rgb

    colours: Array = np.array([to_rgb(name) for name in COLOURS])[labels % len(COLOURS)]
    return colours


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raise what `save_curves` would raise for this path, before there is anything to draw.

    Parameters
    ----------
    path : path
    """
    _figure_class(path)


def _figure_class(path: str | os.PathLike[str], name: str = "plot") -> Any:
    """Return matplotlib's Figure, if it can write a file with this ending."""
    try:
        from matplotlib.figure import Figure  # a Figure of its own draws into files on any machine; pyplot would look for a display
    except ImportError:
        raise ImportError("Drawing needs the package matplotlib: pip install 'fastnn[plot]'.") from None
    endings = Figure().canvas.get_supported_filetypes()
    if Path(path).suffix.lower()[1:] not in endings:
        raise ValueError(f"{name} must end in one of {', '.join('.' + ending for ending in endings)}; got {os.fspath(path)!r}.")
    return Figure
