"""The team: each task once, whoever comes; helpers that never come, come late, are held up, leave, and come again."""

import os
import threading
import time

import numba
import numpy as np
import pytest

import kernels
from kernels import _jit, program, team
from kernels._tile import array_at
from kernels._wait import doze, fetch_add, load, store, ticks
from kernels.records import I, Record, address
from tests.kernels.networks import share_all
from tests.kernels.test_jit import run

MEMBERS = 4

WORK = Record(
    visits=(I, "address of how often each task was done"),
    workers=(I, "address of how many tasks each member did"),
    turn=(I, "rounds that are done"),
    wrong=(I, "tasks that were done in a round that was not theirs"),
    began=(I, "tasks of all rounds that began"),
    dozes=(I, "how often a task dozes"),
    long=(I, "how often a task of `slow` dozes"),
    slow=(I, "member that is slow, or -1"),
    others=(I, "tasks that had begun when the slow member's was done"),
    last=(I, "who did the task of this round that was done last"),
    alone=(I, "address of the word that says until when the driver works alone, 0: left as it is"),
)


@numba.njit
def ticks_now():
    return ticks()


def compiled(function):
    return numba.njit(no_cpython_wrapper=True, **_jit.FLAGS)(function)


@compiled
def work(tag, t, worker, record, now):
    W = WORK(record)
    fetch_add(record + BEGAN, 1)
    fetch_add(W.workers + 8 * worker, 1)
    if fetch_add(W.visits + 8 * t, 1) != load(record + TURN):
        fetch_add(record + WRONG, 1)
    for _ in range(W.long if worker == W.slow else W.dozes):
        doze()
    if worker == W.slow:
        W.others = load(record + BEGAN)
    store(record + LAST, worker)


@compiled
def next_round(tag, t, worker, record, now):
    W = WORK(record)
    for _ in range(W.dozes if W.slow < 0 else 0):
        doze()
    store(record + TURN, load(record + TURN) + 1)
    if W.alone != 0:
        store(W.alone, 0)


TURN, WRONG, BEGAN, LAST = (WORK.offset(name) for name in ("turn", "wrong", "began", "last"))


class Rounds:
    """A program of some tasks and of one task after them, which members do round after round."""

    def __init__(self, tasks, **values):
        self.visits, self.workers = np.zeros(tasks, np.int64), np.zeros(MEMBERS, np.int64)
        self.record = WORK.new(**{"slow": -1, **values, "visits": address(self.visits), "workers": address(self.workers)})
        self.program = kernels.Program("float32", 1, MEMBERS)
        self.program.mark("work")
        self.program.phase(work, tasks, self.record, 1e9, "")
        self.program.mark("turn")
        self.program.phase(next_round, 1, self.record, 0.0, "")
        self.program.close()

    def run(self, where, rounds=1):
        assert self.program.run("work", "end", rounds, where) == rounds
        assert self.record["wrong"][0] == 0
        assert (self.visits == self.record["turn"][0]).all()

    @property
    def helped(self):
        return self.workers[1:].any()

    def run_until(self, happened, members, seconds=20.0):
        """Let a team do rounds until something happened: a helper may come late, or go, on a busy machine."""
        end = time.perf_counter() + seconds
        while not happened() and time.perf_counter() < end:
            with team.share(members) as where:
                team._team.board["alone_until"] = 0
                self.run(where)
        assert happened()


@pytest.fixture
def fresh(monkeypatch):
    """A team of its own for as many members as the tests want, whatever the CPUs, and phases that are shared however small."""
    for module in (_jit, program, kernels, kernels._door):
        monkeypatch.setattr(module, "max_threads", lambda: MEMBERS)
    share_all(monkeypatch)
    new = team._Team()
    monkeypatch.setattr(team, "_team", new)
    yield new
    new.close()
    assert not any(one.is_alive() for one in new.helpers)


def wait_for(happened, seconds=20.0):
    end = time.perf_counter() + seconds
    while not happened() and time.perf_counter() < end:
        time.sleep(0.001)
    assert happened()


def asleep(a_team):
    """Whether all helpers have left compiled code and wait to be called."""
    return all(one.wake._cond._waiters for one in a_team.helpers)


@pytest.mark.parametrize("members", [2, 3, 4])
@pytest.mark.parametrize("tasks", [2, 3, 7, 4000])
def test_each_task_is_done_once_in_its_round(fresh, members, tasks):
    rounds = Rounds(tasks, alone=fresh.address + team.BOARD.offset("alone_until"))
    with team.share(members) as where:
        end = time.perf_counter() + 0.25
        while time.perf_counter() < end:
            rounds.run(where, max(1, 300 // tasks))
    rounds.run_until(lambda: rounds.helped, members)
    assert not rounds.workers[members:].any()
    assert rounds.workers.sum() == tasks * rounds.record["turn"][0]


def test_tasks_may_be_many(fresh):
    rounds = Rounds((1 << 20) + 3)
    with team.share(2) as where:
        rounds.run(where)


def test_tasks_without_a_team_are_done_in_order_by_the_caller():
    rounds = Rounds(5)
    rounds.run(0, 3)
    assert rounds.workers.tolist() == [15, 0, 0, 0]


def test_helpers_that_cannot_be_started(fresh, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    rounds = Rounds(50)
    for _ in range(3):
        with team.share(3) as where:
            rounds.run(where, 20)
    assert rounds.workers.tolist() == [3000, 0, 0, 0]
    monkeypatch.undo()
    assert fresh.helpers == []
    fresh.close()


def test_helpers_that_are_never_scheduled(fresh, monkeypatch):
    stay = threading.Event()
    monkeypatch.setattr(team._Helper, "run", lambda helper: stay.wait())
    rounds = Rounds(50)
    with team.share(3) as where:
        rounds.run(where, 20)
    assert rounds.workers.tolist() == [1000, 0, 0, 0] and len(fresh.helpers) == 2
    stay.set()


@pytest.mark.parametrize("members", [2, 3])
def test_who_is_held_up_holds_up_its_one_task_and_burns_no_cpu(fresh, members):
    rounds, spent = Rounds(40, slow=1, long=4000), []  # dozes of at least 50 us: 0.2 s

    def came():
        now = time.perf_counter(), time.thread_time(), time.process_time()
        if rounds.workers[1]:
            spent[:] = [after - before for before, after in zip(began, now)]
            return True
        rounds.record["began"] = 0
        began[:] = now
        return False

    began = [0.0] * 3
    rounds.run_until(came, members)
    took, by_driver, by_all = spent
    assert took > 0.2
    assert rounds.workers[1] == 1
    assert rounds.record["others"][0] == 40  # the others' tasks did not wait
    assert by_driver < 0.2 * took
    assert by_all < 0.2 * members * took
    assert fresh.board["alone_until"][0] > 0
    before = rounds.workers.copy()
    with team.share(members) as where:
        rounds.run(where)  # nobody waits for it again
    assert (rounds.workers - before).tolist() == [40, 0, 0, 0]


def test_who_works_alone_for_a_while_shares_what_is_left_of_the_phase_then(fresh):
    """Each task is done once, the first ones by the driver, and some of the later ones by helpers."""
    rounds = Rounds(400, dozes=1)

    def happened():
        with team.share(3) as where:
            before = rounds.workers[1:].sum()
            fresh.board["alone_until"] = ticks_now() + 5_000_000  # some ms, of a phase of 20 ms and more
            rounds.run(where)
            return before < rounds.workers[1:].sum() and fresh.board["alone_until"][0] == 0

    wait_for(happened)


def test_members_of_nearly_the_same_speed_are_not_held_up(fresh):
    rounds, together = Rounds(2, slow=1, dozes=100, long=110), []

    def often():
        together.append(rounds.record["last"][0] == 1 and fresh.board["alone_until"][0] == 0)
        rounds.record["last"] = 0
        return sum(together) == 3

    rounds.run_until(often, 2)


def test_a_helper_waits_while_somebody_drives(fresh):
    """A task that nobody can share may take longer than an idle helper stays."""
    rounds, most = Rounds(4, dozes=200), 0
    for _ in range(10):  # on a busy machine the system may take a member away
        fresh.board["alone_until"] = 0
        with team.share(2) as where:
            rounds.program.run("turn", "end", 1, where)
            rounds.visits += 1
            before = rounds.workers[1]
            rounds.run(where)
        most = max(most, rounds.workers[1] - before)
        if most:
            break
    assert most


def test_a_helper_that_is_called_on_its_way_out_comes_again(fresh, monkeypatch):
    left, go, real = threading.Event(), threading.Event(), team._help

    def leave_slowly(where, me):
        real(where, me)
        left.set()
        go.wait()

    leave_slowly.compile = real.compile
    monkeypatch.setattr(team, "_help", leave_slowly)
    with team.share(2):
        pass
    assert left.wait(20)
    rounds = Rounds(20, dozes=20, alone=fresh.address + team.BOARD.offset("alone_until"))
    with team.share(2) as where:
        go.set()
        rounds.run(where, 3)
    assert rounds.helped


def test_idle_helpers_use_no_cpu(fresh):
    rounds = Rounds(40)
    rounds.run_until(lambda: rounds.helped, 4)
    wait_for(lambda: asleep(fresh))
    start = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - start < 0.01


def test_helpers_end_after_a_while_and_start_again(fresh, monkeypatch):
    monkeypatch.setattr(team, "IDLE_SECONDS", 0.01)
    for _ in range(2):
        rounds = Rounds(40, dozes=1)
        rounds.run_until(lambda rounds=rounds: rounds.helped, 3)
        assert len(fresh.helpers) == 2
        wait_for(lambda: not any(one.is_alive() for one in fresh.helpers))


def test_there_are_as_many_helpers_as_were_asked_for_and_no_others_work(fresh):
    def helpers():
        return sum(one.name.startswith("fastnn-helper") for one in threading.enumerate() if one in fresh.helpers)

    for n_threads, expected in ((1, 0), (2, 1), (3, 2), (2, 2), (100, MEMBERS - 1), (2, MEMBERS - 1)):
        rounds = Rounds(40, alone=fresh.address + team.BOARD.offset("alone_until"))
        with team.share(n_threads) as where:
            assert (where == 0) == (n_threads == 1)
            rounds.run(where, 50)
        assert helpers() == len(fresh.helpers) == expected
        assert not rounds.workers[min(n_threads, MEMBERS) :].any()


def test_one_drives_at_a_time(fresh):
    seen = []

    def ask():
        with team.share(2) as where:
            seen.append(where)

    with team.share(2):
        ask()
        other = threading.Thread(target=ask)
        other.start()
        other.join()
    ask()
    assert seen == [0, 0, fresh.address]
    fresh.close()
    ask()
    assert seen[-1] == 0


def test_an_error_gives_the_team_back(fresh):
    with pytest.raises(ZeroDivisionError):
        with team.share(2):
            1 / 0
    assert fresh.board["shares"][0] == 0
    with team.share(2) as where:
        assert where == fresh.address


# Fits.

CLASSES = kernels.Objective(kernels.CROSS_ENTROPY)
ADAM = [0.9, 0.999, 1e-8, 0]
PLAN = kernels.Plan([30, 70, 33, 10], [kernels.RELU, kernels.GELU, kernels.SOFTMAX], [0.1, 0.0, 0.2])


class Fit:
    """Steps of a small network, whose parameters can be compared to the bit."""

    def __init__(self, n_threads, seed=0):
        rng = np.random.default_rng(seed)
        self.X, self.y, self.n_threads = rng.standard_normal((400, 30), np.float32), rng.integers(0, 10, 400), n_threads
        self.parameters = (0.1 * rng.standard_normal(PLAN.parameters_size)).astype("f4") * PLAN.mask()
        self.trainer = kernels.Trainer(PLAN, self.parameters, 100, CLASSES, kernels.ADAM, ADAM, n_threads=n_threads)

    def steps(self, first, last):
        for step in range(first, last):
            self.trainer.train(self.X, self.y, np.arange(400)[step % 4 * 100 :][:100], step, np.full(1, 1e-2))
        return self

    def result(self):
        return self.parameters.tobytes() + kernels.predict(PLAN, self.parameters, self.X, n_threads=self.n_threads).tobytes()


def test_eight_fits_at_once_have_the_bits_of_each_alone(fresh):
    expected = [Fit(1, seed).steps(0, 60).result() for seed in range(8)]
    results = [None] * 8

    def fit(k):
        results[k] = Fit(1 + k % MEMBERS, k).steps(0, 60).result()

    threads = [threading.Thread(target=fit, args=(k,)) for k in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert results == expected


PRODUCTS = Record(
    x=(I, "address of two factors of each task"),
    out=(I, "address of the products"),
    workers=(I, "address of who did each task"),
)


@compiled
def multiply(tag, t, worker, record, now):
    P, zero = PRODUCTS(record), np.float32(0)
    x = array_at(zero, P.x + 8 * t, 2)
    doze()
    array_at(zero, P.out + 4 * t, 1)[0] = x[0] * x[1]
    array_at(np.int64(0), P.workers + 8 * t, 1)[0] = worker


@numba.njit
def products(where, function, count, record, mode):
    before = kernels.set_flush_denormal(mode)
    team.run_tasks(where, function, count, record, np.int64(0))
    kernels.set_flush_denormal(before)


def test_helpers_calculate_as_the_driver_does(fresh):
    x, out, workers = np.array([[1e-30, 1e-10]] * 50, np.float32), np.empty(50, np.float32), np.zeros(50, np.int64)
    record, helped = PRODUCTS.new(x=address(x), out=address(out), workers=address(workers)), {True: 0, False: 0}
    end = time.perf_counter() + 20
    while not all(helped.values()) and time.perf_counter() < end:
        for mode in helped:
            with team.share(MEMBERS) as where:
                fresh.board["alone_until"] = 0
                products(where, program.task_address(multiply, "float32"), 50, address(record), mode)
            assert ((out == 0) == mode).all()
            helped[mode] += np.count_nonzero(workers)
    assert all(helped.values())


@pytest.mark.parametrize("n_threads", [2, 3, 4])
def test_bits_are_those_of_one_thread(fresh, n_threads):
    assert Fit(n_threads).steps(0, 100).result() == Fit(1).steps(0, 100).result()


def test_a_callback_may_fit_and_predict(fresh):
    import fastnn

    def network():
        return fastnn.Sequential([fastnn.Dense(40, "relu"), fastnn.Dense(3, "softmax")], n_features=5, seed=1)

    class Nested:
        def on_fit_begin(self, network):
            self.network = network

        def on_epoch_end(self, epoch, logs):
            predictions.append(self.network.predict(X, n_threads=2))
            inner = network()
            inner.fit(X, y, epochs=1, n_threads=2, verbose=0)
            inners.append(inner.weights[0][0])
            return False

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 5)).astype("f4"), rng.integers(0, 3, 300)
    predictions, inners, results = [], [], []
    for n_threads, callbacks in ((1, ()), (2, [Nested()])):
        outer = network()
        outer.fit(X, y, epochs=3, n_threads=n_threads, verbose=0, callbacks=callbacks)
        results.append(outer.predict(X, n_threads=n_threads))
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(predictions[-1], results[1])
    assert len(inners) == 3
    for inner in inners[1:]:
        np.testing.assert_array_equal(inner, inners[0])


# Processes.

PREPARE = """
import os, sys, threading, time, warnings
import kernels, kernels.prediction
from tests.kernels.test_team import Fit
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
for name in ("TEAM_WORK", "LARGE_WORK", "FUSED_WORK", "SURE_WORK"):
    setattr(kernels.sharing, name, 0)
sys.modules["kernels.gather"].LARGE_WORK = 0
expected = Fit(1).steps(0, 60).result()

def wait(child, seconds=60):
    "Return the exit code of a child, which must end in time."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, 9)
    raise AssertionError("a child hangs")
"""

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@forks
def test_a_process_may_fork_in_the_middle_of_fits():
    """Children and their children go on with the fit and begin others; so does the parent, and a thread that was inside a fit."""
    run(
        """
        def go_on(fit, depth):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    if depth:
                        go_on(Fit(2).steps(0, 30), depth - 1)
                    same = fit.steps(30, 60).result() == expected
                    code = 0 if same and Fit(3).steps(0, 60).result() == expected else 2
                finally:
                    os._exit(code)
            assert wait(child) == 0

        go_on(Fit(2).steps(0, 30), 1)
        stop, results = threading.Event(), []
        def beside():
            while not stop.is_set():
                results.append(Fit(2).steps(0, 60).result())
        other = threading.Thread(target=beside)
        other.start()
        for _ in range(5):
            go_on(Fit(2).steps(0, 30), 1)
        stop.set()
        other.join()
        assert set(results) == {expected}
        fit = Fit(3).steps(0, 30)
        go_on(fit, 0)
        assert fit.steps(30, 60).result() == expected
        """,
        prepare=PREPARE,
        NUMBA_NUM_THREADS="4",
    )


@forks
def test_a_child_that_is_forked_while_another_thread_compiles_does_not_wait_for_it():
    run(
        """
        from numba.core.compiler_lock import global_compiler_lock
        holds = threading.Event()
        def compiling():
            with global_compiler_lock:
                holds.set()
                time.sleep(0.3)
        other = threading.Thread(target=compiling)
        other.start()
        holds.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if Fit(2).steps(0, 60).result() == expected else 2)
        assert wait(child, 30) == 0
        other.join()
        assert Fit(2).steps(0, 60).result() == expected
        """,
        prepare=PREPARE,
    )


EXITS = """
import atexit
Fit(4).steps(0, 4)  # everything is compiled

def spinning():
    Fit(3).steps(0, 2)

def asleep():
    Fit(3).steps(0, 2)
    time.sleep(0.1)

def driving():
    with kernels.team.share(3):
        sys.exit(3)

def for_ever():
    fit, step = Fit(2), 0
    while True:
        fit.steps(step, step + 1)
        step += 1

def daemons():
    for _ in range(3):
        threading.Thread(target=for_ever, daemon=True).start()
    time.sleep(0.05)

def users():
    for _ in range(3):
        threading.Thread(target=lambda: Fit(2).steps(0, 200)).start()

def close():
    start = time.monotonic()
    kernels.team._close()
    if time.monotonic() - start > 0.9:
        os._exit(4)  # helpers did not come home

atexit.unregister(kernels.team._close)
atexit.register(close)
for scenario in (spinning, asleep, driving, daemons, users, daemons):
    for _ in range(2):
        child = os.fork()
        if child == 0:
            scenario()
            sys.exit(3)
        code = wait(child)
        assert code == 3, (scenario, code)
spinning()
"""


@forks
def test_an_interpreter_ends_at_once_whatever_helpers_do():
    """Spinning, asleep, in the middle of a team's work, with daemon and other threads inside fits; a forked child and its parent."""
    run(EXITS, prepare=PREPARE, NUMBA_NUM_THREADS="4")
