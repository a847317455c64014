"""Arrays on a GPU, seen as NumPy arrays are seen: shape, dtype, address, and simple assignments.

Whatever has `__cuda_array_interface__` (Numba, CuPy, PyTorch, JAX) is taken as it is, without a
copy; in Numba's simulator its arrays are.
"""

from collections.abc import Callable
from functools import cache
from itertools import accumulate
from math import prod
from operator import mul
from types import SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np

from .dtypes import named


def is_device(array: Any) -> bool:
    """Whether an array lies on a GPU, or in the simulator of one."""
    return isinstance(array, DeviceArray) or (
        not isinstance(array, np.ndarray)
        and (hasattr(array, "__cuda_array_interface__") or hasattr(array, "__cuda_ndarray__"))
    )


class DeviceArray:
    """Numbers in the memory of a GPU.

    It shares its memory with CuPy, PyTorch, JAX and Numba through `__cuda_array_interface__`;
    `np.asarray` copies it to the host.

    Attributes:
        shape, strides, dtype, size, nbytes, itemsize, ndim, flags: as of a NumPy array.
        address: where it begins.
    """

    def __init__(
        self,
        address: int,
        shape: tuple[int, ...],
        dtype: Any,
        owner: Any,
        read_only: bool = False,
        strides: tuple[int, ...] | None = None,
    ) -> None:
        self.address, self.shape, self.dtype = address, tuple(shape), np.dtype(dtype)
        self.ndim, self.itemsize = len(self.shape), self.dtype.itemsize
        self.size = prod(self.shape)
        self.nbytes = self.size * self.itemsize
        self._owner, self._read_only = owner, read_only
        lengths = accumulate(self.shape[:0:-1], mul, initial=self.itemsize)
        rows = tuple(lengths)[::-1][: self.ndim]
        self.strides = tuple(strides or rows)
        self.flags = SimpleNamespace(
            c_contiguous=self.strides == rows or not self.size,
            aligned=address % self.itemsize == 0,
            writeable=not read_only,
        )

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, self._read_only),
            "version": 3,
        }

    def reshape(self, *shape: Any) -> "DeviceArray":
        """The same numbers in another shape; -1 stands for all."""
        wanted = np.broadcast_to(0, self.shape).reshape(*shape).shape
        return DeviceArray(self.address, wanted, self.dtype, self._owner, self._read_only)

    def view(self, dtype: Any) -> "DeviceArray":
        """The same memory as numbers of another dtype, in one dimension."""
        size = self.nbytes // np.dtype(dtype).itemsize
        return DeviceArray(self.address, (size,), dtype, self._owner, self._read_only)

    def __getitem__(self, part: slice) -> "DeviceArray":
        """A run of a one-dimensional array.

        Raises:
            IndexError: for anything else.
        """
        if self.ndim != 1 or not isinstance(part, slice) or part.step not in (None, 1):
            raise IndexError(f"a DeviceArray has runs only, not [{part!r}]; take np.asarray(a)")
        start, stop, _ = part.indices(self.size)
        stop = max(start, stop)
        address = self.address + start * self.itemsize
        return DeviceArray(address, (stop - start,), self.dtype, self._owner, self._read_only)

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, part: Any, value: Any) -> None:
        """Write an array of the same shape, or one number to all elements."""
        target = self if part is ... else self[part]
        if not target.size:
            return
        if is_device(value):
            source = as_array(value)
            if (source.dtype, source.shape) != (target.dtype, target.shape):
                raise ValueError(
                    f"an array of {source.dtype} and shape {source.shape} does not fit into one of "
                    f"{target.dtype} and shape {target.shape}"
                )
            if not source.flags.c_contiguous:
                raise ValueError(f"an array with strides {source.strides} is not C-contiguous")
            _driver().copy(target, source)
            return
        values = np.asarray(value, self.dtype)
        if not values.ndim and not any(values.tobytes()):
            _driver().clear(target)
        else:
            _driver().write(target, np.broadcast_to(values, target.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = _driver().read(self) if self.size else np.empty(self.shape, self.dtype)
        return array.reshape(self.shape).astype(dtype or self.dtype, copy=False)

    def fill(self, value: float) -> None:
        self[...] = value

    def copy(self) -> "DeviceArray":
        """The same numbers in other memory of the device."""
        copied = zeros(self.size, self.dtype).reshape(self.shape)
        copied[...] = self
        return copied

    def __deepcopy__(self, memo: Any) -> "DeviceArray":
        return self.copy()

    def __reduce__(self) -> Any:
        return _from_host, (np.asarray(self),)

    def astype(self, dtype: Any) -> Any:
        """The numbers as another dtype, on the host."""
        return np.asarray(self).astype(dtype)

    def __repr__(self) -> str:
        return f"DeviceArray({np.asarray(self)!r})"


def as_array(array: Any) -> Any:
    """An array as fastadam sees it: those of a device as DeviceArray, all others as they are."""
    if isinstance(array, np.ndarray | DeviceArray) or not is_device(array):
        return array
    if not hasattr(array, "__cuda_array_interface__"):  # the simulator's
        array = array._ary
        where, dtype, strides = array.__array_interface__["data"], array.dtype, array.strides
        shape = array.shape
    else:
        interface = array.__cuda_array_interface__
        where, dtype = interface["data"], _dtype(interface["typestr"])
        shape, strides = interface["shape"], interface.get("strides")
    address, read_only = where
    return DeviceArray(address, shape, dtype, array, read_only, strides)


def _dtype(code: str) -> Any:
    """The dtype of a code of the interface; bfloat16, which has none of its own, is two bytes."""
    return named("bfloat16") if code.endswith("V2") else np.dtype(code)


def _from_host(values: Any) -> DeviceArray:
    """A copy of a host array on the device."""
    array = zeros(values.size, values.dtype).reshape(values.shape)
    array[...] = values
    return array


class Late:
    """Numbers of a device that are fetched when somebody asks, or before their place is needed."""

    PLACES = 256

    def __init__(self) -> None:
        self._places = zeros(self.PLACES, np.float64)
        self._asked: list[Any] = [lambda: None] * self.PLACES
        self._next = 0

    def put(self, number: DeviceArray, meaning: Callable[[float], float]) -> Callable[[], float]:
        """Keep a number; what is returned gives its meaning, again and again."""
        at, self._next = self._next, (self._next + 1) % self.PLACES
        if (last := self._asked[at]()) is not None:
            last()
        place = self._places[at : at + 1]
        place[...] = number
        ask = cache(lambda: meaning(float(np.asarray(place)[0])))
        self._asked[at] = ref(ask)
        return ask


def zeros(size: int, dtype: Any) -> DeviceArray:
    """A one-dimensional device array of zeros, aligned to 256 bytes."""
    dtype = np.dtype(dtype)
    address, owner = _driver().allocate(max(1, size * dtype.itemsize))
    return DeviceArray(address, (size,), dtype, owner)


def _driver() -> Any:
    from ..kernels import cuda_memory

    return cuda_memory
