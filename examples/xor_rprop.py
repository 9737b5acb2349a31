"""FANN's first example: XOR with a 2-3-1 tanh network, trained by resilient propagation.

The Fast Artificial Neural Network library (Steffen Nissen, libfann) trains it in `examples/xor_train.c`: Rprop, start
weights after Nguyen and Widrow, stop as soon as no output is off by the bit-fail limit of 0.01. Its own tests ask for a
mean squared error below 0.001 after 100 epochs. FANN halves every difference of a tanh output before it looks at it; here
both limits hold for the whole difference, which is stricter.

It teaches that the size of a gradient can be ignored: Rprop looks at its sign only, and gives each weight a step of its
own. And that a start matters: now and then a seed ends in a local minimum, where nothing helps but another seed.
"""

import numpy as np

from fastnn import Dense, Rprop, Sequential, StopWhen

X = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
y = np.array([-1, 1, 1, -1])

N_SEEDS = 50


def start_weights(seed, n_hidden=3):
    """Return what FANN draws: weights from 0 to the scale of Nguyen and Widrow, biases from minus that to plus that."""
    draws = np.random.default_rng(seed)
    scale = (0.7 * n_hidden) ** (1 / 2) / (X.max() - X.min())  # the root is that of the number of inputs
    return [(draws.uniform(0, scale, (n_in, n_out)), draws.uniform(-scale, scale, n_out)) for n_in, n_out in ((2, n_hidden), (n_hidden, 1))]


def train(seed):
    """Train until every output is within 0.01 of its target; return the number of epochs and the mean squared error."""
    net = Sequential([Dense(3, "tanh"), Dense(1, "tanh")], n_features=2, dtype="float64")
    net.set_weights(start_weights(seed))
    history = net.fit(
        X,
        y,
        optimizer=Rprop(learning_rate=0.1, eta_minus=0.5, eta_plus=1.2, max_step=50.0),
        epochs=1000,
        batch_size=None,
        validation_data={"train": (X, y)},
        callbacks=[StopWhen("train_max_error", below=0.01)],
        verbose=0,
        n_threads=1,
    )
    return history.epochs[-1], history["train_loss"][-1]


def main():
    """Train from 50 seeds and list those that do not stop early."""
    runs = {seed: train(seed) for seed in range(N_SEEDS)}
    early = {seed: run for seed, run in runs.items() if run[0] < 100 and run[1] < 0.001}
    print(f"stopped below 100 epochs with a mean squared error below 0.001: {len(early)} of {N_SEEDS} seeds")
    print(f"median of their epochs: {np.median([epochs for epochs, _ in early.values()]):.0f}")
    print(f"largest of their errors: {max(error for _, error in early.values()):.6f}")
    for seed in runs.keys() - early.keys():
        print(f"seed {seed}: {runs[seed][0]} epochs, mean squared error {runs[seed][1]:.6f}")


if __name__ == "__main__":
    main()
