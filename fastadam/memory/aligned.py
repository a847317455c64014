"""Allocation of arrays on the host, each on a cache line of its own; see `placement`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import address
from .placement import GRADIENT, LINE, PAGE, layout


def aligned_zeros(size: int, dtype: Any) -> Any:
    """A one-dimensional NumPy array of zeros that starts on a cache line."""
    return _buffer(size * np.dtype(dtype).itemsize, 0, LINE).view(dtype)


def zeros_beside(
    arrays: Sequence[Any], counts: Sequence[int], dtype: Any, distance: int = GRADIENT
) -> list[Any]:
    """One-dimensional NumPy arrays of zeros in one buffer, each at a distance from another array.

    Args:
        arrays: the arrays beside which they are placed.
        counts: the number of elements of each.
        distance: see `placement.layout`.
    """
    sizes = [count * np.dtype(dtype).itemsize for count in counts]
    first, starts, nbytes = layout([*map(address, arrays)], sizes, distance)
    buffer = _buffer(nbytes, first, PAGE)
    pairs = zip(starts, sizes, strict=True)
    return [buffer[start : start + size].view(dtype) for start, size in pairs]


def _buffer(nbytes: int, offset: int, period: int) -> Any:
    """Zero bytes whose address is `offset` modulo `period`."""
    raw = np.zeros(nbytes + period, np.uint8)
    start = (offset - raw.ctypes.data) % period
    return raw[start : start + nbytes]
