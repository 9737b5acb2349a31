import copy
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest

from fastnn import LBFGS, Adam, Dense, Dropout, Scale, Sequential, Standardize
from fastnn.scaling import mean_and_deviation
from tests.numerics import assert_same_bits

rng = np.random.default_rng(11)
X = rng.normal(size=(60, 4)) * [1, 100, 0.01, 3] + [0, 1e6, 5, -7]
Y = np.c_[X[:, 0] * 50 + 3e5, (X[:, 1] - 1e6) * 1e-4]
SPLIT = slice(0, 40), slice(40, 60)


def network(dtype="float64", first=(Standardize(),), last=(Standardize(targets=True),)):
    return Sequential([*first, Dense(6, "tanh"), Dense(2), *last], n_features=4, dtype=dtype, seed=3)


@pytest.fixture
def fitted():
    net = network()
    net.fit(X, Y, epochs=5, batch_size=16, verbose=0)
    return net


def standardized(A, like=None):
    like = A if like is None else like
    return (A - like.mean(axis=0)) / like.std(axis=0)


# what it is for


def score(X, y):
    """Return the R2 of a test after a training in float32."""
    net = Sequential([Standardize(), Dense(32, "tanh"), Dense(1), Standardize(targets=True)], n_features=X.shape[1], seed=1)
    net.fit(X[:400], y[:400], optimizer=Adam(0.01), epochs=30, batch_size=40, verbose=0)
    return net.evaluate(X[400:], y[400:])["r2"]


def test_offsets_cost_nothing_in_float32():
    A = np.random.default_rng(0).normal(size=(500, 3))
    y, numbers = A[:, 0] - np.cos(2 * A[:, 2]), 7.0 * np.random.default_rng(1).permutation(500)
    plain = score(np.c_[A, np.zeros(500)], y)
    assert plain > 0.9
    for value in (1.7e9, 20240101, -3e15):
        assert score(np.c_[A, np.full(500, value)], y) == pytest.approx(plain, abs=0.002)
    assert score(np.c_[A, np.zeros(500)], y + 1e8) == pytest.approx(plain, abs=0.002)
    assert score(np.c_[A, np.zeros(500)], y - 1e11) == pytest.approx(plain, abs=0.002)
    assert score(np.c_[A, 4e12 + numbers], y) == pytest.approx(score(np.c_[A, numbers], y), abs=0.002)


def test_a_constant_column_contributes_nothing():
    A = np.c_[X[:, :2], np.full(60, 0.1), X[:, 3]]
    net = network("float32")
    net.fit(A, Y, epochs=2, verbose=0)
    assert net.layers[0].std[2] == 0
    other = A.copy()
    other[:, 2] = rng.normal(size=60) * 1e5
    assert_same_bits(net.predict(other), net.predict(A))
    assert net.loss_and_gradient(A, Y)[0] == net.loss_and_gradient(other, Y)[0]


def test_constant_targets_are_predicted_as_they_are():
    net = network("float32")
    y = np.c_[Y[:, 0], np.full(60, 1e8 + 0.1)]
    net.fit(X, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(net.predict(X)[:, 1], 1e8 + 0.1)


# the statistics


@pytest.mark.parametrize(
    "A",
    [
        X,
        X.astype(np.float32),
        np.asfortranarray(X)[::-1],
        rng.integers(0, 256, (70, 3)).astype(np.uint8),
        rng.integers(-9, 9, (70, 3)),
        X > 0,
        X[:1],
        rng.normal(size=(70_000, 2)) + [1e9, -1e3],
    ],
)
def test_mean_and_deviation_are_those_of_the_textbook(A):
    A = np.asarray(A)
    exact = A.astype(np.longdouble)
    layer = Standardize.of(A)
    np.testing.assert_allclose(layer.mean, exact.mean(axis=0).astype(float), rtol=1e-14, atol=1e-15 * np.abs(A).max())
    np.testing.assert_allclose(layer.std, exact.std(axis=0).astype(float), rtol=1e-12)


def test_mean_and_deviation_of_numbers_at_the_limits():
    A = np.array([[1e300, 1e16, 1e-300, 0.3, 5.0], [-1.7e308, 1e16 + 2, 3e-300, 0.1 + 0.2, 5.0]])
    mean, std = mean_and_deviation(A)
    expected = [(float(Fraction(a) / 2 + Fraction(b) / 2), float(abs(Fraction(a) / 2 - Fraction(b) / 2))) for a, b in A.T]
    np.testing.assert_allclose(mean, [one[0] for one in expected], rtol=1e-15)
    np.testing.assert_allclose(std[[0, 2]], [expected[0][1], expected[2][1]], rtol=1e-15)
    assert std[3] == std[4] == 0  # 0.3 and 0.1 + 0.2 differ by rounding
    assert std[1] in (0, 1)


def test_every_layout_and_dtype_gives_the_same_bits():
    A = rng.integers(0, 99, (51, 4))
    for other in (A.astype(np.uint8), A.astype(np.float32), np.asfortranarray(A), np.repeat(A, 2, axis=1)[:, ::2]):
        assert Standardize.of(other) == Standardize.of(A)


# one network is another one on numbers that the user has standardized


def test_training_is_that_on_standardized_numbers():
    outer, inner = network(), network(first=(), last=())
    U, V = standardized(X), standardized(Y)
    histories = [net.fit(A, B, epochs=4, batch_size=8, validation_data=(A[:9], B[:9]), verbose=0) for net, A, B in ((outer, X, Y), (inner, U, V))]
    for name in ("loss", "val_loss", "val_r2"):
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-8)
    np.testing.assert_allclose(outer.parameters, inner.parameters, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(outer.predict(X), inner.predict(U) * Y.std(axis=0) + Y.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(outer.predict(X, logits=True), inner.predict(U), rtol=1e-6)
    (loss, gradient), (expected_loss, expected) = outer.loss_and_gradient(X, Y), inner.loss_and_gradient(U, V)
    assert loss == pytest.approx(expected_loss, rel=1e-8) == outer.evaluate(X, Y)["loss"]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-9)
    assert outer.train_on_batch(X, Y) == pytest.approx(inner.train_on_batch(U, V), rel=1e-8)


def test_metrics_are_in_the_units_of_the_targets(fitted):
    error = fitted.predict(X) - Y
    actual = fitted.evaluate(X, Y)
    assert actual["mean_absolute_error"] == pytest.approx(np.abs(error).mean(), rel=1e-12)
    assert actual["root_mean_squared_error"] == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-12)
    assert actual["loss"] < 10  # of standardized targets
    history = fitted.fit(X, Y, optimizer=Adam(0.0), validation_data={"all": (X, Y)}, verbose=0)
    assert history["all_mean_absolute_error"] == [pytest.approx(actual["mean_absolute_error"], rel=1e-12)]


@pytest.mark.parametrize("optimizer", [LBFGS(), "rprop"])
def test_full_batches(optimizer):
    pytest.importorskip("scipy")
    net = network("float32")
    net.fit(X, Y, optimizer=optimizer, epochs=60, batch_size=None, verbose=0)
    assert net.evaluate(X, Y)["r2"] > 0.98


@pytest.mark.parametrize("optimizer", [LBFGS(), Adam()])
def test_rows_that_leave_the_dtype_are_named(optimizer):
    pytest.importorskip("scipy")
    net = network("float32", first=(Standardize(mean=[0, 0, 1e60, 0], std=[1, 1, 1e20, 1]),))
    with pytest.raises(ValueError, match=r"X must be finite as scaled float32; got 0.0 in row \d+, column 2\."):
        net.fit(np.zeros((60, 4)), Y, optimizer=optimizer, verbose=0)


def test_predictions_are_float64_where_targets_are_standardized(fitted):
    with_inputs_only = network("float32", last=())
    with_inputs_only.fit(X, Y / 3e5, verbose=0)
    assert with_inputs_only.predict(X).dtype == np.float32
    with_targets = network("float32")
    with_targets.fit(X, Y, verbose=0)
    assert with_targets.predict(X).dtype == np.float64
    assert with_targets.predict(X, logits=True).dtype == np.float32
    assert with_targets.predict(X[:0]).shape == (0, 2)
    assert_same_bits(with_targets.predict(X[5:6]), with_targets.predict(X)[5:6])


def test_targets_are_judged_with_all_their_digits():
    net = Sequential([Dense(1)], n_features=1)
    net.set_weights([([[0.0]], [1e8])])
    y = np.full(10, 1e8 + 1.5)  # 1e8 in float32
    metrics = net.evaluate(np.zeros((10, 1)), y)
    assert (metrics["mean_absolute_error"], metrics["max_error"]) == (1.5, 1.5)
    history = net.fit(np.zeros((10, 1)), y, optimizer=Adam(0.0), validation_data=(np.zeros((10, 1)), y), verbose=0)
    assert history["val_root_mean_squared_error"] == [1.5]


def test_one_column_of_targets_of_either_shape():
    for y in (Y[:, 0], Y[:, :1], (Y[:, 0]).astype(int)):
        net = Sequential([Standardize(), Dense(1), Standardize(targets=True)], n_features=4)
        net.fit(X, y, epochs=2, verbose=0)
        assert net.layers[-1].mean == pytest.approx((np.mean(y),))
        assert net.evaluate(X, y)["mean_absolute_error"] < 1000


def test_classes_need_no_targets_standardized():
    labels = (X[:, 1] > 1e6).astype(int)
    net = Sequential([Standardize(), Dropout(0.1), Dense(8, "relu"), Dense(2, "softmax")], n_features=4)
    net.fit(X, labels, optimizer=Adam(0.03), epochs=60, verbose=0)
    assert net.evaluate(X, labels)["accuracy"] > 0.95


# where mean and deviation come from


def test_they_are_those_of_the_rows_of_the_first_fit():
    net = network()
    train, rest = SPLIT
    net.fit(X[train], Y[train], validation_data=(X[rest], Y[rest]), verbose=0)
    first = net.layers
    assert first[0] == Standardize.of(X[train])
    assert first[-1] == Standardize.of(Y[train], targets=True)
    net.fit(X[rest], Y[rest], verbose=0)
    assert net.layers == first


def test_they_may_be_given():
    given = network(first=(Standardize.of(X),), last=(Standardize(mean=[3e5, 0], std=[50, 0.01], targets=True),))
    assert given.predict(X).dtype == np.float64  # before any fit
    given.train_on_batch(X[:10], Y[:10])
    given.fit(X[:10], Y[:10], verbose=0)
    assert given.layers[0] == Standardize.of(X)
    assert given.layers[-1].std == (50.0, 0.01)
    one = network(first=(Standardize(mean=2.0, std=4.0),), last=())
    np.testing.assert_allclose(one.predict(X), network(first=(Scale(0.25, -0.5),), last=()).predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    "use",
    [
        lambda net: net.predict(X),
        lambda net: net.evaluate(X, Y),
        lambda net: net.loss_and_gradient(X, Y),
        lambda net: net.train_on_batch(X, Y),
    ],
)
def test_they_are_needed_before_the_first_fit(use):
    for net in (network(), network(last=()), network(first=())):
        with pytest.raises(ValueError, match=r"Standardize of (X|targets) must have mean and std before it is used; got neither."):
            use(net)


@pytest.mark.parametrize(
    "settings",
    [
        {"y": np.full((60, 2), np.nan)},
        {"validation_data": (X, Y[:3])},
        {"optimizer": LBFGS(), "sample_weight": [1.0]},
        {"shuffle": [60]},
    ],
)
def test_a_fit_that_does_not_begin_learns_nothing(settings):
    net = network()
    with pytest.raises(ValueError):
        net.fit(X, **{"y": Y, "verbose": 0, **settings})
    assert net.layers[0] == Standardize()
    assert net.layers[-1] == Standardize(targets=True)


# what a network consists of


def test_copies_and_files(fitted, tmp_path):
    fitted.save(tmp_path / "net.safetensors")
    for other in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted)), Sequential.load(tmp_path / "net.safetensors")):
        assert other.layers == fitted.layers
        assert_same_bits(other.predict(X), fitted.predict(X))
        other.fit(X[:7], Y[:7], verbose=0)
        assert other.layers == fitted.layers


def test_a_network_without_statistics_is_saved_and_learns_them_later(tmp_path):
    net = network()
    net.save(tmp_path / "net.safetensors")
    loaded = Sequential.load(tmp_path / "net.safetensors")
    assert loaded.layers == net.layers
    for one in (net, loaded):
        one.fit(X, Y, verbose=0)
    assert_same_bits(loaded.predict(X), net.predict(X))


def test_weights_and_what_is_trainable_leave_it_alone(fitted):
    layers = fitted.layers
    fitted.set_weights([(W * 0, b * 0) for W, b in fitted.weights])
    np.testing.assert_allclose(fitted.predict(X), np.tile(Y.mean(axis=0), (60, 1)), rtol=1e-12)
    fitted.set_trainable(0, False)
    assert (fitted.layers[0], fitted.layers[-1]) == (layers[0], layers[-1])


def test_its_texts(fitted):
    assert repr(network().layers) == "(Standardize(), Dense(6, 'tanh'), Dense(2, 'identity'), Standardize(targets=True))"
    assert "... 784 numbers)" in repr(Standardize.of(np.eye(784)))
    lines = str(fitted.summary()).splitlines()
    assert [line.split("  ")[0] for line in lines[1:5]] == ["Standardize", "Dense(tanh)", "Dense(identity)", "Standardize targets (..., 2)"]


# Scale


def test_scale_takes_a_factor_for_each_feature(tmp_path):
    scale, shift = [1.0, 1e-2, 100.0, 0.0], [0.0, -1e4, -500.0, 1.0]
    net, plain = network(first=(Scale(scale, shift),), last=()), network(first=(), last=())
    np.testing.assert_allclose(net.predict(X), plain.predict(X * scale + shift), rtol=1e-9)
    net.fit(X, Y, verbose=0)
    plain.fit(X * scale + shift, Y, verbose=0)
    np.testing.assert_allclose(net.parameters, plain.parameters, rtol=1e-6, atol=1e-9)
    net.save(tmp_path / "net.safetensors")
    assert_same_bits(Sequential.load(tmp_path / "net.safetensors").predict(X), net.predict(X))
    one, each = (network(first=(layer,), last=()).predict(X) for layer in (Scale(0.5, 1.0), Scale((0.5,) * 4, 1.0)))
    assert_same_bits(one, each)
    assert network(first=(Scale(scale),)).summary().splitlines()[1].startswith("Scale  ")


# refused


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Dense(3), Standardize()], "layers[1] must not be a Standardize: only the first layer can be; got Standardize(). For the targets use Standardize(ta"),
        ([Scale(2.0), Standardize(), Dense(1)], "layers[1] must not be a Standardize: only the first layer can be"),
        ([Standardize(targets=True), Dense(1)], "layers[0] must be the last layer, after a Dense one, to standardize the targets"),
        ([Dense(1), Standardize(targets=True), Dense(1)], "layers[1] must be the last layer"),
        ([Dense(3, "softmax"), Standardize(targets=True)], "layers[0] must not have the activation 'softmax'"),
        (
            [Dense(1, "sigmoid"), Standardize(targets=True)],
            "layers[1] must follow outputs that can be any number, which those of 'sigmoid' cannot;",
        ),
        ([Standardize([1, 2], [1, 1]), Dense(1)], "mean of layers[0] must be one number, or 3, one for each feature; got 2."),
        ([Scale(1.0, [1, 2, 3, 4]), Dense(1)], "shift of layers[0] must be one number, or 3, one for each feature; got 4."),
        ([Dense(2), Standardize([1, 2, 3], 1, targets=True)], "mean of layers[1] must be one number, or 2, one for each output; got 3."),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Sequential(layers, n_features=3)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"mean": 1.0}, ValueError, "mean and std must be given both or not at all; got mean=1.0 and std=None."),
        ({"mean": 1.0, "std": -1.0}, ValueError, "std must be a finite number of at least 0; got -1."),
        ({"mean": [1.0, 2.0], "std": [1.0, -2.0]}, ValueError, "std must be at least 0; got -2.0 in row 1."),
        ({"mean": [1.0, 2.0], "std": [1.0, 2.0, 3.0]}, ValueError, "got 2 and 3"),
        ({"mean": np.nan, "std": 1.0}, ValueError, "mean must be a finite number; got nan."),
        ({"mean": [np.inf], "std": 1.0}, ValueError, "mean must be finite; got inf in row 0."),
        ({"mean": 1.0, "std": 1e-320}, ValueError, "mean / std and 1 / std must be finite, or std 0"),
        ({"mean": [[1.0]], "std": 1.0}, ValueError, "mean must be a number or a sequence of them; got shape (1, 1)."),
        ({"mean": "zero", "std": 1.0}, TypeError, "mean must be a finite number; got 'zero'."),
        ({"targets": 1}, TypeError, "targets must be True or False; got 1."),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Standardize(**settings)


def test_statistics_of_nothing_are_refused():
    for A in (np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((2, 2, 2)), 5.0):
        with pytest.raises(ValueError, match="A must have shape"):
            Standardize.of(A)
    with pytest.raises(ValueError, match="A must be finite; got nan in row 1, column 0."):
        Standardize.of([[0.0], [np.nan]])


def test_means_and_variances_are_predicted_in_the_units_of_the_targets():
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 3)) * [3.0, 1e-3, 0.0] + [1e3, -5.0, 7.0]
    layers = [Dense(5, "tanh"), Dense(6)]
    net, plain = Sequential([*layers, Standardize(targets=True)], 2, "float64"), Sequential(layers, 2, "float64")
    settings = {"loss": "gaussian_nll", "epochs": 3, "batch_size": 16, "verbose": 0}
    mean, std = y.mean(axis=0), y.std(axis=0)
    history = net.fit(X, y, **settings)
    expected = plain.fit(X, (y - mean) / np.where(std > 0, std, 1), **settings)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-12)
    actual, standard = net.predict(X), plain.predict(X)
    np.testing.assert_allclose(actual[:, :3], standard[:, :3] * std + mean, rtol=1e-9)
    np.testing.assert_allclose(actual[:, 3:5], standard[:, 3:5] + 2 * np.log(std[:2]), rtol=1e-9)
    assert np.isfinite(actual).all() and (np.exp(actual[:, 5]) < 1e-290).all()
    of_units = np.mean((actual[:, 3:5] + (actual[:, :2] - y[:, :2]) ** 2 / np.exp(actual[:, 3:5])) / 2, axis=0)
    of_standard = np.mean((standard[:, 3:5] + (standard[:, :2] - (y - mean)[:, :2] / std[:2]) ** 2 / np.exp(standard[:, 3:5])) / 2, axis=0)
    np.testing.assert_allclose(of_units, of_standard + np.log(std[:2]), rtol=1e-9)
    assert net.evaluate(X, y, metrics="mae")["mae"] == pytest.approx(np.abs(actual[:, :3] - y).mean(), rel=1e-12)
    again = Sequential([*layers, net.layers[-1]], 2, "float64")
    again.fit(X, y, **settings)
    np.testing.assert_allclose(again.predict(X), actual, rtol=1e-12)


@pytest.mark.parametrize(
    ("last", "layer", "loss", "y", "message"),
    [
        (Dense(1, "exponential"), Standardize(targets=True), "poisson", [1, 2], r"layers\[1\] must follow outputs that can be any number"),
        (Dense(1), Standardize(targets=True), "hinge", [0, 1], r"got 'hinge'\. It compares classes\."),
        (Dense(2), Standardize(1.0, 3.0, targets=True), "gaussian_nll", [1, 2], "mean and std of the targets must be left out for 'gaussian_nll', or"),
    ],
)
def test_losses_whose_targets_have_no_other_unit(last, layer, loss, y, message):
    with pytest.raises(ValueError, match=message):
        Sequential([last, layer], 2).fit(np.eye(2), y, loss, verbose=0)
