"""Storage of a weighted sum of arrays, which is only read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..target import MemoryAccess
from .base import COLUMNS, WHOLE, Column, Pieces, Storage


def weight_name(number: int) -> str:
    """The name of the weight of an array, one for each parameter, which the host writes."""
    return f"weight_{number}"


@dataclass(frozen=True)
class Weighted:
    """The sum of some arrays of one format, each times a weight, added in their order.

    Args:
        inner: the storage of each.
        count: how many there are.
    """

    inner: Storage
    count: int
    block = WHOLE

    @property
    def tag(self) -> str:
        return f"{self.inner.tag}x{self.count}"

    @property
    def compute(self) -> str:
        return self.inner.compute

    @property
    def stored(self) -> tuple[Column, ...]:
        numbers = range(self.count)
        weights = (Column(self.compute, WHOLE, part=weight_name(number)) for number in numbers)
        return (*self.inner.stored * self.count, *weights)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        weight, _ = memory.access(np.dtype(self.compute), name + ".number")
        term: Any = None
        for number in range(self.count):
            read = self.inner.pieces(memory, name, column + number, scratch).read
            term = _added(term, read, weight, COLUMNS + column + self.count + number)
        return Pieces(term)


def _added(before: Any, read: Any, weight: Any, slot: int) -> Callable[..., Any]:
    """Reads one more array, times its weight, and adds it to those before."""
    if before is None:
        return lambda at, i: read(at, i) * weight(at[slot], 0)
    return lambda at, i: before(at, i) + read(at, i) * weight(at[slot], 0)
