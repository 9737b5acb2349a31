"""How a Numba program dies, and that this one does not: threads, forks, caches."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import kernels

ROOT = Path(kernels.__file__).parents[1]

PREPARE = """
import os, sys, threading, multiprocessing
import numpy as np
import numba, kernels
"""


def run(code, root=ROOT, prepare=PREPARE, **environment):
    """Run code in a fresh interpreter with the packages below `root`."""
    variables = {**os.environ, "PYTHONPATH": str(root), "NUMBA_NUM_THREADS": "2", **environment}
    command = [sys.executable, "-c", prepare + textwrap.dedent(code)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


THREADS = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
assert len(os.listdir("/proc/self/task")) == 1 if os.path.exists("/proc/self/task") else True

rng = np.random.default_rng(0)
X, W = rng.standard_normal((600, 200), np.float32), rng.standard_normal((200, 300), np.float32)
b = np.zeros(300, np.float32)
expected = np.empty((600, 300), np.float32)
kernels.linear_forward.compiled(X, W, b, kernels.RELU, expected)

def right(times=10):
    "Whether a product in threads is what one thread makes."
    out = np.empty_like(expected)
    for _ in range(times):
        out[:] = 0
        kernels.linear_forward(X, W, b, kernels.RELU, out)
        if not (out == expected).all():
            return False
    return True

def child(depth, queue, what):
    queue.put(what())
    if depth:
        p = fork.Process(target=child, args=(depth - 1, queue, what)); p.start(); p.join(60)
        queue.put(p.exitcode)

def in_children(what):
    "Return what a forked child and its child give, and their exit codes."
    queue = fork.Queue()
    p = fork.Process(target=child, args=(1, queue, what)); p.start()
    found = [queue.get(timeout=100) for _ in range(3)]
    p.join(60)
    return [*found, p.exitcode]

fork = multiprocessing.get_context("fork")
"""


def test_products_in_threads_forks_and_users_loops():
    run(
        THREADS
        + """
assert in_children(right) == [True, True, 0, 0]
assert right()
try:
    numba.threading_layer()
    raise SystemExit("a pool of Numba was started")
except ValueError:
    pass

results = []
workers = [threading.Thread(target=lambda: results.append(right(100))) for _ in range(4)]
[w.start() for w in workers]; [w.join() for w in workers]
assert results == [True] * 4
assert in_children(right) == [True, True, 0, 0]
assert right()

@numba.njit(parallel=True)
def users(X, W, b, out):
    for i in numba.prange(out.shape[0]):
        kernels.linear_forward(X, W, b, kernels.RELU, out[i])
out = np.empty((4, 600, 300), np.float32)
users(X, W, b, out)
assert (out == expected).all()
""",
        OPENBLAS_NUM_THREADS="1",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is one of Unix")
@pytest.mark.parametrize("lock", ["numba.core.compiler_lock.global_compiler_lock", "llvmlite.binding.ffi.lib._lock"])
def test_a_fork_waits_for_who_compiles(lock):
    """Numba holds the first lock while it compiles, llvmlite the second while LLVM answers, with the GIL free."""
    run(
        f"""
        import signal, time, llvmlite.binding, numba.core.compiler_lock
        held, lock = threading.Event(), {lock}
        def hold():
            with lock:
                held.set()
                time.sleep(0.5)
        threading.Thread(target=hold).start()
        held.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with lock:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )


def test_without_a_writable_cache_folder_kernels_still_run(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    run(
        """
        import kernels._cache
        kernels.permutation(0, 0, out := np.zeros(9, np.int64))
        assert sorted(out) == list(range(9))
        assert kernels._cache.cache_folder() is None
        """,
        NUMBA_CACHE_DIR=str(blocked / "below"),
        HOME=str(blocked),
        XDG_CACHE_HOME=str(blocked),
        root=read_only_copy(tmp_path, blocked=True),
    )


def read_only_copy(tmp_path, blocked=False):
    """Return a folder with a copy of the kernels; a file in the place of its __pycache__ keeps anyone from writing there."""
    root = tmp_path / "copy"
    (root / "kernels").mkdir(parents=True)
    for source in (ROOT / "kernels").glob("*.py"):
        (root / "kernels" / source.name).write_bytes(source.read_bytes())
    if blocked:
        (root / "kernels" / "__pycache__").write_text("")
    return root


def test_an_edited_helper_in_another_file_is_not_run_in_its_old_form(tmp_path):
    root = read_only_copy(tmp_path)
    code = """
        from kernels import _jit, _math
        print(_jit.jit(lambda x: _math.exp(x))(np.float32(0)))
        """
    assert run(code, root=root, NUMBA_CACHE_DIR=str(tmp_path / "cache")).stdout == "1.0\n"
    source = root / "kernels" / "_math.py"
    text = source.read_text()
    assert text.count("return (like(x, 1.0) + p) * power_of_two(half)") == 1
    source.write_text(text.replace("return (like(x, 1.0) + p) * power_of_two(half)", "return (like(x, 2.0) + p) * power_of_two(half)"))
    assert run(code, root=root, NUMBA_CACHE_DIR=str(tmp_path / "cache")).stdout == "2.0\n"


def test_the_default_number_of_threads_obeys_the_containers_quota(monkeypatch):
    from kernels import _jit

    for quota, expected in ((1.0, 1), (1.5, 1), (float("inf"), kernels.max_threads())):
        monkeypatch.setattr(_jit, "_cgroup_quota", lambda quota=quota: quota)
        assert _jit.default_threads.__wrapped__() == expected


def test_the_quota_is_read_from_both_cgroup_versions(monkeypatch, tmp_path):
    from kernels import _jit

    files = {"/sys/fs/cgroup/cpu.max": "150000 100000"}
    real = open

    def fake(path, *args, **kwargs):
        if str(path).startswith("/sys/fs/cgroup"):
            if path not in files:
                raise FileNotFoundError(path)
            (tmp_path / "file").write_text(files[path])
            path = tmp_path / "file"
        return real(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", fake)
    assert _jit._cgroup_quota() == 1.5
    files.clear()
    assert _jit._cgroup_quota() == float("inf")
    files.update({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"})
    assert _jit._cgroup_quota() == 3
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = "-1"
    assert _jit._cgroup_quota() == float("inf")


def test_listeners_hear_of_a_compilation(tmp_path):
    assert (
        "compiling"
        in run(
            """
        kernels.on_compile(lambda: print("compiling"))
        kernels.permutation(0, 0, np.zeros(9, np.int64))
        """,
            NUMBA_CACHE_DIR=str(tmp_path),
        ).stdout
    )


def test_without_a_cache_folder_a_compilation_is_announced_and_counted(monkeypatch):
    from kernels import _cache, _jit

    heard = []
    monkeypatch.setattr(_cache, "cache_folder", lambda: None)
    monkeypatch.setattr(_jit, "_listeners", [lambda: heard.append(True)])
    monkeypatch.setattr(_jit, "_compilations", [])

    def twice(x):
        return 2 * x

    compiled = _jit.jit(twice)
    assert [compiled(2), compiled(3), compiled(0.5)] == [4, 6, 1.0]
    assert len(heard) == 2
    assert [name.rsplit(".", 1)[1] for name in kernels.compilations()] == ["twice", "twice"]


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("NUMBA_DISABLE_JIT", "1", "NUMBA_DISABLE_JIT must be 0 or left out; got 1."),
        ("FASTNN_VECTOR_BYTES", "7", "FASTNN_VECTOR_BYTES must be 16, 32 or 64, or 0 for what the machine has; got '7'."),
        ("FASTNN_VECTOR_BYTES", "wide", "FASTNN_VECTOR_BYTES must be 16, 32 or 64, or 0 for what the machine has; got 'wide'."),
    ],
)
def test_settings_that_cannot_be_are_named_at_import(variable, value, sentence):
    variables = {**os.environ, "PYTHONPATH": str(ROOT), variable: value}
    done = subprocess.run([sys.executable, "-c", "import kernels"], env=variables, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {sentence}")
