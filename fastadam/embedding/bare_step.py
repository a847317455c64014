"""The step of a bare function with options, or with state in low precision."""

from collections.abc import Callable, Sequence
from threading import local
from typing import Any, NamedTuple

import numpy as np

from ..engine.backend import HOST, as_array, backend_of
from ..engine.columns import columns_for
from ..engine.grad_norm import GradNorm
from ..engine.launch import Launch, kernel_for
from ..engine.options import Options
from ..engine.random_keys import RoundingKeys
from ..engine.rule_sums import RuleSums
from ..engine.scales import reach_of, unscale_of
from ..kernels.cpu.threads import check_threads
from ..kernels.formats import NARROW, Formats
from ..memory import checks
from ..memory.dtypes import name_of, named
from ..rules import Rule
from ..rules.algorithm import Values
from ..validation import count, flag

EXTRAS: dict[str, Any] = {
    "grad_scale": None,
    "clip_value": None,
    "mask": None,
    "ema": None,
    "ema_decay": None,
    "shadow": None,
    "norm": False,
    "seed": 0,
}
FAST = (np.dtype(np.float32), np.dtype(np.float64))  # all arrays of one of them: the usual case
KEPT = 64  # plans of one thread


class Extras(NamedTuple):
    """Options of one call, checked.

    Attributes:
        options: those that a whole optimizer has as well.
        transforms: the names of what they add to the kernel.
        arrays: the arrays that they read and write, by the streams of the kernel.
    """

    options: Options
    grad_scale: Any
    norm: bool
    transforms: tuple[str, ...]
    arrays: dict[str, Any]


class _Plan(NamedTuple):
    launch: Launch
    sums: RuleSums
    norm: GradNorm | None
    keys: RoundingKeys


class _Plans(local):
    def __init__(self) -> None:
        self.known: dict[Any, _Plan] = {}


_plans = _Plans()


def in_low_precision(arrays: Sequence[Any]) -> bool:
    """True if the state among the arrays of a call is not float32 or float64."""
    dtype = getattr(arrays[2], "dtype", None) if len(arrays) > 2 else None
    if dtype is None or dtype in FAST:
        return False
    return name_of(np.dtype(dtype)) in ("int8", "bfloat16")


def step_with_options(
    where: str,
    rule: Rule,
    arrays: Sequence[Any],
    step: int,
    threads: int | None,
    given: Values,
    constants: Callable[[], Values],
) -> float | None:
    """Check everything, then take the norm and the step.

    Args:
        where: the name of the function, for messages.
        rule: without options.
        arrays: param, grad, and the state.
        given: the options of the call; see `EXTRAS`.
        constants: returns the constants of the step.

    Returns:
        The norm of the unscaled gradient, if an option needs it.

    Raises:
        TypeError, ValueError: before any element changes.
    """
    if len(arrays) < 2 or backend_of(arrays[0]) is not HOST:
        raise TypeError(f"{where}options and state in low precision are for NumPy arrays")
    param, grad = map(as_array, arrays[:2])
    checks.check_array(param, f"{where}param", written=True, updated=True)
    checks.check_gradient(grad, f"{where}grad", param, "param")
    extras = _checked(where, param, {**EXTRAS, **given})
    formats = Formats(name_of(param.dtype), name_of(grad.dtype), state_dtype(arrays))
    extras.options.check_rule(rule)
    Options(state_dtype=formats.state).check_rule(rule)
    state = checked_state(where, rule, formats, param, arrays[2:])
    written = [("param", param), *state.items(), *extras.arrays.items()]
    for name, array in (("grad", grad), *written):
        if array.ndim != 1:
            raise ValueError(f"{where}{name} has shape {array.shape}; pass a.reshape(-1)")
    checks.check_apart([checks.span(array, name) for name, array in [("grad", grad), *written]])
    limit = check_threads(threads)
    plan = _planned(rule, formats, extras, param, limit)
    _place(plan, rule, formats, grad, {"param": param, **state, **extras.arrays})
    unscale, power = unscale_of(extras.grad_scale, (formats.compute,))
    values = constants()
    for launch in (plan.launch, *plan.sums.launches):
        launch.writer(0)(values)
        for name, number in _numbers(extras, unscale, power).items():
            if name in launch.numbers:
                launch.set_number(name, number)
    plan.keys.advance(step)
    norm = None
    if plan.norm:
        plan.norm.place([checks.address(grad)], [True])
        plan.norm.run()
        norm = float(plan.norm.norm(unscale * power, wait=True))
    plan.sums.run()
    plan.launch.table.runner(limit)()
    return norm


def _checked(where: str, param: Any, given: Values) -> Extras:
    if (given["ema"] is None) != (given["ema_decay"] is None):
        raise ValueError(f"{where}ema, an array, and ema_decay, a number, need each other")
    try:
        options = Options(
            clip_value=given["clip_value"],
            ema_decay=given["ema_decay"],
            seed=count("seed", given["seed"], 0, "give an int"),
        )
        norm, reach = flag("norm", given["norm"]), reach_of(given["grad_scale"])
    except (TypeError, ValueError) as error:
        message = str(error).removeprefix("step(): ")
        raise type(error)(f"{where}{message}") from None
    arrays = {name: given[name] for name in ("mask", "ema", "shadow") if given[name] is not None}
    names = options.in_kernel("mask" in arrays, reach)
    if "mask" in arrays:
        checks.check_mask(arrays["mask"], f"{where}mask", param, "param")
    if "ema" in arrays:
        checks.check_array(arrays["ema"], f"{where}ema", written=True, updated=True)
        checks.check_state(arrays["ema"], f"{where}ema", param, "param")
    if "shadow" in arrays:
        names += (_shadow(where, arrays["shadow"], param),)
    return Extras(options, given["grad_scale"], norm, names, arrays)


def _shadow(where: str, shadow: Any, param: Any) -> str:
    """The name of the transform that writes a copy of the parameters."""
    checks.check_array(shadow, f"{where}shadow", written=True, updated=True)
    checks.check_shape(shadow, f"{where}shadow", param, "param")
    name = name_of(shadow.dtype)
    if name not in NARROW or param.dtype != np.float32:
        raise TypeError(
            f"{where}shadow has dtype {name}, and param {param.dtype}; a shadow is a bfloat16 or "
            "float16 copy of float32 parameters"
        )
    return name


def state_dtype(arrays: Sequence[Any]) -> str | None:
    """The dtype of state that is not in that of the arithmetic, else None."""
    return name_of(np.dtype(arrays[2].dtype)) if in_low_precision(arrays) else None


def checked_state(
    where: str, rule: Rule, formats: Formats, param: Any, arrays: Sequence[Any]
) -> dict[str, Any]:
    """The arrays of state by name.

    Raises:
        TypeError, ValueError: if they do not match the parameter.
    """
    columns = columns_for(rule.state, formats)
    if len(arrays) != len(columns):
        names = ", ".join(["param", "grad", *columns])
        raise TypeError(
            f"{where.removesuffix(': ')} takes {2 + len(columns)} arrays ({names}), not "
            f"{2 + len(arrays)}"
        )
    for (name, column), array in zip(columns.items(), arrays, strict=True):
        label, dtype = f"{where}{name}", named(column.column.outside)
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            found = getattr(array, "dtype", checks.short(array))
            raise TypeError(f"{label} must be an array of {dtype}; it is {found}")
        checks.check_contiguous(array, label, True)
        size = -(-param.size // column.column.per)
        if array.size != size:
            raise ValueError(f"{label} has {array.size} elements; it must have {size}")
        if not array.flags.writeable:
            raise ValueError(f"{label} is read-only, and a step writes to it")
    return dict(zip(columns, arrays, strict=True))


def _planned(
    rule: Rule, formats: Formats, extras: Extras, param: Any, threads: int | None
) -> _Plan:
    key = rule, formats, extras.transforms, extras.norm, extras.options.seed, param.size, threads
    known = _plans.known
    if key not in known:
        if len(known) >= KEPT:
            known.clear()
        launch = Launch(rule, kernel_for(rule, formats, extras.transforms), [param], [0])
        norm = GradNorm([param], [formats], threads) if extras.norm else None
        sums = RuleSums([launch], [param], [formats], extras.transforms, threads)
        known[key] = _Plan(launch, sums, norm, RoundingKeys([launch], extras.options.seed))
    return known[key]


def _place(plan: _Plan, rule: Rule, formats: Formats, grad: Any, arrays: dict[str, Any]) -> None:
    columns = columns_for(rule.state, formats)
    for launch in (plan.launch, *plan.sums.launches):
        launch.place("grad", [checks.address(grad)])
        for name, array in arrays.items():
            stream, part = name, 0
            if name in columns:
                stream, part = columns[name].stream.name, columns[name].part
            if stream in launch.table.streams:
                launch.table.place(stream, [checks.address(array)], part)


def _numbers(extras: Extras, unscale: float, power: float) -> dict[str, Any]:
    numbers: dict[str, Any] = {"grad_scale": unscale, "grad_power": power}
    if extras.options.clip_value is not None:
        numbers["clip_value"] = extras.options.clip_value
    if extras.options.ema_decay is not None:
        numbers["ema_comp"] = extras.options.ema_comp(0)
    return numbers
