"""Learning rates that change during a fit: functions of the step, which counts minibatches from 0.

Wherever an optimizer takes `learning_rate`, a float is a constant, one of these a schedule, and so is any function of
the step. They are computed one by one with the scalar functions of `math`: NumPy's vector versions differ in the last
bit from machine to machine, and the weights of a fit would too.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from kernels._lazy import cached_property

from . import validation

__all__ = [
    "Constant",
    "CosLog4",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "FlatCosine",
    "InverseTime",
    "Linear",
    "OneCycle",
    "Polynomial",
    "Step",
    "Warmup",
]

LearningRate = float | Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """`rate`, at every step."""

    rate: float

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", low=0.0)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return self.rate


@dataclass(frozen=True)
class Step:
    """`rate * factor**(step // every)`: drop at intervals.

    Examples
    --------
    >>> schedule = Step(0.1, every=100, factor=0.5)
    >>> schedule(99), schedule(100), schedule(200)
    (0.1, 0.05, 0.025)
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", low=0.0)
        validation.normalize(self, validation.integer, "every", low=1)
        validation.normalize(self, validation.number, "factor", low=0.0)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return self.rate * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Exponential:
    """`rate * factor**step`: shrink by the same factor at every step."""

    rate: float
    factor: float

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", "factor", low=0.0)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return float(self.rate * self.factor**step)


@dataclass(frozen=True)
class InverseTime:
    """`rate / (1 + decay * step)`: the decay of "Neural Networks from Scratch".

    Examples
    --------
    >>> InverseTime(0.05, decay=5e-7)(10000)
    0.04975124378109454
    """

    rate: float
    decay: float

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", "decay", low=0.0)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return self.rate / (1.0 + self.decay * step)


@dataclass(frozen=True)
class Linear:
    """Go from `rate` to `end` in `n_steps` equal steps, then stay. Without `n_steps` it spans the fit."""

    rate: float
    end: float = 0.0
    n_steps: int | None = None

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", "end", low=0.0)
        _check_steps(self)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        share = min(step / _known(self.n_steps), 1.0)
        return self.rate + (self.end - self.rate) * share


@dataclass(frozen=True)
class Cosine:
    """Warm up linearly to `rate`, then follow half a cosine to `end` at `n_steps`, and stay.

    Parameters
    ----------
    rate : float
        The highest rate.
    end : float
        The last one.
    warmup : int
        The number of steps at the start with rates `rate * (step + 1) / warmup`.
    n_steps : int, optional
        All steps, the warm-up included; without it the schedule spans the fit.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.

    Examples
    --------
    >>> schedule = Cosine(0.1, warmup=2, n_steps=12)
    >>> [round(schedule(step), 4) for step in (0, 1, 2, 7, 12)]
    [0.05, 0.1, 0.1, 0.05, 0.0]
    """

    rate: float
    end: float = 0.0
    warmup: int = 0
    n_steps: int | None = None

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", "end", low=0.0)
        validation.normalize(self, validation.integer, "warmup", low=0)
        _check_steps(self)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        return _half_cosine(self.rate, self.end, (step - self.warmup) / max(1, _known(self.n_steps) - self.warmup))


@dataclass(frozen=True)
class OneCycle:
    """Rise by half a cosine from `rate / start_factor` to `rate`, then fall to `rate / end_factor`.

    The top is at step `rise * n_steps - 1`, the end at `n_steps - 1`, as in PyTorch's `OneCycleLR` with `pct_start=rise`,
    `div_factor=start_factor` and `final_div_factor=end_factor / start_factor`; a single step has the highest rate.

    Parameters
    ----------
    rate : float
        The highest rate.
    rise : float
        The share of the steps that rises, from 0 to 1.
    start_factor, end_factor : float
        How many times smaller the first and the last rate are.
    n_steps : int, optional
        All steps; without it the schedule spans the fit.

    References
    ----------
    Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates, 2019.

    Examples
    --------
    >>> schedule = OneCycle(0.1, n_steps=100)
    >>> [round(schedule(step), 4) for step in (0, 29, 64, 99)]
    [0.004, 0.1, 0.05, 0.0]
    """

    rate: float
    rise: float = 0.3
    start_factor: float = 25.0
    end_factor: float = 1e5
    n_steps: int | None = None

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", low=0.0)
        validation.normalize(self, validation.number, "rise", low=0.0, below=1.0)
        validation.normalize(self, validation.positive, "start_factor", "end_factor")
        _check_steps(self)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        n_steps = _known(self.n_steps)
        top = self.rise * n_steps - 1.0
        if n_steps == 1:
            return self.rate
        if step < top:
            return _half_cosine(self.rate / self.start_factor, self.rate, step / top)
        return _half_cosine(self.rate, self.rate / self.end_factor, (step - top) / (n_steps - 1 - top))


@dataclass(frozen=True)
class Polynomial:
    """Go from `rate` to `end` as `end + (rate - end) * (1 - t)**power`, where `t` is the share of the steps that are done; then stay.

    Parameters
    ----------
    rate, end : float
        The first rate and the last one.
    power : float
        Above 0; 1 is `Linear`.
    n_steps : int, optional
        All steps; without it the schedule spans the fit.

    Examples
    --------
    >>> schedule = Polynomial(1.0, power=2, n_steps=4)
    >>> [schedule(step) for step in (0, 1, 2, 4)]
    [1.0, 0.5625, 0.25, 0.0]
    """

    rate: float
    end: float = 0.0
    power: float = 1.0
    n_steps: int | None = None

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", "end", low=0.0)
        validation.normalize(self, validation.positive, "power")
        _check_steps(self)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        left = 1.0 - min(step / _known(self.n_steps), 1.0)
        return float(self.end + (self.rate - self.end) * left**self.power)


@dataclass(frozen=True)
class CosineRestarts:
    """Follow half a cosine from `rate` to `end`, again and again, each time `factor` times as long.

    Parameters
    ----------
    rate, end : float
        The highest rate, with which every cycle starts, and the one that it comes to.
    period : int
        Steps of the first cycle.
    factor : float
        At least 1.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.

    Examples
    --------
    >>> schedule = CosineRestarts(1.0, period=2, factor=2)
    >>> [round(schedule(step), 4) for step in range(7)]
    [1.0, 0.5, 1.0, 0.8536, 0.5, 0.1464, 1.0]
    """

    rate: float
    period: int
    factor: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", "end", low=0.0)
        validation.normalize(self, validation.integer, "period", low=1)
        validation.normalize(self, validation.number, "factor", low=1.0)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        since, length = float(step), float(self.period)
        if self.factor == 1.0:
            since %= length
        while since >= length:
            since, length = since - length, length * self.factor
        return _half_cosine(self.rate, self.end, since / length)


@dataclass(frozen=True)
class FlatCosine:
    """Stay at `rate` for a share of the steps, then follow half a cosine to `end`.

    Parameters
    ----------
    rate, end : float
        The first rate and the last one.
    flat : float
        The share of the steps that stays, from 0, below 1.
    n_steps : int, optional
        All steps; without it the schedule spans the fit.

    References
    ----------
    Holzmueller, Grinsztajn and Steinwart, Better by default: strong pre-tuned MLPs and boosted trees on tabular data, NeurIPS 2024.

    Examples
    --------
    >>> schedule = FlatCosine(1.0, n_steps=8)
    >>> [round(schedule(step), 4) for step in (0, 4, 6, 8)]
    [1.0, 1.0, 0.5, 0.0]
    """

    rate: float
    end: float = 0.0
    flat: float = 0.5
    n_steps: int | None = None

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", "end", low=0.0)
        validation.normalize(self, validation.number, "flat", low=0.0, below=1.0)
        _check_steps(self)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        share = step / _known(self.n_steps)
        return _half_cosine(self.rate, self.end, max(0.0, share - self.flat) / (1.0 - self.flat))


@dataclass(frozen=True)
class CosLog4:
    """Go up and down four times, each time twice as long: `rate * (1 - cos(2 * pi * log2(1 + 15 * t))) / 2`, `t` the share of the steps.

    Parameters
    ----------
    rate : float
        The highest rate.
    n_steps : int, optional
        All steps; without it the schedule spans the fit.

    References
    ----------
    Holzmueller, Grinsztajn and Steinwart, Better by default: strong pre-tuned MLPs and boosted trees on tabular data, NeurIPS 2024.

    Examples
    --------
    >>> schedule = CosLog4(1.0, n_steps=15)
    >>> [round(schedule(step), 4) for step in (0, 1, 2, 3, 7, 15)]
    [0.0, 0.0, 0.9304, 0.0, 0.0, 0.0]
    """

    rate: float
    n_steps: int | None = None

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", low=0.0)
        _check_steps(self)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        share = min(step / _known(self.n_steps), 1.0)
        return self.rate * 0.5 * (1.0 - math.cos(2.0 * math.pi * math.log2(1.0 + 15.0 * share)))


@dataclass(frozen=True)
class Warmup:
    """Rise for `steps` steps to the first rate of another schedule, `rate * (step + 1) / steps`, then follow that one from its start.

    Parameters
    ----------
    schedule : float or function of the step
        What follows. One without `n_steps` spans the rest of the fit.
    steps : int
        Of the rise.
    n_steps : int, optional
        All steps; without it they are those of the fit.

    References
    ----------
    Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, arXiv 1706.02677.

    Examples
    --------
    >>> schedule = Warmup(Exponential(1.0, 0.5), steps=4)
    >>> [schedule(step) for step in range(7)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.25]
    """

    schedule: LearningRate
    steps: int
    n_steps: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", checked_rate(self.schedule))
        validation.normalize(self, validation.integer, "steps", low=1)
        _check_steps(self)

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        schedule = self._after
        if step >= self.steps:
            return float(schedule(step - self.steps))
        return float(schedule(0)) * (step + 1) / self.steps

    @cached_property
    def _after(self) -> Callable[[int], float]:
        """The schedule that follows."""
        schedule = self.schedule if callable(self.schedule) else Constant(self.schedule)
        return schedule if self.n_steps is None else cast(Callable[[int], float], spanning(schedule, max(1, self.n_steps - self.steps)))


def _half_cosine(start: float, end: float, share: float) -> float:
    """Return the point of a half cosine from `start` to `end` where `share` of the way is done."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


def _check_steps(schedule: Any) -> None:
    if schedule.n_steps is not None:
        validation.normalize(schedule, validation.integer, "n_steps", low=1)


def _known(n_steps: int | None) -> int:
    if n_steps is None:
        raise ValueError("n_steps must be given for a schedule that is used outside of fit; got None.")
    return n_steps


def checked_rate(learning_rate: Any, name: str = "learning_rate") -> LearningRate:
    """Return `learning_rate` if it is a number of at least 0 or a function of the step."""
    if isinstance(learning_rate, type):
        raise TypeError(f"{name} must be a number or a schedule with its numbers, such as Cosine(0.1); got {validation.shown(learning_rate)}.")
    return cast(LearningRate, learning_rate) if callable(learning_rate) else validation.number(name, learning_rate, 0.0)


def spanning(learning_rate: LearningRate, n_steps: int) -> LearningRate:
    """Return a schedule without `n_steps` as one over `n_steps`, anything else as it is."""
    schedule: Any = learning_rate
    if spans(schedule):
        schedule = dataclasses.replace(schedule, n_steps=n_steps)
    return cast(LearningRate, schedule)


def spans(schedule: Any) -> bool:
    """Return whether a schedule goes over as many steps as the fit has.

    Examples
    --------
    >>> spans(Cosine(0.1)), spans(Cosine(0.1, n_steps=9)), spans(Warmup(0.1, 3)), spans(Warmup(Cosine(0.1), 3))
    (True, False, False, True)
    """
    return getattr(schedule, "n_steps", 0) is None and (not isinstance(schedule, Warmup) or spans(schedule.schedule))


def rates(
    learning_rate: LearningRate,
    first_step: int,
    n_steps: int,
    name: str = "learning_rate",
    below: float = math.inf,
) -> NDArray[np.float64]:
    """Return the learning rates of the steps from `first_step` on, or others, of a `name`, that are `below` a number.

    Examples
    --------
    >>> rates(Step(1.0, every=2, factor=0.5), 0, 4)
    array([1. , 1. , 0.5, 0.5])
    """
    if not callable(learning_rate):
        return np.full(n_steps, learning_rate, dtype=np.float64)
    found: list[Any] = [learning_rate(step) for step in range(first_step, first_step + n_steps)]
    for step, rate in enumerate(found, first_step):
        if not (isinstance(rate, (float, numbers.Real)) or (hasattr(rate, "__float__") and np.ndim(rate) == 0)):
            raise TypeError(f"{name} must return a number; got {validation.shown(rate)} at step {step}.")
    values = np.array(found, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values < below)))
    if len(wrong):
        limit = "" if below == math.inf else f" and below {below:g}"
        raise ValueError(f"{name} must be a finite number of at least 0{limit}; got {values[wrong[0]]:g} at step {first_step + wrong[0]}.")
    return values


SCHEDULES: dict[str, Any] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "inverse_time": InverseTime,
    "linear": Linear,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "polynomial": Polynomial,
    "cosine_restarts": CosineRestarts,
    "flat_cosine": FlatCosine,
    "coslog4": CosLog4,
    "warmup": Warmup,
}


def settings(schedule: Any) -> dict[str, Any]:
    """Return a schedule as a dict for JSON: its name and its settings.

    Examples
    --------
    >>> settings(Exponential(0.1, 0.99))
    {'schedule': 'exponential', 'rate': 0.1, 'factor': 0.99}
    """
    for name, kind in SCHEDULES.items():
        if type(schedule) is kind:
            values = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(schedule)}
            if kind is Warmup:  # "schedule" is the name
                after = values.pop("schedule")
                values["after"] = settings(after) if callable(after) else after
            return {"schedule": name, **values}
    raise TypeError(f"a schedule that is saved must be one of fastnn.schedules; got {validation.shown(schedule)}. Files hold no code.")


def from_settings(saved: dict[str, Any]) -> Any:
    """Return the schedule of what `settings` returned."""
    values = dict(saved)
    kind = SCHEDULES[values.pop("schedule")]
    if kind is Warmup:
        after = values.pop("after")
        values["schedule"] = from_settings(after) if isinstance(after, dict) else after
    return kind(**values)
