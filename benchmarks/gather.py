"""The gather of minibatches from arrays of several kinds, in a shuffled order, into the buffer that a step reads."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from benchmarks.baseline import zeros
from benchmarks.common import IMPLS, Call, close, hold_threads, random


def make(kind: str, n: int, features: int) -> Any:
    """Return rows as users have them."""
    X = random(n, features)
    if kind == "strided":
        return np.repeat(X, 2, axis=1)[:, ::2]
    return {"float32": X, "uint8": (100 * np.abs(X)).astype(np.uint8), "Fortran": np.asfortranarray(X)}[kind]


def gather_calls(kind: str, n: int, features: int, batch: int) -> dict[str, Call]:
    """Return the gather of a minibatch of both sides, checked against each other."""
    X = make(kind, n, features)
    rows = np.random.default_rng(0).permutation(n)[:batch]
    width = kernels.panel_width(np.float32)
    panels = zeros(kernels.packed_shape(batch, features, np.float32))
    taken, plain = zeros((batch, features), X.dtype), zeros((batch, features))

    def with_numpy() -> None:
        np.take(X, rows, axis=0, out=taken, mode="clip")
        np.multiply(taken, np.float32(0.5), out=plain, casting="unsafe")

    def with_fastnn() -> None:
        kernels.gather(X, rows, batch, 0.5, 0.0, panels.reshape(-1), panels.size, batch * width)

    with_fastnn()
    with_numpy()
    unpacked = np.empty_like(plain)
    kernels.unpack(panels, unpacked)
    close(unpacked, plain)
    return {"fastnn": with_fastnn, "numpy": with_numpy}


class Gather:
    """100 of 20,000 rows of 784."""

    params = (["float32", "uint8", "Fortran", "strided"], IMPLS)
    param_names = ("X", "impl")

    def setup(self, kind: str, impl: str) -> None:
        hold_threads(1)
        self.call = gather_calls(kind, 20_000, 784, 100)[impl]

    def time_gather(self, kind: str, impl: str) -> None:
        self.call()
