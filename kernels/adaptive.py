"""Rules that divide by the root of past squares: Adagrad, RMSprop, Adadelta, Adam and their variants; the table is in `optimizers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import _math
from ._bits import like
from ._factory import Rule
from ._jit import inline, kernel


def _words(**numbers: str) -> dict[str, str]:
    """Return the words of a rule's numbers: its own, and the two that all of these have."""
    return numbers | {"eps": "keeps the division finite", "weight_decay": "what of w is added to the gradient"}


_MEANS = {"beta1": "what stays of m", "beta2": "what stays of v"}
_DECOUPLED = {"weight_decay": "what of w is taken away, times the rate"}


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
def _adagrad(w, g, total, learning_rate, eps, weight_decay):
    """Return the new w and sum of squares."""
    g = g + like(w, weight_decay) * w
    total = total + g * g
    return w - like(w, learning_rate) * (g / (np.sqrt(total) + like(w, eps))), total


@inline
def _adagrad_numbers(h, learning_rate, step):
    return learning_rate / (1.0 + (step - 1) * h.lr_decay), h.eps, h.weight_decay


ADAGRAD = 3
adagrad_rule = Rule(
    "adagrad",
    ("sum",),
    _words(lr_decay="how fast the rate shrinks with the steps"),
    _adagrad_numbers,
    _adagrad,
)
_adagrad_step = adagrad_rule.step


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
    _adagrad_step((w, sum, g), (lr_decay, eps, weight_decay), learning_rate, step)


@inline
def _rmsprop(w, g, v, learning_rate, alpha, eps, weight_decay):
    """Return the new w and v."""
    g = g + like(w, weight_decay) * w
    v = like(w, alpha) * v + like(w, 1.0 - alpha) * (g * g)
    return w - like(w, learning_rate) * (g / (np.sqrt(v) + like(w, eps))), v


@inline
def _rmsprop_numbers(h, learning_rate, step):
    return learning_rate, h.alpha, h.eps, h.weight_decay


RMSPROP = 4
rmsprop_rule = Rule(
    "rmsprop",
    ("v",),
    _words(alpha="what stays of v"),
    _rmsprop_numbers,
    _rmsprop,
)
_rmsprop_step = rmsprop_rule.step


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
    _rmsprop_step((w, v, g), (alpha, eps, weight_decay), learning_rate, 1)


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


ADAM = 5
adam_rule = Rule("adam", ("m", "v"), _words(**_MEANS), _adam_numbers, _adam)
_adam_step = adam_rule.step


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
    _adam_step((w, m, v, g), (beta1, beta2, eps, weight_decay), learning_rate, step)


@inline
def _adamw_numbers(h, learning_rate, step):
    return *_adam_rates(learning_rate, h.beta1, h.beta2, step), h.beta1, h.beta2, h.eps, 0.0, 1.0 - learning_rate * h.weight_decay


ADAMW = 6
adamw_rule = Rule("adamw", ("m", "v"), _words(**_MEANS) | _DECOUPLED, _adamw_numbers, _adam)
_adamw_step = adamw_rule.step


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
    _adamw_step((w, m, v, g), (beta1, beta2, eps, weight_decay), learning_rate, step)


@inline
def _adadelta(w, g, v, steps, learning_rate, rho, eps, weight_decay):
    """Return the new w and the running means of the squares of gradients and steps."""
    g = g + like(w, weight_decay) * w
    v = like(w, rho) * v + like(w, 1.0 - rho) * (g * g)
    step = np.sqrt(steps + like(w, eps)) / np.sqrt(v + like(w, eps)) * g
    return w - like(w, learning_rate) * step, v, like(w, rho) * steps + like(w, 1.0 - rho) * (step * step)


@inline
def _adadelta_numbers(h, learning_rate, step):
    return learning_rate, h.rho, h.eps, h.weight_decay


ADADELTA = 9
adadelta_rule = Rule(
    "adadelta",
    ("v", "steps"),
    _words(rho="what stays of the means"),
    _adadelta_numbers,
    _adadelta,
    doc="""v = rho * v + (1 - rho) * d**2, s = sqrt(steps + eps) / sqrt(v + eps) * d, w -= learning_rate * s.

    Then steps = rho * steps + (1 - rho) * s**2. Zeiler, Adadelta: an adaptive learning rate method, arXiv 1212.5701.""",
)


@inline
def _amsgrad(w, g, m, v, largest, rate, root, beta1, beta2, eps, weight_decay, shrink):
    """Return the new w, m, v and the largest v so far; the numbers are those of `_adam`."""
    w = w * like(w, shrink)
    g = g + like(w, weight_decay) * w
    m = m + like(w, 1.0 - beta1) * (g - m)
    v = like(w, beta2) * v + like(w, 1.0 - beta2) * (g * g)
    largest = largest if v <= largest else v  # NaN stays NaN
    return w - like(w, rate) * (m / (np.sqrt(largest) * like(w, root) + like(w, eps))), m, v, largest


AMSGRAD, AMSGRADW = 10, 11
_AMSGRAD_DOC = """w as {}, with the largest v so far in the place of v.

    Reddi, Kale, Kumar, On the convergence of Adam and beyond, ICLR 2018, as PyTorch has it."""
_AMSGRAD_BUFFERS = "m", "v", "largest"
amsgrad_rule = Rule("amsgrad", _AMSGRAD_BUFFERS, _words(**_MEANS), _adam_numbers, _amsgrad, doc=_AMSGRAD_DOC.format("adam_update"))
amsgradw_rule = Rule("amsgradw", _AMSGRAD_BUFFERS, _words(**_MEANS) | _DECOUPLED, _adamw_numbers, _amsgrad, doc=_AMSGRAD_DOC.format("adamw_update"))


@inline
def _nadam(w, g, m, v, of_gradient, of_mean, root, beta1, beta2, eps, weight_decay):
    """Return the new w, m and v; the first three numbers are those of `_nadam_rates`."""
    g = g + like(w, weight_decay) * w
    m = m + like(w, 1.0 - beta1) * (g - m)
    v = like(w, beta2) * v + like(w, 1.0 - beta2) * (g * g)
    step = (like(w, of_gradient) * g + like(w, of_mean) * m) / (np.sqrt(v) * like(w, root) + like(w, eps))
    return w - step, m, v


_LOG_096 = -0.040821994520255166


@inline
def _nadam_momentum(beta1, momentum_decay, step):
    """Return beta1 * (1 - 0.96**(step * momentum_decay) / 2)."""
    return beta1 * (1.0 - 0.5 * _math.exp(_LOG_096 * momentum_decay * step))


@inline
def _nadam_rates(learning_rate, beta1, beta2, momentum_decay, step):
    """Return the learning rates of g and of m, and the factor of sqrt(v)."""
    product, k = 1.0, 0
    while k < step and product > 5e-17:  # below it changes no bit of 1 - product
        k += 1
        product *= _nadam_momentum(beta1, momentum_decay, k)
    now, following = _nadam_momentum(beta1, momentum_decay, step), _nadam_momentum(beta1, momentum_decay, step + 1)
    of_gradient = learning_rate * (1.0 - now) / (1.0 - product)
    of_mean = learning_rate * following / (1.0 - product * following)
    return of_gradient, of_mean, 1.0 / np.sqrt(1.0 - _power(beta2, step))


@inline
def _nadam_numbers(h, learning_rate, step):
    return *_nadam_rates(learning_rate, h.beta1, h.beta2, h.momentum_decay, step), h.beta1, h.beta2, h.eps, h.weight_decay


NADAM = 12
nadam_rule = Rule(
    "nadam",
    ("m", "v"),
    _words(**_MEANS, momentum_decay="how fast the momentum comes to beta1"),
    _nadam_numbers,
    _nadam,
    doc="""w -= learning_rate * ((1 - mu) / (1 - product) * d + next / (1 - product * next) * m) / (sqrt(v') + eps).

    mu = beta1 * (1 - 0.96**(step * momentum_decay) / 2), `next` that of the next step, `product` that of all so far.
    Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016, as PyTorch has it.""",
)


@inline
def _radam_numbers(h, learning_rate, step):
    rate, root = _adam_rates(learning_rate, h.beta1, h.beta2, step)
    power, longest = _power(h.beta2, step), 2.0 / (1.0 - h.beta2) - 1.0
    length = longest - 2.0 * step * power / (1.0 - power)
    eps = h.eps
    if length > 5.0:
        rate *= np.sqrt((length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)) / root
        root = 1.0
    else:  # m / (v * 0 + 1)
        root, eps = 0.0, 1.0
    return rate, root, h.beta1, h.beta2, eps, h.weight_decay, 1.0


RADAM = 13
radam_rule = Rule(
    "radam",
    ("m", "v"),
    _words(**_MEANS),
    _radam_numbers,
    _adam,
    doc="""w -= learning_rate * r * m' * sqrt(1 - beta2**step) / (sqrt(v) + eps), at first learning_rate * m'.

    r**2 = (k - 4) * (k - 2) * n / ((n - 4) * (n - 2) * k), n = 2 / (1 - beta2) - 1, k = n - 2 * step * beta2**step / (1 - beta2**step);
    at first means k <= 5. Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020.""",
)


@inline
def _rmsprop_momentum(w, g, v, velocity, learning_rate, momentum, alpha, eps, weight_decay):
    """Return the new w, v and velocity."""
    g = g + like(w, weight_decay) * w
    v = like(w, alpha) * v + like(w, 1.0 - alpha) * (g * g)
    velocity = like(w, momentum) * velocity + g / (np.sqrt(v) + like(w, eps))
    return w - like(w, learning_rate) * velocity, v, velocity


@inline
def _rmsprop_centered(w, g, v, mean, velocity, learning_rate, momentum, alpha, eps, weight_decay):
    """Return the new w, v, mean and velocity."""
    g = g + like(w, weight_decay) * w
    v = like(w, alpha) * v + like(w, 1.0 - alpha) * (g * g)
    mean = mean + like(w, 1.0 - alpha) * (g - mean)
    variance, zero = v - mean * mean, like(w, 0.0)
    variance = zero if variance < zero else variance  # where rounding made it so
    velocity = like(w, momentum) * velocity + g / (np.sqrt(variance) + like(w, eps))
    return w - like(w, learning_rate) * velocity, v, mean, velocity


@inline
def _rmsprop_momentum_numbers(h, learning_rate, step):
    return learning_rate, h.momentum, h.alpha, h.eps, h.weight_decay


RMSPROP_MOMENTUM, RMSPROP_CENTERED = 14, 15
_RMSPROP_WORDS = _words(momentum="what stays of the velocity", alpha="what stays of v")
rmsprop_momentum_rule = Rule(
    "rmsprop_momentum",
    ("v", "velocity"),
    _RMSPROP_WORDS,
    _rmsprop_momentum_numbers,
    _rmsprop_momentum,
    doc="v = alpha * v + (1 - alpha) * d**2, velocity = momentum * velocity + d / (sqrt(v) + eps), w -= learning_rate * velocity.",
)
rmsprop_centered_rule = Rule(
    "rmsprop_centered",
    ("v", "mean", "velocity"),
    _RMSPROP_WORDS,
    _rmsprop_momentum_numbers,
    _rmsprop_centered,
    doc="""w as rmsprop_momentum_update, with sqrt(v - mean**2) in the place of sqrt(v), mean += (1 - alpha) * (d - mean).

    Graves, Generating sequences with recurrent neural networks, arXiv 1308.0850.""",
)


adadelta_update, amsgrad_update, amsgradw_update = adadelta_rule.update, amsgrad_rule.update, amsgradw_rule.update
nadam_update, radam_update = nadam_rule.update, radam_rule.update
rmsprop_momentum_update, rmsprop_centered_update = rmsprop_momentum_rule.update, rmsprop_centered_rule.update

ADAPTIVE: dict[int, Rule] = {
    ADAGRAD: adagrad_rule,
    RMSPROP: rmsprop_rule,
    ADAM: adam_rule,
    ADAMW: adamw_rule,
    ADADELTA: adadelta_rule,
    AMSGRAD: amsgrad_rule,
    AMSGRADW: amsgradw_rule,
    NADAM: nadam_rule,
    RADAM: radam_rule,
    RMSPROP_MOMENTUM: rmsprop_momentum_rule,
    RMSPROP_CENTERED: rmsprop_centered_rule,
}
if not TYPE_CHECKING:  # a type checker, which does not read tables, takes every name for public
    __all__ = sorted(name for rule in ADAPTIVE.values() for name in (rule.name.upper(), f"{rule.name}_update"))
