"""Tasks that kernels call by a name: their machine code is made once, not again in each kernel that calls them.

The name is that of a table of addresses. These differ from process to process, so machine code that lies on the disk holds none of
them. Until a task is first called, its place in the table holds what compiles it, as dynamic linkers do it: what is not called is not
compiled.

Numba keeps a user's function on the disk whatever becomes of the kernels that it calls. So a table begins with the version of the
sources, which calls compare with their own.
"""

from __future__ import annotations

import _thread
import ctypes
import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from . import _cache
from ._jit import DTYPES, Task

I64 = ir.IntType(64)
VERSION = int(_cache.VERSION[:15], 16)
STALE = "machine code in a cache was made for another version of the kernels: the cache of who calls them must be removed"
_kept: list[Any] = []  # what compiled code reaches by address


def linked(name: str, n_arguments: int, tasks: Mapping[int, Callable[[], Task]]) -> Any:
    """Return an intrinsic call(zero, code, arguments): calls the task of a code, compiled for the dtype of `zero`.

    Parameters
    ----------
    name : str
        Of the table.
    n_arguments : int
        How many int64 numbers every task takes after its tag.
    tasks : dict of int to function
        For each code what returns its task.
    """
    size = max(tasks) + 1
    for dtype in DTYPES:
        llvm.add_symbol(f"kernels.{name}.{dtype}", ctypes.addressof(_table(size, n_arguments, tasks, dtype)))

    @intrinsic
    def call(typingctx, zero, code, arguments):
        if zero not in DTYPES.values():
            raise errors.TypingError(f"numbers must be float32 or float64; got {zero}.")

        def codegen(context, builder, sig, args):
            values, module, symbol = cgutils.unpack_tuple(builder, args[2]), builder.module, f"kernels.{name}.{zero}"
            table = module.globals.get(symbol) or ir.GlobalVariable(module, ir.ArrayType(I64, 1 + size), symbol)
            version = builder.load(builder.gep(table, [I64(0), I64(0)]))
            with builder.if_then(builder.icmp_signed("!=", version, I64(VERSION)), likely=False):
                context.call_conv.return_user_exc(builder, RuntimeError, (STALE,))
            kind = ir.FunctionType(ir.VoidType(), [I64] * (1 + n_arguments))
            address = builder.load(builder.gep(table, [I64(0), builder.add(args[1], I64(1))]))
            builder.call(builder.inttoptr(address, kind.as_pointer()), [I64(0), *values])
            return context.get_dummy_value()

        return types.void(zero, types.intp, types.UniTuple(types.intp, n_arguments)), codegen

    return call


def linked_task(*tasks: Any) -> Any:
    """Return the intrinsic of a table of tasks with the same arguments, under the name of the first; their codes are 0, 1 ..."""
    count = tasks[0].py_func.__code__.co_argcount - 1
    return linked(tasks[0].__name__, count, {code: functools.partial(Task, task) for code, task in enumerate(tasks)})


def _table(size: int, n_arguments: int, tasks: Mapping[int, Callable[[], Task]], dtype: str) -> Any:
    """Return the table for a dtype: the version, and in each place what compiles a task, writes its address there and calls it."""
    table, kind = (ctypes.c_int64 * (1 + size))(VERSION), ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * (1 + n_arguments))

    def first_call(code: int) -> Any:
        def compile_and_call(*arguments: int) -> None:
            table[1 + code] = _address(tasks[code], dtype)
            kind(table[1 + code])(*arguments)

        return kind(compile_and_call)

    for code in tasks:
        _kept.append(first_call(code))
        table[1 + code] = ctypes.cast(_kept[-1], ctypes.c_void_p).value or 0
    _kept.append(table)
    return table


def _address(made: Callable[[], Task], dtype: str) -> int:
    """Return the address of a task; no exception can go through the compiled code that waits for it, so Ctrl-C comes afterwards."""
    interrupted = False
    while True:
        try:
            address = made().address(dtype)
        except KeyboardInterrupt:
            interrupted = True
            continue
        if interrupted:
            threading.Timer(0.01, _thread.interrupt_main).start()
        return address
