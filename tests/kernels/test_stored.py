"""Rows of which only some numbers are stored: networks have the bits that the same rows give them dense."""

import weakref

import numpy as np
import pytest

import kernels
from kernels import stored
from kernels.steps import emit_prediction
from tests.kernels.networks import ADAM, CLASSES, network, share_all
from tests.numerics import DTYPES, assert_same_bits


def rows_of(n_rows, n, share, dtype="float64", indices="int32", seed=0):
    """Return rows in CSR form, some of them and some columns empty, and what they are dense."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n_rows, n)) < share, rng.standard_normal((n_rows, n)) * 3, 0).astype(dtype)
    dense[::7], dense[:, ::5] = 0, 0
    rows, columns = np.nonzero(dense)
    indptr = np.searchsorted(rows, np.arange(n_rows + 1)).astype(indices)
    return kernels.CSR(dense[rows, columns], columns.astype(indices), indptr, dense.shape), dense


def trained(plan, parameters, X, y, order, n_threads=1, batch_size=30, objective=CLASSES, weights=None):
    """Return the losses of the steps over an order, and the parameters after them."""
    parameters, losses = parameters.copy(), []
    trainer = kernels.Trainer(plan, parameters, batch_size, objective, kernels.ADAM, ADAM, n_threads=n_threads, stored=isinstance(X, kernels.CSR))
    for first in range(0, len(order), batch_size * trainer.buffered):
        some = order[first : first + batch_size * trainer.buffered]
        rates = np.full(-(-len(some) // batch_size), 0.01)
        losses += trainer.train(X, y, some, len(losses), rates, weights).tolist()
    assert trainer.settle() and trainer.bad_row == -1
    return np.concatenate([losses, parameters])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows, widths", [(75, [40, 1, 3]), (130, [300, 37, 5]), (64, [33, 3]), (200, [700, 150, 20, 4])])
def test_bits_are_those_of_dense_rows(n_rows, widths, dtype, monkeypatch):
    share_all(monkeypatch)
    plan, parameters = network(widths, [*[kernels.RELU, kernels.TANH][: len(widths) - 2], kernels.SOFTMAX], dtype, [0.0, *[0.3] * (len(widths) - 2)])
    X, dense = rows_of(n_rows, widths[0], 0.1)
    rng = np.random.default_rng(1)
    y, order, weights = rng.integers(0, widths[-1], n_rows), rng.permutation(n_rows), rng.random(n_rows)
    for n_threads in (1, 2):
        assert_same_bits(kernels.predict(plan, parameters, X, n_threads=n_threads), kernels.predict(plan, parameters, dense, n_threads=n_threads))
        for few in (1, 2, 5, 9):
            assert_same_bits(kernels.predict(plan, parameters, X[:few], n_threads=n_threads), kernels.predict(plan, parameters, dense[:few]))
        judged = [kernels.evaluate(plan, parameters, rows, y, CLASSES, n_threads=n_threads, weights=weights) for rows in (X, dense)]
        assert judged[0][0] == judged[1][0]
        assert_same_bits(judged[0][1], judged[1][1])
        for some in (None, weights):
            assert_same_bits(*(trained(plan, parameters, rows, y, order, n_threads, weights=some) for rows in (X, dense)))


def test_a_sum_is_that_of_float64():
    plan, parameters = network([90, 20], [kernels.IDENTITY], "float32")
    X, dense = rows_of(40, 90, 0.2)
    W, b = plan.weight(parameters, 0)
    np.testing.assert_allclose(kernels.predict(plan, parameters, X), dense @ W.astype("f8") + b, rtol=1e-5, atol=1e-5)


def test_a_prediction_of_many_rows_is_some_compiled_calls(monkeypatch):
    plan, parameters = network([50, 20, 3], [kernels.RELU, kernels.SOFTMAX], "float32")
    X, dense = rows_of(1500, 50, 0.1)
    expected = kernels.predict(plan, parameters, dense)
    monkeypatch.setattr("kernels.prediction.CALL_WORK", 1.0)
    taken = []
    monkeypatch.setattr("kernels.prediction.take", lambda X, *more: taken.append(len(X)) or stored.take(X, *more))
    for n_threads in (1, 2):
        assert_same_bits(kernels.Predictor(plan, parameters)(X, n_threads=n_threads), expected)
        assert sum(taken) == 1500 and len(taken) > 1
        taken.clear()


@pytest.mark.parametrize("kind, indices", [("float32", "int32"), ("float64", "int64"), ("uint8", "int32"), ("bool", "int64")])
def test_any_real_dtype_is_converted(kind, indices):
    plan, parameters = network([50, 20, 3], [kernels.RELU, kernels.SOFTMAX], "float32")
    X, dense = rows_of(40, 50, 0.1, kind, indices)
    assert X.dtype == kind
    assert_same_bits(X.toarray(), dense)
    assert_same_bits(kernels.predict(plan, parameters, X), kernels.predict(plan, parameters, dense))


@pytest.mark.parametrize("n", [1, 50])
def test_rows_are_scaled(n):
    plan, parameters = network([n, 20, 3], [kernels.RELU, kernels.SOFTMAX], "float32")
    X, dense = rows_of(40, n, 0.9)
    y = np.arange(40) % 3
    for scale in (0.3, np.linspace(0.1, 2, n)):
        expected = kernels.predict(plan, parameters, dense, scale=scale, shift=0.0 * scale)
        assert_same_bits(kernels.predict(plan, parameters, X, scale=scale, shift=0.0 * scale), expected)
        objective = kernels.Objective(kernels.CROSS_ENTROPY, scale=scale, shift=0.0 * scale)
        assert_same_bits(*(trained(plan, parameters, rows, y, np.arange(40), objective=objective) for rows in (X, dense)))


def test_weights_that_are_frozen_and_a_penalty(monkeypatch):
    share_all(monkeypatch)
    plan, parameters = network([50, 20, 3], [kernels.RELU, kernels.SOFTMAX], "float64")
    X, dense = rows_of(40, 50, 0.1)
    y, order = np.arange(40) % 3, np.arange(40)
    for changed in ({"trained": ((False, True), (True, True))}, {"trained": ((False, False), (True, True))}, {"penalties": ((0.01, 0.02, 0, 0.01),) * 2}):
        fields = {name: getattr(plan, name) for name in ("widths", "activations", "dropouts", "dtype", "seed", "trained", "penalties")}
        other = kernels.Plan(**{**fields, **changed})
        assert_same_bits(*(trained(other, parameters, rows, y, order, 2) for rows in (X, dense)))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n_rows", [40, 1300])
def test_a_full_batch_takes_many_steps_with_the_same_rows(n_rows, n_threads, monkeypatch):
    share_all(monkeypatch)
    plan, parameters = network([50, 20, 3], [kernels.RELU, kernels.SOFTMAX], "float32")
    X, dense = rows_of(n_rows, 50, 0.1)
    y, after = np.arange(n_rows) % 3, []
    for rows in (X, dense):
        copy = parameters.copy()
        trainer = kernels.Trainer(plan, copy, n_rows, CLASSES, kernels.ADAM, ADAM, full_batch=True, stored=rows is X, n_threads=n_threads)
        trainer.train(rows, y, np.arange(n_rows), 0, np.full(3, 0.01), repeats=3)
        loss, gradient = kernels.loss_and_gradient(plan, parameters, rows, y, CLASSES, n_threads=n_threads)
        after.append(np.concatenate([copy, [loss], gradient]))
    assert_same_bits(*after)


def test_a_row_that_is_not_finite_is_found():
    plan, parameters = network([50, 3], [kernels.SOFTMAX], "float32")
    X, _ = rows_of(40, 50, 0.2)
    X.data[X.indptr[9]] = 1e39  # infinite in float32
    with pytest.raises(ValueError, match="X must be finite as scaled float32; got NaN or infinity in row 9"):
        kernels.predict(plan, parameters, X)
    trainer = kernels.Trainer(plan, parameters, 10, CLASSES, kernels.ADAM, ADAM, stored=True)
    before = parameters.copy()
    assert trainer.train(X, np.zeros(40, np.int64), np.array([3, 9]), 0, np.ones(1)).size == 0
    assert trainer.bad_row == 9
    assert_same_bits(parameters, before)


def test_a_row_out_of_order_is_named_by_its_place_in_all():
    plan, parameters = network([5, 3], [kernels.SOFTMAX], "float32")
    columns = np.tile([0, 1], 3000)
    columns[5000:5002] = 1, 0
    X = kernels.CSR(np.ones(6000), columns, np.arange(3001) * 2, (3000, 5))
    with pytest.raises(ValueError, match="got others in row 2500"):
        kernels.evaluate(plan, parameters, X, np.zeros(3000, np.int64), CLASSES)
    with pytest.raises(ValueError, match="got others in row 2500"):
        kernels.predict(plan, parameters, X[1000:][:1800])


def test_what_does_not_fit_is_refused():
    plan, parameters = network([5, 3], [kernels.SOFTMAX], "float32")
    data, columns, starts = np.ones(3), np.array([0, 4, 2]), np.array([0, 2, 3])
    X, y = kernels.CSR(data, columns, starts, (2, 5)), np.zeros(2, np.int64)
    kernels.predict(plan, parameters, X)
    for wrong in ([4, 0, 2], [0, 0, 2], [0, 5, 2], [-1, 4, 2]):
        with pytest.raises(ValueError, match="X must have columns from 0 to 4 that ascend in each row; got others in row 0"):
            kernels.predict(plan, parameters, kernels.CSR(data, np.array(wrong), starts, (2, 5)))
    for wrong, message in (
        ((data, columns, starts, (3, 5)), "indptr must have a number for each row and one more"),
        ((data[:2], columns, starts, (2, 5)), "indices must have a column for each number of data"),
        ((data, columns, np.array([0, 2, 4]), (2, 5)), "indptr must ascend"),
        ((data, columns, np.array([0, 3, 2]), (2, 5)), "indptr must ascend"),
        ((data, columns, np.array([0, 2**31 - 1, -(2**31), -1, 3], np.int32), (4, 5)), "indptr must ascend"),  # differences wrap around
        ((data, columns, starts, (-1, 5)), "shape must be of 0 or more rows"),
        ((data, columns, starts, (2, 2**31)), "fewer than"),
        ((data, columns, np.array([-1, 2, 3]), (2, 5)), "indptr must ascend"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.CSR(*wrong)
    for wrong in (
        (data.astype("c16"), columns, starts),
        (data, columns.astype("f8"), starts),
        (data, columns, starts.astype("u4")),
        ([1, 2, 3], columns, starts),
    ):
        with pytest.raises(TypeError, match="must be an array of one dimension of"):
            kernels.CSR(*wrong, (2, 5))
    for shape in ((2.0, 5), (2, 5, 1), 5, None):
        with pytest.raises(TypeError, match="shape must be two integers"):
            kernels.CSR(data, columns, starts, shape)
    for rows in (0, slice(0, 2, 2), np.arange(2)):
        with pytest.raises(TypeError, match="rows must be a slice"):
            X[rows]
    with pytest.raises(ValueError, match="shift must be 0"):
        kernels.predict(plan, parameters, X, shift=1.0)
    with pytest.raises(ValueError, match="shift must be 0"):
        kernels.Trainer(plan, parameters, 2, kernels.Objective(kernels.CROSS_ENTROPY, shift=1.0), kernels.ADAM, ADAM, stored=True)
    with pytest.raises(ValueError, match=r"X must have the shape \(n_rows, 5\)"):
        kernels.predict(plan, parameters, kernels.CSR(data, columns, starts, (2, 6)))
    for given, wanted in ((X, False), (X.toarray(), True)):
        trainer = kernels.Trainer(plan, parameters, 2, CLASSES, kernels.ADAM, ADAM, stored=wanted)
        with pytest.raises(TypeError, match=r"X must be (an array|kernels\.CSR)"):
            trainer.train(given, y, np.arange(2), 0, np.ones(1))
    dropped = kernels.Plan([5, 3], [kernels.SOFTMAX], [0.2])
    assert plan.takes_stored and not dropped.takes_stored and not kernels.Plan([5, 3], [kernels.SOFTMAX], [0.0], bfloat16=True).takes_stored
    with pytest.raises(ValueError, match="takes_stored"):
        kernels.predict(dropped, parameters, X)


def test_nothing_dense_is_kept():
    n = 1_000_000
    plan = kernels.Plan([n, 1], [kernels.IDENTITY], [0.0])
    parameters = np.zeros(plan.parameters_size, "f4")
    trainer = kernels.Trainer(plan, parameters, 200, kernels.Objective(kernels.SQUARED_ERROR), kernels.SGD, [0.0], stored=True)
    assert not hasattr(trainer.minibatches, "gather_inputs")
    assert plan.workspace_bytes(200, stored=True) < 30e6 < 700e6 < plan.workspace_bytes(200)
    program = emit_prediction(plan, parameters, 200, False, stored=True)
    assert "list_columns" not in str(program)


def test_a_program_shows_that_it_sorts_and_is_measured():
    plan, parameters = network([300, 40, 3], [kernels.RELU, kernels.SOFTMAX], "float32")
    program = kernels.Trainer(plan, parameters, 50, CLASSES, kernels.ADAM, ADAM, stored=True).program
    assert "sort_columns           1 x  X, column by column" in str(program)
    assert "list_columns" not in str(program).split("forward:")[1].split("dense_forward")[0]
    assert sum(program.profile(0.01).microseconds) > 0


def test_what_a_training_owns_goes_with_it():
    """It waits for no search for cycles; see the test of the same name for dense rows."""
    plan, parameters = network([50, 7, 3], [kernels.RELU, kernels.SOFTMAX], "float32")
    X, _ = rows_of(600, 50, 0.1)
    y = np.arange(600) % 3
    for full_batch in (False, True):
        trainer = kernels.Trainer(plan, parameters, 600, CLASSES, kernels.ADAM, ADAM, full_batch=full_batch, stored=True)
        trainer.train(X, y, np.arange(600), 0, np.full(1, 0.01))
        assert trainer.minibatches.stored[0].room[0].size < 0.9 * X.data.size or not full_batch  # of one block
        owned = [weakref.ref(thing) for thing in (trainer.program, trainer.gradient, trainer.minibatches.stored[0].room[0])]
        del trainer
        assert [one() for one in owned] == [None] * 3
