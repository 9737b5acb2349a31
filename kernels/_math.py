"""exp, expm1, log, log1p, tanh and erf of one float32 or float64, made to vectorize in the loop around them.

Own polynomials, fitted for the least greatest relative error, over the full range, denormal numbers included. Every step is a
multiplication, an addition, a fused multiply-add, a division or a select, so the bits are the same on every CPU
and at every vector width; LLVM's and the C library's functions would be called once an element, 6 times slower.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._bits import absolute, choose, copysign, fma, like, polynomial, power_of_two, split_exponent
from ._jit import inline


class _Exponential(NamedTuple):
    """Constants of exp and its kin: e**r = 1 + r + r**2 * series(r) for |r| <= log(2) / 2."""

    series: tuple[Any, ...]
    log2_e: Any
    round: Any  # adding it rounds to a whole number, which stands in the last bits
    log_2_high: Any
    log_2_low: Any
    lowest: Any  # exp is 0 below
    highest: Any  # exp is infinite above
    flat: Any  # |tanh| is 1 above, expm1 is -1 below its negative
    tiny: Any  # expm1(x) is x where |x| is smaller


class _Logarithm(NamedTuple):
    """Constants of log and log1p: log(1 + f) = f - f**2 * series(f) for sqrt(1/2) <= 1 + f <= sqrt(2)."""

    series: tuple[Any, ...]
    log_2_high: Any  # short: its product with an exponent is exact
    log_2_low: Any
    round: Any  # adding it puts a whole number into the last bits
    normal: Any  # the smallest normal number
    lift: Any  # makes a denormal number normal
    lifted: Any  # the exponent of lift
    tiny: Any  # log1p(x) is x where |x| is smaller
    large: Any  # log1p(x) is log(x) where x is larger


class _Error(NamedTuple):
    """Constants of erf: a + a * near(a**2) for a <= 1, else 1 - exp(far(a))."""

    near: tuple[Any, ...]
    far: tuple[Any, ...]
    flat: Any  # erf is 1 above


def _constants(dtype: Any, kind: Any, **values: Any) -> Any:
    """Return a `kind` with every number in `dtype`."""
    return kind(**{name: tuple(dtype(c) for c in value) if isinstance(value, tuple) else dtype(value) for name, value in values.items()})


EXPONENTIAL = (
    _constants(
        np.float32,
        _Exponential,
        series=(0.5, 0.16666635870933533, 0.041666511446237564, 0.008341613225638866, 0.0013930528657510877, 0.0001492332376074046),
        log2_e=1.4426950408889634,
        round=1.5 * 2.0**23,
        log_2_high=0.693145751953125,
        log_2_low=1.428606765330187e-06,
        lowest=-104.0,
        highest=89.0,
        flat=18.0,
        tiny=2.0**-25,
    ),
    _constants(
        np.float64,
        _Exponential,
        series=(
            0.5,
            0.16666666666666677,
            0.04166666666666651,
            0.008333333333321691,
            0.0013888888888962364,
            0.00019841269885966255,
            2.4801587172552223e-05,
            2.7557244373867842e-06,
            2.7557402631932016e-07,
            2.5108978989049336e-08,
            2.087533302453637e-09,
        ),
        log2_e=1.4426950408889634,
        round=1.5 * 2.0**52,
        log_2_high=0.693147180559663,
        log_2_low=2.8235290563031577e-13,
        lowest=-746.0,
        highest=710.0,
        flat=38.0,
        tiny=2.0**-54,
    ),
)

LOGARITHM = (
    _constants(
        np.float32,
        _Logarithm,
        series=(
            0.49999988079071045,
            -0.3333359956741333,
            0.2500189542770386,
            -0.19984492659568787,
            0.1658579409122467,
            -0.1450248658657074,
            0.13763727247714996,
            -0.11102253198623657,
            0.04170465096831322,
        ),
        log_2_high=0.693145751953125,
        log_2_low=1.428606765330187e-06,
        round=1.5 * 2.0**23,
        normal=2.0**-126,
        lift=2.0**24,
        lifted=24.0,
        tiny=2.0**-25,
        large=2.0**60,
    ),
    _constants(
        np.float64,
        _Logarithm,
        series=(
            0.5000000000000003,
            -0.33333333333333026,
            0.2499999999997492,
            -0.20000000000085225,
            0.1666666667135561,
            -0.14285714279618858,
            0.12499999604491735,
            -0.11111111099022711,
            0.1000001793947468,
            -0.09090927443680367,
            0.08332864062164044,
            -0.07691433132392861,
            0.07149937965486039,
            -0.0668593466759903,
            0.06194360714324152,
            -0.0565896952253163,
            0.05678131208036114,
            -0.06529547030041054,
            0.06006074149944068,
            -0.026173647882597583,
        ),
        log_2_high=0.693147180559663,
        log_2_low=2.8235290563031577e-13,
        round=1.5 * 2.0**52,
        normal=2.0**-1022,
        lift=2.0**54,
        lifted=54.0,
        tiny=2.0**-54,
        large=2.0**60,
    ),
)

ERROR = (
    _constants(
        np.float32,
        _Error,
        near=(
            0.12837916612625122,
            -0.3761262595653534,
            0.11283578723669052,
            -0.026853442192077637,
            0.005187638103961945,
            -0.0008005044073797762,
            7.84090007073246e-05,
        ),
        far=(
            -0.0003415246610529721,
            -1.1270891427993774,
            -0.6381449699401855,
            -0.10310659557580948,
            0.021837975829839706,
            -0.002947635482996702,
            0.0001863770594354719,
        ),
        flat=4.0,
    ),
    _constants(
        np.float64,
        _Error,
        near=(
            0.12837916709551256,
            -0.3761263890318352,
            0.11283791670944185,
            -0.02686617064311148,
            0.005223977606118576,
            -0.0008548325929319783,
            0.00012055293577066666,
            -1.4924712305310657e-05,
            1.6447131613087269e-06,
            -1.6206314085345138e-07,
            1.371098183503464e-08,
            -7.779471205814214e-10,
        ),
        far=(
            -1.0633450241471871e-06,
            -1.1283687144484416,
            -0.6366675693253131,
            -0.102637674096696,
            0.01886542684561075,
            0.0005840110679864807,
            -0.0020987274812481853,
            0.0009199124930426646,
            -0.0002306338326274434,
            2.7993524109588196e-05,
            3.612037463256517e-06,
            -2.6732062585461234e-06,
            6.877907438589346e-07,
            -1.082263400715748e-07,
            1.0903887818539397e-08,
            -6.518490306072568e-10,
            1.7705243822098938e-11,
        ),
        flat=6.0,
    ),
)


@inline
def _reduce(x, k):
    """Return (n, e**r - 1) with x = n * log(2) + r, |r| <= log(2) / 2, n a whole number."""
    n = fma(x, k.log2_e, k.round) - k.round
    r = fma(n, -k.log_2_low, fma(n, -k.log_2_high, x))
    return n, fma(r * r, polynomial(r, k.series), r)


@inline
def exp(x):
    """Return e**x, within 1 ULP (float32 and float64)."""
    k = choose(x, EXPONENTIAL)
    x = k.lowest if x < k.lowest else x
    x = k.highest if x > k.highest else x
    n, p = _reduce(x, k)
    # 2**n in two factors: both are normal numbers, and only the last product is rounded to a denormal one
    half = fma(n, like(x, 0.5), k.round)
    rest = n - (half - k.round)
    return (like(x, 1.0) + p) * power_of_two(half) * power_of_two(rest + k.round)


@inline
def expm1(x):
    """Return e**x - 1, within 2 ULP (float32 and float64), also where x is small."""
    k = choose(x, EXPONENTIAL)
    y = -k.flat if x < -k.flat else x
    y = k.highest if y > k.highest else y
    n, p = _reduce(y, k)
    # half of 2**n: the power for the largest x, 2**(mantissa exponents), would overflow
    scale = power_of_two(n + k.round - like(x, 1.0))
    y = fma(scale, p, scale - like(x, 0.5)) * like(x, 2.0)
    return x if absolute(x) < k.tiny else y


@inline
def tanh(x):
    """Return (1 - e**-2x) / (1 + e**-2x), within 2.5 ULP (float32 and float64)."""
    k = choose(x, EXPONENTIAL)
    a = absolute(x)
    a = k.flat if a > k.flat else a
    n, p = _reduce(-(a + a), k)
    scale = power_of_two(n + k.round)
    one = like(x, 1.0)
    q = fma(scale, p, scale)  # e**-2a
    # (1 - q) / (1 + q), where q is small as 1 - 2q / (1 + q): the error of the quotient then hardly counts
    near = q > like(x, 1.0 / 3.0)
    y = (-fma(scale, p, scale - one) if near else q + q) / (one + q)
    return copysign(y if near else one - y, x)


@inline
def _log_of(f, e, k):
    """Return e * log(2) + log(1 + f)."""
    y = fma(e, k.log_2_low, -(f * f) * polynomial(f, k.series))
    return fma(e, k.log_2_high, f + y)


@inline
def log(x):
    """Return the natural logarithm of x, within 2 ULP (float32 and float64): -inf at 0, nan below."""
    k = choose(x, LOGARITHM)
    zero = like(x, 0.0)
    small = x < k.normal
    m, e = split_exponent(x * k.lift if small else x)
    e = e - k.lifted if small else e
    y = _log_of(m - like(x, 1.0), e, k)
    y = y if x < like(x, np.inf) else x
    y = like(x, -np.inf) if x == zero else y
    return like(x, np.nan) if x < zero else y


@inline
def log1p(x):
    """Return log(1 + x), within 2 ULP (float32 and float64), also where x is small: -inf at -1, nan below."""
    k = choose(x, LOGARITHM)
    one = like(x, 1.0)
    u = one + x
    m, e = split_exponent(u)
    # 2**-e * (1 + x) - 1 rounded once; m has lost the last bits of x
    scale = power_of_two(k.round - e)
    f = m - one if x > k.large else fma(scale, x, scale - one)
    y = _log_of(f, e, k)
    y = y if x < like(x, np.inf) else x
    y = like(x, -np.inf) if u == like(x, 0.0) else y
    y = like(x, np.nan) if x < -one else y
    return x if absolute(x) < k.tiny else y


@inline
def erf(x):
    """Return 2 / sqrt(pi) times the integral of e**-t**2 from 0 to x, within 2 ULP (float32 and float64)."""
    k = choose(x, ERROR)
    one = like(x, 1.0)
    a = absolute(x)
    a = k.flat if a > k.flat else a
    near = fma(a, polynomial(a * a, k.near), a)
    far = one - exp(polynomial(a, k.far))
    return copysign(far if a > one else near, x)
