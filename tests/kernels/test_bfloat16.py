"""bfloat16: rounding and products to the bit, networks against NumPy with rounded operands, and what is made for CPUs that have the instruction."""

import dataclasses
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import kernels
from kernels import bfloat16
from kernels._jit import Task
from tests import reference
from tests.kernels.networks import CASES, data, network, objective_of, share_all
from tests.kernels.tasks import run_task
from tests.kernels.test_layer_kinds import everything, filled, scheduled
from tests.numerics import assert_close

TINY = np.finfo(np.float32).tiny


def rounded(A):
    """Return the nearest numbers of bfloat16, of two the even one, as float32; denormal numbers become zero."""
    bits = np.ascontiguousarray(A, np.float32).view(np.uint32)
    nearest = (bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)) & np.uint32(0xFFFF0000)
    nearest = np.where((bits & 0x7FFFFFFF) > 0x7F800000, (bits | 0x400000) & np.uint32(0xFFFF0000), nearest)
    return np.where((bits & 0x7FFFFFFF) < 0x800000, bits & np.uint32(0x80000000), nearest).astype(np.uint32).view(np.float32)


def in_panels(A, lines):
    """Return a matrix as (panels, lines, 16), the rest zeros."""
    n, m = A.shape
    out = np.zeros((-(-m // 16), lines, 16), A.dtype)
    for p in range(len(out)):
        part = A[:, p * 16 : (p + 1) * 16]
        out[p, :n, : part.shape[1]] = part
    return out


def halves(A):
    return (rounded(A).view(np.uint32) >> 16).astype(np.uint16)


def along(A, lines):
    """Return a matrix in pairs along its rows, as words in panels."""
    wide = np.zeros((len(A), A.shape[1] + A.shape[1] % 2), np.uint16)
    wide[:, : A.shape[1]] = halves(A)
    return in_panels(wide.view(np.uint32), lines)


def down(A, lines):
    """Return a matrix in pairs of rows, as words in panels."""
    high = np.zeros((len(A) + len(A) % 2, A.shape[1]), np.uint16)
    high[: len(A)] = halves(A)
    return in_panels(high[::2].astype(np.uint32) | (high[1::2].astype(np.uint32) << 16), lines)


def product(A, B, start):
    """Return start + A @ B, element by element as pairs are added: two fused multiply-adds, the second number first."""
    total, n = start.astype(np.float32), A.shape[1]
    A, B = (np.pad(M.astype(np.float64), pad) for M, pad in ((A, ((0, 0), (0, n % 2))), (B, ((0, n % 2), (0, 0)))))
    for pair in range(0, n, 2):
        for k in (pair + 1, pair):
            total = (total.astype(np.float64) + A[:, k, None] * B[k]).astype(np.float32)
            total[np.abs(total) < TINY] = 0
    return total


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 16), (7, 17), (12, 40), (5, 33)])
def test_both_forms(rows, columns):
    A, lines = np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32), 13
    source = in_panels(A, lines)
    source[source == 0] = np.nan  # what lies beyond the last column, or row, must not be seen
    pairs, both = np.zeros((len(source), lines, 16), np.uint32), np.zeros((len(source), lines, 16), np.uint32)
    record = bfloat16.ROUND.new(source=source.ctypes.data, n=columns, jump=lines * 16, down_jump=lines * 16, along=pairs.ctypes.data, down=both.ctypes.data)
    for panel in range(len(source)):
        for first in range(0, rows, 4):
            run_task(Task(bfloat16.round_rows), np.float32, record, first, min(rows, first + 4), panel, 0)
    words = (columns + 1) // 2  # those behind are read by nobody
    for c in range(words):
        np.testing.assert_array_equal(pairs[c // 16, :rows, c % 16], along(A, lines)[c // 16, :rows, c % 16])
    np.testing.assert_array_equal(both, down(A, lines))


def test_rounding_of_every_number():
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        A = (upper | np.uint32(low)).view(np.float32).reshape(-1, 16)
        out = np.zeros((len(A) // 2, 16), np.uint32)
        run_task(Task(bfloat16.pack_pairs), np.float32, A, len(A), out)
        np.testing.assert_array_equal(out, down(A, len(A) // 2)[0])


@pytest.mark.parametrize("size", [1.0, 1e-19, 1e-22])  # the last ones: sums that are denormal, and sums that become so
@pytest.mark.parametrize(("rows", "depth"), [(1, 1), (2, 5), (3, 16), (4, 33), (7, 64), (25, 21)])
def test_products_are_two_multiply_adds_a_pair(rows, depth, size):
    rng = np.random.default_rng(rows)
    A, B = (size * rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 3, shape) for shape in ((rows, depth), (depth, 16)))
    A, B = rounded(A), rounded(B)
    bias = (size * size * rng.standard_normal(16)).astype(np.float32)
    bias[np.abs(bias) < TINY] = 0
    words = (depth + 1) // 2
    a, b, c = along(A, rows), down(B, words), np.zeros((rows, 16), np.float32)
    run_task(Task(bfloat16.pairs_panel_product), np.float32, a, rows * 16, b, 0, bias, c, 16, 0, 0, c, words, rows, 1, b)
    np.testing.assert_array_equal(c, product(A, B, np.broadcast_to(bias, c.shape)))
    # the columns of A as rows: A^T @ C, with pairs along what was the rows
    left, zeros = rng.standard_normal((depth, 11)).astype(np.float32), np.zeros(16, np.float32)
    out = np.zeros((11, 16), np.float32)
    run_task(Task(bfloat16.pairs_column_product), np.float32, down(left, words), 0, b, 0, zeros, out, 0, 1, words, 11, 0, out, out, 0)
    np.testing.assert_array_equal(out, product(rounded(left).T, B, np.zeros((11, 16))))


def loss_and_gradients(plan, parameters, X, y, round_):
    """Return the loss and the gradient of each layer, with what products read rounded."""
    functions = {code: reference.ACTIVATIONS[one.name] for code, one in kernels.activations.ACTIVATIONS.items()}
    inputs, sums = [X], []
    for i in range(plan.n_layers):
        W, b = plan.weight(parameters, i)
        sums.append((round_(inputs[-1]).astype(np.float64) @ round_(W).astype(np.float64) + b).astype(np.float32))
        code = plan.activations[i]
        A = reference.softmax(sums[-1].astype(np.float64)) if code == kernels.SOFTMAX else functions[code][0](sums[-1].astype(np.float64))
        inputs.append(A.astype(np.float32))
    A = inputs[-1].astype(np.float64)
    if y.ndim == 1:
        loss = -np.log(A[np.arange(len(y)), y]).mean()
        d = (A - np.eye(A.shape[1])[y]) / len(y)
    else:
        loss, d = ((A - y) ** 2).sum(1).mean(), 2 * (A - y) / len(y) * functions[plan.activations[-1]][1](sums[-1].astype(np.float64))
    found = []
    for i in reversed(range(plan.n_layers)):
        dZ = round_(d.astype(np.float32)).astype(np.float64)
        found.insert(0, (round_(inputs[i]).T.astype(np.float64) @ dZ, d.sum(0)))
        if i:
            d = dZ @ round_(plan.weight(parameters, i)[0]).T.astype(np.float64) * functions[plan.activations[i - 1]][1](sums[i - 1].astype(np.float64))
    return loss, found


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 6, 33])
@pytest.mark.parametrize("case", [([5, 7, 3], ["RELU", "SOFTMAX"]), ([20, 33, 18, 40], ["RELU", "RELU", "SOFTMAX"]), ([1, 1, 2], ["RELU", "SIGMOID"])])
def test_loss_and_gradient_are_those_of_rounded_operands(case, rows, n_threads, monkeypatch):
    share_all(monkeypatch)
    widths, names = case
    codes = [getattr(kernels, name) for name in names]
    plan, parameters = network(widths, codes, np.float32)
    plan = dataclasses.replace(plan, bfloat16=True)
    X, y = data(rows, plan, codes[-1] == kernels.SOFTMAX)
    objective = kernels.Objective(kernels.CROSS_ENTROPY if y.ndim == 1 else kernels.SQUARED_ERROR)
    loss, expected = loss_and_gradients(plan, parameters, X, y, rounded)
    value, gradient = kernels.loss_and_gradient(plan, parameters, X, y, objective, n_threads=n_threads)
    np.testing.assert_allclose(value, loss, rtol=1e-6)
    assert (gradient[~plan.mask()] == 0).all()
    for i, arrays in enumerate(expected):
        for ours, theirs in zip(plan.weight(gradient, i), arrays):
            # a gradient within a rounding of the middle of two numbers may go to the other one: some in a thousand
            assert np.abs(ours - theirs).max() <= 3e-3 * np.abs(theirs).max() + 1e-7
            assert np.median(np.abs(ours - theirs)) <= 1e-5 * np.abs(theirs).max() + 1e-7


@pytest.mark.parametrize("case", CASES)
def test_losses_and_outputs_beside_float32(case):
    widths, codes, loss, labels = case
    plan, parameters = network(widths, codes, np.float32)
    X, y = data(40, plan, labels)
    half = dataclasses.replace(plan, bfloat16=True)
    (a, g), (b, h) = (kernels.loss_and_gradient(one, parameters, X, y, objective_of(loss)) for one in (plan, half))
    assert a != b  # it was rounded
    np.testing.assert_allclose(b, a, rtol=1e-2)
    assert np.linalg.norm(g - h) < 0.05 * np.linalg.norm(g)
    for n in (1, 2, 3, 5):  # few rows: other tiles, the same chains
        assert kernels.predict(half, parameters, X[:n]).tobytes() == kernels.predict(half, parameters, X)[:n].tobytes()
    assert_close(kernels.predict(half, parameters, X), kernels.evaluate(half, parameters, X, y, objective_of(loss))[1])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_every_kind_of_layer_beside_float32(n_threads, monkeypatch):
    """Slopes between float32's of a hundredth: with all layers that write what a product reads."""
    share_all(monkeypatch)
    plan = everything(dtype="float32")
    parameters, rng = filled(plan), np.random.default_rng(0)
    X, T = (1 + rng.normal(size=(50, 17))).astype(np.float32), rng.normal(size=(50, 5)).astype(np.float32)
    found = []
    for one in (plan, dataclasses.replace(plan, bfloat16=True)):
        after = parameters.copy()
        trainer = kernels.Trainer(one, after, 50, kernels.Objective(kernels.SQUARED_ERROR), kernels.SGD, [0.0], n_threads=n_threads, dropout_rates=scheduled)
        loss = trainer.train(X, T, np.arange(50), 0, np.full(1, 1e-3))[0]
        found.append((loss, (parameters - after)))
    (a, g), (b, h) = found
    assert a != b
    np.testing.assert_allclose(b, a, rtol=1e-2)
    assert np.linalg.norm(g - h) < 0.05 * np.linalg.norm(g)


def test_full_batches_in_blocks_and_compiled_networks():
    plan, parameters = network([20, 33, 3], [kernels.TANH, kernels.SOFTMAX], np.float32)
    plan = dataclasses.replace(plan, bfloat16=True)
    X, y = data(1300, plan)
    objective = kernels.Objective(kernels.CROSS_ENTROPY)
    loss, gradient = kernels.loss_and_gradient(plan, parameters, X, y, objective)
    assert (loss, gradient.tobytes()) == (lambda pair: (pair[0], pair[1].tobytes()))(kernels.loss_and_gradient(plan, parameters, X, y, objective, n_threads=2))
    parts = [kernels.loss_and_gradient(plan, parameters, X[k : k + 100], y[k : k + 100], objective) for k in range(0, 1300, 100)]
    np.testing.assert_allclose(loss, np.mean([one for one, _ in parts]), rtol=1e-6)
    assert np.linalg.norm(gradient - np.mean([one for _, one in parts], axis=0)) < 0.01 * np.linalg.norm(gradient)
    compiled = kernels.CompiledNetwork(plan, parameters)
    out = np.zeros((40, 3), np.float32)
    compiled.predict(X[:40], out)
    assert out.tobytes() == kernels.predict(plan, parameters, X[:40]).tobytes()
    compiled.predict(X[0], out[0])
    assert out[0].tobytes() == kernels.predict(plan, parameters, X[:1]).tobytes()


@pytest.mark.parametrize("trained", [((False, True), (False, True)), ((False, False), (True, False)), ((True, False), (False, False))])
def test_partly_trained_layers_get_the_gradient_of_the_others(trained):
    plan, parameters = network([20, 33, 3], [kernels.TANH, kernels.SOFTMAX], np.float32)
    X, y = data(40, plan)
    half, objective = dataclasses.replace(plan, bfloat16=True), kernels.Objective(kernels.CROSS_ENTROPY)
    whole = kernels.loss_and_gradient(half, parameters, X, y, objective)[1]
    part = kernels.loss_and_gradient(dataclasses.replace(half, trained=trained), parameters, X, y, objective)[1]
    for layer, parts in enumerate(trained):
        for some, everything_, yes in zip(half.weight(part, layer), half.weight(whole, layer), parts):
            np.testing.assert_array_equal(some, everything_ * yes)


def test_refusals():
    with pytest.raises(ValueError, match="dtype must be float32 where products are of bfloat16; got float64"):
        kernels.Plan([1, 1], [kernels.RELU], [0.0], "float64", bfloat16=True)
    with pytest.raises(TypeError, match="bfloat16 must be True or False"):
        kernels.Plan([1, 1], [kernels.RELU], [0.0], bfloat16="yes")
    run = subprocess.run([sys.executable, "-c", "import kernels"], env={**os.environ, "FASTNN_BFLOAT16": "1"}, capture_output=True, text=True)
    assert "FASTNN_BFLOAT16 must be emulated, or not be set; got '1'" in run.stderr


ASSEMBLY = r"""
import re
from numba import types
from kernels import bfloat16
product, rounding = r"vdpbf16ps\s+\d*\(%\w+\)\{1to\d+\}", "vcvtneps2bf16"  # it reads the word that it spreads itself
for task, count, instruction in ((bfloat16.pairs_column_product, 14, product), (bfloat16.round_rows, 5, rounding)):
    task.compile(types.void(types.CPointer(types.float32), *[types.int64] * count))
    assert re.search(instruction, task.inspect_asm(task.signatures[0])), instruction
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instruction is one of x86-64")
def test_the_instruction_is_used_where_a_cpu_has_it(tmp_path):
    features = "+avx512bf16,+avx512vl,+avx512f,+avx512bw,+avx512dq,+avx2,+avx,+fma,+bmi,+bmi2"  # compiled for it, not run
    environment = {**os.environ, "NUMBA_CPU_NAME": "znver4", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path), "FASTNN_BFLOAT16": ""}
    run = subprocess.run([sys.executable, "-c", ASSEMBLY], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("n", "n_in", "n_out"), [(1, 5, 7), (3, 33, 18), (21, 34, 40), (130, 101, 300)])  # the last in threads
def test_linear_layers_of_packed_weights(n, n_in, n_out):
    rng = np.random.default_rng(0)
    X, W, b, dA = (rng.standard_normal(shape).astype(np.float32) for shape in ((n, n_in), (n_in, n_out), (n_out,), (n, n_out)))
    packed, back, out = np.zeros(kernels.packed_shape(n_in, n_out, "bfloat16"), np.uint16), np.zeros_like(W), np.zeros_like(dA)
    kernels.pack(W, packed)
    kernels.unpack(packed, back)
    np.testing.assert_array_equal(back, rounded(W))
    kernels.linear_forward(X, packed, b, kernels.RELU, out)
    assert_close(out, np.maximum(rounded(X).astype(np.float64) @ rounded(W) + b, 0), looser=10)
    serial = np.zeros_like(out)
    kernels.linear_forward.compiled(X[:, ::-1][:, ::-1], packed, b, kernels.RELU, serial)
    assert out.tobytes() == serial.tobytes()
    plan = kernels.Plan([n_in, n_out], [kernels.RELU], [0.0], bfloat16=True)
    parameters = np.zeros(plan.parameters_size, np.float32)
    plan.set_weight(parameters, 0, W, b)
    assert out.tobytes() == kernels.predict(plan, parameters, X).tobytes()
    dX, dW, db = np.zeros_like(X), np.zeros_like(W), np.zeros_like(b)
    kernels.linear_backward(dA, out, X, packed, kernels.RELU, dX, dW, db)
    dZ = dA * (out > 0)
    assert_close(dX, rounded(dZ).astype(np.float64) @ rounded(W).T, looser=20)
    assert_close(dW, rounded(X).astype(np.float64).T @ rounded(dZ), looser=20)
    assert_close(db, dZ.sum(0, dtype=np.float64), looser=10)
    product = np.zeros_like(out)
    kernels.matmul(X, packed, product)
    assert_close(product, rounded(X).astype(np.float64) @ rounded(W), looser=10)


def test_packed_weights_of_another_shape_are_refused():
    X, b, out = np.ones((2, 5), np.float32), np.ones(20, np.float32), np.zeros((2, 20), np.float32)
    for shape in ((2, 2, 32), (1, 3, 32), (2, 3, 16), (2, 5, 32)):
        with pytest.raises(ValueError, match="linear_forward: (a packed W must|X must have)"):
            kernels.linear_forward(X, np.zeros(shape, np.uint16), b, kernels.RELU, out)
    with pytest.raises(ValueError, match="dtype must be 'float32', 'float64' or 'bfloat16'; got 'bf16'"):
        kernels.packed_shape(5, 20, "bf16")
    with pytest.raises(ValueError, match="matmul: a packed B must be contiguous, of the dtype of out .or bfloat16 for float32. and"):
        kernels.matmul(X, np.zeros((2, 3, 32), np.uint16), out.astype(np.float64))
    with pytest.raises(ValueError, match="linear_backward: a packed W must be of bfloat16"):
        kernels.linear_backward(out, out, X, np.zeros((2, 4, 32), np.uint16), kernels.RELU, X.copy(), np.zeros((5, 20), np.float32), b.copy())
    with pytest.raises(TypeError, match="pack cannot take these arguments"):
        kernels.pack(X, np.zeros((1, 1, 32), np.int16))
