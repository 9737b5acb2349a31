"""The optimizers: settings of an update rule, with PyTorch's defaults. The arithmetic is in `kernels.optimizers`.

An optimizer object holds no state: moments and velocities belong to the fit that uses them, so one object serves any
number of networks. `learning_rate` is a number, a schedule or any function of the step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import kernels

from . import validation
from .schedules import LearningRate, checked_rate


@dataclass(frozen=True)
class Optimizer:
    """What every optimizer has.

    Parameters
    ----------
    learning_rate : float or function of the step
        How far a step goes.
    weight_decay : float
        `weight_decay * w` is added to the gradient of every parameter `w` (AdamW: to the step).
    clip_norm : float, optional
        Before a step the gradient of all that is trained is multiplied by `clip_norm / (norm + 1e-6)` where that is
        below 1; the norm is the root of the sum of all squares. One that is not finite changes nothing: the loss after
        it ends the fit.
    clip_value : float, optional
        Before that, each number of the gradient is brought to the nearest in `[-clip_value, clip_value]`.

    Notes
    -----
    Clipped is the gradient of the loss with the penalties of the layers, without `weight_decay`, as by PyTorch's
    `clip_grad_norm_` and `clip_grad_value_`.

    References
    ----------
    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, ICML 2013.

    Examples
    --------
    >>> SGD(0.1, clip_norm=1, clip_value=0.5)
    SGD(learning_rate=0.1, weight_decay=0.0, clip_norm=1.0, clip_value=0.5)
    """

    learning_rate: LearningRate = 1e-3
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)

    rule: ClassVar[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", checked_rate(self.learning_rate))
        validation.normalize(self, validation.number, "weight_decay", low=0.0)
        given = [name for name in ("clip_norm", "clip_value") if getattr(self, name) is not None]
        validation.normalize(self, validation.positive, *given)

    def hyper(self) -> dict[str, float]:
        """Return the numbers of the rule by name."""
        return {name: getattr(self, name) for name in kernels.OPTIMIZERS[self.rule].hyper}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Go against the gradient: `w -= learning_rate * g`.

    Examples
    --------
    >>> SGD(learning_rate=-0.1)
    Traceback (most recent call last):
    ValueError: learning_rate must be a finite number of at least 0; got -0.1.
    """

    rule: ClassVar[int] = kernels.SGD


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Go against a running sum: `velocity = momentum * velocity + (1 - dampening) * g; w -= learning_rate * velocity`.

    Parameters
    ----------
    learning_rate, weight_decay, clip_norm, clip_value
        See `Optimizer`.
    momentum : float
        From 0, below 1.
    dampening : float
        From 0, below 1; the first step is not dampened.
    """

    momentum: float = 0.9
    dampening: float = 0.0

    rule: ClassVar[int] = kernels.MOMENTUM

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "momentum", "dampening", low=0.0, below=1.0)


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """Look ahead: `velocity = momentum * velocity + g; w -= learning_rate * (g + momentum * velocity)`.

    Parameters
    ----------
    learning_rate, weight_decay, clip_norm, clip_value
        See `Optimizer`.
    momentum : float
        From 0, below 1.
    """

    momentum: float = 0.9

    rule: ClassVar[int] = kernels.NESTEROV

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "momentum", low=0.0, below=1.0)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Divide by all that was: `total += g**2; w -= learning_rate / (1 + t * lr_decay) * g / (sqrt(total) + eps)`.

    Parameters
    ----------
    learning_rate, weight_decay, clip_norm, clip_value
        See `Optimizer`.
    lr_decay : float
        How fast the rate shrinks with the step `t`, counted from 0.
    eps : float
        Keeps the division finite: above 0, also in the network's dtype.

    References
    ----------
    Duchi, Hazan and Singer, Adaptive subgradient methods, JMLR 2011.
    """

    learning_rate: LearningRate = 1e-2
    lr_decay: float = 0.0
    eps: float = 1e-10

    rule: ClassVar[int] = kernels.ADAGRAD

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "lr_decay", low=0.0)
        validation.normalize(self, validation.positive, "eps")


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Divide by a running mean: `v = alpha * v + (1 - alpha) * g**2; w -= learning_rate * g / (sqrt(v) + eps)`.

    Parameters
    ----------
    learning_rate, weight_decay, clip_norm, clip_value
        See `Optimizer`.
    alpha : float
        How much of the mean stays, from 0, below 1.
    eps : float
        Keeps the division finite: above 0, also in the network's dtype.

    References
    ----------
    Hinton, Neural networks for machine learning, lecture 6e, 2012.
    """

    learning_rate: LearningRate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8

    rule: ClassVar[int] = kernels.RMSPROP

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "alpha", low=0.0, below=1.0)
        validation.normalize(self, validation.positive, "eps")


@dataclass(frozen=True)
class Adam(Optimizer):
    """Divide the mean of the gradient by the root of the mean of its square, both corrected for their start at zero.

    `m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2`, then with `t` counted from 1
    `w -= learning_rate * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)`.

    Parameters
    ----------
    learning_rate, weight_decay, clip_norm, clip_value
        See `Optimizer`.
    beta1, beta2 : float
        How much of the means stays, from 0, below 1.
    eps : float
        Keeps the division finite: above 0, also in the network's dtype.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015.

    Examples
    --------
    >>> Adam(beta1=1)
    Traceback (most recent call last):
    ValueError: beta1 must be a finite number of at least 0 and below 1; got 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    rule: ClassVar[int] = kernels.ADAM

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "beta1", "beta2", low=0.0, below=1.0)
        validation.normalize(self, validation.positive, "eps")


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with `w -= learning_rate * weight_decay * w` apart from the means.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """

    weight_decay: float = field(default=1e-2, kw_only=True)

    rule: ClassVar[int] = kernels.ADAMW


@dataclass(frozen=True)
class Rprop(Optimizer):
    """Go by the sign alone: a step size for each parameter, larger while the gradient keeps its sign, smaller where it turns.

    For full batches (`batch_size=None`): the sign of a minibatch's gradient turns too often. This is iRPROP-, as in
    PyTorch's Rprop and FANN.

    Parameters
    ----------
    learning_rate : float or function of the step
        The first step size; later values are not used.
    weight_decay, clip_norm, clip_value
        See `Optimizer`.
    eta_minus, eta_plus : float
        What a step size is multiplied by where the sign turned (above 0, below 1), and where it stayed (above 1).
    min_step, max_step : float
        Between which the step sizes stay.

    References
    ----------
    Igel and Huesken, Improving the Rprop learning algorithm, ICSC Symposium on Neural Computation 2000.
    """

    learning_rate: LearningRate = 1e-2
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    min_step: float = 1e-6
    max_step: float = 50.0

    rule: ClassVar[int] = kernels.RPROP

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "eta_minus", low=0.0, below=1.0)
        validation.normalize(self, validation.positive, "eta_minus")
        validation.normalize(self, validation.number, "eta_plus", low=1.0)
        if self.eta_plus == 1.0:
            raise ValueError("eta_plus must be above 1; got 1.")
        validation.normalize(self, validation.number, "min_step", low=0.0)
        validation.normalize(self, validation.number, "max_step", low=self.min_step)


@dataclass(frozen=True)
class Lion(Optimizer):
    """Go by the sign of a mean: `w -= learning_rate * sign(beta1 * m + (1 - beta1) * g); m = beta2 * m + (1 - beta2) * g`.

    `weight_decay` takes `learning_rate * weight_decay * w` away, as in `AdamW`. A learning rate suits that is 3 to 10 times
    smaller than Adam's.

    Parameters
    ----------
    learning_rate, weight_decay, clip_norm, clip_value
        See `Optimizer`.
    beta1, beta2 : float
        Share of the mean in the step, and how much of the mean stays: from 0, below 1.

    References
    ----------
    Chen et al., Symbolic discovery of optimization algorithms, arXiv 2302.06675.
    """

    learning_rate: LearningRate = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99

    rule: ClassVar[int] = kernels.LION

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.number("beta1", self.beta1, 0.0, 1.0)
        validation.number("beta2", self.beta2, 0.0, 1.0)


@dataclass(frozen=True)
class FullBatchOptimizer:
    """What the optimizers have that work on all rows together: SciPy's, over the flat vector of parameters (extra `scipy`).

    `epochs` of a fit is how many iterations they may take; each may look at the data several times. float64 lets them
    come closer to the minimum.

    Parameters
    ----------
    tolerance : float
        The fit ends when no element of the gradient is larger.
    """

    tolerance: float = 1e-6

    method: ClassVar[str]

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "tolerance", low=0.0)

    def options(self) -> dict[str, float]:
        """Return the options of SciPy's `minimize`."""
        return {"gtol": self.tolerance}


@dataclass(frozen=True)
class LBFGS(FullBatchOptimizer):
    """Follow a quasi-Newton direction, from the last gradients and steps: limited-memory BFGS.

    Parameters
    ----------
    tolerance
        See `FullBatchOptimizer`.
    history_size : int
        How many gradients and steps are remembered.

    References
    ----------
    Liu and Nocedal, On the limited memory BFGS method for large scale optimization, Math. Programming 1989.

    Examples
    --------
    >>> LBFGS(tolerance=-1)
    Traceback (most recent call last):
    ValueError: tolerance must be a finite number of at least 0; got -1.
    """

    history_size: int = 10

    method: ClassVar[str] = "L-BFGS-B"

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.integer, "history_size", low=1)

    def options(self) -> dict[str, float]:
        """Return the options of SciPy's `minimize`."""
        return {"gtol": self.tolerance, "ftol": 0.0, "maxcor": self.history_size, "maxfun": 10**9}


@dataclass(frozen=True)
class ConjugateGradient(FullBatchOptimizer):
    """Follow conjugate directions: nonlinear conjugate gradient of Polak and Ribiere.

    References
    ----------
    Nocedal and Wright, Numerical optimization, 2006, p. 120.
    """

    method: ClassVar[str] = "CG"


_STEPS = [*Optimizer.__subclasses__(), *Adam.__subclasses__()]
OPTIMIZERS: dict[str, Optimizer | FullBatchOptimizer] = {
    **{kernels.OPTIMIZERS[one.rule].name: one() for one in _STEPS},
    "lbfgs": LBFGS(),
    "conjugate_gradient": ConjugateGradient(),
}
if not TYPE_CHECKING:  # a type checker, which does not read tables, takes every name for public
    __all__ = sorted(type(one).__name__ for one in OPTIMIZERS.values())


def optimizer_for(optimizer: str | Optimizer | FullBatchOptimizer | None) -> Optimizer | FullBatchOptimizer:
    """Return the optimizer that is meant: by name, as it is, or Adam.

    Examples
    --------
    >>> optimizer_for("adma")
    Traceback (most recent call last):
    ValueError: optimizer must be one of 'sgd', 'momentum', ...; got 'adma'. Did you mean 'adam'?
    """
    kinds = (Optimizer, FullBatchOptimizer)
    chosen: Optimizer | FullBatchOptimizer = validation.setting("optimizer", "adam" if optimizer is None else optimizer, kinds, OPTIMIZERS)
    return chosen


def step_optimizer(optimizer: str | Optimizer | FullBatchOptimizer | None) -> Optimizer:
    """Return the optimizer that is meant, if it can take one step after the other."""
    chosen = optimizer_for(optimizer)
    if not isinstance(chosen, Optimizer):
        raise ValueError(f"optimizer must take single steps here, as 'adam' does; got {chosen}. Use it with fit.")
    return chosen
