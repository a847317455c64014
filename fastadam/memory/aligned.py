"""Allocation of arrays whose first element is aligned to a cache line."""

from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


def aligned_zeros(size: int, dtype: Any) -> Any:
    """A one-dimensional NumPy array of zeros that starts on a cache line."""
    nbytes = size * np.dtype(dtype).itemsize
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes].view(dtype)
