"""Options of a step, each a function from rule to rule: what is not asked for does not exist."""

from collections.abc import Callable
from typing import Any

from ..rules import Rule


def before(inner: Rule, change: Callable[..., Any], *hyper: str) -> Rule:
    """`change(param, grad, h) -> grad`, ahead of the rule."""
    function = inner.function

    def staged(param, grad, state, h):
        return function(param, change(param, grad, h), state, h)

    staged.__name__ = inner.name
    return Rule(staged, inner.state, inner.hyper + hyper)


def after(inner: Rule, change: Callable[..., Any], extra: str, *hyper: str) -> Rule:
    """`change(old, new, value, h) -> (new, value)`, behind the rule, on the parameter and on one
    more state, called `extra`."""
    function = inner.function

    def staged(param, grad, state, h):
        new, rest = function(param, grad, state[:-1], h)
        new, value = change(param, new, state[-1], h)
        return new, rest + (value,)

    staged.__name__ = inner.name
    return Rule(staged, inner.state + (extra,), inner.hyper + hyper)
