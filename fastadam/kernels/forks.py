"""Forks: a child has one thread, and locks that other threads held stay locked in it."""

import os
from collections.abc import Callable
from typing import Any, NoReturn
from weakref import WeakValueDictionary

happened = False  # whether this process is a forked child

_locked: WeakValueDictionary[tuple[int, str], Any] = WeakValueDictionary()


def register(**hooks: Callable[[], Any]) -> None:
    """`os.register_at_fork`, where there are forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**hooks)


def watch(owner: Any, attribute: str = "_lock") -> None:
    """Let a forked child know if another thread held the lock in an attribute of an object, which
    nobody will release."""
    _locked[id(owner), attribute] = owner


class Abandoned:
    """The lock of an optimizer that another thread was stepping when the process was forked."""

    def __enter__(self) -> NoReturn:
        raise RuntimeError(
            "the process was forked while another thread was in a step of this optimizer: in this "
            "child its parameters and state may be half updated; make a new optimizer from a "
            "checkpoint, or fork between steps"
        )

    def __exit__(self, *_: object) -> None:
        """Nothing was taken."""


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
