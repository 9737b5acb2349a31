"""The graph of an ONNX file as a network: products become layers, and what is done element by element an activation, by what it computes.

Exporters spell an activation in many ways (GELU by Erf, SiLU by a sigmoid and a product). So each value that is a function of the
elements of the last layer carries that function at some points, and is then looked up among those that there are.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from . import functional, validation
from .layers import LAST_ONLY, Dense, Residual, Scale, Standardize
from .stack import Found, Stack, columns
from .validation import Array

POINTS = np.linspace(-7.9, 8.1, 161)
CLOSE = 1e-5  # of a function at a point: alpha is a float32 there
MAX_OPERATORS = 100  # in one activation


@dataclass
class Node:
    """An operator of a graph: its type, names of inputs and outputs, attributes."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        return f"{self.op} {self.name!r}" if self.name else self.op


@dataclass
class _Value:
    """A function of the elements of what a layer returned: `scale * f + shift`, with f at some points."""

    layer: int  # which one it was, so many have been read before
    f: Array
    scale: Array | float = 1.0
    shift: Array | float = 0.0
    nodes: tuple[Node, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is what the layer returned."""
        return self.is_affine and not np.any(np.asarray(self.scale) != 1) and not np.any(self.shift)

    @property
    def is_affine(self) -> bool:
        """Whether it is what the layer returned, multiplied and shifted."""
        return self.f is POINTS

    @property
    def by_column(self) -> bool:
        """Whether columns are scaled one by one."""
        return np.size(self.scale) + np.size(self.shift) > 2

    @property
    def at_points(self) -> Array:
        """The function at the points."""
        at: Array = self.f * self.scale + self.shift
        return at


def _erf(x: Array) -> Array:
    return np.array([math.erf(one) for one in x])


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _clip(x: Array, low: Any = None, high: Any = None, min: Any = None, max: Any = None) -> Array:
    return np.clip(x, min if low is None else low, max if high is None else high)


def _gelu(x: Array, approximate: str = "none") -> Array:
    return functional.gelu_tanh(x) if approximate == "tanh" else functional.gelu(x)


# What is done element by element, of arrays and attributes.
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Clip": _clip,
    "Div": np.divide,
    "Elu": _elu,
    "Erf": _erf,
    "Exp": np.exp,
    "Gelu": _gelu,
    "Greater": np.greater,
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda x, alpha=0.01: np.where(x > 0, x, alpha * x),
    "Less": np.less,
    "Log": np.log,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mish": functional.mish,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, 0),
    "Selu": lambda x, alpha=1.6732632, gamma=1.050701: gamma * _elu(x, alpha),
    "Sigmoid": functional.sigmoid,
    "Softplus": functional.softplus,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Swish": lambda x, alpha=1.0: x * functional.sigmoid(alpha * x),
    "Tanh": np.tanh,
    "Where": np.where,
}
OF_CONSTANTS: dict[str, Callable[..., Any]] = {
    "Transpose": lambda A, perm=None: np.transpose(A, perm),
    "Identity": lambda A: A,
    "Cast": lambda A, to=None, saturate=None: A,
}
NOTHING = ("Identity", "Cast", "CastLike")  # to an element of a row
ROWS = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}


@functools.cache
def functions() -> dict[str, Array]:
    """Return the values of each activation at the points; compiled when somebody asks."""
    return {name: getattr(functional, name)(POINTS) for name in functional.__all__ if name not in (*LAST_ONLY, "linear")}


class _Reader:
    """Goes through the nodes in their order and adds layers to a stack."""

    def __init__(self, constants: dict[str, Array], nodes: list[Node]) -> None:
        self.stack = Stack("ONNX")
        self.constants = dict(constants)
        self.values: dict[str, _Value | None] = {}  # None: what nobody should ask for
        self.uses = Counter(name for node in nodes for name in node.inputs)
        self.layer = 0
        self.resolved: dict[str, tuple[int, Any]] = {}  # of what layers took: how many there were, and the last

    def fresh(self) -> _Value:
        """Return what the layer before returned."""
        return _Value(self.layer, POINTS)

    def read(self, node: Node) -> None:
        """Read a node."""
        if node.op == "Constant":
            value = next(iter(node.attributes.values()))
            self.constants[node.outputs[0]] = np.asarray(value)
            return
        if all(name in self.constants or not name for name in node.inputs) and node.op in OF_CONSTANTS:
            self.constants[node.outputs[0]] = OF_CONSTANTS[node.op](self.constants[node.inputs[0]], **node.attributes)
            return
        self.values[node.outputs[0]] = self._result(node)

    def _result(self, node: Node) -> _Value:
        if node.op in NOTHING or node.op == "Dropout" or (node.op == "ZipMap" and len(node.inputs) == 1):
            return self._value(node, node.inputs[0])
        if node.op == "Flatten":
            if self._value(node, node.inputs[0]).layer or node.attributes.get("axis", 1) != 1:
                self._refuse(node)
            return self._value(node, node.inputs[0])
        if node.op == "Reshape":
            shape = self.constant(node, 1).tolist()
            if len(shape) != 2 or shape[0] not in (-1, 0) or shape[1] not in (-1, self.stack.width) or shape == [-1, -1]:
                self._refuse(node, f"to shape {shape}")
            return self._value(node, node.inputs[0])
        if node.op == "Concat":
            return self._two_classes(node)
        if node.op in READERS or self._block(node):
            if node.op in READERS:
                READERS[node.op](self, node)
            self.layer += 1
            return self.fresh()
        if node.op in ROWS:
            if node.attributes.get("axis", -1) not in (-1, 1):
                self._refuse(node, f"with axis={node.attributes['axis']}")
            self.resolve(node, node.inputs[0])
            self.stack.activation(str(node), ROWS[node.op])
            self.layer += 1
            return self.fresh()
        if node.op not in ELEMENTWISE:
            self._refuse(node)
        return self._elementwise(node)

    def _refuse(self, node: Node, how: str = "") -> NoReturn:
        raise ValueError(f"operators of an ONNX file must be those of a chain of layers that fastnn has; got {node}{f' {how}' if how else ''}.")

    def _value(self, node: Node, name: str) -> _Value:
        value = self.values.get(name)
        if value is None:
            self._refuse(node, f"of {name!r}, which is no row of numbers here")
        if value.layer != self.layer:
            self._refuse(node, "of what an earlier layer returned")
        return value

    def constant(self, node: Node, place: int, default: Any = None) -> Any:
        """Return an input that must be a constant."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        if not name:
            return default
        if name not in self.constants:
            self._refuse(node, f"with an input {name!r} that is no constant")
        return validation.array(name, self.constants[name])

    def _elementwise(self, node: Node) -> _Value:
        """Return a function of what a layer returned."""
        operands: list[Any] = []
        for name in node.inputs:
            operands.append(self._value(node, name) if name in self.values else self.constant(node, len(operands)) if name else None)
        given = [one for one in operands if isinstance(one, _Value)]
        if not given:
            self._refuse(node, "of constants only")
        nodes = (*max((value.nodes for value in given), key=len), node)
        if len(nodes) > MAX_OPERATORS:
            self._refuse(node, f"after {MAX_OPERATORS} others in one activation")
        made = _affine(node.op, operands) if len(given) == 1 and len(operands) == 2 else None
        if made is not None:
            made = replace(made, nodes=nodes)
            alone = all(self.uses[name] == 1 for name in node.inputs)
            return self._fold(node, made) if alone and made.is_affine else made
        if len(given) == 1 and given[0].is_affine and given[0].by_column and all(self.uses[name] == 1 for name in node.inputs):
            operands = [self._fold(node, one, scaled=True) if isinstance(one, _Value) else one for one in operands]
        arguments = []
        for one in operands:
            if isinstance(one, np.ndarray) and one.size != 1:
                self._refuse(node, f"with a constant of shape {one.shape}")
            if isinstance(one, _Value) and one.by_column:
                self._refuse(node, "of columns that are scaled one by one")
            arguments.append(one.at_points if isinstance(one, _Value) else None if one is None else one.reshape(()))
        function = ELEMENTWISE[node.op]
        try:
            if isinstance(function, np.ufunc) and (function.nin != len(arguments) or node.attributes):
                raise TypeError
            with np.errstate(all="ignore"):
                f = np.asarray(function(*arguments, **node.attributes), np.float64)
        except TypeError:
            self._refuse(node, f"with {len(arguments)} inputs and the attributes {', '.join(node.attributes) or 'none'}")
        return _Value(self.layer, f, nodes=nodes)

    def _block(self, node: Node) -> bool:
        """Read the sum that ends a residual block; return whether it is one."""
        if node.op != "Add" or any(name not in self.values for name in node.inputs) or len(node.inputs) != 2:
            return False
        for inside, around in (node.inputs, node.inputs[::-1]):
            value, (start, last) = self.values[inside], self.resolved.get(around, (-1, None))
            if value is not None and value.layer == self.layer and 0 <= start < len(self.stack.layers) and (not start or self.stack.layers[start - 1] is last):
                self.resolve(node, inside)
                self.stack.layers[start:] = [Residual(self.stack.layers[start:])]
                return True
        return False

    def _two_classes(self, node: Node) -> _Value:
        """Read 1 - p and p side by side, p after a sigmoid: softmax of 0 and what the sigmoid was applied to."""
        pair = [self.values.get(name) for name in node.inputs]
        last = self.stack.layers[-1] if self.stack.layers else None
        known = [_known(one.at_points if i else 1 - one.at_points) for i, one in enumerate(pair) if one is not None and one.layer == self.layer]
        if known != ["sigmoid", "sigmoid"] or not isinstance(last, Dense) or last.units != 1 or last.activation != "identity":
            self._refuse(node)
        W, b = (np.concatenate([np.zeros_like(A), A], axis=-1) for A in _arrays(last))
        self.stack.replace_last(Dense(2, "softmax", initializer=(W, b), bias=last.bias))
        self.layer += 1
        return self.fresh()

    def _fold(self, node: Node, value: _Value, scaled: bool = False) -> _Value:
        """Put what is done by column to a linear layer into its weights, if nothing else asks for what it returned."""
        if not self.stack.layers or not isinstance(last := self.stack.layers[-1], Dense) or last.activation != "identity":
            return value
        W, b = _arrays(last)
        scale, shift = np.asarray(value.scale).reshape(-1), np.asarray(value.shift).reshape(-1)
        if np.any(scale != 1) and not scaled:
            return value
        if {scale.size, shift.size} - {1, last.units}:
            self._refuse(node, f"with a constant of {max(scale.size, shift.size)} numbers for {last.units} columns")
        bias = np.broadcast_to(b * scale + shift, (last.units,)).astype(W.dtype)
        self.stack.replace_last(replace(last, initializer=((W * scale).astype(W.dtype), bias), bias=True))
        self.layer += 1
        return self.fresh()

    def resolve(self, node: Node | None, name: str, at_end: bool = False) -> None:
        """Turn a function of what the last layer returned into a layer, an activation, or something that scales."""
        self._resolve(node, name, at_end)
        self.resolved[name] = len(self.stack.layers), self.stack.layers[-1] if self.stack.layers else None

    def _resolve(self, node: Node | None, name: str, at_end: bool) -> None:
        value = self.values.get(name)
        if value is None or value.layer != self.layer:
            raise ValueError(f"operators of an ONNX file must be a chain of layers; got {node or 'an output'} of {name!r}, which is not its end.")
        if value.is_plain:
            return
        if value.is_affine and not self.stack.layers:
            self.stack.scale(str(value.nodes[-1]), _scale(value))
        elif value.is_affine and not at_end:
            if node is not None and self._fold(node, value, scaled=True) is not value:
                return
            self._refuse(value.nodes[-1], f"after {value.nodes[0]}" if len(value.nodes) > 1 else "by constants behind a layer")
        elif not value.is_affine:
            activation = None if value.by_column else _known(value.at_points)
            plain = activation is None and at_end
            activation = _known(value.f) if plain else activation
            slope = _slope(value) if activation is None else None
            if slope is not None:
                self.stack.prelu(str(value.nodes[0]), np.array([slope]), False)
                return
            if activation is None:
                shown = ", ".join(str(one) for one in value.nodes[:8])
                raise ValueError(f"operators of an ONNX file must make up an activation that fastnn has; got {shown}, which do not.")
            self.stack.activation(str(value.nodes[0]), activation)
            at_end = plain
        if at_end:
            self._targets(value)

    def _targets(self, value: _Value) -> None:
        """Add what gives the targets their units back."""
        std, mean = value.scale, value.shift
        if np.any(np.asarray(std) < 0):
            self._refuse(value.nodes[-1], "by a negative number behind the last layer")
        n = max(np.size(std), np.size(mean))
        self.stack.layers.append(Standardize(tuple(columns(np.ravel(mean), n).tolist()), tuple(columns(np.ravel(std), n).tolist()), targets=True))


def _arrays(layer: Dense) -> tuple[Array, Array]:
    """Return the arrays that a layer starts with."""
    arrays: Any = layer.initializer
    return arrays[0], arrays[1]


def _scale(value: _Value) -> Scale:
    """Return the layer that does what is done to the inputs."""
    scale, shift = (float(np.asarray(one).reshape(())) if np.size(one) == 1 else tuple(np.ravel(one).tolist()) for one in (value.scale, value.shift))
    return Scale(scale, shift)


def _affine(op: str, operands: list[Any]) -> _Value | None:
    """Return a value that is multiplied by a constant, or shifted by one."""
    first, second = operands
    if isinstance(first, _Value):
        value, constant, swapped = first, second, False
    else:
        value, constant, swapped = second, first, True
    if constant is None or constant.size > 1 and constant.size != constant.shape[-1]:
        return None
    c = constant.astype(np.float64).reshape(-1) if constant.size > 1 else float(constant.reshape(()))
    a, b = value.scale, value.shift
    with np.errstate(all="ignore"):
        if op == "Add":
            return replace(value, shift=b + c)
        if op == "Sub":
            return replace(value, scale=-1.0 * a, shift=c - b) if swapped else replace(value, shift=b - c)
        if op == "Mul":
            return replace(value, scale=a * c, shift=b * c)
        if op == "Div" and not swapped:
            return replace(value, scale=a / c, shift=b / c)
    return None


def _known(f: Array) -> str | None:
    """Return the activation that has these values at the points."""
    for name, expected in functions().items():
        if f.shape == expected.shape and np.all(np.abs(f - expected) <= CLOSE * np.maximum(1, np.abs(expected))):
            return name
    return None


def _slope(value: _Value) -> float | None:
    """Return the slope of a function that is the identity above zero and a line below."""
    if value.by_column:
        return None
    f = value.at_points
    slope = float(f[0] / POINTS[0])
    line = np.where(POINTS > 0, POINTS, slope * POINTS)
    return float(str(np.float32(slope))) if f.shape == line.shape and np.all(np.abs(f - line) <= CLOSE) else None


def _gemm(reader: _Reader, node: Node) -> None:
    reader.resolve(node, node.inputs[0])
    attributes = node.attributes
    W = _matrix(reader, node)
    W = W.T if attributes.get("transB", 0) else W
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or (len(node.inputs) > 2 and attributes.get("beta", 1.0) != 1.0):
        reader._refuse(node, "with transA, alpha or beta")
    b = reader.constant(node, 2)
    if b is not None and b.size not in (1, W.shape[1]):
        reader._refuse(node, f"with a bias of shape {b.shape} for {W.shape[1]} columns")
    reader.stack.dense(str(node), W, None if b is None else np.broadcast_to(b.reshape(-1), (W.shape[1],)))


def _matmul(reader: _Reader, node: Node) -> None:
    reader.resolve(node, node.inputs[0])
    reader.stack.dense(str(node), _matrix(reader, node), None)


def _matrix(reader: _Reader, node: Node) -> Array:
    W: Array = reader.constant(node, 1)
    if W.ndim != 2 or W.size == 0:
        reader._refuse(node, f"with weights of shape {W.shape}")
    return W


def _layer_normalization(reader: _Reader, node: Node) -> None:
    reader.resolve(node, node.inputs[0])
    gain, bias = reader.constant(node, 1), reader.constant(node, 2)
    if node.attributes.get("axis", -1) not in (-1, 1) or gain is None or gain.ndim != 1 or (bias is not None and bias.shape != gain.shape):
        reader._refuse(node, "with another axis than the last")
    eps = np.ravel(reader.constant(node, 3, float(str(np.float32(node.attributes.get("epsilon", 1e-5))))))[0]  # 1e-5 is not one in float32
    reader.stack.norm(str(node), gain, bias, len(gain), float(eps))


def _batch_normalization(reader: _Reader, node: Node) -> None:
    reader.resolve(node, node.inputs[0])
    arrays = tuple(reader.constant(node, place) for place in range(1, 5))
    if node.attributes.get("training_mode", 0) or any(A is None or A.shape != (len(np.ravel(arrays[0])),) for A in arrays):
        reader._refuse(node, "in training, or without a number for each column")
    eps = np.ravel(reader.constant(node, 5, float(str(np.float32(node.attributes.get("epsilon", 1e-5))))))[0]
    momentum = float(f"{1 - node.attributes.get('momentum', 0.9):.6g}")  # as float32 has it
    reader.stack.batch_norm(str(node), arrays, float(eps), momentum)


def _prelu(reader: _Reader, node: Node) -> None:
    reader.resolve(node, node.inputs[0])
    reader.stack.prelu(str(node), reader.constant(node, 1).reshape(-1), True)


def _scaler(reader: _Reader, node: Node) -> None:
    """Read the scaler of the operators for classical models: (X - offset) * scale."""
    reader.resolve(node, node.inputs[0])
    offset, scale = (np.asarray(node.attributes.get(name, default), np.float64) for name, default in (("offset", [0.0]), ("scale", [1.0])))
    reader.stack.scale(str(node), Scale(tuple(scale.tolist()), tuple((-offset * scale).tolist())))


READERS: dict[str, Callable[[_Reader, Node], None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "LayerNormalization": _layer_normalization,
    "BatchNormalization": _batch_normalization,
    "PRelu": _prelu,
    "Scaler": _scaler,
}


def read(nodes: list[Node], constants: dict[str, Array], inputs: list[str], outputs: list[str], output: str | None, props: dict[str, str]) -> Found:
    """Return the network of a graph, as far as one of its outputs needs it."""
    if output is None and len(outputs) > 1:
        raise ValueError(f"output must name one of the outputs {', '.join(map(repr, outputs))}; got None.")
    wanted = outputs[0] if output is None else validation.choice("output", output, outputs)
    needed, chosen = {wanted}, []
    for node in reversed(nodes):
        if needed & set(node.outputs):
            needed |= set(node.inputs)
            chosen.append(node)
    used = [name for name in inputs if name in needed]
    if len(used) != 1:
        raise ValueError(f"an ONNX file must have one input; got {', '.join(map(repr, used)) or 'none that the output depends on'}.")
    reader = _Reader(constants, chosen)
    reader.uses[wanted] += 1
    reader.values[used[0]] = reader.fresh()
    for node in reversed(chosen):
        reader.read(node)
    reader.resolve(None, wanted, at_end=True)
    found = reader.stack.finish()
    names = _names(props, "feature_names")
    return replace(found, classes=_names(props, "classes"), feature_names=None if names is None else tuple(names))


def _names(props: dict[str, str], key: str) -> list[str] | None:
    """Return names that `to_onnx` has put beside a graph."""
    try:
        names = json.loads(props.get(key, "null"))
    except ValueError:
        return None
    return names if isinstance(names, list) and all(isinstance(one, str) for one in names) else None
