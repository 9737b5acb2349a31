import signal
import threading

import pytest

from fastnn.interrupts import Interrupts


def test_a_signal_waits_until_the_end_of_the_outermost_block():
    log = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        with interrupts.held():
            with interrupts.held():
                signal.raise_signal(signal.SIGINT)
                log.append("inner")
            log.append("outer")
        log.append("after")
    assert log == ["inner", "outer"] and interrupts.whole
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_outside_of_a_block_is_heard_at_once():
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
    assert interrupts.whole


def test_a_second_signal_does_not_wait():
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts, interrupts.held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not heard")
    assert not interrupts.whole


def test_a_block_left_in_its_middle_is_known():
    with pytest.raises(RuntimeError), Interrupts() as interrupts, interrupts.held():
        raise RuntimeError
    assert not interrupts.whole


def test_handlers_of_others_and_other_threads_stay(monkeypatch):
    def own(number, frame):
        pass

    before = signal.signal(signal.SIGINT, own)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    caught = []

    def other():
        with Interrupts(terminate=True) as interrupts, interrupts.held():
            caught.append(interrupts.caught)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert caught == [0]
