"""Cart-pole by policy gradient, wholly inside one compiled function: environment, network, gradient and Adam.

A cart is pushed to the left or to the right so that the pole on it does not fall. The rules are those of Barto, Sutton and Anderson (1983), with
the numbers of Gymnasium's CartPole-v1: an episode ends when the pole leans by more than 12 degrees, the cart leaves the track, or after
500 steps. The network gives the probabilities of both pushes; REINFORCE (Williams, 1992) makes those more probable after which
an episode lasted long: cross-entropy of the actions, weighted with how much better than usual it went on.

The same loop with NumPy, and with PyTorch where it is installed, is measured beside it: each asks its network for one row at a time,
because the next state depends on the answer.
"""

import math
import time
from importlib.util import find_spec

import numpy as np
from numba import njit

import kernels
from fastnn import Dense, Sequential

N, LONGEST, DISCOUNT, RATE = 1024, 500, 0.99, 0.02  # steps of an update, steps of an episode


@njit
def push(state, action):
    """Change the state (place, speed, angle, its speed) by 0.02 s with a push of 10 N; return whether the pole fell."""
    place, speed, angle, turn = state
    force, sine, cosine = 10.0 if action == 1 else -10.0, math.sin(angle), math.cos(angle)
    pull = (force + 0.05 * turn * turn * sine) / 1.1
    turning = (9.8 * sine - cosine * pull) / (0.5 * (4 / 3 - 0.1 * cosine * cosine / 1.1))
    moving = pull - 0.05 * turning * cosine / 1.1
    state[0], state[1], state[2], state[3] = place + 0.02 * speed, speed + 0.02 * moving, angle + 0.02 * turn, turn + 0.02 * turning
    return abs(state[0]) > 2.4 or abs(state[2]) > math.radians(12)


@njit
def credit(returns, first, last):
    """Replace the rewards of an episode by the discounted sums of what followed."""
    later = 0.0
    for k in range(last, first - 1, -1):
        later = 1 + DISCOUNT * later
        returns[k] = later


@njit
def learn(model, updates, seed):
    """Play and improve; return the mean length of the episodes of each update."""
    w = model.parameters
    g, m, v = np.empty_like(w), np.zeros_like(w), np.zeros_like(w)
    states, actions, returns = np.empty((N, 4)), np.empty(N, np.int64), np.empty(N)
    state, chances, lengths = np.empty(4), np.empty(2), np.empty(updates)
    np.random.seed(seed)
    for update in range(updates):
        first, episodes = 0, 0
        for k in range(N):
            if k == first:
                state[:] = np.random.uniform(-0.05, 0.05, 4)
            model.predict(state, chances)
            states[k], actions[k] = state, np.random.random() < chances[1]
            fell = push(state, actions[k])
            if fell or k - first + 1 == LONGEST or k == N - 1:
                credit(returns, first, k)
                first, episodes = k + 1, episodes + 1
        lengths[update] = N / episodes
        returns = (returns - returns.mean()) / (returns.std() + 1e-9)
        model.loss_and_gradient(states, actions, g, returns)
        kernels.adam_update(w, g, m, v, RATE, 0.9, 0.999, 1e-8, 0.0, update + 1)
    return lengths


def network(seed=0):
    """Return a policy: the probabilities of both pushes."""
    return Sequential([Dense(32, "tanh"), Dense(2, "softmax")], n_features=4, seed=seed)


# The same loop in Python, for any library.


def learn_in_python(chance, improve, updates, seed=0):
    """Play and improve with `chance(state)` of a push to the right and `improve(states, actions, advantages)`; return the lengths."""
    rng, lengths = np.random.default_rng(seed), np.empty(updates)
    states, actions, returns = np.empty((N, 4), np.float32), np.empty(N, np.int64), np.empty(N)
    for update in range(updates):
        first, episodes = 0, 0
        for k in range(N):
            if k == first:
                state = rng.uniform(-0.05, 0.05, 4)
            states[k] = state
            actions[k] = rng.random() < chance(states[k])
            fell = push.py_func(state, actions[k])
            if fell or k - first + 1 == LONGEST or k == N - 1:
                credit.py_func(returns, first, k)
                first, episodes = k + 1, episodes + 1
        lengths[update] = N / episodes
        improve(states, actions, (returns - returns.mean()) / (returns.std() + 1e-9))
    return lengths


def with_numpy():
    """Return `chance` and `improve` of a network written with NumPy."""
    (W, b), (V, c) = network().weights
    weights = [W, b, V, c]
    m, v, step = [np.zeros_like(A) for A in weights], [np.zeros_like(A) for A in weights], [0]

    def chance(state):
        z = np.tanh(state @ W + b) @ V + c
        return 1 / (1 + math.exp(z[0] - z[1]))

    def improve(states, actions, advantages):
        A = np.tanh(states @ W + b)
        Z = A @ V + c
        P = np.exp(Z - Z.max(axis=1, keepdims=True))
        dZ = P / P.sum(axis=1, keepdims=True)
        dZ[np.arange(N), actions] -= 1
        dZ *= (advantages / N)[:, None]
        dA = dZ @ V.T * (1 - A * A)
        step[0] += 1
        for w, g, mean, square in zip(weights, (states.T @ dA, dA.sum(axis=0), A.T @ dZ, dZ.sum(axis=0)), m, v):
            mean += 0.1 * (g - mean)
            square += 0.001 * (g * g - square)
            w -= (RATE * mean / (1 - 0.9 ** step[0]) / (np.sqrt(square / (1 - 0.999 ** step[0])) + 1e-8)).astype(w.dtype)

    return chance, improve


def with_torch():
    """Return `chance` and `improve` of a network of PyTorch, on one thread."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), RATE)

    @torch.inference_mode()
    def chance(state):
        return float(torch.softmax(model(torch.from_numpy(state)), 0)[1])

    def improve(states, actions, advantages):
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(model(torch.from_numpy(states)), torch.from_numpy(actions), reduction="none")
        (losses * torch.from_numpy(advantages)).mean().backward()
        optimizer.step()

    return chance, improve


def steps_per_second(play, updates):
    """Return how many steps a second a loop takes."""
    start = time.perf_counter()
    play(updates)
    return updates * N / (time.perf_counter() - start)


def main():
    """Print how long the episodes become, and the steps a second of each loop."""
    lengths = learn(network().compiled(batch_size=N), 150, 0)
    print("updates of 1,024 steps     steps of an episode")
    for last in (10, 50, 100, 150):
        print(f"{last - 9:3d} to {last:3d} {lengths[last - 10 : last].mean():30.0f}")
    model = network().compiled(batch_size=N)
    fast = steps_per_second(lambda updates: learn(model, updates, 0), 200)
    print("\n                     steps a second")
    print(f"inside @njit         {fast:14,.0f}")
    for name, make in (("NumPy", with_numpy), ("PyTorch", with_torch)):
        if name == "NumPy" or find_spec("torch"):
            chance, improve = make()
            learn_in_python(chance, improve, 1)
            speed = steps_per_second(lambda updates: learn_in_python(chance, improve, updates), 10)  # noqa: B023
            print(f"{name:21}{speed:14,.0f}   {fast / speed:.0f} times fewer")


if __name__ == "__main__":
    main()
