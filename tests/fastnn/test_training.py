import copy
import gc
import json
import pickle
import random
import signal
import threading
import tracemalloc
import warnings

import numpy as np
import pytest

from fastnn import (
    LBFGS,
    SGD,
    AbsoluteError,
    Adam,
    BinaryCrossEntropy,
    ConjugateGradient,
    CrossEntropy,
    Dense,
    DivergedError,
    Dropout,
    EarlyStopping,
    Momentum,
    Nesterov,
    OneCycle,
    Rprop,
    Scale,
    Sequential,
    SquaredError,
    StopWhen,
    TimeLimit,
)
from fastnn.history import History

rng = np.random.default_rng(4)
X = rng.normal(size=(50, 4))
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def network(dtype="float64", dropout=0.0, seed=0):
    return Sequential([Dense(8, "tanh"), Dropout(dropout), Dense(3, "softmax")], n_features=4, dtype=dtype, seed=seed)


# Numbers from outside.


def test_one_sgd_step_by_hand():
    """scikit-learn's worked example (tests/test_mlp.py::test_fit): alpha 0.1 as L2 on the weights, not on biases."""
    net = Sequential([Dense(2, "sigmoid"), Dense(1, "sigmoid")], n_features=3, dtype="float64")
    net.set_weights([([[0.1, 0.2], [0.3, 0.1], [0.5, 0.0]], [0.1, 0.1]), ([[0.1], [0.2]], [1.0])])
    before = net.weights
    x = [[0.6, 0.8, 0.7]]
    np.testing.assert_allclose(net.predict(x), [[0.7654329236196236]], atol=2e-5)  # as printed; sigmoid(1.182806) is 0.765452
    net.fit(x, [0], optimizer=SGD(0.1), verbose=0)
    for (W, b), (W0, _), (expected_W, expected_b) in zip(
        net.weights,
        before,
        [
            ([[0.098, 0.195756], [0.2956664, 0.096008], [0.4939998, -0.002244]], [0.098333, 0.09626]),
            ([[0.04706], [0.154089]], [0.9235]),
        ],
    ):
        np.testing.assert_allclose(W - 0.1 * 0.1 * W0, expected_W, atol=4e-4)  # worked there with three digits
        np.testing.assert_allclose(b, expected_b, atol=4e-4)


def test_mazur_step_by_step():
    """Matt Mazur, A step by step backpropagation example: E = sum of (t - o)**2 / 2, so half of his rate on its double."""
    net = Sequential([Dense(2, "sigmoid"), Dense(2, "sigmoid")], n_features=2, dtype="float64")
    net.set_weights([([[0.15, 0.25], [0.20, 0.30]], [0.35, 0.35]), ([[0.40, 0.50], [0.45, 0.55]], [0.60, 0.60])])
    x, y = [[0.05, 0.10]], [[0.01, 0.99]]
    loss = SquaredError(reduction="sum", outputs_reduction="sum")
    np.testing.assert_allclose(net.predict(x), [[0.75136507, 0.772928465]], atol=1e-9)
    assert net.evaluate(x, y, loss)["loss"] / 2 == pytest.approx(0.298371109, abs=1e-9)
    net.fit(x, y, loss, SGD(0.25), verbose=0)
    (W1, _), (W2, _) = net.weights
    np.testing.assert_allclose(W1.T.ravel(), [0.149780716, 0.19956143, 0.24975114, 0.29950229], atol=1e-8)
    np.testing.assert_allclose(W2.T.ravel(), [0.35891648, 0.408666186, 0.511301270, 0.561370121], atol=1e-8)
    assert net.evaluate(x, y)["loss"] / 2 == pytest.approx(0.2804714468, abs=1e-10)  # biases trained too
    net.fit(x, y, loss, SGD(0.25), batch_size=1, shuffle=np.zeros(9_999, int), verbose=0)
    assert net.evaluate(x, y)["loss"] / 2 == pytest.approx(0.0000024476, abs=1e-10)


@pytest.mark.parametrize(("reduction", "expected"), [("mean", (2 * 4 + 1 * 9) / 3), ("sum", 2 * 4 + 9)])
def test_the_loss_of_an_epoch_counts_minibatches_by_their_rows(reduction, expected):
    net = Sequential([Dense(1, initializer="zeros", trainable="bias")], n_features=1, dtype="float64")
    history = net.fit([[0.0]] * 3, [2.0, 2.0, 3.0], SquaredError(reduction=reduction), SGD(0.0), batch_size=2, shuffle=False, verbose=0)
    assert history.history["loss"] == [expected]


def test_trask_eleven_lines(data_dir):
    """I am Trask, A neural network in 11 lines of Python: no biases, the sum of squared errors, a factor of 0.5 on their slopes."""
    numbers = np.load(data_dir / "reference_runs" / "reference_runs.npz")
    x, y = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]), np.array([[0], [1], [1], [0]])
    net = Sequential([Dense(4, "sigmoid", bias=False), Dense(1, "sigmoid", bias=False)], n_features=3, dtype="float64")
    net.set_weights([(numbers["trask3_W0"], None), (numbers["trask3_W1"], None)])
    half = SquaredError(reduction="sum", outputs_reduction="sum")
    actual = [np.abs(net.predict(x) - y).mean()]
    for _ in range(2):
        net.fit(x, y, loss=half, optimizer=SGD(0.5), epochs=10_000, batch_size=None, verbose=0)
        actual.append(np.abs(net.predict(x) - y).mean())
    np.testing.assert_allclose(actual, [0.496410031903, 0.00858452565325, 0.00578945986251], rtol=1e-11)


@pytest.fixture(scope="module")
def nielsen(data_dir):
    """Return MNIST as Nielsen reads it, pixels / 256 in float32, and his start weights."""
    from fastnn import load_mnist

    data = load_mnist(data_dir)
    pixels = [(A.reshape(-1, 784).astype(np.float32) / np.float32(256)).astype(np.float64) for A in (data.X_train[:1000], data.X_test)]
    draws = np.random.RandomState(12345678)
    for scale in (np.sqrt([784, 30]), [1, 1]):  # his network draws twice
        biases = [draws.randn(n, 1).ravel() for n in (30, 10)]
        weights = [draws.randn(n_out, n_in).T / one for (n_in, n_out), one in zip([(784, 30), (30, 10)], scale)]
    return *pixels, data.y_train[:1000], data.y_test, list(zip(weights, biases))


@pytest.mark.parametrize("load, hidden, epochs, least", [("load_mnist", [100], 4, 0.97), ("load_fashion_mnist", [256, 128, 100], 5, 0.883)])
def test_images_are_learned_as_well_as_elsewhere(load, hidden, epochs, least, data_dir):
    """What the data sets' own tables of results have for networks of this size."""
    import fastnn

    X_train, y_train, X_test, y_test = getattr(fastnn, load)(data_dir)
    net = Sequential([Scale(1 / 255), *(Dense(n, "relu") for n in hidden), Dense(10, "softmax")], n_features=784, seed=0)
    net.fit(X_train.reshape(-1, 784), y_train, optimizer=Adam(OneCycle(5e-3)), epochs=epochs, batch_size=200, verbose=0)
    assert net.evaluate(X_test.reshape(-1, 784), y_test)["accuracy"] >= least


def python2_shuffle(n):
    """Return the function that shuffles the row numbers on and on, as Python 2's random.shuffle did."""
    source, order = random.Random(12345678), list(range(n))

    def shuffled(epoch):
        for i in reversed(range(1, n)):
            j = int(source.random() * (i + 1))
            order[i], order[j] = order[j], order[i]
        return np.array(order)

    return shuffled


class Hits:
    """Collect cost and hits on test and training data after every epoch, as Nielsen's monitoring does."""

    def __init__(self, net, *sets):
        self.net, self.sets, self.rows = net, sets, []

    def on_epoch_end(self, epoch, logs):
        row = []
        for images, labels in self.sets:
            row.append(self.net.evaluate(images, np.eye(10)[labels], n_threads=1)["loss"])
            row.append(int((self.net.predict(images, n_threads=1).argmax(axis=1) == labels).sum()))
        self.rows.append(row)


def test_nielsen_overfitting(nielsen, data_dir):
    """Neural networks and deep learning, fig/overfitting.json: 1,000 images, cross-entropy, 784-30-10, the first 15 of 400 epochs."""
    train, test, train_labels, test_labels, weights = nielsen
    net = Sequential([Dense(30, "sigmoid"), Dense(10, "sigmoid")], n_features=784, dtype="float64")
    net.set_weights(weights)
    hits = Hits(net, (test, test_labels), (train, train_labels))
    net.fit(
        train,
        np.eye(10)[train_labels],
        loss=BinaryCrossEntropy(outputs_reduction="sum"),
        optimizer=SGD(0.5),
        epochs=15,
        batch_size=10,
        shuffle=python2_shuffle(1000),
        verbose=0,
        callbacks=[hits],
    )
    expected = json.loads((data_dir / "nielsen" / "overfitting.json").read_text())
    for column, (values, tolerance) in enumerate(zip(expected, (1e-10, 0, 1e-10, 0))):
        np.testing.assert_allclose([row[column] for row in hits.rows], values[:15], rtol=0, atol=tolerance)


@pytest.mark.parametrize("optimizer, momentum", [(SGD(0.1), 0.0), (Momentum(0.1, 0.7), 0.7), (Nesterov(0.1, 0.7), 0.7)])
@pytest.mark.parametrize("weights", [None, np.random.default_rng(9).integers(0, 3, 50) + 0.25 * (np.arange(50) % 3)])
def test_scikit_learn_goes_the_same_way(optimizer, momentum, weights):
    sklearn = pytest.importorskip("sklearn.neural_network")
    nesterov = isinstance(optimizer, Nesterov)
    settings = {"solver": "sgd", "alpha": 0.0, "momentum": momentum, "nesterovs_momentum": nesterov, "batch_size": 16, "shuffle": False}
    theirs = sklearn.MLPClassifier([8], "tanh", **settings, learning_rate_init=1e-300, max_iter=1, warm_start=True, random_state=0, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(X, LABELS, weights)
        ours = Sequential([Dense(8, "tanh"), Dense(3, "softmax")], n_features=4, dtype="float64")
        ours.set_weights(list(zip(theirs.coefs_, theirs.intercepts_)))
        theirs.set_params(learning_rate_init=0.1, max_iter=6).fit(X, LABELS, weights)
    settings = {"epochs": 6, "batch_size": 16, "shuffle": False, "verbose": 0, "sample_weight": weights}
    history = ours.fit(X, LABELS, CrossEntropy(reduction="weighted_mean"), optimizer, **settings)
    np.testing.assert_allclose(history["loss"], theirs.loss_curve_[-6:], rtol=1e-12)
    np.testing.assert_allclose(ours.weights[0][0], theirs.coefs_[0], rtol=1e-11)


# The loop.


def test_history_has_losses_and_validation_metrics():
    net = network()
    history = net.fit(X, LABELS, epochs=3, validation_data=(X[:20], LABELS[:20]), verbose=0)
    assert list(history.history) == ["loss", "val_loss", "val_accuracy"]
    assert history.epochs == [1, 2, 3]
    assert len(history["val_loss"]) == len(history.seconds) == 3
    assert history["loss"][0] > history["loss"][2]
    assert history["val_loss"][-1] == net.evaluate(X[:20], LABELS[:20])["loss"]
    assert not history.interrupted
    with pytest.raises(ValueError, match="name must be one of 'loss', 'val_loss', 'val_accuracy'; got 'los'. Did you mean 'loss'?"):
        history["los"]


def test_history_of_a_regression():
    net = Sequential([Dense(1)], n_features=4)
    history = net.fit(X, X.sum(axis=1), "huber", "sgd", validation_data=(X, X.sum(axis=1, keepdims=True)), verbose=0)
    judged = ("loss", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "max_error", "r2")
    assert list(history.history) == ["loss", *(f"val_{name}" for name in judged)]
    assert net.loss.name == "huber"


def test_history_prints_as_a_table():
    history = History({"loss": [1.5, 0.25], "val_accuracy": [0.5, 1.0]}, [1, 2], [0.25, 1.0], interrupted=True)
    assert repr(history).splitlines() == [
        "epoch      loss  val_accuracy  seconds",
        "    1       1.5           0.5     0.25",
        "    2      0.25             1     1.00",
        "interrupted",
    ]


def test_a_long_history_prints_its_ends():
    n = 1000
    lines = repr(History({"loss": np.arange(n, dtype=float)}, range(1, n + 1), np.zeros(n))).splitlines()
    assert len(lines) == 62
    assert [line.split()[0] for line in (lines[1], lines[30], lines[31], lines[32], lines[-1])] == ["1", "30", "...", "971", "1000"]
    assert len(repr(History({"loss": np.zeros(60)}, range(1, 61), np.zeros(60))).splitlines()) == 61


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_an_epoch_is_that_of_its_rows(reduction):
    """At rate 0 the parameters stay, so the minibatches' losses, the short one too, must give the loss of all rows."""
    net = network()
    loss = net.loss.__class__(reduction=reduction)
    history = net.fit(X, LABELS, loss, SGD(0.0), batch_size=16, verbose=0)
    assert history["loss"][0] == pytest.approx(net.evaluate(X, LABELS, loss)["loss"], rel=1e-13)


def test_minibatches_are_cut_as_they_should_be():
    """A linear unit with absolute error below its targets moves its bias by the rate at each step, the short one too."""
    net = Sequential([Dense(1)], n_features=1, dtype="float64")
    net.fit(np.zeros((50, 1)), np.full(50, 1e6), AbsoluteError(), SGD(1.0), epochs=2, batch_size=16, verbose=0)
    assert net.weights[0][1] == 2 * 4


def test_a_batch_larger_than_the_data_is_one_batch():
    one, other = network(), network()
    one.fit(X, LABELS, epochs=2, batch_size=10**12, verbose=0)
    other.fit(X, LABELS, epochs=2, batch_size=50, verbose=0)
    np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_seed_gives_every_bit(dtype):
    nets = [network(dtype, dropout=0.3, seed=seed) for seed in (7, 7, 8)]
    for net in nets:
        net.fit(X, LABELS, epochs=3, batch_size=16, verbose=0)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert not np.array_equal(nets[0].parameters, nets[2].parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(dtype):
    from fastnn import load_digits

    data = load_digits()
    nets = [Sequential([Scale(1 / 16), Dense(200, "relu"), Dropout(0.2), Dense(100, "tanh"), Dense(10, "softmax")], 64, dtype) for _ in range(2)]
    for net, n_threads in zip(nets, (1, None)):
        net.fit(data.X_train, data.y_train, epochs=3, batch_size=100, n_threads=n_threads, verbose=0)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_a_second_fit_goes_on_with_another_order():
    net = network()
    net.fit(X, LABELS, optimizer=SGD(0.0), batch_size=1, verbose=0)
    watch = [Batches(), Batches()]
    for one in watch:
        net.fit(X, LABELS, optimizer=SGD(0.0), batch_size=1, verbose=0, callbacks=[one])
    assert watch[0].losses != watch[1].losses
    assert sorted(watch[0].losses) == sorted(watch[1].losses)


class Batches:
    def __init__(self):
        self.steps, self.losses = [], []

    def on_batch_end(self, step, loss):
        self.steps.append(step)
        self.losses.append(loss)


def test_watching_every_batch_changes_no_bit():
    watch, nets = Batches(), [network(dropout=0.2), network(dropout=0.2)]
    nets[0].fit(X, LABELS, epochs=2, batch_size=16, verbose=0, callbacks=[watch])
    nets[1].fit(X, LABELS, epochs=2, batch_size=16, verbose=0)
    assert watch.steps == list(range(8))
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("answer", [True, "stop"])
def test_a_callback_stops_the_fit(answer):
    class Stop:
        def on_epoch_end(self, epoch, logs):
            assert set(logs) == {"loss", "seconds"}
            return answer if epoch == 2 else None

    assert network().fit(X, LABELS, epochs=9, verbose=0, callbacks=[Stop()]).epochs == [1, 2]


def test_early_stopping_goes_back_to_the_best():
    net = network()
    best = []

    class Remember:
        def on_epoch_end(self, epoch, logs):
            best.append((logs["val_loss"], net.parameters.copy()))

    stopping = EarlyStopping(patience=2)
    history = net.fit(X, LABELS, optimizer=Adam(0.05), epochs=200, validation_data=(X[:9], LABELS[::-1][:9]), verbose=0, callbacks=[Remember(), stopping])
    assert len(history.epochs) == stopping.best_epoch + 2 < 200
    assert stopping.best == min(history["val_loss"])
    np.testing.assert_array_equal(net.parameters, best[stopping.best_epoch - 1][1])


def test_early_stopping_knows_what_is_better():
    stopping = EarlyStopping("val_accuracy", patience=2, min_delta=0.1, restore_best=False)
    stopping.on_fit_begin(None)
    assert [stopping.on_epoch_end(i + 1, {"val_accuracy": value}) for i, value in enumerate([0.5, 0.55, 0.7, 0.7, 0.71])] == [False] * 4 + [True]
    assert (stopping.best, stopping.best_epoch) == (0.7, 3)
    with pytest.raises(ValueError, match="monitor must be one of 'loss', 'seconds'; got 'val_accuracy'"):
        network().fit(X, LABELS, verbose=0, callbacks=[stopping])


# Ends before the end.


def test_ctrl_c_leaves_a_usable_network():
    net = network()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    history = net.fit(X, LABELS, epochs=10**9, batch_size=8, verbose=0)
    timer.join()
    assert history.interrupted
    assert 0 < len(history.epochs) < 10**9
    assert np.isfinite(net.evaluate(X, LABELS)["loss"])
    assert net.fit(X, LABELS, verbose=0).interrupted is False


def test_a_loss_that_is_not_finite_stops_the_fit():
    net = Sequential([Dense(8, "relu"), Dense(1)], n_features=4, dtype="float32")
    y = X.sum(axis=1)
    watch = Batches()
    with pytest.raises(DivergedError, match=r"^loss must be finite; got NaN or infinity at epoch (\d+), batch (\d+)\. The network keeps") as caught:
        net.fit(X, y, optimizer=SGD(1e4), epochs=50, batch_size=16, verbose=0, callbacks=[watch])
    epoch, batch = (int(part.split(" ")[1]) for part in str(caught.value).split(" at ")[1].split(". ")[0].split(", "))
    assert (epoch - 1) * 4 + batch - 1 == len(watch.losses)
    assert np.isfinite(watch.losses).all()
    assert np.isfinite(net.parameters).all()


def test_the_parameters_of_the_last_finite_loss_are_kept():
    """Repeated with one batch less, the fit ends with the same parameters that it had before its last finite update."""
    x, y = np.ones((1, 1)), np.ones(1)
    net = Sequential([Dense(1)], n_features=1, dtype="float32")
    net.set_weights([([[0.0]], [0.0])])
    watch, before = Batches(), []

    class Parameters:
        def on_batch_end(self, step, loss):
            before.append(net.parameters.copy())

    twin = copy.deepcopy(net)
    with pytest.raises(DivergedError):
        net.fit(x, y, optimizer=SGD(1e10), epochs=50, verbose=0, callbacks=[watch, Parameters()])
    assert net.evaluate(x, y)["loss"] == watch.losses[-1]
    with pytest.raises(DivergedError):
        twin.fit(np.ones((1, 1)), y, optimizer=SGD(1e10), epochs=1, batch_size=1, shuffle=[0] * 50, verbose=0)
    np.testing.assert_array_equal(twin.parameters, net.parameters)


def test_train_on_batch_says_when_it_diverges():
    net = Sequential([Dense(1)], n_features=1)
    with pytest.raises(DivergedError, match="got NaN or infinity at step"):
        for _ in range(50):
            net.train_on_batch([[1.0]], [1.0], SGD(1e10))
    assert np.isfinite(net.parameters).all()


# What it shows.


def test_verbose_prints_a_line_an_epoch_and_no_bar_without_a_terminal(capsys):
    network().fit(X, LABELS, epochs=2, validation_data=(X, LABELS))
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first.startswith("epoch 1/2  loss 1.")
    assert "val_accuracy 0." in second
    assert "samples/s" in second
    assert second.endswith("GFLOP/s)")
    assert "%" not in err
    network().fit(X, LABELS, verbose=0)
    assert capsys.readouterr().out == ""


def test_the_bar_shows_loss_and_speed(monkeypatch, capsys):
    from fastnn import progress

    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    network().fit(X, LABELS, epochs=1, batch_size=1)
    shown = capsys.readouterr().err
    assert "epoch 1/1" in shown
    assert "loss " in shown
    assert "samples/s" in shown
    assert "GFLOP/s" in shown


def test_compiling_is_announced_once(capsys):
    from fastnn.progress import announce_compilation

    announce_compilation.cache_clear()
    announce_compilation()
    announce_compilation()
    assert capsys.readouterr().err == "fastnn: compiling kernels, about 10 s, once on this machine ...\n"


def test_data_is_never_copied_whole():
    rows = np.broadcast_to(np.linspace(0, 1, 512, dtype=np.float32), (20_000, 512))
    net = Sequential([Dense(4, "relu"), Dense(2, "softmax")], n_features=512)
    y = np.arange(20_000, dtype=np.uint8) % 2
    net.fit(rows, y, shuffle=range(64), verbose=0)
    tracemalloc.start()
    net.fit(rows, y, shuffle=range(640), validation_data=(rows[:1000], y[:1000]), verbose=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6 < rows.nbytes / 4


@pytest.mark.parametrize("settings", [{}, {"batch_size": None}, {"batch_size": None, "optimizer": LBFGS()}], ids=["minibatches", "all rows", "LBFGS"])
def test_a_fit_leaves_nothing_for_the_search_for_cycles(settings):
    """Python makes it once in some thousand fits: memory that waits for it looks like a leak."""
    made = []
    for _ in range(2):  # the first compiles
        gc.collect()
        gc.freeze()  # what was there before is not searched again
        gc.disable()
        try:
            net = network()
            net.fit(X, LABELS, epochs=3, validation_data=(X, LABELS), verbose=0, **settings)
            made.append(gc.collect())
        finally:
            gc.enable()
            gc.unfreeze()
    assert made[1] == 0


# Full batches.


class Watcher:
    """Sees the epochs that `every` divides."""

    def __init__(self, every=1):
        self.every, self.seen = every, []

    def on_epoch_end(self, epoch, logs):
        self.seen.append((epoch, logs["loss"]))


def test_full_batch_is_the_same_watched_or_not():
    results = []
    for callbacks in ([], [Watcher()], [Watcher(every=7)]):
        net = network(dropout=0.2)
        history = net.fit(X, LABELS, epochs=40, batch_size=None, callbacks=callbacks, verbose=0)
        assert history.epochs == list(range(1, 41)) and len(history.seconds) == 40
        results.append(np.append(net.parameters, history["loss"]))
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def test_every_and_the_last_epoch_are_seen():
    watcher = Watcher(every=7)
    history = network().fit(X, LABELS, epochs=16, batch_size=50, callbacks=watcher, verbose=0)
    assert watcher.seen == [(epoch, history["loss"][epoch - 1]) for epoch in (7, 14, 16)]


def test_full_batch_with_dropout_on_the_data():
    net = Sequential([Dropout(0.5), Dense(3, "softmax")], n_features=4, dtype="float64")
    history = net.fit(X, LABELS, epochs=30, batch_size=None, verbose=0)
    assert len(set(history["loss"])) == 30 and np.isfinite(net.parameters).all()


def test_divergence_in_a_full_batch_says_where():
    net = Sequential([Dense(1)], n_features=4)
    with pytest.raises(DivergedError, match=r"^loss must be finite; got NaN or infinity at epoch \d+\. The network keeps"):
        net.fit(X, X[:, 0], optimizer=SGD(1e10), epochs=100, batch_size=None, verbose=0)
    assert np.isfinite(net.parameters).all()


def test_few_lines_for_many_epochs(capsys):
    network().fit(X, LABELS, epochs=20_000, batch_size=None)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 200 and lines[-1].startswith("epoch 20000/20000")


# SciPy's optimizers.


def logistic_regression(optimizer, **settings):
    net = Sequential([Dense(1, "sigmoid")], n_features=2, dtype="float64")
    y = (X[:, 0] + 2 * X[:, 1] + np.random.default_rng(8).normal(size=50) > 0.5).astype(int)
    history = net.fit(X[:, :2], y, optimizer=optimizer, epochs=500, verbose=0, **settings)
    (W, b), *_ = net.weights
    return np.append(W, b), y, history


@pytest.mark.parametrize("optimizer", [LBFGS(tolerance=1e-9), ConjugateGradient(tolerance=1e-9)])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0}])
def test_minimum_is_that_of_scikit_learn(optimizer, class_weight):
    from sklearn.linear_model import LogisticRegression

    actual, y, history = logistic_regression(optimizer, class_weight=class_weight)
    oracle = LogisticRegression(C=np.inf, tol=1e-12, class_weight=class_weight, max_iter=1000).fit(X[:, :2], y)
    np.testing.assert_allclose(actual, np.append(oracle.coef_, oracle.intercept_), rtol=1e-6)
    assert history["loss"] == sorted(history["loss"], reverse=True) and history.message


def test_sample_weights_are_those_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    weights = np.linspace(0, 3, 50)
    actual, y, _ = logistic_regression(LBFGS(tolerance=1e-9), sample_weight=weights)
    oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(X[:, :2], y, sample_weight=weights)
    np.testing.assert_allclose(actual, np.append(oracle.coef_, oracle.intercept_), rtol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "weighted_mean"])
def test_weights_of_rows_count_them_as_often(reduction):
    weights = np.arange(50) % 3
    rows, loss = np.repeat(np.arange(50), weights), CrossEntropy(reduction=reduction)
    one, other = network(), network()
    settings = {"loss": loss, "optimizer": SGD(0.01), "epochs": 5, "batch_size": None, "verbose": 0}
    expected = other.fit(X[rows], LABELS[rows], **settings)["loss"]
    np.testing.assert_allclose(one.fit(X, LABELS, **settings, sample_weight=weights)["loss"], expected, rtol=1e-12)
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=1e-12, atol=1e-14)
    weighted = one.evaluate(X, LABELS, sample_weight=weights)
    assert weighted == pytest.approx(other.evaluate(X[rows], LABELS[rows]), rel=1e-12)
    by_class = one.evaluate(X, LABELS, sample_weight=weights, class_weight={1: 3.0})["loss"]
    assert by_class == pytest.approx(one.evaluate(X, LABELS, sample_weight=weights * np.where(LABELS == 1, 3, 1))["loss"], rel=1e-12)


def test_a_minibatch_without_weight_has_no_loss():
    weights, net = np.ones(50), network()
    weights[16:32] = 0
    loss = CrossEntropy(reduction="weighted_mean")
    history = net.fit(X, LABELS, loss, SGD(0.0), batch_size=16, shuffle=False, sample_weight=weights, verbose=0)
    assert history["loss"][0] == pytest.approx(net.evaluate(X, LABELS, sample_weight=weights)["loss"] * 34 / 50, rel=1e-6)


def test_l2_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    net = Sequential([Dense(3, "softmax", l2=0.5)], n_features=4, dtype="float64")
    net.fit(X, LABELS, loss=CrossEntropy(reduction="sum"), optimizer=LBFGS(tolerance=1e-9), epochs=500, verbose=0)
    oracle = LogisticRegression(C=1.0, tol=1e-12, max_iter=1000).fit(X, LABELS)
    np.testing.assert_allclose(net.weights[0][0], oracle.coef_.T, atol=1e-6)


def test_l_bfgs_stops_when_it_is_asked_to():
    net = network()
    history = net.fit(X, LABELS, optimizer="lbfgs", epochs=200, callbacks=StopWhen("loss", below=0.3), verbose=0)
    assert history["loss"][-1] < 0.3 <= history["loss"][-2]
    assert net.evaluate(X, LABELS)["loss"] == pytest.approx(history["loss"][-1], rel=1e-12)


def test_interrupted_l_bfgs_keeps_the_last_iteration():
    class Interrupt:
        def on_epoch_end(self, epoch, logs):
            if epoch == 3:
                raise KeyboardInterrupt

    net = network("float32")
    history = net.fit(X, LABELS, optimizer=LBFGS(), epochs=200, callbacks=Interrupt(), verbose=0)
    assert history.interrupted and history.epochs == [1, 2, 3]
    assert net.evaluate(X, LABELS)["loss"] == pytest.approx(history["loss"][-1], rel=1e-6)


def test_l_bfgs_takes_no_single_steps():
    with pytest.raises(ValueError, match="^optimizer must take single steps here"):
        network().train_on_batch(X, LABELS, optimizer="lbfgs")


# What is trained, penalized and weighed.


def test_bias_free_layers(tmp_path):
    net = Sequential([Dense(8, "tanh", bias=False), Dense(3, "softmax")], n_features=4, seed=2)
    assert net.n_parameters == 4 * 8 + 9 * 3
    net.fit(X, LABELS, epochs=3, verbose=0)
    (_, b), (_, last) = net.weights
    assert b is None and last.shape == (3,)
    assert (net.plan.weight(net.parameters, 0)[1] == 0).all()
    net.save(tmp_path / "net.safetensors")
    copy_ = Sequential.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(copy_.parameters, net.parameters)
    assert copy_.layers == net.layers
    copy_.set_weights(net.weights)
    with pytest.raises(ValueError, match=r"^weights\[0\]\[1\] must be None for a layer without a bias; got an array of shape \(8,\)\.$"):
        copy_.set_weights([(net.weights[0][0], np.ones(8)), net.weights[1]])
    copy_.parameters += 1
    copy_.parameters = copy_.parameters.copy()
    assert (copy_.plan.weight(copy_.parameters, 0)[1] == 0).all()


def test_frozen_layers_stay():
    net = network()
    net.set_trainable(0, False)
    net.set_trainable(1, "bias")
    before = net.weights
    net.fit(X, LABELS, epochs=3, verbose=0)
    after = net.weights
    np.testing.assert_array_equal(after[0][0], before[0][0])
    np.testing.assert_array_equal(after[0][1], before[0][1])
    np.testing.assert_array_equal(after[1][0], before[1][0])
    assert (after[1][1] != before[1][1]).all()
    net.set_trainable(1, False)
    for optimizer in ("adam", "lbfgs"):
        with pytest.raises(ValueError, match="^layers must have something that is trainable; got "):
            net.fit(X, LABELS, optimizer=optimizer, verbose=0)


def test_penalty_is_part_of_every_loss():
    net = Sequential([Dense(8, "tanh", l1=0.1, bias_l2=0.5), Dense(3, "softmax", l2=0.2)], n_features=4, dtype="float64")
    net.parameters = net.parameters + net.plan.mask() * 0.1
    (W, b), (W2, _) = net.weights
    assert net.penalty == pytest.approx(0.1 * np.abs(W).sum() + 0.5 * (b**2).sum() + 0.2 * (W2**2).sum(), rel=1e-12)
    without = Sequential([Dense(8, "tanh", (W, b)), Dense(3, "softmax", net.weights[1])], n_features=4, dtype="float64")
    expected = without.evaluate(X, LABELS)["loss"] + net.penalty
    assert net.evaluate(X, LABELS)["loss"] == pytest.approx(expected, rel=1e-12)
    assert net.fit(X, LABELS, batch_size=None, verbose=0)["loss"][0] == pytest.approx(expected, rel=1e-12)


def test_what_is_judged_is_weighted_as_what_is_trained():
    """Validation losses count weights of rows and classes, metrics those of rows: as `evaluate` does."""
    net, weights, class_weight = network(), np.linspace(0, 2, 20), {0: 3.0}
    data = X[:20], LABELS[:20], weights
    history = net.fit(X, LABELS, validation_data=data, class_weight=class_weight, metrics=["accuracy", "f1"], verbose=0).history
    expected = net.evaluate(*data[:2], sample_weight=weights, class_weight=class_weight, metrics=["accuracy", "f1"])
    assert {name: history[f"val_{name}"][-1] for name in expected} == expected
    assert expected["loss"] != net.evaluate(*data[:2])["loss"]
    with pytest.raises(ValueError, match=r"^validation_data\[2\] must be at least 0; got -1\.0 in row 0"):
        net.fit(X, LABELS, validation_data=(*data[:2], weights - 1), verbose=0)


def test_scale_of_a_loss():
    one, half = (network().evaluate(X, LABELS, CrossEntropy(scale=scale))["loss"] for scale in (1.0, 0.5))
    assert half == one / 2


def test_several_named_sets_are_judged():
    history = network().fit(X, LABELS, epochs=2, validation_data={"train": (X, LABELS), "test": (X[:9], LABELS[:9])}, verbose=0)
    assert list(history.history) == ["loss", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    with pytest.raises(ValueError, match=r"^validation_data\['test'\]\[1\] must have as many rows as X, 50; got 9\.$"):
        network().fit(X, LABELS, validation_data={"test": (X, LABELS[:9])}, verbose=0)


def test_stopping_rules():
    history = network().fit(X, LABELS, epochs=5000, validation_data=(X, LABELS), callbacks=StopWhen("val_accuracy", above=0.9), verbose=0)
    assert history["val_accuracy"][-1] > 0.9 >= history["val_accuracy"][-2]
    history = network().fit(X, LABELS, epochs=10**6, callbacks=TimeLimit(0.05), verbose=0)
    assert 1 <= len(history.epochs) < 10**5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_weight": np.ones(3)}, r"sample_weight must have shape \(n_rows,\) = \(50,\); got \(3,\)\."),
        ({"sample_weight": np.full(50, -1.0)}, r"sample_weight must be at least 0; got -1\.0 in row 0\."),
        ({"sample_weight": np.full(50, np.nan)}, r"sample_weight must be finite; got nan in row 0\."),
        ({"sample_weight": np.zeros(50)}, r"sample_weight must be above 0 for some row; got 0 for all 50\."),
        ({"class_weight": dict.fromkeys(range(3), 0)}, r"class_weight must be above 0 for a row that counts; got 0 for all 50\."),
        ({"class_weight": "equal"}, r"class_weight must be a dict from labels to weights, or 'balanced'; got 'equal'\."),
        ({"class_weight": {3: 1.0}}, r"a label in class_weight must be an integer from 0 to 2; got 3\."),
        ({"class_weight": {0: -1.0}}, r"a weight in class_weight must be a finite number of at least 0; got -1\."),
        ({"batch_size": 0}, r"batch_size must be an integer of at least 1; got 0\."),
        ({"optimizer": "lbgfs"}, r"optimizer must be one of .*; got 'lbgfs'\. Did you mean 'lbfgs'\?"),
        ({"callbacks": Watcher(every=0)}, r"every of a callback must be an integer of at least 1; got 0\."),
    ],
)
def test_refused_settings_of_a_fit(settings, message):
    net = network()
    before = net.parameters.copy()
    with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        net.fit(X, LABELS, verbose=0, **settings)
    np.testing.assert_array_equal(net.parameters, before)


def test_class_weight_needs_classes():
    with pytest.raises(ValueError, match="^class_weight must be left out where targets are not classes; got it with 'squared_error'"):
        Sequential([Dense(1)], n_features=4).fit(X, X[:, 0], class_weight="balanced", verbose=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(3, trainable="all"), "trainable must be True, False, 'weights' or 'bias'; got 'all'"),
        (lambda: Dense(3, bias=1), "bias must be True or False; got 1"),
        (lambda: Dense(3, l2=-1), "l2 must be a finite number of at least 0; got -1"),
        (lambda: CrossEntropy(scale=0), "scale must be above 0; got 0"),
        (lambda: Rprop(eta_plus=1), "eta_plus must be above 1; got 1"),
        (lambda: Rprop(max_step=1e-9), "max_step must be a finite number of at least 1e-06; got 1e-09"),
        (lambda: LBFGS(history_size=0), "history_size must be an integer of at least 1; got 0"),
    ],
)
def test_refused_settings_of_parts(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


# What a fit leaves behind when it goes wrong.


class Log:
    """Writes down which of its methods are called, and raises in one of them."""

    def __init__(self, log, name, fails=None):
        self.log, self.name, self.fails = log, name, fails

    def note(self, what):
        self.log.append(f"{self.name} {what}")
        if what == self.fails:
            raise RuntimeError(self.name)

    def on_fit_begin(self, network):
        self.note("begin")

    def on_epoch_end(self, epoch, logs):
        self.note("epoch")

    def on_fit_end(self):
        self.note("end")


@pytest.mark.parametrize(
    ("fails", "called"),
    [
        ("begin", ["a begin", "b begin", "a end"]),
        ("epoch", ["a begin", "b begin", "c begin", "a epoch", "b epoch", "a end", "b end", "c end"]),
        ("end", ["a begin", "b begin", "c begin", "a epoch", "b epoch", "c epoch", "a end", "b end", "c end"]),
    ],
)
def test_every_callback_that_has_begun_hears_of_the_end(fails, called):
    log = []
    with pytest.raises(RuntimeError, match="^b$"):
        network().fit(X, LABELS, verbose=0, callbacks=[Log(log, "a"), Log(log, "b", fails), Log(log, "c")])
    assert log == called


DIVERGING = [
    {"optimizer": SGD(lambda step: 0.01 if step < 8 else 1e30), "batch_size": 16},
    {"optimizer": SGD(lambda step: 0.01 if step < 5 else 1e30), "batch_size": None},
    {"optimizer": SGD(lambda step: 0.01 if step < 5 else 1e38), "batch_size": None},
]


@pytest.mark.parametrize("settings", DIVERGING)
def test_the_best_epoch_comes_back_where_a_fit_diverges(settings):
    net, log, best = Sequential([Dense(5, "tanh"), Dense(1)], n_features=4), [], []

    class Remember:
        def on_epoch_end(self, epoch, logs):
            best.append((logs["loss"], net.parameters.copy()))

    stopping = EarlyStopping("loss", patience=100)
    with pytest.raises(DivergedError) as caught:
        net.fit(X, X[:, 0], epochs=90, verbose=0, callbacks=[Remember(), stopping, Log(log, "a")], **settings)
    assert log[-1] == "a end"
    loss, parameters = min(best, key=lambda one: one[0])
    assert stopping.best == loss
    np.testing.assert_array_equal(net.parameters, parameters)
    history = caught.value.history
    assert history.epochs == list(range(1, len(best) + 1)) and history["loss"] == [one for one, _ in best]


def test_a_step_alone_has_no_history():
    with pytest.raises(DivergedError) as caught:
        Sequential([Dense(1)], n_features=1).train_on_batch([[1e30]], [0.0])
    assert caught.value.history is None


# Single steps.


def change_nothing(net):
    """The parameters are those that the step before made."""


def change_by_fit(net):
    net.fit(X, X[:, :2], optimizer=SGD(0.1), verbose=0)


def change_by_set_weights(net):
    net.set_weights([(W + 1, b - 1) for W, b in net.weights])


def change_by_the_setter(net):
    net.parameters = net.parameters * 2


def change_in_place(net):
    net.parameters[net.plan.mask()] += 0.5


CHANGES = [change_nothing, change_by_fit, change_by_set_weights, change_by_the_setter, change_in_place]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("bad", [(X[:5] * 1e38, X[:5, :2], Adam()), (X[:5], X[:5, :2], SGD(1e300))])
def test_a_bad_step_leaves_the_network_as_it_was(change, bad):
    net = Sequential([Dense(3, "relu"), Dense(2)], n_features=4)
    for _ in range(3):
        net.train_on_batch(X[:5], X[:5, :2], Adam())
    change(net)
    before = net.parameters.copy()
    with pytest.raises(DivergedError):
        net.train_on_batch(*bad)
    np.testing.assert_array_equal(net.parameters, before)
    assert np.isfinite(net.train_on_batch(X[:5], X[:5, :2], bad[2].__class__()))
    assert np.isfinite(net.parameters).all()


def test_an_equal_optimizer_goes_on_whatever_its_rate():
    """Made anew for every step, also with another rate or a function for it, it has the same moments as one object."""
    rates_ = [0.1, 0.05, 0.2, 0.1]
    nets = [network() for _ in range(4)]
    one = Adam(lambda step: rates_[step])
    for step, rate in enumerate(rates_):
        nets[0].train_on_batch(X, LABELS, one)
        nets[1].train_on_batch(X, LABELS, Adam(lambda step: rates_[step]))
        nets[2].train_on_batch(X, LABELS, Adam(rate))
        nets[3].train_on_batch(X, LABELS, Adam(rate, beta1=0.9 - 0.1 * step))
    np.testing.assert_array_equal(nets[1].parameters, nets[0].parameters)
    np.testing.assert_array_equal(nets[2].parameters, nets[0].parameters)
    assert not np.array_equal(nets[3].parameters, nets[0].parameters)


# Watching.


def test_a_numpy_truth_stops_the_fit_and_other_answers_do_not():
    def stopped(answer):
        class Stop:
            def on_epoch_end(self, epoch, logs):
                return answer if epoch == 2 else None

        return len(network().fit(X, LABELS, epochs=4, verbose=0, callbacks=Stop()).epochs) == 2

    assert stopped(np.True_) and stopped(np.str_("stop"))
    assert not any(stopped(answer) for answer in (np.False_, False, 0, "no", np.ones(3)))


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("make", [EarlyStopping, lambda monitor="val_loss": StopWhen(monitor, below=0.1)])
def test_a_monitor_that_will_not_be_there_is_refused_before_the_first_step(make, optimizer):
    net, log = network(), []
    before = net.parameters.copy()
    for monitor, data in (("val_loss", None), ("val_loss", {"test": (X, LABELS)}), ("test_r2", {"test": (X, LABELS)})):
        with pytest.raises(ValueError, match=f"^monitor must be one of 'loss', .*'seconds'; got '{monitor}'"):
            net.fit(X, LABELS, optimizer=optimizer, validation_data=data, verbose=0, callbacks=[make(monitor), Log(log, "a")])
    assert not log and net.n_fits == 0
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("monitor", ["accuracy", "val_r2", "test_accuracy", "of 2024_test_r2"])
def test_accuracy_and_r2_of_any_set_improve_upwards(monitor):
    stopping = EarlyStopping(monitor, patience=9, restore_best=False)
    stopping.on_fit_begin(None)
    for epoch, value in enumerate([-0.5, 0.25, 0.75, 0.5], 1):
        stopping.on_epoch_end(epoch, {monitor: value})
    assert (stopping.best, stopping.best_epoch) == (0.75, 3)


@pytest.mark.parametrize("monitor", ["loss", "test_loss", "r2_max_error", "accuracy_loss"])
def test_everything_else_improves_downwards(monitor):
    stopping = EarlyStopping(monitor, patience=9, restore_best=False)
    stopping.on_fit_begin(None)
    for epoch, value in enumerate([0.5, 0.25, 0.75], 1):
        stopping.on_epoch_end(epoch, {monitor: value})
    assert (stopping.best, stopping.best_epoch) == (0.25, 2)


@pytest.mark.parametrize("rows, epochs", [(50, 200), (37, 60)])
def test_a_callback_that_only_watches_changes_no_loss(rows, epochs):
    watched, alone = (network() for _ in range(2))
    histories = [net.fit(X[:rows], LABELS[:rows], epochs=epochs, batch_size=None, verbose=0, callbacks=one) for net, one in ((watched, Watcher()), (alone, ()))]
    assert histories[0]["loss"] == histories[1]["loss"]


def test_every_of_a_small_integer_type():
    watcher = Watcher(every=np.uint8(200))
    network().fit(X, LABELS, epochs=450, batch_size=None, callbacks=watcher, verbose=0)
    assert [epoch for epoch, _ in watcher.seen] == [200, 400, 450]


def test_a_history_is_small_and_looks_like_lists():
    history = History()
    tracemalloc.start()
    for start in range(0, 300_000, 1000):
        history.add([float(start + i) for i in range(1000)], {"loss": 0.0}, 0.25)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 40 * 300_000
    assert history.epochs[-2:] == [299_999, 300_000] and history["loss"] == [float(i) for i in range(300_000)] and history.seconds == [0.25] * 300_000
    for copied in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert copied == history and json.dumps(copied.history) == json.dumps({"loss": history["loss"]})
    assert History({"loss": [1.0]}, [1], [0.5]) != History({"loss": [2.0]}, [1], [0.5])


# What full-batch optimizers do not know.


@pytest.mark.parametrize("optimizer", [LBFGS(), ConjugateGradient()])
def test_full_batch_optimizers_say_what_they_cannot_do(optimizer):
    net, name = network(), type(optimizer).__name__
    before = net.parameters.copy()
    for shuffle in ([0, 1, 2], lambda epoch: [0]):
        with pytest.raises(ValueError, match=f"^shuffle must be True or False for {name}, which takes all rows together; got "):
            net.fit(X, LABELS, optimizer=optimizer, shuffle=shuffle, verbose=0)
    with pytest.raises(ValueError, match=f"^callbacks must not have on_batch_end for {name}, which has no minibatches; got a Batches.$"):
        net.fit(X, LABELS, optimizer=optimizer, callbacks=Batches(), verbose=0)
    np.testing.assert_array_equal(net.parameters, before)
    with pytest.warns(UserWarning, match=f"^{name} minimizes the loss without dropout") as seen:
        network(dropout=0.5).fit(X, LABELS, optimizer=optimizer, verbose=0)
    assert seen[0].filename == __file__
    layers = [Dense(8, "tanh", learning_rate_factor=0.0), Dense(3, "softmax", max_norm=0.1)]
    with pytest.warns(UserWarning, match=f"^{name} minimizes the loss without learning_rate_factor, max_norm of the layers, which has no effect") as seen:
        Sequential(layers, 4).fit(X, LABELS, optimizer=optimizer, verbose=0)
    assert seen[0].filename == __file__


# Messages.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": SGD(lambda step: np.array([0.5]))}, r"learning_rate must return a number; got an array of shape \(1,\) at step 0\."),
        ({"optimizer": SGD(lambda step: None if step else 0.5), "batch_size": 10}, r"learning_rate must return a number; got None at step 1\."),
        ({"shuffle": [[0, 1], [2]]}, "shuffle must give as many row numbers for each epoch; got a list with rows of different lengths."),
        ({"shuffle": lambda epoch: [[0], [1, 2]]}, "shuffle must give as many row numbers for each epoch; got a list with rows of different lengths."),
    ],
)
def test_what_users_functions_return_is_refused_in_words(settings, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        network().fit(X, LABELS, verbose=0, **settings)


def test_a_rate_may_be_any_scalar():
    for rate in (np.float32(0.5), np.array(0.5), 1):
        net, same = network(), network()
        net.fit(X, LABELS, optimizer=SGD(lambda step, rate=rate: rate), verbose=0)
        same.fit(X, LABELS, optimizer=SGD(float(rate)), verbose=0)
        np.testing.assert_array_equal(net.parameters, same.parameters)
