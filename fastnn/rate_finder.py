"""How large a learning rate may be: a fit whose rate grows until the loss does."""

from __future__ import annotations

import contextlib
import copy
import math
from typing import Any

import numpy as np

from . import validation, watching
from .training import DivergedError
from .validation import Array


class LearningRateFinder:
    """Let the learning rate grow from `low` to `high`, by the same factor at every minibatch, and watch the loss.

    The loss is smoothed as `m = smoothing * m + (1 - smoothing) * loss`, divided by `1 - smoothing**n` after `n` minibatches. It
    ends when that is four times the least one since `1 / (1 - smoothing)` minibatches, or at `high`; where the least one is not above
    0, when it has grown from there by three times its size, or by three times its fall, whichever is more. As a callback of a fit
    it gives the network its parameters back at the end; `run` works on a copy.

    Parameters
    ----------
    low, high : float
        The first and the last rate.
    n_steps : int
        How many minibatches, at least 4. With fewer than 200 the noise of small ones may be taken for a fall.
    smoothing : float
        How much of the running mean of the loss stays, from 0, below 1.

    Attributes
    ----------
    rates, losses : list of float
        The rate of every minibatch, and the smoothed loss before its update.
    suggestion : float
        A fifth of the first rate, among the second half of them, where the smoothed loss has done four fifths of its fall there;
        NaN before there are four.

    References
    ----------
    Smith, Cyclical learning rates for training neural networks, WACV 2017. Gugger, How do you find a good learning rate, 2018
    (the smoothing and the end; there the suggestion is a tenth of the rate with the least loss).

    Examples
    --------
    >>> from fastnn import Dense, Sequential
    >>> X = np.linspace(-1, 1, 64).reshape(32, 2)
    >>> finder = LearningRateFinder().run(Sequential([Dense(1)], n_features=2), X, X.sum(axis=1), optimizer="sgd")
    >>> finder.low < finder.suggestion < finder.high
    True
    """

    def __init__(self, low: float = 1e-6, high: float = 10.0, n_steps: int = 200, smoothing: float = 0.95) -> None:
        self.low, self.high = validation.positive("low", low), validation.number("high", high, low)
        self.n_steps = validation.integer("n_steps", n_steps, 4)
        self.smoothing = validation.number("smoothing", smoothing, 0.0, 1.0)
        self.rates: list[float] = []
        self.losses: list[float] = []

    def run(self, network: Any, X: Any, y: Any, **settings: Any) -> LearningRateFinder:
        """Fit a copy of the network, with the settings of `fit` but `epochs`, and return the finder."""
        if "epochs" in settings:
            raise ValueError(f"epochs must be left out, for n_steps says how long it goes on; got {settings['epochs']}.")
        watchers = watching.check_callbacks(settings.pop("callbacks", None) or ())
        with contextlib.suppress(DivergedError):  # what came before says enough
            copy.deepcopy(network).fit(X, y, **{"verbose": 0, **settings, "epochs": self.n_steps, "callbacks": [*watchers, self]})
        return self

    @property
    def suggestion(self) -> float:
        """A fifth of the rate where the loss has done four fifths of its fall."""
        if len(self.losses) < 4:
            return math.nan
        # The steepest descent of the whole curve is noise in every other run; a tenth of the rate with the least loss is too
        # large where the loss comes down to 0, and stays there whatever the rate.
        half = len(self.losses) // 2
        losses = np.array(self.losses[half:])
        least = losses.min()
        return self.rates[half + int(np.argmax(losses <= least + 0.2 * (losses[0] - least)))] / 5.0

    def on_fit_begin(self, network: Any) -> None:
        """Forget the fit before."""
        self._network, self._parameters = network, network.parameters.copy()
        self.rates, self.losses, self._mean = [], [], 0.0

    def on_rates(self, step: int, rates: Array) -> None:
        """Set the rates."""
        rates[:] = [self._rate(len(self.rates) + i) for i in range(len(rates))]

    def _rate(self, step: int) -> float:
        return float(self.low * (self.high / self.low) ** (step / (self.n_steps - 1)))

    def on_batch_end(self, step: int, loss: float) -> bool:
        """Return True when the loss has grown, or all rates were tried."""
        self._mean = self.smoothing * self._mean + (1.0 - self.smoothing) * loss
        self.rates.append(self._rate(len(self.rates)))
        self.losses.append(self._mean / (1.0 - self.smoothing ** len(self.rates)))
        settled = round(1.0 / (1.0 - self.smoothing))  # means of fewer losses are noise
        least, largest = min(self.losses[settled:], default=math.inf), max(self.losses[:settled])
        size = least if least > 0 else max(-least, largest - least)
        return len(self.rates) == self.n_steps or self.losses[-1] > least + 3.0 * size

    def on_fit_end(self) -> None:
        """Give the network its parameters back."""
        self._network.parameters = self._parameters
