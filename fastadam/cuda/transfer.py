"""Copies to, from and on a device, by address, in the current stream."""

from ctypes import memmove
from threading import local
from typing import Any
from weakref import finalize

import numpy as np
from numba import cuda

from .context import SIMULATED, driver, work


class Owner:
    """Owner of device memory, which is freed with it."""


_unused: list[Any] = []  # arrays of Numba that are no longer used


def allocate(nbytes: int) -> tuple[int, Owner]:
    """Zeroed bytes: their address, and the object that keeps them alive.

    Raises:
        RuntimeError: if there is no device.
    """
    address, array = _allocated(nbytes)
    owner = Owner()
    finalize(owner, _give_back, array).atexit = False
    return address, owner


def _allocated(nbytes: int) -> tuple[int, Any]:
    if SIMULATED:
        host = np.zeros(nbytes, np.uint8)
        return host.ctypes.data, host
    _check_available()
    _unused.clear()
    driver.bind()
    array = cuda.device_array(nbytes, np.uint8)
    address = int(array.device_ctypes_pointer.value)
    driver.clear(address, nbytes, _setting_up())
    _finish_aside()
    return address, array


def _give_back(array: Any) -> None:
    """Free memory.

    The driver waits for the device then, and garbage may be collected at any time: memory that is
    collected during a step is freed at the next allocation or release outside of steps.
    """
    if work.turn is not None:
        _unused.append(array)
    else:
        _unused.clear()


def number() -> int:
    """The number of the current device of the calling thread.

    Raises:
        RuntimeError: if there is none.
    """
    if SIMULATED:
        return 0
    _check_available()
    return int(cuda.current_context().device.id)


def _check_available() -> None:
    if not cuda.is_available():
        raise RuntimeError(
            "no CUDA device can be used: a driver, a GPU and the toolkit are needed "
            '(pip install "fastadam[cuda]" brings the toolkit; `python -m numba -s` tells what is '
            "missing)"
        )


def write(target: Any, values: Any) -> None:
    """Copy host numbers to a device array of the same size and dtype; waits for completion."""
    values = np.ascontiguousarray(values)
    if _is_large(values):
        return _staging().send(target.address, values.ctypes.data, values.nbytes)
    driver.copy_in(target.address, values.ctypes.data, values.nbytes, _setting_up())
    driver.finish(_setting_up())


def clear(target: Any) -> None:
    """Set all elements to zero."""
    driver.clear(target.address, target.nbytes, _setting_up())
    _finish_aside()


def read(source: Any) -> Any:
    """A copy of a device array on the host; waits for it."""
    values = np.empty(source.size, source.dtype)
    if _is_large(values):
        _staging().fetch(values.ctypes.data, source.address, values.nbytes)
        return values
    driver.copy_out(values.ctypes.data, source.address, values.nbytes, _setting_up())
    driver.finish(_setting_up())
    return values


def copy(target: Any, source: Any) -> None:
    """Copy the bytes of one device array to another of the same size."""
    driver.copy(target.address, source.address, source.nbytes, _setting_up())
    _finish_aside()


class StagingRing:
    """Pinned memory of the host through which small pieces go to a device, without waiting.

    A slot is reused only after the device has copied its contents.

    Args:
        nbytes: the size of the longest piece.
    """

    LEAST, MOST, ROOM = 2, 32, 1 << 20  # places, and bytes that they may take together

    def __init__(self, nbytes: int) -> None:
        self._nbytes, self._next = nbytes, 0
        self._places: list[int] = []
        self._taken: list[Any] = []  # events

    def send(self, target: int, source: int, nbytes: int) -> None:
        """Copy bytes of the host to the device; they may be changed once this returns."""
        if work.aside is not None:
            driver.copy_in(target, source, nbytes, work.aside)
            driver.finish(work.aside)
            return
        if not self._places:
            self._set_up()
        at, self._next = self._next, (self._next + 1) % len(self._places)
        driver.reach(self._taken[at])
        memmove(self._places[at], source, nbytes)
        driver.copy_in(target, self._places[at], nbytes, work.stream)
        driver.record(self._taken[at], work.stream)

    def _set_up(self) -> None:
        count = min(max(self.LEAST, self.ROOM // self._nbytes), self.MOST)
        self._memory = driver.pinned(count * self._nbytes)
        self._places = [self._memory.address + k * self._nbytes for k in range(count)]
        self._taken = [driver.event() for _ in range(count)]


class Staging:
    """Two slots in pinned memory of the host, through which large arrays are copied in pieces:
    while one piece is copied on the host, another one is being transferred."""

    PLACE, LEAST = 1 << 22, 1 << 16  # bytes of a place, and of an array that is worth it

    def __init__(self) -> None:
        self._memory = driver.pinned(2 * self.PLACE)
        self._places = [self._memory.address, self._memory.address + self.PLACE]
        self._taken = [driver.event(), driver.event()]

    def send(self, target: int, source: int, nbytes: int) -> None:
        """Copy bytes of the host to the device; waits until they are there."""
        for number, start in enumerate(range(0, nbytes, self.PLACE)):
            place, taken = self._places[number % 2], self._taken[number % 2]
            size = min(self.PLACE, nbytes - start)
            driver.reach(taken)  # returns at once if nothing was recorded
            memmove(place, source + start, size)
            driver.copy_in(target + start, place, size, work.stream)
            driver.record(taken, work.stream)
        driver.finish(work.stream)

    def fetch(self, target: int, source: int, nbytes: int) -> None:
        """Copy bytes of the device to the host; waits until they are there."""
        before = None
        for number, start in enumerate(range(0, nbytes, self.PLACE)):
            place, there = self._places[number % 2], self._taken[number % 2]
            size = min(self.PLACE, nbytes - start)
            driver.copy_out(place, source + start, size, work.stream)
            driver.record(there, work.stream)
            if before:
                self._land(*before)
            before = there, target + start, place, size
        if before:
            self._land(*before)

    @staticmethod
    def _land(there: Any, target: int, place: int, size: int) -> None:
        driver.reach(there)
        memmove(target, place, size)


class _Mine(local):
    """The staging of a thread for each device, created on first use."""

    def __init__(self) -> None:
        self.staging: dict[int, Staging] = {}


_mine = _Mine()


def _staging() -> Staging:
    device = driver.device()
    if device not in _mine.staging:
        _mine.staging[device] = Staging()
    return _mine.staging[device]


def _is_large(values: Any) -> bool:
    """True if pinned memory pays for an array; it is not allocated while a stream is captured."""
    return values.nbytes >= Staging.LEAST and work.aside is None


def _setting_up() -> int:
    return work.stream if work.aside is None else work.aside


def _finish_aside() -> None:
    """Wait for work in the stream `aside`, which must be done before a graph is replayed."""
    if work.aside is not None:
        driver.finish(work.aside)
