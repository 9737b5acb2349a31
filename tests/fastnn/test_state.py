"""A fit goes on where the last one ended."""

import pickle
import signal

import numpy as np
import pytest

from fastnn import LBFGS, SGD, AbsoluteError, Adam, Cosine, Dense, DivergedError, Dropout, LayerNorm, Momentum, Sequential, StopWhen

X = np.random.default_rng(4).normal(size=(50, 4))
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def network():
    return Sequential([Dense(8, "tanh"), LayerNorm(), Dropout(0.2), Dense(3, "softmax")], n_features=4)


def go(net, epochs, **settings):
    return net.fit(X, LABELS, **{"optimizer": Adam(Cosine(0.05, n_steps=16)), "epochs": epochs, "batch_size": 16, "verbose": 0, **settings})


@pytest.mark.parametrize("batch_size", [16, None])
def test_two_and_two_epochs_equal_four(batch_size):
    whole, parts = network(), network()
    expected = go(whole, 4, batch_size=batch_size)
    first = go(parts, 2, batch_size=batch_size)
    actual = go(parts, 2, batch_size=batch_size, continue_fit=True)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    assert actual["loss"] == expected["loss"] and actual.epochs == [1, 2, 3, 4] and first.epochs == [1, 2]
    assert parts.n_fits == whole.n_fits == 1
    other = network()
    go(other, 2, batch_size=batch_size)
    go(other, 2, batch_size=batch_size)
    assert not np.array_equal(other.parameters, whole.parameters)


class Interrupt:
    """Sends Ctrl-C at a step."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, step, loss):
        if step == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("step", [0, 5, 7])
def test_it_goes_on_in_the_middle_of_an_epoch(step):
    whole, parts = network(), network()
    expected = go(whole, 3)
    history = go(parts, 3, callbacks=Interrupt(step))
    assert history.interrupted and len(history.epochs) == step // 4
    actual = go(parts, 3 - step // 4, continue_fit=True)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    assert actual["loss"] == expected["loss"] and not actual.interrupted


def test_loss_optimizer_and_span_are_those_of_the_first_fit():
    whole, parts = (Sequential([Dense(2, "tanh"), Dense(1)], n_features=4) for _ in range(2))
    expected = whole.fit(X, X[:, 0], AbsoluteError(), Momentum(Cosine(0.1, n_steps=8)), 4, 16, verbose=0)
    parts.fit(X, X[:, 0], AbsoluteError(), Momentum(Cosine(0.1)), 2, 16, verbose=0)
    actual = parts.fit(X, X[:, 0], epochs=2, batch_size=16, verbose=0, continue_fit=True)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    assert actual["loss"] == expected["loss"]


def test_a_fit_that_was_stopped_goes_on():
    net = network()
    assert len(go(net, 9, callbacks=StopWhen("loss", below=9.0)).epochs) == 1
    assert len(go(net, 2, continue_fit=True).epochs) == 3


@pytest.mark.parametrize("batch_size", [16, None])
def test_what_only_one_of_the_fits_has_judged_is_nan(batch_size):
    net, held_out = network(), (X[:9], LABELS[:9])
    go(net, 2, batch_size=batch_size)
    go(net, 1, batch_size=batch_size, continue_fit=True, validation_data=held_out)
    go(net, 1, batch_size=batch_size, continue_fit=True, validation_data={"val": held_out, "test": held_out}, metrics="f1")
    history = go(net, 2, batch_size=batch_size, continue_fit=True)
    known = {name: np.flatnonzero(np.isfinite(values)).tolist() for name, values in history.history.items()}
    assert known == {"loss": [0, 1, 2, 3, 4, 5], "val_loss": [2, 3], "val_accuracy": [2], "val_f1": [3], "test_loss": [3], "test_f1": [3]}
    assert {len(values) for values in history.history.values()} == {6} and len(repr(history).splitlines()) == 7


def test_the_best_checkpoint_is_that_of_the_fit_which_is_continued(tmp_path):
    net, held_out = network(), (X[:9], LABELS[:9])
    go(net, 2, validation_data=held_out)
    history = go(net, 9, continue_fit=True, validation_data={"test": held_out}, optimizer=Adam(0.7), checkpoint=tmp_path, checkpoint_keep=99)
    best = Sequential.load(tmp_path / "best.safetensors").evaluate(*held_out)["loss"]
    assert best == np.nanmin(history["test_loss"]) < history["test_loss"][-1]


def diverge(net):
    with pytest.raises(DivergedError):
        net.fit(X, LABELS, optimizer=SGD(1e38), epochs=9, verbose=0)


@pytest.mark.parametrize(
    "before",
    [
        lambda net: None,
        diverge,
        lambda net: net.fit(X, LABELS, optimizer=LBFGS(), verbose=0),
        lambda net: (go(net, 1), net.set_trainable(0, False)),
    ],
)
def test_there_must_be_a_fit_to_continue(before):
    net = Sequential([Dense(8, "tanh"), Dense(3, "softmax")], n_features=4)
    before(net)
    with pytest.raises(ValueError, match=r"^continue_fit must be False for a network that holds no state of a fit; got True\. Copies, "):
        go(net, 1, continue_fit=True)


def test_a_copy_does_not_go_on():
    net = network()
    go(net, 1)
    with pytest.raises(ValueError, match="^continue_fit must be False"):
        go(pickle.loads(pickle.dumps(net)), 1, continue_fit=True)


def test_another_optimizer_or_batch_size_is_refused():
    net = network()
    go(net, 2, callbacks=Interrupt(5))
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"^optimizer must be that of the fit to continue, its learning_rate aside, Adam\(.*\); got SGD\(.*\)\.$"):
        go(net, 1, optimizer="sgd", continue_fit=True)
    with pytest.raises(ValueError, match=r"^optimizer must be that of the fit to continue, its learning_rate aside, Adam\(.*\); got LBFGS\(.*\)\.$"):
        go(net, 1, optimizer=LBFGS(), continue_fit=True)
    with pytest.raises(ValueError, match=r"^batch_size must be 16 in the middle of an epoch; got 8\.$"):
        go(net, 1, batch_size=8, continue_fit=True)
    np.testing.assert_array_equal(net.parameters, before)
    assert go(net, 1, optimizer=Adam(1e-3), continue_fit=True).epochs == [1, 2]
