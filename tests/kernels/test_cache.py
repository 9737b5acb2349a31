"""The compiled kernels on the disk: damaged in each way that `python -m tests.caches` knows, shared, and not believed from everybody."""

import subprocess
import sys
import warnings

import pytest

from kernels import _cache, _jit
from tests.caches import DAMAGES, FOLDERS, start

posix = pytest.mark.skipif(not hasattr(_cache.os, "geteuid"), reason="permissions are POSIX's")


def triple(x):
    return 3 * x


def add_three(x):
    return x + 3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "cache_folder", lambda: str(tmp_path))
    monkeypatch.setattr(_jit, "_compilations", [])
    monkeypatch.setattr(_cache, "_warned", [])
    return tmp_path


def compiled():
    """Return a dispatcher as another process would make it."""
    return _jit.jit(triple)


def path_of(folder, dispatcher, *args):
    """Return the file that a call made."""
    before = set(folder.iterdir())
    dispatcher(*args)
    (path,) = set(folder.iterdir()) - before
    return path


def test_each_damage_costs_a_compilation_and_nothing_else(folder):
    path, dtype, other = path_of(folder, compiled(), 2), path_of(folder, compiled(), 0.5), path_of(folder, _jit.jit(add_three), 2)
    whole = path.read_bytes()
    for what, damage in DAMAGES.items():
        damage(path, other, dtype)
        _jit._compilations.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # told once, see below
            assert compiled()(2) == 6, what
        assert len(_jit._compilations) == 1, what
        if path.is_dir():
            path.rmdir()
            path.write_bytes(whole)
            path.chmod(0o600)
        assert compiled()(2) == 6, what
        assert len(_jit._compilations) == 1, what  # it was written again
    assert len(list(folder.iterdir())) == 3  # nothing else, and no canary


@posix
def test_what_others_may_write_is_told_once(folder):
    path = path_of(folder, compiled(), 2)
    for warned in (True, False):
        path.chmod(0o622)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert compiled()(2) == 6
        assert [str(one.message) for one in caught] == [
            f"{path}, compiled kernels, must belong to this user or root, and only they may write it; got permissions 622. It is not used: remove it."
        ] * warned


@posix
@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_of_others_is_not_used(what, tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "_warned", [])
    monkeypatch.setattr(_cache.numba.config, "CACHE_DIR", str(tmp_path / "first"))
    monkeypatch.setattr(_cache, "_FOLDER", tmp_path / "second")
    first = _cache.cache_folder.__wrapped__()
    assert first.startswith(str(tmp_path / "first"))
    FOLDERS[what](_cache.Path(first))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert _cache.cache_folder.__wrapped__().startswith(str(tmp_path / "second"))
    assert len(caught) == (what != "a file in the place of the folder")


def test_a_folder_in_use_stays_and_one_unused_for_a_month_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache.numba.config, "CACHE_DIR", str(tmp_path))
    folder, old = _cache.Path(_cache.cache_folder.__wrapped__()), tmp_path / "fastnn-kernels-old"
    old.mkdir()
    for one in (folder, old):
        _cache.os.utime(one, (1, 1))
    assert _cache.cache_folder.__wrapped__() == str(folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert folder.stat().st_mtime > 1


def test_a_disk_that_is_full_costs_nothing_but_compilations(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_cache.os, "replace", full)
    assert [compiled()(2) for _ in range(2)] == [6, 6]
    assert len(_jit._compilations) == 2
    assert not list(folder.iterdir())


def test_processes_that_fill_a_folder_at_once(tmp_path):
    together = [start(tmp_path, "few") for _ in range(2)]
    results = {process.communicate(timeout=300)[0].split()[0] for process in together}
    assert [process.returncode for process in together] == [0, 0]
    assert len(results) == 1
    assert start(tmp_path, "few").communicate(timeout=300)[0].split()[1] == "0"


def test_nothing_is_written_where_a_user_may_only_read(tmp_path):
    code = "import kernels._cache as c; c._FOLDER = c.Path('/proc/self'); print(c.cache_folder())"
    environment = {**_cache.os.environ, "NUMBA_CACHE_DIR": "", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "mine")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path / "mine"))


def test_symbols_of_two_processes_and_of_forks_never_meet():
    code = """
import os
from numba import types
from kernels import _jit
def symbol():
    dispatcher = _jit.helper(lambda x: x)
    dispatcher.compile((types.int64,))
    return dispatcher.overloads[(types.int64,)].fndesc.mangled_name
print(symbol(), flush=True)
if hasattr(os, "fork") and not os.fork():
    print(symbol(), flush=True)
    os._exit(0)
print(symbol())
hasattr(os, "fork") and os.wait()
"""
    found = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    symbols = sum(found, [])
    assert len(set(symbols)) == len(symbols) >= 4


def test_what_is_kept_runs_without_the_compiler(tmp_path):
    code = "import sys; from kernels import _jit; print(_jit.jit(lambda x: x + 1)(2), 'numba.np.linalg' in sys.modules)"  # which imports SciPy
    environment = {**_cache.os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    found = [subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert found == ["3 True\n", "3 False\n"]
