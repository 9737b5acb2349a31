"""Learning rates of layers, weight decay by schedule and without biases, largest norms: beside the formulas, array by array."""

import numpy as np
import pytest

import kernels
from fastnn import SGD, Adam, AdamW, CustomOptimizer, Dense, LayerNorm, Linear, Momentum, Sequential
from tests import reference

rng = np.random.default_rng(3)
X, Y = rng.normal(size=(20, 5)), rng.normal(size=(20, 2))
STEPS = 6


def network(**settings):
    layers = [Dense(20, "tanh", **settings), LayerNorm(), Dense(18, "silu", learning_rate_factor=0.5, bias_learning_rate_factor=2.0), Dense(2)]
    return Sequential(layers, 5, dtype="float64")


def by_formula(net, optimizer, rule, buffers, max_norm=None):
    """Train by the reference, array by array, with the gradients of the network."""
    names = {"weight_decay": optimizer.weight_decay, "learning_rate": optimizer.learning_rate}
    others = {name: value for name, value in optimizer.hyper().items() if name not in names}
    others |= {"step": 0} if rule is reference.adamw else {}
    state = [[[np.zeros_like(A) for _ in range(buffers)] for A in pair] for pair in net.weights]
    losses = []
    for step in range(STEPS):
        loss, flat = net.loss_and_gradient(X, Y)
        losses.append(loss)
        twin = Sequential(net.layers, 5, dtype="float64")
        twin.parameters = flat
        pairs = [list(pair) for pair in net.weights]
        for i, (pair, slopes, layer) in enumerate(zip(pairs, twin.weights, net.layers)):
            for j, (A, g) in enumerate(zip(pair, slopes)):
                factor = getattr(layer, ("learning_rate_factor", "bias_learning_rate_factor")[j], 1.0)
                decay = optimizer.weight_decay(step) if callable(optimizer.weight_decay) else optimizer.weight_decay
                decay = decay if optimizer.decay_bias or A.ndim == 2 else 0.0
                if rule is reference.adamw:
                    others["step"] = step + 1
                pair[j], *state[i][j] = rule(A, g, *state[i][j], learning_rate=optimizer.learning_rate * factor, weight_decay=decay, **others)
        if max_norm:
            W = pairs[0][0]
            norms = np.sqrt((W**2).sum(axis=0))
            pairs[0][0] = W * np.where(norms > max_norm, max_norm / norms, 1.0)
            assert (norms > max_norm).any() and (norms < max_norm).any()
        net.set_weights(pairs)
    return losses


CASES = {
    "factors": (SGD(0.05), reference.sgd, 0, {}),
    "no decay of biases": (AdamW(0.02, weight_decay=0.3, decay_bias=False), reference.adamw, 2, {"bias_learning_rate_factor": 0.0}),
    "decay by schedule": (SGD(0.05, weight_decay=Linear(1.0, n_steps=4)), reference.sgd, 0, {}),
    "all": (AdamW(0.02, weight_decay=Linear(0.5, n_steps=9), decay_bias=False), reference.adamw, 2, {"max_norm": 0.65, "learning_rate_factor": 3.0}),
}


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_beside_the_formulas(name, n_threads):
    optimizer, rule, buffers, settings = CASES[name]
    net, twin = network(**settings), network(**settings)
    settings = {"optimizer": optimizer, "batch_size": None, "epochs": STEPS, "verbose": 0, "n_threads": min(n_threads, kernels.max_threads())}
    losses = net.fit(X, Y, **settings)["loss"]
    np.testing.assert_allclose(losses, by_formula(twin, optimizer, rule, buffers, settings.get("max_norm") or net.layers[0].max_norm), rtol=1e-11)
    for ours, theirs in zip(net.weights, twin.weights):
        for A, B in zip(ours, theirs):
            np.testing.assert_allclose(A, B, rtol=1e-10, atol=1e-13)


def test_what_is_not_asked_for_changes_no_bit():
    nets = [Sequential([Dense(20, "tanh", learning_rate_factor=factor), Dense(2)], 5) for factor in (1.0, 1.0 + 1e-16)]
    for net in nets:
        net.fit(X, Y, optimizer=Adam(0.01, weight_decay=0.1), epochs=3, batch_size=7, verbose=0)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    frozen = Sequential([Dense(20, "tanh", learning_rate_factor=0.0), Dense(2)], 5)
    before = frozen.weights[0][0]
    frozen.fit(X, Y, optimizer=SGD(0.1), batch_size=7, verbose=0)
    np.testing.assert_array_equal(frozen.weights[0][0], before)


def test_single_steps_know_them_too():
    one, other = network(max_norm=0.65), network(max_norm=0.65)
    optimizer = Momentum(0.05, weight_decay=Linear(1.0, n_steps=4), decay_bias=False)
    one.fit(X, Y, optimizer=optimizer, batch_size=None, epochs=3, verbose=0)
    for _ in range(3):
        other.train_on_batch(X, Y, optimizer)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    other.train_on_batch(X, Y, Momentum(0.05, weight_decay=Linear(1.0, n_steps=4)))
    assert other._stepper.step == 1  # other settings start anew


def test_a_rule_of_ones_own():
    def heavy_ball(w, g, velocity, learning_rate, step, memory):
        velocity = memory * velocity + g
        return w - learning_rate * velocity, velocity

    own = CustomOptimizer(heavy_ball, ["velocity"], {"memory": 0.8}, learning_rate=0.05, clip_norm=1.0)
    one, other = network(), network()
    losses = [
        net.fit(X, Y, optimizer=optimizer, epochs=3, batch_size=8, verbose=0)["loss"]
        for net, optimizer in ((one, own), (other, Momentum(0.05, 0.8, clip_norm=1.0)))
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    assert one.memory(32, own) == other.memory(32, "momentum")
    one.train_on_batch(X, Y, own)
    assert repr(own) == "CustomOptimizer(heavy_ball, learning_rate=0.05, memory=0.8)"
    for make, message in (
        (lambda: CustomOptimizer(heavy_ball), "f must take 4 arguments, w, g, learning_rate, step"),
        (lambda: CustomOptimizer(heavy_ball, ["velocity"], {"memory": 0.8}, weight_decay=0.1), "weight_decay must be part of f"),
        (lambda: CustomOptimizer(heavy_ball, ["velocity"], {"memory": np.inf}), r"numbers\['memory'\] must be a finite number"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(2, learning_rate_factor=-1), "learning_rate_factor must be a finite number of at least 0; got -1."),
        (lambda: Dense(2, max_norm=0), "max_norm must be above 0; got 0."),
        (lambda: SGD(weight_decay=-1), "weight_decay must be a finite number of at least 0; got -1."),
        (lambda: network().fit(X, Y, optimizer=SGD(weight_decay=lambda step: -1.0), verbose=0), "weight_decay must be a finite number of at least 0"),
    ],
)
def test_refused_settings(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
