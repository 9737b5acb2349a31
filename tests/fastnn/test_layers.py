import re

import pytest

import kernels
from fastnn import Dense, Dropout, Scale, Sequential, Standardize
from fastnn.layers import ACTIVATIONS, check_layers

NAMES = "Scale, Standardize, Dense, Dropout, LayerNorm, BatchNorm, Residual, GaussianNoise"


def test_activations_are_the_kernels():
    assert all(getattr(kernels, name.upper()) == code for name, code in ACTIVATIONS.items())
    assert sorted(ACTIVATIONS.values()) == list(range(len(ACTIVATIONS)))


def test_layers_are_plain_settings():
    assert Dense(3, "relu") == Dense(3, activation="relu")
    assert repr(Dropout(0.5)) == "Dropout(rate=0.5)"
    assert hash(Scale(2.0, shift=-1.0)) == hash(Scale(2.0, -1.0))


@pytest.mark.parametrize(
    "layers, error, message",
    [
        ([], ValueError, "layers must have at least one Dense layer; got []."),
        ([Scale(2.0)], ValueError, "layers must have at least one Dense layer"),
        (
            Dense(3),
            TypeError,
            f"layers must be a list of {NAMES} and PReLU; got a Dense.",
        ),
        (
            [Dense(3), "relu"],
            TypeError,
            f"layers[1] must be a {NAMES} or PReLU; got 'relu'.",
        ),
        ([Dense(3), Scale(2.0), Dense(1)], ValueError, "layers[1] must not be a Scale: only the first layer can be"),
        ([Dense(3), Dropout(0.5)], ValueError, "layers[1] must be followed by another layer, whose inputs it changes; got None."),
        ([Dense(3), Dropout(0.5), Standardize(targets=True)], ValueError, "layers[1] must be followed by another layer"),
        ([Dense(3, "softmax"), Dense(2)], ValueError, "layers[0] must not have the activation 'softmax': only the last layer can have it"),
        ([Dense(3, "log_softmax"), Dense(2)], ValueError, "layers[0] must not have the activation 'log_softmax': only the last"),
        ([Dense(1, "softmax")], ValueError, "layers[0] must not have the activation 'softmax': of one unit it is always 1, use 'sigmoid'"),
    ],
)
def test_layers_that_cannot_follow_each_other(layers, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check_layers(layers)
    with pytest.raises(error, match=re.escape(message)):
        Sequential(layers, n_features=2)


def test_only_the_layer_at_the_index_is_frozen():
    shared = Dense(5, "tanh", initializer="lecun_normal")
    net = Sequential([shared, Dropout(0.5), shared, shared, Dense(2)], n_features=5)
    net.set_trainable(2, "bias")
    assert [layer.trainable for layer in net.dense] == [True, True, "bias", True]
    assert net.plan.trained == ((True, True), (True, True), (False, True), (True, True))
    net.set_trainable(0, False)
    assert [layer.trainable for layer in net.dense] == [False, True, "bias", True]


def test_a_dropout_that_drops_everything_is_refused():
    assert Sequential([Dropout(1 - 2**-32), Dense(1)], n_features=3).fit([[1, 2, 3]], [1], verbose=0)["loss"]
    with pytest.raises(ValueError, match=r"^rate must be at most 1 - 2\*\*-32; got 0\.99999999999\.$"):
        Dropout(0.99999999999)


def test_dropout_belongs_to_the_input_of_the_next_layer():
    net = Sequential([Scale(0.5), Dropout(0.1), Dense(3, "relu"), Dense(3, "relu"), Dropout(0.3), Dense(2)], n_features=4)
    assert net.plan.dropouts == (0.1, 0.0, 0.3)
    assert net.plan.widths == (4, 3, 3, 2)
    assert net.scaling == (0.5, 0.0)
