"""The pieces of a loop over rows: where the elements of a row are, its sums and its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .composed import composed
from .storage.base import COLUMN, COLUMNS, ROW, Pieces, Storage
from .target import MemoryAccess

ROOM = 32  # bytes of scratch memory for a sum: over a block, and over the row
ROW_LENGTH = "row_length"  # the stream of the number of elements of a row
GRAD = "grad"  # that of the gradient, which kernels over listed rows find by a list
COLUMN_SPAN = "column_span"  # that of the number of elements whose columns have numbers in common


class Named(Protocol):
    """A stream; see `Stream`."""

    @property
    def name(self) -> str: ...
    @property
    def storage(self) -> Storage: ...


def places_of(streams: Sequence[Named]) -> dict[tuple[str, int], int]:
    """The place of each column of each stream in a row of the table."""
    columns = [
        (stream.name, part) for stream in streams for part, _ in enumerate(stream.storage.stored)
    ]
    return {column: place for place, column in enumerate(columns, start=1)}


def length_of(places: Mapping[tuple[str, int], int], integer: Any) -> Any:
    """The function that returns the number of elements of a row of a parameter."""
    place = places[ROW_LENGTH, 0]
    return composed("row", [f"return integer(integer(row, {place}), 0)"], integer=integer)


def row_addresses(
    streams: Sequence[Named],
    places: Mapping[tuple[str, int], int],
    rooms: Mapping[str, int],
    integer: Any,
    listed: bool = False,
) -> Any:
    """The location of an element: as `_addresses`, with those of sums in scratch memory.

    Args:
        listed: True if `first` is a place in two lists, of first elements and of gradients.
    """
    found, lines, place = ["first", "scratch"], list[str](), 1 + len(places)
    if listed:
        lines = ["place = first", f"first = integer(integer(row, {place}), place)"]
    if (COLUMN_SPAN, 0) in places:
        span = f"integer(integer(row, {places[COLUMN_SPAN, 0]}), 0)"
        lines.append(f"column = first // {span} * length + first % length")
    for stream in streams:
        for part, column in enumerate(stream.storage.stored):
            per = "length" if column.per == ROW else str(column.per)
            count = "column" if column.per == COLUMN else f"first // {per}"
            step = f"{count} * {np.dtype(column.dtype).itemsize}"
            base = f"integer(row, {places.get((stream.name, part))})"
            if stream.name in rooms:
                found.append(f"scratch + {rooms[stream.name]}")
            elif listed and stream.name == GRAD:
                found.append(f"integer({base}, place)")
            else:
                found.append(f"{base} + {step}")
    lines.append(f"return ({', '.join(found)})")
    return composed("row, first, length, scratch", lines, integer=integer)


def totals_of(
    terms: Sequence[Named],
    rooms: Mapping[str, int],
    compute: str,
    memory: MemoryAccess,
    places: Mapping[tuple[str, int], int] | None = None,
) -> tuple[Any, Any, Any]:
    """Three functions: one returns zeros, one adds the sums of a block to those before it, and one
    writes the sums of a row to scratch memory, or to arrays if `places` says where these are."""
    column, zeros, sums, lines = COLUMNS, list[str](), list[str](), list[str]()
    names: dict[str, Any] = {"zero": np.float64(0), "number": np.dtype(compute).type}
    names["integer"] = memory.integer
    for stream in terms:
        if stream.name in rooms:
            k = len(zeros)
            names[f"load_{k}"], _ = memory.access(
                np.dtype("float64"), stream.name + ".folded.scratch"
            )
            _, names[f"put_{k}"] = memory.access(
                np.dtype(compute), stream.name + ("" if places else ".scratch")
            )
            zeros.append("zero, ")
            sums.append(f"totals[{k}] + load_{k}(at[{column}], 0), ")
            place = f"scratch + {rooms[stream.name] + ROOM // 2}, 0"
            if places:
                place = f"integer(row, {places[stream.name, 0]}), first // length"
            lines.append(f"put_{k}({place}, number(totals[{k}]))")
        column += len(stream.storage.stored)
    return (
        composed("", [f"return ({''.join(zeros)})"], **names),
        composed("totals, at", [f"return ({''.join(sums)})"], **names),
        composed("row, first, length, scratch, totals", [*lines, "return None"], **names),
    )


def closing(parts: Sequence[Pieces], read: Any, element: Any) -> Any:
    """The function that writes the numbers of a row, which do not depend on elements."""
    closes = {f"close_{k}": part.close for k, part in enumerate(parts) if part.close}
    calls = [f"{name}(at, values[{name.removeprefix('close_')}])" for name in closes]
    lines = ["values = element(read(at, 0), h)", *calls] if calls else []
    return composed("at, h", [*lines, "return None"], read=read, element=element, **closes)
