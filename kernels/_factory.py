"""One factory for elementwise kernels: from the formula of one element to the public kernel, the task and the line of a table.

What is made, from functions of one element that LLVM puts into the loop around them:

    elementwise    out = f(Z), a public kernel
    Activation     `forward`, `backward`: the public pair; `forward_task`, `backward_task`
    Loss           `kernel`, public; `task`
    Rule           `task`; `record`: the numbers of an optimizer under their names

Tasks are what a network calls by address: their arguments are a null pointer that says the dtype, and int64 sizes and addresses.
A user's functions take the same road: `custom_activation`, `custom_loss`, `custom_rule`.
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ._arrays import door
from ._bits import all_like, like
from ._checks import check_numbers
from ._elements import map_elements, map_pairs, sum_elements
from ._jit import Kernel, Task, helper, inline, kernel, named, task
from ._lazy import cached_property
from ._tile import BUFFER_LINES, PANEL_BYTES, add_line, address_of, array_at, line_buffer, prefetch, width_of, zero_of

__all__ = ["Activation", "Loss", "Rule", "custom_activation", "custom_loss", "custom_rule"]


def _makes(function: Any) -> str:
    """Return what a formula gives, from its docstring: "Return max(z, 0)." is max(z, 0)."""
    first = (function.__doc__ or "the formula").splitlines()[0]  # python -OO leaves no docstrings
    return first.removeprefix("Return ").removesuffix(".")


def _floats_reader(count: int) -> Any:
    """Return an intrinsic read(zero, address): `count` float64 numbers as a tuple in the dtype of zero."""

    @intrinsic
    def read(typingctx, zero, address):
        kind = types.UniTuple(zero, count) if count else types.Tuple(())

        def codegen(context, builder, sig, args):
            first = builder.inttoptr(args[1], context.get_value_type(types.CPointer(types.float64)))
            places = [builder.gep(first, [context.get_constant(types.intp, k)]) for k in range(count)]
            return context.make_tuple(builder, kind, [context.cast(builder, builder.load(place), types.float64, zero) for place in places])

        return kind(zero, types.intp), codegen

    return read


# Functions of arrays.


def elementwise(module: str, name: str, formula: Any, reference: str = "", cached: bool = True) -> Kernel:
    """Return the public kernel out = formula(Z)."""
    check, cited = door(name, "Z out", "out", replaces="Z"), f"\n    References\n    ----------\n    {reference}\n    " if reference else ""
    doc = f"""Compute out = {_makes(formula)}, element by element.

    Parameters
    ----------
    Z : float32 or float64 array of any shape
    out : array of that shape and dtype, overwritten
        May be Z; otherwise it shares no memory with it.

    Raises
    ------
    TypeError, ValueError
        If a dtype or shape is another, or out shares memory.
    {cited}"""

    def forward(Z, out):
        check((Z, out))
        map_elements(formula, Z, out)

    return kernel(named(forward, module, name, doc), cached)


def _backward_kernel(module: str, name: str, gradient: Any, what: str, cached: bool) -> Kernel:
    """Return the public kernel out = gradient(saved, dA)."""
    check = door(name, "saved dA out", "out", replaces="dA")
    doc = f"""Compute out = {_makes(gradient)}, element by element: a or z of saved, d of dA.

    Parameters
    ----------
    saved : float32 or float64 array of any shape
        {what}.
    dA : array of that shape and dtype
        Gradient with respect to the output.
    out : array of that shape and dtype, overwritten
        Gradient with respect to the input. May be dA; otherwise it shares no memory with the others.

    Raises
    ------
    TypeError, ValueError
        If a dtype or shape is another, or out shares memory.
    """

    def backward(saved, dA, out):
        check((saved, dA, out))
        map_pairs(gradient, saved, dA, out)

    return kernel(named(backward, module, name, doc), cached)


@functools.lru_cache(64)
def _forward_task(name: str, formula: Any, n_parameters: int, cached: bool) -> Task:
    """Return the task (tag, parameters, source, out, count): out = formula(source, *parameters) for numbers side by side; out may be the source."""
    read = _floats_reader(n_parameters)

    def forward(tag, parameters, source, out, count):
        zero = zero_of(tag)
        p, x, y = read(zero, parameters), array_at(zero, source, count), array_at(zero, out, count)
        if source != out:
            for i in range(count):
                y[i] = formula(x[i], *p)
        else:
            for i in range(count):
                y[i] = formula(y[i], *p)

    return Task(task(named(forward, __name__, f"{name}_forward_task"), cached))


@functools.lru_cache(64)
def _backward_task(name: str, gradient: Any, n_parameters: int, cached: bool) -> Task:
    """Return the task (tag, parameters, saved, d, count): d = gradient(saved, d, *parameters) for numbers side by side."""
    read = _floats_reader(n_parameters)

    def backward(tag, parameters, saved, d, count):
        zero = zero_of(tag)
        p, x, y = read(zero, parameters), array_at(zero, saved, count), array_at(zero, d, count)
        for i in range(count):
            y[i] = gradient(x[i], y[i], *p)

    return Task(task(named(backward, __name__, f"{name}_backward_task"), cached))


def _with(function: Any, parameters: tuple[float, ...]) -> Any:
    """Return a function of numbers that gives these parameters to another one, in the dtype of the numbers."""

    @inline
    def bound(*numbers):
        return function(*numbers, *all_like(numbers[0], parameters))

    return bound if parameters else function


@dataclass(frozen=True)
class Activation:
    """An elementwise activation: its formula and what is made of it.

    Attributes
    ----------
    name : str
    formula, gradient : function
        f(z, *parameters), and d * f' from what was saved: gradient(saved, d, *parameters).
    saves_input : bool
        Whether the way back needs the input; otherwise it needs the output.
    parameters : tuple of float
        Numbers of the function.
    values : ndarray
        The parameters, at the address that tasks are given.
    forward_task, backward_task : Task
        (tag, parameters, source, out, count), where out may be the source, and (tag, parameters, saved, d, count), in place.
    """

    name: str
    formula: Any
    gradient: Any
    saves_input: bool = False
    reference: str = ""
    parameters: tuple[float, ...] = ()
    own: tuple[Any, ...] = field(default=(), repr=False)  # a user's functions and settings, from which it is made again

    @cached_property
    def forward(self) -> Kernel:
        """The public kernel out = f(Z)."""
        return elementwise("kernels.activations", f"{self.name}_forward", _with(self.formula, self.parameters), self.reference, not self.own)

    @cached_property
    def backward(self) -> Kernel:
        """The public kernel out = dA * f'."""
        what = ("In" if self.saves_input else "Out") + f"put of `{self.name}_forward`"
        return _backward_kernel("kernels.activations", f"{self.name}_backward", _with(self.gradient, self.parameters), what, not self.own)

    @cached_property
    def forward_task(self) -> Task:
        """The way forth as a task."""
        return _forward_task(self.name, self.formula, len(self.parameters), not self.own)

    @cached_property
    def backward_task(self) -> Task:
        """The way back as a task."""
        return _backward_task(self.name, self.gradient, len(self.parameters), not self.own)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The parameters as an array, whose address tasks are given."""
        return np.array(self.parameters, np.float64)

    def __reduce__(self) -> Any:
        return (custom_activation, self.own) if self.own else (_built_in, ("activations", "ACTIVATIONS", self.name))


def _built_in(module: str, table: str, name: str) -> Any:
    """Return the line of a table that has a name."""
    import importlib

    records = getattr(importlib.import_module(f"kernels.{module}"), table).values()
    return next(record for record in records if record.name == name)


# Losses.


@inline
def sum_and_gradient(pair, A, T, parameters, scale, dA):
    """Return scale * sum(values) of a pair (value, derivative), with dA = scale * derivatives.

    The gradient's place takes the values first: so both loops vectorize, where a sum inside would keep them from it.
    """
    a, t, d = A.flat, T.flat, dA.flat
    for i in range(dA.size):
        d[i], _ = pair(a[i], t[i], *parameters)
    total = sum_elements(dA)
    for i in range(dA.size):
        _, slope = pair(a[i], t[i], *parameters)
        d[i] = like(slope, scale) * slope
    return scale * total


@functools.lru_cache(64)
def _loss_task(name: str, pair: Any, n_parameters: int, cached: bool) -> Task:
    """Return the task (tag, parameters, a, t, total, count, scale) for whole lines of a panel, side by side.

    total += the values, line after line; a = derivative * scale, which stands at an address as one float64. The values wait in
    lines on the stack: so the loop over the elements has no sum in it, and vectorizes.
    """
    read = _floats_reader(n_parameters)

    def loss(tag, parameters, a, t, total, count, scale):
        zero = zero_of(tag)
        width, p, factor = width_of(zero), read(zero, parameters), like(zero, array_at(0.0, scale, 1)[0])
        values = line_buffer(zero)
        for first in range(0, count, BUFFER_LINES * width):
            at, n = first * (PANEL_BYTES // width), min(count - first, BUFFER_LINES * width)
            x, y, v = array_at(zero, a + at, n), array_at(zero, t + at, n), array_at(zero, values, n)
            for i in range(n):
                v[i], slope = pair(x[i], y[i], *p)
                x[i] = slope * factor
            for line in range(n // width):
                add_line(zero, values + line * PANEL_BYTES, total)

    return Task(task(named(loss, __name__, f"{name}_loss_task"), cached))


@dataclass(frozen=True)
class Loss:
    """A loss that is a sum over elements: its formula and what is made of it.

    Attributes
    ----------
    name : str
    pair : function
        (value, derivative with respect to a) = pair(a, t, *parameters).
    parameters : tuple of float
        Numbers of the function, as in its default.
    values : ndarray
        The parameters, at the address that the task is given.
    task : Task
        (tag, parameters, a, t, total, count, scale): see `_loss_task`.
    """

    name: str
    pair: Any
    parameters: tuple[float, ...] = ()
    own: tuple[Any, ...] = field(default=(), repr=False)

    @cached_property
    def kernel(self) -> Kernel:
        """The public kernel of a loss without parameters, or with one; those of one's own are in it."""
        pair, check, numbers = self.pair, door(self.name, "A T dA", "dA"), f"{self.name}: parameter and scale"
        if own := bool(self.own):
            pair = _with(pair, self.parameters)
        given = self.parameters and not own
        number_doc = f"\n    parameter : float\n        {list(inspect.signature(pair.py_func).parameters)[-1]}." if given else ""
        doc = f"""Return scale * sum(value), with dA = scale * derivative; of each element (value, derivative) = {_makes(pair)}.

    Parameters
    ----------
    A : float32 or float64 array of any shape
        Outputs; logits, where the loss is a cross-entropy.
    T : array of that shape and dtype
        Targets.{number_doc}
    scale : float
    dA : array of that shape and dtype, overwritten
        Shares no memory with A and T.

    Raises
    ------
    TypeError, ValueError
        If a dtype or shape is another, or dA shares memory.
    """

        def loss(A, T, scale, dA):
            check((A, T, dA))
            check_numbers(numbers, scale)
            return sum_and_gradient(pair, A, T, (), scale, dA)

        def loss_with_parameter(A, T, parameter, scale, dA):
            check((A, T, dA))
            check_numbers(numbers, (parameter, scale))
            return sum_and_gradient(pair, A, T, (parameter,), scale, dA)

        return kernel(named(loss_with_parameter if given else loss, "kernels.losses", self.name, doc), not own)

    @cached_property
    def task(self) -> Task:
        """The loss as a task."""
        return _loss_task(self.name, self.pair, len(self.parameters), not self.own)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The parameters as an array, whose address the task is given."""
        return np.array(self.parameters, np.float64)

    def __reduce__(self) -> Any:
        return (custom_loss, self.own) if self.own else (_built_in, ("losses", "LOSSES", self.name))


# Optimizers.

_BLOCK = 256  # weights that are updated between two looks ahead: the hardware does not fetch beyond the end of a page
_MOST_BUFFERS = 3


@inline
def _prefetch_block(w, g, s1, s2, first):
    for byte in range(first * w.itemsize, (first + _BLOCK) * w.itemsize, PANEL_BYTES):
        prefetch(address_of(w) + byte)
        prefetch(address_of(g) + byte)
        prefetch(address_of(s1) + byte)
        prefetch(address_of(s2) + byte)


@inline
def _update_three(element, w, g, s1, s2, s3, numbers, new_w, new_s3):
    """Update w and three buffers, in loops each of which writes so few arrays that LLVM compares their places and makes it one of vectors."""
    for i in range(w.size):
        new_w[i], _, _, _ = element(w[i], g[i], s1[i], s2[i], s3[i], *numbers)
    for i in range(w.size):
        _, _, _, new_s3[i] = element(w[i], g[i], s1[i], s2[i], s3[i], *numbers)
    for i in range(w.size):
        _, s1[i], s2[i], _ = element(w[i], g[i], s1[i], s2[i], s3[i], *numbers)
    for i in range(w.size):
        g[i], s3[i] = w[i], new_s3[i]
    for i in range(w.size):
        w[i] = new_w[i]


def _update_loop(element: Any, n_buffers: int, keeps_old: bool) -> Any:
    """Return a helper that updates w and the buffers, and may leave the old w in g."""

    def plain(w, g, buffers, numbers):
        for i in range(w.size):
            old = w[i]
            w[i] = element(old, g[i], *numbers)
            if keeps_old:
                g[i] = old

    def with_one(w, g, buffers, numbers):
        s1 = buffers[0]
        for i in range(w.size):
            old = w[i]
            w[i], s1[i] = element(old, g[i], s1[i], *numbers)
            if keeps_old:
                g[i] = old

    def with_two(w, g, buffers, numbers):
        s1, s2 = buffers[0], buffers[1]
        for i in range(w.size):
            old = w[i]
            w[i], s1[i], s2[i] = element(old, g[i], s1[i], s2[i], *numbers)
            if keeps_old:
                g[i] = old

    def with_three(w, g, buffers, numbers):
        s1, s2, s3 = buffers
        for i in range(w.size):
            w[i], s1[i], s2[i], s3[i] = element(w[i], g[i], s1[i], s2[i], s3[i], *numbers)

    return inline((plain, with_one, with_two, with_three)[n_buffers])


def _rule_task(name: str, dtype: Any, n_buffers: int, numbers_of: Any, element: Any, cached: bool) -> Task:
    """Return the task (tag, hyper, w, g, state, stride, count, pace) of `Rule`."""
    update, record, looks_ahead = _update_loop(element, n_buffers, True), np.zeros(1, dtype), n_buffers > 1

    def rule(tag, hyper, w, g, state, stride, count, pace):
        zero, now = zero_of(tag), array_at(0.0, pace, 2)
        numbers = numbers_of(array_at(record, hyper, 1)[0], now[0], np.int64(now[1]))
        W, G = array_at(zero, w, count), array_at(zero, g, count)
        S1, S2 = array_at(zero, state, count), array_at(zero, state + stride, count)
        length = _BLOCK if looks_ahead else max(count, 1)
        for first in range(0, count, length):
            if looks_ahead and first + 4 * _BLOCK <= count:  # not what others write at the same time
                _prefetch_block(W, G, S1, S2, first + 3 * _BLOCK)
            part = slice(first, first + length)
            update(W[part], G[part], (S1[part], S2[part]), numbers)

    return Task(task(named(rule, __name__, f"{name}_rule_task"), cached))


def _three_task(name: str, dtype: Any, numbers_of: Any, element: Any, cached: bool) -> Task:
    """Return the task of a `Rule` with three buffers, which takes a few lines at a time."""
    record = np.zeros(1, dtype)

    def rule(tag, hyper, w, g, state, stride, count, pace):
        zero, now = zero_of(tag), array_at(0.0, pace, 2)
        length = BUFFER_LINES // 2 * width_of(zero)
        numbers = numbers_of(array_at(record, hyper, 1)[0], now[0], np.int64(now[1]))
        room = line_buffer(zero)
        for first in range(0, count, length):
            at, n = first * (PANEL_BYTES // width_of(zero)), min(length, count - first)
            W, G, new_w = array_at(zero, w + at, n), array_at(zero, g + at, n), array_at(zero, room, n)
            S1, S2, S3 = array_at(zero, state + at, n), array_at(zero, state + stride + at, n), array_at(zero, state + 2 * stride + at, n)
            _update_three(element, W, G, S1, S2, S3, numbers, new_w, array_at(zero, room + BUFFER_LINES // 2 * PANEL_BYTES, n))

    return Task(task(named(rule, __name__, f"{name}_rule_task"), cached))


def _update_step(name: str, buffers: tuple[str, ...], fields: Any, numbers_of: Any, element: Any) -> Any:
    """Return a helper step(arrays, hyper, learning_rate, step): one step with w, its buffers and g, numbers by name or in their order."""
    check = door(f"{name}_update", " ".join(["w", *buffers, "g"]), " ".join(["w", *buffers]), n_axes=1)
    loop, named_numbers = _update_loop(element, len(buffers), False), namedtuple("Numbers", fields, rename=True)
    a_step, a_number = f"{name}_update: step must be at least 1", f"{name}_update: step and numbers"

    @helper
    def update(arrays, hyper, learning_rate, step):
        check(arrays)
        check_numbers(a_number, (learning_rate, step))
        if step < 1:
            raise ValueError(a_step)
        loop(arrays[0], arrays[-1], arrays[1:-1], numbers_of(hyper, learning_rate, step))

    @helper
    def update_in_order(arrays, hyper, learning_rate, step):
        check_numbers(a_number, hyper)
        update(arrays, named_numbers(*hyper), learning_rate, step)

    return update, update_in_order


def _update_kernel(name: str, buffers: tuple[str, ...], fields: Any, numbers_of: Any, element: Any, doc: str, cached: bool) -> Kernel:
    """Return the public kernel of a rule that takes its numbers as a record."""
    places = [f"s{k}" for k in range(1, len(buffers) + 1)]
    run, _ = _update_step(name, tuple(places), fields, numbers_of, element)
    text = f"""Update {doc}

    d is g + weight_decay * w; m' and v' are m and v, divided by 1 - beta1**step and 1 - beta2**step.

    Parameters
    ----------
    w : array (n,), overwritten
        Weights.
    g : array (n,)
        Gradient.
    {", ".join(places) or "(none)"} : array (n,), overwritten
        The buffers {", ".join(buffers)}.
    hyper : record array (1,)
        What `kernels.OPTIMIZERS[kernels.{name.upper()}].record(...)` returns.
    learning_rate : float
    step : int
        Number of this step, from 1.

    Raises
    ------
    TypeError, ValueError
        If a dtype or shape is another, arrays share memory, or step is below 1.
    """

    def plain(w, g, hyper, learning_rate, step):
        run((w, g), hyper[0], learning_rate, step)

    def with_one(w, g, s1, hyper, learning_rate, step):
        run((w, s1, g), hyper[0], learning_rate, step)

    def with_two(w, g, s1, s2, hyper, learning_rate, step):
        run((w, s1, s2, g), hyper[0], learning_rate, step)

    def with_three(w, g, s1, s2, s3, hyper, learning_rate, step):
        run((w, s1, s2, s3, g), hyper[0], learning_rate, step)

    updates: tuple[Any, ...] = (plain, with_one, with_two, with_three)
    return kernel(named(updates[len(buffers)], "kernels.adaptive", f"{name}_update", text), cached)


@dataclass(frozen=True)
class Rule:
    """An optimizer's rule: what it does to one weight, and what is made of it.

    Attributes
    ----------
    name : str
    buffers : tuple of str
        Its arrays of the size of the weights, zeros at first.
    hyper : dict of str to str
        Its numbers, and what each is.
    numbers : function
        From (record of hyper, learning rate, step) to what is the same for all weights of a step: a tuple of float64.
    element : function
        (new w, new buffers ...) = element(w, g, *buffers, *numbers).
    doc : str
        What `update` does.
    task : Task
        (tag, hyper, w, g, state, stride, count, pace): one step with `count` weights that lie side by side. hyper: the record;
        state: the first buffer's part, `stride` bytes from one buffer to the next; pace: learning rate and step, from 1, as
        float64. It leaves the old w in g: the way back from a step that went wrong.
    """

    name: str
    buffers: tuple[str, ...]
    hyper: Mapping[str, str] = field(hash=False)
    numbers: Any
    element: Any
    own: tuple[Any, ...] = field(default=(), repr=False, hash=False)
    doc: str = field(default="", repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the record of its numbers."""
        return np.dtype([(name, np.float64) for name in self.hyper] or [("none", np.float64)])

    def record(self, hyper: Mapping[str, float] | Sequence[float]) -> NDArray[Any]:
        """Return the numbers as the record that the task reads, an array of one.

        Parameters
        ----------
        hyper : dict of str to float, or sequence of float
            By name, or in the order of `self.hyper`.
        """
        values: Mapping[str, Any] = hyper if isinstance(hyper, Mapping) else dict(zip(self.hyper, hyper))
        if set(values) != set(self.hyper) or len(hyper) != len(self.hyper):
            raise ValueError(f"hyper must have the numbers {', '.join(self.hyper) or '(none)'} of {self.name}; got {hyper!r}.")
        record = np.zeros(1, self.dtype)
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"hyper must be a number; got {value!r} for {name}.")
            if not np.isfinite(float(value)):
                raise ValueError(f"hyper must be finite; got {value!r} for {name}.")
            record[name] = value
        return record

    @cached_property
    def task(self) -> Task:
        """The rule as a task."""
        if len(self.buffers) == _MOST_BUFFERS:
            return _three_task(self.name, self.dtype, self.numbers, self.element, not self.own)
        return _rule_task(self.name, self.dtype, len(self.buffers), self.numbers, self.element, not self.own)

    @cached_property
    def update(self) -> Kernel:
        """The public kernel of a rule that has none of its own."""
        return _update_kernel(self.name, self.buffers, self.hyper, self.numbers, self.element, self.doc, not self.own)

    @cached_property
    def step(self) -> Any:
        """A helper step(arrays, hyper, learning_rate, step): one step with w, its buffers and g, the numbers in their order."""
        return _update_step(self.name, self.buffers, self.hyper, self.numbers, self.element)[1]

    def __reduce__(self) -> Any:
        return (custom_rule, self.own) if self.own else (_built_in, ("optimizers", "OPTIMIZERS", self.name))


# A user's functions.


def _function(name: str, function: Any, arguments: str, count: int) -> Any:
    """Return a user's function, compiled to become part of a loop, if it takes `count` arguments."""
    plain = getattr(function, "py_func", function)
    if not inspect.isfunction(plain):
        raise TypeError(f"{name} must be a function {name}({arguments}); got {function!r}.")
    try:
        inspect.signature(plain).bind(*range(count))
    except TypeError:
        taken = arguments.replace("*parameters", "one for each of `parameters`")
        raise ValueError(f"{name} must take {count} argument{'s' * (count > 1)}, {taken}; got {name}{inspect.signature(plain)}.") from None
    if any(step.opname == "RAISE_VARARGS" for step in dis.get_instructions(plain)):
        raise ValueError(f"{name} must not raise or assert: where tasks call it, nobody hears of that; got {plain!r}.")
    return inline(plain)


def _parameters(parameters: Any) -> tuple[float, ...]:
    if isinstance(parameters, str) or not isinstance(parameters, Iterable) or not all(isinstance(value, Real) for value in parameters):
        raise TypeError(f"parameters must be a sequence of numbers; got {parameters!r}.")
    values = tuple(float(value) for value in parameters)
    if not np.isfinite(values).all():
        raise ValueError(f"parameters must be finite; got {values}.")
    return values


@functools.lru_cache(64)
def _custom_formulas(f: Any, derivative: Any, n_parameters: int) -> tuple[Any, Any]:
    """Return (formula, gradient) of a user's activation."""
    value, slope = (_function(name, one, "z, *parameters", 1 + n_parameters) for name, one in (("f", f), ("derivative", derivative)))

    @inline
    def formula(z, *parameters):
        return like(z, value(z, *parameters))

    @inline
    def gradient(z, d, *parameters):
        return d * like(d, slope(z, *parameters))

    return formula, gradient


def custom_activation(f: Any, derivative: Any, parameters: Sequence[float] = (), name: str | None = None) -> Activation:
    """Return an activation made of functions of one number, for `Plan`.

    They are compiled for themselves, vectorized, and called by their address: no kernel is compiled anew.

    Parameters
    ----------
    f : function (z, *parameters)
        A plain function or an `@njit` one, of what Numba can compile; `kernels.scalar` has fast exp, tanh and others for it.
        What it returns is rounded to the dtype of z.
    derivative : function (z, *parameters)
        Of f at z, the input.
    parameters : sequence of float
        Numbers that both are given, in the dtype of z. Other numbers compile nothing anew.
    name : str, optional
        Left out, that of f.

    Examples
    --------
    >>> from kernels import scalar
    >>> swish = custom_activation(lambda z, b: z / (1 + scalar.exp(-b * z)), lambda z, b: 1.0, parameters=[1.5], name="swish")
    >>> swish.name, swish.parameters
    ('swish', (1.5,))
    """
    numbers, name = _parameters(parameters), str(name or getattr(f, "__name__", "activation"))
    formula, gradient = _custom_formulas(f, derivative, len(numbers))
    return Activation(name, formula, gradient, True, parameters=numbers, own=(f, derivative, numbers, name))


@functools.lru_cache(64)
def _custom_pair(f: Any, gradient: Any, n_parameters: int) -> Any:
    """Return the (value, derivative) of a user's loss."""
    value, slope = (_function(name, one, "a, t, *parameters", 2 + n_parameters) for name, one in (("f", f), ("gradient", gradient)))

    @inline
    def pair(a, t, *parameters):
        return like(a, value(a, t, *parameters)), like(a, slope(a, t, *parameters))

    return pair


def custom_loss(f: Any, gradient: Any, parameters: Sequence[float] = (), name: str | None = None) -> Loss:
    """Return a loss made of functions of an output and a target, for `Objective`.

    Parameters
    ----------
    f : function (a, t, *parameters)
        What an output a adds where the target is t; as for `custom_activation`.
    gradient : function (a, t, *parameters)
        Its derivative with respect to a.
    parameters : sequence of float
        Numbers that both are given.
    name : str, optional
        Left out, that of f.
    """
    numbers, name = _parameters(parameters), str(name or getattr(f, "__name__", "loss"))
    return Loss(name, _custom_pair(f, gradient, len(numbers)), numbers, (f, gradient, numbers, name))


def custom_rule(f: Any, buffers: Sequence[str] = (), hyper: Mapping[str, str] | Sequence[str] = (), name: str | None = None) -> Rule:
    """Return an optimizer's rule made of a function of one weight, for `Trainer`.

    Parameters
    ----------
    f : function (w, g, *buffers, learning_rate, step, *hyper)
        Return the new w, with buffers a tuple of the new w and the new buffers. Numbers come in the dtype of w, the step
        counted from 1. Where w, g and the buffers are 0 it must leave 0: so is the padding of a network.
    buffers : sequence of str
        At most three arrays of the size of the weights, zeros at first.
    hyper : dict of str to str, or sequence of str
        The rule's numbers, and what each is.
    name : str, optional
        Left out, that of f.
    """
    for argument, names in (("buffers", buffers), ("hyper", hyper)):
        if isinstance(names, str) or not all(isinstance(one, str) and one for one in names):
            raise TypeError(f"{argument} must be a sequence of names; got {names!r}.")
    fields = dict(hyper) if isinstance(hyper, Mapping) else dict.fromkeys(hyper, "")
    buffers, name = tuple(buffers), str(name or getattr(f, "__name__", "rule"))
    if len(buffers) > _MOST_BUFFERS:
        raise ValueError(f"buffers must be at most {_MOST_BUFFERS} names; got {buffers}.")
    arguments = ", ".join(["w", "g", *buffers, "learning_rate", "step", *fields])
    numbers, element = _custom_step(f, arguments, tuple(fields), len(buffers))
    return Rule(name, buffers, fields, numbers, element, own=(f, buffers, fields, name))


def _numbers_by_name(names: tuple[str, ...]) -> Any:
    """Return a helper numbers(h, learning_rate, step): these two, then the fields of the record in their order."""
    if not names:

        @helper
        def numbers(h, learning_rate, step):
            return (learning_rate, np.float64(step))

        return numbers
    *before, name = names
    earlier = _numbers_by_name(tuple(before))

    @helper
    def numbers_and_one(h, learning_rate, step):
        return (*earlier(h, learning_rate, step), h[name])

    return numbers_and_one


@functools.lru_cache(64)
def _custom_step(f: Any, arguments: str, names: tuple[str, ...], n_buffers: int) -> tuple[Any, Any]:
    """Return (numbers, element) of a user's rule; its numbers come in the dtype of w, and what it returns is rounded to that."""
    step = _function("f", f, arguments, arguments.count(",") + 1)

    @inline
    def plain(w, g, *numbers):
        return like(w, step(w, g, *all_like(w, numbers)))

    @inline
    def with_buffers(w, g, *buffers_and_numbers):
        return all_like(w, step(w, g, *all_like(w, buffers_and_numbers)))

    return _numbers_by_name(names), with_buffers if n_buffers else plain
