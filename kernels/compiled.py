"""A network inside compiled code: an object that nopython functions take as an argument and call, and C functions too."""

from __future__ import annotations

import ctypes
import functools
import os
import weakref
from typing import Any

import numpy as np
from numba import types
from numba.extending import typeof_impl

from . import _door
from ._jit import DTYPES, max_threads
from ._jit import address as address_of_function
from ._lazy import cached_property
from .compiled_type import CompiledNetworkType, loss_and_gradient, predict
from .losses import OF_LABELS
from .objective import Objective
from .plan import Array, Plan
from .program import PHASE_BYTES, Program, task_address
from .records import address, aligned_zeros, new_array
from .steps import emit_prediction, emit_step
from .workspaces import BLOCK_ROWS, BOUND, FINISH, INTEGRANDS, MODEL, SLOT, predict_c, run_bound

__all__ = ["CompiledNetwork"]


class CompiledNetwork:
    """A network for compiled code: an argument of nopython functions, which call its methods.

    It follows the network: `parameters` is the network's own vector, read anew in each call, and may be changed in place. What is
    done to the data on the way in and out is as it was when the object was made. Any number of threads may call it at once, also
    inside `prange`; a call is serial and allocates nothing. While other threads change the parameters, outputs are of any mixture.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (plan.parameters_size,)
        Of the plan's dtype, contiguous.
    scale, shift : float, or float64 arrays of shape (n_features,)
        X * scale + shift is what the first layer sees, as for `kernels.predict`.
    mean, std : float64 arrays of shape (n_outputs,), optional
        outputs * std + mean is what comes out, calculated in float64; targets are y = (y - mean) / std, or 0 where std is 0.
    objective : Objective, optional
        Of `loss_and_gradient`; its scale and shift are not read.
    batch_size : int
        The most rows that `loss_and_gradient` takes at once; each workspace has room for their activations. 0: it is not called.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan.

    Attributes
    ----------
    parameters : ndarray
    n_features, n_outputs : int
    dtype : str
    where : int
        The address that stands for the network in calls from C.
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Array,
        *,
        scale: float | Array = 1.0,
        shift: float | Array = 0.0,
        mean: Array | None = None,
        std: Array | None = None,
        objective: Objective | None = None,
        batch_size: int = 0,
    ) -> None:
        _door.check_parameters(plan, parameters)
        scale, shift = _door.affine(scale, shift)
        _door.check_affine(plan, scale)
        self.plan, self.parameters, self.dtype = plan, parameters, plan.dtype
        self.n_features, self.n_outputs = plan.widths[0], plan.widths[-1]
        self._options: dict[str, Any] = {"scale": scale, "shift": shift, "mean": mean, "std": std, "objective": objective, "batch_size": batch_size}
        self._kept: list[Any] = []
        self.record = record = MODEL.new(n_in=self.n_features, n_out=self.n_outputs)
        record["parameters"], record["n_parameters"] = address(parameters), parameters.size
        if isinstance(scale, np.ndarray):
            record["scales"], record["shifts"] = self._keep(scale.copy()), self._keep(np.asarray(shift).copy())
        else:
            record["scale"], record["shift"] = scale, shift
        if (mean is None) != (std is None):
            raise ValueError(f"mean and std must be given both or not at all; got {mean} and {std}.")
        if mean is not None and std is not None:
            mean, std = _of_outputs(plan, "mean", mean, -np.inf), _of_outputs(plan, "std", std, 0.0)
            factor = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
            record["mean"], record["std"], record["factor"] = (self._keep(A) for A in (mean, std, factor))
        record["run"] = task_address(run_bound, plan.dtype)
        count = 1 << max(2, max_threads().bit_length())  # more than there are threads
        self.slots = new_array(SLOT, count)
        record["slots"], record["n_slots"] = address(self.slots), count
        for slot in self.slots:
            slot["one"], slot["some"] = (self._bind_prediction(rows) for rows in (1, BLOCK_ROWS))
        if _door.whole("batch_size", batch_size, 0):
            _door.check_fit(plan, objective)  # type: ignore[arg-type]
            self._bind_gradients(objective, batch_size)
        self.where = address(record)
        _alive.add(self)

    def _keep(self, thing: Any) -> int:
        self._kept.append(thing)
        return address(thing)

    def _bind_prediction(self, rows: int) -> int:
        """Bind a program for so many rows to memory of its own; return the address of the record that says where."""
        program = emit_prediction(self.plan, self.parameters, rows, False)
        outputs = aligned_zeros(rows * self.n_outputs, self.dtype)
        program.now["out"] = self._keep(outputs)
        last: Any = self.plan.last_activation
        finish = task_address(FINISH[last], self.dtype) if last in FINISH else 0
        if rows == 1:  # the last layer writes a plain vector already
            return self._bind(program, "forward", "output", outputs=int(program.phases[-1].record["A"][0]), finish=finish)
        return self._bind(program, "forward", "end", outputs=address(outputs), finish=finish)

    def _bind(self, program: Program, first: str, last: str, **more: int) -> int:
        """Give a program rows of its own; return the address of the record that says where, and which part is run."""
        inputs = aligned_zeros(program.panels(self.n_features) * program.jump, self.dtype)
        program.now["inputs"] = self._keep(inputs)
        bound = BOUND.new(now=address(program.now), inputs=address(inputs), jump=program.jump * program.itemsize, **more)
        bound["phases"] = program.where + program.marks[first] * PHASE_BYTES
        bound["count"] = program.marks[last] - program.marks[first]
        self._kept.append(program)
        return self._keep(bound)

    def _bind_gradients(self, objective: Any, batch_size: int) -> None:
        """Bind a program for a loss and its gradient in each workspace; its records get a new address of the gradient in each call."""
        plan, record = self.plan, self.record
        gaps = _gaps(plan)
        record["batch"], record["takes_labels"] = batch_size, objective.loss in OF_LABELS
        record["gaps"], record["n_gaps"] = self._keep(gaps), len(gaps) // 2
        nowhere = aligned_zeros(plan.parameters_size, self.dtype)
        start, end = address(nowhere), address(nowhere) + nowhere.nbytes
        for slot in self.slots:
            program = emit_step(plan, self.parameters, batch_size, objective, gradient=nowhere, fitting=False)
            targets = aligned_zeros(program.panels(self.n_outputs) * program.jump, self.dtype)
            program.now["targets"] = slot["targets"] = self._keep(targets)
            slot["labels"], slot["weights"] = self._keep(np.zeros(batch_size, np.int64)), self._keep(np.zeros(batch_size))
            words = program.words(start, end)
            slot["gradient"], slot["words"], slot["n_words"] = start, self._keep(words), len(words)
            slot["step"] = self._bind(program, "forward", "update")

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs for a row, or some, to `out`, as `net.predict` returns them.

        Parameters
        ----------
        x : array of shape (n_features,) or (n_rows, n_features), any real dtype and layout
            What is not finite gives what it gives.
        out : float array of shape (n_outputs,) or (n_rows, n_outputs), any layout, overwritten
            Of the network's dtype, or float64. Shares no memory with x and the parameters.

        Raises
        ------
        TypeError, ValueError
            If an array does not fit. In nopython code the sentence is literal.
        """
        predict(self, x, out)

    def loss_and_gradient(self, X: Array, y: Array, gradient: Array, weights: Array | None = None) -> float:
        """Write the gradient of the loss of some rows, without dropout, and return the loss, penalties included.

        Parameters
        ----------
        X : array of shape (n_rows, n_features), any real dtype and layout
            At least one row, at most `batch_size`.
        y : array of shape (n_rows, n_outputs), or (n_rows,) for labels, or for a single output
            As for `Sequential.fit`.
        gradient : array of shape (n_parameters,) of the network's dtype, contiguous, overwritten
            In the order of `parameters`; 0 where nothing is trained. Shares no memory with the others.
        weights : array of shape (n_rows,), optional
            What the loss of each row is multiplied by; a mean still divides by the number of rows. They may be negative.

        Raises
        ------
        TypeError, ValueError
            If an array does not fit, or a label is out of range. In nopython code the sentence is literal.
        """
        return float(loss_and_gradient(self, X, y, gradient, weights))

    # For C.

    @cached_property
    def address(self) -> int:
        """Where the C function `void predict(void *model, const T *x, T *out, int64_t n_rows)` lies; T is float or double, as `dtype` says.

        Its first argument is `where`; rows are contiguous. Any number of threads may call it at once, without the GIL.
        """
        T = types.CPointer(DTYPES[self.dtype])
        return address_of_function(predict_c, types.void(types.int64, T, T, types.int64))

    @cached_property
    def ctypes(self) -> Any:
        """The function at `address`, for ctypes."""
        T = ctypes.POINTER(ctypes.c_float if self.dtype == "float32" else ctypes.c_double)
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p, T, T, ctypes.c_int64)(self.address)

    @cached_property
    def integrand(self) -> Any:
        """The C function `double f(int n, double *x, void *model)` of a network with a single output, for ctypes.

        NaN where n is not the number of features. It is what SciPy's integrators take: `scipy.LowLevelCallable(model.integrand, ctypes.c_void_p(model.where))`.
        """
        if self.n_outputs != 1:
            raise ValueError(f"integrand must be that of a network with a single output; got {self.n_outputs}.")
        where = address_of_function(INTEGRANDS[self.dtype], types.float64(types.int32, types.CPointer(types.float64), types.int64))
        return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p)(where)

    def __reduce__(self) -> Any:
        return functools.partial(CompiledNetwork, **self._options), (self.plan, self.parameters)

    def __repr__(self) -> str:
        return f"CompiledNetwork({self.n_features} features, {self.n_outputs} outputs, {self.dtype})"


@typeof_impl.register(CompiledNetwork)
def _typeof(value: CompiledNetwork, context: Any) -> CompiledNetworkType:
    return CompiledNetworkType(DTYPES[value.dtype])


def _of_outputs(plan: Plan, name: str, values: Array, least: float) -> Array:
    """Return a copy of one number for each output, finite and at least so large."""
    array = np.array(values, np.float64)
    if array.shape != (plan.widths[-1],):
        raise ValueError(f"{name} must have the shape ({plan.widths[-1]},); got {array.shape}.")
    if not (np.isfinite(array).all() and (array >= least).all()):
        raise ValueError(f"{name} must be finite{'' if least < 0 else ' and at least 0'}; got {array}.")
    return array


def _gaps(plan: Plan) -> Array:
    """Return the first and the last + 1 of each part of the flat vector whose gradient no task writes.

    That is what is not trained, and the padding of what has one dimension; a product writes whole panels.
    """
    written = np.zeros(plan.parameters_size + 2, bool)
    for first, end in plan.trained_ranges():
        written[first + 1 : end + 1] = True
    for placed in plan.layers:
        for (first, end), shape in zip(placed.ranges, placed.layer.shapes.values()):
            if len(shape) == 1:
                written[first + shape[0] + 1 : end + 1] = False
    written[[0, -1]] = True
    return np.flatnonzero(np.diff(written)).astype(np.int64)


_alive: weakref.WeakSet[CompiledNetwork] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Give back the workspaces of calls of other threads, which are not here."""
    for one in _alive:
        one.slots["taken"] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
