"""Composition of kernels over rows: their sums, then the updates of their elements."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..rules import Rule
from .adding import LEAST
from .composed import in_order
from .elements import element_of, elements_of, names_read, packing_of, partial_of, reading_of
from .list_loops import sums_of_block, with_sums
from .loops import (
    row_after_row,
    row_at_once,
    row_by_row,
    row_in_blocks,
    sums_of_row,
)
from .prefetching import later_rows, lines_of, no_rows
from .row_pieces import ROOM, closing, length_of, places_of, row_addresses, totals_of
from .storage.base import ROW as PER_ROW
from .storage.base import WHOLE, Pieces
from .storage.block_sums import BLOCK
from .stream import Stream, laid_out
from .target import MemoryAccess


def run_by_rows(
    rule: Rule,
    streams: Sequence[Stream],
    terms: Sequence[Stream],
    memory: MemoryAccess,
    scattered: bool = False,
) -> Any:
    """The function that updates a run of rows: the sums of a row, then its elements, then its
    numbers; `scattered` is as for `update_of`."""
    parts, words = _with_sums(rule, streams, terms, memory)
    length = length_of(places_of(streams), memory.integer)
    reserve, fetch = memory.reserve(words), _fetching(rule, streams, memory, scattered)
    return row_by_row(*parts, length, memory, reserve, fetch)


def row_with_sums(
    rule: Rule, streams: Sequence[Stream], terms: Sequence[Stream], memory: MemoryAccess
) -> tuple[Any, int]:
    """The function that updates a listed row, of one block, and the words of scratch memory that it
    needs."""
    parts, words = _with_sums(rule, streams, terms, memory, listed=True)
    return with_sums(*parts), words


def _with_sums(
    rule: Rule,
    streams: Sequence[Stream],
    terms: Sequence[Stream],
    memory: MemoryAccess,
    listed: bool = False,
) -> tuple[tuple[Any, Any, Any, Any], int]:
    """The functions that write the sums of a row, update its elements, write its numbers, and
    locate it; and the words of scratch memory that they need."""
    assert rule.prepare
    adding, used = zip(*laid_out(terms, memory), strict=True)
    rooms, free = _rooms(terms, adding, used[-1])
    parts, used = zip(*laid_out(streams, memory, free), strict=True)
    places = places_of(streams)
    sums = {name: room + ROOM // 2 for name, room in rooms.items()}
    at_row = row_addresses(streams, places, sums, memory.integer, listed)
    totals = totals_of(terms, rooms, streams[0].storage.compute, memory)
    added = _sums_by_row(rule.prepare, terms, adding, places, rooms, totals, memory, listed)
    update = _row_updated(rule, streams, parts, at_row, memory)
    close = closing(parts, reading_of(parts), element_of(rule.snapshot))
    return (added, update, close, at_row), used[-1]


def run_row_after_row(rule: Rule, streams: Sequence[Stream], memory: MemoryAccess) -> Any:
    """The function that updates a run of rows, or writes the sums of each."""
    parts, used = zip(*laid_out(streams, memory), strict=True)
    places = places_of(streams)
    rooms, free = _rooms(streams, parts, used[-1])
    fetch: Any = no_rows
    if rooms:
        fetch = _fetching(rule, streams, memory)
        totals = totals_of(streams, rooms, "float64", memory, places)
        update = _sums_by_row(rule, streams, parts, places, rooms, totals, memory)
    else:
        at_row = row_addresses(streams, places, {}, memory.integer)
        update = _row_updated(rule, streams, parts, at_row, memory)
    length = length_of(places, memory.integer)
    return row_after_row(update, length, memory.reserve(free), fetch)


def _fetching(
    rule: Rule, streams: Sequence[Stream], memory: MemoryAccess, scattered: bool = False
) -> Any:
    """The function that prefetches later rows, since sums of short rows do not read in the order of
    memory."""
    if scattered or memory.prefetch is None:
        return no_rows
    read, lines = names_read(rule, streams), list[Any]()
    place = 0
    for stream in streams:
        for column in stream.storage.stored:
            place += 1
            if column.per < PER_ROW and stream.name in read:
                size = np.dtype(column.dtype).itemsize
                access = memory.integer, memory.prefetch
                lines.append(lines_of(place, size, column.per, *access, BLOCK * size))
    return later_rows(in_order("row, start, stop", lines[::-1]), BLOCK)


def _rooms(
    streams: Sequence[Stream], parts: Sequence[Pieces], words: int
) -> tuple[dict[str, int], int]:
    """The places of the sums of a row in scratch memory, of which so many words are in use, and the
    words in use then."""
    summed = [stream.name for stream, part in zip(streams, parts, strict=True) if part.partial]
    rooms = {name: 4 * words + ROOM * k for k, name in enumerate(summed)}
    return rooms, words + ROOM * len(summed) // 4


def _sums_by_row(
    rule: Rule,
    terms: Sequence[Stream],
    parts: Sequence[Pieces],
    places: Mapping[tuple[str, int], int],
    rooms: Mapping[str, int],
    totals: tuple[Any, Any, Any],
    memory: MemoryAccess,
    listed: bool = False,
) -> Any:
    """The function that writes the sums of a row."""
    partial = partial_of(terms, parts, memory)
    elements = elements_of(terms, parts, rule, memory, wide=False)
    pack = packing_of(parts, BLOCK, partial, LEAST if partial else 0)
    at_row = row_addresses(terms, places, rooms, memory.integer, listed)
    if listed:
        return sums_of_block(elements, pack, at_row, *totals)
    return sums_of_row(elements, pack, at_row, *totals, memory, BLOCK)


def _row_updated(
    rule: Rule, streams: Sequence[Stream], parts: Sequence[Pieces], at_row: Any, memory: Any
) -> Any:
    """The function that updates the elements of a row."""
    elements = elements_of(streams, parts, rule, memory, wide=False)
    block = min(stream.storage.block for stream in streams)
    if block == WHOLE:
        return row_at_once(elements, at_row)
    return row_in_blocks(elements, packing_of(parts, block, 0), at_row, block)
