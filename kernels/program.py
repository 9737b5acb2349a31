"""Programs: a step of a network as a flat list of phases, which the layers write when a network is bound to memory.

A layer's `emit(program, X, at)` adds the phases of the way forward and returns a `Value`, the matrix that it makes, and `backward`,
which adds the phases of the way back: given where the gradient of that matrix lies, it returns where the gradient of X lies.
What is done to rows just written, an activation or a dropout, is no phase but an operation of the phase that wrote them: the Value
says where to add one. It also carries what a gradient of it must still go through, so that no layer knows its neighbours.

One compiled loop, `run`, does the phases, alone or with a team of threads. It knows no layer.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import sharing
from ._jit import Task, helper, jit, max_threads
from ._lazy import cached_property
from ._product import TOGETHER
from ._tile import PANEL_BYTES
from ._wait import flush_denormals, set_float_mode
from .hardware import fma_peak
from .records import NOW, OP, PHASE, address, aligned_zeros, new_array
from .sharing import ALONE, LARGE, SMALL
from .team import run_tasks, share

__all__ = ["Memory", "Operation", "Phase", "Profile", "Program", "Value", "task_address"]

FINE_WORK, FINE_TASKS = 1.5e7, 4  # multiplications from which on a thread has some tasks of a phase: others take over what one is late with
BLOCK_BYTES = 1 << 16  # of memory for small matrices, taken at once


@functools.cache
def task_address(function: Any, dtype: str) -> int:
    """Return the address of a task, compiled for a dtype."""
    return Task(function).address(dtype)


@dataclass
class Operation:
    """What is done to rows of a panel that was just written; a note is for listings."""

    task: Any
    record: Any
    note: str = ""


@dataclass
class Value:
    """A matrix in panels that a phase writes and others read.

    Attributes
    ----------
    where : int
        Its address; 0 for the inputs, which lie elsewhere for each minibatch.
    n : int
        Its columns.
    name : str
        For listings.
    mask : int
        Address of ReLU's outputs: a gradient is kept where they are positive. 0 for none.
    finish : list of Operation
        What else a gradient of it must go through, in order.
    epilogue : list of Operation or None
        Where to add what is done to each panel of it once it is written; None where no phase would.
    wanted : bool
        Whether anything below is trained, so that a gradient of it is asked for.
    kept : bool
        Whether others read it later, so that nobody may overwrite it.
    ends : Value or None
        Another one that nobody reads any more once this one is written.
    lists : list of Lists
        Of what is not zero in it, or in what was made of it by leaving some out: who reads it adds them.
    stored : StoredRows or None
        What there is in the place of a matrix, of inputs of which only some numbers are stored.
    """

    where: int
    n: int
    name: str
    mask: int = 0
    finish: list[Operation] = field(default_factory=list)
    epilogue: list[Operation] | None = None
    wanted: bool = False
    kept: bool = False
    ends: Value | None = None
    lists: list[Any] = field(default_factory=list)
    stored: Any = None


@dataclass
class Memory:
    """Where the parameters of a layer lie.

    Attributes
    ----------
    index : int
        Which layer of its kind it is: for names.
    parameters : tuple of int
        The address of each of its arrays.
    gradient : tuple of int
        The address of the gradient of each, 0 where it is not trained.
    training : bool
        Whether there will be a way back.
    fitting : bool
        Whether it is a step of a fit: with what only a fit has, such as dropout and the statistics of a minibatch.
    seed : int
        Of the random numbers of a fit.
    update : dict of str to int
        Where who writes a gradient updates the parameters at once: the fields of its record that say how.
    penalties : dict of str to record
        Those of its arrays, by name.
    """

    index: int
    parameters: tuple[int, ...]
    gradient: tuple[int, ...]
    training: bool = False
    fitting: bool = False
    seed: int = 0
    update: dict[str, int] = field(default_factory=dict)
    penalties: dict[str, Any] = field(default_factory=dict)


@dataclass
class Phase:
    """A line of a program."""

    task: Any
    tasks: int
    record: Any
    work: float
    note: str
    products: bool  # whether the work is multiplications of matrices

    @property
    def name(self) -> str:
        """The name of its task."""
        return str(self.task.py_func.__name__)


@helper
def _run(phases, first, last, times, team, now):
    state = NOW(now)
    for round_ in range(times):
        for k in range(first, last):
            phase = PHASE(phases + k * PHASE_BYTES)
            run_tasks(team if phase.together > state.apart else 0, phase.task, phase.tasks, phase.record, now)
            if state.stop != 0:
                return round_
    return times


@jit
def run(phases, first, last, times, team, now):
    """Do the phases first ... last - 1, so many times or until a loss is not finite; return how often they were done.

    Denormal numbers are zero meanwhile.
    """
    before = flush_denormals()
    done = _run(phases, first, last, times, team, now)
    set_float_mode(before)
    return done


PHASE_BYTES = PHASE.dtype.itemsize


class Program:
    """Phases, the memory that they work on, and the record of what changes from minibatch to minibatch.

    Parameters
    ----------
    dtype : str
        "float32" or "float64".
    rows : int
        Rows of a full minibatch.
    n_threads : int
        For how many threads the phases are cut in tasks.
    bfloat16 : bool
        Whether products read their operands rounded.
    """

    def __init__(self, dtype: str, rows: int, n_threads: int = 1, bfloat16: bool = False) -> None:
        self.dtype, self.rows, self.n_threads, self.bfloat16 = dtype, rows, n_threads, bfloat16
        self.itemsize = np.dtype(dtype).itemsize
        self.width = PANEL_BYTES // self.itemsize
        # An odd number of cache lines a panel spreads over the cache sets.
        self.jump = (-(-rows // self.width) * self.width + 1) * self.width
        self.down_jump = (-(-rows // self.width) * self.width // 2 + 1) * self.width  # the same for pairs of rows
        self.phases: list[Phase] = []
        self.marks: dict[str, int] = {}
        self.now = NOW.new(rows=rows, batch=rows, penalized=1, apart=SMALL)
        self._now = address(self.now)
        self._kept: list[Any] = []
        self._free: list[tuple[int, int]] = []
        self._sizes: dict[int, int] = {}
        self._turns: dict[str, tuple[int, int]] = {}
        self._room, self._used = aligned_zeros(0, dtype), 0
        self._lists: list[tuple[Any, str, list[Operation]]] = []
        self._scratch = self._scratch_size = 0
        self._table: Any = None
        self.blocks: list[Any] = []  # residual blocks that have begun and not ended
        self.stored: list[Any] = []  # the inputs, where only some of their numbers are: of this program, or of those that it runs
        self.schedules: list[Any] = []  # records of dropouts that have another rate at each step
        self.overwrites_inputs = False
        self.sample: Callable[[], None] = lambda: None  # fills in random rows, where there is something to train

    # What layers call.

    def panels(self, n: int) -> int:
        """Return how many panels hold n columns."""
        return -(-n // self.width)

    def keep(self, array: Any) -> int:
        """Keep an array or record alive as long as the program, and return its address."""
        self._kept.append(array)
        return address(array)

    def keep_all(self, *things: Any) -> None:
        """Keep what the phases' records point to alive as long as the program."""
        self._kept.extend(things)

    def zeros(self, size: int) -> int:
        """Return the address of `size` zeros of the program's dtype, at a cache line."""
        size = -(-size // self.width) * self.width
        if self._used + size > self._room.size:
            self._room = aligned_zeros(max(size, BLOCK_BYTES // self.itemsize), self.dtype)
            self._kept.append(self._room)
            self._used = 0
        self._used += size
        return address(self._room) + (self._used - size) * self.itemsize

    def in_turn(self, name: str, size: int) -> int:
        """Return the address of room for `size` numbers that all who give the same name share."""
        if self._turns.get(name, (0, 0))[0] < size:  # those before keep theirs
            self._turns[name] = size, self.zeros(size)
        return self._turns[name][1]

    def matrix(self, n: int) -> int:
        """Return the address of a matrix of n columns in panels; its content is what was there."""
        size = self.panels(n) * self.jump
        fitting = sorted((have, where) for have, where in self._free if have >= size)
        if fitting:
            self._free.remove(fitting[0])
            return fitting[0][1]
        where = self.zeros(size)
        self._sizes[where] = size
        return where

    def release(self, where: int) -> None:
        """Give a matrix back whose content nobody needs any more."""
        if where:
            self._free.append((self._sizes[where], where))

    def operations(self, record: Any, name: str, operations: list[Operation]) -> None:
        """Say that two fields of a record, `name` and `n_name`, name a list of operations, which may still grow."""
        self._lists.append((record, name, operations))

    @cached_property
    def constants(self) -> int:
        """The address of a line of ones and some of zeros, for the panels of a product."""
        lines = aligned_zeros((1 + TOGETHER) * self.width, self.dtype)
        lines[: self.width] = 1
        return self.keep(lines)

    def scratch(self, size: int) -> dict[str, int]:
        """Return the fields `scratch`, the address of room for so many numbers for each thread that may come, and `scratch_bytes`, its bytes for one."""
        if size > self._scratch_size:  # the layers before keep theirs
            self._scratch_size = size
            threads = max_threads() if self.n_threads > 1 else 1
            self._scratch = self.zeros(threads * size)
        return {"scratch": self._scratch, "scratch_bytes": self._scratch_size * self.itemsize}

    def phase(self, task: Any, tasks: int, record: Any, work: float, note: str, products: bool = False) -> None:
        """Add a phase; `work` is how many multiplications it takes, of matrices where it has `products`."""
        self.phases.append(Phase(task, tasks, record, work, note, products))

    def mark(self, name: str) -> None:
        """Name the place before the next phase."""
        self.marks[name] = len(self.phases)

    def shares(self, work: float) -> int:
        """Return into how many tasks to cut a phase of so much work: one, one for each thread, or some for each."""
        if work <= sharing.TEAM_WORK or self.n_threads == 1:
            return 1
        return self.n_threads * (FINE_TASKS if work > FINE_WORK else 1)

    def close(self) -> None:
        """Write the tables that the compiled loop reads; nothing can be added afterwards."""
        followed = {id(record): [operation.note for operation in operations if operation.note] for record, _, operations in self._lists}
        for phase in self.phases:
            phase.note = ", ".join([phase.note, *followed.get(id(phase.record), ())])
        for record, name, operations in self._lists:
            table = new_array(OP, max(1, len(operations)))
            for place, operation in zip(table, operations):
                place["task"] = task_address(operation.task, self.dtype)
                place["record"] = self.keep(operation.record)
            record[name], record[f"n_{name}"] = self.keep(table), len(operations)
        self._lists.clear()
        self._table = new_array(PHASE, max(1, len(self.phases)))
        for place, phase in zip(self._table, self.phases):
            place["task"] = task_address(phase.task, self.dtype)
            place["tasks"], place["record"] = phase.tasks, self.keep(phase.record)
            place["together"] = self._together(phase)
        self.marks["end"] = len(self.phases)
        self.where = address(self._table)

    def _together(self, phase: Phase) -> int:
        """Return whether threads may share a phase: ALONE, SMALL or LARGE."""
        if phase.tasks == 1 or not (phase.products or phase.work > sharing.TEAM_WORK):  # products are cut for threads only
            return ALONE
        return LARGE if phase.work > sharing.LARGE_WORK else SMALL

    @property
    def work(self) -> float:
        """The multiplications of all phases."""
        return sum(phase.work for phase in self.phases)

    def kinds(self) -> list[int]:
        """Return which kinds of phases there are that threads may share, the smaller ones first."""
        return sorted({int(kind) for kind in self._table["together"]} - {ALONE})

    def words(self, first: int, end: int) -> Any:
        """Return where in the records of a closed program addresses from `first` up to `end` stand: for who moves what lies there."""
        found = []
        for thing in self._kept:
            for name in getattr(getattr(thing, "dtype", None), "names", None) or ():
                if thing.dtype[name] == np.int64:
                    places = np.flatnonzero((thing[name] >= first) & (thing[name] < end))
                    found += [address(thing) + int(k) * thing.itemsize + thing.dtype.fields[name][1] for k in places]
        return np.array(sorted(set(found)), np.int64)  # a record that two phases share is kept twice

    # What runs it.

    def run(self, first: str, last: str, times: int = 1, team: int = 0) -> int:
        """Do the phases from one mark to another, so many times; return how often until a loss was not finite."""
        return int(run(self.where, self.marks[first], self.marks[last], times, team, self._now))

    def profile(self, seconds: float = 1.0) -> Profile:
        """Measure what each phase of a training step takes, with random rows and a learning rate of 0.

        Parameters
        ----------
        seconds : float
            How long to measure.

        Returns
        -------
        profile : Profile
            Microseconds and the share of the peak of each phase; printed, a table. The peak is that of the plan's dtype: products of
            bfloat16 come to twice of it where a CPU has the instruction.
        """
        self.sample()
        peak = fma_peak(self.dtype)
        with share(self.n_threads) as team:
            spent: list[list[float]] = [[] for _ in self.phases]
            empty: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or len(empty) < 5:
                self.now["done"], self.now["stop"] = 0, 0
                for k in range(-1, len(self.phases)):
                    start = time.perf_counter()
                    run(self.where, max(k, 0), k + 1, 1, team, self._now)
                    (empty if k < 0 else spent[k]).append(time.perf_counter() - start)
        idle = float(np.median(empty))
        microseconds = [max(0.0, float(np.median(times)) - idle) * 1e6 for times in spent]
        return Profile(self.phases, microseconds, peak * self.n_threads)

    def __str__(self) -> str:
        """Return a line for each phase: its task, how many of them, and on what."""
        names = {at: name for name, at in self.marks.items()}
        lines = []
        for k, phase in enumerate(self.phases):
            lines += [f"{names[k]}:"] if k in names else []
            lines.append(f"{k:4d} {phase.name:<20}{phase.tasks:4d} x  {phase.note}")
        return "\n".join(lines)


@dataclass
class Profile:
    """What the phases of a program take.

    Attributes
    ----------
    phases : list of Phase
    microseconds : list of float
        The median of each phase.
    peak : float
        GFLOP/s that all threads together could do in fused multiply-adds.
    """

    phases: list[Phase]
    microseconds: list[float]
    peak: float

    def __str__(self) -> str:
        """Return a line for each phase: microseconds, and for products the share of the peak."""
        lines = ["      us  of peak"]
        for phase, spent in zip(self.phases, self.microseconds):
            share_ = f"{2e-3 * phase.work / spent / self.peak:8.0%}" if phase.products and spent > 0 else " " * 8
            lines.append(f"{spent:8.2f} {share_}  {phase.name:<20}{phase.note}")
        return "\n".join([*lines, f"{sum(self.microseconds):8.2f}           all"])
