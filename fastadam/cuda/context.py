"""Thread-local CUDA state: the driver, and the current stream."""

from threading import local
from typing import Any

from numba import config

from .driver import LEGACY, Driver
from .simulator import Simulated

SIMULATED = bool(config.ENABLE_CUDASIM)
driver: Any = Simulated() if SIMULATED else Driver()


class Work(local):
    """The state of a thread.

    Attributes:
        stream: the stream in which kernels and copies are queued.
        aside: while `stream` is being captured, the stream of host-to-device copies, which are
            waited for.
        turn: the StreamScope that set the stream, or None.
    """

    stream: int = LEGACY
    aside: int | None = None
    turn: Any = None


work = Work()
