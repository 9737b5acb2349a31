"""What a fit was like: the values of every epoch, and how it ended."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from . import validation

SHOWN = 60  # epochs that are printed: where there are more, the first and the last ones


class History:
    """What a fit was like.

    It is stored in 24 bytes an epoch; the lists are made when they are asked for. Printed, it is a table of the epochs; of more
    than 60 it shows the first and the last 30.

    Attributes
    ----------
    history : dict of str to list of float
        A value for each epoch of "loss" and, with validation data, of "val_loss", "val_accuracy", ...; NaN where a fit that
        was continued with other validation data or metrics did not judge it.
    epochs : list of int
        The epochs that were finished, counted from 1.
    seconds : list of float
        How long the training of each took, validation left out.
    interrupted : bool
        Whether Ctrl-C ended the fit.
    message : str
        Why L-BFGS or conjugate gradient ended, in SciPy's words.

    Examples
    --------
    >>> History({"loss": [0.5, 0.25]}, [1, 2], [0.1, 0.1])
    epoch      loss  seconds
        1       0.5     0.10
        2      0.25     0.10
    """

    def __init__(
        self,
        history: Mapping[str, Iterable[float]] | None = None,
        epochs: Iterable[int] = (),
        seconds: Iterable[float] = (),
        interrupted: bool = False,
        message: str = "",
    ) -> None:
        self._values = {name: array("d", values) for name, values in (history or {}).items()}
        self._epochs, self._seconds = array("q", epochs), array("d", seconds)
        self.interrupted, self.message = interrupted, message

    @property
    def history(self) -> dict[str, list[float]]:
        """The values of every quantity by its name."""
        return {name: values.tolist() for name, values in self._values.items()}

    @property
    def epochs(self) -> list[int]:
        """The epochs that were finished."""
        return self._epochs.tolist()

    @property
    def seconds(self) -> list[float]:
        """How long each epoch took."""
        return self._seconds.tolist()

    def last(self, name: str) -> float | None:
        """Return the last value of a quantity, None where there is none."""
        values = self._values.get(name)
        return values[-1] if values else None

    def arrays(self) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Return the seconds, and the values of every quantity by its name, as copies."""
        return np.array(self._seconds), {name: np.array(values) for name, values in self._values.items()}

    def add(self, losses: Iterable[float], logs: dict[str, float], seconds: float) -> int:
        """Add the losses of some epochs, what else is known of the last one, and the time that each took; return the last epoch.

        What is not known of an epoch, as of a quantity that only one of two fits has judged, is NaN.
        """
        stored, first = self._values.setdefault("loss", array("d")), len(self._epochs) + 1
        stored.extend(losses)
        self._epochs.extend(range(first, len(stored) + 1))
        self._seconds.extend(array("d", [seconds]) * (len(stored) + 1 - first))
        for name in dict.fromkeys([*self._values, *logs]):
            if name != "loss":
                values = self._values.setdefault(name, array("d"))
                values.extend(array("d", [math.nan]) * (len(stored) - 1 - len(values)))
                values.append(logs.get(name, math.nan))
        return len(stored)

    def __getitem__(self, name: str) -> list[float]:
        return self._values[validation.choice("name", name, self._values)].tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        names = list(self._values)
        widths = [max(8, len(name)) for name in names]
        lines = ["  ".join(["epoch", *(name.rjust(width) for name, width in zip(names, widths)), "seconds"])]
        for i, (epoch, seconds) in enumerate(zip(self._epochs, self._seconds)):
            if SHOWN // 2 <= i < len(self._epochs) - SHOWN // 2:
                lines += ["  ..."] if i == SHOWN // 2 else []
                continue
            cells = [f"{self._values[name][i]:.4g}".rjust(width) for name, width in zip(names, widths)]
            lines.append("  ".join([f"{epoch:5d}", *cells, f"{seconds:7.2f}"]))
        return "\n".join(lines + ["interrupted"] * self.interrupted)
