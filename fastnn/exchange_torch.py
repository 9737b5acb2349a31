"""PyTorch's `nn.Sequential` and state dicts (extra `torch`)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import validation
from .layers import BatchNorm, Dense, Dropout, LayerNorm, Mark, PReLU, Scale, Standardize, changed, single
from .stack import Found, Part, Stack, activation_name, columns, is_alone, parts, to_scale, trainable
from .validation import Array

# Of each activation the module and what it must be set to. The threshold, beyond which softplus is the identity, is as exact in float64.
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01}),
    "elu": ("ELU", {"alpha": 1.0}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {"approximate": "none"}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "mish": ("Mish", {}),
    "hard_swish": ("Hardswish", {}),
    "softsign": ("Softsign", {}),
    "softplus": ("Softplus", {"beta": 1.0, "threshold": 40.0}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softmax": ("Softmax", {"dim": -1}),
    "log_softmax": ("LogSoftmax", {"dim": -1}),
}
ALSO_RIGHT: dict[str, Any] = {"dim": lambda value: value == 1, "threshold": lambda value: value >= 20}


def read_model(model: Any) -> Found:
    """Return the network of an `nn.Sequential`, which may hold others."""
    stack = Stack("PyTorch")
    for name, module in _modules(model, ""):
        kind, where = type(module).__name__, f"{type(module).__name__} {name!r}"
        if getattr(module, "_forward_hooks", None) or getattr(module, "_forward_pre_hooks", None):
            raise ValueError(f"model must have no hooks, which may change what a layer does; got {where}.")
        ours = type(module).__module__.startswith("torch.nn.modules.")
        if ours and kind in READERS:
            READERS[kind](stack, where, module)
        elif ours and any(kind == one for one, _ in ACTIVATIONS.values()):
            stack.activation(where, _activation(where, module))
        else:
            known = sorted({*READERS, *(one for one, _ in ACTIVATIONS.values())})
            raise ValueError(f"model must be an nn.Sequential of {', '.join(known)}; got {where}.")
    return stack.finish()


def _modules(module: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers with their names, those of nested ones with a point."""
    if type(module).__name__ == "Sequential" and hasattr(module, "named_children"):
        for inner, child in module.named_children():
            yield from _modules(child, f"{name}.{inner}" if name else inner)
    else:
        yield name, module


def _activation(where: str, module: Any) -> str:
    """Return our name of an activation, if it is set as ours."""
    wrong = ""
    for name, (kind, settings) in ACTIVATIONS.items():
        if kind == type(module).__name__:
            different = [one for one, value in settings.items() if not _right(one, getattr(module, one), value)]
            if not different:
                return name
            wrong = f"{different[0]}={settings[different[0]]!r}; got {getattr(module, different[0])!r}"
    raise ValueError(f"{where} must have {wrong}.")


def _right(name: str, actual: Any, expected: Any) -> bool:
    return bool(actual == expected or (name in ALSO_RIGHT and actual is not None and ALSO_RIGHT[name](actual)))


def _linear(stack: Stack, where: str, module: Any) -> None:
    W, b = _plain(where, module.weight).T, _plain(where, module.bias)
    trained = module.weight.requires_grad, module.bias is not None and module.bias.requires_grad
    if not stack.layers and trained == (False, False) and b is not None and _is_diagonal(W):
        stack.scale(where, Scale(tuple(W.diagonal().tolist()), tuple(b.tolist())), W)
    else:
        stack.dense(where, W, b, trainable=trainable(trained[0], trained[1] or (b is None and trained[0])))


def _is_diagonal(W: Array) -> bool:
    return W.shape[0] == W.shape[1] and not np.any(W - np.diag(W.diagonal()))


def _layer_norm(stack: Stack, where: str, module: Any) -> None:
    if len(module.normalized_shape) != 1:
        raise ValueError(f"{where} must normalize one dimension; got normalized_shape={tuple(module.normalized_shape)}.")
    gain, bias = _plain(where, module.weight), _plain(where, module.bias)
    trained = module.weight is not None and module.weight.requires_grad
    stack.norm(where, gain, bias, module.normalized_shape[0], module.eps, trained)


def _batch_norm(stack: Stack, where: str, module: Any) -> None:
    tensors = (module.weight, module.bias, module.running_mean, module.running_var)
    if any(one is None for one in tensors) or module.momentum is None:
        raise ValueError(f"{where} must have affine=True, track_running_stats=True and a momentum; got others.")
    stack.batch_norm(where, tuple(_plain(where, one) for one in tensors), module.eps, module.momentum, module.weight.requires_grad)


def _prelu(stack: Stack, where: str, module: Any) -> None:
    stack.prelu(where, _plain(where, module.weight), module.weight.requires_grad)


def _leaky_relu(stack: Stack, where: str, module: Any) -> None:
    if module.negative_slope == 0.01:
        stack.activation(where, "leaky_relu")
    else:
        stack.prelu(where, np.array([module.negative_slope]), False)


def _dropout(stack: Stack, where: str, module: Any) -> None:
    stack.dropout(where, Dropout(module.p))


def _flatten(stack: Stack, where: str, module: Any) -> None:
    if stack.layers or module.start_dim != 1:
        raise ValueError(f"{where} must flatten the inputs, from dimension 1 on; got it elsewhere.")


READERS: dict[str, Any] = {
    "Linear": _linear,
    "LayerNorm": _layer_norm,
    "BatchNorm1d": _batch_norm,
    "PReLU": _prelu,
    "LeakyReLU": _leaky_relu,
    "Dropout": _dropout,
    "Flatten": _flatten,
}


def _plain(where: str, tensor: Any) -> Any:
    """Return a tensor, or what a file has in its place, as an array; None stays None."""
    if tensor is None:
        return None
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        tensor = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    return validation.array(where, tensor)


def read_state(state: Mapping[str, Any], layers: Any, names: Sequence[str] | None) -> Found:
    """Return the network of layers whose arrays a state dict has, under the names `NAME.weight` and `NAME.bias`."""
    found: list[Any] = single(list(layers))
    places = [i for i, layer in enumerate(found) if hasattr(layer, "shapes")]
    prefixes = list(dict.fromkeys(key.rpartition(".")[0] for key in state)) if names is None else list(names)
    if len(prefixes) != len(places):
        raise ValueError(f"names must have one for each of the {len(places)} layers with arrays; got {', '.join(map(repr, prefixes)) or 'none'}.")
    wanted = {i: [f"{prefix}.{one}" if prefix else one for one in _keys(found[i])] for i, prefix in zip(places, prefixes)}
    keys = [key for some in wanted.values() for key in some]
    missing, left = [key for key in keys if key not in state], [key for key in state if key not in keys and not key.endswith("num_batches_tracked")]
    if missing or left:
        said = [f"{what} {', '.join(map(repr, some))}" for what, some in (("missing", missing), ("left over", left)) if some]
        raise ValueError(f"state_dict must have the names that the layers take, and no others; got {' and '.join(said)}.")
    dtypes = []
    n_features = 0
    for i, names_ in wanted.items():
        arrays = [_plain(name, state[name]) for name in names_]
        dtypes += [A.dtype for A in arrays]
        layer = found[i]
        if isinstance(layer, Dense):
            if arrays[0].ndim != 2:
                raise ValueError(f"{names_[0]} must have shape (n_out, n_in); got {arrays[0].shape}.")
            arrays[0] = arrays[0].T
        n_features = n_features or (0 if isinstance(layer, PReLU) and not layer.per_unit else arrays[0].shape[0])
        found[i] = replace(layer, initializer=tuple(arrays) if len(arrays) > 1 else arrays[0])
    wide = any(dtype.kind == "f" and dtype.itemsize > 4 for dtype in dtypes)
    filled = iter(found)
    return Found(list(changed(list(layers), lambda _: next(filled))), n_features, "float64" if wide else "float32")


def _keys(layer: Any) -> tuple[str, ...]:
    """Return what PyTorch calls the arrays of a layer."""
    if isinstance(layer, PReLU):
        return ("weight",)
    if isinstance(layer, BatchNorm):
        return "weight", "bias", "running_mean", "running_var"
    return ("weight",) if isinstance(layer, Dense) and not layer.bias else ("weight", "bias")


def write_model(net: Any, names: Sequence[str] | None) -> Any:
    """Return an `nn.Sequential` that does what a network does, ready to predict."""
    try:
        import torch
    except ImportError:
        raise ImportError("to_torch needs the package torch: pip install 'fastnn[torch]'.") from None
    given = None if names is None else iter(names)
    n_arrays = sum(hasattr(layer, "shapes") for layer in single(net.layers))
    if names is not None and len(names) != n_arrays:
        raise ValueError(f"names must have one for each of the {n_arrays} layers with arrays; got {len(names)}.")
    modules: OrderedDict[str, Any] = OrderedDict()
    for position, part in enumerate(parts(net)):
        name = next(given) if given is not None and hasattr(part.layer, "shapes") else f"{type(part.layer).__name__.lower()}{position}"
        for i, module in enumerate(_written(torch, net, part)):
            modules[str(len(modules)) if given is None else name if i == 0 else f"{name}_activation"] = module
    return torch.nn.Sequential(modules).eval()


def _written(torch: Any, net: Any, part: Part) -> list[Any]:
    """Return the modules of a layer."""
    layer, arrays = part
    nn, dtype = torch.nn, getattr(torch, net.dtype.name)

    def filled(kind: Any, *sizes: Any, trained: tuple[bool, bool] = (True, True), **settings: Any) -> Any:
        module = nn.utils.skip_init(kind, *sizes, dtype=dtype, **settings)
        with torch.no_grad():
            own = [getattr(module, one) for one in _keys(layer)] if arrays is part.arrays else [module.weight, module.bias]
            for parameter, A, train in zip(own, arrays, (*trained, False, False)):
                if parameter is not None and A is not None:
                    parameter.copy_(torch.from_numpy(np.ascontiguousarray(A.T)))
                    parameter.requires_grad_(train)
        return module

    if isinstance(layer, Dense):
        name = activation_name(layer, "PyTorch", ACTIVATIONS)
        kind, settings = ACTIVATIONS[name]
        after = [] if name == "identity" else [getattr(nn, kind)(**settings)]
        return after if is_alone(part) else [filled(nn.Linear, *arrays[0].shape, bias=layer.bias, trained=layer.trained), *after]
    if isinstance(layer, LayerNorm):
        return [filled(nn.LayerNorm, len(arrays[0]), eps=layer.eps, trained=(layer.trainable, layer.trainable))]
    if isinstance(layer, BatchNorm):
        both = (layer.trainable, layer.trainable)
        return [filled(nn.BatchNorm1d, len(arrays[0]), eps=layer.eps, momentum=layer.momentum, trained=both)]
    if isinstance(layer, PReLU):
        if not layer.trainable and not layer.per_unit:
            slope = float(str(arrays[0][0]))  # 0.2 is not one in float32
            return [nn.LeakyReLU(slope) if slope else nn.ReLU()]
        return [filled(nn.PReLU, len(arrays[0]), trained=(layer.trainable, False))]
    if isinstance(layer, Dropout) and not callable(layer.rate):
        return [nn.Dropout(layer.rate)]
    if not isinstance(layer, (Scale, Standardize)):
        raise ValueError(f"layers must be ones that an nn.Sequential of PyTorch holds; got {'Residual' if isinstance(layer, Mark) else layer}.")
    n = net.n_outputs if getattr(layer, "targets", False) else net.n_features
    scale, shift = (columns(one, n).astype(net.dtype) for one in to_scale(layer))
    arrays = (np.diag(scale), shift)
    return [filled(nn.Linear, n, n, trained=(False, False))]
