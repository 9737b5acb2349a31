"""The door of whole networks: what they are given is checked or normalized here, once, and the inside trusts it.

The functions take plans, objectives and arrays as they come from the caller and know nothing of what is done with
them. What could read or write outside an array is checked at every call: a prediction of one row can pay a microsecond
or two, a chunk of minibatches a pass over its row numbers and labels.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ._factory import Activation, Loss, Rule
from ._jit import has_mask, max_threads
from .activations import ACTIVATIONS, CODES, IDENTITY, LOG_SOFTMAX, ROW_ACTIVATIONS, SOFTMAX
from .csr import CSR, REAL
from .losses import FUSED, GAUSSIAN_NLL, HUBER, LOSSES, OF_LABELS, ROW_LOSSES, parameters_of
from .optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from .objective import Objective
    from .plan import Plan

Array = NDArray[Any]
INT64, FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)
FLOATS: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32), "float64": FLOAT64}
# The last activations that a loss of probabilities takes: those that give them, or the identity, for logits.
FITTING = {loss: (*activations, IDENTITY) for loss, activations in FUSED.items()}


def set_fields(one: Any, **values: Any) -> None:
    """Write checked values to the fields of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(one, name, value)


# Numbers.


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number within bounds as Python's int."""
    try:
        number = operator.index(None if isinstance(value, bool) else value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {_shown(value)}.") from None
    if number < least or (most is not None and number > most):
        below = "" if most is None else f" and at most {most}"
        raise ValueError(f"{name} must be at least {least}{below}; got {number}.")
    return number


def number(name: str, value: Any) -> float:
    """Return a finite number as Python's float."""
    if isinstance(value, bool) or not isinstance(value, (float, numbers.Real)):
        raise TypeError(f"{name} must be a number; got {_shown(value)}.")
    converted = float(value)
    if not -np.inf < converted < np.inf:
        raise ValueError(f"{name} must be finite; got {converted}.")
    return converted


def above_zero(name: str, value: Any) -> float:
    """Return a number as Python's float that is above 0 and finite, also in float32."""
    converted = number(name, value)
    if not converted <= float(np.finfo(np.float32).max) or np.float32(converted) <= 0:
        raise ValueError(f"{name} must be above 0 and finite, also in float32; got {converted}.")
    return converted


def bound(plan: Plan, name: str, value: Any) -> float:
    """Return a finite number that is above 0 in the plan's dtype as Python's float, or for None infinity."""
    if value is None:
        return np.inf
    converted = number(name, value)
    if not (converted > 0 and FLOATS[plan.dtype].type(converted) > 0):
        raise ValueError(f"{name} must be None or above 0 in {plan.dtype}; got {converted}.")
    return converted


def yes_or_no(name: str, value: Any) -> bool:
    """Return True or False, also where they are NumPy's, or 1 and 0."""
    if not isinstance(value, (bool, np.bool_, int)) or value not in (0, 1):
        raise TypeError(f"{name} must be True or False; got {_shown(value)}.")
    return bool(value)


def flags(name: str, value: Any, count: int) -> tuple[bool, ...]:
    """Return so many truth values."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__") or len(value) != count:
        raise TypeError(f"{name} must be {count} of True and False; got {_shown(value)}.")
    return tuple(yes_or_no(name, one) for one in value)


def is_bfloat16(dtype: Any) -> bool:
    """Return whether this names bfloat16, or is what packages such as ml_dtypes have for it: a type, and a dtype of NumPy."""
    return bool(getattr(dtype, "__name__", str(dtype)) == "bfloat16")


def float_dtype(dtype: Any, choices: str = "'float32' or 'float64'") -> np.dtype[Any]:
    """Return float32 or float64, the only dtypes that networks calculate in; `choices` is what the caller takes."""
    if isinstance(dtype, str) and dtype in FLOATS:  # a dtype takes ten times as long to say its name
        return FLOATS[dtype]
    try:
        name = "" if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in FLOATS:
        raise ValueError(f"dtype must be {choices}; got {_shown(dtype)}.")
    return FLOATS[name]


def check_threads(n_threads: Any) -> None:
    """Raise unless there are so many threads."""
    if n_threads != 1:
        whole("n_threads", n_threads, 1, max_threads())


def _is_array(value: Any) -> TypeGuard[Array]:
    """Return whether this is an array all numbers of which count."""
    return isinstance(value, np.ndarray) and not has_mask(value)


def _shown(value: Any) -> str:
    """Return what a message says of a value: dtype and shape of an array, else a short form of it."""
    if isinstance(value, np.ndarray):
        return f"{'masked ' * has_mask(value)}{value.dtype} {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# Plans and objectives.


def _entries(name: str, value: Any) -> tuple[Any, ...]:
    try:
        return tuple(value)
    except TypeError:
        raise TypeError(f"{name} must be a sequence with an entry for each layer; got {_shown(value)}.") from None


def plan_fields(plan: Plan, kinds: tuple[type, ...]) -> dict[str, Any]:
    """Return the fields of a plan as plain tuples of Python's numbers; see `kernels.Plan`."""
    widths = tuple(whole("widths", width, 1) for width in _entries("widths", plan.widths))
    codes, rates = _entries("activations", plan.activations), _entries("dropouts", plan.dropouts)
    n_layers = len(widths) - 1
    if n_layers < 1 or len(codes) != n_layers or len(rates) != n_layers:
        got = f"{codes} and {rates} for widths {widths}"
        raise ValueError(f"activations and dropouts must have one entry a layer; got {got}.")
    activations = tuple(_code("activations", code, CODES, Activation) for code in codes)
    if any(code in (SOFTMAX, LOG_SOFTMAX) for code in activations[:-1]):
        raise ValueError(f"activations must have softmax at the last layer only; got {activations}.")
    fields: dict[str, Any] = {"widths": widths, "activations": activations}
    fields["dropouts"] = tuple(dropout_rate("dropouts", rate) for rate in rates)
    fields["dtype"] = float_dtype(plan.dtype).name
    fields["bfloat16"] = yes_or_no("bfloat16", plan.bfloat16)
    if fields["bfloat16"] and fields["dtype"] != "float32":
        raise ValueError(f"dtype must be float32 where products are of bfloat16; got {fields['dtype']}.")
    fields["seed"] = whole("seed", plan.seed, 0, 2**63 - 1)
    trained = _of_layers("trained", plan.trained, n_layers, (True, True))
    penalties = _of_layers("penalties", plan.penalties, n_layers, (0.0,) * 4)
    fields["trained"] = tuple(tuple(yes_or_no("trained", part) for part in parts) for parts in trained)
    fields["penalties"] = tuple(tuple(_penalty(factor) for factor in factors) for factors in penalties)
    fields["others"] = tuple(_other(entry, widths, kinds) for entry in _entries("others", plan.others))
    _check_blocks([layer for _, layer in fields["others"]])
    if activations[-1] in (SOFTMAX, LOG_SOFTMAX) and any(place == n_layers for place, _ in fields["others"]):
        raise ValueError(f"others must not follow a last layer with softmax; got {fields['others']}.")
    return fields


def _other(entry: Any, widths: tuple[int, ...], kinds: tuple[type, ...]) -> tuple[int, Any]:
    """Return the place and the layer of an entry of `others`."""
    parts = _entries("others", entry)
    if len(parts) != 2 or not isinstance(parts[1], kinds):
        *first, last = (kind.__name__ for kind in kinds)
        raise TypeError(f"others must be pairs of a place and a {', '.join(first)} or {last}; got {_shown(entry)}.")
    place = whole("others", parts[0], 0, len(widths) - 1)
    layer: Any = parts[1]
    if layer.n != widths[place]:
        raise ValueError(f"others must have the {widths[place]} columns of their place {place}; got {layer}.")
    return place, layer


def _check_blocks(layers: list[Any]) -> None:
    """Raise unless every residual block ends, with as many columns as it began with."""
    begun: list[Any] = []
    for layer in layers:
        if type(layer).__name__ == "Fork":
            begun.append(layer)
        elif type(layer).__name__ == "Join" and (not begun or begun.pop().n != layer.n):
            raise ValueError(f"others must have before {layer} a Fork of as many columns; got {layers}.")
    if begun:
        raise ValueError(f"others must have a Join for {begun[-1]}; got {layers}.")


def _code(name: str, value: Any, codes: Collection[int], kind: type) -> Any:
    """Return one of the codes of a table as Python's int, or a record of one's own."""
    if isinstance(value, kind):
        return value
    code = whole(name, value, min(codes))
    if code not in codes:
        raise ValueError(f"{name} must be one of the codes {', '.join(map(str, sorted(codes)))}; got {code}.")
    return code


def dropout_rate(name: str, rate: Any) -> float | None:
    """Return a rate as Python's float, or None for one that is given step by step."""
    if rate is None:
        return None
    value = number(name, rate)
    if value < 0 or round(value * 2**32) >= 2**32:  # such a share of the random words is dropped
        raise ValueError(f"{name} must lie in [0, 1), more than 2**-33 below 1; got {value}.")
    return value


def _penalty(factor: Any) -> float:
    value = number("penalties", factor)
    if value < 0:
        raise ValueError(f"penalties must be at least 0; got {value}.")
    return value


def _of_layers(name: str, value: Any, n_layers: int, default: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    """Return an entry for each layer, of as many parts as the default, which stands for none."""
    entries = tuple(_entries(name, entry) for entry in _entries(name, value)) or (default,) * n_layers
    if len(entries) != n_layers or any(len(entry) != len(default) for entry in entries):
        raise ValueError(f"{name} must have an entry such as {default} for each of {n_layers} layers; got {entries}.")
    return entries


def objective_fields(objective: Objective) -> dict[str, Any]:
    """Return the fields of an objective as Python's numbers; see `kernels.Objective`."""
    fields: dict[str, Any] = {"outputs_scale": number("outputs_scale", objective.outputs_scale)}
    fields["scale"], fields["shift"] = affine(objective.scale, objective.shift)
    fields["loss"] = _code("loss", objective.loss, (*ROW_LOSSES, *LOSSES), Loss)
    fields["parameters"] = tuple(number("parameters", value) for value in _entries("parameters", objective.parameters))
    defaults = parameters_of(fields["loss"])
    if len(fields["parameters"]) not in (0, len(defaults)):
        raise ValueError(f"parameters must be {len(defaults)} numbers for this loss, or none; got {fields['parameters']}.")
    if fields["loss"] == HUBER and not all(delta > 0 for delta in fields["parameters"]):
        raise ValueError(f"parameters must be a delta above 0 for the Huber loss; got {fields['parameters']}.")
    for name in ("mean_rows", "weighted_mean"):
        fields[name] = yes_or_no(name, getattr(objective, name))
    return fields


def affine(scale: Any, shift: Any) -> tuple[Any, Any]:
    """Return scale and shift, both as Python's floats or both as float64 arrays that the gather reads."""
    if not _is_array(scale) and not _is_array(shift):
        return number("scale", scale), number("shift", shift)
    for name, value in (("scale", scale), ("shift", shift)):
        if not _is_array(value) or value.dtype != FLOAT64 or value.ndim != 1:
            raise TypeError(f"{name} must be a float64 array (n_features,) where the other one is; got {_shown(value)}.")
        if not (value.flags.c_contiguous and value.size == np.size(scale) and np.isfinite(value).all()):
            raise ValueError(f"{name} must be contiguous, finite and as long as the other one; got {_shown(value)}.")
    return scale, shift


def check_affine(plan: Plan, scale: Any) -> None:
    """Raise unless there is one number for all features or one for each."""
    if _is_array(scale) and scale.shape != (plan.widths[0],):
        raise ValueError(f"scale and shift must have the shape ({plan.widths[0]},); got {scale.shape}.")


def check_fit(plan: Plan, objective: Objective) -> None:
    """Raise unless the loss can judge what the last layer gives.

    Cross-entropy takes softmax, log-softmax, or the identity: then the outputs are logits. Binary cross-entropy takes
    sigmoid or the identity. The others take all but softmax and log-softmax, of which a network keeps the logits only.
    """
    _kind("plan", plan, "Plan")
    _kind("objective", objective, "Objective")
    check_affine(plan, objective.scale)
    last: Any = plan.last_activation
    loss: Any = objective.loss
    if last not in FITTING[loss] if loss in FITTING else last in (SOFTMAX, LOG_SOFTMAX):
        activation = (ACTIVATIONS | ROW_ACTIVATIONS).get(last, last).name
        raise ValueError(f"loss must fit the last activation, {activation}; got {(ROW_LOSSES | LOSSES).get(loss, loss).name}.")
    if loss == GAUSSIAN_NLL and plan.widths[-1] % 2:
        raise ValueError(f"widths must end with an even number for gaussian_nll, means and logarithms of variances; got {plan.widths[-1]}.")


def check_layer(plan: Plan, layer: Any) -> int:
    """Return the number of a layer."""
    return whole("layer", layer, 0, plan.n_layers - 1)


def _kind(name: str, value: Any, kind: str) -> None:
    """Raise unless a value is of a class; by its name, since the modules of these classes import this one."""
    if type(value).__name__ != kind and all(parent.__name__ != kind for parent in type(value).__mro__):
        raise TypeError(f"{name} must be a kernels.{kind}; got {_shown(value)}.")


# Arrays.


def check_parameters(plan: Plan, parameters: Any, written: bool = False) -> None:
    """Raise unless this is the flat vector of a plan, contiguous and aligned; writeable where it is to be written."""
    _kind("plan", plan, "Plan")
    size = plan.parameters_size
    if not _is_array(parameters) or parameters.dtype != FLOATS[plan.dtype]:
        raise TypeError(f"parameters must be a flat {plan.dtype} array of {size}; got {_shown(parameters)}.")
    if parameters.shape != (size,):
        raise ValueError(f"parameters must be a flat {plan.dtype} array of {size}; got {_shown(parameters)}.")
    flags = parameters.flags
    if not (flags.carray if written else flags.c_contiguous and flags.aligned):
        wanted = "contiguous, aligned and writeable" if written else "contiguous and aligned"
        got = f"contiguous {flags.c_contiguous}, aligned {flags.aligned}, writeable {flags.writeable}"
        raise ValueError(f"parameters must be {wanted}; got {got}.")


def check_point(plan: Plan, parameters: Any) -> None:
    """Raise unless this can be copied to a flat vector of the plan: any real dtype and layout, but no other shape."""
    if not _is_array(parameters) or parameters.dtype not in REAL:
        raise TypeError(f"parameters must be an array of {plan.parameters_size} numbers; got {_shown(parameters)}.")
    if parameters.shape != (plan.parameters_size,):
        raise ValueError(f"parameters must have the shape ({plan.parameters_size},); got {parameters.shape}.")


def check_arrays(shapes: dict[str, tuple[int, ...]], layer: int, values: Any) -> None:
    """Raise unless these are the arrays of a layer."""
    for (name, shape), value in zip(shapes.items(), values, strict=True):
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name} must be an array of real numbers; got {_shown(array)}.")
        if array.shape != shape:
            raise ValueError(f"{name} of layer {layer} must have the shape {shape}; got {array.shape}.")


def check_takes_stored(plan: Plan, shift: Any) -> None:
    """Raise unless rows of which only some numbers are stored can be read as they are."""
    if not plan.takes_stored:
        raise ValueError(f"rows in CSR form must be for a plan that takes_stored; got one whose layers begin with {plan.layers[0].layer}.")
    if np.any(np.asarray(shift) != 0):
        raise ValueError("shift must be 0 for rows in CSR form, whose zeros stay zeros; got another number.")


def check_rows(plan: Plan, X: Any, stored: bool = False) -> None:
    """Raise unless these are rows that the gather can convert, or with `stored` rows in CSR form."""
    if stored:
        if not isinstance(X, CSR):
            raise TypeError(f"X must be kernels.CSR; got {_shown(X)}.")
    elif (type(X) is not np.ndarray and not _is_array(X)) or X.dtype not in REAL:  # the first saves a call
        wanted = "an array of real numbers, integers or floats of 32 or 64 bits in the byte order of this machine"
        raise TypeError(f"X must be {wanted}; got {_shown(X)}.")
    if X.ndim != 2 or X.shape[1] != plan.widths[0]:
        raise ValueError(f"X must have the shape (n_rows, {plan.widths[0]}); got {X.shape}.")


def check_rows_of_either(plan: Plan, X: Any, shift: Any) -> bool:
    """Check rows as they come; return whether they are in CSR form."""
    stored = isinstance(X, CSR)
    check_rows(plan, X, stored)
    if stored:
        check_takes_stored(plan, shift)
    return stored


def check_targets(plan: Plan, objective: Objective, y: Any, n_rows: int) -> None:
    """Raise unless y has a row of targets for each row, or a label, where the loss takes some.

    `check_labels` looks at the labels themselves.
    """
    n_outputs = plan.widths[-1]
    may_be_labels = objective.loss in OF_LABELS
    if _is_array(y) and y.ndim == 1 and may_be_labels:
        if y.dtype != INT64:
            raise TypeError(f"y must hold int64 labels; got {_shown(y)}. Use y.astype(np.int64).")
        if y.shape[0] != n_rows:
            raise ValueError(f"y must have a label for each of {n_rows} rows; got {y.shape}.")
        return
    if not _is_array(y) or y.dtype not in REAL:
        labels = "int64 labels or " if may_be_labels else ""
        raise TypeError(f"y must be an array of {labels}real targets; got {_shown(y)}.")
    if y.shape != (n_rows, n_outputs):
        labels = f"({n_rows},) or " if may_be_labels else ""
        raise ValueError(f"y must have the shape {labels}({n_rows}, {n_outputs}); got {y.shape}.")


def check_labels(plan: Plan, labels: NDArray[np.int64]) -> None:
    """Raise if a label is not that of an output; no labels are none that is wrong."""
    if _beyond(labels, plan.widths[-1]):
        _wrong_entry(ValueError, "y must hold labels from", labels, plan.widths[-1])


def check_order(order: Any, n_rows: int) -> None:
    """Raise unless these are row numbers."""
    if not _is_array(order) or order.dtype != INT64 or order.ndim != 1:
        raise TypeError(f"order must be an int64 array of one dimension; got {_shown(order)}.")
    if _beyond(order, n_rows):
        _wrong_entry(IndexError, "order must name rows of X,", order, n_rows)


def _beyond(values: NDArray[np.int64], end: int) -> bool:
    """Return whether a value does not lie from 0 to end - 1, in one pass: read without a sign, negative ones are large."""
    return values.size > 0 and int(np.maximum.reduce(values.view(np.uint64))) >= end


def _wrong_entry(error: type[Exception], what: str, values: NDArray[np.int64], end: int) -> NoReturn:
    position = int(((values < 0) | (values >= end)).argmax())
    raise error(f"{what} 0 to {end - 1}; got {values[position]} at position {position}.")


def check_row_weights(weights: Any, n_rows: int) -> None:
    """Raise unless this is a number for each row, or None."""
    if weights is None:
        return
    if not _is_array(weights) or weights.dtype != FLOAT64:
        raise TypeError(f"weights must be a float64 array; got {_shown(weights)}.")
    if weights.shape != (n_rows,):
        raise ValueError(f"weights must have one for each of {n_rows} rows; got {weights.shape}.")


def dropout_rates(rates: Any, count: int, n_steps: int) -> NDArray[np.float64]:
    """Return the rate of each step for each of so many dropouts."""
    if not _is_array(rates) or rates.dtype != FLOAT64 or rates.ndim != 2:
        raise TypeError(f"dropout_rates must be a float64 array of two dimensions; got {_shown(rates)}.")
    if rates.shape != (count, n_steps):
        raise ValueError(f"dropout_rates must have the shape ({count}, {n_steps}); got {rates.shape}.")
    if not (rates.min() >= 0 and np.round(rates.max() * 2**32) < 2**32):
        raise ValueError(f"dropout_rates must lie in [0, 1), more than 2**-33 below 1; got {rates.min()} to {rates.max()}.")
    return rates


def paces(plan: Plan, value: Any) -> list[Any]:
    """Return the paces of ranges of a plan's parameters in their order."""
    found = sorted(_entries("paces", value), key=lambda pace: pace.first)
    for before, pace in zip([None, *found], found):
        whole("first", pace.first, 0 if before is None else before.end, plan.parameters_size)
        whole("end", pace.end, pace.first, plan.parameters_size)
        if pace.first % plan.panel or pace.end % plan.panel:
            raise ValueError(f"paces must be of whole panels of {plan.panel}; got {pace}.")
        if number("factor", pace.factor) < 0:
            raise ValueError(f"factor must be at least 0; got {pace.factor}.")
    return found


def largest_norms(plan: Plan, value: Any) -> list[tuple[int, float]]:
    """Return dense layers and the norms of their units, above 0."""
    return [(check_layer(plan, layer), bound(plan, "largest_norms", norm)) for layer, norm in _entries("largest_norms", value)]


def check_rates(name: str, rates: Any, n_steps: int) -> None:
    """Raise unless this is a number for each step."""
    if not _is_array(rates) or rates.dtype != FLOAT64 or rates.ndim != 1:
        raise TypeError(f"{name} must be a float64 array of one dimension; got {_shown(rates)}.")
    if rates.size < n_steps:
        raise ValueError(f"{name} must have one for each of {n_steps} steps; got {rates.size}.")


# What each function is given.


def check_prediction(plan: Plan, X: Any, n_threads: Any, scale: Any, shift: Any) -> None:
    """See `kernels.predict`; the parameters are looked at where they are given."""
    check_rows_of_either(plan, X, shift)
    if scale.__class__ is not float or shift.__class__ is not float:
        affine(scale, shift)
        check_affine(plan, scale)
    check_threads(n_threads)


def check_data(plan: Plan, objective: Objective, X: Any, y: Any, n_threads: Any, weights: Any = None) -> bool:
    """Check what evaluation and the loss of all rows share: rows, at least one, and targets and weights that fit them; return whether rows are in CSR form."""
    check_fit(plan, objective)
    stored = check_rows_of_either(plan, X, objective.shift)
    if len(X) == 0:
        raise ValueError(f"X must have at least one row; got {X.shape}.")
    check_targets(plan, objective, y, len(X))
    if y.ndim == 1:
        check_labels(plan, y)
    check_row_weights(weights, len(X))
    check_threads(n_threads)
    return stored


def check_trainer(plan: Plan, parameters: Any, batch_size: Any, objective: Objective, rule: Any, n_threads: Any) -> None:
    """See `kernels.Trainer`; the rule looks at its numbers."""
    check_parameters(plan, parameters, written=True)
    whole("batch_size", batch_size, 1)
    check_fit(plan, objective)
    _code("rule", rule, OPTIMIZERS, Rule)
    check_threads(n_threads)


def check_chunk(
    plan: Plan,
    objective: Objective,
    batch_size: int,
    X: Any,
    y: Any,
    order: Any,
    first_step: Any,
    rates: Any,
    weights: Any,
    repeats: Any,
    penalty_scales: Any,
    stored: bool,
) -> None:
    """See `kernels.Trainer.train`; the labels are looked at where they are gathered."""
    check_rows(plan, X, stored)
    check_targets(plan, objective, y, len(X))
    check_order(order, len(X))
    whole("first_step", first_step, 0, 2**53)
    n_steps = -(-order.size // batch_size) * whole("repeats", repeats, 0)
    check_rates("rates", rates, n_steps)
    if penalty_scales is not None:
        check_rates("penalty_scales", penalty_scales, n_steps)
    check_row_weights(weights, len(X))
