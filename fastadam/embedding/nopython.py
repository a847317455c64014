"""`Optimizer.constants` in code that Numba compiles."""

import hashlib
import math
from typing import Any

from numba import njit, types
from numba.core.errors import TypingError
from numba.core.imputils import lower_constant
from numba.core.typing.templates import builtin_registry
from numba.extending import models, overload_method, register_model

from ..engine.param_groups import values_of
from ..optimizer import Optimizer
from .tracing import Constants, traced

OPTIONS = {"error_model": "numpy"}
_registered: set[type[Optimizer]] = set()
_functions: dict[str, Any] = {}


class OptimizerClass(types.Dummy):  # type: ignore[misc]
    """The Numba type of a class of an optimizer; each class has a subclass of its own."""


@njit(**OPTIONS)
def power(base: float, exponent: float) -> Any:
    """The power of two float64, by the function that Python calls as well."""
    return base**exponent


def function_of(constants: Constants) -> Any:
    """The function of a trace, to be called by compiled code."""
    mark = hashlib.sha256(constants.source.encode()).hexdigest()[:16]
    if mark not in _functions:
        name = f"constants_{mark}"  # Numba tells functions apart by name
        scope: dict[str, Any] = {**vars(math), "power": power, "__name__": __name__}
        text = constants.source.replace("def constants(", f"def {name}(", 1)
        exec(compile(text, __file__, "exec"), scope)
        _functions[mark] = njit(**OPTIONS)(scope[name])
    return _functions[mark]


def register(cls: type[Optimizer]) -> None:
    """Let compiled code call `cls.constants(step=..., **hyper)`."""
    if cls in _registered:
        return
    kind = type(f"{cls.__name__}Class", (OptimizerClass,), {"__module__": __name__})
    register_model(kind)(models.OpaqueModel)
    builtin_registry.register_global(cls, kind(f"class({cls.__module__}.{cls.__qualname__})"))

    @lower_constant(kind)
    def constant(context: Any, builder: Any, typ: Any, value: Any) -> Any:
        return context.get_dummy_value()

    overload_method(kind, "constants", prefer_literal=True)(_typed(cls))
    _registered.add(cls)


def _typed(cls: type[Optimizer]) -> Any:
    """The function with which Numba finds the implementation for argument types."""
    author, defaults = cls.without_arrays(), values_of(cls.without_arrays(), {})
    names = [*defaults]
    parameters = ", ".join(["cls", "step", *(f"{n}={defaults[n]!r}" for n in names)])
    where = f"{cls.__name__}.constants()"

    def chosen(cls_type: Any, step: Any, *kinds: Any) -> Any:
        values = dict(defaults)
        for name, kind in zip(names, kinds, strict=True):
            values[name] = _value(where, name, kind, defaults[name])
        values_of(author, {name: None for name in names if values[name] is None}, where + ": ")
        if all(_is_known(kind) for kind in kinds):
            author.check(values)
        return _implementation(traced(author, values), cls, parameters)

    scope: dict[str, Any] = {"chosen": chosen, "__name__": __name__}
    text = f"def typed({parameters}):\n    return chosen(cls, step, {', '.join(names)})"
    exec(compile(text, __file__, "exec"), scope)
    return scope["typed"]


def _is_known(kind: Any) -> bool:
    """True if the value of an argument is known when a call is compiled."""
    return isinstance(kind, types.Omitted | types.Literal) or not isinstance(kind, types.Type)


def _value(where: str, name: str, kind: Any, default: Any) -> Any:
    """The value of an argument if it is known, or the default in place of one that is not.

    Raises:
        TypingError: for a flag that is not known, or something that is not a number.
    """
    value = kind
    if isinstance(kind, types.Omitted):
        value = kind.value
    elif isinstance(kind, types.Literal):
        value = kind.literal_value
    elif isinstance(kind, types.NoneType):
        value = None
    if value is None:
        return None
    if default is None and (isinstance(kind, types.Number) or type(value) in (int, float)):
        return float(value) if isinstance(value, int | float) else 1.0  # any number
    if isinstance(default, bool | str) or default is None:
        if isinstance(value, type(default)):
            return value
        raise TypingError(f"{where}: {name} must be a constant, such as {default!r}")
    if isinstance(default, tuple):
        if value == default or (isinstance(kind, types.BaseTuple) and len(kind) == len(default)):
            return default
        raise TypingError(f"{where}: {name} must be a tuple of {len(default)} numbers")
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(kind, types.Number):
        raise TypingError(f"{where}: {name} must be a number; it is {kind}")
    return default


def _implementation(constants: Constants, cls: type[Optimizer], parameters: str) -> Any:
    """A function with the parameters of the method; numbers that are carried are recomputed."""
    inner = function_of(constants)
    numbers = [name if k is None else f"{name}[{k}]" for name, k in constants.numbers]
    first = [repr(float(cls.carried[name])) for name in constants.carried]
    given, count = ", ".join(f"float({each})" for each in numbers), len(constants.names)
    lines = [f"def constants({parameters}):"]
    if constants.carried:
        carried = ", ".join(f"carried[{k}]" for k in range(len(first)))
        lines += [
            f"    found = inner(1.0, {given}, {', '.join(first)})",
            "    for t in range(2, int(step) + 1):",
            f"        carried = found[{count}:]",
            f"        found = inner(float(t), {given}, {carried})",
            f"    return found[:{count}]",
        ]
    else:
        lines.append(f"    return inner(float(step), {given})")
    scope: dict[str, Any] = {"inner": inner, "__name__": __name__}
    exec(compile("\n".join(lines), __file__, "exec"), scope)
    return scope["constants"]
