"""Each activation, loss, optimizer and schedule for 10 steps beside PyTorch's, stored and live; and their gradients by central differences."""

import numpy as np
import pytest

from fastnn import (
    SGD,
    Activation,
    Adadelta,
    Adam,
    AdamW,
    BinaryCrossEntropy,
    BinaryFocal,
    Cosine,
    CosineRestarts,
    CosLog4,
    CrossEntropy,
    Dense,
    FlatCosine,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    LogCosh,
    Nadam,
    Poisson,
    Polynomial,
    Quantile,
    RAdam,
    RMSprop,
    Sequential,
    SquaredError,
    SquaredHinge,
    Warmup,
)
from fastnn.losses import AbsoluteError
from tests.fixtures.make_torch_tables import ACTIVATIONS, FILE, LOSSES, NAMES, ROWS, STEPS, WIDTHS, start, targets, train

WEIGHTED = {"reduction": "weighted_mean"}
OF_NAME = {
    "cross_entropy": CrossEntropy(**WEIGHTED),
    "smoothed": CrossEntropy(0.1, **WEIGHTED),
    "focal": Focal(1.5, **WEIGHTED),
    "binary_cross_entropy": BinaryCrossEntropy(**WEIGHTED),
    "binary_focal": BinaryFocal(1.5, **WEIGHTED),
    "squared_error": SquaredError(**WEIGHTED),
    "absolute_error": AbsoluteError(**WEIGHTED),
    "huber": Huber(0.7, **WEIGHTED),
    "log_cosh": LogCosh(**WEIGHTED),
    "poisson": Poisson(**WEIGHTED),
    "poisson_deviance": Poisson(deviance=True, **WEIGHTED),
    "quantile": Quantile(0.3, **WEIGHTED),
    "hinge": Hinge(**WEIGHTED),
    "squared_hinge": SquaredHinge(**WEIGHTED),
    "gaussian_nll": GaussianNLL(**WEIGHTED),
    "amsgrad": Adam(0.05, 0.8, 0.9, amsgrad=True, weight_decay=0.01),
    "amsgradw": AdamW(0.05, 0.8, 0.9, amsgrad=True, weight_decay=0.1),
    "nadam": Nadam(0.02, weight_decay=0.01),
    "radam": RAdam(0.02, weight_decay=0.01),
    "adadelta": Adadelta(0.5, weight_decay=0.01),
    "rmsprop_momentum": RMSprop(0.01, 0.9, momentum=0.8, weight_decay=0.01),
    "rmsprop_centered": RMSprop(0.01, 0.9, 1e-4, momentum=0.5, centered=True),
    "polynomial": SGD(Polynomial(0.2, power=1.5)),
    "cosine_restarts": SGD(CosineRestarts(0.2, 2, 2, end=0.01)),
    "flat_cosine": SGD(FlatCosine(0.2)),
    "coslog4": SGD(CosLog4(0.2)),
    "warmup": SGD(Warmup(Cosine(0.2), 4)),
}
NUMBERS = start()


def network(name, activation=None):
    """Return the network of a case with the start weights, and the loss."""
    loss = OF_NAME[name if name in LOSSES else "squared_error"]
    last = loss.needs[0] if loss.needs else "identity"
    pairs = [(NUMBERS[f"W{i}"], NUMBERS[f"b{i}"]) for i in range(2)]
    hidden = activation or (name if name in ACTIVATIONS else "tanh")
    return Sequential([Dense(WIDTHS[1], hidden, pairs[0]), Dense(WIDTHS[2], last, pairs[1])], WIDTHS[0], dtype="float64"), loss


def trained(name):
    net, loss = network(name)
    optimizer = SGD(0.2) if name in (*ACTIVATIONS, *LOSSES) else OF_NAME[name]
    losses, y = [], targets(name if name in LOSSES else "squared_error", NUMBERS)

    class Watch:
        def on_batch_end(self, step, loss):
            losses.append(loss)

    settings = {"sample_weight": NUMBERS["weights"], "batch_size": ROWS, "shuffle": False, "verbose": 0, "callbacks": [Watch()]}
    net.fit(NUMBERS["X"], y, loss, optimizer, **settings)
    assert len(losses) == STEPS
    return np.concatenate([A.ravel() for pair in net.weights for A in pair]), np.array(losses)


def check(actual, expected):
    for ours, theirs in zip(actual, expected):
        assert np.abs(ours - theirs).max() < 1e-10 * np.abs(theirs).max()


@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_beside_stored_ones_of_torch(name):
    stored = np.load(FILE)
    check(trained(name), (stored[f"{name}_weights"], stored[f"{name}_losses"]))


@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_beside_torch(name):
    pytest.importorskip("torch")
    check(trained(name), train(name, NUMBERS))


def gradients(name, activation=None):
    """Return the gradient of a network and its central differences."""
    net, loss = network(name, activation)
    X, y = NUMBERS["X"][:12], targets(name if name in LOSSES else "squared_error", NUMBERS)[:12]
    gradient, start, slopes = net.loss_and_gradient(X, y, loss)[1].copy(), net.parameters.copy(), []
    places = np.flatnonzero(net.plan.mask())
    for at in places:
        values = []
        for step in (1e-6, -1e-6):
            net.parameters[:] = start
            net.parameters[at] += step
            values.append(net.loss_and_gradient(X, y, loss, n_threads=1)[0])
        slopes.append((values[0] - values[1]) / 2e-6)
    return gradient[places], np.array(slopes)


def agree(gradient, slopes):
    """The measure of torch.autograd.gradcheck."""
    return bool(np.all(np.abs(gradient - slopes) <= 1e-7 + 1e-6 * np.abs(slopes)))


@pytest.mark.parametrize("name", [*ACTIVATIONS, *LOSSES])
def test_gradcheck(name):
    gradient, slopes = gradients(name)
    assert agree(gradient, slopes)
    assert not agree(gradient * (1 + 1e-5), slopes)


def test_a_derivative_off_by_a_hundred_thousandth_is_seen():
    right, wrong = (Activation(lambda z: z**3, lambda z, f=f: f * z**2, name="cube") for f in (3.0, 3.0 * (1 + 1e-5)))
    assert agree(*gradients("squared_error", right)) and not agree(*gradients("squared_error", wrong))
