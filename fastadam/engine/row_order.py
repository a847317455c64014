"""The order of rows: by index, and those of the same index by their values."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..kernels.imports import whole
from ..memory.row_table import SortedRows

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Order(NamedTuple):
    """Rows in ascending order of their indices.

    Attributes:
        keys: integers with the original positions of the rows in the bits of `mask`.
        mask: the bits of the positions in `keys`.
        repeated: the number of rows with the index of the preceding one.
        rows: the rows in the form that tables take; None if their indices are too large.
        unpacked: returns the indices, with repetitions, and the addresses of the values.
    """

    keys: Any
    mask: int
    repeated: int
    rows: SortedRows | None
    unpacked: Callable[[], tuple[Any, Any]]


class Groups(NamedTuple):
    """Groups of rows with the same index.

    Attributes:
        numbers: the distinct indices.
        firsts: the first position of each in the order of rows.
        counts: the number of rows with each index.
        several: the number of indices that occur more than once.
        repeated: the number of rows with one of these indices.
        many: the number of rows whose index occurs more than twice.
    """

    numbers: Any
    firsts: Any
    counts: Any
    several: int
    repeated: int
    many: int


def groups_of(numbers: Any) -> Groups:
    """The groups of rows with these indices, which are in ascending order."""
    room = np.empty((3, len(numbers)), np.int64)
    group = whole("fastadam.kernels.cpu.row_passes").group
    count, *totals = group(numbers, *room)
    return Groups(*room[:, :count], *totals)


def sorted_rows(indices: Any, limit: int, base: int, stride: int, width: int) -> Order | None:
    """The order of rows; None if an index is negative, or not below `limit`.

    Args:
        indices: the indices.
        limit: the number of rows of the parameter.
        base: the address of the values.
        stride: the distance between the values of two rows, in bytes.
        width: the number of elements of a row.
    """
    passes, count = whole("fastadam.kernels.cpu.row_passes"), len(indices)
    keys, bits = np.empty(count, np.int64), max(0, count - 1).bit_length()
    mask = (1 << bits) - 1
    smallest, largest, rising = passes.pack(indices, bits, keys) if count else (0, -1, 1)
    if smallest < 0 or largest >= limit:
        return None
    if int(largest).bit_length() + bits > 63:
        places = np.argsort(indices, kind="stable")
        numbers, sources = indices[places], base + places * stride
        repeated = int(np.count_nonzero(numbers[1:] == numbers[:-1]))
        return Order(places, mask, repeated, None, lambda: (numbers, sources))
    if not rising:
        keys.sort()  # sorting integers is five times as fast as argsort
    rows = SortedRows(keys, bits, base, stride, width)
    return Order(keys, mask, passes.count_repeated(keys, bits), rows, rows.unpacked)


def distinct(counts: Any) -> tuple[Any, Any]:
    """The distinct values of an integer array, in ascending order, and the index of each element
    among them, as `np.unique` with `return_inverse`."""
    if not len(counts) or (span := int(np.ptp(counts))) > 4 * len(counts):
        return np.unique(counts, return_inverse=True)
    offsets = counts - counts.min()
    found = np.zeros(span + 1, bool)
    found[offsets] = True
    return np.flatnonzero(found) + counts.min(), (np.cumsum(found) - 1)[offsets]


def reorder(order: Order, sources: Any, groups: Groups, values: Any) -> None:
    """Sort rows of the same index by their values, if there are more than two.

    The sum of three rows depends on the order of addition; it is thus independent of the order in
    which the rows were given.

    Args:
        order: the order of rows.
        sources: the addresses of their values, which are permuted.
        groups: the groups of rows with the same index.
        values: the values of each row, in the original order.
    """
    rank, shift, size = None, (groups.many - 1).bit_length(), values.itemsize
    if size < 8 and (groups.several - 1).bit_length() + 32 + shift <= 63:
        passes, flat = whole("fastadam.kernels.cpu.row_passes"), values.reshape(-1)
        members, keys, spare = np.empty((3, groups.many), np.int64)
        given = groups.firsts, groups.counts, order.keys, order.mask, flat.view(f"u{size}")
        passes.rank(8 * size)(*given, values.shape[1], shift, members, keys)
        keys.sort()
        if not passes.reorder(keys, shift, members, sources, spare):
            return
        rank = keys & ((1 << shift) - 1)
    _reorder_ties(order, sources, groups, values, rank)


def _reorder_ties(order: Order, sources: Any, groups: Groups, values: Any, rank: Any) -> None:
    """As `reorder`; `rank` is the order of the rows by their first elements, or None."""
    owners = np.repeat(np.arange(len(groups.counts)), groups.counts)
    members = np.flatnonzero(groups.counts[owners] > 2)
    owners, places = owners[members], order.keys[members] & order.mask
    bits = values.view(f"u{values.itemsize}")
    lead = bits[:, 0][places]
    if rank is None:
        rank = np.lexsort((lead, owners))
    owner, first = owners[rank], lead[rank]
    same = (owner[1:] == owner[:-1]) & (first[1:] == first[:-1])
    if same.any():  # rows whose first elements are equal
        tied = rank[np.append(same, False) | np.append(False, same)]
        marks = np.zeros(len(places), np.uint64)
        marks[tied] = _hashes(bits[places[tied]])
        rank = np.lexsort((marks, lead, owners))
    sources[members] = sources[members[rank]]


def _hashes(bits: Any) -> Any:
    """A hash of each row; rows of the same bits have the same hash, and need no order."""
    factors = np.arange(1, bits.shape[1] + 1, dtype=np.uint64) * GOLDEN
    factors = (factors ^ (factors >> np.uint64(29))) * GOLDEN | np.uint64(1)
    return (bits.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
