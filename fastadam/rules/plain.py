"""Evaluation of rules in plain Python; numbers keep their dtype, as in a compiled kernel."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

# math.sqrt would convert float32 to double precision; NumPy's functions keep the dtype
_MATH = SimpleNamespace(**{name: getattr(np, name, f) for name, f in vars(math).items()})
_SWAPS = {id(math): _MATH, id(math.sqrt): np.sqrt}


def plain_value(value: Any, compute: str = "") -> Any:
    """Convert a value that a rule refers to; floats take the dtype of the arithmetic."""
    if compute and type(value) is float:
        return np.dtype(compute).type(value)
    if type(value) is tuple:
        return tuple(plain_value(item, compute) for item in value)
    return _SWAPS.get(id(value), value)


def uncompiled(function: Any, module: str) -> Any:
    """Return the function itself, in place of a compiled one."""
    return function
