"""Fits go on from their checkpoints, with the bits of those that were not interrupted."""

import errno
import faulthandler
import functools
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

import kernels
from fastnn import (
    EMA,
    LBFGS,
    SGD,
    SWA,
    Adam,
    CSVLogger,
    CustomLoss,
    Dense,
    Dropout,
    EarlyStopping,
    Focal,
    LayerNorm,
    Linear,
    OneCycle,
    ReduceOnPlateau,
    Rprop,
    Sequential,
    Standardize,
    StopWhen,
    checkpoints,
    files,
)
from fastnn.fingerprints import described
from fastnn.runs import THREAD
from fastnn.state import State
from tests.kill_resume import kill_and_resume

X = np.random.default_rng(4).normal(size=(50, 4))
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def network(**settings):
    return Sequential([Dense(8, "tanh"), LayerNorm(), Dropout(0.2), Dense(3, "softmax")], **{"n_features": 4, **settings})


def go(net, **settings):
    return net.fit(
        X,
        settings.pop("y", LABELS),
        **{"optimizer": Adam(OneCycle(0.05)), "epochs": 6, "batch_size": 16, "validation_data": (X[:9], LABELS[:9]), "verbose": 0, **settings},
    )


class Signal:
    """Sends a signal at a step."""

    def __init__(self, step, number=signal.SIGINT):
        self.step, self.number = step, number

    def on_batch_end(self, step, loss):
        if step == self.step:
            signal.raise_signal(self.number)


def knowing(folder, average=EMA(0.8, every_steps=3)):
    """Return callbacks that know something."""
    return [EarlyStopping(patience=2), average, ReduceOnPlateau(patience=1), CSVLogger(folder.parent / f"{folder.name}.csv")]


@pytest.mark.parametrize("settings", [{}, {"optimizer": Rprop(), "batch_size": None}, {"validation_data": None, "validation_split": 0.2}])
@pytest.mark.parametrize("every", [1, 0.4, 4])
def test_a_fit_that_is_interrupted_and_resumed_has_the_same_bits(tmp_path, settings, every):
    settings = {"checkpoint_every": every, "epochs": 12, **settings}
    whole, callbacks = network(), knowing(tmp_path / "whole")
    expected = go(whole, callbacks=callbacks, **settings)
    folder, steps, threads = tmp_path / "parts", [0, 4, 5, 6, 11, 12], 1
    for step in [*steps, None]:
        net, watchers = network(), knowing(folder)
        also = [] if step is None else [Signal(step)]
        threads = 3 - threads if kernels.max_threads() > 1 else 1
        actual = go(net, callbacks=[*watchers, *also], checkpoint=folder, resume=True, n_threads=threads, **settings)
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    assert actual.history == expected.history and actual.epochs == expected.epochs and not actual.interrupted
    assert (watchers[0].best, watchers[0].best_epoch) == (callbacks[0].best, callbacks[0].best_epoch)
    logs = [[line.rsplit(",", 1)[0] for line in path.read_text().splitlines()] for path in sorted(tmp_path.glob("*.csv"))]
    assert logs[0] == logs[1] and len(logs[0]) == len(expected.epochs) + 1


@pytest.mark.parametrize("method", ["on_epoch_begin", "on_epoch_trained", "on_epoch_end", "on_chunk_end"])
@pytest.mark.parametrize("average", [EMA(0.8, every_steps=3), SWA(start=2)])
def test_a_signal_around_an_epoch(tmp_path, method, average):
    class Once:
        def __call__(self, number, *logs):
            if number == 3:
                signal.raise_signal(signal.SIGINT)

    whole, parts, once = network(), network(), Once()
    setattr(once, method, once)
    expected = go(whole, callbacks=knowing(tmp_path / "whole", average))
    go(parts, callbacks=[*knowing(tmp_path / "parts", average), once], checkpoint=tmp_path / "parts")
    actual = go(parts, callbacks=knowing(tmp_path / "parts", average), checkpoint=tmp_path / "parts", resume=True)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    assert actual.history == expected.history


def test_killed_trainings_end_with_the_same_bits():
    assert kill_and_resume(3)[0] == 0


def test_a_fit_that_has_ended_is_not_trained_further(tmp_path):
    first, again = network(), network()
    expected = go(first, checkpoint=tmp_path, callbacks=StopWhen("loss", below=9.0))
    actual = go(again, checkpoint=tmp_path, callbacks=StopWhen("loss", below=9.0), resume=True)
    np.testing.assert_array_equal(again.parameters, first.parameters)
    assert actual == expected and len(actual.epochs) == 1


def test_a_dropout_by_schedule_goes_on(tmp_path):
    def net():
        return Sequential([Dense(8, "tanh"), Dropout(Linear(0.5)), Dense(3, "softmax")], n_features=4)

    whole, parts = net(), net()
    go(whole, optimizer="adam")
    go(net(), optimizer="adam", checkpoint=tmp_path, callbacks=Signal(9))
    with pytest.raises(ValueError, match=r"^n_steps must be as in .* to resume it, 24; got 28\.$"):
        go(net(), optimizer="adam", checkpoint=tmp_path, resume=True, epochs=7)
    go(parts, optimizer="adam", checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)


def test_more_epochs_may_follow(tmp_path):
    whole, parts = network(), network()
    settings = {"optimizer": Adam(Linear(0.1, n_steps=20)), "checkpoint": tmp_path}
    go(parts, epochs=2, **settings)
    actual = go(parts, epochs=5, resume=True, **settings)
    expected = go(whole, epochs=5, optimizer=settings["optimizer"])
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    assert actual.history == expected.history and parts.n_fits == whole.n_fits


def test_a_time_limit_ends_a_part_of_a_fit(tmp_path):
    whole = network()
    go(whole, epochs=3)
    for _ in range(13):
        net = network()
        history = go(net, epochs=3, checkpoint=tmp_path, resume=True, time_limit=1e-9)
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    assert history.epochs == [1, 2, 3]


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    net = network()
    history = go(net, checkpoint=tmp_path, checkpoint_keep=3, optimizer=Adam(0.7), epochs=20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", *(f"step-{4 * i:012d}.safetensors" for i in (18, 19, 20))]
    assert Sequential.load(tmp_path / "best.safetensors").evaluate(X[:9], LABELS[:9])["loss"] == min(history["val_loss"]) < history["val_loss"][-1]
    last = Sequential.load(tmp_path / f"step-{80:012d}.safetensors")
    np.testing.assert_array_equal(last.parameters, net.parameters)


def test_the_best_one_is_there_also_where_the_process_was_killed_before(tmp_path):
    go(network(), checkpoint=tmp_path, epochs=1)
    os.unlink(tmp_path / "best.safetensors")
    go(network(), checkpoint=tmp_path, epochs=1, resume=True, optimizer=Adam(OneCycle(0.05)))
    assert (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_write_a_checkpoint(tmp_path, number):
    heard = []

    class End:
        def on_fit_end(self):
            heard.append("end")

    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        history = go(network(), callbacks=[Signal(6, number), End()], checkpoint=tmp_path, checkpoint_every=9)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert history.interrupted and heard == ["end", *[signal.SIGTERM] * (number == signal.SIGTERM)]
    assert [path.name for path in tmp_path.glob("step-*")][-1:] == [f"step-{7:012d}.safetensors"]
    whole, parts = network(), network()
    go(whole)
    go(parts, checkpoint=tmp_path, checkpoint_every=2, resume=True)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_that_nobody_handles_ends_the_process_after_a_checkpoint(tmp_path, number):
    child = multiprocessing.get_context("fork").Process(target=go, args=(network(),), kwargs={"callbacks": Signal(6, number), "checkpoint": tmp_path})
    child.start()
    child.join()
    assert child.exitcode == -number
    assert [path.name for path in sorted(tmp_path.glob("step-*"))][-1:] == [f"step-{7:012d}.safetensors"]


def test_a_handler_of_sigusr1_stays(tmp_path):
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        assert len(go(network(), callbacks=Signal(6, signal.SIGUSR1), checkpoint=tmp_path).epochs) == 6
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1] and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="elsewhere Python does not know of handlers in C")
def test_a_handler_in_c_stays(tmp_path):
    with open(tmp_path / "log", "w+") as log:
        faulthandler.register(signal.SIGUSR1, log, all_threads=False)  # to look at those that run crashes now and then
        try:
            net = network()
            assert len(go(net, checkpoint=tmp_path / "run", epochs=2, callbacks=Signal(1, signal.SIGUSR1)).epochs) == 2
        finally:
            faulthandler.unregister(signal.SIGUSR1)
        log.seek(0)
        assert "most recent call first" in log.read()


def test_sigterm_is_left_alone_without_checkpoints():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        assert len(go(network(), callbacks=Signal(6, signal.SIGTERM)).epochs) == 6
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


# Orders with a memory.


def remembering(seed=0):
    draws = np.random.default_rng(seed)
    return lambda epoch: draws.permutation(50)


def test_a_function_with_a_memory_is_asked_again_from_the_first_epoch(tmp_path):
    whole, parts = network(), network()
    go(whole, shuffle=remembering())
    go(parts, shuffle=remembering(), checkpoint=tmp_path, callbacks=Signal(13))
    used = remembering()
    used(0)
    with pytest.raises(ValueError, match=r"^shuffle must give the rows that it gave before; got others in epoch 4\.$"):
        go(network(), shuffle=used, checkpoint=tmp_path, resume=True)
    go(parts, shuffle=remembering(), checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)


# What is refused.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"y": LABELS[::-1].copy()}, r"y must be as in .* to resume it, \(50,\) int64 \w+; got \(50,\) int64 \w+\."),
        ({"batch_size": 8}, r"optimizer must be as in .*n_steps=24.*; got .*n_steps=42.*"),
        ({"optimizer": Adam(0.1)}, r"optimizer must be as in .*OneCycle.*; got Adam\(learning_rate=0\.1, .*"),
        ({"shuffle": False}, r"shuffle must be as in .* to resume it, True; got False\."),
        ({"validation_data": None}, r"validation_data must be as in .*"),
        ({"sample_weight": np.ones(50)}, r"weights must be as in .* to resume it, None; got \(50,\) float64 \w+\."),
        ({"callbacks": EMA()}, r'callbacks must be as in .* to resume it, \["EarlyStopping"\]; got \["EMA"\]\.'),
        ({"resume": False}, r"checkpoint must be a folder without checkpoints unless resume=True; got '.*' with 2\."),
        ({"resume": 1}, r"resume must be True or False; got 1\."),
        ({"checkpoint": None}, r"resume must be False without checkpoint; got True\."),
        ({"checkpoint": 3}, r"checkpoint must be the path of a folder; got 3\."),
        ({"checkpoint": "a\0b"}, r"checkpoint must be without null characters; got 'a\\x00b'\."),
        ({"checkpoint_every": 0}, r"checkpoint_every must be above 0; got 0\."),
        ({"checkpoint_every": 1.5}, r"checkpoint_every above 1 must be an integer of at least 1; got 1\.5\."),
        ({"checkpoint_keep": 0}, r"checkpoint_keep must be an integer of at least 1; got 0\."),
    ],
)
def test_what_does_not_belong_to_the_checkpoint_is_refused(tmp_path, settings, message):
    go(network(), checkpoint=tmp_path, epochs=6, callbacks=EarlyStopping("loss", patience=99))
    net, files = network(), {path: path.read_bytes() for path in tmp_path.iterdir()}
    before = net.parameters.copy()
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        go(net, **{"checkpoint": tmp_path, "epochs": 6, "resume": True, "callbacks": EarlyStopping("loss", patience=99), **settings})
    np.testing.assert_array_equal(net.parameters, before)
    assert net.n_fits == 0 and {path: path.read_bytes() for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (lambda: network(dtype="float64"), "dtype"),
        (lambda: network(seed=1), "seed"),
        (lambda: Sequential([Dense(9, "tanh"), LayerNorm(), Dropout(0.2), Dense(3, "softmax")], 4), "layers"),
    ],
)
def test_another_network_is_refused(tmp_path, other, name):
    go(network(), checkpoint=tmp_path, epochs=1)
    with pytest.raises(ValueError, match=f"^{name} must be as in .* to resume it, "):
        go(other(), checkpoint=tmp_path, epochs=1, resume=True)


class Counting:
    """A callback that keeps its settings, one of them under another name, and a count that is none of them."""

    def __init__(self, limit, path):
        self._limit, self.path, self.count = limit, path, 0

    def on_epoch_end(self, epoch, logs):
        self.count += 1

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def scaled(factor):
    return lambda y, outputs: factor * float(np.mean(outputs))


def own_loss(power):
    return CustomLoss(lambda a, t, p: abs(a - t) ** p, lambda a, t, p: power * (a - t) * abs(a - t) ** (p - 2), [2.0], name="own")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            {"callbacks": EarlyStopping("val_loss")},
            {"callbacks": EarlyStopping("val_accuracy")},
            r"callbacks\[0\] .*monitor='val_loss'.*; got .*accuracy'",
        ),
        ({"callbacks": EarlyStopping(restore_best=False)}, {"callbacks": EarlyStopping()}, r"callbacks\[0\] "),
        ({"callbacks": [EarlyStopping("loss"), EarlyStopping()]}, {"callbacks": [EarlyStopping(), EarlyStopping("loss")]}, r"callbacks\[0\] "),
        ({"callbacks": EMA(0.8)}, {"callbacks": EMA(0.9)}, r"callbacks\[0\] .*decay=0.8.*decay=0.9"),
        ({"callbacks": SWA(1, 2)}, {"callbacks": SWA(1, 3)}, r"callbacks\[0\] .*every=2.*every=3"),
        ({"callbacks": Counting(1, "a")}, {"callbacks": Counting(2, "b")}, r"callbacks\[0\] .*Counting\(limit=1\); got Counting\(limit=2\)"),
        ({"metrics": "f1"}, {"metrics": ["f1", "accuracy"]}, r'metrics .*\["f1"\]; got \["f1", "accuracy"\]'),
        ({"metrics": {"own": scaled(2)}}, {"metrics": {"own": scaled(3)}}, r"metrics\['own'\] "),
        ({"optimizer": Adam(lambda step: 0.1)}, {"optimizer": Adam(lambda step: 0.2)}, "optimizer .*<lambda>"),
        ({"optimizer": Adam(lambda step: max(0.1, step))}, {"optimizer": Adam(lambda step: min(0.1, step))}, "optimizer .*<lambda>"),
    ],
)
def test_other_callbacks_metrics_and_functions_are_refused(tmp_path, before, after, message):
    before, after = {"optimizer": Adam(0.05), **before}, {"optimizer": Adam(0.05), **after}
    go(network(), checkpoint=tmp_path, epochs=1, **before)
    net = network()
    start = net.parameters.copy()
    with pytest.raises(ValueError, match=f"^{message}"):
        go(net, checkpoint=tmp_path, resume=True, epochs=2, **after)
    np.testing.assert_array_equal(net.parameters, start)
    assert len(go(net, checkpoint=tmp_path, resume=True, epochs=2, **before).epochs) == 2


def test_functions_with_another_body_are_others():
    assert described(own_loss(2)) == described(own_loss(2)) != described(own_loss(3))
    assert described(lambda x: x in {"a", "b"}) == described(lambda x: x in {"b", "a"}) != described(lambda x: x in {"a", "c"})
    assert described(functools.partial(scaled, 1)) != described(functools.partial(scaled, 2))
    assert described([object(), np.float64(2), np.arange(2)]).startswith("[<object object>, np.float64(2.0), (2,) int64 ")

    def recursive(n=1):
        return recursive(n - 1) if n else calls.append(n)

    calls = []
    before = described(recursive)
    recursive()
    assert described(recursive) == before


DESCRIBED = """
import collections, functools, sys
import numpy as np
import scipy.sparse
from fastnn.fingerprints import described, described_object

words, names = {"a", "b", "c"}, np.array(["x", "y"], object)
sparse, many = scipy.sparse.csr_matrix(np.eye(3)), collections.deque([1])

def metric(y, outputs, seen=frozenset({"u", "v", "w"}), memory=[], dtype=np.float64, *, table={}):
    if used:
        memory.append(1), table.update(a=1), many.append(2)
    return words, names, sparse, many

class Count:
    def __init__(self, n=0):
        self.n = n
    def state_dict(self):
        return {"n": self.n}

used = sys.argv[1] == "used"
if used:
    metric(0, 0)
one = Count()
one.n += used
one.other = one
print(described(metric), described((frozenset({"q", "r", "s"}), {"t", "u"}, {"k": 1})), described(functools.partial(metric, names)), described_object(one))
"""


def test_settings_are_known_again_in_other_processes():
    """Whatever the order of sets, where objects lie, and what functions and callbacks remember."""
    said = set()
    for seed, used in (("1", "new"), ("2", "used"), ("3", "new")):
        done = subprocess.run([sys.executable, "-c", DESCRIBED, used], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
        said.add(done.stdout)
    assert len(said) == 1


def test_what_a_callback_knows_may_become_of_another_kind(tmp_path):
    class Growing(Knowing):
        def on_epoch_end(self, epoch, logs):
            self.known = {"total": np.ones(3), "limit": None}

    go(network(), checkpoint=tmp_path, epochs=1, optimizer="adam", callbacks=Growing({"total": 0, "limit": 5}))
    again = Growing({"total": 0, "limit": 5})
    go(network(), checkpoint=tmp_path, epochs=1, optimizer="adam", resume=True, callbacks=again)
    assert again.known["total"].tolist() == [1, 1, 1] and again.known["limit"] is None


def test_epochs_without_end(tmp_path):
    settings = {"epochs": sys.maxsize, "checkpoint": tmp_path, "optimizer": "adam", "callbacks": StopWhen("loss", above=0.0)}
    for _ in range(2):  # the second time it was stopped already, by a checkpoint that is not taken for a damaged one
        assert len(go(network(), resume=True, **settings).epochs) == 1


def test_what_a_resumed_fit_may_have_otherwise(tmp_path):
    go(network(), checkpoint=tmp_path, epochs=1, optimizer="adam", callbacks=Counting(1, "a"))
    more = {"callbacks": [StopWhen("loss", below=0.0), Counting(1, "b")], "time_limit": 99, "checkpoint_every": 2, "checkpoint_keep": 1, "n_threads": 1}
    assert len(go(network(), checkpoint=tmp_path, epochs=3, optimizer="adam", resume=True, **more).epochs) == 3


def test_who_keeps_its_state_to_itself_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^checkpoint must be None for LBFGS, whose state SciPy keeps to itself; got '.*\.$"):
        go(Sequential([Dense(3, "softmax")], 4), optimizer=LBFGS(), checkpoint=str(tmp_path))


class Knowing:
    """Remembers something."""

    def __init__(self, known):
        self.known = known

    def on_fit_end(self):
        pass

    def state_dict(self):
        return self.known

    def load_state_dict(self, state):
        self.known = state


def test_a_refused_fit_leaves_no_folder(tmp_path):
    class Forgetful(Knowing):
        load_state_dict = property()

    for settings in ({"callbacks": Forgetful({})}, {"callbacks": EarlyStopping("test_loss")}, {"shuffle": [99]}):
        with pytest.raises((TypeError, ValueError), match=r"^callbacks must have load_state_dict where .* Forgetful without\.$|^monitor|^shuffle"):
            go(network(), checkpoint=tmp_path / "run", **settings)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"what": object()}, "Object of type object is not JSON serializable"),
        (None, "None"),
        ([], "a list"),
        ({1: 1, "1": 2}, "a name that is no string, 1"),
        ({"a": np.zeros(3, "f2")}, "an array 'a' of an unknown dtype"),
        ({"a": np.zeros(3, bool)}, "an array 'a' of an unknown dtype"),
        ({"a": np.zeros(3, ">f4")}, "an array 'a' of an unknown dtype"),
        ({"a": np.zeros(3, complex)}, "an array 'a' of an unknown dtype"),
        ({"a": np.array(["text"])}, "an array 'a' of an unknown dtype"),
        ({"a": np.array([None])}, "an array 'a' of an unknown dtype"),
        ({"a": np.zeros((1,) * 9)}, "an array 'a' of an impossible shape or place"),
        ({"\ud800": np.zeros(1)}, r"an array '\\ud800' whose name is no text"),
    ],
)
def test_what_a_checkpoint_cannot_hold_is_refused(tmp_path, known, message):
    with pytest.raises(TypeError, match=f"^state_dict of Knowing must return a dict of arrays of .*, and of what JSON can hold; got {message}"):
        go(network(), callbacks=Knowing(known), checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_checkpoint_can_hold_comes_back(tmp_path):
    known = {"a": np.array(3.0), "b": np.zeros((0, 2), "u1"), "c": np.arange(6).reshape(2, 3).T, "d": {"e": [1, None, "ä", True]}}
    go(network(), callbacks=Knowing(known), checkpoint=tmp_path, epochs=1)
    again = Knowing({})
    go(network(), callbacks=again, checkpoint=tmp_path, resume=True, epochs=1)
    assert sorted(again.known) == list("abcd") and again.known["d"] == known["d"]
    for name in "abc":
        np.testing.assert_array_equal(again.known[name], known[name], strict=True)


# Faults.


@pytest.mark.parametrize("owner, copies", [(checkpoints, "named"), (State, "arrays")])
def test_a_fit_goes_on_where_there_is_no_memory_for_a_checkpoint(owner, copies, tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError

    net = network()
    with pytest.warns(UserWarning, match=r"^checkpoint: .* cannot be written \(too little memory\): the training goes on, the checkpoints before are there\.$"):
        go(net, checkpoint=tmp_path, callbacks=Fault(4, lambda: monkeypatch.setattr(owner, copies, full)))
    monkeypatch.undo()
    assert [path.name for path in sorted(tmp_path.glob("step*"))] == [f"step-{4 * i:012d}.safetensors" for i in (2, 3)]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    net = network()
    with pytest.raises(OSError, match=r"^checkpoint must be a folder that can be written; got '.*file.run': Not a directory\.$"):
        go(net, checkpoint=tmp_path / "file" / "run")
    assert net.n_fits == 0


class Fault:
    """Lets something happen after an epoch."""

    def __init__(self, epoch, what):
        self.epoch, self.what = epoch, what

    def on_epoch_begin(self, epoch):
        if epoch == self.epoch:
            for thread in threading.enumerate():
                if thread.name == THREAD:
                    thread.join()
            self.what()


def full(monkeypatch, folder):
    def fsync(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def gone(monkeypatch, folder):
    shutil.move(folder, f"{folder}.away")


@pytest.mark.parametrize("fault", [full, gone])
def test_a_fit_goes_on_where_a_checkpoint_cannot_be_written(tmp_path, monkeypatch, fault):
    folder, whole, net = tmp_path / "run", network(), network()
    go(whole)
    with pytest.warns(UserWarning, match=r"^checkpoint: .*run cannot be written \(No .*\): the training goes on, the checkpoints before are there\.$") as seen:
        go(net, checkpoint=folder, callbacks=Fault(4, lambda: fault(monkeypatch, folder)))
    monkeypatch.undo()
    assert len(seen) == 1
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    if fault is gone:
        shutil.move(f"{folder}.away", folder)
    assert sorted(path.name for path in folder.glob("step*")) == [f"step-{4 * i:012d}.safetensors" for i in (2, 3)] and not list(folder.glob(".*"))
    again = network()
    go(again, checkpoint=folder, resume=True)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_the_one_before_a_damaged_one_is_taken(tmp_path):
    whole, net = network(), network()
    go(whole, checkpoint=tmp_path)
    newest = sorted(tmp_path.glob("step*"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1] + b"w")
    (tmp_path / ".step-1.part").write_bytes(b"half")
    with pytest.warns(UserWarning, match=r"^checkpoint: .* is damaged \(a wrong checksum\): step-0+20\.safetensors is taken\.$"):
        go(net, checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    assert not list(tmp_path.glob(".*")) and sum(path.suffix == ".damaged" for path in tmp_path.iterdir()) == 1


def test_a_checkpoint_is_written_where_there_is_no_thread(tmp_path, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    go(network(), checkpoint=tmp_path, epochs=2)
    assert [path.name for path in sorted(tmp_path.glob("step*"))] == [f"step-{4 * i:012d}.safetensors" for i in (1, 2)]


def damage(path):
    path.write_bytes(path.read_bytes()[:-1] + b"w")


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_skipped(tmp_path, kind):
    whole, net = network(), network()
    go(whole, checkpoint=tmp_path)
    newest = tmp_path / f"step-{99:012d}.safetensors"
    {"folder": os.mkdir, "pipe": os.mkfifo, "link": lambda path: os.symlink("nowhere", path)}[kind](newest)
    with pytest.warns(UserWarning, match=r"^checkpoint: .*99\.safetensors is damaged \(.*\): step-0+24\.safetensors is taken\.$"):
        go(net, checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_the_best_one_is_taken_where_all_others_are_damaged(tmp_path):
    settings = {"optimizer": Adam(0.7), "epochs": 20, "checkpoint": tmp_path}
    whole, net = network(), network()
    history = go(whole, **settings)
    assert np.argmin(history["val_loss"]) < 17
    for path in tmp_path.glob("step*"):
        damage(path)
    with pytest.warns(UserWarning, match=r"is damaged \(a wrong checksum\): best\.safetensors is taken\.$") as seen:
        assert go(net, resume=True, **settings).history == history.history
    assert len(seen) == 2 and (tmp_path / "best.safetensors").exists()
    np.testing.assert_array_equal(net.parameters, whole.parameters)


def test_a_warning_says_that_none_is_intact(tmp_path):
    go(network(), checkpoint=tmp_path)
    for path in tmp_path.iterdir():
        damage(path)
    with pytest.warns(UserWarning, match=r"is damaged \(a wrong checksum\): none is intact, the training begins anew\.$"):
        assert len(go(network(), checkpoint=tmp_path, resume=True).epochs) == 6


def hostile(path, change, arrays):
    """Write a checkpoint with another state under a checksum that fits."""
    settings, before = files.read(path)
    if change:
        change(settings)
    files.write(path, json.dumps(settings), before | arrays)


@pytest.mark.parametrize(
    ("change", "arrays", "message"),
    [
        (lambda s: s["fit"].update(epoch=10**9), {}, "a fit whose seconds is no list of 1000000000 numbers"),
        (lambda s: s["fit"].update(batch=10**9, rows=10**9), {}, "a fit whose losses is no list of 1000000000 numbers"),
        (lambda s: s["fit"].update(step=-1), {}, "a fit whose step is no int"),
        (lambda s: s["fit"].update(seed=2**64), {}, "a fit whose seed is no int"),
        (lambda s: s["fit"].pop("is_best"), {}, "a fit whose is_best is no bool"),
        (lambda s: s["fit"].update(best="x"), {}, "a fit whose best is no float"),
        (lambda s: s["fit"].update(facts=None), {}, "a fit whose facts is no dict"),
        (lambda s: s["fit"].update(source=None), {}, "a fit whose source is no dict"),
        (lambda s: s["fit"].update(source={"epoch": 10**9}), {}, "a fit that counts what cannot be"),
        (lambda s: s["fit"].update(callbacks=[3]), {}, "callbacks that remember nothing"),
        (lambda s: s.update(fit=[]), {}, "no state of a fit"),
        (lambda s: s.pop("fit"), {}, "no state of a fit"),
        (lambda s: s.update(n_fits="x"), {}, "a fit that counts what cannot be"),
        (lambda s: s.update(n_fits=2**62), {}, "a fit that counts what cannot be"),
        (lambda s: s.update(format=0), {}, "an unknown format"),
        (None, {"fit.seconds": np.zeros(3)}, "a fit whose seconds is no list of 6 numbers"),
        (None, {"fit.history.val_loss": np.zeros((2, 2))}, "a fit whose history.val_loss is no list"),
        (None, {"fit.losses": np.zeros(0, "f4")}, "a fit whose losses is no list"),
    ],
)
def test_a_hostile_checkpoint_is_a_damaged_one(tmp_path, change, arrays, message):
    go(network(), checkpoint=tmp_path)
    hostile(sorted(tmp_path.glob("step*"))[-1], change, arrays)
    net = network()
    with pytest.warns(UserWarning, match=rf"^checkpoint: .* is damaged \({message}.*\): step-0+20\.safetensors is taken\.$"):
        go(net, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "arrays", "message"),
    [
        (lambda s: s.update(format=3), {}, r"format 2 or older; got format 3\. Update fastnn\.$"),
        (None, {"fit.buffers": np.zeros(1, "f4")}, "an intact checkpoint; got one with other arrays than its settings name"),
        (None, {"dense.0.W": np.zeros((1, 1), "f4")}, "an intact checkpoint; got one with other arrays than its settings name"),
        (lambda s: s["fit"]["callbacks"].pop(), {}, "have a state for each of 2 callbacks; got 1"),
    ],
)
def test_a_hostile_checkpoint_changes_nothing(tmp_path, change, arrays, message):
    go(network(), checkpoint=tmp_path, callbacks=[EMA(), EarlyStopping()])
    hostile(sorted(tmp_path.glob("step*"))[-1], change, arrays)
    net = network()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=message):
        go(net, checkpoint=tmp_path, resume=True, callbacks=[EMA(), EarlyStopping()])
    np.testing.assert_array_equal(net.parameters, before)
    assert net.n_fits == 0


class Refusing(Counting):
    """A callback that raises in one of its methods."""

    def __init__(self, where=""):
        super().__init__(1, "a")
        self.path = where

    def on_fit_begin(self, network):
        self.refuse("begin")

    def state_dict(self):
        return {} if self.path != "state" else self.refuse("state")

    def load_state_dict(self, state):
        self.refuse("load")

    def refuse(self, where):
        if self.path == where:
            raise ValueError("no")


@pytest.mark.parametrize("where", ["begin", "load", "state"])
@pytest.mark.parametrize("fitted", [False, True])
def test_a_callback_that_refuses_to_resume_leaves_the_network_as_it_was(tmp_path, where, fitted):
    def made():
        return Sequential([Standardize(), Dense(8, "tanh"), Dense(3, "softmax")], n_features=4)

    net, other = made(), made()
    if fitted:
        for one in (net, other):
            go(one, optimizer=Adam(0.01), batch_size=25)
    go(pickle.loads(pickle.dumps(net)), checkpoint=tmp_path, callbacks=[Refusing(), EarlyStopping()], loss=Focal())
    before = net.layers, net.parameters.copy(), net.loss, net.n_fits
    with pytest.raises((TypeError, ValueError), match="no|state_dict of Refusing must return a dict"):
        go(net, checkpoint=tmp_path, callbacks=[Refusing(where), EarlyStopping()], resume=True, loss=Focal())
    assert (net.layers, net.loss, net.n_fits) == (before[0], *before[2:])
    np.testing.assert_array_equal(net.parameters, before[1])
    for one in (net, other):
        go(one, optimizer=Adam(0.01), batch_size=25, epochs=2, continue_fit=fitted)
    np.testing.assert_array_equal(net.parameters, other.parameters)


@pytest.mark.parametrize(
    ("change", "arrays", "message"),
    [
        (lambda s: s["fit"]["callbacks"][1].update(best="x"), {}, "EarlyStopping can take back; got TypeError: best is no number"),
        (lambda s: s["fit"]["callbacks"][1].pop("best"), {}, "EarlyStopping can take back; got KeyError"),
        (None, {"fit.callback.0.average": np.zeros(1)}, r"EMA can take back; got ValueError: average must have shape \(256,\); got \(1,\)\.$"),
        (None, {"fit.callback.0.average": np.zeros(256)}, r"EMA can take back; got TypeError: average must have dtype float32; got float64\.$"),
        (None, {"fit.callback.1.parameters": np.zeros(2, "f4")}, r"EarlyStopping .* parameters must have shape \(256,\); got \(2,\)\.$"),
        (None, {"fit.callback.1.parameters": np.zeros(0)}, r"EarlyStopping .* parameters must have shape \(256,\); got \(0,\)\.$"),
        (None, {"fit.callback.1.parameters": np.zeros(256)}, r"EarlyStopping .* parameters must have dtype float32; got float64\.$"),
        (None, {"fit.callback.1.parameters": np.full(256, np.nan, "f4")}, r"EarlyStopping .* parameters must be finite; got nan in row 0\.$"),
    ],
)
def test_a_state_that_a_callback_cannot_take_back_is_refused(tmp_path, change, arrays, message):
    go(network(), checkpoint=tmp_path, callbacks=[EMA(), EarlyStopping()])
    hostile(sorted(tmp_path.glob("step*"))[-1], change, arrays)
    net = network()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=message):
        go(net, checkpoint=tmp_path, resume=True, callbacks=[EMA(), EarlyStopping()])
    np.testing.assert_array_equal(net.parameters, before)
    assert net.n_fits == 0


def test_a_device_or_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "best.safetensors")
    with pytest.warns(UserWarning, match="^checkpoint: .* cannot be written \\(path must be a regular file where it exists; got '.*', a pipe or a device"):
        go(network(), checkpoint=tmp_path)
    assert stat.S_ISFIFO(os.stat(tmp_path / "best.safetensors").st_mode)


def test_no_part_stays(tmp_path):
    for _ in range(2):
        go(network(), checkpoint=tmp_path, epochs=1, resume=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", f"step-{0:012d}.safetensors", f"step-{4:012d}.safetensors"]


def test_a_loss_that_is_not_finite_leaves_the_checkpoints(tmp_path):
    with pytest.raises(ValueError, match="^loss must be finite"):
        go(network(), optimizer=SGD(lambda step: 0.01 if step < 9 else 1e38), checkpoint=tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("step*"))] == [f"step-{4 * i:012d}.safetensors" for i in (1, 2)]
