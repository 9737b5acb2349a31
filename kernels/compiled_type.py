"""What Numba knows of a network inside compiled code: a type for each dtype, with its attributes and methods.

To Numba it is an address, whatever the network is: another shape, depth or activation compiles nothing anew. The type's name holds
the fingerprint of the kernels' sources, so functions that users cache on the disk are compiled anew where the kernels inside them have
changed, which Numba would not notice.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils, errors, imputils
from numba.extending import NativeValue, box, intrinsic, models, overload_attribute, overload_method, register_model, unbox

from ._arrays import overlap
from ._cache import FINGERPRINT
from ._checks import is_read
from ._jit import kernel
from ._tile import address_of, pointer
from .workspaces import MODEL, gradient_rows, predict_rows

__all__ = ["CompiledNetworkType", "loss_and_gradient", "predict"]


class CompiledNetworkType(types.Type):
    """The type of a `CompiledNetwork` of a dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"CompiledNetwork({dtype}, kernels {FINGERPRINT[:16]})")


@register_model(CompiledNetworkType)
class _Model(models.StructModel):
    """Addresses, and a count of who holds the Python object, to which all of them belong: a list of Numba's may be the last one."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        owner = types.MemInfoPointer(types.voidptr)
        members = [("where", types.intp), ("owner", owner), ("parameters", types.voidptr), ("object", types.voidptr)]
        super().__init__(dmm, fe_type, members)


@unbox(CompiledNetworkType)
def _unbox(kind: Any, obj: Any, c: Any) -> Any:
    model = cgutils.create_struct_proxy(kind)(c.context, c.builder)
    where = c.pyapi.object_getattr_string(obj, "where")
    model.where = c.pyapi.long_as_longlong(where)
    c.pyapi.decref(where)
    model.parameters = c.pyapi.object_getattr_string(obj, "parameters")
    c.pyapi.decref(model.parameters)
    model.owner = c.pyapi.nrt_meminfo_new_from_pyobject(model.parameters, obj)
    model.object = obj
    return NativeValue(model._getvalue())


@box(CompiledNetworkType)
def _box(kind: Any, value: Any, c: Any) -> Any:
    obj = cgutils.create_struct_proxy(kind)(c.context, c.builder, value=value).object
    c.pyapi.incref(obj)
    c.context.nrt.decref(c.builder, kind, value)
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
    kind = types.Array(model.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        from numba.np import arrayobj  # loads what whoever finds all kernels on the disk never needs

        value, itemsize = cgutils.create_struct_proxy(model)(context, builder, value=args[0]), context.get_constant(types.intp, kind.dtype.bitwidth // 8)
        array = context.make_array(kind)(context, builder)
        data = builder.inttoptr(args[1], array.data.type)
        arrayobj.populate_array(array, data, [args[2]], [itemsize], itemsize, value.owner, builder.bitcast(value.parameters, array.parent.type))
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


@overload_method(CompiledNetworkType, "predict")
def _predict(model, x, out):
    if not is_read(x, 1, 2):
        raise errors.TypingError(f"predict: x must be a row or a matrix of real numbers; got {x}.")
    if not isinstance(out, types.Array) or out.ndim != x.ndim or out.dtype not in {model.dtype, types.float64} or not out.mutable:
        raise errors.TypingError(f"predict: out must be a writeable array of {x.ndim} dimensions, {model.dtype} or float64; got {out}.")

    several = x.ndim == 2
    a_column = f"predict: x must have a {'column' if several else 'number'} for each feature"
    a_place = f"predict: out must have {'a row for each row of x and a column' if several else 'room'} for each output"

    def predict(model, x, out):
        M, n_rows = MODEL(where_of(model)), x.shape[0] if several else 1
        if x.shape[-1] != M.n_in:
            raise ValueError(a_column)
        if out.shape[-1] != M.n_out or (several and out.shape[0] != n_rows):
            raise ValueError(a_place)
        if overlap(x, out) or overlap(model.parameters, out):
            raise ValueError("predict: out must share no memory with x and the parameters")
        source, target, (place, to) = pointer(x, 0), pointer(out, 0), (address_of(x), address_of(out))
        predict_rows(_tag(model), where_of(model), source, place, x.strides[0], x.strides[-1], target, to, out.strides[0], out.strides[-1], n_rows)

    return predict


@kernel
def predict(model, x, out):
    """`model.predict`, called from Python."""
    model.predict(x, out)


@overload_method(CompiledNetworkType, "loss_and_gradient")
def _loss_and_gradient(model, X, y, gradient, weights=None):
    if not is_read(X, 2):
        raise errors.TypingError(f"loss_and_gradient: X must be a matrix of real numbers; got {X}.")
    if not is_read(y, 1, 2):
        raise errors.TypingError(f"loss_and_gradient: y must be labels or targets, an array of one or two dimensions; got {y}.")
    if not isinstance(gradient, types.Array) or (gradient.ndim, gradient.dtype, gradient.layout, gradient.mutable) != (1, model.dtype, "C", True):
        raise errors.TypingError(f"loss_and_gradient: gradient must be a writeable flat {model.dtype} array, contiguous; got {gradient}.")
    unweighted = weights is None or isinstance(weights, (types.NoneType, types.Omitted))
    if not unweighted and not is_read(weights, 1):
        raise errors.TypingError(f"loss_and_gradient: weights must be a number for each row, or None; got {weights}.")
    whole, flat = isinstance(y.dtype, (types.Integer, types.Boolean)), y.ndim == 1

    def loss_and_gradient(model, X, y, gradient, weights=None):
        M, rows, labels = MODEL(where_of(model)), X.shape[0], False
        if M.batch == 0:
            raise ValueError("loss_and_gradient: the model must be made with a batch_size, the most rows of a call")
        if X.shape[1] != M.n_in:
            raise ValueError("loss_and_gradient: X must have a column for each feature")
        if rows < 1 or rows > M.batch:
            raise ValueError("loss_and_gradient: X must have at least one row, and no more than the batch_size of the model")
        if y.shape[0] != rows:
            raise ValueError("loss_and_gradient: y must have as many rows as X")
        if gradient.size != M.n_parameters:
            raise ValueError("loss_and_gradient: gradient must have the size of the model's parameters")
        if overlap(X, gradient) or overlap(y, gradient) or overlap(model.parameters, gradient):
            raise ValueError("loss_and_gradient: gradient must share no memory with X, y, weights and the parameters")
        if flat and M.takes_labels != 0:
            if not whole:
                raise ValueError("loss_and_gradient: y must be whole numbers where it holds labels")
            labels = True
            for label in y.flat:
                if label < 0 or label >= M.n_out:
                    raise ValueError("loss_and_gradient: y must hold labels of the network, 0 to n_outputs - 1")
        elif (1 if flat else y.shape[-1]) != M.n_out:
            raise ValueError("loss_and_gradient: y must have a column for each output")
        places, tags, step = (address_of(X), address_of(y), address_of(gradient)), (pointer(X, 0), pointer(y, 0)), 0
        if unweighted:
            weight_tag, weight_place = pointer(y, 0), 0
        else:
            if weights.size != rows:
                raise ValueError("loss_and_gradient: weights must have a number for each row of X")
            if overlap(weights, gradient):
                raise ValueError("loss_and_gradient: gradient must share no memory with X, y, weights and the parameters")
            weight_tag, weight_place, step = pointer(weights, 0), address_of(weights), weights.strides[0]
        return gradient_rows(
            _tag(model),
            where_of(model),
            tags[0],
            places[0],
            X.strides[0],
            X.strides[1],
            tags[1],
            places[1],
            y.strides[0],
            y.strides[-1],
            labels,
            weight_tag,
            weight_place,
            step,
            places[2],
            rows,
        )

    return loss_and_gradient


@kernel
def loss_and_gradient(model, X, y, gradient, weights):
    """`model.loss_and_gradient`, called from Python."""
    return model.loss_and_gradient(X, y, gradient, weights)
