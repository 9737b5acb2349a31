import time

import numpy as np
import pytest

from fastnn import (
    EMA,
    LBFGS,
    SGD,
    SWA,
    Adam,
    CSVLogger,
    Dense,
    EarlyStopping,
    LearningRateFinder,
    MLPClassifier,
    ModelCheckpoint,
    ReduceOnPlateau,
    Scale,
    Sequential,
    TimeLimit,
    load_digits,
)
from fastnn.metrics import Metric

X = np.random.default_rng(4).normal(size=(50, 4))
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def network(seed=0):
    return Sequential([Dense(8, "tanh"), Dense(3, "softmax")], n_features=4, dtype="float64", seed=seed)


class Everything:
    """Writes down the calls of all methods."""

    def __init__(self, **settings):
        self.calls = []
        self.__dict__.update(settings)

    def on_fit_begin(self, network):
        self.calls.append("fit begin")

    def on_epoch_begin(self, epoch):
        self.calls.append(f"epoch {epoch} begin")

    def on_batch_begin(self, step):
        self.calls.append(f"batch {step} begin")

    def on_batch_end(self, step, loss):
        self.calls.append(f"batch {step} end")

    def on_epoch_trained(self, epoch):
        self.calls.append(f"epoch {epoch} trained")

    def on_epoch_end(self, epoch, logs):
        self.calls.append(f"epoch {epoch} end")

    def on_fit_end(self):
        self.calls.append("fit end")


def test_all_methods_are_called_in_their_order():
    watcher = Everything()
    network().fit(X, LABELS, epochs=2, batch_size=25, verbose=0, callbacks=watcher)
    assert watcher.calls == [
        "fit begin",
        *("epoch 1 begin", "batch 0 begin", "batch 0 end", "batch 1 begin", "batch 1 end", "epoch 1 trained", "epoch 1 end"),
        *("epoch 2 begin", "batch 2 begin", "batch 2 end", "batch 3 begin", "batch 3 end", "epoch 2 trained", "epoch 2 end"),
        "fit end",
    ]


@pytest.mark.parametrize("batch_size", [5, None])
def test_every_steps_and_every_are_what_is_seen(batch_size):
    watcher, one = Everything(every_steps=7, every=3), network()
    history = one.fit(X, LABELS, epochs=20, batch_size=batch_size, verbose=0, callbacks=watcher)
    n_steps = 20 * (1 if batch_size is None else 10)
    batches = [call for call in watcher.calls if "batch" in call]
    assert batches[:4] == ["batch 0 begin", "batch 6 end", "batch 7 begin", "batch 13 end"]
    assert len(batches) == n_steps // 7 + -(-n_steps // 7)
    for what, expected in (("begin", range(1, 21, 3)), ("trained", (*range(3, 21, 3), 20)), ("end", (*range(3, 21, 3), 20))):
        assert [call for call in watcher.calls if call.startswith("epoch") and call.endswith(what)] == [f"epoch {i} {what}" for i in expected]
    other = network()
    assert other.fit(X, LABELS, epochs=20, batch_size=batch_size, verbose=0)["loss"] == history["loss"]
    np.testing.assert_array_equal(other.parameters, one.parameters)


class Rates:
    """Gives every step its rate."""

    def __init__(self):
        self.seen = []

    def on_rates(self, step, rates):
        self.seen += range(step, step + len(rates))
        rates[:] = [0.1 / (1 + i) for i in range(step, step + len(rates))]


def test_rates_may_be_changed():
    one, other, rates = network(), network(), Rates()
    one.fit(X, LABELS, optimizer=SGD(9.0), epochs=3, batch_size=16, verbose=0, callbacks=rates)
    other.fit(X, LABELS, optimizer=SGD(lambda step: 0.1 / (1 + step)), epochs=3, batch_size=16, verbose=0)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert rates.seen == list(range(12))


@pytest.mark.parametrize("method", ["on_batch_end", "on_chunk_end"])
def test_a_fit_stops_in_the_middle_of_an_epoch(method):
    class Stop:
        def on_batch_begin(self, step):
            self.step = step

    setattr(Stop, method, lambda self, step, *loss: np.bool_(self.step == 5))
    net = network()
    history = net.fit(X, LABELS, epochs=3, batch_size=16, validation_data=(X, LABELS), verbose=0, callbacks=Stop())
    assert history.epochs == [1] and not history.interrupted
    assert net._state.step == 6


def test_the_last_minibatch_of_an_epoch_ends_it():
    class Stop:
        def on_chunk_end(self, step):
            return step == 4

    assert network().fit(X, LABELS, epochs=3, batch_size=16, verbose=0, callbacks=[Stop(), Everything()]).epochs == [1]


@pytest.mark.parametrize("optimizer", [Adam(), LBFGS(tolerance=0.0)])
@pytest.mark.parametrize("settings", [{"time_limit": 0.05}, {"callbacks": TimeLimit(0.05)}])
def test_time_limit(settings, optimizer):
    start = time.monotonic()
    history = network().fit(X, LABELS, optimizer=optimizer, epochs=10**9, verbose=0, **settings)
    assert time.monotonic() - start >= 0.05 or isinstance(optimizer, LBFGS)
    assert len(history.epochs) < 10**9 and not history.interrupted


def test_optimizers_without_steps_refuse_who_waits_for_them():
    for one, method in ((Rates(), "on_rates"), (Everything(), "on_batch_begin")):
        with pytest.raises(ValueError, match=f"^callbacks must not have {method} for LBFGS, which has no minibatches; got a "):
            network().fit(X, LABELS, optimizer=LBFGS(), verbose=0, callbacks=one)


def test_every_steps_must_be_a_number():
    with pytest.raises(TypeError, match=r"^every_steps of a callback must be an integer of at least 1; got 'all'\.$"):
        network().fit(X, LABELS, verbose=0, callbacks=Everything(every_steps="all"))


# Rows that are held out.


@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_validation_split_holds_out_rows_of_all_classes(dtype):
    from fastnn.batches import split

    inputs = (X * 40 + 128).astype(dtype)
    rows, others = split(LABELS, 0.2, "")
    one, other, weights = network(), network(), np.linspace(0, 2, 50)
    actual = one.fit(inputs, LABELS, epochs=2, validation_split=0.2, sample_weight=weights, verbose=0)
    held = inputs[others], LABELS[others], weights[others]
    expected = other.fit(inputs[rows], LABELS[rows], epochs=2, validation_data=held, sample_weight=weights[rows], verbose=0)
    assert len(others) == 10 and set(LABELS[others]) == set(LABELS)
    assert actual.history == expected.history
    np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_split": 1.0}, r"validation_split must be a finite number of at least 0 and below 1; got 1\."),
        ({"validation_split": 0.001}, r"validation_split must hold out at least one row; got 0\.001 of 50 rows\."),
        ({"validation_split": 0.999}, r"validation_split must leave rows to train on; got 0\.999 of 50 rows\."),
        ({"validation_split": 0.1, "validation_data": (X, LABELS)}, "validation_split must be left out where validation_data is given; got both."),
        ({"validation_split": 0.1, "shuffle": [1, 2]}, "shuffle must be True or False with validation_split, which takes rows away; got a list."),
        ({"time_limit": 0}, r"time_limit must be above 0; got 0\."),
        ({"continue_fit": 1}, r"continue_fit must be True or False; got 1\."),
    ],
)
def test_refused_settings(settings, message):
    net = network()
    before = net.parameters.copy()
    with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        net.fit(X, LABELS, verbose=0, **settings)
    np.testing.assert_array_equal(net.parameters, before)


# What improves.


def looked_at(callback, values, name="val_loss"):
    """Return what a callback answers to the values of some epochs."""
    callback.on_fit_begin(network())
    return [callback.on_epoch_end(epoch, {name: value}) for epoch, value in enumerate(values, 1)]


@pytest.mark.parametrize(("mode", "best", "epoch"), [("min", 1.0, 2), ("max", 3.0, 3)])
def test_the_direction_may_be_given(mode, best, epoch):
    stopping = EarlyStopping("val_regret", patience=2, mode=mode)
    looked_at(stopping, [2.0, 1.0, 3.0, np.nan], "val_regret")
    assert (stopping.best, stopping.best_epoch) == (best, epoch)
    with pytest.raises(ValueError, match=r"^mode must be one of 'auto', 'min', 'max'; got 'up'\.$"):
        EarlyStopping(mode="up")
    with pytest.raises(TypeError, match=r"^monitor must be a key of the logs such as 'val_loss'; got 3\.$"):
        EarlyStopping(3)


def certainty(y, probabilities):
    """Return how probable what is right is."""
    return float(np.mean(probabilities[np.arange(len(y)), y]))


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceOnPlateau, ModelCheckpoint])
@pytest.mark.parametrize("batch_size", [16, None])
def test_the_direction_is_that_of_the_metric(tmp_path, kind, batch_size):
    def watched(metric, **mode):
        name = "val_certainty"
        one = ModelCheckpoint(tmp_path / "net", name, **mode) if kind is ModelCheckpoint else kind(name, **mode)
        settings = {"epochs": 4, "batch_size": batch_size, "validation_data": (X, LABELS), "verbose": 0, "metrics": {"certainty": metric}}
        history = network().fit(X, LABELS, callbacks=one, **settings)
        assert max(history["val_certainty"]) != min(history["val_certainty"])
        return one.best, history["val_certainty"]

    for metric, mode in ((Metric(certainty, upwards=True), {}), (certainty, {"mode": "max"}), (Metric(certainty, upwards=False), {"mode": "max"})):
        best, values = watched(metric, **mode)
        assert best == max(values)
    best, values = watched(Metric(certainty, upwards=False))
    assert best == min(values)
    for metric in (certainty, Metric(certainty)):
        with pytest.raises(ValueError, match="^mode must be 'min' or 'max' for 'val_certainty', of which nothing says whether larger is better; got 'auto'"):
            watched(metric)


@pytest.mark.parametrize("optimizer", [Adam(), LBFGS()])
def test_a_direction_that_nobody_knows_is_refused_before_the_first_step(optimizer):
    pytest.importorskip("scipy")
    net, watcher = network(), Everything(every_steps=1) if isinstance(optimizer, Adam) else CSVLogger("nowhere/log.csv")
    before = net.parameters.copy()
    settings = {"validation_data": (X, LABELS), "metrics": [certainty], "verbose": 0, "callbacks": [watcher, EarlyStopping("val_certainty")]}
    with pytest.raises(ValueError, match="^mode must be 'min' or 'max' for 'val_certainty'"):
        net.fit(X, LABELS, optimizer=optimizer, **settings)
    assert net.n_fits == 0 and not getattr(watcher, "calls", [])
    np.testing.assert_array_equal(net.parameters, before)
    with pytest.raises(ValueError, match="^mode must be 'min' or 'max' for 'val_certainty'"):
        EarlyStopping("val_certainty").on_fit_begin(net)


@pytest.mark.parametrize("make", [EarlyStopping, ReduceOnPlateau])
def test_the_score_of_an_estimator_improves_upwards(make):
    pytest.importorskip("sklearn")
    watcher = make("val_score", patience=99)
    model = MLPClassifier(max_iter=6, early_stopping=True, callbacks=[watcher], random_state=0, learning_rate_init=0.05, n_iter_no_change=99)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, LABELS)
    scores = model.validation_scores_
    assert watcher.best == max(scores) > min(scores)
    assert watcher.best_epoch == scores.index(max(scores)) + 1


def test_reduce_on_plateau_lowers_the_rate():
    reduce, scales = ReduceOnPlateau(factor=0.5, patience=2, cooldown=1, min_rate=0.02), []
    reduce.on_fit_begin(None)
    for epoch, value in enumerate([3, 2, 2, 2, 2, 2, 2, 1, 1, 1], 1):
        reduce.on_epoch_end(epoch, {"val_loss": value})
        scales.append(reduce.scale)
    assert scales == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    rates = np.array([1.0, 0.1, 0.01])
    reduce.on_rates(0, rates)
    np.testing.assert_array_equal(rates, [0.125, 0.02, 0.01])


def test_reduce_on_plateau_is_that_of_a_schedule():
    one, other = network(), network()
    one.fit(X, LABELS, optimizer=SGD(0.1), epochs=4, batch_size=50, verbose=0, callbacks=ReduceOnPlateau("loss", 0.5, patience=1, mode="max"))
    other.fit(X, LABELS, optimizer=SGD(lambda step: 0.1 * 0.5 ** max(0, step - 1)), epochs=4, batch_size=50, verbose=0)
    np.testing.assert_array_equal(one.parameters, other.parameters)


# Averages.


class Steps:
    """Copies the parameters after every minibatch and every epoch."""

    def __init__(self):
        self.batches, self.epochs = [], []

    def on_fit_begin(self, network):
        self.network = network

    def on_batch_end(self, step, loss):
        self.batches.append(self.network.parameters.copy())

    def on_epoch_trained(self, epoch):
        self.epochs.append(self.batches[-1])


@pytest.mark.parametrize("every_steps", [1, 3])
def test_ema_is_the_average_with_shrinking_weights(every_steps):
    plain, averaged, steps = network(), network(), Steps()
    plain.fit(X, LABELS, epochs=3, batch_size=16, verbose=0, callbacks=steps)
    history = averaged.fit(X, LABELS, epochs=3, batch_size=16, validation_data=(X, LABELS), verbose=0, callbacks=EMA(0.9, every_steps))
    seen = steps.batches[every_steps - 1 :: every_steps]
    expected = seen[0]
    for parameters in seen[1:]:
        expected = 0.9 * expected + 0.1 * parameters
    np.testing.assert_allclose(averaged.parameters, expected, rtol=1e-12, atol=1e-14)
    assert history["val_loss"][-1] == averaged.evaluate(X, LABELS)["loss"]


def test_an_average_of_weights_just_above_the_denormal_numbers_takes_no_denormal_steps():
    """Decay leaves weights there, from which the average would keep a denormal distance for ever."""
    net, ema = Sequential([Dense(3)], n_features=2), EMA(0.9)
    ema.on_fit_begin(net)
    for value in (3e-38, 2e-38):
        net.parameters[:] = np.float32(value)
        ema.update(0.1)
    assert (ema._average == np.float32(3e-38)).all()  # a tenth of the way would be 1e-39
    assert np.float32(1e-30) * np.float32(1e-10) > 0


def test_ema_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model, net, steps = torch.nn.Linear(4, 3, dtype=torch.float64), Sequential([Dense(3, "softmax")], 4, "float64"), Steps()
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    twin = Sequential([Dense(3, "softmax")], 4, "float64")
    net.fit(X, LABELS, epochs=2, verbose=0, callbacks=EMA(0.7))
    twin.fit(X, LABELS, epochs=2, verbose=0, callbacks=steps)
    for parameters in steps.batches:
        twin.parameters = parameters
        with torch.no_grad():
            model.weight.copy_(torch.tensor(twin.weights[0][0].T.copy()))
        theirs.update_parameters(model)
    np.testing.assert_allclose(net.weights[0][0].T, theirs.module.weight.detach().numpy(), rtol=1e-13)


def test_swa_is_the_mean_of_epochs():
    plain, averaged, steps = network(), network(), Steps()
    plain.fit(X, LABELS, epochs=7, batch_size=16, verbose=0, callbacks=steps)
    averaged.fit(X, LABELS, epochs=7, batch_size=16, verbose=0, callbacks=SWA(start=3, every=2))
    np.testing.assert_allclose(averaged.parameters, np.mean([steps.epochs[i - 1] for i in (4, 6)], axis=0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("average", [EMA(0.5), SWA()])
def test_the_best_epoch_is_that_of_the_average(average):
    net, stopping = network(), EarlyStopping(patience=3)
    settings = {"epochs": 60, "batch_size": 16, "optimizer": Adam(0.3), "validation_data": (X[:9], LABELS[::-1][:9]), "verbose": 0}
    history = net.fit(X, LABELS, callbacks=[stopping, average], **settings)
    assert len(history.epochs) == stopping.best_epoch + 3
    assert net.evaluate(X[:9], LABELS[::-1][:9])["loss"] == min(history["val_loss"])


def test_ema_ends_in_the_middle_of_an_epoch():
    class Stop:
        def on_batch_end(self, step, loss):
            return step == 5

    plain, averaged, steps = network(), network(), Steps()
    plain.fit(X, LABELS, epochs=3, batch_size=16, verbose=0, callbacks=[steps, Stop()])
    averaged.fit(X, LABELS, epochs=3, batch_size=16, verbose=0, callbacks=[Stop(), EMA(0.0)])
    np.testing.assert_array_equal(averaged.parameters, steps.batches[5])


def test_one_average_at_a_time():
    with pytest.raises(ValueError, match=r"^callbacks must have at most one average of the parameters; got SWA and EMA\.$"):
        network().fit(X, LABELS, verbose=0, callbacks=[SWA(), EMA()])


# Files.


def test_csv_logger_writes_what_the_history_has(tmp_path):
    path = tmp_path / "log.csv"
    for epochs in (5, 3):
        history = network().fit(X, LABELS, epochs=epochs, validation_data=(X, LABELS), verbose=0, callbacks=CSVLogger(path))
    lines = path.read_text().splitlines()
    assert lines[0] == "epoch,loss,val_loss,val_accuracy,seconds"
    rows = [[float(cell) for cell in line.split(",")] for line in lines[1:]]
    assert [row[0] for row in rows] == [1, 2, 3]
    for column, name in enumerate(("loss", "val_loss", "val_accuracy"), 1):
        assert [row[column] for row in rows] == history[name]


def test_model_checkpoint_saves_the_best(tmp_path):
    net = network()
    path = tmp_path / "net-{epoch:02d}-{val_loss:.3f}.safetensors"
    data = X[:9], LABELS[:9]
    history = net.fit(X, LABELS, optimizer=Adam(0.5), epochs=30, validation_data=data, verbose=0, callbacks=ModelCheckpoint(path))
    losses = history["val_loss"]
    better = [i for i, loss in enumerate(losses, 1) if loss < min(losses[: i - 1], default=np.inf)]
    assert sorted(tmp_path.iterdir()) == [tmp_path / f"net-{i:02d}-{losses[i - 1]:.3f}.safetensors" for i in better]
    assert 1 < len(better) < 30
    best = Sequential.load(tmp_path / f"net-{better[-1]:02d}-{min(losses):.3f}.safetensors")
    assert best.evaluate(*data)["loss"] == min(losses)


def test_model_checkpoint_after_every_epoch(tmp_path):
    watcher = Everything()
    network().fit(X, LABELS, epochs=7, verbose=0, callbacks=ModelCheckpoint(f"{tmp_path}/{{epoch}}", monitor=None, every=3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "6", "7"]
    with pytest.raises(ValueError, match=r"^path must be a file name with fields among 'epoch', 'loss', 'seconds'; got '\{val_loss\}': 'val_loss'\.$"):
        network().fit(X, LABELS, verbose=0, callbacks=[watcher, ModelCheckpoint("{val_loss}", monitor=None)])
    assert not watcher.calls


@pytest.mark.parametrize("path", ["{epoch.foo}", "{epoch[0]}", "{}", "{0}", "{epoch:zz}", "{val_loss:d}", "{epoch", "{epoch!q}"])
def test_a_path_that_cannot_be_filled_in_is_refused(path):
    with pytest.raises(ValueError, match="^path must be a file name with fields such as 'epoch' and 'val_loss'; got '{.*': .*"):
        ModelCheckpoint(path)


@pytest.mark.parametrize("make", [CSVLogger, lambda path: ModelCheckpoint(path, monitor=None)])
def test_a_fit_goes_on_where_a_file_cannot_be_written(make, tmp_path):
    with pytest.warns(UserWarning, match="cannot be written .*: the training goes on without it") as seen:
        assert len(network().fit(X, LABELS, epochs=3, verbose=0, callbacks=make(tmp_path / "no" / "file")).epochs) == 3
    assert len(seen) == 1


# The learning rate finder.


def test_learning_rate_finder_tries_rates_and_leaves_the_network():
    finder, net = LearningRateFinder(1e-4, 1e3, n_steps=60), network()
    before = net.parameters.copy()
    assert finder.run(net, X, LABELS, optimizer="sgd", batch_size=16) is finder
    np.testing.assert_array_equal(net.parameters, before)
    assert net.n_fits == 0
    np.testing.assert_allclose(finder.rates[:3], 1e-4 * 10 ** (7 * np.arange(3) / 59), rtol=1e-12)
    assert 1e-3 < finder.suggestion < 10 and len(finder.rates) == len(finder.losses) <= 60
    net.fit(X, LABELS, optimizer="sgd", epochs=90, verbose=0, callbacks=finder)
    np.testing.assert_array_equal(net.parameters, before)


def regression():
    rows = np.random.default_rng(0).standard_normal((400, 10))
    return rows, np.sin(rows @ np.linspace(-1, 1, 10)) + 0.3 * rows[:, 0] ** 2


@pytest.mark.parametrize("batch_size", [4, 32, None])
@pytest.mark.parametrize("optimizer", [Adam, SGD])
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_the_suggested_rate_trains(task, optimizer, batch_size):
    rows, targets = load_digits()[:2] if task == "classes" else regression()
    layers = [Scale(1 / 16), Dense(32, "relu"), Dense(10, "softmax")] if task == "classes" else [Dense(32, "tanh"), Dense(1)]
    for seed in range(3):
        net = Sequential(layers, rows.shape[1], seed=seed)
        before = net.evaluate(rows, targets)["loss"]
        rate = LearningRateFinder().run(net, rows, targets, optimizer=optimizer(), batch_size=batch_size).suggestion
        net.fit(rows, targets, optimizer=optimizer(rate), batch_size=batch_size, epochs=300, callbacks=After(300), verbose=0)
        assert net.evaluate(rows, targets)["loss"] < 0.7 * before


@pytest.mark.parametrize("loss", ["poisson", "gaussian_nll"])
@pytest.mark.parametrize("optimizer", [Adam, SGD])
def test_the_suggested_rate_trains_where_losses_are_below_0(loss, optimizer):
    rows, numbers = regression()
    targets = np.random.default_rng(1).poisson(20 * np.exp(0.3 * numbers)) if loss == "poisson" else 0.1 * numbers
    last = Dense(1, "exponential") if loss == "poisson" else Dense(2)
    net = Sequential([Dense(32, "tanh"), last], rows.shape[1])
    net.fit(rows, targets, loss=loss, optimizer=Adam(0.02), epochs=4, verbose=0)
    before = net.evaluate(rows, targets)["loss"]
    finder = LearningRateFinder().run(net, rows, targets, loss=loss, optimizer=optimizer())
    assert len(finder.rates) > 100 and max(finder.losses[:20]) < 0
    net.fit(rows, targets, loss=loss, optimizer=optimizer(finder.suggestion), epochs=30, verbose=0)
    assert net.evaluate(rows, targets)["loss"] < before - 0.2


class After:
    """End a fit after some steps."""

    def __init__(self, n):
        self.n = self.every_steps = n

    def on_batch_end(self, step, loss):
        return step + 1 >= self.n


def test_learning_rate_finder_goes_on_in_a_fit_that_goes_on():
    net = network()
    net.fit(X, LABELS, epochs=30, batch_size=16, verbose=0)
    finder = LearningRateFinder(1e-4, 1.0, n_steps=20)
    net.fit(X, LABELS, epochs=20, batch_size=16, verbose=0, callbacks=finder, continue_fit=True)
    np.testing.assert_allclose(finder.rates, 1e-4 * 1e4 ** (np.arange(len(finder.rates)) / 19), rtol=1e-12)
    assert len(finder.rates) > 5


def test_learning_rate_finder_takes_the_settings_of_fit_or_refuses_them():
    steps = After(7)
    assert len(LearningRateFinder().run(network(), X, LABELS, callbacks=steps).rates) == 7
    with pytest.raises(ValueError, match=r"^epochs must be left out, for n_steps says how long it goes on; got 3\.$"):
        LearningRateFinder().run(network(), X, LABELS, epochs=3)
    with pytest.raises(TypeError, match="callbacks must be objects"):
        LearningRateFinder().run(network(), X, LABELS, callbacks=print)


def test_learning_rate_finder_survives_a_loss_that_is_not_finite():
    finder = LearningRateFinder(1e-2, 1e38, n_steps=4).run(Sequential([Dense(1)], 4), X, X[:, 0], optimizer="sgd", batch_size=None)
    assert 0 < len(finder.rates) < 4 and np.isnan(finder.suggestion)


@pytest.mark.parametrize("kind", [CSVLogger, ModelCheckpoint])
def test_what_is_no_path_is_refused_when_a_callback_is_made(kind):
    for path in (None, 3):
        with pytest.raises(TypeError, match=rf"^path must be the path of a file; got {path}\.$"):
            kind(path)
    with pytest.raises(ValueError, match=r"^path must be without null characters; got 'a\\x00b'\.$"):
        kind("a\0b")
