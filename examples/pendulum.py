"""A physics surrogate inside an integrator: a network is the right-hand side of a differential equation.

A pendulum with drag swings by `angle'' = -9.81 sin(angle) - 0.3 speed |speed|`. The network only sees measured accelerations at random states, with
noise, and learns the law; then it is integrated. Three integrators call it: Runge-Kutta of fourth order, compiled by Numba together
with the calls; SciPy's `solve_ivp`, which calls a compiled right-hand side from Python; and SciPy's `quad`, which calls the network's C
function by its address, for the integral of drag over the speed.
"""

import ctypes
import time

import numpy as np
from numba import njit
from scipy import LowLevelCallable
from scipy.integrate import quad, solve_ivp

from fastnn import LBFGS, Dense, Sequential, Standardize

START, SECONDS = np.array([2.0, 0.0]), 10.0


def law(angle, speed):
    """Return the acceleration of the pendulum."""
    return -9.81 * np.sin(angle) - 0.3 * speed * np.abs(speed)


def surrogate(n=4000, noise=0.01, iterations=400, seed=0):
    """Return a network that has learned the law from measurements."""
    rng = np.random.default_rng(seed)
    X = rng.uniform((-2.5, -7), (2.5, 7), (n, 2))
    y = law(*X.T) + noise * rng.standard_normal(n)
    net = Sequential([Standardize(), Dense(24, "tanh"), Dense(24, "tanh"), Dense(1), Standardize(targets=True)], n_features=2, dtype="float64")
    net.fit(X, y, optimizer=LBFGS(), epochs=iterations, verbose=0)
    return net


@njit
def slope(model, state, out):
    """Write the change of (angle, speed) a second to out."""
    model.predict(state, out[1:])
    out[0] = state[1]


@njit
def runge_kutta(model, start, seconds, steps):
    """Return the states at the ends of equal steps."""
    h, states = seconds / steps, np.empty((steps + 1, 2))
    a, b, c, d = np.empty(2), np.empty(2), np.empty(2), np.empty(2)
    states[0] = start
    for k in range(steps):
        state = states[k]
        slope(model, state, a)
        slope(model, state + h / 2 * a, b)
        slope(model, state + h / 2 * b, c)
        slope(model, state + h * c, d)
        states[k + 1] = state + h / 6 * (a + 2 * b + 2 * c + d)
    return states


def solve(right, start=START, seconds=SECONDS):
    """Return the states at 101 times by SciPy's adaptive integrator of order 8."""
    return solve_ivp(right, (0, seconds), start, "DOP853", np.linspace(0, seconds, 101), rtol=1e-8, atol=1e-8)


def integral_of_drag(net):
    """Return the integral of drag over speeds from 0 to 5, of a second network that learns drag from the first."""
    speeds = np.linspace(0, 5, 50)[:, None]
    drag = -net.predict(np.hstack([np.zeros_like(speeds), speeds]))[:, 0]
    of_speed = Sequential([Standardize(), Dense(8, "tanh"), Dense(1), Standardize(targets=True)], n_features=1, dtype="float64")
    of_speed.fit(speeds, drag, optimizer=LBFGS(), epochs=300, verbose=0)
    model = of_speed.compiled()
    return quad(LowLevelCallable(model.integrand, ctypes.c_void_p(model.where)), 0, 5)[0]


def main():
    """Print errors and times of the integrators."""
    net = surrogate()
    model, out = net.compiled(), np.empty(2)
    true = solve(lambda t, state: (state[1], law(*state))).y[0]

    def right(t, state):
        slope(model, state, out)
        return out.copy()

    runge_kutta(model, START, SECONDS, 10)
    start = time.perf_counter()
    states = runge_kutta(model, START, SECONDS, 10_000)
    seconds = time.perf_counter() - start
    print(f"largest error of the angle within {SECONDS:.0f} s")
    print(f"Runge-Kutta inside @njit  {np.abs(states[::100, 0] - true).max():.4f}   {seconds / 40_000 * 1e6:6.2f} us a call of the network")
    start = time.perf_counter()
    solution = solve(right)
    seconds = time.perf_counter() - start
    print(f"SciPy's solve_ivp         {np.abs(solution.y[0] - true).max():.4f}   {seconds / solution.nfev * 1e6:6.2f} us a call, SciPy's own work included")
    print(f"\nSciPy's quad over the drag, by the C function: {integral_of_drag(net):.3f} (12.5 by the law)")


if __name__ == "__main__":
    main()
