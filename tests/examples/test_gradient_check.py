"""Backpropagation against central differences, for every layer, activation and loss."""

import pytest

from examples import gradient_check
from fastnn import Dense, Dropout, Scale
from fastnn.layers import ACTIVATIONS
from fastnn.losses import LOSSES

CASES = list(gradient_check.networks())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[3].name}-{case[0].last_activation}")
def test_gradient(case):
    assert gradient_check.relative_difference(*case) < 1e-7


def test_a_wrong_gradient_is_seen(monkeypatch):
    right = gradient_check.backpropagation
    monkeypatch.setattr(gradient_check, "backpropagation", lambda *case: right(*case) * (1 + 1e-6))
    assert gradient_check.relative_difference(*CASES[0]) > 1e-7


def test_every_layer_activation_and_loss_is_there():
    layers = [layer for net, *_ in CASES for layer in net.layers]
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    assert {type(layer) for layer in layers} == {Dense, Dropout, Scale}
    assert {layer.activation for layer in dense} == set(ACTIVATIONS)
    assert {net.layers[-3].activation for net, *_ in CASES if isinstance(net.layers[-3], Dense)} <= set(gradient_check.ELEMENTWISE)
    assert {loss.name for *_, loss in CASES} == set(LOSSES)
    assert {(loss.reduction, loss.outputs_reduction) for *_, loss in CASES} == {(rows, outputs) for rows in ("mean", "sum") for outputs in ("mean", "sum")}
    for setting in ("l1", "l2", "bias_l1", "bias_l2"):
        assert any(getattr(layer, setting) > 0 for layer in dense)
    assert any(not layer.bias for layer in dense)
