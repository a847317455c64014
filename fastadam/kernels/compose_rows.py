"""Composition of kernels over rows: their sums, then the updates of their elements."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..rules import Rule
from .adding import LEAST
from .elements import element_of, elements_of, packing_of, partial_of, reading_of
from .loops import row_after_row, row_at_once, row_by_row, row_in_blocks, sums_of_row
from .row_pieces import ROOM, closing, length_of, places_of, row_addresses, totals_of
from .storage.base import WHOLE, Pieces
from .storage.block_sums import BLOCK
from .stream import Stream, laid_out
from .target import MemoryAccess


def run_by_rows(
    rule: Rule, streams: Sequence[Stream], terms: Sequence[Stream], memory: MemoryAccess
) -> Any:
    """The function that updates a run of rows: the sums of a row, then its elements, then its
    numbers."""
    assert rule.prepare
    adding, used = zip(*laid_out(terms, memory), strict=True)
    rooms, free = _rooms(terms, adding, used[-1])
    parts, used = zip(*laid_out(streams, memory, free), strict=True)
    places = places_of(streams)
    at_row = row_addresses(
        streams, places, {name: room + ROOM // 2 for name, room in rooms.items()}, memory.integer
    )
    totals = totals_of(terms, rooms, streams[0].storage.compute, memory)
    added = _sums_by_row(rule.prepare, terms, adding, places, rooms, totals, memory)
    update = _row_updated(rule, streams, parts, at_row, memory)
    close = closing(parts, reading_of(parts), element_of(rule.snapshot))
    length = length_of(places, memory.integer)
    return row_by_row(added, update, close, at_row, length, memory, memory.reserve(used[-1]))


def run_row_after_row(rule: Rule, streams: Sequence[Stream], memory: MemoryAccess) -> Any:
    """The function that updates a run of rows, or writes the sums of each."""
    parts, used = zip(*laid_out(streams, memory), strict=True)
    places = places_of(streams)
    rooms, free = _rooms(streams, parts, used[-1])
    if rooms:
        totals = totals_of(streams, rooms, "float64", memory, places)
        update = _sums_by_row(rule, streams, parts, places, rooms, totals, memory)
    else:
        at_row = row_addresses(streams, places, {}, memory.integer)
        update = _row_updated(rule, streams, parts, at_row, memory)
    return row_after_row(update, length_of(places, memory.integer), memory.reserve(free))


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
) -> Any:
    """The function that writes the sums of a row."""
    partial = partial_of(terms, parts, memory)
    return sums_of_row(
        elements_of(terms, parts, rule, memory, wide=False),
        packing_of(parts, BLOCK, partial, LEAST if partial else 0),
        row_addresses(terms, places, rooms, memory.integer),
        *totals,
        memory,
        BLOCK,
    )


def _row_updated(
    rule: Rule, streams: Sequence[Stream], parts: Sequence[Pieces], at_row: Any, memory: Any
) -> Any:
    """The function that updates the elements of a row."""
    elements = elements_of(streams, parts, rule, memory, wide=False)
    block = min(stream.storage.block for stream in streams)
    if block == WHOLE:
        return row_at_once(elements, at_row)
    return row_in_blocks(elements, packing_of(parts, block, 0), at_row, block)
