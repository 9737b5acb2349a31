"""A network of dense layers: its parameters, and what can be done with them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Literal

import numpy as np

import kernels
from kernels._lazy import cached_property
from kernels.gather import RowError
from kernels.records import aligned_zeros

from . import checkpoints, compatibility, initializers, memory, sparse, trainers, training, validation
from .custom import Activation
from .exchange import Exchange
from .history import History
from .layers import BETWEEN, RANDOM, BatchNorm, Dense, Dropout, Layer, Mark, Scale, Standardize, changed, check_layers, check_widths, in_order, single
from .losses import CustomLoss, Loss, loss_for
from .metrics import checked_metrics, values
from .optimizers import FullBatchOptimizer, Optimizer, step_optimizer
from .progress import announce_compilation
from .sparse import SparseRows
from .state import State
from .summary import Summary, describe
from .trainers import Stepper
from .validation import Array

kernels.on_compile(announce_compilation)


class Sequential(Exchange):
    """A network of layers, one after the other, that is trained by gradient descent.

    Parameters
    ----------
    layers : list of Scale, Standardize, Dense, Dropout, LayerNorm, BatchNorm, Residual, GaussianNoise and PReLU
        In the order in which the data goes through them.
    n_features : int
        The number of inputs.
    dtype : {"float32", "float64", "bfloat16"}
        In which the network calculates. With "bfloat16" products read inputs, weights, activations and gradients rounded to that, all
        else stays float32: up to twice as fast for layers of some hundred units and more, on CPUs with AVX512_BF16 only.
    seed : int
        From 0 to 2**32 - 1. The start weights, the order of the rows and dropout are functions of it: the same seed
        gives the same bits for any number of threads.

    Attributes
    ----------
    layers : tuple
        The layers.
    n_features, n_outputs : int
        The number of inputs and of outputs.
    dtype : dtype
        Of parameters and outputs.
    precision : str
        In which the network calculates: "float32", "float64" or "bfloat16".
    seed : int
        The seed.
    loss : Loss
        The loss of the last `fit`, before that the one that follows the last activation.
    feature_names : tuple of str, or None
        The names of the columns of the first frame (pandas, polars, ...) that the network was trained on. Frames with other
        names, or with these in another order, are refused from then on; plain arrays are not.
    metadata : dict
        What should be saved with the network: what JSON can hold, with names that are strings.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Adam, Dense, Sequential
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> net = Sequential([Dense(8, "tanh"), Dense(2, "softmax")], n_features=2)
    >>> history = net.fit(X, y, optimizer=Adam(learning_rate=0.1), epochs=100, verbose=0)
    >>> net.predict(X).argmax(axis=1)
    array([0, 1, 1, 0])
    """

    def __init__(self, layers: list[Layer] | tuple[Layer, ...], n_features: int, dtype: Any = "float32", seed: int = 0) -> None:
        checked = check_layers(layers)
        self.n_features = validation.integer("n_features", n_features, 1)
        self.precision, self.dtype = validation.precision(dtype), validation.real_dtype(dtype)
        if self.precision == "bfloat16":
            compatibility.warn_of_emulation()
        self.seed = validation.integer("seed", seed, 0, 2**32 - 1)
        self.metadata: dict[str, Any] = {}
        self.feature_names: tuple[str, ...] | None = None
        self.n_fits = 0
        check_widths(checked, self.n_features)
        self.layers = checked
        self._widths = [self.n_features, *(layer.units for layer in self.dense)]
        self._check_columns()
        self.plan = self._plan()
        memory.check("layers and n_features", self.plan.parameters_size * self.dtype.itemsize)
        self._parameters: Array = aligned_zeros(self.plan.parameters_size, self.dtype)
        self._stepper: Stepper | None = None
        self._state: State | None = None
        for layer, placed in self._with_arrays:
            n_in = next(iter(placed.layer.shapes.values()))[0]
            self.plan.set_arrays(self._parameters, placed, layer.start(n_in, self.seed, placed.index, self.dtype))
        self.layers = changed(checked, _without_arrays)
        self._check_variances(self._parameters)
        self.loss = loss_for(None, self.last_activation)

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}], n_features={self.n_features}, dtype={self.precision!r}, seed={self.seed})"

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy consists of: everything but the state of a training."""
        state = {name: value for name, value in self.__dict__.items() if name != "_predictor"}
        return {**state, "_parameters": self._parameters.copy(), "metadata": dict(self.metadata), "_stepper": None, "_state": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._parameters = aligned_zeros(self.plan.parameters_size, self.dtype)
        self._parameters[:] = state["_parameters"]

    # What it consists of.

    @property
    def n_outputs(self) -> int:
        """The number of outputs."""
        return self._widths[-1]

    @property
    def dense(self) -> tuple[Dense, ...]:
        """The dense layers, those of residual blocks among them."""
        return tuple(layer for layer in single(self.layers) if isinstance(layer, Dense))

    @property
    def _with_arrays(self) -> list[tuple[Any, Any]]:
        """The layers that have parameters, each as the plan places it."""
        ours = [layer for layer in single(self.layers) if hasattr(layer, "shapes")]
        return list(zip(ours, (placed for placed in self.plan.layers if placed.ranges), strict=True))

    @property
    def last_activation(self) -> str:
        """The name of the last layer's activation; "identity" where it is not a dense one."""
        last = self.layers[-2] if self._of_targets else self.layers[-1]
        return str(last.activation) if isinstance(last, Dense) else "identity"

    @property
    def n_parameters(self) -> int:
        """The number of weights, biases, gains and slopes, and of running means and variances."""
        return sum(A.size for arrays in self.weights for A in arrays if A is not None)

    @property
    def flops_per_row(self) -> float:
        """The floating-point operations of training with one row."""
        return float(self.plan.flops_per_row)

    @property
    def scaling(self) -> tuple[float | Array, float | Array]:
        """The factor and the shift of the data on its way in: two numbers, or two float64 arrays with one for each feature."""
        first = self.layers[0]
        if not isinstance(first, (Scale, Standardize)):
            return 1.0, 0.0
        scale, shift = first.affine
        if isinstance(scale, np.ndarray) and len(scale) != self.n_features:  # one number for all features
            scale, shift = np.repeat(scale, self.n_features), np.repeat(shift, self.n_features)
        return scale, shift

    @property
    def _of_targets(self) -> Standardize | None:
        """The layer that standardizes the targets."""
        last = self.layers[-1]
        return last if isinstance(last, Standardize) and last.targets else None

    @property
    def parameters(self) -> Array:
        """All weights and biases as one flat vector, which may be changed in place.

        The order inside is opaque, and some elements are padding; those are zero and must stay zero. Assigning copies, and
        raises ValueError where something is not finite in the network's dtype.
        """
        return self._parameters

    @parameters.setter
    def parameters(self, value: Any) -> None:
        flat = value if value is self._parameters else validation.flat("parameters", value, self._parameters.shape)
        new = validation.in_dtype("parameters", np.where(self.plan.mask(), flat, 0), self.dtype)
        for i, layer in enumerate(self.dense):
            if not layer.bias:
                self.plan.weight_panels(new, i)[1][:] = 0
        self._check_variances(new)
        self._parameters[:] = new

    @property
    def weights(self) -> list[tuple[Any, ...]]:
        """Copies of the parameters: a list of tuples of arrays, one for each layer that has some, in their order.

        Of a `Dense` layer it is `(W, b)` of shapes (n_in, n_out) and (n_out,), b None where there is none; of a `LayerNorm`
        `(gain, bias)`, of a `BatchNorm` `(gain, bias, mean, variance)`, the running ones, all of shape (n_in,), of a `PReLU`
        `(slope,)`. Those of a `Residual` stand one after the other, as if they were layers of the network.
        """
        found: list[tuple[Any, ...]] = []
        for layer, placed in self._with_arrays:
            arrays = tuple(self.plan.arrays(self._parameters, placed))
            found.append((arrays[0], None) if isinstance(layer, Dense) and not layer.bias else arrays)
        return found

    def set_weights(self, weights: Any) -> None:
        """Set what `weights` returns.

        Parameters
        ----------
        weights : list of tuple of array
            For each dense layer (W, b) of shapes (n_in, n_out) and (n_out,), b None for a layer without a bias; for each
            `LayerNorm` between them, at its place, (gain, bias), for each `BatchNorm` (gain, bias, mean, variance), all of
            shape (n_in,), the variance at least 0, for each `PReLU` (slope,). Finite in the network's dtype.

        Examples
        --------
        >>> net = Sequential([Dense(1)], n_features=2)
        >>> net.set_weights([([[7], [3]], [-2])])
        >>> net.predict([[1, 0]])
        array([[5.]], dtype=float32)
        """
        given, layers = list(weights), self._with_arrays
        if len(given) != len(layers):
            names = {type(layer): ", ".join(placed.layer.shapes) for layer, placed in layers}
            counts = Counter(type(layer) for layer, _ in layers)
            others = [f" and ({names[kind]}) for each of {counts[kind]} {kind.__name__}s" for kind in BETWEEN if counts[kind]]
            raise ValueError(f"weights must have a pair (W, b) for each of {counts[Dense]} dense layers{''.join(others)}; got {len(given)}.")
        new = self._parameters.copy()
        for i, (some, (layer, placed)) in enumerate(zip(given, layers)):
            shapes = placed.layer.shapes
            arrays = validation.parts(f"weights[{i}]", some, shapes)
            if isinstance(layer, Dense) and not layer.bias:
                if arrays[1] is not None and np.any(arrays[1]):
                    raise ValueError(f"weights[{i}][1] must be None for a layer without a bias; got {validation.shown(arrays[1])}.")
                arrays = arrays[0], np.zeros(layer.units)
            named = [(f"weights[{i}][{k}]", A, shape) for k, (A, shape) in enumerate(zip(arrays, shapes.values()))]
            self.plan.set_arrays(new, placed, [validation.in_dtype(name, validation.flat(name, A, shape), self.dtype) for name, A, shape in named])
        self._check_variances(new)
        self._parameters[:] = new

    def set_trainable(self, index: int, trainable: bool | Literal["weights", "bias"]) -> None:
        """Say what of a dense layer the next fits change.

        Parameters
        ----------
        index : int
            Of the dense layer, counted from 0; the others are not counted.
        trainable : bool, "weights" or "bias"
            See `Dense`.

        Examples
        --------
        >>> net = Sequential([Dense(8, "relu"), Dense(2, "softmax")], n_features=4)
        >>> net.set_trainable(0, False)
        >>> net.layers[0]
        Dense(8, 'relu', trainable=False)
        """
        numbers = iter(range(len(self.dense)))  # a place: one object may stand for several layers
        chosen = validation.integer("index", index, 0, len(self.dense) - 1)

        def with_trainable(layer: Any) -> Any:
            here = isinstance(layer, Dense) and next(numbers) == chosen
            return dataclasses.replace(layer, trainable=trainable) if here else layer

        self.layers = changed(self.layers, with_trainable)
        self.plan, self._stepper, self._state = self._plan(), None, None

    def _check_variances(self, parameters: Array) -> None:
        """Raise unless every running variance of flat parameters is at least 0."""
        for layer, placed in self._with_arrays:
            if isinstance(layer, BatchNorm):
                least = self.plan.arrays(parameters, placed)[3].min()
                if least < 0:
                    raise ValueError(f"variance of BatchNorm {placed.index} must be at least 0; got {least:g}.")

    @property
    def penalty(self) -> float:
        """What the layers' l1 and l2 add to the loss."""
        return float(self.plan.penalty(self._parameters))

    def summary(self, batch_size: int = 32, optimizer: str | Optimizer = "adam") -> Summary:
        """Return a table of layers, shapes, parameters and FLOPs a row, and the memory that a fit will take.

        Parameters
        ----------
        batch_size : int
            Of the fit.
        optimizer : str or Optimizer
            Of the fit.

        Examples
        --------
        >>> Sequential([Dense(4, "relu"), Dense(2, "softmax")], n_features=3).summary()
        layer               output        parameters     FLOPs a row
        Dense(relu)         (..., 4)             16              24
        Dense(softmax)      (..., 2)             10              16
        26 parameters in float32; a row costs 40 FLOPs to predict, ... to train with.
        A fit with Adam and batch_size=32 takes ... MB beyond the data.
        """
        settings = step_optimizer(optimizer)
        fit = f"A fit with {type(settings).__name__} and batch_size={batch_size}"
        return describe(self.layers, self.n_features, self.precision, self.flops_per_row, fit, self.memory(batch_size, settings))

    def memory(self, batch_size: int = 32, optimizer: str | Optimizer = "adam", checkpoint: bool = False) -> int:
        """Return the bytes that a fit will take beyond the data: parameters, gradient, optimizer state, activations.

        With `checkpoint` those count too that are copied to be written, parameters and optimizer state. What callbacks keep does not.
        """
        settings = validation.integer("batch_size", batch_size, 1), step_optimizer(optimizer), validation.flag("checkpoint", checkpoint)
        return trainers.memory_of_fit(self, *settings)

    # What it does.

    def predict(self, X: Any, logits: bool = False, n_threads: int | None = None, layer: int | None = None) -> Array:
        """Return the outputs of the last layer, or of one before it.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)
            Any real dtype and layout.
        logits : bool
            Whether to leave out the last activation.
        n_threads : int, optional
            At most; None: all that this process may use.
        layer : int, optional
            The position in `layers` of the one whose outputs are wanted, a Dense layer or one behind it; negative ones count
            from the end.

        Returns
        -------
        outputs : ndarray of shape (n_rows, n_outputs)
            In the network's dtype; where targets are standardized, float64 in their own units (`logits` leaves that out too).
        """
        X = validation.matrix("X", X, self.n_features, self.feature_names, look=False)
        if layer is not None:
            return self._until(layer).predict(X, logits, n_threads)
        threads, (scale, shift) = validation.threads(n_threads), self.scaling

        def forward(rows: Any) -> Array:
            return self._predictor(rows, logits=bool(logits), n_threads=threads, scale=scale, shift=shift)

        read = sparse.as_read(self.plan, X, shift)
        try:
            outputs = X.map(forward) if isinstance(read, SparseRows) else forward(read)
        except RowError as error:
            validation.finite("X", X)
            validation.usable("X", X, scale, shift, self.dtype)
            validation.unusable(X, error.row, scale, shift, self.dtype)
        return outputs if logits else self._in_units(outputs)

    def compiled(self, batch_size: int | None = None, loss: str | Loss | None = None) -> kernels.CompiledNetwork:
        """Return the network for code that Numba compiles: an argument of `@njit` functions, which call its methods.

        `model.predict(x, out)` writes the outputs for a row, or some, to an array; `model.loss_and_gradient(X, y, gradient)` returns
        the loss, without dropout, and writes its flat gradient; `model.parameters` is this network's flat vector. The object follows
        the network's parameters: a later fit, or a change of `model.parameters` in place, is seen by both. The layers, and what of
        them is trainable, are those of now. See `kernels.CompiledNetwork`; any number of threads may call one object at once. They may lie in
        tuples and in lists, Numba's typed ones too.

        Parameters
        ----------
        batch_size : int, optional
            The most rows that `loss_and_gradient` takes at once. Left out, it is not called.
        loss : str or Loss, optional
            Left out, the loss of the last fit, or the one that follows the last activation.

        Examples
        --------
        >>> import numpy as np
        >>> from numba import njit
        >>> from fastnn import Scale
        >>> net = Sequential([Scale(0.5), Dense(2, "softmax")], n_features=3)
        >>> @njit
        ... def largest(model, X):
        ...     out = np.empty(model.n_outputs)
        ...     total = 0.0
        ...     for i in range(len(X)):
        ...         model.predict(X[i], out)
        ...         total += out.max()
        ...     return total
        >>> X = np.ones((5, 3))
        >>> bool(np.isclose(largest(net.compiled(), X), 5 * net.predict(X)[0].max()))
        True
        """
        scale, shift = self.scaling
        mean, std = (None, None) if self._of_targets is None else (np.broadcast_to(part, self.n_outputs) for part in self._of_targets.statistics)
        rows = 0 if batch_size is None else validation.integer("batch_size", batch_size, 1)
        objective = trainers.objective(self, self._loss(loss))
        return kernels.CompiledNetwork(self.plan, self._parameters, scale=scale, shift=shift, mean=mean, std=std, objective=objective, batch_size=rows)

    def _until(self, layer: int) -> Sequential:
        """Return the network that ends with a layer; it shares the parameters."""
        n_layers = len(self.layers)
        layers = self.layers[: validation.integer("layer", layer, -n_layers, n_layers - 1) % n_layers + 1]
        while layers and isinstance(layers[-1], RANDOM):  # which predictions do without
            layers = layers[:-1]
        if not any(isinstance(one, Dense) for one in single(layers)):
            raise ValueError(f"layer must be the position of a Dense layer or of one behind it; got {layer}, {self.layers[layer]}.")
        part = Sequential(layers, self.n_features, self.precision, self.seed)
        part._parameters = self._parameters[: part.plan.parameters_size]
        return part

    def evaluate(
        self,
        X: Any,
        y: Any,
        loss: str | Loss | None = None,
        n_threads: int | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        metrics: Any = None,
    ) -> dict[str, float]:
        """Return the loss and the metrics for some data: accuracy, or mean absolute and squared error and R2.

        Numbers are judged in float64. Where targets are standardized, so they are in the loss; the metrics are in their units.

        Parameters
        ----------
        X, y : array
            As for `fit`.
        loss : str or Loss, optional
            Left out, the loss of the last fit, or the one that follows the last activation.
        n_threads : int, optional
            At most; None: all that this process may use.
        sample_weight, class_weight : optional
            As for `fit`; `sample_weight` also counts in the metrics, in functions where they have an argument of that name.
        metrics : str, function, Metric, a sequence or a dict of them, optional
            Names in `fastnn.metrics.METRICS` or of scikit-learn's scorers, or functions (y, outputs) -> float. Left out, what
            belongs to the task.

        Examples
        --------
        >>> net = Sequential([Dense(1)], n_features=1)
        >>> net.set_weights([([[2.0]], [0.0])])
        >>> net.evaluate([[1.0], [2.0]], [2.0, 8.0], metrics=["rmse", "quantile_loss"])
        {'loss': 8.0, 'rmse': 2.8284271247461903, 'quantile_loss': 1.0}
        """
        chosen, threads = self._loss(loss), validation.threads(n_threads)
        judges = checked_metrics(metrics, chosen)
        X, y = self.check_data(chosen, X, y)
        validation.usable("X", X, *self.scaling, self.dtype)
        of_rows = None if sample_weight is None else validation.row_weights("sample_weight", sample_weight, len(y))
        weights = training.row_weights(chosen, y, self.n_outputs, of_rows, class_weight)
        value, outputs = self.loss_and_outputs(chosen, X, y, threads, weights)
        return {"loss": value, **values(judges, chosen, y, outputs, of_rows)}

    def loss_and_gradient(self, X: Any, y: Any, loss: str | Loss | None = None, n_threads: int | None = None) -> tuple[float, Array]:
        """Return the loss of all rows together, and its gradient in the order of `parameters`.

        Without dropout, penalties included, 0 where nothing is trained. Parameters as for `evaluate`. Each call prepares itself for its
        rows, which takes milliseconds; a small network that is asked often is asked by `compiled(batch_size=len(X)).loss_and_gradient`,
        which has the same bits in microseconds.

        Examples
        --------
        >>> net = Sequential([Dense(1)], n_features=1, dtype="float64")
        >>> net.set_weights([([[2.0]], [0.0])])
        >>> loss, gradient = net.loss_and_gradient([[3.0]], [5.0])
        >>> net.parameters -= 0.01 * gradient
        >>> loss, net.weights
        (1.0, [(array([[1.94]]), array([-0.02]))])
        """
        chosen, threads = self._loss(loss), validation.threads(n_threads)
        X, y = self.training_data(chosen, X, y)
        try:
            value, gradient = sparse.full_batch(self.plan, X, y, trainers.objective(self, chosen), n_threads=threads)(self._parameters)
        except RowError as error:
            validation.unusable(X, error.row, *self.scaling, self.dtype)
        return value, gradient

    def train_on_batch(
        self,
        X: Any,
        y: Any,
        optimizer: str | Optimizer | None = None,
        loss: str | Loss | None = None,
        n_threads: int | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
    ) -> float:
        """Take one optimizer step with all rows as one minibatch, and return the loss before it.

        The state of the optimizer stays for the next call with the same loss and the same optimizer: an equal one, or one that
        differs in `learning_rate` only, so that the rate may be changed by hand. Any other starts anew.
        A `Standardize` layer must have its mean and std before: a minibatch does not tell them.

        Parameters
        ----------
        X, y, optimizer, loss, n_threads, sample_weight, class_weight
            As for `fit`; "balanced" counts the classes of these rows.

        Raises
        ------
        DivergedError
            If the loss or an updated parameter is not finite: the network is as it was before the call. After such an update
            the state of the optimizer is not, it starts anew.
        """
        with self._remembering_names(X):
            return training.train_on_batch(self, X, y, optimizer, loss, n_threads, sample_weight, class_weight)

    def fit(
        self,
        X: Any,
        y: Any = None,
        loss: str | Loss | None = None,
        optimizer: str | Optimizer | FullBatchOptimizer | None = None,
        epochs: int = 1,
        batch_size: int | None = 32,
        validation_data: tuple[Any, Any] | dict[str, tuple[Any, Any]] | None = None,
        shuffle: Any = True,
        n_threads: int | None = None,
        verbose: int = 1,
        callbacks: Any = (),
        sample_weight: Any = None,
        class_weight: Any = None,
        validation_split: float | None = None,
        time_limit: float | None = None,
        continue_fit: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float = 1,
        checkpoint_keep: int = 2,
        resume: bool = False,
        metrics: Any = None,
    ) -> History:
        """Train the network, from the parameters that it has.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_rows, n_features)
            Any real dtype and layout, also a memory map: rows are converted and scaled, sparse ones made dense if need be, as they are
            used. The names of a frame's columns are remembered, see `feature_names`. Without y: an iterable of batches (X, y) or
            (X, y, sample_weight), or a function of the epoch, counted from 0, that returns one. Each batch is a step, none has
            more rows than the first. The next one is read in a thread meanwhile and copied, so that arrays may be filled again and
            again; batches that depend on what this network has learned are for `train_on_batch`. A generator can be used up once, so it
            does for a single epoch. To resume such a fit an epoch must yield again what it yielded: where that depends on more
            than its number, the iterable has `state_dict` and `load_state_dict`, called between two epochs.
        y : array, optional
            For cross-entropy integer labels 0 to n_outputs - 1 of shape (n_rows,), or rows of probabilities; otherwise
            shape (n_rows, n_outputs), or (n_rows,) for one output.
        loss : str or Loss, optional
            A name in `fastnn.losses.LOSSES`. Left out, it follows the last activation: cross-entropy after softmax,
            binary cross-entropy after sigmoid, Poisson after exponential, else squared error.
        optimizer : str or Optimizer, optional
            A name in `fastnn.optimizers.OPTIMIZERS` or settings such as `Adam(learning_rate=0.01)`; left out, Adam.
        epochs : int
            How often all rows are used; iterations of L-BFGS and conjugate gradient, at most.
        batch_size : int or None
            Rows of a minibatch; the last one may be short. None: all rows, the full batch, as they lie; hundreds of epochs
            of a small network are then one compiled call. L-BFGS and conjugate gradient always take all rows, whatever it is.
            Gradients are not accumulated over minibatches: k times the rows are the same step, with BatchNorm's statistics and
            dropout those of all of them, and cost the memory of their activations only.
        validation_data : (X, y), (X, y, sample_weight) or dict of str to such, optional
            Judged after every epoch; the names of a dict are put before those of the metrics, otherwise "val". Weights of
            rows and `class_weight` count as they do for `evaluate`.
        shuffle : bool, array or function
            The order of the rows: another one every epoch, as they lie, the given row numbers (two dimensions: a row
            for each epoch), or what the function returns for an epoch counted from 0. L-BFGS and conjugate gradient take a
            bool only, without effect.
        n_threads : int, optional
            At most; None: all that this process may use. The result has the same bits for any number.
        verbose : {0, 1}
            Whether to show a line for each epoch, and a bar on a terminal.
        callbacks : list
            Objects that watch, see `fastnn.callbacks`. With L-BFGS and conjugate gradient, which know no minibatches and no
            dropout, none that watches them.
        sample_weight : array of shape (n_rows,), optional
            At least 0, not all 0: what the loss of each row is multiplied by. A mean still divides by the number of rows, but
            the reduction "weighted_mean" of a loss by the sum of their weights.
        class_weight : dict of label to weight or "balanced", optional
            The same by class; "balanced" gives every class the same share: n_rows / (n_classes * rows of the class).
        validation_split : float, optional
            Hold out this share of the rows, above 0 and below 1, in place of `validation_data`: always the same ones for the
            same targets, of all classes, or of small and large targets, alike. The rows are copied, with their weights.
        time_limit : float, optional
            Seconds after which the fit ends, within 0.2 s or one minibatch, also in the middle of an epoch.
        continue_fit : bool
            Whether to go on where the last fit ended, in the middle of an epoch too: with the moments of its optimizer, its
            step, schedule and seed, and its history. With the same data and settings 2 and 2 epochs equal 4 to the bit, where
            schedules have an `n_steps` of their own (one that spans the fit spans the first) and no callback changes the training:
            those with a state, such as `EMA`, `SWA`, `ReduceOnPlateau` and `EarlyStopping`, begin anew. A checkpoint and `resume`
            keep theirs. Loss and optimizer, left out, are those of the last fit. Validation data and metrics may be others: what
            was not judged in an epoch is NaN in its history.
        checkpoint : path, optional
            A folder for checkpoints: files that hold all that the rest of the fit depends on, which `load` reads as networks
            too. Ctrl-C, SIGTERM, and SIGUSR1 and SIGUSR2 where nobody handles them, write one before they end the fit; but for
            Ctrl-C the process then gets the signal. One that cannot be written is a warning. It takes the memory of parameters and
            optimizer state once more while it is written, beside what `memory` says without `checkpoint=True`.
        checkpoint_every : float
            How many epochs lie between two; 0.1: ten an epoch.
        checkpoint_keep : int
            How many are kept. Beside them `best.safetensors` is the best of those at the end of an epoch, by the loss of the
            first validation set, or else that of the training.
        resume : bool
            Whether to go on from the newest checkpoint in the folder, if there is one: with the same data and settings, on
            any number of threads, the fit ends with the bits of one that was not interrupted. What is another is refused, functions
            by their code and callbacks that have `state_dict` by the arguments that they keep under their names. Others may be
            `epochs`, where no schedule spans them, `time_limit`, `verbose`, `n_threads`, `checkpoint_every`, `checkpoint_keep`, the
            `path` of a callback, and callbacks without `state_dict`.
        metrics : str, function, Metric, a sequence or a dict of them, optional
            What the validation data is judged by beside the loss, as for `evaluate`; without such data nothing is.
            `validation_data={"train": (X, y), ...}` judges the training data, too.

        Returns
        -------
        history : History
            Loss and validation metrics of every epoch. The loss is the mean over the minibatches, each counted by its rows, or with the
            reduction "sum" their sum, each before its update (L-BFGS, conjugate gradient: after the iteration), penalties included.
            Ctrl-C ends the fit within 0.2 s or one minibatch; the network is then as it was at that minibatch, and
            `history.interrupted` is True.

        Raises
        ------
        TypeError, ValueError
            If an argument cannot be used: before the first step, with the network unchanged.
        DivergedError
            If the loss is not finite any more: the network has the parameters of the last finite loss. The attribute
            `history` of the error is the history until then.
        """
        layers, n_fits = self.layers, self.n_fits
        try:
            with self._remembering_names(X):
                return training.fit(
                    self,
                    X,
                    y,
                    loss=loss,
                    optimizer=optimizer,
                    epochs=epochs,
                    batch_size=batch_size,
                    validation_data=validation_data,
                    validation_split=validation_split,
                    shuffle=shuffle,
                    n_threads=n_threads,
                    verbose=verbose,
                    watchers=callbacks,
                    sample_weight=sample_weight,
                    class_weight=class_weight,
                    time_limit=time_limit,
                    continue_fit=continue_fit,
                    checkpoint=checkpoint,
                    checkpoint_every=checkpoint_every,
                    checkpoint_keep=checkpoint_keep,
                    resume=resume,
                    metrics=metrics,
                )
        except BaseException:
            if self.n_fits == n_fits:  # it did not begin, so it has learned no mean and deviation either
                self.layers = layers
            raise

    # What the training loop needs.

    @cached_property
    def _predictor(self) -> kernels.Predictor:
        return kernels.Predictor(self.plan, self._parameters)

    @contextlib.contextmanager
    def _remembering_names(self, X: Any) -> Iterator[None]:
        """Take the names of the first frame that the network is trained on, and forget them where nothing came of it."""
        before, n_fits = self.feature_names, self.n_fits
        if before is None:
            self.feature_names = validation.column_names(X)
        try:
            yield
        except BaseException:
            if self.n_fits == n_fits:
                self.feature_names = before
            raise

    def check_data(self, loss: Loss, X: Any, y: Any, X_name: str = "X", y_name: str = "y") -> tuple[Any, Array]:
        """Return checked features and targets; numbers as targets are as the user has them."""
        X = validation.not_empty(X_name, validation.matrix(X_name, X, self.n_features, self.feature_names))
        self._check_units(loss)
        dtype = self.dtype if self._of_targets is None else np.dtype(np.float64)
        return X, loss.check_targets(y_name, y, len(X), self.n_outputs, dtype)

    def training_data(self, loss: Loss, X: Any, y: Any, learn: bool = False) -> tuple[Any, Array]:
        """Return features and targets in the form that the kernels read; with `learn` take from them the mean and deviation that are not known yet."""
        X, y = self.check_data(loss, X, y)
        if learn:
            self.layers = tuple(_learned(layer, X, y, loss) for layer in self.layers)
        learned = self._as_learned(loss, y)
        if learn and not loss.classification:
            validation.warn_of_constants("y", y, learned)
        return X, learned

    def _as_learned(self, loss: Loss, y: Array) -> Array:
        """Return checked targets as the kernels take them: labels, or numbers of the network's dtype, standardized where that is asked for."""
        if loss.classification:
            return y
        y, layer = loss.for_outputs(y), self._of_targets
        if layer is not None:
            y = (y - layer.statistics[0]) * layer.affine[0]
        with np.errstate(over="ignore"):  # far from the mean of other rows the loss is infinite
            return np.ascontiguousarray(y, dtype=self.dtype)

    def _check_units(self, loss: Loss) -> None:
        """Raise unless the layer that standardizes targets does so for a loss."""
        layer = self._of_targets
        if layer is None:
            return
        if loss.not_standardized:
            help_ = loss.not_standardized
            raise ValueError(f"loss must be one of numbers that may be standardized, with Standardize(targets=True); got {loss.name!r}. {help_}")
        if layer.mean is not None:
            mean, std = (np.broadcast_to(part, self.n_outputs) for part in layer.statistics)
            n = loss.predictions(mean[None]).shape[1]
            if not np.allclose(loss.units(mean[:n], std[:n]), (mean, std)):
                raise ValueError(f"mean and std of the targets must be left out for {loss.name!r}, or be those of every output; got {layer}.")

    def _in_units(self, outputs: Array) -> Array:
        """Return outputs in the units of the targets."""
        layer = self._of_targets
        if layer is None:
            return outputs
        mean, std = layer.statistics
        scaled: Array = outputs.astype(np.float64) * std + mean
        return scaled

    def _check_columns(self) -> None:
        """Raise unless the layers that scale have one number for all columns, or one for each."""
        for i, layer in enumerate(self.layers):
            n, what = (self.n_outputs, "output") if i else (self.n_features, "feature")
            for name in ("scale", "shift", "mean", "std"):
                value = getattr(layer, name, None)
                if isinstance(value, tuple) and len(value) != n:
                    raise ValueError(f"{name} of layers[{i}] must be one number, or {n}, one for each {what}; got {len(value)}.")

    def program(self, batch_size: int = 32, optimizer: str | Optimizer = "adam", n_threads: int | None = 1) -> kernels.Program:
        """Return the program of a training step: the phases that a fit runs for each minibatch.

        It works on a copy of the parameters. `print` lists it, `profile()` measures it.

        Parameters
        ----------
        batch_size : int
        optimizer : str or Optimizer
        n_threads : int, optional
            For how many threads it is cut in tasks; None: all that this process may use.

        Examples
        --------
        >>> net = Sequential([Dense(500, "relu"), Dense(10, "softmax")], n_features=784)
        >>> print(net.program(batch_size=100))
        place:
           0 place                  1 x  the next minibatch
        forward:
           1 list_columns           1 x  columns of X that are not zero, for two rows each
           2 dense_forward          1 x  A1 = f(X W1 + b1)
           3 dense_forward          1 x  A2 = f(A1 W2 + b2)
        loss:
           4 loss_rows              4 x  loss of A2, dA2
           5 loss_sum               1 x  loss, looked at
        backward:
           6 dense_backward         1 x  dA1, dW2, db2 from dA2, updated
           7 list_rows              1 x  rows of X that are not zero, for two columns each
           8 dense_backward         1 x  dW1, db1 from dA1, updated
        close:
           9 close                  1 x  the loss written down
        """
        size, threads = validation.integer("batch_size", batch_size, 1), validation.threads(n_threads)
        copy: Sequential = pickle.loads(pickle.dumps(self))
        return trainers.make_trainer(copy, size, self.loss, step_optimizer(optimizer), threads, self.seed, n_steps=1).program

    def loss_and_outputs(self, loss: Loss, X: Any, y: Array, n_threads: int, weights: Array | None = None) -> tuple[float, Array]:
        """Return the loss and the outputs, in the units of the targets, for data that is already checked."""
        targets, objective = self._as_learned(loss, y), trainers.objective(self, loss)
        X = sparse.as_read(self.plan, X, objective.shift)
        judge = sparse.evaluate if isinstance(X, SparseRows) else kernels.evaluate
        value, outputs = judge(self.plan, self._parameters, X, targets, objective, n_threads=n_threads, weights=weights)
        return value, self._in_units(outputs)

    def _loss(self, loss: str | Loss | None) -> Loss:
        return self.loss if loss is None else loss_for(loss, self.last_activation)

    def _plan(self) -> kernels.Plan:
        """Return the network as the kernels see it."""
        dense = self.dense
        dropouts, others = _between(self.layers, self._widths)
        return kernels.Plan(
            tuple(self._widths),
            tuple(layer.code for layer in dense),
            dropouts,
            self.dtype.name,
            self.seed,
            tuple(layer.trained for layer in dense),
            tuple(layer.penalties for layer in dense),
            others,
            self.precision == "bfloat16",
        )

    # Files.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file: weights as plain arrays, settings and metadata as JSON, a checksum.

        Parameters
        ----------
        path : path
            Replaced as a whole where it exists.

        Raises
        ------
        OSError
            If the file cannot be written; the old one is intact.
        TypeError
            If JSON cannot hold the metadata.
        ValueError
            If the parameters were changed in place to what is not finite.

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> net = Sequential([Dense(2, "relu"), Dense(1)], n_features=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(os.path.join(folder, "net.safetensors"))
        ...     copy = Sequential.load(os.path.join(folder, "net.safetensors"))
        >>> bool(np.all(copy.parameters == net.parameters))
        True
        """
        validation.finite("parameters", self._parameters)
        checkpoints.write(path, self.settings(), checkpoints.named(self.layers, self.weights))

    def settings(self) -> dict[str, Any]:
        """Return what a file holds of the network beside its arrays."""
        return {
            "layers": [checkpoints.layer_settings(layer) for layer in self.layers],
            "n_features": self.n_features,
            "dtype": self.precision,
            "seed": self.seed,
            "n_fits": self.n_fits,
            "loss": self.loss.settings(),
            "feature_names": self.feature_names,
            "metadata": self.metadata,
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str], custom: Mapping[str, Activation | CustomLoss] | None = None) -> Sequential:
        """Return the network that was saved in a file.

        Parameters
        ----------
        path : path
        custom : dict of str to Activation or CustomLoss, optional
            The functions of one's own that the file names: it holds their parameters, but no code.

        Raises
        ------
        OSError
            If there is no such file.
        ValueError
            If it is damaged, not a network, of a newer format, or names a function that `custom` does not have.
        """
        return checkpoints.read(path, cls._from_settings, custom or {})

    @classmethod
    def _from_settings(cls, settings: dict[str, Any], layers: list[Layer]) -> Sequential:
        network = cls(layers, settings["n_features"], settings["dtype"], settings["seed"])
        network.n_fits, network.metadata = validation.integer("n_fits", settings["n_fits"], 0, checkpoints.MAX_FITS - 1), settings["metadata"]
        names = settings.get("feature_names")  # files had none at first
        if names is not None and (not isinstance(names, list) or len(names) != network.n_features):
            raise ValueError(f"feature_names must have a name for each of {network.n_features} features.")
        network.feature_names = None if names is None else tuple(map(str, names))
        network.loss = loss_for(settings["loss"], network.last_activation)
        return network


def _between(layers: tuple[Layer, ...], widths: list[int]) -> tuple[tuple[float | None, ...], tuple[tuple[int, Any], ...]]:
    """Return what a plan takes of the layers between the dense ones: the rates of the dropouts right before these, and the others."""
    rates: list[float | None] = []
    others: list[tuple[int, Any]] = []
    rate: float | None = 0.0
    sequence = list(in_order(layers))
    for layer, following in zip(sequence, [*sequence[1:], None]):
        if isinstance(layer, Dense):
            rates.append(rate)
            rate = 0.0
        elif isinstance(layer, Dropout) and isinstance(following, Dense):
            rate = None if callable(layer.rate) else layer.rate
        elif isinstance(layer, (Mark, *BETWEEN)):
            others.append((len(rates), layer.record(widths[len(rates)])))
    return tuple(rates), tuple(others)


def _learned(layer: Layer, X: Array, y: Array, loss: Loss) -> Layer:
    """Return a layer that knows its mean and deviation."""
    if not isinstance(layer, Standardize) or layer.mean is not None:
        return layer
    if not layer.targets:
        return Standardize.of(X)
    mean, std = loss.units(*Standardize.of(y).statistics)
    return Standardize(tuple(mean.tolist()), tuple(std.tolist()), targets=True)


def _without_arrays(layer: Any) -> Any:
    """Return a layer that does not hold on to the arrays it started with."""
    given = getattr(layer, "initializer", None)
    return layer if isinstance(given, (str, *initializers.KINDS, NoneType)) else dataclasses.replace(layer, initializer=None)
