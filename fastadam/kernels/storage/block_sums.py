"""The storage of sums over blocks of elements, from which norms are computed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..target import MemoryAccess
from .base import COLUMNS, SCRATCH, Coding, Column, Pieces

BLOCK = 1024
PARTIAL = 64  # the sums of a complete block that a loop adds by itself: they fit into registers


@dataclass(frozen=True)
class Sums:
    """The sum of each block of elements in float64, added in a fixed tree; only written.

    The tree makes results reproducible to the bit, and keeps the rounding error small.

    Attributes:
        place: the suffix of the scope of the sums, if they are not in an array.
        per: the number of elements of a sum in an array: BLOCK, or ROW for those of whole rows.
    """

    place: str = ""
    per: int = BLOCK
    tag = "sums"
    compute = "float64"
    block = BLOCK

    @property
    def stored(self) -> tuple[Column, ...]:
        return (Column("float64", self.per),)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        terms, folded = (
            memory.access(np.dtype("float64"), f"{name}{part}.scratch") for part in ("", ".folded")
        )
        _, store = memory.access(np.dtype("float64"), name + self.place)
        share, wait, slot, offset = memory.share, memory.wait, COLUMNS + column, 4 * scratch
        (get, put), (get_folded, put_folded), zero = terms, folded, np.float64(0)
        eight, eight_folded = _eight(get), _eight(get_folded)

        def fold(at, i, apart):
            put_folded(at[1], i, eight(at[0], i, apart))

        fold_all = memory.loop(fold)

        def pack(at, count):
            first = at[SCRATCH] + offset
            sums = first + 8 * BLOCK
            wait()
            if count == PARTIAL:  # what follows, with constants
                fold_all((first, sums), 0, PARTIAL // 8, PARTIAL // 8)
                count = PARTIAL // 8
            else:
                eighth = (count + 7) // 8
                for i in share(8 * eighth - count):
                    put(first, count + i, zero)
                wait()
                fold_all((first, sums), 0, eighth, eighth)
                count = eighth
            while count > 1:
                wait()
                eighth = (count + 7) // 8
                for i in share(8 * eighth - count):
                    put_folded(sums, count + i, zero)
                wait()
                for i in share(eighth):
                    put_folded(sums, i, eight_folded(sums, i, eighth))
                count = eighth
            wait()
            for _ in share(1):
                store(at[slot], 0, get_folded(sums, 0))
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
            scratch=2 * (BLOCK + BLOCK // 8),
            coding=coding,
            partial=PARTIAL,
            kept=lambda at, i: get(at[SCRATCH] + offset, i),
        )


def _eight(get: Any) -> Any:
    """The function that adds eight numbers of scratch memory, halves first."""

    def eight(terms, i, apart):
        first = get(terms, i) + get(terms, i + 4 * apart)
        third = get(terms, i + 2 * apart) + get(terms, i + 6 * apart)
        second = get(terms, i + apart) + get(terms, i + 5 * apart)
        fourth = get(terms, i + 3 * apart) + get(terms, i + 7 * apart)
        return (first + third) + (second + fourth)

    return eight
