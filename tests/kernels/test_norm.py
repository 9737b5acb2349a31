"""Layer normalization in a network: against NumPy in float64, slopes, PyTorch, its own bits, and what it refuses."""

import numpy as np
import pytest

import kernels
from kernels import LayerNorm, Plan
from tests.fixtures import make_torch_norm
from tests.kernels.networks import share_all
from tests.numerics import DTYPES, assert_close, assert_same_bits

SQUARES, CLASSES = kernels.Objective(kernels.SQUARED_ERROR), kernels.Objective(kernels.CROSS_ENTROPY)
ACTIVATE = {kernels.IDENTITY: lambda Z: Z, kernels.RELU: lambda Z: np.maximum(Z, 0), kernels.TANH: np.tanh, kernels.SILU: lambda Z: Z / (1 + np.exp(-Z))}
SLOPE = {
    kernels.IDENTITY: np.ones_like,
    kernels.RELU: lambda Z: (Z > 0) * 1.0,
    kernels.TANH: lambda Z: 1 - np.tanh(Z) ** 2,
    kernels.SILU: lambda Z: (1 + Z * (1 - 1 / (1 + np.exp(-Z)))) / (1 + np.exp(-Z)),
}


def network(n, dtype, dropouts=(0.0, 0.0, 0.0), trained=(True, True)):
    """Return a plan with a normalization everywhere, after ReLU, after SiLU, which saves its inputs, at the start and at the end."""
    others = ((0, LayerNorm(n)), (1, LayerNorm(n, 1e-2, trained)), (2, LayerNorm(n)), (2, LayerNorm(n)), (3, LayerNorm(5)))
    plan = Plan([n, n, n, 5], [kernels.RELU, kernels.SILU, kernels.TANH], dropouts, np.dtype(dtype).name, 2, others=others)
    parameters, rng = np.zeros(plan.parameters_size, dtype), np.random.default_rng(n)
    for placed in plan.layers:
        shapes = placed.layer.shapes.values()
        plan.set_arrays(parameters, placed, [rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) == 2 else 4) for shape in shapes])
    return plan, parameters


def data(plan, rows):
    rng = np.random.default_rng(rows)
    return (1 + 3 * rng.normal(size=(rows, plan.widths[0]))).astype(plan.dtype), rng.normal(size=(rows, plan.widths[-1])).astype(plan.dtype)


def naive(plan, parameters, X, T):
    """Return outputs, the loss, and the gradients of each layer, by the formulas in float64."""
    A, steps = X.astype("f8"), []
    for placed in plan.layers:
        one, (P, Q) = placed.layer, [part.astype("f8") for part in plan.arrays(parameters, placed)]
        if isinstance(one, LayerNorm):
            deviation = np.sqrt(A.var(axis=1, keepdims=True) + one.eps)
            N = (A - A.mean(axis=1, keepdims=True)) / deviation
            steps.append((P, N, deviation, None))
            A = N * P + Q
        else:
            Z = A @ P + Q
            steps.append((P, A, Z, one.activation))
            A = ACTIVATE[one.activation](Z)
    loss, d, gradients = ((A - T) ** 2).sum() / len(X), 2 * (A - T) / len(X), []
    for P, N, Z, activation in reversed(steps):
        if activation is None:
            gradients.append([(d * N).sum(0), d.sum(0)])
            d = d * P
            d = (d - d.mean(1, keepdims=True) - N * (d * N).mean(1, keepdims=True)) / Z
        else:
            d = d * SLOPE[activation](Z)
            gradients.append([N.T @ d, d.sum(0)])
            d = d @ P.T
    return A, loss, gradients[::-1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 16, 17, 100])
def test_outputs_loss_and_gradient_are_those_of_the_formulas(n, dtype):
    plan, parameters = network(n, dtype)
    for rows in (1, 13, 33, 70):
        X, T = data(plan, rows)
        outputs, loss, expected = naive(plan, parameters, X, T)
        value, gradient = kernels.loss_and_gradient(plan, parameters, X, T, SQUARES)
        limit = 5e-4 if dtype == np.float32 else 5e-12  # five divisions by deviations, some of them small
        for actual in (kernels.predict(plan, parameters, X), kernels.evaluate(plan, parameters, X, T, SQUARES)[1]):
            np.testing.assert_allclose(actual, outputs, rtol=limit, atol=limit)
        np.testing.assert_allclose(value, loss, rtol=limit)
        for placed, pair in zip(plan.layers, expected, strict=True):
            for actual, one in zip(plan.arrays(gradient, placed), pair, strict=True):
                np.testing.assert_allclose(actual, one, rtol=0, atol=limit * max(1.0, np.abs(one).max()))
        assert (gradient[~plan.mask()] == 0).all()


@pytest.mark.parametrize("n", [7, 17])
def test_gradient_is_the_slope_of_the_loss(n):
    plan, parameters = network(n, np.float64)
    X, T = data(plan, 13)
    _, gradient = kernels.loss_and_gradient(plan, parameters, X, T, SQUARES)
    for placed in plan.layers:  # for each layer of its own: a wrong one would drown in the others
        direction, step = np.zeros_like(parameters), 1e-6
        rng = np.random.default_rng(placed.index)
        plan.set_arrays(direction, placed, [rng.normal(size=shape) for shape in placed.layer.shapes.values()])
        above, below = (kernels.loss_and_gradient(plan, parameters + sign * step * direction, X, T, SQUARES)[0] for sign in (1, -1))
        np.testing.assert_allclose((above - below) / (2 * step), gradient @ direction, rtol=1e-6, atol=1e-7)


def beside_torch(numbers):
    widths = make_torch_norm.WIDTHS
    others = tuple((i, LayerNorm(n, eps)) for i, (n, eps) in enumerate(zip(widths, make_torch_norm.EPS)))
    plan = Plan(widths, [kernels.RELU, kernels.TANH, kernels.IDENTITY], [0.0] * 3, "float64", others=others)
    parameters = np.zeros(plan.parameters_size)
    for placed in plan.layers:
        plan.set_arrays(parameters, placed, [numbers[f"{name}{placed.index}"] for name in placed.layer.shapes])
    mean = kernels.Objective(kernels.SQUARED_ERROR, 1 / widths[-1])
    loss, gradient = kernels.loss_and_gradient(plan, parameters, numbers["X"], numbers["Y"], mean)
    assert_close(kernels.predict(plan, parameters, numbers["X"]), numbers["outputs"])
    assert_close(np.array(loss), numbers["loss"])
    for placed in plan.layers:
        for name, actual in zip(placed.layer.shapes, plan.arrays(gradient, placed)):
            assert_close(actual, numbers[f"d{name}{placed.index}"])


def test_stored_numbers_of_torch():
    beside_torch(np.load(make_torch_norm.FILE))


def test_numbers_of_torch():
    pytest.importorskip("torch")
    beside_torch(make_torch_norm.start() | make_torch_norm.calculate(make_torch_norm.start()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit(dtype, monkeypatch):
    share_all(monkeypatch)  # threads for the smallest layer
    for n in (7, 17, 100):
        for rows in (1, 13, 33, 70):
            ends = []
            for n_threads in (1, kernels.max_threads()):
                plan, parameters = network(n, dtype, (0.2, 0.0, 0.3))
                X, T = data(plan, 2 * rows)
                trainer = kernels.Trainer(plan, parameters, rows, SQUARES, kernels.ADAM, [0.9, 0.999, 1e-8, 0], n_threads=n_threads)
                losses = trainer.train(X, T, np.arange(2 * rows), 0, np.full(2, 1e-2))
                ends.append((losses, parameters, kernels.predict(plan, parameters, X, n_threads=n_threads)))
            for one, several in zip(*ends):
                assert_same_bits(several, one)


def test_training_is_gradient_and_update():
    plan, parameters = network(17, np.float64)
    X, T = data(plan, 40)
    expected = parameters.copy()
    for rows in (slice(0, 33), slice(33, 40)):
        expected -= 0.01 * kernels.loss_and_gradient(plan, expected, X[rows], T[rows], SQUARES)[1]
    kernels.Trainer(plan, parameters, 33, SQUARES, kernels.SGD, [0.0]).train(X, T, np.arange(40), 0, np.full(2, 0.01))
    assert_close(parameters, expected)


@pytest.mark.parametrize("n_threads", [1, kernels.max_threads()])
@pytest.mark.parametrize("trained", [(False, False), (True, False), (False, True)])
def test_what_is_frozen_stays(trained, n_threads):
    plan, parameters = network(9, np.float64, trained=trained)
    X, T = data(plan, 20)
    before = parameters.copy()
    kernels.Trainer(plan, parameters, 20, SQUARES, kernels.SGD, [0.0], n_threads=n_threads).train(X, T, np.arange(20), 0, np.full(1, 0.01))
    for placed in plan.layers:
        for new, old, changes in zip(plan.arrays(parameters, placed), plan.arrays(before, placed), placed.layer.trained):
            assert (new != old).any() if changes else (new == old).all()
    assert (parameters[~plan.mask()] == 0).all()


def test_dropout_takes_what_is_normalized():
    """With everything else the identity, what is left is scaled, the rest zero: also on the inputs, and in the next epoch as in this one."""
    n, rate = 40, 0.5
    plan = Plan([n, n], [kernels.IDENTITY], [rate], "float64", 4, others=((0, LayerNorm(n)),))
    parameters = np.zeros(plan.parameters_size)
    norm, _, dense = plan.layers
    plan.set_arrays(parameters, norm, (np.ones(n), np.zeros(n)))
    plan.set_arrays(parameters, dense, (np.eye(n), np.zeros(n)))
    X = data(plan, 12)[0]
    N = (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + 1e-5)
    before = parameters.copy()
    trainer = kernels.Trainer(plan, parameters, 12, SQUARES, kernels.SGD, [0.0], full_batch=True)
    losses = [trainer.train(X, np.zeros((12, n)), np.arange(12), step, np.zeros(1))[0] for step in range(3)]
    assert (parameters == before).all()
    assert len(set(losses)) == 3  # other words are drawn
    np.testing.assert_allclose(losses, (N**2).sum() / 12 / (1 - rate), rtol=0.25)
    np.testing.assert_allclose(kernels.predict(plan, parameters, X), N, rtol=1e-12, atol=1e-12)


def test_another_shape_compiles_nothing():
    for n in (6, 90):
        plan, parameters = network(n, np.float32, (0.1, 0.1, 0.1))
        X, T = data(plan, n + 7)
        before = kernels.compilations()
        kernels.Trainer(plan, parameters, 7, SQUARES, kernels.SGD, [0.0]).train(X, T, np.arange(7), 0, np.full(1, 1e-3))
        kernels.loss_and_gradient(plan, parameters, X, T, SQUARES)
        kernels.predict(plan, parameters, X)
    assert kernels.compilations() == before


def test_equal_columns_become_the_bias():
    plan = Plan([5, 1], [kernels.IDENTITY], [0.0], others=((0, LayerNorm(5)),))
    parameters = np.zeros(plan.parameters_size, np.float32)
    plan.set_arrays(parameters, plan.layers[0], (np.full(5, 3.0), np.arange(5.0)))
    plan.set_weight(parameters, 0, np.array([[0], [1], [10], [100], [1000]]), np.zeros(1))
    np.testing.assert_array_equal(kernels.predict(plan, parameters, np.full((3, 5), 7.0)), np.full((3, 1), 4321))


def test_a_loss_meets_what_comes_after_the_last_activation():
    plan = Plan([4, 3], [kernels.SIGMOID], [0.0], others=((1, LayerNorm(3)),))
    assert plan.last_activation == kernels.IDENTITY
    parameters = np.zeros(plan.parameters_size, np.float32)
    plan.set_arrays(parameters, plan.layers[1], (np.zeros(3), np.array([0.5, 1.5, -1])))
    X, y = np.ones((2, 4)), np.array([1, 2])
    logits = np.array([0.5, 1.5, -1])
    value, out = kernels.evaluate(plan, parameters, X, y, CLASSES)
    np.testing.assert_allclose(value, np.log(np.exp(logits).sum()) - logits[y].mean(), rtol=1e-6)
    for actual in (out, kernels.predict(plan, parameters, X), kernels.predict(plan, parameters, X, logits=True)):
        np.testing.assert_array_equal(actual, [logits, logits])


def test_the_memory_that_is_announced_is_taken():
    with_norms, without = network(64, np.float32)[0], Plan([64, 64, 64, 5], [kernels.RELU] * 3, [0.0] * 3)
    more = with_norms.workspace_bytes(256) - without.workspace_bytes(256)
    assert 4 * 256 * 64 * 4 <= more <= 8 * 257 * 64 * 4  # four matrices, one more of gradients; and what the activations save
    assert with_norms.flops_per_row - without.flops_per_row == 24 * (4 * 64 + 5)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: LayerNorm(0), ValueError, "n must be at least 1; got 0."),
        (lambda: LayerNorm(2.5), TypeError, "n must be an integer; got 2.5."),
        (lambda: LayerNorm(3, 0), ValueError, "eps must be above 0 and finite, also in float32; got 0.0."),
        (lambda: LayerNorm(3, 1e-60), ValueError, "eps must be above 0 and finite, also in float32; got 1e-60."),
        (lambda: LayerNorm(3, 1e39), ValueError, "eps must be above 0 and finite, also in float32; got 1e+39."),
        (lambda: LayerNorm(3, np.nan), ValueError, "eps must be finite; got nan."),
        (lambda: LayerNorm(3, trained=True), TypeError, "trained must be 2 of True and False; got True."),
        (lambda: LayerNorm(3, trained=(True, "no")), TypeError, "trained must be True or False; got 'no'."),
        (lambda: plan_with((0, LayerNorm(3))), ValueError, "others must have the 4 columns of their place 0; got LayerNorm(n=3,"),
        (lambda: plan_with((2, LayerNorm(3))), ValueError, "others must be at least 0 and at most 1; got 2."),
        (lambda: plan_with((1, LayerNorm(3))), ValueError, "others must not follow a last layer with softmax; got"),
        (
            lambda: plan_with((0, "norm")),
            TypeError,
            "others must be pairs of a place and a LayerNorm, BatchNorm, ",
        ),
        (lambda: plan_with(LayerNorm(4)), TypeError, "others must be a sequence"),
    ],
)
def test_what_cannot_be_used_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(message)


def plan_with(entry):
    return Plan([4, 3], [kernels.SOFTMAX], [0.0], others=(entry,))


def test_fields_are_plain():
    plan = Plan([4, 3], [kernels.TANH], [0.0], others=[[np.int64(1), LayerNorm(np.int32(3), np.float32(0.5), [np.True_, 0])]])
    assert plan.others == ((1, LayerNorm(3, 0.5, (True, False))),)
    assert hash(plan) == hash(Plan((4, 3), (kernels.TANH,), (0.0,), others=((1, LayerNorm(3, 0.5, (True, False))),)))
    assert type(plan.others[0][0]) is type(plan.others[0][1].n) is int and type(plan.others[0][1].eps) is float
