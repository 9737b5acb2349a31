"""The dense layer on plain and packed arrays, against a plain product in float64."""

import numba
import numpy as np
import pytest

import kernels
from kernels import _arrays
from tests.numerics import DTYPES, assert_close, assert_gradient, assert_same_bits

ACTIVATIONS = {
    kernels.IDENTITY: lambda z: z,
    kernels.RELU: lambda z: np.maximum(z, 0),
    kernels.TANH: np.tanh,
}
# rows, inputs, outputs: single, prime, one off a panel or a tile, more than are read in place, empty
SHAPES = [
    (1, 1, 1),
    (1, 7, 3),
    (2, 5, 100),
    (3, 17, 33),
    (4, 64, 130),
    (6, 33, 16),
    (16, 40, 31),
    (17, 40, 31),
    (24, 16, 15),
    (25, 15, 1),
    (101, 47, 65),
    (0, 4, 3),
]


def layer(n, n_in, n_out, dtype):
    rng = np.random.default_rng(n + n_in + n_out)
    X, W, b = rng.standard_normal((n, n_in)), rng.standard_normal((n_in, n_out)) / np.sqrt(n_in), rng.standard_normal(n_out)
    return X.astype(dtype), W.astype(dtype), b.astype(dtype)


def packed(W):
    out = np.empty(kernels.packed_shape(*W.shape, W.dtype), W.dtype)
    kernels.pack(W, out)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_linear_forward_matches_reference(shape, dtype, activation):
    X, W, b = layer(*shape, dtype)
    actual = np.full((shape[0], shape[2]), np.nan, dtype)
    kernels.linear_forward(X, W, b, activation, actual)
    expected = ACTIVATIONS[activation](X.astype("f8") @ W.astype("f8") + b)
    assert_close(actual, expected, looser=10)  # a chain of up to 64 roundings
    other = np.empty_like(actual)
    kernels.linear_forward(X, packed(W), b, activation, other)
    assert_same_bits(other, actual)


def apart(A):
    """Return the same numbers in rows that lie apart, the type of which is that of `field`: what takes both is compiled once."""
    return np.tile(A, 2)[:, : A.shape[1]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 17, 33), (19, 40, 31)])
def test_linear_forward_takes_any_layout(shape, dtype):
    X, W, b = layer(*shape, dtype)
    expected = np.empty((shape[0], shape[2]), dtype)
    kernels.linear_forward(X, W, b, kernels.TANH, expected)
    W.flags.writeable = False
    wide = np.full((shape[0], 2 * shape[2]), 7, dtype)
    kernels.linear_forward(np.asfortranarray(X), np.asfortranarray(W), np.repeat(b, 2)[::2], kernels.TANH, wide[:, ::2])
    assert_same_bits(wide[:, ::2].copy(), expected)
    assert (wide[:, 1::2] == 7).all()  # nothing is written beside out
    if dtype == np.float64:
        return  # each layout is compiled
    part = np.full((shape[0] + 2, shape[2] + 2), 7, dtype)
    kernels.linear_forward(apart(X), apart(W), b, kernels.TANH, part[1:-1, 1:-1])
    assert_same_bits(part[1:-1, 1:-1].copy(), expected)
    assert (part[0] == 7).all() and (part[-1] == 7).all() and (part[:, 0] == 7).all() and (part[:, -1] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [5, 300])
def test_linear_forward_has_the_same_bits_in_threads(rows, dtype):
    X, W, b = layer(rows, 700, 180, dtype)
    actual, expected = np.empty((rows, 180), dtype), np.empty((rows, 180), dtype)
    kernels.linear_forward(X, W, b, kernels.RELU, actual)  # large enough for two threads
    kernels.linear_forward.compiled(X, W, b, kernels.RELU, expected)
    assert_same_bits(actual, expected)


def test_linear_forward_keeps_nan():
    X, W, b = layer(5, 20, 30, np.float32)
    X[2, 3] = np.nan
    out = np.zeros((5, 30), np.float32)
    kernels.linear_forward(X, W, b, kernels.RELU, out)
    assert np.isnan(out[2]).all() and np.isfinite(np.delete(out, 2, 0)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 7, 3), (3, 17, 33), (25, 15, 1), (101, 47, 65), (0, 4, 3)])
@pytest.mark.parametrize("activation", [kernels.RELU, kernels.TANH])
def test_linear_backward_matches_reference(shape, dtype, activation):
    X, W, b = layer(*shape, dtype)
    A = ACTIVATIONS[activation](X @ W + b)
    dA = np.random.default_rng(0).standard_normal(A.shape).astype(dtype)
    dX, dW, db = np.full_like(X, np.nan), np.full_like(W, np.nan), np.full_like(b, np.nan)
    kernels.linear_backward(dA, A, X, W, activation, dX, dW, db)
    A, dA = A.astype("f8"), dA.astype("f8")
    dZ = dA * (A > 0 if activation == kernels.RELU else 1 - A * A)
    assert_close(dX, dZ @ W.astype("f8").T, looser=20)  # chains of up to 101 roundings, with cancellation
    assert_close(dW, X.astype("f8").T @ dZ, looser=20)
    assert_close(db, dZ.sum(0), looser=20)


@pytest.mark.parametrize("dtype", [*DTYPES, "pairs"])
@pytest.mark.parametrize("shape", [(5, 145, 137), (600, 250, 300)])
def test_linear_backward_of_many_panels_writes_any_layout(shape, dtype):
    """More panels than are multiplied at once, and sums that wait for more inputs than are multiplied at once."""
    pairs, dtype = dtype == "pairs", np.float32 if dtype == "pairs" else dtype
    X, W, b = layer(*shape, dtype)
    A = np.maximum(X @ W + b, 0)
    dA = np.random.default_rng(0).standard_normal(A.shape).astype(dtype)
    weights = W
    if pairs:
        weights = np.empty(kernels.packed_shape(*W.shape, "bfloat16"), np.uint16)
        kernels.pack(W, weights)
    dX, dW, db = np.full_like(X, np.nan), np.full_like(W, np.nan), np.full_like(b, np.nan)
    kernels.linear_backward(dA, A, X, weights, kernels.RELU, dX, dW, db)
    dZ = dA.astype("f8") * (A > 0)
    for actual, expected in ((dX, dZ @ W.astype("f8").T), (dW, X.astype("f8").T @ dZ), (db, dZ.sum(0))):
        error = np.abs(actual - expected).max() / np.abs(expected).max()
        assert error < (1e-2 if pairs else 2e-6 if dtype == np.float32 else 1e-14)
    if dtype == np.float64:
        return  # each layout is compiled
    for view in (lambda M: M[::-1], lambda M: M[:, ::-1]):
        dx, dw, db2 = view(np.full_like(X, np.nan)), view(np.full_like(W, np.nan)), np.full_like(b, np.nan)
        kernels.linear_backward(dA, A, X, weights, kernels.RELU, dx, dw, db2)
        for actual, expected in ((dx, dX), (dw, dW), (db2, db)):
            assert_same_bits(actual, expected)


@pytest.mark.parametrize(("dx", "dw"), [("f4", "f8"), ("f8", "f4")])
def test_linear_backward_writes_other_dtypes(dx, dw):
    X, W, b = layer(9, 20, 30, np.dtype(dw).type)
    A = np.maximum(X @ W + b, 0)
    dX, dW, db = np.empty_like(X), np.empty_like(W), np.empty_like(b)
    kernels.linear_backward(A, A, X, W, kernels.RELU, dX, dW, db)
    other, dW2, db2 = np.full(X.shape, np.nan, dx), np.full_like(W, np.nan), np.full(b.shape, np.nan, dx)
    kernels.linear_backward(A, A, X, W, kernels.RELU, other, dW2, db2)
    assert_same_bits(dW2, dW)
    assert_same_bits(other, dX.astype(dx))
    assert_same_bits(db2, db.astype(dx))


@pytest.mark.parametrize("activation", [kernels.SIGMOID, kernels.GELU, kernels.SILU, kernels.SOFTPLUS, kernels.ELU])
def test_linear_backward_is_the_gradient(activation):
    X, W, b = layer(9, 11, 13, np.float64)

    def value(X, W, b):
        out = np.empty((9, 13))
        kernels.linear_forward(X, W, b, activation, out)
        return (out * weights).sum()

    weights = np.random.default_rng(5).standard_normal((9, 13))
    saved, dX, dW, db = np.empty((9, 13)), np.empty_like(X), np.empty_like(W), np.empty_like(b)
    kernels.linear_forward(X, W, b, kernels.IDENTITY if activation in kernels.SAVES_INPUT else activation, saved)
    kernels.linear_backward(weights, saved, X, W, activation, dX, dW, db)
    assert_gradient(value, (dX, dW, db), X, W, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_matches_reference(dtype):
    A, B, _ = layer(21, 35, 18, dtype)
    out, other = np.empty((21, 18), dtype), np.empty((21, 18), dtype)
    kernels.matmul(A, B, out)
    assert_close(out, A.astype("f8") @ B.astype("f8"), looser=10)
    kernels.matmul(A, packed(B), other)
    assert_same_bits(other, out)


@numba.njit
def layers_in_nopython(X, W, b, out, back, dX, dW, db):
    kernels.linear_forward(X, W, b, kernels.RELU, out)
    kernels.linear_backward(out, out, X, W, kernels.RELU, dX, dW, db)
    kernels.matmul(X, W, back)


@numba.njit(parallel=True)
def layers_in_prange(X, W, b, out):
    for i in numba.prange(X.shape[0]):
        kernels.linear_forward(X[i : i + 1], W, b, kernels.RELU, out[i : i + 1])


def test_linear_kernels_are_callable_from_nopython_code():
    X, W, b = layer(30, 20, 40, np.float32)
    expected, out = np.empty((30, 40), np.float32), np.empty((30, 40), np.float32)
    kernels.linear_forward(X, W, b, kernels.RELU, expected)
    back, dX, dW, db = np.empty_like(out), np.empty_like(X), np.empty_like(W), np.empty_like(b)
    layers_in_nopython(X, W, b, out, back, dX, dW, db)
    assert_same_bits(out, expected)
    dX2, dW2, db2 = np.empty_like(X), np.empty_like(W), np.empty_like(b)
    kernels.linear_backward(out, out, X, W, kernels.RELU, dX2, dW2, db2)
    assert_same_bits(dX, dX2)
    assert_same_bits(dW, dW2)
    assert_same_bits(db, db2)
    out[:] = 0
    layers_in_prange(X, W, b, out)
    assert_same_bits(out, expected)


def test_linear_forward_does_not_compile_again():
    for rows in (2, 50):
        X, W, b = layer(rows, 20, 40, np.float32)
        before = len(kernels.linear_forward.signatures)
        kernels.linear_forward(X, W, b, kernels.TANH, np.empty((rows, 40), np.float32))
    assert len(kernels.linear_forward.signatures) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": (5, 3)}, "X must have the shape"),
        ({"b": (9,)}, "b must have the shape"),
        ({"out": (4, 8)}, "out must have the shape"),
        ({"W": (1, 4, 16)}, "a packed W must be"),
    ],
)
def test_linear_forward_refuses_shapes_that_do_not_match(change, message):
    shapes = {"X": (5, 4), "W": (4, 20), "b": (20,), "out": (5, 20)} | change
    X, W, b, out = (np.zeros(shapes[name], np.float32) for name in ("X", "W", "b", "out"))
    with pytest.raises(ValueError, match=message + r".*; got float32\["):
        kernels.linear_forward(X, W, b, kernels.RELU, out)


def test_linear_forward_refuses_activations_of_whole_rows():
    X, W, b = layer(3, 4, 5, np.float32)
    with pytest.raises(ValueError, match="activation must be elementwise"):
        kernels.linear_forward(X, W, b, kernels.SOFTMAX, np.empty((3, 5), np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 16), (7, 33), (5, 0)])
def test_pack_and_unpack_return_the_matrix(shape, dtype):
    W = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    panels, back = packed(W), np.empty_like(W)
    kernels.unpack(panels, back)
    assert_same_bits(back, W)
    width = kernels.panel_width(dtype)
    assert (panels.transpose(1, 0, 2).reshape(shape[0], -1)[:, shape[1] :] == 0).all() and panels.shape[2] == width


def test_pack_refuses_another_shape():
    with pytest.raises(ValueError, match="pack: out must have the shape"):
        kernels.pack(np.zeros((3, 4), np.float32), np.zeros((1, 3, 8), np.float32))


# What X, W and out are made of; int32 is as wide as float32. Few of the combinations: each is compiled.
@pytest.mark.parametrize(("x", "w", "dtype"), [("i4", "i4", "f4"), ("u1", "f8", "f4"), ("f4", "f8", "f8")])
def test_linear_forward_converts_what_it_reads(x, w, dtype):
    for rows in (3, 16, 17, 40):
        rng = np.random.default_rng(rows)
        X, W, b = (rng.integers(0, 7, shape).astype(kind) for shape, kind in [((rows, 19), x), ((19, 37), w), ((37,), dtype)])
        out = np.empty((rows, 37), dtype)
        kernels.linear_forward(X, W, b, kernels.IDENTITY, out)
        np.testing.assert_array_equal(out, X.astype("f8") @ W.astype("f8") + b)  # whole numbers, so exact in either dtype


def test_matmul_converts_what_it_reads():
    for rows in (4, 16, 18):
        A, B = np.random.default_rng(rows).integers(-4, 5, (rows, 23)).astype("f4"), np.arange(23 * 18.0).reshape(23, 18)
        out = np.empty((rows, 18), np.float32)
        kernels.matmul(A, B, out)
        np.testing.assert_array_equal(out, A @ B)


def test_linear_backward_converts_what_it_reads():
    for rows in (5, 21):
        rng = np.random.default_rng(rows)
        X, W = rng.integers(-3, 4, (rows, 35)).astype("f8"), rng.integers(-3, 4, (35, 34)).astype("i4")
        dA = rng.integers(-3, 4, (rows, 34)).astype("f4")
        dX, dW, db = np.empty((rows, 35), "f4"), np.empty((35, 34), "f4"), np.empty(34, "f4")
        kernels.linear_backward(dA, dA, X, W, kernels.IDENTITY, dX, dW, db)
        np.testing.assert_array_equal(dX, dA @ W.astype("f8").T)
        np.testing.assert_array_equal(dW, X.astype("f8").T @ dA)
        np.testing.assert_array_equal(db, dA.sum(0))


def field(A, padding):
    """Return the same numbers as a field of a structure, whose rows lie `padding` bytes further apart."""
    table = np.zeros(len(A), [("A", A.dtype, (A.shape[1],)), ("rest", f"V{padding}")])
    table["A"] = A
    return table["A"]


@pytest.mark.parametrize("rows", [4, 18])
@pytest.mark.parametrize("padding", [1, 2])
def test_rows_may_lie_no_whole_number_of_items_apart(rows, padding):
    X, W, b = layer(rows, 22, 33, np.float32)
    expected = np.empty((rows, 33), np.float32)
    kernels.linear_forward(X, W, b, kernels.RELU, expected)
    for x, w, out in (
        (field(X, padding), apart(W), apart(expected)),
        (apart(X), field(W, padding), apart(expected)),
        (apart(X), apart(W), field(expected, padding)),
    ):
        out[:] = 0
        kernels.linear_forward(x, w, b, kernels.RELU, out)
        assert_same_bits(np.ascontiguousarray(out), expected)
    results = []
    for x, w in ((apart(X), apart(W)), (apart(X), field(W, padding)), (field(X, padding), apart(W))):
        dX, dW, db = np.empty_like(X), np.empty_like(W), np.empty_like(b)
        kernels.linear_backward(expected, expected, x, w, kernels.RELU, dX, dW, db)
        results.append(np.concatenate([dX.ravel(), dW.ravel(), db]))
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


def test_nopython_code_gets_the_sentence_word_for_word():
    X, W, b = layer(30, 20, 40, np.float32)
    out, back, dX, dW, db = (np.empty_like(A) for A in (X @ W, X @ W, X, W, b))
    square = np.zeros((30, 30), np.float32)
    shared = "must share no memory with the other arrays"
    for arguments, sentence in [
        ((X[:, :19].copy(), W, b, out, back, dX, dW, db), "linear_forward: X must have the shape (n, n_in) to match W (n_in, n_out)"),
        ((X, W, b[:39], out, back, dX, dW, db), "linear_forward: b must have the shape (n_out,) of W (n_in, n_out)"),
        ((square, square, b[:30], square, back, dX, dW, db), f"linear_forward: out {shared}"),
        ((X, W, b, out, back, dX, W, db), f"linear_backward: dX, dW and db {shared}"),
        ((X, W, b, out, back, dX, dW, dW[0]), "linear_backward: dX, dW and db must share no memory with each other"),
        ((X, W, b, out, back[:, :39].copy(), dX, dW, db), "matmul: out must have the shape (n, n_out)"),
    ]:
        with pytest.raises(ValueError) as error:
            layers_in_nopython(*arguments)
        assert str(error.value) == sentence


@numba.njit
def packed_in_nopython(W, out, back):
    kernels.pack(W, out)
    kernels.unpack(out, back)


def test_packing_in_nopython_code_gets_the_sentence_word_for_word():
    W, room = np.zeros((3, 20), np.float32), np.zeros((2, 3, 16), np.float32)
    for arguments, sentence in [
        ((W, room[:1], W), "pack: out must have the shape packed_shape(n, m, dtype)"),
        ((room[0], room[:1], W), "pack: out must share no memory with W"),
        ((W, room, W[:, :16].copy()), "unpack: packed must have the shape packed_shape(n, m, dtype)"),
        ((W[:, :16].copy(), room[:1], room[0]), "unpack: out must share no memory with packed"),
    ]:
        with pytest.raises(ValueError) as error:
            packed_in_nopython(*arguments)
        assert str(error.value) == sentence


@numba.njit
def overlaps(A, B):
    return _arrays.overlap(A, B)


def test_overlap_is_that_of_the_memory():
    A = np.zeros((6, 10))
    for one, other, expected in [
        (A, A, True),
        (A, A.T, True),
        (A, A[::-1, ::-1], True),
        (A[:3], A[3:], False),
        (A[:3], A[2:], True),
        (A[:, :4], A[:, 4:], False),
        (A[:, :5], A[:, 4:], True),
        (A[::-1, :4], A[:, 4:], False),
        (A[:, ::2], A[:, 1::2], False),
        (A[:, ::2], A[:, 2::2], True),
        (A[::2], A[1::2], False),
        (A, A[:0], False),
        (A, A[5, 9:], True),
        (A[:, :9], A[:, 9], False),
        (A[1:2, :], A[0], False),
        (A, np.zeros((6, 10)), False),
    ]:
        assert overlaps(one, other) == overlaps(other, one) == expected == np.shares_memory(one, other)


def test_products_write_beside_what_they_read():
    A = np.zeros((7, 30), np.float32)
    A[:, :10], W = 1, np.ones((10, 20), np.float32)
    kernels.matmul(A[:, :10], W, A[:, 10:])
    assert (A[:, 10:] == 10).all() and (A[:, :10] == 1).all()
    with pytest.raises(ValueError, match="out must share no memory"):
        kernels.matmul(A[:, :10], W, A[:, 9:29])


def test_errors_of_matmul_name_its_own_arguments():
    with pytest.raises(ValueError, match=r"^matmul: A must have the shape .* to match B .*; got float32\[2, 3\], float32\[4, 5\], float32\[2, 5\]\.$"):
        kernels.matmul(*(np.zeros(shape, np.float32) for shape in [(2, 3), (4, 5), (2, 5)]))


@pytest.mark.parametrize("dtype", ["int8", "float16", "complex64", None, "nothing"])
def test_panels_are_of_floats(dtype):
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'; got"):
        kernels.panel_width(dtype)


def test_packed_shape_gives_numbers_of_python():
    shape = kernels.packed_shape(np.uint8(200), np.uint8(250), np.float32)
    assert shape == (16, 200, 16) and all(type(n) is int for n in shape)
