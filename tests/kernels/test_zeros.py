"""Zeros of the inputs: lists name just what is not zero, and a product that goes by them has the bits of the whole one."""

import ctypes
import dataclasses

import numpy as np
import pytest

import kernels
from fastnn import Dense, GaussianNoise, Residual, Sequential
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


def numbers(dtype):
    return "float32" if dtype == "bfloat16" else dtype


def rounding(plan, parameters, dtype):
    """Return a plan whose products round what they read, where the dtype says so."""
    return dataclasses.replace(plan, bfloat16=dtype == "bfloat16"), parameters


def passes(plan, parameters, X, y, n_threads=1):
    """Return what depends on a network's products: loss, gradient, outputs, and what some steps leave."""
    loss, gradient = kernels.loss_and_gradient(plan, parameters, X, y, CLASSES, n_threads=n_threads)
    outputs = kernels.Predictor(plan, parameters)(X, n_threads=n_threads)
    trained = parameters.copy()
    trainer = kernels.Trainer(plan, trained, len(X) // 2, CLASSES, kernels.ADAM, ADAM, n_threads=n_threads)
    trainer.train(X, y, np.arange(len(X)), 0, np.full(3, 1e-3))
    return np.concatenate([[loss], gradient, outputs.ravel(), trained])


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
@pytest.mark.parametrize("rows, widths", [(16, [128, 17, 3]), (75, [131, 40, 3]), (300, [784, 33, 10]), (530, [260, 100, 5]), (40, [1000, 300, 4])])
def test_bits_are_those_of_the_whole_product(rows, widths, dtype, monkeypatch):
    share_all(monkeypatch)
    plan, parameters = rounding(*network(widths, [kernels.RELU, kernels.SOFTMAX], numbers(dtype)), dtype)
    X, y = sparse(rows, plan)
    listed = [passes(plan, parameters, X, y, n_threads) for n_threads in (1, 2)]
    monkeypatch.setattr(dense, "pays", lambda *_: False)
    whole = passes(plan, parameters, X, y)
    for one in listed:
        assert_same_bits(one, whole)


def lists(record, name, count, whole, part):
    """Return `count` lists of a record as arrays, from parts of which each is taken from so many numbers of the whole."""
    stride, parts = zeros.PART_BYTES, -(-whole // part)
    size = 2 * int(record["quads"][0]) if name == "row_lists" else count
    memory = np.ctypeslib.as_array((ctypes.c_uint8 * (parts * size * stride)).from_address(int(record[name][0])))
    found = []
    for k in range(count):
        pieces = [memory[(p * size + k) * stride :][:stride] for p in range(parts)]
        found.append(np.concatenate([piece[8 : 8 + int(piece[:8].view(np.int64)[0])].astype(int) + p * part for p, piece in enumerate(pieces)]))
    return found


def listed(record):
    return ctypes.c_int64.from_address(int(record["listed"][0])).value


def trained(plan, parameters, X, y, n_threads=1):
    """Return the records of the lists of a network that has taken a step with all rows, and its program."""
    trainer = kernels.Trainer(plan, parameters, len(X), CLASSES, kernels.ADAM, ADAM, n_threads=n_threads)
    trainer.train(X, y, np.arange(len(X)), 0, np.full(1, 1e-3))
    return [phase.record for phase in trainer.program.phases if phase.name == "list_columns"], trainer.program


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows, n", [(8, 128), (37, 131), (260, 300), (522, 513)])
def test_lists_name_what_is_not_zero(rows, n, dtype):
    plan, parameters = network([n, 120, 3], [kernels.RELU, kernels.SOFTMAX], dtype)
    X, y = sparse(rows, plan)
    (record,), program = trained(plan, parameters, X, y)
    assert listed(record) == zeros.BY_ROWS | zeros.BY_COLUMNS
    for k, columns in enumerate(lists(record, "row_lists", -(-rows // 2), n, zeros.LISTED)):
        np.testing.assert_array_equal(columns, np.flatnonzero(X[2 * k : 2 * k + 2].any(axis=0)))
    for k, found in enumerate(lists(record, "column_lists", -(-n // program.width) * program.width // 2, rows, zeros.LISTED)):
        np.testing.assert_array_equal(found, np.flatnonzero(X[:, 2 * k : 2 * k + 2].any(axis=1)))


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_hidden_layers_go_by_the_units_that_are_on(dropout, dtype, monkeypatch):
    """Their outputs, dropped out or not, for the next layer's products, and for the gradient of what is below; the last one's gradient by itself."""
    share_all(monkeypatch)
    activations = [kernels.RELU, kernels.RELU, kernels.RELU, kernels.SOFTMAX]
    made = network([20, 150, 140, 130, 5], activations, numbers(dtype), dropouts=[0.0, dropout, dropout, 0.0])
    plan, parameters = rounding(*made, dtype)
    for layer in range(3):
        W, b = plan.weight(parameters, layer)
        plan.set_weight(parameters, layer, W, b - 1.0)  # most are off
    X, y = data(100, plan)
    records, program = trained(plan, parameters.copy(), X, y)
    expected = {"A1": 3, "A2": 3, "dA3": 1} if dtype != "bfloat16" else {"rounded A1": 1, "rounded A2": 1, "rounded dA3": 1, "rounded dA2": 1}
    found = {
        phase.note.split(" that ")[0].removeprefix("columns of "): listed(phase.record)
        for phase in program.phases
        if phase.name == "list_columns" and phase.note.startswith("columns")
    }
    assert found == expected
    assert all(listed(record) for record in records)
    by_lists = [passes(plan, parameters, X, y, n_threads) for n_threads in (1, 2)]
    monkeypatch.setattr(dense, "pays", lambda *_: False)
    for one in by_lists:
        assert_same_bits(one, passes(plan, parameters, X, y))


def test_a_denormal_bias_is_flushed_where_a_row_has_no_terms_too(monkeypatch):
    """In bfloat16 every term flushes denormals: a row of zeros alone has none in its list, but some in the whole product."""
    plan, parameters = rounding(*network([300, 200], [kernels.IDENTITY], "float32"), "bfloat16")
    plan.set_weight(parameters, 0, plan.weight(parameters, 0)[0], np.full(200, 1e-40))
    X, results = np.zeros((64, 300), np.float32), []
    X[::2, :40] = 1
    X[60:] = 0
    for pays in (dense.pays, lambda *_: False):
        monkeypatch.setattr(dense, "pays", pays)
        results.append(kernels.Predictor(plan, parameters)(X))
    assert_same_bits(*results)


def test_noise_after_a_relu_and_blocks_have_their_own_lists(monkeypatch):
    """What is not zero with noise, or beside a block, says nothing of the gradient below."""
    X, y, results = np.random.default_rng(0).standard_normal((300, 20)), np.arange(300) % 3, []
    for pays in (dense.pays, lambda *_: False):
        monkeypatch.setattr(dense, "pays", pays)
        block = Residual([Dense(200, "relu")])
        net = Sequential([Dense(200, "relu"), GaussianNoise(0.1), Dense(200, "relu"), block, Dense(3, "softmax")], n_features=20, seed=0)
        net.parameters -= np.float32(0.02)
        net.fit(X, y, epochs=2, batch_size=60, n_threads=1, verbose=0)
        results.append(net.parameters.copy())
    assert_same_bits(*results)


@pytest.mark.parametrize("part, expected", [(0.05, zeros.BY_ROWS | zeros.BY_COLUMNS), ({0.6: 0.49, 0.75: 0.68}[zeros.WORTH], zeros.BY_COLUMNS), (1.1, 0)])
def test_who_has_few_zeros_gets_no_lists(part, expected):
    """Of blobs five wide, a half or two thirds of all are seldom zero in two rows, but often in one row of two columns."""
    plan, parameters = network([200, 20, 3], [kernels.RELU, kernels.SOFTMAX], np.float32)
    X, y = sparse(64, plan, part)
    if expected == 0:
        X[:, ::7] = 1
    (record,), _ = trained(plan, parameters, X, y)
    assert listed(record) == expected


def phases(widths, rows, dtype=np.float32):
    return [phase.name for phase in emit_prediction(*network(widths, [kernels.RELU] * (len(widths) - 2) + [kernels.SOFTMAX], dtype), rows, False).phases]


def test_small_layers_have_no_lists():
    assert phases([128, 20, 3], 64).count("list_columns") == 1
    for widths, rows in (([127, 20, 3], 64), ([128, 16, 3], 64), ([128, 200, 3], 4), ([128, 20, 3], 16), ([20, 128, 64, 3], 32)):
        assert "list_columns" not in phases(widths, rows)
