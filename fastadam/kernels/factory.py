"""The kernel factory: compiles, or returns from its cache, the kernel of a rule over streams.

The cache belongs to the process, as do its locks, which are held while the process forks.
"""

import gc
import struct
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..rules import Rule
from ..rules.linker import digest, linked
from . import forks, loops, mistakes
from .compose import update_of
from .imports import whole
from .row_list import RowList
from .stream import Stream, record_of
from .target import HostTarget, Target

if TYPE_CHECKING:  # every target fulfils the protocol
    from . import plain_python
    from .cpu import target as compiled

    HOST_TARGETS: tuple[HostTarget, ...] = (plain_python, compiled)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled kernel, with the streams and the record of constants that it takes.

    Attributes:
        name: the rule, the storages and the digest.
        rule: the rule.
        streams: the streams of the kernel, in the order of a table row.
        record: the packed constants of one step.
        target: the module that compiled it.
        run: runs one task, given by its address.
    """

    name: str
    rule: Rule
    streams: tuple[Stream, ...]
    record: struct.Struct
    target: Target
    run: Callable[[int], None]


_made: dict[Any, Kernel] = {}  # by the content of rules; LLVM never frees compiled code
_marks: MutableMapping[Rule, dict[str, str]] = WeakKeyDictionary()
_making = RLock()
THRESHOLD = 20_000  # new objects between two collections of garbage, instead of some hundreds
_halted: list[Any] = []  # the lock of Numba's compiler, while held for a fork


def _halt() -> None:
    """Block compilation in all threads during a fork: a child would inherit locks held forever."""
    _making.acquire()
    lock = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    if lock:
        lock.acquire()
        _halted.append(lock)


def _resume() -> None:
    while _halted:
        _halted.pop().release()
    _making.release()


forks.register(before=_halt, after_in_parent=_resume, after_in_child=_resume)


def default_target() -> HostTarget:
    """The target on the host: compiled code, or plain Python under `NUMBA_DISABLE_JIT=1`."""
    disabled = whole("numba").config.DISABLE_JIT
    found: Any = whole(f"{__package__}.{'plain_python' if disabled else 'cpu.target'}")
    host: HostTarget = found
    return host


def kernel(
    rule: Rule,
    streams: tuple[Stream, ...],
    target: Target | None = None,
    scattered: bool = False,
    terms: tuple[Stream, ...] = (),
    listed: RowList | None = None,
) -> Kernel:
    """The kernel of a rule over its streams (param, grad, then its states in order).

    Args:
        rule: the rule.
        streams: its streams.
        target: where it runs; the host if None.
        scattered: whether it is for chunks that are far from each other.
        terms: the streams of the terms of its sums over rows, if it has any.
        listed: its form, if it is for listed rows.

    Raises:
        TypeError: if the rule does not return what it declares, or cannot be compiled.
    """
    target = target or default_target()
    with _making:
        with np.errstate(over="ignore"):  # a literal out of range of the dtype becomes infinite
            mark = _mark(rule, streams)
            if terms and rule.prepare:
                mark += _mark(rule.prepare, terms)
            key = rule.name, rule.state, rule.hyper, mark, streams, target, scattered, terms, listed
            if key not in _made:
                _made[key] = _make(rule, streams, target, scattered, terms, listed)
        return _made[key]


def _mark(rule: Rule, streams: Sequence[Stream]) -> str:
    """The digest of a rule in the arithmetic of its streams.

    It is equal for a rule that is defined again, as in a notebook cell.
    """
    marks, compute = _marks.setdefault(rule, {}), streams[0].storage.compute
    if compute not in marks:
        marks[compute] = digest(partial(_swapped, compute), rule.snapshot)
    return marks[compute]


def _swapped(compute: str, value: Any) -> Any:
    return np.dtype(compute).type(value) if type(value) is float else value


def _make(
    rule: Rule,
    streams: tuple[Stream, ...],
    target: Target,
    scattered: bool,
    terms: tuple[Stream, ...] = (),
    listed: RowList | None = None,
) -> Kernel:
    compute = streams[0].storage.compute
    name, function = assembled(loops.kernel, rule, streams, target, scattered, terms, listed)
    try:
        with _few_collections():
            run = target.compiled(function)
    except target.REFUSALS as error:
        raise mistakes.in_compiling(rule, compute, error) from error
    fields = record_of(rule, compute)
    record = struct.Struct("=" + "".join(fields[name].char for name in fields.names or ()))
    return Kernel(name, rule, streams, record, target, run)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Collect garbage less often during a compilation, a tenth of whose time it takes."""
    before = gc.get_threshold()
    if not 0 < before[0] < THRESHOLD:
        yield
        return
    gc.set_threshold(THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def assembled(
    template: Any,
    rule: Rule,
    streams: tuple[Stream, ...],
    target: Target,
    scattered: bool = False,
    terms: tuple[Stream, ...] = (),
    listed: RowList | None = None,
    **more: Any,
) -> tuple[str, Any]:
    """The name of a kernel, and a copy of `template` linked with the pieces of its loop.

    Args:
        template: a function that calls `update`.
        scattered, terms, listed: as for `kernel`.
        more: values of further globals of the template.

    Raises:
        TypeError: if the rule does not return what it declares.
    """
    compute = streams[0].storage.compute
    _probe(rule, streams)

    def swap(value: Any) -> Any:
        return target.swap(value, compute)

    memory = target.Memory([stream.name for stream in streams])
    slots = {
        "update": update_of(rule, streams, memory, scattered, terms, listed),
        "teams": memory.teams,
        "enter": memory.enter,
        "leave": memory.leave,
        "integer": memory.integer,
        **more,
    }
    mark = digest(swap, template, slots, target.RECIPE) if target.RECIPE else "plain"
    name = "_".join([rule.name, *(stream.storage.tag for stream in streams), mark])
    return name, linked(template, name, mark, target.jit, swap, target.SHARED, **slots)


def _probe(rule: Rule, streams: Sequence[Stream]) -> None:
    """Evaluate a rule once in plain Python, to report mistakes better than a compiler does."""
    one, grad, *states = (np.dtype(stream.storage.compute).type(1) for stream in streams)
    h = namedtuple("h", rule.hyper)(*[one for _ in rule.hyper])
    try:
        result = rule(one, grad, tuple(states), h)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise mistakes.in_plain_python(rule, error, h) from error
    try:
        _, state = result
        count = len(state)
    except TypeError:
        raise TypeError(
            f"rule {rule.name} returns {result!r}; it must return (param, state), "
            "with state a tuple, even of one element"
        ) from None
    if not isinstance(state, tuple) or count != len(rule.state):
        raise TypeError(
            f"rule {rule.name} returns {state!r} as state; it must return {len(rule.state)} "
            f"values, for the names {rule.state!r}"
        )
