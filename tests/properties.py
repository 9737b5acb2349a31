"""Random arrays through every public kernel beside its float64 twin, and random networks beside the formulas of `tests.reference`.

    python -m tests.properties --examples 10000
    python -m tests.properties --only tanh_forward --first 17 --examples 1

An example is sizes, a dtype, where the arrays lie and a seed, of which the numbers are a function: it is a function of `--seed` and its
number, and what fails is made smaller before it is shown. (Hypothesis draws such examples in four times the time of the rest.) Arrays
lie side by side; with gaps, backwards, transposed, with stride 0; interleaved; one in the place of the other; or so that they overlap,
which has to be refused. Whatever lies around them must stay as it is, the bits must be those of plain arrays, and the numbers those of
the twin.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import fastnn
import kernels
from kernels._jit import Kernel
from tests import random_networks, reference
from tests.kernels.test_optimizers import CODE, OF_THE_FACTORY, SETTINGS, WITHOUT_STEP
from tests.numerics import assert_close, assert_same_bits

Arrays = list[np.ndarray]

PLAIN, STRIDED, STRIDED_READS, IN_PLACE, INTERLEAVED, OVERLAPPING = LAYOUTS = (
    "side by side",
    "with gaps",
    "with gaps where they are read",
    "in place",
    "interleaved",
    "overlapping",
)
EDGES = (7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 49)  # around whole panels
CANARY = 7.0


@dataclass(frozen=True)
class Example:
    """What a property is tried with."""

    seed: int
    rows: int
    columns: int
    inputs: int
    layout: str
    dtype: str

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def shape(self) -> tuple[int, ...]:
        """Return a shape of two axes, of one or of three where arrays lie side by side: each other number costs a compilation."""
        if self.layout == PLAIN and self.seed % 4 == 0:
            return (self.columns,) if self.seed % 8 else (self.rows % 5, self.inputs % 7, self.columns)
        return self.rows, self.columns


SIZES = [*range(71), *EDGES, *EDGES, 0, 1, 2, 3]


def draw(seed: int, number: int) -> Example:
    """Return the example that has a number."""
    rng = np.random.default_rng([seed, number])
    rows, columns, inputs = (SIZES[i] for i in rng.integers(0, len(SIZES), 3))
    return Example(int(rng.integers(2**32)), rows, columns, inputs, LAYOUTS[rng.integers(len(LAYOUTS))], ("float32", "float64")[rng.integers(2)])


def smaller(example: Example) -> Iterator[Example]:
    """Yield examples that are simpler."""
    if example.layout != PLAIN:
        yield replace(example, layout=PLAIN)
    for name in ("rows", "columns", "inputs"):
        size = getattr(example, name)
        for less in sorted({0, 1, size // 2, size - 1}):
            if 0 <= less < size:
                yield replace(example, **{name: less})


# Where arrays lie.


class Room:
    """Arrays that lie somewhere in larger ones, which know whether something else was written."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.placed = rng, []

    def place(self, values: np.ndarray, strided: bool) -> np.ndarray:
        """Return an array of these values; with gaps around its elements, or side by side."""
        base, view = (self._gaps if strided else self._side_by_side)(values)
        view[...] = values
        self.watch(base, view)
        return view

    def watch(self, base: np.ndarray, view: np.ndarray) -> None:
        self.placed.append((base, view, base.copy(), view.copy()))

    def _side_by_side(self, values):
        first = int(self.rng.integers(1, 20))
        base = np.full(values.size + 40, CANARY).astype(values.dtype)
        return base, base[first : first + values.size].reshape(values.shape)

    def _gaps(self, values):
        shape = values.shape[::-1] if (transposed := self.rng.random() < 0.5) else values.shape
        steps = self.rng.integers(2, 4, len(shape))
        base = np.full(tuple(n * int(step) + 3 for n, step in zip(shape, steps)), CANARY).astype(values.dtype)
        forth = tuple(slice(1, 1 + n * int(step), int(step)) for n, step in zip(shape, steps))
        view = base[forth][tuple(slice(None, None, int(way)) for way in self.rng.choice((-1, 1), len(shape)))]
        return base, view.T if transposed else view

    def interleaved(self, values: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return two arrays of one shape: every other column of one matrix each."""
        base = np.full((values.shape[0], 2 * values.shape[1]), CANARY).astype(values.dtype)
        views = base[:, ::2], base[:, 1::2]
        views[0][...], views[1][...] = values, others
        for view in views:
            self.watch(base, view)
        return views

    def check(self, written: Sequence[int] = ()) -> None:
        """Raise where something was written that is not among the arrays of these numbers."""
        new = [view.copy() for _, view, _, _ in self.placed]
        for i in written:
            self.placed[i][1][...] = self.placed[i][3]
        for base, _, before, _ in self.placed:
            assert base.tobytes() == before.tobytes(), "something else was written"
        for i in written:
            self.placed[i][1][...] = new[i]


def apply(example: Example, call: Callable[[Arrays, Arrays], Any], reads: Arrays, writes: Arrays, replaces: bool = False) -> tuple[Any, Arrays] | None:
    """Call a kernel with arrays of these values, where the example says; return its result and what it wrote.

    The first of what it writes may be the first of what it reads if it `replaces` it. None where arrays overlapped and were refused.
    """
    plain = [values.copy() for values in reads], [values.copy() for values in writes]
    expected = call(*plain), plain[1]
    layout, rng, room = example.layout, np.random.default_rng([example.seed, 1]), Room(np.random.default_rng([example.seed, 2]))
    alike = reads[-1].shape == writes[0].shape and reads[-1].dtype == writes[0].dtype and reads[-1].ndim == 2
    if layout == OVERLAPPING and reads[-1].dtype == writes[0].dtype and min(reads[-1].size, writes[0].size) > 1:
        _refuses(rng, call, reads, writes)
        return None
    if layout == IN_PLACE and replaces:
        arrays = [room.place(values, False) for values in reads[:-1]]
        shared = room.place(reads[-1], False)
        given = [*arrays, shared], [shared, *(room.place(values, False) for values in writes[1:])]
        written = [len(arrays), *range(len(arrays) + 1, len(room.placed))]
    elif layout == INTERLEAVED and alike:
        arrays = [room.place(values, True) for values in reads[:-1]]
        one, other = room.interleaved(reads[-1], writes[0])
        given = [*arrays, one], [other, *(room.place(values, True) for values in writes[1:])]
        written = list(range(len(arrays) + 1, len(room.placed)))
    else:
        arrays = [room.place(values, layout in (STRIDED, STRIDED_READS)) for values in reads]
        given = arrays, [room.place(values, layout == STRIDED) for values in writes]
        written = list(range(len(arrays), len(room.placed)))
    result = call(*given)
    for actual, wanted in zip(given[1], expected[1]):
        if actual.tobytes() != wanted.tobytes():
            assert_same_bits(actual.copy(), wanted)  # NaN has many bits
    assert result == expected[0] or result != result
    room.check(written)
    return expected


def _refuses(rng, call, reads, writes):
    """Let the first of what is written begin inside the last of what is read."""
    last, first = reads[-1], writes[0]
    base = np.full(last.size + first.size, CANARY, first.dtype)
    base[: last.size] = last.ravel()
    at = int(rng.integers(1, last.size))
    before = base.copy()
    try:
        call([*(values.copy() for values in reads[:-1]), base[: last.size].reshape(last.shape)], [base[at : at + first.size].reshape(first.shape), *writes[1:]])
    except ValueError as error:
        assert re.fullmatch(r"[a-z_0-9]+: .* must .*share no memory [^\n]*", str(error)), error
    else:
        raise AssertionError("arrays that overlap were not refused")
    assert_same_bits(base, before)


def assert_finds(actual: np.ndarray, expected: np.ndarray, looser: float = 1.0) -> None:
    """Compare with a twin, whose numbers may leave the dtype."""
    with np.errstate(over="ignore"):
        assert_close(actual, np.asarray(expected).astype(actual.dtype), looser)


# Elementwise functions.


def numbers(example: Example, rng: np.random.Generator, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Return numbers of every size, some special, in a range."""
    shape, info = example.shape(), np.finfo(example.dtype)
    kind = rng.random(shape)
    large = rng.choice((-1.0, 1.0), shape) * 10.0 ** rng.uniform(-36, 36, shape)
    special = rng.choice([0.0, -0.0, 1.0, -1.0, info.tiny, -info.tiny / 4, info.eps, 3.0, -3.0], shape)
    values = np.select([kind < 0.7, kind < 0.8, kind < 0.9], [3 * rng.standard_normal(shape), large, special], rng.uniform(-100, 100, shape))
    values = np.where((values > low) & (values < high), values, np.clip(0.5, low, high))
    if values.size and rng.random() < 0.05:
        values.flat[rng.integers(values.size)] = np.nan
    return values.astype(example.dtype)


def elementwise(name: str, twin: Callable[[np.ndarray], np.ndarray], low: float = -np.inf, high: float = np.inf) -> Callable[[Example], None]:
    def check(example: Example) -> None:
        Z = numbers(example, example.rng, low, high)
        found = apply(example, lambda r, w: getattr(kernels, name)(r[0], w[0]), [Z], [np.empty_like(Z)], replaces=True)
        if found:
            assert_finds(found[1][0], twin(Z.astype(np.float64)))

    return check


def of_activation(name: str) -> Callable[[Example], None]:
    """Go back from what the way forth saved."""
    forward, backward = getattr(kernels, f"{name}_forward"), getattr(kernels, f"{name}_backward")
    of_rows, saves_input = name in ("softmax", "log_softmax"), getattr(kernels, name.upper()) in kernels.SAVES_INPUT

    def check(example: Example) -> None:
        rng = example.rng
        Z = (3 * rng.standard_normal((example.rows, example.columns + of_rows))).astype(example.dtype)
        dA, saved = rng.standard_normal(Z.shape).astype(example.dtype), Z
        if not saves_input:
            forward(Z, saved := np.empty_like(Z))
        found = apply(example, lambda r, w: backward(r[0], r[1], w[0]), [saved, dA], [np.empty_like(Z)], replaces=True)
        if found:
            Z, dA = Z.astype(np.float64), dA.astype(np.float64)
            exact = getattr(reference, f"{name}_backward")(getattr(reference, name)(Z), dA) if of_rows else dA * reference.ACTIVATIONS[name][1](Z)
            assert_finds(found[1][0], exact, 10)  # from the output: 1 - a**2 has lost digits where a is near 1

    return check


def rows_of(name: str) -> Callable[[Example], None]:
    def check(example: Example) -> None:
        Z = (10 ** example.rng.uniform(-1, 4) * example.rng.standard_normal((example.rows, example.columns + 1))).astype(example.dtype)
        found = apply(example, lambda r, w: getattr(kernels, f"{name}_forward")(r[0], w[0]), [Z], [np.empty_like(Z)], replaces=True)
        if found:
            assert_finds(found[1][0], getattr(reference, name)(Z.astype(np.float64)), 3)

    return check


def by_code(example: Example) -> None:
    """The functions that take an activation's code have the bits of its own."""
    rng = example.rng
    code, one = list((kernels.ACTIVATIONS | kernels.ROW_ACTIVATIONS).items())[rng.integers(len(kernels.ACTIVATIONS) + 2)]
    Z, dA = (rng.standard_normal((example.rows, example.columns + 1)).astype(example.dtype) for _ in range(2))
    out, back = np.empty_like(Z), np.empty_like(Z)
    one.forward(Z, out)
    one.backward(out, dA, back)
    for call, reads, expected in (
        (lambda r, w: kernels.activation_forward(code, r[0], w[0]), [Z], out),
        (lambda r, w: kernels.activation_backward(code, r[0], r[1], w[0]), [out, dA], back),
    ):
        found = apply(example, call, reads, [np.empty_like(Z)], replaces=True)
        if found:
            assert_same_bits(found[1][0], expected)


# Losses.


def loss(name: str, parameter: tuple[float, float] | None = None, targets: str = "values") -> Callable[[Example], None]:
    def check(example: Example) -> None:
        rng, shape = example.rng, (example.rows, example.columns + 1)
        A, scale = (2 * rng.standard_normal(shape)).astype(example.dtype), float(rng.uniform(0.01, 2))
        middle = () if parameter is None else (float(rng.uniform(*parameter)),)
        draws = {"values": rng.standard_normal, "shares": rng.random, "labels": lambda shape: rng.integers(0, 2, shape)}
        T = draws[targets](shape).astype(example.dtype) if targets in draws else rng.dirichlet(np.ones(shape[1]), shape[0]).astype(example.dtype)
        found = apply(example, lambda r, w: getattr(kernels, name)(r[0], r[1], *middle, scale, w[0]), [A, T], [np.empty_like(A)])
        if found:
            value, gradient = getattr(reference, name)(A.astype(np.float64), T.astype(np.float64), *middle, scale)
            assert_finds(found[1][0], gradient, 10)
            np.testing.assert_allclose(found[0], value, rtol=(limit := 1e-5 if example.dtype == "float32" else 1e-12), atol=limit * scale * A.size)

    return check


def cross_entropy(example: Example) -> None:
    rng, shape = example.rng, (example.rows, example.columns + 1)
    logits, labels, scale = (4 * rng.standard_normal(shape)).astype(example.dtype), rng.integers(0, shape[1], shape[0]), float(rng.uniform(0.01, 2))
    call = lambda r, w: kernels.softmax_cross_entropy(r[1], r[0], scale, w[0])  # noqa: E731
    found = apply(example, call, [labels, logits], [np.empty_like(logits)], replaces=True)
    if found:
        value, gradient = reference.softmax_cross_entropy(logits.astype(np.float64), labels, scale)
        assert_finds(found[1][0], gradient, 3)
        np.testing.assert_allclose(found[0], value, rtol=1e-5 if example.dtype == "float32" else 1e-12)


def loss_scale(example: Example) -> None:
    n, m = example.rows + 1, example.columns + 1
    for rows in (True, False):
        for outputs in (True, False):
            np.testing.assert_allclose(kernels.loss_scale(n, m, rows, outputs), 1 / ((n if rows else 1) * (m if outputs else 1)), rtol=1e-15)


# Optimizers.

RANGES = {"weight_decay": (0, 0.1), "momentum": (0, 0.95), "dampening": (0, 0.8), "alpha": (0.5, 0.95), "beta1": (0, 0.95), "beta2": (0.9, 0.9999)}
RANGES |= {"rho": (0.5, 0.99), "lr_decay": (0, 0.5), "eta_minus": (0.3, 0.7), "eta_plus": (1.1, 1.5), "momentum_decay": (1e-3, 1e-2)}


def update(name: str) -> Callable[[Example], None]:
    rule, twin = kernels.OPTIMIZERS[CODE[name]], getattr(reference, name)

    def check(example: Example) -> None:
        rng, n = example.rng, example.columns
        chosen = {key: float(rng.uniform(*RANGES[key])) if key in RANGES else value for key, value in SETTINGS[name].items()}
        if name == "rprop":
            chosen["weight_decay"] = 0.0  # to a sign every rounding is all
        w, buffers, rate = rng.standard_normal(n).astype(example.dtype), [np.zeros(n, example.dtype) for _ in rule.buffers], float(rng.uniform(1e-4, 0.1))
        expected = [array.astype(np.float64) for array in (w, *buffers)]
        for step in range(1, 4):
            g = rng.standard_normal(n).astype(example.dtype)
            if name == "lion":
                way = chosen["beta1"] * expected[1] + (1 - chosen["beta1"]) * g
                g = np.where(np.abs(way) < 1e-4, np.sign(expected[1]) + (expected[1] == 0), g).astype(example.dtype)
            given = [rule.record(chosen), rate, step] if name in OF_THE_FACTORY else [rate, *chosen.values(), *([] if name in WITHOUT_STEP else [step])]
            call = lambda r, a, given=given: getattr(kernels, f"{name}_update")(a[0], r[0], *a[1:], *given)  # noqa: E731
            found = apply(example, call, [g], [w, *buffers])
            if not found:
                return
            w, *buffers = found[1]
            expected = list(twin(expected[0], g.astype(np.float64), *expected[1:], rate, *chosen.values(), *([] if name in WITHOUT_STEP else [step])))
        for actual, exact in zip((w, *buffers), expected):
            assert_finds(actual, exact, 30)  # of differences of squares

    return check


# Random numbers.


def fills(name: str) -> Callable[[Example], None]:
    def check(example: Example) -> None:
        rng, shape = example.rng, (example.rows % 8, example.columns % 9)
        seed, stream, (a, b) = int(rng.integers(2**63 - 1)), int(rng.integers(2**28)), np.sort(rng.uniform(0.1, 2, 2))
        call = lambda r, w: getattr(kernels, name)(seed, stream, float(a), float(b), w[0])  # noqa: E731
        found = apply(example, call, [np.zeros(0)], [np.empty(shape, example.dtype)])
        if found:
            assert_finds(found[1][0], getattr(reference, name)(seed, stream, a, b, shape))

    return check


def orders(example: Example) -> None:
    seed, epoch, n = int(example.rng.integers(2**63 - 1)), int(example.rng.integers(2**31)), example.columns % 50
    found = apply(example, lambda r, w: kernels.permutation(seed, epoch, w[0]), [np.zeros(0)], [np.empty(n, np.int64)])
    assert found is None or found[1][0].tolist() == reference.permutation(seed, epoch, n)


def drops(name: str) -> Callable[[Example], None]:
    def check(example: Example) -> None:
        rng = example.rng
        X = rng.standard_normal((example.rows % 10, example.columns % 9)).astype(example.dtype)
        seed, step, layer, rate = (int(rng.integers(2**bits)) for bits in (63, 31, 28, 1))
        rate = float(rng.choice([0.0, rng.random(), 1 - 2**-32]))
        found = apply(example, lambda r, w: getattr(kernels, name)(r[0], rate, seed, step, layer, w[0]), [X], [np.empty_like(X)], replaces=True)
        if found:
            assert_finds(found[1][0], X * reference.dropout_mask(rate, seed, step, layer, X.shape))

    return check


# Products. Every kind of argument that is new compiles all tiles: arrays with gaps have two rows and columns, so that they are seen as such.


def matrices(example: Example) -> tuple[np.random.Generator, int, int, int, Example]:
    n, n_in, n_out = example.rows, example.inputs, example.columns
    if example.layout in (STRIDED, STRIDED_READS):
        n, n_in, n_out = max(n, 2), max(n_in, 2), max(n_out, 2)
    elif example.layout != OVERLAPPING:
        example = replace(example, layout=PLAIN)
        n *= 1 + 2 * (example.seed % 8 == 0)  # enough for a second thread
    return example.rng, n, n_in, n_out, example


def packed(W: np.ndarray) -> np.ndarray:
    out = np.empty(kernels.packed_shape(*W.shape, W.dtype), W.dtype)
    kernels.pack(W, out)
    return out


def linear_forward(example: Example) -> None:
    rng, n, n_in, n_out, example = matrices(example)
    X, W, b = (rng.standard_normal(shape).astype(example.dtype) for shape in ((n, n_in), (n_in, n_out), (n_out,)))
    W /= np.asarray(max(n_in, 1) ** 0.5, example.dtype)
    code, activation = list(kernels.ACTIVATIONS.items())[rng.integers(len(kernels.ACTIVATIONS))]
    call = lambda r, w: kernels.linear_forward(r[2], r[0], r[1], code, w[0])  # noqa: E731
    found = apply(example, call, [W, b, X], [np.empty((n, n_out), example.dtype)])
    if found:
        exact = reference.ACTIVATIONS[activation.name][0](X.astype(np.float64) @ W.astype(np.float64) + b)
        assert_finds(found[1][0], exact, 20)  # a chain of up to 70 roundings
        kernels.linear_forward(X, packed(W), b, code, other := np.empty_like(found[1][0]))
        assert_same_bits(other, found[1][0])


def matmul(example: Example) -> None:
    rng, n, n_in, n_out, example = matrices(example)
    A, B = (rng.standard_normal(shape).astype(example.dtype) for shape in ((n, n_in), (n_in, n_out)))
    found = apply(example, lambda r, w: kernels.matmul(r[1], r[0], w[0]), [B, A], [np.empty((n, n_out), example.dtype)])
    if found:
        assert_finds(found[1][0], A.astype(np.float64) @ B.astype(np.float64), 50)  # of terms that are not scaled
        kernels.matmul(A, packed(B), other := np.empty_like(found[1][0]))
        assert_same_bits(other, found[1][0])


def linear_backward(example: Example) -> None:
    """The gradients are the products of dZ, which the activation's own kernel gives."""
    rng, n, n_in, n_out, example = matrices(example)
    X, W, Z, dA = (rng.standard_normal(shape).astype(example.dtype) for shape in ((n, n_in), (n_in, n_out), (n, n_out), (n, n_out)))
    code, activation = list(kernels.ACTIVATIONS.items())[rng.integers(len(kernels.ACTIVATIONS))]
    activation.backward(Z, dA, dZ := np.empty_like(Z))  # as if Z were what was saved
    call = lambda r, w: kernels.linear_backward(r[0], r[1], r[3], r[2], code, *w)  # noqa: E731
    found = apply(example, call, [dA, Z, W, X], [np.empty((n, n_in), example.dtype), np.empty_like(W), np.empty(n_out, example.dtype)])
    if found:
        X, W, dZ = (array.astype(np.float64) for array in (X, W, dZ))
        for actual, exact in zip(found[1], (dZ @ W.T, X.T @ dZ, dZ.sum(0))):
            assert_finds(actual, exact, 10 + 10 * np.abs(dZ).max(initial=0))


def panels_of(packed: np.ndarray, m: int) -> np.ndarray:
    """Return the columns of panels beside each other."""
    return packed.transpose(1, 0, 2).reshape(packed.shape[1], packed.shape[0] * packed.shape[2])[:, :m]


def pack(example: Example) -> None:
    rng, kind = example.rng, example.rng.choice(["uint8", example.dtype, "float64"])
    W = rng.integers(0, 200, (example.rows, example.columns)).astype(kind)
    shape = kernels.packed_shape(*W.shape, example.dtype)
    found = apply(example, lambda r, w: kernels.pack(r[0], w[0]), [W], [np.full(shape, np.nan, example.dtype)])
    if found:
        whole = panels_of(found[1][0], shape[0] * shape[2])
        np.testing.assert_array_equal(whole[:, : W.shape[1]], W)
        assert (whole[:, W.shape[1] :] == 0).all()


def unpack(example: Example) -> None:
    shape = kernels.packed_shape(example.rows, example.columns, example.dtype)
    P = example.rng.standard_normal(shape).astype(example.dtype)
    found = apply(example, lambda r, w: kernels.unpack(r[0], w[0]), [P], [np.empty((example.rows, example.columns), example.dtype)])
    assert found is None or (found[1][0] == panels_of(P, example.columns)).all()


def gather(example: Example) -> None:
    rng, n, width = example.rng, example.rows + 1, kernels.panel_width(example.dtype)
    X = rng.integers(0, 200, (n, example.columns)).astype(kind := rng.choice(["uint8", "int32", "float32", "float64"]))
    bad = np.zeros(n, bool)
    if kind.startswith("float") and X.size and rng.random() < 0.2:
        bad[row := rng.integers(n)] = True
        X[row, rng.integers(X.shape[1])] = rng.choice([np.nan, np.inf])
    order, batch = rng.integers(0, n, example.inputs), int(rng.integers(1, 20))
    jump = (batch + int(rng.integers(0, 3))) * width
    stride, scale, shift = max(1, -(-X.shape[1] // width)) * jump, float(rng.uniform(0.1, 2)), float(rng.uniform(-1, 1))
    minibatches = -(-len(order) // batch)
    out = np.full(minibatches * stride + 3, CANARY, example.dtype)
    result = []

    def call(r, w):
        result.append(kernels.gather(r[1], r[0], batch, scale, shift, w[0], stride, jump))

    contiguous = replace(example, layout=STRIDED_READS) if example.layout == STRIDED else example
    found = apply(contiguous, call, [order, X], [out])
    if not found:
        return
    wanted = bad[order]
    assert all(value in np.flatnonzero(bad) if wanted.any() else value == -1 for value in result)
    panels, seen = found[1][0], np.ones(len(out), bool)
    for position, row in enumerate(order):
        s, i = divmod(position, batch)
        j = np.arange(X.shape[1])
        at = s * stride + j // width * jump + i * width + j % width
        seen[at] = False
        assert_finds(panels[at], X[row].astype(np.float64) * scale + shift, 3)
    assert (panels[seen] == CANARY).all() or X.shape[1] % width


# Networks.


def network(example: Example) -> None:
    """Dense layers, losses and optimizers beside NumPy: see `tests.random_networks`."""
    training = random_networks.draw(example.seed, example.rows)
    found = random_networks.differences(training, random_networks.NumpyTwin(training))
    assert found == [], str(training)


SMOOTH = ("identity", "tanh", "sigmoid", "softplus", "gelu", "silu", "mish", "softsign")


def stack(example: Example) -> None:
    """Every kind of layer and loss: predictions beside NumPy; rows alone have the bits of rows together; the gradient is the slope of the loss."""
    rng, n = example.rng, example.inputs % 20 + 1
    layers = _layers(rng, n, 3)
    kind = type(list(fastnn.losses.LOSSES.values())[rng.integers(len(fastnn.losses.LOSSES))])
    n_out = 2 * (1 + example.columns % 4)
    last = str(rng.choice([name for name in (*SMOOTH, "softmax", "exponential") if _fits(kind(), name)]))
    net = fastnn.Sequential([*layers, fastnn.Dense(n_out, last)], n, example.dtype, seed=example.seed)
    X, rows = rng.standard_normal((example.rows % 40 + 2, n)).astype(example.dtype), example.rows % 40 + 2
    found, exact = net.predict(X), predicted(net, X.astype(np.float64))
    limit = 2e-4 if example.dtype == "float32" else 1e-10
    np.testing.assert_allclose(found, exact, rtol=limit, atol=limit)
    some = rng.permutation(rows)[: int(rng.integers(1, rows + 1))]
    assert_same_bits(net.predict(X[some]), found[some])
    y = rng.random((rows, n_out // 2 if kind is fastnn.GaussianNLL else n_out)).round(0 if issubclass(kind, fastnn.losses.LabelLoss) else 3)
    y = rng.integers(0, n_out, rows) if issubclass(kind, fastnn.losses.ClassLoss) else y
    if example.dtype == "float64":
        chosen = kind(reduction="sum")
        value, gradient = net.loss_and_gradient(X, y, chosen)
        direction, before, h = rng.standard_normal(len(gradient)) * (gradient != 0), net.parameters.copy(), 1e-6
        values = []
        for sign in (1, -1):
            net.parameters[...] = before + sign * h * direction
            values.append(net.loss_and_gradient(X, y, chosen)[0])
        net.parameters[...] = before
        np.testing.assert_allclose((values[0] - values[1]) / (2 * h), gradient @ direction, rtol=1e-4, atol=1e-4 * max(1, abs(value)))


def _fits(loss: fastnn.losses.Loss, name: str) -> bool:
    try:
        loss.check_activation(name)
    except ValueError:
        return False
    return True


def _layers(rng: np.random.Generator, n: int, depth: int) -> list[Any]:
    """Return some layers that take n columns and give n."""
    some: list[Any] = []
    for _ in range(rng.integers(1, 4)):
        width = int(rng.integers(1, 30))
        choice = rng.integers(6)
        if choice == 0:
            some.append(fastnn.LayerNorm())
        elif choice == 1:
            some.append(fastnn.BatchNorm())
        elif choice == 2:
            some.append(fastnn.PReLU(bool(rng.integers(2)), initializer=1.0))
        elif choice == 3 and depth:
            some.append(fastnn.Residual(_layers(rng, n, depth - 1)))
        elif choice == 4:
            some.append(fastnn.Dropout(0.3))
        some += [fastnn.Dense(width, str(rng.choice(SMOOTH))), fastnn.Dense(n, str(rng.choice(SMOOTH)))]
    return some


def predicted(net: fastnn.Sequential, X: np.ndarray) -> np.ndarray:
    """Return what NumPy makes of X with the arrays of a network as it starts: norms have mean 0, variance 1, gain 1 and bias 0."""
    weights = iter(net.weights)

    def through(layers: Sequence[Any], X: np.ndarray) -> np.ndarray:
        for layer in layers:
            if isinstance(layer, fastnn.Residual):
                X = X + through(layer.layers, X)
                continue
            if isinstance(layer, fastnn.Dropout):
                continue
            arrays = [np.asarray(array, np.float64) for array in next(weights) if array is not None]
            if isinstance(layer, fastnn.Dense):
                Z = X @ arrays[0] + (arrays[1] if len(arrays) > 1 else 0)
                X = getattr(reference, layer.activation)(Z) if layer.activation in ("softmax", "log_softmax") else reference.ACTIVATIONS[layer.activation][0](Z)
            elif isinstance(layer, fastnn.LayerNorm):
                X = (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + layer.eps) * arrays[0] + arrays[1]
            elif isinstance(layer, fastnn.BatchNorm):
                X = X / np.sqrt(1 + layer.eps)
            else:
                X = np.where(X > 0, X, arrays[0] * X)
        return X

    return through(net.layers, X)


NETWORKS: dict[str, Callable[[Example], None]] = {"network": network, "stack": stack}
PROPERTIES: dict[str, Callable[[Example], None]] = {
    "exp": elementwise("exp", np.exp),
    "expm1": elementwise("expm1", np.expm1),
    "log": elementwise("log", np.log, low=0.0),
    "log1p": elementwise("log1p", np.log1p, low=-1.0),
    "tanh": elementwise("tanh", np.tanh),
    "erf": elementwise("erf", reference.erf),
    **{
        f"{name}_forward": elementwise(f"{name}_forward", pair[0], *((-80, 80) if name == "exponential" else ()))
        for name, pair in reference.ACTIVATIONS.items()
    },
    **{f"{name}_backward": of_activation(name) for name in (*reference.ACTIVATIONS, "softmax", "log_softmax")},
    "softmax_forward": rows_of("softmax"),
    "log_softmax_forward": rows_of("log_softmax"),
    "activation_forward": by_code,
    "activation_backward": by_code,
    "squared_error": loss("squared_error"),
    "absolute_error": loss("absolute_error"),
    "huber": loss("huber", (0.2, 2)),
    "log_cosh": loss("log_cosh"),
    "quantile": loss("quantile", (0.05, 0.95)),
    "poisson": loss("poisson", (0, 1), "shares"),
    "sigmoid_cross_entropy": loss("sigmoid_cross_entropy", None, "shares"),
    "binary_focal": loss("binary_focal", (1, 4), "shares"),
    "hinge": loss("hinge", None, "labels"),
    "squared_hinge": loss("squared_hinge", None, "labels"),
    "softmax_cross_entropy": cross_entropy,
    "softmax_cross_entropy_dense": loss("softmax_cross_entropy_dense", None, "rows"),
    "loss_scale": loss_scale,
    **{f"{name}_update": update(name) for name in SETTINGS},
    "random_uniform": fills("random_uniform"),
    "random_normal": fills("random_normal"),
    "permutation": orders,
    "dropout_forward": drops("dropout_forward"),
    "dropout_backward": drops("dropout_backward"),
    "linear_forward": linear_forward,
    "linear_backward": linear_backward,
    "matmul": matmul,
    "pack": pack,
    "unpack": unpack,
    "gather": gather,
    **NETWORKS,
}


def public_kernels() -> set[str]:
    return {name for name in kernels.__all__ if isinstance(getattr(kernels, name), Kernel)}


def fault(name: str, example: Example) -> str:
    """Return what is wrong with a property, nothing where it holds."""
    try:
        with np.errstate(all="ignore"):
            PROPERTIES[name](example)
    except Exception as error:  # whatever it is, it is shown
        return f"{type(error).__name__}: {error}"
    return ""


def run(name: str, examples: int, seed: int = 0, first: int = 0) -> str:
    """Try so many examples of a property; return what is wrong with the first that fails, made as small as it goes."""
    for number in range(first, first + examples):
        example = draw(seed, number)
        found = fault(name, example)
        while found:
            simpler = next(((one, said) for one in smaller(example) if (said := fault(name, one))), None)
            if simpler is None:
                return f"example {number} of seed {seed}, as {example}: {found}"
            example, found = simpler
    return ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Try random arrays with every public kernel, and random networks.")
    parser.add_argument("--examples", type=int, default=10_000, help="of each kernel")
    parser.add_argument("--networks", type=int, default=1_000, help="examples of each kind of network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first example")
    parser.add_argument("--only", choices=PROPERTIES, action="append")
    args = parser.parse_args(arguments)
    faults = 0
    for name in args.only or PROPERTIES:
        begin, examples = time.perf_counter(), args.networks if name in NETWORKS else args.examples
        found = run(name, examples, args.seed, args.first)
        faults += bool(found)
        print(f"{name}: {found or f'{examples:,} examples'}, {time.perf_counter() - begin:.0f} s", flush=True)
    print(f"{faults} of {len(args.only or PROPERTIES)} fail")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
