"""The optimizers: settings of an update rule, with PyTorch's defaults. The arithmetic is in `kernels.optimizers`.

An optimizer object holds no state: moments and velocities belong to the fit that uses them, so one object serves any
number of networks. `learning_rate` is a number, a schedule or any function of the step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import kernels

from . import validation
from .schedules import LearningRate, check_learning_rate


@dataclass(frozen=True)
class Optimizer:
    """What every optimizer has.

    Parameters
    ----------
    learning_rate : float or function of the step
        How far a step goes.
    weight_decay : float
        `weight_decay * w` is added to the gradient of every parameter `w` (AdamW: to the step).
    """

    learning_rate: LearningRate = 1e-3
    weight_decay: float = field(default=0.0, kw_only=True)

    rule: ClassVar[int]

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        validation.number("weight_decay", self.weight_decay, 0.0)

    def hyper(self) -> tuple[float, ...]:
        """Return the numbers of the rule in the order in which the network kernels read them."""
        return _hyper(weight_decay=self.weight_decay)


def _hyper(
    memory: float = 0.0, beta2: float = 0.0, eps: float = 0.0, weight_decay: float = 0.0, lr_decay: float = 0.0, dampening: float = 0.0
) -> tuple[float, ...]:
    return memory, beta2, eps, weight_decay, lr_decay, 0.0, dampening, 0.0


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
    learning_rate, weight_decay
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
        validation.number("momentum", self.momentum, 0.0, 1.0)
        validation.number("dampening", self.dampening, 0.0, 1.0)

    def hyper(self) -> tuple[float, ...]:
        """Return the numbers of the rule in the order in which the network kernels read them."""
        return _hyper(self.momentum, weight_decay=self.weight_decay, dampening=self.dampening)


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """Look ahead: `velocity = momentum * velocity + g; w -= learning_rate * (g + momentum * velocity)`.

    Parameters
    ----------
    learning_rate, weight_decay
        See `Optimizer`.
    momentum : float
        From 0, below 1.
    """

    momentum: float = 0.9

    rule: ClassVar[int] = kernels.NESTEROV

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.number("momentum", self.momentum, 0.0, 1.0)

    def hyper(self) -> tuple[float, ...]:
        """Return the numbers of the rule in the order in which the network kernels read them."""
        return _hyper(self.momentum, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Divide by all that was: `total += g**2; w -= learning_rate / (1 + t * lr_decay) * g / (sqrt(total) + eps)`.

    Parameters
    ----------
    learning_rate, weight_decay
        See `Optimizer`.
    lr_decay : float
        How fast the rate shrinks with the step `t`, counted from 0.
    eps : float
        Keeps the division finite.

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
        validation.number("lr_decay", self.lr_decay, 0.0)
        validation.number("eps", self.eps, 0.0)

    def hyper(self) -> tuple[float, ...]:
        """Return the numbers of the rule in the order in which the network kernels read them."""
        return _hyper(eps=self.eps, weight_decay=self.weight_decay, lr_decay=self.lr_decay)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Divide by a running mean: `v = alpha * v + (1 - alpha) * g**2; w -= learning_rate * g / (sqrt(v) + eps)`.

    Parameters
    ----------
    learning_rate, weight_decay
        See `Optimizer`.
    alpha : float
        How much of the mean stays, from 0, below 1.
    eps : float
        Keeps the division finite.

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
        validation.number("alpha", self.alpha, 0.0, 1.0)
        validation.number("eps", self.eps, 0.0)

    def hyper(self) -> tuple[float, ...]:
        """Return the numbers of the rule in the order in which the network kernels read them."""
        return _hyper(self.alpha, eps=self.eps, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Divide the mean of the gradient by the root of the mean of its square, both corrected for their start at zero.

    `m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2`, then with `t` counted from 1
    `w -= learning_rate * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)`.

    Parameters
    ----------
    learning_rate, weight_decay
        See `Optimizer`.
    beta1, beta2 : float
        How much of the means stays, from 0, below 1.
    eps : float
        Keeps the division finite.

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
        validation.number("beta1", self.beta1, 0.0, 1.0)
        validation.number("beta2", self.beta2, 0.0, 1.0)
        validation.number("eps", self.eps, 0.0)

    def hyper(self) -> tuple[float, ...]:
        """Return the numbers of the rule in the order in which the network kernels read them."""
        return _hyper(self.beta1, self.beta2, self.eps, self.weight_decay)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with `w -= learning_rate * weight_decay * w` apart from the means.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """

    weight_decay: float = field(default=1e-2, kw_only=True)

    rule: ClassVar[int] = kernels.ADAMW


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": Momentum(),
    "nesterov": Nesterov(),
    "adagrad": Adagrad(),
    "rmsprop": RMSprop(),
    "adam": Adam(),
    "adamw": AdamW(),
}


def optimizer_for(optimizer: str | Optimizer | None) -> Optimizer:
    """Return the optimizer that is meant: by name, as it is, or Adam.

    Examples
    --------
    >>> optimizer_for("adma")
    Traceback (most recent call last):
    ValueError: optimizer must be one of 'sgd', 'momentum', 'nesterov', 'adagrad', 'rmsprop', 'adam', 'adamw'; got 'adma'. Did you mean 'adam'?
    """
    chosen: Optimizer = validation.setting("optimizer", "adam" if optimizer is None else optimizer, Optimizer, OPTIMIZERS)
    return chosen
