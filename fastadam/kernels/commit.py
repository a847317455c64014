"""Atomic changes: sequences of operations that no exception can interrupt.

Python handles signals, and so raises KeyboardInterrupt or calls the user's handlers, between two
byte codes only. A sequence of operations that are all implemented in C, run by one call, contains
no byte code: a signal that arrives meanwhile is handled before the first or after the last of them.
"""

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count, repeat
from typing import Any

Operation = Callable[[], Any]
Write = Callable[[Any, Any], Operation]  # such as `write` below
call = getattr(operator, "call", operator.methodcaller("__call__"))  # Python 3.10 has no call


def commit(operations: Iterable[Operation]) -> None:
    """Run operations in order, without Python byte code in between.

    Args:
        operations: functions implemented in C, such as partials of C functions and of built-in
            methods, which cannot fail; what they return is ignored.
    """
    deque(map(call, operations), 0)


def put(target: Any, **attributes: Any) -> list[Operation]:
    """The operations that set attributes of an object."""
    return [partial(object.__setattr__, target, *item) for item in attributes.items()]


def write(array: Any, values: Any) -> Operation:
    """The operation that writes to all elements of an array."""
    return partial(array.__setitem__, ..., values)


def called(function: Callable[[Any], Any], argument: Any) -> Operation:
    """The operation that calls a C function and ignores its result; it can be run once."""
    return each_once(function, [argument])


def each_once(function: Callable[[Any], Any], arguments: Iterable[Any]) -> Operation:
    """The operation that calls a C function with each of some arguments and ignores its results; if
    it is run again, with those that are left."""
    return partial(deque[Any](maxlen=0).extend, map(function, arguments))


def added(results: list[Any], function: Callable[[Any], Any], argument: Any) -> Operation:
    """The operation that calls a C function and appends its result to a list; it can be run
    once."""
    return partial(results.extend, map(function, [argument]))


def counter(target: Any, attribute: str) -> Iterator[Any]:
    """An iterator whose every `next` is an operation that adds one to an attribute, which nothing
    else may set meanwhile; the class of the object has no `__setattr__` of its own."""
    return map(setattr, repeat(target), repeat(attribute), count(getattr(target, attribute) + 1))


def repeated(operations: Iterable[Operation], last: Iterator[Any]) -> Iterator[Any]:
    """An iterator whose every `next` commits the same operations and the next item of `last`, in
    half the time of `commit`."""
    return zip(*map(_endless, operations), last, strict=False)


def _endless(operation: Operation) -> Iterator[Any]:
    """An iterator whose every `next` runs an operation."""
    if isinstance(operation, partial) and operation.args and not operation.keywords:
        return map(operation.func, *map(repeat, operation.args))
    return map(call, repeat(operation))


def updated(mapping: dict[Any, Any], values: Mapping[Any, Any]) -> Operation:
    """The operation that updates a dict, ignoring methods of a subclass."""
    return partial(dict.update, mapping, values)
