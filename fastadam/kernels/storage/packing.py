"""Packing of blocks through scratch memory, by a `Coding`."""

from functools import reduce
from typing import Any

import numpy as np

from ..target import MemoryAccess
from .base import SCRATCH, Coding, Kind, Late, Pieces


def in_scratch(
    memory: MemoryAccess, name: str, read: Any, coding: Coding, block: int, scratch: int
) -> Pieces:
    """The pieces of a storage that works in blocks.

    Args:
        read: the function that reads one element.
        coding: the encoding of a block.
        block: the number of elements of a block.
        scratch: the first word of scratch that it may use.
    """
    dtype = np.dtype(coding.dtype)
    get, put = memory.access(dtype, name + ".scratch")
    share, wait, offset = memory.share, memory.wait, 4 * scratch
    number, part, join, settle = coding.number, coding.part, coding.join, coding.settle
    close, zero = coding.close, dtype.type(0)
    keep, kept = _kept(get, put, block, coding.settled)

    def take(at, i, more, joined):
        return join(joined, part(get(at[SCRATCH] + offset, i)))

    def joined_by_one(at, count):
        fresh = at[SCRATCH] + offset
        for i in share(block - count):
            put(fresh, count + i, zero)
        wait()
        for _ in share(1):
            joined = part(get(fresh, 0))
            for i in range(block):
                joined = join(joined, part(get(fresh, i)))
            keep(fresh, settle(at, joined))
        wait()

    joined_by = memory.folded(take, part(zero)) if memory.folded else None

    def joined_in_loop(at, count):
        keep(at[SCRATCH] + offset, settle(at, joined_by(at, 0, count, 0)))

    measure = joined_in_loop if joined_by else joined_by_one

    write = memory.loop(_writing(coding.store, get, offset))

    def pack(at, count):
        settled = kept(at[SCRATCH] + offset)
        write(at, 0, count, settled)
        for _ in share(1):
            close(at, settled)
        wait()

    def kind(signed):
        usual, store, part, join, whole, enough = signed
        return Kind(
            usual,
            _writing(store, get, offset),
            part(zero),
            lambda joined, value: join(joined, part(number(value))),
            enough,
            lambda at, joined: keep(at[SCRATCH] + offset, settle(at, whole(joined))),
        )

    words = (block + coding.settled) * dtype.itemsize // 4
    return Pieces(
        read,
        (lambda at, i, value: put(at[SCRATCH] + offset, i, number(value)),),
        (measure, pack),
        scratch=-(-words // 16) * 16,
        coding=coding,
        late=Late(lambda at: kept(at[SCRATCH] + offset), close, tuple(map(kind, coding.signed)))
        if coding.signed
        else None,
    )


def _writing(store: Any, get: Any, offset: int) -> Any:
    """The function that writes the code of an element from scratch."""

    def written(at, i, settled):
        store(at, i, get(at[SCRATCH] + offset, i), settled)

    return written


def _kept(get: Any, put: Any, first: int, count: int) -> tuple[Any, Any]:
    """Two functions: one stores a tuple of `count` numbers in scratch, the other loads it."""

    def keep_one(rest, k):
        def keep(fresh, numbers):
            put(fresh, first + k, numbers[k])
            rest(fresh, numbers)

        return keep

    def kept_one(rest, k):
        return lambda fresh: (get(fresh, first + k),) + rest(fresh)

    order = range(count)[::-1]
    keep = reduce(keep_one, order, lambda fresh, numbers: None)
    return keep, reduce(kept_one, order, lambda fresh: ())
