"""The driver of Numba's simulator: everything runs immediately, in host memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_int64, memmove, memset
from threading import Barrier, current_thread
from typing import Any

import numpy as np

from .driver import Event, Pinned

WARP = 2  # threads, of which each can have numbers of the others' registers


class Simulated:
    """A stand-in for `Driver` without a device; streams are arbitrary numbers."""

    aside = 3

    def bind(self) -> None:
        """There is one context."""

    def device(self) -> int:
        return 0

    @contextmanager
    def on(self, device: int) -> Iterator[None]:
        yield

    def prepare(self) -> None:
        """There is nothing to make."""

    def function(self, kernel: Any) -> Any:
        return kernel

    @staticmethod
    def arguments(number: int) -> tuple[Any, ...]:
        return (number,)

    def launch(
        self, function: Any, blocks: int, threads: int, arguments: tuple[Any, ...], stream: int
    ) -> None:
        self.queue(stream, lambda: function[blocks, threads](*arguments))

    def copy_in(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self.queue(stream, lambda: memmove(target, source, nbytes))

    copy_out = copy = copy_in

    def clear(self, target: int, nbytes: int, stream: int) -> None:
        self.queue(stream, lambda: memset(target, 0, nbytes))

    def queue(self, stream: int, work: Any) -> None:
        """Run work; tests may defer it."""
        work()

    def finish(self, stream: int) -> None:
        """It is done already."""

    def finish_all(self) -> None:
        """It is done already."""

    def capturing(self, stream: int) -> bool:
        return False

    @contextmanager
    def relaxed(self) -> Iterator[None]:
        yield

    def event(self) -> Event:
        return Event(None)

    def record(self, event: Event, stream: int) -> None:
        """It is reached already."""

    def follow(self, stream: int, event: Event) -> None:
        """It is reached already."""

    def reached(self, event: Event) -> bool:
        return True

    def reach(self, event: Event) -> None:
        """It is reached already."""

    def pinned(self, nbytes: int) -> Pinned:
        room = np.zeros(nbytes, np.uint8)
        memory = Pinned(room.ctypes.data)
        memory.room = room  # type: ignore[attr-defined]
        return memory


class Warp:
    """Threads of a block that exchange numbers."""

    PATIENCE = 60  # seconds, after which one of them must have failed

    def __init__(self, size: int) -> None:
        self.size, self.numbers = size, [None] * size
        self.barrier = Barrier(size)

    def wait(self) -> None:
        self.barrier.wait(self.PATIENCE)

    @classmethod
    def mine(cls) -> tuple["Warp", int]:
        """The warp of this thread, and which of its lanes it is."""
        thread: Any = current_thread()
        number, lane = divmod(thread.threadIdx.x, WARP)
        warps = vars(thread._manager).setdefault("warps", {})
        warp = warps.get(number) or warps.setdefault(number, cls(WARP))
        return warp, lane


def arrive(address: int) -> int:
    """Add one to an integer, which thread blocks do one after the other; returns what it was."""
    number = c_int64.from_address(int(address))
    number.value += 1
    return number.value - 1


def fetch(number: Any, lane: int) -> Any:
    """The number of another lane."""
    warp, mine = Warp.mine()
    warp.numbers[mine] = number
    warp.wait()
    other = warp.numbers[lane]
    warp.wait()
    return other


def exchange(number: Any, apart: int) -> Any:
    """The number of the lane whose own number differs in one bit."""
    return fetch(number, Warp.mine()[1] ^ apart)


def fence() -> None:
    """Do nothing: there is one memory, which all threads see alike."""


def meet() -> None:
    """A barrier of the lanes of a warp."""
    Warp.mine()[0].wait()
