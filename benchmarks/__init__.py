"""The benchmarks of fastnn: an asv suite, and `compare.py`, which prints every speed figure beside other libraries.

asv measures several commits in one environment, where each must run its own machine code. So every commit gets a cache
of compiled kernels, in a folder that only its owner can write to: a cache holds pickles, and who can plant one can run
code. Nothing here starts a thread pool at import, because asv may fork.
"""

import os
from pathlib import Path

_COMMIT = os.environ.get("ASV_COMMIT")
if _COMMIT:
    _FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastnn-asv"
    _FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    _FOLDER.chmod(0o700)
    os.environ["NUMBA_CACHE_DIR"] = str(_FOLDER / _COMMIT)
