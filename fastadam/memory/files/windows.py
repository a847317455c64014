"""Launches that stream: window after window of the chunks of a table.

Meanwhile, pages of the next windows are read, and those of previous windows written to the disk and
dropped. Everything is a sequence of C functions, and thus part of the commitment of a step.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...kernels.commit import Operation
from ...kernels.cpu.threads import Limit
from ...kernels.storage.base import ROW, WHOLE
from ..arrays import address
from . import advice
from .mapping import FileMapping, mapping_of
from .prefetch import Request, queue

AHEAD, BEHIND = 2, 2  # windows that are read, and written, while one is updated
LARGEST = 1 << 26  # bytes of a window; larger ones are not faster
LEAST = 1 << 25  # minimum of `resident_bytes`: six windows of the largest possible chunk


class Region(NamedTuple):
    """Memory mapped to a file, whose pages can be dropped.

    Attributes:
        start, stop: the addresses.
        fd: the file, or None if only its mapping is known.
        nbytes: the bytes of its arrays.
    """

    start: int
    stop: int
    fd: int | None
    nbytes: int


class Residency:
    """The files that the steps of an optimizer read and write, and the limit of their memory.

    Args:
        limit: the largest number of bytes in memory.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.regions: list[Region] = []
        self._own: set[Region] = set()

    def keep(self, mappings: Iterable[FileMapping]) -> None:
        """Set the files of parameters and state."""
        self._own = {_region(mapping) for mapping in mappings}
        self.regions = sorted(self._own)

    def register(self, arrays: Iterable[Any]) -> None:
        """Register gradients that are in files."""
        found = map(region_of, arrays)
        self.regions = sorted(self._own | {region for region in found if region is not None})

    @property
    def exceeded(self) -> bool:
        """True if the files are larger than the limit."""
        return advice.LINUX and sum(region.nbytes for region in self.regions) > self.limit

    @property
    def window(self) -> int:
        """The bytes of a window."""
        return min(self.limit // (AHEAD + 1 + BEHIND + 1), LARGEST)


def _region(mapping: FileMapping) -> Region:
    start = mapping.address
    return Region(start, start + len(mapping), mapping.fd, mapping.nbytes)


def region_of(array: Any) -> Region | None:
    """The mapped memory of an array, if its pages may be dropped.

    Those of `np.memmap` with mode "c", copy on write, may not.
    """
    if (mapping := mapping_of(array)) is not None:
        return _region(mapping)
    found = None
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and getattr(array, "mode", None) in ("r", "r+", "w+"):
            found = array
        array = array.base
    if found is None:
        return None
    start = address(found)
    return Region(start, start + found.nbytes, None, found.nbytes)


class Chunked(Protocol):
    """The table of a launch; see `Table`."""

    kernel: Any
    rows: Any
    chunks: Any
    units: Any

    def columns(self) -> Iterator[tuple[Any, Any, int]]:
        """The stream, the stored column and the column of `rows` of each address."""

    def chosen(self, limit: Limit, threaded: bool) -> Operation:
        """The launch over all chunks."""

    def over(self, first: int, last: int, limit: Limit, threaded: bool) -> Operation:
        """The launch over a range of chunks."""


class Part(NamedTuple):
    """The part of a region that a window uses."""

    region: Region
    start: int
    stop: int
    written: bool


class Window(NamedTuple):
    """A range of chunks, and the parts of files that it uses."""

    first: int
    last: int
    parts: list[Part]


class Windows:
    """The windows of a table.

    Args:
        table: the table.
        residency: the files, and the limit of their memory.
    """

    def __init__(self, table: Chunked, residency: Residency) -> None:
        self._table, self._residency = table, residency
        self._key: Any = None
        self._windows: list[Window] = []

    def operations(self, limit: Limit, threaded: bool) -> list[Operation]:
        """The launches over all chunks, with the operations that read and write pages."""
        table, residency = self._table, self._residency
        if not residency.exceeded:
            return [table.chosen(limit, threaded)]
        key = table.rows.tobytes(), residency.regions, residency.window
        if key != self._key:
            self._windows, self._key = list(_cut(table, residency)), key
        return list(self._ordered(limit, threaded))

    def _ordered(self, limit: Limit, threaded: bool) -> Iterator[Operation]:
        windows, put, progress = self._windows, queue().put, [0]
        for number, window in enumerate(windows):
            for coming in range(number + AHEAD if number else 0, number + AHEAD + 1):
                if coming < len(windows) and (ranges := _ranges(windows[coming])):
                    yield partial(put, Request(progress, coming, ranges))
            yield partial(list.__setitem__, progress, 0, number)
            yield self._table.over(window.first, window.last, limit, threaded)
            for part in window.parts:
                if part.written and part.region.fd is not None:
                    offset = part.start - part.region.start
                    yield from advice.write_back(part.region.fd, offset, part.stop - part.start)
            if number >= BEHIND:
                yield from _dropped(windows[number - BEHIND])
        yield partial(list.__setitem__, progress, 0, len(windows))
        for window in windows[-BEHIND:]:
            yield from _dropped(window)


def _ranges(window: Window) -> list[tuple[int, int, bool]]:
    return [(part.start, part.stop, part.written) for part in window.parts]


def _dropped(window: Window) -> Iterator[Operation]:
    for region, start, stop, _ in window.parts:
        behind = stop - start
        yield from advice.drop(region.fd, start - region.start, start, stop, behind)


def _cut(table: Chunked, residency: Residency) -> Iterator[Window]:
    """Divide the chunks of a table into windows that use about equal numbers of bytes of files."""
    uses = [*_uses(table, residency.regions)]
    sizes = np.zeros(len(table.chunks), np.int64)
    for _, starts, stops, _ in uses:
        sizes += stops - starts
    ends = np.cumsum(sizes)
    first, count = 0, len(table.chunks)
    while first < count:
        before = int(ends[first - 1]) if first else 0
        last = int(np.searchsorted(ends, before + residency.window, "right"))
        last = min(max(last, first + 1), count)
        yield Window(first, last, [*_parts(uses, first, last)])
        first = last


def _uses(
    table: Chunked, regions: Sequence[Region]
) -> Iterator[tuple[list[Region | None], Any, Any, bool]]:
    """For each column of addresses in a table: the region of each chunk, the first address of the
    chunk, the address after its last, both 0 outside of files, and True if they are written."""
    rows, (row, start, stop) = table.rows, table.chunks.T
    starts = np.array([region.start for region in regions])
    for stream, column, place in table.columns():
        if column.per == WHOLE:
            continue
        size, base = np.dtype(column.dtype).itemsize, rows[row, place]
        per = np.broadcast_to(table.units, len(rows))[row] if column.per == ROW else column.per
        first, last = base + start // per * size, base + -(-stop // per) * size
        found = np.searchsorted(starts, base, "right") - 1
        known = [
            regions[k] if k >= 0 and base[i] < regions[k].stop and rows[row[i], 0] >= 0 else None
            for i, k in enumerate(found.tolist())
        ]
        there = np.array([region is not None for region in known], bool)
        if there.any():
            yield known, first * there, last * there, stream.mode != "r"


def _parts(
    uses: Sequence[tuple[list[Region | None], Any, Any, bool]], first: int, last: int
) -> Iterator[Part]:
    """The parts of files that a range of chunks uses; adjacent parts are merged."""
    for regions, starts, stops, written in uses:
        part: Part | None = None
        for k in range(first, last):
            region = regions[k]
            if region is None:
                continue
            if part and part.region == region and 0 <= starts[k] - part.stop <= advice.PAGE:
                part = part._replace(stop=int(stops[k]))
                continue
            if part:
                yield part
            part = Part(region, int(starts[k]), int(stops[k]), written)
        if part:
            yield part
