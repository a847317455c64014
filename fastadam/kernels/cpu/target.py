"""The CPU target: a kernel is a C function over a range of chunks, run by one thread or several."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import cfunc, config, njit, prange, types
from numba.core.errors import NumbaError

from ...rules.functions import added, in_dtype, squared
from ...rules.linker import Shared, digest, linked, recipe
from .. import compose, composed, loops, overlap, prefetching
from ..loops import teams, wait
from ..storage import elementwise
from ..target import Sequences
from . import callees, float_mode, llvm, openmp, threads, vector_loops
from .llvm import call_int_function, call_kernel
from .openmp import address_of

RECIPE = recipe(__spec__), recipe(callees.__spec__)  # settings are part of the digest of a kernel
SHARED = Shared(RECIPE, lambda: bool(config.DISABLE_JIT)) if callees.OF_CALLEES else None
REFUSALS = (NumbaError,)
OPTIONS = {"error_model": "numpy"}  # the default raises on a zero division, and does not vectorise
PIECES = (
    __name__,
    *(module.__name__ for module in (loops, compose, composed, overlap, prefetching, elementwise)),
)


FUSED = {squared.__code__: llvm.squared, added.__code__: llvm.added}


def swap(value: Any, compute: str = "float64") -> Any:
    """A value that a kernel refers to as it is compiled."""
    code: Any = getattr(value, "__code__", None)  # a rule has copies of functions
    return FUSED.get(code) or in_dtype(value, compute)


def jit(function: Any, module: str) -> Any:
    """Compile one callee, defined in `module`.

    The package's own short pieces are inlined before typing, which halves the compile time. Loops
    over blocks and their pieces, and rules, may be long: they are compiled separately, and LLVM
    must inline them, since calls do not vectorise. The update stays a separate function.
    """
    ours, name = module in PIECES, function.__name__
    update = ours and name.startswith("update_")
    short = ours and not update and not name.startswith("run_")
    options = {"inline": "always"} if short else {"forceinline": not update}
    options |= callees.OF_CALLEES
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options, **OPTIONS)(function)


word = llvm.Memory(()).integer


class Memory(llvm.Memory):
    """Memory access of one thread: a team has one thread, there are no warps."""

    teams, share, wait = staticmethod(teams), staticmethod(range), staticmethod(wait)
    enter, leave = staticmethod(float_mode.enter), staticmethod(float_mode.leave)
    wide = warps = None
    prefetch, prefetching = staticmethod(llvm.prefetch), staticmethod(llvm.prefetching)
    folded = staticmethod(vector_loops.folded)

    def tabulated(self, formula: Any, count: int) -> Any:
        with np.errstate(over="ignore"):  # integers wrap around
            return self.table(np.array([formula(i) for i in range(count)]))

    @staticmethod
    def loop(step: Any, width: int = 0, whole: bool = True) -> Any:
        each = vector_loops.each(width, whole)

        def loop(at, first, count, more):
            each(step, at, first, count, more)

        return loop


def compiled(function: Callable[[int], None]) -> Any:
    """Compile a kernel to a C function `void(int64)`, called through ctypes without the GIL."""
    signature, found = types.void(types.int64), with_file(function)
    settings = callees.OF_KERNELS | OPTIONS
    return cached(lambda cache: cfunc(signature, cache=cache, **settings)(found)).ctypes


def with_file(function: Any) -> Any:
    """Give a function an existing source file, if only `.pyc` files or an archive are installed.

    Numba's disk cache needs the date of the source file.
    """
    code = function.__code__
    if not Path(code.co_filename).exists() and ".zip" not in code.co_filename:
        here = getattr(__spec__.loader, "archive", __file__)
        function.__code__ = code.replace(co_filename=here)
    return function


def cached(compile_with: Callable[[bool], Any]) -> Any:
    """Compile with the disk cache, or without it if it cannot be written or read."""
    try:
        return compile_with(True)
    except NumbaError:
        raise
    except Exception:  # no writable folder, a full disk, a broken file
        return compile_with(False)


def run(kernel, tasks, size, count):
    for task in prange(count):
        call_kernel(kernel, tasks + task * size)


def share(team):
    """Run one thread's share of the tasks; `team` is the address of the words of `parallel`."""
    kernel, tasks, size, count = word(team, 0), word(team, 1), word(team, 2), word(team, 3)
    number, threads = call_int_function(word(team, 4)), call_int_function(word(team, 5))
    for task in range(number, count, threads):
        call_kernel(kernel, tasks + task * size)


@cache
def _linked(function: Any) -> Any:
    """Link a runner, which is compiled once for all kernels to save compile time."""
    mark = digest(in_dtype, function, RECIPE)
    return with_file(linked(function, f"{function.__name__}_{mark}", mark, jit, in_dtype, SHARED))


def call(kernel, task):
    call_kernel(kernel, task)


@cache
def _caller() -> Any:
    """A C function for Python that calls a kernel, in half the time that ctypes takes."""
    signature = types.void(types.int64, types.int64)
    made = cached(lambda cache: njit(signature, cache=cache, nogil=True, **OPTIONS)(_linked(call)))
    return made.overloads[signature.args].entry_point


def serial(kernel: Any, task: int) -> Callable[[], None]:
    """A function that runs a kernel on one task in the calling thread."""
    return partial(_caller(), address_of(kernel), task)


@cache
def _runner() -> Any:
    signature = types.void(*[types.int64] * 4)
    options = {"parallel": True, "nogil": True, **OPTIONS}
    runner = cached(lambda cache: njit(signature, cache=cache, **options)(_linked(run)))
    threads.start()
    return runner


@cache
def _member() -> int:
    return address_of(compiled(_linked(share)))


def parallel(kernel: Any, tasks: int, size: int, count: int) -> Callable[[], None]:
    """A function that runs a kernel on `count` tasks, `size` bytes apart, in several threads.

    The threads are those of `openmp.team` if there is one, else Numba's.
    """
    words = address_of(kernel), tasks, size, count
    return openmp.team.runner(_member(), *words) if openmp.team else partial(_runner(), *words)


def follow(words):
    """Run kernels one after the other; there is a list of their addresses and those of tasks."""
    pairs, count = word(words, 0), word(words, 1)
    for k in range(count):
        call_kernel(word(pairs, 2 * k), word(pairs, 2 * k + 1))


@cache
def _follower() -> Any:
    return compiled(_linked(follow))


def sequences(shares: Sequences) -> tuple[Callable[[], None], Any]:
    """A function that runs kernels on tasks, those of a share one after the other in a thread."""
    pairs = [
        np.array([(address_of(kernel), task) for kernel, task in share], np.int64)
        for share in shares
    ]
    words = np.array([(each.ctypes.data, len(each)) for each in pairs], np.int64)
    first, size, count = words.ctypes.data, words.strides[0], len(words)
    if count == 1:
        return serial(_follower(), first), (pairs, words)
    return parallel(_follower(), first, size, count), (pairs, words)


def warm(kernel: Any) -> None:
    """Compile, or load from the cache, the runner that `parallel` needs besides the kernel."""
    parallel(kernel, 0, 0, 0)
