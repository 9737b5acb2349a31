"""What trains a network: trainers of `kernels`, made of the network, its loss and the settings of an optimizer."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import kernels

from . import memory, schedules, sparse, validation
from .layers import BatchNorm, Dense, Dropout, Layer, single
from .losses import Loss
from .optimizers import Optimizer
from .schedules import rates, spanning
from .state import State
from .validation import Array


class Network(Protocol):
    """What the training needs of a network; see `Sequential`."""

    layers: tuple[Layer, ...]
    dtype: np.dtype[Any]
    seed: int
    loss: Loss
    plan: kernels.Plan
    n_fits: int
    _stepper: Stepper | None
    _state: State | None

    @property
    def n_outputs(self) -> int:
        """The number of outputs."""

    @property
    def last_activation(self) -> str:
        """The name of the last layer's activation."""

    @property
    def flops_per_row(self) -> float:
        """The floating-point operations of training with one row."""

    @property
    def scaling(self) -> tuple[float | Array, float | Array]:
        """The factor and the shift of the data on its way in."""

    @property
    def parameters(self) -> Array:
        """All weights and biases as one flat vector, changed in place."""

    @property
    def dense(self) -> tuple[Any, ...]:
        """The dense layers."""

    @property
    def _with_arrays(self) -> list[tuple[Any, Any]]:
        """The layers that have parameters, each as the plan places it."""

    @property
    def weights(self) -> list[tuple[Any, ...]]:
        """The arrays of every layer that has some."""

    def set_weights(self, weights: Any) -> None:
        """Set what `weights` returns."""

    def settings(self) -> dict[str, Any]:
        """Return what a file holds of the network beside its arrays."""

    def check_data(self, loss: Loss, X: Any, y: Any, X_name: str = "X", y_name: str = "y") -> tuple[Any, Array]:
        """Return checked features and targets; numbers as targets are as the user has them."""

    def training_data(self, loss: Loss, X: Any, y: Any, learn: bool = False) -> tuple[Any, Array]:
        """Return features and targets in the form that the kernels read."""

    def loss_and_outputs(self, loss: Loss, X: Any, y: Array, n_threads: int, weights: Array | None = None) -> tuple[float, Array]:
        """Return the loss and the outputs, in the units of the targets, for data that is already checked."""


@dataclass
class Stepper:
    """The optimizer's state between two calls of `train_on_batch`, and what it belongs to."""

    trainer: kernels.Trainer
    settings: tuple[Any, ...]
    optimizer: Optimizer
    step: int = 0


def objective(network: Network, loss: Loss) -> kernels.Objective:
    """Return what the kernels of a whole network minimize."""
    outputs_scale = loss.scale_of_outputs(network.n_outputs)
    weighted = loss.reduction == "weighted_mean"
    scale, shift = network.scaling
    return kernels.Objective(
        loss.code,
        outputs_scale,
        loss.reduction != "sum",
        scale=scale,
        shift=shift,
        parameters=loss.numbers,
        weighted_mean=weighted,
    )


def fit_seed(network: Network) -> int:
    """Return the seed of the next fit: other orders and other dropout than in the one before."""
    return network.seed + (network.n_fits << 32)


def memory_of_fit(network: Network, batch_size: int, optimizer: Optimizer, checkpoint: bool = False, stored: bool = False) -> int:
    """Return the bytes that a fit takes beyond the data: parameters, gradient, optimizer state, activations, what a checkpoint copies."""
    vectors = 2 + optimizer.n_buffers + checkpoint * (1 + optimizer.n_buffers)
    return int(vectors * network.plan.parameters_size * network.dtype.itemsize + network.plan.workspace_bytes(batch_size, stored))


def make_trainer(
    network: Network,
    batch_size: int,
    loss: Loss,
    optimizer: Optimizer,
    n_threads: int,
    seed: int,
    full_batch: bool = False,
    n_steps: int | None = None,
    stored: bool = False,
) -> kernels.Trainer:
    """Return what trains the parameters in place, with a gradient, a state and a workspace of its own; `n_steps` is what schedules span."""
    _check_trainable(network)
    _check_batch_size(network, batch_size)
    memory.check("layers and batch_size", memory_of_fit(network, batch_size, optimizer, stored=stored))
    for name in ("eps", "clip_norm", "clip_value"):
        value = getattr(optimizer, name, None)
        if value is not None:
            validation.survives(name, value, network.dtype)
    return kernels.Trainer(
        dataclasses.replace(network.plan, seed=seed),
        network.parameters,
        batch_size,
        objective(network, loss),
        optimizer.rule,
        optimizer.hyper(),
        n_threads=n_threads,
        full_batch=full_batch,
        clip_norm=optimizer.clip_norm,
        clip_value=optimizer.clip_value,
        dropout_rates=_dropout_rates(network, n_steps),
        paces=_paces(network, optimizer),
        weight_decays=_weight_decays(optimizer, n_steps),
        largest_norms=[(i, layer.max_norm) for i, layer in enumerate(network.dense) if layer.max_norm is not None and layer.trained[0]],
        stored=stored,
    )


def _paces(network: Network, optimizer: Optimizer) -> list[kernels.Pace]:
    """Return where the parameters have a learning rate of their own, or no weight decay."""
    paces = []
    for layer, placed in network._with_arrays:
        factors = {"W": layer.learning_rate_factor, "b": layer.bias_learning_rate_factor} if isinstance(layer, Dense) else {}
        for (first, end), (name, shape) in zip(placed.ranges, placed.layer.shapes.items(), strict=True):
            factor, decays = factors.get(name, 1.0), optimizer.decay_bias or len(shape) > 1
            if factor != 1.0 or not decays:
                paces.append(kernels.Pace(first, end, factor, decays))
    return paces


def _weight_decays(optimizer: Optimizer, n_steps: int | None) -> Callable[[int, int], Array] | None:
    """Return the function of a step, and how many, that gives their weight decays; None where it stays as it is."""
    if not callable(optimizer.weight_decay):
        return None
    schedule = spanning(optimizer.weight_decay, n_steps) if n_steps else optimizer.weight_decay
    rates(schedule, 0, 1, "weight_decay")
    return lambda first, count: rates(schedule, first, count, "weight_decay")


def continued(network: Network) -> State:
    """Return where the last fit of a network ended."""
    if network._state is None:
        help_ = "Copies, pickles and files hold none, and L-BFGS, conjugate gradient and a fit that diverges leave none: see checkpoint and resume."
        raise ValueError(f"continue_fit must be False for a network that holds no state of a fit; got True. {help_}")
    return network._state


def go_on(last: State, trainer: kernels.Trainer, optimizer: Optimizer, batch_size: int) -> State:
    """Return the state of a fit that goes on where the last one ended; the trainer gets its buffers."""
    before = last.optimizer
    if before is None or _of_buffers(optimizer) != _of_buffers(before) or last.buffers.shape != trainer.state.shape:
        raise other_optimizer(last, optimizer)
    if last.batch and last.batch_size != batch_size:
        raise ValueError(f"batch_size must be {last.batch_size} in the middle of an epoch; got {batch_size}.")
    trainer.state[:] = last.buffers
    history = copy.deepcopy(last.history)
    history.interrupted = False
    changed = {"optimizer": optimizer, "buffers": trainer.state, "batch_size": batch_size, "history": history, "stopped": False}
    return dataclasses.replace(last, losses=list(last.losses), **changed)


def other_optimizer(last: State, optimizer: Any) -> ValueError:
    """Return the error for an optimizer that cannot go on with the state of another one."""
    return ValueError(f"optimizer must be that of the fit to continue, its learning_rate aside, {last.optimizer}; got {optimizer}.")


def _of_buffers(optimizer: Optimizer) -> Any:
    """Return the settings that give the buffers of an optimizer their meaning."""
    return dataclasses.replace(optimizer, learning_rate=0.0)


def full_batch(network: Network, loss: Loss, X: Array, y: Array, weights: Array | None, n_threads: int) -> Any:
    """Return the function from parameters to the loss of all rows and its gradient."""
    _check_trainable(network)
    return sparse.full_batch(network.plan, X, y, objective(network, loss), n_threads=n_threads, weights=weights)


def _check_trainable(network: Network) -> None:
    if not network.plan.trained_ranges():
        raise ValueError(f"layers must have something that is trainable; got {list(network.layers)}.")


def _dropout_rates(network: Network, n_steps: int | None) -> Callable[[int, int], Array] | None:
    """Return the function of a step, and how many, that gives their rates for each dropout with a schedule, None without any."""
    found = [layer for layer in single(network.layers) if isinstance(layer, Dropout) and callable(layer.rate)]
    if not found:
        return None
    layers = [Dropout(spanning(layer.rate, n_steps)) for layer in found] if n_steps else found
    for layer in layers:
        layer.rates(0, 1)
    return lambda first, count: np.stack([layer.rates(first, count) for layer in layers])


def spans(network: Network, optimizer: Optimizer) -> bool:
    """Return whether the weight decay or the rate of a dropout depends on how long the fit is."""
    return any(schedules.spans(schedule) for name, schedule in schedules_of(network, optimizer) if name != "learning_rate")


def schedules_of(network: Network, optimizer: Optimizer) -> list[tuple[str, Any]]:
    """Return the names and the values of what may be a schedule."""
    of_layers = [("rate of Dropout", layer.rate) for layer in single(network.layers) if isinstance(layer, Dropout)]
    return [("learning_rate", optimizer.learning_rate), ("weight_decay", optimizer.weight_decay), *of_layers]


def _check_batch_size(network: Network, batch_size: int) -> None:
    if batch_size == 1 and batch_normalized(network):
        raise ValueError("batch_size must be at least 2 with BatchNorm, whose variance is that of the minibatch's rows; got 1.")


def batch_normalized(network: Network) -> bool:
    """Return whether a fit normalizes by the statistics of the minibatch."""
    return any(isinstance(layer, BatchNorm) and layer.trainable for layer in single(network.layers))


def stepper(network: Network, batch_size: int, loss: Loss, optimizer: Optimizer, n_threads: int, stored: bool) -> Stepper:
    """Return the state of `train_on_batch`: the last one where the settings are the same, with room for the rows."""
    _check_batch_size(network, batch_size)
    old = network._stepper
    # Settings are frozen: those of the call before need no other look, which would take a fifth of a small network's step.
    settings = (loss, old.settings[1] if old is not None and optimizer is old.optimizer else _of_buffers(optimizer), n_threads, stored)
    if old is not None and old.settings == settings and old.trainer.serves(batch_size):
        old.optimizer = optimizer
        return old
    new = Stepper(make_trainer(network, batch_size, loss, optimizer, n_threads, fit_seed(network), stored=stored), settings, optimizer)
    if old is not None and old.settings[:2] == settings[:2]:
        new.trainer.state[:], new.step = old.trainer.state, old.step
    network.loss, network._stepper = loss, new
    return new
