"""State columns: the arrays that an optimizer keeps for each parameter."""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from ..kernels.compose import Stream
from ..kernels.formats import Formats
from ..kernels.storage.base import WHOLE, Column
from ..kernels.transforms import STATE


class StateColumn(NamedTuple):
    """An array that is kept for each parameter: a column of a stream of a kernel.

    Attributes:
        name: in `state` and in checkpoints.
        part: the number of the column in the stream.
    """

    name: str
    stream: Stream
    part: int

    @property
    def column(self) -> Column:
        return self.stream.storage.stored[self.part]


@cache
def columns_for(names: tuple[str, ...], formats: Formats) -> dict[str, StateColumn]:
    """The arrays kept for a parameter besides itself, if it has state of these names."""
    param = Stream("param", formats.param_storage)
    arrays = [StateColumn(c.part, param, k) for k, c in enumerate(param.storage.stored) if k]
    for name in names:
        stream = Stream(STATE + name, formats.state_storage)
        arrays += [
            StateColumn(name + column.part, stream, part)
            for part, column in enumerate(stream.storage.stored)
            if column.per < WHOLE
        ]
    return {array.name: array for array in arrays}


def alike(keys: Iterable[Any]) -> dict[Any, list[int]]:
    """The places of each key."""
    places: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return places
