"""Cart-pole inside compiled code: it learns, and the loop in Python is the same."""

import numpy as np
import pytest

from examples import cart_pole


def test_a_push_is_that_of_gymnasium():
    for action, expected in ((1, [0.0096, 0.1746792, 0.0308, -0.24306872]), (0, [0.0096, -0.21553902, 0.0308, 0.34199522])):
        state = np.array([0.01, -0.02, 0.03, 0.04])
        assert not cart_pole.push(state, action)
        np.testing.assert_allclose(state, expected, atol=1e-7)  # CartPole-v1 of Gymnasium 1.4
    assert cart_pole.push(np.array([2.41, 0, 0, 0.0]), 0)
    assert cart_pole.push(np.array([0, 0, 0.21, 0.0]), 0)


def test_it_learns_inside_compiled_code():
    lengths = cart_pole.learn(cart_pole.network().compiled(batch_size=cart_pole.N), 80, 0)
    assert lengths[:5].mean() < 40
    assert lengths[-10:].mean() > 100


def test_numpy_learns_by_the_same_loop():
    lengths = cart_pole.learn_in_python(*cart_pole.with_numpy(), 12)
    assert lengths[-3:].mean() > 1.3 * lengths[:3].mean()


def test_pytorch_learns_by_the_same_loop():
    pytest.importorskip("torch")
    lengths = cart_pole.learn_in_python(*cart_pole.with_torch(), 4)
    assert np.isfinite(lengths).all()
