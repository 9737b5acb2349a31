"""Random networks beside the reference, a few of what `python -m tests.random_networks` compares."""

import pytest

from tests import random_networks
from tests.random_networks import NumpyTwin, differences, draw


@pytest.mark.parametrize("number", range(10))
def test_a_random_network_is_its_twin(number):
    training = draw(0, number)
    shown = str(training)
    assert differences(training, NumpyTwin(training)) == [], shown


def test_a_difference_is_seen(monkeypatch, capsys):
    wrong = random_networks.reference.softmax
    monkeypatch.setattr(random_networks.reference, "softmax", lambda Z: wrong(Z) * (1 + 1e-4))
    assert random_networks.main(["--count", "8", "--twin", "numpy"]) == 1
    assert "gradient of weights 0 differ by" in capsys.readouterr().out
    monkeypatch.undo()
    assert random_networks.main(["--count", "8", "--twin", "numpy"]) == 0
