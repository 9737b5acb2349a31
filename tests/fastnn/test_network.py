import copy
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastnn import SGD, Adam, CrossEntropy, Dense, Dropout, LayerNorm, Scale, Sequential

rng = np.random.default_rng(2)
X = rng.normal(size=(37, 5))
LABELS = rng.integers(0, 3, 37)


def network(dtype="float64", **settings):
    return Sequential([Dense(9, "tanh"), Dropout(0.5), Dense(7, "relu"), Dense(3, "softmax")], n_features=5, dtype=dtype, **settings)


def naive_outputs(net, X):
    """Return logits and probabilities of `network` by the textbook."""
    (W1, b1), (W2, b2), (W3, b3) = net.weights
    Z = np.maximum(np.tanh(X @ W1 + b1) @ W2 + b2, 0) @ W3 + b3
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return Z, E / E.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dtype, rtol", [("float32", 2e-5), ("float64", 1e-13)])
def test_predict_matches_the_textbook(dtype, rtol):
    net = network(dtype)
    logits, probs = naive_outputs(net, X)
    assert net.predict(X).dtype == dtype
    np.testing.assert_allclose(net.predict(X), probs, rtol=rtol)
    np.testing.assert_allclose(net.predict(X, logits=True), logits, rtol=rtol, atol=rtol)


def test_evaluate_gives_loss_and_accuracy():
    net = network()
    _, probs = naive_outputs(net, X)
    actual = net.evaluate(X, LABELS)
    assert actual["loss"] == pytest.approx(-np.log(probs[np.arange(37), LABELS]).mean(), rel=1e-12)
    assert actual["accuracy"] == np.mean(probs.argmax(axis=1) == LABELS)


def test_evaluate_of_a_regression():
    net = Sequential([Dense(2)], n_features=5, dtype="float64")
    y = rng.normal(size=(37, 2))
    error = net.predict(X) - y
    actual = net.evaluate(X, y)
    assert list(actual) == [
        "loss",
        "mean_absolute_error",
        "mean_squared_error",
        "root_mean_squared_error",
        "max_error",
        "r2",
    ]
    assert actual["loss"] == pytest.approx(actual["mean_squared_error"], rel=1e-13) == pytest.approx(np.mean(error**2), rel=1e-13)
    assert actual["mean_absolute_error"] == pytest.approx(np.mean(np.abs(error)), rel=1e-13)


def layouts(tmp_path):
    """Return the same numbers as arrays of every kind: small whole ones, so that every dtype holds them."""
    A = rng.integers(0, 100, (11, 5))
    file = np.lib.format.open_memmap(tmp_path / "A.npy", "w+", np.float32, A.shape)
    file[:] = A
    file.flush()
    raw = np.zeros(A.size * 8 + 1, np.uint8)
    unaligned = raw[1:].view(np.float64).reshape(A.shape)
    unaligned[:] = A
    yield from (A.astype(dtype) for dtype in ("u1", "i4", "i8", "f2", "f4", "f8", "g", ">f4"))
    yield from (np.asfortranarray(A, "f4"), np.repeat(A, 3, axis=1)[:, ::3], A[::-1, ::-1].copy()[::-1, ::-1], unaligned)
    yield from (A.tolist(), np.load(tmp_path / "A.npy", mmap_mode="r"))


def test_every_dtype_and_layout_gives_the_same_bits(tmp_path):
    net = Sequential([Scale(0.01, -0.5), Dense(4, "tanh"), Dense(2)], n_features=5)
    y = rng.normal(size=(11, 2))
    outputs, trained = [], []
    for A in layouts(tmp_path):
        before = np.array(A)
        one = copy.deepcopy(net)
        outputs.append(one.predict(A))
        one.fit(A, y, epochs=2, batch_size=4, verbose=0)
        trained.append(one.parameters)
        np.testing.assert_array_equal(A, before)
    assert all(np.array_equal(one, outputs[0]) for one in outputs)
    assert all(np.array_equal(one, trained[0]) for one in trained)


def test_other_kinds_of_input():
    net = network()
    constant, bools = np.broadcast_to(X[:1], (6, 5)), X > 0
    readonly = X.copy()
    readonly.flags.writeable = False
    np.testing.assert_array_equal(net.predict(constant), net.predict(constant.copy()))
    np.testing.assert_array_equal(net.predict(bools), net.predict(bools.astype(float)))
    np.testing.assert_array_equal(net.predict(readonly), net.predict(X))
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(net.predict(pandas.DataFrame(X)), net.predict(X))


def test_one_row_and_no_rows():
    net = network()
    assert net.predict(X[:0]).shape == (0, 3)
    np.testing.assert_array_equal(net.predict(X[3:4]), net.predict(X)[3:4])


def test_rows_know_nothing_of_each_other():
    net = network("float32")
    expected = net.predict(X)
    for rows in (rng.permutation(37), np.arange(36, -1, -3), np.array([5, 5, 0])):
        np.testing.assert_array_equal(net.predict(X[rows]), expected[rows])


def test_softmax_knows_only_differences():
    net = network()
    before = net.predict(X)
    np.testing.assert_allclose(before.sum(axis=1), 1, rtol=1e-14)
    for shift in (-700.0, 1e4):
        net.set_weights([*net.weights[:2], (net.weights[2][0], np.full(3, shift))])
        np.testing.assert_allclose(net.predict(X), before, rtol=1e-10)


def test_gradients_of_parts_add_up():
    net = network(seed=4)
    loss, gradient = net.loss_and_gradient(X, LABELS)
    gradient, parts = gradient.copy(), [(20, net.loss_and_gradient(X[:20], LABELS[:20])), (17, net.loss_and_gradient(X[20:], LABELS[20:]))]
    assert loss == pytest.approx(sum(rows * part[0] for rows, part in parts) / 37, rel=1e-14)
    np.testing.assert_allclose(sum(rows * part[1] for rows, part in parts) / 37, gradient, rtol=1e-12, atol=1e-16)


def test_writers_and_readers_of_one_file(tmp_path):
    """Two threads write, this one reads: always one of the two networks, whole."""
    nets = [network("float32", seed=seed) for seed in (1, 2)]
    whole = [net.parameters.tobytes() for net in nets]
    nets[0].save(tmp_path / "net")
    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(lambda net: [net.save(tmp_path / "net") for _ in range(40)], net) for net in nets]
        while not all(one.done() for one in writing):
            assert Sequential.load(tmp_path / "net").parameters.tobytes() in whole
    assert [one.name for one in tmp_path.iterdir()] == ["net"] and all(one.result() is not None for one in writing)


def test_scale_acts_on_the_data():
    plain, scaled = (Sequential([*first, Dense(3, "tanh")], n_features=5, dtype="float64") for first in ([], [Scale(2.0, shift=-1.0)]))
    np.testing.assert_array_equal(scaled.predict(X), plain.predict(X * 2 - 1))
    np.testing.assert_array_equal(scaled.loss_and_gradient(X, X[:, :3])[1], plain.loss_and_gradient(X * 2 - 1, X[:, :3])[1])


def test_dropout_is_for_training_only():
    net = network()
    without = Sequential([Dense(9, "tanh"), Dense(7, "relu"), Dense(3, "softmax")], n_features=5, dtype="float64")
    np.testing.assert_array_equal(net.predict(X), without.predict(X))
    np.testing.assert_array_equal(net.loss_and_gradient(X, LABELS)[1], without.loss_and_gradient(X, LABELS)[1])
    assert net.train_on_batch(X, LABELS) != without.train_on_batch(X, LABELS)


def test_gradient_is_the_slope_of_the_loss():
    net = network()
    value, gradient = net.loss_and_gradient(X, LABELS)
    assert value == pytest.approx(net.evaluate(X, LABELS)["loss"], rel=1e-13)
    start, step = net.parameters.copy(), 1e-6
    direction = rng.normal(size=start.shape) * net.plan.mask()
    ends = []
    for sign in (1, -1):
        net.parameters = start + sign * step * direction
        ends.append(net.evaluate(X, LABELS)["loss"])
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(gradient @ direction, rel=1e-7)
    assert not gradient[~net.plan.mask()].any()


def test_parameters_are_one_vector_that_can_be_written():
    net, other = network(), network(seed=1)
    assert net.parameters.ndim == 1
    assert net.n_parameters == net.plan.mask().sum() == 5 * 9 + 9 + 9 * 7 + 7 + 7 * 3 + 3
    net.parameters = other.parameters
    np.testing.assert_array_equal(net.predict(X), other.predict(X))
    net.parameters *= 0
    np.testing.assert_array_equal(net.predict(X), np.full((37, 3), 1 / 3))
    assert other.parameters.any()


def test_assigned_padding_is_cleared():
    net = network()
    expected = net.predict(X)
    net.parameters = np.where(net.plan.mask(), net.parameters, 7.0)
    net.parameters += ~net.plan.mask()
    np.testing.assert_array_equal(net.predict(X), expected)
    assert not net.parameters[~net.plan.mask()].any()


def test_parameters_of_another_size_are_refused():
    net = network()
    with pytest.raises(ValueError, match=rf"parameters must have shape \({net.parameters.size},\); got \(3,\)"):
        net.parameters = np.zeros(3)


def test_weights_are_plain_copies():
    net, other = network(), network(seed=1)
    assert [(W.shape, b.shape) for W, b in net.weights] == [((5, 9), (9,)), ((9, 7), (7,)), ((7, 3), (3,))]
    net.weights[0][0][:] = 0
    assert net.weights[0][0].any()
    net.set_weights(other.weights)
    np.testing.assert_array_equal(net.parameters, other.parameters)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda pairs: pairs[:2], ValueError, r"weights must have a pair \(W, b\) for each of 3 dense layers; got 2"),
        (lambda pairs: [pairs[0], pairs[0], pairs[2]], ValueError, r"weights\[1\]\[0\] must have shape \(9, 7\); got \(5, 9\)"),
        (lambda pairs: [pairs[0], pairs[1], (pairs[2][0], 0.0)], ValueError, r"weights\[2\]\[1\] must have shape \(3,\); got \(\)"),
        (lambda pairs: [pairs[0], pairs[1], pairs[2][0]], TypeError, r"weights\[2\] must be a pair \(W, b\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, error, message):
    net = network()
    before = net.parameters.copy()
    with pytest.raises(error, match=message):
        net.set_weights(change([(W + 1, b + 1) for W, b in net.weights]))
    np.testing.assert_array_equal(net.parameters, before)


def test_the_seed_gives_the_weights():
    np.testing.assert_array_equal(network(seed=3).parameters, network(seed=3).parameters)
    assert not np.array_equal(network(seed=3).parameters, network(seed=4).parameters)
    np.testing.assert_array_equal(network("float32").weights[0][0], network("float64").weights[0][0].astype(np.float32))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_are_networks_of_their_own(duplicate):
    net = network()
    net.metadata["classes"] = ["a", "b", "c"]
    net.fit(X, LABELS, verbose=0)
    net.train_on_batch(X, LABELS)
    twin = duplicate(net)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    assert (repr(twin), twin.metadata, twin.loss) == (repr(net), net.metadata, net.loss)
    before = net.parameters.copy()
    twin.fit(X, LABELS, verbose=0)
    twin.metadata.clear()
    np.testing.assert_array_equal(net.parameters, before)
    assert net.metadata
    net.fit(X, LABELS, verbose=0)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_repr_makes_the_network_again():
    net = network("float32", seed=5)
    np.testing.assert_array_equal(eval(repr(net)).parameters, net.parameters)  # noqa: S307


def test_threads_change_no_bit():
    big = Sequential([Dense(300, "relu"), Dense(200, "gelu"), Dense(3, "softmax")], n_features=5)
    rows = rng.normal(size=(2000, 5))
    np.testing.assert_array_equal(big.predict(rows, n_threads=1), big.predict(rows))
    y = rng.integers(0, 3, 2000)
    (one, gradient), (several, same) = (big.loss_and_gradient(rows, y, n_threads=n) for n in (1, None))
    assert one == several
    np.testing.assert_array_equal(gradient, same)


def test_one_network_predicts_from_several_threads_at_once():
    net = network()
    parts = [rng.normal(size=(n, 5)) for n in range(1, 40)]
    expected = [net.predict(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        actual = list(pool.map(net.predict, parts * 5))
    assert all(np.array_equal(a, b) for a, b in zip(actual, expected * 5))


def test_networks_fit_in_several_threads_at_once():
    nets = [network(seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda net: net.fit(X, LABELS, epochs=3, verbose=0), nets))
    for seed, net in enumerate(nets):
        alone = network(seed=seed)
        alone.fit(X, LABELS, epochs=3, verbose=0)
        np.testing.assert_array_equal(net.parameters, alone.parameters)


def test_train_on_batch_keeps_the_state_of_its_optimizer():
    one, other = network(), network()
    halves = np.arange(20), np.arange(20, 37)
    for _ in range(3):
        for rows in halves:
            one.train_on_batch(X[rows], LABELS[rows], Adam(0.01))
    order = np.tile(np.concatenate([np.arange(20), np.arange(20)]), 3)
    assert len(order) == 120
    other_losses = [other.train_on_batch(X[rows], LABELS[rows], "adam") for rows in halves]
    assert all(np.isfinite(other_losses))
    assert one._stepper.step == 6
    assert other._stepper.step == 2


def test_train_on_batch_is_a_step_of_fit():
    plain = [Dense(6, "tanh"), Dense(3, "softmax")]
    one, other = (Sequential(plain, n_features=5, dtype="float64") for _ in range(2))
    losses = [one.train_on_batch(X, LABELS, Adam(0.01)) for _ in range(5)]
    history = other.fit(X, LABELS, optimizer=Adam(0.01), epochs=5, batch_size=100, shuffle=False, verbose=0)
    assert losses == history["loss"]
    np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize("reduction", ["mean", "sum", "weighted_mean"])
@pytest.mark.parametrize(
    "weights", [{"sample_weight": np.arange(37) % 4}, {"class_weight": "balanced"}, {"sample_weight": np.arange(37), "class_weight": {0: 3}}]
)
def test_a_weighted_train_on_batch_is_a_weighted_step_of_fit(reduction, weights):
    one, other = (network("float32") for _ in range(2))
    settings = {"loss": CrossEntropy(reduction=reduction), "optimizer": Adam(0.01)}
    history = other.fit(X, LABELS, **settings, batch_size=len(X), shuffle=False, verbose=0, **weights)
    assert [one.train_on_batch(X, LABELS, **settings, **weights)] == history["loss"]
    np.testing.assert_array_equal(one.parameters, other.parameters)


def test_weights_of_train_on_batch_are_of_one_step():
    one, other = (Sequential([Dense(3, "softmax")], n_features=5) for _ in range(2))
    weights = [np.arange(37.0), None, np.ones(37)]
    losses = [one.train_on_batch(X, LABELS, SGD(1e-30), sample_weight=some) for some in weights]
    assert losses[0] != losses[1] == losses[2] == other.train_on_batch(X, LABELS, SGD(1e-30))
    before = one.parameters.copy()
    with pytest.raises(ValueError, match=r"^sample_weight must be above 0 for some row; got 0 for all 37\.$"):
        one.train_on_batch(X, LABELS, sample_weight=np.zeros(37))
    np.testing.assert_array_equal(one.parameters, before)


def test_train_on_batch_keeps_its_state_when_batches_grow():
    one, other = (Sequential([Dense(3, "softmax")], n_features=5, dtype="float64") for _ in range(2))
    one.train_on_batch(X, LABELS, "adam")
    one.train_on_batch(X[:4], LABELS[:4], "adam")
    other.train_on_batch(X[:4] * 0 + X[0], LABELS[:4] * 0, "adam")
    first = other._stepper.trainer
    other.train_on_batch(X, LABELS, "adam")
    assert other._stepper.trainer is not first
    assert other._stepper.step == 2
    assert other._stepper.trainer.state.any()


def test_summary_counts():
    net = Sequential([Scale(1 / 255), Dense(500, "relu"), Dropout(0.2), Dense(10, "softmax")], n_features=784)
    text = net.summary(batch_size=100)
    assert repr(text) == str(text)
    assert "397,510 parameters in float32; a row costs 794,000 FLOPs to predict, 1,598,000 to train with." in text
    assert [line.split()[0] for line in text.splitlines()[1:5]] == ["Scale(0.003922)", "Dense(relu)", "Dropout(0.2)", "Dense(softmax)"]
    assert 4 * 4 * 397_510 < net.memory(100) < 4 * 4 * 397_510 + 16e6
    assert net.memory(100, "sgd") < net.memory(100, "adam") < net.memory(1000, "adam")
    assert 3 * 4 * 397_510 <= net.memory(100, checkpoint=True) - net.memory(100) < 3 * 4 * 397_510 + 1e6


def test_importing_is_light_and_leaves_no_trace():
    code = """
import sys, numba, numpy as np
before = set(sys.modules)
state, errors = np.random.get_state()[1].copy(), np.geterr()
import fastnn
heavy = {"tqdm", "safetensors", "sklearn", "scipy", "matplotlib", "pooch", "argparse"} & (set(sys.modules) - before)
assert not heavy, heavy
assert (np.random.get_state()[1] == state).all() and np.geterr() == errors
assert fastnn.__all__ and all(getattr(fastnn, name).__doc__ for name in fastnn.__all__)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# names of columns


class Frame:
    """What is common to the frames of pandas and polars."""

    def __init__(self, columns, X=None):
        self.columns, self.X = columns, rng.normal(size=(12, len(columns))) if X is None else X

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.X, dtype)


KINDS = rng.integers(0, 3, 12)
NAMES = ["age", "height", "rooms", "x", "y"]
WRONG = r" must have the columns that the network was trained on, in their order; got "


def fitted():
    net = network()
    net.fit(Frame(NAMES), KINDS, verbose=0)
    return net


@pytest.mark.parametrize("train", ["fit", "train_on_batch"])
def test_the_names_of_the_first_frame_are_remembered(train):
    net = network()
    assert net.feature_names is None
    getattr(net, train)(rng.normal(size=(12, 5)), KINDS)
    getattr(net, train)(Frame([0, 1, 2, 3, 4]), KINDS)
    getattr(net, train)(Frame(["age", "height", "rooms", "x", 5]), KINDS)
    assert net.feature_names is None
    getattr(net, train)(Frame(np.array(NAMES, object)), KINDS)
    assert net.feature_names == tuple(NAMES)
    net.predict(Frame(tuple(NAMES)))
    net.predict(np.zeros((2, 5)))
    net.predict(Frame(range(5)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["age", "rooms", "height", "x", "y"], r"'rooms' instead of 'height' in column 1\. Use \S+\[list\(network.feature_names\)\]\.$"),
        ([*NAMES, "z"], r"'z' instead of no column in column 5\. Use"),
        (["age", "height", "rooms", "x"], r"no column instead of 'y' in column 4\.$"),
        (["age", "height", "rooms", "x", "Y"], r"'Y' instead of 'y' in column 4\.$"),
    ],
)
def test_frames_with_other_names_are_refused(columns, message):
    net, frame = fitted(), Frame(columns)
    for what in (
        lambda: net.predict(frame),
        lambda: net.evaluate(frame, KINDS),
        lambda: net.loss_and_gradient(frame, KINDS),
        lambda: net.train_on_batch(frame, KINDS),
        lambda: net.fit(frame, KINDS, verbose=0),
    ):
        with pytest.raises(ValueError, match="^X" + WRONG + message):
            what()
    for name, data in (("validation_data", (frame, KINDS)), ("validation_data['new']", {"new": (frame, KINDS)})):
        with pytest.raises(ValueError, match=re.escape(f"{name}[0]") + WRONG + message):
            net.fit(Frame(NAMES), KINDS, validation_data=data, verbose=0)


def test_validation_data_has_the_names_of_the_fit_and_a_refused_fit_leaves_none():
    net = network()
    with pytest.raises(ValueError, match=r"validation_data\[0\]" + WRONG):
        net.fit(Frame(NAMES), KINDS, validation_data=(Frame(NAMES[::-1]), KINDS), verbose=0)
    with pytest.raises(ValueError, match="X must have shape"):
        net.fit(Frame(["a"]), KINDS, verbose=0)
    with pytest.raises(ValueError, match="y must have as many rows"):
        net.train_on_batch(Frame(NAMES), KINDS[:3])
    assert net.feature_names is None
    net.feature_names = ("a", "b", "c", "d", "e")
    with pytest.raises(ValueError, match="'age' instead of 'a'"):
        net.fit(Frame(NAMES), KINDS, verbose=0)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), "file"])
def test_names_go_with_the_network(duplicate, tmp_path):
    net = fitted()
    if duplicate == "file":
        net.save(tmp_path / "net")
        other = Sequential.load(tmp_path / "net")
    else:
        other = duplicate(net)
    assert other.feature_names == tuple(NAMES)
    with pytest.raises(ValueError, match=WRONG):
        other.predict(Frame(NAMES[::-1]))


def test_names_of_pandas_are_those_of_its_columns():
    pandas = pytest.importorskip("pandas")
    net, frame = network(), pandas.DataFrame(rng.normal(size=(12, 5)), columns=NAMES)
    net.fit(frame, KINDS, verbose=0)
    with pytest.raises(ValueError, match=r"got 'y' instead of 'age' in column 0\. Use X\["):
        net.predict(frame[NAMES[::-1]])
    np.testing.assert_array_equal(net.predict(frame[NAMES[::-1]][list(net.feature_names)]), net.predict(frame.to_numpy()))


def test_outputs_of_a_hidden_layer():
    X = np.random.default_rng(0).normal(size=(20, 3)) * 10
    layers = [Scale(0.1), Dense(5, "tanh"), LayerNorm(), Dropout(0.5), Dense(2, "softmax")]
    net = Sequential(layers, n_features=3, dtype="float64", seed=3)
    W, b = net.weights[0]
    hidden = np.tanh(0.1 * X @ W + b)
    np.testing.assert_allclose(net.predict(X, layer=1), hidden, rtol=1e-13)
    centered = hidden - hidden.mean(axis=1, keepdims=True)
    normalized = centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-5)
    for layer in (2, 3, -2):
        np.testing.assert_allclose(net.predict(X, layer=layer), normalized, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(net.predict(X, layer=-1), net.predict(X))
    np.testing.assert_allclose(net.predict(X, layer=1, logits=True), 0.1 * X @ W + b, rtol=1e-13)
    with pytest.raises(ValueError, match=r"^layer must be the position of a Dense layer or of one behind it; got 0, Scale\(.*\)\.$"):
        net.predict(X, layer=0)
    with pytest.raises(ValueError, match=r"^layer must be an integer from -5 to 4; got 5\.$"):
        net.predict(X, layer=5)
