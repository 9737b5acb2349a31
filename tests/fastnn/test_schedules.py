import math

import numpy as np
import pytest

from fastnn import SGD, Dense, Sequential
from fastnn.schedules import Constant, Cosine, Exponential, InverseTime, Linear, OneCycle, Step, rates, spanning


@pytest.mark.parametrize(
    "schedule, steps, expected",
    [
        (Constant(0.3), [0, 1000], [0.3, 0.3]),
        (Step(1.0, every=3, factor=0.5), [0, 2, 3, 6], [1.0, 1.0, 0.5, 0.25]),
        (Exponential(2.0, factor=0.5), [0, 1, 3], [2.0, 1.0, 0.25]),
        (InverseTime(1.0, decay=0.5), [0, 1, 2], [1.0, 1 / 1.5, 0.5]),
        (Linear(1.0, end=0.2, n_steps=4), [0, 1, 4, 9], [1.0, 0.8, 0.2, 0.2]),
        (Cosine(1.0, n_steps=4), [0, 1, 2, 4, 9], [1.0, 0.5 + math.sqrt(0.125), 0.5, 0.0, 0.0]),
        (Cosine(1.0, end=0.5, warmup=4, n_steps=8), [0, 1, 3, 4, 6, 8], [0.25, 0.5, 1.0, 1.0, 0.75, 0.5]),
        (OneCycle(1.0, n_steps=11), [0, 3, 10], [0.04, 1.0, 1e-5]),
        (OneCycle(1.0, n_steps=1), [0], [1.0]),
    ],
)
def test_schedule(schedule, steps, expected):
    np.testing.assert_allclose([schedule(step) for step in steps], expected, rtol=1e-15, atol=1e-15)


def test_inverse_time_is_the_decay_of_neural_networks_from_scratch():
    """The rate that chapter 11 prints at step 10,000, before which 9,999 steps were counted."""
    assert InverseTime(0.05, decay=5e-7)(9_999) == pytest.approx(0.04975126853296942, rel=1e-15)


def test_one_cycle_matches_torch():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=101, final_div_factor=4e3)
    ours, expected = OneCycle(0.5, n_steps=101), []
    for _ in range(101):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        if len(expected) < 101:
            theirs.step()
    # theirs reaches the top at step 0.3 * 101 - 1, ours at 0.3 * 100: compare ends and shape
    np.testing.assert_allclose([ours(0), ours(100)], [expected[0], expected[-1]], rtol=1e-12)
    np.testing.assert_allclose([ours(step) for step in range(101)], expected, atol=0.02)


def test_rates_are_one_array_a_chunk():
    schedule = Exponential(1.0, factor=0.5)
    np.testing.assert_array_equal(rates(schedule, 2, 3), [0.25, 0.125, 0.0625])
    np.testing.assert_array_equal(rates(lambda step: 10 * step, 3, 2), [30.0, 40.0])
    np.testing.assert_array_equal(rates(0.1, 5, 2), [0.1, 0.1])
    assert rates(0.1, 5, 2).dtype == np.float64


def test_a_schedule_without_steps_spans_the_fit():
    assert spanning(Cosine(1.0), 50) == Cosine(1.0, n_steps=50)
    assert spanning(Cosine(1.0, n_steps=7), 50) == Cosine(1.0, n_steps=7)
    assert spanning(0.1, 50) == 0.1
    assert spanning(Constant(0.1), 50) == Constant(0.1)
    with pytest.raises(ValueError, match="n_steps must be given for a schedule that is used outside of fit; got None"):
        Linear(1.0)(3)


def test_a_function_that_gives_no_rate_is_refused():
    with pytest.raises(ValueError, match="learning_rate must be a finite number of at least 0; got -1 at step 4"):
        rates(lambda step: 3 - step, 0, 10)
    with pytest.raises(ValueError, match="got nan at step 7"):
        rates(lambda step: math.nan, 7, 1)


def test_fit_asks_for_the_rate_of_every_step():
    """With gradient 1 and the sum of the rates, the bias of a linear unit says which rates were used."""
    net = Sequential([Dense(1)], n_features=1, dtype="float64")
    net.set_weights([([[0.0]], [0.0])])
    X, y = np.zeros((10, 1)), np.full(10, -1e9)
    asked = []
    net.fit(X, y, "absolute_error", SGD(lambda step: asked.append(step) or step + 1.0), epochs=2, batch_size=4, shuffle=False, verbose=0)
    assert asked == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(net.weights[0][1], -21.0, rtol=1e-14)
