"""One neuron, with its published activation, and as a spam filter."""

import pytest

from examples import neuron


@pytest.mark.parametrize("way", [neuron.as_functions, neuron.as_network])
def test_net_input_and_activation(way):
    net_input, activation = way([[1, 0]], [[7], [3]], [-2])
    assert net_input.item() == 5
    assert activation.item() == pytest.approx(0.9933071491, abs=5e-11)


def test_words_are_counted():
    assert neuron.count_words(["free free meeting", "freedom"]).tolist() == [[2, 1], [0, 0]]


@pytest.mark.parametrize("way", [neuron.as_functions, neuron.as_network])
def test_the_filter_takes_one_message_for_spam(way):
    probabilities = way(neuron.count_words(neuron.MESSAGES), *neuron.SPAM_WEIGHTS)[1]
    assert (probabilities[:, 0] > 0.5).tolist() == [True, False, False, False]
