"""The order of rows: by their numbers, and those of one number by their values."""

from typing import Any

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def sorted_rows(indices: Any) -> tuple[Any, Any]:
    """The places of indices in rising order, and the indices in that order."""
    count = len(indices)
    if count < 2 or bool((indices[1:] >= indices[:-1]).all()):
        return np.arange(count), indices
    bits = (count - 1).bit_length()
    if int(indices.max()).bit_length() + bits > 63:
        order = np.argsort(indices, kind="stable")
        return order, indices[order]
    keys = (indices << bits) | np.arange(count)  # one sort of integers, five times as fast
    keys.sort()
    return keys & ((1 << bits) - 1), keys >> bits


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
    if values.itemsize < 8:  # one sort of integers
        rank = np.argsort((number << 32) | lead.astype(np.int64))
    else:
        rank = np.lexsort((lead, number))
    same = (np.diff(number[rank]) == 0) & (np.diff(lead[rank]) == 0)
    if same.any():  # the first elements do not decide
        tied = rank[np.append(same, False) | np.append(False, same)]
        marks = np.zeros(len(places), np.uint64)
        marks[tied] = _hashes(bits[places[tied]])
        rank = np.lexsort((marks, lead, number))
    order = order.copy()
    order[members] = places[rank]
    return order


def _hashes(bits: Any) -> Any:
    """A hash of each row; rows of the same bits have the same, and need no order."""
    factors = np.arange(1, bits.shape[1] + 1, dtype=np.uint64) * GOLDEN
    factors = (factors ^ (factors >> np.uint64(29))) * GOLDEN | np.uint64(1)
    return (bits.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
