"""Storages: the formats in which streams of numbers are kept in memory, and what each supplies.

A storage says what it stores (`stored`: columns, each an array with one number for so many
elements), the dtype in which it hands numbers to a rule (`compute`), how many elements it packs at
once (`block`), and gives its pieces, plain functions from which the loop is composed:

    read(at, i)           one element
    write(at, i, value)   one of its stored numbers; there is one such function for each
    pack(at, count)       after each block of elements; in steps, of which one stream takes the
                          next when all have taken theirs: what waits for a result is not alone

A storage that works in blocks says what it needs by a `Coding`; `packing.py` makes its pieces.

`at` says where a block is: `at[FIRST]` is the position of its first element in the parameter,
`at[SCRATCH]` the address of memory that stays in the first-level cache, and `at[COLUMNS + column]`
the address of its first stored number. `i` counts from there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..target import MemoryAccess

FIRST, SCRATCH, COLUMNS = 0, 1, 2
WHOLE = 1 << 62  # the block length of storages that do not work in blocks


class Coding(NamedTuple):
    """Plain functions that pack a block. The target decides where its numbers wait and which thread
    joins them: scratch and a loop, or registers and the lanes of a warp.

    Attributes:
        number: from a value of the rule to what waits; zero changes nothing in a block.
        part: from such a number to what is joined, a tuple.
        join: of two parts of a block.
        settle: `settle(at, joined)`: what the codes of a block depend on, a tuple of numbers.
        settled: how many these are.
        store: `store(at, i, number, settled)` writes the code of an element, if there are any.
        close: `close(at, settled)` writes what there is once in a block, when all has been read.
        ordered: whether the bits of a result depend on the order of joining: then elements are
            joined in halves, those that lie half a block apart, then a quarter, and so on.
    """

    dtype: str
    number: Callable[[Any], Any]
    part: Callable[[Any], Any]
    join: Callable[[Any, Any], Any]
    settle: Callable[..., Any]
    settled: int
    store: Callable[..., None] | None
    close: Callable[..., None]
    ordered: bool = False


class Pieces(NamedTuple):
    read: Callable[..., Any]
    writes: tuple[Callable[..., None], ...] = ()  # one for each column; none if it is only read
    packs: tuple[Callable[..., None], ...] = ()
    scratch: int = 0  # how many 32-bit words of it are used
    coding: Coding | None = None  # what the packs do, for a target that does it elsewhere


class Column(NamedTuple):
    """An array of a stream.

    Attributes:
        dtype: of its numbers in a kernel.
        per: how many elements share a number.
        part: what follows the name of the main array in its own; or its own name, if there is one
            number for all elements of a parameter, which the host writes.
        kept: the dtype outside, where it is not that of the kernel.
        start: what it is filled with for elements that are all one number other than zero; None
            stands for that number.
    """

    dtype: str
    per: int = 1
    part: str = ""
    kept: str = ""
    start: float | None = None

    @property
    def outside(self) -> str:
        return self.kept or self.dtype


class Storage(Protocol):
    @property
    def tag(self) -> str: ...
    @property
    def compute(self) -> str: ...
    @property
    def stored(self) -> tuple[Column, ...]: ...
    @property
    def block(self) -> int: ...
    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces: ...
