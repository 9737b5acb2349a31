"""Optimizer updates over flat arrays, in place: SGD, momentum, Nesterov, Adagrad, RMSprop, Adam, AdamW and Rprop.

The formulas are PyTorch's. Steps count from 1; buffers start as zeros. Arrays are 1-D of one dtype and must not
overlap.
"""

from __future__ import annotations

import numpy as np

from ._bits import absolute, choose, like
from ._jit import inline, jit, kernel
from ._tile import PANEL_BYTES, address_of, prefetch

__all__ = [
    "ADAGRAD",
    "ADAM",
    "ADAMW",
    "MOMENTUM",
    "NESTEROV",
    "N_BUFFERS",
    "RMSPROP",
    "RPROP",
    "SGD",
    "adagrad_update",
    "adam_update",
    "adamw_update",
    "momentum_update",
    "nesterov_update",
    "rmsprop_update",
    "rprop_update",
    "sgd_update",
]

SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM, ADAMW, RPROP = range(8)
N_BUFFERS = (0, 1, 1, 1, 1, 2, 2, 2)  # state arrays of each rule

# What stands in `hyper`, the settings of a rule as one float64 array.
MEMORY, BETA2, EPS, WEIGHT_DECAY, LR_DECAY, _, DAMPENING = range(7)  # MEMORY: momentum, beta1 or alpha
ETA_MINUS, ETA_PLUS, MIN_STEP, MAX_STEP = MEMORY, BETA2, EPS, LR_DECAY  # what Rprop has there
N_HYPER = 8


# What a rule does to one weight. Scalars come as float64 and are narrowed to the dtype of w outside the loop.


@inline
def _sgd(w, g, learning_rate, weight_decay):
    """Return the new w."""
    return w - like(w, learning_rate) * (g + like(w, weight_decay) * w)


@inline
def _momentum(w, g, velocity, learning_rate, memory, gain, weight_decay):
    """Return the new w and velocity."""
    velocity = like(w, memory) * velocity + like(w, gain) * (g + like(w, weight_decay) * w)
    return w - like(w, learning_rate) * velocity, velocity


@inline
def _nesterov(w, g, velocity, learning_rate, momentum, memory, weight_decay):
    """Return the new w and velocity."""
    g = g + like(w, weight_decay) * w
    velocity = like(w, memory) * velocity + g
    return w - like(w, learning_rate) * (g + like(w, momentum) * velocity), velocity


@inline
def _adagrad(w, g, total, learning_rate, eps, weight_decay):
    """Return the new w and sum of squares."""
    g = g + like(w, weight_decay) * w
    total = total + g * g
    return w - like(w, learning_rate) * (g / (np.sqrt(total) + like(w, eps))), total


@inline
def _rmsprop(w, g, v, learning_rate, alpha, eps, weight_decay):
    """Return the new w and v."""
    g = g + like(w, weight_decay) * w
    v = like(w, alpha) * v + like(w, 1.0 - alpha) * (g * g)
    return w - like(w, learning_rate) * (g / (np.sqrt(v) + like(w, eps))), v


@inline
def _adam(w, g, m, v, rate, root, beta1, beta2, eps, weight_decay, shrink):
    """Return the new w, m and v; `rate` and `root` are those of `_adam_rates`, `shrink` is AdamW's decay."""
    w = w * like(w, shrink)
    g = g + like(w, weight_decay) * w
    m = m + like(w, 1.0 - beta1) * (g - m)
    v = like(w, beta2) * v + like(w, 1.0 - beta2) * (g * g)
    return w - like(w, rate) * (m / (np.sqrt(v) * like(w, root) + like(w, eps))), m, v


@inline
def _rprop(w, g, before, size, eta_minus, eta_plus, min_step, max_step, weight_decay):
    """Return the new w, the gradient to compare with next time, and the new step size; where the sign turned, w stays."""
    zero, largest, smallest = like(w, 0.0), like(w, max_step), like(w, min_step)
    g = g + like(w, weight_decay) * w
    agreement = g * before
    factor = like(w, eta_plus) if agreement > zero else (like(w, eta_minus) if agreement < zero else like(w, 1.0))
    size = size * factor
    size = largest if size > largest else size
    size = smallest if size < smallest else size
    g = zero if agreement < zero else g
    step = size if g > zero else (-size if g < zero else g)  # NaN stays NaN
    return w - step, g, size


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
    if w.shape != g.shape:
        raise ValueError("sgd_update: g must have the shape of w")
    for i in range(w.size):
        w[i] = _sgd(w[i], g[i], learning_rate, weight_decay)


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
    if w.shape != g.shape or w.shape != velocity.shape:
        raise ValueError("momentum_update: g and velocity must have the shape of w")
    memory, gain = _memory(momentum, dampening, step)
    for i in range(w.size):
        w[i], velocity[i] = _momentum(w[i], g[i], velocity[i], learning_rate, memory, gain, weight_decay)


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
    if w.shape != g.shape or w.shape != velocity.shape:
        raise ValueError("nesterov_update: g and velocity must have the shape of w")
    memory, _ = _memory(momentum, 0.0, step)
    for i in range(w.size):
        w[i], velocity[i] = _nesterov(w[i], g[i], velocity[i], learning_rate, momentum, memory, weight_decay)


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
    if w.shape != g.shape or w.shape != sum.shape:
        raise ValueError("adagrad_update: g and sum must have the shape of w")
    rate = learning_rate / (1.0 + (step - 1) * lr_decay)
    for i in range(w.size):
        w[i], sum[i] = _adagrad(w[i], g[i], sum[i], rate, eps, weight_decay)


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
    if w.shape != g.shape or w.shape != v.shape:
        raise ValueError("rmsprop_update: g and v must have the shape of w")
    for i in range(w.size):
        w[i], v[i] = _rmsprop(w[i], g[i], v[i], learning_rate, alpha, eps, weight_decay)


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
    if w.shape != g.shape or w.shape != m.shape or w.shape != v.shape:
        raise ValueError("adam_update: g, m and v must have the shape of w")
    rate, root = _adam_rates(learning_rate, beta1, beta2, step)
    for i in range(w.size):
        w[i], m[i], v[i] = _adam(w[i], g[i], m[i], v[i], rate, root, beta1, beta2, eps, weight_decay, 1.0)


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
    if w.shape != g.shape or w.shape != m.shape or w.shape != v.shape:
        raise ValueError("adamw_update: g, m and v must have the shape of w")
    rate, root = _adam_rates(learning_rate, beta1, beta2, step)
    shrink = 1.0 - learning_rate * weight_decay
    for i in range(w.size):
        w[i], m[i], v[i] = _adam(w[i], g[i], m[i], v[i], rate, root, beta1, beta2, eps, 0.0, shrink)


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
    if w.shape != g.shape or w.shape != before.shape or w.shape != sizes.shape:
        raise ValueError("rprop_update: g, before and sizes must have the shape of w")
    for i in range(w.size if step <= 1 else 0):
        sizes[i] = learning_rate
    for i in range(w.size):
        w[i], before[i], sizes[i] = _rprop(w[i], g[i], before[i], sizes[i], eta_minus, eta_plus, min_step, max_step, weight_decay)


_FLUSH_EVERY = 64
_FLUSH_BELOW = (np.float32(2.0**-116), 2.0**-1012)  # falls to the smallest normal number in 64 steps at 0.9


@inline
def _flush(buffer):
    """Set to 0 what would soon be a denormal number.

    The running means of a weight that gets no more gradient end as denormal numbers and stay there for ever, with
    which CPUs calculate 2 to 100 times slower. A test in every step would cost a tenth of the update.
    """
    for i in range(buffer.size):
        x = buffer[i]
        buffer[i] = like(x, 0.0) if absolute(x) < choose(x, _FLUSH_BELOW) else x


_BLOCK = 256  # weights that are updated between two looks ahead: the hardware does not fetch beyond the end of a page


@inline
def _prefetch_block(w, g, s1, s2, first):
    for byte in range(first * w.itemsize, (first + _BLOCK) * w.itemsize, PANEL_BYTES):
        prefetch(address_of(w) + byte)
        prefetch(address_of(g) + byte)
        prefetch(address_of(s1) + byte)
        prefetch(address_of(s2) + byte)


@inline
def _adam_block(w, g, m, v, rate, root, beta1, beta2, eps, weight_decay, shrink):
    for i in range(w.size):
        old = w[i]
        w[i], m[i], v[i] = _adam(old, g[i], m[i], v[i], rate, root, beta1, beta2, eps, weight_decay, shrink)
        g[i] = old


@jit
def update_range(rule, w, g, s1, s2, hyper, learning_rate, step):
    """Update w, s1 and s2 (contiguous, 1-D) by a rule, and leave the old w in g: the way back from a step that went wrong.

    s1 and s2 are the rule's buffers, of any size where it has none; `hyper` are its settings, at the places named above.
    Unlike the public kernels it sets buffers to 0, every 64 steps, where they come near the denormal numbers.
    """
    n = w.size
    eps, weight_decay = hyper[EPS], hyper[WEIGHT_DECAY]
    if rule == SGD:
        for i in range(n):
            old = w[i]
            w[i] = _sgd(old, g[i], learning_rate, weight_decay)
            g[i] = old
    elif rule == MOMENTUM:
        memory, gain = _memory(hyper[MEMORY], hyper[DAMPENING], step)
        for i in range(n):
            old = w[i]
            w[i], s1[i] = _momentum(old, g[i], s1[i], learning_rate, memory, gain, weight_decay)
            g[i] = old
    elif rule == NESTEROV:
        momentum = hyper[MEMORY]
        memory, _ = _memory(momentum, 0.0, step)
        for i in range(n):
            old = w[i]
            w[i], s1[i] = _nesterov(old, g[i], s1[i], learning_rate, momentum, memory, weight_decay)
            g[i] = old
    elif rule == ADAGRAD:
        rate = learning_rate / (1.0 + (step - 1) * hyper[LR_DECAY])
        for i in range(n):
            old = w[i]
            w[i], s1[i] = _adagrad(old, g[i], s1[i], rate, eps, weight_decay)
            g[i] = old
    elif rule == RMSPROP:
        alpha = hyper[MEMORY]
        for i in range(n):
            old = w[i]
            w[i], s1[i] = _rmsprop(old, g[i], s1[i], learning_rate, alpha, eps, weight_decay)
            g[i] = old
    elif rule == RPROP:
        for i in range(n if step <= 1 else 0):
            s2[i] = learning_rate
        for i in range(n):
            old = w[i]
            w[i], s1[i], s2[i] = _rprop(old, g[i], s1[i], s2[i], hyper[ETA_MINUS], hyper[ETA_PLUS], hyper[MIN_STEP], hyper[MAX_STEP], weight_decay)
            g[i] = old
    else:
        beta1, beta2 = hyper[MEMORY], hyper[BETA2]
        rate, root = _adam_rates(learning_rate, beta1, beta2, step)
        shrink = 1.0 - learning_rate * weight_decay if rule == ADAMW else 1.0
        weight_decay = 0.0 if rule == ADAMW else weight_decay
        for first in range(0, n, _BLOCK):
            _prefetch_block(w, g, s1, s2, first + 3 * _BLOCK)
            part = slice(first, first + _BLOCK)
            _adam_block(w[part], g[part], s1[part], s2[part], rate, root, beta1, beta2, eps, weight_decay, shrink)
    if step % _FLUSH_EVERY == 0 and rule != SGD and rule != RPROP:
        _flush(s1)
        if rule == ADAM or rule == ADAMW:
            _flush(s2)
