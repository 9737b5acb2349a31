"""The hit counts of the book's figures: github.com/mnielsen/neural-networks-and-deep-learning, fig/*.json (MIT licence, Michael Nielsen)."""

import numpy as np
import pytest

from examples import nielsen

OVERFITTING = [5887, 6505, 6970, 7271, 7433, 7198, 7710, 7747, 7850, 7899, 7853, 7848, 7986, 8020, 8046]
REGULARIZED = [5898, 6512, 6986, 7289, 7455, 7227, 7723, 7767, 7890, 7942, 7879, 7893, 8036, 8052, 8089]


@pytest.mark.parametrize("lambda_, expected", [(0.0, OVERFITTING), (0.1, REGULARIZED)], ids=["overfitting", "regularized"])
def test_hits_after_1000_images(data_dir, lambda_, expected):
    assert nielsen.small_run(lambda_, epochs=15) == expected


@pytest.mark.parametrize("name, expected", [("overfitting, full", 9136), ("regularized, full", 9212), ("default start", 9270)])
def test_hits_after_an_epoch_of_50000_images(data_dir, name, expected):
    """Over 5,000 updates another machine's rounding may grow to a hit or two."""
    assert nielsen.large_run(name) == [pytest.approx(expected, abs=3)]


def test_the_quadratic_cost_learns_too(data_dir):
    """The book's 9129 were made without a seed."""
    assert nielsen.large_run("quadratic cost")[0] > 8800


def test_early_stopping_stops_ten_epochs_after_the_best(data_dir):
    history, best_epoch, _ = nielsen.stop_early(patience=10)
    assert len(history.epochs) == best_epoch + 10
    assert int(np.argmin(history["validation_loss"])) + 1 == best_epoch
    assert {"validation_loss", "test_loss"} <= set(history.history)


def test_the_order_goes_on_from_epoch_to_epoch():
    """Python 3's random() gives Python 2's numbers for the same seed; only its shuffle draws otherwise."""
    next_order = nielsen.python2_shuffle(10)
    first, second = next_order(0), next_order(1)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()
