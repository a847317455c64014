"""Steps for code that Numba compiles: `fa.compiled`."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numba
import numpy as np
from numba import njit, types

from ..kernels import mistakes
from ..kernels.cpu import float_mode, target
from ..kernels.factory import default_target
from ..rules.linker import digest, linked
from .arguments import Argument, Embedded, embedded
from .intrinsics import (
    address_of_array,
    address_of_number,
    caller_of_span,
    constants_of,
    words,
)
from .llvm_module import Spans
from .nopython import register

HERE = "compiled()"


def compiled(
    optimizer: Any,
    dtype: Any = "float32",
    *,
    options: Sequence[str] = (),
    grads: Any = None,
    state: Any = None,
    compensation: str | None = None,
    rounding: str = "nearest",
    **hyper: Any,
) -> Any:
    """The step of an optimizer as a function that code compiled by Numba can call.

    The function is `step(param, grad, *state, *extras, constants)`. It updates `param` and the
    state in place, in the thread of the caller, with the kernel of `Optimizer.step`: the results
    are the same to the bit, for whole arrays and for slices. It may be called from any `@njit`
    function, also inside `prange` loops and in functions with `cache=True`, and from Python.

    Arrays are one-dimensional, contiguous, of equal size, and share no memory; the state is zero
    before the first step, if the optimizer does not say otherwise. Numba does not know bfloat16:
    give such arrays as `a.view(np.uint16)`. `constants` is the result of
    `fa.Optimizer.constants`, or a vector of these numbers.

    Args:
        optimizer: the class, such as `fastadam.AdamW`, or a rule.
        dtype: dtype of the parameters, default "float32".
        options: names of further parts of the pass, each with arguments after the state, in the
            order of this list:
            `clip_value` (a number: bounds each element of the gradient),
            `grad_scale` (`grad_factor`, a number: multiplies the gradient; 1 / loss scale, times
            a clip factor),
            `grad_sum` (`grad_sum`, an array of earlier gradients, which is added and set to zero;
            `unscale`, a number by which the new gradient is multiplied),
            `grad_power` (a number: multiplies the gradient before everything else),
            `mask` (an array of bool: selects the parameters that change),
            `mask_state` (the same; the state of the others stays),
            `ema` (`ema`, an array of averages; `ema_comp`, a number: 1 - decay),
            `bfloat16` or `float16` (`shadow`, an array: a copy of the parameters as uint16),
            `zero_grads` (sets the gradient to zero).
        grads: dtype of the gradients, default that of the parameters.
        state: dtype of the state, default that of the arithmetic; "int8" takes for each state
            three arguments: codes, a float32 scale for each block of 256 elements, and a `dither`,
            any 32 bits, different at each step. Slices begin at multiples of 256.
        compensation: as for `fa.Optimizer`; an array after the parameters.
        rounding: as for `fa.Optimizer`; "stochastic" takes `noise`, any 32 bits,
            different at each step and for each array.
        hyper: hyperparameters of the class that change its rule or its state, such as
            `momentum=0.9` of SGD.

    Raises:
        TypeError: for another kind of object, or a rule that cannot be compiled.
        ValueError: for incompatible formats and options. The function itself raises it
            for arrays of different sizes, or that overlap, before anything changes. (Inside a
            `prange` loop Numba may lose exceptions.)
        RuntimeError: under NUMBA_DISABLE_JIT=1.

    Examples:
        >>> import numba, numpy as np, fastadam as fa
        >>> step = fa.compiled(fa.AdamW, dtype="float32")
        >>> @numba.njit
        ... def fit(p, m, v, steps):
        ...     for t in range(1, steps + 1):
        ...         step(p, 2 * p, m, v, fa.AdamW.constants(step=t, lr=0.1, weight_decay=0.0))
        >>> p, m, v = np.ones(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
        >>> fit(p, m, v, 10)
        >>> p.round(3)
        array([0.076, 0.076, 0.076], dtype=float32)
    """
    if default_target().RECIPE is None:
        raise RuntimeError(f"{HERE} needs a compiler; unset NUMBA_DISABLE_JIT")
    chosen = embedded(
        HERE, optimizer, dtype, options, grads, state, compensation, rounding, hyper or None
    )
    if chosen.optimizer:
        register(chosen.optimizer)
    return _step(chosen.rule, chosen.streams, chosen)


_made: dict[Any, Any] = {}


def _step(rule: Any, streams: Any, chosen: Embedded) -> Any:
    key = rule, streams
    if key not in _made:
        _made[key] = _compiled(chosen)
    return _made[key]


def _compiled(chosen: Embedded) -> Any:
    """A dispatcher, compiled for the usual types, so that mistakes of a rule show here."""
    arguments = chosen.arguments
    missing, record = constants_of(len(chosen.rule.hyper), chosen.compute)
    name = Spans.named(chosen)
    slots: dict[str, Any] = {
        "_update": caller_of_span(name),
        "_enter": float_mode.enter,
        "_leave": float_mode.leave,
        "_missing": missing,
        "_record": record,
        "_words": words,
    }
    for number, argument in enumerate(arguments):
        make = address_of_number if argument.is_number else address_of_array
        slots[f"_place_{number}"] = make(argument)
    scope: dict[str, Any] = {"__name__": __name__, "__builtins__": __builtins__}
    exec(compile(_source(arguments, chosen.block), __file__, "exec"), scope)
    mark = digest(target.swap, scope["step"], slots, target.RECIPE)
    function = linked(
        scope["step"], f"{name}_{mark}", mark, target.jit, target.swap, target.SHARED, **slots
    )
    function.__doc__ = f"One step of the rule {chosen.rule.name}; see `fastadam.compiled`."
    options = {"nogil": True, **target.OPTIONS}
    step = target.cached(lambda cache: njit(cache=cache, **options)(target.with_file(function)))
    try:
        target.cached(lambda cache: step.compile(_usual(arguments, chosen)))
    except target.REFUSALS as error:
        raise mistakes.in_compiling(chosen.rule, chosen.compute, error) from error
    return step


def _usual(arguments: Sequence[Argument], chosen: Embedded) -> Any:
    """The types of a call from Python."""
    kinds = [_kind(argument) for argument in arguments]
    return (*kinds, types.UniTuple(types.float64, len(chosen.rule.hyper)))


def _kind(argument: Argument) -> Any:
    if argument.is_number:
        floating = argument.column.dtype.startswith("float")
        return types.float64 if floating else types.int64
    dtypes, bits = argument.dtypes, argument.column.dtype
    name = "bool" if "bool" in dtypes else bits if bits == "uint16" else dtypes[0]
    return types.Array(numba.from_dtype(np.dtype(name)), 1, "C")


def _source(arguments: Sequence[Argument], block: int) -> str:
    """The text of the function: checks, tables on the stack, the kernel's update."""
    names = [argument.name for argument in arguments]
    return "\n".join(
        [
            f"def step({', '.join([*names, 'constants'])}):",
            *(f"    {line}" for line in _statements(arguments, block)),
        ]
    )


def _statements(arguments: Sequence[Argument], block: int) -> Iterator[str]:
    """Names of its own begin with an underscore, which no name of an argument does."""
    yield f"_n = {arguments[0].name}.size"
    for number, argument in enumerate(arguments):
        if not argument.is_number:
            per = argument.column.per
            size = "_n" if per == 1 else f"(_n + {per - 1}) // {per}"
            wanted = "one element for each parameter" if per == 1 else f"one for each {per}"
            yield f"if {argument.name}.size != {size}:"
            yield f"    raise ValueError('{argument.name} must have {wanted}')"
        yield f"_a{number} = _place_{number}({argument.name})"
    yield "if _missing(constants):"
    yield "    raise ValueError('constants has another number of elements than the rule')"
    arrays = [(k, argument) for k, argument in enumerate(arguments) if not argument.is_number]
    for (i, one), (j, other) in combinations(arrays, 2):
        if one.mode != "r" or other.mode != "r":
            ends = [f"_a{k} + {each.name}.nbytes" for k, each in ((i, one), (j, other))]
            yield f"if _a{i} < {ends[1]} and _a{j} < {ends[0]}:"
            yield f"    raise ValueError('{one.name} and {other.name} overlap')"
    yield f"_row = _words((0, {', '.join(f'_a{k}' for k in range(len(arguments)))}))"
    yield "_mode = _enter()"
    yield "_update(_row, _words((0, 0, _n)), _record(constants))"
    yield "_leave(_mode)"
