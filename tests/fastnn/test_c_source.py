"""C source: compiled by the system's compiler, beside what the network predicts."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from fastnn import Activation, BatchNorm, Dense, Dropout, GaussianNoise, LayerNorm, PReLU, Residual, Scale, Sequential, Standardize
from fastnn.c_source import ACTIVATIONS
from fastnn.layers import ACTIVATIONS as OURS
from tests.numerics import assert_same_bits

CC = shutil.which("gcc") or shutil.which("cc")
WITHIN = {"float32": 1e-6, "float64": 1e-13}
HIDDEN = [name for name in ACTIVATIONS if "softmax" not in name]
rng = np.random.default_rng(21)
X = rng.normal(size=(100, 6)) * 2 + 1


def filled(net):
    """Return a network with random weights and biases everywhere; variances stay above zero."""
    weights = [tuple(None if A is None else A + np.abs(rng.normal(size=A.shape)) / 3 for A in some) for some in net.weights]
    signs = [1 if len(some) == 4 else rng.choice([-1, 1], size=some[0].shape) for some in weights]
    net.set_weights([(some[0] * sign, *some[1:]) for some, sign in zip(weights, signs)])
    return net


def compiled(source, tmp_path, *options):
    """Return the library that a C file becomes; warnings are errors."""
    if CC is None:
        pytest.skip("there is no C compiler")
    library = tmp_path / "model.so"
    flags = ["-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-shared", "-fPIC", *(options or ["-std=c99"])]
    subprocess.run([CC, *flags, str(source), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def called(library, rows, outputs, name="model"):
    """Return what the function writes for some rows; NaN stays where it wrote nothing."""
    out = np.full_like(outputs, np.nan)
    getattr(library, f"{name}_predict")(rows.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(len(rows)), out.ctypes.data_as(ctypes.c_void_p))
    return out


NETWORKS = {
    "activations": [*(Dense(11 if i % 2 else 23, name) for i, name in enumerate(HIDDEN) if name != "exponential"), Dense(3, "softmax")],
    "norms": [
        *(Scale(0.5, 0.1), LayerNorm(), BatchNorm(), Dense(34, "relu", bias=False), LayerNorm(1e-3), Dropout(0.1), PReLU(), GaussianNoise(1.0)),
        *(Residual([PReLU(per_unit=True), Dense(9, "gelu"), Residual([Dense(9, "tanh")]), Dense(34)]), Residual([Dense(34, "silu")])),
        *(Dense(4), BatchNorm(), Dense(4, "tanh", np.eye(4), bias=False, trainable=False), Dense(3, "log_softmax")),
    ],
    "standardized": [Standardize.of(X), Dense(17, "tanh"), Dense(2), Standardize([5.0, -3.0], [2.0, 0.5], targets=True)],
}


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_predicts_what_the_network_predicts(name, dtype, tmp_path):
    net = filled(Sequential(NETWORKS[name], n_features=6, dtype=dtype))
    net.to_c(tmp_path / "model.c")
    library = compiled(tmp_path / "model.c", tmp_path, *(["-O3", "-march=native"] if name == "activations" else []))
    for rows in (X[:1], X):
        rows = rows.astype(dtype).astype(np.float64 if name == "standardized" else dtype)
        expected = net.predict(rows)
        actual = called(library, rows, expected)
        looser = 10 if name == "norms" else 1  # its columns are some ten times as large inside as they come out
        assert np.abs(actual - expected).max() <= looser * WITHIN[dtype] * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("dtype", WITHIN)
def test_every_activation_over_its_whole_range(dtype, tmp_path):
    values = np.concatenate([np.linspace(-30, 30, 400), [0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4, 700, -700]]).astype(dtype)[:, None]
    nets = {name: Sequential.from_arrays([np.ones((1, 1), dtype), np.zeros(1, dtype)], [name]) for name in HIDDEN}
    for name, net in nets.items():
        net.to_c(tmp_path / f"{name}.c", f"the_{name}")
    for name, net in nets.items():
        expected = net.predict(values)
        (tmp_path / name).mkdir()
        actual = called(compiled(tmp_path / f"{name}.c", tmp_path / name), values, expected, f"the_{name}")
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(actual[~finite], expected[~finite])
        error = np.abs(actual[finite] - expected[finite]) / np.maximum(1e-20, np.abs(expected[finite]))
        assert error.max() <= 10 * WITHIN[dtype], name


def test_every_activation_is_there():
    assert set(ACTIVATIONS) == set(OURS)


def test_numbers_are_read_back_to_the_bit(tmp_path):
    net = filled(Sequential([Dense(4)], n_features=6))
    W = net.weights[0][0]
    W[0, :3] = [np.finfo(np.float32).tiny / 8, -0.0, np.finfo(np.float32).max]
    net.set_weights([(W, np.zeros(4))])
    net.to_c(tmp_path / "model.c")
    library = compiled(tmp_path / "model.c", tmp_path)
    for row in np.eye(6, dtype=np.float32):
        assert_same_bits(np.abs(called(library, row[None], np.zeros((1, 4), np.float32))[0]), np.abs(row @ W))


def test_names(tmp_path):
    net = Sequential([Dense(2)], n_features=3)
    for file, name in [("price.c", "price"), ("my-net.v2.c", "my_net"), ("2.c", "network_2"), (".c", "network")]:
        net.to_c(tmp_path / file)
        text = (tmp_path / file).read_text()
        assert f"void {name}_predict(const float *X, long n_rows, float *outputs);" in text
        assert f"enum {{ {name}_n_features = 3, {name}_n_outputs = 2 }};" in text
    for name in ("2", "a b", "", 3):
        with pytest.raises(ValueError, match="name must be one that C functions can have; got"):
            net.to_c(tmp_path / "net.c", name)
    assert not (tmp_path / "net.c").exists()


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.c"
    path.write_text("old")
    net = Sequential([Dense(2, Activation(lambda z: z**3, lambda z: 3 * z**2, name="cube"))], n_features=2)
    with pytest.raises(ValueError, match="activations must be ones that C source has; got 'cube', a function of one's own"):
        net.to_c(path)
    net = Sequential([Dense(2)], n_features=2)
    net.parameters[0] = np.nan
    with pytest.raises(ValueError, match="parameters must be finite"):
        net.to_c(path)
    assert path.read_text() == "old"
