"""Hyperparameters: what a group of parameters may say, checked and resolved for one step."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from operator import is_
from typing import Any, NoReturn, TypeVar

import numpy as np

from .rules import Rule

Values = dict[str, Any]
Noted = TypeVar("Noted")

NOT_NEGATIVE = {"lr", "eps", "weight_decay", "momentum", "momentum_decay", "lr_decay"}
NOT_NEGATIVE |= {"initial_accumulator_value", "l1"}
BELOW_ONE = {"betas", "rho", "alpha"}
NO_NUMBERS = ("b", "c", "S", "U")  # kinds of NumPy's that float() takes all the same
CARRIED = ("params", "initial_lr", "name", "param_names")  # keys of a group that no rule reads


class ReadOnly(Values):
    """Hyperparameters as the methods of an optimizer get them: kept from step to step."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "the group that hyper(), carry(), initial(), variant() and check() get is read-only; "
            "return what follows from it, or take a copy: dict(group)"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def check_known(names: Iterable[str], defaults: Iterable[str], where: str) -> None:
    """Refuse a name that the optimizer does not have.

    Raises:
        TypeError: with the names there are.
    """
    for name in names:
        if name not in defaults:
            raise TypeError(f"{where} got an unknown {name!r}; it knows {', '.join(defaults)}")


def checked(name: str, value: Any, default: Any, where: str) -> Any:
    """A hyperparameter as a plain Python value of the default's kind.

    Raises:
        TypeError: if it is of another kind.
        ValueError: if it is NaN, infinite, or outside what the name allows.
    """
    if type(value) is type(default) is float and 0 <= value < (
        1 if name in BELOW_ONE else math.inf
    ):
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{where}{name}={value!r} is not a bool; give True or False")
        return bool(value)
    if isinstance(default, tuple):
        if not isinstance(value, tuple | list) or len(value) != len(default):
            raise TypeError(
                f"{where}{name}={value!r} is not a tuple of {len(default)} numbers like {default!r}"
            )
        return tuple(_number(name, item, f"{where}{name}={value!r}") for item in value)
    if isinstance(default, str):
        if not isinstance(value, str):
            raise TypeError(f"{where}{name}={value!r} is not a string like {default!r}")
        return value
    if default is None and value is None:
        return None
    return _number(name, value, f"{where}{name}={value!r}")


def _number(name: str, value: Any, label: str) -> float:
    """A finite float, in the range that goes with the name."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    numeric = not isinstance(value, bool | str | bytes) and kind not in NO_NUMBERS
    numeric = numeric and getattr(value, "ndim", 0) == 0
    try:
        number = float(value) if numeric else None
    except (TypeError, ValueError):
        number = None
    except OverflowError:
        number = math.inf
    if number is None:
        raise TypeError(f"{label} is not a number; give one, or a function of the step")
    if not math.isfinite(number):
        raise ValueError(f"{label} is not finite; give a finite number")
    if name in NOT_NEGATIVE and number < 0:
        raise ValueError(f"{label} is negative; give a number of at least 0")
    if name in BELOW_ONE and not 0 <= number < 1:
        raise ValueError(f"{label} has a number outside [0, 1); give at least 0 and less than 1")
    return number


class Edits:
    """Whether a user edited the groups since the optimizer last looked at them."""

    pending = True


def _noting(*names: str) -> Callable[[type[Noted]], type[Noted]]:
    """Make the methods of these names note that something was edited."""

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return method(self, *args, **kwargs)
            finally:
                self.edits.pending = True

        return noted

    def decorate(cls: type[Noted]) -> type[Noted]:
        for name in names:
            setattr(cls, name, noting(getattr(cls, name)))
        return cls

    return decorate


@_noting("__setitem__", "__delitem__", "__ior__", "update", "setdefault", "pop", "popitem", "clear")
class ParamGroup(dict[str, Any]):
    """The dict of a group that users see and edit."""

    edits = Edits()


@_noting("__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "extend", "insert")
@_noting("pop", "remove", "clear", "reverse", "sort")
class ParamGroups(list[ParamGroup]):
    """The list of groups that users see."""

    edits = Edits()


class Group:
    """A parameter group as it was when it was last looked at.

    Args:
        raw: the user's dict, which may change between steps. Its hyperparameters are replaced by
            plain Python values, so that it always says what is used.
        params: its arrays.
        defaults: the hyperparameters there are.
        where: how messages begin, if there are several groups.

    Attributes:
        rule: what moves its parameters.
        scheduled: whether a hyperparameter is a function of the step.
        switched: whether one besides `lr` is, which may switch state on and off.

    Raises:
        TypeError, ValueError: for an unknown name, a missing one, a wrong value, or other arrays.
    """

    rule: Rule

    def __init__(self, raw: ParamGroup, params: Any, defaults: Values, where: str) -> None:
        self.raw, self.params, self.where, self._defaults = raw, params, where, defaults
        if "params" not in raw:
            raise ValueError(
                f"{where}'params' is missing from its param_groups; put the same arrays back, or "
                "make a new optimizer"
            )
        if len(raw["params"]) != len(params) or not all(map(is_, raw["params"], params)):
            raise ValueError(
                f"{where}the arrays of param_groups were exchanged; write into the arrays, "
                "use add_param_group, or make a new optimizer"
            )
        known = {k: v for k, v in raw.items() if k not in CARRIED}
        check_known(known, defaults, f"{where}the optimizer")
        _check_param_names(raw, params, where)
        values: Values = {}
        self._schedules: dict[str, Callable[[int], Any]] = {}
        for name, default in defaults.items():
            if name not in raw:
                raise ValueError(f"{where}{name!r} is missing from its param_groups; put it back")
            value = raw[name]
            if isinstance(value, tuple | list) and any(map(callable, value)):
                dict.__setitem__(raw, name, tuple(value))
                value = _together(tuple(value))
            if callable(value):
                self._schedules[name] = value
            else:
                values[name] = checked(name, value, default, where)
        self.scheduled = bool(self._schedules)
        self.switched = bool(self._schedules.keys() - {"lr"})
        dict.update(raw, values)
        self._values = ReadOnly(values)

    def at(self, step: int, lr: float | None = None) -> Values:
        """The hyperparameters of a step, counted from 1, as plain Python values."""
        if lr is None and not self._schedules:
            return self._values
        values = dict(self._values)
        for name, schedule in self._schedules.items():
            where = f"{self.where}at step {step} "
            values[name] = checked(name, schedule(step), self._defaults[name], where)
        return ReadOnly(values if lr is None else values | {"lr": lr})

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.raw.items() if k not in ("params", "param_names")}
        elements = sum(param.size for param in self.params)
        text = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{len(self.params)} arrays, {elements} elements: {text}"


def _check_param_names(raw: Values, params: Sequence[Any], where: str) -> None:
    names = raw.get("param_names")
    if names is None:
        return
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{where}param_names={names!r} is not a list of strings")
    if len({*names}) != len(names):
        raise ValueError(f"{where}param_names={names!r} names something twice")
    if len(names) != len(params):
        raise ValueError(f"{where}param_names has {len(names)} names for {len(params)} parameters")


def _together(parts: tuple[Any, ...]) -> Callable[[int], tuple[Any, ...]]:
    return lambda step: tuple(part(step) if callable(part) else part for part in parts)
