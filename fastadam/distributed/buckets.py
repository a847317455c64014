"""Buckets: the division of the elements of all parameters over the processes.

The elements of all parameters, one after another, are a line. It is cut into buckets, and each
bucket into a part for each process. Parts end where a block of state or of a norm ends, or a
parameter, so that every block belongs to one process; in tables also where a row ends.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..engine.partition import BLOCK, Piece

Span = tuple[int, int]


class Bucket(NamedTuple):
    """A run of the line; part `k`, that of process k, is from `edges[k]` to `edges[k + 1]`."""

    edges: Sequence[int]

    @property
    def start(self) -> int:
        return self.edges[0]

    @property
    def stop(self) -> int:
        return self.edges[-1]

    def part(self, rank: int) -> Span:
        """The part of a process."""
        return self.edges[rank], self.edges[rank + 1]

    @property
    def parts(self) -> Sequence[Span]:
        """The parts of all processes."""
        return [self.part(rank) for rank in range(len(self.edges) - 1)]


class Line:
    """The elements of parameters of these sizes, one after another.

    Args:
        sizes: the number of elements of each parameter.
        units: for each parameter, the number of elements that may not be divided; default: blocks.

    Attributes:
        sizes: the number of elements of each parameter.
        starts: the first element of each parameter; at the end, that after the last.
    """

    def __init__(self, sizes: Sequence[int], units: Sequence[int] = ()) -> None:
        self.sizes, self._units = list(sizes), list(units) or [BLOCK] * len(sizes)
        self.starts = [0, *accumulate(sizes)]

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The pieces of parameters in a run of the line, in order."""
        number = bisect_right(self.starts, start) - 1
        while start < stop:
            first, end = self.starts[number], self.starts[number + 1]
            if end > start:
                yield Piece(number, start - first, min(stop, end) - first)
            start, number = max(start, end), number + 1

    def cut(self, place: int) -> int:
        """The position closest to this one at which a part may end."""
        if place >= self.starts[-1]:
            return self.starts[-1]
        number = bisect_right(self.starts, place) - 1
        first, end = self.starts[number], self.starts[number + 1]
        unit = self._units[number]
        below = first + (place - first) // unit * unit
        above = min(below + unit, end)
        return below if place - below <= above - place else above


def buckets_of(line: Line, runs: Sequence[Span], length: int, processes: int) -> list[Bucket]:
    """The buckets of a line.

    Args:
        runs: parts of the line whose elements have one dtype; no bucket spans two of them.
        length: the number of elements of a bucket.
        processes: how many parts each has.
    """
    found = list[Bucket]()
    for first, end in runs:
        count = max(1, -(-(end - first) // length))
        edges = [first + line_share(end - first, k, count) for k in range(count + 1)]
        cuts = [first, *map(line.cut, edges[1:-1]), end]
        for start, stop in pairwise(cuts):
            if stop > start:
                inner = (
                    line.cut(start + line_share(stop - start, k, processes))
                    for k in range(1, processes)
                )
                found.append(Bucket([start, *(min(max(x, start), stop) for x in inner), stop]))
    return found


def line_share(length: int, part: int, parts: int) -> int:
    """The start of part `part` of `parts` equal ones."""
    return length * part // parts
