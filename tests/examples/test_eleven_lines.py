"""The 3-1 and 3-4-1 networks: all digits that the posts print, from the stored start weights."""

import numpy as np
import pytest

from examples import eleven_lines


@pytest.fixture(scope="module")
def stored(data_dir):
    with np.load(data_dir / "reference_runs" / "reference_runs.npz") as arrays:
        return dict(arrays)


def test_the_start_weights_are_those_of_the_posts(stored):
    (W,) = eleven_lines.start_weights((3, 1))
    W0, W1 = eleven_lines.start_weights((3, 4), (4, 1))
    np.testing.assert_array_equal(W, stored["trask2_W0"])
    np.testing.assert_array_equal(W0, stored["trask3_W0"])
    np.testing.assert_array_equal(W1, stored["trask3_W1"])


def test_outputs_of_two_layers(stored):
    actual = eleven_lines.two_layers([stored["trask2_W0"]])
    assert [f"{output:.8f}" for output in actual] == [f"{output:.8f}" for output in eleven_lines.OUTPUTS]
    np.testing.assert_allclose(actual, stored["trask2_out"][:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("learning_rate", eleven_lines.ERRORS)
def test_errors_of_three_layers(stored, learning_rate):
    errors, net = eleven_lines.three_layers([stored["trask3_W0"], stored["trask3_W1"]], learning_rate)
    published = eleven_lines.ERRORS[learning_rate]
    if learning_rate == 100:  # large steps amplify rounding
        np.testing.assert_allclose(errors, published, rtol=0, atol=1e-8)
    else:
        assert [f"{error:.12g}" for error in errors] == [f"{error:.12g}" for error in published]
    if learning_rate == 1:
        for (W, b), name in zip(net.weights, ("trask3_W0_end", "trask3_W1_end")):
            assert b is None
            np.testing.assert_allclose(W, stored[name], rtol=0, atol=1e-9)
