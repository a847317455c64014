"""Placement: the offset within a page of memory of every array that fastadam allocates.

It avoids 4K aliasing. A step reads and writes several arrays at once, element by element. A
processor compares a load with earlier stores in flight by the low twelve bits of their addresses
only; a load that matches one of them waits, although its address differs. Since a loop stores
element i and then loads elements i + 16, i + 32, ..., an array that begins a little below a written
one, modulo 4096, is slow: with a distance of 64 to 512 bytes, a step on arrays in the cache loses
much of its speed. Equal offsets are harmless, and so is a distance of a quarter of a page or more.

Offsets from the beginning of the parameter are therefore quarters of a page: one for its gradient,
which is only read, two for its state, three for averages, copies and sums. Arrays of the same kind
begin at the same offset, each on a cache line.

Many arrays share one buffer. The first begins at its offset, and so does every array so large that
the padding, at most one page, adds at most an eighth. Smaller ones follow each other on the next
cache line, unless that is close to the offset of their parameter; they are then moved, using at
most an eighth of the memory of the preceding arrays as padding.
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
        addresses: the addresses of the arrays beside which they are placed, 0 for the beginning of
            a page.
        sizes: the sizes in bytes.
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
    """The places of consecutive arrays, each on a cache line of its own."""
    starts = list(accumulate(map(lines, sizes), initial=0))
    return Layout(0, starts[:-1], starts[-1])


def lines(size: int) -> int:
    """A size rounded up to whole cache lines."""
    return -(-size // LINE) * LINE
