"""The gather of minibatches from arrays of several kinds, in a shuffled order, into the buffer that a step reads."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from benchmarks.common import IMPLS, close, random

ROWS, FEATURES, BATCH = 20_000, 784, 100


def make(kind: str) -> Any:
    """Return rows as users have them."""
    X = random(ROWS, FEATURES)
    if kind == "strided":
        return np.repeat(X, 2, axis=1)[:, ::2]
    return {"float32": X, "uint8": (100 * np.abs(X)).astype(np.uint8), "Fortran": np.asfortranarray(X)}[kind]


class Gather:
    """100 of 20,000 rows of 784."""

    params = (["float32", "uint8", "Fortran", "strided"], IMPLS)
    param_names = ("X", "impl")

    def setup(self, kind: str, impl: str) -> None:
        X = make(kind)
        rows = np.random.default_rng(0).permutation(ROWS)[:BATCH]
        width = kernels.panel_width(np.float32)
        panels = np.zeros(kernels.packed_shape(BATCH, FEATURES, np.float32), np.float32)
        taken, plain = np.empty((BATCH, FEATURES), X.dtype), np.empty((BATCH, FEATURES), np.float32)

        def with_numpy() -> None:
            np.take(X, rows, axis=0, out=taken, mode="clip")
            np.multiply(taken, np.float32(0.5), out=plain, casting="unsafe")

        def with_fastnn() -> None:
            kernels.gather(X, rows, BATCH, 0.5, 0.0, panels.reshape(-1), panels.size, BATCH * width)

        with_fastnn()
        with_numpy()
        unpacked = np.empty_like(plain)
        kernels.unpack(panels, unpacked)
        close(unpacked, plain)
        self.call: Any = with_fastnn if impl == "fastnn" else with_numpy

    def time_gather(self, kind: str, impl: str) -> None:
        self.call()
