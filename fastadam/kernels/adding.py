"""Sums of blocks of elements whose terms stay in registers.

These pieces are functions of their own for the compiler: it would take a long time over the terms
of sixteen elements in one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class Added(NamedTuple):
    """The addition of the terms of an element, as functions.

    Attributes:
        pick: `pick(values)` returns the terms among the new values of an element, as a tuple.
        join: `join(one, other)` adds two such tuples.
        write: `write(at, i, sums)` writes the sums.
        partial: the number of sums of a complete block.
    """

    pick: Callable[..., Any]
    join: Callable[..., Any]
    write: Callable[..., Any]
    partial: int


def added_in_halves(
    single: Any, read: Any, element: Any, added: Added, loop: Any, block: int
) -> Callable[..., None]:
    """The function that adds the terms of the elements of a complete block to `partial` sums, those
    half a block apart, then a quarter, and so on; other blocks are left to `single`.

    The terms of a sum stay in registers.
    """
    pick, join, write, partial = added

    def one(at, i, h):
        return pick(element(read(at, i), h))

    def both(add, apart):
        def added(at, i, h):
            return join(add(at, i, h), add(at, i + apart, h))

        added.__name__ = f"added_{apart}"  # compiled functions are found by their names
        return added

    add, apart = one, block
    while apart > partial:
        apart //= 2
        add = both(add, apart)

    def step(at, i, h):
        write(at, i, add(at, i, h))

    sums = loop(step)

    def elements(at, first, count, h):
        if count < block:
            single(at, first, count, h)
        else:
            sums(at, 0, partial, h)

    return elements
