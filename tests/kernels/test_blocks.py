"""Full batches and large minibatches in blocks of rows: the same loss and gradient as of all rows together, and bits that no thread changes."""

import numpy as np
import pytest

import kernels
from kernels import blocks
from tests.kernels.networks import ADAM, CLASSES, SQUARES, network, share_all
from tests.numerics import assert_same_bits

N_ROWS = 1300  # two blocks and a part of one
WIDTHS = [5, 19, 3]


def problem(dtype, labels, dropouts=(0.0, 0.0), **options):
    activations = [kernels.TANH, kernels.SOFTMAX if labels else kernels.IDENTITY]
    plan, parameters = network(WIDTHS, activations, dtype)
    plan = kernels.Plan(plan.widths, plan.activations, dropouts, plan.dtype, **options)
    rng = np.random.default_rng(0)
    parameters = np.zeros(plan.parameters_size, dtype)
    for placed in plan.layers:
        plan.set_arrays(parameters, placed, [rng.normal(size=shape) / 2 for shape in placed.layer.shapes.values()])
    X = rng.standard_normal((N_ROWS, WIDTHS[0])).astype(dtype)
    y = rng.integers(0, WIDTHS[-1], N_ROWS) if labels else rng.standard_normal((N_ROWS, WIDTHS[-1])).astype(dtype)
    return plan, parameters, X, y


OTHERS = ((1, kernels.LayerNorm(19)),)
PENALTIES = ((0.01, 0.02, 0.0, 0.03), (0.0, 0.1, 0.0, 0.0))


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_loss_and_gradient_are_those_of_all_rows(labels, weighted):
    plan, parameters, X, y = problem(np.float64, labels, others=OTHERS, penalties=PENALTIES)
    objective = CLASSES if labels else SQUARES
    weights = np.random.default_rng(1).random(N_ROWS) if weighted else None
    actual = kernels.FullBatch(plan, X, y, objective, weights=weights)
    assert len(actual.program.phases) < 12, "the network is not in the outer program"
    loss, gradient = actual(parameters)
    expected_loss, expected = plan.penalty(parameters), np.zeros_like(gradient)
    bare = kernels.Plan(plan.widths, plan.activations, [0.0, 0.0], plan.dtype, others=OTHERS)
    for first in range(0, N_ROWS, 100):  # parts that are no blocks, each smaller than one
        part = slice(first, first + 100)
        some = kernels.FullBatch(bare, X[part], y[part], objective, weights=None if weights is None else weights[part])(parameters)
        expected_loss, expected = expected_loss + some[0] * 100 / N_ROWS, expected + some[1] * 100 / N_ROWS
    slope = np.zeros_like(gradient)
    for (l1, l2, bias_l1, bias_l2), layer in zip(PENALTIES, range(2)):
        for part, source, a, b in zip(plan.weight_panels(slope, layer), plan.weight_panels(parameters, layer), (l1, bias_l1), (l2, bias_l2)):
            part[:] = a * np.sign(source) + 2 * b * source
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-13)
    np.testing.assert_allclose(gradient, expected + slope, rtol=1e-11, atol=1e-14)
    again_loss, again = actual(parameters)
    assert again_loss == loss
    assert_same_bits(again, gradient)


@pytest.mark.parametrize("labels", [True, False])
def test_threads_change_no_bit(labels, monkeypatch):
    share_all(monkeypatch)
    for module in (kernels._jit, kernels._door, kernels.program):
        monkeypatch.setattr(module, "max_threads", lambda: 3)
    results = []
    for n_threads in (1, 3):
        plan, parameters, X, y = problem(np.float32, labels, others=OTHERS, penalties=PENALTIES)
        objective = CLASSES if labels else SQUARES
        trainer = kernels.Trainer(plan, parameters, N_ROWS, objective, kernels.ADAM, ADAM, n_threads=n_threads, full_batch=True, clip_norm=0.5)
        losses = trainer.train(X, y, np.arange(N_ROWS), 0, np.full(6, 1e-2), repeats=6)
        results.append((losses, parameters))
    assert losses[-1] < losses[0]
    for one, other in zip(*results):
        assert_same_bits(one, other)


def test_steps_are_those_of_one_minibatch_of_all_rows():
    found = []
    for full_batch in (True, False):
        plan, parameters, X, y = problem(np.float64, True)
        trainer = kernels.Trainer(plan, parameters, N_ROWS, CLASSES, kernels.ADAM, ADAM, full_batch=full_batch)
        assert trainer.in_blocks == full_batch
        losses = [trainer.train(X, y, np.arange(N_ROWS), step, np.full(1, 1e-2))[0] for step in range(5)]
        found.append((losses, parameters))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-8, atol=1e-12)


def test_a_loss_that_is_not_finite_changes_nothing():
    plan, parameters, X, y = problem(np.float32, False)
    y[1250] = 3e38
    before = parameters.copy()
    trainer = kernels.Trainer(plan, parameters, N_ROWS, SQUARES, kernels.ADAM, ADAM, full_batch=True)
    assert len(trainer.train(X, y, np.arange(N_ROWS), 0, np.full(2, 1e-2), repeats=2)) == 0
    assert_same_bits(parameters, before)


def test_what_knows_of_other_rows_is_not_cut():
    cut, whole = (kernels.Plan([4, 4], [kernels.RELU], [0.5], others=((1, layer(4)),)) for layer in (kernels.LayerNorm, kernels.BatchNorm))
    assert blocks.block_rows(cut, 513, True) and not blocks.block_rows(cut, 512, True)
    assert not blocks.block_rows(whole, 5000, True) and blocks.block_rows(whole, 5000, False)


def test_blocks_of_a_minibatch_are_equal_and_few_rows_for_many_parameters_are_none():
    plan, wide = (kernels.Plan([n, n], [kernels.RELU], [0.0]) for n in (4, 2000))
    found = [blocks.block_rows(plan, n, True, False) for n in (4095, 4096, 4097, 5000, 8192, 10_000, 100_000, 100_003)]
    assert found == [0, 256, 0, 200, 512, 500, 500, 0]
    assert [blocks.block_rows(wide, n, True, False) for n in (8192, 16384)] == [0, 512]


NOISE = ((0, kernels.GaussianNoise(5, 0.3)), (1, kernels.Dropout(19, None)))


@pytest.mark.parametrize("full_batch", [False, True])
@pytest.mark.parametrize("stored, others", [(True, ()), (False, ()), (False, NOISE)])
@pytest.mark.parametrize("labels", [False, True])
def test_minibatches_in_blocks_are_those_of_all_rows_together(labels, stored, others, full_batch, monkeypatch):
    """The last one is shorter: it has fewer blocks, and a part of one. Dropout and noise draw what they draw for all rows."""
    share_all(monkeypatch)
    monkeypatch.setattr(blocks, "LEAST_ROWS_EACH", 0)
    found = []
    for least, n_threads in ((500, 1), (192, 1), (192, 2)):
        monkeypatch.setattr(blocks, "LEAST_ROWS", least)
        monkeypatch.setattr(blocks, "BLOCK_ROWS", least - 176)  # of a full batch
        plan, parameters, X, y = problem(np.float64, labels, dropouts=(0.0, 0.2 if others else 0.0), penalties=PENALTIES, others=others)
        X[X < 0.5] = 0
        rows, weights = kernels.CSR(X[X != 0], np.nonzero(X)[1], np.append(0, (X != 0).sum(1).cumsum()), X.shape) if stored else X, np.linspace(0, 2, len(X))
        objective = kernels.Objective(CLASSES.loss if labels else SQUARES.loss, weighted_mean=True)
        options = {"n_threads": n_threads, "clip_norm": 0.5, "stored": stored}
        if others:
            options["dropout_rates"] = lambda first, count: np.linspace(0.1, 0.5, 6)[first:][:count][None]
        trainer = kernels.Trainer(plan, parameters, 192, objective, kernels.ADAM, ADAM, full_batch=full_batch, **options)
        assert trainer.in_blocks == (least == 192) and trainer.serves(192) and trainer.serves(50) != trainer.in_blocks
        order, losses = np.random.default_rng(2).permutation(len(X))[:500], []
        for step, rows_of in enumerate((order[:192], order[192:384], order[384:])):
            losses += [*trainer.train(rows, y, rows_of, step, np.full(1, 1e-2), weights)]
        if not full_batch:
            losses += [*trainer.train(rows, y, order, 3, np.full(3, 1e-2), weights)]
        found.append([*losses, *parameters])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-12)
    assert found[1] != found[0]
    assert_same_bits(found[2], found[1])
