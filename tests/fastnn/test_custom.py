"""Functions of one's own in a network: beside the built-in ones, in files and pickles, and what finds a wrong derivative."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from fastnn import Activation, Adam, CustomLoss, Dense, Dropout, Huber, Sequential
from tests.functions import bend, bend_slope, swish, swish_slope

rng = np.random.default_rng(0)
X, VALUES, LABELS = rng.normal(size=(24, 4)), rng.normal(size=(24, 2)), np.arange(24) % 3


SWISH, BEND = Activation(swish, swish_slope, [1.0]), CustomLoss(bend, bend_slope, [0.7])


def network(activation, dtype="float64"):
    return Sequential([Dense(9, activation, "he_normal"), Dropout(0.1), Dense(2, activation, "he_normal")], n_features=4, dtype=dtype)


@pytest.fixture(scope="module")
def fitted():
    net = network(SWISH, "float32")
    net.fit(X, VALUES, loss=BEND, epochs=2, verbose=0)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_learns_as_with_the_built_in_functions(dtype):
    own, built_in = network(SWISH, dtype), network("silu", dtype)
    first = own.fit(X, VALUES, loss=BEND, epochs=4, batch_size=7, verbose=0)
    second = built_in.fit(X, VALUES, loss=Huber(0.7), epochs=4, batch_size=7, verbose=0)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=tolerance)
    np.testing.assert_allclose(own.predict(X), built_in.predict(X), rtol=50 * tolerance, atol=tolerance)
    assert own.evaluate(X, VALUES).keys() == built_in.evaluate(X, VALUES).keys()


def test_a_file_holds_names_and_parameters(fitted, tmp_path):
    path = tmp_path / "own.safetensors"
    fitted.save(path)
    assert b"swish" in path.read_bytes()
    given = {"swish": Activation(swish, swish_slope, [9.0]), "bend": CustomLoss(bend, bend_slope, [9.0])}
    loaded = Sequential.load(path, custom=given)
    assert (loaded.layers, loaded.loss) == (fitted.layers, fitted.loss)
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    for custom, missing in ((None, "CustomLoss 'bend'"), ({"bend": BEND}, "Activation 'swish'"), ({"bend": SWISH}, "CustomLoss 'bend'")):
        with pytest.raises(ValueError, match=rf"^custom must have the {missing}, which .*own\.safetensors names; got .*\. Files hold no code\.$"):
            Sequential.load(path, custom=custom)


def test_a_name_of_ones_own(fitted, tmp_path):
    net = Sequential([Dense(2, Activation(lambda z: z, lambda z: 1.0, name="same"))], n_features=4)
    net.save(tmp_path / "net")
    loaded = Sequential.load(tmp_path / "net", custom={"same": Activation(lambda z: z + z, lambda z: 2.0)})
    np.testing.assert_array_equal(loaded.predict(X), 2 * net.predict(X))
    loaded.save(tmp_path / "again")
    assert repr(Sequential.load(tmp_path / "again", custom={"same": SWISH.record and net.layers[0].activation}).layers[0]) == "Dense(2, Activation(same))"


def test_pickles_and_copies(fitted):
    for twin in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), copy.copy(fitted)):
        assert twin.layers == fitted.layers
        np.testing.assert_array_equal(twin.predict(X), fitted.predict(X))
        assert twin.evaluate(X, VALUES) == fitted.evaluate(X, VALUES)


def test_what_is_shown(fitted):
    assert repr(SWISH) == "Activation(swish, parameters=(1.0,))"
    assert repr(BEND) == "CustomLoss(bend, parameters=(0.7,))"
    assert "Dense(swish)" in fitted.summary()
    assert repr(fitted.layers[0]) == "Dense(9, Activation(swish, parameters=(1.0,)))"


def test_weights_of_rows_and_single_steps():
    own, built_in = (Sequential([Dense(2, one, "he_normal")], 4, dtype="float64") for one in (SWISH, "silu"))
    for net, loss in ((own, BEND), (built_in, Huber(0.7))):
        net.fit(X, VALUES, loss=loss, sample_weight=np.arange(24.0), verbose=0, batch_size=None, epochs=3)
        net.train_on_batch(X, VALUES, Adam(0.01), loss=loss)
    np.testing.assert_allclose(own.parameters, built_in.parameters, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Activation(3, swish_slope), TypeError, "f must be a function"),
        (lambda: Activation(swish, swish_slope), ValueError, "f must take 1 argument, z, one for each of `parameters`"),
        (lambda: Activation(swish, swish_slope, 1.3), TypeError, r"parameters must be a sequence of numbers; got 1\.3\."),
        (lambda: Activation(swish, swish_slope, [np.inf]), ValueError, r"parameters\[0\] must be a finite number"),
        (lambda: Activation(swish, swish_slope, [1.0], name="relu"), ValueError, "name must not be that of a built-in function; got 'relu'"),
        (lambda: Activation(swish, swish_slope, [1.0], name=3), TypeError, "name must be a string; got 3"),
        (lambda: CustomLoss(bend, bend_slope, [0.7], name="huber"), ValueError, "name must not be that of a built-in function"),
        (lambda: CustomLoss(bend, bend_slope, [0.7], reduction="max"), ValueError, "reduction must be one of"),
        (lambda: Sequential([Dense(3, "softmax")], 4).fit(X, LABELS, loss=BEND, verbose=0), ValueError, "loss must fit the last activation"),
        (lambda: network(Activation(lambda z: z.real(1), lambda z: z)).predict(X), TypeError, "must be what Numba can compile"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_they_are_settings():
    assert dataclasses.replace(SWISH, parameters=(2.0,)) == Activation(swish, swish_slope, np.array([2], np.int64))
    assert hash(SWISH) == hash(Activation(swish, swish_slope, (1,)))
    assert dataclasses.replace(BEND, reduction="sum").settings()["reduction"] == "sum"
