"""Optimizer updates over flat arrays, in place: SGD, momentum, Nesterov, Rprop and Lion, and those of `adaptive`.

The formulas are PyTorch's, Lion's its paper's. Steps count from 1; buffers start as zeros. Arrays are 1-D of one dtype and must not
overlap.

A rule is what it does to one weight, what is the same for all weights of a step, a public kernel, and a line of `OPTIMIZERS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._bits import like
from ._factory import Rule
from ._jit import inline, kernel
from .adaptive import ADAPTIVE

# What changes from step to step, the same for all weights.


@inline
def _memory(momentum, dampening, step):
    """Return the factors of velocity and gradient: the first velocity is the first gradient."""
    return (0.0, 1.0) if step <= 1 else (momentum, 1.0 - dampening)


# What a rule does to one weight, and its numbers in the order in which that takes them. Numbers are float64 and narrowed to the dtype of w
# outside the loop.


@inline
def _sgd(w, g, learning_rate, weight_decay):
    """Return the new w."""
    return w - like(w, learning_rate) * (g + like(w, weight_decay) * w)


@inline
def _sgd_numbers(h, learning_rate, step):
    return learning_rate, h.weight_decay


SGD = 0
_sgd_rule = Rule("sgd", (), {"weight_decay": "what of w is added to the gradient"}, _sgd_numbers, _sgd)
_sgd_step = _sgd_rule.step


@kernel
def sgd_update(w, g, learning_rate, weight_decay):
    """Update w -= learning_rate * (g + weight_decay * w).

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    learning_rate, weight_decay : float
    """
    _sgd_step((w, g), (weight_decay,), learning_rate, 1)


@inline
def _momentum(w, g, velocity, learning_rate, memory, gain, weight_decay):
    """Return the new w and velocity."""
    velocity = like(w, memory) * velocity + like(w, gain) * (g + like(w, weight_decay) * w)
    return w - like(w, learning_rate) * velocity, velocity


@inline
def _momentum_numbers(h, learning_rate, step):
    return learning_rate, *_memory(h.momentum, h.dampening, step), h.weight_decay


MOMENTUM = 1
_momentum_rule = Rule(
    "momentum",
    ("velocity",),
    {
        "momentum": "what stays of the velocity",
        "dampening": "what of a gradient is left out after the first step",
        "weight_decay": "what of w is added to the gradient",
    },
    _momentum_numbers,
    _momentum,
)
_momentum_step = _momentum_rule.step


@kernel
def momentum_update(w, g, velocity, learning_rate, momentum, dampening, weight_decay, step):
    """Update velocity = momentum * velocity + (1 - dampening) * (g + weight_decay * w), w -= learning_rate * velocity.

    In the first step the velocity is the gradient, undampened, as in PyTorch.

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    velocity : array (n,), overwritten
    learning_rate, momentum, dampening, weight_decay : float
    step : int
        Number of this step, from 1.
    """
    _momentum_step((w, velocity, g), (momentum, dampening, weight_decay), learning_rate, step)


@inline
def _nesterov(w, g, velocity, learning_rate, momentum, memory, weight_decay):
    """Return the new w and velocity."""
    g = g + like(w, weight_decay) * w
    velocity = like(w, memory) * velocity + g
    return w - like(w, learning_rate) * (g + like(w, momentum) * velocity), velocity


@inline
def _nesterov_numbers(h, learning_rate, step):
    return learning_rate, h.momentum, _memory(h.momentum, 0.0, step)[0], h.weight_decay


NESTEROV = 2
_nesterov_rule = Rule(
    "nesterov",
    ("velocity",),
    {"momentum": "what stays of the velocity", "weight_decay": "what of w is added to the gradient"},
    _nesterov_numbers,
    _nesterov,
)
_nesterov_step = _nesterov_rule.step


@kernel
def nesterov_update(w, g, velocity, learning_rate, momentum, weight_decay, step):
    """Update velocity = momentum * velocity + d, w -= learning_rate * (d + momentum * velocity), d = g + weight_decay * w.

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    velocity : array (n,), overwritten
    learning_rate, momentum, weight_decay : float
    step : int
        Number of this step, from 1.

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013, as PyTorch has it.
    """
    _nesterov_step((w, velocity, g), (momentum, weight_decay), learning_rate, step)


@inline
def _rprop(w, g, before, size, start, eta_minus, eta_plus, min_step, max_step, weight_decay):
    """Return the new w, the gradient to compare with next time, and the new step size; where the sign turned, w stays.

    A `start` of at least 0, that of the first step, is the step size.
    """
    zero, largest, smallest = like(w, 0.0), like(w, max_step), like(w, min_step)
    g = g + like(w, weight_decay) * w
    size = like(w, start) if start >= 0.0 else size
    agreement = g * before
    factor = like(w, eta_plus) if agreement > zero else (like(w, eta_minus) if agreement < zero else like(w, 1.0))
    size = size * factor
    size = largest if size > largest else size
    size = smallest if size < smallest else size
    g = zero if agreement < zero else g
    step = size if g > zero else (-size if g < zero else g)  # NaN stays NaN
    return w - step, g, size


@inline
def _rprop_numbers(h, learning_rate, step):
    return learning_rate if step <= 1 else -1.0, h.eta_minus, h.eta_plus, h.min_step, h.max_step, h.weight_decay


RPROP = 7
_rprop_rule = Rule(
    "rprop",
    ("before", "sizes"),
    {
        "eta_minus": "factor of a step size where the sign turned",
        "eta_plus": "factor where it stayed",
        "min_step": "the smallest step size",
        "max_step": "the largest step size",
        "weight_decay": "what of w is added to the gradient",
    },
    _rprop_numbers,
    _rprop,
)
_rprop_step = _rprop_rule.step


@kernel
def rprop_update(w, g, before, sizes, learning_rate, eta_minus, eta_plus, min_step, max_step, weight_decay, step):
    """Update w -= sizes * sign(d), d = g + weight_decay * w, after sizes *= eta_plus where d kept its sign, eta_minus where it turned.

    Where it turned, w stays and the next step has no sign to compare with: iRPROP-, which is also PyTorch's Rprop. The
    sizes stay within min_step and max_step.

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient, of all rows: a minibatch's turns its sign too often.
    before : array (n,), overwritten
        The gradient of the step before, 0 where the sign turned.
    sizes : array (n,), overwritten
        Step sizes; the first step sets them to the learning rate.
    learning_rate, eta_minus, eta_plus, min_step, max_step, weight_decay : float
    step : int
        Number of this step, from 1.

    References
    ----------
    Igel, Huesken, Improving the Rprop learning algorithm, ICSC Symposium on Neural Computation 2000.
    """
    _rprop_step((w, before, sizes, g), (eta_minus, eta_plus, min_step, max_step, weight_decay), learning_rate, step)


@inline
def _lion(w, g, m, learning_rate, beta1, beta2, shrink):
    """Return the new w and m; `shrink` is the decoupled decay."""
    zero, rate = like(w, 0.0), like(w, learning_rate)
    way = like(w, beta1) * m + like(w, 1.0 - beta1) * g
    step = rate if way > zero else (-rate if way < zero else way)  # NaN stays NaN
    return w * like(w, shrink) - step, like(w, beta2) * m + like(w, 1.0 - beta2) * g


@inline
def _lion_numbers(h, learning_rate, step):
    return learning_rate, h.beta1, h.beta2, 1.0 - learning_rate * h.weight_decay


LION = 8
_lion_rule = Rule(
    "lion",
    ("m",),
    {
        "beta1": "share of m in the step",
        "beta2": "what stays of m",
        "weight_decay": "what of w is taken away, times the rate",
    },
    _lion_numbers,
    _lion,
)
_lion_step = _lion_rule.step


@kernel
def lion_update(w, g, m, learning_rate, beta1, beta2, weight_decay):
    """Update w = w * (1 - learning_rate * weight_decay) - learning_rate * sign(beta1 * m + (1 - beta1) * g).

    Then m = beta2 * m + (1 - beta2) * g.

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    m : array (n,), overwritten
        Running mean of the gradient.
    learning_rate, beta1, beta2, weight_decay : float

    References
    ----------
    Chen et al., Symbolic discovery of optimization algorithms, arXiv 2302.06675.
    """
    _lion_step((w, m, g), (beta1, beta2, weight_decay), learning_rate, 1)


OPTIMIZERS: dict[int, Rule] = {
    SGD: _sgd_rule,
    MOMENTUM: _momentum_rule,
    NESTEROV: _nesterov_rule,
    RPROP: _rprop_rule,
    LION: _lion_rule,
    **ADAPTIVE,
}

if not TYPE_CHECKING:  # a type checker, which does not read tables, takes every name for public
    OWN = [rule.name for code, rule in OPTIMIZERS.items() if code not in ADAPTIVE]
    __all__ = sorted(["OPTIMIZERS", *map(str.upper, OWN), *(f"{name}_update" for name in OWN)])
