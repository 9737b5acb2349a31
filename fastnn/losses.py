"""The losses: settings that say what is summed, averaged and compared. The arithmetic is in `kernels.losses`.

A loss adds up over the outputs of a row and over the rows of a batch. Each of the two is a sum or a mean, chosen
independently; the defaults are PyTorch's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

import kernels

from . import validation
from .custom import checked_name, checked_parameters
from .validation import Array

Reduction = Literal["mean", "sum"]
RowReduction = Literal["mean", "sum", "weighted_mean"]


@dataclass(frozen=True)
class Loss:
    """What every loss has: how it is reduced over rows, and over the outputs of a row.

    Parameters
    ----------
    reduction : {"mean", "sum", "weighted_mean"}
        Over the rows of a batch. A mean divides by their number, a weighted mean by the sum of their weights, as in
        scikit-learn; without weights the two are the same. A batch whose weights are all 0 has the loss 0.
    outputs_reduction : {"mean", "sum"}
        Over the outputs of a row.
    scale : float
        What the loss is multiplied by, above 0: `SquaredError(scale=0.5, outputs_reduction="sum")` is half the square
        of the distance.
    """

    reduction: RowReduction = field(default="mean", kw_only=True)
    outputs_reduction: Reduction = field(default="mean", kw_only=True)
    scale: float = field(default=1.0, kw_only=True)

    name: ClassVar[str]
    code: ClassVar[int]
    classification: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()  # the last activations it fits; none named: every one but softmax
    reason: ClassVar[str] = ""

    def __post_init__(self) -> None:
        validation.normalize(self, validation.choice, "reduction", choices=("mean", "sum", "weighted_mean"))
        validation.normalize(self, validation.choice, "outputs_reduction", choices=("mean", "sum"))
        validation.normalize(self, validation.positive, "scale")

    @property
    def threshold(self) -> float:
        """Where the square of the Huber loss ends; the kernels of the other losses do not read it."""
        return 1.0

    def scale_of_outputs(self, n_outputs: int) -> float:
        """Return what the sum over the outputs of a row is multiplied by."""
        return self.scale / n_outputs if self.outputs_reduction == "mean" else self.scale

    def check_targets(self, name: str, y: Any, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> Array:
        """Return targets in `dtype` if they are finite and fit the outputs."""
        return validation.value_targets(name, y, n_rows, n_outputs, dtype)

    def classes(self, y: Array) -> Array:
        """Return the class of each row of checked targets."""
        raise ValueError(f"class_weight must be left out where targets are not classes; got it with {self.name!r}.")

    def settings(self) -> dict[str, Any]:
        """Return what a file says of the loss."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def check_activation(self, activation: str) -> None:
        """Raise unless a network that ends with `activation` can be trained with this loss."""
        fits = activation in self.needs if self.needs else activation not in CrossEntropy.needs
        if not fits:
            raise ValueError(f"loss must fit the last activation, {activation!r}; got {self.name!r}. {self.reason}")


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Compare class probabilities: `-sum(target * log(softmax(Z)))`, for a network that ends with softmax.

    Targets are labels 0 to n - 1, or rows of probabilities (one-hot). By default the mean over rows of the sum over
    classes.

    Examples
    --------
    >>> CrossEntropy()
    CrossEntropy(reduction='mean', outputs_reduction='sum', scale=1.0)
    """

    outputs_reduction: Reduction = field(default="sum", kw_only=True)

    name: ClassVar[str] = "cross_entropy"
    code: ClassVar[int] = kernels.CROSS_ENTROPY
    classification: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("softmax", "log_softmax")
    reason: ClassVar[str] = "It compares probabilities that sum to 1: end with Dense(n, 'softmax')."

    def check_targets(self, name: str, y: Any, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> Array:
        """Return labels as int64, or rows of probabilities in `dtype`, if they are such."""
        return validation.class_targets(name, y, n_rows, n_outputs, dtype)

    def classes(self, y: Array) -> Array:
        """Return the label of each row, the most probable class."""
        return y if y.ndim == 1 else y.argmax(axis=1)


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Compare independent probabilities: `-(t * log(sigmoid(z)) + (1 - t) * log(1 - sigmoid(z)))`, after sigmoid.

    Targets lie from 0 to 1; several outputs are several labels a row. By default the mean over rows and outputs.
    """

    name: ClassVar[str] = "binary_cross_entropy"
    code: ClassVar[int] = kernels.BINARY_CROSS_ENTROPY
    classification: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("sigmoid",)
    reason: ClassVar[str] = "It compares probabilities, one for each output: end with Dense(n, 'sigmoid')."

    def check_targets(self, name: str, y: Any, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> Array:
        """Return targets in `dtype` if they lie from 0 to 1."""
        return validation.probability_targets(name, y, n_rows, n_outputs, dtype)

    def classes(self, y: Array) -> Array:
        """Return 0 or 1 for each row of a single output."""
        if y.shape[1] > 1:
            raise ValueError(f"class_weight must be left out where a row has several labels; got it with {y.shape[1]} outputs.")
        return (y[:, 0] >= 0.5).astype(np.int64)


@dataclass(frozen=True)
class SquaredError(Loss):
    """Compare numbers: `(a - t)**2`, by default the mean over rows and outputs."""

    name: ClassVar[str] = "squared_error"
    code: ClassVar[int] = kernels.SQUARED_ERROR
    reason: ClassVar[str] = "Softmax outputs are probabilities of classes: use 'cross_entropy'."


@dataclass(frozen=True)
class AbsoluteError(Loss):
    """Compare numbers: `abs(a - t)`, by default the mean over rows and outputs."""

    name: ClassVar[str] = "absolute_error"
    code: ClassVar[int] = kernels.ABSOLUTE_ERROR
    reason: ClassVar[str] = SquaredError.reason


@dataclass(frozen=True)
class Huber(Loss):
    """Compare numbers: `(a - t)**2 / 2` up to `delta`, `delta * (abs(a - t) - delta / 2)` beyond.

    Parameters
    ----------
    delta : float
        Where the square ends, above 0.
    reduction, outputs_reduction, scale
        See `Loss`.

    Examples
    --------
    >>> Huber(delta=0)
    Traceback (most recent call last):
    ValueError: delta must be above 0; got 0.
    """

    delta: float = 1.0

    name: ClassVar[str] = "huber"
    code: ClassVar[int] = kernels.HUBER
    reason: ClassVar[str] = SquaredError.reason

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.positive, "delta")

    @property
    def threshold(self) -> float:
        """Return `delta`."""
        return self.delta


@dataclass(frozen=True)
class LogCosh(Loss):
    """Compare numbers: `log(cosh(a - t))`, which is `(a - t)**2 / 2` near 0 and `abs(a - t) - log(2)` far from it."""

    name: ClassVar[str] = "log_cosh"
    code: ClassVar[int] = kernels.LOG_COSH
    reason: ClassVar[str] = SquaredError.reason


LOSSES: dict[str, Loss] = {one.name: one() for one in Loss.__subclasses__()}  # so far: all but one's own


@dataclass(frozen=True, repr=False)
class CustomLoss(Loss):
    """Compare numbers by a function of one's own of an output and a target, summed over the outputs.

    Parameters
    ----------
    f : function (a, t, *parameters)
        What an output a adds to the loss where the target is t; see `fastnn.Activation` for what it may be.
    gradient : function (a, t, *parameters)
        Its derivative with respect to a. `fastnn.check_gradient` tells whether it is right.
    parameters : sequence of float
        Numbers that both are given after a and t.
    name : str, optional
        What files call it; left out, the name of `f`.
    reduction, outputs_reduction, scale
        See `Loss`.

    Examples
    --------
    >>> CustomLoss(lambda a, t, p: abs(a - t) ** p, lambda a, t, p: p * (a - t) * abs(a - t) ** (p - 2), [4.0], name="quartic")
    CustomLoss(quartic, parameters=(4.0,))
    """

    f: Callable[..., Any]
    gradient: Callable[..., Any]
    parameters: Sequence[float] = ()
    name: str = field(default="", kw_only=True)  # type: ignore[misc]

    reason: ClassVar[str] = "A loss of one's own is a sum over outputs, softmax is not: end with another activation."

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "parameters", checked_parameters(self.parameters))
        object.__setattr__(self, "name", checked_name(self.name, self.f, list(LOSSES)))
        _ = self.code  # says what is wrong with the functions

    @property
    def code(self) -> kernels.Loss:  # type: ignore[override]
        """What the kernels calculate with."""
        return kernels.custom_loss(self.f, self.gradient, self.parameters, self.name)

    def settings(self) -> dict[str, Any]:
        """Return what a file says of the loss: no code."""
        return {name: getattr(self, name) for name in ("name", "parameters", "reduction", "outputs_reduction", "scale")}

    def __repr__(self) -> str:
        return f"CustomLoss({self.name}{f', parameters={self.parameters}' if self.parameters else ''})"


if not TYPE_CHECKING:  # a type checker, which does not read tables, takes every name for public
    __all__ = sorted(["CustomLoss", *(type(one).__name__ for one in LOSSES.values())])

DEFAULTS = {"softmax": "cross_entropy", "log_softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}


def loss_for(loss: str | Loss | None, activation: str) -> Loss:
    """Return the loss that is meant: by name, as it is, or the one that follows the last activation.

    Examples
    --------
    >>> loss_for(None, "softmax").name
    'cross_entropy'
    >>> loss_for("cross_entropy", "sigmoid")
    Traceback (most recent call last):
    ValueError: loss must fit the last activation, 'sigmoid'; got 'cross_entropy'. It compares probabilities that sum to 1: end with Dense(n, 'softmax').
    """
    chosen: Loss = validation.setting("loss", DEFAULTS.get(activation, "squared_error") if loss is None else loss, Loss, LOSSES)
    chosen.check_activation(activation)
    return chosen
