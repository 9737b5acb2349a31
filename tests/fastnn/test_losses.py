import dataclasses

import numpy as np
import pytest

import kernels
from fastnn import Dense, Sequential
from fastnn.losses import (
    LOSSES,
    BinaryCrossEntropy,
    BinaryFocal,
    ClassLoss,
    CrossEntropy,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    LabelLoss,
    LogCosh,
    Poisson,
    Quantile,
    SquaredError,
    SquaredHinge,
    loss_for,
)

rng = np.random.default_rng(1)
X = rng.normal(size=(6, 3))
LABELS = np.array([0, 1, 1, 0, 1, 0])
VALUES = rng.normal(size=(6, 2))


def log_softmax(Z):
    return Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))


def terms(loss, Z, y):
    """Return the loss of every row and output, (n_rows, n_outputs), from the textbook."""
    if isinstance(loss, CrossEntropy):
        return -((1 - loss.label_smoothing) * np.eye(2)[y] + loss.label_smoothing / 2) * log_softmax(Z)
    if isinstance(loss, Focal):
        return -np.eye(2)[y] * log_softmax(Z) * (1 - np.exp(log_softmax(Z))) ** loss.gamma
    if isinstance(loss, BinaryFocal):
        return (np.logaddexp(0, Z) - y * Z) * np.abs(y - 1 / (1 + np.exp(-Z))) ** loss.gamma
    if isinstance(loss, BinaryCrossEntropy):
        p = 1 / (1 + np.exp(-Z))
        return -y * np.log(p) - (1 - y) * np.log(1 - p)
    if isinstance(loss, GaussianNLL):
        return (Z[:, 2:] + (Z[:, :2] - y) ** 2 / np.exp(Z[:, 2:])) / 2
    error = np.abs(Z - y)
    if isinstance(loss, Huber):
        return np.where(error < loss.delta, error**2 / 2, loss.delta * (error - loss.delta / 2))
    if isinstance(loss, LogCosh):
        return np.log(np.cosh(error))
    if isinstance(loss, Poisson):
        return np.exp(Z) - y * Z + loss.deviance * (y * np.log(y) - y)
    if isinstance(loss, Quantile):
        return np.maximum(loss.quantile * (y - Z), (loss.quantile - 1) * (y - Z))
    if isinstance(loss, Hinge):
        return np.maximum(1 - (2 * y - 1) * Z, 0) ** (2 if isinstance(loss, SquaredHinge) else 1)
    return error**2 if isinstance(loss, SquaredError) else error


def case(loss):
    """Return a network that ends as the loss wants, and targets."""
    if isinstance(loss, ClassLoss):
        return Sequential([Dense(2, "softmax")], 3, dtype="float64"), LABELS
    if isinstance(loss, LabelLoss):
        return Sequential([Dense(2, loss.needs[0])], 3, dtype="float64"), (VALUES > 0).astype(float)
    if isinstance(loss, Poisson):
        return Sequential([Dense(2, "exponential")], 3, dtype="float64"), np.abs(VALUES)
    if isinstance(loss, GaussianNLL):
        return Sequential([Dense(4)], 3, dtype="float64"), VALUES
    return Sequential([Dense(2)], 3, dtype="float64"), VALUES


SETTINGS = {"label_smoothing": 0.1, "gamma": 1.5, "delta": 0.8, "deviance": True, "quantile": 0.3}
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 3.0, 1.5])


@pytest.mark.parametrize("kind", [type(one) for one in LOSSES.values()])
@pytest.mark.parametrize("rows", ["mean", "sum"])
@pytest.mark.parametrize("outputs", ["mean", "sum"])
def test_reductions_are_chosen_independently(kind, rows, outputs):
    own = {name: value for name, value in SETTINGS.items() if name in kind.__dataclass_fields__}
    loss = kind(**own, reduction=rows, outputs_reduction=outputs)
    net, y = case(loss)
    table = terms(loss, net.predict(X, logits=True), y)
    of_rows = getattr(np, outputs)(table, axis=1)
    expected = getattr(np, rows)(of_rows)
    weighted = net.evaluate(X, y, loss=loss, sample_weight=WEIGHTS)
    assert weighted["loss"] == pytest.approx(getattr(np, rows)(WEIGHTS * of_rows), rel=1e-12)
    weighted = net.evaluate(X, y, loss=dataclasses.replace(loss, reduction="weighted_mean"), sample_weight=WEIGHTS)
    assert weighted["loss"] == pytest.approx(np.average(of_rows, weights=WEIGHTS), rel=1e-12)
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
        "poisson": torch.nn.PoissonNLLLoss(),
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
    "activation, expected",
    [
        ("softmax", "cross_entropy"),
        ("log_softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("exponential", "poisson"),
        ("relu", "squared_error"),
    ],
)
def test_a_loss_left_out_follows_the_last_activation(activation, expected):
    assert loss_for(None, activation).name == expected
    assert Sequential([Dense(2, activation)], n_features=1).loss.name == expected


def test_sigmoid_may_end_a_regression():
    assert loss_for("squared_error", "sigmoid") == SquaredError()


def test_losses_are_the_kernels():
    assert all(getattr(kernels, name.upper()) == loss.code and loss.name == name for name, loss in LOSSES.items())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_finite_where_a_class_is_certain(gamma):
    Z, labels = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]]), np.array([0, 0])
    net = Sequential([Dense(3, "softmax", np.eye(3))], 3, dtype="float64")
    value, gradient = net.loss_and_gradient(Z, labels, Focal(gamma))
    assert value == pytest.approx(1e4, rel=1e-12) and np.isfinite(gradient).all()
    binary = Sequential([Dense(1, "sigmoid", np.ones((1, 1)))], 1, dtype="float64")
    value, gradient = binary.loss_and_gradient([[1e4], [-1e4]], [1.0, 1.0], BinaryFocal(gamma))
    assert value == pytest.approx(5e3, rel=1e-12) and np.isfinite(gradient).all()


def test_focal_loss_without_gamma_is_cross_entropy():
    net, _ = case(CrossEntropy())
    for targets in (LABELS, np.random.default_rng(0).dirichlet(np.ones(2), 6)):
        one, other = (net.loss_and_gradient(X, targets, loss) for loss in (Focal(0.0), CrossEntropy()))
        assert one[0] == pytest.approx(other[0], rel=1e-13)
        np.testing.assert_allclose(one[1], other[1], rtol=1e-12, atol=1e-15)
    net, y = case(BinaryCrossEntropy())
    assert net.evaluate(X, y, BinaryFocal(0.0))["loss"] == pytest.approx(net.evaluate(X, y)["loss"], rel=1e-13)


def test_metrics_judge_what_a_loss_predicts():
    """The sign of an output under hinge, the means under a Gaussian likelihood, the counts of Poisson."""
    net = Sequential([Dense(1, "identity", [[1.0]])], 1)
    assert net.evaluate([[0.2], [-0.2], [0.2]], [1, 0, 0], "hinge")["accuracy"] == pytest.approx(2 / 3)
    net = Sequential([Dense(2, "identity", ([[1.0, 9.0]], [0.0, 9.0]))], 1)
    assert net.evaluate([[1.0], [2.0]], [1.0, 4.0], "gaussian_nll")["mean_squared_error"] == 2
    net = Sequential([Dense(1, "exponential", [[np.log(2)]])], 1, dtype="float64")
    assert net.evaluate([[1.0], [2.0]], [2.0, 6.0])["mean_absolute_error"] == pytest.approx(1.0)


def test_a_small_variance_finds_back():
    """Below its least variance the loss is that of the least one, and its gradient leads to larger ones."""
    net = Sequential([Dense(2, "identity", (np.zeros((1, 2)), [0.0, -50.0]))], 1, dtype="float64")
    loss = GaussianNLL(eps=1e-4)
    assert net.evaluate([[1.0]], [1.0], loss)["loss"] == pytest.approx((np.log(1e-4) + 1e4) / 2)
    net.train_on_batch([[1.0]], [1.0], "sgd", loss)
    assert net.weights[0][1][1] > -50


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(1.0), "label_smoothing must be a finite number of at least 0 and below 1; got 1."),
        (lambda: CrossEntropy(-0.1), "label_smoothing must be a finite number of at least 0 and below 1; got -0.1."),
        (lambda: Quantile(0.0), "quantile must be above 0; got 0."),
        (lambda: Quantile(1.0), "quantile must be a finite number of at least 0 and below 1; got 1."),
        (lambda: Focal(-1.0), "gamma must be a finite number of at least 0; got -1."),
        (lambda: BinaryFocal(-1.0), "gamma must be a finite number of at least 0; got -1."),
        (lambda: GaussianNLL(0.0), "eps must be above 0; got 0."),
        (lambda: Poisson(1), "deviance must be True or False; got 1."),
        (lambda: Sequential([Dense(1, "exponential")], 3).fit(X, -np.ones(6)), "y must be at least 0 for this loss; got -1.0 in row 0, column 0."),
        (lambda: Sequential([Dense(3)], 3).fit(X, VALUES, "gaussian_nll"), "layers must end with a mean and a variance .*; got 3 outputs."),
        (lambda: Sequential([Dense(2)], 3).fit(X, VALUES, "gaussian_nll"), r"y must have shape \(n_rows, n_outputs\) = \(6, 1\); got \(6, 2\)."),
        (lambda: Sequential([Dense(2)], 3).fit(X, VALUES, "hinge"), "y must lie from 0 to 1 for this loss"),
        (lambda: Sequential([Dense(2)], 3).fit(X, VALUES, "poisson"), "loss must fit the last activation, 'identity'; got 'poisson'."),
    ],
)
def test_refused_settings(make, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        make()
