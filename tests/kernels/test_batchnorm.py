"""Batch normalization in a network: against NumPy in float64, slopes, its own bits, and what it refuses."""

import numpy as np
import pytest

import kernels
from kernels import BatchNorm, Plan
from tests.kernels.networks import share_all
from tests.numerics import DTYPES, assert_same_bits

SQUARES = kernels.Objective(kernels.SQUARED_ERROR)


def network(n, dtype, trained=(True, True)):
    """Return a plan with a normalization at the start, after ReLU, twice, after SiLU, which saves its inputs, and at the end."""
    others = ((0, BatchNorm(n)), (1, BatchNorm(n, 1e-2, 0.3, trained)), (1, BatchNorm(n)), (2, BatchNorm(n)), (3, BatchNorm(5)))
    plan = Plan([n, n, n, 5], [kernels.RELU, kernels.SILU, kernels.TANH], [0.0] * 3, np.dtype(dtype).name, 2, others=others)
    parameters, rng = np.zeros(plan.parameters_size, dtype), np.random.default_rng(n)
    for placed in plan.layers:
        arrays = {name: rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) == 2 else 4) for name, shape in placed.layer.shapes.items()}
        if "variance" in arrays:
            arrays["variance"] = 0.1 + arrays["variance"] ** 2
        plan.set_arrays(parameters, placed, list(arrays.values()))
    return plan, parameters


def data(plan, rows):
    rng = np.random.default_rng(rows)
    return (1 + 3 * rng.normal(size=(rows, plan.widths[0]))).astype(plan.dtype), rng.normal(size=(rows, plan.widths[-1])).astype(plan.dtype)


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


ACTIVATE = {kernels.RELU: lambda Z: np.maximum(Z, 0), kernels.TANH: np.tanh, kernels.SILU: lambda Z: Z * sigmoid(Z)}
SLOPE = {
    kernels.RELU: lambda Z: (Z > 0) * 1.0,
    kernels.TANH: lambda Z: 1 - np.tanh(Z) ** 2,
    kernels.SILU: lambda Z: (1 + Z * sigmoid(-Z)) * sigmoid(Z),
}


def naive(plan, parameters, X, T):
    """Return the loss of a step of a fit, its gradients, and the running statistics after it, by the formulas in float64."""
    A, steps, running = X.astype("f8"), [], []
    for placed in plan.layers:
        one, arrays = placed.layer, [part.astype("f8") for part in plan.arrays(parameters, placed)]
        if isinstance(one, BatchNorm):
            gain, bias, *before = arrays
            if any(one.trained):
                mean, variance = A.mean(0), A.var(0)
                unbiased = A.var(0, ddof=1) if len(A) > 1 else before[1]
                after = [(1 - one.momentum) * old + one.momentum * new for old, new in zip(before, (mean, unbiased))]
                running.append(after if len(A) > 1 else before)
            else:
                (mean, variance), _ = before, running.append(before)
            N = (A - mean) / np.sqrt(variance + one.eps)
            steps.append((gain, N, np.sqrt(variance + one.eps), any(one.trained)))
            A = N * gain + bias
        else:
            Z = A @ arrays[0] + arrays[1]
            steps.append((arrays[0], A, Z, one.activation))
            A = ACTIVATE[one.activation](Z)
    loss, d, gradients = ((A - T) ** 2).sum() / len(X), 2 * (A - T) / len(X), []
    for (P, N, Z, what), placed in zip(reversed(steps), reversed(plan.layers)):
        if isinstance(placed.layer, BatchNorm):
            gradients.append([(d * N).sum(0), d.sum(0)])
            d = d * P
            d = (d - d.mean(0) - N * (d * N).mean(0)) / Z if what else d / Z
        else:
            d = d * SLOPE[what](Z)
            gradients.append([N.T @ d, d.sum(0)])
            d = d @ P.T
    return loss, gradients[::-1], running


def step(plan, parameters, X, T, rate=1.0, **settings):
    """Take a step of gradient descent; return the loss before it, the gradient, and the parameters after it."""
    after = parameters.copy()
    loss = kernels.Trainer(plan, after, len(X), SQUARES, kernels.SGD, [0.0], **settings).train(X, T, np.arange(len(X)), 0, np.full(1, rate))[0]
    return loss, parameters - after, after


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("trained", [(True, True), (False, False), (True, False)])
def test_a_step_is_that_of_the_formulas(dtype, trained):
    for n, rows in ((1, 40), (7, 1), (16, 32), (17, 33), (100, 70)):
        plan, parameters = network(n, dtype, trained)
        X, T = data(plan, rows)
        loss, expected, running = naive(plan, parameters, X, T)
        limit = 2e-3 if dtype == np.float32 else 1e-11  # four divisions by deviations, some of them small
        actual, gradient, after = step(plan, parameters, X, T)
        np.testing.assert_allclose(actual, loss, rtol=limit)
        for placed, some in zip(plan.layers, expected, strict=True):
            for slope, one, changes in zip(plan.arrays(gradient, placed), some, placed.layer.trained):
                np.testing.assert_allclose(slope, one * changes, rtol=0, atol=limit * max(1.0, np.abs(one).max()))
        statistics = [plan.arrays(after, placed)[2:] for placed in plan.layers if isinstance(placed.layer, BatchNorm)]
        np.testing.assert_allclose(np.concatenate(statistics, axis=1), np.concatenate(running, axis=1), rtol=limit, atol=limit)
        assert (after[~plan.mask()] == 0).all()


def assert_slopes(plan, parameters, X, T, gradient):
    """Compare the gradient of a step of a fit, for each layer, with what its loss does."""
    for placed in plan.layers:
        direction, h = np.zeros_like(parameters), 1e-6
        rng = np.random.default_rng(placed.index)
        shapes = list(placed.layer.shapes.values())
        plan.set_arrays(direction, placed, [rng.normal(size=shape) * (k < 2) for k, shape in enumerate(shapes)])
        above, below = (step(plan, parameters + sign * h * direction, X, T, 0.0)[0] for sign in (1, -1))
        np.testing.assert_allclose((above - below) / (2 * h), gradient @ direction, rtol=1e-6, atol=1e-7)


def test_gradient_is_the_slope_of_the_loss():
    plan, parameters = network(17, np.float64)
    X, T = data(plan, 40)
    _, gradient, _ = step(plan, parameters, X, T)
    assert_slopes(plan, parameters, X, T, gradient)
    with pytest.raises(AssertionError):
        assert_slopes(plan, parameters, X, T, gradient * (1 + 1e-5))


def test_outside_a_fit_the_running_statistics_are_constants():
    plan, parameters = network(17, np.float64)
    X, T = data(plan, 33)
    before = parameters.copy()
    loss, gradient = kernels.loss_and_gradient(plan, parameters, X, T, SQUARES)
    frozen = Plan(
        **{name: getattr(plan, name) for name in ("widths", "activations", "dropouts", "dtype", "seed")},
        others=tuple((place, BatchNorm(layer.n, layer.eps, trained=(False, False))) for place, layer in plan.others),
    )
    expected, slopes, _ = naive(frozen, parameters, X, T)
    np.testing.assert_allclose([loss, kernels.evaluate(plan, parameters, X, T, SQUARES)[0]], expected, rtol=1e-12)
    for placed, some in zip(plan.layers, slopes, strict=True):
        for actual, one in zip(plan.arrays(gradient, placed), some):
            np.testing.assert_allclose(actual, one, rtol=0, atol=1e-11 * max(1.0, np.abs(one).max()))
    assert_same_bits(parameters, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit(dtype, monkeypatch):
    share_all(monkeypatch)
    for n, rows in ((7, 13), (100, 33), (100, 70)):
        plan, parameters = network(n, dtype)
        X, T = data(plan, rows)
        ends = [step(plan, parameters, X, T, 1e-2, n_threads=n_threads) for n_threads in (1, kernels.max_threads())]
        for one, several in zip(*ends):
            assert_same_bits(several, one)


def test_another_shape_compiles_nothing():
    for n in (6, 90):
        plan, parameters = network(n, np.float32)
        X, T = data(plan, n + 7)
        before = kernels.compilations()
        step(plan, parameters, X, T)
        kernels.loss_and_gradient(plan, parameters, X, T, SQUARES)
        kernels.predict(plan, parameters, X)
    assert kernels.compilations() == before


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: BatchNorm(0), ValueError, "n must be at least 1; got 0."),
        (lambda: BatchNorm(3, 0), ValueError, "eps must be above 0 and finite, also in float32; got 0.0."),
        (lambda: BatchNorm(3, momentum=-0.1), ValueError, "momentum must lie in [0, 1]; got -0.1."),
        (lambda: BatchNorm(3, trained=True), TypeError, "trained must be 2 of True and False; got True."),
        (lambda: Plan([4, 3], [kernels.TANH], [0.0], others=((0, BatchNorm(3)),)), ValueError, "others must have the 4 columns of their place 0"),
    ],
)
def test_what_cannot_be_used_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(message)
