"""Bad calls of fastnn: each gives its one sentence, and leaves the network as it was."""

import re

import numpy as np
import pytest

import fastnn
from fastnn import SGD, Adam, AdamW, Dense, Dropout, Huber, LayerNorm, Momentum, Scale, Sequential, Standardize, memory
from tests.kernels.misuses import GROUPS


class Case:
    """A network of classes and one of numbers, with data that fit."""

    def __init__(self, folder):
        self.net, self.numbers, self.folder = Sequential([Dense(2, "softmax")], 3), Sequential([Dense(1)], 3), folder
        self.X, self.y = np.random.default_rng(0).standard_normal((8, 3)), np.arange(8) % 2

    def spoiled(self, value):
        X = self.X.copy()
        X[5, 1] = value
        return X

    def with_metadata(self, value):
        self.net.metadata = {"value": value}
        return self.net


MISUSES = [
    ("no layers", "ValueError: layers must have at least one Dense layer; got", lambda c: Sequential([], 3)),
    ("layers that are one layer", "TypeError: layers must be a list of Scale, Standardize, Dense, Dropout", lambda c: Sequential(Dense(2), 3)),
    ("layers by name", "TypeError: layers[0] must be a Scale, Standardize, Dense, Dropout, Lay", lambda c: Sequential(["dense"], 3)),
    ("a class for a layer", "TypeError: layers[0] must be a Scale, Standardize, Dense, Dropout, Lay", lambda c: Sequential([Dense], 3)),
    ("no dense layer", "ValueError: layers[0] must be followed by another layer, whose inputs", lambda c: Sequential([Dropout(0.5)], 3)),
    ("dropout at the end", "ValueError: layers[1] must be followed by another layer, whose inputs", lambda c: Sequential([Dense(2), Dropout(0.5)], 3)),
    ("scale in the middle", "ValueError: layers[1] must not be a Scale: only the first layer can be", lambda c: Sequential([Dense(2), Scale(2), Dense(1)], 3)),
    (
        "softmax in the middle",
        "ValueError: layers[0] must not have the activation 'softmax': only the",
        lambda c: Sequential([Dense(2, "softmax"), Dense(1)], 3),
    ),
    ("no features", "ValueError: n_features must be an integer of at least 1; got", lambda c: Sequential([Dense(2)], 0)),
    ("2.5 features", "TypeError: n_features must be an integer of at least 1; got", lambda c: Sequential([Dense(2)], 2.5)),
    ("features as text", "TypeError: n_features must be an integer of at least 1; got", lambda c: Sequential([Dense(2)], "3")),
    ("True features", "TypeError: n_features must be an integer of at least 1; got", lambda c: Sequential([Dense(2)], True)),
    ("float16", "ValueError: dtype must be 'float32', 'float64' or 'bfloat16'; got", lambda c: Sequential([Dense(2)], 3, "float16")),
    ("a complex network", "ValueError: dtype must be 'float32', 'float64' or 'bfloat16'; got", lambda c: Sequential([Dense(2)], 3, complex)),
    ("a negative seed", "ValueError: seed must be an integer from 0 to 4294967295; got", lambda c: Sequential([Dense(2)], 3, seed=-1)),
    ("a seed of 33 bits", "ValueError: seed must be an integer from 0 to 4294967295; got", lambda c: Sequential([Dense(2)], 3, seed=2**32)),
    ("no units", "ValueError: units must be an integer of at least 1; got", lambda c: Dense(0)),
    ("-1 units", "ValueError: units must be an integer of at least 1; got", lambda c: Dense(-1)),
    ("1.5 units", "TypeError: units must be an integer of at least 1; got", lambda c: Dense(1.5)),
    ("units as text", "TypeError: units must be an integer of at least 1; got", lambda c: Dense("a")),
    ("10**9 units", "MemoryError: layers and n_features must fit into ", lambda c: Sequential([Dense(10**9)], 10**6)),
    ("10**18 units", "MemoryError: layers and n_features must fit into ", lambda c: Sequential([Dense(10**18)], 10**6)),
    ("an unknown activation", "ValueError: activation must be one of 'identity', 'relu', 'leaky_relu'", lambda c: Dense(2, "rellu")),
    ("an activation that is a function", "TypeError: activation must be one of 'identity', 'relu', 'leaky_relu',", lambda c: Dense(2, abs)),
    ("an activation that is a number", "TypeError: activation must be one of 'identity', 'relu', 'leaky_relu',", lambda c: Dense(2, 1)),
    ("a bias of 1", "TypeError: bias must be True or False; got", lambda c: Dense(2, bias=1)),
    ("trainable by a wrong word", "ValueError: trainable must be True, False, 'weights' or 'bias'; got", lambda c: Dense(2, trainable="W")),
    ("l1 below 0", "ValueError: l1 must be a finite number of at least 0; got", lambda c: Dense(2, l1=-1)),
    ("l2 of NaN", "ValueError: l2 must be a finite number of at least 0; got", lambda c: Dense(2, l2=float("nan"))),
    ("an unknown initializer", "ValueError: initializer must be one of 'glorot_uniform', 'glorot_norma", lambda c: Dense(2, initializer="gloro")),
    (
        "an initializer of another shape",
        "ValueError: initializer of layer 0, W, must have shape (3, 2); got",
        lambda c: Sequential([Dense(2, initializer=np.ones((2, 2)))], 3),
    ),
    (
        "an initializer with NaN",
        "ValueError: initializer of layer 0, W, must be finite; got",
        lambda c: Sequential([Dense(2, initializer=np.full((3, 2), np.nan))], 3),
    ),
    ("dropout of 1", "ValueError: rate must be a finite number of at least 0 and below 1; go", lambda c: Dropout(1.0)),
    ("dropout of -0.1", "ValueError: rate must be a finite number of at least 0 and below 1; go", lambda c: Dropout(-0.1)),
    ("dropout of NaN", "ValueError: rate must be a finite number of at least 0 and below 1; go", lambda c: Dropout(float("nan"))),
    ("dropout as text", "TypeError: rate must be a finite number of at least 0 and below 1; got", lambda c: Dropout("half")),
    ("a scale of infinity", "ValueError: scale must be a finite number; got", lambda c: Scale(float("inf"))),
    ("a scale for other features", "ValueError: scale of layers[0] must be one number, or 3, one for each", lambda c: Sequential([Scale([1, 2]), Dense(2)], 3)),
    ("a scale of two dimensions", "ValueError: scale must be a number or a sequence of them; got", lambda c: Scale([[1, 2]])),
    ("a mean without a std", "ValueError: mean and std must be given both or not at all; got", lambda c: Standardize(mean=1)),
    ("a std below 0", "ValueError: std must be a finite number of at least 0; got", lambda c: Standardize(0, -1)),
    ("LayerNorm with eps 0", "ValueError: eps must be above 0; got", lambda c: LayerNorm(0)),
    ("LayerNorm with an eps below float32", "ValueError: eps must be at least 1.18e-38 and finite in float32; got", lambda c: LayerNorm(1e-60)),
    ("a rate below 0", "ValueError: learning_rate must be a finite number of at least 0; got", lambda c: Adam(-1e-3)),
    ("a rate of NaN", "ValueError: learning_rate must be a finite number of at least 0; got", lambda c: SGD(float("nan"))),
    ("a rate as text", "TypeError: learning_rate must be a finite number of at least 0; got", lambda c: SGD("fast")),
    ("beta1 of 1", "ValueError: beta1 must be a finite number of at least 0 and below 1; g", lambda c: Adam(beta1=1.0)),
    ("beta2 of 2", "ValueError: beta2 must be a finite number of at least 0 and below 1; g", lambda c: Adam(beta2=2)),
    ("an eps of 0", "ValueError: eps must be above 0; got", lambda c: Adam(eps=0)),
    ("a momentum of -1", "ValueError: momentum must be a finite number of at least 0 and below 1", lambda c: Momentum(momentum=-1)),
    ("a decay below 0", "ValueError: weight_decay must be a finite number of at least 0; got", lambda c: AdamW(weight_decay=-1)),
    ("clip_norm 0", "ValueError: clip_norm must be above 0; got", lambda c: SGD(0.1, clip_norm=0)),
    ("clip_value of infinity", "ValueError: clip_value must be a finite number of at least 0; got", lambda c: SGD(0.1, clip_value=float("inf"))),
    ("an unknown keyword", "TypeError: Adam.__init__() got an unexpected keyword argument 'lr'", lambda c: Adam(lr=0.1)),
    ("delta 0", "ValueError: delta must be above 0; got", lambda c: Huber(0)),
    ("an unknown reduction", "ValueError: reduction must be one of 'mean', 'sum', 'weighted_mean'; g", lambda c: Huber(reduction="median")),
    ("X of one dimension", "ValueError: X must have shape (n_rows, n_features) = (..., 3); got", lambda c: c.net.fit(c.X[0], c.y)),
    ("X of three dimensions", "ValueError: X must have shape (n_rows, n_features) = (..., 3); got", lambda c: c.net.fit(c.X[:, :, None], c.y)),
    ("X with a column more", "ValueError: X must have shape (n_rows, n_features) = (..., 3); got", lambda c: c.net.fit(np.ones((8, 4)), c.y)),
    ("no rows", "ValueError: X must have at least one row; got", lambda c: c.net.fit(c.X[:0], c.y[:0])),
    ("ragged rows", "ValueError: X must be an array with rows of equal length; got", lambda c: c.net.fit([[1, 2, 3], [1, 2]], [0, 1])),
    ("X of text", "TypeError: X must hold real numbers; got", lambda c: c.net.fit([["a", "b", "c"]], [0])),
    ("X of objects", "TypeError: X must hold real numbers; got", lambda c: c.net.fit(np.array([[1, None, 2]]), [0])),
    ("X of dates", "TypeError: X must hold real numbers; got", lambda c: c.net.fit(np.zeros((8, 3), "M8[D]"), c.y)),
    ("complex X", "TypeError: X must hold real numbers; got", lambda c: c.net.fit(c.X + 1j, c.y)),
    ("structured X", "TypeError: X must hold real numbers; got", lambda c: c.net.fit(np.zeros(8, [("a", "f4"), ("b", "f4"), ("c", "f4")]), c.y)),
    ("masked X", "TypeError: X must be an array without a mask; got", lambda c: c.net.fit(np.ma.masked_greater(c.X, 0), c.y)),
    ("NaN in X", "ValueError: X must be finite; got", lambda c: c.net.fit(c.spoiled(np.nan), c.y)),
    ("infinity in X", "ValueError: X must be finite; got", lambda c: c.net.fit(c.spoiled(np.inf), c.y)),
    ("X beyond float32", "ValueError: X must be finite as scaled float32; got", lambda c: c.net.fit(c.spoiled(1e300), c.y)),
    ("too few labels", "ValueError: y must have as many rows as X, 8; got", lambda c: c.net.fit(c.X, c.y[:-1])),
    ("too many labels", "ValueError: y must have as many rows as X, 8; got", lambda c: c.net.fit(c.X, np.append(c.y, 0))),
    ("one label", "ValueError: y must have as many rows as X, 8; got", lambda c: c.net.fit(c.X, 1)),
    ("label -1", "ValueError: y must hold labels from 0 to 1, one for each output; got", lambda c: c.net.fit(c.X, c.y - 1)),
    ("label 2 of 2", "ValueError: y must hold labels from 0 to 1, one for each output; got", lambda c: c.net.fit(c.X, c.y + 1)),
    ("label 2**63", "ValueError: y must hold labels from 0 to 1, one for each output; got", lambda c: c.net.fit(c.X, c.y.astype("u8") + 2**63)),
    ("labels of 0.5", "TypeError: y must be integers, the labels of the classes; got", lambda c: c.net.fit(c.X, c.y * 0.5)),
    ("labels as text", "TypeError: y must hold real numbers; got", lambda c: c.net.fit(c.X, ["a", "b"] * 4)),
    (
        "probabilities that do not sum to 1",
        "ValueError: y must have rows that sum to 1 where it has a column for e",
        lambda c: c.net.fit(c.X, np.full((8, 2), 0.4)),
    ),
    ("probabilities below 0", "ValueError: y must hold probabilities from 0 to 1 where it has a colum", lambda c: c.net.fit(c.X, np.tile([1.5, -0.5], (8, 1)))),
    (
        "three columns of probabilities",
        "ValueError: y must have shape (n_rows,) with labels or (n_rows, n_clas",
        lambda c: c.net.fit(c.X, np.full((8, 3), 1 / 3)),
    ),
    ("targets of another shape", "ValueError: y must have shape (n_rows, n_outputs) = (8, 1); got", lambda c: c.numbers.fit(c.X, np.ones((8, 2)))),
    ("NaN in the targets", "ValueError: y must be finite; got", lambda c: c.numbers.fit(c.X, np.full(8, np.nan))),
    ("targets beyond float32", "ValueError: y must fit into float32; got", lambda c: c.numbers.fit(c.X, np.full(8, 1e39))),
    ("cross-entropy of numbers", "ValueError: loss must fit the last activation, 'identity'; got", lambda c: c.numbers.fit(c.X, c.y, loss="cross_entropy")),
    ("squared error of softmax", "ValueError: loss must fit the last activation, 'softmax'; got", lambda c: c.net.fit(c.X, c.y, loss="squared_error")),
    ("an unknown loss", "ValueError: loss must be one of 'cross_entropy', 'binary_cross_entropy", lambda c: c.net.fit(c.X, c.y, loss="mse")),
    ("a loss that is a number", "TypeError: loss must be a name or settings such as CrossEntropy(reduct", lambda c: c.net.fit(c.X, c.y, loss=1)),
    ("an unknown optimizer", "ValueError: optimizer must be one of 'sgd', 'momentum', 'nesterov', 'a", lambda c: c.net.fit(c.X, c.y, optimizer="admm")),
    ("a class for an optimizer", "TypeError: optimizer must be a name or settings such as SGD(learning_r", lambda c: c.net.fit(c.X, c.y, optimizer=Adam)),
    ("epochs 0", "ValueError: epochs must be an integer of at least 1; got", lambda c: c.net.fit(c.X, c.y, epochs=0)),
    ("1.5 epochs", "TypeError: epochs must be an integer of at least 1; got", lambda c: c.net.fit(c.X, c.y, epochs=1.5)),
    ("a batch of 0", "ValueError: batch_size must be an integer of at least 1; got", lambda c: c.net.fit(c.X, c.y, batch_size=0)),
    ("a batch of -1", "ValueError: batch_size must be an integer of at least 1; got", lambda c: c.net.fit(c.X, c.y, batch_size=-1)),
    ("a batch of 2.5", "TypeError: batch_size must be an integer of at least 1; got", lambda c: c.net.fit(c.X, c.y, batch_size=2.5)),
    ("0 threads", "ValueError: n_threads must be an integer of at least 1; got", lambda c: c.net.fit(c.X, c.y, n_threads=0)),
    ("threads as text", "TypeError: n_threads must be an integer of at least 1; got", lambda c: c.net.fit(c.X, c.y, n_threads="all")),
    ("an order with row 8 of 8", "ValueError: shuffle must give row numbers from 0 to 7; got", lambda c: c.net.fit(c.X, c.y, shuffle=np.arange(1, 9))),
    (
        "an order of floats",
        "ValueError: shuffle must give a one-dimensional array of row numbers;",
        lambda c: c.net.fit(c.X, c.y, shuffle=np.linspace(0, 1, 8)),
    ),
    ("an empty order", "ValueError: shuffle must give a one-dimensional array of row numbers;", lambda c: c.net.fit(c.X, c.y, shuffle=np.zeros(0, int))),
    ("verbose as text", "TypeError: verbose must be an integer from 0 to 1; got", lambda c: c.net.fit(c.X, c.y, verbose="loud")),
    (
        "a validation set that is no pair",
        "TypeError: validation_data must be a pair (X, y) or (X, y, sample_weight); got",
        lambda c: c.net.fit(c.X, c.y, validation_data=c.X),
    ),
    (
        "a validation set with another class",
        "ValueError: validation_data[1] must hold labels from 0 to 1, one for e",
        lambda c: c.net.fit(c.X, c.y, validation_data=(c.X, c.y + 1)),
    ),
    (
        "a validation set with NaN",
        "ValueError: validation_data[0] must be finite; got",
        lambda c: c.net.fit(c.X, c.y, validation_data=(c.spoiled(np.nan), c.y)),
    ),
    ("a callback that is a number", "TypeError: callbacks must be objects with one of the methods on_fit_be", lambda c: c.net.fit(c.X, c.y, callbacks=[1])),
    ("sample weights too few", "ValueError: sample_weight must have shape (n_rows,) = (8,); got", lambda c: c.net.fit(c.X, c.y, sample_weight=np.ones(7))),
    ("a sample weight below 0", "ValueError: sample_weight must be at least 0; got", lambda c: c.net.fit(c.X, c.y, sample_weight=-np.ones(8))),
    ("a sample weight of NaN", "ValueError: sample_weight must be finite; got", lambda c: c.net.fit(c.X, c.y, sample_weight=np.full(8, np.nan))),
    (
        "a class weight for another class",
        "ValueError: a label in class_weight must be an integer from 0 to 1; go",
        lambda c: c.net.fit(c.X, c.y, class_weight={2: 1.0}),
    ),
    (
        "a class weight by a wrong word",
        "TypeError: class_weight must be a dict from labels to weights, or 'bal",
        lambda c: c.net.fit(c.X, c.y, class_weight="balance"),
    ),
    ("a step with NaN", "ValueError: X must be finite; got", lambda c: c.net.train_on_batch(c.spoiled(np.nan), c.y)),
    ("a step with another class", "ValueError: y must hold labels from 0 to 1, one for each output; got", lambda c: c.net.train_on_batch(c.X, c.y + 1)),
    ("a prediction of a column more", "ValueError: X must have shape (n_rows, n_features) = (..., 3); got", lambda c: c.net.predict(np.ones((8, 4)))),
    ("a prediction of one row", "ValueError: X must have shape (n_rows, n_features) = (..., 3); got", lambda c: c.net.predict(c.X[0])),
    ("a prediction of NaN", "ValueError: X must be finite; got", lambda c: c.net.predict(c.spoiled(np.nan))),
    ("a prediction of beyond float32", "ValueError: X must be finite as scaled float32; got", lambda c: c.net.predict(c.spoiled(1e300))),
    ("a prediction of text", "TypeError: X must hold real numbers; got", lambda c: c.net.predict("X")),
    ("a prediction of nothing", "TypeError: X must hold real numbers; got", lambda c: c.net.predict(None)),
    ("an evaluation without rows", "ValueError: X must have at least one row; got", lambda c: c.net.evaluate(c.X[:0], c.y[:0])),
    ("an evaluation of another class", "ValueError: y must hold labels from 0 to 1, one for each output; got", lambda c: c.net.evaluate(c.X, c.y + 1)),
    ("parameters of another length", "ValueError: parameters must have shape (64,); got", lambda c: setattr(c.net, "parameters", np.ones(3))),
    ("parameters of NaN", "ValueError: parameters must be finite; got", lambda c: setattr(c.net, "parameters", np.full_like(c.net.parameters, np.nan))),
    ("parameters of text", "TypeError: parameters must hold real numbers; got", lambda c: setattr(c.net, "parameters", "zero")),
    ("weights for a layer too few", "ValueError: weights must have a pair (W, b) for each of 1 dense layers", lambda c: c.net.set_weights([])),
    ("weights that are transposed", "ValueError: weights[0][0] must have shape (3, 2); got", lambda c: c.net.set_weights([(np.ones((2, 3)), np.ones(2))])),
    ("weights without a bias", "TypeError: weights[0] must be a pair (W, b); got", lambda c: c.net.set_weights([np.ones((3, 2))])),
    ("weights of infinity", "ValueError: weights[0][0] must be finite; got", lambda c: c.net.set_weights([(np.full((3, 2), np.inf), np.ones(2))])),
    ("a layer that there is not", "ValueError: index must be an integer from 0 to 0; got", lambda c: c.net.set_trainable(1, False)),
    ("a layer by name", "TypeError: index must be an integer from 0 to 0; got", lambda c: c.net.set_trainable("first", False)),
    ("the memory of no rows", "ValueError: batch_size must be an integer of at least 1; got", lambda c: c.net.memory(0)),
    ("a program of 2**50 rows", "MemoryError: layers and batch_size must fit into ", lambda c: c.net.program(2**50)),
    ("metadata that JSON cannot hold", "TypeError: metadata must hold what JSON can; got", lambda c: c.with_metadata({1, 2}).save(c.folder / "net")),
    ("a file in no folder", "FileNotFoundError: [Errno 2]", lambda c: c.net.save(c.folder / "no" / "net")),
    ("a file that is not there", "FileNotFoundError: [Errno 2]", lambda c: Sequential.load(c.folder / "nothing")),
    ("a file that is a folder", "IsADirectoryError: [Errno 21]", lambda c: Sequential.load(c.folder)),
    ("a file None", "TypeError: path must be the path of a file; got None.", lambda c: c.net.save(None)),
    ("a file that is a number", "TypeError: path must be the path of a file; got 1.5.", lambda c: Sequential.load(1.5)),
    ("a file that is a descriptor", "TypeError: path must be the path of a file; got 0.", lambda c: Sequential.load(0)),
    ("a null character in a path", "ValueError: path must be without null characters; got 'a\\x00b'.", lambda c: c.net.save("a\0b")),
    ("a null character in a path to load", "ValueError: path must be without null characters; got 'a\\x00b'.", lambda c: Sequential.load("a\0b")),
    ("an idx file that is not there", "FileNotFoundError: [Errno 2]", lambda c: fastnn.datasets.read_idx(c.folder / "nothing")),
    ("an npz file that is not there", "FileNotFoundError: [Errno 2]", lambda c: fastnn.datasets.load_npz(c.folder / "nothing.npz")),
]


@pytest.mark.parametrize(("sentence", "call"), [pytest.param(sentence, call, id=name) for name, sentence, call in MISUSES])
def test_a_misuse_gives_its_sentence_and_changes_nothing(sentence, call, tmp_path):
    case = Case(tmp_path)
    before = [net.parameters.tobytes() for net in (case.net, case.numbers)]
    with pytest.raises(Exception) as caught:
        call(case)
    said = f"{type(caught.value).__name__}: {caught.value}"
    assert said.startswith(sentence)
    assert re.fullmatch(r"[^\n]{1,400}", said)
    assert [net.parameters.tobytes() for net in (case.net, case.numbers)] == before
    assert (case.net.n_fits, case.net.feature_names, list(tmp_path.iterdir())) == (0, None, [])


def test_there_are_misuses_enough():
    assert len(MISUSES) + sum(len(misuses) for group, misuses in GROUPS.items() if group != "uses") >= 150 + 100


def test_what_a_fit_would_take_is_refused_before_it_is_taken(monkeypatch):
    net = Sequential([Dense(500), Dense(1)], 100)
    monkeypatch.setattr(memory, "available", lambda: 1e6)
    with pytest.raises(MemoryError, match=r"^layers and batch_size must fit into 0\.0 GiB of memory; got an estimate of 0\.0 GiB\.$"):
        net.fit(np.zeros((8, 100)), np.zeros(8), verbose=0)
    monkeypatch.setattr(memory, "available", lambda: 1e5)
    with pytest.raises(MemoryError, match="^layers and n_features must fit into"):
        Sequential([Dense(500), Dense(1)], 100)


def test_there_is_some_memory():
    assert 2**28 < memory.available.__wrapped__() < 2**60
