"""Placement: the offset within a page of memory of every array that fastadam allocates.

A step reads and writes several arrays at once, element by element. A processor compares a load with
the stores before it that are still under way by the low twelve bits of their addresses only; a load
that agrees with one of them waits, although the address is another. As a loop stores element i and
loads elements i + 16, i + 32, ... next, an array that begins a little below a written one, modulo
4096, is slow: 64 to 512 bytes cost a step whose arrays are in the cache much of its speed. Equal
offsets are harmless, and so is a distance of a quarter of a page or more.

A page is therefore divided into quarters, counted from the line where the parameter begins: its own
gradient, which is only read, has one, state half a page, averages, copies and sums three. Arrays of
the same kind begin at the same offset. Each array begins on a cache line.

Many arrays share one buffer. The first begins where it should, and so does each that is so large
that padding adds at most an eighth, one page at most. Smaller ones follow each other line by line
as long as they do not come near the offset of their parameter; where they would, a later place is
taken out of an eighth of what the arrays before them occupy.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

LINE = 64  # bytes: a cache line, and the widest vector register
PAGE = 4096  # bytes: the addresses that agree in the bits which are compared
GRADIENT, STATE, AVERAGE = (k * PAGE // 4 for k in (1, 2, 3))  # averages, copies and sums
NEAR = PAGE // 8


class Layout(NamedTuple):
    """The places of arrays in one buffer.

    Attributes:
        first: the offset of the first array within a page.
        starts: the first byte of each array, counted from that of the first one.
        nbytes: the size of the buffer.
    """

    first: int
    starts: list[int]
    nbytes: int


def layout(addresses: Sequence[int], sizes: Sequence[int], distance: int) -> Layout:
    """The places of arrays in one buffer, each beside another one.

    Args:
        addresses: of the arrays beside which they are placed, 0 for a page's beginning.
        sizes: in bytes.
        distance: the offset, within a page, from the array beside: GRADIENT, STATE or AVERAGE.
    """
    wanted = [(address - address % LINE + distance) % PAGE for address in addresses]
    first = at = wanted[0] if wanted else 0
    starts, saved = list[int](), 0
    for address, place, size in zip(addresses, wanted, sizes, strict=True):
        padding = (place - at) % PAGE
        near = (at - address + NEAR) % PAGE < 2 * NEAR
        if padding <= size // 8 or (near and padding <= saved):
            at, saved = at + padding, saved - padding
        starts.append(at - first)
        at += lines(size)
        saved = min(saved + size // 8, PAGE)
    return Layout(first, starts, at - first)


def in_lines(sizes: Sequence[int]) -> Layout:
    """The places of arrays that follow each other, each on a cache line of its own."""
    starts = list(accumulate(map(lines, sizes), initial=0))
    return Layout(0, starts[:-1], starts[-1])


def lines(size: int) -> int:
    """A size rounded up to whole cache lines."""
    return -(-size // LINE) * LINE
