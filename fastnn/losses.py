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
    not_standardized: ClassVar[str] = ""  # why targets may not be
    needs: ClassVar[tuple[str, ...]] = ()  # the last activations it fits; none named: every one but softmax
    reason: ClassVar[str] = ""

    def __post_init__(self) -> None:
        validation.normalize(self, validation.choice, "reduction", choices=("mean", "sum", "weighted_mean"))
        validation.normalize(self, validation.choice, "outputs_reduction", choices=("mean", "sum"))
        validation.normalize(self, validation.positive, "scale")

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return the numbers of the formula as the kernels take them, where it has some."""
        return ()

    def scale_of_outputs(self, n_outputs: int) -> float:
        """Return what the sum over the outputs of a row is multiplied by."""
        return self.scale / n_outputs if self.outputs_reduction == "mean" else self.scale

    def check_targets(self, name: str, y: Any, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> Array:
        """Return targets in `dtype` if they are finite and fit the outputs."""
        return validation.value_targets(name, y, n_rows, n_outputs, dtype)

    def for_outputs(self, y: Array) -> Array:
        """Return checked targets, of numbers, with a column for each output."""
        return y

    def predictions(self, outputs: Array) -> Array:
        """Return what of the outputs is compared with the targets by a metric."""
        return outputs

    def units(self, mean: Array, std: Array) -> tuple[Array, Array]:
        """Return shift and factor that bring outputs to the units of targets with these means and deviations."""
        return mean, std

    def classes(self, y: Array) -> Array:
        """Return the class of each row of checked targets."""
        raise ValueError(f"class_weight must be left out where targets are not classes; got it with {self.name!r}.")

    def settings(self) -> dict[str, Any]:
        """Return what a file says of the loss."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def check_activation(self, activation: str) -> None:
        """Raise unless a network that ends with `activation` can be trained with this loss."""
        fits = activation in self.needs if self.needs else activation not in ClassLoss.needs
        if not fits:
            raise ValueError(f"loss must fit the last activation, {activation!r}; got {self.name!r}. {self.reason}")


@dataclass(frozen=True)
class ClassLoss(Loss):
    """What the losses have that compare class probabilities, for a network that ends with softmax.

    Targets are labels 0 to n - 1, or rows of probabilities (one-hot). By default the mean over rows of the sum over
    classes.
    """

    outputs_reduction: Reduction = field(default="sum", kw_only=True)

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
class CrossEntropy(ClassLoss):
    """Compare class probabilities: `-sum(target * log(softmax(Z)))`, for a network that ends with softmax.

    Targets are labels 0 to n - 1, or rows of probabilities (one-hot). By default the mean over rows of the sum over
    classes.

    Parameters
    ----------
    label_smoothing : float
        From 0, below 1: `(1 - label_smoothing) * target + label_smoothing / n` is compared in place of the target.
    reduction, outputs_reduction, scale
        See `Loss`.

    References
    ----------
    Szegedy et al., Rethinking the inception architecture for computer vision, CVPR 2016.

    Examples
    --------
    >>> CrossEntropy(label_smoothing=0.1)
    CrossEntropy(reduction='mean', outputs_reduction='sum', scale=1.0, label_smoothing=0.1)
    """

    label_smoothing: float = 0.0

    name: ClassVar[str] = "cross_entropy"
    code: ClassVar[int] = kernels.CROSS_ENTROPY

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "label_smoothing", low=0.0, below=1.0)

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return `label_smoothing`."""
        return (self.label_smoothing,)


@dataclass(frozen=True)
class Focal(ClassLoss):
    """Compare class probabilities, certain ones less: `-sum(target * (1 - p)**gamma * log(p))`, `p = softmax(Z)`.

    Parameters
    ----------
    gamma : float
        At least 0, where it is cross-entropy. `class_weight` of a fit is the alpha of the paper.
    reduction, outputs_reduction, scale
        See `Loss`.

    References
    ----------
    Lin et al., Focal loss for dense object detection, ICCV 2017.
    """

    gamma: float = 2.0

    name: ClassVar[str] = "focal"
    code: ClassVar[int] = kernels.FOCAL

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "gamma", low=0.0)

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return `gamma`."""
        return (self.gamma,)


@dataclass(frozen=True)
class LabelLoss(Loss):
    """What the losses have whose targets lie from 0 to 1, one for each output; several outputs are several labels a row."""

    classification: ClassVar[bool] = True
    not_standardized: ClassVar[str] = "It compares classes."
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
class BinaryCrossEntropy(LabelLoss):
    """Compare independent probabilities: `-(t * log(sigmoid(z)) + (1 - t) * log(1 - sigmoid(z)))`, after sigmoid.

    Targets lie from 0 to 1; several outputs are several labels a row. By default the mean over rows and outputs.
    """

    name: ClassVar[str] = "binary_cross_entropy"
    code: ClassVar[int] = kernels.BINARY_CROSS_ENTROPY


@dataclass(frozen=True)
class BinaryFocal(LabelLoss):
    """Compare independent probabilities, certain ones less: cross-entropy times `abs(t - sigmoid(z))**gamma`, after sigmoid.

    That is so for targets 0 and 1; between them the power is of `p + t - 2 * p * t`, `p = sigmoid(z)`.

    Parameters
    ----------
    gamma : float
        At least 0, where it is binary cross-entropy. `class_weight` of a fit is the alpha of the paper.
    reduction, outputs_reduction, scale
        See `Loss`.

    References
    ----------
    Lin et al., Focal loss for dense object detection, ICCV 2017.
    """

    gamma: float = 2.0

    name: ClassVar[str] = "binary_focal"
    code: ClassVar[int] = kernels.BINARY_FOCAL

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "gamma", low=0.0)

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return `gamma`."""
        return (self.gamma,)


@dataclass(frozen=True)
class Hinge(LabelLoss):
    """Keep outputs on their side, beyond 1: `max(1 - s * a, 0)`, `s = 2 * t - 1` for targets 0 and 1.

    Outputs above 0 mean 1. By default the mean over rows and outputs.
    """

    name: ClassVar[str] = "hinge"
    code: ClassVar[int] = kernels.HINGE
    needs: ClassVar[tuple[str, ...]] = ("identity", "tanh", "softsign")
    reason: ClassVar[str] = "It goes by the sign of each output: end with Dense(n)."

    def predictions(self, outputs: Array) -> Array:
        """Return 0 for -1, 1 for 1: the metrics decide at 0.5."""
        return 0.5 * outputs + 0.5


@dataclass(frozen=True)
class SquaredHinge(Hinge):
    """Keep outputs on their side, beyond 1: `max(1 - s * a, 0)**2`, `s = 2 * t - 1` for targets 0 and 1; see `Hinge`."""

    name: ClassVar[str] = "squared_hinge"
    code: ClassVar[int] = kernels.SQUARED_HINGE


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
    def numbers(self) -> tuple[float, ...]:
        """Return `delta`."""
        return (self.delta,)


@dataclass(frozen=True)
class LogCosh(Loss):
    """Compare numbers: `log(cosh(a - t))`, which is `(a - t)**2 / 2` near 0 and `abs(a - t) - log(2)` far from it."""

    name: ClassVar[str] = "log_cosh"
    code: ClassVar[int] = kernels.LOG_COSH
    reason: ClassVar[str] = SquaredError.reason


@dataclass(frozen=True)
class Poisson(Loss):
    """Compare counts with their mean: `exp(z) - t * z`, for a network that ends with "exponential", whose outputs are `exp(z)`.

    Targets are at least 0.

    Parameters
    ----------
    deviance : bool
        Whether `t * log(t) - t` is added, what makes it half the Poisson deviance, as in scikit-learn, and 0 at best.
    reduction, outputs_reduction, scale
        See `Loss`.
    """

    deviance: bool = False

    name: ClassVar[str] = "poisson"
    code: ClassVar[int] = kernels.POISSON
    needs: ClassVar[tuple[str, ...]] = ("exponential",)
    reason: ClassVar[str] = "It compares with a mean above 0: end with Dense(n, 'exponential')."

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.flag, "deviance")

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return the factor of the constant part."""
        return (float(self.deviance),)

    def check_targets(self, name: str, y: Any, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> Array:
        """Return targets if they are at least 0."""
        A = validation.value_targets(name, y, n_rows, n_outputs, dtype)
        validation.inside(name, A, 0, np.inf, "be at least 0 for this loss")
        return A


@dataclass(frozen=True)
class Quantile(Loss):
    """Find a quantile: `max(q * d, (q - 1) * d)`, `d = t - a`; the pinball loss.

    Parameters
    ----------
    quantile : float
        The share of the targets that lie below what is predicted, above 0 and below 1; 0.5 is half `AbsoluteError`.
    reduction, outputs_reduction, scale
        See `Loss`.

    References
    ----------
    Koenker and Bassett, Regression quantiles, Econometrica 46 (1978).

    Examples
    --------
    >>> Quantile(1.0)
    Traceback (most recent call last):
    ValueError: quantile must be a finite number of at least 0 and below 1; got 1.
    """

    quantile: float = 0.5

    name: ClassVar[str] = "quantile"
    code: ClassVar[int] = kernels.QUANTILE
    reason: ClassVar[str] = SquaredError.reason

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "quantile", low=0.0, below=1.0)
        validation.normalize(self, validation.positive, "quantile")

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return `quantile`."""
        return (self.quantile,)


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """Find a mean and a variance: `(s + (mean - t)**2 / exp(s)) / 2`, the negative logarithm of a normal density.

    The network has two outputs for each target: first all means, then all `s`, the logarithms of the variances. Targets have
    one column for each mean, which is also what metrics judge. `Standardize(targets=True)` gives both in the units of the
    targets: its mean and std of the columns of `s` are `2 * log(std)` of the targets, and 1. The loss is that of standardized ones.

    Parameters
    ----------
    eps : float
        The least variance, above 0.
    reduction, outputs_reduction, scale
        See `Loss`; the outputs that are summed are the targets.

    References
    ----------
    Nix and Weigend, Estimating the mean and variance of the target probability distribution, ICNN 1994.
    """

    eps: float = 1e-6

    name: ClassVar[str] = "gaussian_nll"
    code: ClassVar[int] = kernels.GAUSSIAN_NLL
    needs: ClassVar[tuple[str, ...]] = ("identity",)
    reason: ClassVar[str] = "It needs means and logarithms of variances, any numbers: end with Dense(2 * n)."

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.positive, "eps")

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return `eps`."""
        return (self.eps,)

    def scale_of_outputs(self, n_outputs: int) -> float:
        """Return what the sum over the targets of a row is multiplied by."""
        return super().scale_of_outputs(n_outputs // 2)

    def check_targets(self, name: str, y: Any, n_rows: int, n_outputs: int, dtype: np.dtype[Any]) -> Array:
        """Return targets in `dtype`, of half as many columns as there are outputs."""
        if n_outputs % 2:
            raise ValueError(f"layers must end with a mean and a variance for each target of {self.name!r}; got {n_outputs} outputs.")
        return validation.value_targets(name, y, n_rows, n_outputs // 2, dtype)

    def for_outputs(self, y: Array) -> Array:
        """Return the targets and beside them columns of zeros, which are not read."""
        return np.concatenate([y, np.zeros_like(y)], axis=1)

    def predictions(self, outputs: Array) -> Array:
        """Return the means."""
        return outputs[:, : outputs.shape[1] // 2]

    def units(self, mean: Array, std: Array) -> tuple[Array, Array]:
        """Return also what is added to the logarithms of variances; for constant targets the least that a variance may be."""
        shifts = 2 * np.log(np.where(std > 0, std, np.finfo(np.float64).tiny ** 0.5))
        return np.concatenate([mean, shifts]), np.concatenate([std, np.ones_like(std)])


LOSSES: dict[str, Loss] = {
    one.name: one()
    for one in (
        CrossEntropy,
        BinaryCrossEntropy,
        SquaredError,
        AbsoluteError,
        Huber,
        LogCosh,
        Focal,
        BinaryFocal,
        Hinge,
        SquaredHinge,
        Poisson,
        Quantile,
        GaussianNLL,
    )
}


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

DEFAULTS = {"softmax": "cross_entropy", "log_softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "exponential": "poisson"}


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
