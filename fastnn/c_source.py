"""A network as C source: one file of C99 that needs nothing but libm, the weights inside, loops that compilers vectorize.

The elementary functions are those of the kernels, so that they vectorize too, without options that change arithmetic.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from kernels._math import ERROR, EXPONENTIAL

from . import validation
from .files import replace
from .layers import BEGIN, END, BatchNorm, Dense, LayerNorm, PReLU, Scale, Standardize
from .stack import Part, activation_name, columns, is_alone, parts, to_scale
from .validation import Array

PANEL = 16  # numbers: rows of weights are padded to whole ones, so that loops over them are vectors only
TOGETHER = 8  # rows of weights that are added at once, so that the sums are read and written once for all of them

HEADER = """\
/* {title}

   Made by fastnn {version}. C99, needs libm only. Compile it with optimization, for instance

       gcc -O3 -march=native -ffp-contract=fast -fno-trapping-math -c {file}

   where the last option lets loops with a choice in them vectorize, and changes no result.

   void {name}_predict(const {takes} *X, long n_rows, {gives} *outputs);

       Writes the outputs of the network for each row: X holds n_rows rows of {n_in} numbers, one row after the other,
       outputs has room for n_rows rows of {n_out}. X and outputs must not overlap. Nothing is allocated, nothing is
       remembered: any number of threads may call it at once. It takes {stack:,} bytes of the stack.

   The numbers of columns are {name}_n_features and {name}_n_outputs. */

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef {real} real;
enum {{ {name}_n_features = {n_in}, {name}_n_outputs = {n_out} }};
void {name}_predict(const {takes} *X, long n_rows, {gives} *outputs);
"""

DENSE = """
/* z = x W + b; rows of W are `stride` numbers long. */
static inline void dense(const real *restrict x, const real *restrict W, const real *restrict b, real *restrict z, int n_in, int stride)
{
    int k = 0;
    for (int j = 0; j < stride; j++)
        z[j] = b[j];
    for (; k + TOGETHER <= n_in; k += TOGETHER) {
        const real *restrict w = W + (long)k * stride;
        const real VALUES;
        for (int j = 0; j < stride; j++)
            z[j] = z[j]SUM;
    }
    for (; k < n_in; k++) {
        const real *restrict w = W + (long)k * stride;
        const real x0 = x[k];
        for (int j = 0; j < stride; j++)
            z[j] += x0 * w[j];
    }
}
"""

SUM = """
static inline double sum(const real *restrict x, int n)
{
    double lanes[8] = {0}, total = 0;
    int k = 0;
    for (; k + 8 <= n; k += 8)
        for (int l = 0; l < 8; l++)
            lanes[l] += x[k + l];
    for (; k < n; k++)
        total += x[k];
    for (int l = 0; l < 8; l++)
        total += lanes[l];
    return total;
}
"""

# Of one number. What they need of each other is found by their names.
FUNCTIONS = {
    "power_of_two": """
/* 2**n, of n + $round$. */
static inline real power_of_two(real n)
{
    $bits$ bits;
    memcpy(&bits, &n, sizeof bits);
    bits = (bits + $bias$) << $mantissa$;
    memcpy(&n, &bits, sizeof n);
    return n;
}
""",
    "reduced": """
/* e**r - 1 and n, with x = n log(2) + r. */
static inline real reduced(real x, real *n)
{
    const real m = (x * $log2_e$ + $round$) - $round$;
    const real r = (x - m * $log_2_high$) - m * $log_2_low$;
    *n = m;
    return r * r * ($series:r$) + r;
}
""",
    "exp_of": """
static inline real exp_of(real x)
{
    real n, p, half;
    x = x < $lowest$ ? $lowest$ : x;
    x = x > $highest$ ? $highest$ : x;
    p = reduced(x, &n);
    half = n * $half$ + $round$;
    return ($one$ + p) * power_of_two(half) * power_of_two(n - (half - $round$) + $round$);
}
""",
    "expm1_of": """
static inline real expm1_of(real x)
{
    real n, p, scale, y = x < -$flat$ ? -$flat$ : x;
    y = y > $highest$ ? $highest$ : y;
    p = reduced(y, &n);
    scale = power_of_two(n + $round$ - $one$);
    y = (scale * p + (scale - $half$)) * $two$;
    return $fabs$(x) < $tiny$ ? x : y;
}
""",
    "tanh_of": """
static inline real tanh_of(real x)
{
    real n, p, scale, q, y, a = $fabs$(x);
    a = a > $flat$ ? $flat$ : a;
    p = reduced(-(a + a), &n);
    scale = power_of_two(n + $round$);
    q = scale * p + scale;
    y = (q > $third$ ? -(scale * p + (scale - $one$)) : q + q) / ($one$ + q);
    return $copysign$(q > $third$ ? y : $one$ - y, x);
}
""",
    "erf_of": """
static inline real erf_of(real x)
{
    real near, far, a = $fabs$(x);
    a = a > $erf_flat$ ? $erf_flat$ : a;
    near = a * ($near:a * a$) + a;
    far = $one$ - exp_of($far:a$);
    return $copysign$(a > $one$ ? far : near, x);
}
""",
    "sigmoid_of": """
static inline real sigmoid_of(real z)
{
    const real e = exp_of(-$fabs$(z));
    return (z < 0 ? e : $one$) / ($one$ + e);
}
""",
    "relu": "\nstatic inline real relu(real z) { return z < 0 ? 0 : z; }\n",
    "leaky_relu": "\nstatic inline real leaky_relu(real z) { return z < 0 ? $leak$ * z : z; }\n",
    "elu": "\nstatic inline real elu(real z) { return z > 0 ? z : expm1_of(z); }\n",
    "selu": "\nstatic inline real selu(real z) { return z > 0 ? $selu_scale$ * z : $selu_low$ * expm1_of(z); }\n",
    "gelu": """
static inline real gelu(real z)
{
    z = z < -$limit$ ? -$limit$ : z;
    return z * ($half$ + $half$ * erf_of(z * $root_half$));
}
""",
    "gelu_tanh": """
static inline real gelu_tanh(real z)
{
    z = z < -$limit$ ? -$limit$ : z;
    return z * sigmoid_of($twice_root$ * (z + $cube$ * (z * z * z)));
}
""",
    "silu": """
static inline real silu(real z)
{
    z = z < -$limit$ ? -$limit$ : z;
    return z * sigmoid_of(z);
}
""",
    "mish": """
/* z tanh(log(1 + e)) with e = e**z: (e**2 + 2 e) / (e**2 + 2 e + 2). */
static inline real mish(real z)
{
    real e;
    z = z < -$limit$ ? -$limit$ : z;
    e = exp_of(z > $many$ ? $many$ : z);
    e = e * (e + $two$);
    return z * (e / (e + $two$));
}
""",
    "hard_swish": """
static inline real hard_swish(real z)
{
    real gate = z + $three$;
    gate = gate < 0 ? 0 : gate;
    gate = gate > $six$ ? $six$ : gate;
    return z <= -$three$ ? 0 : z * (gate * $sixth$);
}
""",
    "softsign": "\nstatic inline real softsign(real z) { return z / ($one$ + $fabs$(z)); }\n",
    "exponential": "\nstatic inline real exponential(real z) { return exp_of(z); }\n",
    "softplus": "\nstatic inline real softplus(real z) { return (z < 0 ? 0 : z) + $log1p$(exp_of(-$fabs$(z))); }\n",
    "tanh": "\nstatic inline real tanh_activation(real z) { return tanh_of(z); }\n",
    "sigmoid": "\nstatic inline real sigmoid(real z) { return sigmoid_of(z); }\n",
    "softmax": """
static inline void softmax(real *restrict z, int n)
{
    real top = -INFINITY;
    double total = 0;
    for (int j = 0; j < n; j++)
        top = z[j] > top ? z[j] : top;
    for (int j = 0; j < n; j++)
        z[j] = exp_of(z[j] - top);
    for (int j = 0; j < n; j++)
        total += z[j];
    for (int j = 0; j < n; j++)
        z[j] = (real)(z[j] / total);
}
""",
    "log_softmax": """
static inline void log_softmax(real *restrict z, int n)
{
    real top = -INFINITY;
    double total = 0;
    for (int j = 0; j < n; j++)
        top = z[j] > top ? z[j] : top;
    for (int j = 0; j < n; j++)
        z[j] -= top;
    for (int j = 0; j < n; j++)
        total += exp_of(z[j]);
    total = log(total);
    for (int j = 0; j < n; j++)
        z[j] = (real)(z[j] - total);
}
""",
}
NEEDS = {
    "reduced": ("power_of_two",),
    "exp_of": ("reduced",),
    "expm1_of": ("reduced",),
    "tanh_of": ("reduced",),
    "erf_of": ("exp_of",),
    "sigmoid_of": ("exp_of",),
}
OF_ROWS = ("softmax", "log_softmax")
CALLED = {"tanh": "tanh_activation"}  # where libm has the name
ACTIVATIONS = ["identity", *(name for name in FUNCTIONS if not name.endswith("_of") and name not in ("power_of_two", "reduced"))]


class _Source:
    """The text as it grows: constants, functions that are used, and the lines of a row."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.wide = dtype, dtype == np.float64
        self.used: set[str] = set()
        self.buffers: set[str] = set()
        self.constants: list[str] = []
        self.lines: list[str] = []
        self.at, self.largest, self.count = "x", 0, 0

    def number(self, value: Any, dtype: Any = None) -> str:
        """Return a number as C reads it back to the bit."""
        dtype = dtype or self.dtype
        text = float(np.asarray(value).astype(dtype)).hex()
        mantissa, exponent = text.split("p")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa if mantissa[-1] != 'x' else mantissa + '0'}p{exponent}{'' if dtype == np.float64 else 'f'}"

    def array(self, name: str, A: Array, kind: str = "real") -> str:
        """Add a constant array."""
        dtype = np.float64 if kind == "double" else self.dtype
        numbers = [self.number(value, dtype) for value in A.astype(dtype).ravel().tolist()]
        rows = ",\n    ".join(", ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8))
        self.constants.append(f"static const {kind} {name}[{len(numbers)}] = {{\n    {rows}}};\n")
        return name

    def expanded(self, name: str) -> str:
        """Return a function with its constants."""
        exponential, error = EXPONENTIAL[self.wide], ERROR[self.wide]
        suffix = "" if self.wide else "f"
        words = {"bits": "uint64_t", "bias": "1023", "mantissa": "52"} if self.wide else {"bits": "uint32_t", "bias": "127", "mantissa": "23"}
        words |= {one: f"{one}{suffix}" for one in ("fabs", "copysign", "log1p")}
        numbers = {one: getattr(exponential, one) for one in exponential._fields if one != "series"} | {"erf_flat": error.flat}
        numbers |= {
            "half": 0.5,
            "one": 1.0,
            "two": 2.0,
            "three": 3.0,
            "six": 6.0,
            "sixth": 1 / 6,
            "third": 1 / 3,
            "limit": 1000.0,
            "many": 20.0 if self.wide else 10.0,
            "leak": 0.01,
        }
        numbers |= {"selu_scale": 1.0507009873554805, "selu_low": 1.0507009873554805 * 1.6732632423543772, "root_half": 0.7071067811865476}
        numbers |= {"twice_root": 2 * 0.7978845608028654, "cube": 0.044715}
        series = {"series": exponential.series, "near": error.near, "far": error.far}

        def word(found: re.Match[str]) -> str:
            what, _, x = found[1].partition(":")
            if x:
                return self._polynomial(series[what], f"({x})" if " " in x else x)
            return words[what] if what in words else self.number(numbers[what])

        return re.sub(r"\$([^$]+)\$", word, FUNCTIONS[name])

    def _polynomial(self, coefficients: Any, x: str) -> str:
        text = self.number(coefficients[-1])
        for c in coefficients[-2::-1]:
            text = f"({text}) * {x} + {self.number(c)}" if "*" in text else f"{text} * {x} + {self.number(c)}"
        return text

    def use(self, name: str) -> None:
        """Take a function, and what it needs."""
        self.used.add(name)
        needed = NEEDS.get(name) or [other for other in FUNCTIONS if f"{other}(" in FUNCTIONS[name] and other != name]
        for other in needed:
            if other not in self.used:
                self.use(other)

    def row(self, text: str) -> None:
        """Add a line to what is done to a row."""
        self.lines.append(f"        {text}")

    def each(self, n: int, text: str) -> None:
        """Add a loop over columns j."""
        self.row(f"for (int j = 0; j < {n}; j++)")
        self.row(f"    {text}")

    def elsewhere(self, n: int) -> str:
        """Return the buffer that is free, with room for so many numbers."""
        self.largest = max(self.largest, n)
        out = "b" if self.at == "a" else "a"
        self.buffers.add(out)
        return out


def _dense(source: _Source, layer: Dense, W: Array, b: Array | None) -> None:
    """Write a dense layer and its activation."""
    n_in, n_out = W.shape
    stride, i = -(-n_out // PANEL) * PANEL, source.count
    source.count += 1
    padded = np.zeros((n_in, stride), W.dtype)
    padded[:, :n_out] = W
    bias = np.zeros(stride, W.dtype)
    if b is not None:
        bias[:n_out] = b
    out = source.elsewhere(stride)
    if is_alone(Part(layer, (W, b))):
        source.each(n_out, f"{out}[j] = {source.at}[j];")
        stride = n_out
    else:
        source.row(f"dense({source.at}, {source.array(f'W{i}', padded)}, {source.array(f'b{i}', bias)}, {out}, {n_in}, {stride});")
    source.at = out
    name = activation_name(layer, "C source", ACTIVATIONS)
    if name != "identity":
        source.use(name)
    if name in OF_ROWS:
        source.row(f"{name}({out}, {n_out});")
    elif name != "identity":
        source.each(stride, f"{out}[j] = {CALLED.get(name, name)}({out}[j]);")


def _layer_norm(source: _Source, layer: LayerNorm, gain: Array, bias: Array) -> None:
    """Write a normalization of a row."""
    n, i = len(gain), source.count
    source.count += 1
    source.used.add("sum")
    out, x = source.elsewhere(n), source.at
    source.row("{")
    source.row(f"const real mean = (real)(sum({x}, {n}) / {n});")
    source.row("real scale;")
    source.each(n, f"{out}[j] = {x}[j] - mean;")
    source.row(f"real squares[{n}];")
    source.each(n, f"squares[j] = {out}[j] * {out}[j];")
    source.row(f"scale = (real)(1 / sqrt(sum(squares, {n}) / {n} + {source.number(layer.eps, np.float64)}));")
    source.each(n, f"{out}[j] = {out}[j] * scale * {source.array(f'gain{i}', gain)}[j] + {source.array(f'bias{i}', bias)}[j];")
    source.row("}")
    source.at = out


def _batch_norm(source: _Source, layer: BatchNorm, *arrays: Array) -> None:
    """Write what gives columns the mean and variance that they had in training."""
    i = source.count
    source.count += 1
    gain, bias, mean, variance = (A.astype(np.float64) for A in arrays)
    factor = source.array(f"factor{i}", gain / np.sqrt(variance + layer.eps))
    out, n = source.elsewhere(len(gain)), len(gain)
    source.each(n, f"{out}[j] = ({source.at}[j] - {source.array(f'mean{i}', mean)}[j]) * {factor}[j] + {source.array(f'bias{i}', bias)}[j];")
    source.at = out


def _prelu(source: _Source, n: int, slopes: Array) -> None:
    """Write what multiplies numbers below zero by slopes."""
    i, x, out = source.count, source.at, source.elsewhere(n)
    source.count += 1
    slope = f"{source.array(f'slope{i}', slopes)}[{'j' if len(slopes) > 1 else '0'}]"
    source.each(n, f"{out}[j] = {x}[j] > 0 ? {x}[j] : {slope} * {x}[j];")
    source.at = out


def _scaled(source: _Source, net: Any, layer: Any) -> str:
    """Write what scales the inputs; return their type."""
    scale, shift = to_scale(layer)
    n, out = net.n_features, source.elsewhere(net.n_features)
    if not isinstance(scale, np.ndarray):
        source.each(n, f"{out}[j] = x[j] * {source.number(scale)} + {source.number(shift)};")
        takes = "real"
    else:
        factor, offset = (source.array(name, columns(A, n), "double") for name, A in (("scale", scale), ("shift", shift)))
        source.each(n, f"{out}[j] = (real)(x[j] * {factor}[j] + {offset}[j]);")
        takes = "double"
    source.at = out
    return takes


def text(net: Any, name: str, file: str) -> str:
    """Return the source of a network."""
    source = _Source(net.dtype)
    real = {"float32": "float", "float64": "double"}[net.dtype.name]
    takes, last, width = "real", None, net.n_features
    kept: list[tuple[str, int]] = []  # what residual blocks begin with
    for layer, arrays in parts(net):
        if isinstance(layer, Dense):
            _dense(source, layer, *arrays)
        elif isinstance(layer, LayerNorm):
            _layer_norm(source, layer, *arrays)
        elif isinstance(layer, BatchNorm):
            _batch_norm(source, layer, *arrays)
        elif isinstance(layer, PReLU):
            _prelu(source, width, *arrays)
        elif layer is BEGIN:
            kept.append((f"kept{len(kept)}_{source.count}", width))
            source.count += 1
            source.row(f"real {kept[-1][0]}[{width}];")
            source.each(width, f"{kept[-1][0]}[j] = {source.at}[j];")
        elif layer is END:
            name_, n = kept.pop()
            source.each(n, f"{source.at}[j] += {name_}[j];")
        elif getattr(layer, "targets", False):
            last = [source.array(one, columns(A, net.n_outputs), "double") for one, A in zip(("std", "mean"), to_scale(layer))]
        elif isinstance(layer, (Scale, Standardize)):
            takes = _scaled(source, net, layer)
        width = getattr(layer, "units", width)
    gives = "real" if last is None else "double"
    source.each(net.n_outputs, f"out[j] = {source.at}[j]{'' if last is None else f' * {last[0]}[j] + {last[1]}[j]'};")
    size = -(-max(source.largest, net.n_features) // PANEL) * PANEL
    takes, gives = (real if one == "real" else one for one in (takes, gives))
    sizes = "-".join(map(str, (net.n_features, *(layer.units for layer in net.dense))))
    title = f"A network {sizes} in {net.dtype.name}: rows of {net.n_features} numbers in, rows of {net.n_outputs} out."
    words = {"title": title, "version": _version(), "file": file, "name": name, "n_in": net.n_features, "n_out": net.n_outputs}
    words |= {"takes": takes, "gives": gives, "real": real, "stack": len(source.buffers) * size * net.dtype.itemsize}
    values = ", ".join(f"x{i} = x[k + {i}]" for i in range(TOGETHER))
    total = "".join(f" + x{i} * w[{f'{i} * stride + ' if i else ''}j]" for i in range(TOGETHER))
    dense = DENSE.replace("VALUES", values).replace("SUM", total).replace("TOGETHER", str(TOGETHER))
    chosen = ([SUM] if "sum" in source.used else []) + [source.expanded(one) for one in FUNCTIONS if one in source.used]
    buffers = ", ".join(f"{one}[{size}]" for one in sorted(source.buffers))
    body = f"""
void {name}_predict(const {takes} *X, long n_rows, {gives} *outputs)
{{
    real {buffers};
    for (long i = 0; i < n_rows; i++) {{
        const {takes} *restrict x = X + i * {net.n_features};
        {gives} *restrict out = outputs + i * {net.n_outputs};
{chr(10).join(source.lines)}
    }}
}}
"""
    return "".join([HEADER.format(**words), dense, *chosen, "\n", *source.constants, body])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fastnn")
    except PackageNotFoundError:
        return "from its checkout"


def write(net: Any, path: str | os.PathLike[str], name: str | None) -> None:
    """Write a network as C source."""
    if name is None:
        stem = re.sub(r"\W", "_", Path(os.fspath(path)).name.split(".")[0], flags=re.ASCII)
        name = stem if re.fullmatch(r"[A-Za-z]\w*", stem) else f"network_{stem.strip('_')}".rstrip("_")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ValueError(f"name must be one that C functions can have; got {validation.shown(name)}.")
    validation.finite("parameters", net.parameters)
    replace(path, text(net, name, Path(os.fspath(path)).name).encode())
