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
        repeated: how many have the number of the one before.
        runs: if there are none, the first element of each run of rows, the one after its last, and
            the address of its first value.
    """

    numbers: Any
    sources: Any
    repeated: int
    runs: Any


def sorted_rows(
    indices: Any, limit: int, base: int, stride: int, width: int, joined: bool
) -> Order | None:
    """The order of rows; None if a number is negative, or not below `limit`.

    Args:
        indices: their numbers.
        limit: the number of rows of the parameter.
        base: the address of their values.
        stride: the bytes from one to the next.
        width: the elements of a row.
        joined: whether rows that are adjacent, in the parameter and in memory, are one run.
    """
    passes, count = whole("fastadam.kernels.cpu.row_passes"), len(indices)
    room, step = np.empty((6, count), np.int64), stride if joined else 0
    if not count:
        return Order(room[0], room[1], 0, room[2:5])
    keys, bits = room[5], (count - 1).bit_length()
    smallest, largest, rising = passes.pack(indices, bits, keys)
    if smallest < 0 or largest >= limit:
        return None
    if int(largest).bit_length() + bits > 63:
        places = np.argsort(indices, kind="stable")
        room[0], room[1] = indices[places], base + places * stride
        repeated = int(np.count_nonzero(room[0, 1:] == room[0, :-1]))
        runs = passes.join(room[0], room[1], width, step, *room[2:5])
    else:
        if not rising:
            keys.sort()  # of integers, five times as fast as argsort
        repeated, runs = passes.unpack(keys, bits, base, stride, width, step, room)
    return Order(room[0], room[1], repeated, room[2:5, :runs])


def distinct(counts: Any) -> tuple[Any, Any]:
    """The distinct integers among some, in rising order, and the place of each among them."""
    if not len(counts) or (span := int(np.ptp(counts))) > 4 * len(counts):
        return np.unique(counts, return_inverse=True)
    offsets = counts - counts.min()
    found = np.zeros(span + 1, bool)
    found[offsets] = True
    return np.flatnonzero(found) + counts.min(), (np.cumsum(found) - 1)[offsets]


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
