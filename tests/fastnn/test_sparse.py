"""Sparse rows in a network: the same numbers as dense ones, and never dense together."""

import numpy as np
import pytest

pytest.importorskip("scipy")
from scipy import sparse as scipy_sparse

from fastnn import CrossEntropy, Dense, Sequential, SquaredError, Standardize
from fastnn.sparse import SparseRows

ROWS = 130


class Guarded(scipy_sparse.csr_array):
    """Sparse rows of which at most 50 may become dense at a time."""

    most = 50

    def toarray(self, *args, **kwargs):
        assert self.shape[0] <= self.most
        return super().toarray(*args, **kwargs)


@pytest.fixture(params=[0.2, 0.05], ids=["some stored", "few stored"])
def data(monkeypatch, request):
    monkeypatch.setattr("fastnn.sparse.BLOCK_BYTES", 50 * 30 * 8)
    monkeypatch.setattr("kernels.training.CHUNK_BYTES", 48 * 32 * 8)
    monkeypatch.setattr("fastnn.scaling.STATISTICS_BLOCK", 50 * 30)
    monkeypatch.setattr("fastnn.validation.BLOCK", 50 * 30)
    rng = np.random.default_rng(0)
    X = np.where(rng.random((ROWS, 30)) < request.param, rng.standard_normal((ROWS, 30)), 0.0)
    return X, rng.integers(0, 3, ROWS), rng.random(ROWS)


def network(dtype="float64"):
    return Sequential([Dense(5, "tanh", l2=0.01), Dense(3, "softmax")], n_features=30, dtype=dtype)


def test_a_fit_with_sparse_rows_has_the_bits_of_one_with_dense_rows(data):
    X, y, weights = data
    dense, sparse = network(), network()
    for net, rows in ((dense, X), (sparse, Guarded(X))):
        net.fit(rows, y, epochs=2, batch_size=16, sample_weight=weights, validation_data=(rows, y), verbose=0)
    np.testing.assert_array_equal(sparse.parameters, dense.parameters)
    np.testing.assert_array_equal(sparse.predict(Guarded(X)), dense.predict(X))
    np.testing.assert_array_equal(sparse.predict(scipy_sparse.coo_matrix(X)), dense.predict(X))
    assert sparse.predict(Guarded(X)[:0]).shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8, np.bool_])
def test_sparse_rows_of_any_dtype_are_numbers(data, dtype):
    X, y, _ = data
    X = (3 * X).astype(dtype)
    dense, sparse = network(), network()
    for net, rows in ((dense, X), (sparse, Guarded(X))):
        net.fit(rows, y, batch_size=16, validation_data=(rows, y), verbose=0)
    np.testing.assert_array_equal(sparse.parameters, dense.parameters)
    assert sparse.evaluate(Guarded(X), y) == pytest.approx(dense.evaluate(X, y), rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_which_few_numbers_are_stored_are_never_dense(data, dtype, monkeypatch):
    X, y, _ = data
    X[:, 5:] = 0
    monkeypatch.setattr(Guarded, "most", 0)
    net, dense = network(dtype), network(dtype)
    for one, rows in ((dense, X), (net, Guarded(X))):
        one.fit(rows, y, epochs=2, batch_size=16, validation_data=(rows, y), verbose=0)
        one.fit(rows, y, epochs=2, batch_size=None, verbose=0)
        one.fit(rows, y, epochs=2, optimizer="lbfgs", verbose=0)
        one.fit(lambda epoch, rows=rows: ((rows[i : i + 20], y[i : i + 20]) for i in range(0, 80, 20)), epochs=2, verbose=0)
        one.fit(iter([(rows[:20], y[:20]), (X[20:40], y[20:40])]), verbose=0)
        for size in (30, 20):
            one.train_on_batch(rows[:size], y[:size])
        one.train_on_batch(X[:20], y[:20])
    np.testing.assert_array_equal(net.parameters, dense.parameters)
    np.testing.assert_array_equal(net.predict(Guarded(X)), dense.predict(X))


def test_columns_in_any_order_and_stored_twice_are_summed_in_a_copy(data):
    X, _, _ = data
    rows, columns = np.nonzero(X)
    indptr = 2 * np.searchsorted(rows, np.arange(ROWS + 1))
    both = [np.concatenate([part[a:b][::-1], part[a:b]]) for part in (X[rows, columns] / 2, columns) for a, b in zip(indptr[:-1] // 2, indptr[1:] // 2)]
    data_, indices = np.concatenate(both[:ROWS]), np.concatenate(both[ROWS:])
    halves = scipy_sparse.csr_array((data_, indices.astype(np.int32), indptr), shape=X.shape)
    net, before = network(), halves.indices.copy()
    np.testing.assert_array_equal(net.predict(halves), net.predict(X))
    np.testing.assert_array_equal(halves.indices, before)


def test_a_stream_may_yield_sparse_rows(data):
    X, y, weights = data
    dense, sparse = network(), network()
    bad = X[48:64].copy()
    bad[3, 2] = np.nan
    for net, make in ((dense, np.asarray), (sparse, Guarded)):
        net.fit(lambda epoch, make=make: [(make(X[i : i + 16]), y[i : i + 16], weights[i : i + 16]) for i in range(0, ROWS, 16)], epochs=2, verbose=0)
        with pytest.raises(ValueError, match=r"^batch 2 of epoch 1: X must be finite; got nan in row 3, column 2\.$"):
            net.fit(iter([(make(X[:16]), y[:16]), (make(bad), y[48:64])]), verbose=0)
    np.testing.assert_array_equal(sparse.parameters, dense.parameters)


@pytest.mark.parametrize("reduction", ["mean", "sum", "weighted_mean"])
def test_the_loss_of_sparse_rows_is_that_of_dense_rows(data, reduction):
    X, y, weights = data
    net, loss = network(), CrossEntropy(reduction=reduction)
    for sample_weight in (None, weights):
        expected = net.evaluate(X, y, loss, sample_weight=sample_weight)
        assert net.evaluate(Guarded(X), y, loss, sample_weight=sample_weight) == pytest.approx(expected, rel=1e-13)
    expected, slope = net.loss_and_gradient(X, y, loss)
    actual, gradient = net.loss_and_gradient(Guarded(X), y, loss)
    assert actual == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-15)


def test_sparse_rows_are_standardized_split_off_and_minimized(data):
    X, y, _ = data
    nets = []
    for rows in (X, Guarded(X)):
        net = Sequential([Standardize(), Dense(1)], n_features=30, dtype="float64")
        net.fit(rows, y, loss=SquaredError(), optimizer="lbfgs", epochs=3, validation_split=0.2, verbose=0)
        nets.append(net)
    np.testing.assert_allclose(nets[1].layers[0].mean, nets[0].layers[0].mean, rtol=1e-12)
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=1e-8, atol=1e-12)


def test_bad_sparse_rows_are_refused(data):
    X, y, _ = data
    large = X.copy()
    large[70, 4] = -1e39
    for call in (lambda rows: network("float32").fit(rows, y, verbose=0), network("float32").predict):
        with pytest.raises(ValueError, match=r"X must be finite as scaled float32; got -1e\+39 in row 70, column 4\."):
            call(scipy_sparse.csr_array(large))
    bad = X.copy()
    bad[70, 4] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite; got nan in row 70, column 4\."):
        network().fit(scipy_sparse.csc_array(bad), y, verbose=0)
    with pytest.raises(ValueError, match=r"X must be finite; got nan in row 70, column 4\."):
        network().predict(scipy_sparse.csr_array(bad))
    with pytest.raises(TypeError, match=r"X must hold real numbers; got dtype complex128\."):
        network().predict(scipy_sparse.csr_array(X * 1j))
    with pytest.raises(ValueError, match=r"X must have shape \(n_rows, n_features\) = \(\.\.\., 30\); got \(130, 29\)\."):
        network().predict(scipy_sparse.csr_array(X[:, 1:]))


def test_sparse_rows_are_taken_in_any_order(data):
    X, _, _ = data
    rows = SparseRows(scipy_sparse.csc_array(X))
    np.testing.assert_array_equal(rows[[7, 3, 7]], X[[7, 3, 7]])
    np.testing.assert_array_equal(rows.part(slice(5, 20))[:], X[5:20])
    assert np.array_equal(rows.min(axis=0), X.min(axis=0)) and np.array_equal(rows.max(axis=0), X.max(axis=0))
    assert repr(rows) == f"SparseRows of shape (130, 30), float64, {np.count_nonzero(X)} stored"
