"""The order of rows: by their numbers, and those of one number by their values."""

from typing import Any, NamedTuple

import numpy as np

from ..kernels.imports import whole

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Order(NamedTuple):
    """Rows in rising order.

    Attributes:
        numbers: their numbers, with repetitions.
        sources: the addresses of their values.
        places: where each was given; nothing if no row was given twice.
        repeated: how many have the number of the one before.
    """

    numbers: Any
    sources: Any
    places: Any
    repeated: int


def sorted_rows(indices: Any, base: int, stride: int) -> Order:
    """The order of rows.

    Args:
        indices: their numbers.
        base: the address of their values.
        stride: the bytes from one to the next.
    """
    passes = whole("fastadam.kernels.cpu.row_passes")
    count = len(indices)
    bits = max(0, count - 1).bit_length()
    _, largest, rising = passes.bounds(indices) if count else (0, 0, 1)
    if int(largest).bit_length() + bits > 63:
        places = np.argsort(indices, kind="stable")
        numbers = indices[places]
        repeated = int(np.count_nonzero(numbers[1:] == numbers[:-1]))
        return Order(numbers, base + places * stride, places, repeated)
    keys, numbers, sources = np.empty((3, count), np.int64)
    passes.pack(indices, bits, keys)
    if not rising:
        keys.sort()  # of integers, five times as fast as argsort
    repeated = passes.unpack(keys, bits, base, stride, numbers, sources)
    return Order(numbers, sources, keys & ((1 << bits) - 1) if repeated else keys[:0], repeated)


def settled(order: Any, counts: Any, values: Any) -> Any:
    """The places of rows, those of one number in an order that depends on their values alone.

    Three numbers or more have sums that depend on the order in which they are added.

    Args:
        order: the places of all rows, by number.
        counts: how many rows have the same number.
        values: the values of each row, in the order in which they were given.
    """
    members = np.flatnonzero(np.repeat(counts > 2, counts))
    number = np.repeat(np.arange(len(counts)), counts)[members]
    places = order[members]
    bits = values.view(f"u{values.itemsize}")
    lead = bits[places, 0]
    rank = _ranks(number, lead) if values.itemsize < 8 else np.lexsort((lead, number))
    same = (np.diff(number[rank]) == 0) & (np.diff(lead[rank]) == 0)
    if same.any():  # the first elements do not decide
        tied = rank[np.append(same, False) | np.append(False, same)]
        marks = np.zeros(len(places), np.uint64)
        marks[tied] = _hashes(bits[places[tied]])
        rank = np.lexsort((marks, lead, number))
    order = order.copy()
    order[members] = places[rank]
    return order


def _ranks(number: Any, lead: Any) -> Any:
    """The order of rows by their numbers, then by what they begin with, of 32 bits at most."""
    bits = max(0, len(number) - 1).bit_length()
    keys = (number << 32) | lead.astype(np.int64)
    if len(number) and int(number[-1]).bit_length() + 32 + bits > 63:
        return np.argsort(keys)
    keys = (keys << bits) | np.arange(len(keys))
    keys.sort()  # in half the time of argsort
    return keys & ((1 << bits) - 1)


def _hashes(bits: Any) -> Any:
    """A hash of each row; rows of the same bits have the same, and need no order."""
    factors = np.arange(1, bits.shape[1] + 1, dtype=np.uint64) * GOLDEN
    factors = (factors ^ (factors >> np.uint64(29))) * GOLDEN | np.uint64(1)
    return (bits.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
