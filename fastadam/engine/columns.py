"""State columns: the arrays that an optimizer keeps for each parameter."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from ..kernels.formats import Formats
from ..kernels.storage.base import WHOLE, Column
from ..kernels.storage.rows import ColumnNumber, RowNumber
from ..kernels.stream import Stream
from ..kernels.transforms import STATE

ROW_STEP = "row_step"  # the name of the numbers of rows, for `lazy="rows"` and `"exact"`


class StateColumn(NamedTuple):
    """An array that is kept for each parameter: a column of a stream of a kernel.

    Attributes:
        name: in `state` and in checkpoints.
        part: the number of the column in the stream.
        line: the dimension that has one element, -1 or -2, in numbers of rows or columns of
            matrices; 0 if they have another shape.
    """

    name: str
    stream: Stream
    part: int
    line: int = 0

    @property
    def column(self) -> Column:
        return self.stream.storage.stored[self.part]

    @property
    def of_rows(self) -> bool:
        """True if there is a number for each row, or column, of the parameter."""
        return isinstance(self.stream.storage, RowNumber | ColumnNumber | _RowSteps)


@cache
def columns_for(names: tuple[str, ...], formats: Formats) -> dict[str, StateColumn]:
    """The arrays kept for a parameter besides itself, if it has state of these names."""
    param = Stream("param", formats.param_storage)
    arrays = [StateColumn(c.part, param, k) for k, c in enumerate(param.storage.stored) if k]
    for name in names:
        stream = Stream(STATE + name, formats.storage_of(name))
        line = -2 if name in formats.column_state else -1 if name in formats.row_state else 0
        line = line if formats.column_state else 0
        arrays += [
            StateColumn(name + column.part, stream, part, line)
            for part, column in enumerate(stream.storage.stored)
            if column.per < WHOLE
        ]
    return {array.name: array for array in arrays}


def line_shape(shape: Sequence[int], line: int) -> tuple[int, ...]:
    """A shape with one element in a dimension."""
    lengths = [*shape]
    lengths[line] = 1
    return tuple(lengths)


def with_rows(kept: StateColumn, length: int) -> StateColumn:
    """An array of numbers of rows, of which each has so many elements."""
    storage = RowNumber(kept.stream.storage.compute, length)
    return kept._replace(stream=kept.stream._replace(storage=storage))


@dataclass(frozen=True)
class _RowSteps:
    """An integer for each row, which the host alone reads and writes."""

    width: int
    tag = ROW_STEP
    compute = "int64"

    @property
    def block(self) -> int:
        return WHOLE

    @property
    def stored(self) -> tuple[Column, ...]:
        return (Column("int64", max(1, self.width)),)

    def pieces(self, memory: Any, name: str, column: int, scratch: int) -> Any:
        raise NotImplementedError("no kernel reads the steps of rows")


def row_steps(width: int) -> StateColumn:
    """The steps of the rows of a parameter, each of so many elements."""
    return StateColumn(ROW_STEP, Stream(STATE + ROW_STEP, _RowSteps(width)), 0)


def rows_of(entry: Iterable[str], param: Any) -> dict[str, StateColumn]:
    """The steps of the rows of a parameter, if a saved entry has them."""
    return {ROW_STEP: row_steps(math.prod(param.shape[1:]))} if ROW_STEP in entry else {}


def alike(keys: Iterable[Any]) -> dict[Any, list[int]]:
    """The places of each key."""
    places: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return places
