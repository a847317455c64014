"""Functions made of others: all called with the same arguments, or their results joined."""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any


def same(part: Any) -> Any:
    return part


def chain(join: Callable[[Any, Any], Any], items: Iterable[Any], end: Any) -> Any:
    return reduce(lambda rest, item: join(item, rest), reversed([*items]), end)


def halves(join: Any, count: int) -> Any:
    """The function that joins the items of a tuple: those half of it apart, then a quarter, ..."""
    if count == 1:
        return lambda items: items[0]
    half = count // 2

    def pair(k, rest):
        return lambda items: (join(items[k], items[half + k]),) + rest(items)

    pairs, rest = chain(pair, range(half), lambda items: ()), halves(join, half)
    return lambda items: rest(pairs(items))


def each_of(functions: Iterable[Any], arguments: int) -> Any:
    """The function that calls all functions with the same arguments, and returns their results."""
    ways = (
        (lambda: (), lambda f, rest: lambda: (f(),) + rest()),
        (lambda a: (), lambda f, rest: lambda a: (f(a),) + rest(a)),
        (lambda a, b: (), lambda f, rest: lambda a, b: (f(a, b),) + rest(a, b)),
    )
    end, join = ways[arguments]
    return chain(join, functions, end)


def all_of(functions: Iterable[Any], arguments: int) -> Any:
    """The function that calls all functions, which return nothing."""

    def three(function, rest):
        def both(a, b, c):
            function(a, b, c)
            rest(a, b, c)

        return both

    def four(function, rest):
        def both(a, b, c, d):
            function(a, b, c, d)
            rest(a, b, c, d)

        return both

    if arguments == 3:
        return chain(three, functions, lambda a, b, c: None)
    return chain(four, functions, lambda a, b, c, d: None)
