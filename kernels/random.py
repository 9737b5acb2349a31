"""Random numbers as a function of (seed, purpose, position): initial weights, shuffling, dropout.

The generator is Philox4x32-10: a block cipher turns a counter and a key, the seed, into four random words. There is no
state, so any element of any stream can be had at any time, by any thread, with the same bits.

References
----------
Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import door, is_integer
from ._bits import like, polynomial
from ._checks import check_numbers
from ._elements import copy_elements
from ._jit import helper, inline, kernel
from ._math import log

__all__ = ["dropout_backward", "dropout_forward", "permutation", "random_normal", "random_uniform"]

# The last word of the counter starts with the purpose of the numbers, so that no two purposes share any.
PURPOSE_WEIGHTS = 1 << 28
PURPOSE_SHUFFLE = 2 << 28
PURPOSE_DROPOUT = 3 << 28
PURPOSE_NOISE = 4 << 28

_ROUNDS = 10
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_WORD, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@inline
def philox(c0, c1, c2, c3, k0, k1):
    """Return four random words (uint32) for a counter of four words and a key of two: Philox4x32-10.

    Words travel in the low half of 64-bit lanes, where one multiplication gives both halves of a product and nothing
    is widened or narrowed between the rounds: twice as fast as words of 32 bits.
    """
    c0, c1, c2, c3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    k0, k1 = np.uint32(k0), np.uint32(k1)
    for _ in range(_ROUNDS):
        product_0 = _MULTIPLIER_0 * (c0 & _LOW)
        product_1 = _MULTIPLIER_1 * (c2 & _LOW)
        c0 = (product_1 >> _WORD) ^ c1 ^ np.uint64(k0)
        c1 = product_1
        c2 = (product_0 >> _WORD) ^ c3 ^ np.uint64(k1)
        c3 = product_0
        k0 = np.uint32(k0 + _WEYL_0)
        k1 = np.uint32(k1 + _WEYL_1)
    return np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)


@inline
def seed_key(seed):
    """Return the two words of a seed: the key of `philox`."""
    seed = np.uint64(seed)
    return np.uint32(seed), np.uint32(seed >> _WORD)


@inline
def dropout_threshold(rate):
    """Return the smallest random word that keeps an element: a share `rate` of all words, rounded, lies below."""
    return np.uint32(min(np.round(rate * 4294967296.0), 4294967295.0))


def _check_numbers(name: str, *names: str) -> Any:
    """Return a helper check(numbers): a seed, a position and what else counts are integers, the seed and the last one in range."""
    kinds, seeds = f"{name}: {', '.join(names[:-1])} and {names[-1]} must be integers", f"{name}: seed must be at least 0"
    ranges = f"{name}: {names[-1]} must be at least 0 and below 2**28"

    @helper
    def check(seed, middle, last):
        if not (is_integer(seed) and is_integer(middle) and is_integer(last)):
            raise TypeError(kinds)
        if seed < 0:
            raise ValueError(seeds)
        if last < 0 or last >= 1 << 28:
            raise ValueError(ranges)

    return check


_check_permutation = _check_numbers("permutation", "seed", "epoch")
_check_uniform, _uniform_door = _check_numbers("random_uniform", "seed", "stream"), door("random_uniform", "out", "out")
_check_normal, _normal_door = _check_numbers("random_normal", "seed", "stream"), door("random_normal", "out", "out")
_check_forward, _check_backward = (_check_numbers(name, "seed", "step", "layer") for name in ("dropout_forward", "dropout_backward"))
_forward_door = door("dropout_forward", "X out", "out", replaces="X", n_axes=2)
_backward_door = door("dropout_backward", "dA out", "out", replaces="dA", n_axes=2)


@kernel
def permutation(seed, epoch, out):
    """Fill out with the whole numbers below its size in random order, another one for every epoch.

    Every order is equally likely up to 2**-32 a draw.

    Parameters
    ----------
    seed, epoch : int
        0 <= seed < 2**63, of the epoch the lowest 32 bits count.
    out : int64 array (n,), overwritten
    """
    _check_permutation(seed, epoch, 0)
    if out.ndim != 1 or out.itemsize != 8 or not is_integer(out):
        raise TypeError("permutation: out must be int64 of one dimension")
    if out.size > 1 << 32:
        raise ValueError("permutation: out must have at most 2**32 elements")
    k0, k1 = seed_key(seed)
    # Fisher and Yates from the inside out. The partners are drawn first, into the places they are used in: that loop vectorizes.
    for i in range(out.size):
        low, high, _, _ = philox(i, 0, epoch, PURPOSE_SHUFFLE, k0, k1)
        n = np.uint64(i) + np.uint64(1)
        out[i] = (np.uint64(high) * n + ((np.uint64(low) * n) >> _WORD)) >> _WORD
    for i in range(out.size):
        j = out[i]
        out[i] = out[j]
        out[j] = i


@kernel
def random_uniform(seed, stream, low, high, out):
    """Fill out with numbers from the uniform distribution, low <= x < high.

    Element e, counted row by row, is a function of (seed, stream, e). It is calculated in float64 and then rounded to
    the dtype of out, which may give high itself.

    Parameters
    ----------
    seed, stream : int
        0 <= seed < 2**63, 0 <= stream < 2**28: such as the number of a layer.
    low, high : float
    out : float32 or float64 array of any shape, overwritten
    """
    _check_uniform(seed, 0, stream)
    _uniform_door((out,))
    check_numbers("random_uniform: low and high", (low, high))
    low, high = np.float64(low), np.float64(high)  # the difference of whole numbers may leave their range
    k0, k1 = seed_key(seed)
    flat = out.flat
    for e in range(out.size):
        a, b, _, _ = philox(e, e >> 32, stream, PURPOSE_WEIGHTS, k0, k1)
        digits = (np.uint64(b) << _WORD | np.uint64(a)) >> np.uint64(11)
        flat[e] = low + (high - low) * (np.float64(digits) * 2.0**-53)


@kernel
def random_normal(seed, stream, mean, std, out):
    """Fill out with numbers from the normal distribution.

    Element e, counted row by row, is a function of (seed, stream, e). It is calculated in float64 and then rounded to
    the dtype of out.

    Parameters
    ----------
    seed, stream : int
        0 <= seed < 2**63, 0 <= stream < 2**28: such as the number of a layer.
    mean, std : float
    out : float32 or float64 array of any shape, overwritten
    """
    _check_normal(seed, 0, stream)
    _normal_door((out,))
    check_numbers("random_normal: mean and std", (mean, std))
    k0, k1 = seed_key(seed)
    flat = out.flat
    for e in range(out.size):
        a, b, _, _ = philox(e, e >> 32, stream, PURPOSE_WEIGHTS, k0, k1)
        digits = (np.uint64(b) << _WORD | np.uint64(a)) >> np.uint64(12)
        # the middle of one of 2**52 equal parts: neither 0 nor 1
        flat[e] = mean + std * normal_quantile((np.float64(digits) + 0.5) * 2.0**-52)


_CENTRAL = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4)
    + (4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3)
    + (2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0)
    + (1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1)
    + (1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)
_FAR_TAIL = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1)
    + (2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2)
    + (7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)


@inline
def normal_quantile(p):
    """Return the x that a normal variable stays below with probability p, to 1e-15 (Wichura, AS 241, Appl. Stat. 37, 1988)."""
    q = p - 0.5
    central = abs(q) <= 0.425
    r = 0.180625 - q * q
    t = np.sqrt(-log(p if q < 0.0 else 1.0 - p))
    near, far = t - 1.6, t - 5.0
    above = polynomial(near, _TAIL[0]) if t <= 5.0 else polynomial(far, _FAR_TAIL[0])
    below = polynomial(near, _TAIL[1]) if t <= 5.0 else polynomial(far, _FAR_TAIL[1])
    above = q * polynomial(r, _CENTRAL[0]) if central else (-above if q < 0.0 else above)
    return above / (polynomial(r, _CENTRAL[1]) if central else below)


@inline
def _drop(rate, seed, step, layer, out):
    """Multiply each element of out by 0 with probability rate, else by 1 / (1 - rate), as networks do."""
    k0, k1 = seed_key(seed)
    threshold = dropout_threshold(rate)
    gain = 4294967296.0 / (4294967296.0 - np.float64(threshold))  # what makes up for the words that are dropped
    n, m = out.shape
    for i in range(0, n - 3, 4):
        row0, row1, row2, row3 = out[i], out[i + 1], out[i + 2], out[i + 3]
        for j in range(m):
            a, b, c, d = philox(j, i >> 2, step, PURPOSE_DROPOUT | layer, k0, k1)
            row0[j] *= _factor(row0[j], a, threshold, gain)
            row1[j] *= _factor(row1[j], b, threshold, gain)
            row2[j] *= _factor(row2[j], c, threshold, gain)
            row3[j] *= _factor(row3[j], d, threshold, gain)
    for i in range(n & -4, n):
        row = out[i]
        for j in range(m):
            a, b, c, _ = philox(j, i >> 2, step, PURPOSE_DROPOUT | layer, k0, k1)
            word = a if i & 3 == 0 else (b if i & 3 == 1 else c)
            row[j] *= _factor(row[j], word, threshold, gain)


@inline
def _factor(x, word, threshold, gain):
    """Return gain or 0, in the dtype of x."""
    return like(x, gain) if word >= threshold else like(x, 0.0)


@kernel
def dropout_forward(X, rate, seed, step, layer, out):
    """Compute out = X * mask / (1 - rate), where the mask is 0 with probability rate, else 1.

    The mask of element (i, j) is a function of (seed, step, layer, i, j): nothing has to be kept for the way back. The
    rate is rounded to a multiple of 2**-32, in the mask and in the factor: so they are those of a network.

    Parameters
    ----------
    X : float32 or float64 array (n, m)
    rate : float
        0 <= rate < 1.
    seed, step, layer : int
        0 <= seed < 2**63, 0 <= layer < 2**28, of the step the lowest 32 bits count.
    out : array (n, m) of that dtype, overwritten
        May be X; otherwise it shares no memory with it.

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 15 (2014).
    """
    _forward_door((X, out))
    _check_forward(seed, step, layer)
    check_numbers("dropout_forward: rate", rate)
    if not 0.0 <= rate < 1.0:
        raise ValueError("dropout_forward: rate must be at least 0 and less than 1")
    copy_elements(X, out)
    _drop(rate, seed, step, layer, out)


@kernel
def dropout_backward(dA, rate, seed, step, layer, out):
    """Compute out = dA * mask / (1 - rate) with the mask of `dropout_forward`.

    Parameters
    ----------
    dA : float32 or float64 array (n, m)
        Gradient with respect to the output of `dropout_forward`.
    rate : float
        0 <= rate < 1.
    seed, step, layer : int
        As in `dropout_forward`.
    out : array (n, m) of that dtype, overwritten
        Gradient with respect to its input. May be dA; otherwise it shares no memory with it.
    """
    _backward_door((dA, out))
    _check_backward(seed, step, layer)
    check_numbers("dropout_backward: rate", rate)
    if not 0.0 <= rate < 1.0:
        raise ValueError("dropout_backward: rate must be at least 0 and less than 1")
    copy_elements(dA, out)
    _drop(rate, seed, step, layer, out)
