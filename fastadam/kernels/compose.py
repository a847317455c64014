"""Composition: a rule and the pieces of its streams become the body of a loop."""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain, zip_longest
from typing import Any, Literal, NamedTuple

import numpy as np

from ..rules import Rule
from ..rules.functions import added
from .adding import LEAST, Added, added_in_eighths, added_in_halves, in_long_runs
from .composed import composed
from .lanes import Access, Waiting
from .loops import (
    at_once,
    block_by_block,
    fetching,
    four_by_four,
    line_of_rows,
    lines_of,
    one_by_one,
    row_after_row,
    row_at_once,
    row_by_row,
    row_in_blocks,
    sums_of_row,
    update_with,
)
from .overlap import Plain, expected, in_turns, lates
from .row_pieces import (
    ROOM,
    ROW_LENGTH,
    closing,
    length_of,
    places_of,
    row_addresses,
    totals_of,
)
from .storage.base import COLUMNS, ROW, WHOLE, Column, Pieces, Storage
from .storage.block_sums import BLOCK
from .target import MemoryAccess
from .warps import by_warps, fits

PAIR_WORDS = 40  # registers for the numbers of two groups; with more, kernels run out of them


class Stream(NamedTuple):
    """A named stream of numbers, with its storage and its mode of access.

    Attributes:
        name: its name, unique in a kernel.
        storage: its representation in memory.
        mode: "rw", "r" (only read), "w" (only written) or "rz" (read, then set to zero).
    """

    name: str
    storage: Storage
    mode: Literal["rw", "r", "w", "rz"] = "rw"

    def pieces(self, memory: MemoryAccess, column: int, scratch: int) -> Pieces:
        pieces = self.storage.pieces(memory, self.name, column, scratch)
        zero = np.dtype(self.storage.compute).type(0)
        if self.mode == "r" or not (pieces.writes or pieces.close):
            return Pieces(pieces.read)
        if self.mode == "w":
            return pieces._replace(read=lambda at, i: zero)
        if self.mode == "rz":
            return pieces._replace(writes=tuple(_clearing(w, zero) for w in pieces.writes))
        return pieces


def _clearing(write: Any, zero: Any) -> Any:
    return lambda at, i, value: write(at, i, zero)


def _pack(one: Any, rest: Any) -> Any:
    def both(at, count):
        one(at, count)
        rest(at, count)

    return both


def _phase(parts: Sequence[Pieces], number: int) -> Any:
    """Runs one of the phases of packing for every stream that has some."""
    return _fold(
        _pack, [part.packs[number] for part in parts if part.packs], lambda at, count: None
    )


def _packing(parts: Sequence[Pieces], block: int, partial: int, least: int = 0) -> Any:
    """Packs a block of every stream: phase 1 of all streams, then phase 2. A complete block may
    have become `partial` numbers, another one of `least` elements or more an eighth of them."""
    steps = chain.from_iterable(zip_longest(*(part.packs for part in parts)))
    pack = _fold(_pack, [step for step in steps if step], lambda at, count: None)
    if not partial:
        return pack
    if not least:
        return lambda at, count: pack(at, partial if count == block else count)

    def begun(at, count):
        some = (count + 7) // 8 if count >= least else count
        pack(at, partial if count == block else some)

    return begun


def _fold(join: Callable[[Any, Any], Any], parts: Sequence[Any], end: Any) -> Any:
    return reduce(lambda rest, part: join(part, rest), reversed(parts), end)


def _addresses(columns: Sequence[Column], integer: Any) -> Any:
    """The addresses of all columns of a row at an element, as a tuple."""
    places = [
        f"integer(row, {place}) + first // {column.per} * {np.dtype(column.dtype).itemsize}, "
        for place, column in enumerate(columns, start=1)
    ]
    return composed("row, first", [f"return ({''.join(places)})"], integer=integer)


def _reading(parts: Sequence[Pieces]) -> Any:
    """Reads an element of every stream, as a tuple."""
    reads = {f"read_{k}": part.read for k, part in enumerate(parts)}
    calls = [f"{name}(at, i), " for name in reads]
    return composed("at, i", [f"return ({''.join(calls)})"], **reads)


def _writing(parts: Sequence[Pieces]) -> Any:
    """Writes an element of every stream, from a tuple: the states, then the parameter, which is
    better for the store buffer."""
    writes = [(k, write) for k, part in enumerate(parts) for write in part.writes]
    names = {f"write_{number}": write for number, (_, write) in enumerate(writes)}
    calls = [f"{name}(at, i, values[{k}])" for name, (k, _) in zip(names, writes, strict=True)]
    return composed("at, i, values", [*reversed(calls), "return None"], **names)


def _element(function: Callable[..., Any]) -> Callable[..., Any]:
    def element(values, h):
        param, state = function(values[0], values[1], values[2:], h)
        return (param, values[1]) + state

    return element


def _one(rule: Rule, parts: Sequence[Pieces]) -> Any:
    """Updates an element, and returns the new values."""
    element, read, write = _element(rule.snapshot), _reading(parts), _writing(parts)

    def one(at, i, h):
        values = element(read(at, i), h)
        write(at, i, values)
        return values

    return one


def _write_four(one: Any, rest: Any) -> Any:
    """Writes four neighbours of a stream, then those of the next, so that accesses are merged."""
    position, first, write = one

    def four(at, i, values):
        rest(at, i, values)
        a, b, c, d = values
        first(at, i, a[position])
        write(at, i + 1, b[position])
        write(at, i + 2, c[position])
        write(at, i + 3, d[position])

    return four


def _aligned(one: Any, rest: Any) -> Any:
    slot, below = one
    return lambda at: at[slot] & below == 0 and rest(at)


def _elements(
    streams: Sequence[Stream],
    parts: Sequence[Pieces],
    rule: Rule,
    memory: MemoryAccess,
    wide: bool = True,
) -> Any:
    """The function that updates the elements of a block; `wide` if blocks are long, so that a
    target may take groups of neighbours."""
    element, share = _element(rule.snapshot), memory.share
    read, write = _reading(parts), _writing(parts)
    single = one_by_one(read, write, element, memory.loop)
    if memory.wide is None:
        summed = [k for k, part in enumerate(parts) if part.partial]
        if not summed:
            return single
        block, addition = streams[summed[0]].storage.block, _added(streams, parts, summed)
        whole = added_in_halves(single, read, element, addition, memory.loop, block)
        if wide:
            return whole
        return added_in_eighths(single, whole, read, element, addition, memory.loop, block)
    if not wide:
        return single
    access = _access(streams, parts, read, write, element, memory)
    return four_by_four(single, access, share, in_pairs(streams))


def in_pairs(streams: Sequence[Stream]) -> bool:
    """True if the registers of a thread hold two groups of neighbours of all streams."""
    each = [stream.storage for stream in streams if stream.storage.stored[0].per < WHOLE]
    return 2 * sum(np.dtype(storage.compute).itemsize for storage in each) <= PAIR_WORDS


def _added(streams: Sequence[Stream], parts: Sequence[Pieces], places: Sequence[int]) -> Added:
    """The addition of the values of the streams at some places."""
    pick = _fold(_picked, places, lambda values: ())
    join = _fold(_joined, range(len(places)), lambda one, other: ())
    summed = [parts[place] for place in places]
    nothing = _fold(_zero, places, lambda values: ())
    alone = in_long_runs([stream.storage for stream in streams])
    return Added(pick, join, _writing(summed), summed[0].partial, nothing, alone)


def _zero(place: Any, rest: Any) -> Any:
    zero = np.float64(0)
    return lambda values: (zero,) + rest(values)


def _picked(place: Any, rest: Any) -> Any:
    return lambda values: (values[place],) + rest(values)


def _joined(place: Any, rest: Any) -> Any:
    return lambda one, other: (added(one[place], other[place]),) + rest(one, other)


def _access(
    streams: Sequence[Stream],
    parts: Sequence[Pieces],
    read: Any,
    write: Any,
    element: Any,
    memory: MemoryAccess,
) -> Access:
    """Access to the elements of a block for a target with vector loads and stores."""
    firsts = _firsts(streams, memory)
    writes = [
        (k, *pair)
        for k, (first, part) in enumerate(zip(firsts, parts, strict=True))
        for pair in zip(first.writes, part.writes, strict=False)
    ]
    columns = [column for stream in streams for column in stream.storage.stored]
    masks = [
        (COLUMNS + k, memory.wide.group_size(np.dtype(column.dtype)) - 1)
        for k, column in enumerate(columns)
        if column.per == 1
    ]
    return Access(
        _fold(_aligned, masks, lambda at: True),
        _reading(firsts),
        read,
        _fold(_write_four, writes, lambda at, i, values: None),
        write,
        element,
    )


def _firsts(streams: Sequence[Stream], memory: MemoryAccess) -> list[Pieces]:
    """The pieces of each stream for the first element of an aligned group."""
    return [part for part, _ in _laid_out(streams, memory.wide)]


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
        for k, (part, first) in enumerate(zip(parts, _firsts(streams, memory), strict=True))
        if part.coding and first.coding
    ]
    written = [part._replace(writes=()) if part.coding else part for part in parts]
    element, read, write = _element(rule.snapshot), _reading(parts), _writing(written)
    access = _access(streams, written, read, write, element, memory)
    return by_warps(access, waits, addresses, block, memory.warps)


def _run_by_rows(
    rule: Rule, streams: Sequence[Stream], terms: Sequence[Stream], memory: MemoryAccess
) -> Any:
    """The function that updates a run of rows: the sums of a row, then its elements, then its
    numbers."""
    assert rule.prepare
    adding, used = zip(*_laid_out(terms, memory), strict=True)
    rooms, free = _rooms(terms, adding, used[-1])
    parts, used = zip(*_laid_out(streams, memory, free), strict=True)
    places = places_of(streams)
    at_row = row_addresses(
        streams, places, {name: room + ROOM // 2 for name, room in rooms.items()}, memory.integer
    )
    totals = totals_of(terms, rooms, streams[0].storage.compute, memory)
    added = _sums_by_row(rule.prepare, terms, adding, places, rooms, totals, memory)
    update = _row_updated(rule, streams, parts, at_row, memory)
    close = closing(parts, _reading(parts), _element(rule.snapshot))
    length = length_of(places, memory.integer)
    return row_by_row(added, update, close, at_row, length, memory, memory.reserve(used[-1]))


def _run_row_after_row(rule: Rule, streams: Sequence[Stream], memory: MemoryAccess) -> Any:
    """The function that updates a run of rows, or writes the sums of each."""
    parts, used = zip(*_laid_out(streams, memory), strict=True)
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
    partial = max(part.partial for part in parts) if memory.wide is None else 0
    return sums_of_row(
        _elements(terms, parts, rule, memory, wide=False),
        _packing(parts, BLOCK, partial, LEAST if partial else 0),
        row_addresses(terms, places, rooms, memory.integer),
        *totals,
        memory,
        BLOCK,
    )


def _row_updated(
    rule: Rule, streams: Sequence[Stream], parts: Sequence[Pieces], at_row: Any, memory: Any
) -> Any:
    """The function that updates the elements of a row."""
    elements = _elements(streams, parts, rule, memory, wide=False)
    block = min(stream.storage.block for stream in streams)
    if block == WHOLE:
        return row_at_once(elements, at_row)
    return row_in_blocks(elements, _packing(parts, block, 0), at_row, block)


def _laid_out(
    streams: Sequence[Stream], memory: MemoryAccess, scratch: int = 0
) -> Iterator[tuple[Pieces, int]]:
    """The pieces of each stream, and the scratch used up to and including it."""
    column = 0
    for stream in streams:
        pieces = stream.pieces(memory, column, scratch)
        column += len(stream.storage.stored)
        scratch += pieces.scratch
        yield pieces, scratch


def update_of(
    rule: Rule,
    streams: Sequence[Stream],
    memory: MemoryAccess,
    scattered: bool = False,
    terms: Sequence[Stream] = (),
) -> Callable[..., None]:
    """The update function of a rule over its streams: param, grad, then the states in order.

    Args:
        scattered: whether chunks are far from each other, so that memory is asked for ahead.
        terms: the streams of the terms of its sums over rows, if it has any.
    """
    parts, scratch = zip(*_laid_out(streams, memory), strict=True)
    stored = [column for stream in streams for column in stream.storage.stored]
    record = record_of(rule, streams[0].storage.compute)
    addresses = _addresses(stored, memory.integer)
    block = min(stream.storage.block for stream in streams)
    if terms:
        run = _run_by_rows(rule, streams, terms, memory)
    elif any(stream.name == ROW_LENGTH for stream in streams):
        run = _run_row_after_row(rule, streams, memory)
    elif fits(parts, block, memory.warps):
        run = _run_by_warps(streams, parts, rule, memory, addresses, block)
    elif block == WHOLE:
        run = at_once(_elements(streams, parts, rule, memory), addresses)
    else:
        partial = max(part.partial for part in parts) if memory.wide is None else 0
        elements = _elements(streams, parts, rule, memory)
        late = lates(parts, memory)
        if late:
            plain = Plain(elements, _phase(parts, 0), _phase(parts, 1), addresses)
            signs = expected(rule, [stream.storage for stream in streams])
            one = _one(rule, parts)
            run = in_turns(
                late, signs, one, plain, _lines(streams, memory), memory, scratch[-1], block
            )
        else:
            pack = _packing(parts, block, partial)
            run = block_by_block(elements, pack, addresses, memory.reserve(scratch[-1]), block)
    size = 8 * (1 + len(stored))
    update = update_with(
        run,
        memory.integer,
        memory.registers(record, namedtuple("Hyper", rule.hyper)),
        row_size=size,
        record_size=record.itemsize,
    )
    if not scattered or memory.prefetch is None:
        return update

    lines = _lines(streams, memory)
    return fetching(update, lines, memory.integer, size)


def _lines(streams: Sequence[Stream], memory: MemoryAccess) -> Any:
    """The function that asks for the memory of a run of elements, if the target can."""

    def nothing(row, start, stop):
        return None

    lines: Any = nothing
    columns = [column for stream in streams for column in stream.storage.stored]
    for place, each in enumerate(columns if memory.prefetch else (), start=1):
        size = np.dtype(each.dtype).itemsize
        if each.per < ROW:
            lines = lines_of(place, size, each.per, memory.integer, memory.prefetch, lines)
        elif each.per == ROW:
            length = length_of(places_of(streams), memory.integer)
            lines = line_of_rows(place, size, length, memory.integer, memory.prefetch, lines)
    return lines


def record_of(rule: Rule, compute: str) -> "np.dtype[np.void]":
    """The memory layout of the constants of one step."""
    return np.dtype([(name, compute) for name in rule.hyper])
