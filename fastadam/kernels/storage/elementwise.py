"""How a stream of numbers is kept in memory.

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
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..scalar.stochastic import element_noise

FIRST, SCRATCH, COLUMNS = 0, 1, 2
WHOLE = 1 << 62  # the block length of storages that do not work in blocks


class Coding(NamedTuple):
    """What a block is packed from, as plain functions. Where its numbers wait meanwhile, and who
    joins what, is the target's affair: scratch and a loop, or registers and the lanes of a warp.

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
    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces: ...


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Elementwise:
    """One stored number per element, converted by `decode` and `encode` on the way."""

    tag: str
    dtype: str
    compute: str
    decode: Callable[[Any], Any] = _same
    encode: Callable[[Any], Any] = _same
    kept: str = ""
    block = WHOLE

    def held(self, value: Any) -> Any:
        """What is read of a number that was written."""
        return self.decode(self.encode(value))

    @property
    def stored(self) -> tuple[Column, ...]:
        return (Column(self.dtype, kept=self.kept),)

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces:
        load, store = memory.access(np.dtype(self.dtype), name)
        decode, encode, slot = self.decode, self.encode, COLUMNS + column
        return Pieces(
            lambda at, i: decode(load(at[slot], i)),
            (lambda at, i, value: store(at[slot], i, encode(value)),),
        )


@dataclass(frozen=True)
class Pair:
    """Two stored numbers per element: one to be used elsewhere, and what it lacks of the value."""

    tag: str
    main: Column
    rest: Column
    decode: Callable[[Any, Any], Any]
    encode_main: Callable[[Any], Any]
    encode_rest: Callable[[Any], Any]
    compute = "float32"
    block = WHOLE

    @property
    def stored(self) -> tuple[Column, ...]:
        return self.main, self.rest

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces:
        load, store = memory.access(np.dtype(self.main.dtype), name)
        load_rest, store_rest = memory.access(np.dtype(self.rest.dtype), name + ".rest")
        decode, main, rest = self.decode, self.encode_main, self.encode_rest
        slot, next_slot = COLUMNS + column, COLUMNS + column + 1

        return Pieces(
            lambda at, i: decode(load(at[slot], i), load_rest(at[next_slot], i)),
            (
                lambda at, i, value: store(at[slot], i, main(value)),
                lambda at, i, value: store_rest(at[next_slot], i, rest(value)),
            ),
        )


@dataclass(frozen=True)
class Single:
    """One number for all elements of a parameter, written by the host; a kernel only reads it."""

    dtype: str
    tag = "1"
    block = WHOLE

    @property
    def compute(self) -> str:
        return self.dtype

    @property
    def stored(self) -> tuple[Column, ...]:
        return (Column(self.dtype, WHOLE),)

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces:
        load, _ = memory.access(np.dtype(self.dtype), name + ".number")
        slot = COLUMNS + column
        return Pieces(lambda at, i: load(at[slot], 0))


@dataclass(frozen=True)
class Started:
    """A storage to whose numbers the host adds what they lack of the value that state starts at.

    It does so in the first step, which thus sees that value unrounded; else it adds -0.0, nothing.
    """

    inner: Storage

    def held(self, value: Any) -> Any:
        inner: Any = self.inner
        return inner.held(value)

    @property
    def tag(self) -> str:
        return f"{self.inner.tag}s"

    @property
    def compute(self) -> str:
        return self.inner.compute

    @property
    def block(self) -> int:
        return self.inner.block

    @property
    def stored(self) -> tuple[Column, ...]:
        return (*self.inner.stored, Column(self.compute, WHOLE))

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces:
        pieces = self.inner.pieces(memory, name, column, scratch)
        load, _ = memory.access(np.dtype(self.compute), name + ".number")
        read, slot = pieces.read, COLUMNS + column + len(self.inner.stored)
        return pieces._replace(read=lambda at, i: read(at, i) + load(at[slot], 0))


@dataclass(frozen=True)
class Noise:
    """Random bits for each element, from its position and from a key of the parameter."""

    tag = "noise"
    compute = "uint32"
    block = WHOLE
    stored = (Column("uint32", WHOLE),)

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces:
        load, _ = memory.access(np.dtype("uint32"), name + ".number")
        slot = COLUMNS + column
        return Pieces(lambda at, i: element_noise(load(at[slot], 0), at[FIRST], i))
