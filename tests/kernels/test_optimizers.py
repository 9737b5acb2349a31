"""Optimizer updates against their float64 twins and PyTorch's numbers; the network's form of them against these."""

import numba
import numpy as np
import pytest

import kernels
from kernels.optimizers import OPTIMIZERS
from tests import reference
from tests.kernels.tasks import update_with_task
from tests.numerics import DTYPES, assert_close, assert_same_bits, awkward

RULES = [rule.name for rule in OPTIMIZERS.values()]
CODE = {name: getattr(kernels, name.upper()) for name in RULES}
OF_THE_FACTORY = ["adadelta", "amsgrad", "amsgradw", "nadam", "radam", "rmsprop_momentum", "rmsprop_centered"]
WITHOUT_STEP = ["sgd", "rmsprop", "lion", "adadelta", "rmsprop_momentum", "rmsprop_centered"]  # the twins of which ask for none

SETTINGS = {
    "sgd": {"weight_decay": 0.01},
    "momentum": {"momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01},
    "nesterov": {"momentum": 0.9, "weight_decay": 0.01},
    "adagrad": {"lr_decay": 0.05, "eps": 1e-10, "weight_decay": 0.01},
    "rmsprop": {"alpha": 0.9, "eps": 1e-8, "weight_decay": 0.01},
    "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
    "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
    "rprop": {"eta_minus": 0.5, "eta_plus": 1.2, "min_step": 1e-6, "max_step": 50.0, "weight_decay": 0.0},
    "lion": {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.01},
    "adadelta": {"rho": 0.9, "eps": 1e-6, "weight_decay": 0.01},
    "amsgrad": {"beta1": 0.9, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.01},
    "amsgradw": {"beta1": 0.9, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.01},
    "nadam": {"beta1": 0.9, "beta2": 0.999, "momentum_decay": 4e-3, "eps": 1e-8, "weight_decay": 0.01},
    "radam": {"beta1": 0.9, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.01},
    "rmsprop_momentum": {"momentum": 0.8, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.01},
    "rmsprop_centered": {"momentum": 0.8, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.01},
}

# w after three steps at learning rate 0.1 with these settings, by PyTorch 2.13 in float64; Lion after its paper
W = [1.0, -2.0, 0.5]
GRADIENTS = [[0.5, -1.0, 0.25], [0.1, 0.2, -0.3], [-0.4, 0.0, 1.5]]
PYTORCH = {
    "sgd": [0.977112949, -1.914185898, 0.3535214745],
    "momentum": [0.8764320473599999, -1.7496384947199999, 0.35539362368],
    "nesterov": [0.869465558191, -1.695186716382, 0.20645642909550002],
    "adagrad": [0.9346455971881671, -1.9149584632306909, 0.38416358992122085],
    "rmsprop": [0.8186777617475524, -1.7366878724516719, 0.1219933181419785],
    "adam": [0.8072158045561845, -1.804957449198883, 0.35329662264097234],
    "adamw": [0.8076091694498291, -1.8036519313891806, 0.35394020040694457],
    "rprop": [0.78, -1.9, 0.35],
    "lion": [0.897302899, -1.8941058979999998, 0.39860139949999995],
    "adadelta": [0.9998698339044586, -1.9997560646958443, 0.49948862976450603],
    "amsgrad": [0.8073567243306436, -1.806977913572034, 0.355916478415539],
    "amsgradw": [0.808012289950041, -1.805203571585568, 0.3565286749504447],
    "nadam": [0.9277505130295509, -1.89912978266816, 0.36050595614519637],
    "radam": [0.9146207358710429, -1.834050172460672, 0.42461761206059423],
    "rmsprop_momentum": [0.3095244565362222, -1.3292258840509819, -0.13689245955979895],
    "rmsprop_centered": [0.25956736461616237, -1.290624567986138, -0.19208277342471758],
}


def arguments(name, learning_rate, step):
    return [learning_rate, *SETTINGS[name].values()] + ([] if name in WITHOUT_STEP else [step])


def update(name, w, g, buffers, learning_rate, step):
    rule = OPTIMIZERS[CODE[name]]
    own = [rule.record(SETTINGS[name]), learning_rate, step] if name in OF_THE_FACTORY else arguments(name, learning_rate, step)
    getattr(kernels, f"{name}_update")(w, g, *buffers, *own)


def task_update(name, w, g, buffers, learning_rate, step, **other):
    update_with_task(OPTIMIZERS[CODE[name]], {**SETTINGS[name], **other}, w, g, buffers, learning_rate, step)


def start(name, n, dtype):
    rng = np.random.default_rng(n)
    gradients = [rng.standard_normal(n).astype(dtype) for _ in range(4)]
    return rng.standard_normal(n).astype(dtype), gradients, [np.zeros(n, dtype) for _ in OPTIMIZERS[CODE[name]].buffers]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RULES)
def test_against_the_twin(name, dtype):
    for n in (37, 1, 0):
        w, gradients, buffers = start(name, n, dtype)
        expected = [array.astype(np.float64) for array in [w, *buffers]]
        for step, g in enumerate(gradients, 1):
            before = g.copy()
            update(name, w, g, buffers, 0.01, step)
            assert_same_bits(g, before)
            expected = getattr(reference, name)(expected[0], g.astype(np.float64), *expected[1:], *arguments(name, 0.01, step))
        for actual, twin in zip([w, *buffers], expected):
            assert_close(actual, twin)


@pytest.mark.parametrize("name", RULES)
def test_against_pytorch(name):
    w, buffers = np.array(W), [np.zeros(3) for _ in OPTIMIZERS[CODE[name]].buffers]
    for step, g in enumerate(GRADIENTS, 1):
        update(name, w, np.array(g), buffers, 0.1, step)
    np.testing.assert_allclose(w, PYTORCH[name], rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RULES)
def test_the_task_does_the_same_and_keeps_the_way_back(name, dtype):
    w, gradients, buffers = start(name, 600, dtype)
    w2, buffers2 = w.copy(), [buffer.copy() for buffer in buffers]
    for step, g in enumerate(gradients, 1):
        old = w2.copy()
        update(name, w, g, buffers, 0.01, step)
        task_update(name, w2, g, buffers2, 0.01, step)
        assert_same_bits(g, old)
        for actual, expected in zip([w2, *buffers2], [w, *buffers]):
            assert_same_bits(actual, expected)


@pytest.mark.parametrize("name", RULES)
def test_padding_stays_zero(name):
    _, _, buffers = start(name, 8, np.float32)
    w, g = np.zeros(8, np.float32), np.zeros(8, np.float32)
    for step in range(1, 4):
        task_update(name, w, g, buffers, 0.1, step)
    assert_same_bits(w, np.zeros(8, np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["momentum", "nesterov", "rmsprop", "adam", "adamw", "lion", "adadelta", "amsgrad", "nadam", "rmsprop_centered"])
def test_buffers_do_not_end_as_denormal_numbers(name, dtype):
    """As programs run the tasks: with 0 in the place of denormal numbers."""
    smallest = np.finfo(dtype).tiny
    w, g = np.ones(3, dtype), np.zeros(3, dtype)
    buffers = [np.array([2 * smallest, 3 * smallest, np.nan], dtype) for _ in OPTIMIZERS[CODE[name]].buffers]
    before = kernels.set_flush_denormal(True)
    for step in range(1, 100):
        g[:] = 0  # where the task keeps the old weights
        task_update(name, w, g, buffers, 0.1, step, weight_decay=0.0)  # weight decay is a gradient
    kernels.set_flush_denormal(before)
    for buffer in buffers:
        assert all(x == 0 or abs(x) >= smallest for x in buffer[:2]) and np.isnan(buffer[2])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_million_steps_of_bias_correction(name):
    w, g, buffers = np.array([1.0]), np.array([0.5]), [np.array([0.5]), np.array([0.25])]
    expected = getattr(reference, name)(w, g, *buffers, *arguments(name, 0.01, 10**6))
    update(name, w, g, buffers, 0.01, 10**6)
    np.testing.assert_allclose(w, expected[0], rtol=1e-14)


@pytest.mark.parametrize("name", RULES)
def test_nan_is_not_swallowed(name):
    w, gradients, buffers = start(name, 5, np.float64)
    gradients[0][2] = np.nan
    update(name, w, gradients[0], buffers, 0.1, 1)
    np.testing.assert_array_equal(np.isnan(w), [False, False, True, False, False])


@pytest.mark.parametrize("name", RULES)
def test_wrong_shape(name):
    w, _, buffers = start(name, 5, np.float64)
    with pytest.raises(ValueError, match=f"^{name}_update: .* must have the shape of w"):
        update(name, w, np.zeros(4), buffers, 0.1, 1)


def test_every_rule_has_its_buffers_and_numbers_by_name():
    for name, code in CODE.items():
        rule = OPTIMIZERS[code]
        assert (rule.name, tuple(rule.hyper)) == (name, tuple(SETTINGS[name]))
        assert all(rule.hyper.values())
        record = rule.record(SETTINGS[name])
        assert record.dtype.names == tuple(SETTINGS[name])
        assert record[0].tolist() == rule.record(list(SETTINGS[name].values()))[0].tolist() == tuple(SETTINGS[name].values())
        for wrong in ([], {"beta9": 1.0}, [1.0] * 9):
            with pytest.raises(ValueError, match="^hyper must have the numbers .* got"):
                rule.record(wrong)


def test_strided_and_read_only():
    w, gradients, buffers = start("adam", 9, np.float64)
    strided = [np.repeat(array, 2)[::2] for array in [w, *buffers]]
    update("adam", w, gradients[0], buffers, 0.1, 1)
    update("adam", strided[0], awkward(gradients[0]), strided[1:], 0.1, 1)
    for actual, expected in zip(strided, [w, *buffers]):
        assert_same_bits(actual, expected)


def test_from_nopython_code_serial_and_in_prange():
    adam_update = kernels.adam_update

    @numba.njit
    def one(w, g, m, v, step):  # a literal would compile another kernel
        adam_update(w, g, m, v, 0.1, 0.9, 0.999, 1e-8, 0.01, step)

    @numba.njit(parallel=True)
    def each(w, g, m, v, step):
        for i in numba.prange(w.shape[0]):
            adam_update(w[i], g[i], m[i], v[i], 0.1, 0.9, 0.999, 1e-8, 0.01, step)

    arrays = np.random.default_rng(0).random((4, 5, 6))
    serial, parallel = arrays.copy(), arrays.copy()
    for i in range(5):
        update("adam", arrays[0, i], arrays[1, i], [arrays[2, i], arrays[3, i]], 0.1, 1)
        one(*serial[:, i], 1)
    each(*parallel, 1)
    assert_same_bits(serial, arrays)
    assert_same_bits(parallel, arrays)
