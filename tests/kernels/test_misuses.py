"""Misuses give one sentence each, and nothing is read or written outside an array: see `tests.kernels.misuses`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.misuses import GROUPS, RIGHT

TOGETHER = [[group for group in GROUPS if (group in RIGHT) == right] for right in (False, True)]  # a process each


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="guard pages are made with Linux' mprotect")
@pytest.mark.parametrize("groups", TOGETHER, ids=" ".join)
def test_misuses_give_one_sentence_and_touch_nothing_else(groups):
    command = [sys.executable, "-W", "error", "-m", "tests.kernels.misuses", *groups]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=500)
    lines = run.stdout.splitlines()
    assert run.returncode == 0, f"{lines[-1:]} ended the process with {run.returncode}: {run.stderr}"
    assert lines[-1] == "done" and [line for line in lines if line.startswith("WRONG")] == []


def test_there_is_a_misuse_for_every_kind_of_argument():
    assert sum(len(misuses) for group, misuses in GROUPS.items() if group not in RIGHT) >= 60
