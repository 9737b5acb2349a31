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

    timeout = 600

    def setup_cache(self) -> tuple[str, fresh.FirstStep]:
        folder = tempfile.mkdtemp(dir=os.getcwd())  # a folder that asv removes
        return folder, fresh.first_step(folder)

    def track_cold(self, cache: tuple[str, fresh.FirstStep]) -> float:
        return cache[1].seconds

    def track_warm(self, cache: tuple[str, fresh.FirstStep]) -> float:
        return sorted(fresh.first_step(cache[0]).seconds for _ in range(3))[1]

    def track_cache_size(self, cache: tuple[str, fresh.FirstStep]) -> int:
        return fresh.folder_bytes(cache[0])

    def track_compiled(self, cache: tuple[str, fresh.FirstStep]) -> int:
        return cache[1].compiled

    def track_compiled_for_second_network(self, cache: tuple[str, fresh.FirstStep]) -> int:
        return cache[1].compiled_for_second_network


FirstStep.setup_cache.timeout = 600  # type: ignore[attr-defined]
FirstStep.track_cold.unit = "seconds"  # type: ignore[attr-defined]
FirstStep.track_warm.unit = "seconds"  # type: ignore[attr-defined]
FirstStep.track_cache_size.unit = "bytes"  # type: ignore[attr-defined]
FirstStep.track_compiled.unit = "kernels"  # type: ignore[attr-defined]
FirstStep.track_compiled_for_second_network.unit = "kernels"  # type: ignore[attr-defined]
