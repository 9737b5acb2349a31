"""Pictures of a training run, drawn with matplotlib (extra `plot`) without a display."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["check_plot", "save_curves"]


def save_curves(history: Mapping[str, Sequence[float]], path: str | os.PathLike[str]) -> None:
    """Draw every quantity of a history over the epochs and write the picture to a file.

    The training and the validation curve of a quantity (`loss` and `val_loss`) share one panel.

    Parameters
    ----------
    history : mapping of str to sequence of float
        One value an epoch for each name: the attribute `history` of what `fit` returns.
    path : path
        The ending chooses the format: png, pdf, svg.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw, or the ending is unknown.

    Examples
    --------
    >>> from fastnn.plots import save_curves
    >>> save_curves({"loss": [1.2, 0.7, 0.5], "val_loss": [1.1, 0.8, 0.7]}, "curves.png")  # doctest: +SKIP
    """
    figure_class = _figure_class(path)
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history if len(history[name])))
    if not names:
        raise ValueError("history must hold at least one finished epoch; got none.")
    figure = figure_class(figsize=(6.4, 3.2 * len(names)), layout="constrained")
    for panel, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names):
        for label, curve in (("training", name), ("validation", f"val_{name}")):
            if curve in history:
                panel.plot(range(1, len(history[curve]) + 1), history[curve], marker="." if len(history[curve]) < 50 else "", label=label)
        panel.set_ylabel(name.replace("_", " "))
        panel.legend()
        panel.grid(alpha=0.3)
    panel.set_xlabel("epoch")
    figure.savefig(path, dpi=150)


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raise what `save_curves` would raise for this path, before there is anything to draw.

    Parameters
    ----------
    path : path
    """
    _figure_class(path)


def _figure_class(path: str | os.PathLike[str]) -> Any:
    """Return matplotlib's Figure, if it can write a file with this ending."""
    try:
        from matplotlib.figure import Figure  # a Figure of its own draws into files on any machine; pyplot would look for a display
    except ImportError:
        raise ImportError("Drawing curves needs the package matplotlib: pip install 'fastnn[plot]'.") from None
    endings = Figure().canvas.get_supported_filetypes()
    if Path(path).suffix.lower()[1:] not in endings:
        raise ValueError(f"plot must end in one of {', '.join('.' + ending for ending in endings)}; got {os.fspath(path)!r}.")
    return Figure
