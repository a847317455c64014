"""Processes of a sharded optimizer as threads of this one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

SECONDS = 240  # after which one that waits for another fails, on a machine that is busy


class Rank:
    """A communicator between threads: everything that `fastadam.distributed` needs of one."""

    def __init__(self, rank: int, size: int, queues: dict[tuple[int, int], Queue[Any]]) -> None:
        self.rank, self.size, self._queues = rank, size, queues

    def exchange(self, send: Any, receive: Any) -> Callable[[], None]:
        others = [other for other in range(self.size) if other != self.rank]
        for other in others:
            self._queues[self.rank, other].put(send[other].copy())

        def wait() -> None:
            for other in others:
                receive[other][...] = self._queues[other, self.rank].get(timeout=SECONDS)

        return wait


def run(size: int, function: Callable[[Rank], Any]) -> list[Any]:
    """The results of a function of a rank, run by so many threads; an exception is a result."""
    queues = {(a, b): Queue[Any]() for a in range(size) for b in range(size)}

    def guarded(rank: int) -> Any:
        try:
            return function(Rank(rank, size, queues))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(guarded, range(size)))


def results(size: int, function: Callable[[Rank], Any]) -> list[Any]:
    """The same, where no exception is expected."""
    found = run(size, function)
    for result in found:
        if isinstance(result, Exception):
            raise result
    return found
