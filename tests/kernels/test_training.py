"""Training: losses and gradients against NumPy in float64, training against its own parts, bits against threads and vectors."""

import dataclasses
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels.records import aligned_zeros
from tests.kernels.networks import ADAM, CASES, CLASSES, SQUARES, data, forward, network, objective_of, reference_loss, share_all
from tests.kernels.widths import depends
from tests.numerics import DTYPES, assert_close, assert_same_bits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 13, 33])
@pytest.mark.parametrize("case", CASES)
def test_loss_matches_reference_and_predict_the_outputs(case, rows, dtype):
    widths, activations, loss, labels = case
    plan, parameters = network(widths, activations, dtype)
    X, y = data(rows, plan, labels)
    if loss == kernels.CROSS_ENTROPY and not labels:
        y /= y.sum(1, keepdims=True)
    outputs = forward(plan, parameters, X)[-1]
    assert_close(kernels.predict(plan, parameters, X), outputs, looser=10)
    value, gradient = kernels.loss_and_gradient(plan, parameters, X, y, objective_of(loss))
    expected = reference_loss(plan, parameters, X, y, loss)
    np.testing.assert_allclose(value, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)
    evaluated, out = kernels.evaluate(plan, parameters, X, y, objective_of(loss))
    np.testing.assert_allclose(evaluated, value, rtol=1e-6 if dtype == np.float32 else 1e-14)
    assert_close(out, outputs, looser=10)
    assert (gradient[~plan.mask()] == 0).all()  # so sums over the flat vector need no mask


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_slope_of_the_loss(case):
    widths, activations, loss, labels = case
    plan, parameters = network(widths, activations, np.float64)
    X, y = data(14, plan, labels)
    _, gradient = kernels.loss_and_gradient(plan, parameters, X, y, objective_of(loss))
    direction = np.random.default_rng(3).standard_normal(gradient.size) * plan.mask()
    step = 1e-6
    above, below = (kernels.loss_and_gradient(plan, parameters + sign * step * direction, X, y, objective_of(loss))[0] for sign in (1, -1))
    np.testing.assert_allclose((above - below) / (2 * step), gradient @ direction, rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_the_same_in_threads(dtype):
    plan, parameters = network([300, 200, 130, 10], [kernels.RELU, kernels.TANH, kernels.SOFTMAX], dtype)
    X, y = data(210, plan)
    one = kernels.loss_and_gradient(plan, parameters, X, y, CLASSES, n_threads=1)
    several = kernels.loss_and_gradient(plan, parameters, X, y, CLASSES, n_threads=kernels.max_threads())
    assert one[0] == several[0]
    assert_same_bits(several[1], one[1])


def test_training_is_gather_gradient_and_update():
    plan, parameters = network([11, 19, 4], [kernels.TANH, kernels.SOFTMAX], np.float64)
    X, y = data(50, plan)
    order = np.random.default_rng(2).permutation(50)
    expected, m, v = parameters.copy(), np.zeros_like(parameters), np.zeros_like(parameters)
    expected_losses = []
    for t, first in enumerate(range(0, 50, 16), 1):
        rows = order[first : first + 16]
        loss, gradient = kernels.loss_and_gradient(plan, expected, X[rows], y[rows], CLASSES)
        kernels.adam_update(expected, gradient, m, v, 1e-2, 0.9, 0.999, 1e-8, 0.0, t)
        expected_losses.append(loss)
    trainer = kernels.Trainer(plan, parameters, 16, CLASSES, kernels.ADAM, ADAM)
    losses = trainer.train(X, y, order, 0, np.full(4, 1e-2))
    assert_close(losses, expected_losses)
    assert_close(parameters, expected)


def penalized(dtype=np.float64):
    """A network with every kind of penalty, whose first layer takes several blocks."""
    plan, parameters = network([70, 300, 5], [kernels.TANH, kernels.SOFTMAX], dtype)
    return dataclasses.replace(plan, penalties=((0.01, 0.02, 0.0, 0.3), (0.0, 0.0, 0.4, 0.0))), parameters


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_are_part_of_the_loss(dtype):
    plan, parameters = penalized(dtype)
    X, y = data(9, plan)
    (W, b), (_, b2) = (plan.weight(parameters, i) for i in range(2))
    expected = 0.01 * np.abs(W).sum(dtype="f8") + 0.02 * (W.astype("f8") ** 2).sum() + 0.3 * (b.astype("f8") ** 2).sum() + 0.4 * np.abs(b2).sum(dtype="f8")
    np.testing.assert_allclose(plan.penalty(parameters), expected, rtol=1e-6)
    without = dataclasses.replace(plan, penalties=())
    for value in (kernels.loss_and_gradient, kernels.evaluate):
        difference = value(plan, parameters, X, y, CLASSES)[0] - value(without, parameters, X, y, CLASSES)[0]
        np.testing.assert_allclose(difference, expected, rtol=1e-5)
    trainer = kernels.Trainer(plan, parameters.copy(), 9, CLASSES, kernels.SGD, [0.0])
    losses = trainer.train(X, y, np.arange(9), 0, np.full(1, 0.1))
    np.testing.assert_allclose(losses[0], reference_loss(plan, parameters, X, y, kernels.CROSS_ENTROPY) + expected, rtol=1e-5)


def test_gradient_of_penalties_is_their_slope():
    plan, parameters = penalized()
    X, y = data(9, plan)
    _, gradient = kernels.loss_and_gradient(plan, parameters, X, y, CLASSES)
    direction = np.random.default_rng(3).standard_normal(gradient.size) * plan.mask()
    step = 1e-8  # few weights are so near to 0 that the kink counts
    above, below = (kernels.loss_and_gradient(plan, parameters + sign * step * direction, X, y, CLASSES)[0] for sign in (1, -1))
    np.testing.assert_allclose((above - below) / (2 * step), gradient @ direction, rtol=1e-5)
    assert (gradient[~plan.mask()] == 0).all()


def test_penalties_are_scaled_step_by_step():
    plan, start = penalized()
    X, y = data(18, plan)
    actual, expected = start.copy(), start.copy()
    trainer = kernels.Trainer(plan, actual, 9, CLASSES, kernels.SGD, [0.0])
    scales, rates = np.array([0.25, 0.0, 1.5]), np.full(3, 0.1)
    losses = trainer.train(X, y, np.arange(18), 0, rates[:2], penalty_scales=scales[:2]).tolist()
    losses += trainer.train(X, y, np.arange(9), 2, rates[2:], penalty_scales=scales[2:]).tolist()
    losses += trainer.train(X, y, np.arange(9), 3, rates[2:]).tolist()
    for step, (first, scale) in enumerate(((0, 0.25), (9, 0.0), (0, 1.5), (0, 1.0))):
        scaled = dataclasses.replace(plan, penalties=tuple(tuple(scale * factor for factor in factors) for factors in plan.penalties))
        one = kernels.Trainer(scaled, expected, 9, CLASSES, kernels.SGD, [0.0])
        assert losses[step] == pytest.approx(one.train(X, y, np.arange(first, first + 9), step, np.full(1, 0.1))[0], rel=1e-13)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match="penalty_scales must have one for each of 2 steps; got 1"):
        trainer.train(X, y, np.arange(18), 0, rates[:2], penalty_scales=scales[:1])
    with pytest.raises(TypeError, match="penalty_scales must be a float64 array"):
        trainer.train(X, y, np.arange(9), 0, rates, penalty_scales=1.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_are_the_same_in_threads(dtype, monkeypatch):
    share_all(monkeypatch)
    plan, parameters = penalized(dtype)
    X, y = data(40, plan)
    one, several = (kernels.loss_and_gradient(plan, parameters, X, y, CLASSES, n_threads=n) for n in (1, kernels.max_threads()))
    assert one[0] == several[0]
    assert_same_bits(one[1], several[1])


@pytest.mark.parametrize("trained", [True, False])
def test_penalties_are_the_same_where_parameters_are_updated_at_once(trained, monkeypatch):
    share_all(monkeypatch)
    plan, start = penalized()
    plan = dataclasses.replace(plan, trained=((trained, True), (True, trained)))
    X, y = data(40, plan)
    found = []
    for n_threads in (1, max(2, kernels.max_threads())):
        parameters = start.copy()
        trainer = kernels.Trainer(plan, parameters, 20, CLASSES, kernels.SGD, [0.0], n_threads=n_threads)
        losses = trainer.train(X, y, np.arange(40), 0, np.full(2, 0.1), penalty_scales=np.array([1.0, 0.5]))
        assert any("updated" in phase.note for phase in trainer.program.phases) == (n_threads > 1)
        found.append((losses, parameters))
    (one, parameters), (several, others) = found
    assert_same_bits(one, several)
    assert_same_bits(parameters, others)


TRAINED = [
    ((True, False), (True, False)),
    ((False, True), (True, True)),
    ((False, False), (False, True)),
    ((True, True), (False, False)),
]


@pytest.mark.parametrize("rule, hyper", [(kernels.SGD, [0.0]), (kernels.ADAM, ADAM)])
@pytest.mark.parametrize("rows", [1, 9, 70])
def test_parts_of_a_large_layer_are_updated_as_all_at_the_end_are(rows, rule, hyper, monkeypatch):
    trainings = []
    for least in (0, 10**9):  # some weights as soon as their gradient is there, or all of them after the way back
        monkeypatch.setattr(kernels.steps, "BY_PARTS_FROM", least)
        plan, parameters = network([1100, 40, 600, 5], [kernels.RELU, kernels.RELU, kernels.SOFTMAX], np.float32)
        trainer = kernels.Trainer(plan, parameters, rows, CLASSES, rule, hyper)
        assert ("updated" in str(trainer.program)) == (least == 0)
        X, y = data(3 * rows, plan)
        trainer.train(X, y, np.arange(3 * rows), 0, np.full(3, 0.01))
        trainings.append((parameters, trainer.state))
    for once, at_the_end in zip(*trainings):
        assert_same_bits(once, at_the_end)


def test_what_an_update_reads_lies_at_equal_places_of_pages():
    plan, _ = network([63, 37, 10], [kernels.RELU, kernels.SOFTMAX], np.float32)
    trainer = kernels.Trainer(plan, aligned_zeros(plan.parameters_size, np.float32), 5, CLASSES, kernels.ADAM, ADAM)
    arrays = [trainer.parameters, trainer.gradient, *trainer.state]
    assert len(arrays) == 4 and {one.ctypes.data % 4096 for one in arrays} == {0}


@pytest.mark.parametrize("trained", TRAINED)
@pytest.mark.parametrize("rule", [kernels.SGD, kernels.ADAMW, kernels.RPROP])
def test_only_what_is_trained_changes(trained, rule):
    plan, parameters = network([11, 19, 4], [kernels.TANH, kernels.SOFTMAX], np.float64)
    X, y = data(20, plan)
    settings = {"beta1": 0.5, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.1, "eta_minus": 0.5, "eta_plus": 1.2, "min_step": 1e-8, "max_step": 50.0}
    hyper = {name: settings[name] for name in kernels.OPTIMIZERS[rule].hyper}
    whole, start = parameters.copy(), parameters.copy()
    kernels.Trainer(plan, whole, 20, CLASSES, rule, hyper).train(X, y, np.arange(20), 0, np.full(1, 1e-2))
    part = dataclasses.replace(plan, trained=trained)
    kernels.Trainer(part, parameters, 20, CLASSES, rule, hyper).train(X, y, np.arange(20), 0, np.full(1, 1e-2))
    for i, of_layer in enumerate(trained):
        for actual, expected, old, changes in zip(part.weight(parameters, i), plan.weight(whole, i), plan.weight(start, i), of_layer):
            assert_same_bits(actual, expected if changes else old)
    gradient = kernels.loss_and_gradient(part, start, X, y, CLASSES)[1]
    expected = np.zeros_like(gradient)
    for first, end in part.trained_ranges():
        expected[first:end] = kernels.loss_and_gradient(plan, start, X, y, CLASSES)[1][first:end]
    assert_same_bits(gradient, expected)


def test_what_is_not_trained_stays_when_a_loss_is_not_finite():
    plan, parameters = network([4, 8, 1], [kernels.IDENTITY, kernels.IDENTITY], np.float32)
    plan = dataclasses.replace(plan, trained=((True, False), (False, True)))
    X, y = data(64, plan, labels=False)
    before = [plan.weight(parameters, i) for i in range(2)]
    trainer = kernels.Trainer(plan, parameters, 8, SQUARES, kernels.SGD, [0.0])
    losses = trainer.train(X, y, np.arange(64), 0, np.full(8, 1e25))
    assert 0 < len(losses) < 8
    assert_same_bits(plan.weight(parameters, 0)[1], before[0][1])
    assert_same_bits(plan.weight(parameters, 1)[0], before[1][0])
    assert np.isfinite(parameters).all()


@pytest.mark.parametrize("case", CASES)
def test_weight_of_a_row_counts_it_as_often(case):
    widths, activations, loss, labels = case
    plan, parameters = network(widths, activations, np.float64)
    X, y = data(40, plan, labels)
    if loss == kernels.CROSS_ENTROPY and not labels:
        y /= y.sum(1, keepdims=True)
    weights = np.random.default_rng(5).integers(0, 3, 40)
    rows = np.repeat(np.arange(40), weights)
    for objective in (kernels.Objective(loss, mean_rows=False), kernels.Objective(loss, weighted_mean=True)):
        actual = kernels.FullBatch(plan, X, y, objective, weights=weights.astype(float))(parameters)
        expected = kernels.FullBatch(plan, X[rows], y[rows], objective)(parameters)
        np.testing.assert_allclose(actual[0], expected[0], rtol=1e-12)
        assert_close(actual[1], expected[1])
        judged = kernels.evaluate(plan, parameters, X, y, objective, weights=weights.astype(float))[0]
        np.testing.assert_allclose(judged, expected[0], rtol=1e-12)


@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[5]])
def test_full_batch_in_blocks(case, monkeypatch):
    widths, activations, loss, labels = case
    plan, parameters = network(widths, activations, np.float64)
    plan = dataclasses.replace(plan, penalties=((0.0, 0.1, 0.0, 0.0),) * plan.n_layers)
    X, y = data(50, plan, labels)
    expected = kernels.loss_and_gradient(plan, parameters, X, y, kernels.Objective(loss))
    monkeypatch.setattr(kernels.blocks, "BLOCK_ROWS", 16)
    function = kernels.FullBatch(plan, X, y, kernels.Objective(loss), weights=np.ones(50))
    for _ in range(3):  # what is left behind in the targets must not matter
        actual = function(parameters)
        np.testing.assert_allclose(actual[0], expected[0], rtol=1e-12)
        assert_close(actual[1], expected[1])


@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[4], CASES[8]])
def test_repeated_full_batch_is_step_after_step(case):
    widths, activations, loss, labels = case
    plan, start = network(widths, activations, np.float64, [0.0] + [0.3] * (len(activations) - 1))
    X, y = data(21, plan, labels)
    order, rates, weights, results = np.arange(21), np.linspace(0.1, 0.01, 6), np.linspace(0, 2, 21), []
    for repeats in (6, 1):
        parameters = start.copy()
        trainer = kernels.Trainer(plan, parameters, 21, kernels.Objective(loss), kernels.ADAM, ADAM, full_batch=True)
        losses = [trainer.train(X, y, order, t, rates[t:], weights, repeats) for t in range(0, 6, repeats)]
        results.append(np.append(np.concatenate(losses), parameters))
    assert_same_bits(*results)


def test_what_a_training_owns_goes_with_it():
    """It waits for no search for cycles, which Python makes once in some thousand fits."""
    for batch_size, full_batch in ((16, False), (300, True)):
        plan, parameters = network([5, 7, 3], [kernels.RELU, kernels.SOFTMAX], "float32")
        X, y = data(300, plan)
        trainer = kernels.Trainer(plan, parameters, batch_size, CLASSES, kernels.ADAM, ADAM, full_batch=full_batch)
        function = kernels.FullBatch(plan, X, y, CLASSES)
        trainer.train(X, y, np.arange(batch_size), 0, np.full(1, 1e-2))
        function(parameters)
        owned = [weakref.ref(thing) for one in (trainer, function) for thing in (one.program, one.minibatches.gather_inputs.out, one.gradient)]
        del trainer, function
        assert [one() for one in owned] == [None] * 6


def test_labels_and_targets_may_take_turns():
    """Labels of a call before are neither used for targets nor read beyond their end."""
    plan, parameters = network([5, 3], [kernels.SOFTMAX], np.float64)
    X, labels = data(40, plan)
    targets = np.random.default_rng(2).dirichlet(np.ones(3), 40)
    expected = {len(y): reference_loss(plan, parameters, X[: len(y)], y, kernels.CROSS_ENTROPY) for y in (labels, labels[:1], targets[:39], targets[:2])}
    trainer = kernels.Trainer(plan, parameters, 40, CLASSES, kernels.SGD, {"weight_decay": 0.0})
    for y in (labels, targets[:39], labels[:1], targets[:39], targets[:2], labels):
        (loss,) = trainer.train(X[: len(y)], y, np.arange(len(y)), 0, np.zeros(1))
        np.testing.assert_allclose(loss, expected[len(y)], rtol=1e-12)


def test_a_full_batch_keeps_its_labels():
    plan, parameters = network([5, 3], [kernels.SOFTMAX], np.float64)
    X, y = data(40, plan)
    full = kernels.FullBatch(plan, X, y, CLASSES)
    before = full(parameters)[0]
    y[:] = 10**9
    assert full(parameters)[0] == before


def test_training_stops_before_a_loss_that_is_not_finite():
    plan, parameters = network([4, 8, 1], [kernels.IDENTITY, kernels.IDENTITY], np.float32)
    X, y = data(64, plan, labels=False)
    trainer = kernels.Trainer(plan, parameters, 8, SQUARES, kernels.SGD, [0.0])
    losses = trainer.train(X, y, np.arange(64), 0, np.full(8, 1e10))
    assert 0 < len(losses) < 8 and np.isfinite(losses).all()
    assert np.isfinite(parameters).all()
    rows = np.arange(8 * (len(losses) - 1), 8 * len(losses))
    value, _ = kernels.loss_and_gradient(plan, parameters, X[rows], y[rows], SQUARES)
    assert value == losses[-1]  # the parameters of the last finite loss, to the bit


def test_gather_names_a_row_that_is_not_finite():
    plan, parameters = network([20, 8, 3], [kernels.RELU, kernels.SOFTMAX], np.float32)
    X, y = data(64, plan)
    X[37, 18] = np.inf
    trainer = kernels.Trainer(plan, parameters, 32, CLASSES, kernels.ADAM, ADAM)
    trainer.train(X, y, np.arange(64), 0, np.full(2, 1e-3))
    assert trainer.bad_row == 37


def test_another_network_compiles_nothing():
    for widths, activations in (([6, 10, 3], [kernels.RELU, kernels.SOFTMAX]), ([9, 70, 5, 33, 2], [kernels.ELU, kernels.GELU, kernels.TANH, kernels.SOFTMAX])):
        plan, parameters = network(widths, activations, np.float32, [0.0] + [0.2] * (len(activations) - 1))
        X, y = data(30, plan)
        trainer = kernels.Trainer(plan, parameters, 7, CLASSES, kernels.ADAM, ADAM)
        before = kernels.compilations()
        trainer.train(X, y, np.arange(30), 0, np.full(5, 1e-3))
        kernels.predict(plan, parameters, X)
    assert kernels.compilations() == before


BITS = """
import gc, hashlib, sys
gc.disable()  # see tests/conftest.py
import numpy as np, kernels
from tests.kernels.widths import share
share(kernels._cache)
kernels.sharing.TEAM_WORK = kernels.sharing.LARGE_WORK = kernels.sharing.FUSED_WORK = kernels.sharing.SURE_WORK = 0  # threads for the smallest layer
digest = hashlib.sha256()
for dtype, bfloat16 in (("float32", False), ("float64", False), ("float32", True)):
    rng = np.random.default_rng(0)
    widths, dropouts = [64, 100, 37, 10], [0.1, 0.2, 0.5]
    norms = ((0, kernels.LayerNorm(64)), (1, kernels.LayerNorm(100)))
    plan = kernels.Plan(widths, [kernels.RELU, kernels.GELU, kernels.SOFTMAX], dropouts, dtype, 3, others=norms, bfloat16=bfloat16)
    parameters = np.zeros(plan.parameters_size, dtype)
    for placed in plan.layers:
        plan.set_arrays(parameters, placed, [np.full(shape, 0.5) for shape in placed.layer.shapes.values()])
    for i, (a, b) in enumerate(zip(widths[:-1], widths[1:])):
        W = np.empty((a, b), dtype)
        kernels.random_normal(5, i, 0.0, a ** -0.5, W)
        plan.set_weight(parameters, i, W, np.zeros(b))
    X, y = rng.integers(0, 17, (700, 64)).astype(np.uint8), rng.integers(0, 10, 700)
    adam = [0.9, 0.999, 1e-8, 0]
    trainer = kernels.Trainer(plan, parameters, 150, kernels.Objective(kernels.CROSS_ENTROPY, scale=1 / 16), kernels.ADAM, adam, n_threads=int(sys.argv[1]))
    step = 0
    for epoch in range(3):
        order = np.empty(700, np.int64)
        kernels.permutation(7, epoch, order)
        for first in range(0, 700, 150 * trainer.chunk):
            losses = trainer.train(X, y, order[first : first + 150 * trainer.chunk], step, np.full(trainer.chunk, 1e-2))
            step += len(losses)
    digest.update(parameters.tobytes())
    digest.update(kernels.predict(plan, parameters, X, scale=1 / 16).tobytes())
    for widths in ([64, 33, 1], [7, 16, 100, 17], [1, 129, 48, 5]):  # few rows: other tiles, the same chains
        plan = kernels.Plan(widths, [kernels.RELU] * (len(widths) - 2) + [kernels.TANH], [0.0] * (len(widths) - 1), dtype, bfloat16=bfloat16)
        parameters = (0.2 * rng.standard_normal(plan.parameters_size) * plan.mask()).astype(dtype)
        inputs = rng.standard_normal((40, widths[0])).astype(dtype)
        whole = kernels.predict(plan, parameters, inputs)
        for rows in range(1, 6):
            few = kernels.predict(plan, parameters, inputs[:rows], n_threads=int(sys.argv[1]))
            assert few.tobytes() == whole[:rows].tobytes(), (widths, rows, dtype)
        digest.update(whole.tobytes())
print(digest.hexdigest(), step)
"""


def bits(threads, **environment):
    variables = {**os.environ, "NUMBA_NUM_THREADS": str(threads), **environment}
    run = subprocess.run([sys.executable, "-c", BITS, str(threads)], env=variables, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_only_products_know_the_vector_width():
    tasks = [kernels._product.panel_product, kernels._product.column_product, kernels._product.few_rows_product, kernels.linear_forward.compiled]
    assert [depends(one) for one in tasks] == [True, True, True, False]


def test_bits_do_not_depend_on_threads_or_vectors():
    expected = bits(1)
    assert bits(2) == expected
    for width in {16, 32, 64} - {kernels.cpu_info()["vector_bytes"]}:  # LLVM splits vectors that the machine does not have
        assert bits(2, FASTNN_VECTOR_BYTES=str(width)) == expected, width
    if kernels.cpu_info()["bfloat16"] != "emulated":
        assert bits(2, FASTNN_BFLOAT16="emulated") == expected
