"""The READMEs' examples run, and its commands are those of the command line and of CI."""

import re
import shlex
from pathlib import Path

import pytest

from fastnn import cli

ROOT = Path(__file__).parents[1]
README, KERNELS = ((ROOT / folder / "README.md").read_text(encoding="utf-8") for folder in ("", "kernels"))


def blocks(language, page=README):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


COMMANDS = [command.strip() for block in blocks("sh") for line in block.splitlines() for command in line.split("&&")]


@pytest.mark.parametrize("code", blocks("python"), ids=range(len(blocks("python"))))
def test_python_examples_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("code", blocks("python", KERNELS), ids=range(len(blocks("python", KERNELS))))
def test_examples_of_the_kernels_run(code):
    exec(compile(code, "kernels/README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("fastnn ") and "--help" not in command])
def test_commands_have_only_known_options(command):
    assert cli.parser().parse_args(shlex.split(command)[1:])


def test_ci_runs_the_two_commands():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert COMMANDS[:4] == ["python -m pip install .", "fastnn train digits", 'python -m pip install -e ".[test]"', "python -m pytest -n auto"]
    assert "fastnn train digits" in run
    assert "python -m pytest" in run
