"""Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2 while a fit runs: heard at once, but never in the middle of a step."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType
from typing import Any

WARNINGS = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]  # Windows has none


def _is_handled(number: int) -> bool:
    """Return whether somebody handles a signal, in C too, as faulthandler does, of which Python knows on Linux only."""
    if signal.getsignal(number) is not signal.SIG_DFL:
        return True
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/self/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
    return False


class Interrupts:
    """Raise KeyboardInterrupt for a signal, at the end of the block where it comes within one that is `held`.

    So whoever catches it finds everything that belongs together changed, or nothing. A second signal is not held up any
    more. Only the main thread hears signals, and Ctrl-C only where it means KeyboardInterrupt.

    Parameters
    ----------
    terminate : bool
        Whether to catch SIGTERM too, unless it is ignored, and SIGUSR1 and SIGUSR2 where nobody handles them: with these a
        queue says that it will soon end a job.

    Attributes
    ----------
    caught : int
        The number of the last signal, 0 before there was one.
    whole : bool
        Whether no held block was left in its middle.
    """

    def __init__(self, terminate: bool = False) -> None:
        self.terminate, self.whole = terminate, True
        self._handlers: dict[int, Any] = {}
        self.caught, self._held, self._waiting = 0, 0, False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, self._hear)
            if self.terminate and signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, None):
                self._handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._hear)
            for number in WARNINGS if self.terminate else ():
                if not _is_handled(number):
                    self._handlers[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.caught = number
        if self._held and not self._waiting:
            self._waiting = True
        else:
            self._waiting = False
            raise KeyboardInterrupt

    def held(self) -> _Held:
        """Return a block until whose end a signal waits, or until the end of the one around it."""
        return _Held(self)

    def pass_on(self) -> None:
        """Give a signal that came, Ctrl-C aside, to whom it would have come: by default it ends the process."""
        if self.caught not in (0, signal.SIGINT):
            signal.raise_signal(self.caught)


class _Held:
    """A block of `Interrupts`, entered several times an epoch: a generator in its place takes 3 us each time."""

    def __init__(self, interrupts: Interrupts) -> None:
        self.interrupts = interrupts

    def __enter__(self) -> None:
        self.interrupts._held += 1
        if self.interrupts._held == 1:
            self.interrupts.whole = False

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        one = self.interrupts
        if one._held == 1:
            one.whole = kind is None
        one._held -= 1
        if kind is None and one._waiting and not one._held:
            one._waiting = False
            raise KeyboardInterrupt
