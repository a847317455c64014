"""Loss scales and skip flags of a step, as given by users: numbers, or arrays of one number."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..memory.arrays import is_device
from ..validation import POSITIVE, number

NEAR, FAR = 1, 2  # a scale is undone by one factor, or by a power of two and a factor
LIMIT = 126  # exponents up to which float32 keeps all bits of a factor


def reach_of(grad_scale: Any) -> int:
    """Range of a loss scale: 0 without one, NEAR if one float32 factor undoes it, else FAR. One on
    a device is taken to be NEAR.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not above zero.
    """
    if grad_scale is None:
        return 0
    if is_device(grad_scale):
        return NEAR
    if type(grad_scale) is float and 1e-30 < grad_scale < 1e30:  # the usual case
        return NEAR
    return NEAR if unscale_of(grad_scale)[1] == 1 else FAR


def unscale_of(grad_scale: Any, dtypes: Iterable[str] = ()) -> tuple[float, float]:
    """The factor and the power of two that undo a loss scale; 1 and 1 without any.

    Gradients are multiplied by the power, which changes no digit of theirs, and then by the
    factor. It is 1 unless the factor would be too large or too small for float32 to keep its bits.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not above zero, or cannot be undone in one of the dtypes.
    """
    if grad_scale is None:
        return 1.0, 1.0
    scale = number("step(): grad_scale", scalar(grad_scale), POSITIVE, finite=False)
    if math.isinf(scale):
        return 0.0, 1.0
    share, exponent = math.frexp(scale)
    kept = min(max(-exponent, -LIMIT), LIMIT)
    power = -exponent - kept
    if power > LIMIT and "float32" in dtypes:
        raise ValueError(
            f"step(): grad_scale={grad_scale!r} is too small to be undone in float32; give the "
            "number that the loss was multiplied by"
        )
    return math.ldexp(1 / share, kept), math.ldexp(1.0, power)


def flag_of(found_inf: Any) -> bool:
    """The value of `found_inf` as a bool, from a bool or from a number, as in PyTorch.

    Raises:
        TypeError, ValueError: if it is none of these.
    """
    value = scalar(found_inf)
    if isinstance(value, bool | np.bool_):
        return bool(value)
    found = number("step(): found_inf", value, finite=False, hint="give True or False")
    if found not in (0, 1):
        raise ValueError(f"step(): found_inf={found_inf!r} must be True or False")
    return found == 1


def scalar(value: Any) -> Any:
    """The number in an array of one element; anything else unchanged."""
    return value.reshape(()) if getattr(value, "ndim", 0) and math.prod(value.shape) == 1 else value
