"""A team of threads: the caller's drives, helpers claim tasks from atomic words and sleep when there are none.

A phase is a number of equal tasks. Each member has a share of them, a run of task numbers behind one word, which everybody may
claim from: first the own share, then the others'. A phase ends when its tasks are done, not when every member has arrived: so
no helper has to exist for the driver to go on, and one that the system has taken away holds up at most its one task. After such
a wait the driver works alone for a while, since where threads are taken away, the next one would be too.

Helpers are Python threads inside compiled code, without the GIL. They start with the first work that threads share and wait in three
steps (spin, give way, doze). When nobody drives, or the driver works alone, they go back to Python after some milliseconds, where
they cost nothing, and end after a minute.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading

import numpy as np
from numba import types

from . import _jit
from ._jit import helper, jit
from ._tile import call
from ._wait import doze, fetch_add, float_mode, give_way, load, pause, set_float_mode, store, ticks
from .records import I, Record

__all__ = ["run_tasks", "share"]

LINE = 128  # bytes between words that different threads write: a CPU fetches lines in pairs
SPINS, YIELDS, DOZES = 8000, 50, 40  # of a wait, before the next step of it; after the last an idle helper goes back to Python
ALONE = 1  # how many times as long as it was held up a driver works alone
PART = 1  # how many times as long as its own work a driver may wait before that is to be held up: tasks are not quite equal
IDLE_SECONDS = 60.0

# A claim word is (end of the share << BITS) + next task: the end goes with the number, so that a late claim finds nothing.
BITS = 31
LOW = (1 << BITS) - 1

BOARD = Record(
    task=(I, "address of the tasks' function"),
    record=(I, "address of the record that they read"),
    now=(I, "address of the record of what changes"),
    mode=(I, "how the driver calculates: whether denormal numbers are zero"),
    shares=(I, "members that this work is for, 0: nobody drives"),
    alone_until=(I, "when the driver stops working alone, in ticks"),
    end=(I, "whether helpers are to go back to Python"),
)
DONE = LINE  # tasks that helpers have done
WORDS = 2 * LINE  # the first share's claim word; one line a share


@helper
def _claim(team, word, me):
    """Do what can be claimed of a share; return how many tasks."""
    did = 0
    while True:
        seen = load(word)
        if seen & LOW >= seen >> BITS:
            return did
        ticket = fetch_add(word, 1)
        t = ticket & LOW
        if t >= ticket >> BITS:
            return did
        board = BOARD(team)
        if me != 0:
            set_float_mode(board.mode)
        call(board.task, (0, t, me, board.record, board.now))
        did += 1
        if me != 0:
            fetch_add(team + DONE, 1)


@helper
def _wait(waited):
    """Wait, the shorter the fewer times it was waited before."""
    if waited < SPINS:
        pause()
    elif waited < SPINS + YIELDS:
        give_way()
    else:
        doze()


@jit
def _help(team, me):
    """Claim and do tasks until there were none for some milliseconds, and none are to be expected."""
    waited, expected, before = 0, False, float_mode()
    while load(team + _END) == 0 and (waited < SPINS + YIELDS + DOZES or expected):
        did, shares = 0, load(team + _SHARES)
        expected = me < shares and load(team + _ALONE) == 0  # a phase may be long, and so what one member waits for
        if me < shares:
            for k in range(shares):
                share = me + k
                did += _claim(team, team + WORDS + (share - shares if share >= shares else share) * LINE, me)
        waited = 0 if did > 0 else waited + 1
        if did == 0:
            _wait(waited)
    set_float_mode(before)


_END, _SHARES, _ALONE = BOARD.offset("end"), BOARD.offset("shares"), BOARD.offset("alone_until")


@helper
def _is_alone(team):
    """Whether the driver works alone, since it was held up a short while ago."""
    board = BOARD(team)
    if board.alone_until != 0 and ticks() >= board.alone_until:
        board.alone_until = 0
    return board.alone_until != 0


@helper
def _run_together(team, function, begin, count, record, now):
    """Do tasks from number `begin` on with whoever helps; return when all are done."""
    board, begun = BOARD(team), ticks()
    shares, left = board.shares, count - begin
    board.task, board.record, board.now, board.mode = function, record, now, float_mode()
    store(team + DONE, 0)
    for s in range(shares - 1, 0, -1):
        store(team + WORDS + s * LINE, (begin + (s + 1) * left // shares) << BITS | begin + s * left // shares)
    mine = min(left // shares, 1)  # the first task of all is taken before others see it
    store(team + WORDS, (begin + left // shares) << BITS | begin + mine)
    if mine == 1:
        call(function, (0, begin, 0, record, now))
    for s in range(shares):
        mine += _claim(team, team + WORDS + s * LINE, 0)
    if load(team + DONE) != left - mine:
        waited, start = 0, ticks()
        while load(team + DONE) != left - mine:
            waited += 1
            _wait(waited)
        held_up = ticks() - start
        if waited > SPINS and PART * held_up > start - begun:
            board.alone_until = ticks() + ALONE * held_up


@helper
def run_tasks(team, function, count, record, now):
    """Do the tasks 0 ... count - 1 with a team, or in order where there is none.

    Who has no `now` gives np.int64(0): for a literal 0 Numba would compile all of this once more.
    """
    t = 0
    while t < count and (team == 0 or t == count - 1 or _is_alone(team)):
        call(function, (0, t, 0, record, now))
        t += 1
    if t < count:
        _run_together(team, function, t, count, record, now)


class _Helper(threading.Thread):
    """A member of a team other than the driver."""

    def __init__(self, team: _Team, me: int) -> None:
        super().__init__(name=f"fastnn-helper-{me}", daemon=True)
        self.team, self.me, self.wake = team, me, threading.Event()

    def run(self) -> None:
        called = True
        while called:
            self.wake.clear()  # before it looks for work: one that is called on its way out looks again
            if self.team.closed:
                break
            _help(self.team.address, self.me)
            called = self.wake.wait(IDLE_SECONDS)


class _Team:
    """The words that members share, and the helpers that there are."""

    def __init__(self) -> None:
        self.words = np.zeros(WORDS + (_jit.max_threads() + 1) * LINE, np.uint8)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.words))  # a helper may look at it while the interpreter ends
        self.address = self.words.ctypes.data + -self.words.ctypes.data % LINE
        offset = self.address - self.words.ctypes.data
        self.board = self.words[offset : offset + BOARD.dtype.itemsize].view(BOARD.dtype)
        self.shares = ctypes.c_int64.from_address(self.address + BOARD.offset("shares"))
        self.helpers: list[_Helper] = []
        self.driving = threading.Lock()
        self.closed = False

    def call_helpers(self, n_threads: int) -> None:
        """See to it that `n_threads - 1` helpers look for work."""
        for k in range(n_threads - 1):
            if k < len(self.helpers) and self.helpers[k].is_alive():
                if not self.helpers[k].wake.is_set():
                    self.helpers[k].wake.set()
            else:
                _help.compile((types.int64, types.int64))  # here: a child forked while a helper compiles could never compile
                one = _Helper(self, k + 1)
                one.start()
                self.helpers[k : k + 1] = [one]

    def close(self) -> None:
        """Send the helpers home and wait for them: the interpreter is about to end."""
        self.closed = True
        self.board["end"] = 1
        for one in self.helpers:
            one.wake.set()
        for one in self.helpers:
            one.join(1.0)


_team = _Team()


class share:  # noqa: N801, a context like `contextlib.suppress`, of which one made by a generator costs a microsecond more
    """Give the address of a team of `n_threads` for the compiled calls inside, or 0: then they are the caller's alone.

    It is 0 for one thread, and while another Python thread drives the team: that one has the helpers, this one its own CPU.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads, self.team = min(n_threads, _jit.max_threads()), _team

    def __enter__(self) -> int:
        team = self.team
        self.drives = self.n_threads > 1 and not team.closed and team.driving.acquire(blocking=False)
        if not self.drives:
            return 0
        team.shares.value = self.n_threads
        try:
            team.call_helpers(self.n_threads)
        except RuntimeError:  # no thread can be started, or the interpreter ends: whoever is there helps
            pass
        except BaseException:
            self.__exit__()
            raise
        return team.address

    def __exit__(self, *raised: object) -> None:
        if self.drives:
            self.team.shares.value = 0
            self.team.driving.release()


def _forget() -> None:
    """In a forked child: the helpers are not here, and the lock may be held for ever."""
    global _team
    _team = _Team()


def _close() -> None:
    _team.close()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
