"""How a stream of numbers is kept in memory.

A storage says what it stores (`stored`: dtype and elements per stored number, one table column
each), the dtype in which it hands numbers to a rule (`compute`), how many elements it packs at
once (`block`), and gives three pieces, plain functions from which the loop is composed:

    read(at, i)           one element
    write(at, i, value)
    pack(at, count)       after each block of elements; None when there is nothing to do

`at` says where a block is: `at[FIRST]` is the position of its first element in the parameter,
`at[SCRATCH]` the address of memory that stays in the first-level cache, and `at[COLUMNS + column]`
the address of its first stored number. `i` counts from there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import codecs

FIRST, SCRATCH, COLUMNS = 0, 1, 2
WHOLE = 1 << 62  # the block length of storages that do not work in blocks


class Pieces(NamedTuple):
    read: Callable[..., Any]
    write: Callable[..., None] | None  # None for a stream that is only read
    pack: Callable[..., None] | None = None
    scratch: int = 0  # how many 32-bit words of it are used


class Storage(Protocol):
    @property
    def tag(self) -> str: ...
    @property
    def compute(self) -> str: ...
    @property
    def stored(self) -> tuple[tuple[str, int], ...]: ...
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
    block = WHOLE

    @property
    def stored(self) -> tuple[tuple[str, int], ...]:
        return ((self.dtype, 1),)

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces:
        load, store = memory.access(np.dtype(self.dtype), name)
        decode, encode, slot = self.decode, self.encode, COLUMNS + column
        return Pieces(
            lambda at, i: decode(load(at[slot], i)),
            lambda at, i, value: store(at[slot], i, encode(value)),
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
    def stored(self) -> tuple[tuple[str, int], ...]:
        return ((self.dtype, WHOLE),)

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces:
        load, _ = memory.access(np.dtype(self.dtype), name + ".scale")
        slot = COLUMNS + column
        return Pieces(lambda at, i: load(at[slot], 0), None)


@dataclass(frozen=True)
class Sums:
    """The sum of each block of elements in float64, added in a fixed tree: always the same bits,
    and an error that hardly grows with the count. Only written."""

    tag = "sums"
    compute = "float64"
    block = 1024
    stored = (("float64", 1024),)

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Pieces:
        get, put = memory.access(np.dtype("float64"), name + ".scratch")
        _, store = memory.access(np.dtype("float64"), name)
        share, wait, slot, offset = memory.share, memory.wait, COLUMNS + column, 4 * scratch
        zero = np.float64(0)

        def two(terms, i, apart):
            return get(terms, i) + get(terms, i + apart)

        def four(terms, i, apart):
            return two(terms, i, 2 * apart) + two(terms, i + apart, 2 * apart)

        def pack(at, count):
            terms = at[SCRATCH] + offset
            while count > 1:
                wait()
                eighth = (count + 7) // 8
                for i in share(8 * eighth - count):
                    put(terms, count + i, zero)
                wait()
                for i in share(eighth):
                    put(terms, i, four(terms, i, 2 * eighth) + four(terms, i + eighth, 2 * eighth))
                count = eighth
            wait()
            for _ in share(1):
                store(at[slot], 0, get(terms, 0))
            wait()

        return Pieces(
            lambda at, i: zero,
            lambda at, i, value: put(at[SCRATCH] + offset, i, value),
            pack,
            scratch=2 * self.block,
        )


FLOAT = {
    "float32": Elementwise("f32", "float32", "float32"),
    "float64": Elementwise("f64", "float64", "float64"),
}
BOOL = Elementwise("bool", "uint8", "uint8")
BFLOAT16 = Elementwise(
    "bf16", "uint16", "float32", codecs.bfloat16_to_float32, codecs.float32_to_bfloat16
)
FLOAT16 = Elementwise(
    "f16", "uint16", "float32", codecs.float16_to_float32, codecs.float32_to_float16
)
