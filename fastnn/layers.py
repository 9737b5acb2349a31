"""The layers of a network: plain settings, in the order in which the data goes through them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

import kernels

from . import validation
from .custom import Activation
from .initializers import Initializer, check_initializer, given, initial_weights
from .validation import Array

ACTIVATIONS: dict[str, int] = {one.name: code for code, one in (kernels.ACTIVATIONS | kernels.ROW_ACTIVATIONS).items()}

LAST_ONLY = tuple(one.name for one in kernels.ROW_ACTIVATIONS.values())  # they need whole rows
PROBABILITIES = (*LAST_ONLY, "sigmoid")


@dataclass(frozen=True, repr=False)
class Scale:
    """Scale the data on its way in: `X * scale + shift`. Only as the first layer.

    Parameters
    ----------
    scale, shift : float, or sequence of float
        One for every feature, or one for each; the latter are applied in float64 and rounded once to the network's dtype.

    Examples
    --------
    >>> Scale(1 / 255)
    Scale(scale=0.00392156862745098, shift=0.0)
    >>> Scale([1, 0.001])
    Scale(scale=(1.0, 0.001), shift=0.0)
    """

    scale: float | Sequence[float] = 1.0
    shift: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        validation.normalize(self, validation.one_or_each, "scale", "shift")

    @functools.cached_property
    def affine(self) -> tuple[float | Array, float | Array]:
        """Return factor and shift as the kernels take them: both numbers, or both float64 arrays."""
        if isinstance(self.scale, float) and isinstance(self.shift, float):
            return self.scale, self.shift
        return _alike(self.scale, self.shift)

    def __repr__(self) -> str:
        """Return factor and shift, long ones in short."""
        return f"Scale(scale={_short(self.scale)}, shift={_short(self.shift)})"


@dataclass(frozen=True, repr=False)
class Standardize:
    """Give every feature mean 0 and deviation 1 on its way in: `(X - mean) / std`; or do so with the targets.

    As the first layer it is for X. `Standardize(targets=True)` is the last layer, of a network that predicts numbers: it
    learns `(y - mean) / std`, and what it predicts comes back as `outputs * std + mean`, in float64.

    It is calculated in float64 and rounded to the network's dtype once, beside the weights and never in them, so numbers
    near 1e9 keep what tells them apart in a float32 network. It is part of the network: `fit`, `predict` and `evaluate`
    take plain numbers, and give them. The loss is that of standardized targets; the metrics are in the targets' own units.

    Parameters
    ----------
    mean, std : float or sequence of float, optional
        One for every column, or one for each; std at least 0. Left out, they are those of the rows of the first fit. A
        column with std 0, such as a constant one, contributes nothing; of targets it is always predicted as its mean.
    targets : bool
        Whether it is for the targets.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Dense, Sequential
    >>> X = np.array([[1e9 + 1, 5], [1e9 + 2, 5], [1e9 + 3, 5], [1e9 + 4, 5]])
    >>> y = np.array([1000.25, 1000.50, 1000.75, 1001.00])
    >>> net = Sequential([Standardize(), Dense(1), Standardize(targets=True)], n_features=2)
    >>> history = net.fit(X, y, epochs=500, batch_size=None, optimizer="rprop", verbose=0)
    >>> net.predict(X[:2]).round(3)
    array([[1000.25],
           [1000.5 ]])
    >>> net.layers[0].mean
    (1000000002.5, 5.0)
    """

    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    targets: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", validation.flag("targets", self.targets))
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"mean and std must be given both or not at all; got mean={validation.shown(self.mean)} and std={validation.shown(self.std)}.")
        if self.mean is not None and self.std is not None:
            object.__setattr__(self, "mean", validation.one_or_each("mean", self.mean))
            object.__setattr__(self, "std", validation.one_or_each("std", self.std, 0.0))
            if not all(np.isfinite(A).all() for A in self.affine):
                raise ValueError("mean / std and 1 / std must be finite, or std 0; got a std that is too small.")

    @classmethod
    def of(cls, A: Any, *, targets: bool = False) -> Standardize:
        """Return the layer with mean and deviation of the columns of an array, calculated in float64.

        Parameters
        ----------
        A : array of shape (n_rows, n_columns), or (n_rows,) for one column
        targets : bool
            Whether it is for the targets.

        Examples
        --------
        >>> Standardize.of([[1, 5], [3, 5]])
        Standardize(mean=(2.0, 5.0), std=(1.0, 0.0))
        """
        columns = validation.array("A", A)
        if columns.ndim not in (1, 2) or columns.size == 0:
            raise ValueError(f"A must have shape (n_rows, n_columns) with at least one row; got {columns.shape}.")
        validation.finite("A", columns)
        mean, std = mean_and_deviation(columns.reshape(len(columns), -1))
        return cls(tuple(mean.tolist()), tuple(std.tolist()), targets=targets)

    @functools.cached_property
    def statistics(self) -> tuple[Array, Array]:
        """Return mean and deviation as float64 arrays."""
        if self.mean is None or self.std is None:
            what, of = ("targets", "y, targets=True") if self.targets else ("X", "X")
            raise ValueError(f"Standardize of {what} must have mean and std before it is used; got neither. Call fit first, or take Standardize.of({of}).")
        return _alike(self.mean, self.std)

    @functools.cached_property
    def affine(self) -> tuple[Array, Array]:
        """Return factor and shift as float64 arrays: A * factor + shift is standardized, and 0 where std is 0."""
        mean, std = self.statistics
        with np.errstate(all="ignore"):
            factor = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
            return factor, -mean * factor

    def __repr__(self) -> str:
        """Return the settings that differ from the defaults, long ones in short."""
        shown = [f"{name}={_short(value)}" for name, value in (("mean", self.mean), ("std", self.std)) if value is not None]
        return f"Standardize({', '.join(shown + ['targets=True'] * self.targets)})"


def _alike(first: Any, second: Any) -> tuple[Array, Array]:
    """Return two settings as float64 arrays of one length, that of the longer one."""
    n = max(np.size(first), np.size(second))
    a, b = (np.full(n, value, np.float64) if np.size(value) == 1 else np.array(value, np.float64) for value in (first, second))
    if len(a) != len(b):
        raise ValueError(f"a layer must have as many factors as shifts, or means as deviations; got {len(a)} and {len(b)}.")
    return a, b


def _short(value: Any) -> str:
    """Return a setting as a text; of many numbers the first three."""
    if isinstance(value, float) or len(value) <= 6:
        return repr(value)
    return f"({', '.join(map(repr, value[:3]))}, ... {len(value)} numbers)"


STATISTICS_BLOCK = 1 << 16  # numbers looked at together: they stay in the cache, and a memory map out of the memory


def mean_and_deviation(A: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of every column of a finite (n, m) array, in float64.

    Block by block about the middle of each column's range, so that neither large numbers nor large offsets cost digits; the
    blocks are joined as in Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances,
    1979. The deviation is 0 where the numbers of a column differ by rounding only.
    """
    low, high = A.min(axis=0).astype(np.float64), A.max(axis=0).astype(np.float64)
    middle, reach = low / 2 + high / 2, high / 2 - low / 2
    constant = reach <= np.maximum(4 * np.finfo(np.float64).eps * np.maximum(np.abs(low), np.abs(high)), np.finfo(np.float64).tiny)
    unit = np.where(constant, 1.0, reach)
    mean, squares, n = np.zeros(len(low)), np.zeros(len(low)), 0
    height = max(1, STATISTICS_BLOCK // max(1, A.shape[1]))
    for start in range(0, len(A), height):
        block = np.subtract(A[start : start + height], middle, order="C")
        block /= unit
        rows, part = len(block), block.mean(axis=0)
        block -= part
        gap, n = part - mean, n + rows
        mean += gap * (rows / n)
        squares += np.square(block, out=block).sum(axis=0) + gap**2 * (rows * (n - rows) / n)
    return np.where(constant, low, middle + unit * mean), np.where(constant, 0.0, unit * np.sqrt(squares / len(A)))


@dataclass(frozen=True, repr=False)
class Dense:
    """Connect every input with every unit: `activation(X @ W + b)`.

    Parameters
    ----------
    units : int
        The number of outputs.
    activation : str or Activation
        A name in `fastnn.layers.ACTIVATIONS`, or a function of one's own; softmax and log_softmax only in the last layer.
    initializer : str, Initializer, array or pair of arrays, optional
        How the weights start: a name such as "he_normal", the weights `W` of shape (n_in, units), or `(W, b)`. Left
        out, it follows the activation. A bias that is not given starts at zero.
    bias : bool
        Whether there is one.
    trainable : bool, "weights" or "bias"
        What of the layer a fit changes: all, nothing, only the weights or only the bias.
    l1, l2 : float
        `l1 * sum(abs(W)) + l2 * sum(W**2)` is added to the loss of every minibatch.
    bias_l1, bias_l2 : float
        The same of the bias.

    Examples
    --------
    >>> Dense(10, "rleu")
    Traceback (most recent call last):
    ValueError: activation must be one of 'identity', 'relu', ...; got 'rleu'. Did you mean 'relu'?
    """

    units: int
    activation: str | Activation = "identity"
    initializer: str | Initializer | Any = field(default=None, compare=False)
    bias: bool = True
    trainable: bool | Literal["weights", "bias"] = True
    l1: float = 0.0
    l2: float = 0.0
    bias_l1: float = 0.0
    bias_l2: float = 0.0

    def __post_init__(self) -> None:
        validation.normalize(self, validation.integer, "units", low=1)
        if not isinstance(self.activation, Activation):
            validation.normalize(self, validation.choice, "activation", choices=ACTIVATIONS)
        check_initializer(self.initializer)
        validation.normalize(self, validation.flag, "bias")
        if not isinstance(self.trainable, (bool, np.bool_, str)) or (isinstance(self.trainable, str) and self.trainable not in ("weights", "bias")):
            raise ValueError(f"trainable must be True, False, 'weights' or 'bias'; got {validation.shown(self.trainable)}.")
        object.__setattr__(self, "trainable", str(self.trainable) if isinstance(self.trainable, str) else bool(self.trainable))
        validation.normalize(self, validation.number, "l1", "l2", "bias_l1", "bias_l2", low=0.0)

    @property
    def penalties(self) -> tuple[float, float, float, float]:
        """Return (l1, l2, bias_l1, bias_l2)."""
        return self.l1, self.l2, self.bias_l1, self.bias_l2

    @property
    def code(self) -> int | kernels.Activation:
        """Return the activation as the kernels know it."""
        return self.activation.record if isinstance(self.activation, Activation) else ACTIVATIONS[self.activation]

    @property
    def trained(self) -> tuple[bool, bool]:
        """Return whether a fit changes the weights, and the bias."""
        return self.trainable in (True, "weights"), self.bias and self.trainable in (True, "bias")

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of its arrays."""
        return {"W": (n_in, self.units), **({"b": (self.units,)} if self.bias else {})}

    def start(self, n_in: int, seed: int, index: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        """Return the weights and the bias, zero where there is none, that the dense layer of an index starts with."""
        W, b = initial_weights(self.initializer, str(self.activation), n_in, self.units, seed, index, dtype)
        return W, b if self.bias else np.zeros_like(b)

    def __repr__(self) -> str:
        """Return the settings that differ from the defaults."""
        shown = [repr(self.units), repr(self.activation)]
        shown += [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self)[3:] if getattr(self, one.name) != one.default]
        return f"Dense({', '.join(shown)})"


@dataclass(frozen=True)
class Dropout:
    """Set each input of the next layer to zero with probability `rate`, and scale the others by `1 / (1 - rate)`.

    Only while training: predictions use all of them.

    Parameters
    ----------
    rate : float
        From 0, at most 1 - 2**-32: the numbers that decide have 32 bits.

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.
    """

    rate: float

    def __post_init__(self) -> None:
        validation.normalize(self, validation.number, "rate", low=0.0, below=1.0)
        if round(self.rate * 2**32) == 2**32:
            raise ValueError(f"rate must be at most 1 - 2**-32; got {self.rate!r}.")


@dataclass(frozen=True)
class LayerNorm:
    """Give every row mean 0 and variance 1, then scale and shift its columns: `(X - mean) / sqrt(var + eps) * gain + bias`.

    Mean and variance, the latter divided by the number of columns, are those of each row alone, in training and prediction
    alike. It may stand before, between and after the other layers, but not between a `Dropout` and its `Dense`.

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
    between and after the others, but not between a `Dropout` and its `Dense`.

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


Layer = Scale | Standardize | Dense | Dropout | LayerNorm | BatchNorm
KINDS: dict[str, type] = {
    "scale": Scale,
    "standardize": Standardize,
    "dense": Dense,
    "dropout": Dropout,
    "norm": LayerNorm,
    "batchnorm": BatchNorm,
}
BETWEEN = (LayerNorm, BatchNorm)  # what stands between dense layers and keeps the width; the plan takes its `record`
KIND_NAMES = [kind.__name__ for kind in KINDS.values()]


def check_layers(layers: Any) -> tuple[Layer, ...]:
    """Return the layers as a tuple if they can follow each other."""
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise TypeError(f"layers must be a list of {', '.join(KIND_NAMES[:-1])} and {KIND_NAMES[-1]}; got {validation.shown(layers)}.")
    for position, layer in enumerate(layers):
        where = f"layers[{position}]"
        if not isinstance(layer, tuple(KINDS.values())):
            raise TypeError(f"{where} must be a {', '.join(KIND_NAMES[:-1])} or {KIND_NAMES[-1]}; got {validation.shown(layer)}.")
        before = layers[position - 1] if position else None
        following = layers[position + 1] if position + 1 < len(layers) else None
        if isinstance(layer, Standardize) and layer.targets:
            _check_target_layer(where, layer, before, following)
        elif isinstance(layer, (Scale, Standardize)) and position > 0:
            help_ = " For the targets use Standardize(targets=True)." if isinstance(layer, Standardize) else ""
            raise ValueError(f"{where} must not be a {type(layer).__name__}: only the first layer can be; got {layer}.{help_}")
        if isinstance(layer, Dropout) and not isinstance(following, Dense):
            raise ValueError(f"{where} must be followed by a Dense layer, whose inputs it drops; got {following}.")
        if isinstance(layer, Dense) and layer.activation in LAST_ONLY and (following is not None or layer.units == 1):
            help_ = "only the last layer can have it" if following is not None else "of one unit it is always 1, use 'sigmoid'"
            raise ValueError(f"{where} must not have the activation {layer.activation!r}: {help_}; got {layer}.")
    if not any(isinstance(layer, Dense) for layer in layers):
        raise ValueError(f"layers must have at least one Dense layer; got {list(layers)}.")
    return tuple(layers)


def _check_target_layer(where: str, layer: Standardize, before: Any, following: Any) -> None:
    """Raise unless a layer that standardizes targets follows the last Dense layer, of outputs that can be any number."""
    if following is not None or not isinstance(before, (Dense, *BETWEEN)):
        raise ValueError(f"{where} must be the last layer, after a Dense one, to standardize the targets; got {layer}.")
    if isinstance(before, Dense) and before.activation in PROBABILITIES:
        raise ValueError(f"{where} must follow outputs that can be any number, which probabilities cannot; got it after {before}.")
