"""Small networks and kernels with every index checked, which Numba does where NUMBA_BOUNDSCHECK=1 is set before it compiles.

By hand, with a folder of its own for what is compiled: `NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=bounds python -m pytest tests/kernels/test_gather.py ...`
What a task reads outside an array is an exception that nobody above it can catch: Python's hook for these is told.
"""

import gc
import hashlib
import os
import subprocess
import sys

import numpy as np

import kernels
from kernels._jit import Task, task
from kernels._tile import array_at, zero_of
from tests.kernels.tasks import run_task


def work() -> str:
    """Return a hash of what two epochs of a network, with rows that fill no panel, and some kernels leave."""
    rng, digest = np.random.default_rng(0), hashlib.sha256()
    plan = kernels.Plan([5, 9, 17, 3], [kernels.RELU, kernels.TANH, kernels.SOFTMAX], [0.2, 0.0, 0.0], "float32")
    parameters = np.zeros(plan.parameters_size, np.float32)
    for i, (n_in, n_out) in enumerate(zip(plan.widths[:-1], plan.widths[1:])):
        plan.set_weight(parameters, i, rng.standard_normal((n_in, n_out)), np.zeros(n_out))
    X, y = rng.standard_normal((37, 5)).astype(np.float32), rng.integers(0, 3, 37)
    trainer = kernels.Trainer(plan, parameters, 7, kernels.Objective(kernels.CROSS_ENTROPY), kernels.ADAM, [0.9, 0.999, 1e-8, 0.0])
    for epoch in range(2):
        order = np.empty(37, np.int64)
        kernels.permutation(0, epoch, order)
        for first in range(0, 37, 7 * trainer.chunk):
            rows = order[first : first + 7 * trainer.chunk]
            digest.update(trainer.train(X, y, rows, 6 * epoch, np.full(-(-len(rows) // 7), 1e-2)).tobytes())
    digest.update(parameters.tobytes())
    for rows in (1, 3, 37):
        digest.update(kernels.predict(plan, parameters, X[:rows]).tobytes())
    kernels.softmax_forward(X, out := np.empty_like(X))
    digest.update(out.tobytes())
    return digest.hexdigest()


@task
def reads_beyond(tag, numbers, count):
    """Read one number more than there are."""
    x = array_at(zero_of(tag), numbers, count)
    x[0] = x[count]


def checked() -> None:
    """Do the work where every index is checked; print its hash and how many were wrong, then how many of one that is."""
    gc.disable()  # see tests/conftest.py
    wrong: list[object] = []
    sys.unraisablehook = wrong.append
    digest = work()
    before = len(wrong)
    run_task(Task(reads_beyond), "float32", np.zeros(4, np.float32), 3)
    print(digest, before, len(wrong))


def test_no_index_is_outside_an_array():
    command = [sys.executable, "-c", "from tests.kernels import test_bounds; test_bounds.checked()"]
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0"}  # nothing is left out, and it is compiled sooner
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [work(), "0", "1"]
