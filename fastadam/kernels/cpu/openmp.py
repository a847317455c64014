"""Threads that are there already: those of another library's OpenMP.

OpenMP's threads spin for some milliseconds when their work is done, in case more comes. A pool of
our own beside them would share the cores with that, and theirs with ours.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL, c_int64, c_uint, c_void_p, cast
from functools import partial
from typing import Any


def address_of(function: Any) -> int:
    """Where a C function begins."""
    return cast(function, c_void_p).value or 0


class Pool:
    """The threads of OpenMP that some extension module uses.

    Args:
        library: the path of that module.

    Raises:
        AttributeError: if they have no entry for what GCC compiles.
        OSError: if there is no such module.
    """

    def __init__(self, library: str) -> None:
        openmp = CDLL(library)
        self._begin = openmp.GOMP_parallel
        self._begin.argtypes, self._begin.restype = (c_void_p, c_void_p, c_uint, c_uint), None
        about = openmp.omp_get_thread_num, openmp.omp_get_num_threads
        self._about = [*map(address_of, about)]

    def runner(self, member: int, *words: int) -> Callable[[], None]:
        """What lets each thread call `member` once, a C function `void(int64)`.

        Its argument is where these words are, then functions that tell a thread its number and how
        many there are: as many as the library that the threads belong to is set to use.
        """
        shared = (c_int64 * (len(words) + 2))(*words, *self._about)
        return partial(self._begin, member, shared, 0, 0)


joined: Pool | None = None


def join(library: str) -> None:
    """Launch in the threads that an extension module uses, from now on, in the whole process.

    Nothing happens where that cannot be done, nor where NUMBA_THREADING_LAYER asks for others.
    """
    global joined
    if "NUMBA_THREADING_LAYER" not in os.environ:
        with suppress(AttributeError, OSError):
            joined = Pool(library)
