"""What the factory makes: tasks beside the public kernels, functions of users' own beside the built-in ones, and their tables."""

import pickle
import platform
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import pytest

import kernels
from kernels import inspect, scalar
from tests.functions import bend, bend_slope, swish, swish_slope
from tests.kernels.tasks import run_task, update_with_task
from tests.kernels.test_jit import run
from tests.numerics import DTYPES, assert_close, assert_same_bits


def plain_adam(w, g, m, v, learning_rate, step, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w - learning_rate * m / (1 - beta1**step) / (np.sqrt(v / (1 - beta2**step)) + eps), m, v


def plain_momentum(w, g, velocity, learning_rate, step, memory):
    velocity = memory * velocity + g
    return w - learning_rate * velocity, velocity


def plain_sgd(w, g, learning_rate, step):
    return w - learning_rate * g


SWISH = kernels.custom_activation(swish, swish_slope, [1.0])
BEND = kernels.custom_loss(bend, bend_slope, [0.7])
ADAM = kernels.custom_rule(plain_adam, ["m", "v"], ["beta1", "beta2", "eps"])


def public(record, way, *arrays):
    """Call the kernel of an activation's name, in float64 that of its code: other tests compile these two too."""
    if arrays[0].dtype == np.float32:
        getattr(record, way)(*arrays)
    else:
        getattr(kernels, f"activation_{way}")(getattr(kernels, record.name.upper()), *arrays)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "mish", "softplus"])
def test_tasks_do_what_the_public_kernels_do(name, dtype):
    record = next(one for one in kernels.ACTIVATIONS.values() if one.name == name)
    for count in (0, 1, 37):
        Z, d = (np.random.default_rng(count).standard_normal((2, 1, count)) * 3).astype(dtype)
        out, expected, gradient = np.empty_like(Z), np.empty_like(Z), np.empty_like(Z)
        public(record, "forward", Z, expected)
        run_task(record.forward_task, dtype, record.values, Z, out, count)
        assert_same_bits(out, expected)
        saved = Z if record.saves_input else out
        public(record, "backward", saved, d, gradient)
        run_task(record.backward_task, dtype, 0, saved, d, count)
        assert_same_bits(d, gradient)
        run_task(record.forward_task, dtype, 0, Z, Z, count)
        assert_same_bits(Z, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_ones_own_do_what_the_built_in_ones_do(dtype):
    Z, d, T = np.random.default_rng(0).standard_normal((3, 64)).astype(dtype)
    silu, huber = kernels.ACTIVATIONS[kernels.SILU], kernels.LOSSES[kernels.HUBER]
    results = []
    for activation, loss in ((SWISH, BEND), (silu, huber)):
        out, back, a, total = np.empty_like(Z), d.copy(), Z.copy(), np.zeros(64 // Z.itemsize, dtype)
        run_task(activation.forward_task, dtype, activation.values, Z, out, Z.size)
        run_task(activation.backward_task, dtype, activation.values, Z, back, Z.size)
        run_task(loss.task, dtype, np.array([0.7]), a, T, total, a.size, np.array([0.25]))
        results.append((out, back, a, total))
    for actual, expected in zip(*results):
        assert_close(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rule_of_ones_own_does_what_adam_does(dtype):
    hyper, built_in = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, kernels.OPTIMIZERS[kernels.ADAM]
    states = [[np.linspace(-1, 1, 300).astype(dtype), np.zeros(300, dtype), np.zeros(300, dtype)] for _ in range(2)]
    for step in range(1, 6):
        for rule, settings, (w, *buffers) in zip((ADAM, built_in), (hyper, {**hyper, "weight_decay": 0.0}), states):
            old = w.copy()
            g = np.sin(np.arange(300) * step).astype(dtype)
            update_with_task(rule, settings, w, g, buffers, 0.01, step)
            assert_same_bits(g, old)
    for actual, expected in zip(*states):
        assert_close(actual, expected, looser=3)  # its bias corrections are powers in the dtype of w


def test_rules_of_ones_own_with_one_buffer_and_none():
    w, velocity = np.ones(5), np.full(5, 2.0)
    rule = kernels.custom_rule(plain_momentum, ["velocity"], {"memory": "what stays of the velocity"})
    update_with_task(rule, [0.5], w, np.full(5, 3.0), [velocity], 0.25, 1)
    np.testing.assert_array_equal([w, velocity], [[0.0] * 5, [4.0] * 5])
    update_with_task(kernels.custom_rule(plain_sgd), [], w, np.ones(5), [], 0.5, 1)
    np.testing.assert_array_equal(w, -0.5)


def test_a_network_trains_with_functions_of_ones_own_as_with_the_built_in_ones():
    random = np.random.default_rng(0)
    X, y, losses = random.standard_normal((40, 5), np.float32), random.standard_normal((40, 3), np.float32), []
    hyper = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
    built_in = kernels.SILU, kernels.HUBER, kernels.ADAM, {**hyper, "weight_decay": 0.0}
    for activation, loss, rule, settings in ((SWISH, BEND, ADAM, hyper), built_in):
        plan = kernels.Plan([5, 17, 3], [activation, activation], [0.0, 0.2])
        parameters = np.zeros(plan.parameters_size, np.float32)
        plan.set_weight(parameters, 0, np.full((5, 17), 0.1, np.float32), np.zeros(17))
        plan.set_weight(parameters, 1, np.full((17, 3), 0.2, np.float32), np.zeros(3))
        trainer = kernels.Trainer(plan, parameters, 20, kernels.Objective(loss, 1 / 3, parameters=(0.7,)), rule, settings)
        order = np.arange(20)
        losses.append([trainer.train(X, y, order + 20 * (step % 2), step, np.full(1, 1e-2))[0] for step in range(6)])
        losses[-1].append(np.abs(kernels.predict(plan, parameters, X)).sum())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("task", [SWISH.forward_task, SWISH.backward_task, BEND.task, ADAM.task, kernels.LOSSES[kernels.LOG_COSH].task])
def test_tasks_are_loops_over_vectors_without_calls(task):
    task.address(np.float32)
    hot = inspect.find_loops(inspect._assembly(task.dispatcher.overloads[tuple(task.signature(np.float32).args)]))[0]
    assert hot.counts["bytes"] >= 16
    assert hot.counts["calls"] == 0


def test_other_parameters_compile_nothing_and_equal_functions_are_equal():
    other = kernels.custom_activation(swish, swish_slope, [2.0])
    assert other != SWISH == kernels.custom_activation(swish, swish_slope, [1.0])
    assert other.forward_task is SWISH.forward_task
    Z, out = np.ones(3), np.empty(3)
    run_task(other.forward_task, np.float64, other.values, Z, out, 3)
    assert_close(out, np.full(3, 1 / (1 + np.exp(-2.0))))


def test_compiled_functions_are_taken_too():
    compiled = kernels.custom_activation(numba.njit(swish), numba.njit(swish_slope), [1.0], name="swish")
    Z, out, expected = np.linspace(-2, 2, 9), np.empty(9), np.empty(9)
    run_task(compiled.forward_task, np.float64, compiled.values, Z, out, 9)
    run_task(SWISH.forward_task, np.float64, SWISH.values, Z, expected, 9)
    assert_same_bits(out, expected)


def test_nan_and_infinity_come_through():
    Z, out = np.array([np.nan, np.inf, -np.inf]), np.empty(3)
    run_task(SWISH.forward_task, np.float64, SWISH.values, Z, out, 3)
    np.testing.assert_array_equal(out[:2], [np.nan, np.inf])


def test_records_are_pickled_by_their_functions():
    for record in (SWISH, BEND, ADAM):
        assert pickle.loads(pickle.dumps(record)) == record
    for table in (kernels.ACTIVATIONS, kernels.LOSSES, kernels.OPTIMIZERS):
        for record in table.values():
            assert pickle.loads(pickle.dumps(record)) is record
    assert pickle.loads(pickle.dumps(kernels.mish_forward)) is kernels.mish_forward


def test_public_kernels_of_ones_own_are_their_own():
    one, Z = np.ones(3), np.array([-1.0, 0.5, 2.0])
    for factor in (2.0, 3.0):  # of one name: what is found on the disk by it is another's
        out, slope, gradient, w = np.empty(3), np.empty(3), np.empty(3), np.ones(3)
        activation = kernels.custom_activation(lambda z, b: factor * b * z, lambda z, b: factor * b, [0.5], name="own")
        activation.forward(Z, out)
        activation.backward(Z, one, slope)
        np.testing.assert_array_equal([out, slope], [factor * 0.5 * Z, np.full(3, factor * 0.5)])
        loss = kernels.custom_loss(lambda a, t, b: factor * b * (a - t), lambda a, t, b: factor * b, [0.5], name="own")
        assert loss.kernel(one, np.zeros(3), 1.0, gradient) == 1.5 * factor
        np.testing.assert_array_equal(gradient, np.full(3, factor * 0.5))
        for n_buffers in range(4):
            names = [f"s{k}" for k in range(n_buffers)]
            takes = (lambda w, g, rate, step: w - factor * rate * g, lambda w, g, a, rate, step: (w - factor * rate * g, a))
            more = (lambda w, g, a, b, rate, step: (w - factor * rate * g, a, b), lambda w, g, a, b, c, rate, step: (w - factor * rate * g, a, b, c))
            rule = kernels.custom_rule((takes + more)[n_buffers], names)
            w = np.ones(3)
            rule.update(w, one, *np.zeros((n_buffers, 3)), rule.record([]), 0.25, 1)
            np.testing.assert_array_equal(w, np.full(3, 1 - factor * 0.25))


def test_a_function_of_ones_own_returns_a_number():
    with pytest.raises(TypeError, match="must be what Numba can compile"):
        kernels.custom_activation(lambda z: np.ones(3), lambda z: 1.0).forward_task.address("float32")


def raising(z):
    assert z > 0
    return z


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: kernels.custom_activation(3, swish_slope), TypeError, r"f must be a function f\(z, \*parameters\); got 3\."),
        (lambda: kernels.custom_activation(swish, swish_slope), ValueError, r"f must take 1 argument, z, one for each of `parameters`; got f\(z, b\)\."),
        (lambda: kernels.custom_activation(swish, swish_slope, [np.nan]), ValueError, r"parameters must be finite; got \(nan,\)\."),
        (lambda: kernels.custom_loss(bend, bend_slope, [1, 2]), ValueError, r"f must take 4 arguments"),
        (lambda: kernels.custom_activation(swish, swish_slope, 2.0), TypeError, r"parameters must be a sequence of numbers; got 2\.0\."),
        (lambda: kernels.custom_activation(swish, swish_slope, "2"), TypeError, r"parameters must be a sequence of numbers; got '2'\."),
        (lambda: kernels.custom_activation(raising, swish_slope), ValueError, r"f must not raise or assert: where tasks call it, nobody hears of that; got"),
        (lambda: kernels.custom_rule(plain_sgd, [], [""]), TypeError, r"hyper must be a sequence of names; got \[''\]\."),
        (lambda: kernels.custom_rule(plain_sgd, "mv"), TypeError, r"buffers must be a sequence of names; got 'mv'\."),
        (lambda: kernels.custom_rule(plain_sgd, ["a", "b", "c", "d"]), ValueError, r"buffers must be at most 3 names"),
        (lambda: kernels.custom_rule(plain_sgd, ["a"]), ValueError, r"f must take 5 arguments, w, g, a, learning_rate, step; got"),
        (lambda: kernels.custom_loss(lambda a, t: a.x, lambda a, t: a).task.address(np.float64), TypeError, "must be what Numba can compile"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_tables_are_the_public_names():
    for code, record in (kernels.ACTIVATIONS | kernels.ROW_ACTIVATIONS).items():
        assert getattr(kernels, record.name.upper()) == code
        assert getattr(kernels, f"{record.name}_forward") is record.forward
        assert getattr(kernels, f"{record.name}_backward") is record.backward
    for code, loss in kernels.LOSSES.items():
        assert getattr(kernels, loss.name.upper() if code != kernels.BINARY_CROSS_ENTROPY else "BINARY_CROSS_ENTROPY") == code
        assert loss.parameters or getattr(kernels, loss.name) is loss.kernel
    for code, rule in kernels.OPTIMIZERS.items():
        assert getattr(kernels, rule.name.upper()) == code
        assert f"{rule.name}_update" in kernels.__all__
    assert tuple(code for code, one in kernels.ACTIVATIONS.items() if one.saves_input) == kernels.SAVES_INPUT


def test_no_public_name_hides_a_private_module():
    for path in Path(kernels.__file__).parent.glob("_[a-z]*.py"):
        assert isinstance(getattr(kernels, path.stem), ModuleType)


def test_the_scalar_functions_are_those_of_arrays():
    Z, out = np.array([[0.3]]), np.empty((1, 1))
    for name in ("exp", "expm1", "log", "log1p", "tanh", "erf"):
        getattr(kernels, name)(Z, out)
        assert getattr(scalar, name)(0.3) == out[0, 0]
    assert scalar.absolute(-2.0) == 2.0


def test_kernels_of_one_factory_do_not_take_each_others_machine_code(tmp_path):
    code = """
        from tests.kernels.tasks import run_task
        Z, out = np.array([-1.0, 2.0]), np.empty(2)
        for name in ("relu_forward", "elu_forward", "exp"):
            getattr(kernels, name)(Z, out); print(out.round(3).tolist())
        for code in (kernels.TANH, kernels.SIGMOID):
            run_task(kernels.ACTIVATIONS[code].forward_task, "float64", 0, Z, out, 2); print(out.round(3).tolist())
        print(len(kernels.compilations()))
        own = kernels.custom_activation(lambda z: z, lambda z: 1.0); own.forward_task.address("float64")
        """
    first, second = (run(code, NUMBA_CACHE_DIR=str(tmp_path)).stdout.splitlines() for _ in range(2))
    assert first[:5] == second[:5] == ["[0.0, 2.0]", "[-0.632, 2.0]", "[0.368, 7.389]", "[-0.762, 0.964]", "[0.269, 0.881]"]
    assert int(first[5]) >= 5 and second[5] == "0"
