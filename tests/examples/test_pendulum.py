"""The surrogate inside integrators: it learns the law, and all integrators see the same network."""

import numpy as np
import pytest

from examples import pendulum


@pytest.fixture(scope="module")
def net():
    return pendulum.surrogate(n=1000, noise=0.0, iterations=400)


def test_the_surrogate_integrates_to_the_path_of_the_law(net):
    true = pendulum.solve(lambda t, state: (state[1], pendulum.law(*state)), seconds=3.0)
    states = pendulum.runge_kutta(net.compiled(), pendulum.START, 3.0, 1000)
    np.testing.assert_allclose(states[::10, 0], true.y[0], atol=0.05)


def test_scipy_and_runge_kutta_agree(net):
    model, out = net.compiled(), np.empty(2)

    def right(t, state):
        pendulum.slope(model, state, out)
        return out.copy()

    states = pendulum.runge_kutta(model, pendulum.START, 3.0, 1000)
    np.testing.assert_allclose(states[::10, 0], pendulum.solve(right, seconds=3.0).y[0], atol=1e-5)


def test_quad_calls_the_c_function(net):
    assert pendulum.integral_of_drag(net) == pytest.approx(12.5, rel=0.05)
