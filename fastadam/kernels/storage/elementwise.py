"""Storages of single elements."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..scalar.stochastic import element_noise
from ..target import MemoryAccess
from .base import COLUMNS, FIRST, WHOLE, Column, Pieces, Storage


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Elementwise:
    """One stored number per element, converted by `decode` and `encode`."""

    tag: str
    dtype: str
    compute: str
    decode: Callable[[Any], Any] = _same
    encode: Callable[[Any], Any] = _same
    kept: str = ""
    block = WHOLE

    def held(self, value: Any) -> Any:
        """The number that is read after `value` was written."""
        return self.decode(self.encode(value))

    @property
    def stored(self) -> tuple[Column, ...]:
        return (Column(self.dtype, kept=self.kept),)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        load, store = memory.access(np.dtype(self.dtype), name)
        decode, encode, slot = self.decode, self.encode, COLUMNS + column
        return Pieces(
            lambda at, i: decode(load(at[slot], i)),
            (lambda at, i, value: store(at[slot], i, encode(value)),),
        )


@dataclass(frozen=True)
class Pair:
    """Two stored numbers per element: a low-precision value for general use, and its remainder."""

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

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
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

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        load, _ = memory.access(np.dtype(self.dtype), name + ".number")
        slot = COLUMNS + column
        return Pieces(lambda at, i: load(at[slot], 0))


@dataclass(frozen=True)
class Started:
    """A storage whose state starts at a number that its dtype cannot represent.

    A number written by the host is added to each value read: the rounding error of the initial
    value in the first step, and -0.0, which changes nothing, in all others.
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

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        pieces = self.inner.pieces(memory, name, column, scratch)
        load, _ = memory.access(np.dtype(self.compute), name + ".number")
        read, slot = pieces.read, COLUMNS + column + len(self.inner.stored)
        return pieces._replace(read=lambda at, i: read(at, i) + load(at[slot], 0))


@dataclass(frozen=True)
class Noise:
    """Random bits for each element, a hash of its position and of a key of the parameter."""

    tag = "noise"
    compute = "uint32"
    block = WHOLE
    stored = (Column("uint32", WHOLE),)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        load, _ = memory.access(np.dtype("uint32"), name + ".number")
        slot = COLUMNS + column
        return Pieces(lambda at, i: element_noise(load(at[slot], 0), at[FIRST], i))
