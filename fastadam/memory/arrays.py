"""Supported arrays: NumPy arrays, and arrays in the memory of a device."""

from abc import ABC
from collections.abc import Iterable
from typing import Any

import numpy as np


class DeviceMemory(ABC):
    """Base class of arrays in the memory of a device; the backend of the device defines them.

    Attributes:
        address: the address of the first element.
        shape, dtype, itemsize, nbytes, flags: as of a NumPy array.
    """

    address: int
    shape: tuple[int, ...]
    dtype: Any
    itemsize: int
    nbytes: int
    flags: Any


ARRAYS = (np.ndarray, DeviceMemory)


def is_device(array: Any) -> bool:
    """True for an array of any library on a GPU, or in the simulator of one."""
    if isinstance(array, np.ndarray):  # first, since `isinstance` of an abstract class is slower
        return False
    return (
        isinstance(array, DeviceMemory)
        or hasattr(array, "__cuda_array_interface__")
        or hasattr(array, "__cuda_ndarray__")
    )


def address(array: Any) -> int:
    """The address of the first element of an array."""
    if not isinstance(array, np.ndarray) and isinstance(array, DeviceMemory):
        return array.address
    return int(array.__array_interface__["data"][0])


def addresses(arrays: Iterable[Any]) -> list[int]:
    """The addresses of arrays, 0 for None."""
    return [0 if array is None else address(array) for array in arrays]
