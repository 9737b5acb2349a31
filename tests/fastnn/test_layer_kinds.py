"""Kinds of layers beside the dense one: ten steps beside PyTorch, their gradients, bits, files, settings, and what they refuse."""

import pickle
import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

import kernels
from fastnn import SGD, Adam, BatchNorm, Dense, Dropout, GaussianNoise, LayerNorm, Linear, Momentum, PReLU, Residual, Sequential, Standardize, check_gradient
from tests.fixtures import make_torch_layers as torch_layers
from tests.numerics import assert_same_bits

rng = np.random.default_rng(8)
X = 4 * rng.normal(size=(120, 7)) + 2
Y = X[:, :2] * X[:, 2:4] / 10
LABELS = (X[:, 0] > X[:, 1]).astype(int)


def layers_of(specification):
    """Return the layers of a case beside PyTorch."""
    makers = {"dense": Dense, "batchnorm": BatchNorm, "norm": LayerNorm, "prelu": PReLU, "residual": lambda block: Residual(layers_of(block))}
    return [makers[kind](*settings) for kind, *settings in specification]


class Losses(list):
    """The loss of every minibatch."""

    def on_batch_end(self, batch, loss):
        self.append(loss)


def beside_torch(name, numbers):
    rows, targets, arrays = torch_layers.start(name)
    net, losses = Sequential(layers_of(torch_layers.CASES[name]), torch_layers.FEATURES, "float64"), Losses()
    net.set_weights(arrays)
    optimizer = Momentum(torch_layers.RATE, 0.9)
    net.fit(rows, targets, optimizer=optimizer, epochs=2, batch_size=torch_layers.BATCH, shuffle=False, callbacks=[losses], verbose=0)
    np.testing.assert_allclose(losses, numbers["losses"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(net.predict(rows), numbers["outputs"], rtol=1e-10, atol=1e-10)
    for i, some in enumerate(net.weights):
        for k, A in enumerate(some):
            np.testing.assert_allclose(A, numbers[f"{i}.{k}"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", torch_layers.CASES)
def test_stored_steps_of_torch(name):
    with np.load(torch_layers.FILE) as file:
        beside_torch(name, {key.removeprefix(f"{name}: "): file[key] for key in file if key.startswith(f"{name}: ")})


@pytest.mark.parametrize("name", torch_layers.CASES)
def test_steps_of_torch(name):
    pytest.importorskip("torch")
    beside_torch(name, torch_layers.calculate(name))


# BatchNorm.


def normalized(dtype="float32", **settings):
    layers = [BatchNorm(), Dropout(0.1), Dense(17, "relu", bias=False), BatchNorm(1e-3, 0.2), LayerNorm(), Dense(9, "gelu", l2=0.01)]
    return Sequential([*layers, BatchNorm(trainable=False), Dropout(0.2), Dense(2, "softmax")], n_features=7, dtype=dtype, **settings)


def test_batchnorm_is_trained_saved_loaded_and_copied(tmp_path):
    net, path = normalized(seed=3), tmp_path / "net"
    losses = net.fit(X, LABELS, epochs=40, verbose=0)["loss"]
    assert losses[-1] < 0.6 * losses[0] and net.evaluate(X, LABELS)["accuracy"] > 0.8
    net.save(path)
    assert {name: A.shape for name, A in load_file(path).items() if name.startswith("batchnorm")} == {
        f"batchnorm.{i}.{name}": (n,) for i, n in enumerate((7, 17, 9)) for name in ("gain", "bias", "mean", "variance")
    }
    twin = pickle.loads(pickle.dumps(net))
    twin.fit(X, LABELS, epochs=2, verbose=0)
    for copy in (Sequential.load(path), pickle.loads(pickle.dumps(net))):
        assert repr(copy) == repr(net)
        assert_same_bits(copy.parameters, net.parameters)
        assert_same_bits(copy.predict(X), net.predict(X))
        copy.fit(X, LABELS, epochs=2, verbose=0)
        assert_same_bits(copy.parameters, twin.parameters)
    assert (net.parameters[~net.plan.mask()] == 0).all()


def test_running_statistics_follow_the_minibatches():
    """By the formula, over two epochs whose last minibatches are one row: of that nobody knows the variance."""
    net = Sequential([BatchNorm(momentum=0.25), Dense(2)], n_features=7, dtype="float64")
    mean, variance = np.zeros(7), np.ones(7)
    net.fit(X[:81], Y[:81], epochs=2, batch_size=40, shuffle=False, verbose=0)
    for rows in (X[:40], X[40:80]) * 2:
        mean = 0.75 * mean + 0.25 * rows.mean(0)
        variance = 0.75 * variance + 0.25 * rows.var(0, ddof=1)
    np.testing.assert_allclose(net.weights[0][2:], (mean, variance), rtol=1e-13)
    gain, bias, *_ = net.weights[0]
    W, b = net.weights[1]
    expected = ((X - mean) / np.sqrt(variance + 1e-5) * gain + bias) @ W + b
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12)
    np.testing.assert_allclose(net.evaluate(X, Y)["loss"], ((expected - Y) ** 2).mean(), rtol=1e-12)


def test_what_is_frozen_keeps_its_statistics_and_uses_them():
    net = normalized("float64")
    net.set_weights([*net.weights[:-2], [np.ones(9), np.zeros(9), np.full(9, 0.5), np.full(9, 4.0)], net.weights[-1]])
    before = net.weights
    net.fit(X, LABELS, verbose=0, optimizer="sgd")
    changed = [[A is not None and (A != B).any() for A, B in zip(new, old)] for new, old in zip(net.weights, before)]
    assert changed == [[True] * 4, [True, False], [True] * 4, [True] * 2, [True] * 2, [False] * 4, [True] * 2]
    frozen = Sequential([BatchNorm(trainable=False), Dense(2)], n_features=7, dtype="float64")
    loss, gradient = frozen.loss_and_gradient(X, Y)
    start = frozen.parameters.copy()
    assert frozen.train_on_batch(X, Y, optimizer=SGD(0.5)) == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(frozen.parameters, start - 0.5 * gradient, rtol=1e-13)


def test_gradient_beside_running_statistics():
    """What asks for the loss of all rows takes them as constants, of which there is no gradient."""
    net = normalized("float64")
    net.fit(X, LABELS, verbose=0)
    _, gradient = net.loss_and_gradient(X, LABELS)
    for placed in net.plan.layers:
        for slope, trained in zip(net.plan.arrays(gradient, placed), (*placed.layer.trained, False, False)):
            assert (slope != 0).any() == trained


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_fit_that_diverges_leaves_the_last_finite_parameters(clip):
    net = Sequential([Dense(6, "tanh"), BatchNorm(), Dense(2)], n_features=7)
    net.fit(X, Y, verbose=0)
    optimizer = SGD(0.1, clip_norm=clip)
    net.train_on_batch(X, Y, optimizer=optimizer)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="loss must be finite"):
        net.train_on_batch(X, np.full_like(Y, 1e30), optimizer=optimizer)
    assert_same_bits(net.parameters, before)


def test_an_infinite_variance_ends_the_fit():
    net = Sequential([BatchNorm(), Dense(2)], n_features=7)
    with pytest.raises(ValueError, match="loss must be finite"):
        net.fit(1e30 * X, Y, verbose=0)
    assert np.isfinite(net.parameters).all()


def test_equal_rows_become_the_bias():
    net = Sequential([BatchNorm(), Dense(2)], n_features=7)
    net.set_weights([([2] * 7, [1] * 7, [0] * 7, [1] * 7), net.weights[1]])
    net.fit(np.full((8, 7), 5.0), Y[:8], epochs=3, verbose=0)
    assert np.isfinite(net.parameters).all()
    np.testing.assert_allclose(net.weights[0][3], np.full(7, 0.9**3), rtol=1e-6)


def test_full_batch_optimizers_take_the_running_statistics():
    pytest.importorskip("scipy")
    net = Sequential([BatchNorm(), Dense(8, "tanh"), BatchNorm(), Dense(2)], n_features=7, dtype="float64")
    before = net.weights
    with pytest.warns(UserWarning, match="^LBFGS takes the running mean and variance of the BatchNorm layers as they are"):
        losses = net.fit(X, Y, optimizer="lbfgs", epochs=20, verbose=0)["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert [(A != B).any() for A, B in zip(net.weights[0], before[0])] == [True, True, False, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Sequential([BatchNorm(trainable=False), Dense(2)], n_features=7).fit(X, Y, optimizer="lbfgs", verbose=0)


def test_batchnorm_bits_are_the_same_in_threads():
    ends = []
    for n_threads in sorted({1, kernels.max_threads()}):
        net = Sequential([BatchNorm(), Dense(300, "relu"), BatchNorm(), Dropout(0.3), Dense(2, "softmax")], n_features=7, seed=1)
        net.fit(X, LABELS, epochs=2, batch_size=100, n_threads=n_threads, verbose=0)
        ends.append(net.parameters)
    assert_same_bits(ends[-1], ends[0])


def test_batchnorm_is_described():
    net = Sequential([BatchNorm(), Dense(9, "relu"), BatchNorm(), Dense(2), Standardize(targets=True)], n_features=7)
    assert [line.split() for line in net.summary().splitlines() if line.startswith("BatchNorm")][0] == ["BatchNorm", "(...,", "7)", "28", "21"]
    assert net.n_parameters == 28 + 72 + 36 + 20 == net.plan.mask().sum()
    text = str(net.program(10))
    for line in ("B1 = batchnorm(X)", "A1 = f(B1 W1 + b1)", "B2 = batchnorm(A1)", "dA1, dgain2, dbias2 from dB2", "dgain1, dbias1 from dB1"):
        assert line in text
    assert net.program(10).profile(0.01).phases
    layer = BatchNorm(np.float32(0.5), np.float32(0.25), np.False_)
    assert repr(layer) == "BatchNorm(eps=0.5, momentum=0.25, trainable=False)" and type(layer.eps) is float and layer.trainable is False


def test_an_initializer_is_gain_bias_mean_and_variance():
    arrays = ([1, 2], [3, 4], [5, 6], [7, 8])
    net = Sequential([BatchNorm(initializer=arrays), Dense(1)], n_features=2)
    np.testing.assert_array_equal(net.weights[0], arrays)
    assert net.layers[0] == BatchNorm() and net.layers[0].initializer is None


def negative():
    net = Sequential([BatchNorm(), Dense(1)], 1)
    net.set_weights([([1], [0], [0], [-1]), net.weights[1]])


def one_row():
    Sequential([BatchNorm(), Dense(2)], 7).fit(X, Y, batch_size=1, verbose=0)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: BatchNorm(0), ValueError, "eps must be above 0; got 0."),
        (lambda: BatchNorm(1e-50), ValueError, "eps must be at least 1.18e-38 and finite in float32; got 1e-50."),
        (lambda: BatchNorm(momentum=1.5), ValueError, "momentum must be at most 1; got 1.5."),
        (lambda: BatchNorm(momentum="slow"), TypeError, "momentum must be a finite number of at least 0; got 'slow'."),
        (lambda: BatchNorm(trainable="gain"), TypeError, "trainable must be True or False"),
        (lambda: BatchNorm(initializer=([1], [2])), TypeError, "initializer must be (gain, bias, mean, variance); got"),
        (lambda: Sequential([BatchNorm(initializer=([1],) * 4), Dense(1)], 3), ValueError, "initializer of BatchNorm 0, gain, must have shape (3,)"),
        (lambda: Sequential([BatchNorm(initializer=([-1],) * 4), Dense(1)], 1), ValueError, "variance of BatchNorm 0 must be at least 0; got -1."),
        (lambda: Sequential([Dense(3, "softmax"), BatchNorm()], 3), ValueError, "layers[0] must not have the activation 'softmax'"),
        (negative, ValueError, "variance of BatchNorm 0 must be at least 0; got -1."),
        (one_row, ValueError, "batch_size must be at least 2 with BatchNorm, whose variance is that of the minibatch's rows; got 1."),
    ],
)
def test_what_cannot_be_used_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(message)


# All kinds together.


def nested(dtype="float32", **settings):
    block = Residual([LayerNorm(), Dropout(0.1), PReLU(), Dense(20, "relu", bias=False), GaussianNoise(0.1), Dropout(Linear(0.3)), Dense(7), BatchNorm()])
    layers = [GaussianNoise(0.05), Dropout(0.1), Residual([block, PReLU(per_unit=True)]), Residual([Dropout(0.2), Dense(7, "tanh", l2=0.01)]), Dropout(0.1)]
    return Sequential([*layers, LayerNorm(), PReLU(trainable=False), Dense(2), PReLU()], n_features=7, dtype=dtype, **settings)


def test_all_kinds_are_trained_saved_loaded_and_copied(tmp_path):
    net, path = nested(seed=3), tmp_path / "net"
    names = ("gain", "slope", "W", "W", "gain", "slope", "W", "gain", "slope", "W", "slope")
    assert [next(iter(placed.layer.shapes)) for _, placed in net._with_arrays] == list(names)
    assert [len(some) for some in net.weights] == [2, 1, 2, 2, 4, 1, 2, 2, 1, 2, 1]
    losses = net.fit(X, Y, epochs=60, optimizer=Adam(0.01), verbose=0)["loss"]
    assert losses[-1] < 0.8 * losses[0]
    net.save(path)
    assert set(load_file(path)) >= {"norm.0.gain", "norm.1.bias", "dense.0.W", "dense.3.b", "batchnorm.0.variance", "prelu.1.slope", "prelu.3.slope"}
    twin = pickle.loads(pickle.dumps(net))
    twin.fit(X, Y, epochs=2, verbose=0)
    for copy in (Sequential.load(path), pickle.loads(pickle.dumps(net))):
        assert repr(copy) == repr(net)
        assert_same_bits(copy.predict(X), net.predict(X))
        copy.fit(X, Y, epochs=2, verbose=0)
        assert_same_bits(copy.parameters, twin.parameters)
    other = nested()
    other.set_weights(net.weights)
    assert_same_bits(other.parameters, net.parameters)
    assert (net.parameters[~net.plan.mask()] == 0).all()
    assert net.weights[8][0] == 0.25 != net.weights[1][0]


def test_all_kinds_are_described_and_checked():
    net = nested("float64")
    lines = [line.split()[0] for line in net.summary().splitlines()[1:-2]]
    assert lines[2:6] == ["Residual", "Residual", "LayerNorm", "Dropout(0.1)"] and "Dropout(Linear)" in lines and lines[-1] == "PReLU"
    assert net.n_parameters == net.plan.mask().sum() - 20
    assert net.memory(256) > Sequential([Dense(20, "relu"), Dense(7), Dense(7, "tanh"), Dense(2)], 7, "float64").memory(256)
    text = str(net.program(10))
    for line in ("X with noise", "N1 = norm(X), drop of N1, P1 = prelu(N1)", "drop of A1", "S1 = X + B1", "dslope4, added up", "dA3 from dS3", "of both"):
        assert line in text
    assert net.program(10).profile(0.01).phases
    assert check_gradient(net, X[:10], Y[:10]) < 1e-6


def test_the_layers_of_a_block_are_frozen_by_their_place():
    net = nested()
    net.set_trainable(1, False)
    assert [layer.trainable for layer in net.dense] == [True, False, True, True]
    assert net.layers[2].layers[0].layers[6] == Dense(7, trainable=False)
    before = net.weights
    net.fit(X, Y, verbose=0)
    assert [(A[0] != B[0]).any() for A, B in zip(net.weights, before)] == [True, True, True, False, True, True, True, True, False, True, True]


def test_a_scheduled_dropout_spans_the_fit():
    """At rate 0 at last it trains as if there were none; a function of one's own is trained, but in no file."""
    seen = []

    def rate(step):
        seen.append(step)
        return 0.5

    net = Sequential([Dropout(rate), Dense(2)], n_features=7)
    net.fit(X, Y, epochs=2, batch_size=60, verbose=0)
    assert sorted(set(seen)) == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="a schedule that is saved must be one of fastnn.schedules; got"):
        net.save("nowhere")
    ends = []
    for layer in (Dropout(Linear(0.5, 0.5)), Dropout(0.5)):
        net = Sequential([Dense(9, "relu"), layer, Dense(2)], n_features=7, seed=2)
        net.fit(X, Y, epochs=2, verbose=0)
        ends.append(net.parameters)
    assert_same_bits(*ends)
    with pytest.raises(ValueError, match=r"^rate of Dropout must be a finite number of at least 0 and below 1; got 1\.5 at step 0\.$"):
        Sequential([Dropout(Linear(1.5)), Dense(2)], n_features=7).fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="n_steps must be given for a schedule that is used outside of fit"):
        Sequential([Dropout(Linear(0.5)), Dense(2)], n_features=7).train_on_batch(X, Y)


def test_a_hundred_layers_train():
    blocks = [Residual([BatchNorm(), Dense(8, "relu"), Dense(8)]) for _ in range(50)]
    net = Sequential([Dense(8), *blocks, LayerNorm(), Dense(2)], n_features=7, seed=1)
    losses = net.fit(X, Y, epochs=30, verbose=0)["loss"]
    assert losses[-1] < 0.5 * losses[0] and np.isfinite(net.parameters).all()


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Residual([]), ValueError, "layers of Residual must have at least one layer; got []."),
        (lambda: Residual(Dense(3)), TypeError, "layers of Residual must be a list of Dense, LayerNorm, BatchNorm, Dropout"),
        (lambda: Residual([Standardize()]), TypeError, "layers of Residual[0] must be a Dense, LayerNorm, "),
        (lambda: Residual([Dense(3, "softmax")]), ValueError, "layers of Residual must not have the activation 'softmax': only the last layer can"),
        (
            lambda: Sequential([Dense(5), Residual([Residual([Dense(4)]), Dense(5)])], 3),
            ValueError,
            "layers[1].layers[0] must give as many columns as it takes, 5, to be added to them; got 4.",
        ),
        (lambda: Sequential([Residual([LayerNorm()])], 3), ValueError, "layers must have at least one Dense layer; got"),
        (lambda: GaussianNoise(-1), ValueError, "std must be a finite number of at least 0; got -1."),
        (lambda: PReLU(per_unit="yes"), TypeError, "per_unit must be True or False; got 'yes'."),
        (lambda: Sequential([PReLU(initializer=[1, 2]), Dense(1)], 2), ValueError, "initializer of PReLU 0 must have shape (1,); got (2,)."),
        (lambda: Dropout("half"), TypeError, "rate must be a finite number of at least 0 and below 1; got 'half'."),
    ],
)
def test_what_cannot_be_a_block_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(message)
