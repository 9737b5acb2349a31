"""Properties that are computed once."""

import threading

from kernels._lazy import cached_property


class Slow:
    def __init__(self, waits):
        self.waits, self.begun, self.may_end = waits, threading.Event(), threading.Event()

    @cached_property
    def value(self):
        """What is computed."""
        self.begun.set()
        if self.waits:
            assert self.may_end.wait(60)
        return object()


def test_it_is_computed_once():
    one, other = Slow(False), Slow(False)
    assert one.value is one.value is not other.value
    assert Slow.value.__doc__ == "What is computed."


def test_no_instance_waits_for_another():
    """A child forked while a thread computes would wait for ever for one that it does not have."""
    slow, found = Slow(True), []
    first = threading.Thread(target=lambda: slow.value, daemon=True)
    first.start()
    assert slow.begun.wait(60)
    second = threading.Thread(target=lambda: found.append(Slow(False).value), daemon=True)
    second.start()
    second.join(10)
    ended = bool(found)
    slow.may_end.set()
    first.join()
    assert ended


def test_threads_that_compute_at_once_get_the_same():
    slow, found = Slow(True), []
    threads = [threading.Thread(target=lambda: found.append(slow.value)) for _ in range(2)]
    for one in threads:
        one.start()
    slow.may_end.set()
    for one in threads:
        one.join()
    assert found[0] is found[1] is slow.value
