"""The elementary functions over arrays: exp, expm1, log, log1p, tanh and erf, element by element."""

from __future__ import annotations

from . import _math
from ._factory import elementwise

__all__ = ["erf", "exp", "expm1", "log", "log1p", "tanh"]

exp = elementwise(__name__, "exp", _math.exp)
expm1 = elementwise(__name__, "expm1", _math.expm1)
log = elementwise(__name__, "log", _math.log)
log1p = elementwise(__name__, "log1p", _math.log1p)
tanh = elementwise(__name__, "tanh", _math.tanh)
erf = elementwise(__name__, "erf", _math.erf)
