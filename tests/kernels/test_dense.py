"""The dense layer: few rows, tasks of any shape and frozen parts have the bits of the ordinary way."""

import dataclasses

import numpy as np
import pytest

import kernels
from kernels import _product, dense
from tests.kernels.networks import CLASSES, data, network, share_all
from tests.numerics import DTYPES, assert_same_bits

WIDTHS = [[1, 1, 2], [7, 16, 33, 3], [64, 100, 17], [5, 129, 130, 31], [48, 257, 10]]


def passes(widths, rows, dtype, n_threads=1):
    """Return loss, gradient and outputs of some rows, with ReLU and tanh by turns."""
    activations = [kernels.RELU, kernels.TANH, kernels.RELU][: len(widths) - 2]
    plan, parameters = network(widths, [*activations, kernels.SOFTMAX], dtype)
    X, y = data(rows, plan)
    loss, gradient = kernels.loss_and_gradient(plan, parameters, X, y, CLASSES, n_threads=n_threads)
    outputs = kernels.Predictor(plan, parameters)(X, n_threads=n_threads)
    return np.concatenate([[loss], gradient, outputs.ravel()])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_few_rows_have_the_bits_of_the_ordinary_way(widths, dtype, monkeypatch):
    few = [passes(widths, rows, dtype) for rows in range(1, 6)]
    monkeypatch.setattr(dense, "FEW_ROWS", 0)
    for rows, actual in enumerate(few, 1):
        assert_same_bits(actual, passes(widths, rows, dtype))


def test_few_rows_take_their_own_way():
    plan, parameters = network([20, 30, 10], [kernels.RELU, kernels.SOFTMAX], np.float32)
    for rows in range(1, 7):
        step = kernels.Trainer(plan, parameters, rows, CLASSES, kernels.ADAM, [0.9, 0.999, 1e-8, 0.0]).program
        records = [phase.record for phase in step.phases if phase.name == "dense_forward"]
        assert all((record["few"][0] != 0) == (rows <= _product.FEW_ROWS) for record in records)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 4, 5, 37, 130])
def test_tasks_of_any_shape_have_the_same_bits(rows, dtype, monkeypatch):
    """Cut for 1 to 7 threads, along panels, rows, inputs or outputs; one thread does them all."""
    share_all(monkeypatch)
    monkeypatch.setattr(kernels._jit, "max_threads", lambda: 1)  # there are no others
    monkeypatch.setattr(kernels._door, "max_threads", lambda: 7)
    for widths in ([40, 130, 257, 3], [5, 129, 12]):
        expected = passes(widths, rows, dtype)
        for n_threads in (2, 3, 5, 7):
            assert_same_bits(passes(widths, rows, dtype, n_threads), expected)


@pytest.mark.parametrize("trained", [((False, False), (True, True)), ((True, False), (False, False)), ((False, True), (True, False))])
def test_what_nobody_asks_for_is_not_computed(trained):
    plan, parameters = network([20, 30, 10], [kernels.RELU, kernels.SOFTMAX], np.float32)
    plan = dataclasses.replace(plan, trained=trained)
    step = kernels.Trainer(plan, parameters, 16, CLASSES, kernels.ADAM, [0.9, 0.999, 1e-8, 0.0]).program
    backward = [phase.record[0] for phase in step.phases if phase.name == "dense_backward"]
    asked = [i for i in (1, 0) if any(trained[i]) or (i == 1 and any(trained[0]))]
    assert len(backward) == len(asked)
    for i, record in zip(asked, backward):
        assert (record["dW"] != 0, record["db"] != 0) == trained[i]
        assert (record["dX"] != 0) == (i == 1 and any(trained[0]))
