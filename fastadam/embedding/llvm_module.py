"""LLVM modules of functions that Numba compiles, before any optimization."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any, ClassVar

from numba import njit
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock

from ..kernels import mistakes
from ..kernels.cpu import target
from ..kernels.factory import assembled
from . import power
from .arguments import Embedded
from .tracing import Constants

UNWRAPPED = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **target.OPTIONS}
ROOTS = (("@sqrtf(", "@llvm.sqrt.f32("), ("@sqrt(", "@llvm.sqrt.f64("))
# Intrinsics with the same results on every target; any other function is one of a library.
EXACT = re.compile(
    r"llvm\.(sqrt|fabs|copysign|[su](min|max)|abs|ct\w+|fsh\w|lifetime|assume|mem(set|cpy)|"
    r"experimental\.noalias|floor|ceil|trunc|prefetch)\b"
)


@contextmanager
def _unoptimized() -> Iterator[None]:
    """Disable Numba's optimization, which is for its host; a later compiler optimizes."""
    names = {"OPT": 0, "LOOP_VECTORIZE": 0, "SLP_VECTORIZE": 0}
    before = {name: getattr(config, name) for name in names}
    try:
        for name, value in names.items():
            setattr(config, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


class Compiled:
    """A compiled function: the text of its module, and its name there."""

    def __init__(self, function: Any, signature: str) -> None:
        with global_compiler_lock, _unoptimized():
            dispatcher = njit(signature, **UNWRAPPED)(function)
            (found,) = dispatcher.overloads.values()
            text = found.library.get_llvm_str()
        self.name = found.fndesc.mangled_name
        for old, new in ROOTS:
            text = text.replace(old, new)
        self.text = text

    @property
    def foreign(self) -> list[str]:
        """Functions that the module calls and whose results depend on the target."""
        called = re.findall(r"call [^@\n]*@\"?([\w.$]+)\"?\(", self.text)
        defined = {*re.findall(r"^define [^@\n]*@\"?([\w.$]+)\"?\(", self.text, re.M)}
        others = {n for n in called if n not in defined and not EXACT.match(n)}
        return sorted(re.sub(r"^llvm\.|\.f\d+$", "", name) for name in others)


def span(table: int, chunks: int, records: int) -> None:
    """The update of one chunk; the functions that it calls are set by the linker."""
    update(table, chunks, records, 0)  # type: ignore[name-defined]  # noqa: F821


class Spans:
    """Updates of steps, `void(table, chunks, records)`, by names that have a digest.

    Each is compiled once, on first use; one module serves all targets and callers.
    """

    _functions: ClassVar[dict[str, Any]] = {}
    _compiled: ClassVar[dict[str, Compiled]] = {}

    @classmethod
    def named(cls, step: Embedded) -> str:
        """The name of the update of a step."""
        name, function = assembled(span, step.staged, step.streams, target)
        cls._functions[name] = function
        return name

    @classmethod
    def compiled(cls, name: str) -> Compiled:
        """The update of a name.

        Raises:
            NumbaError: for a rule that cannot be compiled.
        """
        if name not in cls._compiled:
            cls._compiled[name] = Compiled(cls._functions[name], "void(int64, int64, int64)")
        return cls._compiled[name]


def compiled_step(step: Embedded) -> Compiled:
    """The update of a step, `void(table, chunks, records)`.

    Raises:
        TypeError: for a rule that cannot be compiled.
        ValueError: for one that calls a function whose results depend on the target.
    """
    try:
        made = Spans.compiled(Spans.named(step))
    except target.REFUSALS as error:
        raise mistakes.in_compiling(step.rule, step.compute, error) from error
    if made.foreign:
        names = ", ".join(made.foreign)
        raise ValueError(
            f"rule {step.rule.name} calls {names}, whose result differs from target to target; an "
            "exported rule may use + - * /, comparisons, abs, min, max and math.sqrt"
        )
    return made


def compiled_constants(constants: Constants, where: str) -> Compiled:
    """The function of a trace, with powers that are the same on every target.

    Raises:
        ValueError: if it calls a function whose results depend on the target.
    """
    made = _constants(constants.source, 1 + len(constants.numbers) + len(constants.carried))
    if made.foreign:
        names = ", ".join(made.foreign)
        raise ValueError(
            f"{where}.hyper() calls {names}, whose result differs from target to target; an "
            "exported one may use + - * / **, comparisons and math.sqrt"
        )
    return made


@cache
def _constants(source: str, count: int) -> Compiled:
    """The compiled function of a source with `count` arguments."""
    scope: dict[str, Any] = {**vars(math), "power": _power(), "__name__": __name__}
    exec(compile(source, __file__, "exec"), scope)
    return Compiled(scope["constants"], f"({', '.join(['float64'] * count)},)")


@cache
def _power() -> Any:
    """`power.power`, with its callees compiled."""
    scope = dict(vars(power))
    for name, value in vars(power).items():
        if isinstance(value, FunctionType):
            copy = FunctionType(value.__code__, scope, name)
            scope[name] = njit(**UNWRAPPED)(copy)
    return scope["power"]
