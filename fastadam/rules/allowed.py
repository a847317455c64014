"""The functions and statements that a rule may use: those with the same bits wherever it runs."""

import builtins
import dis
import math
import operator
from bisect import bisect
from collections.abc import Iterator, Mapping
from pathlib import PurePath
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
REFUSED_BUILTINS = (print, input, open, pow, round)
POWERS = (operator.pow, operator.ipow)
BY_NAME = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
OF_A_VALUE = ("LOAD_ATTR", "LOAD_METHOD")


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, and of all functions defined inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def check_allowed(function: FunctionType, used: Mapping[str, Any]) -> None:
    """Refuse loops, powers, and functions whose results depend on a library or a device.

    Args:
        function: a rule, or a helper function of one; functions defined inside are checked, too.
        used: the values that it refers to by name.

    Raises:
        TypeError: naming what it uses and its line, and what to write instead.
    """
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        _check_value(function, getattr(value, "__name__", ""), value, _place(function.__code__))
    for code in codes_of(function.__code__):
        for name, value, place in _values(code, used):
            _check_value(function, name, value, place)
        _check_statements(function, code)


def _values(code: CodeType, used: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """The values that a function refers to, attributes of modules among them: name, value, place.

    A module is yielded only where it is used otherwise than for an attribute.
    """
    name, value = "", None
    for each in dis.get_instructions(code):
        if each.opname in OF_A_VALUE and isinstance(value, ModuleType):
            name, value = f"{value.__name__}.{each.argval}", getattr(value, each.argval, None)
        else:
            if isinstance(value, ModuleType):
                yield name, value, _place(code, each.offset - 2)
            name, value = "", None
            if each.opname in BY_NAME and each.argval in used:
                name, value = each.argval, used[each.argval]
        if value is not None and not isinstance(value, ModuleType):
            yield name, value, _place(code, each.offset)


def _check_value(function: FunctionType, name: str, value: Any, place: str) -> None:
    """Refuse a value that is a function without the same bits everywhere, or a module itself."""
    if isinstance(value, tuple):
        for item in value:
            _check_value(function, name, item, place)
    elif isinstance(value, ModuleType):
        raise TypeError(
            f"{function.__name__} uses the module {name} as a value{place}; write its functions as "
            f"attributes, such as {name}.sqrt"
        )
    elif any(value is each for each in REFUSED_BUILTINS):
        raise TypeError(f"{function.__name__} calls {name}, which a rule cannot{place}; {HINT}")
    elif _is_inexact(value):
        _refuse(function, name, place)
    elif _is_of_numpy(value):
        raise TypeError(
            f"{function.__name__} uses {name}, which a rule cannot{place}; {HINT}; of NumPy, exact "
            "functions of single numbers, such as np.copysign"
        )


def _check_statements(function: FunctionType, code: CodeType) -> None:
    """Refuse imports, loops and powers."""
    last: Any = None
    for each in dis.get_instructions(code):
        place = _place(code, each.offset)
        if each.opname == "IMPORT_NAME":
            raise TypeError(
                f"{function.__name__} imports {each.argval}, which a rule cannot{place}; import it "
                "at module level"
            )
        backward = each.opcode in {*dis.hasjrel, *dis.hasjabs} and each.argval <= each.offset
        if backward or each.opname == "FOR_ITER":
            raise TypeError(
                f"{function.__name__} has a loop, which a rule cannot{place}: it is the update of "
                "one element; write each of its few steps"
            )
        power = each.opname == "BINARY_POWER" or each.argrepr in ("**", "**=")
        if power and not (last.opname == "LOAD_CONST" and last.argval == 2):
            way = "multiply instead, or let hyper() return the power of a number"
            _refuse(function, "**", place, way)
        last = each


def _is_inexact(value: Any) -> bool:
    """True for compiled functions that are not among the exact ones."""
    if isinstance(value, np.ufunc):
        return value.__name__ not in EXACT
    if not isinstance(value, BuiltinFunctionType) or vars(builtins).get(value.__name__) is value:
        return False
    if value.__module__ == operator.add.__module__:
        return any(value is power for power in POWERS)
    return value.__module__ != math.__name__ or value.__name__ not in EXACT


def _is_of_numpy(value: Any) -> bool:
    """True for functions of NumPy other than those that it applies to each element."""
    if not callable(value) or isinstance(value, type | np.ufunc):
        return False
    return str(getattr(value, "__module__", "")).partition(".")[0] == "numpy"


def _place(code: CodeType, offset: int = 0) -> str:
    """The line of an instruction, for messages."""
    lines = [(start, line) for start, _, line in code.co_lines() if line]
    found = bisect([start for start, _ in lines], offset) - 1
    line = lines[found][1] if found >= 0 else code.co_firstlineno
    return f" (line {line} of {PurePath(code.co_filename).name})"


def _refuse(function: FunctionType, name: str, place: str, way: str = "") -> None:
    raise TypeError(
        f"{function.__name__} uses {name}, whose last digits depend on the library and the device"
        f"{place}; a rule has the same bits everywhere: " + (way or HINT)
    )
