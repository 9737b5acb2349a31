"""Backpropagation against central differences, for every layer, activation and loss."""

import functools

import numpy as np
import pytest

from examples import gradient_check
from fastnn import Dense, Dropout, Scale
from fastnn.layers import ACTIVATIONS
from fastnn.losses import LOSSES

NAMES = [f"{loss.__name__}-{last}" for loss, activations in gradient_check.LAST.items() for last in activations]


@functools.cache
def cases():
    """Return the networks, made when the first test asks for them: that compiles."""
    return list(gradient_check.networks())


@pytest.mark.parametrize("name", NAMES)
def test_gradient(name):
    net, X, y, loss = cases()[NAMES.index(name)]
    assert name == f"{type(loss).__name__}-{net.last_activation}"
    assert difference_along_a_direction(net, X, y, loss) < 1e-9


def difference_along_a_direction(net, X, y, loss, h=1e-5):
    """Return how far the slope along a direction in which every weight moves is from the gradient's, as a share of the gradient."""
    weights, rng, above_and_below = net.weights, np.random.default_rng(0), []
    gradient = gradient_check.backpropagation(net, X, y, loss)
    along = rng.standard_normal(gradient.size)
    along /= np.linalg.norm(along)
    for step in (h, -h):
        rest, moved = step * along, []
        for layer in weights:
            parts = []
            for part in layer:
                size = 0 if part is None else part.size
                parts.append(None if part is None else part + rest[:size].reshape(part.shape))
                rest = rest[size:]
            moved.append(tuple(parts))
        above_and_below.append(gradient_check.training_loss(net, moved, X, y, loss))
    slope = (above_and_below[0] - above_and_below[1]) / (2 * h)
    return abs(slope - gradient @ along) / np.linalg.norm(gradient)


@pytest.mark.parametrize("name", NAMES[::9])
def test_every_element_of_a_gradient(name):
    assert gradient_check.relative_difference(*cases()[NAMES.index(name)]) < 1e-7


def test_a_wrong_gradient_is_seen(monkeypatch):
    right = gradient_check.backpropagation
    monkeypatch.setattr(gradient_check, "backpropagation", lambda *case: right(*case) * (1 + 1e-6))
    assert gradient_check.relative_difference(*cases()[0]) > 1e-7


def test_every_layer_activation_and_loss_is_there():
    assert len(cases()) == len(NAMES)
    layers = [layer for net, *_ in cases() for layer in net.layers]
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    assert {type(layer) for layer in layers} == {Dense, Dropout, Scale}
    assert {layer.activation for layer in dense} == set(ACTIVATIONS)
    assert {net.layers[-3].activation for net, *_ in cases() if isinstance(net.layers[-3], Dense)} <= set(gradient_check.ELEMENTWISE)
    assert {loss.name for *_, loss in cases()} == set(LOSSES)
    assert {(loss.reduction, loss.outputs_reduction) for *_, loss in cases()} == {(rows, outputs) for rows in ("mean", "sum") for outputs in ("mean", "sum")}
    for setting in ("l1", "l2", "bias_l1", "bias_l2"):
        assert any(getattr(layer, setting) > 0 for layer in dense)
    assert any(not layer.bias for layer in dense)
