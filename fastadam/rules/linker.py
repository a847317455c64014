"""The linker: copies a function together with all its callees, and computes its digest."""

import builtins
import dis
import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec
from itertools import chain
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from .allowed import check_allowed, codes_of

# Modules whose content is assumed constant; a change in any other could not be detected.
LIBRARIES = {"math", "numpy", "numba", "numba_cuda", "llvmlite"}

Swap = Callable[[Any], Any]


class Shared:
    """Compiled callees that the functions linked with this object share.

    Args:
        recipe: the settings of their compiler, which are part of their names.
        disabled: returns True while the compiler is disabled; no callee is shared then.
    """

    def __init__(self, recipe: Any, disabled: Callable[[], bool]) -> None:
        self.mark = digest(lambda value: value, recipe)
        self.disabled = disabled
        self.compiled: dict[Any, Any] = {}  # by name, module and content


def _references(function: FunctionType) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that a function refers to by name: (globals in use, closure)."""
    code, own, names = function.__code__, function.__globals__, vars(builtins)
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    used = {n: own[n] if n in own else names[n] for n in _globals(code) if n in own or n in names}
    return used, {name: cell.cell_contents for name, cell in cells}


@lru_cache(4096)  # functions made again for another kernel have the same code
def _globals(code: CodeType) -> list[str]:
    """The names of the globals that a code uses."""
    return sorted(
        {
            instruction.argval
            for part in codes_of(code)
            for instruction in dis.get_instructions(part)
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        }
    )


def linked(
    function: Any,
    name: str,
    mark: str,
    jit: Callable[[Any, str], Any],
    swap: Swap,
    shared: Shared | None = None,
    **slots: Any,
) -> Any:
    """Copy `function` under the name `name`, with its Python callees compiled recursively.

    `jit(callee, module)` compiles a callee. The values in `slots` replace globals of these names;
    `swap` replaces any referenced value. Callees in `shared` are not compiled again.
    Every callee's name ends in `mark`, if any, the digest of the whole; that of a shared one ends
    in a digest of its own. Numba finds the functions inside a kernel from its disk cache by name
    and argument types alone: of two callees with the same name and different content, one would
    silently run in place of the other.
    """
    done: dict[FunctionType, Any] = {function: None}  # None while its own callees are collected
    suffix, digests = f"_{mark}" if mark else "", dict[FunctionType, str]()
    sharing = shared and not shared.disabled()

    def ready(value: Any) -> Any:
        value = _unwrapped(swap(value))
        if not isinstance(value, FunctionType):
            return value
        if value not in done:
            done[value] = None
            done[value] = found(value, shared) if sharing else alone(value, suffix)
        if done[value] is None:
            raise TypeError(f"{value.__name__} calls itself, which a rule cannot")
        return done[value]

    def alone(value: FunctionType, suffix: str) -> Any:
        return jit(copied(value, value.__name__ + suffix, {}), value.__module__)

    def found(value: FunctionType, shared: Any) -> Any:
        content = shared.mark + _hash(value, swap, digests)
        key = value.__name__, value.__module__, content
        if key not in shared.compiled:
            shared.compiled[key] = alone(value, f"_{_sixteen(content)}")
        return shared.compiled[key]

    def copied(function: FunctionType, name: str, slots: dict[str, Any]) -> FunctionType:
        used, cells = _references(function)
        scope = function.__globals__ | {n: ready(v) for n, v in (used | slots).items()}
        copy = FunctionType(
            _swapped(function.__code__, swap).replace(co_name=name),
            scope,
            name,
            tuple(map(ready, function.__defaults__ or ())) or None,
            tuple(CellType(ready(value)) for value in cells.values()) or None,
        )
        # A cached kernel imports the module of its functions, and the module in which the rule
        # was defined at compile time may be missing when it is loaded: name this one instead.
        copy.__qualname__, copy.__module__ = name, __name__
        copy.__kwdefaults__ = {n: ready(v) for n, v in (function.__kwdefaults__ or {}).items()}
        return copy

    return copied(function, name, slots)


def _swapped(code: CodeType, swap: Swap) -> CodeType:
    """The code with its constants replaced, including those of nested functions."""
    constants = (_swapped(c, swap) if isinstance(c, CodeType) else swap(c) for c in code.co_consts)
    return code.replace(co_consts=tuple(constants))


def check_paths(function: FunctionType) -> None:
    """Reject functions that could fail inside a kernel, which cannot report errors.

    Raises:
        TypeError: if the function raises an exception, returns nothing on one of its paths, has a
            loop, or refers to a list, dict, set or class, or to a function that is not exact.
    """
    references = dict(chain.from_iterable(each.items() for each in _references(function)))
    check_allowed(function, references)
    for name, value in references.items():
        if isinstance(value, list | dict | set):
            raise TypeError(
                f"{function.__name__} uses {name}, a {type(value).__name__}, which may change; a "
                "kernel compiles constants: use a tuple, or a name for each number"
            )
        if isinstance(value, type) and not _known(value):
            raise TypeError(
                f"{function.__name__} uses the class {name}; a kernel cannot read its attributes: "
                f"define the number at module level, such as BETA = {name}.beta"
            )
    for code in codes_of(function.__code__):
        if any(each.opname == "RAISE_VARARGS" for each in dis.get_instructions(code)):
            raise TypeError(
                f"{function.__name__} raises an exception or asserts, which a rule cannot; "
                "return NaN instead"
            )
        if {*_returns(code)} == {True, False}:
            raise TypeError(
                f"{function.__name__} returns nothing on one of its paths; add a return"
            )


def _known(kind: type) -> bool:
    """True if a kernel may use a type: a type of numbers, or a named tuple."""
    root = kind.__module__.split(".")[0]
    return root in LIBRARIES | {"builtins"} or hasattr(kind, "_fields")


def _returns(code: CodeType) -> Iterator[bool]:
    """For each return statement, True if it returns a value."""
    last = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RETURN_CONST":
            yield instruction.argval is not None
        elif instruction.opname == "RETURN_VALUE":
            yield last is None or last.opname != "LOAD_CONST" or last.argval is not None
        last = instruction


def digest(swap: Swap, *values: Any) -> str:
    """Sixteen hexadecimal digits of everything reachable from `values`."""
    seen = dict[FunctionType, int]()

    def function(value: FunctionType, content: Callable[[], str]) -> str:
        if value in seen:
            return f"function {seen[value]}"
        seen[value] = len(seen)
        return content()

    return _sixteen(_described(values, swap, function))


def _hash(value: Any, swap: Swap, known: dict[FunctionType, str]) -> str:
    """A digest of a value, from those of the functions that it refers to, which are `known`."""

    def function(value: FunctionType, content: Callable[[], str]) -> str:
        if value not in known:
            known[value] = "itself"
            known[value] = _sixteen(f"{value.__code__.co_varnames}{content()}")
        return known[value]

    return _described(value, swap, function)


def _sixteen(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recipe(module: ModuleSpec | None) -> CodeType | None:
    """The code of a module, as part of the digest of the functions that it makes.

    It is available without source files too: in a zip file, or with `.pyc` files only.
    """
    assert module
    loader: Any = module.loader
    code: CodeType | None = loader.get_code(module.name)
    return code


def _unwrapped(value: Any) -> Any:
    """The plain function inside a Numba dispatcher, to be compiled again under its own name."""
    return getattr(value, "py_func", value)


def _described(
    value: Any, swap: Swap, function: Callable[[FunctionType, Callable[[], str]], str]
) -> str:
    """Everything reachable from a value, as text.

    Args:
        function: `function(value, content)` describes a function, of which `content()` describes
            the code and all that it refers to.
    """

    def describe(value: Any) -> str:
        return _described(value, swap, function)

    value = _unwrapped(swap(value))
    if isinstance(value, FunctionType):
        defaults = (value.__defaults__, value.__kwdefaults__)
        return function(value, lambda: describe((value.__code__, defaults, *_references(value))))
    if isinstance(value, CodeType):
        return repr((value.co_code, value.co_names)) + describe(value.co_consts)
    if isinstance(value, dict):
        return describe(list(value.items()))
    if isinstance(value, tuple | list):
        return f"({','.join(describe(item) for item in value)})"
    if isinstance(value, ModuleType) and value.__name__.split(".")[0] in LIBRARIES:
        return value.__name__
    if isinstance(value, type | BuiltinFunctionType):
        fields = getattr(value, "_fields", "")  # of a named tuple
        return f"{value.__module__}.{value.__name__}{fields}"
    if isinstance(value, np.generic | np.dtype | int | float | str | bytes | None | type(...)):
        return f"{type(value).__name__}{value!r}"
    if isinstance(value, np.ndarray):  # a table of constants
        return f"{value.dtype}{value.shape}{value.tobytes()!r}"
    if hasattr(value, "_defn"):  # an intrinsic
        return describe(value._defn)
    if type(value).__module__.split(".")[0] in LIBRARIES:  # a type of Numba or LLVM
        return f"{type(value).__name__} {value!r}"
    raise TypeError(
        f"a kernel cannot be made from {value!r}: a rule may refer to functions and numbers of its "
        "own module and to math; import what it needs from elsewhere by name"
    )
