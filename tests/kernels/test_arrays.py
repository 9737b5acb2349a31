"""What public kernels are given wrongly is refused with one sentence, from Python and from nopython code, before anything is written.

`GOOD` says for each kernel what it takes: a line to write for a new one. The misuses are made from it: each array with another
dtype, with another shape, over the memory of another one; each code out of its range.
"""

import inspect

import numba
import numpy as np
import pytest

import kernels

N, M = 3, 4
RULES = {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1, "lr_decay": 0.1, "alpha": 0.9, "eps": 1e-8}
RULES |= {"beta1": 0.9, "beta2": 0.99, "eta_minus": 0.5, "eta_plus": 1.2, "min_step": 1e-6, "max_step": 50.0, "step": 1}


def floats(shape, dtype):
    return np.linspace(0.1, 0.9, int(np.prod(shape))).astype(dtype).reshape(shape)


class Door:
    """What a kernel takes.

    Parameters
    ----------
    arrays : dict of str to shape
        Its arrays of float32 or float64, all of one dtype.
    written : tuple of str
        Those that it writes.
    replaces : dict of str to str
        Which array a written one may be.
    others : dict
        Arguments of other kinds; those that are integers or arrays of integers may not be floats.
    wrong : dict of str to list
        Values that are out of their range.
    """

    def __init__(self, arrays, written, replaces=None, others=None, wrong=None):
        self.arrays, self.written, self.replaces, self.others, self.wrong = arrays, written, replaces or {}, others or {}, wrong or {}

    def arguments(self, kernel, dtype):
        values = {name: floats(shape, dtype) for name, shape in self.arrays.items()} | self.others
        return {name: values[name] for name in inspect.signature(kernel.compiled.py_func).parameters}


def elementwise(*names, others=None, wrong=None, replaces=True):
    return Door(dict.fromkeys(names, (N, M)), names[-1:], {names[-1]: names[-2]} if replaces else {}, others, wrong)


def rule(name):
    record = next(one for one in kernels.OPTIMIZERS.values() if one.name == name)
    hyper = {"hyper": record.record([0.5] * len(record.hyper))}
    parameters = list(inspect.signature(getattr(kernels, f"{name}_update").compiled.py_func).parameters)
    arrays = [one for one in parameters if one not in RULES | hyper]
    return Door(
        dict.fromkeys(arrays, (M,)), [one for one in arrays if one != "g"], others={one: (RULES | hyper)[one] for one in parameters if one in RULES | hyper}
    )


ACTIVATIONS = [one.name for one in (kernels.ACTIVATIONS | kernels.ROW_ACTIVATIONS).values()]
CODE = {"activation": kernels.GELU}
WRONG_CODE = {"activation": [-1, 99]}
SEEDS = {"seed": [-1]}
LABELS = {"labels": [np.array([0, 1, M]), np.array([0, -1, 1]), np.array([0, 1])]}
DROPOUT = {"others": {"rate": 0.5, "seed": 1, "step": 2, "layer": 3}, "wrong": {**SEEDS, "rate": [-0.1, 1.0, np.nan], "layer": [-1, 1 << 28]}}

GOOD = {
    **{f"{name}_forward": elementwise("Z", "out") for name in ACTIVATIONS},
    **{f"{name}_backward": elementwise("saved", "dA", "out") for name in ACTIVATIONS},
    "activation_forward": elementwise("Z", "out", others=CODE, wrong=WRONG_CODE),
    "activation_backward": elementwise("saved", "dA", "out", others=CODE, wrong=WRONG_CODE),
    **{name: elementwise("Z", "out") for name in ("exp", "expm1", "log", "log1p", "tanh", "erf")},
    **{one.name: elementwise("A", "T", "dA", others={"scale": 0.5}, replaces=False) for one in kernels.LOSSES.values()},
    **{name: elementwise("A", "T", "dA", others={"scale": 0.5, "parameter": 0.5}, replaces=False) for name in ("poisson", "quantile", "binary_focal")},
    "huber": elementwise("A", "T", "dA", others={"scale": 0.5, "delta": 1.0}, replaces=False),
    "softmax_cross_entropy": elementwise("logits", "dlogits", others={"labels": np.array([0, 3, 1]), "scale": 0.5}, wrong=LABELS),
    "softmax_cross_entropy_dense": elementwise("logits", "targets", "dlogits", others={"scale": 0.5}, replaces=False),
    **{f"{one.name}_update": rule(one.name) for one in kernels.OPTIMIZERS.values()},
    "permutation": Door({}, (), others={"seed": 1, "epoch": 2, "out": np.zeros(5, np.int64)}, wrong=SEEDS),
    "random_uniform": Door({"out": (N, M)}, ("out",), others={"seed": 1, "stream": 2, "low": 0.0, "high": 1.0}, wrong={**SEEDS, "stream": [-1, 1 << 28]}),
    "random_normal": Door({"out": (N, M)}, ("out",), others={"seed": 1, "stream": 2, "mean": 0.0, "std": 1.0}, wrong={**SEEDS, "stream": [-1, 1 << 28]}),
    "dropout_forward": elementwise("X", "out", **DROPOUT),
    "dropout_backward": elementwise("dA", "out", **DROPOUT),
}

# Their checks are elsewhere: see tests/kernels/test_linear.py, test_network.py and test_random.py.
ELSEWHERE = {"gather", "linear_backward", "linear_forward", "loss_scale", "matmul", "pack", "unpack"}
ELSEWHERE |= {name for name in kernels.__all__ if name.startswith("network_")}


def test_every_public_kernel_is_here():
    public = {name for name in kernels.__all__ if isinstance(getattr(kernels, name), kernels._jit.Kernel)}
    assert public == GOOD.keys() | ELSEWHERE


def copies(arguments):
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in arguments.items()}


def refused(kernel, arguments, kinds=(TypeError, ValueError)):
    """Call a kernel, which must say one sentence that begins with its name, and must not write."""
    before = copies(arguments)
    with pytest.raises(kinds) as caught:
        kernel(*arguments.values())
    assert str(caught.value).startswith(kernel.__name__), caught.value
    for name, value in arguments.items():
        np.testing.assert_array_equal(value, before[name])
    return str(caught.value)


@pytest.mark.parametrize("name", GOOD)
def test_good_arguments_are_taken_and_only_what_is_said_is_written(name):
    kernel, door = getattr(kernels, name), GOOD[name]
    arguments = door.arguments(kernel, np.float32)
    before = copies(arguments)
    kernel(*arguments.values())
    for array in set(arguments) - set(door.written) - {"out"}:
        np.testing.assert_array_equal(arguments[array], before[array])
    for out, source in door.replaces.items():
        expected = arguments[out]
        again = copies(before)
        again[out] = again[source]
        kernel(*again.values())
        np.testing.assert_array_equal(again[out], expected)


@pytest.mark.parametrize("name", GOOD)
def test_another_shape_is_refused(name):
    kernel, door = getattr(kernels, name), GOOD[name]
    for array, shape in door.arrays.items():
        if len(door.arrays) > 1:
            arguments = door.arguments(kernel, np.float32)
            arguments[array] = floats((*shape[:-1], shape[-1] + 1), np.float32)
            assert " must have the shape of " in refused(kernel, arguments, ValueError)


# Each layout and dtype compiles a kernel anew: so one kernel of each kind.
KINDS = ["identity_backward", "softmax_forward", "exp", "huber", "softmax_cross_entropy", "softmax_cross_entropy_dense"]
KINDS += ["lion_update", "permutation", "random_uniform", "dropout_forward"]
STRIDED = ["identity_backward", "exp", "lion_update"]


def beneath(array):
    """Return (the same numbers in memory that has room before them, an array of that shape and layout that lies over them in part)."""
    room = np.zeros(array.size + 1, array.dtype)
    room[1:] = array.ravel()
    return room[1:].reshape(array.shape), room[:-1].reshape(array.shape)


@pytest.mark.parametrize("name", [name for name, door in GOOD.items() if len(door.arrays) > 1])
def test_overlapping_arrays_are_refused(name):
    kernel, door = getattr(kernels, name), GOOD[name]
    for out in door.written:
        for source in set(door.arrays) - {out}:
            arguments = door.arguments(kernel, np.float32)
            arguments[source], arguments[out] = beneath(arguments[source])
            assert " share no memory" in refused(kernel, arguments, ValueError)
            if name in STRIDED:
                arguments[out] = arguments[source][::-1]
                refused(kernel, arguments, ValueError)
            if door.replaces.get(out) != source:
                arguments[out] = arguments[source]
                refused(kernel, arguments, ValueError)


@pytest.mark.parametrize("name", [name for name, door in GOOD.items() if door.wrong])
def test_values_out_of_range_are_refused(name):
    kernel, door = getattr(kernels, name), GOOD[name]
    for argument, values in door.wrong.items():
        for value in values:
            message = refused(kernel, door.arguments(kernel, np.float32) | {argument: value}, ValueError)
            assert f" {argument} must be " in message


@pytest.mark.parametrize("name", KINDS)
def test_another_dtype_is_refused(name):
    kernel, door = getattr(kernels, name), GOOD[name]
    for array in door.arrays:
        arguments = door.arguments(kernel, np.float32)
        message = refused(kernel, arguments | {array: arguments[array].astype(np.float64 if len(door.arrays) > 1 else np.int32)}, TypeError)
        assert "must be" in message or "cannot take these arguments" in message
    for argument, value in door.others.items():
        if isinstance(value, int) or (isinstance(value, np.ndarray) and value.dtype == np.int64):
            wrong = value.astype(np.float64) if isinstance(value, np.ndarray) else float(value)
            if argument != "step" or name == "dropout_forward":
                refused(kernel, door.arguments(kernel, np.float32) | {argument: wrong}, TypeError)


@pytest.mark.parametrize("name", GOOD)
def test_read_only_arrays_are_not_written(name):
    kernel, door = getattr(kernels, name), GOOD[name]
    for out in door.written or ["out"]:
        arguments = copies(door.arguments(kernel, np.float32))
        arguments[out].flags.writeable = False
        refused(kernel, arguments, TypeError)


@pytest.mark.parametrize("name", GOOD)
def test_arrays_with_a_mask_are_refused_after_arrays_without(name):
    kernel, door = getattr(kernels, name), GOOD[name]
    kernel(*door.arguments(kernel, np.float32).values())
    for array in door.arrays:
        arguments = door.arguments(kernel, np.float32)
        assert "masked float32" in refused(kernel, arguments | {array: np.ma.masked_less(arguments[array], 0.5)}, TypeError)


@pytest.mark.parametrize("name", [*KINDS, "poisson", "random_normal", "dropout_backward"])
def test_an_array_for_a_number_is_refused(name):
    kernel, door = getattr(kernels, name), GOOD[name]
    for argument, value in door.others.items():
        if isinstance(value, (int, float)):
            refused(kernel, door.arguments(kernel, np.float32) | {argument: np.full(N, value)}, TypeError)


@pytest.mark.parametrize("name", [name for name in GOOD if name.endswith("_update")])
def test_rules_take_flat_arrays_only(name):
    kernel = getattr(kernels, name)
    arguments = GOOD[name].arguments(kernel, np.float32)
    refused(kernel, arguments | {array: floats((M, 3), np.float32) for array in GOOD[name].arrays}, TypeError)


def test_a_permutation_is_of_one_dimension():
    refused(kernels.permutation, {"seed": 0, "epoch": 0, "out": np.zeros((3, 2), np.int64)}, TypeError)


def test_lists_are_no_arrays():
    refused(kernels.identity_forward, {"Z": [1.0], "out": np.zeros(1)}, TypeError)


@pytest.mark.parametrize("dtype", ["i8", "c16", "f2", "?"])
def test_dtypes_that_no_kernel_calculates_in_are_refused(dtype):
    array = np.ones(3, dtype)
    refused(kernels.identity_forward, {"Z": array, "out": array.copy()}, TypeError)


def test_interleaved_arrays_do_not_overlap():
    table = floats((6, 8), np.float32)
    Z, out = table[:, :4], table[:, 4:]
    kernels.relu_forward(Z, out)
    np.testing.assert_array_equal(out, Z)
    kernels.relu_forward(table[::2], table[1::2])
    np.testing.assert_array_equal(table[::2], table[1::2])
    kernels.relu_forward(table[::-2], table[::2])
    np.testing.assert_array_equal(table[::-2], table[::2])
    flat = floats(9, np.float32)
    kernels.sgd_update(flat[::3], flat[1::3], 0.1, 0.0)
    for Z, out in ((table[:, :4], table[:, 3:7]), (table[1:], table[:-1]), (table, table[::-1]), (table[:6, :6], table[:6, :6].T)):
        with pytest.raises(ValueError, match="relu_forward: out must be Z itself or share no memory with it"):
            kernels.relu_forward(Z, out)


def test_what_is_empty_or_of_one_element_has_no_layout():
    empty, one = np.zeros((0, 4)), np.ones((1, 1))
    kernels.relu_forward(empty, empty[:, ::-1])
    kernels.relu_forward(one, one.T)
    kernels.relu_forward(np.ones(())[...], np.zeros(()))


def test_nopython_code_gets_the_literal_sentence():
    relu_backward, squared_error, adam_update = kernels.relu_backward, kernels.squared_error, kernels.adam_update
    dropout_forward = kernels.dropout_forward

    @numba.njit
    def user(a, b, c):
        relu_backward(a, b, c)

    @numba.njit
    def users(kind, a, b, c, zero):  # a literal would compile another kernel
        if kind == 0:
            relu_backward(a, b, c)
        elif kind == 1:
            squared_error(a, b, 1.0, c)
        elif kind == 2:
            dropout_forward(a, 0.5, zero - 1, zero, zero, c)
        else:
            adam_update(a[0], b[0], c[0], c[1], 0.1, 0.9, 0.99, 1e-8, 0.0, zero + 1)

    a, b = floats((N, M), np.float32), floats((N, M), np.float32)
    for kind, c, sentence in (
        (0, a, "relu_backward: out must be dA itself or share no memory with saved and dA"),
        (0, np.zeros((M, N), np.float32), "relu_backward: dA and out must have the shape of saved"),
        (1, a, "squared_error: dA must share no memory with A and T"),
        (2, np.zeros_like(a), "dropout_forward: seed must be at least 0"),
        (3, a, "adam_update: w, m and v must share no memory with g"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            users(kind, a, b, c, 0)
    with pytest.raises(TypeError, match="^relu_backward: saved, dA and out must be arrays of one dtype, float32 or float64$"):
        user(a, b, np.zeros((N, M)))
