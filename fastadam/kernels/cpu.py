"""CPU: a kernel is a C function over a range of chunks; one runner shares chunks among threads."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import cfunc, njit, prange, types

from . import primitives
from .link import digest, linked
from .scalars import larger, smaller
from .template import teams

RECIPE = Path(__file__).read_text()  # how pieces are compiled is part of what a kernel is
OPTIONS = {"error_model": "numpy"}  # the default raises on a zero division, and does not vectorise
PIECES = tuple(f"{__package__}.{name}" for name in ("compose", "storage", "cpu", "template"))

integer, _ = primitives.Memory([]).access(np.dtype(np.int64), "table")


def swap(value: Any, compute: str = "float64") -> Any:
    """What stands for a value that a rule refers to: a float takes the dtype of the arithmetic."""
    if type(value) is float:
        return np.dtype(compute).type(value)
    if type(value) is tuple:
        return tuple(swap(item, compute) for item in value)
    return larger if value is max else smaller if value is min else value


def jit(function: Any) -> Any:
    """Compile one callee. Our own pieces are inlined before typing, which halves the compile time.

    A rule is compiled as it stands, but LLVM must inline it: a long one would else stay a call
    per element, and calls do not vectorise.
    """
    update = function.__name__.startswith("update")
    inlined = function.__module__ in PIECES and not update
    options = {"inline": "always"} if inlined else {"forceinline": not update}
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options, **OPTIONS)(function)


class Memory(primitives.Memory):
    teams, share = staticmethod(teams), staticmethod(range)


def compiled(function: Callable[..., None]) -> Any:
    signature = types.void(*[types.int64] * 5)
    try:
        return cfunc(signature, cache=True, **OPTIONS)(function)
    except (RuntimeError, OSError):  # no writable cache folder: compile in every process
        return cfunc(signature, **OPTIONS)(function)


def run(kernel, table, chunks, records, bounds, tasks):  # type: ignore[no-untyped-def]
    for task in prange(tasks):
        first, last = integer(bounds, task), integer(bounds, task + 1)
        primitives.call(kernel, table, chunks, records, first, last)


@cache
def _runner() -> Any:
    """`run`, compiled once for all kernels, so that threads do not multiply compilations."""
    mark = digest(swap, run, RECIPE)
    function = linked(run, f"run_parallel_{mark}", mark, jit, swap)
    signature = types.void(*[types.int64] * 6)
    try:
        return njit(signature, parallel=True, nogil=True, cache=True, **OPTIONS)(function)
    except (RuntimeError, OSError):
        return njit(signature, parallel=True, nogil=True, **OPTIONS)(function)


def bind(kernel: Any, table: int, chunks: int, records: int) -> tuple[Any, Any]:
    """`serial(count)` and `parallel(bounds, tasks)` on fixed tables; both release the GIL."""

    def parallel(bounds: int, tasks: int) -> None:
        _runner()(kernel.address, table, chunks, records, bounds, tasks)

    return partial(kernel.ctypes, table, chunks, records, 0), parallel
