"""What a step does besides its rule: one set of options for all parameters of an optimizer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np

from .kernels.formats import NARROW, PAIRS, Formats
from .kernels.stages import ZERO_GRADS
from .kernels.threads import check_threads
from .memory.dtypes import name_of
from .rules import Rule

ROUNDED = ("bfloat16", "int8")
STATES = ("float32", *ROUNDED)
ROUNDINGS = ("nearest", "stochastic")


@dataclass(frozen=True)
class Options:
    """Keyword arguments of every optimizer; see [Optimizer][fastadam.Optimizer].

    Raises:
        TypeError, ValueError: for one of the wrong kind or out of range.
    """

    threads: int | None = None
    clip_norm: float | None = None
    clip_norm_per: str = "global"
    clip_value: float | None = None
    skip_nonfinite: bool = False
    ema_decay: float | None = None
    ema_warmup: bool = False
    shadow_dtype: str | None = None
    zero_grads: bool = False
    accumulate_steps: int = 1
    state_dtype: str | None = None
    min_quantized_size: int = 4096
    rounding: str = "nearest"
    compensation: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "threads", check_threads(self.threads))
        for name in ("clip_norm", "clip_value", "ema_decay"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _number(name, value))
        for name in ("clip_norm", "clip_value"):
            if not (getattr(self, name) or 0) >= 0:
                raise ValueError(
                    f"{name}={getattr(self, name)} is not at least 0; None is no bound"
                )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay} is outside [0, 1); 0.999 is usual")
        for name in ("skip_nonfinite", "ema_warmup", "zero_grads"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise TypeError(f"{name}={getattr(self, name)!r} is not a bool")
        if self.ema_warmup and self.ema_decay is None:
            raise ValueError("ema_warmup=True needs an ema_decay")
        _check_choice("clip_norm_per", self.clip_norm_per, ("global", "tensor"))
        _check_choice("shadow_dtype", self.shadow_dtype, (None, *NARROW))
        _check_choice("state_dtype", self.state_dtype, (None, *STATES))
        _check_choice("rounding", self.rounding, ROUNDINGS)
        _check_choice("compensation", self.compensation, (None, *PAIRS))
        _check_count("accumulate_steps", self.accumulate_steps, 1, "1 updates at every step")
        _check_count("min_quantized_size", self.min_quantized_size, 0, "0 quantizes all state")
        _check_count("seed", self.seed, 0, "any number above will do")
        if self.rounding == "stochastic" and self.compensation in ("kahan", "split16"):
            raise ValueError(
                f"rounding='stochastic' has nothing to round with compensation="
                f"{self.compensation!r}; leave one out"
            )

    @property
    def measures(self) -> bool:
        """Whether a step wants the norm of its gradients."""
        return self.clip_norm is not None or self.skip_nonfinite

    @property
    def clips(self) -> bool:
        """Whether gradients may be clipped by their norm; an infinite bound only measures."""
        return self.clip_norm is not None and self.clip_norm < math.inf

    @property
    def noisy(self) -> bool:
        """Whether anything is rounded by chance."""
        return self.rounding == "stochastic" or self.state_dtype == "int8"

    @property
    def accumulates(self) -> bool:
        return self.accumulate_steps > 1

    def ema_comp(self, step: int) -> float:
        """1 - decay at a step; with warm-up the decay is at most (1 + step) / (10 + step)."""
        assert self.ema_decay is not None
        decay = self.ema_decay
        return 1 - (min(decay, (1 + step) / (10 + step)) if self.ema_warmup else decay)

    def in_kernel(self, masked: bool, scaled: bool) -> tuple[str, ...]:
        """The options that the kernels have, for a step with masks or with a scale of its own."""
        wanted = {
            "clip_value": self.clip_value is not None,
            "grad_scale": scaled or self.clips or self.accumulates,
            "grad_sum": self.accumulates,
            "mask": masked,
            "ema": self.ema_decay is not None,
            self.shadow_dtype: self.shadow_dtype is not None,
            ZERO_GRADS: self.zero_grads,
        }
        return tuple(name for name, there in wanted.items() if name and there)

    def formats(self, param: Any, grad: str | None = None, size: int | None = None) -> Formats:
        """How a parameter, its gradient (of a dtype of its own, or the same) and what goes with
        them are kept; `size` is that of the whole parameter, where `param` is a part of it."""
        dtype, size = name_of(param.dtype), param.size if size is None else size
        small = self.state_dtype == "int8" and size < self.min_quantized_size
        return Formats(
            dtype,
            grad or dtype,
            None if small else self.state_dtype,
            self.compensation if dtype == "bfloat16" else None,
            self.rounding if dtype in NARROW else "nearest",
        )

    def check_rule(self, rule: Rule) -> None:
        """Refuse a rule whose state may not be rounded where it would be.

        Raises:
            ValueError: naming the option.
        """
        if rule.exact and self.state_dtype in ROUNDED:
            raise ValueError(
                f"state_dtype={self.state_dtype!r}: the rule {rule.name} takes a difference of "
                "states, which may not be rounded; leave state_dtype out"
            )

    def check_params(self, dtypes: Iterable[str]) -> None:
        """Refuse options of low precision that none of the parameters could follow.

        Raises:
            ValueError: naming the option.
        """
        known = {*dtypes}
        if self.rounding == "stochastic" and not known & NARROW.keys():
            raise ValueError(
                f"rounding='stochastic' is for bfloat16 and float16 parameters; these are "
                f"{' and '.join(sorted(known))}"
            )
        if self.compensation and "bfloat16" not in known:
            raise ValueError(
                f"compensation={self.compensation!r} is for bfloat16 parameters; these are "
                f"{' and '.join(sorted(known))}"
            )


NAMES = tuple(field.name for field in fields(Options))


def _number(name: str, value: Any) -> float:
    """A float; infinite where a number is too large for one."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r} is not a number; give one, or None to switch it off")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]


def _check_choice(name: str, value: Any, choices: tuple[str | None, ...]) -> None:
    if not (value is None or isinstance(value, str)) or value not in choices:
        raise ValueError(f"{name}={value!r}; give one of {choices}")


def _check_count(name: str, value: Any, least: int, meaning: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} is not an int")
    if value < least:
        raise ValueError(f"{name}={value} is less than {least}; {meaning}")


def unscale_of(grad_scale: Any, dtypes: Iterable[Any]) -> float:
    """What gradients of these dtypes are multiplied by to undo a loss scale; 1 without any.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not above zero and finite, or cannot be undone in a dtype.
    """
    if grad_scale is None:
        return 1.0
    scale = _one_number("grad_scale", grad_scale)
    for numbers in map(np.finfo, dtypes):
        low, high = 1 / float(numbers.max), 1 / float(numbers.tiny)
        if not low <= scale <= high:
            raise ValueError(
                f"step(): grad_scale={grad_scale!r} is not between {low:.1g} and {high:.1g}; give "
                "the number that the loss was multiplied by"
            )
    return 1 / scale


def flag_of(found_inf: Any) -> bool:
    """Whether gradients are known to be of no use: True, False, or a number as PyTorch keeps it.

    Raises:
        TypeError, ValueError: if it is none of these.
    """
    if isinstance(found_inf, bool | np.bool_):
        return bool(found_inf)
    number = _one_number("found_inf", found_inf)
    if number not in (0, 1):
        raise ValueError(f"step(): found_inf={found_inf!r}; give True or False")
    return number == 1


def _one_number(name: str, value: Any) -> float:
    """A float from a number, or from an array of one."""
    try:
        if isinstance(value, bool | np.bool_ | str | bytes):
            raise TypeError
        return float(value.item() if hasattr(value, "item") else value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"step(): {name}={value!r} is not a number") from None
