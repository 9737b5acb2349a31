"""A network inside compiled code: the bits of `predict`, for any network, any caller and any number of them."""

import contextlib
import gc
import pickle
import threading

import numpy as np
import pytest
from numba import njit, prange
from numba.core.runtime import _nrt_python, rtsys

import kernels
from fastnn import Dense, Dropout, LayerNorm, Scale, Sequential, Standardize
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


def network(dtype="float32", activation="softmax", first=None, last=None, hidden=("tanh", "relu")):
    dense = [Dense(width, name) for width, name in zip((40, 17), hidden)]
    layers = [*([first] if first else []), dense[0], Dropout(0.3), dense[1], LayerNorm(), Dense(5, activation), *([last] if last else [])]
    return Sequential(layers, n_features=21, dtype=dtype, seed=3)


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
        (X[:, 1:], Y, "predict: x must have a column for each feature"),
        (X, Y[:2], "predict: out must have a row for each row of x and a column for each output"),
        (X, Y[:, :1], "predict: out must have a row for each row of x and a column for each output"),
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
    with pytest.raises(TypeError, match="parameters must be a flat float32 array"):
        kernels.CompiledNetwork(plan, parameters.astype(float))
    with pytest.raises(ValueError, match="Standardize of X must have mean and std"):
        Sequential([Standardize(), Dense(2)], n_features=2).compiled()
