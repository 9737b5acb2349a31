"""SciPy's optimizers (extra `scipy`) over the flat vector of all parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .optimizers import FullBatchOptimizer
from .validation import Array

__all__ = ["minimize", "solve"]


def minimize(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    optimizer: FullBatchOptimizer,
    max_iterations: int,
    watch: Callable[[Array, float], bool],
) -> str:
    """Minimize a function of a vector and return why that ended, in SciPy's words; see `solve`."""
    return str(solve(function, start, optimizer, max_iterations, watch).message)


def solve(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    optimizer: FullBatchOptimizer,
    max_iterations: int,
    watch: Callable[[Array, float], bool],
) -> Any:
    """Minimize a function of a vector and return SciPy's result.

    Parameters
    ----------
    function : function
        Returns a value and its gradient.
    start : ndarray
        Where to begin.
    optimizer : FullBatchOptimizer
        The method and its options.
    max_iterations : int
        At most.
    watch : function
        Takes vector and value after each iteration; returns True to stop.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    """
    try:
        import scipy.optimize
    except ImportError:
        raise ImportError(f"{type(optimizer).__name__} needs the package scipy: pip install 'fastnn[scipy]'.") from None

    def callback(intermediate_result: Any) -> None:  # SciPy looks at the name of the argument
        if watch(intermediate_result.x, float(intermediate_result.fun)):
            raise StopIteration

    def value_and_gradient(x: Array) -> tuple[float, Array]:
        value, gradient = function(x)
        return value, gradient.astype(float)  # a copy: SciPy keeps it, the next call overwrites it

    options = {**optimizer.options(), "maxiter": max_iterations}
    return scipy.optimize.minimize(value_and_gradient, start.astype(float), jac=True, method=optimizer.method, options=options, callback=callback)
