"""Zeros of the inputs: lists name just what is not zero, and a product that goes by them has the bits of the whole one."""

import numpy as np
import pytest

import kernels
from kernels import dense, zeros
from kernels.steps import emit_prediction
from tests.kernels.networks import ADAM, CLASSES, data, network, share_all
from tests.numerics import DTYPES, assert_same_bits


def sparse(rows, plan, part=0.2, seed=1):
    """Return inputs of which a part is not zero, in blobs as those of an image, and some columns never; and labels."""
    X, y = data(rows, plan)
    rng = np.random.default_rng(seed)
    X[np.repeat(rng.random((rows, -(-X.shape[1] // 5))) > part, 5, axis=1)[:, : X.shape[1]]] = 0
    X[:, ::7] = 0
    X[:, 3] = -0.0
    return X, y


def passes(plan, parameters, X, y, n_threads=1):
    """Return what depends on a network's products: loss, gradient, outputs, and what some steps leave."""
    loss, gradient = kernels.loss_and_gradient(plan, parameters, X, y, CLASSES, n_threads=n_threads)
    outputs = kernels.Predictor(plan, parameters)(X, n_threads=n_threads)
    trained = parameters.copy()
    trainer = kernels.Trainer(plan, trained, len(X) // 2, CLASSES, kernels.ADAM, ADAM, n_threads=n_threads)
    trainer.train(X, y, np.arange(len(X)), 0, np.full(3, 1e-3))
    return np.concatenate([[loss], gradient, outputs.ravel(), trained])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows, widths", [(16, [128, 17, 3]), (75, [131, 40, 3]), (300, [784, 33, 10]), (530, [260, 100, 5]), (40, [1000, 300, 4])])
def test_bits_are_those_of_the_whole_product(rows, widths, dtype, monkeypatch):
    share_all(monkeypatch)
    plan, parameters = network(widths, [kernels.RELU, kernels.SOFTMAX], dtype)
    X, y = sparse(rows, plan)
    listed = [passes(plan, parameters, X, y, n_threads) for n_threads in (1, 2)]
    monkeypatch.setattr(dense, "lists_of", lambda *_: None)
    whole = passes(plan, parameters, X, y)
    for one in listed:
        assert_same_bits(one, whole)


def lists(record, name, count, whole, part):
    """Return the lists of a record as arrays, from parts of which each is taken from so many numbers."""
    stride, parts = zeros.PART_BYTES, -(-whole // part)
    size = int(record["groups"][0]) if name == "row_lists" else count
    memory = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_uint8 * (parts * size * stride)).from_address(int(record[name][0])))
    found = []
    for k in range(count):
        pieces = [memory[(p * size + k) * stride :][:stride] for p in range(parts)]
        found.append(np.concatenate([piece[8 : 8 + int(piece[:8].view(np.int64)[0])].astype(int) + p * part for p, piece in enumerate(pieces)]))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows, n", [(8, 128), (37, 131), (260, 300), (522, 513)])
def test_lists_name_what_is_not_zero(rows, n, dtype):
    plan, parameters = network([n, 20, 3], [kernels.RELU, kernels.SOFTMAX], dtype)
    X, y = sparse(rows, plan)
    trainer = kernels.Trainer(plan, parameters, rows, CLASSES, kernels.ADAM, ADAM)
    trainer.train(X, y, np.arange(rows), 0, np.full(1, 1e-3))
    record = next(phase.record for phase in trainer.program.phases if phase.name == "list_columns")
    assert int(trainer.program.now["listed"][0]) == zeros.BY_ROWS | zeros.BY_COLUMNS
    for k, columns in enumerate(lists(record, "row_lists", -(-rows // 4), n, int(record["depth"][0]))):
        np.testing.assert_array_equal(columns, np.flatnonzero(X[4 * k : 4 * k + 4].any(axis=0)))
    for k, found in enumerate(lists(record, "column_lists", -(-n // trainer.program.width) * trainer.program.width // 4, rows, zeros.LISTED)):
        np.testing.assert_array_equal(found, np.flatnonzero(X[:, 4 * k : 4 * k + 4].any(axis=1)))


@pytest.mark.parametrize("part, listed", [(0.05, zeros.BY_ROWS | zeros.BY_COLUMNS), (0.6, zeros.BY_COLUMNS), (1.1, 0)])
def test_who_has_few_zeros_gets_no_lists(part, listed):
    """Of blobs five wide, 0.6 of all are hardly ever all zero in four rows, but often in one row of four columns."""
    plan, parameters = network([200, 20, 3], [kernels.RELU, kernels.SOFTMAX], np.float32)
    X, y = sparse(64, plan, part)
    if listed == 0:
        X[:, ::7] = 1
    trainer = kernels.Trainer(plan, parameters, 64, CLASSES, kernels.ADAM, ADAM)
    trainer.train(X, y, np.arange(64), 0, np.full(1, 1e-3))
    assert int(trainer.program.now["listed"][0]) == listed


def test_small_layers_and_hidden_ones_have_no_lists():
    for widths in ([127, 20, 3], [128, 16, 3], [20, 200, 100, 3]):
        plan, parameters = network(widths, [kernels.RELU] * (len(widths) - 2) + [kernels.SOFTMAX], np.float32)
        assert "list_columns" not in [phase.name for phase in emit_prediction(plan, parameters, 64, False).phases]
        few = emit_prediction(*network([300, 200, 3], [kernels.RELU, kernels.SOFTMAX], np.float32), 4, False)
    assert "list_columns" not in [phase.name for phase in few.phases]
