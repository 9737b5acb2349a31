"""Plans: what a network is to the compiled code, and the memory it works in.

`Plan` says what a network is: widths, activations, dropout. `bind` lays its matrices out in flat arrays and writes the table of
sizes, codes and addresses that the kernels of `network` read. `Trainer` owns what a fit needs, allocated once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from . import network as net
from ._jit import address, region_work, threads
from .activations import LOG_SOFTMAX, SAVES_INPUT, SIGMOID, SOFTMAX, log_softmax_forward, sigmoid_forward, softmax_forward
from .gather import ROWS as GATHER_ROWS
from .gather import gather_rows
from .losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY
from .optimizers import N_BUFFERS
from .panels import pack, packed_shape, panel_width, unpack

__all__ = ["Plan", "Trainer", "bind", "evaluate", "loss_and_gradient", "predict"]

Array = NDArray[Any]
BLOCK = 512  # rows that go forward together in a prediction
CHUNK_SECONDS = 0.02
CHUNK_BYTES = 1 << 20  # of gathered rows: they stay in the cache until they are read
HUGE_PAGE = 1 << 21
ROW_ACTIVATIONS = {SOFTMAX: softmax_forward, LOG_SOFTMAX: log_softmax_forward}
FUSED_ACTIVATIONS = {**ROW_ACTIVATIONS, SIGMOID: sigmoid_forward}
BY_LAYER_FROM = 200_000  # parameters, from which on a layer is updated while its gradient is in the cache
ASSUMED_FLOPS = 5e10  # of one core, for the length of a chunk


def aligned_zeros(size: int, dtype: Any) -> Array:
    """Return zeros that start at a cache line, and at a huge page where they fill some."""
    itemsize = np.dtype(dtype).itemsize
    alignment = HUGE_PAGE if size * itemsize >= 2 * HUGE_PAGE else 64
    room = np.zeros(size * itemsize + alignment, np.uint8)
    start = -room.ctypes.data % alignment
    return room[start : start + size * itemsize].view(dtype)


@dataclass(frozen=True)
class Plan:
    """What a network is: `len(widths) - 1` dense layers.

    Parameters
    ----------
    widths : tuple of int
        Features, then the outputs of each layer.
    activations : tuple of int
        The code of each layer, such as `kernels.RELU`; softmax and log-softmax at the last layer only.
    dropouts : tuple of float
        The rate of the dropout on the input of each layer.
    dtype : str
        "float32" or "float64".
    seed : int
        Of the dropout.
    """

    widths: tuple[int, ...]
    activations: tuple[int, ...]
    dropouts: tuple[float, ...]
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("widths", "activations", "dropouts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        n_layers = len(self.widths) - 1
        if n_layers < 1 or len(self.activations) != n_layers or len(self.dropouts) != n_layers:
            raise ValueError(f"activations and dropouts must have one entry a layer; got {self.activations} and {self.dropouts} for widths {self.widths}.")
        if min(self.widths) < 1:
            raise ValueError(f"widths must be at least 1; got {self.widths}.")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be 'float32' or 'float64'; got {self.dtype!r}.")
        if any(code in (SOFTMAX, LOG_SOFTMAX) for code in self.activations[:-1]):
            raise ValueError("softmax must be the activation of the last layer only.")
        if not all(0 <= rate < 1 for rate in self.dropouts):
            raise ValueError(f"dropouts must lie in [0, 1); got {self.dropouts}.")

    @property
    def n_layers(self) -> int:
        """The number of dense layers."""
        return len(self.widths) - 1

    @property
    def panel(self) -> int:
        """The number of columns in a panel."""
        return panel_width(self.dtype)

    def _pieces(self, layer: int) -> tuple[int, int, int]:
        """Return where in the flat vector the weights and the bias of a layer start, and where they end."""
        start = 0
        for i in range(layer + 1):
            panels = -(-self.widths[i + 1] // self.panel)
            bias = start + panels * self.widths[i] * self.panel
            start, first = bias + panels * self.panel, start
        return first, bias, start

    @property
    def parameters_size(self) -> int:
        """The length of the flat vector, padding included."""
        return self._pieces(self.n_layers - 1)[2]

    def weight_panels(self, parameters: Array, layer: int) -> tuple[Array, Array]:
        """Return views of a layer in the flat vector: weights (panels, n_in, width) and bias (panels * width,)."""
        first, bias, end = self._pieces(layer)
        return parameters[first:bias].reshape(packed_shape(self.widths[layer], self.widths[layer + 1], self.dtype)), parameters[bias:end]

    def weight(self, parameters: Array, layer: int) -> tuple[Array, Array]:
        """Return copies of the weights (n_in, n_out) and the bias (n_out,) of a layer."""
        packed, bias = self.weight_panels(parameters, layer)
        W = np.empty((self.widths[layer], self.widths[layer + 1]), self.dtype)
        unpack(packed, W)
        return W, bias[: W.shape[1]].copy()

    def set_weight(self, parameters: Array, layer: int, W: Array, b: Array) -> None:
        """Write the weights (n_in, n_out) and the bias (n_out,) of a layer into the flat vector."""
        packed, bias = self.weight_panels(parameters, layer)
        pack(np.ascontiguousarray(W, self.dtype), packed)
        bias[: self.widths[layer + 1]] = b

    def mask(self) -> NDArray[np.bool_]:
        """Return the flat vector of where a weight or bias lies; the rest is padding and always zero."""
        ones = np.zeros(self.parameters_size, self.dtype)
        for i in range(self.n_layers):
            self.set_weight(ones, i, np.ones((self.widths[i], self.widths[i + 1])), np.ones(self.widths[i + 1]))
        mask: NDArray[np.bool_] = ones != 0
        return mask

    @property
    def flops_per_row(self) -> int:
        """Floating-point operations of the products for one row of training: 6 a weight, 4 in the first layer."""
        products = [a * b for a, b in zip(self.widths[:-1], self.widths[1:])]
        return 6 * sum(products) - 2 * products[0]

    def workspace_bytes(self, batch_size: int) -> int:
        """Return the bytes of the gathered minibatches, activations and gradients of a fit."""
        bound = _layout(self, batch_size, training=True)
        inputs = max(1, min(CHUNK_BYTES // max(bound.input_size * bound.itemsize, 1), 1 << 20)) * bound.input_size
        return (bound.size + inputs) * bound.itemsize


@dataclass
class _Layout:
    """Offsets, in elements, of the matrices of a network in its workspace."""

    jump: int
    itemsize: int
    input_size: int
    target_size: int
    Z: list[int]
    A: list[int]
    X: list[int]
    D: list[int]
    size: int


def _layout(plan: Plan, rows: int, training: bool) -> _Layout:
    """Lay out the activations, and for training the gradients, of `rows` rows: an odd number of cache lines a panel spreads over the cache sets."""
    jump = (-(-rows // plan.panel) * plan.panel + 1) * plan.panel
    sizes = [-(-n // plan.panel) * jump for n in plan.widths]
    top = 0

    def take(size: int) -> int:
        nonlocal top
        top += size
        return top - size

    widest = max(sizes[1:])
    pair = [take(widest), take(widest)]  # gradients, and without training activations too: a layer reads one and writes the other
    Z, A, X, D = [], [], [0], []
    for i in range(plan.n_layers):
        size = sizes[i + 1]
        Z.append(take(size) if training else pair[i % 2])
        A.append(take(size) if training and plan.activations[i] in SAVES_INPUT else Z[i])
        dropout = training and i + 1 < plan.n_layers and plan.dropouts[i + 1] > 0
        X.append(take(size) if dropout else A[i])
        D.append(pair[i % 2])
    if not training:  # the gradient of a loss, which is not used
        D[-1] = pair[plan.n_layers % 2]
    return _Layout(jump, np.dtype(plan.dtype).itemsize, sizes[0], sizes[-1], Z, A, X, D, top)


DTYPES = {"float32": types.float32, "float64": types.float64}


@functools.cache
def _task_address(index: int, dtype: str) -> int:
    """Return the address of one of `network.TASKS`, compiled for a dtype."""
    function = net.TASKS[index]
    count = function.py_func.__code__.co_argcount - 1
    return address(function, types.void(types.CPointer(DTYPES[dtype]), *[types.int64] * count))


class Bound:
    """A plan bound to memory: `table` for the kernels of `network`, and the arrays whose addresses it holds."""

    def __init__(
        self,
        plan: Plan,
        parameters: Array,
        rows: int,
        *,
        training: bool,
        loss: int = CROSS_ENTROPY,
        loss_scale: float = 1.0,
        mean_rows: bool = True,
        delta: float = 1.0,
        rule: int = 0,
        hyper: Sequence[float] = (),
        gradient: Array | None = None,
        state: Array | None = None,
        logits: bool = False,
        chunk: int = 1,
        dropout: bool = True,
    ) -> None:
        if parameters.shape != (plan.parameters_size,) or parameters.dtype != plan.dtype or not parameters.flags.c_contiguous:
            raise ValueError(f"parameters must be a flat {plan.dtype} array of {plan.parameters_size}; got {parameters.dtype} {parameters.shape}.")
        if not (training and dropout):
            plan = Plan(plan.widths, plan.activations, (0.0,) * plan.n_layers, plan.dtype, plan.seed)
        layout = _layout(plan, rows, training)
        width, itemsize, last = plan.panel, layout.itemsize, plan.n_layers - 1
        fused = (loss == CROSS_ENTROPY and plan.activations[last] in (SOFTMAX, LOG_SOFTMAX)) or (
            loss == BINARY_CROSS_ENTROPY and plan.activations[last] == SIGMOID
        )
        self.plan, self.parameters, self.gradient, self.state, self.layout, self.rows = plan, parameters, gradient, state, layout, rows
        self.inputs = aligned_zeros(chunk * layout.input_size, plan.dtype)
        self.workspace = aligned_zeros(layout.size, plan.dtype)
        widest = -(-max(plan.widths[1:]) // width)
        self.scratch_size = net.TOGETHER * widest * width * width if training else 0
        self.scratch = np.zeros(0, plan.dtype)
        self.constants = aligned_zeros(2 * width, plan.dtype)
        self.constants[width:] = 1
        self.row_losses = np.zeros(rows)
        self.lanes = aligned_zeros(-(-rows // net.LOSS_ROWS) * 2 * width, plan.dtype)
        self.numbers = np.zeros(net.N_NUMBERS)
        self.numbers[net.LOSS_SCALE], self.numbers[net.DELTA] = loss_scale, delta
        self.numbers[net.HYPER : net.HYPER + len(hyper)] = hyper

        self.table = table = np.zeros((1 + plan.n_layers, net.N_FIELDS), np.int64)
        H = table[0]
        H[net.N_LAYERS], H[net.ROWS], H[net.BATCH], H[net.CAPACITY], H[net.JUMP], H[net.PANEL] = plan.n_layers, rows, rows, rows, layout.jump, width
        has_gradient, dropping = gradient is not None, any(plan.dropouts)
        needed = {net.FORWARD: True, net.BACKWARD: has_gradient, net.LOSS: True, net.UPDATE: state is not None, net.ROWS_PRODUCT: True}
        needed |= {net.COLUMNS_PRODUCT: has_gradient, net.ACTIVATE: True, net.DERIVE: True, net.DROP: dropping, net.RUN: True}
        for index, (field, wanted) in enumerate(needed.items()):
            H[field] = _task_address(index, plan.dtype) if wanted else 0
        H[net.SIZE], H[net.SEED], H[net.LOSS_CODE], H[net.RULE], H[net.MEAN_ROWS] = plan.parameters_size, plan.seed, loss, rule, mean_rows
        H[net.FUSED], H[net.BY_LAYER] = fused, plan.parameters_size > BY_LAYER_FROM
        H[net.INPUT_BYTES], H[net.TARGET_BYTES] = layout.input_size * itemsize, layout.target_size * itemsize
        H[net.NUMBERS], H[net.ROW_LOSSES] = self.numbers.ctypes.data, self.row_losses.ctypes.data
        H[net.LANES], H[net.CONSTANTS] = self.lanes.ctypes.data, self.constants.ctypes.data
        self.use_parameters(parameters)
        if gradient is not None:
            H[net.GRADIENT] = gradient.ctypes.data
        if state is not None:
            H[net.STATE] = state.ctypes.data
        base = self.workspace.ctypes.data
        for i, L in enumerate(table[1:]):
            first, bias, _ = plan._pieces(i)
            activation = plan.activations[i]
            plain = i == last and (logits or fused or activation in (SOFTMAX, LOG_SOFTMAX))
            L[net.K], L[net.N], L[net.INDEX], L[net.ACTIVATION] = plan.widths[i], plan.widths[i + 1], i, 0 if plain else activation
            if gradient is not None:
                L[net.DW], L[net.DB] = H[net.GRADIENT] + first * itemsize, H[net.GRADIENT] + bias * itemsize
            L[net.X] = self.inputs.ctypes.data if i == 0 else base + layout.X[i] * itemsize
            L[net.Z], L[net.D] = base + layout.Z[i] * itemsize, base + layout.D[i] * itemsize
            L[net.A] = L[net.Z] if plain else base + layout.A[i] * itemsize
            L[net.SAVED] = L[net.Z] if activation in SAVES_INPUT else L[net.A]
            L[net.THRESHOLD] = round(plan.dropouts[i] * 2**32)
            if i < last:
                L[net.X_NEXT] = base + layout.X[i + 1] * itemsize
                L[net.NEXT_THRESHOLD] = round(plan.dropouts[i + 1] * 2**32)
            if i > 0:
                L[net.D_PREVIOUS] = base + layout.D[i - 1] * itemsize
                L[net.PREVIOUS_ACTIVATION], L[net.PREVIOUS_SAVED] = table[i, net.ACTIVATION], table[i, net.SAVED]

    def use_parameters(self, parameters: Array) -> None:
        """Read and update another flat vector of the same network."""
        H, itemsize = self.table[0], self.layout.itemsize
        self.parameters = parameters
        H[net.PARAMETERS] = parameters.ctypes.data
        for i, L in enumerate(self.table[1:]):
            first, bias, _ = self.plan._pieces(i)
            L[net.W], L[net.B] = H[net.PARAMETERS] + first * itemsize, H[net.PARAMETERS] + bias * itemsize

    def use_threads(self, n_threads: int) -> None:
        """Say how many threads a region may use, and from how much work on it pays to open one."""
        H = self.table[0]
        H[net.THREADS], H[net.REGION] = n_threads, region_work()
        if self.scratch.size < n_threads * self.scratch_size:
            # the transpose of a last block writes whole panels
            self.scratch = aligned_zeros(n_threads * self.scratch_size, self.plan.dtype)
            H[net.SCRATCH], H[net.SCRATCH_BYTES] = self.scratch.ctypes.data, self.scratch_size * self.layout.itemsize

    def gather(self, X: Array, order: NDArray[np.int64], scale: float, shift: float, n_threads: int) -> int:
        """Gather rows into the inputs; return a row that is not finite, or -1."""
        return gather_into(X, order, self.rows, scale, shift, self.inputs, self.layout.input_size, self.layout.jump, n_threads)


def gather_into(X: Array, order: NDArray[np.int64], batch: int, scale: float, shift: float, out: Array, stride: int, jump: int, n_threads: int) -> int:
    """Gather rows in threads; see `kernels.gather`, which checks its arguments."""
    bad = np.empty(-(-order.size // GATHER_ROWS), np.int64)
    parallel = n_threads > 1 and order.size * X.shape[1] * 20 > region_work()
    return int(gather_rows(X, order, batch, scale, shift, out, stride, jump, bad, parallel))


def bind(plan: Plan, parameters: Array, rows: int, **settings: Any) -> Bound:
    """Bind a plan to memory for `rows` rows at once; see `Bound`."""
    return Bound(plan, parameters, rows, **settings)


EMPTY_LABELS = np.zeros(0, np.int64)


class Trainer:
    """What a fit owns: gradient, optimizer state, workspace and the buffer of gathered minibatches, allocated once.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (plan.parameters_size,)
        Updated in place.
    batch_size : int
    loss, rule : int
        Codes such as `kernels.CROSS_ENTROPY` and `kernels.ADAM`.
    hyper : sequence of float
        The numbers of the rule; see `kernels.optimizers`.
    outputs_scale : float
        1 / n_outputs where the loss is a mean over outputs, 1 where it is a sum.
    mean_rows : bool
        Whether the loss is a mean over the rows of a minibatch, or a sum.
    loss_delta : float
        Of the Huber loss.
    n_threads : int
    scale, shift : float
        X * scale + shift is what the first layer sees.
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Array,
        batch_size: int,
        loss: int,
        rule: int,
        hyper: Sequence[float],
        *,
        outputs_scale: float = 1.0,
        mean_rows: bool = True,
        loss_delta: float = 1.0,
        n_threads: int = 1,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        self.plan, self.batch_size, self.n_threads, self.scale, self.shift = plan, batch_size, n_threads, scale, shift
        self.gradient = aligned_zeros(plan.parameters_size, plan.dtype)
        self.state = aligned_zeros(N_BUFFERS[rule] * plan.parameters_size, plan.dtype)
        layout = _layout(plan, batch_size, training=True)
        seconds = max(2e-6, plan.flops_per_row * batch_size / ASSUMED_FLOPS / n_threads)
        bytes_ = (layout.input_size + (0 if loss == CROSS_ENTROPY else layout.target_size)) * layout.itemsize
        self.chunk = int(max(1, min(CHUNK_SECONDS / seconds, CHUNK_BYTES / bytes_)))
        self.bound = bind(
            plan,
            parameters,
            batch_size,
            training=True,
            loss=loss,
            loss_scale=outputs_scale,
            mean_rows=mean_rows,
            delta=loss_delta,
            rule=rule,
            hyper=hyper,
            gradient=self.gradient,
            state=self.state,
            chunk=self.chunk,
        )
        self.targets = np.zeros(0, plan.dtype)
        self.bad_row = -1

    def train(self, X: Array, y: Array, order: NDArray[np.int64], first_step: int, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Train on the rows of `order`, cut in minibatches; return the loss of each, up to the last finite one.

        Where fewer losses than minibatches come back, the next one was not finite and the parameters are those of the last
        finite loss; or `bad_row` is not -1 but a row of X that is not finite, and nothing was done.
        """
        bound, layout = self.bound, self.bound.layout
        minibatches = -(-order.size // self.batch_size)
        if minibatches > self.chunk:
            raise ValueError(f"order must have at most {self.chunk} minibatches of {self.batch_size}; got {order.size} rows.")
        losses = np.empty(minibatches)
        with threads(self.n_threads) as n_threads:
            bound.use_threads(n_threads)
            self.bad_row = bound.gather(X, order, self.scale, self.shift, n_threads)
            if self.bad_row >= 0:
                return losses[:0]
            if y.ndim == 1:
                labels = y[order]
            else:
                labels = EMPTY_LABELS
                if not self.targets.size:
                    self.targets = aligned_zeros(self.chunk * layout.target_size, self.plan.dtype)
                gather_into(y, order, self.batch_size, 1.0, 0.0, self.targets, layout.target_size, layout.jump, n_threads)
            bound.numbers[net.STEP_COUNT] = first_step
            done = net.network_train.compiled(bound.table, bound.numbers, bound.inputs, labels, self.targets, rates, losses, order.size)
        return losses[:done]

    def settle(self) -> bool:
        """Return whether the parameters are finite; if the last update made them otherwise, put back those from before it."""
        parameters = self.bound.parameters
        if np.isfinite(parameters.min()) and np.isfinite(parameters.max()):
            return True
        if self.bound.table[0, net.UPDATED]:
            parameters[:] = self.gradient
        return False


def _placed(bound: Bound, X: Array, y: Array, rows: NDArray[np.int64], scale: float, shift: float, n_threads: int) -> tuple[Array, Array]:
    """Gather rows and targets; return labels and targets as the kernels take them."""
    layout = bound.layout
    bound.gather(X, rows, scale, shift, n_threads)
    if y.ndim == 1:
        return y[rows], np.zeros(0, bound.plan.dtype)
    targets = aligned_zeros(layout.target_size, bound.plan.dtype)
    gather_into(y, rows, bound.rows, 1.0, 0.0, targets, layout.target_size, layout.jump, n_threads)
    return EMPTY_LABELS, targets


def loss_and_gradient(
    plan: Plan,
    parameters: Array,
    X: Array,
    y: Array,
    loss: int,
    *,
    outputs_scale: float = 1.0,
    mean_rows: bool = True,
    loss_delta: float = 1.0,
    n_threads: int = 1,
    scale: float = 1.0,
    shift: float = 0.0,
) -> tuple[float, Array]:
    """Return the loss of all rows, without dropout, and its flat gradient."""
    gradient = aligned_zeros(plan.parameters_size, plan.dtype)
    bound = bind(
        plan,
        parameters,
        len(X),
        training=True,
        loss=loss,
        loss_scale=outputs_scale,
        mean_rows=mean_rows,
        delta=loss_delta,
        gradient=gradient,
        dropout=False,
    )
    with threads(n_threads) as used:
        bound.use_threads(used)
        labels, targets = _placed(bound, X, y, np.arange(len(X)), scale, shift, used)
        value = net.network_gradient.compiled(bound.table, bound.numbers, bound.inputs, labels, targets, len(X))
    return float(value), gradient


# Bound plans of predictions of a few rows, for the next call: binding takes longer than the products. Each is taken out while it is used.
_SPARE: dict[Any, Bound] = {}
SMALL, SPARES = 16, 8
_NOTHING: Array = np.zeros(0)


def predict(plan: Plan, parameters: Array, X: Array, *, logits: bool = False, n_threads: int = 1, scale: float = 1.0, shift: float = 0.0) -> Array:
    """Return the outputs of the last layer, (n, n_outputs); with `logits` what its activation is applied to."""
    out = np.empty((len(X), plan.widths[-1]), plan.dtype)
    if len(X):
        key = (plan, len(X), logits)
        spare = _SPARE.pop(key, None)
        if spare is None:
            bound = bind(plan, parameters, min(BLOCK, len(X)), training=False, logits=logits)
        else:
            bound = spare
            bound.use_parameters(parameters)
        for first in range(0, len(X), BLOCK):
            rows = np.arange(first, min(len(X), first + BLOCK))
            with threads(n_threads) as used:
                bound.use_threads(used)
                bound.gather(X, rows, scale, shift, used)
                net.network_forward.compiled(bound.table, bound.inputs, len(rows))
                net.network_output.compiled(bound.table, out[first : first + len(rows)])
        if len(X) <= SMALL:
            while len(_SPARE) >= SPARES:
                _SPARE.popitem()
            bound.parameters = _NOTHING  # the network may go
            _SPARE[key] = bound
    if not logits and plan.activations[-1] in ROW_ACTIVATIONS:
        ROW_ACTIVATIONS[plan.activations[-1]](out, out)
    return out


def evaluate(
    plan: Plan,
    parameters: Array,
    X: Array,
    y: Array,
    loss: int,
    *,
    outputs_scale: float = 1.0,
    mean_rows: bool = True,
    loss_delta: float = 1.0,
    n_threads: int = 1,
    scale: float = 1.0,
    shift: float = 0.0,
) -> tuple[float, Array]:
    """Return the loss over all rows and the outputs of the last layer."""
    out = np.empty((len(X), plan.widths[-1]), plan.dtype)
    bound = bind(plan, parameters, min(BLOCK, len(X)), training=False, loss=loss, loss_scale=outputs_scale, mean_rows=False, delta=loss_delta)
    total = 0.0
    for first in range(0, len(X), BLOCK):
        rows = np.arange(first, min(len(X), first + BLOCK))
        with threads(n_threads) as used:
            bound.use_threads(used)
            labels, targets = _placed(bound, X, y, rows, scale, shift, used)
            total += net.network_loss.compiled(bound.table, bound.numbers, bound.inputs, labels, targets, len(rows))
            net.network_output.compiled(bound.table, out[first : first + len(rows)])
    if bound.table[0, net.FUSED]:
        FUSED_ACTIVATIONS[plan.activations[-1]](out, out)
    return (total / len(X) if mean_rows else total), out
