"""Options of a step, each a function from rule to rule: what is not asked for does not exist."""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

from ..rules import Rule
from .compose import Stream
from .storage import BOOL, FLOAT, Single, Storage


def before(inner: Rule, change: Callable[..., Any], extras: tuple[str, ...]) -> Rule:
    """`change(grad, extra) -> grad`, ahead of the rule, with more state, named `extras`."""
    function, split = inner.function, len(inner.state)

    def staged(param, grad, state, h):
        own, extra = state[:split], state[split:]
        new, own = function(param, change(grad, extra), own, h)
        return new, own + extra

    staged.__name__ = inner.name
    return Rule(staged, inner.state + extras, inner.hyper)


def after(inner: Rule, change: Callable[..., Any], extras: tuple[str, ...]) -> Rule:
    """`change(old, new, extra) -> (new, extra)`, behind the rule, on the parameter and on more
    state, named `extras`."""
    function, split = inner.function, len(inner.state)

    def staged(param, grad, state, h):
        own, extra = state[:split], state[split:]
        new, own = function(param, grad, own, h)
        new, extra = change(param, new, extra)
        return new, own + extra

    staged.__name__ = inner.name
    return Rule(staged, inner.state + extras, inner.hyper)


def scaled(grad, extra):
    (factor,) = extra
    return grad * factor


def limited(grad, extra):
    """`grad`, no further from zero than a bound; NaN stays."""
    (bound,) = extra
    return bound if grad > bound else -bound if grad < -bound else grad


def chosen(old, new, extra):
    """`new` for an element that is to move."""
    (moves,) = extra
    return new if moves else old, extra


class Extra(NamedTuple):
    """A stream that an option adds; without a storage, one number per parameter in its dtype."""

    storage: Storage | None = None
    mode: Literal["rw", "r", "w", "rz"] = "r"


class Option(NamedTuple):
    """What a step does besides its rule."""

    stage: Callable[[Rule, Callable[..., Any], tuple[str, ...]], Rule]
    change: Callable[..., Any]
    extras: dict[str, Extra]


# In the order in which they wrap a rule: of two before it, the later one acts first.
OPTIONS = {
    "clip_value": Option(before, limited, {"clip_value": Extra()}),
    "grad_scale": Option(before, scaled, {"grad_scale": Extra()}),
    "mask": Option(after, chosen, {"mask": Extra(BOOL)}),
}


@cache
def staged(rule: Rule, options: tuple[str, ...]) -> Rule:
    """The rule with these options."""
    for name, option in OPTIONS.items():
        if name in options:
            rule = option.stage(rule, option.change, tuple(option.extras))
    return rule


def streams(rule: Rule, options: tuple[str, ...], dtype: str) -> tuple[Stream, ...]:
    """What a rule with options reads and writes; all but the options' own are of one dtype."""
    number, single = FLOAT[dtype], Single(dtype)
    extras = [
        Stream(name, extra.storage or single, extra.mode)
        for key, option in OPTIONS.items()
        if key in options
        for name, extra in option.extras.items()
    ]
    states = [Stream(name, number) for name in rule.state]
    return (Stream("param", number), Stream("grad", number, "r"), *states, *extras)
