"""How much memory there is, and the refusal of what cannot fit into it, before any of it is taken."""

from __future__ import annotations

import contextlib
import functools
import os


@functools.cache
def available() -> float:
    """Return the bytes of memory that this process may have at most; infinity where nobody says."""
    limits = [float("inf")]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(path) as file:  # "max" where there is none
            limits.append(float(file.read()))
    return min(limits)


def check(what: str, needed: float) -> None:
    """Raise MemoryError where `needed` bytes are more than there can be.

    Parameters
    ----------
    what : str
        The settings to make smaller.
    needed : float
        The estimate.
    """
    if needed > available():
        raise MemoryError(f"{what} must fit into {_shown(available())} of memory; got an estimate of {_shown(needed)}.")


def _shown(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
