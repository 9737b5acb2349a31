"""FANN's XOR example."""

import numpy as np
import pytest

from examples import xor_rprop


@pytest.fixture(scope="module")
def runs():
    return [xor_rprop.train(seed) for seed in range(xor_rprop.N_SEEDS)]


def test_most_seeds_stop_early(runs):
    early = [epochs < 100 and error < 0.001 for epochs, error in runs]
    assert len(early) == 50
    assert sum(early) >= 40


def test_a_run_that_stops_has_no_output_off_by_the_limit(runs):
    assert all(error < 0.01**2 for epochs, error in runs if epochs < 1000)


def test_a_run_takes_at_most_1000_epochs(runs):
    assert max(epochs for epochs, _ in runs) <= 1000


def test_start_weights_after_nguyen_and_widrow():
    scale = np.sqrt(0.7 * 3) / 2
    weights = [xor_rprop.start_weights(seed) for seed in range(50)]
    W, b = (np.array([np.concatenate([layer[part].ravel() for layer in one]) for one in weights]) for part in (0, 1))
    assert (W.min() >= 0, W.max() <= scale, b.min() < -0.9 * scale, b.max() <= scale) == (True, True, True, True)
