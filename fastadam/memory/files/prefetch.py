"""The thread that prefetches pages of files for launches; there is one per process."""

from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from ...kernels import forks
from . import advice


class Request(NamedTuple):
    """Ranges of addresses that a window of a launch will use.

    Attributes:
        progress: the current window of the launch, in a list of one number.
        number: the window of the request.
        ranges: first address, address after the last, True if they are written to.
    """

    progress: list[int]
    number: int
    ranges: list[tuple[int, int, bool]]


_queue: "SimpleQueue[Request] | None" = None


def _forget() -> None:
    global _queue
    _queue = None


forks.register(after_in_child=_forget)


def queue() -> "SimpleQueue[Request]":
    """The queue of the thread, which is started at the first call."""
    global _queue
    if _queue is None:
        _queue = SimpleQueue()
        Thread(target=_serve, args=[_queue], name="fastadam read-ahead", daemon=True).start()
    return _queue


def _serve(requests: Any) -> None:
    while True:
        progress, number, ranges = requests.get()
        for each in ranges:
            if progress[0] <= number:  # otherwise the window is done, and its pages are dropped
                advice.bring_in(*each)
