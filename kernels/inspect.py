"""What the compiler made of a kernel, and how fast that is: `python -m kernels.inspect NAME`.

The hot loop is the innermost loop of the machine code with the most work in multiply-adds, then in other vector instructions. What makes a kernel slower shows
in it: narrow vectors, spills (loads and stores on the stack, of what does not fit into the registers), calls, divisions. Constants that are read from the
stack count as spills too. The kernel then runs on one thread on arrays of some 100 KB. A product is measured against the peak of multiply-adds of one core, any
other kernel against `np.copyto` between two arrays, together as large as the kernel's own, each counted once: so fast is what only reads and writes.

The tasks that a network calls by address are here under names of their own, such as `rows_product`.
"""

from __future__ import annotations

import argparse
import ctypes
import difflib
import importlib
import platform
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import types

from ._jit import Kernel, address
from ._product import column_product, panel_product
from ._tile import PANEL_BYTES, TILE_PANELS, VECTOR_BYTES, cpu_name
from .bfloat16 import pairs_column_product, pairs_panel_product
from .dropout import DROPOUT, drop
from .records import NOW
from .records import address as address_of_record
from .row_losses import cross_entropy_rows

kernels = importlib.import_module("kernels")
ROWS, COLUMNS = 96, 256
# Kernels whose loops are those of a task.
NO_LOOP = dict.fromkeys(("loss_scale", "linear_forward", "linear_backward", "matmul"), "rows_product")
NO_LOOP |= {"activation_forward": "activate", "activation_backward": "derive"}
PUBLIC = {name: value for name, value in vars(kernels).items() if name in kernels.__all__ and isinstance(value, Kernel) and name not in NO_LOOP}
GELU, ADAM, HUBER = kernels.ACTIVATIONS[kernels.GELU], kernels.OPTIMIZERS[kernels.ADAM], kernels.LOSSES[kernels.HUBER]
TASKS = {"rows_product": panel_product, "columns_product": column_product}
PAIRS = {"pairs_rows_product": pairs_panel_product, "pairs_columns_product": pairs_column_product}  # of bfloat16: a word has two numbers
TASKS |= PAIRS | {"activate": GELU.forward_task.dispatcher, "derive": GELU.backward_task.dispatcher, "element_loss": HUBER.task.dispatcher}
TASKS |= {"dropout_task": drop, "loss_task": cross_entropy_rows, "update_task": ADAM.task.dispatcher}
NAMES = sorted([*PUBLIC, *TASKS])
FLOPS = {
    "rows_product": 2 * TILE_PANELS,
    "columns_product": 2,
    "pairs_rows_product": 4 * TILE_PANELS,
    "pairs_columns_product": 4,
}  # for a row, input and output

# Machine code. Mnemonics are those of x86-64 and AArch64, with which the same letters never mean two things here.
FMA = re.compile(r"vfn?m(add|sub)|vdpbf16ps|fn?m(l[as]|add|sub|ad|sb)$")
SLOW = re.compile(r"v?f?(div|sqrt)")
MOVE = re.compile(r"v?(p?mov|p?broadcast|p?insert|p?extract|ld|st|dup|fmov)")
PACKED = re.compile(r"(add|sub|mul|div|sqrt|min|max|\d\d\d)p[sd]$|vp?(add|sub|mul)")
STORES_ONLY = re.compile(r"v?p?(mov|extr|cvt|compress|scatter)|set")
READS_ONLY = re.compile(r"cmp|test|bt|push|i?div|i?mul|call|jmp")
NO_ACCESS = re.compile(r"lea|prefetch|nop|prfm")
OPERAND = re.compile(r"(?:\([^)]*\)|\[[^]]*\]|\{[^}]*\}|[^,])+")
WIDTHS = {64: r"\bzmm\d", 32: r"\bymm\d", 16: r"\bxmm\d|\bq\d|\bz\d+\.|\bv\d+\.(16b|8h|4s|2d)", 8: r"\bv\d+\.(8b|4h|2s)|\bd\d", 4: r"\bs\d"}
SP, FRAME = r"[(\[]%?r?sp\b", r"[(\[]%?(r?sp|rbp|x29)\b"  # addresses on the stack, without and with a frame pointer
COUNTS = ("bytes", "FMA", "other vector", "div+sqrt", "loads", "stores", "spills", "calls", "instructions")


@dataclass
class Loop:
    """A loop of the machine code, and how many instructions of each kind it has; bytes: of its widest vectors, of a number where it is scalar."""

    function: str
    lines: list[str]
    counts: Counter[str]
    accumulators: set[str]

    @property
    def heat(self) -> tuple[int, int, int, int]:
        """What the hottest loop has most of. Tiles with equally many multiply-adds differ in their accumulators, which may have been spilled."""
        n = self.counts
        return n["FMA"] * n["bytes"], len(self.accumulators) if n["FMA"] else 0, n["other vector"] * n["bytes"], (n["loads"] + n["stores"]) * n["bytes"]


def _split(line: str) -> tuple[str, list[str]]:
    """Return the mnemonic and the operands of a line, the destination last on x86-64; none for labels, directives and comments."""
    mnemonic, _, rest = re.split(r"//|;|##|# |#(?:NO_)?APP", line)[0].strip().partition("\t" if "\t" in line.strip() else " ")
    if not mnemonic or mnemonic.startswith(".") or mnemonic.endswith(":"):
        return "", []
    operands = [operand.strip() for operand in OPERAND.findall(rest)]
    intel = "%" not in rest and re.search(r"\b([xyz]mm|[re][a-ds][ipx]\b|r\d)", rest)
    return mnemonic, operands[::-1] if intel else operands


def _width(mnemonic: str, operands: str) -> int:
    """Return the bytes of the widest vector register that an instruction works on, of the number where it is scalar, 0 without any."""
    if re.search(r"s[sd]$", mnemonic) and "mm" in operands and "broadcast" not in mnemonic:
        return 4 if mnemonic.endswith("s") else 8
    if re.match(r"v?mov[dq]$", mnemonic):
        return 0
    return next((width for width, registers in WIDTHS.items() if re.search(registers, operands)), 0)


def _read_loop(function: str, lines: list[str], stack: str) -> Loop:
    """Count what the lines of a loop do; `stack` matches an address on the stack."""
    n, accumulators, scalar, packed = Counter(dict.fromkeys(COUNTS, 0)), set(), 0, False
    for mnemonic, operands in filter(lambda pair: pair[0], map(_split, lines)):
        text = ",".join(operands)
        width, arm = _width(mnemonic, text), not re.search(r"%|mm\d|ptr", text)
        vector, fma = width >= 16 or (arm and ".2s" in text), FMA.match(mnemonic) is not None
        scalar = scalar if vector else max(scalar, width)
        packed |= vector and (width > 16 or arm or PACKED.search(mnemonic) is not None)
        n["bytes"] = max(n["bytes"], width)
        n["instructions"] += 1
        n["FMA"] += fma
        n["other vector"] += vector and not fma and not MOVE.match(mnemonic)
        n["div+sqrt"] += bool(width and SLOW.match(mnemonic))
        n["calls"] += bool(re.match(r"call|blr?$", mnemonic))
        if fma:
            accumulators.add(operands[0 if arm else -1])
        place = next((i for i, operand in enumerate(operands) if re.search(r"^\[|ptr.*\[|\(", operand)), -1)
        if place < 0 or NO_ACCESS.match(mnemonic):
            continue
        stores = mnemonic.startswith("st") if arm else place == len(operands) - 1 and not READS_ONLY.match(mnemonic)
        n["stores"] += stores
        n["loads"] += not stores or not (arm or STORES_ONLY.match(mnemonic))
        if re.search(stack, operands[place]):
            n["spills"] += 1
            accumulators |= {operands[place]} if vector else set()
    if scalar and not packed:  # logical instructions on vectors also give the absolute value of one number
        n["bytes"] = scalar
    return Loop(function, lines, n, accumulators)


def _function_name(label: str) -> str:
    """Return the last part of a mangled name: rows_product for _ZN7kernels8_product12rows_productB3v89..."""
    name, rest = label, re.sub(r"^(cfunc\.)?_+ZN", "", label)
    while found := re.match(r"(\d+)", rest):
        end = found.end() + int(found[1])
        name, rest = rest[found.end() : end], rest[end:]
    return name


def find_loops(assembly: str) -> list[Loop]:
    """Return the innermost loops of an assembly text, x86-64 or AArch64, the hottest first: a loop is what lies between a label and a jump back to it."""
    lines = assembly.splitlines()
    labels: dict[str, int] = {}
    function, stack = "", SP
    loops: dict[int, tuple[int, str, str]] = {}  # first line -> last line, function, what is on its stack
    for i, line in enumerate(lines):
        if label := re.match(r'"?([\w.$]+)"?:', line):
            labels[label[1]] = i
            if not label[1].lstrip(".").startswith("L"):
                function, stack = label[1], SP
            continue
        mnemonic, operands = _split(line)
        if re.search(r"\s(movq?\s+(%rsp, ?%rbp|rbp, ?rsp)|(mov|add)\s+x29, ?sp)", line):
            stack = FRAME
        elif re.match(r"j|b(?!lr?$)|cb|tb", mnemonic) and operands[-1:] and (start := labels.get(operands[0 if mnemonic[0] == "j" else -1])) is not None:
            loops[start] = i, function, stack
    innermost = [start for start, (end, *_) in loops.items() if not any(start < other and last <= end for other, (last, *_) in loops.items())]
    own = [start for start in innermost if not re.match(r"_+ZN7cpython|cfunc\.", loops[start][1])]  # not what converts arguments
    found = [_read_loop(_function_name(loops[start][1]), lines[start : loops[start][0] + 1], loops[start][2]) for start in own]
    return sorted(found, key=lambda loop: loop.heat, reverse=True)


def _assembly(result: Any) -> str:
    """Return the assembly of a compiled signature, from the cache or not: Numba keeps the optimized code of both for those that call it."""
    return str(result.library._codegen._tm.emit_assembly(result.library._get_module_for_linking()))


# Arguments: what a parameter's name says. Rows are ROWS or, to measure what a call itself costs, 0.
SCALARS = {"scale": 1.0, "shift": 0.0, "delta": 1.0, "rate": 0.5, "low": 0.0, "high": 1.0, "mean": 0.0, "std": 1.0, "learning_rate": 1e-3, "momentum": 0.9}
SCALARS |= {"dampening": 0.0, "weight_decay": 0.0, "lr_decay": 0.0, "alpha": 0.99, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
SCALARS |= {"parameter": 0.5, "eta_minus": 0.5, "eta_plus": 1.2, "min_step": 1e-6, "max_step": 50.0}
SCALARS |= dict.fromkeys(("seed", "stream", "layer", "epoch", "step"), 1)


def _public_arguments(name: str, dtype: str, rows: int) -> list[Any]:
    """Return arguments for a public kernel."""
    random, width = np.random.default_rng(0), kernels.panel_width(dtype)

    def matrix(n: int = rows) -> Any:
        return random.random((n, COLUMNS)).astype(dtype)

    values: dict[str, Any] = {"labels": np.arange(rows) % COLUMNS, "order": np.arange(rows), "batch": ROWS, "jump": ROWS * width, "stride": ROWS * COLUMNS}
    values |= SCALARS
    values["packed"] = np.zeros(kernels.packed_shape(rows, COLUMNS, dtype), dtype)
    if name == "pack":
        values |= {"W": matrix(), "out": values["packed"]}
    elif name == "permutation":
        values["out"] = np.zeros(rows * COLUMNS, np.int64)
    elif name == "gather":
        values["out"] = matrix(ROWS).ravel()
    for rule in kernels.OPTIMIZERS.values():
        if name == f"{rule.name}_update":
            values["hyper"] = rule.record([0.5] * len(rule.hyper))
    code = PUBLIC[name].compiled.py_func.__code__
    flat = name.endswith("_update")
    return [values[key] if key in values else matrix().ravel() if flat else matrix() for key in code.co_varnames[: code.co_argcount]]


def _task_arguments(name: str, dtype: str, rows: int) -> tuple[list[int], Any]:
    """Return the arguments of a task, without the tag that says its dtype, and the arrays whose addresses are among them."""
    width, count = kernels.panel_width(dtype), rows * COLUMNS
    arrays = np.random.default_rng(0).random((5, ROWS * COLUMNS)).astype(dtype)
    zeros, large, labels, numbers = np.zeros(COLUMNS, dtype), np.full(count, 1e3, dtype), np.zeros(ROWS, np.int64), np.zeros((2, ROWS))
    numbers[0, :3] = 1e-3, 1, 1
    hyper = ADAM.record([0.9, 0.999, 1e-8, 0.0])
    X, out, w, m, _ = (array.ctypes.data for array in arrays)
    zero, saved = zeros.ctypes.data, large.ctypes.data
    now = NOW.new(rows=rows, batch=rows, labels=labels.ctypes.data)
    dropout = DROPOUT.new(source=out, out=out, jump=ROWS * width, threshold=1 << 31)  # in place, as networks do
    arguments = {
        "rows_product": [X, ROWS * width, w, COLUMNS * width, zero, out, width, ROWS * width, 0, zero, COLUMNS, rows, TILE_PANELS, w],
        "columns_product": [X, 0, w, ROWS * PANEL_BYTES, zero, out, width * PANEL_BYTES, count // ROWS // width, ROWS, width, 0, out, out, 0],
        "activate": [0, X, out, count],
        "derive": [0, saved, out, count],  # there the derivative is 1: out keeps its size
        "element_loss": [HUBER.values.ctypes.data, out, X, m, count, numbers.ctypes.data + 16],
        "update_task": [hyper.ctypes.data, w, X, m, arrays[0].nbytes, count, numbers.ctypes.data],
        "dropout_task": [address_of_record(dropout), 0, count // width, 0, address_of_record(now)],
        "loss_task": [zero, X, out, 0, labels.ctypes.data, ROWS * PANEL_BYTES, COLUMNS if rows else 0, 0, min(rows, width), m, numbers[1].ctypes.data],
    }
    return arguments[name.removeprefix("pairs_")], (arrays, zeros, large, labels, numbers, hyper, now, dropout)


def _prepare(name: str, dtype: str, rows: int) -> tuple[Callable[[], Any], Any, int]:
    """Return a call of a kernel, the compiled signature that it runs, and the bytes of its arrays."""
    if name in PUBLIC:
        function, arguments = PUBLIC[name].compiled, _public_arguments(name, dtype, rows)
        function(*arguments)
        n_bytes = sum(value.nbytes for value in arguments if isinstance(value, np.ndarray))
        return lambda: function(*arguments), function.overloads[tuple(map(numba.typeof, arguments))], n_bytes
    dispatcher, (integers, owners) = TASKS[name], _task_arguments(name, dtype, rows)
    signature = types.void(types.CPointer(getattr(types, dtype)), *[types.int64] * len(integers))
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * len(integers))(address(dispatcher, signature))
    n_bytes = (4 if name == "update_task" else 2) * rows * COLUMNS * np.dtype(dtype).itemsize
    return lambda owners=owners: run(None, *integers), dispatcher.overloads[tuple(signature.args)], n_bytes


def _seconds(run: Callable[[], Any]) -> float:
    """Return how long a call takes, the best of several rounds of some milliseconds."""
    number, best = 1, float("inf")
    for _ in range(30):
        start = time.perf_counter()
        for _ in range(number):
            run()
        taken = (time.perf_counter() - start) / number
        number, best = max(1, min(100_000, int(2e-3 / max(taken, 1e-9)))), min(best, taken)
    return best


def measure(name: str, dtype: str = "float32") -> str:
    """Return a line that says how fast a kernel is, and which share of the machine's peak that is."""
    rows = kernels.panel_width(dtype) if name == "loss_task" else ROWS  # of one task
    run, _, n_bytes = _prepare(name, dtype, rows)
    seconds = max(_seconds(run) - _seconds(_prepare(name, dtype, 0)[0]), 1e-9)
    if name in FLOPS:
        flops = FLOPS[name] * ROWS * COLUMNS * kernels.panel_width(dtype)
        peak, speed = kernels.fma_peak(dtype), flops / seconds / 1e9
        return f"{seconds * 1e6:.1f} us for {flops / 1e6:.2f} MFLOP: {speed:.0f} GFLOP/s, {speed / peak:.0%} of the FMA peak of a core ({peak:.0f})"
    source = np.ones(n_bytes // 2, np.uint8)
    target, nothing = source.copy(), source[:0]
    copy = n_bytes / max(_seconds(lambda: np.copyto(target, source)) - _seconds(lambda: np.copyto(nothing, nothing)), 1e-9) / 1e9
    speed, elements = n_bytes / seconds / 1e9, rows * COLUMNS
    return f"{seconds / elements * 1e9:.3f} ns an element, {speed:.1f} GB/s, {speed / copy:.0%} of a copy ({copy:.1f})"


def report(name: str, dtype: str = "float32", show: bool = False) -> str:
    """Return what `python -m kernels.inspect` prints of a kernel; `show` adds the lines of the hot loop."""
    result = _prepare(name, dtype, ROWS)[1]
    lines = [f"{name} {dtype}, made for {cpu_name()} with vectors of {VECTOR_BYTES} bytes"]
    if platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
        return "\n".join([*lines, f"The machine code of {platform.machine()} is not read, only that of x86-64 and AArch64.", measure(name, dtype)])
    loops = find_loops(_assembly(result))[: 1 if show else 4]
    lines.append("  ".join(COUNTS) + "  in")
    lines += ["  ".join(f"{loop.counts[key]:{len(key)}}" for key in COUNTS) + f"  {loop.function}" for loop in loops]
    return "\n".join([*lines, measure(name, dtype), *(loops[0].lines if show and loops else [])])


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m kernels.inspect", description="Print the hot loop of a kernel and its share of the machine's peak.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="a kernel; without it, their names")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--asm", action="store_true", help="print the loop itself")
    options = parser.parse_args(arguments)
    if options.name in PAIRS and options.dtype != "float32":
        parser.exit(2, f"--dtype must be float32 for {options.name}; got {options.dtype!r}.\n")
    if options.name is None:
        print(*NAMES, sep="\n")
    elif options.name in NAMES:
        print(report(options.name, options.dtype, options.asm))
    else:
        nearest = NO_LOOP.get(options.name) or difflib.get_close_matches(options.name, NAMES, 1, 0.0)[0]
        parser.exit(2, f"NAME must be a kernel with a loop of its own; got {options.name!r}. Did you mean {nearest!r}?\n")


if __name__ == "__main__":
    main()
