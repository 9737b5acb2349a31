"""A network inside compiled code: the bits of `predict`, for any network, any caller and any number of them."""

import contextlib
import ctypes
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from numba import njit, prange
from numba.core.runtime import _nrt_python, rtsys
from numba.typed import List

import kernels
from fastnn import BatchNorm, Dense, Dropout, GaussianNoise, LayerNorm, PReLU, Residual, Scale, Sequential, Standardize, trainers
from fastnn.layers import ACTIVATIONS
from kernels import compiled
from tests.numerics import assert_same_bits


@njit
def one_by_one(model, X, out):
    for i in range(X.shape[0]):
        model.predict(X[i], out[i])


@njit
def together(model, X, out):
    model.predict(X, out)


@njit(parallel=True)
def in_threads(model, X, out):
    for i in prange(X.shape[0]):
        model.predict(X[i], out[i])


@njit
def facts(model):
    model.parameters[0] += 1
    return model, model.n_features, model.n_outputs, model.parameters[2:5]


@contextlib.contextmanager
def counting():
    """Let Numba count what it allocates."""
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


def network(dtype="float32", activation="softmax", first=None, last=None, hidden=("tanh", "relu"), seed=3):
    dense = [Dense(width, name) for width, name in zip((40, 17), hidden)]
    layers = [*([first] if first else []), dense[0], Dropout(0.3), dense[1], LayerNorm(), Dense(5, activation), *([last] if last else [])]
    return Sequential(layers, n_features=21, dtype=dtype, seed=seed)


def rows(n=75, dtype="float32"):
    return np.random.default_rng(0).normal(2, 3, (n, 21)).astype(dtype)


def check(net, X, out_dtype=None, functions=(together,)):
    model, expected = net.compiled(), net.predict(X)
    for function in functions:
        out = np.full(expected.shape, np.nan, out_dtype or expected.dtype)
        function(model, X, out)
        assert_same_bits(out, expected.astype(out.dtype))
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_alone_and_together_have_the_bits_of_predict(dtype):
    check(network(dtype), rows(dtype=dtype), functions=(one_by_one, together))


def test_every_other_layer():
    block = Residual([Dense(40, "relu"), BatchNorm(), Dense(21)])
    layers = [GaussianNoise(0.1), block, PReLU(), Dense(9, "tanh"), Dropout(0.1), Residual([Dense(9, "relu")])]
    net, X = Sequential(layers, n_features=21, seed=1), rows()
    net.fit(X, X[:, :9], verbose=0)
    check(net, X, functions=(one_by_one, together))
    check_slope(net, X, X[:, :9].astype(np.float64))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    check(network(activation=activation, hidden=(activation, "elu") if activation not in ("softmax", "log_softmax") else ("tanh", "selu")), rows())


@pytest.mark.parametrize(
    "first, last",
    [
        (Scale(0.25, 0.5), None),
        (Scale(tuple(np.linspace(0.1, 2, 21)), 0.5), None),
        (Standardize(tuple(np.linspace(-1, 2, 21)), tuple(np.linspace(0, 2, 21))), Standardize(tuple(range(5)), (2, 0, 1, 3, 1e3), targets=True)),
    ],
)
def test_what_is_done_to_the_data_on_the_way_in_and_out(first, last):
    check(network("float32", "identity", first, last), rows(), np.float64)
    if last is not None:
        check(network("float32", "identity", first, last), rows(), np.float32)


def test_rows_of_another_dtype_and_layout():
    net = network("float32", "identity", Scale(1 / 255))
    X = rows().clip(0, 5).astype(np.uint8)
    check(net, X)
    check(net, np.asfortranarray(X)[::2, ::-1])
    check(net, X[:1])


def test_threads_of_all_kinds_may_call_one_model_at_once():
    net, X = network(), rows(3000)
    model, expected = net.compiled(), net.predict(X)
    in_threads(model, X, np.empty_like(expected))  # compiled
    outs = [np.full_like(expected, np.nan) for _ in range(2 * len(model.slots))]
    callers = [threading.Thread(target=one_by_one, args=(model, X, out)) for out in outs]
    for one in callers:
        one.start()
    in_threads(model, X, last := np.full_like(expected, np.nan))
    for one in callers:
        one.join()
    for out in [*outs, last]:
        assert_same_bits(out, expected)
    assert not model.slots["taken"].any()


@njit(parallel=True)
def of_each(models, x, out):
    for k in prange(len(models)):
        models[np.int64(k)].predict(x, out[k])
    return models[1], models[2].parameters


def test_a_list_of_models_holds_them():
    nets, X = [network(seed=seed) for seed in range(8)], rows(1)
    out, expected = np.empty((8, 5), np.float32), np.concatenate([net.predict(X) for net in nets])
    models = List([net.compiled() for net in nets])
    gc.collect()
    _ = [np.random.default_rng(0).integers(0, 2**60, 1000) for _ in range(1000)]  # takes the memory of what was freed
    second, parameters = of_each(models, X[0], out)
    assert_same_bits(out, expected)
    finalized = []
    weakref.finalize(second, finalized.append, 1)
    assert parameters is nets[2].parameters
    del models, parameters, nets
    gc.collect()
    together(second, X, out[:1])
    assert_same_bits(out[0], expected[1])
    assert not finalized
    del second
    gc.collect()
    assert finalized


def test_it_follows_the_parameters_of_the_network():
    net, X = network(), rows()
    model = check(net, X)
    net.fit(X, np.arange(75) % 5, verbose=0)
    out = np.empty((75, 5), np.float32)
    together(model, X, out)
    assert_same_bits(out, net.predict(X))
    before = net.parameters.copy()
    same, n_features, n_outputs, part = facts(model)
    assert same is model and (n_features, n_outputs) == (21, 5)
    assert net.parameters[0] == before[0] + 1 and model.parameters is net.parameters
    np.testing.assert_array_equal(part, before[2:5])


def test_parameters_outlive_the_network():
    part = facts(network().compiled())[3]
    copy = part.copy()
    gc.collect()
    _ = [network().compiled() for _ in range(3)]
    np.testing.assert_array_equal(part, copy)


def test_other_networks_compile_nothing_and_calls_allocate_nothing():
    check(network(), rows(), functions=(one_by_one,))
    n_compilations, signatures = len(kernels.compilations()), len(one_by_one.signatures)
    deep = Sequential([Dense(n, "tanh") for n in (3, 70, 2, 9, 33)] + [Dense(4, "softmax")], n_features=50)
    X, out = np.ones((4, 50), np.float32), np.empty((4, 4), np.float32)
    model = deep.compiled()
    with counting():
        before = rtsys.get_allocation_stats().mi_alloc
        one_by_one(model, X, out)
        some = rtsys.get_allocation_stats().mi_alloc - before  # the arguments
        before += some
        one_by_one(model, np.ones((900, 50), np.float32), np.empty((900, 4), np.float32))
        assert rtsys.get_allocation_stats().mi_alloc - before == some
    assert_same_bits(out, deep.predict(X))
    assert (len(kernels.compilations()), len(one_by_one.signatures)) == (n_compilations, signatures)


def test_python_calls_it_too():
    net, X = network(), rows()
    model, out = net.compiled(), np.empty((75, 5), np.float32)
    model.predict(X, out)
    assert_same_bits(out, net.predict(X))
    model.predict(X[0], out[-1])
    assert_same_bits(out[-1], out[0])
    assert repr(model) == "CompiledNetwork(21 features, 5 outputs, float32)"
    copy = pickle.loads(pickle.dumps(model))
    copy.parameters[:] = 0
    copy.predict(X[0], out[0])
    np.testing.assert_allclose(out[0], 0.2)
    model.predict(X[0], out[0])
    assert_same_bits(out[-1], out[0])


def test_a_forked_child_has_all_workspaces():
    model, X = network().compiled(), rows(1)
    model.slots["taken"] = 1  # as if other threads had been calling
    compiled._after_fork_in_child()
    model.predict(X, np.empty((1, 5), np.float32))


X, Y = np.zeros((3, 21), np.float32), np.zeros((3, 5), np.float32)


@pytest.mark.parametrize(
    "x, out, sentence",
    [
        (X[0, :-1], Y[0], "predict: x must have a number for each feature"),
        (X[0], Y[0, 1:], "predict: out must have room for each output"),
        (X[:, 1:].copy(), Y, "predict: x must have a column for each feature"),
        (X, Y[:2], "predict: out must have a row for each row of x and a column for each output"),
        (X, Y[:, :1].copy(), "predict: out must have a row for each row of x and a column for each output"),
        (X[0], X[0, :5], "predict: out must share no memory with x and the parameters"),
        (X, X[:, 3:8], "predict: out must share no memory with x and the parameters"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x, out, sentence):
    model = network().compiled()
    with pytest.raises(ValueError, match=sentence) as error:
        together(model, x, out)
    assert str(error.value) == sentence
    with pytest.raises(ValueError, match=f"{sentence}; got CompiledNetwork, float32"):
        model.predict(x, out)


@pytest.mark.parametrize(
    "x, out, sentence",
    [
        (X[0].astype(complex), Y[0], "predict: x must be a row or a matrix of real numbers; got array"),
        (X[None], Y[None], "predict: x must be a row or a matrix of real numbers; got array"),
        (X, Y.astype(int), "predict: out must be a writeable array of 2 dimensions, float32 or float64; got array"),
        (X, Y[0], "predict: out must be a writeable array of 2 dimensions, float32 or float64; got array"),
    ],
)
def test_arrays_of_another_kind_are_refused_while_compiling(x, out, sentence):
    model = network().compiled()
    with pytest.raises(Exception, match=sentence.replace("(", r"\(")):
        together(model, x, out)
    with pytest.raises(TypeError, match="predict cannot take these arguments: CompiledNetwork, "):
        model.predict(x, out)


def test_what_does_not_fit_the_plan_is_refused():
    plan = kernels.Plan((3, 2), (0,), (0.0,))
    parameters = np.zeros(plan.parameters_size, np.float32)
    with pytest.raises(ValueError, match="scale and shift must have the shape"):
        kernels.CompiledNetwork(plan, parameters, scale=np.ones(2), shift=np.ones(2))
    with pytest.raises(ValueError, match="mean must have the shape"):
        kernels.CompiledNetwork(plan, parameters, mean=np.ones(3), std=np.ones(3))
    with pytest.raises(ValueError, match="mean and std must be given both or not at all"):
        kernels.CompiledNetwork(plan, parameters, mean=np.ones(2))
    with pytest.raises(ValueError, match="mean must be finite; got"):
        kernels.CompiledNetwork(plan, parameters, mean=np.array([1, np.nan]), std=np.ones(2))
    with pytest.raises(ValueError, match="std must be finite and at least 0; got"):
        kernels.CompiledNetwork(plan, parameters, mean=np.ones(2), std=-np.ones(2))
    with pytest.raises(TypeError, match="parameters must be a flat float32 array"):
        kernels.CompiledNetwork(plan, parameters.astype(float))
    with pytest.raises(ValueError, match="Standardize of X must have mean and std"):
        Sequential([Standardize(), Dense(2)], n_features=2).compiled()


@njit
def slope(model, X, y, gradient, weights):
    return model.loss_and_gradient(X, y, gradient, weights)


@njit
def train(model, X, y, rate, epochs):
    gradient = np.empty_like(model.parameters)
    parameters, total = model.parameters, 0.0
    for _ in range(epochs):
        total = model.loss_and_gradient(X, y, gradient)
        for i in range(parameters.size):
            parameters[i] -= rate * gradient[i]
    return total


def expected_slope(net, X, y, loss, weights=None):
    chosen = net._loss(loss)
    full = trainers.full_batch(net, chosen, *net.training_data(chosen, X, y), weights, 1)
    value, gradient = full(net.parameters)
    return value, gradient.copy()


def check_slope(net, X, y, loss=None, weights=None, batch_size=40):
    model = net.compiled(batch_size, loss)
    for rows in (1, 33, 40):
        gradient = np.full_like(net.parameters, np.nan)
        some = None if weights is None else weights[:rows]
        actual = slope(model, X[:rows], y[:rows], gradient, some)
        value, expected = expected_slope(net, X[:rows], y[:rows], loss, some)
        assert actual == value
        assert_same_bits(gradient, expected)
    return model


def test_gradients_have_the_bits_of_a_full_batch():
    X, y = rows(), np.arange(75) % 5
    check_slope(network(), X, y)
    check_slope(network(), X, y, weights=np.linspace(0, 2, 75))
    net = network("float32", "identity", Standardize.of(X), Standardize(tuple(range(5)), (2, 0, 1, 3, 1e3), targets=True))
    check_slope(net, X, np.random.default_rng(2).normal(size=(75, 5)), "huber")
    check_slope(network("float64"), rows(dtype="float64"), y)
    check_slope(network(), X, y, "focal")


def test_gradients_of_probabilities_of_one_output_and_of_parts():
    X = rows()
    check_slope(network(), X, np.full((75, 5), 0.2))
    layers = [Dense(9, "gelu", trainable=False), Dense(6, "relu", l2=0.1), BatchNorm(), Dense(1, "sigmoid", bias=False)]
    check_slope(Sequential(layers, n_features=21), X, np.arange(75) % 2)


def test_a_training_loop_of_ones_own():
    net, X, y = network(), rows(), np.arange(75) % 5
    first, last = (train(net.compiled(75), X, y, 0.1, epochs) for epochs in (1, 300))
    assert last < 0.1 < first
    assert net.evaluate(X, y)["loss"] < 0.2


def test_gradients_from_several_threads_at_once():
    net, X, y = network(), rows(), np.arange(75) % 5
    model = net.compiled(75)
    value, expected = expected_slope(net, X, y, None)
    slope(model, X, y, np.empty_like(expected), None)
    gradients = [np.zeros_like(expected) for _ in range(8)]

    def many(gradient):
        for _ in range(50):
            assert slope(model, X, y, gradient, None) == value

    callers = [threading.Thread(target=many, args=(gradient,)) for gradient in gradients]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    for gradient in gradients:
        assert_same_bits(gradient, expected)


PLAN = kernels.Plan([21, 40, 17, 5], [0] * 3, [0.0] * 3, others=[(2, kernels.LayerNorm(17))])  # a network here would be compiled at import
LABELS, G = np.zeros(3, int), np.zeros(PLAN.parameters_size, np.float32)


@pytest.mark.parametrize(
    "arrays, sentence",
    [
        ((X[:, 1:].copy(), LABELS, G), "X must have a column for each feature"),
        ((X[:0], LABELS[:0], G), "X must have at least one row, and no more than the batch_size of the model"),
        ((np.repeat(X, 2, 0), np.repeat(LABELS, 2), G), "X must have at least one row, and no more than the batch_size of the model"),
        ((X, LABELS[:2], G), "y must have as many rows as X"),
        ((X, LABELS, G[1:]), "gradient must have the size of the model's parameters"),
        ((X, LABELS + 5, G), "y must hold labels of the network, 0 to n_outputs - 1"),
        ((X, LABELS - 1, G), "y must hold labels of the network, 0 to n_outputs - 1"),
        ((X, LABELS + 0.5, G), "y must be whole numbers where it holds labels"),
        ((X, X, G), "y must have a column for each output"),
        ((X, LABELS, G, np.ones(2)), "weights must have a number for each row of X"),
        ((G[:63].reshape(3, 21), LABELS, G), "gradient must share no memory with X, y, weights and the parameters"),
        ((X, G[:15].reshape(3, 5), G), "gradient must share no memory with X, y, weights and the parameters"),
        ((X, LABELS, G, G[:3]), "gradient must share no memory with X, y, weights and the parameters"),
    ],
)
def test_what_does_not_fit_a_gradient_is_refused(arrays, sentence):
    model = network().compiled(4)
    with pytest.raises(ValueError, match=f"loss_and_gradient: {sentence}; got CompiledNetwork"):
        model.loss_and_gradient(*arrays)


def test_kinds_that_do_not_fit_a_gradient_are_refused():
    model = network().compiled(4)
    with pytest.raises(ValueError, match="gradient must share no memory with"):
        model.loss_and_gradient(X, LABELS, model.parameters)
    with pytest.raises(ValueError, match="the model must be made with a batch_size"):
        network().compiled().loss_and_gradient(X, LABELS, G)
    for arrays in ((X[0], LABELS, G), (X, "3", G), (X, LABELS, G.astype(float)), (X, LABELS, G, 1.0)):
        with pytest.raises(TypeError, match="loss_and_gradient cannot take these arguments: CompiledNetwork"):
            model.loss_and_gradient(*arrays)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
        network().compiled(0)
    with pytest.raises(ValueError, match="loss must fit the last activation"):
        network().compiled(4, "squared_error")


@pytest.mark.parametrize("dtype, number", [("float32", ctypes.c_float), ("float64", ctypes.c_double)])
def test_c_calls_it(dtype, number):
    net, X = network(dtype), rows(40, dtype)
    model, out, pointer = net.compiled(), np.empty((40, 5), dtype), ctypes.POINTER(number)
    model.ctypes(model.where, X.ctypes.data_as(pointer), out.ctypes.data_as(pointer), 40)
    assert_same_bits(out, net.predict(X))
    assert model.address == ctypes.cast(model.ctypes, ctypes.c_void_p).value


def test_scipy_integrates_it():
    scipy, integrate = pytest.importorskip("scipy"), pytest.importorskip("scipy.integrate")
    net = Sequential([Dense(16, "tanh"), Dense(1)], n_features=1, seed=1)
    model = net.compiled()
    function = scipy.LowLevelCallable(model.integrand, ctypes.c_void_p(model.where))
    grid = np.linspace(0, 1, 2001)[:, None]
    np.testing.assert_allclose(integrate.quad(function, 0, 1)[0], integrate.trapezoid(net.predict(grid)[:, 0], grid[:, 0]), rtol=1e-5)
    assert np.isnan(model.integrand(2, (ctypes.c_double * 2)(), model.where))
    with pytest.raises(ValueError, match="integrand must be that of a network with a single output; got 5"):
        _ = network().compiled().integrand
