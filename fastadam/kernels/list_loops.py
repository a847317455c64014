"""The loops of kernels over listed rows; see `row_list.py`."""

from collections.abc import Callable
from typing import Any

from .prefetching import CHUNKS


def listed_rows(update: Any, fetch: Any, width: int, reserve: Any) -> Callable[..., None]:
    """The function that updates the rows from one place of a list to another."""

    def run(row, start, stop, h):
        scratch = reserve()
        for place in range(start, stop):
            fetch(row, min(place + CHUNKS, stop - 1))
            update(row, place, width, scratch, h)

    return run


def with_own_records(
    update: Any, fetch: Any, width: int, reserve: Any, record: Any
) -> Callable[..., None]:
    """The same with constants for each row: those of `record(row, place, records)`."""

    def run(row, start, stop, records):
        scratch = reserve()
        for place in range(start, stop):
            fetch(row, min(place + CHUNKS, stop - 1))
            update(row, place, width, scratch, record(row, place, records))

    return run


def sums_of_block(
    elements: Any, pack: Any, addresses: Any, zeros: Any, joined: Any, keep: Any
) -> Callable[..., None]:
    """The function that writes the sums of a row of one block."""

    def added(row, first, length, scratch, h):
        at = addresses(row, first, length, scratch)
        elements(at, 0, length, h)
        pack(at, length)
        keep(row, first, length, scratch, joined(zeros(), at))

    return added


def with_sums(added: Any, update: Any, close: Any, addresses: Any) -> Callable[..., None]:
    """The function that writes the sums of a row, and updates its elements and its numbers."""

    def updated(row, first, length, scratch, h):
        added(row, first, length, scratch, h)
        update(row, first, length, scratch, h)
        close(addresses(row, first, length, scratch), h)

    return updated
