"""The functions chained by hand equal NumPy's."""

import numpy as np
import pytest

from examples import functions


@pytest.mark.parametrize("seed", range(5))
def test_rows_equal_numpy(seed):
    X, parameters = functions.random_network(seed=seed)
    np.testing.assert_allclose(functions.as_rows(X, parameters), functions.numpy_rows(X, parameters), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_columns_equal_numpy(seed):
    X, parameters = functions.random_network(seed=seed)
    columns = [(W.T, b[:, None]) for W, b in parameters]
    actual = functions.as_columns(X.T, columns)
    np.testing.assert_allclose(actual, functions.numpy_columns(X.T, columns), rtol=0, atol=1e-12)
    np.testing.assert_allclose(actual, functions.as_rows(X, parameters).T, rtol=0, atol=1e-15)
