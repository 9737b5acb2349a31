"""What a new process waits for: the import, and the first step with and without compiled kernels in the cache."""

from __future__ import annotations

import tempfile

from benchmarks import fresh


def timeraw_import() -> str:
    return "import fastnn"


def timeraw_import_numba_alone() -> str:
    return "import numba"


def track_first_step_cold() -> float:
    with tempfile.TemporaryDirectory() as folder:
        return fresh.first_step(folder)[0]


class Warm:
    """A cache filled once for all of them."""

    def setup_cache(self) -> str:
        folder = tempfile.mkdtemp(dir=".")
        fresh.first_step(folder)
        return folder

    def track_first_step_warm(self, folder: str) -> float:
        return sorted(fresh.first_step(folder)[0] for _ in range(3))[1]

    def track_cache_size(self, folder: str) -> int:
        return fresh.folder_bytes(folder)

    def track_files_of_second_network(self, folder: str) -> int:
        return fresh.first_step(folder)[1]


track_first_step_cold.unit = "seconds from process start"  # type: ignore[attr-defined]
Warm.track_first_step_warm.unit = "seconds from process start"  # type: ignore[attr-defined]
Warm.track_cache_size.unit = "bytes"  # type: ignore[attr-defined]
Warm.track_files_of_second_network.unit = "files added to the cache"  # type: ignore[attr-defined]
