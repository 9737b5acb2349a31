"""Loops over the elements of arrays of any shape and layout: fast where they are C-contiguous, right elsewhere.

Two arrays that may be one and the same keep LLVM from vectorizing where they are, so that case has a loop of its own.
"""

from __future__ import annotations

from ._jit import inline


@inline
def fill(out, value):
    """Write a number to each element of an array of one dimension."""
    for k in range(out.size):
        out[k] = value


@inline
def copy_elements(X, out):
    """Compute out = X, nothing where they are one array; an assignment out[:] = X takes 3 s to compile."""
    x, y = X.flat, out.flat
    if X.ctypes.data != out.ctypes.data:
        for i in range(out.size):
            y[i] = x[i]


@inline
def map_elements(function, X, out):
    """Compute out = function(X), element by element."""
    x, y = X.flat, out.flat
    if X.ctypes.data != out.ctypes.data:
        for i in range(out.size):
            y[i] = function(x[i])
    else:
        for i in range(out.size):
            y[i] = function(y[i])


@inline
def map_pairs(function, X, Y, out):
    """Compute out = function(X, Y), element by element; out may be Y."""
    x, y, z = X.flat, Y.flat, out.flat
    if Y.ctypes.data != out.ctypes.data:
        for i in range(out.size):
            z[i] = function(x[i], y[i])
    else:
        for i in range(out.size):
            z[i] = function(x[i], z[i])


@inline
def sum_elements(X):
    """Return the sum as float64: four chains in a fixed order, so the bits are the same everywhere and 4 times as fast as one."""
    x, n = X.flat, X.size
    whole = n & -4
    a = b = c = d = 0.0
    for i in range(0, whole, 4):
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
    for i in range(whole, n):
        a += x[i]
    return (a + b) + (c + d)
