"""Packing of blocks by CUDA warps: new numbers stay in registers, lanes reduce by shuffles.

One warp processes a block. Its lanes process groups of four neighbours in turn, so that the
position of an element in its block is (group, lane, place in the group). The reduction joins halves
of the block, then quarters, and so on: first groups, then lanes, then places. Threads do not wait
for those of other warps.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from .storage.base import Coding, Pieces

FOUR, MOST = 4, 1024  # elements of a group; the largest block whose numbers fit into registers


class Lanes(NamedTuple):
    """The operations of a target with warps.

    Attributes:
        width: the number of lanes of a warp.
        mine: returns the index of the calling lane.
        exchange: `exchange(number, apart)` returns the number of the lane whose index differs in
            one bit.
        fetch: `fetch(number, lane)` returns the number of a given lane.
        meet: barrier of the lanes of a warp.
        blocks: `blocks(start, stop, length)` returns the first elements of the blocks of this warp.
    """

    width: int
    mine: Callable[[], int]
    exchange: Callable[..., Any]
    fetch: Callable[..., Any]
    meet: Callable[[], None]
    blocks: Callable[..., range]


class Access(NamedTuple):
    """The functions that read, compute and write elements, from `compose.py`.

    Numbers of streams with a `Coding` are not written by these, but by their coding.

    Attributes:
        aligned: returns True if groups of a block are aligned.
        read_first, write_four: for the first element of an aligned group, and for the group.
    """

    aligned: Callable[..., bool]
    read_first: Callable[..., Any]
    read: Callable[..., Any]
    write_four: Callable[..., None]
    write: Callable[..., None]
    element: Callable[..., Any]


class Waiting(NamedTuple):
    """A stream whose new numbers are held in registers until its block is complete.

    Attributes:
        position: its index among the values of an element.
        coding: its coding.
        first: its coding for the first element of an aligned group.
    """

    position: int
    coding: Coding
    first: Coding

    @property
    def parts(self) -> int:
        """The number of values in a reduced tuple."""
        return len(self.coding.part(np.dtype(self.coding.dtype).type(0)))


def fits(parts: Sequence[Pieces], block: int, lanes: Lanes | None) -> bool:
    """True if warps can pack these streams."""
    if lanes is None or not any(part.coding for part in parts):
        return False
    whole = block & (block - 1) == 0 and FOUR * lanes.width <= block <= MOST
    return whole and all(part.coding or not part.packs for part in parts)


def by_warps(
    access: Access, waits: Sequence[Waiting], addresses: Any, block: int, lanes: Lanes
) -> Callable[..., None]:
    """The function that updates a run of elements: complete aligned blocks first, then the rest."""
    whole, aligned, blocks = _whole(access, waits, block, lanes), access.aligned, lanes.blocks
    ordered = any(wait.coding.ordered for wait in waits)
    part = _in_strides(access, waits, block, lanes)
    if ordered:
        parts = [_joined_in_order(access, wait, block, lanes) for wait in waits]
        part = _all(parts, 3)

    def run(row, start, stop, h):
        full = stop - (stop - start) % block
        full = full if aligned((start, 0) + addresses(row, start)) else start
        for first in blocks(start, full, block):
            whole((first, 0) + addresses(row, first), h)
        for first in blocks(full, stop, block):
            at = (first, 0) + addresses(row, first)
            part(at, block if stop - first > block else stop - first, h)

    return run


def _whole(access: Access, waits: Sequence[Waiting], block: int, lanes: Lanes) -> Any:
    """The function that updates a complete block: loads all, computes, reduces, stores."""
    _, read_first, read, write_four, _, element = access
    mine, width = lanes.mine, FOUR * lanes.width

    def reading(k):
        def four(at, lane):
            i = FOUR * lane + width * k
            return read_first(at, i), read(at, i + 1), read(at, i + 2), read(at, i + 3)

        return four

    def computing(k):
        def four(old, h):
            a, b, c, d = old[k]
            return element(a, h), element(b, h), element(c, h), element(d, h)

        return four

    def writing(k):
        return lambda at, lane, new: write_four(at, FOUR * lane + width * k, new[k])

    def storing(wait):
        p, number = wait.position, wait.coding.number
        first, store = wait.first.store, wait.coding.store

        def store_group(k):
            def four(at, lane, new, settled):
                i = FOUR * lane + width * k
                a, b, c, d = new[k]
                first(at, i, number(a[p]), settled)
                store(at, i + 1, number(b[p]), settled)
                store(at, i + 2, number(c[p]), settled)
                store(at, i + 3, number(d[p]), settled)

            return four

        return _all([store_group(k) for k in groups] if store else [], 4)

    groups = range(block // width)
    load, compute = _each(map(reading, groups), 2), _each(map(computing, groups), 2)
    write = _all(map(writing, groups), 3)
    settle = _each([_settling(wait, len(groups), lanes) for wait in waits], 2)
    store = _stored([storing(wait) for wait in waits])
    close = _closing(waits)

    def update(at, h):
        lane = mine()
        new = compute(load(at, lane), h)
        write(at, lane, new)
        settled = settle(at, new)
        store(at, lane, new, settled)
        if lane == 0:
            close(at, settled)

    return update


def _settling(wait: Waiting, groups: int, lanes: Lanes) -> Any:
    """The function that reduces a stream over a complete block, and calls its `settle`."""
    p, (_, number, part, join, settle, *_) = wait.position, wait.coding
    across, ordered = _across(wait, lanes), wait.coding.ordered

    def parting(k):
        def four(new):
            a, b, c, d = new[k]
            return part(number(a[p])), part(number(b[p])), part(number(c[p])), part(number(d[p]))

        return four

    def both(one, other):
        a, b, c, d = one
        e, f, g, h = other
        return join(a, e), join(b, f), join(c, g), join(d, h)

    def across_four(four):
        a, b, c, d = four
        return across(a), across(b), across(c), across(d)

    parts, joined = _each(map(parting, range(groups)), 1), _halves(both, groups)
    places = _halves(join, FOUR)

    def in_order(at, new):
        return settle(at, places(across_four(joined(parts(new)))))

    def at_once(at, new):
        return settle(at, across(places(joined(parts(new)))))

    return in_order if ordered else at_once


def _in_strides(access: Access, waits: Sequence[Waiting], block: int, lanes: Lanes) -> Any:
    """The function that updates a block in two passes: reduce, then compute again and store."""
    read, write, element = access.read, access.write, access.element
    mine, meet, width = lanes.mine, lanes.meet, lanes.width

    def starting(wait):
        zero = wait.coding.part(np.dtype(wait.coding.dtype).type(0))
        return lambda: zero

    def joining(k, wait):
        p, (_, number, part, join, *_) = wait.position, wait.coding
        return lambda joined, new: join(joined[k], part(number(new[p])))

    def settling(k, wait):
        across, settle = _across(wait, lanes), wait.coding.settle
        return lambda at, joined: settle(at, across(joined[k]))

    def storing(wait):
        p, number, store = wait.position, wait.coding.number, wait.coding.store
        return lambda at, i, new, settled: store(at, i, number(new[p]), settled)

    start = _each(map(starting, waits), 0)
    fold = _each([joining(k, wait) for k, wait in enumerate(waits)], 2)
    settle = _each([settling(k, wait) for k, wait in enumerate(waits)], 2)
    store, close = _stored([storing(wait) for wait in waits]), _closing(waits)

    def update(at, count, h):
        lane = mine()
        joined = start()
        for i in range(lane, count, width):
            joined = fold(joined, element(read(at, i), h))
        settled = settle(at, joined)
        for i in range(lane, count, width):
            new = element(read(at, i), h)
            write(at, i, new)
            store(at, i, new, settled)
        meet()
        if lane == 0:
            close(at, settled)

    return update


def _joined_in_order(access: Access, wait: Waiting, block: int, lanes: Lanes) -> Any:
    """The function that reduces one stream over an incomplete block, in the order of `Sums`.

    Elements an eighth of the block apart are joined, then those an eighth of the rest, and so on.
    """
    p, (_, number, part, join, settle, *_) = wait.position, wait.coding
    zero = part(np.dtype(wait.coding.dtype).type(0))
    read, element, close, mine = access.read, access.element, wait.coding.close, lanes.mine
    fetched, width = _exchanged(lanes.fetch, wait.parts), lanes.width

    def one(at, i, count, h):
        return part(number(element(read(at, i), h)[p])) if i < count else zero

    def from_lane(joined, lane, left, h, j):
        source = lane + left * j
        other = fetched(joined, source if source < width else lane)
        return other if source < width else zero

    inner, size, length = one, _same, block
    while length > width:
        inner, size, length = *_eighth(inner, size, join, zero), length // 8
    of_lanes = _eight(from_lane, join, zero)

    def update(at, count, h):
        lane, left = mine(), size(count)
        joined = inner(at, lane, count, h)
        while left > 1:
            left = (left + 7) // 8
            joined = of_lanes(joined, lane, left, h)
            joined = joined if lane < left else zero
        if lane == 0:
            close(at, settle(at, joined))

    return update


def _eighth(inner: Any, size: Any, join: Any, zero: Any) -> tuple[Any, Any]:
    """The function that joins eight items of `size`, and the function of their number."""

    def left(count):
        return (size(count) + 7) // 8

    def pick(at, i, count, h, j):
        return inner(at, i + left(count) * j, count, h)

    eight = _eight(pick, join, zero)

    def joined(at, i, count, h):
        return eight(at, i, count, h) if i < left(count) else zero

    return joined, left


def _eight(pick: Any, join: Any, zero: Any) -> Any:
    """The function that joins eight items: those four apart, then two, then one.

    The order of its loop holds at most four items at a time.
    """

    def joined(a, b, c, d):
        pair = four = half = whole = zero
        for k in range(8):
            item = pick(a, b, c, d, (k & 1) << 2 | k & 2 | k >> 2)
            if k & 1 == 0:
                pair = item
            elif k & 2 == 0:
                four = join(pair, item)
            elif k & 4 == 0:
                half = join(four, join(pair, item))
            else:
                whole = join(half, join(four, join(pair, item)))
        return whole

    return joined


def _across(wait: Waiting, lanes: Lanes) -> Any:
    """The function that reduces a tuple over all lanes."""
    join, exchanged = wait.coding.join, _exchanged(lanes.exchange, wait.parts)

    def step(apart, rest):
        return lambda part: rest(join(part, exchanged(part, apart)))

    return _chain(step, [1 << bit for bit in range(lanes.width.bit_length() - 1)][::-1], _same)


def _exchanged(how: Any, parts: int) -> Any:
    """The function that shuffles a tuple of numbers."""

    def one(k, rest):
        return lambda part, other: (how(part[k], other),) + rest(part, other)

    return _chain(one, range(parts), lambda part, other: ())


def _closing(waits: Sequence[Waiting]) -> Any:
    def one(each, rest):
        k, close = each

        def both(at, settled):
            close(at, settled[k])
            rest(at, settled)

        return both

    closes = [(k, wait.coding.close) for k, wait in enumerate(waits)]
    return _chain(one, closes, lambda at, settled: None)


def _stored(stores: Sequence[Any]) -> Any:
    """The function that stores the codes of all streams, each with its settled numbers."""

    def one(each, rest):
        k, store = each

        def both(at, i, new, settled):
            store(at, i, new, settled[k])
            rest(at, i, new, settled)

        return both

    return _chain(one, [*enumerate(stores)], lambda at, i, new, settled: None)


def _same(part):
    return part


def _chain(join: Callable[[Any, Any], Any], items: Iterable[Any], end: Any) -> Any:
    return reduce(lambda rest, item: join(item, rest), reversed([*items]), end)


def _halves(join: Any, count: int) -> Any:
    """The function that joins the items of a tuple: those half of it apart, then a quarter, ..."""
    if count == 1:
        return lambda items: items[0]
    half = count // 2

    def pair(k, rest):
        return lambda items: (join(items[k], items[half + k]),) + rest(items)

    pairs, rest = _chain(pair, range(half), lambda items: ()), _halves(join, half)
    return lambda items: rest(pairs(items))


def _each(functions: Iterable[Any], arguments: int) -> Any:
    """The function that calls all functions with the same arguments, and returns their results."""
    ways = (
        (lambda: (), lambda f, rest: lambda: (f(),) + rest()),
        (lambda a: (), lambda f, rest: lambda a: (f(a),) + rest(a)),
        (lambda a, b: (), lambda f, rest: lambda a, b: (f(a, b),) + rest(a, b)),
    )
    end, join = ways[arguments]
    return _chain(join, functions, end)


def _all(functions: Iterable[Any], arguments: int) -> Any:
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
        return _chain(three, functions, lambda a, b, c: None)
    return _chain(four, functions, lambda a, b, c, d: None)
