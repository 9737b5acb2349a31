"""The optimizers: settings of an update rule, with PyTorch's defaults. The arithmetic is in `kernels.optimizers`.

An optimizer object holds no state: moments and velocities belong to the fit that uses them, so one object serves any
number of networks. `learning_rate` is a number, a schedule or any function of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

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
    weight_decay : float or function of the step
        `weight_decay * w` is added to the gradient of every parameter `w` (AdamW, Lion: to the step). A schedule, as the learning
        rate may be.
    decay_bias : bool
        Whether that is so for biases too, and for gains and biases of norms: what has one number for a column.
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
    SGD(learning_rate=0.1, weight_decay=0.0, clip_norm=1.0, clip_value=0.5, decay_bias=True)
    """

    learning_rate: LearningRate = 1e-3
    weight_decay: LearningRate = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)
    decay_bias: bool = field(default=True, kw_only=True)

    rule: ClassVar[Any]  # of kernels: a code, or what custom_rule returns

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", checked_rate(self.learning_rate))
        object.__setattr__(self, "weight_decay", checked_rate(self.weight_decay, "weight_decay"))
        validation.normalize(self, validation.flag, "decay_bias")
        given = [name for name in ("clip_norm", "clip_value") if getattr(self, name) is not None]
        validation.normalize(self, validation.positive, *given)

    @property
    def _record(self) -> kernels.Rule:
        return self.rule if isinstance(self.rule, kernels.Rule) else kernels.OPTIMIZERS[self.rule]

    @property
    def n_buffers(self) -> int:
        """The number of arrays of the size of the parameters that it remembers."""
        return len(self._record.buffers)

    def hyper(self) -> dict[str, float]:
        """Return the numbers of the rule by name; 0 for one that has a schedule."""
        values = {name: getattr(self, name) for name in self._record.hyper}
        return {name: 0.0 if callable(value) else value for name, value in values.items()}


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
    momentum : float
        From 0, below 1: `velocity = momentum * velocity + g / (sqrt(v) + eps); w -= learning_rate * velocity`.
    centered : bool
        Whether the square of a running mean of `g` is taken from `v` under the root.

    References
    ----------
    Hinton, Neural networks for machine learning, lecture 6e, 2012. Graves, Generating sequences with recurrent neural
    networks, arXiv 1308.0850.
    """

    learning_rate: LearningRate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    @property
    def rule(self) -> int:
        """The rule of `kernels`: each with the arrays that it needs."""
        if self.centered:
            return kernels.RMSPROP_CENTERED
        return kernels.RMSPROP_MOMENTUM if self.momentum else kernels.RMSPROP

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "alpha", "momentum", low=0.0, below=1.0)
        validation.normalize(self, validation.flag, "centered")
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
    amsgrad : bool
        Whether `v` under the root is the largest so far.

    References
    ----------
    Reddi, Kale and Kumar, On the convergence of Adam and beyond, ICLR 2018. Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015.

    Examples
    --------
    >>> Adam(beta1=1)
    Traceback (most recent call last):
    ValueError: beta1 must be a finite number of at least 0 and below 1; got 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    amsgrad: bool = False

    rules: ClassVar[tuple[int, int]] = kernels.ADAM, kernels.AMSGRAD

    @property
    def rule(self) -> int:
        """The rule of `kernels`."""
        return self.rules[self.amsgrad]

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "beta1", "beta2", low=0.0, below=1.0)
        validation.normalize(self, validation.positive, "eps")
        validation.normalize(self, validation.flag, "amsgrad")


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with `w -= learning_rate * weight_decay * w` apart from the means.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """

    weight_decay: LearningRate = field(default=1e-2, kw_only=True)

    rules: ClassVar[tuple[int, int]] = kernels.ADAMW, kernels.AMSGRADW


@dataclass(frozen=True)
class Nadam(Optimizer):
    """Adam with a look ahead: the momentum of the next step is in this one, as in `Nesterov`.

    `w -= learning_rate * ((1 - mu) / (1 - product) * g + next / (1 - product * next) * m) / (sqrt(v / (1 - beta2**t)) + eps)`
    with the means `m` and `v` of `Adam`, `mu = beta1 * (1 - 0.96**(t * momentum_decay) / 2)`, `next` that of the next
    step and `product` that of all so far.

    Parameters
    ----------
    learning_rate, weight_decay, clip_norm, clip_value
        See `Optimizer`.
    beta1, beta2 : float
        How much of the means stays, from 0, below 1.
    momentum_decay : float
        How fast `mu` comes to `beta1`, at least 0.
    eps : float
        Keeps the division finite: above 0, also in the network's dtype.

    References
    ----------
    Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.
    """

    learning_rate: LearningRate = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    momentum_decay: float = 4e-3
    eps: float = 1e-8

    rule: ClassVar[int] = kernels.NADAM

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "beta1", "beta2", low=0.0, below=1.0)
        validation.normalize(self, validation.number, "momentum_decay", low=0.0)
        validation.normalize(self, validation.positive, "eps")


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam whose steps are shortened as long as `v` knows few gradients, and not divided by its root at the very first.

    With `n = 2 / (1 - beta2) - 1` and `k = n - 2 * t * beta2**t / (1 - beta2**t)` the step of Adam is multiplied by the root of
    `(k - 4) * (k - 2) * n / ((n - 4) * (n - 2) * k)`; where `k` is at most 5, `w -= learning_rate * m / (1 - beta1**t)`.

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
    Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    rule: ClassVar[int] = kernels.RADAM

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "beta1", "beta2", low=0.0, below=1.0)
        validation.normalize(self, validation.positive, "eps")


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Step in the units of past steps: `s = sqrt(steps + eps) / sqrt(v + eps) * g; w -= learning_rate * s`.

    `v = rho * v + (1 - rho) * g**2` before and `steps = rho * steps + (1 - rho) * s**2` after.

    Parameters
    ----------
    learning_rate, weight_decay, clip_norm, clip_value
        See `Optimizer`.
    rho : float
        How much of the means stays, from 0, below 1.
    eps : float
        Gives the first steps their size: above 0, also in the network's dtype.

    References
    ----------
    Zeiler, Adadelta: an adaptive learning rate method, arXiv 1212.5701.
    """

    learning_rate: LearningRate = 1.0
    rho: float = 0.9
    eps: float = 1e-6

    rule: ClassVar[int] = kernels.ADADELTA

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.normalize(self, validation.number, "rho", low=0.0, below=1.0)
        validation.normalize(self, validation.positive, "eps")


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
        validation.normalize(self, validation.number, "beta1", "beta2", low=0.0, below=1.0)


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


_STEPS = [*Optimizer.__subclasses__(), *Adam.__subclasses__()]  # so far: all but one's own
OPTIMIZERS: dict[str, Optimizer | FullBatchOptimizer] = {
    **{kernels.OPTIMIZERS[one().rule].name: one() for one in _STEPS},
    "lbfgs": LBFGS(),
    "conjugate_gradient": ConjugateGradient(),
}


@dataclass(frozen=True, repr=False)
class CustomOptimizer(Optimizer):
    """Step by a rule of one's own: a function of one weight.

    It is compiled when it is first used, and vectorized.

    Parameters
    ----------
    f : function (w, g, *buffers, learning_rate, step, *numbers)
        Return the new w; with buffers a tuple of the new w and the new buffers. A plain function of what Numba can compile, or
        one with `@njit`. Numbers come in the network's dtype, the step counted from 1. Where w, g and the buffers are 0 it must
        leave 0.
    buffers : sequence of str
        Names of at most three arrays of the size of the parameters, zeros at first.
    numbers : dict of str to float
        The numbers of the rule by name, in the order in which `f` takes them.
    learning_rate, clip_norm, clip_value
        See `Optimizer`. `weight_decay` stays 0: it is part of `f`.

    Examples
    --------
    >>> def heavy_ball(w, g, velocity, learning_rate, step, momentum):
    ...     velocity = momentum * velocity - learning_rate * g
    ...     return w + velocity, velocity
    >>> CustomOptimizer(heavy_ball, ["velocity"], {"momentum": 0.9}, learning_rate=0.1)
    CustomOptimizer(heavy_ball, learning_rate=0.1, momentum=0.9)
    """

    f: Callable[..., Any]
    buffers: Sequence[str] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    learning_rate: LearningRate = field(default=1e-3, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers = {str(name): validation.number(f"numbers[{name!r}]", value) for name, value in self.numbers.items()}
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "buffers", tuple(map(str, self.buffers)))
        if self.weight_decay:
            raise ValueError(f"weight_decay must be part of f for an optimizer of one's own; got {validation.shown(self.weight_decay)}.")
        _ = self.rule  # says what is wrong with the function

    @property
    def rule(self) -> kernels.Rule:
        """What the kernels calculate with."""
        return kernels.custom_rule(self.f, self.buffers, tuple(self.numbers))

    def hyper(self) -> dict[str, float]:
        """Return the numbers of the rule by name."""
        return dict(self.numbers)

    def __repr__(self) -> str:
        numbers = "".join(f", {name}={value:g}" for name, value in self.numbers.items())
        return f"CustomOptimizer({getattr(self.f, '__name__', 'rule')}, learning_rate={self.learning_rate}{numbers})"


if not TYPE_CHECKING:  # a type checker, which does not read tables, takes every name for public
    __all__ = sorted(["CustomOptimizer", *(type(one).__name__ for one in OPTIMIZERS.values())])


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
