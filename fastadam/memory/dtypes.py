"""Dtypes by name, including bfloat16, which NumPy does not have."""

from functools import cache
from typing import Any

import numpy as np


@cache
def name_of(dtype: Any) -> str:
    """The name of a dtype, cached, since NumPy computes it on each access."""
    return str(dtype.name)


def named(name: str) -> Any:
    """The dtype of a name.

    Raises:
        ImportError: if it is bfloat16, and ml_dtypes is missing.
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            'bfloat16 is not in NumPy; pip install "fastadam[bfloat16]" brings ml_dtypes'
        ) from error
    return np.dtype(ml_dtypes.bfloat16)
