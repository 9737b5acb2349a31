"""Activations against their float64 twins and PyTorch's numbers, at the extremes, and from nopython code."""

import numba
import numpy as np
import pytest

from kernels import activations
from kernels.activations import LOG_SOFTMAX, SAVES_INPUT, SOFTMAX, activation_backward, activation_forward
from tests import reference
from tests.numerics import DTYPES, assert_close, assert_gradient, assert_same_bits, awkward

ELEMENTWISE = list(reference.ACTIVATIONS)
ROWWISE = ["softmax", "log_softmax"]
CODE = {name: getattr(activations, name.upper()) for name in ELEMENTWISE + ROWWISE}
SHAPES = [(7, 13), (1, 1), (1, 31), (37, 1), (0, 5), (4, 0)]

# x = -3, -.5, 0, .25, 2; values and the gradient of (1, 2, 3, 4, 5) @ f(x), by PyTorch 2.13 in float64
PYTORCH_X = [-3.0, -0.5, 0.0, 0.25, 2.0]
PYTORCH = {
    "relu": ([0.0, 0.0, 0.0, 0.25, 2.0], [0.0, 0.0, 0.0, 4.0, 5.0]),
    "leaky_relu": ([-0.03, -0.005, 0.0, 0.25, 2.0], [0.01, 0.02, 0.03, 4.0, 5.0]),
    "elu": ([-0.950212931632136, -0.3934693402873666, 0.0, 0.25, 2.0], [0.049787068367863944, 1.2130613194252668, 3.0, 4.0, 5.0]),
    "selu": (
        [-1.6705687287671118, -0.6917581878028713, 0.0, 0.2626752468388701, 2.101401974710961],
        [0.08753061208026487, 2.1326823060890105, 5.27429802254213, 4.202803949421922, 5.253504936777402],
    ),
    "gelu": (
        [-0.00404969409489031, -0.15426876936299344, 0.0, 0.14967658142073093, 1.9544997361036416],
        [-0.01194564720418392, 0.26500975068767424, 1.5, 2.781493419534544, 5.426159005390985],
    ),
    "gelu_tanh": (
        [-0.0036373920817729943, -0.15428599017485606, 0.0, 0.149675350701685, 1.954597694087775],
        [-0.011584166630969648, 0.2652601929307153, 1.5, 2.7814163806042416, 5.430496283118091],
    ),
    "silu": (
        [-0.14227761953270035, -0.1887703343990727, 0.0, 0.14054412522144952, 1.7615941559557646],
        [-0.08810410601516962, 0.5200776253946964, 1.5, 2.494840086280791, 5.453921243924478],
    ),
    "mish": (
        [-0.1456474612756246, -0.22074377465173, 0.0, 0.1695724096638176, 1.9439589595339946],
        [-0.09339311453232084, 0.5790213558270245, 1.7999999999999998, 3.016690670882371, 5.346589671397448],
    ),
    "softplus": (
        [0.04858735157374206, 0.4740769841801067, 0.6931471805599453, 0.8259394198788436, 2.1269280110429727],
        [0.04742587317756679, 0.7550813375962909, 1.5, 2.2487060035431923, 4.403985389889413],
    ),
    "tanh": (
        [-0.9950547536867305, -0.46211715726000974, 0.0, 0.24491866240370913, 0.9640275800758169],
        [0.009866037165440166, 1.5728954659318548, 3.0, 3.760059395225512, 0.35325412426582214],
    ),
    "sigmoid": (
        [0.04742587317756678, 0.3775406687981454, 0.5, 0.5621765008857981, 0.8807970779778823],
        [0.04517665973091214, 0.470007424403189, 0.75, 0.9845363309503934, 0.524967927017533],
    ),
    "hard_swish": (
        [-0.0, -0.20833333333333334, 0.0, 0.13541666666666666, 1.6666666666666667],
        [0.0, 0.6666666666666667, 1.5, 2.3333333333333335, 5.833333333333332],
    ),
    "softsign": (
        [-0.75, -0.3333333333333333, 0.0, 0.2, 0.6666666666666666],
        [0.0625, 0.8888888888888888, 3.0, 2.56, 0.5555555555555556],
    ),
    "exponential": (
        [0.049787068367863944, 0.6065306597126334, 1.0, 1.2840254166877414, 7.38905609893065],
        [0.049787068367863944, 1.2130613194252668, 3.0, 5.136101666750966, 36.945280494653254],
    ),
    "softmax": (
        [0.004819938429452701, 0.058718870807770114, 0.0968110512922634, 0.12430785047552681, 0.7153422889949869],
        [-0.01680535966750638, -0.14601232184907606, -0.14392256952462137, -0.06049238682909555, 0.3672326378702998],
    ),
    "log_softmax": (
        [-5.334994124973685, -2.8349941249736847, -2.3349941249736847, -2.0849941249736847, -0.3349941249736847],
        [0.9277009235582094, 1.1192169378834484, 1.547834230616049, 2.1353822428670974, -5.730134334924803],
    ),
}


# Float32 goes by the kernels of each name, float64 by the two that take a code: sixteen more pairs would be compiled otherwise.


def forward(name, Z):
    out = np.full_like(Z, 7)
    if Z.dtype == np.float32:
        getattr(activations, f"{name}_forward")(Z, out)
    else:
        activation_forward(CODE[name], Z, out)
    return out


def backward(name, Z, dA):
    saved = Z if CODE[name] in SAVES_INPUT else forward(name, Z)
    out = np.full_like(Z, 7)
    if Z.dtype == np.float32:
        getattr(activations, f"{name}_backward")(saved, dA, out)
    else:
        activation_backward(CODE[name], saved, dA, out)
    return out


def expected_forward(name, Z):
    return getattr(reference, name)(Z) if name in ROWWISE else reference.ACTIVATIONS[name][0](Z)


def expected_backward(name, Z, dA):
    if name in ROWWISE:
        return getattr(reference, f"{name}_backward")(getattr(reference, name)(Z), dA)
    return dA * reference.ACTIVATIONS[name][1](Z)


def random_pair(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return (3 * rng.standard_normal(shape)).astype(dtype), rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE + ROWWISE)
def test_against_the_twin(name, dtype):
    shapes = [shape for shape in SHAPES if 0 not in shape] if name in ROWWISE else SHAPES
    for shape in shapes:
        Z, dA = random_pair(shape, dtype)
        Z64, dA64 = Z.astype(np.float64), dA.astype(np.float64)
        assert_close(forward(name, Z), expected_forward(name, Z64))
        # a gradient from the output: 1 - a**2 has lost digits where a is near 1
        assert_close(backward(name, Z, dA), expected_backward(name, Z64, dA64), looser=3)


@pytest.mark.parametrize("name", sorted(PYTORCH))
def test_against_pytorch(name):
    Z, dA = np.array([PYTORCH_X]), np.arange(1.0, 6)[np.newaxis]
    value, gradient = PYTORCH[name]
    assert_close(forward(name, Z), [value])
    assert_close(backward(name, Z, dA), [gradient])


@pytest.mark.parametrize("name", ELEMENTWISE + ROWWISE)
def test_directional_gradient(name):
    Z, dA = random_pair((5, 9), np.float64)
    Z[np.abs(Z) < 0.1] = 0.5  # off the kinks
    assert_gradient(lambda Z: np.vdot(dA, forward(name, Z)), [backward(name, Z, dA)], Z)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_extremes(name, dtype):
    Z = np.array([[-1e4, -0.0, 0.0, 1e4, -np.inf, np.inf, 1e-40, np.nan]], dtype)
    below = {"identity": -1e4, "leaky_relu": -100.0, "elu": -1.0, "selu": -reference.SCALE * reference.ALPHA, "tanh": -1.0}.get(name, 0.0)
    above = {"selu": reference.SCALE * 1e4, "tanh": 1.0, "sigmoid": 1.0, "softsign": 1e4 / 10001, "exponential": np.inf}.get(name, 1e4)
    below = -above if name == "softsign" else below
    middle = {"softplus": np.log(2), "sigmoid": 0.5, "exponential": 1.0}.get(name, 0.0)
    limits = [-np.inf if name in ("identity", "leaky_relu") else (-1.0 if name == "softsign" else below), 1.0 if above <= 1 else np.inf]
    assert_close(forward(name, Z), [[below, middle, middle, above, *limits, middle, np.nan]])
    slopes = backward(name, Z[:, :-1], np.ones_like(Z[:, :-1]))
    assert name == "exponential" or np.isfinite(slopes).all()
    assert np.isnan(backward(name, Z, np.full_like(Z, np.nan))[0, 3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_mish_of_large_numbers_is_those_numbers(dtype):
    Z = np.append(np.linspace(25, 200, 1001), [1e5, 1e30]).astype(dtype)[np.newaxis]
    assert_same_bits(forward("mish", Z), Z)
    assert_same_bits(backward("mish", Z, np.ones_like(Z)), np.ones_like(Z))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_extremes(dtype):
    Z = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [np.inf, 0, 0], [0, np.nan, 0], [-np.inf, 0, 0]], dtype)
    third, half, nan = 1 / 3, 0.5, np.nan
    assert_close(forward("softmax", Z), [[1, 0, 0], [third] * 3, [nan] * 3, [nan] * 3, [0, half, half]])
    logs = forward("log_softmax", Z[:2])
    assert_close(logs, [[0, -2e4, -1e4], [-np.log(3)] * 3])
    np.testing.assert_array_equal(backward("softmax", Z[:1], np.ones((1, 3), dtype)), 0)


@pytest.mark.parametrize("name", ELEMENTWISE + ROWWISE)
def test_by_code(name):
    Z, dA = random_pair((6, 11), np.float32)
    out = np.empty_like(Z)
    activation_forward(CODE[name], Z, out)
    assert_close(out, forward(name, Z))
    saved = Z if CODE[name] in SAVES_INPUT else out.copy()
    activation_backward(CODE[name], saved, dA, out)
    assert_close(out, backward(name, Z, dA), looser=3)


@pytest.mark.parametrize("name", ["relu", "gelu", "softmax"])
def test_strided_read_only_and_in_place(name):
    Z, dA = random_pair((6, 11), np.float32)
    A, dZ = forward(name, Z), backward(name, Z, dA)
    assert_same_bits(forward(name, awkward(Z)), A)
    saved = Z if CODE[name] in SAVES_INPUT else A
    out = np.empty((11, 6), np.float32).T
    getattr(activations, f"{name}_backward")(awkward(saved), awkward(dA), out)
    assert_same_bits(out, dZ)
    getattr(activations, f"{name}_backward")(saved, dA, dA)
    assert_same_bits(dA, dZ)
    getattr(activations, f"{name}_forward")(Z, Z)
    assert_same_bits(Z, A)


def test_one_dimension():
    Z = np.linspace(-2, 2, 19, dtype=np.float32)
    out = np.empty_like(Z)
    activation_forward(activations.SILU, Z, out)
    assert_close(out, reference.ACTIVATIONS["silu"][0](Z.astype(np.float64)))
    for code in (SOFTMAX, LOG_SOFTMAX):
        with pytest.raises(ValueError, match="Z must be a matrix for softmax and log_softmax"):
            activation_forward(code, Z, out)


def test_errors():
    Z = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"relu_forward: out must have the shape of Z; got float32\[2, 3\], float32\[3, 2\]\."):
        activations.relu_forward(Z, Z.reshape(3, 2))
    with pytest.raises(ValueError, match="tanh_backward: dA and out must have the shape of saved"):
        activations.tanh_backward(Z, Z, Z[:1])
    for code in (-1, 99):
        with pytest.raises(ValueError, match="activation must be one of the codes"):
            activation_forward(code, Z, Z)
        with pytest.raises(ValueError, match="activation must be one of the codes"):
            activation_backward(code, Z, Z, np.empty_like(Z))


def test_from_nopython_code_serial_and_in_prange():
    relu_forward, softmax_forward = activations.relu_forward, activations.softmax_forward

    @numba.njit(parallel=True)
    def each(Z, out):
        for i in numba.prange(Z.shape[0]):
            relu_forward(Z[i], out[i])
            softmax_forward(out[i], out[i])

    @numba.njit
    def one(Z, out):
        relu_forward(Z, out)
        softmax_forward(out, out)

    Z, _ = random_pair((8, 5, 7), np.float32)
    out, expected = np.empty_like(Z), np.empty_like(Z)
    each(Z, out)
    for i in range(len(Z)):
        one(Z[i], expected[i])
    assert_same_bits(out, expected)
    assert_same_bits(expected[3], forward("softmax", forward("relu", Z[3])))
    with pytest.raises(ValueError, match=r"^relu_forward: out must have the shape of Z$"):
        one(Z[0], expected[0, :2])


def test_another_shape_compiles_nothing():
    forward("elu", np.ones((2, 3), np.float32))
    before = len(activations.elu_forward.signatures)
    forward("elu", np.ones((30, 1), np.float32))
    assert len(activations.elu_forward.signatures) == before
