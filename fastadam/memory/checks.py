"""What is refused, and the way out. Everything here runs before any element changes."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..kernels.formats import compute_of
from .device import DeviceArray

SUPPORTED = ("float32", "float64", "bfloat16", "float16")


def check_array(array: Any, name: str, written: bool) -> None:
    """Refuse what a kernel could not walk through.

    Raises:
        TypeError: if it is not an array of floats in native byte order.
        ValueError: if it is not contiguous, not aligned, or read-only although it is written.
    """
    if not isinstance(array, np.ndarray | DeviceArray):
        raise TypeError(
            f"{name} is {_short(array)} of type {_full_name(type(array))}, not a NumPy array; "
            f"{_array_from(array)}"
        )
    if array.dtype.name not in SUPPORTED or not array.dtype.isnative:
        swapped = array.dtype.name in SUPPORTED
        way_out = (
            "bring it to native byte order with a.astype(a.dtype.newbyteorder('='))"
            if swapped
            else "convert it with a.astype(np.float32)"
        )
        raise TypeError(
            f"{name} has dtype {array.dtype.str if swapped else array.dtype}; "
            f"{', '.join(SUPPORTED)} are supported: {way_out}"
        )
    check_contiguous(array, name)
    if not array.flags.aligned:
        raise ValueError(
            f"{name} is misaligned: its address is no multiple of {array.itemsize}; copy it"
        )
    if written and not array.flags.writeable:
        raise ValueError(f"{name} is read-only, and a step writes to it; give a writable copy")


def check_contiguous(array: Any, name: str) -> None:
    """Refuse gaps, and another order than that of rows."""
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{name} with shape {array.shape} and strides {array.strides} is not C-contiguous; "
            "take np.ascontiguousarray(a), or the whole array that it is a view of"
        )


def check_together(array: Any, name: str, other: Any, other_name: str) -> None:
    """Refuse arrays of which one lies on a device and the other does not.

    Raises:
        TypeError: naming both.
    """
    if isinstance(array, DeviceArray) is not isinstance(other, DeviceArray):
        one, two = ("on a device", "on the host")[:: 1 if isinstance(array, DeviceArray) else -1]
        raise TypeError(f"{name} lies {one}, but {other_name} {two}; bring both to one place")


def check_state(array: Any, name: str, param: Any, param_name: str) -> None:
    """Refuse another place or shape than that of the parameter, another dtype than that of its
    arithmetic."""
    check_together(array, name, param, param_name)
    wanted = compute_of(param.dtype.name)
    if array.dtype != wanted:
        raise TypeError(
            f"{name} has dtype {array.dtype}, but {param_name} has {param.dtype}, of which state "
            f"is {wanted}; convert it with a.astype(np.{wanted})"
        )
    check_shape(array, name, param, param_name)


def check_shape(array: Any, name: str, other: Any, other_name: str) -> None:
    """Refuse another shape than that of the array it belongs to."""
    if array.shape != other.shape:
        raise ValueError(
            f"{name} has shape {array.shape}, but {other_name} has {other.shape}; "
            "they must be the same"
        )


def check_gradient(
    grad: Any, name: str, param: Any, param_name: str, written: bool = False
) -> None:
    """Refuse a gradient that does not go with its parameter.

    It may be of another dtype, but not double where the arithmetic is single.
    """
    check_array(grad, name, written)
    check_together(grad, name, param, param_name)
    if grad.dtype == np.float64 != param.dtype:
        raise TypeError(
            f"{name} has dtype float64, but {param_name} has {param.dtype}; "
            f"convert it with a.astype(np.float32)"
        )
    check_shape(grad, name, param, param_name)


def check_cleared(grad: Any, name: str, param: Any, param_name: str) -> None:
    """Refuse a gradient that does not go with its parameter, or cannot be set to zero."""
    check_gradient(grad, name, param, param_name, written=True)


def check_mask(mask: Any, name: str, param: Any, param_name: str) -> None:
    """Refuse a mask that does not go with its parameter.

    Raises:
        TypeError: if it is not an array of bool.
        ValueError: if it has another shape, or is not contiguous.
    """
    if not isinstance(mask, np.ndarray | DeviceArray) or mask.dtype != bool:
        raise TypeError(
            f"{name} is {_short(mask)}, not an array of bool; "
            f"give np.asarray(a, bool), or np.full({param.shape}, True) to move every element"
        )
    check_together(mask, name, param, param_name)
    check_shape(mask, name, param, param_name)
    check_contiguous(mask, name)


class Span(NamedTuple):
    """The memory of an array: first byte, byte after the last, and what it is called."""

    start: int
    stop: int
    name: str


def address(array: Any) -> int:
    """Where the elements of an array begin."""
    if isinstance(array, DeviceArray):
        return array.address
    return int(array.__array_interface__["data"][0])


def span(array: Any, name: str) -> Span:
    """The memory of a contiguous array."""
    start = address(array)
    return Span(start, start + array.nbytes, name)


def check_apart(spans: Iterable[Span]) -> list[Span]:
    """Refuse memory that is there twice; the spans in order otherwise, empty ones left out.

    Raises:
        ValueError: if two spans overlap.
    """
    ordered = sorted(s for s in spans if s.stop > s.start)
    for one, next_one in pairwise(ordered):
        if next_one.start < one.stop:
            same = one[:2] == next_one[:2]
            raise ValueError(
                f"{one.name} and {next_one.name} {'are' if same else 'share'} the same memory; "
                "give each element once, and copy one of them if they are meant to differ"
            )
    return ordered


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _array_from(value: Any) -> str:
    """How to come by an array."""
    if _full_name(type(value)).startswith("torch."):
        return (
            "take the optimizers of fastadam.torch, or give t.detach().numpy(), which shares the "
            "memory of a tensor on the CPU"
        )
    return "give one, such as np.array([1.0, 2.0], np.float32)"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
