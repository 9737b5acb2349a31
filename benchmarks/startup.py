"""What a new process waits for: the import, and the first step with and without compiled kernels in the cache."""

from __future__ import annotations

import os
import tempfile

from benchmarks import fresh


def timeraw_import() -> str:
    return "import fastnn"


def timeraw_import_numba_alone() -> str:
    return "import numba"


class FirstStep:
    """From the start of a process to the end of its first training step; the cold one fills the cache of the others."""

    def setup_cache(self) -> tuple[str, float]:
        folder = tempfile.mkdtemp(dir=os.getcwd())  # a folder that asv removes
        return folder, fresh.first_step(folder)[0]

    def track_cold(self, cache: tuple[str, float]) -> float:
        return cache[1]

    def track_warm(self, cache: tuple[str, float]) -> float:
        return sorted(fresh.first_step(cache[0])[0] for _ in range(3))[1]

    def track_cache_size(self, cache: tuple[str, float]) -> int:
        return fresh.folder_bytes(cache[0])

    def track_files_of_second_network(self, cache: tuple[str, float]) -> int:
        return fresh.first_step(cache[0])[1]


FirstStep.setup_cache.timeout = 300  # type: ignore[attr-defined]
FirstStep.track_cold.unit = "seconds"  # type: ignore[attr-defined]
FirstStep.track_warm.unit = "seconds"  # type: ignore[attr-defined]
FirstStep.track_cache_size.unit = "bytes"  # type: ignore[attr-defined]
FirstStep.track_files_of_second_network.unit = "files added to the cache"  # type: ignore[attr-defined]
