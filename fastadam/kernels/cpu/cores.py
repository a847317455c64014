"""Launches on chosen cores: a thread that runs on them only, and so do all threads it starts.

State of the process: a thread for each choice of cores that was used.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, NamedTuple

from ...validation import count
from .. import forks
from ..commit import Operation, commit
from ..imports import whole
from . import openmp

Cores = tuple[int, ...]


class Team(NamedTuple):
    """Threads of a launch on chosen cores.

    Attributes:
        limit: how many there may be, None for one on each core.
        cores: the numbers of the cores.
    """

    limit: int | None
    cores: Cores

    @property
    def size(self) -> int:
        """The largest number of threads."""
        return min(self.limit or len(self.cores), len(self.cores))


def check_cores(cores: Iterable[int] | None) -> Cores | None:
    """Check numbers of cores, or None for all.

    Raises:
        TypeError: if they are not ints.
        ValueError: if there are none, one is there twice, or the process may not use it; on systems
            where threads cannot be bound to cores.
    """
    if cores is None:
        return None
    if isinstance(cores, str) or not isinstance(cores, Iterable):
        raise TypeError(f"cores={cores!r} must be a list of numbers of cores, such as [0, 1]")
    chosen = tuple(count("cores", core, 0, "give numbers of cores") for core in cores)
    if not hasattr(os, "sched_getaffinity"):
        raise ValueError(f"cores={chosen}: threads can be bound to cores on Linux only")
    if not chosen or len({*chosen}) != len(chosen):
        raise ValueError(f"cores={chosen} must name at least one core, each of them once")
    allowed = os.sched_getaffinity(0)
    if wrong := [core for core in chosen if core not in allowed]:
        raise ValueError(
            f"cores={chosen}: this process may not run on {wrong}; it may on {sorted(allowed)}"
        )
    return chosen


class _Task:
    """Operations to commit, and their result."""

    def __init__(self, operations: Callable[[bool], Iterable[Operation]]) -> None:
        self.operations, self.done, self.begun = operations, Event(), False
        self.error: BaseException | None = None


class _Launcher:
    """A thread bound to cores, which commits the operations of others."""

    def __init__(self, cores: Cores) -> None:
        self._cores, self._tasks = cores, SimpleQueue[_Task]()
        Thread(target=self._work, name="fastadam-cores", daemon=True).start()

    def _work(self) -> None:
        os.sched_setaffinity(0, self._cores)  # of this thread, and of those that it starts
        if openmp.team:
            openmp.team.use(len(self._cores))
        else:
            numba = whole("numba")
            numba.set_num_threads(min(len(self._cores), numba.config.NUMBA_NUM_THREADS))
        while True:
            task = self._tasks.get()
            if task.begun:
                continue
            task.begun = True
            try:
                commit(task.operations(True))
            except BaseException as error:
                task.error = error
            task.done.set()

    def run(self, operations: Callable[[bool], Iterable[Operation]]) -> None:
        """Commit operations in the thread, and wait for them, also when interrupted."""
        task = _Task(operations)
        try:
            self._tasks.put(task)
            task.done.wait()
        finally:
            if not task.done.is_set():
                self._tasks.put(task)  # if the interrupt came before; it runs once
            while not task.done.is_set():
                with suppress(KeyboardInterrupt):
                    task.done.wait()
        if task.error is not None:
            raise task.error


_launchers: dict[Cores, _Launcher] = {}
forks.register(after_in_child=_launchers.clear)


def run_on(cores: Cores, operations: Callable[[bool], Iterable[Operation]], layer: Any) -> None:
    """Commit operations in threads on these cores.

    Raises:
        RuntimeError: if the threads are not those of OpenMP, which are all started alike.
    """
    if not openmp.team and layer() != "omp":
        raise RuntimeError(
            f"cores={cores} needs threads of OpenMP, but Numba's threading layer is {layer()!r}; "
            "set NUMBA_THREADING_LAYER=omp, or leave cores out"
        )
    if cores not in _launchers:
        _launchers[cores] = _Launcher(cores)
    _launchers[cores].run(operations)
