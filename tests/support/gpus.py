"""Detection of a GPU."""

import os
from functools import cache


@cache
def usable() -> bool:
    """True if Numba finds a GPU, or simulates one."""
    try:
        from numba import cuda

        return bool(cuda.is_available())
    except Exception:  # a driver without a toolkit, no CUDA in this Numba: there are many ways
        return False


def real() -> bool:
    """True if Numba finds a GPU."""
    return usable() and os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "0"
