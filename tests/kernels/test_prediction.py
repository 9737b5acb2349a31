"""Predictions: programs that are kept, for any number of rows, options and threads."""

import sys
import threading

import numpy as np
import pytest

import kernels
from kernels import prediction
from kernels.gather import RowError
from tests.kernels.networks import CLASSES, data, forward, network, share_all
from tests.numerics import DTYPES, assert_close, assert_same_bits

ACTIVATIONS = [kernels.RELU, kernels.TANH, kernels.SOFTMAX]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_predicted_together_and_alone_have_the_same_bits(dtype):
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, dtype)
    X, _ = data(prediction.BLOCK + 70, plan)
    predictor = kernels.Predictor(plan, parameters)
    whole = predictor(X)
    assert_close(whole, forward(plan, parameters, X)[-1], looser=10)
    for rows in (1, 2, 3, 5, 8, 31, prediction.BLOCK, prediction.BLOCK + 1):
        for _ in range(2):  # bound, and found bound
            assert_same_bits(predictor(X[:rows]), whole[:rows])
            assert_same_bits(predictor(X[-rows:]), whole[-rows:])
    assert predictor(X[:0]).shape == (0, 5)


def test_threads_predict_blocks_of_their_own_with_the_same_bits(monkeypatch):
    share_all(monkeypatch)
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, np.float32)
    X, _ = data(9 * prediction.OWN_ROWS + 1, plan)
    predictor = kernels.Predictor(plan, parameters)
    whole = predictor(X)
    for rows in (2 * prediction.LEAST_ROWS, 100, 257, len(X)):
        for _ in range(12):  # shared or not: both are tried
            assert_same_bits(predictor(X[:rows], n_threads=2), whole[:rows])
    X[700:703, 5] = np.inf
    X[900, 2] = np.nan
    for _ in range(12):
        with pytest.raises(RowError) as error:
            predictor(X, n_threads=2)
        assert error.value.row == 700
    assert_same_bits(predictor(X[:700], n_threads=2), whole[:700])


@pytest.mark.parametrize(
    ("n_rows", "n_threads", "most", "block"),
    [(64, 2, 128, 32), (100, 2, 128, 52), (100, 8, 128, 32), (1000, 2, 128, 128), (1000, 2, 512, 500), (10_000, 2, 128, 128), (600, 4, 128, 76)],
)
def test_blocks_are_as_many_for_each_thread(n_rows, n_threads, most, block):
    assert prediction._own_block(n_rows, n_threads, most) == block


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("work", [0, 4e6])
def test_many_rows_are_several_calls_that_ctrl_c_may_come_between(n_threads, work, monkeypatch):
    share_all(monkeypatch)
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, np.float32)
    X, _ = data(6 * prediction.BLOCK + 1, plan)
    X = np.asfortranarray(X)[::-1]
    expected, predict_blocks, calls = kernels.Predictor(plan, parameters)(X, n_threads=n_threads), prediction.predict_blocks, []

    def counted(*args):
        calls.append(len(args[5]))
        return predict_blocks(*args)

    def interrupted(*args):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return counted(*args)

    monkeypatch.setattr(prediction, "CALL_WORK", work)
    monkeypatch.setattr(prediction, "predict_blocks", counted)
    predictor = kernels.Predictor(plan, parameters)
    assert_same_bits(predictor(X, n_threads=n_threads), expected)
    assert len(calls) > 2
    assert sum(calls) == len(X)
    assert len(set(calls[:-1])) == 1
    wrong = X.copy()
    wrong[[2000, 2600], 3] = np.nan
    with pytest.raises(RowError) as error:
        predictor(wrong, n_threads=n_threads)
    assert error.value.row == 2000
    calls.clear()
    monkeypatch.setattr(prediction, "predict_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predictor(X, n_threads=n_threads)
    calls.clear()
    monkeypatch.setattr(prediction, "predict_blocks", counted)
    assert_same_bits(predictor(X, n_threads=n_threads), expected)


def test_each_option_has_a_program_of_its_own():
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, np.float64)
    X, _ = data(20, plan)
    predictor = kernels.Predictor(plan, parameters)
    for _ in range(2):
        logits = predictor(X, logits=True)
        scaled = predictor(X * 4 - 2, scale=0.25, shift=0.5)
        outputs = predictor(X)
        assert_close(scaled, outputs, looser=10)
        np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), outputs, rtol=1e-12)


def test_parameters_are_read_anew():
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, np.float32)
    X, _ = data(20, plan)
    predictor = kernels.Predictor(plan, parameters)
    predictor(X)
    parameters *= np.float32(0.5)
    assert_same_bits(predictor(X), kernels.Predictor(plan, parameters.copy())(X))


def test_a_row_that_is_not_finite_is_named():
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, np.float32)
    X, _ = data(prediction.BLOCK + 70, plan)
    predictor = kernels.Predictor(plan, parameters)
    for row in (3, prediction.BLOCK + 7):
        X[row, 5] = np.nan
        for rows, wrong in ((X, row), (X[row:], 0)):
            with pytest.raises(RowError, match="X must be finite as scaled float32") as error:
                predictor(rows)
            assert error.value.row == wrong
        X[row, 5] = 0
    assert np.isfinite(predictor(X)).all()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_several_python_threads_may_call_one_predictor(n_threads, monkeypatch):
    share_all(monkeypatch)
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, np.float32)
    X, _ = data(700, plan)
    predictor = kernels.Predictor(plan, parameters)
    expected, wrong = kernels.Predictor(plan, parameters)(X), []

    def call(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            first, rows = rng.integers(0, 600), rng.integers(1, 100)
            if not (predictor(X[first : first + rows], n_threads=n_threads) == expected[first : first + rows]).all():
                wrong.append((first, rows))

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
    assert all(len(spare) <= 4 for spare in predictor._spare.values())  # no more than callers at once


def test_what_predict_keeps_is_bounded_and_holds_no_parameters():
    for seed in range(2 * prediction.KEPT):
        plan, parameters = network([3, 4, 2], [kernels.RELU, kernels.SOFTMAX], np.float32, seed=seed)
        X, _ = data(5, plan)
        assert_close(kernels.predict(plan, parameters, X), forward(plan, parameters, X)[-1], looser=10)
    assert len(prediction._predictors) <= prediction.KEPT
    assert not any(one.parameters.size for one in prediction._predictors.values())


def test_evaluation_is_the_loss_and_the_prediction():
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, np.float64)
    X, y = data(prediction.BLOCK + 70, plan)
    loss, outputs = kernels.evaluate(plan, parameters, X, y, CLASSES)
    assert_close(outputs, kernels.predict(plan, parameters, X))
    np.testing.assert_allclose(loss, -np.log(outputs[np.arange(len(y)), y]).mean(), rtol=1e-12)


def test_an_evaluation_is_kept_for_the_next_with_other_rows_and_parameters():
    plan, parameters = network([13, 40, 33, 5], ACTIVATIONS, np.float64)
    X, y = data(70, plan)
    prediction._evaluations.clear()
    first = kernels.evaluate(plan, parameters, X, y, CLASSES)
    weighted = kernels.evaluate(plan, parameters, X, y, CLASSES, weights=np.full(70, 2.0))
    other = kernels.evaluate(plan, parameters, X[::-1], y[::-1], CLASSES)
    again = kernels.evaluate(plan, parameters, X, y, CLASSES)
    assert len(prediction._evaluations) == 1
    assert again[0] == first[0]
    assert_same_bits(again[1], first[1])
    assert_same_bits(other[1], first[1][::-1])
    np.testing.assert_allclose(weighted[0], 2 * first[0], rtol=1e-12)
    parameters *= 0.5
    changed = kernels.evaluate(plan, parameters, X, y, CLASSES)
    prediction._evaluations.clear()
    assert changed[0] == kernels.evaluate(plan, parameters, X, y, CLASSES)[0] != first[0]
    with pytest.raises(RowError):
        kernels.evaluate(plan, parameters, X * np.inf, y, CLASSES)
    for rows in range(1, 2 * prediction.KEPT):
        kernels.evaluate(plan, parameters, X[:rows], y[:rows], CLASSES)
    assert len(prediction._evaluations) == prediction.KEPT


def test_what_another_python_thread_keeps_meanwhile_is_no_error():
    kept = dict.fromkeys(range(prediction.KEPT))

    def another_thread(frame, event, argument):
        if event == "c_return" and len(kept) < 2 * prediction.KEPT:  # whenever it may have its turn
            kept[object()] = None

    before = sys.getprofile()
    sys.setprofile(another_thread)
    try:
        prediction._keep(kept, "mine", None)
    finally:
        sys.setprofile(before)
    assert 0 not in kept
    assert "mine" in kept
