"""What an optimizer asks for: a kernel for a rule over streams of numbers."""

import re
import struct
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

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


_made: dict[tuple[Any, ...], Kernel] = {}
_making = Lock()


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
    key = (rule, streams, target)
    with _making:
        if key not in _made:
            with np.errstate(over="ignore"):  # a literal beyond all numbers of a dtype is infinite
                _made[key] = _make(rule, streams, target)
        return _made[key]


def _make(rule: Rule, streams: tuple[Stream, ...], target: ModuleType) -> Kernel:
    compute = streams[0].storage.compute
    _probe(rule, streams)

    def swap(value: Any) -> Any:
        return target.swap(value, compute)

    memory = target.Memory([stream.name for stream in streams])
    slots = {
        "update": update_of(rule, streams, memory),
        "teams": memory.teams,
        "integer": memory.integer,
    }
    mark = digest(swap, template.kernel, slots, target.RECIPE) if target.RECIPE else "plain"
    name = "_".join([rule.name, *(stream.storage.tag for stream in streams), mark])
    try:
        run = target.compiled(linked(template.kernel, name, mark, target.jit, swap, **slots))
    except Exception as error:
        raise _explained(rule, compute, error) from error
    fields = record_of(rule, compute)
    record = struct.Struct("=" + "".join(fields[name].char for name in fields.names or ()))
    return Kernel(name, streams, record, target, run)


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
    lines = text.partition("\nDuring: ")[0].splitlines()  # the rest is where this library called it
    text = "\n".join(line for line in lines if not line.startswith("Failed in ")).strip()
    hint = "(NUMBA_DISABLE_JIT=1 runs it in plain Python, where a debugger can step through it)"
    reason = re.sub(r"^TypingError: ", "", reasons[0]) if reasons else f"{text}\n{hint}"
    return TypeError(f"rule {rule.name} cannot be compiled for {compute}: {reason}")
