"""The choice of which phases threads share, from what calls took."""

import threading

import pytest

from kernels import sharing
from kernels.sharing import ALONE, LARGE, SMALL, Sharing


def choose(kinds, costs, calls, work=1e6):
    """Return the choices of so many calls, each of which costs what `costs` says of its choice."""
    chooser, made = Sharing(kinds, work), []
    for _ in range(calls):
        made.append(chooser.apart)
        chooser.note(costs[chooser.apart])
    return made


@pytest.mark.parametrize("best", [ALONE, SMALL, LARGE])
def test_the_cheapest_choice_is_used_nearly_always(best):
    costs = {one: 1.0 if one == best else 1.5 for one in (ALONE, SMALL, LARGE)}
    made = choose([SMALL, LARGE], costs, 5000)
    assert made.count(best) > 0.95 * len(made)
    assert set(made[-600:]) == {ALONE, SMALL, LARGE}, "the others are tried again"


def test_a_machine_that_changes_is_noticed():
    chooser, made = Sharing([SMALL, LARGE], 1e6), []
    for call in range(6000):
        best = ALONE if call < 1000 else LARGE
        made.append(chooser.apart)
        chooser.note(1.0 if chooser.apart == best else 1.2)
    assert made[:1000].count(ALONE) > 900
    assert made[-1000:].count(LARGE) > 900


def test_nothing_is_tried_where_there_is_nothing_to_choose():
    assert set(choose([], {ALONE: 1.0}, 100)) == {ALONE}
    assert not Sharing([], 1e6).together
    assert set(choose([SMALL, LARGE], {ALONE: 1.0}, 100, work=2 * sharing.SURE_WORK)) == {ALONE}


@pytest.mark.parametrize(("kinds", "first", "together"), [([SMALL], SMALL, False), ([LARGE], ALONE, True), ([SMALL, LARGE], SMALL, True)])
def test_a_program_begins_with_sharing_its_large_phases(kinds, first, together):
    chooser = Sharing(kinds, 1e6)
    assert (chooser.apart, chooser.together) == (first, together)
    assert set(chooser.choices) == {ALONE, *kinds}


def test_a_fit_goes_on_from_the_choice_of_the_one_before():
    costs = {ALONE: 2.0, SMALL: 1.5, LARGE: 1.0}
    made = []
    for fit in range(40):
        chooser = sharing.sharing_of([SMALL, LARGE], 1e6 + 1)
        for _ in range(5):
            made.append(chooser.apart)
            chooser.note(costs[chooser.apart])
    assert set(made[:12]) == {ALONE, SMALL, LARGE} and made[12:28] == [LARGE] * 16
    assert made.count(LARGE) > 0.75 * len(made)
    assert sharing.sharing_of([SMALL, LARGE], 1e6 + 2) is not chooser
    others = []
    thread = threading.Thread(target=lambda: others.append(sharing.sharing_of([SMALL, LARGE], 1e6 + 1)))
    thread.start()
    thread.join()
    assert others[0] is not chooser, "another thread's fits are not mixed with these"
