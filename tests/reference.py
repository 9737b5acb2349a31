"""Naive float64 twins of the kernels: the textbook formula, no care for speed."""

import math
from statistics import NormalDist

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])


# Activations: value and derivative at Z.


def sigmoid(Z):
    e = np.exp(-np.abs(Z))
    return np.where(Z >= 0, 1 / (1 + e), e / (1 + e))


def normal_cdf(Z):
    return (1 + erf(Z / math.sqrt(2))) / 2


def gelu_tanh(Z):
    return Z * (1 + np.tanh(math.sqrt(2 / math.pi) * (Z + 0.044715 * Z**3))) / 2


def gelu_tanh_slope(Z):
    t = np.tanh(math.sqrt(2 / math.pi) * (Z + 0.044715 * Z**3))
    return (1 + t) / 2 + Z * (1 - t**2) / 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * Z**2)


def mish_slope(Z):
    t = np.tanh(np.logaddexp(0, Z))
    return t + Z * (1 - t**2) * sigmoid(Z)


ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946

ACTIVATIONS = {
    "identity": (lambda Z: Z, np.ones_like),
    "relu": (lambda Z: np.maximum(Z, 0), lambda Z: np.where(Z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda Z: np.where(Z > 0, Z, 0.01 * Z), lambda Z: np.where(Z > 0, 1.0, 0.01)),
    "elu": (lambda Z: np.where(Z > 0, Z, np.expm1(np.minimum(Z, 0))), lambda Z: np.where(Z > 0, 1.0, np.exp(np.minimum(Z, 0)))),
    "selu": (
        lambda Z: SCALE * np.where(Z > 0, Z, ALPHA * np.expm1(np.minimum(Z, 0))),
        lambda Z: SCALE * np.where(Z > 0, 1.0, ALPHA * np.exp(np.minimum(Z, 0))),
    ),
    "gelu": (lambda Z: Z * normal_cdf(Z), lambda Z: normal_cdf(Z) + Z * np.exp(-(Z**2) / 2) / math.sqrt(2 * math.pi)),
    "gelu_tanh": (gelu_tanh, gelu_tanh_slope),
    "silu": (lambda Z: Z * sigmoid(Z), lambda Z: sigmoid(Z) * (1 + Z * sigmoid(-Z))),
    "mish": (lambda Z: Z * np.tanh(np.logaddexp(0, Z)), mish_slope),
    "softplus": (lambda Z: np.logaddexp(0, Z), sigmoid),
    "tanh": (np.tanh, lambda Z: 1 / np.cosh(np.clip(Z, -700, 700)) ** 2),
    "sigmoid": (sigmoid, lambda Z: sigmoid(Z) * sigmoid(-Z)),
    "hard_swish": (lambda Z: Z * np.clip(Z + 3, 0, 6) / 6, lambda Z: np.select([Z <= -3, Z >= 3], [0.0, 1.0], (2 * Z + 3) / 6)),
    "softsign": (lambda Z: Z / (1 + np.abs(Z)), lambda Z: 1 / (1 + np.abs(Z)) ** 2),
    "exponential": (np.exp, np.exp),
}


def log_softmax(Z):
    Z = Z - Z.max(axis=1, keepdims=True)
    return Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))


def softmax(Z):
    return np.exp(log_softmax(Z))


def softmax_backward(A, dA):
    return A * (dA - (A * dA).sum(axis=1, keepdims=True))


def log_softmax_backward(A, dA):
    return dA - np.exp(A) * dA.sum(axis=1, keepdims=True)


# Losses: value and gradient.


def softmax_cross_entropy(logits, labels, scale):
    targets = np.eye(logits.shape[1])[labels]
    return softmax_cross_entropy_dense(logits, targets, scale)


def softmax_cross_entropy_dense(logits, targets, scale):
    loss = -(targets * log_softmax(logits)).sum()
    return scale * loss, scale * (softmax(logits) * targets.sum(axis=1, keepdims=True) - targets)


def sigmoid_cross_entropy(logits, targets, scale):
    return scale * (np.logaddexp(0, logits) - logits * targets).sum(), scale * (sigmoid(logits) - targets)


def squared_error(A, T, scale):
    return scale * ((A - T) ** 2).sum(), scale * 2 * (A - T)


def absolute_error(A, T, scale):
    return scale * np.abs(A - T).sum(), scale * np.sign(A - T)


def huber(A, T, delta, scale):
    d = A - T
    values = np.where(np.abs(d) <= delta, d**2 / 2, delta * (np.abs(d) - delta / 2))
    return scale * values.sum(), scale * np.clip(d, -delta, delta)


def log_cosh(A, T, scale):
    d = A - T
    return scale * (np.logaddexp(d, -d) - math.log(2)).sum(), scale * np.tanh(d)


def poisson(A, T, constant, scale):
    entropy = np.where(T > 0, T * np.log(np.where(T > 0, T, 1)), 0) - T
    return scale * (np.exp(A) - T * A + constant * entropy).sum(), scale * (np.exp(A) - T)


def quantile(A, T, share, scale):
    d = T - A
    return scale * np.maximum(share * d, (share - 1) * d).sum(), scale * np.select([d > 0, d < 0], [-share, 1 - share], 0.0)


def hinge(A, T, scale):
    m = 1 - (2 * T - 1) * A
    return scale * np.maximum(m, 0).sum(), scale * np.where(m > 0, 1 - 2 * T, 0)


def squared_hinge(A, T, scale):
    m = np.maximum(1 - (2 * T - 1) * A, 0)
    return scale * (m**2).sum(), scale * 2 * m * (1 - 2 * T)


def binary_focal(A, T, gamma, scale):
    p, entropy = sigmoid(A), np.logaddexp(0, A) - A * T
    m = p * (1 - T) + (1 - p) * T
    slope = (p - T) * m**gamma - entropy * gamma * m ** (gamma - 1) * p * (1 - p) * (2 * T - 1)
    return scale * (entropy * m**gamma).sum(), scale * slope


def focal(logits, targets, gamma, scale):
    log_p, p = log_softmax(logits), softmax(logits)
    g = targets * (gamma * (1 - p) ** (gamma - 1) * p * log_p - (1 - p) ** gamma)
    return scale * -(targets * (1 - p) ** gamma * log_p).sum(), scale * (g - p * g.sum(axis=1, keepdims=True))


def gaussian_nll(A, T, eps, scale):
    m = A.shape[1] // 2
    mean, s = A[:, :m], np.maximum(A[:, m:], np.log(eps))
    squares = (mean - T) ** 2 / np.exp(s)
    return scale * ((s + squares) / 2).sum(), scale * np.hstack([(mean - T) / np.exp(s), (1 - squares) / 2])


# Optimizers: new weights and buffers, after the formulas in PyTorch's documentation.


def sgd(w, g, learning_rate, weight_decay):
    return (w - learning_rate * (g + weight_decay * w),)


def momentum(w, g, velocity, learning_rate, momentum, dampening, weight_decay, step):
    g = g + weight_decay * w
    velocity = g if step == 1 else momentum * velocity + (1 - dampening) * g
    return w - learning_rate * velocity, velocity


def nesterov(w, g, velocity, learning_rate, momentum, weight_decay, step):
    g = g + weight_decay * w
    velocity = g if step == 1 else momentum * velocity + g
    return w - learning_rate * (g + momentum * velocity), velocity


def adagrad(w, g, total, learning_rate, lr_decay, eps, weight_decay, step):
    g = g + weight_decay * w
    total = total + g**2
    return w - learning_rate / (1 + (step - 1) * lr_decay) * g / (np.sqrt(total) + eps), total


def rmsprop(w, g, v, learning_rate, alpha, eps, weight_decay):
    g = g + weight_decay * w
    v = alpha * v + (1 - alpha) * g**2
    return w - learning_rate * g / (np.sqrt(v) + eps), v


def adam(w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step):
    g = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - learning_rate * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps), m, v


def adamw(w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step):
    return adam(w * (1 - learning_rate * weight_decay), g, m, v, learning_rate, beta1, beta2, eps, 0.0, step)


def rprop(w, g, before, sizes, learning_rate, eta_minus, eta_plus, min_step, max_step, weight_decay, step):
    g = g + weight_decay * w
    sizes = np.full_like(w, learning_rate) if step == 1 else sizes
    factor = np.select([g * before > 0, g * before < 0], [eta_plus, eta_minus], 1.0)
    sizes = np.where(factor == 1, sizes, np.clip(sizes * factor, min_step, max_step))
    g = np.where(factor == eta_minus, 0, g)
    return w - sizes * np.sign(g), g, sizes


def lion(w, g, m, learning_rate, beta1, beta2, weight_decay):
    step = np.sign(beta1 * m + (1 - beta1) * g)
    return w * (1 - learning_rate * weight_decay) - learning_rate * step, beta2 * m + (1 - beta2) * g


def adadelta(w, g, v, steps, learning_rate, rho, eps, weight_decay):
    g = g + weight_decay * w
    v = rho * v + (1 - rho) * g**2
    s = np.sqrt(steps + eps) / np.sqrt(v + eps) * g
    return w - learning_rate * s, v, rho * steps + (1 - rho) * s**2


def amsgrad(w, g, m, v, largest, learning_rate, beta1, beta2, eps, weight_decay, step):
    _, m, v = adam(w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step)
    largest = np.maximum(largest, v)
    return w - learning_rate * (m / (1 - beta1**step)) / (np.sqrt(largest / (1 - beta2**step)) + eps), m, v, largest


def amsgradw(w, g, m, v, largest, learning_rate, beta1, beta2, eps, weight_decay, step):
    return amsgrad(w * (1 - learning_rate * weight_decay), g, m, v, largest, learning_rate, beta1, beta2, eps, 0.0, step)


def nadam(w, g, m, v, learning_rate, beta1, beta2, momentum_decay, eps, weight_decay, step):
    g = g + weight_decay * w
    _, m, v = adam(w, g, m, v, learning_rate, beta1, beta2, eps, 0.0, step)
    mu = [beta1 * (1 - 0.96 ** (k * momentum_decay) / 2) for k in range(1, step + 2)]
    product = math.prod(mu[:-1])
    s = (1 - mu[-2]) / (1 - product) * g + mu[-1] / (1 - product * mu[-1]) * m
    return w - learning_rate * s / (np.sqrt(v / (1 - beta2**step)) + eps), m, v


def radam(w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step):
    _, m, v = adam(w, g, m, v, learning_rate, beta1, beta2, eps, weight_decay, step)
    n = 2 / (1 - beta2) - 1
    k = n - 2 * step * beta2**step / (1 - beta2**step)
    s = m / (1 - beta1**step)
    if k > 5:
        s = s * np.sqrt((k - 4) * (k - 2) * n / ((n - 4) * (n - 2) * k)) * np.sqrt(1 - beta2**step) / (np.sqrt(v) + eps)
    return w - learning_rate * s, m, v


def rmsprop_momentum(w, g, v, velocity, learning_rate, momentum, alpha, eps, weight_decay):
    g = g + weight_decay * w
    v = alpha * v + (1 - alpha) * g**2
    velocity = momentum * velocity + g / (np.sqrt(v) + eps)
    return w - learning_rate * velocity, v, velocity


def rmsprop_centered(w, g, v, mean, velocity, learning_rate, momentum, alpha, eps, weight_decay):
    g = g + weight_decay * w
    v, mean = alpha * v + (1 - alpha) * g**2, alpha * mean + (1 - alpha) * g
    velocity = momentum * velocity + g / (np.sqrt(v - mean**2) + eps)
    return w - learning_rate * velocity, v, mean, velocity


# Random numbers, in whole numbers of any size.


def philox(counter, key):
    """Return Philox4x32-10 of four words and two, after the paper."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 2**32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


WEIGHTS, SHUFFLE, DROPOUT = (purpose << 28 for purpose in (1, 2, 3))


def key(seed):
    return seed % 2**32, seed >> 32


def random_bits(seed, purpose, stream, n):
    """Return n whole numbers of 64 bits."""
    words = [philox((e % 2**32, e >> 32, stream, purpose), key(seed)) for e in range(n)]
    return [high << 32 | low for low, high, _, _ in words]


def permutation(seed, epoch, n):
    order = list(range(n))
    for i, bits in enumerate(random_bits(seed, SHUFFLE, epoch, n)):
        j = bits * (i + 1) >> 64
        order[i] = order[j]
        order[j] = i
    return order


def random_uniform(seed, stream, low, high, shape):
    u = [(bits >> 11) / 2**53 for bits in random_bits(seed, WEIGHTS, stream, math.prod(shape))]
    return low + (high - low) * np.reshape(u, shape)


def random_normal(seed, stream, mean, std, shape):
    p = [((bits >> 12) + 0.5) / 2**52 for bits in random_bits(seed, WEIGHTS, stream, math.prod(shape))]
    return mean + std * np.reshape([NormalDist().inv_cdf(x) for x in p], shape)


def dropout_mask(rate, seed, step, layer, shape):
    """Return the factors of `dropout_forward`: 0 or 1 / (1 - rate), of the rate rounded to 2**-32."""
    words = [[philox((j, i // 4, step, DROPOUT | layer), key(seed))[i % 4] for j in range(shape[1])] for i in range(shape[0])]
    return np.where(np.reshape(words, shape) >= round(rate * 2**32), 2**32 / (2**32 - round(rate * 2**32)), 0.0)
