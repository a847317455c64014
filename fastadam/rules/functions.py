"""Scalar functions for rules; the same text runs under CPython, Numba and CUDA."""

from typing import Any

import numpy as np


def in_dtype(value: Any, compute: str = "float64") -> Any:
    """The value that a compiled rule has for one that it refers to: a float in the dtype of the
    arithmetic, functions of this module for those of Python."""
    if type(value) is float:
        return np.dtype(compute).type(value)
    if type(value) is tuple:
        return tuple(in_dtype(item, compute) for item in value)
    return larger if value is max else smaller if value is min else value


def larger(a: Any, b: Any, c: Any = None) -> Any:
    """`max` of two or three, with CPython's choice for NaN; Numba's own differs from it."""
    top = b if b > a else a
    if c is None:
        return top
    return c if c > top else top


def smaller(a: Any, b: Any, c: Any = None) -> Any:
    """`min` of two or three, with CPython's choice for NaN; Numba's own differs from it."""
    least = b if b < a else a
    if c is None:
        return least
    return c if c < least else least


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """`start` moved towards `end` by `weight`, for rules: as `torch.lerp`, exact at both ends."""
    if weight < 0.5:
        return start + weight * (end - start)
    return end - (1.0 - weight) * (end - start)


def decayed(change: Any, param: Any, decay: Any) -> Any:
    """A gradient or an update with weight decay, for rules; without any, left as it is."""
    return change + decay * param if decay > 0.0 else change


def sign(value: Any) -> Any:
    """-1, 0 or 1, for rules; that of zero is zero, that of NaN is NaN."""
    return 1.0 if value > 0.0 else -1.0 if value < 0.0 else value
