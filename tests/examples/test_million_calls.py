"""A model brought in and climbed: from plain arrays, and from PyTorch where it is installed."""

import numpy as np
import pytest

from examples import million_calls
from fastnn import Sequential


def check(net):
    x = np.zeros(64, np.float32)
    best = million_calls.climb(net.compiled(), x, 3, 3000, 0)
    assert best == net.predict(x[None])[0, 3] > 1.2 * net.predict(np.zeros((1, 64)))[0, 3]
    assert np.abs(x).max() <= 1


def test_the_climb_from_plain_arrays():
    check(million_calls.plain_network())


def test_the_climb_from_pytorch():
    torch = pytest.importorskip("torch")
    model = million_calls.torch_model()
    net = Sequential.from_torch(model)
    check(net)
    row = np.linspace(-1, 1, 64, dtype=np.float32)[None]
    np.testing.assert_allclose(net.predict(row), model(torch.from_numpy(row)).detach().numpy(), rtol=1e-5)
