"""Clipping of gradients: against NumPy in float64 and by hand, bits against threads and against training without it."""

import dataclasses

import numpy as np
import pytest

import kernels
from tests.kernels.networks import ADAM, CLASSES, data, network, share_all
from tests.kernels.test_training import TRAINED
from tests.numerics import DTYPES, assert_same_bits

BOUNDS = [{"clip_norm": 0.2}, {"clip_value": 0.003}, {"clip_norm": 0.05, "clip_value": 0.003}]
RULES = {
    kernels.SGD: [0.1],
    kernels.MOMENTUM: [0.9, 0.2, 0.1],
    kernels.ADAMW: [0.9, 0.999, 1e-8, 0.1],
    kernels.LION: [0.9, 0.99, 0.1],
}
NEVER = {"clip_norm": 1e30, "clip_value": 1e30}
THREADS = sorted({1, kernels.max_threads()})


def clipped(gradient, clip_norm=None, clip_value=None):
    """Return a gradient in float64, clipped by value and then by its norm."""
    g = gradient.astype("f8")
    if clip_value is not None:
        g = np.clip(g, -clip_value, clip_value)
    if clip_norm is not None:
        g = g * min(1.0, clip_norm / (np.sqrt((g * g).sum()) + 1e-6))
    return g


def trained(plan, start, X, y, rule, hyper, rate=0.01, batch=16, objective=CLASSES, **settings):
    """Return the parameters and losses after a pass over the rows."""
    parameters, order = start.copy(), np.arange(len(X))
    trainer = kernels.Trainer(plan, parameters, batch, objective, rule, hyper, **settings)
    losses = trainer.train(X, y, order, 0, np.full(-(-len(X) // batch), rate))
    return parameters, losses


def by_hand(plan, start, X, y, rule, hyper, rate=0.01, batch=16, **bounds):
    """Return the same from the parts: the gradient of a minibatch, the twin, the public update of what is trained."""
    record, w = kernels.OPTIMIZERS[rule], start.copy()
    update = getattr(kernels, f"{record.name}_update")
    buffers, losses = [np.zeros_like(w) for _ in record.buffers], []
    for step, first in enumerate(range(0, len(X), batch), 1):
        loss, g = kernels.loss_and_gradient(plan, w, X[first : first + batch], y[first : first + batch], CLASSES)
        g = clipped(g, **bounds).astype(w.dtype)
        counts = [step] if rule in (kernels.MOMENTUM, kernels.ADAMW) else []
        for a, b in plan.trained_ranges():
            update(w[a:b], g[a:b].copy(), *(one[a:b] for one in buffers), rate, *hyper, *counts)
        losses.append(loss)
    return w, losses


def small_and_large(dtype):
    """Yield networks of one block and of several, with their rows."""
    for widths in ([5, 7, 3], [70, 300, 5]):
        plan, start = network(widths, [kernels.TANH, kernels.SOFTMAX], dtype)
        yield plan, start, *data(40, plan)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_training_is_gradient_clip_and_update(rule, bounds, dtype):
    for plan, start, X, y in small_and_large(dtype):
        w, losses = trained(plan, start, X, y, rule, RULES[rule], **bounds)
        expected, expected_losses = by_hand(plan, start, X, y, rule, RULES[rule], **bounds)
        without, _ = trained(plan, start, X, y, rule, RULES[rule])
        # A step of Adam or Lion goes by the sign of what may be rounded around 0: one weight in a thousand may turn.
        close = np.abs(w - expected) <= (1e-5 if dtype == np.float32 else 1e-11) * np.abs(expected).max()
        assert close.mean() > 0.999 and not np.array_equal(w, without)
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
        assert (w[~plan.mask()] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_penalties_are_clipped_and_what_is_frozen_does_not_count(bounds, dtype):
    penalties = ((0.01, 0.2, 0.0, 0.3), (0.0, 0.1, 0.4, 0.0))
    for plan, start, X, y in small_and_large(dtype):
        for parts in [((True, True), (True, True)), *TRAINED]:
            some = dataclasses.replace(plan, trained=parts, penalties=penalties)
            w, _ = trained(some, start, X, y, kernels.SGD, [0.1], rate=0.5, **bounds)
            expected, _ = by_hand(some, start, X, y, kernels.SGD, [0.1], rate=0.5, **bounds)
            np.testing.assert_allclose(w, expected, rtol=1e-4 if dtype == np.float32 else 1e-11, atol=1e-6)
            held = ~np.isin(np.arange(w.size), [i for a, b in some.trained_ranges() for i in range(a, b)])
            assert_same_bits(w[held], start[held])


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_step_by_hand(dtype):
    """Weights and bias of 0, a row (3, 4), a target of -0.5: the gradient is (3, 4) and 1."""
    plan = kernels.Plan([2, 1], [kernels.IDENTITY], [0.0], np.dtype(dtype).name)
    held = dataclasses.replace(plan, trained=((True, False),))
    X, y, squares = np.array([[3.0, 4.0]]), np.array([[-0.5]]), kernels.Objective(kernels.SQUARED_ERROR)
    cases = [
        (plan, {}, (3, 4, 1)),
        (plan, {"clip_norm": 1}, np.array([3, 4, 1]) / (np.sqrt(26) + 1e-6)),
        (held, {"clip_norm": 1}, np.array([3, 4, 0]) / (5 + 1e-6)),
        (plan, {"clip_norm": 5.1}, (3, 4, 1)),
        (plan, {"clip_value": 2.0}, (2, 2, 1)),
        (plan, {"clip_value": np.float32(2), "clip_norm": 1.5}, np.array([2, 2, 1]) * 1.5 / (3 + 1e-6)),
        (held, {"clip_value": 2.0, "clip_norm": 8**0.5 + 1e-3}, (2, 2, 0)),
        (plan, {"clip_value": 3.5, "clip_norm": None}, (3, 3.5, 1)),
    ]
    for one, bounds, gradient in cases:
        w = np.zeros(one.parameters_size, dtype)
        w, _ = trained(one, w, X, y, kernels.SGD, [0.0], rate=1.0, objective=squares, **bounds)
        W, b = one.weight(w, 0)
        np.testing.assert_allclose(-np.append(W, b), gradient, rtol=1e-6 if dtype == np.float32 else 1e-14)
        assert (w[~one.mask()] == 0).all()


WIDTHS = [[5, 7, 3], [70, 300, 5], [300, 650, 33, 10]]  # the last is updated layer by layer without a clip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_threads_change_no_bits_and_what_never_clips_changes_none_either(widths, dtype, monkeypatch):
    share_all(monkeypatch)  # threads for the smallest layer
    activations = [kernels.TANH] * (len(widths) - 2) + [kernels.SOFTMAX]
    plan, start = network(widths, activations, dtype, [0.0] + [0.2] * (len(widths) - 2))
    X, y = data(40, plan)
    frozen = dataclasses.replace(plan, trained=((True, False),) + ((True, True),) * (len(widths) - 2))
    for one in (plan, frozen):
        for bounds in BOUNDS:
            for settings in ({}, {"full_batch": True, "batch": 40}):
                settings |= bounds
                runs = [trained(one, start, X, y, kernels.ADAM, ADAM, n_threads=n, **settings) for n in THREADS]
                for w, losses in runs[1:]:
                    assert_same_bits(w, runs[0][0])
                    assert_same_bits(losses, runs[0][1])
        expected = trained(one, start, X, y, kernels.ADAM, ADAM)
        for bounds in ({}, NEVER, {"clip_norm": 1e30}, {"clip_value": 1e30}):
            for n_threads in THREADS:
                w, losses = trained(one, start, X, y, kernels.ADAM, ADAM, n_threads=n_threads, **bounds)
                assert_same_bits(w, expected[0])
                assert_same_bits(losses, expected[1])


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_every_update_comes_after_the_clip(widths, n_threads):
    plan, start = network(widths, [kernels.TANH] * (len(widths) - 2) + [kernels.SOFTMAX], np.float32)
    for parts in ((), ((True, False),) * (len(widths) - 1)):
        one = dataclasses.replace(plan, trained=parts)
        settings = {"n_threads": n_threads, "clip_norm": 1.0}
        trainer = kernels.Trainer(one, start.copy(), 40, CLASSES, kernels.SGD, [0.0], **settings)
        names = [phase.name for phase in trainer.program.phases]
        last = {name: i for i, name in enumerate(names)}
        assert last["dense_backward"] < names.index("clip_blocks") < last["clip_norm"] < last["clip_scale"]
        assert last["clip_scale"] < names.index("update")
        assert not any("updated" in phase.note for phase in trainer.program.phases)
        assert names.count("clip_scale") == names.count("update") == len(one.trained_ranges())


NOT_FINITE = {
    "nan": kernels.custom_loss(lambda a, t: a - t, lambda a, t: np.nan, name="nan"),
    "inf": kernels.custom_loss(lambda a, t: a - t, lambda a, t: np.inf, name="inf"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind, bounds", [*(("nan", bounds) for bounds in BOUNDS), ("inf", BOUNDS[0])], ids=str)
def test_a_gradient_that_is_not_finite_ends_the_run(kind, bounds, dtype):
    plan, start = network([4, 8, 1], [kernels.TANH, kernels.IDENTITY], dtype)
    X, y = data(32, plan, labels=False)
    settings = {"batch": 8, "objective": kernels.Objective(NOT_FINITE[kind]), **bounds}
    w, losses = trained(plan, start, X, y, kernels.SGD, [0.0], **settings)
    assert len(losses) == 1 and np.isfinite(losses).all()
    assert_same_bits(w, start)


def test_a_norm_beyond_the_numbers_hides_nothing():
    """The squares of a float64 may be infinite: then the gradient is that without a clip, and not 0."""
    plan = kernels.Plan([1, 1], [kernels.IDENTITY], [0.0], "float64")
    X, y, start = np.array([[1e200]]), np.array([[-1.0]]), np.zeros(plan.parameters_size)
    settings = {"objective": kernels.Objective(kernels.ABSOLUTE_ERROR)}
    w, plain = (trained(plan, start, X, y, kernels.SGD, [0.0], **settings, **bounds)[0] for bounds in (BOUNDS[0], {}))
    assert_same_bits(w, plain)
    assert plan.weight(w, 0)[0] == -1e198


def test_a_clip_keeps_the_way_back_from_a_loss_that_is_not_finite():
    plan, start = network([4, 8, 1], [kernels.IDENTITY, kernels.IDENTITY], np.float32)
    squares = kernels.Objective(kernels.SQUARED_ERROR)
    for parts in ((), ((True, False), (False, True))):
        one = dataclasses.replace(plan, trained=parts)
        X, y = data(64, one, labels=False)
        for rate in (1e22, 1e30):
            w, losses = trained(one, start, X, y, kernels.SGD, [0.0], rate, 8, squares, clip_norm=0.5)
            assert 1 <= len(losses) < 8 and np.isfinite(w).all()
            rows = slice(8 * (len(losses) - 1), 8 * len(losses))
            assert kernels.loss_and_gradient(one, w, X[rows], y[rows], squares)[0] == losses[-1]  # to the bit


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_bounds_are_above_zero(name):
    plan, start = network([4, 2], [kernels.SOFTMAX], np.float32)
    for wrong, error, got in (
        (0, ValueError, "must be None or above 0 in float32; got 0.0."),
        (-1.5, ValueError, "must be None or above 0 in float32; got -1.5."),
        (1e-60, ValueError, "must be None or above 0 in float32; got 1e-60."),
        (np.nan, ValueError, "must be finite; got nan."),
        (np.inf, ValueError, "must be finite; got inf."),
        (True, TypeError, "must be a number; got True."),
        ("1", TypeError, "must be a number; got '1'."),
        (np.ones(1), TypeError, r"must be a number; got float64 \(1,\)."),
    ):
        with pytest.raises(error, match=f"^{name} {got}$"):
            kernels.Trainer(plan, start, 4, CLASSES, kernels.SGD, [0.0], **{name: wrong})
