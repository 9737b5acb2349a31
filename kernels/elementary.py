"""The elementary functions over arrays: exp, expm1, log, log1p, tanh and erf, element by element."""

from __future__ import annotations

from . import _math
from ._elements import map_elements
from ._jit import kernel

__all__ = ["erf", "exp", "expm1", "log", "log1p", "tanh"]

_exp, _expm1, _log, _log1p, _tanh, _erf = _math.exp, _math.expm1, _math.log, _math.log1p, _math.tanh, _math.erf


@kernel
def exp(x, out):
    """Compute out = e**x, within 1 ULP.

    Parameters
    ----------
    x : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be x.
    """
    if x.shape != out.shape:
        raise ValueError("exp: out must have the shape of x")
    map_elements(_exp, x, out)


@kernel
def expm1(x, out):
    """Compute out = e**x - 1, within 2 ULP, also where x is small.

    Parameters
    ----------
    x : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be x.
    """
    if x.shape != out.shape:
        raise ValueError("expm1: out must have the shape of x")
    map_elements(_expm1, x, out)


@kernel
def log(x, out):
    """Compute out = log(x), the natural logarithm, within 1 ULP: -inf at 0, nan below.

    Parameters
    ----------
    x : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be x.
    """
    if x.shape != out.shape:
        raise ValueError("log: out must have the shape of x")
    map_elements(_log, x, out)


@kernel
def log1p(x, out):
    """Compute out = log(1 + x), within 2 ULP, also where x is small: -inf at -1, nan below.

    Parameters
    ----------
    x : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be x.
    """
    if x.shape != out.shape:
        raise ValueError("log1p: out must have the shape of x")
    map_elements(_log1p, x, out)


@kernel
def tanh(x, out):
    """Compute out = tanh(x), within 2.5 ULP.

    Parameters
    ----------
    x : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be x.
    """
    if x.shape != out.shape:
        raise ValueError("tanh: out must have the shape of x")
    map_elements(_tanh, x, out)


@kernel
def erf(x, out):
    """Compute out = erf(x) = 2 / sqrt(pi) * integral of e**-t**2 from 0 to x, within 2 ULP.

    Parameters
    ----------
    x : float32 or float64 array of any shape
    out : array of that shape, overwritten
        May be x.
    """
    if x.shape != out.shape:
        raise ValueError("erf: out must have the shape of x")
    map_elements(_erf, x, out)
