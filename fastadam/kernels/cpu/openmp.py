"""Launches in the OpenMP threads of another library, such as PyTorch's.

OpenMP threads spin for some milliseconds after their work, in case more arrives. A second set of
threads would compete with them for the cores.

State of the process: `team`, set by `use_threads_of`, which `import fastadam.torch` calls. Later
launches of the process run in that team, unless NUMBA_THREADING_LAYER is set.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL, c_int64, c_uint, c_void_p, cast
from functools import partial
from typing import Any


def address_of(function: Any) -> int:
    """The address of a C function."""
    return cast(function, c_void_p).value or 0


class OpenMPTeam:
    """The OpenMP threads of an extension module.

    Args:
        library: the path of the module.

    Raises:
        AttributeError: if its OpenMP library has no entry points for code compiled by GCC.
        OSError: if the module cannot be loaded.
    """

    def __init__(self, library: str) -> None:
        openmp = CDLL(library)
        self._begin, self._limit = openmp.GOMP_parallel, openmp.omp_set_num_threads
        self._begin.argtypes, self._begin.restype = (c_void_p, c_void_p, c_uint, c_uint), None
        about = openmp.omp_get_thread_num, openmp.omp_get_num_threads
        self._about = [*map(address_of, about)]

    def use(self, count: int) -> None:
        """Let the calling thread start so many threads."""
        self._limit(count)

    def runner(self, member: int, *words: int) -> Callable[[], None]:
        """A function that lets each thread call `member` once, a C function `void(int64)`.

        The argument of `member` is the address of these words, followed by the addresses of
        `omp_get_thread_num` and `omp_get_num_threads`. The library's settings determine the number
        of threads.
        """
        shared = (c_int64 * (len(words) + 2))(*words, *self._about)
        return partial(self._begin, member, shared, 0, 0)


team: OpenMPTeam | None = None


def use_threads_of(library: str) -> None:
    """Launch in the OpenMP threads of an extension module from now on, in the whole process.

    Does nothing if that is impossible, or if NUMBA_THREADING_LAYER is set.
    """
    global team
    if "NUMBA_THREADING_LAYER" not in os.environ:
        with suppress(AttributeError, OSError):
            team = OpenMPTeam(library)
