"""Pieces of kernels that read, update and write elements, made from a rule and its streams."""

from collections import namedtuple
from collections.abc import Callable, Collection, Sequence
from functools import reduce
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from ..rules import Rule
from ..rules.functions import added
from .adding import Added, added_in_eighths, added_in_halves, in_long_runs
from .composed import composed, in_order, tuple_of
from .lanes import Access
from .loops import four_by_four, one_by_one
from .prefetching import STRIDE, long_in_strides
from .storage.base import COLUMNS, WHOLE, Pieces
from .storage.block_sums import BLOCK
from .stream import Stream, laid_out
from .target import MemoryAccess

PAIR_WORDS = 40  # registers for the numbers of two groups; with more, kernels run out of them


def phase_of(parts: Sequence[Pieces], number: int) -> Any:
    """Runs one of the phases of packing for every stream that has some."""
    return in_order("at, count", [part.packs[number] for part in parts if part.packs])


def packing_of(parts: Sequence[Pieces], block: int, partial: int, least: int = 0) -> Any:
    """Packs a block of every stream: phase 1 of all streams, then phase 2. A complete block may
    have become `partial` numbers, another one of `least` elements or more an eighth of them."""
    steps = chain.from_iterable(zip_longest(*(part.packs for part in parts)))
    pack = in_order("at, count", [step for step in steps if step])
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


def reading_of(parts: Sequence[Pieces]) -> Any:
    """Reads an element of every stream, as a tuple."""
    reads = {f"read_{k}": part.read for k, part in enumerate(parts)}
    return tuple_of("at, i", [f"{name}(at, i)" for name in reads], **reads)


def writing_of(parts: Sequence[Pieces]) -> Any:
    """Writes an element of every stream, from a tuple: the states, then the parameter, which is
    better for the store buffer."""
    writes = [(k, write) for k, part in enumerate(parts) for write in part.writes]
    names = {f"write_{number}": write for number, (_, write) in enumerate(writes)}
    calls = [f"{name}(at, i, values[{k}])" for name, (k, _) in zip(names, writes, strict=True)]
    return composed("at, i, values", [*reversed(calls), "return None"], **names)


def element_of(function: Callable[..., Any]) -> Callable[..., Any]:
    def element(values, h):
        param, state = function(values[0], values[1], values[2:], h)
        return (param, values[1]) + state

    return element


def single_of(rule: Rule, parts: Sequence[Pieces]) -> Any:
    """Updates an element, and returns the new values."""
    element, read, write = element_of(rule.snapshot), reading_of(parts), writing_of(parts)

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


def elements_of(
    streams: Sequence[Stream],
    parts: Sequence[Pieces],
    rule: Rule,
    memory: MemoryAccess,
    wide: bool = True,
) -> Any:
    """The function that updates the elements of a block; `wide` if blocks are long, so that a
    target may take groups of neighbours."""
    element, share = element_of(rule.snapshot), memory.share
    read, write = reading_of(parts), writing_of(parts)
    single = one_by_one(read, write, element, memory.loop)
    if memory.wide is None:
        fetch = _fetching(rule, streams, memory)
        summed = [k for k, part in enumerate(parts) if part.partial]
        if not summed:
            return long_in_strides(single, fetch)
        block, addition = streams[summed[0]].storage.block, _added(streams, parts, summed)
        whole = added_in_halves(single, read, element, addition, memory, block, fetch)
        if wide:
            return whole
        return added_in_eighths(single, whole, read, element, addition, memory.loop, block)
    if not wide:
        return single
    access = access_of(streams, parts, read, write, element, memory)
    return four_by_four(single, access, share, in_pairs(streams))


def names_read(rule: Rule, streams: Sequence[Stream]) -> Collection[str]:
    """The names of the streams that a kernel reads: of one that leaves parameters as they are,
    those that matter to the numbers that it writes."""
    if streams[0].mode != "r":
        return [each.name for each in streams if each.mode != "w"]
    ones = [np.dtype(each.storage.compute).type(1) for each in streams]

    def written(constant: float, numbers: list[Any]) -> str:
        h = namedtuple("h", rule.hyper)(*[type(ones[0])(constant) for _ in rule.hyper])
        _, states = rule(numbers[0], numbers[1], tuple(numbers[2:]), h)
        pairs = zip(states, streams[2:], strict=True)
        return repr([number for number, stream in pairs if stream.mode != "r"])

    def matters(k: int) -> bool:
        if streams[k].mode != "r" or not isinstance(ones[k], np.floating):
            return streams[k].mode != "w"
        numbers = [*ones[:k], type(ones[k])("nan"), *ones[k + 1 :]]
        return any(written(constant, numbers) != written(constant, ones) for constant in (0.5, 0.0))

    return [each.name for k, each in enumerate(streams) if matters(k)]


def _fetching(rule: Rule, streams: Sequence[Stream], memory: MemoryAccess) -> Any:
    """Prefetches a stride of every stream that is read, from an element on."""
    read = names_read(rule, streams)
    columns = [(each, stream.name in read) for stream in streams for each in stream.storage.stored]
    sizes = {
        place: np.dtype(column.dtype).itemsize
        for place, (column, here) in enumerate(columns, start=COLUMNS)
        if column.per == 1 and here
    }
    return memory.prefetching(sizes, STRIDE)


def in_pairs(streams: Sequence[Stream]) -> bool:
    """True if the registers of a thread hold two groups of neighbours of all streams."""
    each = [stream.storage for stream in streams if stream.storage.stored[0].per < WHOLE]
    return 2 * sum(np.dtype(storage.compute).itemsize for storage in each) <= PAIR_WORDS


def partial_of(streams: Sequence[Stream], parts: Sequence[Pieces], memory: MemoryAccess) -> int:
    """The number of sums that a complete block has become before it is packed; 0 if the target
    leaves all additions to that."""
    partial = max(part.partial for part in parts) if memory.wide is None else 0
    if not partial or in_long_runs([stream.storage for stream in streams]):
        return partial
    return BLOCK // 2


def _added(streams: Sequence[Stream], parts: Sequence[Pieces], places: Sequence[int]) -> Added:
    """The addition of the values of the streams at some places."""
    pick = tuple_of("values", [f"values[{place}]" for place in places])
    sums = [f"added(one[{k}], other[{k}])" for k in range(len(places))]
    join = tuple_of("one, other", sums, added=added)
    summed = [parts[place] for place in places]
    nothing = tuple_of("values", ["zero"] * len(places), zero=np.float64(0))
    alone = in_long_runs([stream.storage for stream in streams])
    partial = summed[0].partial
    others = [part._replace(writes=()) if part.partial else part for part in parts]
    put = writing_of(others) if any(part.writes for part in others) else None
    return Added(pick, put, join, writing_of(summed), _kept_of(summed), partial, nothing, alone)


def _kept_of(parts: Sequence[Pieces]) -> Any:
    """Reads the sums of every stream that were written, as a tuple."""
    reads = {f"kept_{k}": part.kept for k, part in enumerate(parts)}
    calls = [f"{name}(at, i), " for name in reads]
    return composed("at, i", [f"return ({''.join(calls)})"], **reads)


def access_of(
    streams: Sequence[Stream],
    parts: Sequence[Pieces],
    read: Any,
    write: Any,
    element: Any,
    memory: MemoryAccess,
) -> Access:
    """Access to the elements of a block for a target with vector loads and stores."""
    firsts = firsts_of(streams, memory)
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
        reading_of(firsts),
        read,
        _fold(_write_four, writes, lambda at, i, values: None),
        write,
        element,
    )


def firsts_of(streams: Sequence[Stream], memory: MemoryAccess) -> list[Pieces]:
    """The pieces of each stream for the first element of an aligned group."""
    return [part for part, _ in laid_out(streams, memory.wide)]
