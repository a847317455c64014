"""The functions and statements that a rule may use: those with the same bits wherever it runs."""

import builtins
import dis
import math
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

# Exact, or correctly rounded by IEEE 754; the results of all others depend on a library.
EXACT = {
    *("abs", "absolute", "ceil", "copysign", "fabs", "floor", "fmax", "fmin", "isfinite", "isinf"),
    *("isnan", "maximum", "minimum", "negative", "rint", "sign", "signbit", "sqrt", "square"),
    *("trunc",),
}
HINT = "use + - * /, comparisons, abs, min, max and math.sqrt"
REFUSED_BUILTINS = {"print": print, "input": input, "open": open, "pow": pow, "round": round}


def check_allowed(function: FunctionType, used: Mapping[str, Any]) -> None:
    """Refuse loops, powers, and functions whose results depend on a library or a device.

    Args:
        function: a rule, or a helper function of one.
        used: the values that it refers to by name.

    Raises:
        TypeError: naming what it uses, and what to write instead.
    """
    for name, value in used.items():
        if name in REFUSED_BUILTINS and value is REFUSED_BUILTINS[name]:
            raise TypeError(f"{function.__name__} calls {name}, which a rule cannot; {HINT}")
        if _is_inexact(value):
            _refuse(function, name)
    for module, name in _attributes(function.__code__, used):
        if _is_inexact(getattr(module, name, None)):
            _refuse(function, f"{module.__name__}.{name}")
    _check_statements(function, function.__code__)


def _check_statements(function: FunctionType, code: CodeType) -> None:
    """Refuse loops and powers."""
    last: Any = None
    for each in dis.get_instructions(code):
        backward = each.opcode in {*dis.hasjrel, *dis.hasjabs} and each.argval <= each.offset
        if backward or each.opname == "FOR_ITER":
            raise TypeError(
                f"{function.__name__} has a loop, which a rule cannot: it is the update of one "
                "element; write each of its few steps"
            )
        power = each.opname == "BINARY_POWER" or each.argrepr in ("**", "**=")
        if power and not (last.opname == "LOAD_CONST" and last.argval == 2):
            _refuse(function, "**", "multiply instead, or let hyper() return the power of a number")
        last = each


def _attributes(code: CodeType, used: Mapping[str, Any]) -> Iterator[tuple[ModuleType, str]]:
    """The attributes of modules that a function uses."""
    last: Any = None
    for each in dis.get_instructions(code):
        if each.opname in ("LOAD_ATTR", "LOAD_METHOD") and last is not None:
            module = used.get(last.argval) if isinstance(last.argval, str) else None
            if isinstance(module, ModuleType):
                yield module, each.argval
        last = each


def _is_inexact(value: Any) -> bool:
    """True for functions of math and NumPy that are not among the exact ones."""
    if isinstance(value, np.ufunc):
        return value.__name__ not in EXACT
    if not isinstance(value, BuiltinFunctionType) or vars(builtins).get(value.__name__) is value:
        return False
    return value.__module__ == math.__name__ and value.__name__ not in EXACT


def _refuse(function: FunctionType, name: str, way: str = "") -> None:
    raise TypeError(
        f"{function.__name__} uses {name}, whose last digits depend on the library and the device; "
        "a rule has the same bits everywhere: " + (way or HINT)
    )
