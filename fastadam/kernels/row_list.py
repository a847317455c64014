"""Composition of kernels over listed rows, each anywhere in its array.

Rows have the same number of elements, which a kernel knows when it is compiled.

A chunk is (0, first place, last place) in two lists: of the first element of each row, and of the
address of its gradient. The row of the table has the address of the second list in place of that of
the gradient. After the addresses of all streams it has that of the first list, then that of a list
of the records of the rows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..rules import Rule
from .combined import same
from .compose_rows import row_with_sums
from .composed import composed
from .elements import element_of, reading_of, writing_of
from .list_loops import listed_rows, with_own_records
from .loops import one_by_one, row_at_once
from .prefetching import LINE
from .row_pieces import places_of, row_addresses
from .storage.base import COLUMNS, WHOLE, Pieces
from .stream import Stream, laid_out
from .target import MemoryAccess

WIDEST = 128  # elements of a listed row
FETCHED = 16  # elements of a row from which prefetching it pays


class RowList(NamedTuple):
    """The form of a kernel over listed rows.

    Attributes:
        width: the elements of a row.
        own: True if each row has a record of its own.
    """

    width: int
    own: bool


def can_list(streams: Sequence[Stream], width: int) -> bool:
    """True if a kernel may be one over listed rows of so many elements."""
    flat = all(stream.storage.block == WHOLE for stream in streams)
    return flat and 0 < width <= WIDEST


def run_by_list(
    rule: Rule,
    streams: Sequence[Stream],
    terms: Sequence[Stream],
    memory: MemoryAccess,
    form: RowList,
    registers: Any,
    size: int,
) -> tuple[Any, Any]:
    """The function that updates the rows from one place of the lists to another, and the one that
    loads what it needs of the constants.

    Args:
        rule, streams: of the kernel.
        terms: the streams of the terms of its sums over rows, if it has any.
        memory: the memory access of the target.
        form: that of the kernel.
        registers: loads a record into a named tuple.
        size: the bytes of a record.
    """
    places, words = places_of(streams), 0
    if terms and form.width > 1:
        update, words = row_with_sums(rule, streams, terms, memory)
    else:
        update = _row_updated(rule, streams, terms, memory)
    reserve, fetch = memory.reserve(words), _fetching(streams, form.width, memory)
    if not form.own:
        return listed_rows(update, fetch, form.width, reserve), registers
    numbers, integer = 2 + len(places), memory.integer

    def record(row, place, records):
        return registers(records + integer(integer(row, numbers), place) * size)

    return with_own_records(update, fetch, form.width, reserve, record), same


def _row_updated(
    rule: Rule, streams: Sequence[Stream], terms: Sequence[Stream], memory: MemoryAccess
) -> Any:
    """The function that updates a row without sums, or one of one element."""
    parts = [part for part, _ in laid_out(streams, memory)]
    sums = [stream.name for stream in terms if stream.mode == "w"]
    element = element_of(rule.snapshot)
    if rule.prepare:
        element = _with_terms(element, streams, element_of(rule.prepare.snapshot), terms)
        pairs = zip(parts, streams, strict=True)
        parts = [_of_one(part, stream.name in sums) for part, stream in pairs]
    at_row = row_addresses(streams, places_of(streams), {}, memory.integer, listed=True)
    step = one_by_one(reading_of(parts), writing_of(parts), element, memory.loop)
    return row_at_once(step, at_row)


def _of_one(part: Pieces, summed: bool) -> Pieces:
    """The pieces of a stream for a row of one element, of which a number is that of the row."""
    zero, close = np.float64(0), part.close
    if summed:
        return Pieces(lambda at, i: zero)
    if close is None:
        return part
    return Pieces(part.read, (lambda at, i, value: close(at, value),))


def _with_terms(
    element: Any, streams: Sequence[Stream], first: Any, terms: Sequence[Stream]
) -> Any:
    """The function that updates an element of a row of one, whose terms are the sums."""
    compute = np.dtype(streams[0].storage.compute).type
    place = {stream.name: k for k, stream in enumerate(streams)}
    inputs = ["zero" if t.mode == "w" else f"values[{place[t.name]}]" for t in terms]
    summed = {t.name: f"number(zero + found[{k}])" for k, t in enumerate(terms) if t.mode == "w"}
    whole = [summed.get(stream.name, f"values[{k}]") for k, stream in enumerate(streams)]
    lines = [
        f"found = first(({', '.join(inputs)},), h)",
        f"return element(({', '.join(whole)},), h)",
    ]
    names = {"number": compute, "zero": np.float64(0), "first": first, "element": element}
    return composed("values, h", lines, **names)


def _fetching(streams: Sequence[Stream], width: int, memory: MemoryAccess) -> Any:
    """The function that prefetches a listed row, if the target can, and it pays."""
    if memory.prefetch is None or width < FETCHED:
        return lambda row, place: None
    stored = [column for stream in streams for column in stream.storage.stored]
    calls = list[str]()
    for slot, column in enumerate(stored, start=COLUMNS):
        if column.per < WHOLE:
            size = np.dtype(column.dtype).itemsize * (width if column.per == 1 else 1)
            calls += [
                f"prefetch(at[{slot}] + {byte})" for byte in (*range(0, size, LINE), size - 1)
            ]
    at_row = row_addresses(streams, places_of(streams), {}, memory.integer, listed=True)
    lines = [f"at = addresses(row, place, {width}, 0)", *calls, "return None"]
    return composed("row, place", lines, addresses=at_row, prefetch=memory.prefetch)
