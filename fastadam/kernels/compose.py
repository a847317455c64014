"""Composition: a rule and the pieces of its streams become the body of a loop."""

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..rules import Rule
from .compose_rows import run_by_rows, run_row_after_row
from .composed import in_order, tuple_of
from .elements import (
    access_of,
    element_of,
    elements_of,
    firsts_of,
    packing_of,
    partial_of,
    phase_of,
    reading_of,
    single_of,
    writing_of,
)
from .lanes import Waiting
from .loops import (
    at_once,
    block_by_block,
    update_with,
)
from .overlap import Plain, expected, in_turns, lates
from .prefetching import line_of_rows, lines_of, with_later_chunk
from .row_list import RowList, run_by_list
from .row_pieces import ROW_LENGTH, length_of, places_of
from .storage.base import ROW, WHOLE, Column, Pieces
from .stream import Stream, laid_out, record_of
from .target import MemoryAccess
from .warps import by_warps, fits


@cache
def _constants(names: tuple[str, ...]) -> Any:
    """The class of the named tuple of a step's constants: the same for kernels that share code."""
    return namedtuple("Hyper", names)


def _addresses(columns: Sequence[Column], integer: Any) -> Any:
    """The addresses of all columns of a row at an element, as a tuple."""
    places = [
        f"integer(row, {place}) + first // {column.per} * {np.dtype(column.dtype).itemsize}"
        for place, column in enumerate(columns, start=1)
    ]
    return tuple_of("row, first", places, integer=integer)


def _run_by_warps(
    streams: Sequence[Stream],
    parts: Sequence[Pieces],
    rule: Rule,
    memory: MemoryAccess,
    addresses: Any,
    block: int,
) -> Any:
    """The function that updates a run of elements, and packs its blocks in registers."""
    waits = [
        Waiting(k, part.coding, first.coding)
        for k, (part, first) in enumerate(zip(parts, firsts_of(streams, memory), strict=True))
        if part.coding and first.coding
    ]
    written = [part._replace(writes=()) if part.coding else part for part in parts]
    element, read, write = element_of(rule.snapshot), reading_of(parts), writing_of(written)
    access = access_of(streams, written, read, write, element, memory)
    return by_warps(access, waits, addresses, block, memory.warps)


def update_of(
    rule: Rule,
    streams: Sequence[Stream],
    memory: MemoryAccess,
    scattered: bool = False,
    terms: Sequence[Stream] = (),
    listed: RowList | None = None,
) -> Callable[..., None]:
    """The update function of a rule over its streams: param, grad, then the states in order.

    Args:
        scattered: True if chunks are far from each other, so that later ones are prefetched.
        terms: the streams of the terms of its sums over rows, if it has any.
        listed: the form of a kernel over listed rows.
    """
    parts, scratch = zip(*laid_out(streams, memory), strict=True)
    stored = [column for stream in streams for column in stream.storage.stored]
    record = record_of(rule, streams[0].storage.compute)
    addresses = _addresses(stored, memory.integer)
    block = min(stream.storage.block for stream in streams)
    registers = memory.registers(record, _constants(rule.hyper))
    if listed:
        inputs = rule, streams, terms, memory, listed, registers, record.itemsize
        run, registers = run_by_list(*inputs)
    elif terms:
        run = run_by_rows(rule, streams, terms, memory, scattered)
    elif any(stream.name == ROW_LENGTH for stream in streams):
        run = run_row_after_row(rule, streams, memory)
    elif fits(parts, block, memory.warps):
        run = _run_by_warps(streams, parts, rule, memory, addresses, block)
    elif block == WHOLE:
        run = at_once(elements_of(streams, parts, rule, memory), addresses)
    else:
        partial = partial_of(streams, parts, memory)
        elements = elements_of(streams, parts, rule, memory)
        late = lates(parts, memory)
        if late:
            plain = Plain(elements, phase_of(parts, 0), phase_of(parts, 1), addresses)
            signs = expected(rule, [stream.storage for stream in streams])
            one = single_of(rule, parts)
            run = in_turns(
                late, signs, one, plain, _lines(streams, memory), memory, scratch[-1], block
            )
        else:
            pack = packing_of(parts, block, partial)
            run = block_by_block(elements, pack, addresses, memory.reserve(scratch[-1]), block)
    size = 8 * (1 + len(stored))
    update = update_with(
        run,
        memory.integer,
        registers,
        row_size=size,
        record_size=record.itemsize,
    )
    if not scattered or memory.prefetch is None:
        return update

    lines = _lines(streams, memory)
    return with_later_chunk(update, lines, memory.integer, size)


def _lines(streams: Sequence[Stream], memory: MemoryAccess) -> Any:
    """The function that prefetches a run of elements, if the target can."""
    lines = list[Any]()
    columns = [column for stream in streams for column in stream.storage.stored]
    for place, each in enumerate(columns if memory.prefetch else (), start=1):
        size = np.dtype(each.dtype).itemsize
        if each.per < ROW:
            lines.append(lines_of(place, size, each.per, memory.integer, memory.prefetch))
        elif each.per == ROW:
            length = length_of(places_of(streams), memory.integer)
            lines.append(line_of_rows(place, size, length, memory.integer, memory.prefetch))
    return in_order("row, start, stop", lines[::-1])
