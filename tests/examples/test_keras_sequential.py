"""The Keras model: against Keras itself where it is, and against its stored results."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import fastnn
from examples import keras_sequential
from tests.fixtures.make_keras import FILE


@pytest.fixture(params=["stored", "live"], scope="module")
def keras(request, tmp_path_factory):
    """Return what Keras calculated: as it is stored, or now, in a process that has its settings to itself."""
    path = FILE
    if request.param == "live":
        if not (find_spec("keras") and find_spec("jax")):
            pytest.skip("Keras and JAX are not installed.")
        path = tmp_path_factory.mktemp("keras") / "keras.npz"
        subprocess.run([sys.executable, "-m", "tests.fixtures.make_keras", path], cwd=Path(__file__).parents[2], check=True, capture_output=True)
    with np.load(path) as arrays:
        return dict(arrays)


def weights_of(numbers, name):
    return [numbers[f"{name}{i}"] for i in range(4)]


@pytest.mark.parametrize(("weights", "predictions"), [("start", "before"), ("end", "after")])
def test_same_weights_give_the_same_predictions(keras, weights, predictions):
    net = keras_sequential.fastnn_model()
    keras_sequential.set_keras_weights(net, weights_of(keras, weights))
    actual = net.predict(fastnn.load_digits().X_test[:50])
    np.testing.assert_allclose(actual, keras[predictions], rtol=1e-12)


def test_training_gives_the_same_losses_weights_and_predictions(keras):
    net, losses = keras_sequential.train_fastnn(weights_of(keras, "start"))
    np.testing.assert_allclose(losses, keras["losses"], rtol=1e-12)
    np.testing.assert_allclose(net.predict(fastnn.load_digits().X_test[:50]), keras["after"], rtol=1e-10)
    for actual, expected in zip([part for pair in net.weights for part in pair], weights_of(keras, "end")):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_the_losses_in_the_example_are_those_of_keras(keras):
    np.testing.assert_allclose(keras_sequential.KERAS_LOSSES, keras["losses"], rtol=1e-12)
