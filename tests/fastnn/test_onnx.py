"""ONNX files: what the reference evaluator and ONNX Runtime make of ours, and what is read of ours and others'."""

import numpy as np
import pytest

from fastnn import Activation, BatchNorm, Dense, Dropout, GaussianNoise, LayerNorm, PReLU, Residual, Scale, Sequential, Standardize, onnx_graph
from fastnn.exchange_onnx import ACTIVATIONS
from fastnn.onnx_graph import Node
from tests.fastnn.test_exchange import WITHIN, X, assert_near, filled, same_weights
from tests.fixtures import make_onnx

HIDDEN = [name for name in ACTIVATIONS if "softmax" not in name]
NETWORKS = {  # what is read of each, where it is not the same
    "activations": [*(Dense(6, name) for name in HIDDEN), Dense(3, "softmax")],
    "norms": [Scale(0.5, 0.25), LayerNorm(), Dense(4, "relu", bias=False), LayerNorm(1e-3), Dense(3, "log_softmax")],
    "standardized": [Standardize.of(X), Dropout(0.1), Dense(4, "tanh"), Dense(2), Standardize([5.0, -3.0], [2.0, 0.5], targets=True)],
    "one output": [Scale([1.0, 2, 3, 4, 5, 6]), Dense(1, "softplus"), Standardize(3.0, 4.0, targets=True)],
    "columns and slopes": [BatchNorm(), Dense(4), BatchNorm(1e-3), PReLU(), Dense(5), PReLU(per_unit=True), Dense(4, "tanh", np.eye(5)[:, :4]), Dense(3)],
    "residual": [
        Residual([LayerNorm(), Dense(9, "gelu"), GaussianNoise(0.1), Dense(6)]),
        Residual([Dense(6, "relu"), Residual([Dense(6, "tanh"), Dense(6)])]),
        Dense(4, "silu"),
        Residual([Dense(4, "sigmoid")]),
        Dense(2),
    ],
    "after a norm": [Dense(3, "gelu"), LayerNorm(), Standardize(2.0, 1.0, targets=True)],
}


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_predicts_what_the_network_predicts(name, dtype, tmp_path):
    onnx = pytest.importorskip("onnx")
    net, path = filled(Sequential(NETWORKS[name], n_features=6, dtype=dtype)), tmp_path / "net.onnx"
    net.feature_names = tuple("abcdef")
    net.to_onnx(path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    takes = onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    assert takes == (np.float64 if name in ("standardized", "one output") else dtype)
    rows, expected = X.astype(dtype), net.predict(X.astype(dtype))
    from onnx.reference import ReferenceEvaluator

    (outputs,) = ReferenceEvaluator(model).run(None, {"X": rows.astype(takes)})
    assert outputs.dtype == expected.dtype
    assert_near(outputs, expected, dtype)
    copy = Sequential.from_onnx(path)
    same_weights(copy, net)
    assert_near(copy.predict(rows), expected, dtype)
    assert [type(layer) for layer in copy.layers[1:]] == [type(layer) for layer in net.layers[1:] if not isinstance(layer, Dropout)]
    if name == "residual":
        inner = [Residual([one for one in net.layers[0].layers if not isinstance(one, GaussianNoise)]), *net.layers[1:]]
        assert copy.layers == tuple(inner)
    assert copy.feature_names == net.feature_names
    copy.to_onnx(path)
    same_weights(Sequential.from_onnx(path), net)


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_predicts_the_same(name, dtype, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net = filled(Sequential(NETWORKS[name], n_features=6, dtype=dtype))
    net.to_onnx(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    takes = np.float64 if "double" in session.get_inputs()[0].type else np.float32
    for rows in (X[:1], X):
        (outputs,) = session.run(None, {"X": rows.astype(dtype).astype(takes)})
        assert_near(outputs, net.predict(rows.astype(dtype)), dtype)


@pytest.mark.parametrize("name", make_onnx.MODELS)
def test_files_of_others(name, tmp_path):
    pytest.importorskip("onnx")
    data, rows, expected, output = make_onnx.stored(name)
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    if expected is None:
        with pytest.raises(ValueError, match=f"operators of an ONNX file must .*; got .*{make_onnx.REFUSED[name]}"):
            Sequential.from_onnx(path, output)
    else:
        net = Sequential.from_onnx(path, output)
        assert_near(net.predict(rows), expected, net.dtype.name)


def graph(*lines, **constants):
    """Return the network of a graph of lines `name = operator(inputs)`, from X to the last."""
    nodes = []
    for line in lines:
        out, operator, inputs = line.replace("(", "=").rstrip(")").split("=")
        nodes.append(Node(operator.strip(), [one.strip() for one in inputs.split(",")], [out.strip()]))
    found = onnx_graph.read(nodes, {name: np.asarray(A, np.float64) for name, A in constants.items()}, ["X"], [nodes[-1].outputs[0]], None, {})
    return Sequential(found.layers, found.n_features, found.dtype)


def test_spellings_of_activations_and_of_what_is_done_by_column():
    W, b = X[:6, :4], X[0, :4]
    start = ("Z = MatMul(X, W)", "A = Add(Z, b)")
    for lines, expected in [
        (start, Dense(4)),
        ((*start, "s = Sigmoid(A)", "Y = Mul(A, s)"), Dense(4, "silu")),
        ((*start, "d = Div(A, root)", "e = Erf(d)", "f = Add(e, one)", "g = Mul(A, f)", "Y = Mul(half, g)"), Dense(4, "gelu")),
        ((*start, "p = Softplus(A)", "t = Tanh(p)", "Y = Mul(A, t)"), Dense(4, "mish")),
        ((*start, "Y = Max(A, zero)"), Dense(4, "relu")),
        ((*start, "n = Sub(zero, A)", "e = Exp(n)", "s = Add(one, e)", "Y = Reciprocal(s)"), Dense(4, "sigmoid")),
    ]:
        net = graph(*lines, W=W, b=b, root=np.sqrt(2), one=1, half=0.5, zero=0)
        assert net.layers == (expected,)
        np.testing.assert_array_equal(net.weights[0][1], b)
    net = graph("A = MatMul(X, W)", "B = BatchNormalization(A, g, b, m, v)", "Y = Relu(B)", W=W, g=2 * b, b=b, m=b - 1, v=b**2)
    Z = (X @ W - (b - 1)) / np.sqrt(b**2 + 1e-5) * 2 * b + b
    assert net.layers == (Dense(4, bias=False), BatchNorm(), PReLU(trainable=False))
    assert_near(net.predict(X), np.maximum(Z, 0), "float64")
    net = graph("A = MatMul(X, W)", "B = Mul(A, s)", "C = Add(B, b)", "D = Tanh(C)", "Y = MatMul(D, V)", W=W, s=2 * b, b=b, V=W[:4, :2])
    assert net.layers == (Dense(4, "tanh"), Dense(2, bias=False))
    assert_near(net.predict(X), np.tanh(X @ W * 2 * b + b) @ W[:4, :2], "float64")
    net = graph("M = Sub(X, m)", "S = Div(M, s)", "Z = MatMul(S, W)", "Y = Mul(Z, s1)", W=W, m=X[1], s=[2.0] * 6, s1=[3.0] * 4)
    assert net.layers[1:] == (Dense(4, bias=False), Standardize([0.0] * 4, [3.0] * 4, targets=True))
    assert_near(net.predict(X), (X - X[1]) / 2 @ W * 3, "float64")


@pytest.mark.parametrize(
    "lines, message",
    [
        (["Y = Conv(X, W)"], "must be those of a chain of layers that fastnn has; got Conv"),
        (["A = MatMul(X, W)", "B = MatMul(A, V)", "Y = Mul(A, B)"], "got Mul of what an earlier layer returned"),
        (["A = MatMul(X, W)", "Y = Sin(A)"], "got Sin"),
        (["A = MatMul(X, W)", "B = Exp(A)", "Y = Mul(B, B)"], "must make up an activation that fastnn has; got Exp, Mul, which do not"),
        (["A = Tanh(X)", "Y = MatMul(A, W)"], "activations must follow a layer with a number of columns; got Tanh after the inputs"),
        (["A = MatMul(X, W)", "Y = PRelu(A, c)"], "PRelu must have one slope, or one for each of the 4 columns; got 3"),
        (["A = MatMul(X, W)", "B = Max(A, b)", "Y = Exp(B)"], r"got Max with a constant of shape \(4,\)"),
        (["A = MatMul(X, W)", "Y = Add(A, c)"], "with a constant of 3 numbers for 4 columns"),
        (["A = MatMul(X, W)", "Y = MatMul(A, W)"], "MatMul must take the 4 outputs of MatMul; got 6 inputs"),
        (["A = MatMul(X, X)"], "got MatMul with an input 'X' that is no constant"),
        (["A = MatMul(Q, W)", "B = MatMul(X, W)", "Y = Add(A, B)"], "must be a chain of layers; got MatMul of 'Q', which is not its end"),
        (["A = MatMul(X, b)"], r"with weights of shape \(4,\)"),
        (["A = MatMul(X, W)", "Y = Reshape(A, r)"], r"got Reshape to shape \[-1.0, 2.0\]"),
        (["A = MatMul(X, W)", "Y = Concat(A, A)"], "got Concat"),
        (["A = MatMul(X, W)", "Y = Pow(A, A, A)"], "got Pow with 3 inputs"),
        (["Y = Add(b, b)"], "must have one input; got none that the output depends on"),
        (["A = MatMul(X, W)", "A0 = Exp(A)", *(f"A{i + 1} = Mul(A{i}, A{i})" for i in range(100))], "after 100 others in one activation"),
    ],
)
def test_graphs_that_are_no_network_are_refused(lines, message):
    with pytest.raises(ValueError, match=message):
        graph(*lines, W=X[:6, :4], V=X[:4, :4], b=X[0, :4], c=np.ones(3), r=[-1, 2])


def test_files_that_are_damaged_are_refused_in_one_sentence(tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "net.onnx"
    filled(Sequential(NETWORKS["norms"], n_features=6)).to_onnx(path)
    data = path.read_bytes()
    rng = np.random.default_rng(3)
    damaged = [b"", b"no ONNX file", data[: len(data) // 2], data[:-5], *(bytes(rng.integers(0, 256, 100, np.uint8)) for _ in range(5))]
    for place in rng.integers(0, len(data), 100):
        damaged.append(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        try:
            Sequential.from_onnx(path)
        except ValueError as error:
            assert "\n" not in str(error)
    for content in damaged[:3]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"net\.onnx must be an intact ONNX file; got one with unreadable content"):
            Sequential.from_onnx(path)
    with pytest.raises(FileNotFoundError):
        Sequential.from_onnx(tmp_path / "none.onnx")


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    net = Sequential([Dense(2, Activation(lambda z: z**3, lambda z: 3 * z**2, name="cube"))], n_features=2)
    with pytest.raises(ValueError, match="activations must be ones that ONNX has; got 'cube', a function of one's own"):
        net.to_onnx(path)
    assert path.read_bytes() == b"old"
