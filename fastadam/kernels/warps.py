"""Packing of blocks by CUDA warps: new numbers stay in registers, lanes reduce by shuffles.

One warp processes a block. Its lanes process groups of four neighbours in turn, so that the
position of an element in its block is (group, lane, place in the group). The reduction joins halves
of the block, then quarters, and so on: first groups, then lanes, then places. Threads do not wait
for those of other warps.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .combined import all_of, chain, each_of, halves
from .lanes import Access, Lanes, Waiting, across_lanes, joined_in_order
from .storage.base import Pieces

FOUR, MOST = 4, 1024  # elements of a group; the largest block whose numbers fit into registers


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
        parts = [joined_in_order(access, wait, block, lanes) for wait in waits]
        part = all_of(parts, 3)

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

        return all_of([store_group(k) for k in groups] if store else [], 4)

    groups = range(block // width)
    load, compute = each_of(map(reading, groups), 2), each_of(map(computing, groups), 2)
    write = all_of(map(writing, groups), 3)
    settle = each_of([_settling(wait, len(groups), lanes) for wait in waits], 2)
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
    across, ordered = across_lanes(wait, lanes), wait.coding.ordered

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

    parts, joined = each_of(map(parting, range(groups)), 1), halves(both, groups)
    places = halves(join, FOUR)

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
        across, settle = across_lanes(wait, lanes), wait.coding.settle
        return lambda at, joined: settle(at, across(joined[k]))

    def storing(wait):
        p, number, store = wait.position, wait.coding.number, wait.coding.store
        return lambda at, i, new, settled: store(at, i, number(new[p]), settled)

    start = each_of(map(starting, waits), 0)
    fold = each_of([joining(k, wait) for k, wait in enumerate(waits)], 2)
    settle = each_of([settling(k, wait) for k, wait in enumerate(waits)], 2)
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


def _closing(waits: Sequence[Waiting]) -> Any:
    def one(each, rest):
        k, close = each

        def both(at, settled):
            close(at, settled[k])
            rest(at, settled)

        return both

    closes = [(k, wait.coding.close) for k, wait in enumerate(waits)]
    return chain(one, closes, lambda at, settled: None)


def _stored(stores: Sequence[Any]) -> Any:
    """The function that stores the codes of all streams, each with its settled numbers."""

    def one(each, rest):
        k, store = each

        def both(at, i, new, settled):
            store(at, i, new, settled[k])
            rest(at, i, new, settled)

        return both

    return chain(one, [*enumerate(stores)], lambda at, i, new, settled: None)
