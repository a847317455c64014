"""Packing of a block while the next one is updated.

An update waits for a root and a division, packing is integer arithmetic: in one loop, a processor
does both at once. The numbers of a block stay in scratch memory until then, in one half of it while
those of the next block go to the other. The same loop joins what the scale of the next block
depends on.

The loop packs blocks of the expected kind only: each stream without negative numbers, or with them.
Which of the two is expected follows from the rule. Other blocks, incomplete ones, and the first and
the last of a chunk are updated and packed one after the other.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..rules import Rule
from .composed import composed, tuple_of
from .storage.base import Late, Pieces, Storage
from .target import MemoryAccess

PREFETCHED = 2  # blocks between the one being updated and the one being prefetched


class Plain(NamedTuple):
    """The functions of `block_by_block`: `elements` updates a block, `measure` and `pack` are the
    phases of packing, `addresses` are those of a block in a row of the table."""

    elements: Callable[..., None]
    measure: Callable[..., None]
    pack: Callable[..., None]
    addresses: Callable[..., Any]


def lates(parts: Sequence[Pieces], memory: MemoryAccess) -> list[tuple[int, Late]]:
    """The streams, with their places, that are packed while the next block is updated; none if a
    target gains nothing by it, or if one stream is packed in another way."""
    found = [(place, part.late) for place, part in enumerate(parts) if part.packs]
    late = [(place, late) for place, late in found if late]
    return late if memory.folded and len(late) == len(found) else []


def expected(rule: Rule, storages: Sequence[Storage]) -> list[bool]:
    """For each stream, whether a rule makes it negative where it was not."""
    numbers = [np.dtype(storage.compute).type(1) for storage in storages]
    half = np.dtype(storages[0].compute).type(0.5)
    h = namedtuple("h", rule.hyper)(*[half for _ in rule.hyper])
    negative = [False] * len(storages)
    for grad in (-4, 4):
        numbers[1] = numbers[1].dtype.type(grad)
        with np.errstate(all="ignore"):
            param, state = rule.snapshot(numbers[0], numbers[1], tuple(numbers[2:]), h)
        new = (param, numbers[1], *state)
        negative = [known or bool(each < 0) for known, each in zip(negative, new, strict=True)]
    return negative


def in_turns(
    late: Sequence[tuple[int, Late]],
    signs: Sequence[bool],
    one: Callable[..., Any],
    plain: Plain,
    fetch: Any,
    memory: MemoryAccess,
    words: int,
    block: int,
) -> Callable[..., None]:
    """The function that updates a run of elements.

    Args:
        late: the streams that are packed late, with their places.
        signs: for each stream, whether negative numbers are expected.
        one: `one(at, i, h)` updates an element, and returns the new values.
        fetch: `fetch(row, start, stop)` prefetches elements.
        words: the scratch memory of a block.
    """
    elements, measure, pack, addresses = plain
    usual, enough, kept, keep, close = _chains(late, signs)
    update = _updating(late, signs, one, memory)
    reserve, size, distance = memory.reserve(2 * words), 4 * words, PREFETCHED * block

    def run(row, start, stop, h):
        here = reserve()
        there = here + size
        old = (start, here) + addresses(row, start)
        for first in range(start, stop + block, block):
            new = (first, here) + addresses(row, first)
            here, there = there, here
            count, waiting, known = stop - first, first > start, False
            if waiting and count >= block and usual(kept(old)):
                fetch(row, first + distance, first + distance + block)
                settled = kept(old)
                joined = update((new, old), 0, block, (h, settled))
                close(old, settled)
                known = enough(joined)
                if known:
                    keep(new, joined)
                count = block
            else:
                if waiting:
                    pack(old, block if count > 0 else count + block)
                count = block if count > block else count
                if count > 0:
                    elements(new, 0, count, h)
            if count > 0 and not known:
                measure(new, count)
            old = new

    return run


def _chains(late: Sequence[tuple[int, Late]], signs: Sequence[bool]) -> tuple[Any, ...]:
    """Functions over all late streams: those of `Kind` and `Late`, with a tuple for each stream."""
    places, names = range(len(late)), dict[str, Any]()
    for k, (place, each) in enumerate(late):
        kind = each.kinds[signs[place]]
        names |= {f"usual_{k}": kind.usual, f"enough_{k}": kind.enough, f"kept_{k}": each.kept}
        names |= {f"keep_{k}": kind.keep, f"close_{k}": each.close}

    def true(name: str) -> Any:
        conditions = [f"{name}_{k}(parts[{k}])" for k in places]
        return composed("parts", [f"return {' and '.join(conditions)}"], **names)

    def called(name: str) -> Any:
        calls = [f"{name}_{k}(at, parts[{k}])" for k in places]
        return composed("at, parts", [*calls, "return None"], **names)

    kept = tuple_of("at", [f"kept_{k}(at)" for k in places], **names)
    return true("usual"), true("enough"), kept, called("keep"), called("close")


def _updating(
    late: Sequence[tuple[int, Late]], signs: Sequence[bool], one: Any, memory: MemoryAccess
) -> Any:
    """The loop `update((new, old), first, count, (h, settled))`, which updates the elements of a
    block, stores the codes of the one before, and returns what it joined."""
    names, stores, joins, start = dict[str, Any](), list[str](), list[str](), tuple[Any, ...]()
    for k, (place, each) in enumerate(late):
        kind = each.kinds[signs[place]]
        names |= {f"store_{k}": kind.store, f"join_{k}": kind.join}
        stores.append(f"store_{k}(at, i, settled[{k}])")
        joins.append(f"join_{k}(joined[{k}], values[{place}])")
        start = (*start, kind.start)
    store = composed("at, i, settled", [*stores, "return None"], **names)
    join = tuple_of("joined, values", joins, **names)

    def step(blocks, i, more, joined):
        new, old = blocks
        h, settled = more
        values = one(new, i, h)
        store(old, i, settled)
        return join(joined, values)

    return memory.folded(step, start)
