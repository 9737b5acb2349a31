"""Dropout, noise, PReLU and residual blocks in a network: against NumPy, slopes, memory used again, their own bits, and what they refuse."""

from statistics import NormalDist

import numpy as np
import pytest

import kernels
from kernels import BatchNorm, Dropout, Fork, GaussianNoise, Join, LayerNorm, Plan, PReLU
from kernels.plan import OWN_STREAMS
from tests import reference
from tests.kernels.networks import share_all
from tests.numerics import DTYPES, assert_same_bits

SQUARES = kernels.Objective(kernels.SQUARED_ERROR)
HIDDEN = (kernels.RELU, kernels.TANH, kernels.SILU, kernels.IDENTITY)
NOISE = 4 << 28


def filled(plan, seed=0):
    """Return random parameters."""
    parameters, rng = np.zeros(plan.parameters_size, plan.dtype), np.random.default_rng(seed)
    for placed in plan.layers:
        arrays = {name: rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) == 2 else 4) for name, shape in placed.layer.shapes.items()}
        if "variance" in arrays:
            arrays["variance"] = 0.1 + arrays["variance"] ** 2
        plan.set_arrays(parameters, placed, list(arrays.values()))
    return parameters


def everything(n=17, dtype="float64", rates=(0.2, 0.0, None, 0.1)):
    """Return a plan with every kind of layer: at the start, after ReLU, after SiLU, which saves its inputs, in blocks, and at the end."""
    at = (
        [GaussianNoise(n, 0.1), Fork(n), Dropout(n, 0.1), LayerNorm(n), PReLU(n)],
        [GaussianNoise(n, 0.2), Join(n), Fork(n), Fork(n), PReLU(n, False)],
        [BatchNorm(n), Dropout(n, 0.3), Join(n), PReLU(n)],
        [Join(n), LayerNorm(n)],
        [Fork(5), BatchNorm(5), Join(5), PReLU(5, False)],
    )
    others = [(place, layer) for place, some in enumerate(at) for layer in some]
    return Plan([n, n, n, n, 5], [kernels.RELU, kernels.SILU, kernels.RELU, kernels.TANH], rates, dtype, 3, others=others)


def data(plan, rows):
    rng = np.random.default_rng(rows)
    return (1 + rng.normal(size=(rows, plan.widths[0]))).astype(plan.dtype), rng.normal(size=(rows, plan.widths[-1])).astype(plan.dtype)


def scheduled(first, count):
    return 0.5 / (1.0 + np.arange(first, first + count))[np.newaxis]


def step(plan, parameters, X, T, rate=1.0, first=0, objective=SQUARES, n_threads=1, schedule=scheduled):
    """Take a step of gradient descent; return the loss before it, and the parameters after it."""
    after = parameters.copy()
    trainer = kernels.Trainer(plan, after, len(X), objective, kernels.SGD, [0.0], n_threads=n_threads, dropout_rates=schedule)
    loss = trainer.train(X, T, np.arange(len(X)), first, np.full(1, rate))[0]
    return loss, after


def what_arrives(layer, X, first, dtype):
    """Return what a layer in front makes of X in a step of a fit.

    Behind it each output i is far from its target at row i only: the gradient of its weights is then that row.
    """
    rows, n = X.shape
    plan = Plan([n, rows], [kernels.IDENTITY], [0.0], np.dtype(dtype).name, 11, others=((0, layer),))
    distance = kernels.Objective(kernels.ABSOLUTE_ERROR, mean_rows=False)
    _, after = step(plan, np.zeros(plan.parameters_size, dtype), X, (99 * np.eye(rows)).astype(dtype), 1.0, first, distance, schedule=None)
    return plan.weight(after, 0)[0].T


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3), (6, 17), (33, 5)])
def test_noise_is_that_of_the_twin(shape, dtype):
    X = np.random.default_rng(1).normal(size=shape).astype(dtype)
    words = [[reference.philox((j, i // 4, 5, NOISE | OWN_STREAMS), reference.key(11))[i % 4] for j in range(shape[1])] for i in range(shape[0])]
    normal = np.array([[NormalDist().inv_cdf((word + 0.5) / 2**32) for word in row] for row in words])
    limit = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(what_arrives(GaussianNoise(shape[1], 0.5), X, 5, dtype), X + 0.5 * normal, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_has_a_stream_of_its_own(dtype):
    X = np.random.default_rng(1).normal(size=(6, 17)).astype(dtype)
    mask = reference.dropout_mask(0.3, 11, 5, OWN_STREAMS, X.shape)
    np.testing.assert_allclose(what_arrives(Dropout(17, 0.3), X, 5, dtype), X * mask, rtol=2 * np.finfo(dtype).eps)


def test_a_schedule_is_a_rate_for_each_step():
    """Step by step it has the bits of constant rates, and at rate 0 those of no dropout."""
    n, rates = 20, [0.0, 0.5, 0.9]

    def plan(rate):
        return Plan([n, n, 2], [kernels.RELU, kernels.IDENTITY], [0.0, rate], "float32", 3, others=((0, Dropout(n, rate)),))

    X, T = data(plan(None), 12)
    parameters = filled(plan(None))
    together, constant = parameters.copy(), parameters.copy()
    trainer = kernels.Trainer(
        plan(None), together, 4, SQUARES, kernels.SGD, [0.0], dropout_rates=lambda first, count: np.tile(np.array(rates)[first : first + count], (2, 1))
    )
    losses = trainer.train(X, T, np.arange(12), 0, np.full(3, 0.1))
    for k, rate in enumerate(rates):
        rows = slice(4 * k, 4 * k + 4)
        loss, constant = step(plan(rate), constant, X[rows], T[rows], 0.1, k, schedule=None)
        assert loss == losses[k]
    assert_same_bits(together, constant)


def test_what_is_dropped_in_a_block_is_whole_beside_it():
    """Also on the inputs, and in the next epoch as in this one, where the rows of a full batch lie as they were gathered."""
    n = 9
    plan = Plan([n, n], [kernels.IDENTITY], [0.5], "float64", 4, others=((0, Fork(n)), (1, Join(n))))
    parameters = np.zeros(plan.parameters_size)
    plan.set_weight(parameters, 0, np.eye(n), np.zeros(n))
    X = data(plan, 12)[0]
    trainer = kernels.Trainer(plan, parameters, 12, SQUARES, kernels.SGD, [0.0], full_batch=True)
    assert trainer.chunk > 3
    losses = trainer.train(X, np.zeros((12, n)), np.arange(12), 0, np.zeros(3), repeats=3)
    for k, loss in enumerate(losses):
        np.testing.assert_allclose(loss, ((X + X * reference.dropout_mask(0.5, 4, k, 0, X.shape)) ** 2).sum() / 12, rtol=1e-13)
    noisy = Plan([n, n], [kernels.IDENTITY], [0.0], "float64", 4, others=((0, GaussianNoise(n, 1.0)),))
    assert kernels.Trainer(noisy, parameters, 12, SQUARES, kernels.SGD, [0.0], full_batch=True).chunk == 1  # noise overwrites what was gathered


def assert_slopes(plan, parameters, X, T, gradient):
    """Compare a gradient, for each layer, with what the loss of the same step does: the random numbers are the same."""
    for k, placed in enumerate(plan.layers):
        if not any(placed.layer.trained):
            continue
        direction, h, rng = np.zeros_like(parameters), 1e-6, np.random.default_rng(k)
        trained = [*placed.layer.trained, False, False]
        plan.set_arrays(direction, placed, [changes * rng.normal(size=shape) for shape, changes in zip(placed.layer.shapes.values(), trained)])
        above, below = (step(plan, parameters + sign * h * direction, X, T, 0.0, 3)[0] for sign in (1, -1))
        np.testing.assert_allclose((above - below) / (2 * h), gradient @ direction, rtol=1e-6, atol=1e-7)


def test_gradient_is_the_slope_of_the_loss():
    plan = everything()
    parameters = filled(plan)
    X, T = data(plan, 37)
    gradient = parameters - step(plan, parameters, X, T, 1.0, 3)[1]
    assert_slopes(plan, parameters, X, T, gradient)
    with pytest.raises(AssertionError):
        assert_slopes(plan, parameters, X, T, gradient * (1 + 1e-5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit(dtype, monkeypatch):
    share_all(monkeypatch)
    for n, rows in ((5, 13), (40, 70)):
        plan = everything(n, np.dtype(dtype).name)
        parameters = filled(plan)
        X, T = data(plan, rows)
        one, several = (step(plan, parameters, X, T, 1e-2, n_threads=n_threads)[1] for n_threads in (1, kernels.max_threads()))
        assert_same_bits(several, one)
        assert (one[~plan.mask()] == 0).all()
        ends = [kernels.predict(plan, parameters, X, n_threads=n_threads) for n_threads in (1, kernels.max_threads())]
        assert_same_bits(*ends)


def test_memory_used_again_in_a_prediction_was_not_needed_any_more():
    """Random nests of layers: a loss keeps every matrix, a prediction does not; their outputs have the same bits."""
    rng = np.random.default_rng(5)
    for _ in range(40):
        n, place, open_, others = int(rng.choice([3, 17, 40])), 0, 0, []
        n_dense = int(rng.integers(1, 5))
        kinds = [Fork, Join, LayerNorm, BatchNorm, PReLU, lambda n: Dropout(n, 0.5), lambda n: GaussianNoise(n, 0.5), None]
        while place < n_dense:
            kind = kinds[rng.integers(len(kinds))]
            if kind is None:
                place += 1
            elif kind is not Join or open_:
                others.append((place, kind(n)))
                open_ += (kind is Fork) - (kind is Join)
        others += [(place, Join(n))] * open_
        plan = Plan([n] * (n_dense + 1), list(rng.choice(HIDDEN, n_dense)), [0.0] * n_dense, others=others)
        parameters = filled(plan, n_dense)
        X, T = data(plan, 23)
        assert_same_bits(kernels.predict(plan, parameters, X), kernels.evaluate(plan, parameters, X, T, SQUARES)[1])


def test_the_memory_that_is_announced_is_taken():
    plan = everything(64, "float32")
    program = kernels.Trainer(plan, filled(plan), 256, SQUARES, kernels.SGD, [0.0], dropout_rates=scheduled).program
    taken = 4 * sum(program._sizes.values())
    assert 0.8 * taken <= plan.workspace_bytes(256) - kernels.plan.CHUNK_BYTES <= 1.6 * taken


def test_frozen_blocks_pass_a_gradient_on_or_ask_for_none():
    n = 6
    for frozen_below in (False, True):
        others = ((1, Fork(n)), (1, LayerNorm(n, trained=(False, False))), (1, PReLU(n, trained=(False,))), (2, Join(n)))
        trained = [(not frozen_below,) * 2, (False, False), (True, True)]
        plan = Plan([n, n, n, 2], [kernels.TANH, kernels.RELU, kernels.IDENTITY], [0.0] * 3, "float64", trained=trained, others=others)
        free = Plan(plan.widths, plan.activations, plan.dropouts, "float64", others=((1, Fork(n)), (1, LayerNorm(n)), (1, PReLU(n)), (2, Join(n))))
        parameters = filled(plan)
        X, T = data(plan, 9)
        _, gradient = kernels.loss_and_gradient(plan, parameters, X, T, SQUARES)
        _, expected = kernels.loss_and_gradient(free, parameters, X, T, SQUARES)
        for placed in plan.layers:
            for actual, whole, changes in zip(plan.arrays(gradient, placed), plan.arrays(expected, placed), placed.layer.trained):
                np.testing.assert_array_equal(actual, whole * changes)
        names = " ".join(phase.name for phase in kernels.Trainer(plan, parameters, 9, SQUARES, kernels.SGD, [0.0]).program.phases)
        assert ("pass_gradient" in names) == (not frozen_below)


def test_another_shape_compiles_nothing():
    for n in (6, 90):
        plan = everything(n, "float32")
        parameters = filled(plan)
        X, T = data(plan, n + 7)
        before = kernels.compilations()
        step(plan, parameters, X, T)
        kernels.loss_and_gradient(plan, parameters, X, T, SQUARES)
        kernels.predict(plan, parameters, X)
    assert kernels.compilations() == before


def plan_with(*others):
    return Plan([4, 3], [kernels.TANH], [0.0], others=others)


def trainer_without_rates():
    plan = Plan([4, 3], [kernels.TANH], [None])
    return kernels.Trainer(plan, np.zeros(plan.parameters_size, np.float32), 2, SQUARES, kernels.SGD, [0.0])


def rates_of_another_shape():
    plan = Plan([4, 3], [kernels.TANH], [None], "float64")
    step(plan, filled(plan), *data(plan, 2), schedule=lambda first, count: np.zeros((2, count)))


def rates_beyond():
    plan = Plan([4, 3], [kernels.TANH], [None], "float64")
    step(plan, filled(plan), *data(plan, 2), schedule=lambda first, count: np.ones((1, count)))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Dropout(3, 1.0), ValueError, "rate must lie in [0, 1), more than 2**-33 below 1; got 1.0."),
        (lambda: Dropout(3, "half"), TypeError, "rate must be a number; got 'half'."),
        (lambda: GaussianNoise(3, -0.5), ValueError, "std must be at least 0 and finite, also in float32; got -0.5."),
        (lambda: GaussianNoise(3, 1e39), ValueError, "std must be at least 0 and finite, also in float32; got 1e+39."),
        (lambda: PReLU(0), ValueError, "n must be at least 1; got 0."),
        (lambda: PReLU(3, "yes"), TypeError, "shared must be True or False; got 'yes'."),
        (lambda: PReLU(3, trained=True), TypeError, "trained must be 1 of True and False; got True."),
        (lambda: plan_with((0, Fork(4))), ValueError, "others must have a Join for Fork(n=4); got [Fork(n=4)]."),
        (lambda: plan_with((1, Join(3))), ValueError, "others must have before Join(n=3) a Fork of as many columns; got [Join(n=3)]."),
        (lambda: plan_with((0, Fork(4)), (1, Join(3))), ValueError, "others must have before Join(n=3) a Fork of as many columns; got"),
        (lambda: plan_with((0, Fork(3)), (1, Join(3))), ValueError, "others must have the 4 columns of their place 0; got Fork(n=3)."),
        (trainer_without_rates, ValueError, "dropout_rates must be given for the 1 dropouts whose rate is None; got None."),
        (rates_of_another_shape, ValueError, "dropout_rates must have the shape (1, 1); got (2, 1)."),
        (rates_beyond, ValueError, "dropout_rates must lie in [0, 1), more than 2**-33 below 1; got 1.0 to 1.0."),
    ],
)
def test_what_cannot_be_used_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(message)
