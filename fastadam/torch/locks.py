"""Locks of optimizers in a forked child, where no thread is left that could release them."""

import os
from threading import RLock
from typing import Any
from weakref import WeakSet

LOCKED: WeakSet[Any] = WeakSet()  # the optimizers that have one


def _renew() -> None:
    for optimizer in LOCKED:
        optimizer._lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
