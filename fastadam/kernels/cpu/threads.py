"""Threads of a launch: their number, and the conditions under which it runs serially.

Results do not depend on it: each element is computed by one thread.
State of the process: the number set by `set_threads`, the threading layer, and the setting of
nested OpenMP regions, which Numba's threads would change.
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
from .cores import Cores, Team, check_cores, run_on

Limit = int | Team | None  # of the threads of a launch
SERIAL_BELOW = 20_000  # elements; below, starting threads costs more than it gains
SAFE_LAYERS = ("omp", "tbb")  # layers that several Python threads may enter at once

_chosen: int | None = None
_cores: Cores | None = None
_layer: str | None = None
_one_at_a_time = RLock()  # reentrant: an interrupt may leave it acquired by this thread


def _after_fork() -> None:
    global _one_at_a_time
    _one_at_a_time = RLock()


forks.register(after_in_child=_after_fork)


def _inherited() -> bool:
    """True if Numba's threads may be those of the parent process.

    This is the case in a forked worker of multiprocessing that imports this module itself.
    """
    pools = sys.modules.get("numba.np.ufunc.parallel")
    return getattr(pools, "_is_initialized", False) and parent_process() is not None


_alone = _inherited()


def check_threads(n: SupportsIndex | None) -> int | None:
    """Check a number of threads, or None for the default.

    Raises:
        TypeError: if it is not an int.
        ValueError: if it is less than 1.
    """
    hint = "give a count, 1 for a serial step, or None for the default"
    return None if n is None else count("threads", n, 1, hint)


def set_threads(n: SupportsIndex | None, *, cores: Iterable[int] | None = None) -> None:
    """Set how many threads a step may use, in the whole process.

    Args:
        n: a number of at least 1; `None` restores the default, which is `OMP_NUM_THREADS` if it is
            set, and at most the number of threads that Numba was started with; with `cores` one
            thread on each of these.
        cores: the numbers of the cores on which these threads run, and no others, on Linux, such as
            those near the memory of the arrays, or those that feed no GPU; default None: all.

    Small steps, and all steps in a forked child, run serially regardless of this setting.
    Results do not depend on the number.

    Raises:
        TypeError: if `n`, or a core, is not an int.
        ValueError: if `n` is less than 1, or the process may not run on a core.

    Examples:
        >>> import fastadam as fa
        >>> fa.set_threads(1)
        >>> fa.get_threads()
        1
        >>> fa.set_threads(None)
    """
    global _chosen, _cores
    _chosen, _cores = check_threads(n), check_cores(cores)


def get_threads() -> int:
    """The number of threads that a large step may use; see `fa.set_threads`."""
    return Team(_chosen, _cores).size if _cores else _chosen or _default()


@cache
def _default() -> int:
    started = int(whole("numba").config.NUMBA_NUM_THREADS)
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(started, int(asked)) if asked.isdecimal() and int(asked) else started


def tasks_for(limit: Limit) -> int:
    """The number of tasks into which a large launch is divided."""
    if _alone or forks.happened:
        return 1
    if isinstance(limit, Team):
        return limit.size
    return min(limit, get_threads()) if limit and _cores else limit or get_threads()


def tasks_here(limit: Limit) -> int:
    """The number of tasks of a large launch that the calling thread may commit as it is; 0 if that
    takes `run`."""
    if _cores or _alone or forks.happened or isinstance(limit, Team):
        return 0
    count = limit or get_threads()
    return count if count == 1 or openmp.team or _layer in SAFE_LAYERS else 0


def run(operations: Callable[[bool], Iterable[Operation]], limit: Limit = None) -> None:
    """Commit operations that start threads; serially while another Python thread uses them.

    Numba's workqueue layer aborts the process if two Python threads enter it at once; OpenMP and
    TBB do not.

    Args:
        operations: returns the operations; its argument is True if they may use threads.
        limit: the number of threads, or the cores on which they run.
    """
    cores = limit.cores if isinstance(limit, Team) else _cores
    if cores and not (_alone or forks.happened):
        return run_on(cores, operations, _started_layer)
    if openmp.team or _layer in SAFE_LAYERS:
        return commit(operations(True))
    if not _one_at_a_time.acquire(blocking=False):
        return commit(operations(False))
    try:
        commit(operations(True))
    finally:
        _one_at_a_time.release()


def _started_layer() -> str | None:
    """The threading layer of Numba, whose threads are started if they are not."""
    if _layer is None:
        start()
    return _layer


def start() -> None:
    """Start Numba's threads, so that a missing threading layer is reported before any launch.

    Raises:
        ValueError: if NUMBA_THREADING_LAYER names a layer that is not available.
    """
    global _layer
    whole("numba").get_num_threads()  # starts them
    _layer = threading_layer()
    _undo_nesting()


def _undo_nesting() -> None:
    """Disable nested OpenMP regions again, unless the user enabled them.

    Numba enables them for the whole process when it starts its threads. If PyTorch is imported
    later and shares the library, each of its threads starts further threads: 1000 times as slow.
    """
    if _layer == "omp" and not {"OMP_NESTED", "OMP_MAX_ACTIVE_LEVELS"} & os.environ.keys():
        with suppress(OSError, AttributeError):  # another OpenMP library
            CDLL("libgomp.so.1").omp_set_nested(0)


def threading_layer() -> str | None:
    """The threading layer that Numba has chosen, or None before the first parallel launch."""
    try:
        return str(whole("numba").threading_layer())
    except ValueError:
        return None
