"""Says clearly which foreign package stands in fastnn's place, before anything else is imported."""

from __future__ import annotations


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
