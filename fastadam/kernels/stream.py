"""Streams: named numbers of a kernel, with their storage and mode of access."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ..rules import Rule
from .storage.base import Pieces, Storage
from .target import MemoryAccess


class Stream(NamedTuple):
    """A named stream of numbers, with its storage and its mode of access.

    Attributes:
        name: its name, unique in a kernel.
        storage: its representation in memory.
        mode: "rw", "r" (only read), "w" (only written) or "rz" (read, then set to zero).
    """

    name: str
    storage: Storage
    mode: Literal["rw", "r", "w", "rz"] = "rw"

    def pieces(self, memory: MemoryAccess, column: int, scratch: int) -> Pieces:
        pieces = self.storage.pieces(memory, self.name, column, scratch)
        zero = np.dtype(self.storage.compute).type(0)
        if self.mode == "r" or not (pieces.writes or pieces.close):
            return Pieces(pieces.read)
        if self.mode == "w":
            return pieces._replace(read=lambda at, i: zero)
        if self.mode == "rz":
            return pieces._replace(writes=tuple(_clearing(w, zero) for w in pieces.writes))
        return pieces


def _clearing(write: Any, zero: Any) -> Any:
    return lambda at, i, value: write(at, i, zero)


def laid_out(
    streams: Sequence[Stream], memory: MemoryAccess, scratch: int = 0
) -> Iterator[tuple[Pieces, int]]:
    """The pieces of each stream, and the scratch used up to and including it."""
    column = 0
    for stream in streams:
        pieces = stream.pieces(memory, column, scratch)
        column += len(stream.storage.stored)
        scratch += pieces.scratch
        yield pieces, scratch


def record_of(rule: Rule, compute: str) -> "np.dtype[np.void]":
    """The memory layout of the constants of one step."""
    return np.dtype([(name, compute) for name in rule.hyper])
