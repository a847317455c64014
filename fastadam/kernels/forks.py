"""Forked processes: the child has one thread, and inherits locks that other threads held."""

import logging  # noqa: F401
import os
from collections.abc import Callable
from typing import Any, NoReturn
from weakref import WeakValueDictionary

happened = False  # True in a forked child process

_locked: WeakValueDictionary[tuple[int, str], Any] = WeakValueDictionary()


def register(**hooks: Callable[[], Any]) -> None:
    """Register hooks by `os.register_at_fork`, where the system has it.

    Hooks before a fork run in reverse order. `logging`, imported above, takes a lock in its own
    that a compilation needs; it is registered first so as to run after the hook that waits for the
    end of a compilation.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**hooks)


def guard(owner: Any, attribute: str = "_lock") -> None:
    """Replace a lock of an object in a forked child by an `Abandoned` one, if another thread held
    it.

    Args:
        owner: the object.
        attribute: the attribute that holds the lock.
    """
    _locked[id(owner), attribute] = owner


class Abandoned:
    """The lock of an optimizer that another thread was using when the process was forked."""

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
    for (_, attribute), owner in list(_locked.items()):
        lock = getattr(owner, attribute)
        if not hasattr(lock, "acquire"):
            continue
        if lock.acquire(blocking=False):
            lock.release()
        else:
            setattr(owner, attribute, Abandoned())


register(after_in_child=_after)
