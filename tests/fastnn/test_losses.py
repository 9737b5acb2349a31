import numpy as np
import pytest

import kernels
from fastnn import Dense, Sequential
from fastnn.losses import LOSSES, AbsoluteError, BinaryCrossEntropy, CrossEntropy, Huber, LogCosh, SquaredError, loss_for

rng = np.random.default_rng(1)
X = rng.normal(size=(6, 3))
LABELS = np.array([0, 1, 1, 0, 1, 0])
VALUES = rng.normal(size=(6, 2))


def log_softmax(Z):
    return Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))


def terms(loss, Z, y):
    """Return the loss of every row and output, (n_rows, n_outputs), from the textbook."""
    if isinstance(loss, CrossEntropy):
        return -np.eye(2)[y] * log_softmax(Z)
    if isinstance(loss, BinaryCrossEntropy):
        p = 1 / (1 + np.exp(-Z))
        return -y * np.log(p) - (1 - y) * np.log(1 - p)
    error = np.abs(Z - y)
    if isinstance(loss, Huber):
        return np.where(error < loss.delta, error**2 / 2, loss.delta * (error - loss.delta / 2))
    if isinstance(loss, LogCosh):
        return np.log(np.cosh(error))
    return error**2 if isinstance(loss, SquaredError) else error


def case(loss):
    """Return a network that ends as the loss wants, and targets."""
    if isinstance(loss, CrossEntropy):
        return Sequential([Dense(2, "softmax")], 3, dtype="float64"), LABELS
    if isinstance(loss, BinaryCrossEntropy):
        return Sequential([Dense(2, "sigmoid")], 3, dtype="float64"), (VALUES > 0).astype(float)
    return Sequential([Dense(2)], 3, dtype="float64"), VALUES


@pytest.mark.parametrize("kind", [CrossEntropy, BinaryCrossEntropy, SquaredError, AbsoluteError, Huber, LogCosh])
@pytest.mark.parametrize("rows", ["mean", "sum"])
@pytest.mark.parametrize("outputs", ["mean", "sum"])
def test_reductions_are_chosen_independently(kind, rows, outputs):
    loss = kind(reduction=rows, outputs_reduction=outputs)
    net, y = case(loss)
    table = terms(loss, net.predict(X, logits=True), y)
    expected = getattr(np, rows)(getattr(np, outputs)(table, axis=1))
    assert net.evaluate(X, y, loss=loss)["loss"] == pytest.approx(expected, rel=1e-12)
    assert net.loss_and_gradient(X, y, loss=loss)[0] == pytest.approx(expected, rel=1e-12)
    assert net.train_on_batch(X, y, "sgd", loss=loss) == pytest.approx(expected, rel=1e-12)


def test_defaults_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for name, theirs in {
        "cross_entropy": torch.nn.CrossEntropyLoss(),
        "binary_cross_entropy": torch.nn.BCEWithLogitsLoss(),
        "squared_error": torch.nn.MSELoss(),
        "absolute_error": torch.nn.L1Loss(),
        "huber": torch.nn.HuberLoss(),
    }.items():
        net, y = case(LOSSES[name])
        expected = theirs(torch.tensor(net.predict(X, logits=True)), torch.tensor(y))
        assert net.evaluate(X, y, loss=name)["loss"] == pytest.approx(float(expected), rel=1e-12)


def test_one_hot_targets_are_labels():
    net, _ = case(CrossEntropy())
    one_hot = np.eye(2)[LABELS]
    loss, gradient = net.loss_and_gradient(X, LABELS)
    for targets in (one_hot, one_hot.astype(int), one_hot.astype(bool), LABELS[:, None], LABELS.astype(bool), LABELS.astype(np.uint8).tolist()):
        actual, same = net.loss_and_gradient(X, targets)
        assert actual == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(same, gradient, rtol=1e-12, atol=1e-15)
        assert net.evaluate(X, targets)["accuracy"] == net.evaluate(X, LABELS)["accuracy"]


def test_huber_has_its_threshold():
    net, y = case(Huber())
    small, large = (net.evaluate(X, 10 * y, loss=Huber(delta))["loss"] for delta in (0.1, 100.0))
    assert large == pytest.approx(net.evaluate(X, 10 * y, loss="squared_error")["loss"] / 2, rel=1e-12)
    assert small < net.evaluate(X, 10 * y, loss="absolute_error")["loss"] * 0.1


@pytest.mark.parametrize(
    "activation, expected", [("softmax", "cross_entropy"), ("log_softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("relu", "squared_error")]
)
def test_a_loss_left_out_follows_the_last_activation(activation, expected):
    assert loss_for(None, activation).name == expected
    assert Sequential([Dense(2, activation)], n_features=1).loss.name == expected


def test_sigmoid_may_end_a_regression():
    assert loss_for("squared_error", "sigmoid") == SquaredError()


def test_losses_are_the_kernels():
    assert all(getattr(kernels, name.upper()) == loss.code and loss.name == name for name, loss in LOSSES.items())
