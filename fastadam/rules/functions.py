"""Scalar functions for rules; the same text runs under CPython, Numba and CUDA."""

from typing import Any

import numpy as np


def in_dtype(value: Any, compute: str = "float64") -> Any:
    """Convert a value that a rule refers to into the one that is compiled.

    Floats take the dtype of the arithmetic; `max` and `min` become functions of this module.
    """
    if type(value) is float:
        return np.dtype(compute).type(value)
    if type(value) is tuple:
        return tuple(in_dtype(item, compute) for item in value)
    return larger if value is max else smaller if value is min else value


def larger(a: Any, b: Any, c: Any = None) -> Any:
    """`max` of two or three numbers. Treats NaN as CPython does; Numba's own `max` does not."""
    top = b if b > a else a
    if c is None:
        return top
    return c if c > top else top


def smaller(a: Any, b: Any, c: Any = None) -> Any:
    """`min` of two or three numbers. Treats NaN as CPython does; Numba's own `min` does not."""
    least = b if b < a else a
    if c is None:
        return least
    return c if c < least else least


def squared(value: Any) -> Any:
    """The square of a float32 in float64, which holds it exactly, or of a float64."""
    wide = np.float64(value)
    return wide * wide


def added(one: Any, other: Any) -> Any:
    """The sum of two float64 numbers. A target may compute it in one instruction with the product
    that is one of them, if that is exact: the bits are the same."""
    return one + other


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """Linear interpolation for rules: as `torch.lerp`, exact at weights 0 and 1."""
    if weight < 0.5:
        return start + weight * (end - start)
    return end - (1.0 - weight) * (end - start)


def decayed(change: Any, param: Any, decay: Any) -> Any:
    """Add weight decay to a gradient or an update, for rules; unchanged if `decay` is zero."""
    return change + decay * param if decay > 0.0 else change


def cautiously_decayed(update: Any, param: Any, decay: Any) -> Any:
    """Add weight decay to an update, for rules, unless it opposes the update.

    Source: L. Chen et al., Cautious Weight Decay, ICLR 2026, equation 2.
    """
    return update if update * param < 0.0 else decayed(update, param, decay)


def sign(value: Any) -> Any:
    """-1, 0 or 1, for rules; the sign of zero is zero, that of NaN is NaN."""
    return 1.0 if value > 0.0 else -1.0 if value < 0.0 else value
