"""What an optimizer asks for: a kernel for a rule over streams of numbers."""

import re
import struct
import sys
from collections import namedtuple
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from threading import RLock
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from .. import forks
from ..rules import Rule
from . import template
from .compose import Stream, record_of, update_of
from .link import digest, linked


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled kernel, and what it expects in memory."""

    name: str
    streams: tuple[Stream, ...]
    record: struct.Struct
    target: ModuleType
    run: Callable[[int], None]


_made: MutableMapping[Rule, dict[Any, Kernel]] = WeakKeyDictionary()
_alike: WeakValueDictionary[Any, Kernel] = WeakValueDictionary()  # those of equal rules are shared
_making = RLock()
_halted: list[Any] = []  # the lock of Numba's compiler, where a fork has waited for it


def _halt() -> None:
    """Let no thread compile while the process is forked: a child would wait for it forever."""
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


def default_target() -> ModuleType:
    """Compiled code, or plain Python under `NUMBA_DISABLE_JIT=1`."""
    import numba

    if numba.config.DISABLE_JIT:
        from . import python

        return python
    from . import cpu

    return cpu


def kernel(rule: Rule, streams: tuple[Stream, ...], target: ModuleType | None = None) -> Kernel:
    """The kernel of a rule over its streams (param, grad, then its states in order).

    Raises:
        TypeError: if the rule does not return what it declares, or cannot be compiled.
    """
    target = target or default_target()
    with _making:
        made, key = _made.setdefault(rule, {}), (streams, target)
        if key not in made:
            with np.errstate(over="ignore"):  # a literal beyond all numbers of a dtype is infinite
                made[key] = _make(rule, streams, target)
        return made[key]


def _make(rule: Rule, streams: tuple[Stream, ...], target: ModuleType) -> Kernel:
    compute = streams[0].storage.compute
    _probe(rule, streams)

    def swap(value: Any) -> Any:
        return target.swap(value, compute)

    memory = _memory(target, tuple(stream.name for stream in streams))
    slots = {
        "update": update_of(rule, streams, memory),
        "teams": memory.teams,
        "enter": memory.enter,
        "leave": memory.leave,
        "integer": memory.integer,
    }
    mark = digest(swap, template.kernel, slots, target.RECIPE) if target.RECIPE else "plain"
    name = "_".join([rule.name, *(stream.storage.tag for stream in streams), mark])
    key = (name, streams, target) if target.RECIPE else object()
    if known := _alike.get(key):
        return known
    try:
        run = target.compiled(linked(template.kernel, name, mark, target.jit, swap, **slots))
    except Exception as error:
        raise _explained(rule, compute, error) from error
    fields = record_of(rule, compute)
    record = struct.Struct("=" + "".join(fields[name].char for name in fields.names or ()))
    made = _alike[key] = Kernel(name, streams, record, target, run)
    return made


@cache
def _memory(target: ModuleType, names: tuple[str, ...]) -> Any:
    """Access to streams of these names; Numba never forgets what it is made from."""
    return target.Memory(names)


def _probe(rule: Rule, streams: Sequence[Stream]) -> None:
    """Evaluate a rule once, for mistakes that a compiler would explain badly or not see."""
    one, grad, *states = (np.dtype(stream.storage.compute).type(1) for stream in streams)
    h = namedtuple("h", rule.hyper)(*[one for _ in rule.hyper])
    result = rule(one, grad, tuple(states), h)
    try:
        _, state = result
        count = len(state)
    except TypeError:
        raise TypeError(
            f"rule {rule.name} returns {result!r}; it must return (param, state), "
            "state a tuple even of one"
        ) from None
    if not isinstance(state, tuple) or count != len(rule.state):
        raise TypeError(
            f"rule {rule.name} returns {state!r} as state; it declares the {len(rule.state)} "
            f"names {rule.state!r}"
        )


def _explained(rule: Rule, compute: str, error: Exception) -> Exception:
    """The reason in a compiler's long message, for those who wrote the rule."""
    from numba.core.errors import NumbaError

    if not isinstance(error, NumbaError):
        return error
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    reasons = [line.strip() for line in text.splitlines() if " is kept as " in line]
    hint = "(NUMBA_DISABLE_JIT=1 runs it in plain Python, where a debugger can step through it)"
    reason = re.sub(r"^TypingError: ", "", reasons[0]) if reasons else f"{text}\n{hint}"
    return TypeError(f"rule {rule.name} cannot be compiled for {compute}: {reason}")
