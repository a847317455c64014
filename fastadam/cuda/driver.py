"""The functions of NVIDIA's driver that a step needs, by address and handle.

Functions queue their work in a stream and return at once, unless they are documented to wait.
Numba's own wrappers take objects, wait if no stream is given, and take some microseconds each.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import (
    CDLL,
    POINTER,
    addressof,
    byref,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_ubyte,
    c_uint,
    c_uint64,
    c_void_p,
    memset,
)
from functools import cached_property
from threading import local
from typing import Any
from weakref import finalize

from numba import cuda

LEGACY, PER_THREAD = 1, 2  # handles of the default streams
NOT_READY = 600  # a result of cuEventQuery
NO_TIMING, NON_BLOCKING, PORTABLE, RELAXED = 2, 1, 1, 2  # flags

_ADDRESS, _STREAM, _EVENT = c_uint64, c_void_p, c_void_p
_FUNCTIONS = {
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuModuleLoadData": (POINTER(c_void_p), c_char_p),
    "cuModuleGetFunction": (POINTER(c_void_p), c_void_p, c_char_p),
    "cuLaunchKernel": (c_void_p, *[c_uint] * 7, _STREAM, c_void_p, c_void_p),
    "cuMemcpyHtoDAsync_v2": (_ADDRESS, c_void_p, c_size_t, _STREAM),
    "cuMemcpyDtoHAsync_v2": (c_void_p, _ADDRESS, c_size_t, _STREAM),
    "cuMemcpyDtoDAsync_v2": (_ADDRESS, _ADDRESS, c_size_t, _STREAM),
    "cuMemsetD8Async": (_ADDRESS, c_ubyte, c_size_t, _STREAM),
    "cuStreamSynchronize": (_STREAM,),
    "cuStreamIsCapturing": (_STREAM, POINTER(c_int)),
    "cuStreamWaitEvent": (_STREAM, _EVENT, c_uint),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuEventCreate": (POINTER(c_void_p), c_uint),
    "cuEventDestroy_v2": (_EVENT,),
    "cuEventRecord": (_EVENT, _STREAM),
    "cuEventQuery": (_EVENT,),
    "cuEventSynchronize": (_EVENT,),
    "cuMemHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuThreadExchangeStreamCaptureMode": (POINTER(c_int),),
    "cuCtxSynchronize": (),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}


class Event:
    """An event of the driver, with its `handle`."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle


class Pinned:
    """Page-locked memory of the host, for copies that run asynchronously."""

    def __init__(self, address: int) -> None:
        self.address = address


class Driver:
    """NVIDIA's driver; its errors raise RuntimeError.

    Streams are given as handles, memory as addresses.
    """

    def __init__(self) -> None:
        self._bound = local()
        self._retired: dict[int, list[int]] = {}  # by device
        self._asides: dict[int, int] = {}
        self._may_free = True

    @cached_property
    def _call(self) -> Any:
        library = _library()
        for name, kinds in _FUNCTIONS.items():
            getattr(library, name).argtypes = kinds
            getattr(library, name).restype = c_int
        return library

    def bind(self) -> None:
        """Make sure that the calling thread has a context."""
        if not hasattr(self._bound, "context"):
            self._bound.context = cuda.current_context()

    def device(self) -> int:
        """The number of the device that the calling thread works on."""
        return int(cuda.current_context().device.id)

    @contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Make a device current in the calling thread."""
        self.bind()
        if device == self.device():
            yield
        else:
            with cuda.gpus[device]:
                yield

    def describe(self) -> str:
        """A description of the device and the driver, on which machine code depends."""
        number = c_int()
        self._check(self._call.cuDriverGetVersion(byref(number)))
        major, minor = cuda.current_context().device.compute_capability
        return f"compute capability {major}.{minor}, driver {number.value}"

    def function(self, entry: str, binary: bytes) -> int:
        """The handle of a kernel in machine code, which is loaded and never unloaded."""
        module, function = c_void_p(), c_void_p()
        self._check(self._call.cuModuleLoadData(byref(module), binary))
        self._check(self._call.cuModuleGetFunction(byref(function), module, entry.encode()))
        return int(function.value or 0)

    @staticmethod
    def arguments(number: int) -> tuple[Any, ...]:
        """A kernel's one argument, for `launch`."""
        box = c_int64(number)
        return (c_void_p * 1)(addressof(box)), box

    def launch(
        self, function: int, blocks: int, threads: int, arguments: tuple[Any, ...], stream: int
    ) -> None:
        self._check(
            self._call.cuLaunchKernel(
                function, blocks, 1, 1, threads, 1, 1, 0, stream, arguments[0], None
            )
        )

    def copy_in(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copy from the host; memory that is not pinned may be changed once this returns."""
        self._check(self._call.cuMemcpyHtoDAsync_v2(target, source, nbytes, stream))

    def copy_out(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copy to the host; complete when the stream has reached this point."""
        self._check(self._call.cuMemcpyDtoHAsync_v2(target, source, nbytes, stream))

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._check(self._call.cuMemcpyDtoDAsync_v2(target, source, nbytes, stream))

    def clear(self, target: int, nbytes: int, stream: int) -> None:
        self._check(self._call.cuMemsetD8Async(target, 0, nbytes, stream))

    def finish(self, stream: int) -> None:
        """Wait for all work queued in a stream."""
        self._check(self._call.cuStreamSynchronize(stream))

    def finish_all(self) -> None:
        """Wait for all streams of the device."""
        self._check(self._call.cuCtxSynchronize())

    def capturing(self, stream: int) -> bool:
        """True if work queued in a stream is recorded for a graph instead."""
        status = c_int()
        self._check(self._call.cuStreamIsCapturing(stream, byref(status)))
        return status.value != 0

    @contextmanager
    def relaxed(self) -> Iterator[None]:
        """Allow this thread to allocate and wait while a stream is capturing."""
        mode = c_int(RELAXED)
        self._check(self._call.cuThreadExchangeStreamCaptureMode(byref(mode)))
        self._may_free = False
        try:
            with cuda.defer_cleanup():  # giving memory back would wait for the device
                yield
        finally:
            self._may_free = True
            self._check(self._call.cuThreadExchangeStreamCaptureMode(byref(mode)))

    def prepare(self) -> None:
        """Create what cannot be created while a stream is capturing."""
        _ = self.aside

    @property
    def aside(self) -> int:
        """fastadam's own non-blocking stream; one for each device."""
        device = self.device()
        if device not in self._asides:
            handle = c_void_p()
            self._check(self._call.cuStreamCreate(byref(handle), NON_BLOCKING))
            self._asides[device] = int(handle.value or 0)
        return self._asides[device]

    def event(self) -> Event:
        handle = c_void_p()
        self._check(self._call.cuEventCreate(byref(handle), NO_TIMING))
        event = Event(handle.value)
        finalize(event, self._call.cuEventDestroy_v2, handle.value).atexit = False
        return event

    def record(self, event: Event, stream: int) -> None:
        self._check(self._call.cuEventRecord(event.handle, stream))

    def follow(self, stream: int, event: Event) -> None:
        """Make later work of a stream wait for an event."""
        self._check(self._call.cuStreamWaitEvent(stream, event.handle, 0))

    def reached(self, event: Event) -> bool:
        """True if the device has reached an event."""
        code = self._call.cuEventQuery(event.handle)
        if code != NOT_READY:
            self._check(code)
        return bool(code == 0)

    def reach(self, event: Event) -> None:
        """Wait for an event."""
        self._check(self._call.cuEventSynchronize(event.handle))

    def pinned(self, nbytes: int) -> Pinned:
        """Zeroed pinned memory. Unused memory is returned here when the device is done with it."""
        retired = self._retired.setdefault(self.device(), [])
        if retired and self._may_free:
            self.finish_all()
            while retired:
                self._call.cuMemFreeHost(retired.pop())
        address = c_void_p()
        self._check(self._call.cuMemHostAlloc(byref(address), nbytes, PORTABLE))
        memory = Pinned(int(address.value or 0))
        memset(memory.address, 0, nbytes)
        finalize(memory, retired.append, memory.address).atexit = False
        return memory

    def _check(self, code: int) -> None:
        if code:
            text = c_char_p()
            self._call.cuGetErrorString(code, byref(text))
            said = text.value.decode() if text.value else "unknown"
            raise RuntimeError(f"CUDA's driver reports error {code}: {said}")


def _library() -> Any:
    for name in ("nvcuda.dll",) if os.name == "nt" else ("libcuda.so.1", "libcuda.so"):
        try:
            return CDLL(name)
        except OSError:
            continue
    raise RuntimeError("NVIDIA's driver library is not found; install the driver of the GPU")
