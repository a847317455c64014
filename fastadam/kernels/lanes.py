"""Lanes of CUDA warps: what they exchange, and how they reduce the numbers of a block."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .combined import chain, same
from .storage.base import Coding


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
    """The functions that read, compute and write elements, from `elements.py`.

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


def across_lanes(wait: Waiting, lanes: Lanes) -> Any:
    """The function that reduces a tuple over all lanes."""
    join, exchanged = wait.coding.join, shuffled(lanes.exchange, wait.parts)

    def step(apart, rest):
        return lambda part: rest(join(part, exchanged(part, apart)))

    return chain(step, [1 << bit for bit in range(lanes.width.bit_length() - 1)][::-1], same)


def shuffled(how: Any, parts: int) -> Any:
    """The function that shuffles a tuple of numbers."""

    def one(k, rest):
        return lambda part, other: (how(part[k], other),) + rest(part, other)

    return chain(one, range(parts), lambda part, other: ())


def joined_in_order(access: Access, wait: Waiting, block: int, lanes: Lanes) -> Any:
    """The function that reduces one stream over an incomplete block, in the order of `Sums`.

    Elements an eighth of the block apart are joined, then those an eighth of the rest, and so on.
    """
    p, (_, number, part, join, settle, *_) = wait.position, wait.coding
    zero = part(np.dtype(wait.coding.dtype).type(0))
    read, element, close, mine = access.read, access.element, wait.coding.close, lanes.mine
    fetched, width = shuffled(lanes.fetch, wait.parts), lanes.width

    def one(at, i, count, h):
        return part(number(element(read(at, i), h)[p])) if i < count else zero

    def from_lane(joined, lane, left, h, j):
        source = lane + left * j
        other = fetched(joined, source if source < width else lane)
        return other if source < width else zero

    inner, size, length = one, same, block
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
