"""Says clearly what is not as it should be here: a foreign package in the place of ours, a CPU without an instruction."""

from __future__ import annotations

import functools
import warnings


def check_kernels() -> None:
    """Raise if the importable `kernels` is not fastnn's own.

    Hugging Face publishes another package of that name. Whichever was installed last owns the folder, so the attributes
    are looked at, not the files.

    Raises
    ------
    ImportError
        If `kernels` is another package, or what the removal of another one left behind.
    """
    import kernels

    if hasattr(kernels, "linear_forward"):
        return
    where = getattr(kernels, "__file__", None) or ", ".join(getattr(kernels, "__path__", ["nowhere"]))
    raise ImportError(
        f"fastnn needs the package `kernels` of its own distribution; got another one from {where}. "
        "Hugging Face's `kernels` has the same name and cannot share an environment with fastnn: install fastnn into a fresh virtual environment."
    )


@functools.cache
def warn_of_emulation() -> None:
    """Warn, once, where this CPU has no instruction for bfloat16."""
    import kernels

    if kernels.cpu_info()["bfloat16"] == "emulated":
        message = "bfloat16 is not faster than float32 on this CPU, which lacks AVX512_BF16: the same bits are calculated in float32."
        warnings.warn(message, RuntimeWarning, stacklevel=3)
