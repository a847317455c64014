"""Prefetch instructions in the loops of kernels: by strides, by chunks, by rows.

A processor prefetches memory by itself, but not far enough for arithmetic in between: while it
waits for roots and divisions, it has fewer loads under way than in a loop without arithmetic.
"""

from collections.abc import Callable
from typing import Any

LINE = 64  # bytes of a cache line
MOST = 1024  # bytes to prefetch of an array, for one chunk
STRIDE = 128  # elements to prefetch at once
DISTANCE = 512  # elements between those being updated and those being prefetched
LONG = 2048  # elements of a block that is updated in strides
CHUNKS = 8  # chunks, or listed rows, between the one being updated and the one being prefetched


def no_prefetching(sizes: Any, count: int) -> Callable[..., None]:
    """The `prefetching` of a target without prefetch instructions."""
    return lambda at, i: None


def in_strides(elements: Any, fetch: Any, distance: int = DISTANCE) -> Callable[..., None]:
    """The function that updates a block of whole strides, and prefetches the elements at a distance
    from each, those after the block included.

    Args:
        elements: `elements(at, first, count, h)` updates elements.
        fetch: `fetch(at, i)` prefetches a stride from element `i` on.
    """

    def strides(at, first, count, h):
        for begin in range(first, count, STRIDE):
            fetch(at, begin + distance)
            elements(at, begin, begin + STRIDE, h)

    strides.__name__ = f"strides_{distance}"  # compiled functions are found by their names
    return strides


def long_in_strides(elements: Any, fetch: Any) -> Callable[..., None]:
    """The function that updates any block, in strides if it is long, and prefetches no elements but
    its own; the arguments are those of `in_strides`."""

    def strides(at, first, count, h):
        stride = STRIDE if count - first >= LONG else count - first
        while first < count:
            if stride == STRIDE and first + DISTANCE < count:
                fetch(at, first + DISTANCE)
            end = min(first + stride, count)
            elements(at, first, end, h)
            first = end

    return strides


def later_rows(lines: Any, distance: int) -> Callable[..., None]:
    """The function that prefetches the row so many elements after one, if rows are short.

    Args:
        lines: `lines(row, start, stop)` prefetches elements.
    """

    def fetch(row, first, length, stop):
        start = first + distance
        if length <= distance and start < stop:
            end = start + length
            lines(row, start, stop if end > stop else end)

    return fetch


def no_rows(row: int, first: int, length: int, stop: int) -> None:
    """In place of `later_rows`: prefetch nothing."""


def lines_of(
    column: int, size: int, per: int, integer: Any, prefetch: Any, most: int = MOST
) -> Any:
    """The function that prefetches the elements of a chunk in one array.

    Args:
        column: the place of the array in a row of the table.
        size: the bytes of a stored number.
        per: the elements that share a stored number.
        integer: loads a 64-bit integer.
        prefetch: prefetches a cache line.
        most: the greatest number of bytes to prefetch.
    """

    def lines(row, start, stop):
        first = integer(row, column) + start // per * size
        last = first + (stop - start) // per * size
        if last - first > most:
            last = first + most
        for line in range(first, last, LINE):
            prefetch(line)

    lines.__name__ = f"lines_{column}"  # compiled functions are found by their names
    return lines


def line_of_rows(column: int, size: int, length_of: Any, integer: Any, prefetch: Any) -> Any:
    """The same for an array with a number per row: that of the first row of a chunk."""

    def lines(row, start, stop):
        prefetch(integer(row, column) + start // length_of(row) * size)

    lines.__name__ = f"lines_{column}"  # compiled functions are found by their names
    return lines


def with_later_chunk(update: Any, lines: Any, integer: Any, row_size: int) -> Callable[..., None]:
    """The function that updates a chunk, and prefetches a later one.

    The table of chunks ends with CHUNKS more, of no elements.
    """

    def update_and_fetch(table, chunks, records, chunk):
        later = chunk + CHUNKS
        row = table + integer(chunks, 3 * later) * row_size
        lines(row, integer(chunks, 3 * later + 1), integer(chunks, 3 * later + 2))
        update(table, chunks, records, chunk)

    return update_and_fetch
