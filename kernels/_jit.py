"""The one place that says how kernels are compiled and cached, and how many threads there may be.

Compilation. `jit` compiles a function with the flags that every kernel shares, `inline` a scalar helper that
must vanish into the loop around it, and `kernel` a public function:
callable from Python with errors that show values, and from a user's own nopython code, where it is serial.

The machine code is kept on the disk, see `_cache`.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types
from numba.core import errors
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import typeof_impl

from ._cache import Cache
from ._lazy import cached_property

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT must be 0 or left out; got 1. The kernels work on addresses, which only compiled code can.")

FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _note_compilation(function: Callable[..., Any]) -> None:
    """Tell who listens that a kernel is about to be compiled, and count it."""
    for listener in _listeners:
        listener()
    _compilations.append(f"{function.__module__}.{function.__qualname__}")


_compilations: list[str] = []
_listeners: list[Callable[[], None]] = []


def on_compile(listener: Callable[[], None]) -> None:
    """Call a function before each compilation of a kernel that the cache does not hold, to say why it takes a while.

    Parameters
    ----------
    listener : function ()
        Called in the thread that compiles; one that is given twice is called once.
    """
    if listener not in _listeners:
        _listeners.append(listener)


def compilations() -> list[str]:
    """Return the names of the kernels compiled by this process so far, those found in the cache left out."""
    return list(_compilations)


def _dispatcher(function: Callable[..., Any], cached: bool = True, **flags: Any) -> Any:
    dispatcher = numba.njit(function, **FLAGS, **flags)
    if cached:
        dispatcher._cache = Cache(function, _note_compilation)
    return dispatcher


class Prepared:
    """A function that gets its dispatcher, an object of Numba's, when somebody first asks for it.

    Who finds a kernel on the disk never asks for those of the hundreds of functions that are part of it: a fifth of the time of an import.
    """

    def __init__(self, function: Callable[..., Any], **flags: Any) -> None:
        functools.update_wrapper(self, function)
        self.py_func, self._flags = function, flags

    @cached_property
    def compiled(self) -> Any:
        """The dispatcher."""
        return _dispatcher(self.py_func, **self._flags)

    def __call__(self, *args: Any) -> Any:
        return self.compiled(*args)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.compiled, name)


@typeof_impl.register(Prepared)
def _typeof_prepared(value: Prepared, context: Any) -> Any:
    return types.Dispatcher(value.compiled)


def jit(function: Callable[..., Any], cached: bool = True) -> Any:
    """Compile a function that Python and other kernels call."""
    return _dispatcher(function, cached)


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function that only other kernels call: it becomes part of their machine code and has none of its own to keep."""
    return Prepared(function, cached=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def task(function: Callable[..., Any], cached: bool = True) -> Any:
    """Compile a function that kernels call by its `address`: its machine code is made once, not again in each of them.

    It is kept on the disk unless its sources are a user's, whose changes nobody watches.
    """
    return Prepared(function, cached=cached, no_cpython_wrapper=True)


def inline(function: Callable[..., Any]) -> Any:
    """Compile a scalar helper into the loops that call it, so that they vectorize."""
    return Prepared(function, cached=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def public_inline(function: Callable[..., Any]) -> Any:
    """Compile a scalar helper that users call too: from their loops and from Python."""
    return Prepared(function, cached=False, forceinline=True)


def address(dispatcher: Any, signature: Any) -> int:
    """Return the address of a compiled function as C calls it, compiling it first where needed."""
    dispatcher.compile(signature)
    result = dispatcher.overloads[tuple(signature.args)]
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name))


DTYPES = {"float32": types.float32, "float64": types.float64}


class Task:
    """A `task` that is compiled for a dtype when its address is first asked for.

    Parameters
    ----------
    dispatcher : task (tag, ...)
        `tag` is a null pointer that says the dtype, the others are int64: sizes and addresses.
    """

    def __init__(self, dispatcher: Any) -> None:
        self.dispatcher = dispatcher
        self._addresses: dict[str, int] = {}

    def signature(self, dtype: Any) -> Any:
        """Return the types of its arguments."""
        count = self.dispatcher.py_func.__code__.co_argcount - 1
        return types.void(types.CPointer(DTYPES[np.dtype(dtype).name]), *[types.int64] * count)

    def address(self, dtype: Any) -> int:
        """Return where its machine code for a dtype lies."""
        name = np.dtype(dtype).name
        if name not in self._addresses:
            try:
                self._addresses[name] = address(self.dispatcher, self.signature(name))
            except (errors.TypingError, errors.UnsupportedError) as error:
                what = next((line for line in str(error).splitlines() if line and not line.startswith("Failed in")), "")
                raise TypeError(f"functions of one's own must be what Numba can compile; got {self.dispatcher.__name__}: {what}") from error
        return self._addresses[name]


def named(function: Callable[..., Any], module: str, name: str, doc: str | None = None) -> Callable[..., Any]:
    """Return a function made in a closure under the name that it has for users and for the cache, which knows functions by it."""
    function.__module__, function.__name__, function.__qualname__, function.__doc__ = module, name, name, doc
    return function


class Kernel:
    """A public kernel: one compiled function with a face to Python and one to nopython code.

    In nopython code it is the compiled function itself, serial, with literal error messages. Called from Python its
    errors show the shapes they are about, and `from_python` may put a function in front that decides on threads.
    It is kept on the disk unless its sources are a user's.
    """

    def __init__(self, function: Callable[..., Any], cached: bool = True) -> None:
        functools.update_wrapper(self, function)
        self._function, self._cached = function, cached
        self._face: Callable[..., Any] | None = None

    @cached_property
    def compiled(self) -> Any:
        """The compiled function itself."""
        return jit(self._function, self._cached)

    def from_python(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let calls from Python go through `function`, which takes the same arguments."""
        self._face = function
        return function

    @property
    def signatures(self) -> list[Any]:
        """The argument types this kernel was compiled for so far."""
        return list(self.compiled.signatures)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Numba takes what has a mask where it has taken such an array without; a look at ten arguments costs a quarter of a call
        if "numpy.ma" in sys.modules and (kwargs or not _WITHOUT_MASK.issuperset(map(type, args))):
            for value in (*args, *kwargs.values()):
                if has_mask(value):
                    raise TypeError(f"{self.__name__}: arrays must have no mask; got {_describe(args, kwargs)}.")  # type: ignore[attr-defined]
        try:
            return (self._face or self.compiled)(*args, **kwargs)
        except (TypeError, ValueError) as error:
            if isinstance(error, TypeError) and not str(error).startswith(f"{self.__name__}: "):  # type: ignore[attr-defined]
                raise
            raise type(error)(f"{error}; got {_describe(args, kwargs)}.") from None
        except (errors.TypingError, errors.UnsupportedError, NotImplementedError, OverflowError) as error:
            raise TypeError(f"{self.__name__} cannot take these arguments: {_describe(args, kwargs)}.") from error  # type: ignore[attr-defined]

    def __get__(self, instance: object, owner: type | None = None) -> Kernel:
        """Return the kernel, which no class binds; what can be asked so is a function to `help` and to makers of references."""
        return self

    def __reduce__(self) -> str:
        return self.__qualname__  # type: ignore[attr-defined, no-any-return]

    def __repr__(self) -> str:
        return f"<kernel {self.__name__}>"  # type: ignore[attr-defined]


kernel = Kernel


@typeof_impl.register(Kernel)
def _typeof_kernel(value: Kernel, context: Any) -> Any:
    return types.Dispatcher(value.compiled)


_WITHOUT_MASK = frozenset({np.ndarray, int, float, bool, np.float64, np.float32, np.int64})


def has_mask(value: Any) -> bool:
    """Return whether this is an array some numbers of which do not count, such as NumPy's masked arrays."""
    return isinstance(value, np.ndarray) and type(value) is not np.ndarray and hasattr(value, "mask")


def _describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Say what the arguments of a call are: dtype and shape of arrays, the value of anything else."""

    def one(value: Any) -> str:
        if isinstance(value, np.ndarray):
            return f"{'' if value.flags.writeable else 'read-only '}{'masked ' * has_mask(value)}{value.dtype}{list(value.shape)}"
        return repr(value) if isinstance(value, (int, float, np.number)) else type(value).__name__

    return ", ".join([one(value) for value in args] + [f"{name}={one(value)}" for name, value in kwargs.items()])


# Threads.


def _cgroup_quota() -> float:
    """Return how many CPUs the container may use, infinity where nothing limits it."""
    for path, separate in (("/sys/fs/cgroup/cpu.max", False), ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", True)):
        try:
            with open(path) as file:
                numbers = file.read().split()
            if separate:
                with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as file:
                    numbers += file.read().split()
            quota, period = float(numbers[0]), float(numbers[1])
        except (OSError, ValueError, IndexError):
            continue
        if quota > 0 and period > 0:
            return quota / period
    return float("inf")


@functools.cache
def default_threads() -> int:
    """Return the number of threads used unless told: the smaller of Numba's limit and the container's CPU quota."""
    return int(max(1, min(max_threads(), _cgroup_quota())))


def max_threads() -> int:
    """Return the largest number of threads that a kernel may use: NUMBA_NUM_THREADS, by default the CPUs of this process."""
    return int(numba.config.NUMBA_NUM_THREADS)


_forking = threading.local()


def _before_fork() -> None:
    """Wait until nobody compiles or asks LLVM anything: a lock that another thread holds would stay locked in the child for ever."""
    locks = [global_compiler_lock._lock, llvm.ffi.lib._lock._lock]
    _forking.held = [lock for lock in locks if lock.acquire(timeout=60)]


def _after_fork() -> None:
    for lock in reversed(_forking.held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
