"""How many threads a launch may use, and when it must do without.

Results never depend on any of it: every element is computed by one thread, alone.
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from ctypes import CDLL
from functools import cache
from multiprocessing import parent_process
from threading import RLock
from typing import SupportsIndex

from ...validation import count
from .. import forks
from ..commit import Operation, commit
from ..imports import whole
from . import openmp

SERIAL_BELOW = 20_000  # elements; starting threads costs more than it gains below
SAFE_LAYERS = ("omp", "tbb")  # which can be entered by several Python threads at once

_chosen: int | None = None
_layer: str | None = None
_one_at_a_time = RLock()  # a thread may take it again after an interrupt left it taken


def _after_fork() -> None:
    global _one_at_a_time
    _one_at_a_time = RLock()


forks.register(after_in_child=_after_fork)


def _inherited() -> bool:
    """Whether Numba's threads may be those of a parent, in a worker of multiprocessing that did not
    get this module from it."""
    pools = sys.modules.get("numba.np.ufunc.parallel")
    return getattr(pools, "_is_initialized", False) and parent_process() is not None


_alone = _inherited()


def check_threads(n: SupportsIndex | None) -> int | None:
    """A count of threads, or None for the default.

    Raises:
        TypeError: if it is not an int.
        ValueError: if it is less than 1.
    """
    hint = "give a count, 1 for a serial step, or None for the default"
    return None if n is None else count("threads", n, 1, hint)


def set_threads(n: SupportsIndex | None) -> None:
    """Set how many threads a step may use, in the whole process.

    Args:
        n: a count of at least 1; `None` returns to the default, which is `OMP_NUM_THREADS` where
            it is set, and at most the number of threads that Numba was started with.

    Small steps stay serial whatever is set here, as does every step in a forked child.
    Results do not depend on the number.

    Raises:
        TypeError: if `n` is not an int.
        ValueError: if `n` is less than 1.

    Examples:
        >>> import fastadam as fa
        >>> fa.set_threads(1)
        >>> fa.get_threads()
        1
        >>> fa.set_threads(None)
    """
    global _chosen
    _chosen = check_threads(n)


def get_threads() -> int:
    """How many threads a large step may use; see [set_threads][fastadam.set_threads]."""
    return _chosen or _default()


@cache
def _default() -> int:
    started = int(whole("numba").config.NUMBA_NUM_THREADS)
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(started, int(asked)) if asked.isdecimal() and int(asked) else started


def tasks_for(limit: int | None) -> int:
    """Into how many parts to cut a large launch."""
    return 1 if _alone or forks.happened else limit or get_threads()


def run(operations: Callable[[bool], Iterable[Operation]]) -> None:
    """Commit operations that start threads.

    Numba's workqueue layer aborts the process when two Python threads enter it; OpenMP, TBB and a
    pool never do.

    Args:
        operations: returns them; given False, without threads, as they are in use.
    """
    if openmp.joined or _layer in SAFE_LAYERS:
        return commit(operations(True))
    if not _one_at_a_time.acquire(blocking=False):
        return commit(operations(False))
    try:
        commit(operations(True))
    finally:
        _one_at_a_time.release()


def start() -> None:
    """Start Numba's threads, so that no launch fails for want of a threading layer.

    Raises:
        ValueError: if NUMBA_THREADING_LAYER asks for one that is not there.
    """
    global _layer
    whole("numba").get_num_threads()  # starts them
    _layer = threading_layer()
    _undo_nesting()


def _undo_nesting() -> None:
    """Forbid OpenMP regions inside OpenMP regions again, unless the user asked for them.

    Numba's pool allows them for the whole process when it starts. A PyTorch that is imported later
    shares the library, and then starts threads inside each of its own: 1000 times as slow.
    """
    if _layer == "omp" and not {"OMP_NESTED", "OMP_MAX_ACTIVE_LEVELS"} & os.environ.keys():
        with suppress(OSError, AttributeError):  # another OpenMP library
            CDLL("libgomp.so.1").omp_set_nested(0)


def threading_layer() -> str | None:
    """The layer that Numba settled on, or None before the first parallel launch."""
    try:
        return str(whole("numba").threading_layer())
    except ValueError:
        return None
