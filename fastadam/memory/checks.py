"""Input validation: raises before any element changes, with a suggested fix."""

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..kernels.formats import compute_of
from .arrays import ARRAYS, DeviceMemory
from .arrays import address as address
from .arrays import addresses as addresses
from .complex_numbers import shape_of
from .dtypes import name_of

SUPPORTED = ("float32", "float64", "bfloat16", "float16")
OPERATORS = "add radd iadd sub rsub isub mul rmul imul truediv itruediv pow matmul rmatmul imatmul"
BEHAVIOR = {f"__{name}__" for name in OPERATORS.split()} | {
    "__array_function__",
    "__array_ufunc__",
    "__getitem__",
    "__setitem__",
}  # of an array, on which the meaning of its values depends


def check_array(array: Any, name: str, written: bool, updated: bool = False) -> None:
    """Refuse an array that a kernel cannot access.

    Args:
        array: the array.
        name: its name in messages.
        written: True if a step writes to it.
        updated: True if a step updates it in place; messages that suggest a new array then say
            that the new array is the one to keep.

    Raises:
        TypeError: if it is not an array of floats in native byte order, or of a subclass.
        ValueError: if it is not contiguous, not aligned, or read-only although it is written.
    """
    if not isinstance(array, ARRAYS):
        raise TypeError(
            f"{name} is {short(array)} of type {_full_name(type(array))}, not a NumPy array; "
            f"{_array_from(array, updated)}"
        )
    check_kind(array, name, updated)
    check_dtype(array, name, updated)
    check_contiguous(array, name, updated)
    if not array.flags.aligned:
        raise ValueError(
            f"{name} is misaligned: its address is not a multiple of {array.itemsize}; "
            + _made("copy it with", "{}.copy()", updated)
        )
    if written and not array.flags.writeable:
        raise ValueError(
            f"{name} is read-only, and a step writes to it; "
            + _made("give a writable copy,", "{}.copy()", updated)
        )


def check_kind(array: Any, name: str, updated: bool = False) -> None:
    """Refuse subclasses of NumPy's array that redefine arithmetic or indexing.

    Raises:
        TypeError: for masked arrays and matrices, for example; not for memory-mapped arrays.
    """
    kind: Any = type(array)
    if isinstance(array, np.ndarray) and _differs(kind):
        raise TypeError(
            f"{name} is a {_full_name(kind)}, of which only the plain array would be used; "
            + _made("give", "np.asarray({})", updated)
        )


@cache
def _differs(kind: type) -> bool:
    """True if a subclass of NumPy's array redefines a method on which its values depend."""
    classes = kind.__mro__[: kind.__mro__.index(np.ndarray)]
    return any(vars(each).keys() & BEHAVIOR for each in classes if each is not np.memmap)


def check_dtype(array: Any, name: str, updated: bool = False) -> None:
    """Refuse anything but an array of floats in native byte order.

    Raises:
        TypeError: with the supported dtypes.
    """
    dtype = array.dtype
    if name_of(dtype) in SUPPORTED and dtype.isnative:
        return
    shown, way_out = dtype, _made("convert it with", "{}.astype(np.float32)", updated)
    if dtype.name in SUPPORTED:
        shown = f"{dtype.str}, which is not in native byte order"
        native = "{0}.astype({0}.dtype.newbyteorder('='))"
        way_out = _made("convert it with", native, updated)
    elif dtype == np.dtype("V2"):
        shown = "|V2, two bytes without a meaning, as which files give bfloat16 back"
        way_out = _made("give", "{}.view(ml_dtypes.bfloat16)", updated)
    raise TypeError(f"{name} has dtype {shown}; {', '.join(SUPPORTED)} are supported: {way_out}")


def check_contiguous(array: Any, name: str, updated: bool = False) -> None:
    """Refuse arrays that are not C-contiguous."""
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{name} with shape {(shape := shape_of(array))} and strides "
            f"{array.strides[: len(shape)]} is not C-contiguous; "
            + _made("take", "np.ascontiguousarray({})", updated)
            + ", or give the whole array that it is a view of"
        )


def _made(verb: str, expression: str, updated: bool) -> str:
    """A suggestion for making a supported array, which has to be kept if a step updates it."""
    if updated:
        return f"w = {expression.format('w')}, and keep w: it is updated in place"
    return f"{verb} {expression.format('a')}"


def check_together(array: Any, name: str, other: Any, other_name: str) -> None:
    """Refuse two arrays of which only one is on a device.

    Raises:
        TypeError: naming both.
    """
    one, two = _place(array), _place(other)
    if one != two:
        raise TypeError(f"{name} lies {one}, but {other_name} {two}; move both to the same device")


def _place(array: Any) -> str:
    return "on a device" if isinstance(array, DeviceMemory) else "on the host"


def check_state(array: Any, name: str, param: Any, param_name: str) -> None:
    """Refuse state on another device or of another shape than its parameter, or of another dtype
    than its arithmetic."""
    check_together(array, name, param, param_name)
    wanted = compute_of(param.dtype.name)
    if array.dtype != wanted:
        raise TypeError(
            f"{name} has dtype {array.dtype}, but {param_name} has {param.dtype}, of which state "
            f"is {wanted}; " + _made("convert it with", f"{{}}.astype(np.{wanted})", updated=True)
        )
    check_shape(array, name, param, param_name)


def check_shape(array: Any, name: str, other: Any, other_name: str) -> None:
    """Refuse another shape than that of the array to which it belongs."""
    if array.shape != other.shape:
        raise ValueError(
            f"{name} has shape {shape_of(array)}, but {other_name} has {shape_of(other)}; "
            "they must be the same"
        )


def check_gradient(
    grad: Any, name: str, param: Any, param_name: str, written: bool = False
) -> None:
    """Refuse a gradient that does not match its parameter.

    It may have another dtype, but not float64 if the arithmetic is in float32.
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
    """Refuse a gradient that does not match its parameter, or cannot be set to zero."""
    check_gradient(grad, name, param, param_name, written=True)


def check_copy(array: Any, name: str, param: Any, param_name: str) -> None:
    """Refuse an array that cannot receive a copy of a parameter.

    Raises:
        TypeError: for another dtype than float32, bfloat16 or float16, and for parameters that are
            not float32.
        ValueError: for another shape, and for an array that cannot be written.
    """
    if param.dtype != np.float32:
        raise TypeError(
            f"{name} is a copy of {param_name}, which has dtype {param.dtype}; copies are of "
            "float32 parameters: give None there"
        )
    check_array(array, name, written=True, updated=True)
    check_together(array, name, param, param_name)
    if array.dtype == np.float64:
        raise TypeError(
            f"{name} has dtype float64; a copy is float32, bfloat16 or float16: "
            + _made("give", "np.empty(p.shape, np.float32)", updated=True)
        )
    check_shape(array, name, param, param_name)


def check_mask(mask: Any, name: str, param: Any, param_name: str) -> None:
    """Refuse a mask that does not match its parameter.

    Raises:
        TypeError: if it is not an array of bool.
        ValueError: if it has another shape, or is not contiguous.
    """
    if not isinstance(mask, ARRAYS) or mask.dtype != bool:
        raise TypeError(
            f"{name} is {short(mask)}, not an array of bool; "
            f"give np.asarray(a, bool), or np.full({param.shape}, True) to update every element"
        )
    check_kind(mask, name)
    check_together(mask, name, param, param_name)
    check_shape(mask, name, param, param_name)
    check_contiguous(mask, name)


class Span(NamedTuple):
    """The memory of an array: first byte, byte after the last, and the name of the array."""

    start: int
    stop: int
    name: str


def span(array: Any, name: str) -> Span:
    """The memory of a contiguous array."""
    start = address(array)
    return Span(start, start + array.nbytes, name)


def check_apart(spans: Iterable[Span]) -> list[Span]:
    """Refuse overlapping memory; returns the spans that are not empty, in order.

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


def _array_from(value: Any, updated: bool) -> str:
    """A suggestion for making an array of a value."""
    if _full_name(type(value)).startswith("torch."):
        return (
            "use the optimizers of fastadam.torch, or give t.detach().numpy(), which shares the "
            "memory of a tensor on the CPU"
        )
    if _full_name(type(value)).endswith(".Flat"):
        return "give its tree: flat.tree"
    if hasattr(value, "__array__") and not np.isscalar(value):
        return _made("give", "np.array({})" if updated else "np.asarray({})", updated)
    if hasattr(value, "__dlpack__"):
        expression = "np.from_dlpack({})"
        return _made("give", expression + ".copy()" if updated else expression, updated)
    if isinstance(value, Mapping):
        return (
            "one array is expected here: give the arrays in it in the structure of the parameters; "
            "with groups, these are one flat list over all groups, in order"
        )
    if isinstance(value, list | tuple) and any(isinstance(each, ARRAYS) for each in value):
        return f"one array is expected here: give it without the {_full_name(type(value))}"
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | list | tuple):
        return "give list(a) for its arrays, or np.array([1.0, 2.0], np.float32) for one"
    kept = ", and keep w: it is updated in place" if updated else ""
    return "give one, such as np.array([1.0, 2.0], np.float32)" + kept


def short(value: Any) -> str:
    """A value as shown in a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
