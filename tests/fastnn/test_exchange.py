"""Weights from and to plain arrays, PyTorch and scikit-learn: the bits after a round trip, and what the real library predicts."""

import numpy as np
import pytest

from fastnn import Activation, BatchNorm, Dense, Dropout, GaussianNoise, LayerNorm, Linear, PReLU, Residual, Scale, Sequential, Standardize
from fastnn.exchange_torch import ACTIVATIONS
from tests.fixtures import make_torch_state
from tests.numerics import assert_same_bits

rng = np.random.default_rng(12)
X = rng.normal(size=(30, 6)) * 2 + 1
WITHIN = {"float32": 1e-6, "float64": 1e-12}
HIDDEN = [name for name in ACTIVATIONS if "softmax" not in name]


def filled(net):
    """Return a network with random arrays everywhere, the same whatever test came before, variances above zero."""
    rng = np.random.default_rng(12)
    weights = [tuple(None if A is None else A + rng.normal(size=A.shape) / 3 for A in some) for some in net.weights]
    net.set_weights([(*some[:3], np.abs(some[3]) + 0.1) if len(some) == 4 else some for some in weights])
    return net


def same_weights(actual, expected):
    assert len(actual.weights) == len(expected.weights) and actual.dtype == expected.dtype
    for pair, other in zip(actual.weights, expected.weights):
        for A, B in zip(pair, other):
            assert (A is None) == (B is None)
            if A is not None:
                assert_same_bits(A, B)


def assert_near(actual, expected, dtype):
    """Compare as the largest output allows."""
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= WITHIN[dtype] * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("dtype", WITHIN)
def test_arrays_in_pairs_and_one_after_the_other(dtype):
    net = filled(Sequential([Dense(4, "tanh"), Dense(3, "relu"), Dense(2, "softmax")], n_features=6, dtype=dtype))
    for arrays in (net.weights, net.to_arrays()):
        copy = Sequential.from_arrays(arrays, ["tanh", "relu", "softmax"])
        assert repr(copy) == repr(net)
        same_weights(copy, net)
    assert Sequential.from_arrays(net.weights, ["tanh", "relu", "softmax"], dtype="float64").dtype == np.float64
    assert Sequential.from_arrays([(np.eye(6), None)], ["identity"]).layers == (Dense(6, bias=False),)


@pytest.mark.parametrize(
    "arrays, activations, message",
    [
        ([np.eye(2)] * 3, ["relu"], r"arrays must be pairs \(W, b\), or W, b, W, b, \.\.\.; got 3 arrays"),
        ([np.eye(2), np.ones(2)], "relu", "activations must be a list of names, one for each of the 1 layers; got 'relu'"),
        ([np.eye(2), np.ones(2)], ["relu", "relu"], "one for each of the 1 layers; got 2"),
        ([np.ones(2), np.ones(2)], ["relu"], r"W of layer 0 must have shape \(n_in, n_out\); got \(2,\)"),
        ([np.eye(2), np.ones(3)], ["relu"], r"b of layer 0 must have shape \(2,\); got \(3,\)"),
        ([(np.eye(2), None), (np.eye(3), None)], ["relu", "relu"], "layer 1 must take the 2 outputs of layer 0; got 3 inputs"),
        ([np.eye(2), np.ones(2)], ["rleu"], "activation must be one of .* Did you mean 'relu'"),
        ([], [], "must have a linear layer"),
    ],
)
def test_arrays_that_are_no_network(arrays, activations, message):
    with pytest.raises(ValueError, match=message):
        Sequential.from_arrays(arrays, activations)


# PyTorch.


@pytest.mark.parametrize("dtype", WITHIN)
def test_a_state_dict_predicts_what_pytorch_did(dtype):
    rows, state, outputs = make_torch_state.stored()
    state = {name: A.astype(dtype) for name, A in state.items()}
    net = Sequential.from_torch(state, make_torch_state.LAYERS, make_torch_state.NAMES)
    assert net.dtype == dtype and net.n_features == 3
    assert_near(net.predict(rows), outputs, dtype)
    assert_same_bits(net.weights[1][0], state["hidden.relu.weight"].T)
    same_weights(Sequential.from_torch(state, make_torch_state.LAYERS), net)


def test_a_state_dict_with_other_names_is_refused():
    _, state, _ = make_torch_state.stored()
    layers, names = make_torch_state.LAYERS, make_torch_state.NAMES
    state["fc.bias"] = np.ones(4)
    with pytest.raises(ValueError, match="no others; got left over 'fc.bias'"):
        Sequential.from_torch(state, layers, names)
    del state["norm.weight"]
    with pytest.raises(ValueError, match="state_dict must have .*; got missing 'norm.weight' and left over 'fc.bias'"):
        Sequential.from_torch(state, layers, names)
    with pytest.raises(ValueError, match="names must have one for each of the 15 layers with arrays; got 'fc'"):
        Sequential.from_torch(state, layers, ["fc"])
    with pytest.raises(ValueError, match="layers must be given for a state_dict"):
        Sequential.from_torch(state)
    with pytest.raises(ValueError, match=r"a\.weight must have shape \(n_out, n_in\); got \(3,\)"):
        Sequential.from_torch({"a.weight": np.ones(3), "a.bias": np.ones(3)}, [Dense(3)])


@pytest.mark.parametrize("dtype", WITHIN)
def test_to_and_from_pytorch(dtype):
    torch = pytest.importorskip("torch")
    layers = [LayerNorm(), *(Dense(7, name) for name in HIDDEN), LayerNorm(1e-3, trainable=False), Dropout(0.3), Dense(5, bias=False)]
    layers += [Dense(4, trainable="bias"), Dense(3, "tanh", trainable=False)]
    for last in ("softmax", "log_softmax", "identity"):
        net = filled(Sequential([*layers, Dense(3, last)], n_features=6, dtype=dtype))
        model = net.to_torch()
        with torch.no_grad():
            expected = model(torch.tensor(X, dtype=getattr(torch, dtype))).numpy()
        assert_near(net.predict(X), expected, dtype)
        copy = Sequential.from_torch(model)
        assert copy.layers == net.layers
        same_weights(copy, net)
    again = Sequential.from_torch(torch.nn.Sequential(torch.nn.Flatten(), *model))
    same_weights(again, net)


@pytest.mark.parametrize("dtype", WITHIN)
def test_normalized_columns_and_slopes_to_and_from_pytorch(dtype):
    torch = pytest.importorskip("torch")
    nn, kind = torch.nn, getattr(torch, dtype)
    model = nn.Sequential(
        nn.BatchNorm1d(6), nn.Linear(6, 5), nn.BatchNorm1d(5, 1e-3, 0.2), nn.ReLU(), nn.Linear(5, 4), nn.PReLU(), nn.Linear(4, 3), nn.PReLU(3), nn.Dropout(),
        nn.LeakyReLU(0.2), nn.Linear(3, 3), nn.LayerNorm(3), nn.LeakyReLU(), nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.GELU(), nn.Linear(4, 2)
    ).to(kind)  # fmt: skip
    rows = torch.tensor(X, dtype=kind)
    for _ in range(20):
        model(rows)
    expected = model.eval()(rows).detach().numpy()
    net = Sequential.from_torch(model)
    assert net.dtype == dtype
    assert net.layers[2:4] == (BatchNorm(1e-3, 0.2), PReLU(trainable=False))
    assert Dense(4, "tanh", bias=False, trainable=False) in net.layers
    assert_near(net.predict(X.astype(dtype)), expected, dtype)
    again = net.to_torch()
    assert repr(again) == repr(model)
    for tensor, other in zip(model.state_dict().values(), again.state_dict().values()):
        assert_same_bits(np.asarray(other), np.asarray(tensor)) if tensor.ndim else None
    same_weights(Sequential.from_torch(again), net)
    layers = [BatchNorm(), Residual([PReLU(), Dense(6, "tanh")]), Dense(1)]
    state = {f"{i}.{name}": tensor for i, one in enumerate((model[0], model[5], nn.Linear(6, 6), nn.Linear(6, 1))) for name, tensor in one.state_dict().items()}
    own = Sequential.from_torch(state, layers)
    assert own.layers == tuple(layers)
    assert_same_bits(own.weights[1][0], model[5].weight.detach().numpy())


@pytest.mark.parametrize("first", [Scale(0.5, 0.1), Standardize.of(X), Scale([1.0, 2, 3, 4, 5, 6])], ids=lambda layer: type(layer).__name__)
def test_pytorch_scales_with_a_frozen_layer(first):
    torch = pytest.importorskip("torch")
    net = filled(Sequential([first, Dense(4, "tanh"), Dense(2), Standardize([5.0, -3.0], [2.0, 0.5], targets=True)], n_features=6, dtype="float64"))
    model = net.to_torch()
    with torch.no_grad():
        expected = model(torch.tensor(X)).numpy()
    assert_near(net.predict(X), expected, "float64")
    assert [module.weight.requires_grad for module in model if isinstance(module, torch.nn.Linear)] == [False, True, True, False]
    copy = Sequential.from_torch(model)
    assert isinstance(copy.layers[0], Scale)
    assert_near(copy.predict(X), expected, "float64")


def test_names_of_ones_own_for_pytorch():
    torch = pytest.importorskip("torch")
    net = filled(Sequential([Dense(4, "tanh"), LayerNorm(), Dense(2)], n_features=6))
    model = net.to_torch(names=["first", "norm", "fc"])
    assert sorted(model.state_dict()) == [f"{name}.{one}" for name in ("fc", "first", "norm") for one in ("bias", "weight")]
    same_weights(Sequential.from_torch(model.state_dict(), net.layers, ["first", "norm", "fc"]), net)
    same_weights(Sequential.from_torch(torch.nn.Sequential(model)), net)
    half = Sequential.from_torch(model.to(torch.bfloat16))
    assert half.dtype == np.float32
    with pytest.raises(ValueError, match="names must have one for each of the 3 layers with arrays; got 1"):
        net.to_torch(names=["fc"])


def test_what_pytorch_has_and_we_do_not_is_refused_by_name():
    nn = pytest.importorskip("torch").nn
    for modules, message in [
        ([nn.Linear(2, 2), nn.Hardtanh()], "model must be an nn.Sequential of .*; got Hardtanh '1'"),
        ([nn.Conv1d(2, 2, 1)], "got Conv1d '0'"),
        ([nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3)), nn.Linear(2, 2)], "Linear '1' must take the 3 outputs of Linear '0.1'; got 2 inputs"),
        ([nn.Linear(2, 2), nn.ELU(2.0)], "ELU '1' must have alpha=1.0; got 2.0"),
        ([nn.BatchNorm1d(2, affine=False)], "BatchNorm1d '0' must have affine=True, track_running_stats=True and a momentum"),
        ([nn.Linear(3, 3), nn.PReLU(2)], "PReLU '1' must have one slope, or one for each of the 3 columns; got 2"),
        ([nn.Linear(2, 2), nn.Softmax(0)], "Softmax '1' must have dim=-1; got 0"),
        ([nn.ReLU(), nn.Linear(2, 2)], "activations must follow a layer with a number of columns; got ReLU '0' after the inputs"),
        ([nn.Linear(2, 2), nn.Dropout(0.5)], r"layers\[1\] must be followed by another layer, whose inputs it changes; got None"),
        ([nn.Linear(2, 3), nn.Softmax(1), nn.Linear(3, 2)], r"layers\[0\] must not have the activation 'softmax': only the last layer can have it"),
        ([nn.LayerNorm((2, 2))], "LayerNorm '0' must normalize one dimension"),
        ([nn.Linear(2, 2), nn.Flatten()], "Flatten '1' must flatten the inputs"),
        ([nn.Flatten()], "a network of PyTorch must have a linear layer; got none"),
    ]:
        with pytest.raises(ValueError, match=message):
            Sequential.from_torch(nn.Sequential(*modules))
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="model must have no hooks, .*; got Linear '0'"):
        Sequential.from_torch(nn.Sequential(hooked))
    with pytest.raises(ValueError, match="got Linear ''"):
        Sequential.from_torch(hooked)
    with pytest.raises(ValueError, match="layers and names must be left out for a model"):
        Sequential.from_torch(nn.Linear(2, 2), layers=[Dense(2)])
    with pytest.raises(ValueError, match="activations must be ones that PyTorch has; got 'cube', a function of one's own"):
        Sequential([Dense(2, Activation(lambda z: z**3, lambda z: 3 * z**2, name="cube"))], n_features=2).to_torch()
    for layer, said in [(GaussianNoise(0.1), "GaussianNoise"), (Residual([Dense(2)]), "Residual"), (Dropout(Linear(0.5, 0.0)), "Dropout")]:
        with pytest.raises(ValueError, match=f"layers must be ones that an nn.Sequential of PyTorch holds; got {said}"):
            Sequential([layer, Dense(2)], n_features=2).to_torch()


# scikit-learn.


def outputs_of(model, rows=X):
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows).reshape(len(rows), -1)


@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("target", ["three classes", "two classes", "many labels", "number", "two numbers"])
def test_from_and_to_scikit_learn(target, activation, dtype):
    neural_network = pytest.importorskip("sklearn.neural_network")
    names = np.array(["a", "b", "c"])
    y = {"three classes": names[np.arange(30) % 3], "two classes": np.arange(30) % 2, "many labels": np.arange(90).reshape(30, 3) % 2}
    y |= {"number": X[:, 0], "two numbers": X[:, :2]}
    kind = neural_network.MLPRegressor if "number" in target else neural_network.MLPClassifier
    options = {"classes": np.unique(y[target])} if target.endswith("classes") else {"classes": np.arange(3)} if target == "many labels" else {}
    rows = X.astype(dtype)
    model = kind(hidden_layer_sizes=(5, 4), activation=activation).partial_fit(rows, y[target], **options)
    net = Sequential.from_sklearn(model)
    assert net.dtype == dtype
    for (W, b), V, c in zip(net.weights, model.coefs_, model.intercepts_):
        assert_same_bits(W, V)
        assert_same_bits(b, c)
    expected = outputs_of(model, rows)
    assert_near(net.predict(rows) if target != "two classes" else np.hstack([1 - net.predict(rows), net.predict(rows)]), expected, dtype)
    assert net.metadata == ({"classes": ["a", "b", "c"]} if target == "three classes" else {})
    copy = net.to_sklearn()
    assert type(copy) is kind
    assert_near(outputs_of(copy, rows), expected, dtype)
    np.testing.assert_array_equal(copy.predict(rows), model.predict(rows))
    same_weights(Sequential.from_sklearn(copy), net)
    copy.partial_fit(rows, y[target])
    assert np.abs(outputs_of(copy, rows) - expected).max() > 0


def test_scikit_learn_scales_in_a_pipeline():
    pytest.importorskip("sklearn")
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Binarizer, MaxAbsScaler, MinMaxScaler, StandardScaler

    rows = X.copy()
    rows[:, 2] = 7.0
    for scaler in (StandardScaler(), MinMaxScaler(), MaxAbsScaler(), StandardScaler(with_mean=False), "passthrough"):
        pipe = make_pipeline(scaler, MLPRegressor(hidden_layer_sizes=(4,), max_iter=300, tol=1.0)).fit(rows, rows[:, 0])
        net = Sequential.from_sklearn(pipe)
        assert_near(net.predict(2 * rows), pipe.predict(2 * rows)[:, None], "float64")
        copy = net.to_sklearn()
        assert_near(net.predict(2 * rows), copy.predict(2 * rows)[:, None], "float64")
    first = Standardize.of(rows)
    assert first.std[2] == 0
    net = filled(Sequential([first, Dense(2)], n_features=6, dtype="float64"))
    model = net.to_sklearn()
    assert_near(net.predict(X), model.predict(X), "float64")
    net.feature_names = tuple("abcdef")
    copy = Sequential.from_sklearn(net.to_sklearn())
    assert copy.layers == net.layers and copy.feature_names == net.feature_names
    with pytest.raises(ValueError, match="scalers must be a fitted .*; got a Binarizer"):
        Sequential.from_sklearn(make_pipeline(Binarizer(), pipe.steps[-1][1]))


def test_two_classes_after_softmax_are_one_output_for_scikit_learn():
    pytest.importorskip("sklearn")
    net = filled(Sequential([Dense(4, "relu"), Dense(2, "softmax")], n_features=6, dtype="float64"))
    net.metadata["classes"] = ["no", "yes"]
    model = net.to_sklearn()
    assert_near(model.predict_proba(X), net.predict(X), "float64")
    np.testing.assert_array_equal(model.predict(X), np.array(["no", "yes"])[net.predict(X).argmax(axis=1)])


def test_what_scikit_learn_does_not_have_is_refused_by_name():
    pytest.importorskip("sklearn")
    from sklearn.neural_network import MLPRegressor

    for layers, message in [
        ([Dense(2, "gelu"), Dense(2)], "activations must be ones that scikit-learn has: .*; got 'gelu'"),
        ([Dense(2, "relu"), Dense(2, "tanh"), Dense(2)], "the same for scikit-learn; got 'relu', 'tanh'"),
        ([Dense(2, "relu"), Dense(2, "log_softmax")], "in the last layer has: .*; got 'log_softmax'"),
        ([Dropout(0.5), Dense(2)], r"layers must be Dense ones, .*; got Dropout\(rate=0.5\)"),
        ([LayerNorm(), Dense(2)], "got LayerNorm"),
        ([Residual([Dense(3)]), Dense(2)], "got Residual"),
        ([Dense(1), Standardize(1.0, 2.0, targets=True)], "got Standardize"),
    ]:
        with pytest.raises(ValueError, match=message):
            Sequential(layers, n_features=3).to_sklearn()
    with pytest.raises(ValueError, match="model must be a fitted MLPClassifier or MLPRegressor, .*; got a MLPRegressor"):
        Sequential.from_sklearn(MLPRegressor())
    model = MLPRegressor(hidden_layer_sizes=(2,)).partial_fit(X, X[:, 0])
    model.out_activation_ = "step"
    with pytest.raises(ValueError, match="out_activation_ must be one of 'identity', 'logistic', 'softmax', 'exp'; got 'step'"):
        Sequential.from_sklearn(model)


def test_counts_of_scikit_learn():
    neural_network = pytest.importorskip("sklearn.neural_network")
    net = filled(Sequential([Dense(3, "tanh"), Dense(1, "exponential")], n_features=6, dtype="float64"))
    try:
        model = net.to_sklearn()
    except TypeError:
        pytest.skip(f"{neural_network.__name__} has no loss of counts")
    assert_near(model.predict(X)[:, None], net.predict(X), "float64")
    same_weights(Sequential.from_sklearn(model), net)
