"""Arrays along a line of elements: runs of them as one array, without a copy where they are one."""

from collections.abc import Sequence
from typing import Any

from .buckets import Line


class LineArrays:
    """Arrays that hold the elements of a line.

    Args:
        line: the line.
        arrays: contiguous arrays of its sizes, of any shapes; None stands for zeros.
        buffer: the array of which all of them are views in this order, if there is one.
    """

    def __init__(self, line: Line, arrays: Sequence[Any], buffer: Any = None) -> None:
        self._line, self._buffer = line, buffer
        self._arrays: list[Any] = [None if array is None else array.reshape(-1) for array in arrays]

    def view(self, start: int, stop: int) -> Any:
        """The elements of a run where they are; None if they are not in one array."""
        if self._buffer is not None:
            return self._buffer[start:stop]
        pieces = list(self._line.pieces(start, stop))
        if len(pieces) != 1 or self._arrays[pieces[0].number] is None:
            return None
        ((number, first, end),) = pieces
        return self._arrays[number][first:end]

    def read(self, start: int, stop: int, out: Any) -> None:
        """Copy a run into an array."""
        at = 0
        for number, first, end in self._line.pieces(start, stop):
            source = self._arrays[number]
            out[at : at + end - first] = 0 if source is None else source[first:end]
            at += end - first

    def write(self, start: int, stop: int, values: Any) -> None:
        """Copy an array into a run."""
        at = 0
        for number, first, end in self._line.pieces(start, stop):
            self._arrays[number][first:end] = values[at : at + end - first]
            at += end - first
