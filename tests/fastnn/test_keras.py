"""Networks from and to Keras: stored ones, and live where it is installed, with JAX, which calculates in float64."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

from fastnn import BatchNorm, Dense, Dropout, GaussianNoise, LayerNorm, PReLU, Residual, Scale, Sequential, Standardize
from tests.fastnn.test_exchange import WITHIN, X, assert_near, filled, same_weights
from tests.fixtures import make_keras_layers


@pytest.fixture
def keras():
    """Keras with JAX."""
    os.environ |= {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}
    pytest.importorskip("jax")
    return pytest.importorskip("keras")


def test_a_stored_network_predicts_what_keras_did():
    model, outputs = make_keras_layers.stored()
    net = Sequential.from_keras(model)
    assert net.dtype == np.float64
    assert_near(net.predict(make_keras_layers.ROWS), outputs, "float32")  # as exact as Keras normalizes, in float64 too
    kinds = [type(layer) for layer in net.layers]
    assert kinds[0] is Standardize and {BatchNorm, LayerNorm, PReLU, Dropout, GaussianNoise} < set(kinds)
    assert [layer.trainable for layer in net.layers[1:4]] == [True, False, True]
    assert net.layers[13] == BatchNorm(1e-3, 0.1)


def test_what_keras_has_and_we_do_not_is_refused_by_name():
    for change, message in [
        ({"activation": SimpleNamespace(__name__="hard_tanh")}, "Dense 'dense' must have an activation that fastnn has: .*; got 'hard_tanh'"),
        ({"built": False}, "model must be built, .*; got Dense 'dense', which is not"),
        ({"kernel_regularizer": object()}, "Dense 'dense' must have regularizers L1, L2 or L1L2; got object"),
    ]:
        model, _ = make_keras_layers.stored()
        layer = model.layers[1]
        for name, value in (change if "kernel_regularizer" not in change else {"kernel_regularizer": type("object", (), {})()}).items():
            setattr(layer, name, value)
        with pytest.raises(ValueError, match=message):
            Sequential.from_keras(model)
    model.layers[0] = type("Conv1D", (), {"name": "conv", "built": True, "__module__": "keras.layers"})()
    with pytest.raises(ValueError, match="model must be a Sequential of .*; got Conv1D 'conv'"):
        Sequential.from_keras(model)


@pytest.mark.parametrize("dtype", WITHIN)
def test_to_and_from_keras(keras, dtype):
    layers = [Dense(4, "leaky_relu"), BatchNorm(1e-3, 0.25), PReLU(), Dense(4, "tanh", l2=0.25), LayerNorm(), PReLU(per_unit=True), Dropout(0.25)]
    layers += [Dense(4, "gelu", bias=False, trainable=False), GaussianNoise(0.5), Dense(2, "softplus")]
    for first, last in [(Standardize.of(X), [Standardize([5.0, -3.0], [2.0, 0.5], targets=True)]), (Scale(0.5, 0.25), [Dense(3, "log_softmax")])]:
        net = filled(Sequential([first, *layers, *last], n_features=6, dtype=dtype))
        model = net.to_keras()
        rows = X.astype(dtype)
        assert_near(net.predict(rows).astype("float32"), model.predict(rows, verbose=0).astype("float32"), "float32")
        copy = Sequential.from_keras(model)
        assert copy.layers[1:] == net.layers[1:]
        same_weights(copy, net)
    live = make_keras_layers.model()
    assert_near(live.predict(X, verbose=0), Sequential.from_keras(live).predict(X), "float32")
    plain = filled(Sequential([Dense(5, "gelu"), PReLU(), Dense(4, "selu"), Dense(4, "mish"), Dense(3, "softmax")], n_features=6, dtype="float64"))
    assert_near(plain.to_keras().predict(X, verbose=0), plain.predict(X), "float64")
    for layer, said in [(Residual([Dense(6)]), "Residual"), (Dense(6, trainable="bias"), "trainable must be True or False")]:
        with pytest.raises(ValueError, match=said):
            Sequential([layer, Dense(2)], n_features=6).to_keras()
