"""Optimizer updates over flat arrays, in place: SGD, momentum, Nesterov, Adagrad, RMSprop, Adam, AdamW, Rprop and Lion.

The formulas are PyTorch's, Lion's its paper's. Steps count from 1; buffers start as zeros. Arrays are 1-D of one dtype and must not
overlap.

A rule is what it does to one weight, what is the same for all weights of a step, a public kernel, and a line of `OPTIMIZERS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._arrays import door
from ._bits import like
from ._factory import Rule
from ._jit import inline, kernel

# What changes from step to step, the same for all weights.


@inline
def _power(base, n):
    """Return base**n for a whole n >= 0, by squaring: the same bits whatever the C library."""
    result = 1.0
    while n > 0:
        if n & 1:
            result *= base
        base *= base
        n >>= 1
    return result


@inline
def _adam_rates(learning_rate, beta1, beta2, step):
    """Return the learning rate and the factor of sqrt(v), both corrected for the zeros that m and v started with."""
    return learning_rate / (1.0 - _power(beta1, step)), 1.0 / np.sqrt(1.0 - _power(beta2, step))


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


_check_sgd = door("sgd_update", "w g", "w")


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
    _check_sgd((w, g))
    for i in range(w.size):
        w[i] = _sgd(w[i], g[i], learning_rate, weight_decay)


SGD = 0
_sgd_rule = Rule("sgd", (), {"weight_decay": "what of w is added to the gradient"}, _sgd_numbers, _sgd, flushes=False)


@inline
def _momentum(w, g, velocity, learning_rate, memory, gain, weight_decay):
    """Return the new w and velocity."""
    velocity = like(w, memory) * velocity + like(w, gain) * (g + like(w, weight_decay) * w)
    return w - like(w, learning_rate) * velocity, velocity


@inline
def _momentum_numbers(h, learning_rate, step):
    return learning_rate, *_memory(h.momentum, h.dampening, step), h.weight_decay


_check_momentum = door("momentum_update", "w velocity g", "w velocity")


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
    _check_momentum((w, velocity, g))
    memory, gain = _memory(momentum, dampening, step)
    for i in range(w.size):
        w[i], velocity[i] = _momentum(w[i], g[i], velocity[i], learning_rate, memory, gain, weight_decay)


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


@inline
def _nesterov(w, g, velocity, learning_rate, momentum, memory, weight_decay):
    """Return the new w and velocity."""
    g = g + like(w, weight_decay) * w
    velocity = like(w, memory) * velocity + g
    return w - like(w, learning_rate) * (g + like(w, momentum) * velocity), velocity


@inline
def _nesterov_numbers(h, learning_rate, step):
    return learning_rate, h.momentum, _memory(h.momentum, 0.0, step)[0], h.weight_decay


_check_nesterov = door("nesterov_update", "w velocity g", "w velocity")


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
    _check_nesterov((w, velocity, g))
    memory, _ = _memory(momentum, 0.0, step)
    for i in range(w.size):
        w[i], velocity[i] = _nesterov(w[i], g[i], velocity[i], learning_rate, momentum, memory, weight_decay)


NESTEROV = 2
_nesterov_rule = Rule(
    "nesterov",
    ("velocity",),
    {"momentum": "what stays of the velocity", "weight_decay": "what of w is added to the gradient"},
    _nesterov_numbers,
    _nesterov,
)


@inline
def _adagrad(w, g, total, learning_rate, eps, weight_decay):
    """Return the new w and sum of squares."""
    g = g + like(w, weight_decay) * w
    total = total + g * g
    return w - like(w, learning_rate) * (g / (np.sqrt(total) + like(w, eps))), total


@inline
def _adagrad_numbers(h, learning_rate, step):
    return learning_rate / (1.0 + (step - 1) * h.lr_decay), h.eps, h.weight_decay


_check_adagrad = door("adagrad_update", "w sum g", "w sum")


@kernel
def adagrad_update(w, g, sum, learning_rate, lr_decay, eps, weight_decay, step):
    """Update sum += d**2, w -= learning_rate / (1 + (step - 1) * lr_decay) * d / (sqrt(sum) + eps), d = g + weight_decay * w.

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    sum : array (n,), overwritten
        Squares of the gradients so far.
    learning_rate, lr_decay, eps, weight_decay : float
    step : int
        Number of this step, from 1.

    References
    ----------
    Duchi, Hazan, Singer, Adaptive subgradient methods, JMLR 12 (2011).
    """
    _check_adagrad((w, sum, g))
    rate = learning_rate / (1.0 + (step - 1) * lr_decay)
    for i in range(w.size):
        w[i], sum[i] = _adagrad(w[i], g[i], sum[i], rate, eps, weight_decay)


ADAGRAD = 3
_adagrad_rule = Rule(
    "adagrad",
    ("sum",),
    {
        "lr_decay": "how fast the rate shrinks with the steps",
        "eps": "keeps the division finite",
        "weight_decay": "what of w is added to the gradient",
    },
    _adagrad_numbers,
    _adagrad,
)


@inline
def _rmsprop(w, g, v, learning_rate, alpha, eps, weight_decay):
    """Return the new w and v."""
    g = g + like(w, weight_decay) * w
    v = like(w, alpha) * v + like(w, 1.0 - alpha) * (g * g)
    return w - like(w, learning_rate) * (g / (np.sqrt(v) + like(w, eps))), v


@inline
def _rmsprop_numbers(h, learning_rate, step):
    return learning_rate, h.alpha, h.eps, h.weight_decay


_check_rmsprop = door("rmsprop_update", "w v g", "w v")


@kernel
def rmsprop_update(w, g, v, learning_rate, alpha, eps, weight_decay):
    """Update v = alpha * v + (1 - alpha) * d**2, w -= learning_rate * d / (sqrt(v) + eps), d = g + weight_decay * w.

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    v : array (n,), overwritten
        Running mean of the squared gradients.
    learning_rate, alpha, eps, weight_decay : float

    References
    ----------
    Tieleman, Hinton, Lecture 6.5 of Neural networks for machine learning, 2012.
    """
    _check_rmsprop((w, v, g))
    for i in range(w.size):
        w[i], v[i] = _rmsprop(w[i], g[i], v[i], learning_rate, alpha, eps, weight_decay)


RMSPROP = 4
_rmsprop_rule = Rule(
    "rmsprop",
    ("v",),
    {
        "alpha": "what stays of v",
        "eps": "keeps the division finite",
        "weight_decay": "what of w is added to the gradient",
    },
    _rmsprop_numbers,
    _rmsprop,
)


@inline
def _adam(w, g, m, v, rate, root, beta1, beta2, eps, weight_decay, shrink):
    """Return the new w, m and v; `rate` and `root` are those of `_adam_rates`, `shrink` is AdamW's decay."""
    w = w * like(w, shrink)
    g = g + like(w, weight_decay) * w
    m = m + like(w, 1.0 - beta1) * (g - m)
    v = like(w, beta2) * v + like(w, 1.0 - beta2) * (g * g)
    return w - like(w, rate) * (m / (np.sqrt(v) * like(w, root) + like(w, eps))), m, v


@inline
def _adam_numbers(h, learning_rate, step):
    return *_adam_rates(learning_rate, h.beta1, h.beta2, step), h.beta1, h.beta2, h.eps, h.weight_decay, 1.0


_check_adam = door("adam_update", "w m v g", "w m v")


@kernel
def adam_update(w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step):
    """Update w -= learning_rate * m' / (sqrt(v') + eps) with m and v the running means of d and d**2, d = g + weight_decay * w.

    m' = m / (1 - beta1**step) and v' = v / (1 - beta2**step).

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    m, v : array (n,), overwritten
        Running means: m += (1 - beta1) * (d - m), v = beta2 * v + (1 - beta2) * d**2.
    learning_rate, beta1, beta2, eps, weight_decay : float
    step : int
        Number of this step, from 1.

    References
    ----------
    Kingma, Ba, Adam: a method for stochastic optimization, arXiv 1412.6980.
    """
    _check_adam((w, m, v, g))
    rate, root = _adam_rates(learning_rate, beta1, beta2, step)
    for i in range(w.size):
        w[i], m[i], v[i] = _adam(w[i], g[i], m[i], v[i], rate, root, beta1, beta2, eps, weight_decay, 1.0)


ADAM = 5
_adam_rule = Rule(
    "adam",
    ("m", "v"),
    {
        "beta1": "what stays of m",
        "beta2": "what stays of v",
        "eps": "keeps the division finite",
        "weight_decay": "what of w is added to the gradient",
    },
    _adam_numbers,
    _adam,
)


@inline
def _adamw_numbers(h, learning_rate, step):
    return (
        *_adam_rates(learning_rate, h.beta1, h.beta2, step),
        h.beta1,
        h.beta2,
        h.eps,
        0.0,
        1.0 - learning_rate * h.weight_decay,
    )


_check_adamw = door("adamw_update", "w m v g", "w m v")


@kernel
def adamw_update(w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step):
    """Update w *= 1 - learning_rate * weight_decay, then as `adam_update` without weight decay in the gradient.

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    m, v : array (n,), overwritten
        Running means of the gradient and its square.
    learning_rate, beta1, beta2, eps, weight_decay : float
    step : int
        Number of this step, from 1.

    References
    ----------
    Loshchilov, Hutter, Decoupled weight decay regularization, arXiv 1711.05101.
    """
    _check_adamw((w, m, v, g))
    rate, root = _adam_rates(learning_rate, beta1, beta2, step)
    shrink = 1.0 - learning_rate * weight_decay
    for i in range(w.size):
        w[i], m[i], v[i] = _adam(w[i], g[i], m[i], v[i], rate, root, beta1, beta2, eps, 0.0, shrink)


ADAMW = 6
_adamw_rule = Rule(
    "adamw",
    ("m", "v"),
    {
        "beta1": "what stays of m",
        "beta2": "what stays of v",
        "eps": "keeps the division finite",
        "weight_decay": "what of w is taken away, times the rate",
    },
    _adamw_numbers,
    _adam,
)


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


_check_rprop = door("rprop_update", "w before sizes g", "w before sizes")


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
    _check_rprop((w, before, sizes, g))
    start = learning_rate if step <= 1 else -1.0
    for i in range(w.size):
        w[i], before[i], sizes[i] = _rprop(w[i], g[i], before[i], sizes[i], start, eta_minus, eta_plus, min_step, max_step, weight_decay)


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
    flushes=False,
)


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


_check_lion = door("lion_update", "w m g", "w m")


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
    _check_lion((w, m, g))
    shrink = 1.0 - learning_rate * weight_decay
    for i in range(w.size):
        w[i], m[i] = _lion(w[i], g[i], m[i], learning_rate, beta1, beta2, shrink)


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


OPTIMIZERS: dict[int, Rule] = {
    SGD: _sgd_rule,
    MOMENTUM: _momentum_rule,
    NESTEROV: _nesterov_rule,
    ADAGRAD: _adagrad_rule,
    RMSPROP: _rmsprop_rule,
    ADAM: _adam_rule,
    ADAMW: _adamw_rule,
    RPROP: _rprop_rule,
    LION: _lion_rule,
}
N_BUFFERS = tuple(len(rule.buffers) for rule in OPTIMIZERS.values())

if not TYPE_CHECKING:  # a type checker, which does not read tables, takes every name for public
    __all__ = sorted({"N_BUFFERS", "OPTIMIZERS"}.union(*((rule.name.upper(), f"{rule.name}_update") for rule in OPTIMIZERS.values())))
