"""Forked processes: the child has one thread, and inherits locks that other threads held."""

import os
from collections.abc import Callable
from typing import Any, NoReturn
from weakref import WeakValueDictionary

happened = False  # True in a forked child process

_locked: WeakValueDictionary[int, Any] = WeakValueDictionary()


def register(**hooks: Callable[[], Any]) -> None:
    """Register hooks by `os.register_at_fork`, where the system has it."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**hooks)


def watch(owner: Any) -> None:
    """Replace `owner._lock` in a forked child by an `Abandoned` one, if another thread held it."""
    _locked[id(owner)] = owner


class Abandoned:
    """The lock of an optimizer that another thread was stepping when the process was forked."""

    def __enter__(self) -> NoReturn:
        raise RuntimeError(
            "the process was forked while another thread was in a step of this optimizer: in this "
            "child its parameters and state may be half updated; create a new optimizer from a "
            "checkpoint, or fork between steps"
        )

    def __exit__(self, *_: object) -> None:
        """Do nothing, since no lock was acquired."""


def _after() -> None:
    global happened
    happened = True
    for owner in list(_locked.values()):
        if not hasattr(owner._lock, "acquire"):
            continue
        if owner._lock.acquire(blocking=False):
            owner._lock.release()
        else:
            owner._lock = Abandoned()


register(after_in_child=_after)
