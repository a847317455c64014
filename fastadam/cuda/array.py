"""Arrays on a GPU with a part of NumPy's interface: shape, dtype, address, simple assignments.

Objects with `__cuda_array_interface__` (Numba, CuPy, PyTorch, JAX), and the arrays of Numba's
simulator, are used without a copy.
"""

from collections.abc import Callable
from ctypes import c_int64
from functools import cache, partial
from itertools import accumulate
from math import prod
from operator import mul
from types import SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np

from ..memory.arrays import DeviceMemory, is_device
from ..memory.dtypes import named


class DeviceArray(DeviceMemory):
    """Numbers in the memory of a GPU.

    It shares its memory with CuPy, PyTorch, JAX and Numba through `__cuda_array_interface__`;
    `np.asarray` copies it to the host.

    Attributes:
        shape, strides, dtype, size, nbytes, itemsize, ndim, flags: as of a NumPy array.
        address: the address of the first element.
        source: the array of another library whose memory it is, or None.
    """

    def __init__(
        self,
        address: int,
        shape: tuple[int, ...],
        dtype: Any,
        owner: Any,
        read_only: bool = False,
        strides: tuple[int, ...] | None = None,
        order: Any = None,
        source: Any = None,
    ) -> None:
        self.address, self.shape, self.dtype = address, tuple(shape), np.dtype(dtype)
        self.ndim, self.itemsize = len(self.shape), self.dtype.itemsize
        self.size = prod(self.shape)
        self.nbytes = self.size * self.itemsize
        self._owner, self._read_only = owner, read_only
        self._order, self.source = order, source
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
        with _streams().in_order(self):  # after the work queued in other streams
            stream = _streams().work.stream
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, self._read_only),
            "version": 3,
            "stream": stream,
        }

    @property
    def order(self) -> Any:
        """The order of work on this memory in different streams."""
        if self._order is None:
            self._order = _streams().order_of(self._owner)
        return self._order

    def _part(self, address: int, shape: tuple[int, ...], dtype: Any) -> "DeviceArray":
        """An array in the same memory."""
        return DeviceArray(address, shape, dtype, self._owner, self._read_only, order=self.order)

    def reshape(self, *shape: Any) -> "DeviceArray":
        """The same numbers in another shape; -1 flattens."""
        wanted = np.broadcast_to(0, self.shape).reshape(*shape).shape
        return self._part(self.address, wanted, self.dtype)

    def view(self, dtype: Any) -> "DeviceArray":
        """The same memory as numbers of another dtype, in one dimension."""
        size = self.nbytes // np.dtype(dtype).itemsize
        return self._part(self.address, (size,), dtype)

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
        return self._part(address, (stop - start,), self.dtype)

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
            with _streams().in_order(target, source):
                _memory().copy(target, source)
            return
        values = np.asarray(value, self.dtype)
        with _streams().in_order(target):
            if not values.ndim and not any(values.tobytes()):
                _memory().clear(target)
            else:
                _memory().write(target, np.broadcast_to(values, target.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = np.empty(0, self.dtype)
        if self.size:
            with _streams().in_order(self):
                array = _memory().read(self)
        return array.reshape(self.shape).astype(dtype or self.dtype, copy=False)

    def fill(self, value: float) -> None:
        self[...] = value

    def copy(self) -> "DeviceArray":
        """A copy on the device."""
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
    """A DeviceArray for an array on a device; other arrays unchanged."""
    if isinstance(array, np.ndarray | DeviceArray) or not is_device(array):
        return array
    if not hasattr(array, "__cuda_array_interface__"):  # the simulator's
        host = array._ary
        place = host.__array_interface__["data"]
        strides, shape, dtype = host.strides, host.shape, host.dtype
    else:
        interface = array.__cuda_array_interface__
        place, dtype = interface["data"], _dtype(interface["typestr"])
        shape, strides = interface["shape"], interface.get("strides")
    address, read_only = place
    return DeviceArray(address, shape, dtype, array, read_only, strides, source=array)


def _dtype(code: str) -> Any:
    """The dtype of a type code of the interface; bfloat16, which has no code, is two bytes."""
    return named("bfloat16") if code.endswith("V2") else np.dtype(code)


def _from_host(values: Any) -> DeviceArray:
    """A copy of a host array on the device."""
    array = zeros(values.size, values.dtype).reshape(values.shape)
    array[...] = values
    return array


class DeferredScalar:
    """Numbers on a device, fetched when they are read, or before their memory is reused."""

    PLACES = 256

    def __init__(self) -> None:
        self._places = zeros(self.PLACES, np.float64)
        self._asked: list[Any] = [lambda: None] * self.PLACES
        self._next = 0

    def put(self, number: DeviceArray, meaning: Callable[[float], float]) -> Callable[[], float]:
        """Store a number; returns a function that returns `meaning(number)` on every call."""
        at, self._next = self._next, (self._next + 1) % self.PLACES
        if (last := self._asked[at]()) is not None:
            last()
        place = self._places[at : at + 1]
        place[...] = number
        ask = cache(partial(_on_device, _device(), lambda: meaning(float(np.asarray(place)[0]))))
        self._asked[at] = ref(ask)
        return ask


def _device() -> int:
    from .context import driver

    return int(driver.device())


def _on_device(device: int, ask: Callable[[], Any]) -> Any:
    from .context import driver

    with driver.on(device):
        return ask()


def zeros(size: int, dtype: Any) -> DeviceArray:
    """A one-dimensional device array of zeros, aligned to 256 bytes.

    Created while an optimizer holds its lock, it is part of that optimizer's memory.
    """
    dtype, turn = np.dtype(dtype), _streams().work.turn
    address, owner = _memory().allocate(max(1, size * dtype.itemsize))
    return DeviceArray(
        address, (size,), dtype, owner, order=turn.order if turn else _streams().StreamOrder()
    )


def ring(nbytes: int) -> Any:
    """A ring of pinned memory that sends up to `nbytes` bytes to the device without waiting."""
    return _memory().StagingRing(nbytes)


def integers(memory: Any, count: int) -> Any:
    """Pinned memory as an array of integers, which keeps the memory alive."""
    numbers: Any = (c_int64 * count).from_address(memory.address)
    numbers.memory = memory
    return np.frombuffer(numbers, np.int64)


def number_of_device() -> int:
    """The number of the current device of the calling thread.

    Raises:
        RuntimeError: if there is none.
    """
    return int(_memory().number())


def _memory() -> Any:
    from . import transfer

    return transfer


def _streams() -> Any:
    from . import streams

    return streams
