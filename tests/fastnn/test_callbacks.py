import time

import numpy as np
import pytest

from fastnn import LBFGS, SGD, Adam, Dense, Sequential, TimeLimit

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
    held = inputs[others], LABELS[others]
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
