"""The functions of a network, chained by hand: linear, ReLU, sigmoid, tanh and softmax.

A network is nothing but these functions, one inside the other. Some tutorials write the data as rows, `x @ W + b` with
W of shape (n_in, n_out), as this library does; others write column vectors, `W @ x + b` with W of shape (n_out, n_in).
The one is the transpose of the other: (x @ W).T = W.T @ x.T. Each chain is compared with the same formulas in NumPy.
"""

import numpy as np

from fastnn.functional import linear, relu, sigmoid, softmax, tanh


def as_rows(X, parameters):
    """Return the class probabilities of every row of X."""
    (W1, b1), (W2, b2), (W3, b3), (W4, b4) = parameters
    A1 = relu(linear(X, W1, b1))
    A2 = tanh(linear(A1, W2, b2))
    A3 = sigmoid(linear(A2, W3, b3))
    return softmax(linear(A3, W4, b4))


def column_linear(W, X, b):
    """Return W @ X + b: `linear` of the transposes, transposed."""
    return linear(X.T, W.T, b.ravel()).T


def as_columns(X, parameters):
    """Return the class probabilities of every column of X, with weights (n_out, n_in) and biases (n_out, 1)."""
    (W1, b1), (W2, b2), (W3, b3), (W4, b4) = parameters
    A1 = relu(column_linear(W1, X, b1))
    A2 = tanh(column_linear(W2, A1, b2))
    A3 = sigmoid(column_linear(W3, A2, b3))
    return softmax(column_linear(W4, A3, b4).T).T


def numpy_rows(X, parameters):
    """Return what `as_rows` does, in NumPy."""
    (W1, b1), (W2, b2), (W3, b3), (W4, b4) = parameters
    A1 = np.maximum(X @ W1 + b1, 0)
    A2 = np.tanh(A1 @ W2 + b2)
    A3 = 1 / (1 + np.exp(-(A2 @ W3 + b3)))
    E = np.exp(A3 @ W4 + b4)
    return E / E.sum(axis=1, keepdims=True)


def numpy_columns(X, parameters):
    """Return what `as_columns` does, in NumPy."""
    (W1, b1), (W2, b2), (W3, b3), (W4, b4) = parameters
    A1 = np.maximum(W1 @ X + b1, 0)
    A2 = np.tanh(W2 @ A1 + b2)
    A3 = 1 / (1 + np.exp(-(W3 @ A2 + b3)))
    E = np.exp(W4 @ A3 + b4)
    return E / E.sum(axis=0)


def random_network(widths=(4, 8, 6, 5, 3), n_rows=10, seed=0):
    """Return rows and the (W, b) of every layer."""
    rng = np.random.default_rng(seed)
    parameters = [(rng.normal(size=(n_in, n_out)), rng.normal(size=n_out)) for n_in, n_out in zip(widths, widths[1:])]
    return rng.normal(size=(n_rows, widths[0])), parameters


def main():
    """Print the probabilities of one row and one column beside NumPy's."""
    X, parameters = random_network()
    column_parameters = [(W.T, b[:, None]) for W, b in parameters]
    rows, expected_rows = as_rows(X, parameters), numpy_rows(X, parameters)
    columns, expected_columns = as_columns(X.T, column_parameters), numpy_columns(X.T, column_parameters)
    print("         as a row           as a column        NumPy")
    for label in range(3):
        print(f"class {label}  {rows[0, label]:.15f}  {columns[label, 0]:.15f}  {expected_rows[0, label]:.15f}")
    print(f"largest difference from NumPy: rows {np.abs(rows - expected_rows).max():.0e}, columns {np.abs(columns - expected_columns).max():.0e}")


if __name__ == "__main__":
    main()
