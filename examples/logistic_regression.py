"""Logistic regression: one sigmoid unit, the simplest network, found by gradient descent and by L-BFGS.

Two exam scores, and whether the student was admitted; the scores are made here, so that the classes overlap, as they
must for the best coefficients to be finite. The loss is convex: every method that gets to the bottom finds the same
coefficients, and scikit-learn's LogisticRegression without penalty is the reference. Gradient descent takes thousands
of steps on the way, L-BFGS, which also learns the curvature, a dozen. Needs scikit-learn and SciPy.
"""

import numpy as np

from fastnn import LBFGS, SGD, Dense, Sequential


def exam_scores(n_students=200, seed=0):
    """Return two standardized scores of each student, and who was admitted."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(65, 15, size=(n_students, 2))
    admitted = rng.random(n_students) < 1 / (1 + np.exp(-0.15 * (scores.sum(axis=1) - 125)))
    return standardized(scores), admitted.astype(int)


def standardized(X):
    """Return columns of mean 0 and deviation 1."""
    return (X - X.mean(axis=0)) / X.std(axis=0)


def fit(X, y, optimizer, epochs):
    """Return the coefficients and the bias of a sigmoid unit, and how many steps were taken."""
    net = Sequential([Dense(1, "sigmoid")], n_features=X.shape[1], dtype="float64")
    net.set_weights([(np.zeros((X.shape[1], 1)), [0.0])])
    history = net.fit(X, y, optimizer=optimizer, epochs=epochs, batch_size=None, verbose=0)
    ((W, b),) = net.weights
    return np.append(W, b), len(history.epochs)


def gradient_descent(X, y):
    """Return coefficients and steps of full-batch gradient descent."""
    return fit(X, y, SGD(learning_rate=2.0), epochs=5_000)


def lbfgs(X, y):
    """Return coefficients and steps of L-BFGS."""
    return fit(X, y, LBFGS(tolerance=1e-10), epochs=100)


def scikit_learn(X, y):
    """Return the coefficients and the bias of the reference."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(X, y)  # C is one over the penalty
    return np.append(model.coef_, model.intercept_)


def main():
    """Print the coefficients side by side."""
    X, y = exam_scores()
    (descended, n_descent), (minimized, n_lbfgs), expected = gradient_descent(X, y), lbfgs(X, y), scikit_learn(X, y)
    print(f"{'':14}{'gradient descent':>18}{'L-BFGS':>18}{'scikit-learn':>18}")
    for name, *numbers in zip(("first exam", "second exam", "bias"), descended, minimized, expected):
        print(f"{name:14}" + "".join(f"{number:18.10f}" for number in numbers))
    print(f"{'steps':14}{n_descent:18,}{n_lbfgs:18,}")


if __name__ == "__main__":
    main()
