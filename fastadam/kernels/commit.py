"""Atomic changes: sequences of operations that no exception can interrupt.

Python handles signals, and so raises KeyboardInterrupt or calls the user's handlers, between two
byte codes only. A sequence of operations that are all implemented in C, run by one call, contains
no byte code: a signal that arrives meanwhile is handled before the first or after the last of them.
"""

import operator
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from typing import Any

Operation = Callable[[], Any]
Write = Callable[[Any, Any], Operation]  # such as `write` below
call = getattr(operator, "call", operator.methodcaller("__call__"))  # Python 3.10 has no call


def commit(operations: Iterable[Operation]) -> None:
    """Run operations in order, without Python byte code in between.

    Args:
        operations: functions implemented in C, such as partials of C functions and of built-in
            methods, which cannot fail and return None.
    """
    any(map(call, operations))


def put(target: Any, **attributes: Any) -> list[Operation]:
    """The operations that set attributes of an object."""
    return [partial(object.__setattr__, target, *item) for item in attributes.items()]


def write(array: Any, values: Any) -> Operation:
    """The operation that writes to all elements of an array."""
    return partial(array.__setitem__, ..., values)


def called(function: Callable[[Any], Any], argument: Any) -> Operation:
    """The operation that calls a C function and ignores its result; it can be run once."""
    return partial(deque[Any](maxlen=0).extend, map(function, [argument]))


def counter(target: Any, attribute: str) -> Operation:
    """The operation that adds one to an attribute, which nothing else may set meanwhile."""
    first = getattr(target, attribute) + 1
    return map(partial(object.__setattr__, target, attribute), count(first)).__next__


def updated(mapping: dict[Any, Any], values: Mapping[Any, Any]) -> Operation:
    """The operation that updates a dict, ignoring methods of a subclass."""
    return partial(dict.update, mapping, values)
