"""The storage of sums over blocks of elements, from which norms are computed."""

from dataclasses import dataclass

import numpy as np

from ..target import MemoryAccess
from .base import COLUMNS, SCRATCH, Coding, Column, Pieces

PARTIAL = 64  # the sums of a complete block that a loop adds by itself: they fit into registers


@dataclass(frozen=True)
class Sums:
    """The sum of each block of elements in float64, added in a fixed tree; only written.

    The tree makes results reproducible to the bit, and keeps the rounding error small.
    """

    tag = "sums"
    compute = "float64"
    block = 1024
    stored = (Column("float64", 1024),)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        get, put = memory.access(np.dtype("float64"), name + ".scratch")
        _, store = memory.access(np.dtype("float64"), name)
        share, wait, slot, offset = memory.share, memory.wait, COLUMNS + column, 4 * scratch
        zero = np.float64(0)

        def two(terms, i, apart):
            return get(terms, i) + get(terms, i + apart)

        def four(terms, i, apart):
            return two(terms, i, 2 * apart) + two(terms, i + apart, 2 * apart)

        def eight(terms, i, apart):
            return four(terms, i, 2 * apart) + four(terms, i + apart, 2 * apart)

        def fold(terms, i, _):
            put(terms, PARTIAL + i, eight(terms, i, PARTIAL // 8))

        fold_all = memory.loop(fold)

        def pack(at, count):
            terms = at[SCRATCH] + offset
            if count == PARTIAL:  # what follows, with constants
                wait()
                fold_all(terms, 0, PARTIAL // 8, 0)
                wait()
                for _ in share(1):
                    store(at[slot], 0, eight(terms, PARTIAL, 1))
                wait()
                return
            while count > 1:
                wait()
                eighth = (count + 7) // 8
                for i in share(8 * eighth - count):
                    put(terms, count + i, zero)
                wait()
                for i in share(eighth):
                    put(terms, i, eight(terms, i, eighth))
                count = eighth
            wait()
            for _ in share(1):
                store(at[slot], 0, get(terms, 0))
            wait()

        coding = Coding(
            "float64",
            lambda value: value,
            lambda term: (term,),
            lambda one, other: (one[0] + other[0],),
            lambda at, joined: joined,
            1,
            None,
            lambda at, settled: store(at[slot], 0, settled[0]),
            ordered=True,
        )
        return Pieces(
            lambda at, i: zero,
            (lambda at, i, value: put(at[SCRATCH] + offset, i, value),),
            (pack,),
            scratch=2 * self.block,
            coding=coding,
            partial=PARTIAL,
        )
