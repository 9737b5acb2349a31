"""A network inside compiled code: an object that nopython functions take as an argument and call.

To Numba it is an address with one type for each dtype, whatever the network is: another shape, depth or activation compiles nothing
anew. The type's name holds the fingerprint of the kernels' sources, so functions that users cache on the disk are compiled anew
where the kernels inside them have changed, which Numba would not notice.
"""

from __future__ import annotations

import functools
import os
import weakref
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils, errors, imputils
from numba.extending import NativeValue, box, intrinsic, models, overload_attribute, overload_method, register_model, typeof_impl, unbox
from numba.np import arrayobj

from . import _door
from ._cache import FINGERPRINT
from ._jit import DTYPES, kernel, max_threads
from ._tile import address_of, array_pointer
from .plan import Array, Plan
from .program import task_address
from .records import address, aligned_zeros, new_array
from .steps import emit_prediction
from .workspaces import BLOCK_ROWS, BOUND, FINISH, MODEL, SLOT, predict_rows, run_bound

__all__ = ["CompiledNetwork"]

FLOATS = (types.float32, types.float64)


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
        outputs * std + mean is what comes out, calculated in float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or does not fit the plan.

    Attributes
    ----------
    parameters : ndarray
    n_features, n_outputs : int
    dtype : str
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
    ) -> None:
        _door.check_parameters(plan, parameters)
        scale, shift = _door.affine(scale, shift)
        _door.check_affine(plan, scale)
        self.plan, self.parameters, self.dtype = plan, parameters, plan.dtype
        self.n_features, self.n_outputs = plan.widths[0], plan.widths[-1]
        self._options: dict[str, Any] = {"scale": scale, "shift": shift, "mean": mean, "std": std}
        self._kept: list[Any] = []
        self.record = record = MODEL.new(n_in=self.n_features, n_out=self.n_outputs)
        record["parameters"], record["n_parameters"] = address(parameters), parameters.size
        if isinstance(scale, np.ndarray):
            record["scales"], record["shifts"] = self._keep(scale.copy()), self._keep(np.asarray(shift).copy())
        else:
            record["scale"], record["shift"] = scale, shift
        if mean is not None and std is not None:
            record["mean"], record["std"] = (self._keep(_of_outputs(plan, name, A)) for name, A in (("mean", mean), ("std", std)))
        record["run"] = task_address(run_bound, plan.dtype)
        count = max(4, 2 * max_threads())
        self.slots = new_array(SLOT, count)
        record["slots"], record["n_slots"] = address(self.slots), count
        for slot in self.slots:
            slot["one"], slot["some"] = self._bind(1), self._bind(BLOCK_ROWS)
        self.where = address(record)
        _alive.add(self)

    def _keep(self, thing: Any) -> int:
        self._kept.append(thing)
        return address(thing)

    def _bind(self, rows: int) -> int:
        """Bind a program for so many rows to memory of its own; return the address of the record that says where."""
        plan, program = self.plan, emit_prediction(self.plan, self.parameters, rows, False)
        inputs = aligned_zeros(program.panels(plan.widths[0]) * program.jump, plan.dtype)
        outputs = aligned_zeros(rows * self.n_outputs, plan.dtype)
        program.now["inputs"], program.now["out"] = address(inputs), address(outputs)
        bound = BOUND.new(phases=program.where, count=program.marks["end"], now=address(program.now), jump=program.jump * program.itemsize)
        bound["inputs"], bound["outputs"] = address(inputs), address(outputs)
        last: Any = plan.last_activation
        bound["finish"] = task_address(FINISH[last], plan.dtype) if last in FINISH else 0
        self._kept.append((program, inputs, outputs))
        return self._keep(bound)

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs for a row, or some, to `out`, as `net.predict` returns them.

        Parameters
        ----------
        x : array of shape (n_features,) or (n_rows, n_features), any real dtype and layout
            What is not finite gives what it gives.
        out : float array of shape (n_outputs,) or (n_rows, n_outputs), any layout, overwritten
            Of the network's dtype, or float64. Shares no memory with x.

        Raises
        ------
        TypeError, ValueError
            If an array does not fit. In nopython code the sentence is literal.
        """
        predict(self, x, out)

    def __reduce__(self) -> Any:
        return functools.partial(CompiledNetwork, **self._options), (self.plan, self.parameters)

    def __repr__(self) -> str:
        return f"CompiledNetwork({self.n_features} features, {self.n_outputs} outputs, {self.dtype})"


def _of_outputs(plan: Plan, name: str, values: Array) -> Array:
    """Return a copy of one number for each output."""
    array = np.array(values, np.float64)
    if array.shape != (plan.widths[-1],):
        raise ValueError(f"{name} must have the shape ({plan.widths[-1]},); got {array.shape}.")
    return array


_alive: weakref.WeakSet[CompiledNetwork] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Give back the workspaces of calls of other threads, which are not here."""
    for one in _alive:
        one.slots["taken"] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# What Numba knows of it.


class CompiledNetworkType(types.Type):
    """The type of a `CompiledNetwork` of a dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"CompiledNetwork({dtype}, kernels {FINGERPRINT[:16]})")


@typeof_impl.register(CompiledNetwork)
def _typeof(value: CompiledNetwork, context: Any) -> CompiledNetworkType:
    return CompiledNetworkType(DTYPES[value.dtype])


@register_model(CompiledNetworkType)
class _Model(models.StructModel):
    """Addresses, none of which is counted: the Python object that was passed outlives the call."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        members = [("where", types.intp), ("meminfo", types.voidptr), ("parent", types.voidptr), ("object", types.voidptr)]
        super().__init__(dmm, fe_type, members)


def _flat(kind: CompiledNetworkType) -> Any:
    return types.Array(kind.dtype, 1, "C")


@unbox(CompiledNetworkType)
def _unbox(kind: Any, obj: Any, c: Any) -> Any:
    model = cgutils.create_struct_proxy(kind)(c.context, c.builder)
    where = c.pyapi.object_getattr_string(obj, "where")
    model.where = c.pyapi.long_as_longlong(where)
    c.pyapi.decref(where)
    parameters = c.pyapi.object_getattr_string(obj, "parameters")
    native = c.unbox(_flat(kind), parameters)
    c.pyapi.decref(parameters)
    array = c.context.make_array(_flat(kind))(c.context, c.builder, native.value)
    model.meminfo, model.parent = array.meminfo, array.parent
    model.object = obj
    return NativeValue(model._getvalue(), native.is_error, lambda: c.context.nrt.decref(c.builder, _flat(kind), native.value))


@box(CompiledNetworkType)
def _box(kind: Any, value: Any, c: Any) -> Any:
    obj = cgutils.create_struct_proxy(kind)(c.context, c.builder, value=value).object
    c.pyapi.incref(obj)
    return obj


@intrinsic
def where_of(typingctx: Any, model: Any) -> Any:
    """Return the address of a model's record."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.create_struct_proxy(model)(context, builder, value=args[0]).where

    return types.intp(model), codegen


@intrinsic
def _vector(typingctx: Any, model: Any, where: Any, size: Any) -> Any:
    """Return the parameters of a model as an array that keeps them alive."""
    kind = _flat(model)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, itemsize = cgutils.create_struct_proxy(model)(context, builder, value=args[0]), context.get_constant(types.intp, kind.dtype.bitwidth // 8)
        array = context.make_array(kind)(context, builder)
        data = builder.inttoptr(args[1], array.data.type)
        arrayobj.populate_array(array, data, [args[2]], [itemsize], itemsize, value.meminfo, builder.bitcast(value.parent, array.parent.type))
        return imputils.impl_ret_borrowed(context, builder, kind, array._getvalue())

    return kind(model, types.intp, types.intp), codegen


@overload_attribute(CompiledNetworkType, "parameters")
def _parameters(model):
    return lambda model: _vector(model, MODEL(where_of(model)).parameters, MODEL(where_of(model)).n_parameters)


@overload_attribute(CompiledNetworkType, "n_features")
def _n_features(model):
    return lambda model: MODEL(where_of(model)).n_in


@overload_attribute(CompiledNetworkType, "n_outputs")
def _n_outputs(model):
    return lambda model: MODEL(where_of(model)).n_out


@intrinsic
def _tag(typingctx: Any, model: Any) -> Any:
    """Return the null pointer that says the dtype of a model."""
    kind = types.CPointer(model.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant_null(kind)

    return kind(model), codegen


def _is_read(array: Any) -> bool:
    return isinstance(array, types.Array) and (array.dtype in FLOATS or isinstance(array.dtype, (types.Integer, types.Boolean)))


@overload_method(CompiledNetworkType, "predict")
def _predict(model, x, out):
    if not _is_read(x) or x.ndim not in (1, 2):
        raise errors.TypingError(f"predict: x must be a row or a matrix of real numbers; got {x}.")
    if not isinstance(out, types.Array) or out.ndim != x.ndim or out.dtype not in {model.dtype, types.float64} or not out.mutable:
        raise errors.TypingError(f"predict: out must be a writeable array of {x.ndim} dimensions, {model.dtype} or float64; got {out}.")

    def row(model, x, out):
        M = MODEL(where_of(model))
        if x.shape[0] != M.n_in:
            raise ValueError("predict: x must have a number for each feature")
        if out.shape[0] != M.n_out:
            raise ValueError("predict: out must have room for each output")
        place, to = address_of(x), address_of(out)
        predict_rows(_tag(model), where_of(model), array_pointer(x, 0), place, 0, x.strides[0], array_pointer(out, 0), to, 0, out.strides[0], 1)

    def rows(model, x, out):
        M = MODEL(where_of(model))
        if x.shape[1] != M.n_in:
            raise ValueError("predict: x must have a column for each feature")
        if out.shape[0] != x.shape[0] or out.shape[1] != M.n_out:
            raise ValueError("predict: out must have a row for each row of x and a column for each output")
        (x_row, x_column), (out_row, out_column), place, to = x.strides, out.strides, address_of(x), address_of(out)
        source, target, n_rows = array_pointer(x, 0), array_pointer(out, 0), x.shape[0]
        predict_rows(_tag(model), where_of(model), source, place, x_row, x_column, target, to, out_row, out_column, n_rows)

    return row if x.ndim == 1 else rows


@kernel
def predict(model, x, out):
    """`model.predict`, called from Python."""
    model.predict(x, out)
