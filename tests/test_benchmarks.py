"""The benchmarks measure what they say; how fast anything is, no test says."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import against, baseline, busy, checkpoints, common, compare, detect, history, initializers, peers, tables, threads

ROOT = Path(__file__).resolve().parent.parent


OURS = re.compile(r"^(?:import|from) (fastnn|kernels|benchmarks)\b", re.MULTILINE)
SCRIPTS = [
    path for path in sorted((ROOT / "benchmarks").glob("*.py")) if f"python benchmarks/{path.name}" in path.read_text() and OURS.search(path.read_text())
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_imports_the_checkout_that_it_lies_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = ast.parse(path.read_text()).body
    first = next(i for i, statement in enumerate(statements) if OURS.match(ast.unparse(statement)))
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    exec(compile(ast.Module(statements[:first], []), path, "exec"), {"__name__": "__main__", "__file__": str(path)})
    assert sys.path[0] == str(ROOT)


def test_flops_of_a_step_by_hand() -> None:
    problem = peers.make_problem([3, 5, 2], 4)
    forward, weight_gradients, input_gradients = 2 * 4 * (3 * 5 + 5 * 2), 2 * 4 * (3 * 5 + 5 * 2), 2 * 4 * 5 * 2
    assert problem.flops_per_step == forward + weight_gradients + input_gradients


def test_a_problem_visits_each_row_once() -> None:
    problem = peers.make_problem([8, 16, 3], 16, seconds=1e-5)
    assert sorted(problem.order) == list(range(len(problem.X)))
    assert [len(rows) for rows in problem.minibatches] == [16] * (len(problem.X) // 16)


def test_fastnn_and_numpy_do_the_same_work() -> None:
    problem = peers.make_problem([12, 33, 17, 5], 16, most_rows=320, least_steps=20)
    fastnn, numpy = peers.Fastnn(problem, 1), peers.Numpy(problem, 1)
    fastnn.net.set_weights([(W.copy(), b.copy()) for W, b in numpy.net.weights])
    assert fastnn.run(20) == numpy.run(20) == 20
    for (actual_W, actual_b), (expected_W, expected_b) in zip(fastnn.net.weights, numpy.net.weights):
        np.testing.assert_allclose(actual_W, expected_W, atol=1e-4)
        np.testing.assert_allclose(actual_b, expected_b, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in peers.SIDES if name != "fastnn"])
def test_a_peer_takes_the_steps_asked_for(name: str) -> None:
    if name not in peers.available([name]):
        pytest.skip(f"{name} is not installed")
    problem = peers.make_problem([12, 33, 5], 16, most_rows=320, least_steps=20)
    side = peers.SIDES[name][1](problem, 1)
    assert [side.run(steps) for steps in (20, 40)] == [20, 40]


@pytest.mark.parametrize("name", peers.PREDICTORS)
def test_a_peer_predicts_the_same(name: str) -> None:
    if name not in peers.available([name]):
        pytest.skip(f"{name} is not installed")
    net, X = baseline.Network([12, 33, 5], 7), common.random(7, 12)
    weights = [(W.copy(), b.copy()) for W, b in net.weights]
    actual = peers.PREDICTORS[name][1](weights, 1)(X)
    np.testing.assert_allclose(actual, net.forward(X, np.empty((7, 5), np.float32)), atol=1e-6)


class Machine:
    """A machine whose clock goes on only while it works; `noise` gives the factor by which the next turn is slower."""

    def __init__(self, noise: Callable[[], float] = lambda: 1.0) -> None:
        self.now, self.noise = 0.0, noise

    def clock(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.now += seconds * self.noise()

        return call

    def ratio(self, new: float, base: float) -> float:
        return common.relative_time(lambda: (self.work(new), self.work(base)), clock=self.clock)


def test_relative_time_is_that_of_the_new_one() -> None:
    assert Machine().ratio(0.003, 0.002) == pytest.approx(1.5)


def test_relative_time_sees_15_percent_through_bursts_of_another_load() -> None:
    rng = np.random.default_rng(0)

    def ratio(new: float) -> float:
        factors = rng.choice([1.0, 1.02, 1.6, 9.0], p=[0.4, 0.2, 0.3, 0.1], size=1000)
        machine = Machine()
        machine.noise = lambda: factors[int(machine.now / 0.003) % 1000]
        return machine.ratio(new, 0.00013)

    for _ in range(10):
        before, after, again = ratio(0.000100), ratio(0.000115), ratio(0.000100)
        assert after / before > 1.10
        assert 1 / 1.05 < again / before < 1.05


def test_relative_time_follows_a_machine_that_changes_its_pace() -> None:
    machine = Machine()
    machine.noise = lambda: 1.0 if machine.now < 0.3 else 1.7 if machine.now < 0.9 else 1.4
    assert machine.ratio(0.0002, 0.0001) == pytest.approx(2.0, rel=0.02)


def test_relative_time_does_not_depend_on_an_unlucky_allocation() -> None:
    machine, luck = Machine(), iter([1.3, 1.0, 3.0, 1.0, 1.0])

    def make() -> tuple[Callable[[], None], Callable[[], None]]:
        return machine.work(0.0001 * next(luck)), machine.work(0.0001)

    assert common.relative_time(make, blocks=5, clock=machine.clock) == pytest.approx(1.0)


def test_a_slow_call_is_timed_alone() -> None:
    machine = Machine()
    assert common._calls_in(machine.work(0.5), 0.002, machine.clock) == 1
    assert common._calls_in(machine.work(0.0001), 0.002, machine.clock) == 20


def test_arrays_begin_at_a_cache_line() -> None:
    for shape, dtype in (((3, 5), "float32"), (7, "float64"), ((2, 3, 4), "bool")):
        actual = baseline.zeros(shape, dtype)
        assert actual.ctypes.data % 64 == 0
        assert actual.shape == np.empty(shape).shape
        assert actual.dtype == dtype
        assert not actual.any()


def test_hold_threads_holds_every_library_or_skips() -> None:
    code = """
import os, numba, threadpoolctl, kernels
from benchmarks.common import hold_threads
hold_threads(1)
assert kernels.default_threads() == numba.config.NUMBA_NUM_THREADS == 1
assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"} == {1}
try:
    hold_threads(os.cpu_count() + 1)
except NotImplementedError:
    print("skipped")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "skipped\n", done.stderr


def test_compare_takes_the_median_of_the_ratios() -> None:
    times = {"fastnn": np.array([1.0, 2.0, 1.0]), "torch": np.array([3.0, 4.0, 2.5])}
    assert compare.ratio(times, "torch") == 2.5


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="holding a process to some CPUs is Linux's")
def test_compare_prints_a_row(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    options = "--rounds 1 --seconds 0.001 --pause 0 --networks 1 --peers numpy --only training --threads 1 --json".split()
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "compare.py"), *options, str(rows)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| 2-16-2 | 16 |" in done.stdout
    assert rows.read_text().startswith("[")


def test_two_checkouts_take_turns() -> None:
    calls = []

    class Side:
        def __init__(self, name: str, seconds: float) -> None:
            self.name, self.seconds = name, seconds

        def __call__(self, epochs: int, **network: object) -> float:
            calls.append((self.name, epochs, *network))
            return self.seconds

    args = against.parse(["folder", "--rounds", "2", "--seconds", "1", "--pause", "0"])
    times = against.cell([Side("base", 0.5), Side("here", 0.25)], [2, 3, 2], 16, args)  # type: ignore[list-item]
    np.testing.assert_array_equal(times, [[0.5, 0.25], [0.5, 0.25]])
    assert calls[:2] == [(name, 1, "widths", "rows", "batch_size") for name in ("base", "here")]
    assert calls[-4:] == [("here", 4), ("base", 4), ("base", 4), ("here", 4)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="holding a process to some CPUs is Linux's")
def test_busy_processes_end() -> None:
    with busy.busy(2, min(os.sched_getaffinity(0))) as loops:
        assert [loop.poll() for loop in loops] == [None, None]
    assert all(loop.poll() is not None for loop in loops)


@pytest.mark.parametrize("module", [busy, threads])
def test_the_commands_for_threads_name_what_can_be_left_out(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    args = module.parse(["--rounds", "2"])  # type: ignore[attr-defined]
    assert (args.rounds, len(args.only) > 1) == (2, True)
    with pytest.raises(SystemExit):
        module.parse(["--only", "nothing"])  # type: ignore[attr-defined]
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


def test_each_commit_has_a_private_cache(tmp_path: Path) -> None:
    code = "import benchmarks, os; print(os.environ['NUMBA_CACHE_DIR'])"
    environment = {**os.environ, "ASV_COMMIT": "abc", "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    assert folder == tmp_path / "fastnn-asv" / "abc"
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def commands(path: Path) -> list[str]:
    """Return the commands in the table or the shell blocks of a README."""
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"`([^`\n]+)`", text) + [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [command.strip() for line in lines for command in line.split("#")[0].split("&&")]


@pytest.mark.parametrize("readme", ["README.md", "benchmarks/README.md"])
def test_the_commands_of_the_readme_are_asvs(readme: str) -> None:
    asv = pytest.importorskip("asv.commands")
    parser = asv.make_argparser()[0]
    found = [shlex.split(command)[1:] for command in commands(ROOT / readme) if command.startswith("asv ")]
    assert {"run", "find", "publish", "profile"} <= {arguments[0] for arguments in found}
    for arguments in found:
        parser.parse_args(arguments)


def test_history_shows_what_moved() -> None:
    columns = list(history.COLUMNS)[:2]
    rows = [history.Commit(f"{i}" * 40, f"Commit {i}", dict(zip(columns, values))) for i, values in enumerate([(1.0, 2.0), (1.05, 2.0), (1.2, 1.5)])]
    lines = history.table(rows, {"2222": "a reason"}).splitlines()
    assert lines[2].startswith("| 00000000 | 1.00 | 2.00 | - |") and lines[2].endswith("|  |")
    assert lines[3].startswith("| 11111111 | 1.05 | 2.00 |") and lines[3].endswith("|  |")
    assert lines[4].startswith("| 22222222 | **1.20** | **1.50** |") and lines[4].endswith("| a reason |")


def test_history_finds_a_value_among_the_parameters() -> None:
    result = {"params": [["'a'", "'b'"], ["1", "2"]], "result": [1.0, 2.0, 3.0, float("nan")]}
    assert history.pick(result, ("'b'", "1")) == 3.0
    assert history.pick(result, ("'b'", "2")) is None
    assert history.pick(result, ("'c'", "2")) is None
    assert history.pick({"params": [], "result": [4.0]}, ()) == 4.0


def test_an_injected_slowdown_computes_the_same(tmp_path: Path) -> None:
    """The slower kernels of detect.py: right results (of Adam beyond the share), and every changed line is still in the sources."""
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    for name, injection in detect.KERNELS.items():
        with open(tmp_path / "kernels" / f"{injection.file}.py", "a") as file:
            file.write(injection.code(name, 0.15))
    for change in detect.ELSEWHERE.values():
        assert change.old in (ROOT / "kernels" / f"{change.file}.py").read_text()
    code = """
import gc, numpy as np, kernels
gc.disable()  # see tests/conftest.py
Z = np.linspace(-3, 3, 200, dtype=np.float32).reshape(20, 10)
out, labels = np.empty_like(Z), np.arange(20) % 10
print(kernels.tanh_forward.compiled.__name__, kernels.linear_forward.compiled.__name__)
kernels.tanh_forward(Z, out)
print(np.abs(out - np.tanh(Z)).max() < 1e-6)
kernels.linear_forward(Z, np.eye(10, dtype=np.float32), np.zeros(10, np.float32), kernels.RELU, out)
print(np.array_equal(out, np.maximum(Z, 0)))
print(abs(kernels.softmax_cross_entropy(Z, labels, 1 / 20, out) + np.log(np.exp(Z)[np.arange(20), labels] / np.exp(Z).sum(1)).mean()) < 1e-6)
w, g, m, v = (np.full(20, x, np.float32) for x in (1, 1, 0, 0))
kernels.adam_update(w, g, m, v, 0.1, 0.9, 0.999, 1e-8, 0.0, 1)
print(np.allclose(w[3:], 0.9))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_OPT": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["_slow_tanh_forward", "_slow_linear_forward", *["True"] * 4], done.stdout + done.stderr


def test_tables_are_numbers_made_from_the_training_rows() -> None:
    train = np.array([0, 1, 2])
    np.testing.assert_array_equal(tables.encoded(["1", "", "3", "9"], train), [[1], [2], [3], [9]])
    np.testing.assert_array_equal(tables.encoded(["b", "a", "?", "c"], train), [[0, 1], [1, 0], [0, 0], [0, 0]])


def test_the_better_side_of_a_table_is_bold_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    split = tables.Split(np.zeros((8, 1)), np.zeros(8), np.zeros((2, 1)), np.zeros(2))
    monkeypatch.setattr(tables, "load", lambda name, folder, seed: split)
    found = {"one": dict(zip(tables.SIDES, np.array([[0.9, 0.2], [0.9, 0.3], [0.95, 0.1]]))), "two": dict(zip(tables.SIDES, np.array([[2.0], [3.0], [1.0]])))}
    text = tables.table(found, Path())
    assert "| one | 8 | accuracy | 0.9 | 0.9 | **0.95** |" in text
    assert "| two | 8 | RMSE | 2 | 3 | **1** |" in text
    assert text.endswith("better than MLP on 2 and HistGradientBoosting on 0 of 2 tables.")


def test_starts_are_compared_by_means_and_places() -> None:
    text = initializers.table("relu", {"a": [1.0, 2.0, 3.0, 4.0, 5.0], "b": [3.0, 2.0, 1.0, 4.0, 4.0]})
    assert "| **mean** | 2.00 | 2.00 | 2.00 | 4.00 | 4.50 |" in text
    assert "| **mean place** | 2.00 | 2.00 | 2.00 | 4.00 | 4.50 |" in text


def test_what_a_checkpoint_adds_is_told_from_the_epochs_beside_it() -> None:
    assert checkpoints.costs([9.0, 1.0, 1.0, 1.25, 1.5, 1.0, 1.0, 3.25, 3.5, 3.0, 3.0, 1.0]) == (2.0, 0.75)
