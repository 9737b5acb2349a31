"""The elementary functions of one number, for use inside functions of one's own: they vectorize in the loop around them.

From Python they take and return a number; compiled, a float32 or float64, whose dtype the result has.

Examples
--------
>>> import numba
>>> from kernels import scalar
>>> @numba.njit
... def swish(z):
...     return z / (scalar.like(z, 1.0) + scalar.exp(-z))
>>> round(swish(2.0), 6)
1.761594
"""

from __future__ import annotations

from . import _bits, _math
from ._jit import public_inline

__all__ = ["absolute", "erf", "exp", "expm1", "like", "log", "log1p", "tanh"]

exp, expm1, log, log1p = (public_inline(one.py_func) for one in (_math.exp, _math.expm1, _math.log, _math.log1p))
tanh, erf = (public_inline(one.py_func) for one in (_math.tanh, _math.erf))


@public_inline
def absolute(x):
    """Return |x|, nan kept."""
    return _bits.absolute(x)


@public_inline
def like(x, value):
    """Return a number in the dtype of x: `0.5 * x` would be calculated in float64, which is right, but takes twice as long in float32."""
    return _bits.like(x, value)
