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

ROW_STEP = "row_step"  # the name of the step counts of rows, for `lazy="rows"` and `"exact"`


class StateColumn(NamedTuple):
    """An array of state for each parameter: a column of a stream of a kernel.

    Attributes:
        name: its name in `state` and in checkpoints.
        stream: the stream.
        part: the number of the column in the stream.
        line: for numbers of the rows or columns of matrices, the dimension of length one, -1 or
            -2; else 0.
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
    """The arrays of state for a parameter of these formats, with state of these names."""
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
    """The shape with length one in dimension `line`."""
    lengths = [*shape]
    lengths[line] = 1
    return tuple(lengths)


def with_rows(kept: StateColumn, length: int) -> StateColumn:
    """A column with a number for each row of `length` elements."""
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
        raise NotImplementedError("no kernel reads the step counts of rows")


def row_steps(width: int) -> StateColumn:
    """The step counts of the rows of a parameter, each of `width` elements."""
    return StateColumn(ROW_STEP, Stream(STATE + ROW_STEP, _RowSteps(width)), 0)


def rows_of(entry: Iterable[str], param: Any) -> dict[str, StateColumn]:
    """The step counts of the rows of a parameter, if a saved entry has them."""
    return {ROW_STEP: row_steps(math.prod(param.shape[1:]))} if ROW_STEP in entry else {}


def alike(keys: Iterable[Any]) -> dict[Any, list[int]]:
    """The places of each key."""
    places: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return places
