"""Options of a step, each a function from rule to rule: what is not asked for does not exist."""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

from ..rules import Rule
from .compose import Stream
from .storage import BFLOAT16, BOOL, FLOAT, FLOAT16, Single, Storage


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


def summed(grad, extra):
    """Unscaled and added to those before it."""
    total, unscale = extra
    return total + grad * unscale


def limited(grad, extra):
    """`grad`, no further from zero than a bound; NaN stays."""
    (bound,) = extra
    return bound if grad > bound else -bound if grad < -bound else grad


def chosen(old, new, extra):
    """`new` for an element that is to move."""
    (moves,) = extra
    return new if moves else old, extra


def averaged(old, new, extra):
    average, comp = extra
    return new, (average + comp * (new - average), comp)


def copied(old, new, extra):
    return new, (new,)


class Extra(NamedTuple):
    """A stream that an option adds; without a storage, an array like the parameter."""

    storage: Storage | type[Single] | None = None
    mode: Literal["rw", "r", "w", "rz"] = "r"


class Option(NamedTuple):
    """What a step does besides its rule."""

    stage: Callable[[Rule, Callable[..., Any], tuple[str, ...]], Rule]
    change: Callable[..., Any]
    extras: dict[str, Extra]


NUMBER = Extra(Single)  # one for each parameter, in its dtype

# In the order in which they wrap a rule: of two before it, the later one acts first.
OPTIONS = {
    "clip_value": Option(before, limited, {"clip_value": NUMBER}),
    "grad_scale": Option(before, scaled, {"grad_scale": NUMBER}),
    "grad_sum": Option(before, summed, {"grad_sum": Extra(mode="rz"), "unscale": NUMBER}),
    "mask": Option(after, chosen, {"mask": Extra(BOOL)}),
    "ema": Option(after, averaged, {"ema": Extra(mode="rw"), "ema_comp": NUMBER}),
    "bfloat16": Option(after, copied, {"shadow": Extra(BFLOAT16, "w")}),
    "float16": Option(after, copied, {"shadow": Extra(FLOAT16, "w")}),
}
STATE = "state:"  # before the names that a rule gives, which may be those of options
ZERO_GRADS = "zero_grads"  # needs no stage: what is read is cleared


@cache
def staged(rule: Rule, options: tuple[str, ...]) -> Rule:
    """The rule with these options."""
    for name, option in OPTIONS.items():
        if name in options:
            rule = option.stage(rule, option.change, tuple(option.extras))
    return rule


def streams(rule: Rule, options: tuple[str, ...], dtype: str) -> tuple[Stream, ...]:
    """What a rule with options reads and writes; all but the options' own are of one dtype."""
    like = FLOAT[dtype]
    extras = [
        Stream(name, storage(dtype) if isinstance(storage, type) else storage or like, mode)
        for key, option in OPTIONS.items()
        if key in options
        for name, (storage, mode) in option.extras.items()
    ]
    states = [Stream(STATE + name, like) for name in rule.state]
    grad = Stream("grad", like, "rz" if ZERO_GRADS in options else "r")
    return (Stream("param", like), grad, *states, *extras)
