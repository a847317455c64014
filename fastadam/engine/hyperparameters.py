"""Hyperparameters: the range of each name, and the check of a value."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

from ..rules.algorithm import Algorithm, Values
from ..validation import ANY, BELOW_ONE, NOT_NEGATIVE, Range, choice, count, flag, number, parts_of

RANGES = dict.fromkeys(
    ("lr", "eps", "weight_decay", "momentum", "momentum_decay", "lr_decay")
    + ("initial_accumulator_value", "l1", "l2", "peak_lr", "alpha_warmup", "beta3_warmup")
    + ("trust_coefficient", "warmup_steps", "r", "weight_lr_power"),
    NOT_NEGATIVE,
) | dict.fromkeys(("betas", "rho", "alpha"), BELOW_ONE)
CHOICES = {
    "eps_mode": ("torch", "hat"),
    "weight_decay_mode": ("AdamW", "AdamC", "independent"),
    "adjust_lr_fn": ("original", "match_rms_adamw"),
}
METHODS = (
    *("variant", "check", "hyper", "carry", "carry_sums"),
    *("transform", "initial", "idle", "idle_hyper"),
)  # the methods of an optimizer that get hyperparameters
OPTIONAL = ("clip_exp",)  # names that may be None although their defaults are numbers
UNLIMITED = ("growth_rate",)  # names that may be infinite: no limit


class ReadOnly(Values):
    """Read-only hyperparameters, as passed to the methods of an optimizer in every step."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "the group that hyper(), carry(), initial(), variant() and check() get is read-only; "
            "return what follows from it, or take a copy: dict(group)"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def kind_of(algorithm: Algorithm) -> type[Values]:
    """The type of the hyperparameters that the methods of an optimizer get.

    A plain dict, which is read in a fifth less time than a ReadOnly, if all of these methods are
    the package's own, which do not write to it.
    """
    methods = (getattr(type(algorithm), name, None) for name in METHODS)
    packages = {each.__module__.partition(".")[0] for each in methods if each}
    return dict if packages == {__name__.partition(".")[0]} else ReadOnly


def range_of(name: str, default: Any) -> Range:
    """The range of a hyperparameter, or of each of its elements."""
    within = RANGES.get(name, ANY)
    if isinstance(default, float) and not within.holds(default):
        return ANY  # a hyperparameter of another kind with a known name
    return within


@cache  # numbers are equal only if their ranges are
def _holds(name: str, default: Any) -> Callable[[float], bool]:
    return range_of(name, default).holds


def is_plain(name: str, value: Any, default: Any) -> bool:
    """True if `checked` returns a hyperparameter unchanged: a float or a tuple of floats."""
    kind = type(value)
    if kind is not type(default):
        return False
    if kind is float:
        return math.isfinite(value) and _holds(name, default)(value)
    return (
        kind is tuple
        and len(value) == len(default)
        and all(type(part) is float and math.isfinite(part) for part in value)
        and all(map(_holds(name, default), value))
    )


def checked(name: str, value: Any, default: Any, where: str, hint: str = "give a number") -> Any:
    """A hyperparameter as a plain Python value of the type of its default.

    Raises:
        TypeError: if it has another type.
        ValueError: if it is NaN, infinite, or outside the range of the name.
    """
    if is_plain(name, value, default):
        return value
    within = range_of(name, default)
    label = f"{where}{name}"
    if isinstance(default, bool):
        return flag(label, value)
    if isinstance(default, int):
        return count(label, value)
    if isinstance(default, tuple):
        parts = parts_of(value)
        if parts is None or len(parts) != len(default):
            raise TypeError(f"{label}={value!r} must be {len(default)} numbers, like {default!r}")
        try:
            return tuple(
                None if part is known is None else number(f"{name}[{k}]", part, within, hint=hint)
                for k, (part, known) in enumerate(zip(parts, default, strict=True))
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"{label}={value!r}: {error}") from None
    if isinstance(default, str):
        if not isinstance(value, str):
            raise TypeError(f"{label}={value!r} must be a string like {default!r}")
        return choice(label, value, CHOICES[name]) if default in CHOICES.get(name, ()) else value
    if value is None and (default is None or name in OPTIONAL):
        return None
    if name in UNLIMITED and isinstance(value, float) and value == math.inf:
        return None
    if default is None and name in CHOICES:
        return choice(label, value, CHOICES[name])
    return number(label, value, within, hint=hint)
