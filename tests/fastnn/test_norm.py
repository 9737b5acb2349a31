"""LayerNorm as a layer of a network: trained, judged, saved, loaded, copied, described; and beside the numbers of PyTorch."""

import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import kernels
from fastnn import SGD, Dense, Dropout, LayerNorm, Scale, Sequential, SquaredError, Standardize, check_gradient, files
from tests.fixtures import make_torch_norm
from tests.numerics import DTYPES, assert_close, assert_same_bits

rng = np.random.default_rng(8)
X = 4 * rng.normal(size=(120, 7)) + 2
Y = X[:, :2] * X[:, 2:4] / 10
LABELS = (X[:, 0] > X[:, 1]).astype(int)


def network(dtype="float32", **settings):
    layers = [Scale(0.5), LayerNorm(), Dropout(0.1), Dense(17, "relu", bias=False), LayerNorm(1e-3), LayerNorm(trainable=False), Dense(9, "gelu", l2=0.01)]
    return Sequential([*layers, LayerNorm(), Dropout(0.2), Dense(2, "softmax")], n_features=7, dtype=dtype, **settings)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_trained_is_saved_loaded_and_copied(dtype, tmp_path):
    net = network(np.dtype(dtype).name, seed=3)
    losses = net.fit(X, LABELS, epochs=60, verbose=0)["loss"]
    assert losses[-1] < 0.6 * losses[0] and net.evaluate(X, LABELS)["accuracy"] > 0.8
    path = tmp_path / "net"
    net.save(path)
    for copy in (Sequential.load(path), pickle.loads(pickle.dumps(net))):
        assert repr(copy) == repr(net)
        assert_same_bits(copy.parameters, net.parameters)
        assert_same_bits(copy.predict(X), net.predict(X))
        for one in (copy, again := pickle.loads(pickle.dumps(net))):
            one.fit(X, LABELS, epochs=2, verbose=0)
        assert_same_bits(copy.parameters, again.parameters)
    arrays = load_file(path)
    assert {name: A.shape for name, A in arrays.items() if name.startswith("norm")} == {
        f"norm.{i}.{name}": (n,) for i, n in enumerate((7, 17, 17, 9)) for name in ("gain", "bias")
    }
    assert {name for name in arrays if name.startswith("dense")} == {"dense.0.W", "dense.1.W", "dense.1.b", "dense.2.W", "dense.2.b"}
    assert_same_bits(arrays["norm.3.gain"], net.weights[5][0])


def test_a_file_whose_arrays_are_others_is_refused(tmp_path):
    path, net = tmp_path / "net", network()
    net.save(path)
    arrays, text = load_file(path), path.read_bytes()
    arrays["norm.0.gain"] = arrays["norm.0.gain"][:-1].copy()
    words = json.loads(text[8 : 8 + int.from_bytes(text[:8], "little")])["__metadata__"]["fastnn"]
    assert json.loads(words)["format"] == 2
    save_file(arrays, path, {"fastnn": words, "sha256": files.checksum(words, arrays)})
    with pytest.raises(ValueError, match="arrays of other shapes than its settings say"):
        Sequential.load(path)


def test_weights_are_pairs_in_the_order_of_the_layers():
    net = network("float64")
    names = [tuple(A if A is None else A.shape for A in pair) for pair in net.weights]
    assert names == [((7,), (7,)), ((7, 17), None), ((17,), (17,)), ((17,), (17,)), ((17, 9), (9,)), ((9,), (9,)), ((9, 2), (2,))]
    for i in (0, 2, 3, 5):
        np.testing.assert_array_equal(net.weights[i], [np.ones(names[i][0]), np.zeros(names[i][0])])
    assert net.n_parameters == net.plan.mask().sum() - 17 == 14 + 7 * 17 + 34 + 34 + 17 * 9 + 9 + 18 + 20
    other = network("float64", seed=5)
    other.set_weights(net.weights)
    assert_same_bits(other.parameters, net.parameters)
    with pytest.raises(ValueError, match=r"weights must have a pair \(W, b\) for each of 3 dense layers and \(gain, bias\) for each of 4 LayerNorms; got 3\."):
        net.set_weights(net.weights[:3])
    with pytest.raises(ValueError, match=r"weights\[2\]\[1\] must have shape \(17,\); got \(16,\)\."):
        net.set_weights([*net.weights[:2], (np.ones(17), np.ones(16)), *net.weights[3:]])
    with pytest.raises(TypeError, match=r"weights\[0\] must be a pair \(gain, bias\); got"):
        net.set_weights([None, *net.weights[1:]])


def test_an_initializer_is_gain_and_bias():
    net = Sequential([LayerNorm(initializer=([1, 2, 3], [4, 5, 6])), Dense(1)], n_features=3)
    np.testing.assert_array_equal(net.weights[0], [[1, 2, 3], [4, 5, 6]])
    assert net.layers[0] == LayerNorm() and net.layers[0].initializer is None
    with pytest.raises(ValueError, match=r"initializer of LayerNorm 0, gain, must have shape \(3,\); got \(2,\)\."):
        Sequential([LayerNorm(initializer=([1, 2], [3, 4])), Dense(1)], n_features=3)
    with pytest.raises(TypeError, match=r"initializer must be a pair \(gain, bias\); got 'ones'\."):
        LayerNorm(initializer="ones")


def test_what_is_frozen_stays_and_the_rest_does_not():
    net = network("float64")
    before = net.weights
    net.fit(X, LABELS, verbose=0, optimizer="sgd")
    changed = [[A is not None and (A != B).any() for A, B in zip(new, old)] for new, old in zip(net.weights, before)]
    assert changed == [[True, True], [True, False], [True, True], [False, False], [True, True], [True, True], [True, True]]
    only = Sequential([LayerNorm(), Dense(2, "softmax", trainable=False)], n_features=7)
    fixed = only.weights
    only.fit(X, LABELS, verbose=0)
    assert (only.weights[1][0] == fixed[1][0]).all() and (only.weights[0][0] != fixed[0][0]).all()


def test_summary_and_memory():
    text = network().summary()
    assert [line.split() for line in text.splitlines() if line.startswith("LayerNorm")][0] == ["LayerNorm", "(...,", "7)", "14", "56"]
    assert "401 parameters in float32" in text
    without = Sequential([Dense(64, "relu"), Dense(2)], n_features=7)
    assert Sequential([Dense(64, "relu"), LayerNorm(), Dense(2)], n_features=7).memory(256) > without.memory(256) + 256 * 64 * 4


def test_program_names_its_phases():
    text = str(Sequential([LayerNorm(), Dense(9, "relu"), LayerNorm(), Dense(2)], n_features=7).program(10))
    for line in ("N1 = norm(X)", "A1 = f(N1 W1 + b1)", "N2 = norm(A1)", "dA1 from dN2", "dgain2, dbias2", "sums of dN1", "all parameters"):
        assert line in text


def test_at_the_end_outputs_are_numbers():
    net = Sequential([Dense(8, "tanh"), Dense(2, "sigmoid"), LayerNorm(), Standardize(targets=True)], n_features=7, dtype="float64")
    assert net.last_activation == "identity" and net.n_outputs == 2
    net.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_allclose(net.evaluate(X, Y)["mean_squared_error"], ((net.predict(X) - Y) ** 2).mean())
    np.testing.assert_array_equal(net.predict(X, logits=True), net.predict(X, logits=True))


@pytest.mark.parametrize("optimizer", ["lbfgs", "conjugate_gradient"])
def test_full_batch_optimizers_train_it(optimizer):
    pytest.importorskip("scipy")
    net = Sequential([LayerNorm(), Dense(8, "tanh"), LayerNorm(), Dense(2)], n_features=7, dtype="float64")
    before = net.weights
    losses = net.fit(X, Y, optimizer=optimizer, epochs=20, verbose=0)["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert all((new[0] != old[0]).any() for new, old in zip(net.weights, before))


def test_bits_are_the_same_in_threads():
    ends = []
    for n_threads in sorted({1, kernels.max_threads()}):
        net = Sequential([LayerNorm(), Dense(300, "relu"), LayerNorm(), Dropout(0.3), Dense(2, "softmax")], n_features=7, seed=1)
        net.fit(X, LABELS, epochs=2, batch_size=100, n_threads=n_threads, verbose=0)
        ends.append(net.parameters)
    assert_same_bits(ends[-1], ends[0])


def test_train_on_batch_and_gradient():
    smooth = Sequential([LayerNorm(), Dense(5, "tanh"), LayerNorm(), Dense(2, "softmax")], n_features=7)
    assert check_gradient(smooth, X, LABELS) < 1e-5
    net = Sequential(smooth.layers, 7, "float64")
    before, (loss, gradient) = net.parameters.copy(), net.loss_and_gradient(X, LABELS)
    assert net.train_on_batch(X, LABELS, optimizer=SGD(0.01)) == pytest.approx(loss)
    assert_close(net.parameters, before - 0.01 * gradient)


def test_numbers_of_torch():
    numbers, widths = np.load(make_torch_norm.FILE), make_torch_norm.WIDTHS
    layers = [LayerNorm(make_torch_norm.EPS[0])]
    for n, activation, eps in zip(widths[1:], ("relu", "tanh", "identity"), make_torch_norm.EPS[1:]):
        layers += [Dense(n, activation), LayerNorm(eps)]
    net = Sequential(layers, widths[0], "float64")
    pairs = [(numbers["gain0"], numbers["bias0"])]
    for i in range(3):
        pairs += [(numbers[f"W{i}"], numbers[f"b{i}"]), (numbers[f"gain{i + 1}"], numbers[f"bias{i + 1}"])]
    net.set_weights(pairs)
    assert_close(net.predict(numbers["X"]), numbers["outputs"])
    assert net.evaluate(numbers["X"], numbers["Y"], SquaredError())["loss"] == pytest.approx(float(numbers["loss"]), rel=1e-12)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: LayerNorm(0), ValueError, "eps must be above 0; got 0."),
        (lambda: LayerNorm(-1), ValueError, "eps must be a finite number of at least 0; got -1."),
        (lambda: LayerNorm(1e-50), ValueError, "eps must be at least 1.18e-38 and finite in float32; got 1e-50."),
        (lambda: LayerNorm("small"), TypeError, "eps must be a finite number of at least 0; got 'small'."),
        (lambda: LayerNorm(trainable="gain"), TypeError, "trainable must be True or False"),
        (lambda: Sequential([LayerNorm()], 3), ValueError, "layers must have at least one Dense layer"),
        (lambda: Sequential([Dense(1), LayerNorm(), Dropout(0.5)], 3), ValueError, "layers[2] must be followed by another layer, whose inputs it changes"),
        (lambda: Sequential([Dense(3, "softmax"), LayerNorm()], 3), ValueError, "layers[0] must not have the activation 'softmax'"),
        (lambda: Sequential([LayerNorm(), Scale(2), Dense(1)], 3), ValueError, "layers[1] must not be a Scale: only the first layer can be"),
    ],
)
def test_what_cannot_be_used_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_settings_are_plain():
    layer = LayerNorm(np.float32(0.5), np.False_)
    assert repr(layer) == "LayerNorm(eps=0.5, trainable=False)" and type(layer.eps) is float and layer.trainable is False
