"""Which phases of a program threads share: found out by what its calls take.

Sharing pays or not by what the machine is like at the moment. Where two CPUs lie in one cluster of cores, a word goes from one to the
other and back in 120 ns and a line that the other wrote costs 1.2 ns; in two, on the same rented machine a minute later, 1,500 and 5;
beside another program a phase waits for the CPU that was taken away. Who does a task changes no bit, so each choice is tried in turn.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

__all__ = ["ALONE", "LARGE", "LARGE_WORK", "SMALL", "TEAM_WORK", "Sharing", "sharing_of"]

ALONE, SMALL, LARGE = 0, 1, 2  # kinds of phases, and up to which of them threads do not share the tasks
TEAM_WORK = 60_000  # multiplications from which on a phase is cut for threads: 1 to 2 us
LARGE_WORK = 600_000  # multiplications of a large phase: 10 to 20 us
FUSED_WORK = 1e6  # of a network's largest layer from which on its threads update what they have the gradient of: of less that costs more than it saves
SURE_WORK = 2e7  # of a program that is shared whatever the machine is like: more than a millisecond
TRIES = 4  # calls with each choice; the first wakes or stills the helpers and does not count
CALLS, MOST_CALLS = 16, 512  # with the best choice, before the others are tried again: twice as many each time it stays the best
KEPT = 64  # of the choices that are remembered


class Sharing:
    """Choose up to which kind of phases threads do not share the tasks.

    Parameters
    ----------
    kinds : sequence of int
        The kinds of phases that threads could share, the smaller ones first.
    work : float
        Multiplications of the program.

    Attributes
    ----------
    apart : int
        The choice for the next call: ALONE shares all, LARGE nothing.
    """

    def __init__(self, kinds: Sequence[int], work: float) -> None:
        self.largest = max(kinds, default=ALONE)
        usual = SMALL if SMALL in kinds else ALONE
        self.choices = [ALONE] if work > SURE_WORK else [usual, *({ALONE, *kinds} - {usual})]
        self.apart = self.choices[0]
        self._costs: list[float] = []
        self._found: dict[int, float] = {}
        self._calls, self._left = CALLS, 0
        self._best = self.apart

    @property
    def together(self) -> bool:
        """Whether the next call shares anything."""
        return self.apart < self.largest

    def note(self, cost: float) -> None:
        """Note what a call took, divided by its rows, and choose for the next one."""
        if len(self.choices) == 1:
            return
        if self._left:
            self._left -= 1
            return
        costs, found = self._costs, self._found  # another thread may put new ones in their place at any moment
        costs.append(cost)
        if len(costs) < TRIES:
            return
        found[self.apart] = min(costs[1:])
        self._costs = []
        left = [one for one in self.choices if one not in found]
        if left:
            self.apart = left[0]
            return
        best = min(self.choices, key=lambda one: found[one])
        self._calls = min(2 * self._calls, MOST_CALLS) if best == self._best else CALLS
        self.apart = self._best = best
        self._left, self._found = self._calls, {}


def sharing_of(kinds: Sequence[int], work: float) -> Sharing:
    """Return a `Sharing` that goes on from the last one of such a program in this thread: a fit begins with what was best in the one before."""
    return _sharing_of(threading.get_ident(), tuple(kinds), work)


@functools.lru_cache(KEPT)
def _sharing_of(thread: int, kinds: tuple[int, ...], work: float) -> Sharing:
    return Sharing(kinds, work)
