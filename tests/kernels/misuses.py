"""Misuses of public kernels and classes, and uses at the edge of memory: `python -m tests.kernels.misuses GROUP ...` makes those of some groups.

Every array lies between two pages that nobody may touch, once with its end at the one behind it, once with its start at the one
before it, and the rest of its own pages is watched. A misuse is a line of a table: what it is, the start of the sentence that it must
give, and the call. Each is printed before it is made, so that the last line of a process that died names what killed it.
"""

import ctypes
import functools
import itertools
import mmap
import re
import sys

import numpy as np

import kernels
from kernels import Objective, Plan, Trainer
from tests.kernels.test_optimizers import update

PAGE, CANARY = mmap.PAGESIZE, 0xA5
EDGES = (1, 7, 8, 9, 15, 16, 17, 31, 33)  # columns beside the end of a panel
ADAM = [0.9, 0.999, 1e-8, 0.0]
RELU, SOFTMAX, IDENTITY = kernels.RELU, kernels.SOFTMAX, kernels.IDENTITY


@functools.cache
def libc():
    """Return the C library, whose mprotect makes guard pages."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return library


class Guard:
    """Makes arrays between guard pages, and knows whether something was written beside them."""

    def __init__(self, at_end):
        self.at_end, self.slack = at_end, []

    def __call__(self, values, dtype=None):
        values = np.asarray(values, dtype)
        inner = max(1, -(-values.nbytes // PAGE)) * PAGE
        memory = mmap.mmap(-1, inner + 2 * PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        room = np.frombuffer(memory, np.uint8, inner, PAGE)
        room[:] = CANARY
        start = inner - values.nbytes if self.at_end else 0
        array = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
        array[...] = values
        self.slack += [room[:start], room[start + values.nbytes :]]
        for page in (base, base + PAGE + inner):
            assert libc().mprotect(page, PAGE, 0) == 0
        return array

    def intact(self):
        """Return whether the bytes beside all arrays are as they were."""
        return all((part == CANARY).all() for part in self.slack)


class Sized:
    """Has the names of an array's attributes, as a PyTorch tensor has."""

    shape, ndim, dtype = (2000, 6), 2, np.dtype("f4")

    def size(self):
        return self.shape


class Case:
    """Arrays and settings that fit each other; a misuse changes one of them."""

    def __init__(self, at_end, dtype="float32"):
        self.g, self.dtype = Guard(at_end), dtype
        g, rng = self.g, np.random.default_rng(0)
        self.plan = Plan([6, 9, 4], [RELU, SOFTMAX], [0.0, 0.0], dtype)
        self.p = g(np.zeros(self.plan.parameters_size, dtype))
        for i in range(2):
            n_in, n_out = self.plan.widths[i : i + 2]
            self.plan.set_weight(self.p, i, rng.standard_normal((n_in, n_out)), np.zeros(n_out))
        self.X, self.y = g(rng.standard_normal((24, 6)), dtype), g(rng.integers(0, 4, 24))
        self.T = g(np.eye(4)[self.y], dtype)
        self.order, self.rates = g(np.arange(24)), g(np.full(3, 1e-3))
        self.classes, self.squares = Objective(kernels.CROSS_ENTROPY), Objective(kernels.SQUARED_ERROR)

    def labels(self, at, label):
        y = self.y.copy()
        y[at] = label
        return self.g(y)

    def rows(self, at, row):
        order = self.order.copy()
        order[at] = row
        return self.g(order)

    def trainer(self, plan=None, p=None, batch=8, objective=None, rule=kernels.ADAM, hyper=ADAM, **settings):
        return Trainer(plan or self.plan, self.p if p is None else p, batch, objective or self.classes, rule, hyper, **settings)

    def train(self, X=None, y=None, order=None, step=0, rates=None, weights=None, repeats=1, **settings):
        given = [self.X if X is None else X, self.y if y is None else y, self.order if order is None else order]
        return self.trainer(**settings).train(*given, step, self.rates if rates is None else rates, weights, repeats)

    def full(self, X=None, y=None, objective=None, **settings):
        return kernels.FullBatch(self.plan, self.X if X is None else X, self.y if y is None else y, objective or self.classes, **settings)

    def predict(self, p=None, X=None, **settings):
        for _ in range(2):  # the second call finds what the first left for it
            kernels.predict(self.plan, self.p, self.X[:3])
        return kernels.predict(self.plan, self.p if p is None else p, self.X[:3] if X is None else X, **settings)

    def evaluate(self, X=None, y=None, objective=None, plan=None):
        return kernels.evaluate(plan or self.plan, self.p, self.X if X is None else X, self.y if y is None else y, objective or self.classes)

    def floats(self, *shape):
        return self.g(np.random.default_rng(1).standard_normal(shape), self.dtype)

    def vectors(self, count):
        return (self.floats(9) for _ in range(count))

    def forward(self, X=(5, 6), W=(6, 20), b=(20,), out=(5, 20), activation=RELU):
        """Call linear_forward; shapes stand for arrays."""
        kernels.linear_forward(*(self.floats(*A) if isinstance(A, tuple) else A for A in (X, W, b)), activation, self._made(out))

    def backward(self, dA=(5, 20), saved=(5, 20), X=(5, 6), W=(6, 20), activation=RELU, dX=(5, 6), dW=(6, 20), db=(20,)):
        made = [self._made(A) for A in (dA, saved, X, W, dX, dW, db)]
        kernels.linear_backward(*made[:4], activation, *made[4:])

    def matmul(self, A=(5, 6), B=(6, 20), out=(5, 20)):
        kernels.matmul(*(self._made(M) for M in (A, B, out)))

    def _made(self, A):
        return self.floats(*A) if isinstance(A, tuple) else A

    def gather(self, X=None, order=None, batch=8, out=None, stride=128, jump=128, scale=1.0):
        X, order = self.X if X is None else X, self.order if order is None else order
        return kernels.gather(X, order, batch, scale, 0.0, self.floats(384) if out is None else out, stride, jump)


def packed(c, n_in, n_out, layout=np.float32, dtype=np.float32):
    return c.g(np.zeros(kernels.packed_shape(n_in, n_out, layout), dtype))


def structured(c, n, m, dtype=np.float32):
    """Return an (n, m) field of a structure whose rows lie no whole number of items apart."""
    table = c.g(np.zeros(n, [("x", dtype, (m,)), ("c", "u1")]))
    table["x"] = np.random.default_rng(2).standard_normal((n, m))
    return table["x"]


def odd(room):
    """Return all but one byte, from an odd address on."""
    return room[1:] if room.ctypes.data % 2 == 0 else room[:-1]


def read_only(array):
    array.flags.writeable = False
    return array


PLANS = [
    ("a plan of one width", "ValueError: activations and dropouts must have one entry a layer", lambda c: Plan([6], [], [])),
    ("a width of 0", "ValueError: widths must be at least 1; got 0", lambda c: Plan([6, 0], [0], [0.0])),
    ("a width of 2.5", "TypeError: widths must be an integer; got 2.5", lambda c: Plan([6, 2.5], [0], [0.0])),
    ("one number for the widths", "TypeError: widths must be a sequence", lambda c: Plan(6, [0], [0.0])),
    ("widths as text", "TypeError: widths must be an integer; got '6'", lambda c: Plan("64", [0], [0.0])),
    ("an activation too many", "ValueError: activations and dropouts must have one entry", lambda c: Plan([6, 4], [0, 0], [0.0])),
    ("activation 99", "ValueError: activations must be one of the codes 0, 1, 2", lambda c: Plan([6, 4], [99], [0.0])),
    ("activation -1", "ValueError: activations must be at least 0", lambda c: Plan([6, 4], [-1], [0.0])),
    ("an activation by name", "TypeError: activations must be an integer; got 'relu'", lambda c: Plan([6, 4], ["relu"], [0.0])),
    ("softmax before the last", "ValueError: activations must have softmax at the last", lambda c: Plan([6, 4, 4], [SOFTMAX, 0], [0, 0])),
    ("dropout of NaN", "ValueError: dropouts must be finite; got nan", lambda c: Plan([6, 4], [0], [np.nan])),
    ("dropout of nearly 1", "ValueError: dropouts must lie in [0, 1)", lambda c: Plan([6, 4], [0], [1 - 1e-12])),
    ("float16", "ValueError: dtype must be 'float32' or 'float64'; got 'float16'", lambda c: Plan([6, 4], [0], [0.0], "float16")),
    ("no dtype", "ValueError: dtype must be 'float32' or 'float64'; got None", lambda c: Plan([6, 4], [0], [0.0], None)),
    ("a negative seed", "ValueError: seed must be at least 0", lambda c: Plan([6, 4], [0], [0.0], seed=-1)),
    ("a seed of 64 bits", "ValueError: seed must be at least 0 and at most", lambda c: Plan([6, 4], [0], [0.0], seed=2**63)),
    ("trained: one bool", "TypeError: trained must be a sequence", lambda c: Plan([6, 4], [0], [0.0], trained=True)),
    ("trained as text", "TypeError: trained must be True or False", lambda c: Plan([6, 4], [0], [0.0], trained=[("yes", "no")])),
    ("a penalty of NaN", "ValueError: penalties must be finite", lambda c: Plan([6, 4], [0], [0.0], penalties=[(np.nan, 0, 0, 0)])),
    ("a negative penalty", "ValueError: penalties must be at least 0", lambda c: Plan([6, 4], [0], [0.0], penalties=[(0, -1, 0, 0)])),
    ("layer -1", "ValueError: layer must be at least 0 and at most 1; got -1", lambda c: c.plan.weight(c.p, -1)),
    ("layer 2 of 2", "ValueError: layer must be at least 0 and at most 1; got 2", lambda c: c.plan.weight(c.p, 2)),
    ("float64 parameters of a layer", "TypeError: parameters must be a flat float32", lambda c: c.plan.weight(c.p.astype("f8"), 0)),
    (
        "weights set in a strided vector, a copy",
        "ValueError: parameters must be contiguous and aligned",
        lambda c: c.plan.set_weight(c.g(np.zeros(2 * c.p.size, "f4"))[::2], 0, np.zeros((6, 9)), np.zeros(9)),
    ),
    ("W transposed", "ValueError: W of layer 0 must have the shape (6, 9)", lambda c: c.plan.set_weight(c.p, 0, np.zeros((9, 6)), np.zeros(9))),
    ("a bias column", "ValueError: b of layer 0 must have the shape (9,)", lambda c: c.plan.set_weight(c.p, 0, np.zeros((6, 9)), np.zeros((9, 1)))),
    ("complex W", "TypeError: W must be an array of real numbers", lambda c: c.plan.set_weight(c.p, 0, np.zeros((6, 9), "c8"), np.zeros(9))),
    ("penalty of a short vector", "ValueError: parameters must be a flat float32 array", lambda c: c.plan.penalty(c.p[:-1])),
    ("the workspace of no rows", "ValueError: batch_size must be at least 1", lambda c: c.plan.workspace_bytes(0)),
    ("loss 99", "ValueError: loss must be one of the codes 0, 1, 2", lambda c: Objective(99)),
    ("a loss by name", "TypeError: loss must be an integer", lambda c: Objective("cross_entropy")),
    ("a scale of infinity", "ValueError: scale must be finite", lambda c: Objective(0, scale=np.inf)),
    ("a complex shift", "TypeError: shift must be a number", lambda c: Objective(0, shift=1j)),
    ("delta 0", "ValueError: parameters must be a delta above 0 for the Huber loss", lambda c: Objective(kernels.HUBER, parameters=(0.0,))),
    ("weighted_mean as text", "TypeError: weighted_mean must be True or False", lambda c: Objective(0, weighted_mean="mean")),
    ("mean_rows as text", "TypeError: mean_rows must be True or False", lambda c: Objective(0, mean_rows="mean")),
    ("the panel of float16", "ValueError: dtype must be", lambda c: kernels.panel_width("float16")),
    ("the panel of nothing", "ValueError: dtype must be", lambda c: kernels.panel_width("no such dtype")),
    ("a packed shape of -1 columns", "ValueError: n_columns must be at least 0", lambda c: kernels.packed_shape(3, -1, "float32")),
    ("a packed shape of 2.5 rows", "TypeError: n_rows must be an integer", lambda c: kernels.packed_shape(2.5, 3, "float32")),
]

TRAINING = [
    ("a plan by name", "TypeError: plan must be a kernels.Plan", lambda c: c.trainer(plan="mlp")),
    ("a loss for the objective", "TypeError: objective must be a kernels.Objective", lambda c: c.trainer(objective=kernels.CROSS_ENTROPY + 1)),
    ("parameters one too short", "ValueError: parameters must be a flat float32", lambda c: c.trainer(p=c.p[:-1])),
    ("parameters as a list", "TypeError: parameters must be a flat float32", lambda c: c.trainer(p=c.p.tolist())),
    ("parameters of float64", "TypeError: parameters must be a flat float32", lambda c: c.trainer(p=c.g(c.p, "f8"))),
    ("parameters as a column", "ValueError: parameters must be a flat float32", lambda c: c.trainer(p=c.p[:, None])),
    ("strided parameters", "ValueError: parameters must be contiguous", lambda c: c.trainer(p=c.g(np.zeros(2 * c.p.size, "f4"))[::2])),
    ("parameters backwards", "ValueError: parameters must be contiguous", lambda c: c.trainer(p=c.p[::-1])),
    ("read-only parameters", "ValueError: parameters must be contiguous, aligned and writeable", lambda c: c.trainer(p=read_only(c.p))),
    (
        "parameters off by a byte",
        "ValueError: parameters must be contiguous, aligned",
        lambda c: c.trainer(p=odd(c.g(np.zeros(c.p.nbytes + 1, "u1"))).view("f4")),
    ),
    ("minibatches of 0", "ValueError: batch_size must be at least 1; got 0", lambda c: c.trainer(batch=0)),
    ("minibatches of 2.5", "TypeError: batch_size must be an integer", lambda c: c.trainer(batch=2.5)),
    ("rule 99", "ValueError: rule must be one of the codes 0, 1, 2", lambda c: c.trainer(rule=99)),
    ("rule -1", "ValueError: rule must be at least 0; got -1", lambda c: c.trainer(rule=-1)),
    ("nine numbers of a rule", "ValueError: hyper must have the numbers beta1, beta2, eps, weight_decay of adam", lambda c: c.trainer(hyper=[0.0] * 9)),
    ("Adam without eps", "ValueError: hyper must have the numbers beta1, beta2, eps, weight_decay of adam", lambda c: c.trainer(hyper=[0.9, 0.999])),
    ("a number of a rule as text", "TypeError: hyper must be a number", lambda c: c.trainer(hyper=["a", 0.9, 1e-8, 0])),
    ("a number of a rule that is none", "ValueError: hyper must be finite", lambda c: c.trainer(hyper=[0.9, 0.999, np.nan, 0.0])),
    ("-1 threads", "ValueError: n_threads must be at least 1", lambda c: c.trainer(n_threads=-1)),
    ("10**6 threads", "ValueError: n_threads must be at least 1 and at most", lambda c: c.trainer(n_threads=10**6)),
    ("squares of softmax", "ValueError: loss must fit the last activation", lambda c: c.trainer(objective=c.squares)),
    ("labels of uint8", "TypeError: y must hold int64 labels; got uint8", lambda c: c.train(y=c.g(c.y, "u1"))),
    ("labels of float64", "TypeError: y must hold int64 labels; got float64", lambda c: c.train(y=c.g(c.y, "f8"))),
    ("labels as a list", "TypeError: y must be an array", lambda c: c.train(y=c.y.tolist())),
    ("labels as a column", "ValueError: y must have the shape (24,) or (24, 4)", lambda c: c.train(y=c.y[:, None])),
    ("a label too few", "ValueError: y must have a label for each of 24 rows", lambda c: c.train(y=c.y[:-1])),
    ("label 4 of 4", "ValueError: y must hold labels from 0 to 3; got 4 at position 7", lambda c: c.train(y=c.labels(7, 4))),
    ("label -1", "ValueError: y must hold labels from 0 to 3; got -1", lambda c: c.train(y=c.labels(0, -1))),
    ("label -2**63", "ValueError: y must hold labels from 0 to 3", lambda c: c.train(y=c.labels(23, -(2**63)))),
    ("a column of targets too few", "ValueError: y must have the shape (24,) or (24, 4)", lambda c: c.train(y=c.g(c.T[:, :3]))),
    ("targets of complex numbers", "TypeError: y must be an array of int64 labels or real", lambda c: c.train(y=c.g(c.T, "c8"))),
    ("rows 24 of 24", "IndexError: order must name rows of X, 0 to 23; got 24 at position 5", lambda c: c.train(order=c.rows(5, 24))),
    ("row -1", "IndexError: order must name rows of X, 0 to 23; got -1", lambda c: c.train(order=c.rows(0, -1))),
    ("an order of int32", "TypeError: order must be an int64 array", lambda c: c.train(order=c.g(c.order, "i4"))),
    ("an order of two dimensions", "TypeError: order must be an int64 array", lambda c: c.train(order=c.order.reshape(3, 8))),
    ("an order as a mask", "TypeError: order must be an int64 array", lambda c: c.train(order=c.g(np.ones(24, bool)))),
    ("rates too few", "ValueError: rates must have one for each of 3 steps; got 2", lambda c: c.train(rates=c.rates[:2])),
    ("rates too few for repeats", "ValueError: rates must have one for each of 6 steps", lambda c: c.train(repeats=2)),
    ("rates of float32", "TypeError: rates must be a float64 array", lambda c: c.train(rates=c.g(c.rates, "f4"))),
    ("one rate", "TypeError: rates must be a float64 array", lambda c: c.train(rates=1e-3)),
    ("weights of float32", "TypeError: weights must be a float64 array", lambda c: c.train(weights=c.g(np.ones(24), "f4"))),
    ("weights too few", "ValueError: weights must have one for each of 24 rows", lambda c: c.train(weights=c.g(np.ones(23)))),
    ("weights of two dimensions", "ValueError: weights must have one for each", lambda c: c.train(weights=c.g(np.ones((24, 2))))),
    ("step -1", "ValueError: first_step must be at least 0", lambda c: c.train(step=-1)),
    ("-1 repeats", "ValueError: repeats must be at least 0", lambda c: c.train(repeats=-1)),
    (
        "repeats with dropout of the inputs",
        "ValueError: repeats must be 1 where dropout or noise is done to the inputs",
        lambda c: c.train(plan=Plan([6, 9, 4], [RELU, SOFTMAX], [0.5, 0.0]), repeats=2, order=c.order[:8], batch=8),
    ),
    ("more minibatches than fit", "ValueError: order must have at most", lambda c: c.train(repeats=10**9, rates=np.broadcast_to(1e-3, 10**10), batch=24)),
    ("a column of X too few", "ValueError: X must have the shape (n_rows, 6)", lambda c: c.train(X=c.X[:, :5])),
    ("one row of X", "ValueError: X must have the shape (n_rows, 6)", lambda c: c.train(X=c.X[0])),
    ("masked X", "TypeError: X must be an array of real numbers, integers or floats", lambda c: c.train(X=np.ma.masked_less(c.X, 0))),
    ("masked targets", "TypeError: y must be an array of int64 labels or real targets; got masked", lambda c: c.train(y=np.ma.masked_less(c.T, 0))),
    ("X of complex numbers", "TypeError: X must be an array of real numbers", lambda c: c.train(X=c.g(c.X, "c8"))),
    ("X of objects", "TypeError: X must be an array of real numbers", lambda c: c.train(X=c.X.astype(object))),
    ("X of another byte order", "TypeError: X must be an array of real numbers", lambda c: c.train(X=c.g(c.X.astype(c.X.dtype.newbyteorder())))),
    ("X of half precision", "TypeError: X must be an array of real numbers", lambda c: c.train(X=c.g(c.X, "f2"))),
]

WHOLE = [
    ("predict: more columns", "ValueError: X must have the shape (n_rows, 6)", lambda c: c.predict(X=c.floats(3, 7))),
    ("predict: three dimensions", "ValueError: X must have the shape (n_rows, 6)", lambda c: c.predict(X=c.floats(3, 6, 1))),
    ("predict: a list", "TypeError: X must be an array", lambda c: c.predict(X=[[1.0] * 6])),
    ("predict: short parameters, second call", "ValueError: parameters must be a flat", lambda c: c.predict(p=c.p[:9])),
    ("predict: float64 parameters, second call", "TypeError: parameters must be a flat", lambda c: c.predict(p=c.g(c.p, "f8"))),
    ("predict: strided parameters, second call", "ValueError: parameters must be contiguous", lambda c: c.predict(p=c.p[::-1])),
    ("predict: scale as text", "TypeError: scale must be a number", lambda c: c.predict(scale="1")),
    ("predict: 1.5 threads", "TypeError: n_threads must be an integer", lambda c: c.predict(n_threads=1.5)),
    ("predict: the weights for the plan", "TypeError: plan must be a kernels.Plan", lambda c: kernels.predict(c.p, c.plan, c.X)),
    ("evaluate: labels of uint8", "TypeError: y must hold int64 labels", lambda c: c.evaluate(y=c.g(c.y, "u1"))),
    ("evaluate: label 10**9", "ValueError: y must hold labels from 0 to 3", lambda c: c.evaluate(y=c.labels(2, 10**9))),
    ("evaluate: no rows", "ValueError: X must have at least one row", lambda c: c.evaluate(X=c.X[:0], y=c.y[:0])),
    ("evaluate: rows of y too few", "ValueError: y must have the shape (24,) or (24, 4)", lambda c: c.evaluate(y=c.T[:9])),
    ("evaluate: squares of softmax", "ValueError: loss must fit the last activation", lambda c: c.evaluate(y=c.T, objective=c.squares)),
    (
        "evaluate: labels for squares",
        "ValueError: y must have the shape (24, 4); got (24,)",
        lambda c: c.evaluate(objective=c.squares, plan=Plan([6, 9, 4], [0, 0], [0, 0])),
    ),
    (
        "evaluate: binary cross-entropy of tanh",
        "ValueError: loss must fit the last activation",
        lambda c: c.evaluate(y=c.T, objective=Objective(1), plan=Plan([6, 9, 4], [0, kernels.TANH], [0, 0])),
    ),
    ("FullBatch: no rows", "ValueError: X must have at least one row", lambda c: c.full(X=c.X[:0], y=c.y[:0])),
    ("FullBatch: label 4", "ValueError: y must hold labels from 0 to 3", lambda c: c.full(y=c.labels(23, 4))),
    ("FullBatch: weights too few", "ValueError: weights must have one for each", lambda c: c.full(weights=c.g(np.ones(8)))),
    ("FullBatch: weights of float32", "TypeError: weights must be a float64", lambda c: c.full(weights=c.g(np.ones(24), "f4"))),
    ("FullBatch: one number for the parameters", "TypeError: parameters must be an array of", lambda c: c.full()(0.5)),
    ("FullBatch: an array of one", "ValueError: parameters must have the shape", lambda c: c.full()(c.p[:1])),
    ("loss_and_gradient: labels of int32", "TypeError: y must hold int64", lambda c: kernels.loss_and_gradient(c.plan, c.p, c.X, c.y.astype("i4"), c.classes)),
]

MATRICES = [
    ("gather: batch 0", "ValueError: gather: batch must be at least 1", lambda c: c.gather(batch=0)),
    ("gather: batch -3", "ValueError: gather: batch must be at least 1", lambda c: c.gather(batch=-3)),
    ("gather: batch 2**60", "ValueError: gather: out must hold every minibatch", lambda c: c.gather(batch=2**60)),
    ("gather: stride 2**63 - 1", "ValueError: gather: out must hold every minibatch", lambda c: c.gather(stride=2**63 - 1)),
    ("gather: stride -128", "ValueError: gather: out must hold every minibatch", lambda c: c.gather(stride=-128)),
    ("gather: jump 0", "ValueError: gather: out must hold every minibatch", lambda c: c.gather(jump=0)),
    ("gather: out one too short", "ValueError: gather: out must hold every minibatch", lambda c: c.gather(out=c.floats(383))),
    ("gather: out strided", "ValueError: gather: out must be contiguous", lambda c: c.gather(out=c.floats(768)[::2])),
    ("gather: out backwards", "ValueError: gather: out must be contiguous", lambda c: c.gather(out=c.floats(384)[::-1])),
    ("gather: row 24 of 24", "IndexError: gather: order must name rows of X, 0 to 23; got 24", lambda c: c.gather(order=c.rows(3, 24))),
    ("gather: row -1", "IndexError: gather: order must name rows of X, 0 to 23; got -1", lambda c: c.gather(order=c.rows(3, -1))),
    ("gather: order as a mask", "TypeError: gather cannot take these arguments", lambda c: c.gather(order=c.g(np.ones(24, bool)))),
    ("gather: out of int32", "TypeError: gather cannot take these arguments", lambda c: c.gather(out=c.g(np.zeros(384, "i4")))),
    ("gather: X of complex numbers", "TypeError: gather cannot take these arguments", lambda c: c.gather(X=c.g(c.X, "c8"))),
    ("gather: into X", "ValueError: gather: out must share no memory", lambda c: (lambda A: c.gather(X=A[:144].reshape(24, 6), out=A))(c.floats(384))),
    ("gather: X of three dimensions", "TypeError: gather cannot take these arguments", lambda c: c.gather(X=c.floats(24, 6, 2))),
    ("gather: order of two dimensions", "TypeError: gather cannot take these arguments", lambda c: c.gather(order=c.order.reshape(3, 8))),
    ("gather: a scale for each column", "TypeError: gather cannot take these arguments", lambda c: c.gather(scale=c.floats(6))),
    ("gather: masked X", "TypeError: gather: arrays must have no mask", lambda c: (c.gather(), c.gather(X=np.ma.masked_less(c.X, 0)))),
    ("pack: W of three dimensions", "TypeError: pack cannot take these arguments", lambda c: kernels.pack(c.floats(6, 20, 2), packed(c, 6, 20))),
    ("unpack: out of three dimensions", "TypeError: unpack cannot take these", lambda c: kernels.unpack(packed(c, 6, 20), c.floats(6, 20, 2))),
    ("linear_forward: X of three dimensions", "TypeError: linear_forward cannot take", lambda c: c.forward(X=(5, 6, 2))),
    ("linear_forward: W of four dimensions", "TypeError: linear_forward cannot take", lambda c: c.forward(W=(6, 20, 1, 1))),
    ("linear_forward: pairs of int16", "TypeError: linear_forward cannot take", lambda c: c.forward(W=packed(c, 6, 20, "bfloat16", np.int16))),
    ("matmul: A of three dimensions", "TypeError: matmul cannot take these arguments", lambda c: c.matmul(A=(5, 6, 2))),
    ("linear_backward: dA of three dimensions", "TypeError: linear_backward cannot take", lambda c: c.backward(dA=(5, 20, 2))),
    ("linear_backward: dX of three dimensions", "TypeError: linear_backward cannot take", lambda c: c.backward(dX=(5, 6, 2))),
    ("linear_backward: dW of three dimensions", "TypeError: linear_backward cannot take", lambda c: c.backward(dW=(6, 20, 2))),
    ("linear_backward: db of two dimensions", "TypeError: linear_backward cannot take", lambda c: c.backward(db=(20, 2))),
    ("pack: too few panels", "ValueError: pack: out must have the shape", lambda c: kernels.pack(c.floats(6, 20), packed(c, 6, 16))),
    ("pack: too few rows", "ValueError: pack: out must have the shape", lambda c: kernels.pack(c.floats(6, 20), packed(c, 5, 20))),
    ("pack: panels of int32", "TypeError: pack cannot take these arguments", lambda c: kernels.pack(c.floats(6, 20), packed(c, 6, 20).view("i4"))),
    ("pack: into itself", "ValueError: pack: out must share no memory", lambda c: (lambda A: kernels.pack(A[0], A))(c.floats(1, 6, 16))),
    ("unpack: too few columns", "ValueError: unpack: packed must have the shape", lambda c: kernels.unpack(packed(c, 6, 20), c.floats(6, 33))),
    ("unpack: into itself", "ValueError: unpack: out must share no memory", lambda c: (lambda A: kernels.unpack(A, A[0]))(c.floats(1, 6, 16))),
    ("linear_forward: rows of out", "ValueError: linear_forward: out must have the shape", lambda c: c.forward(out=(4, 20))),
    ("linear_forward: columns of out", "ValueError: linear_forward: out must have the shape", lambda c: c.forward(out=(5, 19))),
    ("linear_forward: b too short", "ValueError: linear_forward: b must have the shape", lambda c: c.forward(b=(19,))),
    ("linear_forward: columns of X", "ValueError: linear_forward: X must have the shape", lambda c: c.forward(X=(5, 7))),
    ("linear_forward: activation 99", "ValueError: linear_forward: activation must be elementwise", lambda c: c.forward(activation=99)),
    ("linear_forward: activation -1", "ValueError: linear_forward: activation must be elementwise", lambda c: c.forward(activation=-1)),
    (
        "linear_forward: activation 2**70, second call",
        "TypeError: linear_forward cannot take these arguments",
        lambda c: (c.forward(), c.forward(activation=2**70)),
    ),
    ("linear_forward: activation 1.5", "TypeError: linear_forward cannot take these arguments", lambda c: c.forward(activation=1.5)),
    ("linear_forward: rows with a method for their size", "TypeError: linear_forward cannot take", lambda c: c.forward(X=Sized())),
    ("linear_forward: read-only out", "TypeError: linear_forward cannot take these arguments: ", lambda c: c.forward(out=read_only(c.floats(5, 20)))),
    ("linear_forward: out of int32", "TypeError: linear_forward cannot take", lambda c: c.forward(out=c.floats(5, 20).view("i4"))),
    ("linear_forward: a packed W of fewer panels", "ValueError: linear_forward: a packed W must", lambda c: c.forward(W=packed(c, 6, 16))),
    ("linear_forward: a packed W of int32", "TypeError: linear_forward cannot take these arguments", lambda c: c.forward(W=packed(c, 6, 20).view("i4"))),
    ("linear_forward: a strided packed W", "ValueError: linear_forward: a packed W must", lambda c: c.forward(W=c.floats(2, 12, 16)[:, ::2])),
    ("linear_forward: out is X", "ValueError: linear_forward: out must share no memory", lambda c: (lambda A: c.forward(A, (20, 20), out=A))(c.floats(5, 20))),
    ("linear_forward: out in b", "ValueError: linear_forward: out must share no", lambda c: (lambda A: c.forward(b=A[1], out=A))(c.floats(5, 20))),
    ("adam_update: step 0", "ValueError: adam_update: step must be at least 1", lambda c: update("adam", *c.vectors(2), list(c.vectors(2)), 0.01, 0)),
    (
        "adam_update: read-only weights",
        "TypeError: adam_update cannot take these arguments: read-only float32[9], float32[9]",
        lambda c: update("adam", read_only(c.floats(9)), c.floats(9), list(c.vectors(2)), 0.01, 1),
    ),
    ("huber: delta -1", "ValueError: huber: delta must be above 0", lambda c: kernels.huber(*c.vectors(2), -1.0, 1.0, c.floats(9))),
    ("matmul: inputs", "ValueError: matmul: A must have the shape (n, n_in) to match B", lambda c: c.matmul(A=(5, 7))),
    ("matmul: columns of out", "ValueError: matmul: out must have the shape", lambda c: c.matmul(out=(5, 21))),
    ("matmul: out is B", "ValueError: matmul: out must share no memory", lambda c: (lambda M: c.matmul((6, 6), M, M))(c.floats(6, 6))),
    ("linear_backward: rows of saved", "ValueError: linear_backward: dA and saved must", lambda c: c.backward(saved=(4, 20))),
    ("linear_backward: db too short", "ValueError: linear_backward: dX, dW and db must have", lambda c: c.backward(db=(19,))),
    ("linear_backward: softmax", "ValueError: linear_backward: activation must be elementwise", lambda c: c.backward(activation=SOFTMAX)),
    ("linear_backward: dW is W", "ValueError: linear_backward: dX, dW and db must share", lambda c: (lambda A: c.backward(W=A, dW=A))(c.floats(6, 20))),
    ("linear_backward: db in dW", "ValueError: linear_backward: dX, dW and db must share", lambda c: (lambda A: c.backward(dW=A, db=A[3]))(c.floats(6, 20))),
]


def products(c):
    """Every height that is read in place, and one that is not, with outputs on both sides of a panel, in place and out of place, in any real dtype."""
    for n, n_in, n_out in [(1, 5, 1), (2, 1, 3), (3, 7, 3), (4, 40, 7), (6, 9, 15), (16, 6, 16), (5, 6, 17), (5, 33, 40), (17, 6, 3), (1, 0, 2), (17, 0, 2)]:
        c.forward((n, n_in), (n_in, n_out), (n_out,), (n, n_out))
        c.matmul((n, n_in), (n_in, n_out), (n, n_out))
        c.backward((n, n_out), (n, n_out), (n, n_in), (n_in, n_out), RELU, (n, n_in), (n_in, n_out), (n_out,))


def a_plain_network(c):
    """Rows, labels, targets, orders, rates and weights that end where the memory ends."""
    for dtype in (c.dtype, "u1"):
        X, weights = c.g(np.abs(c.X), dtype), c.g(np.ones(24))
        for y in (c.y, c.T):
            c.train(X=X, y=y, weights=weights, order=c.rows(3, 23))
            c.full(X=X, y=y, weights=weights)(c.p)
            c.evaluate(X=X, y=y)
        c.predict(X=X[-1:])


def columns_of_one_matrix(c):
    """X and out that lie beside each other in every row share no memory."""
    A = c.floats(5, 26)
    expected = np.empty((5, 20), c.dtype)
    X, W = A[:, :6], c.floats(6, 20)
    kernels.matmul(X.copy(), W, expected)
    kernels.matmul(X, W, A[:, 6:])
    assert (A[:, 6:] == expected).all()


def panels(c):
    """Matrices whose columns end beside the end of a panel, plain and packed."""
    for n in EDGES:
        W = c.floats(3, n)
        P = c.g(np.zeros(kernels.packed_shape(3, n, c.dtype)), c.dtype)
        kernels.pack(W, P)
        kernels.unpack(P, back := c.g(np.zeros((3, n)), c.dtype))
        assert (back == W).all()
        for rows in (1, 7, 20):
            c.forward((rows, 3), P, (n,), (rows, n))


def gathers(c):
    """Rows of every kind of number, the last one among them, into panels that fill what they lie in."""
    width = kernels.panel_width(c.dtype)
    for n in EDGES:
        for kind in ("u1", "i2", "f4", "f8") if c.dtype == "float32" else ("f8",):  # a compilation each
            X, order = c.g(np.ones((5, n)), kind), c.g([4, 0, 4, 3, 4, 1, 4])
            jump = 3 * width
            out = c.g(np.zeros(3 * -(-n // width) * jump), c.dtype)
            assert c.gather(X, order, 3, out, -(-n // width) * jump, jump) == -1


def updates(c):
    """Every rule, on arrays that end beside the end of a vector."""
    for rule in kernels.OPTIMIZERS.values():
        for n in EDGES:
            update(rule.name, c.floats(n), c.floats(n), [c.g(np.abs(c.floats(n))) for _ in rule.buffers], 0.01, 3)


def losses(c):
    """Every loss, with labels and targets that end where the memory ends."""
    for n in EDGES:
        A, T = c.floats(3, n), c.g(np.full((3, n), 0.5), c.dtype)
        for one in kernels.LOSSES.values():
            getattr(kernels, one.name)(A, T, *one.parameters, 1.0, c.floats(3, n))
        kernels.softmax_cross_entropy(A, c.g([0, n - 1, n // 2]), 1.0, c.floats(3, n))
        kernels.softmax_cross_entropy_dense(A, T, 1.0, c.floats(3, n))


def networks_of_odd_widths(c):
    """Parameters, rows and targets at the edge of memory, with layers that fill no panel, in every place a norm may have."""
    for n in (1, 7, 9, 17, 33):
        others = [(0, kernels.LayerNorm(n)), (1, kernels.BatchNorm(n + 1)), (1, kernels.PReLU(n + 1)), (2, kernels.Fork(n)), (2, kernels.Join(n))]
        plan = Plan([n, n + 1, n], [kernels.TANH, IDENTITY], [0.1, 0.0], c.dtype, others=others)
        p, X, T = c.g(np.zeros(plan.parameters_size), c.dtype), c.floats(19, n), c.floats(19, n)
        for placed in plan.layers:
            plan.set_arrays(p, placed, [np.full(shape, 0.5) for shape in placed.layer.shapes.values()])
        Trainer(plan, p, 7, c.squares, kernels.ADAM, ADAM).train(X, T, c.g(np.arange(19)[::-1].copy()), 0, c.g(np.full(3, 1e-3)))
        kernels.predict(plan, p, X)
        kernels.evaluate(plan, p, X, T, c.squares)


USES = [
    ("products", "right", products),
    ("networks of odd widths", "right", networks_of_odd_widths),
    ("a plain network", "right", a_plain_network),
    ("columns of one matrix", "right", columns_of_one_matrix),
    ("gather: no rows", "right", lambda c: c.gather(order=c.order[:0])),
    ("gather", "right", lambda c: c.gather()),
]

AT_EDGES = [(use.__name__, "right", use) for use in (panels, gathers, updates, losses)]

GROUPS = {"plans": PLANS, "training": TRAINING, "whole": WHOLE, "matrices": MATRICES, "uses": USES, "edges": AT_EDGES}
RIGHT = ("uses", "edges")  # the groups of what is no misuse


def outcome(case, call):
    """Return what a call came to: the sentence that it gave, or "right"."""
    try:
        call(case)
    except Exception as error:  # whatever it is, it is shown
        return f"{type(error).__name__}: {error}"
    return "right"


def main(groups):
    """Make the calls of some groups; print the name of each, then what it came to where that is not what it should."""
    for group, (name, sentence, call) in [(group, misuse) for group in groups for misuse in GROUPS[group]]:
        print(name, flush=True)
        for at_end, dtype in itertools.product((True, False), ("float32", "float64") if group in RIGHT else ("float32",)):
            case = Case(at_end, dtype)
            actual = outcome(case, call)
            if not (actual.startswith(sentence) and re.fullmatch(r"[^\n]{1,400}", actual)):
                print(f"WRONG {name}: {actual!r} for {sentence!r}")
            if not case.g.intact():
                print(f"WRONG {name}: something was written outside an array")
    print("done")


if __name__ == "__main__":
    main(sys.argv[1:])
