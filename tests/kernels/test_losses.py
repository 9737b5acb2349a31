"""Losses and their gradients against float64 twins and PyTorch's numbers, and where naive formulas overflow."""

import numba
import numpy as np
import pytest

from kernels import losses
from tests import reference
from tests.kernels.tasks import run_task
from tests.numerics import DTYPES, assert_close, assert_gradient, assert_same_bits, awkward

NAMES = ["softmax_cross_entropy", "softmax_cross_entropy_dense", *(one.name for one in losses.LOSSES.values())]
PARAMETER = {"huber": 1.0, "poisson": 0.0, "quantile": 0.3, "binary_focal": 2.0}
SHAPES = [(7, 13), (1, 1), (1, 10), (31, 2), (0, 5)]

# By PyTorch 2.13 in float64 with its default reductions.
Z = np.array([[1.0, -2.0, 0.5, 3.0], [-1.0, 0.0, 4.0, -0.25]])
T = np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.5, 0.0]])
P = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 0.0, 0.0]])
PYTORCH = {
    "softmax_cross_entropy": (
        np.array([3, 0]),
        2.6204090015525847,
        [
            [0.055276875180869614, 0.0027520735637918355, 0.03352711957030574, -0.09155606831496715],
            [-0.4967584761510186, 0.00881137537520274, 0.4810847947336719, 0.006862306042143987],
        ],
    ),
    "softmax_cross_entropy_dense": (
        P,
        3.095409001552585,
        [
            [0.005276875180869611, -0.09724792643620817, -0.11647288042969425, 0.20844393168503283],
            [0.0032415238489813918, -0.4911886246247973, 0.4810847947336719, 0.006862306042143987],
        ],
    ),
    "sigmoid_cross_entropy": (
        T,
        1.4454190312737332,
        [
            [0.09138232232875061, -0.1100996347472353, -0.047192583599768176, 0.11907176585280417],
            [-0.09138232232875061, 0.0625, 0.060251723754738556, 0.05472793738927524],
        ],
    ),
    "squared_error": (T, 4.4453125, [[0.25, -0.75, -0.125, 0.75], [-0.5, 0.0, 0.875, -0.0625]]),
    "absolute_error": (T, 1.65625, [[0.125, -0.125, -0.125, 0.125], [-0.125, 0.0, 0.125, -0.125]]),
    # by its formula, which PyTorch differentiates
    "log_cosh": (
        T,
        1.1670311479335913,
        [
            [0.09519926949447062, -0.12438184421084131, -0.05776464465750123, 0.12438184421084131],
            [-0.12050344750947713, 0.0, 0.12477223720139984, -0.03061483280046364],
        ],
    ),
    "huber": (T, 1.26953125, [[0.125, -0.125, -0.0625, 0.125], [-0.125, 0.0, 0.125, -0.03125]]),
    # by its function, or where it has none by the formula, which it differentiates
    "poisson": (
        T,
        10.229088195371318,
        [
            [0.33978522855738064, -0.10808308959542341, 0.08109015883751602, 2.5106921153984585],
            [-0.07901506985356971, 0.125, 6.7622687541430295, 0.09735009788392561],
        ],
    ),
    "quantile": (
        T,
        0.8718749999999998,
        [[0.0875, -0.0375, -0.0375, 0.0875], [-0.0375, 0.0, 0.0875, -0.0375]],  # at the kink 0
    ),
    "hinge": (
        T,
        1.78125,
        [[0.125, -0.125, -0.125, 0.125], [-0.125, 0.125, -0.0, 0.125]],
    ),
    "squared_hinge": (
        T,
        4.4765625,
        [[0.5, -0.75, -0.125, 1.0], [-0.5, 0.25, -0.0, 0.1875]],
    ),
    "binary_focal": (
        T,
        0.834486810771405,
        [
            [0.0960293403999147, -0.13458921630606024, -0.0172421246688643, 0.14084373507936102],
            [-0.0960293403999147, 0.037285849392498294, 0.015062930938684639, 0.02600704739060804],
        ],
    ),
}


def middle_of(name, parameter):
    return () if name not in PARAMETER else (PARAMETER[name] if parameter is None else parameter,)


def call(name, A, targets, scale=1.0, parameter=None):
    """Return the loss and its gradient."""
    out, middle = np.full_like(A, 7), middle_of(name, parameter)
    return getattr(losses, name)(A, targets, *middle, scale, out), out


def expected(name, A, targets, scale=1.0, parameter=None):
    return getattr(reference, name)(A, targets, *middle_of(name, parameter), scale)


def problem(name, shape, dtype):
    rng = np.random.default_rng(sum(shape))
    A = (2 * rng.standard_normal(shape)).astype(dtype)
    if name == "softmax_cross_entropy":
        return A, rng.integers(0, shape[1], shape[0])
    if name == "softmax_cross_entropy_dense":
        return A, rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype).reshape(shape)
    return A, (rng.standard_normal(shape) if name in ("squared_error", "absolute_error", "huber", "log_cosh", "quantile") else rng.random(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_against_the_twin(name, dtype):
    for shape in SHAPES:
        A, targets = problem(name, shape, dtype)
        wide = targets if targets.ndim == 1 else targets.astype(np.float64)
        loss, gradient = call(name, A, targets, 0.3, 0.7)
        expected_loss, expected_gradient = expected(name, A.astype(np.float64), wide, 0.3, 0.7)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-6 if dtype == np.float32 else 1e-13)
        assert isinstance(loss, float)
        assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("name", NAMES)
def test_against_pytorch(name):
    targets, loss, gradient = PYTORCH[name]
    scale = losses.loss_scale(2, 4, True, not name.startswith("softmax"))
    actual_loss, actual_gradient = call(name, Z, targets, scale)
    np.testing.assert_allclose(actual_loss, loss, rtol=1e-14)
    assert_close(actual_gradient, gradient)


@pytest.mark.parametrize("name", NAMES)
def test_directional_gradient(name):
    A, targets = problem(name, (6, 5), np.float64)
    assert_gradient(lambda A: call(name, A, targets, 0.2, 0.8)[0], [call(name, A, targets, 0.2, 0.8)[1]], A)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropies_are_finite_for_certain_and_wrong_predictions(dtype):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    loss, gradient = call("softmax_cross_entropy", logits, np.array([0, 0]))
    assert loss == 2e4
    np.testing.assert_array_equal(gradient, [[0, 0], [-1, 1]])
    hot = np.array([[1, 0], [1, 0]], dtype)
    loss, gradient = call("softmax_cross_entropy_dense", logits, hot)
    assert loss == 2e4
    np.testing.assert_array_equal(gradient, [[0, 0], [-1, 1]])
    loss, gradient = call("sigmoid_cross_entropy", logits, hot)
    assert loss == 2e4
    np.testing.assert_array_equal(gradient, [[0, 0], [-1, 1]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_losses_keep_their_digits(dtype):
    loss, _ = call("sigmoid_cross_entropy", np.array([[40.0]], dtype), np.ones((1, 1), dtype))
    np.testing.assert_allclose(loss, np.exp(-40), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_cosh_is_finite_far_out_and_keeps_its_digits_near_0(dtype):
    A = np.array([1e4, -1e4, 1e-3, 0.999, 1.001], dtype)
    expected = [1e4 - np.log(2), 1e4 - np.log(2), *np.log1p(2 * np.sinh(A[2:].astype(np.float64) / 2) ** 2)]
    for one, value in zip(A, expected):
        np.testing.assert_allclose(call("log_cosh", A[None, A == one], np.zeros((1, 1), dtype))[0], value, rtol=1e-5 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [one.name for one in losses.LOSSES.values()])
def test_the_task_adds_line_after_line(name, dtype):
    loss = next(one for one in losses.LOSSES.values() if one.name == name)
    width = 64 // np.dtype(dtype).itemsize
    for lines in (1, 7, 37):
        A, targets = problem(name, (lines, width), dtype)
        expected, gradient = np.zeros(width, dtype), np.empty_like(A)
        for i in range(lines):
            for j in range(width):
                part = np.empty((1, 1), dtype)
                middle = loss.parameters
                expected[j] += dtype(getattr(losses, name)(A[i : i + 1, j : j + 1], targets[i : i + 1, j : j + 1], *middle, 1.0, part))
                gradient[i, j] = part[0, 0] * dtype(0.3)
        total, scale = np.zeros(width, dtype), np.array([0.3])
        run_task(loss.task, dtype, loss.values, A, targets, total, A.size, scale)
        assert_same_bits(total, expected)
        assert_same_bits(A, gradient)


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_not_swallowed(name):
    A, targets = problem(name, (3, 4), np.float64)
    A[1, 2] = np.nan
    loss, gradient = call(name, A, targets)
    assert np.isnan(loss)
    assert np.isnan(gradient[1, 2])


@pytest.mark.parametrize("label", [-1, 4, 2**40])
def test_labels_out_of_range_are_refused_before_anything_is_written(label):
    out = np.full_like(Z, 7)
    with pytest.raises(ValueError, match="labels must be at least 0 and less than the number of columns of logits"):
        losses.softmax_cross_entropy(Z, np.array([0, label]), 1.0, out)
    np.testing.assert_array_equal(out, 7)


def test_labels_of_any_integer_type():
    targets, loss, _ = PYTORCH["softmax_cross_entropy"]
    for dtype in (np.uint8, np.int32):
        np.testing.assert_allclose(call("softmax_cross_entropy", Z, targets.astype(dtype), 0.5)[0], loss, rtol=1e-14)


def test_gradient_may_replace_the_logits():
    targets, _, gradient = PYTORCH["softmax_cross_entropy"]
    A = Z.copy()
    losses.softmax_cross_entropy(A, targets, 0.5, A)
    assert_close(A, gradient)


@pytest.mark.parametrize("name", NAMES)
def test_errors(name):
    A, targets = problem(name, (3, 4), np.float64)
    with pytest.raises(ValueError, match=f"^{name}: .* must "):
        call(name, A, targets[:2])
    if name != "softmax_cross_entropy":
        with pytest.raises(ValueError, match=f"^{name}: .* must share no memory with"):
            getattr(losses, name)(A, targets, *middle_of(name, None), 1.0, A)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "squared_error"])
def test_strided_and_read_only(name):
    A, targets = problem(name, (5, 6), np.float32)
    loss, gradient = call(name, A, targets, 0.5)
    awkward_loss, awkward_gradient = call(name, awkward(A), awkward(targets), 0.5)
    assert awkward_loss == loss
    assert_same_bits(awkward_gradient, gradient)


def test_scale():
    assert losses.loss_scale(8, 4, True, True) == 1 / 32
    assert losses.loss_scale(8, 4, True, False) == 1 / 8
    assert losses.loss_scale(8, 4, False, True) == 1 / 4
    assert losses.loss_scale(8, 4, False, False) == 1


def test_from_nopython_code_serial_and_in_prange():
    softmax_cross_entropy, squared_error, loss_scale = losses.softmax_cross_entropy, losses.squared_error, losses.loss_scale

    @numba.njit(parallel=True)
    def each(A, labels, T, out, values):
        for i in numba.prange(A.shape[0]):
            scale = loss_scale(A.shape[1], A.shape[2], True, False)
            values[i] = softmax_cross_entropy(A[i], labels[i], scale, out[i]) + squared_error(A[i], T[i], scale, out[i])

    @numba.njit
    def one(A, labels, out):
        return softmax_cross_entropy(A, labels, 0.5, out)

    rng = np.random.default_rng(0)
    A, B, labels = rng.standard_normal((6, 4, 3)), rng.standard_normal((6, 4, 3)), rng.integers(0, 3, (6, 4))
    out, values = np.empty_like(A), np.empty(6)
    each(A, labels, B, out, values)
    for i in range(6):
        first, second = call("softmax_cross_entropy", A[i], labels[i], 0.25)[0], call("squared_error", A[i], B[i], 0.25)
        assert values[i] == first + second[0]
        assert_same_bits(out[i], second[1])
    assert one(A[0], labels[0], out[0]) == call("softmax_cross_entropy", A[0], labels[0], 0.5)[0]
    with pytest.raises(ValueError, match=r"number of columns of logits$"):
        one(A[0], labels[0] + 3, out[0])
