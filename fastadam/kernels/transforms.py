"""Transforms: each option of a step is a function from rule to rule, with its extra streams.

A kernel contains the code of the options in use only.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from ..rules import ROW, Rule
from .formats import BOOL, ROUND, Formats, floats
from .rule_parts import (
    check_row_state,
    directions_of,
    entries_of,
    finish_of,
    terms_for,
    terms_of,
    with_first,
)
from .scalar import stochastic
from .storage.base import Storage
from .storage.elementwise import Noise, Single


def before(inner: Rule, change: Callable[..., Any], extras: tuple[str, ...]) -> Rule:
    """Apply `change(grad, extra) -> grad` before the rule, with additional state `extras`."""
    function, split = inner.snapshot, len(inner.state)

    def staged(param, grad, state, h):
        own, extra = state[:split], state[split:]
        new, own = function(param, change(grad, extra), own, h)
        return new, own + extra

    staged.__name__ = inner.name
    return Rule(staged, inner.state + extras, inner.hyper, inner.exact)


def relative(inner: Rule, change: Callable[..., Any], extras: tuple[str, ...]) -> Rule:
    """Apply `change(param, grad, extra) -> grad` before the rule, with additional state."""
    function, split = inner.snapshot, len(inner.state)

    def staged(param, grad, state, h):
        own, extra = state[:split], state[split:]
        new, own = function(param, change(param, grad, extra), own, h)
        return new, own + extra

    staged.__name__ = inner.name
    return Rule(staged, inner.state + extras, inner.hyper, inner.exact)


def after(inner: Rule, change: Callable[..., Any], extras: tuple[str, ...]) -> Rule:
    """Apply `change(old, new, extra) -> (new, extra)` to the parameter after the rule, with
    additional state `extras`."""
    function, split = inner.snapshot, len(inner.state)

    def staged(param, grad, state, h):
        own, extra = state[:split], state[split:]
        new, own = function(param, grad, own, h)
        new, extra = change(param, new, extra)
        return new, own + extra

    staged.__name__ = inner.name
    return Rule(staged, inner.state + extras, inner.hyper, inner.exact)


def around(inner: Rule, change: Callable[..., Any], extras: tuple[str, ...]) -> Rule:
    """Apply `change(old, new, extra)` to the parameter and to each number of state after the rule,
    with additional state `extras`."""
    function, split = inner.snapshot, len(inner.state)
    each = _changing(change, split)

    def staged(param, grad, state, h):
        own, extra = state[:split], state[split:]
        new, after = function(param, grad, own, h)
        return change(param, new, extra), each(own, after, extra) + extra

    staged.__name__ = inner.name
    return Rule(staged, inner.state + extras, inner.hyper, inner.exact)


def _changing(change: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The function that applies `change` to the first numbers of two tuples."""

    def none(old, new, extra):
        return ()

    if not count:
        return none
    rest, k = _changing(change, count - 1), count - 1

    def changed(old, new, extra):
        return rest(old, new, extra) + (change(old[k], new[k], extra),)

    changed.__name__ = f"changed_{count}"  # compiled functions are found by their names
    return changed


def inputs_of_first(rule: Rule) -> tuple[str, ...]:
    """The streams of a rule that its first part depends on; the kernel reads no others."""
    names = ("param", "grad", *(STATE + name for name in rule.state))
    halves = [0.5] * len(names)

    def matters(place: int, constant: float) -> bool:
        inputs = [math.nan if place == k else half for k, half in enumerate(halves)]
        return repr(terms_for(rule, inputs, constant)) != repr(terms_for(rule, halves, constant))

    # zeros as well as other constants, since a rule may compare them with zero
    return tuple(n for k, n in enumerate(names) if matters(k, 0.5) or matters(k, 0.0))


def caught_up(inner: Rule, idle: Rule) -> Rule:
    """The rule, applied after that of steps without a gradient, which have constants of their
    own."""
    known: dict[Any, Rule] = inner.staged
    if idle not in known:
        function, before = inner.snapshot, idle.snapshot

        def staged(param, grad, state, h):
            param, state = before(param, grad, state, h)
            return function(param, grad, state, h)

        staged.__name__ = inner.name
        known[idle] = Rule(staged, inner.state, inner.hyper + idle.hyper, inner.exact)
    return known[idle]


def scaled(grad, extra):
    (factor,) = extra
    return grad * factor


def summed(grad, extra):
    """The unscaled gradient added to the sum of those before it."""
    total, unscale = extra
    return total + grad * unscale


def toward(param, grad, extra):
    """The gradient that leads from the parameter to a target, which is given in its place."""
    return param - grad


def away(grad, extra):
    """The same where the parameter is an input of its own."""
    (param,) = extra
    return param - grad


def limited(grad, extra):
    """`grad` clipped to [-bound, bound]; NaN stays NaN."""
    (bound,) = extra
    return bound if grad > bound else -bound if grad < -bound else grad


def chosen(old, new, extra):
    """`new` for an element that the mask selects, else `old`."""
    (selected,) = extra
    return new if selected else old, extra


def kept(old, new, extra):
    """`new` for an element that a mask selects, else `old`."""
    (selected,) = extra
    return new if selected else old


def raised(old, new, extra):
    """`new`, but not below a bound; NaN stays NaN."""
    (bound,) = extra
    return (bound if new < bound else new), extra


def lowered(old, new, extra):
    """`new`, but not above a bound; NaN stays NaN."""
    (bound,) = extra
    return (bound if new > bound else new), extra


def averaged(old, new, extra):
    average, comp = extra
    return new, (average + comp * (new - average), comp)


def copied(old, new, extra):
    return new, (new,)


def rounded(cut):
    """The transform that rounds a new parameter to its format stochastically, by `cut`."""

    def change(old, new, extra):
        (noise,) = extra
        return cut(new, noise), extra

    return change


def arithmetic(formats: Formats) -> Storage:
    return floats(formats.compute, formats.compute)


class Extra(NamedTuple):
    """A stream that an option adds, in a storage, or in one that follows from the formats."""

    storage: Storage | Callable[[Formats], Storage] = arithmetic
    mode: Literal["rw", "r", "w", "rz"] = "r"


class Option(NamedTuple):
    """An option of a step.

    Attributes:
        stage: `before`, `relative`, `after` or `around`, which wraps the rule.
        change: the function applied before or after the rule.
        extras: the streams that `change` takes, by name.
    """

    stage: Callable[[Rule, Callable[..., Any], tuple[str, ...]], Rule]
    change: Callable[..., Any]
    extras: dict[str, Extra]


TOUCHED = "touched"  # marks the elements of a block that a row-sparse gradient has
NUMBER = Extra(lambda formats: Single(formats.compute))  # one for each parameter
NOISE = {"noise": Extra(Noise())}

# In the order in which they wrap a rule: of two `before` it, the later one is applied first.
OPTIONS = {
    "clip_value": Option(before, limited, {"clip_value": NUMBER}),
    "grad_scale": Option(before, scaled, {"grad_scale": NUMBER}),
    "grad_sum": Option(before, summed, {"grad_sum": Extra(mode="rz"), "unscale": NUMBER}),
    "grad_power": Option(before, scaled, {"grad_power": NUMBER}),
    "lower": Option(after, raised, {"lower": NUMBER}),
    "upper": Option(after, lowered, {"upper": NUMBER}),
    "mask": Option(after, chosen, {"mask": Extra(BOOL)}),
    "mask_state": Option(around, kept, {"mask": Extra(BOOL)}),
    "ema": Option(after, averaged, {"ema": Extra(mode="rw"), "ema_comp": NUMBER}),
    TOUCHED: Option(around, kept, {TOUCHED: Extra(BOOL)}),
    "bfloat16": Option(after, copied, {"shadow": Extra(floats("bfloat16", "float32"), "w")}),
    "float16": Option(after, copied, {"shadow": Extra(floats("float16", "float32"), "w")}),
    "float32": Option(after, copied, {"shadow": Extra(floats("float32", "float32"), "w")}),
    ROUND + "bfloat16": Option(after, rounded(stochastic.to_bfloat16), NOISE),
    ROUND + "split8": Option(after, rounded(stochastic.to_24_bits), NOISE),
    ROUND + "float16": Option(after, rounded(stochastic.to_float16), NOISE),
}
SOURCES = {  # "origin" is for kernels that do not read parameters
    "target": Option(relative, toward, {}),
    "origin": Option(before, away, {"origin": Extra(lambda formats: formats.param_storage)}),
}
STAGES = OPTIONS | SOURCES
CHANGES = (before, relative)  # the stages that change gradients
STATE = "state:"  # prefix of a rule's names of state, which may equal names of options
SUM = "sum:"  # prefix of its names of sums
FACTOR = "factor:"  # prefix of its names of rows and columns, for what it reads of them
ZERO_GRADS = "zero_grads"  # needs no stage: the gradient's stream has mode "rz"


def staged(rule: Rule, options: tuple[str, ...]) -> Rule:
    """The rule wrapped by these options, cached in the rule.

    That of a rule with sums over rows has their terms, which the same kernel computes.
    """
    names = tuple(name for name in STAGES if name in options)
    whole = _wrapped(rule, names, with_first)
    if rule.over != ROW:
        return whole
    if (ROW, names) not in rule.staged:
        check_row_state(rule)
        terms = staged_terms(rule, options)
        rule.staged[ROW, names] = replace(
            whole, sums=rule.sums, over=ROW, prepare=terms, row_state=rule.row_state
        )
    found: Rule = rule.staged[ROW, names]
    return found


def staged_terms(rule: Rule, options: tuple[str, ...]) -> Rule:
    """The first part of a rule with those of the options that change gradients."""
    return _wrapped(rule, of_gradients(options), terms_of if rule.sums else entries_of)


def staged_directions(rule: Rule, options: tuple[str, ...]) -> tuple[Rule, Rule]:
    """The two parts of a rule with a direction, the first with options that change gradients."""
    names = of_gradients(options)
    return _wrapped(rule, names, directions_of), _wrapped(rule, (), finish_of)


def of_gradients(options: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the options that change gradients."""
    return tuple(n for n, each in STAGES.items() if n in options and each.stage in CHANGES)


def _wrapped(rule: Rule, names: tuple[str, ...], part: Callable[[Rule], Rule]) -> Rule:
    """A part of a rule in two, or a rule in one, wrapped by options, cached in the rule."""
    if not (names or rule.in_two_parts):
        return rule
    known, key = rule.staged, (part, names)
    if key not in known:
        if names:
            inner, option = _wrapped(rule, names[:-1], part), STAGES[names[-1]]
            known[key] = option.stage(inner, option.change, tuple(option.extras))
        else:
            known[key] = part(rule)
    made: Rule = known[key]
    return made
