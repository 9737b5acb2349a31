"""Functions as users write them: silu with a factor, and Huber's loss."""

from kernels import scalar


def swish(z, b):
    one = scalar.like(z, 1.0)
    return z / (one + scalar.exp(-b * z))


def swish_slope(z, b):
    one = scalar.like(z, 1.0)
    s = one / (one + scalar.exp(-b * z))
    return s + b * z * s * (one - s)


def bend(a, t, delta):
    d = a - t
    size, half = scalar.absolute(d), scalar.like(a, 0.5)
    return half * d * d if size <= delta else delta * (size - half * delta)


def bend_slope(a, t, delta):
    return min(max(a - t, -delta), delta)
