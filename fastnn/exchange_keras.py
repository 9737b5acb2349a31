"""Keras's `Sequential` (extra `keras`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .layers import BatchNorm, Dense, Dropout, GaussianNoise, LayerNorm, Mark, PReLU, Scale, Standardize
from .stack import Found, Part, Stack, activation_name, columns, is_alone, parts
from .validation import Array

ACTIVATIONS = {
    "identity": "linear",
    "relu": "relu",
    "elu": "elu",
    "selu": "selu",
    "gelu": "gelu",
    "silu": "silu",
    "mish": "mish",
    "hard_swish": "hard_silu",
    "softsign": "softsign",
    "exponential": "exponential",
    "softplus": "softplus",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "log_softmax": "log_softmax",
}
ALONE = {"leaky_relu": ("LeakyReLU", {"negative_slope": 0.01})}  # there a layer of its own


def read_model(model: Any) -> Found:
    """Return the network of a built `Sequential`, which may hold others."""
    stack = Stack("Keras")
    for layer in _layers(model):
        kind, where = type(layer).__name__, f"{type(layer).__name__} {layer.name!r}"
        if not type(layer).__module__.startswith("keras.") or kind not in READERS:
            raise ValueError(f"model must be a Sequential of {', '.join(READERS)}; got {where}.")
        if not layer.built:
            raise ValueError(f"model must be built, so that it has weights; got {where}, which is not.")
        READERS[kind](stack, where, layer)
    return stack.finish()


def _layers(model: Any) -> list[Any]:
    if type(model).__name__ != "Sequential":
        return [model]
    return [one for layer in model.layers for one in _layers(layer)]


def _plain(variable: Any) -> Any:
    """Return a variable as an array; None stays None."""
    return None if variable is None else np.array(variable.__array__())


def _function(where: str, function: Any) -> str:
    """Return our name of an activation."""
    theirs = getattr(function, "__name__", type(function).__name__)
    for ours, name in ACTIVATIONS.items():
        if name == theirs:
            return ours
    raise ValueError(f"{where} must have an activation that fastnn has: {', '.join(ACTIVATIONS.values())}; got {theirs!r}.")


def _penalties(where: str, layer: Any) -> dict[str, float]:
    """Return the penalties of weights and bias as `Dense` takes them."""
    found = {}
    for name, prefix in (("kernel_regularizer", ""), ("bias_regularizer", "bias_")):
        regularizer = getattr(layer, name)
        if regularizer is not None and not {"l1", "l2"} & set(vars(regularizer)):
            raise ValueError(f"{where} must have regularizers L1, L2 or L1L2; got {type(regularizer).__name__}.")
        for one in ("l1", "l2"):
            found[f"{prefix}{one}"] = float(getattr(regularizer, one, 0.0))
    return found


def _dense(stack: Stack, where: str, layer: Any) -> None:
    activation = _function(where, layer.activation)
    stack.dense(where, _plain(layer.kernel), _plain(layer.bias), activation, trainable=bool(layer.trainable), **_penalties(where, layer))


def _activation(stack: Stack, where: str, layer: Any) -> None:
    stack.activation(where, _function(where, layer.activation))


def _relu(stack: Stack, where: str, layer: Any) -> None:
    if layer.max_value is not None or layer.threshold != 0:
        raise ValueError(f"{where} must have no max_value and no threshold; got {layer.max_value} and {layer.threshold}.")
    _leaky_relu(stack, where, layer)


def _leaky_relu(stack: Stack, where: str, layer: Any) -> None:
    slope = float(layer.negative_slope)
    name = {0.0: "relu", 0.01: "leaky_relu"}.get(slope)
    if name is not None:
        stack.activation(where, name)
    else:
        stack.prelu(where, np.array([slope]), False)


def _elu(stack: Stack, where: str, layer: Any) -> None:
    if float(layer.alpha) != 1.0:
        raise ValueError(f"{where} must have alpha=1.0; got {layer.alpha}.")
    stack.activation(where, "elu")


def _softmax(stack: Stack, where: str, layer: Any) -> None:
    _last_axis(where, layer.axis, 1)
    stack.activation(where, "softmax")


def _prelu(stack: Stack, where: str, layer: Any) -> None:
    stack.prelu(where, _plain(layer.alpha), bool(layer.trainable))


def _dropout(stack: Stack, where: str, layer: Any) -> None:
    stack.dropout(where, Dropout(float(layer.rate)))


def _noise(stack: Stack, where: str, layer: Any) -> None:
    stack.dropout(where, GaussianNoise(float(layer.stddev)))


def _last_axis(where: str, axis: Any, rank: int) -> None:
    if list(np.ravel(axis)) not in ([-1], [rank]):
        raise ValueError(f"{where} must be along the last axis; got axis={axis}.")


def _batch_norm(stack: Stack, where: str, layer: Any) -> None:
    _last_axis(where, layer.axis, 1)
    mean, variance = _plain(layer.moving_mean), _plain(layer.moving_variance)
    gain, bias = _plain(layer.gamma), _plain(layer.beta)
    if gain is None or bias is None:
        raise ValueError(f"{where} must have center=True and scale=True; got center={layer.center} and scale={layer.scale}.")
    momentum = float(f"{1 - layer.momentum:.15g}")
    stack.batch_norm(where, (gain, bias, mean, variance), float(layer.epsilon), momentum, bool(layer.trainable))


def _layer_norm(stack: Stack, where: str, layer: Any) -> None:
    _last_axis(where, layer.axis, 1)
    if getattr(layer, "rms_scaling", False):
        raise ValueError(f"{where} must not have rms_scaling; got True.")
    gain, bias = _plain(layer.gamma), _plain(layer.beta)
    n = stack.width if gain is None and bias is None else len(gain if bias is None else bias)
    stack.norm(where, gain, bias, n, float(layer.epsilon), bool(layer.trainable))


def _rescaling(stack: Stack, where: str, layer: Any) -> None:
    scale, shift = (np.ravel(one).tolist() for one in (layer.scale, layer.offset))
    stack.scale(where, Scale(*(one[0] if len(one) == 1 else tuple(one) for one in (scale, shift))))


def _normalization(stack: Stack, where: str, layer: Any) -> None:
    _last_axis(where, layer.axis, 1)
    mean, variance = (np.ravel(np.asarray(one)).astype(np.float64) for one in (layer.mean, layer.variance))
    std = np.maximum(np.sqrt(variance), 1e-7)  # as Keras does
    settings: Any = tuple(mean.tolist()), tuple(np.where(np.isinf(std), 0.0, std).tolist())
    if layer.invert:
        stack.layers.append(Standardize(*settings, targets=True))
    else:
        stack.scale(where, Standardize(*settings))


def _nothing(stack: Stack, where: str, layer: Any) -> None:
    if type(layer).__name__ == "Flatten" and stack.layers:
        raise ValueError(f"{where} must flatten the inputs; got it elsewhere.")


READERS: dict[str, Any] = {
    "Dense": _dense,
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "PReLU": _prelu,
    "Softmax": _softmax,
    "Dropout": _dropout,
    "GaussianNoise": _noise,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Flatten": _nothing,
    "Identity": _nothing,
    "InputLayer": _nothing,
}


def write_model(net: Any) -> Any:
    """Return a `Sequential` that does what a network does."""
    try:
        import keras
    except ImportError:
        raise ImportError("to_keras needs the package keras, and one of its backends: pip install 'fastnn[keras]'.") from None
    model = keras.Sequential([keras.Input((net.n_features,), dtype=net.dtype.name)])
    for part in parts(net):
        for layer, arrays in _written(keras, net, part):
            model.add(layer)
            if arrays:
                layer.set_weights(arrays)
    return model


def _written(keras: Any, net: Any, part: Part) -> list[tuple[Any, list[Array]]]:
    """Return the layers of a layer, each with its arrays."""
    layer, arrays = part
    layers, dtype = keras.layers, net.dtype.name
    given = [A for A in arrays if A is not None]
    if isinstance(layer, Dense):
        name = activation_name(layer, "Keras", [*ACTIVATIONS, *ALONE])
        theirs = ACTIVATIONS.get(name, "linear")
        if is_alone(part):
            return [(layers.Activation(theirs, dtype=dtype), [])]
        if not isinstance(layer.trainable, bool):
            raise ValueError(f"trainable must be True or False for Keras; got {layer}.")
        regularizers = {
            one: keras.regularizers.L1L2(l1, l2) if l1 or l2 else None
            for one, l1, l2 in (("kernel_regularizer", layer.l1, layer.l2), ("bias_regularizer", layer.bias_l1, layer.bias_l2))
        }
        dense = layers.Dense(layer.units, theirs, use_bias=layer.bias, kernel_initializer="zeros", trainable=layer.trainable, dtype=dtype, **regularizers)
        if name not in ALONE:
            return [(dense, given)]
        kind, settings = ALONE[name]
        return [(dense, given), (getattr(layers, kind)(**settings, dtype=dtype), [])]
    if isinstance(layer, LayerNorm):
        return [(layers.LayerNormalization(epsilon=layer.eps, trainable=layer.trainable, dtype=dtype), given)]
    if isinstance(layer, BatchNorm):
        normalization = layers.BatchNormalization(momentum=1 - layer.momentum, epsilon=layer.eps, trainable=layer.trainable, dtype=dtype)
        return [(normalization, given)]
    if isinstance(layer, PReLU):
        if not layer.trainable and not layer.per_unit:
            return [(layers.LeakyReLU(negative_slope=float(str(given[0][0])), dtype=dtype), [])]
        return [(layers.PReLU(shared_axes=None if layer.per_unit else [1], trainable=layer.trainable, dtype=dtype), given)]
    if isinstance(layer, Dropout) and not callable(layer.rate):
        return [(layers.Dropout(layer.rate, dtype=dtype), [])]
    if isinstance(layer, GaussianNoise):
        return [(layers.GaussianNoise(layer.std, dtype=dtype), [])]
    if isinstance(layer, Scale) and isinstance(layer.affine[0], float):
        return [(layers.Rescaling(*layer.affine, dtype=dtype), [])]
    if isinstance(layer, (Scale, Standardize)):
        return [(_normalizing(layers, net, layer), [])]
    raise ValueError(f"layers must be ones that a Sequential of Keras holds; got {'Residual' if isinstance(layer, Mark) else layer}.")


def _normalizing(layers: Any, net: Any, layer: Scale | Standardize) -> Any:
    """Return the layer that scales column by column, `(X - mean) / sqrt(variance)`, or for targets the inverse of that."""
    of_targets = isinstance(layer, Standardize) and layer.targets
    n = net.n_outputs if of_targets else net.n_features
    if isinstance(layer, Standardize):
        mean, std = (columns(A if len(A) > 1 else A[0], n) for A in layer.statistics)
    else:
        scale, shift = (columns(A, n) for A in layer.affine)
        if not (scale > 0).all():
            raise ValueError(f"scale must be above 0 for Keras; got {scale.min():g}.")
        mean, std = -shift / scale, 1 / scale
    if not of_targets:
        std = np.where(std > 0, std, np.inf)
    return layers.Normalization(mean=mean.tolist(), variance=(std**2).tolist(), invert=of_targets, dtype=net.dtype.name)
