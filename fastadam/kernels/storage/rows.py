"""Storages of numbers of rows and columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..target import MemoryAccess
from .base import COLUMN, COLUMNS, ROW, WHOLE, Column, Pieces


@dataclass(frozen=True)
class RowNumber:
    """A number for each row of a parameter, in the dtype of the arithmetic.

    Args:
        compute: the dtype.
        length: the number of elements of a row, if it is known.
    """

    compute: str
    length: int = ROW
    tag = "row"
    block = WHOLE

    def held(self, value: Any) -> Any:
        """The number that is read after `value` was written."""
        return value

    @property
    def stored(self) -> tuple[Column, ...]:
        return (Column(self.compute, self.length),)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        load, store = memory.access(np.dtype(self.compute), name + ".scale")
        slot = COLUMNS + column
        return Pieces(
            lambda at, i: load(at[slot], 0),
            close=lambda at, value: store(at[slot], 0, value),
        )


@dataclass(frozen=True)
class ColumnNumber:
    """A number for each column of a matrix, or of a group of its rows; for kernels over rows.

    Args:
        compute: the dtype.
        length: the number of elements of a column, if it is known.
    """

    compute: str
    length: int = COLUMN
    tag = "column"
    block = WHOLE

    def held(self, value: Any) -> Any:
        """The number that is read after `value` was written."""
        return value

    @property
    def stored(self) -> tuple[Column, ...]:
        return (Column(self.compute, self.length),)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        load, store = memory.access(np.dtype(self.compute), name)
        slot = COLUMNS + column
        return Pieces(
            lambda at, i: load(at[slot], i),
            (lambda at, i, value: store(at[slot], i, value),),
        )


@dataclass(frozen=True)
class RowSum:
    """The sum of a row, in scratch memory; a kernel over rows writes it before the row is updated.

    Args:
        compute: the dtype.
    """

    compute: str
    tag = "1"
    block = WHOLE

    @property
    def stored(self) -> tuple[Column, ...]:
        return (Column(self.compute, WHOLE),)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        load, _ = memory.access(np.dtype(self.compute), name + ".scratch")
        slot = COLUMNS + column
        return Pieces(lambda at, i: load(at[slot], 0))
