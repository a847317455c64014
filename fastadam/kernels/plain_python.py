"""The target without a compiler: the same loops in plain Python.

It is an oracle of the tests. Under `NUMBA_DISABLE_JIT=1` it runs every step, so that a debugger can
step through a rule.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..rules.plain import plain_value, uncompiled
from .loops import enter, folding, leave, loop_over, teams, wait
from .prefetching import no_prefetching
from .target import Sequences

RECIPE = SHARED = None
REFUSALS = ()
swap, jit = plain_value, uncompiled


def compiled(function: Callable[[int], None]) -> Callable[[int], None]:
    def kernel(task: int) -> None:
        with np.errstate(all="ignore"):
            function(task)

    return kernel


class Memory:
    """Access to numbers by address, as in `cpu/llvm.py`."""

    teams = staticmethod(teams)
    share = staticmethod(range)
    wait, loop = staticmethod(wait), staticmethod(loop_over(range))
    enter, leave = staticmethod(enter), staticmethod(leave)
    wide: Any = None
    warps: Any = None
    prefetch: Any = None
    prefetching = staticmethod(no_prefetching)
    folded = staticmethod(folding)

    def __init__(self, names: Sequence[str], group: int = 1) -> None:
        self.group = group
        self.integer, _ = self.access(np.dtype(np.int64), "table")

    @staticmethod
    def tabulated(formula: Any, count: int) -> Any:
        return formula

    def group_size(self, dtype: "np.dtype[Any]") -> int:
        return max(dtype.itemsize, min(16, self.group * dtype.itemsize))

    def access(self, dtype: "np.dtype[Any]", scope: str) -> tuple[Any, Any]:
        number, size = np.ctypeslib.as_ctypes_type(dtype), dtype.itemsize

        def load(address: int, index: int) -> Any:
            return dtype.type(number.from_address(int(address + index * size)).value)

        def store(address: int, index: int, value: Any) -> None:
            number.from_address(int(address + index * size)).value = dtype.type(value).item()

        return load, store

    def registers(self, dtype: "np.dtype[np.void]", record: Any) -> Any:
        fields = (
            [(name, *dtype.fields[name][:2]) for name in record._fields] if dtype.fields else []
        )
        loads = [(self.access(kind, name)[0], offset) for name, kind, offset in fields]
        return lambda address: record(*(load(address + offset, 0) for load, offset in loads))

    @staticmethod
    def reserve(words: int) -> Callable[[], int]:
        own = threading.local()  # several threads may run a kernel

        def room() -> int:
            if not hasattr(own, "room"):
                own.room = np.empty(words, np.int32)
            address: int = own.room.ctypes.data
            return address

        return room


def serial(kernel: Any, task: int) -> Callable[[], None]:
    """A function that runs a kernel on one task."""
    return partial(kernel, task)


def parallel(kernel: Any, tasks: int, size: int, count: int) -> Callable[[], None]:
    """A function that runs a kernel on `count` tasks, `size` bytes apart, one after the other."""

    def run() -> None:
        for task in range(count):
            kernel(tasks + task * size)

    return run


def sequences(shares: Sequences) -> tuple[Callable[[], None], Any]:
    """A function that runs kernels on their tasks; see `HostTarget`."""

    def run() -> None:
        for share in shares:
            for kernel, task in share:
                kernel(task)

    return run, None


def warm(kernel: Any) -> None:
    """Do nothing: there is nothing to compile."""
