import threading
import time

import numpy as np
import pytest

from fastnn import Adam, AdamW, Dense, Dropout, Linear, OneCycle, Sequential, Standardize, StopWhen

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)


def network():
    return Sequential([Dense(4, "tanh"), Dense(2, "softmax")], n_features=3)


def batches(size=16):
    return [(X[start : start + size], Y[start : start + size]) for start in range(0, len(X), size)]


def same(one, other):
    return bool(np.all(one.parameters == other.parameters))


@pytest.mark.parametrize(
    "stream", [batches, lambda: lambda epoch: iter(batches()), lambda: (pair for pair in batches())], ids=["list", "function", "generator"]
)
def test_batches_give_what_arrays_give(stream):
    streamed, whole = network(), network()
    given = stream()
    given = Again(given) if isinstance(given, list) else given
    epochs = 1 if hasattr(given, "gi_frame") else 3
    history = streamed.fit(given, epochs=epochs, verbose=0)
    expected = whole.fit(X, Y, epochs=epochs, batch_size=16, shuffle=False, verbose=0)
    assert same(streamed, whole)
    assert history["loss"] == expected["loss"]


@pytest.mark.parametrize("last", ["softmax", "identity"])
def test_batches_may_be_read_into_the_same_arrays(last):
    """The next batch is read while one is trained on."""
    X, Y = rng.normal(size=(4000, 3)), np.eye(2)[np.arange(4000) % 2]
    X, Y = X.astype(np.float32), Y.astype(np.float32)

    def stream():
        rows, targets = np.empty((8, 3), np.float32), np.empty((8, 2), np.float32)
        for start in range(0, len(X), 8):
            rows[:], targets[:] = X[start : start + 8], Y[start : start + 8]
            yield rows, targets

    streamed, whole = (Sequential([Dense(2, last)], n_features=3) for _ in range(2))
    streamed.fit(stream(), verbose=0)
    whole.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    assert same(streamed, whole)


class Again:
    """An iterable with a len that yields the same batches every time."""

    def __init__(self, pairs, n=None):
        self.pairs, self.n = pairs, len(pairs) if n is None else n

    def __len__(self):
        return self.n

    def __iter__(self):
        return iter(self.pairs)


def test_schedules_span_streams_with_a_len():
    streamed, whole = network(), network()
    for net, data in ((streamed, (Again(batches()),)), (whole, (X, Y))):
        net.fit(*data, optimizer=Adam(OneCycle(0.1)), epochs=2, batch_size=16, shuffle=False, verbose=0)
    assert same(streamed, whole)
    with pytest.raises(ValueError, match="learning_rate must have n_steps where the batches have no len"):
        network().fit(iter(batches()), optimizer=Adam(OneCycle(0.1)), verbose=0)
    with pytest.raises(ValueError, match=r"^weight_decay must have n_steps where the batches have no len; got Linear\("):
        network().fit(iter(batches()), optimizer=AdamW(0.1, weight_decay=Linear(0.1)), verbose=0)
    dropped = Sequential([Dropout(Linear(0.5)), Dense(3, "softmax")], n_features=X.shape[1])
    with pytest.raises(ValueError, match=r"^rate of Dropout must have n_steps where the batches have no len; got Linear\("):
        dropped.fit(iter(batches()), verbose=0)


def test_weights_of_rows_and_classes_come_with_the_batches():
    streamed, whole = network(), network()
    weights = rng.uniform(size=50)
    triples = [(a, b, weights[16 * i : 16 * i + 16]) for i, (a, b) in enumerate(batches())]
    streamed.fit(iter(triples), class_weight={1: 3.0}, verbose=0)
    whole.fit(X, Y, sample_weight=weights, class_weight={1: 3.0}, batch_size=16, shuffle=False, verbose=0)
    assert same(streamed, whole)


def test_the_next_batch_is_read_while_the_training_goes_on():
    seen = []

    def read():
        for pair in batches():
            seen.append((threading.current_thread() is threading.main_thread(), len(watcher.steps)))
            yield pair

    class Watcher:
        steps, read = [], []

        def on_batch_end(self, step, loss):
            self.steps.append(step)
            deadline = time.monotonic() + 10
            while len(seen) < min(step + 2, 4) and time.monotonic() < deadline:
                time.sleep(0.001)
            self.read.append(len(seen))

    watcher = Watcher()
    network().fit(read(), callbacks=[watcher], verbose=0)
    assert watcher.read == [2, 3, 4, 4]  # the next one is read already
    assert not any(main for main, _ in seen)


@pytest.mark.parametrize(
    ("spoiled", "kind", "message"),
    [
        ((X[:16, :2], Y[:16]), ValueError, r"batch 3 of epoch 1: X must have shape"),
        ((X[:16], Y[:15]), ValueError, "batch 3 of epoch 1: y must have as many rows as X, 16; got 15"),
        ((X[:16] * np.nan, Y[:16]), ValueError, "batch 3 of epoch 1: X must be finite; got nan in row 0, column 0"),
        ((X[:17], Y[:17]), ValueError, "batch 3 of epoch 1 must have at most as many rows as the first one, 16; got 17"),
        ((X[:0], Y[:0]), ValueError, "batch 3 of epoch 1: X must have at least one row"),
        (X[:16], TypeError, r"batch 3 of epoch 1 must be a pair \(X, y\)"),
        (OSError("disk gone"), RuntimeError, "batch 3 of epoch 1 must be read without an error; got OSError: disk gone"),
    ],
    ids=str,
)
def test_a_bad_batch_is_named_and_the_network_stays_at_its_last_step(spoiled, kind, message):
    def read():
        yield from batches()[:2]
        if isinstance(spoiled, Exception):
            raise spoiled
        yield spoiled

    net, expected = network(), network()
    with pytest.raises(kind, match=message):
        net.fit(read(), verbose=0)
    expected.fit(iter(batches()[:2]), verbose=0)
    assert same(net, expected)


def test_streams_that_end_early():
    net, expected = network(), network()
    with pytest.raises(ValueError, match="X must yield at least one batch in every epoch; got 0 in epoch 2. A generator can be used up once"):
        net.fit(iter(batches()), epochs=2, verbose=0)
    expected.fit(iter(batches()), verbose=0)
    assert same(net, expected)
    with pytest.raises(ValueError, match="X must yield as many batches as its len says, 9, in every epoch; got 4 in epoch 1"):
        network().fit(Again(batches(), 9), verbose=0)
    net = network()
    start = net.parameters.copy()
    with pytest.raises(ValueError, match="X must yield at least one batch in every epoch; got 0 in epoch 1"):
        net.fit(iter([]), verbose=0)
    assert np.all(net.parameters == start)
    assert net.n_fits == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": X}, "y must be given unless X yields batches"),
        ({"validation_split": 0.1}, r"validation_split must be left out where X yields batches; got 0\.1\. Keep rows for validation_data\."),
        ({"checkpoint": "never"}, "checkpoint must be None where X can be used up once; got 'never' with a list_iterator. Pass a function of the epoch"),
        ({"sample_weight": np.ones(50)}, "sample_weight must be left out where X yields batches"),
        ({"class_weight": "balanced"}, "class_weight must be a dict where X yields batches"),
        ({"shuffle": [0, 1]}, "shuffle must be left out where X yields batches"),
        ({"optimizer": "lbfgs"}, "optimizer must take minibatches where X yields them; got LBFGS"),
        ({"X": lambda epoch: 3}, "X must be an array with targets y, or yield batches"),
    ],
)
def test_what_streams_cannot_do_is_refused(arguments, message):
    net = network()
    with pytest.raises((TypeError, ValueError), match=message):
        net.fit(**{"X": iter(batches()), "verbose": 0, **arguments})
    assert net.n_fits == 0


def test_a_stream_does_not_tell_mean_and_deviation():
    net = Sequential([Standardize(), Dense(2, "softmax")], n_features=3)
    with pytest.raises(ValueError, match="Standardize of X must have mean and std before it is used"):
        net.fit(iter(batches()), verbose=0)


def test_a_fit_goes_on_in_the_middle_of_a_stream():
    stopped, whole = network(), network()
    one = Again(batches())
    stopped.fit(one, epochs=2, callbacks=[StopAt(6)], verbose=0)
    stopped.fit(one, epochs=2, continue_fit=True, verbose=0)
    whole.fit(one, epochs=3, verbose=0)
    assert same(stopped, whole)


class StopAt:
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, step, loss):
        return step + 1 == self.step


class Shuffled:
    """Yields the batches of each epoch in another order, whose generator can be saved."""

    def __init__(self, rng=None):
        self.rng = np.random.default_rng(5) if rng is None else rng

    def __iter__(self):
        return iter([batches(10)[i] for i in self.rng.permutation(5)])

    def state_dict(self):
        return self.rng.bit_generator.state

    def load_state_dict(self, state):
        self.rng.bit_generator.state = state


@pytest.mark.parametrize("stream", [Shuffled, lambda: Again(batches(10)), lambda: lambda epoch: iter(batches(10)[epoch % 3 :])])
@pytest.mark.parametrize("stop", [5, 7])
def test_a_stream_is_resumed_with_the_same_bits(stream, stop, tmp_path):
    layers = [Dense(4, "tanh"), Dropout(0.2), Dense(2, "softmax")]
    parts, whole = Sequential(layers, n_features=3), Sequential(layers, n_features=3)
    expected = whole.fit(stream(), epochs=4, verbose=0)
    settings = {"epochs": 4, "checkpoint": tmp_path, "verbose": 0}
    parts.fit(stream(), callbacks=[StopAt(stop)], **settings)
    parts = Sequential(layers, n_features=3)
    actual = parts.fit(stream(), resume=True, **settings)
    assert same(parts, whole)
    assert actual["loss"] == expected["loss"]


def test_a_stream_that_is_not_the_one_before_is_not_resumed(tmp_path):
    settings = {"epochs": 2, "checkpoint": tmp_path, "verbose": 0}
    network().fit(Again(batches(10)), callbacks=[StopAt(3)], **settings)
    with pytest.raises(ValueError, match="X must yield in epoch 1 what it yielded before; got another first batch"):
        network().fit(Again(batches(10)[::-1]), resume=True, **settings)
    with pytest.raises(ValueError, match="X must be as in .* to resume it, 'batches of Again'; got 'batches of "):
        network().fit(lambda epoch: iter(batches(10)), resume=True, **settings)


def test_streams_are_judged_like_arrays():
    net = network()
    history = net.fit(
        iter(batches()), validation_data={"train": (X, Y)}, metrics=["accuracy", "log_loss"], callbacks=[StopWhen("train_accuracy", above=2)], verbose=0
    )
    judged = net.evaluate(X, Y, metrics=["accuracy", "log_loss"])
    assert {name: values for name, values in history.history.items() if name != "loss"} == {f"train_{name}": [value] for name, value in judged.items()}
    assert history["train_log_loss"] == pytest.approx(history["train_loss"], rel=1e-5)
