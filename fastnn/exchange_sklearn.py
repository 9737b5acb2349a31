"""scikit-learn's MLPClassifier and MLPRegressor, alone or after a scaler in a pipeline, and its scorers (extra `sklearn`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from . import validation
from .layers import Dense, Scale, Standardize
from .stack import Found, Stack, activation_name, columns
from .validation import Array

ACTIVATIONS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
OUTPUTS = {"identity": "identity", "sigmoid": "logistic", "softmax": "softmax", "exponential": "exp"}


def read_model(model: Any) -> Found:
    """Return the network of a fitted MLPClassifier or MLPRegressor, or of a pipeline of scalers and one of them."""
    steps = [step for _, step in getattr(model, "steps", (("", model),)) if step not in (None, "passthrough")]
    if not steps or not hasattr(steps[-1], "coefs_"):
        last = validation.shown(steps[-1] if steps else model)
        raise ValueError(f"model must be a fitted MLPClassifier or MLPRegressor, or a pipeline that ends with one; got {last}.")
    *scalers, mlp = steps
    stack = Stack("scikit-learn")
    for scaler in scalers:
        stack.scale(type(scaler).__name__, _scale(scaler))
    hidden = _name("activation", mlp.activation, ACTIVATIONS)
    last = _name("out_activation_", mlp.out_activation_, OUTPUTS)
    count = len(mlp.coefs_)
    for i, (W, b) in enumerate(zip(mlp.coefs_, mlp.intercepts_)):
        stack.dense(f"coefs_[{i}]", np.asarray(W), np.asarray(b), last if i == count - 1 else hidden)
    names = getattr(steps[0], "feature_names_in_", None)
    named = None if names is None else tuple(map(str, names))
    return replace(stack.finish(), classes=_classes(mlp), feature_names=named)


def _name(what: str, theirs: str, table: dict[str, str]) -> str:
    """Return our name of an activation."""
    for ours, name in table.items():
        if name == theirs:
            return ours
    raise ValueError(f"{what} must be one of {', '.join(map(repr, table.values()))}; got {theirs!r}.")


def _classes(mlp: Any) -> list[str] | None:
    """Return the names of the classes, where they are not just their numbers."""
    classes = getattr(mlp, "classes_", None)
    several = mlp.out_activation_ == "logistic" and mlp.n_outputs_ > 1  # a row may belong to many
    if classes is None or several or list(classes) == list(range(len(classes))):
        return None
    return [str(one) for one in classes]


def _scale(scaler: Any) -> Scale | Standardize:
    """Return the layer that does what a scaler does."""
    kind = type(scaler).__name__
    if kind == "StandardScaler" and hasattr(scaler, "n_features_in_"):
        n = scaler.n_features_in_
        mean = columns(scaler.mean_ if scaler.with_mean else 0.0, n)
        std = columns(scaler.scale_ if scaler.with_std else 1.0, n)
        return Standardize(tuple(mean.tolist()), tuple(np.where(np.isinf(std), 0.0, std).tolist()))
    if kind == "MinMaxScaler" and hasattr(scaler, "scale_") and not scaler.clip:
        return Scale(tuple(scaler.scale_.tolist()), tuple(scaler.min_.tolist()))
    if kind == "MaxAbsScaler" and hasattr(scaler, "scale_") and not getattr(scaler, "clip", False):
        return Scale(tuple((1 / scaler.scale_).tolist()))
    raise ValueError(f"scalers must be a fitted StandardScaler, MinMaxScaler or MaxAbsScaler that does not clip; got {validation.shown(scaler)}.")


def scorers() -> Any:
    """Return the module that knows scikit-learn's scorers by name."""
    from sklearn import metrics

    return metrics


def write_model(net: Any) -> Any:
    """Return a fitted MLPClassifier or MLPRegressor, in a pipeline behind a scaler where the network scales its inputs."""
    try:
        from sklearn import neural_network, pipeline, preprocessing
    except ImportError:
        raise ImportError("to_sklearn needs the package scikit-learn: pip install 'fastnn[sklearn]'.") from None
    for layer in net.layers:
        if not isinstance(layer, (Dense, Scale, Standardize)) or (isinstance(layer, Standardize) and layer.targets):
            raise ValueError(f"layers must be Dense ones, after a Scale or Standardize of the inputs, for scikit-learn; got {layer}.")
    *hidden, last = net.dense
    names = [activation_name(layer, "scikit-learn", ACTIVATIONS) for layer in hidden] or ["identity"]
    if len(set(names)) > 1:
        raise ValueError(f"activations of hidden layers must be the same for scikit-learn; got {', '.join(map(repr, names))}.")
    out = OUTPUTS[activation_name(last, "scikit-learn in the last layer", OUTPUTS)]
    weights = [(W, np.zeros(W.shape[1], W.dtype) if b is None else b) for W, b in net.weights]
    classes = net.metadata.get("classes")
    if out == "softmax" and net.n_outputs == 2:  # two classes have one output there
        W, b = ((A[..., 1] - A[..., 0])[..., None] for A in weights[-1])
        weights[-1] = (W, b)
        out, classes = "logistic", classes or [0, 1]
    numbers = out in ("identity", "exp")
    kind = neural_network.MLPRegressor if numbers else neural_network.MLPClassifier
    mlp = kind(**{"loss": "poisson"} if out == "exp" else {}, hidden_layer_sizes=tuple(layer.units for layer in hidden), activation=ACTIVATIONS[names[0]])
    _fill(mlp, net, weights, out)
    if not numbers:
        n = weights[-1][1].size
        several = out == "logistic" and n > 1
        labels = preprocessing.LabelBinarizer().fit(np.eye(n, dtype=int) if several else np.asarray(classes or range(max(n, 2))))
        mlp._label_binarizer, mlp.classes_ = labels, labels.classes_
    first = net.layers[0]
    if isinstance(first, Dense):
        return mlp
    return pipeline.make_pipeline(_scaler(preprocessing, net, first), mlp)


def _fill(mlp: Any, net: Any, weights: list[tuple[Array, Array]], out: str) -> None:
    """Give an estimator what it has after a fit, so that it predicts and goes on with partial_fit."""
    mlp.coefs_, mlp.intercepts_ = [W for W, _ in weights], [b for _, b in weights]
    mlp.n_layers_, mlp.n_outputs_, mlp.out_activation_ = len(weights) + 1, weights[-1][1].size, out
    mlp.n_iter_, mlp.t_, mlp.loss_curve_, mlp._no_improvement_count = 0, 0, [], 0
    mlp.best_loss_, mlp.validation_scores_, mlp.best_validation_score_ = np.inf, None, None
    _know_features(mlp, net)


def _know_features(estimator: Any, net: Any) -> None:
    estimator.n_features_in_ = net.n_features
    if net.feature_names is not None:
        estimator.feature_names_in_ = np.array(net.feature_names, dtype=object)


def _scaler(preprocessing: Any, net: Any, layer: Scale | Standardize) -> Any:
    """Return a fitted scaler that does what a layer does."""
    n = net.n_features
    scaler: Any
    if isinstance(layer, Standardize):
        mean, std = (columns(A if len(A) > 1 else A[0], n) for A in layer.statistics)
        scaler = preprocessing.StandardScaler()
        scaler.mean_, scaler.var_, scaler.scale_ = mean, std**2, np.where(std > 0, std, np.inf)
    else:
        scaler = preprocessing.MinMaxScaler()
        scaler.scale_, scaler.min_ = (columns(A, n) for A in layer.affine)
    scaler.n_samples_seen_ = 1
    _know_features(scaler, net)
    return scaler
