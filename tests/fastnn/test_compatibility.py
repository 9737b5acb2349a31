import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("content", ["def get_kernel(): ...", None], ids=["Hugging Face", "its remains"])
def test_a_foreign_kernels_package_is_named_at_import(tmp_path, content):
    (tmp_path / "kernels").mkdir()
    if content:
        (tmp_path / "kernels" / "__init__.py").write_text(content)
    (tmp_path / "fastnn").symlink_to(ROOT / "fastnn")
    done = subprocess.run([sys.executable, "-c", "import fastnn"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: fastnn needs the package `kernels` of its own distribution; got another one from ")
    assert str(tmp_path / "kernels") in message
    assert "fresh virtual environment" in message
