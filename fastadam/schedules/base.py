"""The base classes of schedules: step count, warm-up, hold at the end, checks, repr.

Warm-up: P. Goyal et al., Accurate, Large Minibatch SGD, arXiv 2017, section 2.2.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

from ..validation import NOT_NEGATIVE, POSITIVE, check_known, choice, count, flag, number

FROM_ZERO = {"warmup", "patience", "cooldown"}  # counts that may be 0
NOT_ZERO = {"div_factor", "final_div_factor", "timescale"}  # numbers that must not be 0


@dataclass(frozen=True, repr=False)
class Schedule:
    r"""A function of the step, counted from 1: a linear warm-up, then the formula.

    $$s_k = \begin{cases} f(0)\, k / w & k \le w \\ f(k - w - 1) & k > w \end{cases}$$

    A subclass is a dataclass with the formula \(f\). The annotation of a field sets its range: a
    float is finite and at least 0, an int is a count.

    Args:
        warmup: steps of linear warm-up \(w\), default 0: the schedule begins after them.

    Raises:
        TypeError: for an argument or a step of the wrong kind.
        ValueError: for one out of range.
    """

    warmup: int = field(default=0, kw_only=True)

    def __new__(cls, *args: Any, **keywords: Any) -> Any:
        check_known(keywords, [each.name for each in fields(cls) if each.init], f"{cls.__name__}()")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.init:
                self._set(each.name, _checked(each.name, getattr(self, each.name), each.type))

    def __call__(self, step: int) -> float:
        if type(step) is not int or step < 1:
            step = count("step", step, 1)
        t = step - self.warmup - 1
        return self._at(t) if t >= 0 else self._at(0) * (step / self.warmup)

    @property
    def peak(self) -> float | None:
        """The largest value; None if it is not known before the steps."""
        lr = getattr(self, "lr", None)
        if lr is None or hasattr(self, "factors") or getattr(self, "gamma", 0) > 1:
            return None
        return float(max(lr, getattr(self, "end", lr)))

    def _at(self, t: int) -> float:
        """The formula, `t` steps after its first."""
        raise NotImplementedError

    def _set(self, name: str, value: Any) -> None:
        """Write to a frozen field."""
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """The call that creates an equal schedule; `warmup` comes last, defaults are omitted."""
        parts = []
        for each in sorted(fields(self), key=lambda each: (each.kw_only, each.name == "warmup")):
            value = getattr(self, each.name)
            if each.init and value != each.default:
                parts.append(f"{each.name}={value!r}" if each.kw_only else repr(value))
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, repr=False)
class Finite(Schedule):
    """A schedule of a given length, which then holds its last value.

    Args:
        steps: the total number of steps, including the warm-up.
        warmup: steps of linear warm-up, fewer than `steps`, default 0.
    """

    steps: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup >= self.steps:
            raise ValueError(
                f"warmup={self.warmup} must be less than steps={self.steps}, which include the "
                "warm-up; give a smaller warmup"
            )

    def _at(self, t: int) -> float:
        n = self.steps - self.warmup
        return self._of(min(t, n), n)

    def _of(self, t: int, n: int) -> float:
        """The formula, `t` steps after its first; it ends at `t = n`."""
        raise NotImplementedError


def between(end: float, start: float, share: float) -> float:
    """`start` at share 1, `end` at share 0, both exactly."""
    return start if share == 1 else end + (start - end) * share


def grown(start: float, factor: float, times: int) -> float:
    """`start * factor**times`, infinite on overflow."""
    try:
        return start * factor**times
    except OverflowError:
        return math.inf if start else 0.0


def _checked(name: str, value: Any, kind: Any) -> Any:
    """Check an argument; returns numbers and strings as plain Python values."""
    if kind is int:
        return count(name, value, 0 if name in FROM_ZERO else 1)
    if kind is float:
        return number(name, value, POSITIVE if name in NOT_ZERO else NOT_NEGATIVE)
    if kind is bool:
        return flag(name, value)
    if get_origin(kind) is Literal:
        return choice(name, value, get_args(kind))
    return value
