"""Bad input: one sentence that names the argument, before training starts, with the network unchanged."""

import dataclasses
import re

import numpy as np
import pytest

import kernels
from fastnn import (
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    BatchNorm,
    ConjugateGradient,
    Constant,
    Cosine,
    CrossEntropy,
    Dense,
    Dropout,
    EarlyStopping,
    Exponential,
    Focal,
    GaussianNLL,
    GaussianNoise,
    Huber,
    Initializer,
    InverseTime,
    LayerNorm,
    Linear,
    Lion,
    Momentum,
    Nadam,
    Nesterov,
    OneCycle,
    Poisson,
    PReLU,
    Quantile,
    RAdam,
    RMSprop,
    Rprop,
    Scale,
    Sequential,
    SquaredError,
    Standardize,
    Step,
    validation,
)
from fastnn.initializers import INITIALIZERS
from fastnn.layers import ACTIVATIONS
from fastnn.losses import LOSSES
from fastnn.metrics import METRICS
from fastnn.optimizers import OPTIMIZERS

X = np.linspace(-1, 1, 12).reshape(4, 3)
LABELS = np.array([0, 1, 2, 1])


def classifier(dtype="float32"):
    return Sequential([Dense(4, "relu"), Dense(3, "softmax")], n_features=3, dtype=dtype)


def regressor(n_outputs=1):
    return Sequential([Dense(n_outputs)], n_features=3)


def changed(A, at, value, dtype=None):
    A = np.array(A, dtype=dtype)
    A[at] = value
    return A


BAD_X = [
    (X[0], ValueError, "X must have shape (n_rows, n_features) = (..., 3); got (3,). For a single row use X.reshape(1, -1)."),
    (X[:, :2], ValueError, "X must have shape (n_rows, n_features) = (..., 3); got (4, 2)."),
    (X.reshape(4, 1, 3), ValueError, "X must have shape (n_rows, n_features) = (..., 3); got (4, 1, 3). Use X.reshape(len(X), -1)."),
    (3.0, ValueError, "X must have shape (n_rows, n_features) = (..., 3); got ()."),
    (np.empty((0, 3)), ValueError, "X must have at least one row; got shape (0, 3)."),
    (changed(X, (2, 1), np.nan), ValueError, "X must be finite; got nan in row 2, column 1."),
    (changed(X, (3, 0), -np.inf, np.float32), ValueError, "X must be finite; got -inf in row 3, column 0."),
    (X.astype(complex), TypeError, "X must hold real numbers; got dtype complex128."),
    (X.astype(object), TypeError, "X must hold real numbers; got dtype object."),
    (X.astype(str), TypeError, "X must hold real numbers; got dtype <U"),
    (np.zeros((4, 3), "datetime64[s]"), TypeError, "X must hold real numbers; got dtype datetime64[s]."),
    (np.zeros(4, [("a", float), ("b", float), ("c", float)]), TypeError, "X must hold real numbers; got dtype [('a', '<f8')"),
    (np.ma.masked_less(X, 0), TypeError, "X must be an array without a mask; got a masked array. Use X.filled(value)."),
    ([[1, 2, 3], [4, 5]], ValueError, "X must be an array with rows of equal length; got a list"),
    (None, TypeError, "X must hold real numbers; got dtype object."),
]

BAD_LABELS = [
    ([0, 1, 3, 1], ValueError, "y must hold labels from 0 to 2, one for each output; got 3 in row 2."),
    ([0, 1, -1, 1], ValueError, "y must hold labels from 0 to 2, one for each output; got -1 in row 2."),
    (np.array([0, 1, 2**63, 1], np.uint64), ValueError, "y must hold labels from 0 to 2, one for each output; got 9223372036854775808 in row 2."),
    ([0.0, 1.0, 2.0, 1.0], TypeError, "y must be integers, the labels of the classes; got dtype float64. Use y.astype(int) if they are whole numbers."),
    ([0, 1, 2], ValueError, "y must have as many rows as X, 4; got 3."),
    (1, ValueError, "y must have as many rows as X, 4; got a single number."),
    (["a", "b", "c", "b"], TypeError, "y must hold real numbers; got dtype <U1. Number classes from 0: np.unique(y, return_inverse=True)."),
    (np.zeros((4, 2), int), ValueError, "y must have shape (n_rows,) with labels or (n_rows, n_classes) = (4, 3); got (4, 2)."),
    (np.full((4, 3), 0.5), ValueError, "y must have rows that sum to 1 where it has a column for each class; got 1.5 in row 0."),
    (np.eye(4, 3) * 2 - 0.5, ValueError, "y must hold probabilities from 0 to 1 where it has a column for each class; got 1.5 in row 0, column 0."),
    (changed(np.eye(4, 3), (1, 2), np.nan), ValueError, "y must be finite; got nan in row 1, column 2."),
]

BAD_SETTINGS = [
    ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1; got 0."),
    ({"batch_size": -3}, ValueError, "batch_size must be an integer of at least 1; got -3."),
    ({"batch_size": 2.0}, TypeError, "batch_size must be an integer of at least 1; got 2.0."),
    ({"batch_size": True}, TypeError, "batch_size must be an integer of at least 1; got True."),
    ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1; got 0."),
    ({"epochs": "3"}, TypeError, "epochs must be an integer of at least 1; got '3'."),
    ({"n_threads": 0}, ValueError, "n_threads must be an integer of at least 1; got 0."),
    ({"n_threads": 1.5}, TypeError, "n_threads must be an integer of at least 1; got 1.5."),
    ({"verbose": 2}, ValueError, "verbose must be an integer from 0 to 1; got 2."),
    ({"loss": "cross_entrpy"}, ValueError, "got 'cross_entrpy'. Did you mean 'cross_entropy'?"),
    ({"loss": 3}, TypeError, "loss must be a name or settings such as CrossEntropy("),
    ({"loss": "squared_error"}, ValueError, "loss must fit the last activation, 'softmax'; got 'squared_error'. Softmax outputs are probabilities of classes"),
    ({"loss": SquaredError()}, ValueError, "loss must fit the last activation, 'softmax'; got 'squared_error'."),
    ({"loss": "binary_cross_entropy"}, ValueError, "end with Dense(n, 'sigmoid')."),
    ({"optimizer": "Adm"}, ValueError, "got 'Adm'. Did you mean 'adam'?"),
    ({"optimizer": 0.1}, TypeError, "optimizer must be a name or settings such as SGD("),
    ({"validation_data": X}, TypeError, "validation_data must be a pair (X, y) or (X, y, sample_weight); got an array of shape (4, 3)."),
    ({"validation_data": (X[:, :1], LABELS)}, ValueError, "validation_data[0] must have shape"),
    ({"validation_data": {"1": (X, LABELS), 1: (X, LABELS)}}, TypeError, "a name in validation_data must be a string; got 1."),
    ({"metrics": {"1": "accuracy", 1: "f1"}}, TypeError, "a name in metrics must be a string; got 1."),
    ({"validation_data": (X, LABELS + 1)}, ValueError, "validation_data[1] must hold labels from 0 to 2, one for each output; got 3 in row 2."),
    ({"shuffle": [0, 1, 4]}, ValueError, "shuffle must give row numbers from 0 to 3; got 4."),
    ({"shuffle": [-1]}, ValueError, "shuffle must give row numbers from 0 to 3; got -1."),
    ({"shuffle": []}, ValueError, "shuffle must give a one-dimensional array of row numbers"),
    ({"shuffle": [0.0, 1.0]}, ValueError, "shuffle must give a one-dimensional array of row numbers"),
    ({"shuffle": 1}, TypeError, "shuffle must be True, False, an array of row numbers or a function of the epoch; got 1."),
    ({"shuffle": "yes"}, TypeError, "shuffle must be True, False, an array of row numbers or a function of the epoch; got 'yes'."),
    ({"shuffle": lambda epoch: [9]}, ValueError, "shuffle must give row numbers from 0 to 3; got 9."),
    ({"callbacks": [print]}, TypeError, "callbacks must be objects with one of the methods on_fit_begin,"),
    ({"callbacks": EarlyStopping}, TypeError, "callbacks must be objects with one of the methods on_fit_begin,"),
]


def check_refused(net, X, y, error, message, **settings):
    before = net.parameters.copy()
    with pytest.raises(error, match=re.escape(message)) as caught:
        net.fit(X, y, **{"verbose": 0, **settings})
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("bad, error, message", BAD_X)
def test_fit_refuses_features(bad, error, message):
    check_refused(classifier(), bad, LABELS, error, message)


@pytest.mark.parametrize("bad, error, message", BAD_LABELS)
def test_fit_refuses_labels(bad, error, message):
    check_refused(classifier(), X, bad, error, message)


@pytest.mark.parametrize("settings, error, message", BAD_SETTINGS)
def test_fit_refuses_settings(settings, error, message):
    check_refused(classifier(), X, LABELS, error, message, **settings)


@pytest.mark.parametrize(
    "n_outputs, y, error, message",
    [
        (1, [[1.0, 2.0]] * 4, ValueError, "y must have shape (n_rows, n_outputs) = (4, 1); got (4, 2)."),
        (2, [1.0, 2.0, 3.0, 4.0], ValueError, "y must have shape (n_rows, n_outputs) = (4, 2); got (4,)."),
        (1, [1.0, np.nan, 3.0, 4.0], ValueError, "y must be finite; got nan in row 1, column 0."),
        (1, [1.0, 2.0, -1e300, 4.0], ValueError, "y must fit into float32; got -1e+300 in row 2, column 0."),
    ],
)
def test_fit_refuses_numbers(n_outputs, y, error, message):
    check_refused(regressor(n_outputs), X, y, error, message)


def test_fit_refuses_targets_that_are_no_probabilities():
    net = Sequential([Dense(2, "sigmoid")], n_features=3)
    check_refused(net, X, [[0, 1], [1, 2], [0, 0], [0, 0]], ValueError, "y must lie from 0 to 1 for this loss; got 2.0 in row 1, column 1.")
    check_refused(net, X, LABELS, ValueError, "y must have shape (n_rows, n_outputs) = (4, 2); got (4,).")
    check_refused(net, X, LABELS, ValueError, "It compares probabilities that sum to 1", loss="cross_entropy")


@pytest.mark.parametrize("call", ["predict", "evaluate", "loss_and_gradient", "train_on_batch"])
def test_every_method_checks_its_data(call):
    net = classifier()
    y = () if call == "predict" else (LABELS,)
    with pytest.raises(ValueError, match="X must be finite; got nan in row 1, column 2"):
        getattr(net, call)(changed(X, (1, 2), np.nan), *y)
    with pytest.raises(ValueError, match="n_threads must be an integer of at least 1; got 0"):
        getattr(net, call)(X, *y, n_threads=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 699, 1400])
@pytest.mark.parametrize("make", [np.ascontiguousarray, np.asfortranarray, lambda A: np.repeat(A, 2, axis=1)[:, ::2]])
def test_finite_finds_the_place_in_any_layout(bad, row, make, monkeypatch):
    monkeypatch.setattr(validation, "BLOCK", 1000)
    A = np.zeros((1401, 3), np.float32)
    validation.finite("X", make(A))
    A[row, 2] = bad
    with pytest.raises(ValueError, match=f"X must be finite; got {bad} in row {row}, column 2"):
        validation.finite("X", make(A))


def test_finite_is_not_fooled_by_an_overflowing_sum():
    validation.finite("X", np.full((10, 3), 3e38, np.float32))


def test_finite_reads_a_memory_map_in_blocks(tmp_path, monkeypatch):
    A = np.lib.format.open_memmap(tmp_path / "A.npy", "w+", np.float64, (5000, 7))
    A[4321, 6] = np.nan
    sizes = []
    whole = np.isfinite
    monkeypatch.setattr(np, "isfinite", lambda block: sizes.append(np.size(block)) or whole(block))
    monkeypatch.setattr(validation, "BLOCK", 700)
    with pytest.raises(ValueError, match="row 4321, column 6"):
        validation.finite("X", A)
    assert max(sizes) <= 700


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Adam(learning_rate=-1e-3), ValueError, "learning_rate must be a finite number of at least 0; got -0.001."),
        (lambda: SGD(float("nan")), ValueError, "learning_rate must be a finite number of at least 0; got nan."),
        (lambda: Adam("fast"), TypeError, "learning_rate must be a finite number of at least 0; got 'fast'."),
        (lambda: Adam(beta2=1.0), ValueError, "beta2 must be a finite number of at least 0 and below 1; got 1."),
        (lambda: Constant(-1), ValueError, "rate must be a finite number of at least 0; got -1."),
        (lambda: Dropout(1.0), ValueError, "rate must be a finite number of at least 0 and below 1; got 1."),
        (lambda: Scale(float("inf")), ValueError, "scale must be a finite number; got inf."),
        (lambda: Huber(0.0), ValueError, "delta must be above 0; got 0."),
        (lambda: SquaredError(reduction="max"), ValueError, "reduction must be one of 'mean', 'sum', 'weighted_mean'; got 'max'."),
        (lambda: Dense(0), ValueError, "units must be an integer of at least 1; got 0."),
        (lambda: Dense(3, "rleu"), ValueError, "got 'rleu'. Did you mean 'relu'?"),
        (lambda: Dense(3, None), TypeError, "activation must be one of 'identity'"),
        (lambda: Dense(3, initializer="he"), ValueError, "initializer must be one of 'glorot_uniform'"),
        (lambda: Sequential([Dense(1)], n_features=0), ValueError, "n_features must be an integer of at least 1; got 0."),
        (lambda: Sequential([Dense(1)], 2, dtype="float16"), ValueError, "dtype must be 'float32', 'float64' or 'bfloat16'; got 'float16'."),
        (lambda: Sequential([Dense(1)], 2, dtype="flaot"), ValueError, "dtype must be 'float32', 'float64' or 'bfloat16'; got 'flaot'."),
        (lambda: Sequential([Dense(1)], 2, dtype=None), ValueError, "dtype must be 'float32', 'float64' or 'bfloat16'; got None."),
        (lambda: Sequential([Dense(1)], 2, seed=-1), ValueError, "seed must be an integer from 0 to 4294967295; got -1."),
        (lambda: EarlyStopping(patience=0), ValueError, "patience must be an integer of at least 1; got 0."),
    ],
)
def test_settings_are_checked_where_they_are_made(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    "name, given, ours",
    [
        ("loss", "mse", "squared_error"),
        ("loss", "L1Loss", "absolute_error"),
        ("loss", "sparse_categorical_crossentropy", "cross_entropy"),
        ("loss", "BCEWithLogitsLoss", "binary_cross_entropy"),
        ("loss", "log_loss", "cross_entropy"),
        ("activation", "linear", "identity"),
        ("activation", "swish", "silu"),
        ("optimizer", "cg", "conjugate_gradient"),
        ("initializer", "xavier_uniform_", "glorot_uniform"),
        ("initializer", "KaimingNormal", "he_normal"),
        ("metrics", "acc", "accuracy"),
    ],
)
def test_what_other_libraries_call_so_is_refused_with_its_name_here(name, given, ours):
    def call():
        if name in ("activation", "initializer"):
            Dense(3, **{name: given})
        else:
            classifier().fit(X, LABELS, **{name: given}, verbose=0)

    with pytest.raises(ValueError, match=f"^{name} must be one of '.*'; got '{given}'\\. It is called '{ours}' here\\.$"):
        call()


def test_synonyms_lead_to_names_and_are_none():
    tables = [LOSSES, ACTIVATIONS, OPTIMIZERS, INITIALIZERS, METRICS]
    for ours, theirs in validation.SYNONYMS.items():
        found = [table for table in tables if ours in table]
        assert found, ours
        assert not any(one in table for table in found for one in theirs.split()), ours
    words = " ".join(validation.SYNONYMS.values()).split()
    assert len(set(words)) == len(words)


SETTINGS = [
    lambda i, f, b, s: Dense(i(200), s("relu"), s("he_normal"), b(False), s("bias"), f(0.5), f(0.25), f(0), f(2)),
    lambda i, f, b, s: Dense(i(3), trainable=b(False)),
    lambda i, f, b, s: Dropout(f(0.25)),
    lambda i, f, b, s: Scale(f(0.125), i(100)),
    lambda i, f, b, s: Initializer(f(1.5), s("in"), s("normal")),
    lambda i, f, b, s: Huber(f(0.5), reduction=s("sum"), outputs_reduction=s("mean"), scale=i(2)),
    lambda i, f, b, s: CrossEntropy(scale=f(0.5)),
    lambda i, f, b, s: SGD(f(0.5), weight_decay=f(0.25), clip_norm=i(2), clip_value=f(0.5)),
    lambda i, f, b, s: Momentum(i(1), f(0.5), f(0.25)),
    lambda i, f, b, s: Nesterov(f(0.5), f(0.25)),
    lambda i, f, b, s: Adagrad(f(0.5), f(0.25), f(0.125)),
    lambda i, f, b, s: RMSprop(f(0.5), f(0.25), f(0.125)),
    lambda i, f, b, s: AdamW(f(0.5), f(0.25), f(0.125), f(0.5), weight_decay=f(0.5)),
    lambda i, f, b, s: Rprop(f(0.5), f(0.25), f(1.5), f(0.125), i(100)),
    lambda i, f, b, s: Lion(f(0.5), f(0.25), f(0.125)),
    lambda i, f, b, s: Nadam(f(0.5), f(0.25), f(0.125), f(0.5), f(0.5)),
    lambda i, f, b, s: RAdam(f(0.5), f(0.25), f(0.125), f(0.5), decay_bias=b(False)),
    lambda i, f, b, s: Adadelta(f(0.5), f(0.25), f(0.125)),
    lambda i, f, b, s: Focal(f(0.5)),
    lambda i, f, b, s: Quantile(f(0.5)),
    lambda i, f, b, s: GaussianNLL(f(0.5)),
    lambda i, f, b, s: Poisson(b(True)),
    lambda i, f, b, s: LayerNorm(f(0.5), b(False)),
    lambda i, f, b, s: BatchNorm(f(0.5), f(0.25), b(False)),
    lambda i, f, b, s: GaussianNoise(f(0.5)),
    lambda i, f, b, s: PReLU(b(True), b(False)),
    lambda i, f, b, s: LBFGS(f(0.5), i(100)),
    lambda i, f, b, s: ConjugateGradient(f(0.5)),
    lambda i, f, b, s: Constant(f(0.5)),
    lambda i, f, b, s: Step(f(0.5), i(100), f(0.25)),
    lambda i, f, b, s: Exponential(f(0.5), f(0.25)),
    lambda i, f, b, s: InverseTime(f(0.5), f(0.25)),
    lambda i, f, b, s: Linear(f(0.5), f(0.25), i(100)),
    lambda i, f, b, s: Cosine(f(0.5), f(0.25), i(50), i(100)),
    lambda i, f, b, s: OneCycle(f(0.5), f(0.25), f(8), i(16), i(100)),
]


@pytest.mark.parametrize("integer, real", [(np.uint8, np.float16), (np.int64, np.float32), (np.uint16, np.float64)])
@pytest.mark.parametrize("make", SETTINGS)
def test_settings_hold_plain_python_values(make, integer, real):
    actual, expected = make(integer, real, np.bool_, np.str_), make(int, float, bool, str)
    assert actual == expected
    for field in dataclasses.fields(actual):
        value = getattr(actual, field.name)
        if field.name != "initializer":
            assert type(value) is type(getattr(expected, field.name)) and type(value) in (int, float, bool, str, type(None)), field.name
    assert repr(actual).replace("np.str_('he_normal')", "'he_normal'") == repr(expected)


def test_schedules_of_small_integers_do_not_wrap_around():
    assert Step(1.0, np.uint8(200), 0.5)(1000) == 0.5**5
    assert Cosine(1.0, warmup=np.uint8(200), n_steps=np.uint16(400))(199) == 1.0


def test_numbers_beyond_float64_are_refused_in_words():
    with pytest.raises(ValueError, match="^learning_rate must be a finite number of at least 0; got inf.$"):
        Adam(10**400)


def test_unusable_values_are_named_with_their_place():
    """Finite in float64, infinite in float32: found by the gather, not by the scan."""
    big = changed(X, (2, 1), 1e300)
    check_refused(classifier(), big, LABELS, ValueError, "X must be finite as scaled float32; got 1e+300 in row 2, column 1.")
    assert np.isfinite(classifier("float64").fit(big * 1e-200, LABELS, verbose=0)["loss"][0])


def overflowing(at, dtype=np.float64):
    """Return features that are finite, with one number that float32 cannot hold, or that leaves it when it is scaled."""
    return changed(X, at, 1e39 if dtype is np.float64 else 3e38, dtype)


SCALED = [(None, np.float64), (Scale(100.0), np.float32), (Scale(shift=3.4e38), np.float32), (Scale(-1e20), np.float64), (Scale(1e38), np.int64)]


@pytest.mark.parametrize("call", ["predict", "evaluate", "loss_and_gradient", "train_on_batch", "fit"])
@pytest.mark.parametrize("scale, dtype", SCALED)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_method_names_what_leaves_the_dtype(call, scale, dtype, order):
    net = Sequential(([scale] if scale else []) + [Dense(3, "softmax")], n_features=3)
    bad = np.asarray(changed(X, (3, 1), 2**40, dtype) if dtype is np.int64 else overflowing((3, 1), dtype), order=order)
    before = net.parameters.copy()
    message = f"X must be finite as scaled float32; got {bad[3, 1]} in row 3, column 1."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        getattr(net, call)(bad, *(() if call == "predict" else (LABELS,)), **({"verbose": 0} if call == "fit" else {}))
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("rows", [1, 5, 700])
def test_predict_finds_the_row_in_every_block(rows):
    net, big = classifier(), np.zeros((rows, 3))
    big[rows - 1, 2] = -1e200
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^X must be finite as scaled float32; got -1e\\+200 in row {rows - 1}, column 2.$"):
            net.predict(big)
    assert np.isfinite(net.predict(np.zeros((rows, 3)))).all()


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("batch_size", [1, None])
def test_what_leaves_the_dtype_is_found_before_the_first_step(optimizer, batch_size, monkeypatch):
    monkeypatch.setattr(validation, "BLOCK", 100)
    rows = 3000
    many, labels = np.zeros((rows, 3)), np.zeros(rows, int)
    many[-1, 0] = 1e300
    settings = {"optimizer": optimizer, "batch_size": batch_size, "shuffle": False}
    check_refused(classifier(), many, labels, ValueError, f"X must be finite as scaled float32; got 1e+300 in row {rows - 1}, column 0.", **settings)
    for data, where in (((many, labels), "validation_data[0]"), ({"train": (X, LABELS), "test": (many, labels)}, "validation_data['test'][0]")):
        message = f"{where} must be finite as scaled float32; got 1e+300 in row {rows - 1}, column 0."
        check_refused(classifier(), X, LABELS, ValueError, message, validation_data=data, **settings)


def test_what_stays_in_the_dtype_is_taken():
    edge = changed(X, (0, 0), 3e38)
    assert np.isfinite(classifier().fit(X, LABELS, validation_data=(edge * 1e-10, LABELS), verbose=0)["val_loss"]).all()
    small = Sequential([Scale(1e-300), Dense(3, "softmax")], n_features=3)
    assert small.predict(edge).shape == (4, 3)  # converted first, so 1e-300 is 0 in float32
    assert Sequential([Dense(1)], 3, "float64").evaluate(changed(X, (1, 1), 1e100), X[:, 0])["loss"] > 1


@pytest.mark.parametrize("dtype, bad", [("float32", np.nan), ("float32", -1e39), ("float64", np.inf)])
def test_weights_that_are_not_finite_are_refused(dtype, bad):
    net = Sequential([Dense(2, "tanh"), Dense(1, bias=False)], n_features=3, dtype=dtype)
    before = net.parameters.copy()
    constraint = f"fit into {dtype}" if np.isfinite(bad) else "be finite"
    weights = [(changed(np.ones((3, 2)), (2, 1), bad), np.zeros(2)), (np.ones((2, 1)), None)]
    with pytest.raises(ValueError, match=rf"^weights\[0\]\[0\] must {constraint}; got {re.escape(str(bad))} in row 2, column 1.$"):
        net.set_weights(weights)
    with pytest.raises(ValueError, match=rf"^weights\[0\]\[1\] must {constraint}; got {re.escape(str(bad))} in row 1.$"):
        net.set_weights([(np.ones((3, 2)), [0, bad]), (np.ones((2, 1)), None)])
    with pytest.raises(ValueError, match=f"must {constraint}; got {re.escape(str(bad))} in row 2, column 1.$"):
        Sequential([Dense(2, initializer=weights[0])], n_features=3, dtype=dtype)
    place = int(np.flatnonzero(net.plan.mask())[3])
    with pytest.raises(ValueError, match=f"^parameters must {constraint}; got {re.escape(str(bad))} in row {place}.$"):
        net.parameters = changed(net.parameters, place, bad, np.float64)
    np.testing.assert_array_equal(net.parameters, before)
    net.parameters = np.where(net.plan.mask(), before.astype(np.float64), bad)  # the padding is cleared
    np.testing.assert_array_equal(net.parameters, before)


def test_more_threads_than_there_are_are_taken_as_at_most():
    one, many = classifier(), classifier()
    one.fit(X, LABELS, n_threads=1, verbose=0)
    many.fit(X, LABELS, n_threads=10**6, verbose=0)
    np.testing.assert_array_equal(one.parameters, many.parameters)
    assert validation.threads(10**6) == validation.threads(kernels.max_threads()) == kernels.max_threads()


def test_labels_with_nan_are_not_to_be_made_integers():
    with pytest.raises(ValueError, match="^y must be finite; got nan in row 2.$"):
        classifier().evaluate(X, [0.0, 1.0, np.nan, 2.0])


def test_objects_are_refused_with_a_way_out():
    message = "X must hold real numbers; got dtype object. Use X.astype(float) where all of it is numbers."
    mixed = np.array([[1, 2.5, True]] * 4, object)
    check_refused(classifier(), mixed, LABELS, TypeError, message)
    assert classifier().fit(mixed.astype(float), LABELS, verbose=0)["loss"]
    pandas = pytest.importorskip("pandas")
    frame = pandas.get_dummies(pandas.DataFrame({"size": [0.5, 1.5, 2.5, 3.5], "kind": list("abab")}))
    check_refused(classifier(), frame, LABELS, TypeError, message)
    check_refused(classifier(), pandas.DataFrame(X, columns=list("abc")).astype("Float64").assign(c=[1, 2, 3, None]), LABELS, TypeError, message)


NUMBERS, TIMES = [0.5, 1.5, 2.5, 3.5], np.arange(4).astype("datetime64[ms]")
DURATIONS = TIMES - TIMES[0]


@pytest.mark.parametrize("times", [TIMES, DURATIONS], ids=["points", "lengths"])
@pytest.mark.parametrize("kind", ["pandas", "pandas objects", "polars", "pyarrow", "objects", "list"])
def test_a_column_of_times_is_refused(kind, times):
    mixed = [[number, number, time] for number, time in zip(NUMBERS, times)]
    columns = {"a": NUMBERS, "b": NUMBERS, "c": times}
    frame = {
        "pandas": lambda: pytest.importorskip("pandas").DataFrame(columns),
        "pandas objects": lambda: pytest.importorskip("pandas").DataFrame(columns, dtype=object),
        "polars": lambda: pytest.importorskip("polars").DataFrame(columns),
        "pyarrow": lambda: pytest.importorskip("pyarrow").table(columns),
        "objects": lambda: np.array(mixed, object),
        "list": lambda: mixed,
    }[kind]()
    estimators = pytest.importorskip("fastnn.estimators")
    for function in (
        lambda: classifier().predict(frame),
        lambda: estimators.MLPClassifier().fit(frame, [0, 1, 0, 1]),
        lambda: estimators.MLPRegressor().fit(frame, NUMBERS),
    ):
        with pytest.raises(TypeError, match=r"^X must hold real numbers; got dtype \w*(Date|date|Time|time|Dur|dur).* in column 2\.$"):
            function()
    for y in ({"y": frame}, {"y": X, "X_val": X, "y_val": frame}):
        with pytest.raises(TypeError, match=rf"^{list(y)[-1]} must hold real numbers; got dtype .* in column 2\.$"):
            estimators.MLPRegressor().fit(X, **y)


@pytest.mark.parametrize("make", [lambda torch: torch.ones((4, 3), dtype=torch.bfloat16), lambda torch: torch.ones((4, 3), requires_grad=True)])
def test_tensors_that_numpy_cannot_read_are_refused_with_a_way_out(make):
    tensor = make(pytest.importorskip("torch"))
    check_refused(classifier(), tensor, LABELS, TypeError, "X must be a tensor that NumPy can read; got a Tensor. Use X.detach().cpu().double().")
    np.testing.assert_array_equal(classifier().predict(tensor.detach().cpu().double()), classifier().predict(np.ones((4, 3))))


def test_memory_of_a_fit_does_not_wrap_around():
    assert classifier().memory(np.uint8(250)) == classifier().memory(250)


@pytest.mark.parametrize("row", [0, 600])
def test_kernels_say_which_row_is_not_finite(row):
    net, big, labels = classifier(), np.zeros((700, 3)), np.zeros(700, np.int64)
    big[row, 1] = 1e50
    objective = kernels.Objective(kernels.CROSS_ENTROPY)
    message = f"^X must be finite as scaled float32; got NaN or infinity in row {row}.$"
    with pytest.raises(ValueError, match=message):
        kernels.predict(net.plan, net.parameters, big)
    for function in (kernels.evaluate, kernels.loss_and_gradient):
        with pytest.raises(ValueError, match=message):
            function(net.plan, net.parameters, big, labels, objective)
    with pytest.raises(ValueError, match=message):
        kernels.FullBatch(net.plan, big, labels, objective)


@pytest.mark.parametrize(
    "y, said",
    [
        ([1e-50, 0.0, 3e-50, 2e-50], "0.0 to 3e-50 in column 0"),
        ([1.7e9, 1.7e9 + 1, 1.7e9 - 1, 1.7e9], "1699999999.0 to 1700000001.0 in column 0"),
        (np.array([2**38, 2**38 + 1, 2**38, 2**38]), "274877906944.0 to 274877906945.0 in column 0"),
        ([[1.0, 1e-50], [2.0, 2e-50], [3.0, 1e-50], [4.0, 1e-50]], "1e-50 to 2e-50 in column 1"),
    ],
)
def test_targets_that_float32_makes_one_number_are_warned_of(y, said):
    n_outputs = np.ndim(y[0]) + 1
    message = f"^y goes from {said}, which is one number in float32: let Standardize\\(targets=True\\) be the last layer\\.$"
    with pytest.warns(UserWarning, match=message) as found:
        regressor(n_outputs).fit(X, y, verbose=0)
    assert len(found) == 1
    assert found[0].filename == __file__
    standardized = Sequential([Dense(n_outputs), Standardize(targets=True)], n_features=3)
    assert standardized.fit(X, y, verbose=0)["loss"][0] > 0.1
    Sequential([Dense(n_outputs)], n_features=3, dtype="float64").fit(X, y, verbose=0)


@pytest.mark.parametrize("y", [[2.0] * 4, [1e-50] * 4, [1.0, 1 + 1e-15, 1.0, 1.0], [0.0, 1e-50, 1.0, 0.0], np.array([1, 1, 1, 1])])
def test_targets_that_are_constant_or_stay_different_are_not_warned_of(y):
    regressor().fit(X, y, verbose=0)
    Sequential([Dense(2)], n_features=3).fit(X, y, loss="gaussian_nll", verbose=0)
