"""Tasks that kernels call by a name: in machine code that lies on the disk, and when Ctrl-C comes while one is compiled."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from kernels import _jit, _link
from tests.kernels.test_jit import read_only_copy

USER = """
import numba
import numpy as np

import kernels

kernels._cache.cache_folder()
numba.config.CACHE_DIR = ""  # what is the user's lies beside this file


@numba.njit(cache=True)
def layer(X, W, b, out):
    kernels.linear_forward(X, W, b, kernels.TANH, out)


if __name__ == "__main__":
    X, W, b = np.arange(60.0).reshape(20, 3), np.ones((3, 5)), np.zeros(5)
    out = np.empty((20, 5))
    layer(X, W, b, out)
    print(sum(layer.stats.cache_hits.values()), out.sum(), len(kernels.compilations()))
"""


def test_machine_code_of_users_on_the_disk_finds_the_tasks(tmp_path):
    script = tmp_path / "user.py"
    script.write_text(USER)
    runs = []
    for _ in range(2):  # addresses differ from process to process
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        runs.append(subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True).stdout.split())
    assert [run[0] for run in runs] == ["0", "1"] and runs[0][1] == runs[1][1] and runs[1][2] == "0"
    assert float(runs[0][1]) == pytest.approx(5 * np.tanh(np.arange(60.0).reshape(20, 3).sum(1)).sum())


def test_machine_code_for_another_version_of_the_kernels_is_refused(tmp_path):
    script, root = tmp_path / "user.py", read_only_copy(tmp_path)
    script.write_text(USER.replace("kernels.linear_forward(X, W, b, kernels.TANH, out)", "kernels.tanh_forward(X, X)"))  # that calls a task too, a small one
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, script], env=environment, check=True, capture_output=True)
    with open(root / "kernels" / "_math.py", "a") as source:
        source.write("# another version\n")
    run = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.splitlines()[-1] == f"RuntimeError: {_link.STALE}"


def test_ctrl_c_comes_when_the_task_has_run():
    calls = []

    def made():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return _jit.Task(_link.linked)  # only its address is asked for

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_jit.Task, "address", lambda task, dtype: 7)
        assert _link._address(made, "float32") == 7 and len(calls) == 2
    with pytest.raises(KeyboardInterrupt):
        for _ in range(500):
            time.sleep(0.01)
