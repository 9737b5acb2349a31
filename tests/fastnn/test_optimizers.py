import dataclasses

import numpy as np
import pytest

import kernels
from fastnn import (
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    ConjugateGradient,
    Dense,
    Lion,
    Momentum,
    Nesterov,
    RMSprop,
    Sequential,
)
from fastnn.optimizers import OPTIMIZERS, Optimizer, optimizer_for
from tests.fixtures import make_torch_clip
from tests.fixtures.make_torch_adam import BATCH, FILE, STEPS, WIDTHS, start, train

CASES = [
    (SGD(0.1, weight_decay=0.01), lambda optim, p: optim.SGD(p, lr=0.1, weight_decay=0.01)),
    (Momentum(0.05, 0.8, 0.3, weight_decay=0.01), lambda optim, p: optim.SGD(p, lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.01)),
    (Nesterov(0.05, 0.8, weight_decay=0.01), lambda optim, p: optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01)),
    (Adagrad(0.05, 0.1, 1e-6, weight_decay=0.01), lambda optim, p: optim.Adagrad(p, lr=0.05, lr_decay=0.1, eps=1e-6, weight_decay=0.01)),
    (RMSprop(0.005, 0.9, 1e-6, weight_decay=0.01), lambda optim, p: optim.RMSprop(p, lr=0.005, alpha=0.9, eps=1e-6, weight_decay=0.01)),
    (Adam(0.01, 0.8, 0.99, 1e-6, weight_decay=0.01), lambda optim, p: optim.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.01)),
    (AdamW(0.01, 0.8, 0.99, 1e-6, weight_decay=0.1), lambda optim, p: optim.AdamW(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)),
    (SGD(), lambda optim, p: optim.SGD(p)),
    (Adagrad(), lambda optim, p: optim.Adagrad(p)),
    (RMSprop(), lambda optim, p: optim.RMSprop(p)),
    (Adam(), lambda optim, p: optim.Adam(p)),
    (AdamW(), lambda optim, p: optim.AdamW(p)),
]


def trained(numbers, optimizer):
    """Return weights and losses of the same 20 steps here."""
    layers = [Dense(n, activation) for n, activation in zip(WIDTHS[1:], ("relu", "tanh", "softmax"))]
    net = Sequential(layers, n_features=WIDTHS[0], dtype="float64")
    net.set_weights([(numbers[f"W{i}"], numbers[f"b{i}"]) for i in range(3)])
    losses = []

    class Watch:
        def on_batch_end(self, step, loss):
            losses.append(loss)

    net.fit(numbers["X"], numbers["y"], optimizer=optimizer, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[Watch()])
    assert len(losses) == STEPS
    return net.weights, losses


def check(actual, expected):
    for ours, theirs in zip(actual[0], expected[0]):
        for A, B in zip(ours, theirs):
            assert np.abs(A - B).max() < 1e-10 * np.abs(B).max()
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-10)


def test_twenty_adam_steps_beside_stored_ones_of_torch():
    numbers = np.load(FILE)
    expected = [(numbers[f"trained_W{i}"], numbers[f"trained_b{i}"]) for i in range(3)]
    check(trained(numbers, Adam(0.01)), (expected, numbers["losses"]))


@pytest.mark.parametrize("ours, theirs", CASES, ids=[f"{type(one).__name__}{i}" for i, (one, _) in enumerate(CASES)])
def test_twenty_steps_beside_torch(ours, theirs):
    pytest.importorskip("torch")
    numbers = start()
    check(trained(numbers, ours), train(numbers, theirs))


NORM, VALUE = make_torch_clip.NORM, make_torch_clip.VALUE
CLIPPED = {
    "norm": Momentum(0.1, 0.8, weight_decay=0.01, clip_norm=NORM),
    "value": AdamW(0.01, weight_decay=0.1, clip_value=VALUE),
    "both": RMSprop(0.005, clip_norm=NORM / 2, clip_value=VALUE),
}


@pytest.mark.parametrize("name", CLIPPED)
def test_twenty_clipped_steps_beside_stored_ones_of_torch(name):
    stored, numbers, optimizer = np.load(make_torch_clip.FILE), np.load(FILE), CLIPPED[name]
    expected = [(stored[f"{name}_W{i}"], stored[f"{name}_b{i}"]) for i in range(3)]
    actual = trained(numbers, optimizer)
    check(actual, (expected, stored[f"{name}_losses"]))
    for less in ({"clip_norm": None}, {"clip_value": None}):  # each of them does something
        other = dataclasses.replace(optimizer, **less)
        assert other == optimizer or trained(numbers, other)[1][-1] != actual[1][-1]


@pytest.mark.parametrize("name", CLIPPED)
def test_twenty_clipped_steps_beside_torch(name):
    pytest.importorskip("torch")
    numbers = start()
    check(trained(numbers, CLIPPED[name]), train(numbers, *make_torch_clip.CASES[name]))


@pytest.mark.parametrize("ours, theirs", CASES[:7], ids=[type(one).__name__ for one, _ in CASES[:7]])
def test_twenty_steps_clipped_in_both_ways_beside_torch(ours, theirs):
    pytest.importorskip("torch")
    numbers = start()
    clipped = dataclasses.replace(ours, clip_norm=NORM / 2, clip_value=VALUE)
    check(trained(numbers, clipped), train(numbers, theirs, make_torch_clip.by_both))


def test_twenty_steps_beside_lion_in_torch():
    torch = pytest.importorskip("torch")

    class TorchLion(torch.optim.Optimizer):
        """After the pseudocode of arXiv 2302.06675."""

        def __init__(self, parameters):
            super().__init__(parameters, {})

        @torch.no_grad()
        def step(self):
            for p in self.param_groups[0]["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - 0.01 * 0.1).add_(torch.sign(0.8 * m + (1 - 0.8) * p.grad), alpha=-0.01)
                m.mul_(0.95).add_(p.grad, alpha=1 - 0.95)

    check(trained(start(), Lion(0.01, 0.8, 0.95, weight_decay=0.1)), train(start(), lambda optim, p: TorchLion(p)))


def test_optimizers_are_the_kernels():
    assert all(getattr(kernels, name.upper()) == optimizer.rule for name, optimizer in OPTIMIZERS.items() if isinstance(optimizer, Optimizer))


def test_optimizers_are_settings_without_state():
    for optimizer in OPTIMIZERS.values():
        with pytest.raises(dataclasses.FrozenInstanceError):
            optimizer.tolerance = optimizer.learning_rate = 1.0
    assert Adam(0.1) == Adam(learning_rate=0.1) != AdamW(0.1)
    assert optimizer_for(None) == optimizer_for("adam") == Adam()
    assert optimizer_for(SGD(3.0)) == SGD(3.0)


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_every_step_optimizer_clips(name):
    """Clipped close to 0, plain gradients hardly move the weights; the settings are part of what an optimizer is."""
    X, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    for make in (type(one) for one in OPTIMIZERS.values() if isinstance(one, Optimizer)):
        one, same, other = make(**{name: np.float32(1e-6)}), make(**{name: float(np.float32(1e-6))}), make()
        assert one == same != other and getattr(other, name) is None and type(getattr(one, name)) is float
        nets = [Sequential([Dense(5, "tanh"), Dense(3, "softmax")], n_features=4) for _ in range(2)]
        for net, optimizer in zip(nets, (one, other)):
            net.fit(X, y, optimizer=optimizer, batch_size=7, epochs=2, verbose=0)
        assert np.isfinite(nets[0].parameters).all()
        # a step size that goes by signs alone does not see a norm
        assert make.__name__ in ("Lion", "Rprop") or (nets[0].parameters != nets[1].parameters).any()
    net = Sequential([Dense(5, "tanh"), Dense(3, "softmax")], n_features=4)
    before = net.parameters.copy()
    net.fit(X, y, optimizer=SGD(1.0, **{name: 1e-6}), batch_size=10, verbose=0)
    assert 0 < np.abs(net.parameters - before).max() <= 3.1e-6
    for full_batch in (LBFGS, ConjugateGradient):
        with pytest.raises(TypeError):
            full_batch(**{name: 1.0})


def test_a_clip_is_for_batches_one_by_one_too():
    X, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    nets = [Sequential([Dense(5, "tanh"), Dense(3, "softmax")], n_features=4) for _ in range(3)]
    nets[0].fit(X, y, optimizer=Adam(clip_norm=0.05, clip_value=0.01), batch_size=10, shuffle=False, verbose=0)
    for k in range(3):
        rows = slice(10 * k, 10 * (k + 1))
        nets[1].train_on_batch(X[rows], y[rows], Adam(0.001, clip_norm=0.05, clip_value=0.01))
        nets[2].train_on_batch(X[rows], y[rows], Adam(0.001, clip_norm=0.05 if k < 2 else None, clip_value=0.01))
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert (nets[1].parameters != nets[2].parameters).any()


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_a_clip_is_above_zero_in_the_dtype_of_the_network(name):
    for wrong, error, got in (
        (0, ValueError, "above 0; got 0"),
        (-1, ValueError, "a finite number of at least 0; got -1"),
        (np.inf, ValueError, "a finite number of at least 0; got inf"),
        ("1", TypeError, "a finite number of at least 0; got '1'"),
        (True, TypeError, "a finite number of at least 0; got True"),
    ):
        with pytest.raises(error, match=f"^{name} must be {got}"):
            Adam(**{name: wrong})
    X, y = np.eye(3), np.arange(3.0)
    net = Sequential([Dense(1)], n_features=3)
    before = net.parameters.copy()
    for call in (net.fit, net.train_on_batch):
        with pytest.raises(ValueError, match=f"^{name} must be at least 1.18e-38 and finite in float32; got 1e-50.$"):
            call(X, y, optimizer=SGD(**{name: 1e-50}))
    np.testing.assert_array_equal(net.parameters, before)
    Sequential([Dense(1)], n_features=3, dtype="float64").fit(X, y, optimizer=SGD(**{name: 1e-50}), verbose=0)


def test_one_optimizer_serves_several_networks():
    shared, numbers = Adam(0.01), start()
    first, second = trained(numbers, shared), trained(numbers, shared)
    assert first[1] == second[1]


@pytest.mark.parametrize("make", [Adam, AdamW, RMSprop, Adagrad])
def test_eps_is_above_zero_in_the_dtype_of_the_network(make):
    """Where nothing is added, a gradient that was always 0, as that of the padding, gives 0 / 0."""
    with pytest.raises(ValueError, match="^eps must be above 0; got 0.$"):
        make(eps=0)
    X, y = np.eye(3), np.arange(3.0)
    for dtype, least, too_small in (("float32", 1.2e-38, 1e-40), ("float64", 1e-300, None)):
        net = Sequential([Dense(2, "relu"), Dense(1)], n_features=3, dtype=dtype)
        net.fit(X, y, optimizer=make(eps=least), verbose=0)
        assert np.isfinite(net.parameters).all()
        if too_small:
            before = net.parameters.copy()
            for call in (net.fit, net.train_on_batch):
                with pytest.raises(ValueError, match="^eps must be at least 1.18e-38 and finite in float32; got 1e-40.$"):
                    call(X, y, optimizer=make(eps=too_small))
            np.testing.assert_array_equal(net.parameters, before)
