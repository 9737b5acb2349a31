"""Layers between the dense ones: they keep the number of columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kernels

from . import schedules, validation
from .initializers import given
from .validation import Array


@dataclass(frozen=True)
class Dropout:
    """Set each input of the next layer to zero with probability `rate`, and scale the others by `1 / (1 - rate)`.

    Only while training: predictions use all of them.

    Parameters
    ----------
    rate : float or schedule
        From 0, at most 1 - 2**-32: the numbers that decide have 32 bits. Or a function of the step, which counts minibatches
        from 0, such as one of `fastnn.schedules`.

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.

    Examples
    --------
    >>> from fastnn import Linear
    >>> Dropout(Linear(0.5, end=0.0))
    Dropout(rate=Linear(rate=0.5, end=0.0, n_steps=None))
    """

    rate: float | Callable[[int], float]

    def __post_init__(self) -> None:
        if callable(self.rate):
            return
        validation.normalize(self, validation.number, "rate", low=0.0, below=1.0)
        if round(self.rate * 2**32) == 2**32:
            raise ValueError(f"rate must be at most 1 - 2**-32; got {self.rate!r}.")

    @property
    def name(self) -> str:
        """Its kind and rate, for tables."""
        return f"Dropout({getattr(type(self.rate), '__name__', '')})" if callable(self.rate) else f"Dropout({self.rate:g})"

    def rates(self, first_step: int, n_steps: int) -> Array:
        """Return the rates of the steps from `first_step` on."""
        return schedules.rates(self.rate, first_step, n_steps, "rate of Dropout", below=1.0 - 2.0**-33)

    def flops(self, n_in: int) -> int:
        """Return the floating-point operations of a prediction with one row."""
        return 0

    def record(self, n: int) -> kernels.Dropout:
        """Return the layer of n columns as the kernels know it."""
        return kernels.Dropout(n, None if callable(self.rate) else self.rate)


@dataclass(frozen=True)
class GaussianNoise:
    """Add to each input of the next layer a random number from the normal distribution: `X + std * normal`.

    Only while training: predictions have none.

    Parameters
    ----------
    std : float
        The standard deviation, at least 0.
    """

    std: float

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "std", low=0.0)
        if self.std:
            validation.survives("std", self.std, np.dtype(np.float32))

    @property
    def name(self) -> str:
        """Its kind and deviation, for tables."""
        return f"GaussianNoise({self.std:g})"

    def flops(self, n_in: int) -> int:
        """Return the floating-point operations of a prediction with one row."""
        return 0

    def record(self, n: int) -> kernels.GaussianNoise:
        """Return the layer of n columns as the kernels know it."""
        return kernels.GaussianNoise(n, self.std)


@dataclass(frozen=True)
class PReLU:
    """Multiply what is below zero by a slope that is trained: `X` where X > 0, else `slope * X`.

    It may stand before, between and after the other layers: after a `Dense` with the activation "identity" it is its
    activation. Weight decay pulls the slope to 0, as any parameter.

    Parameters
    ----------
    per_unit : bool
        Whether every column has a slope of its own, or all have one, as by PyTorch's default.
    trainable : bool
        Whether a fit changes it.
    initializer : float or array, optional
        The slope or slopes at the start. Left out, 0.25.

    References
    ----------
    He, Zhang, Ren, Sun, Delving deep into rectifiers: surpassing human-level performance on ImageNet classification, ICCV 2015.

    Examples
    --------
    >>> from fastnn import Dense, Sequential
    >>> net = Sequential([PReLU(initializer=0.5), Dense(1)], n_features=2)
    >>> net.set_weights([net.weights[0], ([[1], [10]], [0])])
    >>> net.predict([[-2, 3]])
    array([[29.]], dtype=float32)
    """

    per_unit: bool = False
    trainable: bool = True
    initializer: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        validation.normalize(self, validation.flag, "per_unit", "trainable")

    @property
    def name(self) -> str:
        """Its kind, for tables."""
        return "PReLU"

    def flops(self, n_in: int) -> int:
        """Return the floating-point operations of a prediction with one row."""
        return n_in

    def record(self, n: int) -> kernels.PReLU:
        """Return the layer of n columns as the kernels know it."""
        return kernels.PReLU(n, not self.per_unit, (self.trainable,))

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of its array."""
        return {"slope": (n_in if self.per_unit else 1,)}

    def start(self, n_in: int, seed: int, index: int, dtype: np.dtype[Any]) -> list[Array]:
        """Return the slopes that the PReLU of an index starts with."""
        shape = self.shapes(n_in)["slope"]
        slope = 0.25 if self.initializer is None else self.initializer
        return [given(f"initializer of PReLU {index}", np.full(shape, slope) if np.ndim(slope) == 0 else slope, shape, dtype)]


@dataclass(frozen=True)
class LayerNorm:
    """Give every row mean 0 and variance 1, then scale and shift its columns: `(X - mean) / sqrt(var + eps) * gain + bias`.

    Mean and variance, the latter divided by the number of columns, are those of each row alone, in training and prediction
    alike. It may stand before, between and after the other layers.

    Parameters
    ----------
    eps : float
        Above 0, also in float32.
    trainable : bool
        Whether a fit changes gain and bias.
    initializer : pair of arrays, optional
        How they start: `(gain, bias)`, one number for each column. Left out, ones and zeros.

    References
    ----------
    Ba, Kiros, Hinton, Layer normalization, arXiv 1607.06450.

    Examples
    --------
    >>> from fastnn import Dense, Sequential
    >>> net = Sequential([LayerNorm(), Dense(1)], n_features=4)
    >>> net.set_weights([([2, 2, 2, 2], [1, 1, 1, 1]), ([[1], [0], [0], [0]], [0])])
    >>> net.predict([[10, 30, 10, 30]]).round(3)
    array([[-1.]], dtype=float32)
    """

    eps: float = 1e-5
    trainable: bool = True
    initializer: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        validation.normalize(self, validation.positive, "eps")
        validation.survives("eps", self.eps, np.dtype(np.float32))
        validation.normalize(self, validation.flag, "trainable")
        if self.initializer is not None:
            validation.pair("initializer", self.initializer, "(gain, bias)")

    @property
    def name(self) -> str:
        """Its kind, for tables."""
        return "LayerNorm"

    def flops(self, n_in: int) -> int:
        """Return the floating-point operations of a prediction with one row."""
        return 8 * n_in

    def record(self, n: int) -> kernels.LayerNorm:
        """Return the layer of n columns as the kernels know it."""
        return kernels.LayerNorm(n, self.eps, (self.trainable, self.trainable))

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of its arrays."""
        return {"gain": (n_in,), "bias": (n_in,)}

    def start(self, n_in: int, seed: int, index: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        """Return the gain and the bias that the LayerNorm of an index starts with."""
        gain, bias = (np.ones(n_in), np.zeros(n_in)) if self.initializer is None else self.initializer
        name = f"initializer of LayerNorm {index}"
        return given(f"{name}, gain,", gain, (n_in,), dtype), given(f"{name}, bias,", bias, (n_in,), dtype)


@dataclass(frozen=True)
class BatchNorm:
    """Give every column mean 0 and variance 1, then scale and shift it: `(X - mean) / sqrt(var + eps) * gain + bias`.

    A step of a fit takes mean and variance of its minibatch, the variance divided by the number of rows, and moves the running
    ones towards them: `running += momentum * (batch - running)`, that variance divided by one less. `predict` and all else
    (`evaluate`, `loss_and_gradient`, L-BFGS and conjugate gradient) take the running ones as they are. A fit needs minibatches
    of two rows; a single one at the end of an epoch becomes the bias and leaves the running ones. The layer may stand before,
    between and after the others.

    Parameters
    ----------
    eps : float
        Above 0, also in float32.
    momentum : float
        From 0 to 1: the share of the minibatch, as PyTorch counts it. Keras calls what is left of 1 so.
    trainable : bool
        Whether a fit changes the layer. Where not, it takes the running mean and variance in a fit too, and leaves them.
    initializer : sequence of arrays, optional
        How it starts: `(gain, bias, mean, variance)`, one number for each column. Left out, ones, zeros, zeros and ones.

    References
    ----------
    Ioffe, Szegedy, Batch normalization: accelerating deep network training by reducing internal covariate shift, ICML 2015.

    Examples
    --------
    >>> from fastnn import Dense, Sequential
    >>> net = Sequential([BatchNorm(momentum=1), Dense(1)], n_features=1, dtype="float64")
    >>> loss = net.train_on_batch([[1], [3]], [0, 0])
    >>> net.weights[0][2:]
    (array([2.]), array([2.]))
    """

    eps: float = 1e-5
    momentum: float = 0.1
    trainable: bool = True
    initializer: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        validation.normalize(self, validation.positive, "eps")
        validation.survives("eps", self.eps, np.dtype(np.float32))
        validation.normalize(self, validation.number, "momentum", low=0.0)
        if self.momentum > 1:
            raise ValueError(f"momentum must be at most 1; got {self.momentum:g}.")
        validation.normalize(self, validation.flag, "trainable")
        if self.initializer is not None:
            validation.parts("initializer", self.initializer, self.shapes(0))

    @property
    def name(self) -> str:
        """Its kind, for tables."""
        return "BatchNorm"

    def flops(self, n_in: int) -> int:
        """Return the floating-point operations of a prediction with one row."""
        return 3 * n_in

    def record(self, n: int) -> kernels.BatchNorm:
        """Return the layer of n columns as the kernels know it."""
        return kernels.BatchNorm(n, self.eps, self.momentum, (self.trainable, self.trainable))

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of its arrays."""
        return dict.fromkeys(("gain", "bias", "mean", "variance"), (n_in,))

    def start(self, n_in: int, seed: int, index: int, dtype: np.dtype[Any]) -> list[Array]:
        """Return gain, bias, mean and variance that the BatchNorm of an index starts with."""
        ones, zeros = np.ones(n_in), np.zeros(n_in)
        arrays = (ones, zeros, zeros, ones) if self.initializer is None else self.initializer
        name = f"initializer of BatchNorm {index}"
        return [given(f"{name}, {part},", A, (n_in,), dtype) for part, A in zip(self.shapes(n_in), arrays)]
