"""Packing of blocks through scratch memory, by a `Coding`."""

from functools import reduce
from typing import Any

import numpy as np

from ..target import MemoryAccess
from .base import SCRATCH, Coding, Pieces


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

    def measure(at, count):
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

    write = _writing(memory, get, coding, block)

    def pack(at, count):
        fresh = at[SCRATCH] + offset
        settled = kept(fresh)
        write(at, 0, count, (fresh, settled))
        for _ in share(1):
            close(at, settled)
        wait()

    words = (block + coding.settled) * dtype.itemsize // 4
    return Pieces(
        read,
        (lambda at, i, value: put(at[SCRATCH] + offset, i, number(value)),),
        (measure, pack),
        scratch=-(-words // 16) * 16,
        coding=coding,
    )


def _writing(memory: MemoryAccess, get: Any, coding: Coding, block: int) -> Any:
    """The function that writes the codes of a block from scratch."""

    def written_by(store):
        def step(at, i, more):
            fresh, settled = more
            store(at, i, get(fresh, i), settled)

        return memory.loop(step)

    def either(condition, some, others):
        def write(at, first, count, more):
            if count == block and condition(more[1]):
                some(at, first, block, more)
            else:
                others(at, first, count, more)

        return write

    write = written_by(coding.store)
    for condition, store in reversed(coding.paths):
        write = either(condition, written_by(store), write)
    return write


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
