"""Sums of blocks of elements whose terms stay in registers.

These pieces are functions of their own for the compiler: it would take a long time over the terms
of sixteen elements in one.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .prefetching import DISTANCE, STRIDE, in_strides
from .storage.base import Storage
from .storage.block_sums import LANES
from .target import MemoryAccess


class Added(NamedTuple):
    """The addition of the terms of an element, as functions.

    Attributes:
        pick: `pick(values)` returns the terms among the new values of an element, as a tuple.
        put: `put(at, i, values)` writes the others, if any is written; else None.
        join: `join(one, other)` adds two such tuples.
        write: `write(at, i, sums)` writes the sums.
        kept: `kept(at, i)` returns sums that were written.
        partial: the number of sums of a complete block.
        nothing: `nothing(values)` returns as many zeros.
        alone: True if the elements of one array are added; see `in_long_runs`.
    """

    pick: Callable[..., Any]
    put: Callable[..., Any] | None
    join: Callable[..., Any]
    write: Callable[..., Any]
    kept: Callable[..., Any]
    partial: int
    nothing: Callable[..., Any]
    alone: bool


def in_long_runs(storages: Sequence[Storage]) -> bool:
    """True if all sums of a block are added at once, so that an array is read in runs of several
    cache lines; for several arrays, or numbers to be converted, that takes too many registers.

    Args:
        storages: of the sums, and of what is read.
    """
    return [each.stored[0].dtype for each in storages[1:]] == ["float32"]


LEAST = 64  # elements of a block of which only the last of eight parts may be shorter


def added_in_eighths(
    single: Any, whole: Any, read: Any, element: Any, added: Added, loop: Any, block: int
) -> Callable[..., None]:
    """The function that adds the terms of elements an eighth of a block apart, where it is not
    complete; `whole` is for complete blocks, `single` for those of few elements, whose terms it
    leaves apart. The sums are in the order of `Sums`, whose first level they are.
    """
    pick, _, join, write, _, _, nothing, _ = added

    def one(at, i, h):
        return pick(element(read(at, i), h))

    def two(at, i, apart, h):
        return join(one(at, i, h), one(at, i + 4 * apart, h))

    def four(at, i, apart, h):
        return join(two(at, i, apart, h), two(at, i + 2 * apart, apart, h))

    def eight(at, i, more):
        h, apart = more
        write(at, i, join(four(at, i, apart, h), four(at, i + apart, apart, h)))

    def seven(at, i, more):
        h, apart = more
        last = one(at, i + 3 * apart, h)
        rest = join(two(at, i + apart, apart, h), join(last, nothing(last)))
        write(at, i, join(four(at, i, apart, h), rest))

    eights, last, sevens = loop(eight, LANES), loop(eight, LANES, False), loop(seven, LANES, False)

    def elements(at, first, count, h):
        if count == block:
            whole(at, first, count, h)
        elif count < LEAST:
            single(at, first, count, h)
        else:
            apart = (count + 7) // 8
            full = count - 7 * apart
            even = full & -LANES
            eights(at, 0, even, (h, apart))
            if LANES <= even < full:
                eights(at, full - LANES, full, (h, apart))
            else:
                last(at, even, full, (h, apart))
            sevens(at, full, apart, (h, apart))

    return elements


def added_in_halves(
    single: Any,
    read: Any,
    element: Any,
    added: Added,
    memory: MemoryAccess,
    block: int,
    fetch: Any,
) -> Callable[..., None]:
    """The function that adds the terms of the elements of a complete block to `partial` sums, those
    half a block apart, then a quarter, and so on; other blocks are left to `single`.

    The terms of a sum stay in registers. Those of several arrays are added to half as many sums as
    there are elements, in the order of memory, which a processor fetches sooner than any other;
    `fetch` is as for `in_strides`.
    """
    pick, put, join, write, kept, partial, _, alone = added

    def one(at, i, h):
        return pick(element(read(at, i), h))

    def one_written(at, i, h):
        values = element(read(at, i), h)
        put(at, i, values)
        return pick(values)

    if put:
        one = one_written
    if not alone:
        return _in_order(single, one, join, write, kept, memory, block, fetch)

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

    sums = memory.loop(step, partial)

    def elements(at, first, count, h):
        if count < block:
            single(at, first, count, h)
        else:
            for begin in range(block, 2 * block, STRIDE):
                fetch(at, begin)
            sums(at, 0, partial, h)

    return elements


def _in_order(
    single: Any,
    one: Any,
    join: Any,
    write: Any,
    kept: Any,
    memory: MemoryAccess,
    block: int,
    fetch: Any,
) -> Callable[..., None]:
    """The function that adds the terms of a complete block, one half to the other."""
    half = block // 2

    def first_half(at, i, h):
        write(at, i, one(at, i, h))

    def second_half(at, i, h, nothing):
        write(at, i, join(kept(at, i), one(at, i + half, h)))
        return nothing

    begin = in_strides(memory.loop(first_half), fetch)
    end = in_strides(memory.folded(second_half, ()), fetch, half + DISTANCE)

    def elements(at, first, count, h):
        if count < block:
            single(at, first, count, h)
        else:
            begin(at, 0, half, h)
            end(at, 0, half, h)

    return elements
