"""Formulas of scikit-learn's networks where they are not PyTorch's: an update rule and two losses.

They have no code and no public kernel: whoever wants scikit-learn's numbers hands them to `Trainer` and `Objective`.
"""

from __future__ import annotations

import numpy as np

from . import _math
from ._bits import like
from ._factory import Loss, Rule
from ._jit import inline
from .adaptive import _adam, _power

__all__ = ["ADAM", "POISSON", "squares"]


@inline
def _adam_numbers(h, learning_rate, step):
    """Return the numbers of `_adam` with eps beside the root of an uncorrected v, as Kingma and Ba in section 2."""
    rate = learning_rate * np.sqrt(1.0 - _power(h.beta2, step)) / (1.0 - _power(h.beta1, step))
    return rate, 1.0, h.beta1, h.beta2, h.eps, 0.0, 1.0


ADAM = Rule(
    "scikit_adam",
    ("m", "v"),
    {"beta1": "what stays of m", "beta2": "what stays of v", "eps": "keeps the division finite"},
    _adam_numbers,
    _adam,
)


@inline
def _squares_pair(a, t, share):
    """Return (share * (a - t)**2 / 2, a - t): the loss is a mean over outputs, its gradient that of their sum."""
    d = a - t
    return like(a, 0.5) * like(a, share) * (d * d), d


@inline
def _poisson_pair(a, t):
    """Return half the deviance (t * log(t / e**a) - t + e**a, e**a - t) of counts t, with e**a their mean."""
    zero = like(a, 0.0)
    mean = _math.exp(a)
    saturated = t * (_math.log(t) - like(a, 1.0)) if t > zero else zero
    return saturated + (mean - t * a), mean - t


def squares(n_outputs: int) -> Loss:
    """Return half the squared error of a row as scikit-learn has it."""
    return Loss("scikit_squares", _squares_pair, (1.0 / n_outputs,))


POISSON = Loss("scikit_poisson", _poisson_pair)
