"""The multilayer perceptron behind the estimators: its start, its epochs and when they end, as scikit-learn has them.

It does not import scikit-learn: what the classifier and the regressor take from there is in `fastnn.estimators`.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import kernels

from . import memory, validation, watching
from .batches import Chunk
from .custom import Activation
from .interrupts import Interrupts
from .layers import ACTIVATIONS, LAST_ONLY, Dense, Dropout, Layer
from .network import Sequential
from .solvers import LBFGS, Problem, StepSolver, lbfgs
from .sparse import as_read
from .training import DivergedError
from .validation import Array

HIDDEN: dict[Any, Any] = {name: name for name in ACTIVATIONS if name not in LAST_ONLY} | {"logistic": "sigmoid"}
OUTPUT = {"logistic": "sigmoid", "exp": "identity"}  # a network gives the logarithm of what it counts
STEPWISE = ("sgd", "adam")
NOT_FINITE = "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
SMALLEST_RATE = 1e-6

Weights = NDArray[np.float64] | None


class Tasks(Protocol):
    """Who hears of the iterations of a fit."""

    def begin(self) -> None:
        """Hear that an iteration begins."""

    def end(self) -> bool:
        """Hear that it ended; return whether the fit should."""


@dataclass
class Fit:
    """A fit with minibatches under way.

    Attributes
    ----------
    problem : Problem
    held_out : tuple or None
        Rows, targets and weights that are scored after every iteration.
    best : ndarray or None
        The parameters with the best score, where these are kept.
    watchers : list
    tasks : Tasks
    interrupts : Interrupts
    """

    problem: Problem
    held_out: Any
    best: Array | None
    watchers: list[Any]
    tasks: Tasks
    interrupts: Interrupts


class Perceptron:
    """A network with scikit-learn's parameters and attributes; see `fastnn.MLPClassifier`."""

    hidden_layer_sizes: Any
    activation: Any
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    tol: float
    verbose: Any
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: Any
    callbacks: Any
    dtype: Any
    n_threads: int | None
    n_features_in_: int
    out_activation_: str
    n_outputs_: int
    best_validation_score_: float | None
    _random_state: Any
    _optimizer: StepSolver

    # What the two kinds say of themselves.

    def _loss(self) -> int | kernels.Loss:
        """Return the loss as the kernels know it."""
        raise NotImplementedError

    def _score_of(self, outputs: Array, y: Array, weights: Weights) -> float:
        """Return how well outputs fit targets."""
        raise NotImplementedError

    def _warn_of_end(self, message: str) -> None:
        """Warn that a fit ended before it converged."""
        raise NotImplementedError

    def _note_lbfgs(self, result: Any) -> int:
        """Return the number of iterations of a fit with L-BFGS, and warn where it did not converge."""
        raise NotImplementedError

    # The start.

    def _sizes(self) -> list[Any]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        for size in sizes:
            if isinstance(size, bool) or not isinstance(size, Integral):
                raise TypeError(f"hidden_layer_sizes must be integers; got {validation.shown(size)}.")
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return sizes

    def _initialize(self, n_outputs: int, dtype: np.dtype[Any]) -> None:
        """Draw the first weights, in scikit-learn's order of draws, and forget earlier fits."""
        sizes, given = self._sizes(), self.activation
        hidden = [given] * len(sizes) if isinstance(given, (str, Activation)) else list(given)
        if len(hidden) != len(sizes) or not all(isinstance(one, Activation) or one in HIDDEN for one in hidden):
            wanted = f"one of {', '.join(sorted(HIDDEN))}, or a list with one for each of {len(sizes)} hidden layers"
            raise ValueError(f"activation must be {wanted}; got {given}.")
        dropout = [self.dropout] * len(sizes) if isinstance(self.dropout, Real) else self.dropout
        rates = [float(rate) for rate in dropout]
        if len(rates) != len(sizes):
            raise ValueError(f"dropout must be one rate, or one for each of {len(sizes)} hidden layers; got {self.dropout}.")
        if self.dtype is not None:
            dtype = validation.real_dtype(self.dtype)
        elif self.solver == "lbfgs":  # as in scikit-learn, whose weights come back from SciPy
            dtype = np.dtype(np.float64)
        self.n_iter_ = self.t_ = 0
        self.n_outputs_, self.n_layers_ = n_outputs, len(sizes) + 2
        self._hidden = list(zip(hidden, rates))
        self._network: Sequential | None = None
        self._known: list[Array] = []
        coefs: list[Array] = []
        intercepts: list[Array] = []
        fans = [self.n_features_in_, *map(int, sizes), n_outputs]
        memory.check("hidden_layer_sizes", dtype.itemsize * sum((n_in + 1) * n_out for n_in, n_out in zip(fans, fans[1:])))
        for n_in, n_out, activation in zip(fans, fans[1:], [*hidden, hidden[-1] if hidden else given]):
            bound = np.sqrt((2.0 if activation in ("logistic", "sigmoid") else 6.0) / (n_in + n_out))
            coefs.append(self._random_state.uniform(-bound, bound, (n_in, n_out)).astype(dtype, copy=False))
            intercepts.append(self._random_state.uniform(-bound, bound, n_out).astype(dtype, copy=False))
        self.coefs_, self.intercepts_ = coefs, intercepts
        self._dropout_seed = int(self._random_state.randint(2**31 - 1)) if any(rates) else 0
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_ = None
        if self.solver in STEPWISE:
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            self.best_loss_ = None if self.early_stopping else np.inf

    # The network behind the attributes.

    @property
    def coefs_(self) -> list[Array]:
        """The weights of every layer."""
        return self._arrays("coefs_")

    @coefs_.setter
    def coefs_(self, arrays: list[Array]) -> None:
        self.__dict__["coefs_"] = arrays

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of every layer."""
        return self._arrays("intercepts_")

    @intercepts_.setter
    def intercepts_(self, arrays: list[Array]) -> None:
        self.__dict__["intercepts_"] = arrays

    def _arrays(self, name: str) -> list[Array]:
        """Return the arrays that were set, or those of the network where that has been trained since."""
        if name not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._follow()
        arrays: list[Array] = self.__dict__[name]
        return arrays

    def _follow(self) -> None:
        """Take the weights of the network where somebody has trained it; arrays that were put in their place win."""
        network = self.__dict__.get("_network")
        if network is not None and not self._replaced():
            arrays = [*self.__dict__["coefs_"], *self.__dict__["intercepts_"]]
            theirs = [A for pair in zip(*network.weights) for A in pair]
            if not all(np.array_equal(one.astype(A.dtype), A, equal_nan=True) for one, A in zip(arrays, theirs)):
                self._unpack(network)

    def _replaced(self) -> bool:
        """Return whether the arrays are others than the network has, or had before it was trained."""
        arrays = [*self.__dict__["coefs_"], *self.__dict__["intercepts_"]]
        return len(arrays) != len(self._known) or any(one is not known for one, known in zip(arrays, self._known))

    @property
    def network_(self) -> Sequential:
        """The network with the weights of `coefs_` and `intercepts_`; with `loss="poisson"` it gives logarithms."""
        if self._network is None:
            self._network = self._new_network()
        elif self._replaced():
            self._network.set_weights(list(zip(self.coefs_, self.intercepts_)))
        else:
            return self._network
        self._known = [*self.coefs_, *self.intercepts_]
        return self._network

    def _new_network(self) -> Sequential:
        layers: list[Layer] = []
        pairs = list(zip(self.coefs_, self.intercepts_))
        for (activation, rate), (W, b) in zip(self._hidden, pairs):
            layers.append(Dense(W.shape[1], HIDDEN.get(activation, activation), initializer=(W, b)))
            if rate:
                layers.append(Dropout(rate))
        last = OUTPUT.get(self.out_activation_, self.out_activation_)
        layers.append(Dense(self.n_outputs_, last, initializer=pairs[-1]))
        precision = self.coefs_[0].dtype.name if self.dtype is None else validation.precision(self.dtype)
        return Sequential(layers, self.n_features_in_, dtype=precision)

    def _unpack(self, network: Sequential) -> None:
        """Set `coefs_` and `intercepts_`: they may be replaced, but not written, which the network would not see."""
        pairs = network.weights
        self.coefs_, self.intercepts_ = [W for W, _ in pairs], [b for _, b in pairs if b is not None]
        self._known = [*self.coefs_, *self.intercepts_]
        for array in self._known:
            array.flags.writeable = False

    def _outputs(self, network: Sequential, X: Any) -> Array:
        """Return what the last layer gives, as scikit-learn's has it."""
        outputs = network.predict(X, n_threads=self.n_threads)
        if self.out_activation_ == "exp":
            with np.errstate(over="ignore"):
                np.exp(outputs, out=outputs)
        return outputs

    # Minibatches.

    def _new_solver(self) -> StepSolver:
        """Return what takes the steps."""
        rate = float(self.learning_rate_init)
        if self.solver == "adam":
            return StepSolver("adam", {"beta1": self.beta_1, "beta2": self.beta_2, "eps": self.epsilon}, rate)
        hyper = {"momentum": self.momentum, "weight_decay": 0.0}
        if self.nesterovs_momentum:
            return StepSolver("nesterov", hyper, rate)
        return StepSolver("momentum", {**hyper, "dampening": 0.0}, rate)

    def _rows_of_batch(self, n_rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_rows)
        if self.batch_size > n_rows:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5)
        return int(min(self.batch_size, n_rows))

    def _fit_steps(
        self,
        problem: Problem,
        data: Chunk,
        held_out: Any,
        incremental: bool,
        watchers: list[Any],
        tasks: Tasks,
    ) -> None:
        """Train epoch after epoch until a rule of scikit-learn's, or somebody who watches, says that it is enough."""
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_solver()
        rows = data.order
        self._begin_scores(held_out)
        batch_size = self._rows_of_batch(len(rows))
        data = data._replace(X=as_read(problem.network.plan, data.X))
        self._optimizer.bind(problem, batch_size, isinstance(data.X, kernels.CSR))
        best = problem.network.parameters.copy() if self.early_stopping else None
        fit = Fit(problem, held_out, best, watchers, tasks, Interrupts())
        self.n_iter_, asked = 0, False
        try:
            with fit.interrupts:
                while self.n_iter_ < self.max_iter and not asked:
                    if self.shuffle:  # the last order, permuted as sklearn.utils.shuffle does it
                        permutation = np.arange(len(rows))
                        self._random_state.shuffle(permutation)
                        rows = rows[permutation]
                    asked = self._iteration(fit, data._replace(order=rows)) or incremental
                    if self.n_iter_ == self.max_iter and not asked:
                        reached = f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached"
                        self._warn_of_end(f"{reached} and the optimization hasn't converged yet.")
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if best is not None:
            problem.network.parameters[:] = best
        elif self.n_iter_ and not np.isfinite(self.loss_):
            raise ValueError(NOT_FINITE)

    def _iteration(self, fit: Fit, data: Chunk) -> bool:
        """Train an epoch, judge and note what it gave; return whether the fit should end."""
        network, watchers = fit.problem.network, fit.watchers
        fit.tasks.begin()
        watching.begin_epoch(watchers, self.n_iter_ + 1)
        start = time.perf_counter()
        try:
            self.loss_, stop = self._optimizer.epoch(data, watchers, fit.interrupts)
        except DivergedError:
            self.loss_, stop = np.nan, True
        seconds = time.perf_counter() - start
        with fit.interrupts.held():
            self.n_iter_ += 1
            last = self.n_iter_ == self.max_iter
            self.t_ += len(data.order)
            self.loss_curve_.append(self.loss_)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
            watching.end_epoch(watchers, "on_epoch_trained", self.n_iter_, last)
            logs = {"loss": self.loss_}
            if fit.held_out is not None:
                logs["val_score"] = self._judge(network, *fit.held_out) if np.isfinite(self.loss_) else np.nan
            if self._note(logs) and fit.best is not None:
                fit.best[:] = network.parameters
            if self.learning_rate == "invscaling" and self.solver == "sgd":
                self._optimizer.slow_down(float(self.learning_rate_init) / (self.t_ + 1) ** self.power_t)
            stop |= self._is_enough()
            stop |= watching.end_epoch(watchers, "on_epoch_end", self.n_iter_, last, {**logs, "seconds": seconds})
            return stop | fit.tasks.end()

    def _judge(self, network: Sequential, X: Any, y: Array, weights: Weights) -> float:
        """Return the score of held-out rows."""
        outputs = self._outputs(network, X)
        score = self._score_of(outputs, y, weights) if np.isfinite(outputs).all() else np.nan
        if self.verbose:
            print(f"Validation score: {score:f}")
        return float(score)

    def _begin_scores(self, held_out: Any) -> None:
        """Make room for the first scores of held-out rows."""
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf

    def _note_score(self, score: float) -> bool:
        """Note the score of an iteration; return whether it is the best."""
        scores, best = self.validation_scores_, self.best_validation_score_
        assert scores is not None and best is not None
        scores.append(score)
        self.best_validation_score_ = score if score > best else best
        return score > best

    def _note(self, logs: dict[str, float]) -> bool:
        """Note loss and score of an iteration, and whether it improved by `tol`; return whether the score is the best."""
        loss, best_loss = self.loss_, np.inf if self.best_loss_ is None else self.best_loss_
        score, best = logs.get("val_score"), self.best_validation_score_
        worse = loss > best_loss - self.tol
        if self.early_stopping and score is not None and best is not None:
            worse = score < best + self.tol
        if not self.early_stopping:
            self.best_loss_ = loss if loss < best_loss else best_loss
        self._no_improvement_count = self._no_improvement_count + 1 if worse else 0
        return score is not None and self._note_score(score)

    def _is_enough(self) -> bool:
        """Return whether there was no improvement for too long; with an adaptive rate lower it first."""
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        what = "Validation score" if self.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        adaptive = self.solver == "sgd" and self.learning_rate == "adaptive"
        if not adaptive or self._optimizer.learning_rate <= SMALLEST_RATE:
            if self.verbose:
                print(f"{message}{' Learning rate too small.' if adaptive else ''} Stopping.")
            return True
        self._optimizer.slow_down(self._optimizer.learning_rate / 5.0)
        if self.verbose:
            print(f"{message} Setting learning rate to {self._optimizer.learning_rate:f}")
        self._no_improvement_count = 0
        return False

    # All rows.

    def _fit_lbfgs(self, problem: Problem, X: Any, y: Array, weights: Weights, held_out: Any, watchers: list[Any], tasks: Tasks) -> None:
        """Minimize the loss of all rows together."""
        self._begin_scores(held_out)
        n_iter, start, stop = 0, 0.0, False

        def begin() -> None:
            nonlocal start
            tasks.begin()
            watching.begin_epoch(watchers, n_iter + 1)
            start = time.perf_counter()

        def watch(loss: float) -> bool:
            nonlocal n_iter, stop
            seconds, n_iter = time.perf_counter() - start, n_iter + 1
            last, logs = n_iter == self.max_iter, {"loss": loss}
            if self.verbose:
                print(f"Iteration {n_iter}, loss = {loss:.8f}")
            watching.end_epoch(watchers, "on_epoch_trained", n_iter, last)
            if held_out is not None:
                logs["val_score"] = self._judge(problem.network, *held_out)
                self._note_score(logs["val_score"])
            stop = watching.end_epoch(watchers, "on_epoch_end", n_iter, last, {**logs, "seconds": seconds})
            stop |= watching.call(watchers, "on_chunk_end", n_iter) | tasks.end()
            if not stop and not last:
                begin()
            return stop

        begin()
        result = lbfgs(problem, X, y, weights, LBFGS(self.tol, self.max_fun), self.max_iter, watch)
        if not np.isfinite(result.fun):
            raise ValueError(NOT_FINITE)
        self.n_iter_, self.loss_ = n_iter if stop else self._note_lbfgs(result), float(result.fun)
