"""What several test files need."""

import gc
import os
import signal
from pathlib import Path

import pytest

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that: the tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A thread of NumPy's, SciPy's or PyTorch's turns and waits for the others: beside the other test processes, which take their cores, for longer than
# it calculates. The libraries read this when they are imported, so it stands before that. Our own threads don't ask for it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Compilation, most of what the tests do, makes objects by the million and few cycles: looking for these took a twelfth of the time.
gc.set_threshold(100_000, 50, 50)


@pytest.fixture(scope="session")
def data_dir():
    """Return the folder with the test data sets; without one, skip here and fail in CI."""
    folder = os.environ.get("FASTNN_DATA_DIR")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = f"FASTNN_DATA_DIR must name the folder with the test data sets; got {folder!r}."
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each process tests that stand side by side, since they compile the same; who is done takes from the others' ends."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.option.dist == "load" else None
