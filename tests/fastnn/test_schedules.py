import dataclasses
import json
import math

import numpy as np
import pytest

from fastnn import SGD, AdamW, Dense, Dropout, Sequential
from fastnn.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    CosLog4,
    Exponential,
    FlatCosine,
    InverseTime,
    Linear,
    OneCycle,
    Polynomial,
    Step,
    Warmup,
    from_settings,
    rates,
    settings,
    spanning,
)


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
        (OneCycle(1.0, n_steps=10), [0, 2, 9, 20], [0.04, 1.0, 1e-5, 1e-5]),
        (OneCycle(1.0, n_steps=1), [0], [1.0]),
        (Polynomial(1.0, end=0.2, power=3, n_steps=4), [0, 1, 2, 4, 9], [1.0, 0.2 + 0.8 * 0.75**3, 0.3, 0.2, 0.2]),
        (CosineRestarts(1.0, period=2, end=0.5), [0, 1, 2, 3, 10**9], [1.0, 0.75, 1.0, 0.75, 1.0]),
        (CosineRestarts(1.0, period=2, factor=1.5), [0, 1, 2, 5], [1.0, 0.5, 1.0, 1.0]),
        (FlatCosine(1.0, end=0.5, flat=0.5, n_steps=8), [0, 3, 4, 6, 8, 9], [1.0, 1.0, 1.0, 0.75, 0.5, 0.5]),
        (FlatCosine(1.0, flat=0.0, n_steps=2), [0, 1, 2], [1.0, 0.5, 0.0]),
        (CosLog4(2.0, n_steps=60), [0, 4, 12, 28, 60, 90], [0.0] * 6),  # the valleys, and behind the end
        (CosLog4(2.0, n_steps=15), [2**0.5 - 1, 8**0.5 - 1, 32**0.5 - 1, 128**0.5 - 1], [2.0] * 4),  # the tops
        (Warmup(0.5, 2), [0, 1, 2, 3], [0.25, 0.5, 0.5, 0.5]),
        (Warmup(Linear(1.0), 2, n_steps=6), [0, 1, 2, 4, 6, 7], [0.5, 1.0, 1.0, 0.5, 0.0, 0.0]),
    ],
)
def test_schedule(schedule, steps, expected):
    np.testing.assert_allclose([schedule(step) for step in steps], expected, rtol=1e-15, atol=1e-15)


def test_inverse_time_is_the_decay_of_neural_networks_from_scratch():
    """The rate that chapter 11 prints at step 10,000, before which 9,999 steps were counted."""
    assert InverseTime(0.05, decay=5e-7)(9_999) == pytest.approx(0.04975126853296942, rel=1e-15)


@pytest.mark.parametrize("rise", [0.0, 0.1, 0.3, 0.45])
@pytest.mark.parametrize("n_steps", [2, 3, 7, 101, 1000])
def test_one_cycle_matches_torch(n_steps, rise):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=n_steps, pct_start=rise, div_factor=20.0, final_div_factor=4e3)
    ours, expected = OneCycle(0.5, rise, 20.0, 8e4, n_steps), []
    for step in range(n_steps):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        if step < n_steps - 1:
            theirs.step()
    np.testing.assert_allclose([ours(step) for step in range(n_steps)], expected, rtol=1e-10)


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
    for schedule in (Polynomial(1.0), FlatCosine(1.0), CosLog4(1.0), Warmup(Cosine(1.0), 5)):
        assert spanning(schedule, 50) == dataclasses.replace(schedule, n_steps=50)
    assert spanning(Warmup(Cosine(1.0), 5), 50)(30) == Cosine(1.0, n_steps=45)(25)
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


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Polynomial(1.0, power=0), "power must be above 0; got 0."),
        (lambda: CosineRestarts(1.0, period=0), "period must be an integer of at least 1; got 0."),
        (lambda: CosineRestarts(1.0, period=1, factor=0.5), "factor must be a finite number of at least 1; got 0.5."),
        (lambda: FlatCosine(1.0, flat=1.0), "flat must be a finite number of at least 0 and below 1; got 1."),
        (lambda: CosLog4(-1.0), "rate must be a finite number of at least 0; got -1."),
        (lambda: Warmup(-1.0, 5), "learning_rate must be a finite number of at least 0; got -1."),
        (lambda: Warmup(1.0, 0), "steps must be an integer of at least 1; got 0."),
        (lambda: Warmup(Cosine(1.0), 5)(9), "n_steps must be given for a schedule that is used outside of fit; got None."),
    ],
)
def test_refused_settings(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_schedules_match_torch():
    torch = pytest.importorskip("torch")
    scheduler = torch.optim.lr_scheduler
    for ours, make in (
        (Polynomial(0.5, power=2.5, n_steps=20), lambda one: scheduler.PolynomialLR(one, total_iters=20, power=2.5)),
        (CosineRestarts(0.5, 3, 2, end=0.1), lambda one: scheduler.CosineAnnealingWarmRestarts(one, 3, 2, eta_min=0.1)),
        (CosineRestarts(0.5, 7), lambda one: scheduler.CosineAnnealingWarmRestarts(one, 7)),
        (Step(0.5, 4, 0.3), lambda one: scheduler.StepLR(one, 4, 0.3)),
        (Exponential(0.5, 0.9), lambda one: scheduler.ExponentialLR(one, 0.9)),
        (Linear(0.5, 0.05, 20), lambda one: scheduler.LinearLR(one, 1.0, 0.1, 20)),
        (Cosine(0.5, 0.1, n_steps=25), lambda one: scheduler.CosineAnnealingLR(one, 25, 0.1)),
        (Warmup(0.5, 5), lambda one: scheduler.LinearLR(one, 0.2, 1.0, 4)),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
        theirs, expected = make(optimizer), []
        for _ in range(25):
            expected.append(theirs.get_last_lr()[0])
            optimizer.step()
            theirs.step()
        np.testing.assert_allclose([ours(step) for step in range(25)], expected, rtol=1e-12, atol=1e-15)


def test_a_warmup_of_another_schedule_is_saved_with_it():
    for schedule in (Warmup(0.3, 4), Warmup(Cosine(0.3), 4, n_steps=9), Warmup(Warmup(Exponential(0.3, 0.5), 2), 3)):
        assert from_settings(json.loads(json.dumps(settings(schedule)))) == schedule
    with pytest.raises(TypeError, match="a schedule that is saved must be one of fastnn.schedules"):
        settings(Warmup(lambda step: 0.1, 4))


def test_dropout_and_weight_decay_may_warm_up(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    by_function = Sequential([Dense(8, "relu"), Dropout(lambda step: 0.3 * min(1.0, (step + 1) / 6)), Dense(2, "softmax")], 3)
    net = Sequential([Dense(8, "relu"), Dropout(Warmup(0.3, 6)), Dense(2, "softmax")], 3)
    by_function.fit(X, y, optimizer=AdamW(weight_decay=lambda step: 0.1 * min(1.0, (step + 1) / 5)), epochs=3, batch_size=8, verbose=0)
    net.fit(X, y, optimizer=AdamW(weight_decay=Warmup(0.1, 5)), epochs=3, batch_size=8, verbose=0)
    np.testing.assert_allclose(net.parameters, by_function.parameters, rtol=1e-6)
    net.save(tmp_path / "net.safetensors")
    assert Sequential.load(tmp_path / "net.safetensors").layers[1] == Dropout(Warmup(0.3, 6))


@pytest.mark.parametrize("make", [SGD, lambda kind: AdamW(weight_decay=kind), lambda kind: Warmup(kind, 3)])
def test_a_schedule_without_its_numbers_is_refused(make):
    with pytest.raises(TypeError, match="must be a number or a schedule with its numbers, such as Cosine.0.1.; got <class 'fastnn.schedules.Cosine'>"):
        make(Cosine)
