"""The storage of sums over blocks of elements, from which norms are computed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..target import MemoryAccess
from .base import COLUMNS, SCRATCH, Coding, Column, Pieces

BLOCK = 1024
LANES = 8  # sums that are added at once
ROOM = BLOCK + 2 * LANES  # numbers of scratch memory for the terms of a block, and zeros after them
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

        fold_all = memory.loop(fold, LANES)

        def clear(sums, count):
            for i in share(LANES):
                put_folded(sums, count + i, zero)
            wait()

        def keep(at, sum):
            for _ in share(1):
                store(at[slot], 0, sum)
            wait()

        def fold_to_eight(sums, count):
            while count > LANES:
                eighth = (count + 7) // 8
                clear(sums, count)
                for i in share(eighth):
                    put_folded(sums, i, eight_folded(sums, i, eighth))
                count = eighth
                wait()
            if count < LANES:
                clear(sums, count)

        def pack(at, count):
            first = at[SCRATCH] + offset
            sums = first + 8 * ROOM
            wait()
            if count == PARTIAL:  # what follows, with constants
                fold_all((first, sums), 0, LANES, LANES)
                wait()
                keep(at, eight_folded(sums, 0, 1))
                return
            for i in share(2 * LANES):
                put(first, count + i, zero)
            wait()
            if count <= LANES:
                keep(at, eight(first, 0, 1))
                return
            eighth = (count + 7) // 8
            # whole vectors, of which some lanes are cleared below
            fold_all((first, sums), 0, (eighth + LANES - 1) & -LANES, eighth)
            wait()
            fold_to_eight(sums, eighth)
            keep(at, eight_folded(sums, 0, 1))

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
            scratch=2 * (ROOM + BLOCK // 8 + LANES),
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
