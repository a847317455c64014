"""Storages: the representation of a stream of numbers in memory.

A storage declares its arrays (`stored`, a tuple of columns), the dtype of its numbers in a rule
(`compute`) and the number of elements that it packs at once (`block`). Its `pieces` are plain
functions from which the loop is composed:

    read(at, i)           reads one element
    write(at, i, value)   writes one of its stored numbers; there is one such function per column
    pack(at, count)       runs after each block of elements, in phases; phase k of all streams runs
                          before phase k + 1 of any, so that their latencies overlap

A storage that works in blocks declares a `Coding`; `packing.py` makes its pieces.

`at` locates a block: `at[FIRST]` is the position of its first element in the parameter,
`at[SCRATCH]` the address of scratch memory, small enough for the first-level cache, and
`at[COLUMNS + column]` the address of its first stored number. `i` counts from there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..target import MemoryAccess

FIRST, SCRATCH, COLUMNS = 0, 1, 2
WHOLE = 1 << 62  # the block length of storages that do not work in blocks
ROW = 1 << 61  # in place of `Column.per`: the elements of a row, which a table has
COLUMN = 3 << 60  # the same for numbers of columns, which the elements of each row share


class Coding(NamedTuple):
    """The encoding of a block, as plain functions.

    The target decides where the numbers of a block are held before they are stored, and which
    thread reduces them: scratch memory and a loop, or registers and the lanes of a warp.

    Attributes:
        dtype: the dtype of a held number.
        number: converts a value of the rule to the number that is held; zero is neutral.
        part: converts a held number to the tuple that is reduced.
        join: reduces two such tuples to one.
        settle: `settle(at, joined)` returns the numbers on which the codes of a block depend, such
            as its scale, as a tuple.
        settled: the length of that tuple.
        store: `store(at, i, number, settled)` writes the code of an element, if there are codes.
        close: `close(at, settled)` writes the numbers of the block itself, after all reads.
        ordered: True if the bits of a result depend on the order of the reduction. Elements are
            then reduced in halves: those half a block apart, then a quarter, and so on.
        signed: what is simpler in blocks without and with negative numbers.
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
    signed: tuple["Signed", ...] = ()


class Signed(NamedTuple):
    """The functions of a `Coding` in fewer instructions, for blocks of one kind.

    Attributes:
        usual: `usual(settled)` returns True for a block of this kind.
        store: `store(at, i, number, settled)` writes the same code as that of the coding.
        part, join: as those of the coding, of which `whole(joined)` makes what the others return.
        enough: `enough(joined)` returns True if it can.
    """

    usual: Callable[..., bool]
    store: Callable[..., None]
    part: Callable[[Any], Any]
    join: Callable[[Any, Any], Any]
    whole: Callable[[Any], Any]
    enough: Callable[[Any], bool]


class Late(NamedTuple):
    """The packing of a block while the next one is updated; see `overlap.py`.

    Attributes:
        kept: `kept(at)` returns what is kept in scratch memory of a block that is settled.
        close: `close(at, settled)` as in `Coding`.
        kinds: the functions for blocks without and with negative numbers.
    """

    kept: Callable[..., Any]
    close: Callable[..., None]
    kinds: tuple["Kind", ...]


class Kind(NamedTuple):
    """The packing of a block of one kind while the next one is updated.

    Attributes:
        usual: `usual(settled)` returns True for a block of this kind.
        store: `store(at, i, settled)` writes a code.
        start: the tuple with which joining begins.
        join: `join(joined, value)` adds a new value of the rule.
        enough: `enough(joined)` returns True if that settles the block.
        keep: `keep(at, joined)` settles it, and keeps the result in scratch memory.
    """

    usual: Callable[..., bool]
    store: Callable[..., None]
    start: tuple[Any, ...]
    join: Callable[..., Any]
    enough: Callable[..., bool]
    keep: Callable[..., None]


class Pieces(NamedTuple):
    """The functions of a storage from which a loop is composed.

    Attributes:
        read: `read(at, i)` returns the number of an element.
        writes: `write(at, i, value)` for each column; empty if the stream is read only.
        packs: `pack(at, count)` for each phase after a block of `count` elements.
        scratch: the number of 32-bit words of scratch memory in use.
        coding: the same encoding as `packs`, for a target that packs in registers.
        partial: the number of sums to which the elements of a complete block may be added before
            they are written, in halves as in `Coding.ordered`; 0 if nothing is added.
        kept: `kept(at, i)` returns a sum that was written; None if nothing is added.
        close: `close(at, value)` writes the number of a row, from its first element; None if
            numbers are not those of rows.
        late: the functions of the same packing while the next block is updated, if it can be.
    """

    read: Callable[..., Any]
    writes: tuple[Callable[..., None], ...] = ()
    packs: tuple[Callable[..., None], ...] = ()
    scratch: int = 0
    coding: Coding | None = None
    partial: int = 0
    kept: Callable[..., Any] | None = None
    close: Callable[..., None] | None = None
    late: Late | None = None


class Column(NamedTuple):
    """An array of a stream.

    Attributes:
        dtype: the dtype of its numbers in a kernel.
        per: the number of elements that share a stored number.
        part: the suffix of its name after that of the main array, such as "_scale"; or its full
            name, if it holds one number per parameter, which the host writes.
        kept: the dtype outside kernels, if it differs from `dtype`.
        start: the stored value that encodes a constant initial state other than zero; None if that
            is the constant itself.
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
    """The representation of a stream of numbers in memory; see the module.

    Attributes:
        tag: its part of the name of a kernel.
        compute: the dtype of its numbers in a rule.
        stored: its arrays.
        block: the number of elements that it packs at once; WHOLE without blocks.
    """

    @property
    def tag(self) -> str: ...
    @property
    def compute(self) -> str: ...
    @property
    def stored(self) -> tuple[Column, ...]: ...
    @property
    def block(self) -> int: ...
    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        """The functions that access a stream.

        Args:
            memory: the memory access of a target.
            name: the name of the stream, which is that of its alias scope.
            column: the index of its first array in a row of the table.
            scratch: the first word of scratch memory that it may use.
        """
