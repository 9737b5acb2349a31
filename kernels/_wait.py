"""How a thread waits and calculates, and words are shared between threads: the one place that knows the operating system and the processor.

Atomic words are int64 at an address. `pause` is a moment inside a CPU, `give_way` lets another thread have it, `doze` sleeps some
50 microseconds; `ticks` counts at a constant rate, some thousand million a second.
"""

from __future__ import annotations

import sys
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import inline

I32, I64 = ir.IntType(32), ir.IntType(64)
_ARM = llvm.get_default_triple().startswith(("aarch64", "arm64"))
DENORMALS_ARE_ZERO = 1 << 24 if _ARM else 0x8040  # of results, and of what is read


def _changing(operation: str) -> Any:
    """Return an intrinsic (where, value) that changes an atomic word and returns what it was."""

    @intrinsic
    def change(typingctx: Any, where: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.atomic_rmw(operation, builder.inttoptr(args[0], I64.as_pointer()), args[1], "acq_rel")

        return types.int64(types.int64, types.int64), codegen

    return change


fetch_add, exchange = _changing("add"), _changing("xchg")


@intrinsic
def load(typingctx: Any, where: Any) -> Any:
    """Return an atomic word; what its writer wrote before it is seen after it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def store(typingctx: Any, where: Any, value: Any) -> Any:
    """Write an atomic word, after everything written before it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], builder.inttoptr(args[0], I64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def pause(typingctx: Any) -> Any:
    """Wait a moment, and leave the core's other thread its share."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name, operands = ("llvm.aarch64.hint", [I32(1)]) if _ARM else ("llvm.x86.sse2.pause", [])
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in operands])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def ticks(typingctx: Any) -> Any:
    """Return a counter that goes up at a constant rate, the same on all cores."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = "llvm.readsteadycounter" if _ARM else "llvm.readcyclecounter"  # ARM's cycle counter is not for programs
        return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(I64, []), name), [])

    return types.int64(), codegen


@intrinsic
def float_mode(typingctx: Any) -> Any:
    """Return the word that says how this thread calculates with floats: MXCSR or FPCR."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _ARM:
            return builder.asm(ir.FunctionType(I64, []), "mrs $0, fpcr", "=r", [], True)
        place = cgutils.alloca_once(builder, I32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.stmxcsr"), [builder.bitcast(place, kind.args[0])])
        return builder.zext(builder.load(place), I64)

    return types.int64(), codegen


@intrinsic
def set_float_mode(typingctx: Any, mode: Any) -> Any:
    """Write that word. No number is read or written sooner or later than it says, though what is on registers may be."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)
        if _ARM:
            builder.asm(ir.FunctionType(ir.VoidType(), [I64]), "msr fpcr, $0", "r", args, True)
        else:
            place = cgutils.alloca_once_value(builder, builder.trunc(args[0], I32))
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.ldmxcsr"), [builder.bitcast(place, kind.args[0])])
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@inline
def flush_denormals():
    """Let this thread take denormal numbers for zero; return how it calculated before.

    A CPU may take a hundred times as long with them (Intel's do), and a network that fits its data is full of them: probabilities near 0 times small numbers.
    """
    before = float_mode()
    set_float_mode(before | DENORMALS_ARE_ZERO)
    return before


if sys.platform == "win32":
    _switch = types.ExternalFunction("SwitchToThread", types.int32())
    _sleep = types.ExternalFunction("Sleep", types.void(types.uint32))
    llvm.load_library_permanently("kernel32.dll")
    _DOZE = np.uint32(1)  # milliseconds: Windows has nothing shorter
else:
    _switch = types.ExternalFunction("sched_yield", types.int32())
    _sleep = types.ExternalFunction("usleep", types.int32(types.uint32))
    _DOZE = np.uint32(50)


@inline
def give_way():
    """Let another thread have this CPU, if one waits for it."""
    _switch()


@inline
def doze():
    """Sleep for some 50 microseconds."""
    _sleep(_DOZE)
