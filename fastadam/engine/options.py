"""Options of an optimizer besides its rule and hyperparameters."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from ..kernels.cpu.cores import Team, check_cores
from ..kernels.cpu.threads import Limit, check_threads
from ..kernels.formats import NARROW, PAIRS, Formats
from ..kernels.transforms import ZERO_GRADS
from ..memory.dtypes import name_of
from ..memory.files.windows import LEAST
from ..rules import Rule
from ..validation import (
    ANY,
    BELOW_ONE,
    NOT_NEGATIVE,
    choice,
    count,
    dtype_name,
    flag,
    number,
)
from .scales import FAR

ROUNDED = ("bfloat16", "int8")
STATES = ("float32", *ROUNDED)
ROUNDINGS = ("nearest", "stochastic")
NORMS = ("global", "tensor")
LAZY = ("torch", "rows", "exact")


def _bound(name: str, value: Any, within: Any, hint: str) -> float | None:
    """A checked number, or None; infinite if it is too large for a float."""
    hint = f"None {hint}"
    try:
        return None if value is None else number(name, value, within, finite=False, hint=hint)
    except ValueError as error:
        raise ValueError(f"{error}; {hint}") from None


def _limit(name: str, value: Any, free: float) -> float | None:
    """A bound of parameters; None for `free`, the infinity that bounds nothing."""
    bound = _bound(name, value, ANY, "means no bound")
    if bound is not None and not math.isfinite(bound) and bound != free:
        raise ValueError(f"{name}={value!r} allows no number; None means no bound")
    return None if bound == free else bound


def _dtype(name: str, value: Any, names: Iterable[str]) -> str | None:
    found: str | None = choice(name, dtype_name(value), (None, *names))
    return found


def _path(name: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return os.fsdecode(value)
    except TypeError:
        raise TypeError(f"{name}={value!r} is not a path") from None


class OptionSpec(NamedTuple):
    """Properties of an option, besides its default.

    Attributes:
        check: `check(name, value, *limits)` returns the value to store, or raises.
        limits: further arguments of `check`.
        own: True if a parameter group may have a value of its own.
        dtypes: the dtypes of parameters that the option supports; empty for all.
        transforms: returns the names of the transforms that a value selects, which
            `kernels/transforms.py` defines.
    """

    check: Callable[..., Any]
    limits: tuple[Any, ...]
    own: bool
    dtypes: tuple[str, ...]
    transforms: Callable[[Any], tuple[str, ...]]


def option(
    default: Any,
    check: Callable[..., Any],
    *limits: Any,
    own: bool = False,
    dtypes: tuple[str, ...] = (),
    transforms: Callable[[Any], tuple[str, ...]] = lambda value: (),
) -> Any:
    """An entry of the table of options; see `OptionSpec`."""
    spec = OptionSpec(check, limits, own, dtypes, transforms)
    return field(default=default, metadata={"spec": spec})


def _where_given(name: str) -> Callable[[Any], tuple[str, ...]]:
    """The transform of an option that is off if it is None."""
    return lambda value: () if value is None else (name,)


def _clipped(bound: float | None) -> tuple[str, ...]:
    return ("grad_scale",) if _clips(bound) else ()


def _clips(bound: float | None) -> bool:
    """True for a bound of a norm that a gradient can exceed."""
    return bound is not None and bound < math.inf


@dataclass(frozen=True)
class Options:
    """Keyword arguments of every optimizer; see `fa.Optimizer`.

    A new option is a new entry here, and a transform if kernels implement it.

    Raises:
        TypeError, ValueError: for one of the wrong kind or out of range.
    """

    threads: int | None = option(None, lambda _, value: check_threads(value))
    cores: tuple[int, ...] | None = option(None, lambda _, value: check_cores(value))
    clip_norm: float | None = option(
        None, _bound, NOT_NEGATIVE, "disables clipping", transforms=_clipped
    )
    clip_norm_per: str = option("global", choice, NORMS, own=True)
    clip_value: float | None = option(
        None, _bound, NOT_NEGATIVE, "disables clipping", transforms=_where_given("clip_value")
    )
    skip_nonfinite: bool = option(False, flag)
    ema_decay: float | None = option(
        None,
        _bound,
        BELOW_ONE,
        "keeps no average; 0.999 is usual",
        transforms=_where_given("ema"),
    )
    ema_warmup: bool = option(False, flag)
    shadow_dtype: str | None = option(
        None, _dtype, NARROW, transforms=lambda value: (value,) if value else ()
    )
    zero_grads: bool = option(False, flag, transforms=lambda value: (ZERO_GRADS,) if value else ())
    accumulate_steps: int = option(
        1,
        count,
        1,
        "1 updates at every step",
        transforms=lambda value: ("grad_scale", "grad_sum") if value > 1 else (),
    )
    state_dtype: str | None = option(None, _dtype, STATES, own=True)
    min_quantized_size: int = option(4096, count, 0, "0 quantizes all state", own=True)
    rounding: str = option("nearest", choice, ROUNDINGS, own=True, dtypes=("bfloat16", "float16"))
    compensation: str | None = option(None, choice, (None, *PAIRS), own=True, dtypes=("bfloat16",))
    lower: float | None = option(
        None, _limit, -math.inf, own=True, transforms=_where_given("lower")
    )
    upper: float | None = option(None, _limit, math.inf, own=True, transforms=_where_given("upper"))
    lazy: str = option("torch", choice, LAZY)
    mask_state: bool = option(False, flag)
    seed: int = option(0, count, 0, "give an int")
    state_file: str | None = option(None, _path)
    resident_bytes: int = option(1 << 30, count, LEAST, "give at least 32 MiB, 1 << 25")

    def __post_init__(self) -> None:
        for name, spec in SPECS.items():
            value = spec.check(name, getattr(self, name), *spec.limits)
            object.__setattr__(self, name, value)
        if self.ema_warmup and self.ema_decay is None:
            raise ValueError("ema_warmup=True needs an ema_decay")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower={self.lower!r} is above upper={self.upper!r}; exchange them")
        if self.rounding == "stochastic" and self.compensation in ("kahan", "split16"):
            raise ValueError(
                f"rounding='stochastic' has nothing to round with compensation="
                f"{self.compensation!r}; leave one out"
            )

    def within(self, group: Mapping[str, Any], where: str) -> "Options":
        """The options of a parameter group: these, with the group's own in their place.

        Raises:
            TypeError, ValueError: for one of the wrong kind or out of range, and for one that
                groups do not support.
        """
        if NAMES_SET.isdisjoint(group):
            return self
        own = {name: group[name] for name in NAMES if name in group}
        for name in own:  # wrappers write the options of the optimizer into its groups
            if name not in OWN and own[name] != getattr(self, name):
                raise TypeError(
                    f"{where}{name} is an option of the whole optimizer; give it to the "
                    f"constructor (a group may have {', '.join(OWN)})"
                )
        try:
            return replace(self, **own)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}{error}") from None

    def check_kept(self, now: "Options", where: str) -> None:
        """Refuse options that differ from those with which a group was created.

        Raises:
            ValueError: naming the option.
        """
        for name in OWN if now != self else ():
            old, new = getattr(self, name), getattr(now, name)
            if old != new:
                raise ValueError(
                    f"{where}{name}={new!r} cannot be changed, the group was made with {old!r}; "
                    "put it back, or make a new optimizer and load the state_dict of this one"
                )

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        return {
            each.name: value
            for each in fields(self)
            if (value := getattr(self, each.name)) != each.default
        }

    @property
    def team(self) -> Limit:
        """The threads of a launch, and the cores on which they run."""
        return Team(self.threads, self.cores) if self.cores else self.threads

    @property
    def measures(self) -> bool:
        """True if a step needs the norm of its gradients."""
        return self.clip_norm is not None or self.skip_nonfinite

    @property
    def clips(self) -> bool:
        """True if gradients may be clipped by their norm; an infinite bound does not clip."""
        return _clips(self.clip_norm)

    @property
    def noisy(self) -> bool:
        """True if anything is rounded stochastically."""
        return self.rounding == "stochastic" or self.state_dtype == "int8"

    @property
    def accumulates(self) -> bool:
        return self.accumulate_steps > 1

    def ema_comp(self, step: int) -> float:
        """1 - decay at a step; with warm-up the decay is at most (1 + step) / (10 + step)."""
        assert self.ema_decay is not None
        decay = self.ema_decay
        return 1 - (min(decay, (1 + step) / (10 + step)) if self.ema_warmup else decay)

    def in_kernel(self, masked: bool, scaled: int) -> tuple[str, ...]:
        """The options of the kernels of a step.

        Args:
            masked: True for a step with masks.
            scaled: the range of the gradient scale: 0 without one, NEAR or FAR.
        """
        mask = "mask_state" if self.mask_state else "mask"
        of_step = {"grad_scale": scaled, "grad_power": scaled == FAR, mask: masked}
        names = [name for name, there in of_step.items() if there]
        for option_name, spec in SPECS.items():
            names += spec.transforms(getattr(self, option_name))
        return tuple(dict.fromkeys(names))

    def formats(self, param: Any, grad: str | None = None, size: int | None = None) -> Formats:
        """Formats of a parameter, its gradient and its state.

        Args:
            param: the array.
            grad: the name of the dtype of its gradient; None: that of the parameter.
            size: the number of elements, of the whole parameter if `param` is a piece of it.
        """
        return self.formats_of(name_of(param.dtype), grad, param.size if size is None else size)

    def formats_of(self, dtype: str, grad: str | None, size: int) -> Formats:
        """The formats of a parameter of a dtype with `size` elements."""
        small = self.state_dtype == "int8" and size < self.min_quantized_size
        return Formats(
            dtype,
            grad or dtype,
            None if small else self.state_dtype,
            self.compensation if dtype == "bfloat16" else None,
            self.rounding if dtype in NARROW else "nearest",
        )

    def check_rule(self, rule: Rule) -> None:
        """Refuse a rule with state that must be exact, if the options would round or mask it.

        Raises:
            ValueError: naming the option.
        """
        lines = [name for form in rule.forms for name in (*form.row_state, *form.column_state)]
        if lines and self.mask_state:
            raise ValueError(
                f"mask_state=True is for state of elements, but {rule.name} has one number of "
                f"{', '.join(lines)} for a row or column; leave it out"
            )
        if rule.exact and self.state_dtype in ROUNDED:
            raise ValueError(
                f"state_dtype={self.state_dtype!r}: the rule {rule.name} takes a difference of "
                "states, which may not be rounded; leave state_dtype out"
            )

    def check_complex(self, where: str) -> None:
        """Refuse options that are not defined for complex numbers.

        Raises:
            ValueError: naming the option.
        """
        for name in ("lower", "upper"):
            if (bound := getattr(self, name)) is not None:
                raise ValueError(
                    f"{where}{name}={bound!r} is a bound of real numbers, but there are parameters "
                    "of complex numbers; give these to a group without it"
                )

    def check_params(
        self, dtypes: Iterable[str], names: Iterable[str] | None = None, where: str = ""
    ) -> None:
        """Refuse options of low precision that no parameter supports.

        Args:
            dtypes: the dtypes of the parameters.
            names: the options to check.
            where: the beginning of messages.

        Raises:
            ValueError: naming the option.
        """
        known = {*dtypes}
        for name in LOW if names is None else names:
            value, those = getattr(self, name), LOW[name]
            if value not in (None, "nearest") and known and not known & {*those}:
                raise ValueError(
                    f"{where}{name}={value!r} is for {' and '.join(those)} parameters; these are "
                    f"{' and '.join(sorted(known))}"
                )


NAMES = tuple(each.name for each in fields(Options))
NAMES_SET = frozenset(NAMES)
SPECS: dict[str, OptionSpec] = {each.name: each.metadata["spec"] for each in fields(Options)}
OWN = tuple(name for name, spec in SPECS.items() if spec.own)
# Options of low precision, and the parameters that they are for.
LOW = {name: spec.dtypes for name, spec in SPECS.items() if spec.dtypes}
