"""The two parts of a rule with sums or a matrix, as rules of their own."""

import math
from collections import namedtuple
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..rules import MATRIX, ROW, SIZE, Rule
from .composed import tuple_of
from .row_pieces import COLUMN_SPAN, ROW_LENGTH


def with_first(inner: Rule) -> Rule:
    """The second part of a rule; the results of the first are further state of it."""
    function, split, names = inner.snapshot, len(inner.state), results_of(inner)
    together, end = _record(names), split + len(names)

    def staged(param, grad, state, h):
        own, rest = state[:split], state[split:]
        new, own = function(param, grad, own, h, together(*state[split:end]))
        return new, own + rest

    staged.__name__ = inner.name
    return Rule(staged, inner.state + names + lengths_of(inner), inner.hyper, inner.exact)


def lengths_of(rule: Rule) -> tuple[str, ...]:
    """The names of the numbers that the loop of a kernel over rows reads."""
    if rule.column_state:
        return ROW_LENGTH, COLUMN_SPAN
    return (ROW_LENGTH,) if rule.over == ROW else ()


@cache
def _record(names: tuple[str, ...]) -> Any:
    """A class of named tuples, the same for the same names."""
    return namedtuple("Record", names)


def by_element(inner: Rule, compute: str) -> Rule:
    """A rule with sums over rows for rows of one element, whose terms are the sums, in the dtype of
    the arithmetic."""
    assert inner.prepare
    check_row_state(inner)
    _check_terms(inner)
    function, first = inner.snapshot, inner.prepare.snapshot
    together, sums = _record(results_of(inner)), _sums_of_one(len(inner.sums), compute)

    def staged(param, grad, state, h):
        return function(param, grad, state, h, together(*sums(first(param, grad, state, h))))

    staged.__name__ = f"{inner.name}_by_element"
    return Rule(staged, inner.state, inner.hyper, inner.exact)


def _sums_of_one(count: int, compute: str) -> Callable[..., Any]:
    """The function from the terms of one element to its sums, which are never -0, and its size."""
    each = [f"number(terms[{k}]) + 0.0" for k in range(count)]
    sums: Callable[..., Any] = tuple_of("terms", [*each, "1.0"], number=np.dtype(compute).type)
    return sums


def terms_of(inner: Rule) -> Rule:
    """The first part of a rule with sums: the terms of an element are further state of it.

    Raises:
        TypeError: if the rule does not return a term for each sum.
    """
    assert inner.prepare
    function, split, count = inner.prepare.snapshot, len(inner.state), len(inner.sums)
    _check_terms(inner)
    each, end = _widening(count), split + count
    lengths = lengths_of(inner) if inner.factors else ()

    def staged(param, grad, state, h):
        own = state[:split]
        return param, own + each(function(param, grad, own, h)) + state[end:]

    staged.__name__ = f"{inner.name}_terms"
    return Rule(staged, inner.state + inner.sums + lengths, inner.hyper, inner.exact)


DIRECTION = "direction"  # the stream of the numbers that the two parts of a rule share


def directions_of(inner: Rule) -> Rule:
    """The first part of a rule with a direction: its terms and its number of an element are further
    state of it."""
    assert inner.prepare
    assert inner.direction
    first, direction = inner.prepare.snapshot, inner.direction.snapshot
    split, each = len(inner.state), _widening(len(inner.sums))

    def staged(param, grad, state, h):
        own = state[:split]
        number, new = direction(param, grad, own, h)
        return param, new + each(first(param, grad, own, h)) + (number,)

    staged.__name__ = f"{inner.name}_directions"
    return Rule(staged, (*inner.state, *inner.sums, DIRECTION), inner.hyper, inner.exact)


def finish_of(inner: Rule) -> Rule:
    """The second part of a rule with a direction, which takes its number as a gradient."""
    assert inner.finish
    function, names = inner.finish.snapshot, results_of(inner)
    together = _record(names)

    def staged(param, grad, state, h):
        return function(param, grad, h, together(*state)), state

    staged.__name__ = f"{inner.name}_finish"
    return Rule(staged, names, inner.hyper, inner.exact)


def entries_of(inner: Rule) -> Rule:
    """The first part of a rule with a matrix: its element is further state of it."""
    assert inner.matrix
    function, split = inner.matrix.snapshot, len(inner.state)

    def staged(param, grad, state, h):
        own = state[:split]
        return param, own + (function(param, grad, own, h),)

    staged.__name__ = f"{inner.name}_entries"
    return Rule(staged, (*inner.state, MATRIX), inner.hyper, inner.exact)


def terms_for(rule: Rule, inputs: list[float], constant: float = 0.5) -> Any:
    """The terms, or the entry of a matrix, for these values of param, grad and state, and of all
    constants."""
    first = rule.prepare or rule.matrix
    assert first
    h = _record(rule.hyper)(*[np.float64(constant)] * len(rule.hyper))
    param, grad, *state = map(np.float64, inputs)
    return first(param, grad, tuple(state), h)


def _check_terms(rule: Rule) -> None:
    """Refuse a rule without a term for each sum."""
    assert rule.prepare
    terms, count = terms_for(rule, [0.5] * (2 + len(rule.state))), len(rule.sums)
    if not isinstance(terms, tuple) or len(terms) != count:
        raise TypeError(
            f"rule {rule.name}: {rule.prepare.name} returns {terms!r}; it must return a tuple of "
            f"{count} numbers, even of one, for the sums {rule.sums!r}"
        )


def check_row_state(rule: Rule) -> None:
    """Refuse a rule whose numbers of rows depend on single elements.

    Raises:
        TypeError: naming such state.
    """
    one, s = np.float64(0.5), _record(results_of(rule))(*[np.float64(0.5)] * len(results_of(rule)))
    h = _record(rule.hyper)(*[one] * len(rule.hyper))

    def after(element: Any) -> list[str]:
        old = tuple(one if name in rule.row_state else element for name in rule.state)
        _, new = rule(element, element, old, h, s)
        return [repr(each) for each in new]

    pairs = zip(rule.state, after(np.float64(0.5)), after(np.float64(math.nan)), strict=True)
    for name, first, second in pairs:
        if name in rule.row_state and first != second:
            raise TypeError(
                f"rule {rule.name}: state {name!r} has one number for each row, but depends on the "
                "parameter, the gradient or other state of an element; compute it from sums, "
                "constants and row_state alone"
            )


def _widening(count: int) -> Callable[..., Any]:
    """The function that converts a tuple of terms to float64, in which they are added."""

    each = [f"float64(terms[{k}])" for k in range(count)]
    widened: Callable[..., Any] = tuple_of("terms", each, float64=np.float64)
    return widened


def results_of(rule: Rule) -> tuple[str, ...]:
    """The names of the numbers that the second part of a rule finds in `s`."""
    if rule.matrix:
        return (MATRIX,)
    return rule.sums if rule.over == "all" else (*rule.sums, SIZE)
