"""ONNX files (extra `onnx`): what a network says in its operators, and the graph of a file for `onnx_graph`."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from kernels._math import ERROR

from . import onnx_graph
from .files import replace
from .layers import BEGIN, END, BatchNorm, Dense, LayerNorm, PReLU, Scale, Standardize
from .stack import Found, Part, activation_name, columns, is_alone, parts, to_scale

OPSET, IR_VERSION = 24, 11  # of ONNX 1.19
LOCAL = "fastnn"  # the domain of what the standard operators do not do in float64: functions, which the file defines
# An activation is a list of operators, each with its inputs: "z" is the activation's, a number stands for the result of that line,
# a float for a constant. In float64 ONNX Runtime has no kernel for some, which are then put together from others.
ACTIVATIONS: dict[str, list[tuple[Any, ...]]] = {
    "identity": [],
    "relu": [("Relu", "z")],
    "leaky_relu": [("LeakyRelu", "z", {"alpha": 0.01})],
    "elu": [("Elu", "z")],
    "selu": [("Selu", "z")],
    "gelu": [("Gelu", "z")],
    "gelu_tanh": [("Gelu", "z", {"approximate": "tanh"})],
    "silu": [("Sigmoid", "z"), ("Mul", "z", 0)],
    "mish": [("Mish", "z")],
    "hard_swish": [("HardSwish", "z")],
    "softsign": [("Softsign", "z")],
    "exponential": [("Exp", "z")],
    "softplus": [("Softplus", "z")],
    "tanh": [("Tanh", "z")],
    "sigmoid": [("Sigmoid", "z")],
    "softmax": [("Softmax", "z", {"axis": -1})],
    "log_softmax": [("LogSoftmax", "z", {"axis": -1})],
}
_ELU = [("Min", "z", 0.0), ("Exp", 0), ("Sub", 1, 1.0), ("Max", "z", 0.0)]
_SOFTPLUS = [("Abs", "z"), ("Neg", 0), ("Exp", 1), ("Add", 2, 1.0), ("Log", 3), ("Max", "z", 0.0), ("Add", 4, 5)]
_TANH = [("Mul", "z", "z"), ("Mul", 0, "z"), ("Mul", 1, 0.044715), ("Add", "z", 2), ("Mul", 3, 0.7978845608028654), ("Tanh", 4)]
IN_FLOAT64: dict[str, list[tuple[Any, ...]]] = {
    "leaky_relu": [("Mul", "z", 0.01), ("Max", "z", 0)],
    "elu": [*_ELU, ("Add", 2, 3)],
    "selu": [*_ELU, ("Mul", 2, 1.6732632423543772), ("Add", 3, 4), ("Mul", 5, 1.0507009873554805)],
    "gelu": [("Mul", "z", 0.7071067811865476), ("fastnn.Erf", 0), ("Add", 1, 1.0), ("Mul", "z", 2), ("Mul", 3, 0.5)],
    "gelu_tanh": [*_TANH, ("Add", 5, 1.0), ("Mul", "z", 6), ("Mul", 7, 0.5)],
    "hard_swish": [("Add", "z", 3.0), ("Max", 0, 0.0), ("Min", 1, 6.0), ("Mul", "z", 2), ("Mul", 3, 1 / 6)],
    "softsign": [("Abs", "z"), ("Add", 0, 1.0), ("Div", "z", 1)],
    "softplus": _SOFTPLUS,
    "mish": [*_SOFTPLUS, ("Tanh", 6), ("Mul", "z", 7)],
}


class _Graph:
    """The nodes and constants of a graph as it grows; `at` is the name of the last result."""

    def __init__(self, onnx: Any, dtype: np.dtype[Any]) -> None:
        self.onnx, self.dtype, self.at = onnx, dtype, "X"
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.functions: set[str] = set()

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator of some inputs, whose result is then the last one; "fastnn.Erf" is one of `FUNCTIONS`."""
        domain, _, operator = operator.rpartition(".")
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [name], name, domain=domain, **attributes))
        self.functions |= {operator} if domain else set()
        self.at = name
        return name

    def constant(self, name: str, A: Any, dtype: Any = None) -> str:
        """Add an array."""
        self.constants[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(A, dtype or self.dtype), name)
        return name

    def cast(self, dtype: Any) -> None:
        """Convert the last result."""
        self.node("Cast", self.at, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def affine(self, name: str, scale: Any, shift: Any, dtype: Any) -> None:
        """Multiply and add by column."""
        self.node("Mul", self.at, self.constant(f"{name}.scale", scale, dtype))
        self.node("Add", self.at, self.constant(f"{name}.shift", shift, dtype))

    def activation(self, name: str) -> None:
        """Add an activation."""
        lines = IN_FLOAT64.get(name, ACTIVATIONS[name]) if self.dtype == np.float64 else ACTIVATIONS[name]
        results: list[str] = []
        z = self.at
        for operator, *rest in lines:
            attributes = rest.pop() if isinstance(rest[-1], dict) else {}
            inputs = []
            for one in rest:
                number = isinstance(one, float)
                inputs.append(z if one == "z" and not number else self.constant(f"number.{one!r}", one) if number else results[one])
            results.append(self.node(operator, *inputs, **attributes))


def _function(onnx: Any, name: str) -> Any:
    """Return the definition of a function in float64."""
    nodes: list[Any] = []
    helper = onnx.helper

    def node(operator: str, *inputs: Any, **attributes: Any) -> str:
        names = [one if isinstance(one, str) else constant(one) for one in inputs]
        return add(operator, names, **attributes)

    def constant(value: Any) -> str:
        return add("Constant", [], value=onnx.numpy_helper.from_array(np.asarray(value)))

    def add(operator: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    inputs = FUNCTIONS[name](node)
    nodes[-1].output[0] = "Y"
    return helper.make_function(LOCAL, name, inputs, ["Y"], nodes, [helper.make_opsetid("", OPSET)])


def _erf(node: Any) -> list[str]:
    """Write erf as the kernels calculate it."""
    k = ERROR[1]

    def polynomial(x: str, coefficients: Any) -> str:
        value = coefficients[-1]
        for c in coefficients[-2::-1]:
            value = node("Add", node("Mul", value, x), c)
        return str(value)

    a = node("Min", node("Abs", "X"), k.flat)
    near = node("Add", node("Mul", polynomial(node("Mul", a, a), k.near), a), a)
    far = node("Sub", np.float64(1), node("Exp", polynomial(a, k.far)))
    node("Mul", node("Where", node("Greater", a, np.float64(1)), far, near), node("Sign", "X"))
    return ["X"]


def _layer_normalization(node: Any) -> list[str]:
    """Write layer normalization: the standard one has mean and variance in float32."""
    last = np.array([-1])
    d = node("Sub", "X", node("ReduceMean", "X", last))
    deviation = node("Sqrt", node("Add", node("ReduceMean", node("Mul", d, d), last), "eps"))
    node("Add", node("Mul", node("Div", d, deviation), "gain"), "bias")
    return ["X", "gain", "bias", "eps"]


def _batch_normalization(node: Any) -> list[str]:
    """Write batch normalization: the standard one has epsilon in float32."""
    deviation = node("Sqrt", node("Add", "variance", "eps"))
    node("Add", node("Mul", node("Div", node("Sub", "X", "mean"), deviation), "gain"), "bias")
    return ["X", "gain", "bias", "mean", "variance", "eps"]


def _prelu(node: Any) -> list[str]:
    """Write PRelu, for which ONNX Runtime has no kernel in float64."""
    zero = np.float64(0)
    node("Add", node("Max", "X", zero), node("Mul", node("Min", "X", zero), "slope"))
    return ["X", "slope"]


FUNCTIONS: dict[str, Any] = {
    "Erf": _erf,
    "LayerNormalization": _layer_normalization,
    "BatchNormalization": _batch_normalization,
    "PRelu": _prelu,
}


def write(net: Any, path: str | os.PathLike[str]) -> None:
    """Write a network as an ONNX file."""
    onnx = _onnx("to_onnx")
    graph = _Graph(onnx, net.dtype)
    double, counts = np.dtype(np.float64), {"dense": 0, "norm": 0, "batchnorm": 0, "prelu": 0}
    takes = gives = net.dtype
    before: list[str] = []  # what residual blocks begin with
    for layer, arrays in parts(net):
        if layer is BEGIN:
            before.append(graph.at)
        elif layer is END:
            graph.node("Add", graph.at, before.pop())
        elif isinstance(layer, Dense):
            name = f"dense.{counts['dense']}"
            counts["dense"] += 1
            W, b = arrays
            if is_alone(Part(layer, arrays)):
                pass
            elif b is None:
                graph.node("MatMul", graph.at, graph.constant(f"{name}.W", W))
            else:
                graph.node("Gemm", graph.at, graph.constant(f"{name}.W", W), graph.constant(f"{name}.b", b))
            graph.activation(activation_name(layer, "ONNX", ACTIVATIONS))
        elif isinstance(layer, LayerNorm):
            name = f"norm.{counts['norm']}"
            counts["norm"] += 1
            gain, bias = (graph.constant(f"{name}.{one}", A) for one, A in zip(("gain", "bias"), arrays))
            if net.dtype == double:
                graph.node("fastnn.LayerNormalization", graph.at, gain, bias, graph.constant(f"{name}.eps", layer.eps))
            else:
                graph.node("LayerNormalization", graph.at, gain, bias, axis=-1, epsilon=layer.eps)
        elif isinstance(layer, BatchNorm):
            name = f"batchnorm.{counts['batchnorm']}"
            counts["batchnorm"] += 1
            known = [graph.constant(f"{name}.{one}", A) for one, A in zip(layer.shapes(0), arrays)]
            if net.dtype == double:
                graph.node("fastnn.BatchNormalization", graph.at, *known, graph.constant(f"{name}.eps", layer.eps))
            else:
                graph.node("BatchNormalization", graph.at, *known, epsilon=layer.eps, momentum=1 - layer.momentum)
        elif isinstance(layer, PReLU):
            name = f"prelu.{counts['prelu']}"
            counts["prelu"] += 1
            graph.node("fastnn.PRelu" if net.dtype == double else "PRelu", graph.at, graph.constant(f"{name}.slope", arrays[0]))
        elif isinstance(layer, (Scale, Standardize)):
            scale, shift = to_scale(layer)
            by_column = isinstance(scale, np.ndarray)
            if getattr(layer, "targets", False):
                gives = double
                if net.dtype != double:
                    graph.cast(double)
                graph.affine("targets", columns(scale, net.n_outputs), columns(shift, net.n_outputs), double)
            elif by_column:
                takes = double
                graph.affine("inputs", columns(scale, net.n_features), columns(shift, net.n_features), double)
                if net.dtype != double:
                    graph.cast(net.dtype)
            else:
                graph.affine("inputs", scale, shift, net.dtype)
    graph.nodes[-1].output[0] = "outputs"
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(dtype), ["rows", n])
        for name, dtype, n in (("X", takes, net.n_features), ("outputs", gives, net.n_outputs))
    ]
    made = onnx.helper.make_graph(graph.nodes, "fastnn", values[:1], values[1:], list(graph.constants.values()))
    functions = [_function(onnx, name) for name in sorted(graph.functions)]
    opsets = [onnx.helper.make_opsetid("", OPSET), *(onnx.helper.make_opsetid(LOCAL, 1) for _ in functions[:1])]
    model = onnx.helper.make_model(made, producer_name="fastnn", opset_imports=opsets, functions=functions, ir_version=IR_VERSION)
    props = {"classes": net.metadata.get("classes"), "feature_names": net.feature_names}
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in props.items() if value is not None})
    if model.ByteSize() >= 2**31:
        raise ValueError(f"a network must have less than 2 GB for an ONNX file; got {model.ByteSize() / 1e9:.1f} GB.")
    replace(path, model.SerializeToString())


def _onnx(what: str) -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise ImportError(f"{what} needs the package onnx: pip install 'fastnn[onnx]'.") from None
    return onnx


def read(path: str | os.PathLike[str], output: str | None) -> Found:
    """Return the network in an ONNX file."""
    onnx = _onnx("from_onnx")
    with open(path, "rb"):  # says clearly that there is none
        pass
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        graph = model.graph
        constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
        nodes = [_node(onnx, node) for node in graph.node]
        inputs = [one.name for one in graph.input if one.name not in constants]
        outputs = [one.name for one in graph.output]
        props = {one.key: one.value for one in model.metadata_props}
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{os.fspath(path)} must be an intact ONNX file; got one with unreadable content ({said}).") from None
    return onnx_graph.read(nodes, constants, inputs, outputs, output, props)


def _node(onnx: Any, node: Any) -> onnx_graph.Node:
    """Return a node as plain Python."""
    attributes = {}
    for one in node.attribute:
        value = onnx.helper.get_attribute_value(one)
        if isinstance(value, onnx.TensorProto):
            value = onnx.numpy_helper.to_array(value)
        attributes[one.name] = value.decode() if isinstance(value, bytes) else value
    return onnx_graph.Node(node.op_type, list(node.input), list(node.output), attributes, node.name)
