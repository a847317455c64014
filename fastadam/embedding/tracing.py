"""Tracing: the constants of a step as a flat function of numbers, from `hyper` and `carry`.

`hyper` is called with symbols in place of numbers. Arithmetic on symbols is recorded; at a
comparison, both outcomes are followed. What does not depend on a symbol, such as a flag, is
evaluated by Python.
"""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple

from ..engine.hyperparameters import ReadOnly
from ..optimizer import Optimizer
from ..rules.algorithm import Algorithm, Values
from ..rules.linker import linked

FUNCTIONS = ("sqrt", "exp", "log", "log1p", "expm1", "sin", "cos", "tan", "tanh", "floor", "ceil")
BRANCHES = 64  # more than any optimizer has; a loop over a symbol would not end
STEP = "step"


class Symbol:
    """A number that is known when the function is called; see `Trace`."""

    def __init__(self, trace: "Trace", name: str, text: str, parts: tuple["Symbol", ...]) -> None:
        self.trace, self.name, self.text, self.parts = trace, name, text, parts

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return self.trace.decided(self)

    def __float__(self) -> float:
        raise TypeError("a number that is known at run time only is converted or passed to C")

    __int__ = __index__ = __complex__ = __float__

    def __neg__(self) -> "Symbol":
        return self.trace.recorded("-{}", self)

    def __pos__(self) -> "Symbol":
        return self

    def __abs__(self) -> "Symbol":
        return self.trace.recorded("abs({})", self)


def _operator(form: str, swapped: bool = False) -> Callable[..., Any]:
    def apply(self: Symbol, other: Any) -> Any:
        parts = (other, self) if swapped else (self, other)
        return self.trace.recorded(form, *parts)

    return apply


for _name, _form in {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "truediv": "{} / {}",
    "floordiv": "{} // {}",
    "mod": "{} % {}",
    "pow": "power({}, {})",
}.items():
    setattr(Symbol, f"__{_name}__", _operator(_form))
    setattr(Symbol, f"__r{_name}__", _operator(_form, swapped=True))
for _name, _form in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Symbol, f"__{_name}__", _operator(f"{{}} {_form} {{}}"))


class Trace:
    """A record of arithmetic on symbols, by one run for each combination of outcomes."""

    def __init__(self) -> None:
        self._known: dict[str, Symbol] = {}
        self._planned: list[bool] = []
        self._taken: list[tuple[Symbol, bool]] = []

    def symbol(self, name: str) -> Symbol:
        """An argument of the function."""
        return self._known.setdefault(name, Symbol(self, name, name, ()))

    def recorded(self, form: str, *values: Any) -> Symbol:
        """The result of an operation on symbols and numbers."""
        parts = [value if isinstance(value, Symbol) else self._constant(value) for value in values]
        text = form.format(*(part.name for part in parts))
        if text not in self._known:
            self._known[text] = Symbol(self, f"_{len(self._known)}", text, tuple(parts))
        return self._known[text]

    def _constant(self, value: Any) -> Symbol:
        if not isinstance(value, int | float):
            raise TypeError(f"arithmetic with {value!r}, which is not a number")
        number = float(value)
        name = repr(number) if math.isfinite(number) else f"float('{number}')"
        return Symbol(self, f"({name})", name, ())

    def decided(self, condition: Symbol) -> bool:
        """The outcome of a condition in this run."""
        for known, outcome in self._taken:
            if known is condition:
                return outcome
        place = len(self._taken)
        if place >= BRANCHES:
            raise TypeError("a loop that depends on a number known at run time only")
        outcome = self._planned[place] if place < len(self._planned) else True
        self._taken.append((condition, outcome))
        return outcome

    def runs(
        self, function: Callable[[], Sequence[Any]], count: int
    ) -> Iterator[tuple[Any, list[Symbol]]]:
        """The decisions of each run of a function, and the `count` numbers that it returned (NaN if
        it raised a ValueError).

        Raises:
            ValueError: if it refuses all.
        """
        self._planned, refused, good = [], None, False
        while True:
            self._taken = []
            try:
                values, good = function(), True
            except ValueError as error:
                values, refused = [math.nan] * count, error
            results = [
                value if isinstance(value, Symbol) else self._constant(value) for value in values
            ]
            yield list(self._taken), results
            outcomes = [outcome for _, outcome in self._taken]
            while outcomes and not outcomes[-1]:
                outcomes.pop()
            if not outcomes:
                break
            self._planned = [*outcomes[:-1], False]
        if refused and not good:
            raise refused


class Constants(NamedTuple):
    """The constants of a step as the source of a function.

    Attributes:
        numbers: the hyperparameters that are numbers, as `(name, index)`; the index is None, or
            that of an element of a tuple.
        carried: the names of numbers that are carried from step to step.
        names: the names of the constants.
        source: the source of `constants(step, *numbers, *carried) -> (*constants, *carried)`,
            which calls `power`, and functions of `math`.
    """

    numbers: tuple[tuple[str, int | None], ...]
    carried: tuple[str, ...]
    names: tuple[str, ...]
    source: str

    def flat(self, values: Values) -> list[float]:
        """The numbers among some hyperparameters, in order."""
        return [values[name] if k is None else values[name][k] for name, k in self.numbers]

    @property
    def arguments(self) -> list[str]:
        """Names of the numbers as arguments."""
        return [name if k is None else f"{name}_{k}" for name, k in self.numbers]


def numbers_in(values: Values) -> tuple[tuple[str, int | None], ...]:
    """The numbers among some hyperparameters; the others are flags."""
    found: list[tuple[str, int | None]] = []
    for name, value in values.items():
        if isinstance(value, tuple):
            found += [(name, k) for k in range(len(value))]
        elif isinstance(value, float):
            found.append((name, None))
    return tuple(found)


def traced(author: Algorithm, values: Values) -> Constants:
    """The constants of a step as a function of the numbers among the hyperparameters.

    Args:
        author: the optimizer, without arrays.
        values: its hyperparameters; flags are taken from here.

    Raises:
        TypeError: if `hyper` or `carry` does more than arithmetic with numbers.
    """
    cls, trace = type(author), Trace()
    names, carried = author.variant(values).hyper, tuple(cls.carried)
    numbers = numbers_in(values)
    blank = Constants(numbers, carried, names, "")
    group: Values = dict(values)
    for (name, k), argument in zip(numbers, blank.arguments, strict=True):
        symbol = trace.symbol(argument)
        group[name] = symbol if k is None else (*group[name][:k], symbol, *group[name][k + 1 :])
    step, before = trace.symbol(STEP), {name: trace.symbol(name) for name in carried}

    def once() -> Sequence[Any]:
        after = copy.carry(ReadOnly({**group, **before}), step) if carried else {}
        found = copy.hyper(ReadOnly({**group, **after}), step)
        if {*found} != {*names}:
            raise TypeError(f"it returned {[*found]}, not {[*names]}")
        return [*(found[name] for name in names), *(after[name] for name in carried)]

    try:
        copy = _symbolic_class(cls, trace).without_arrays()
        runs = [*trace.runs(once, len(names) + len(carried))]
    except Exception as error:
        raise TypeError(
            f"{cls.__name__}.hyper() cannot be compiled: {error}; it may use numbers, flags, "
            "math.sqrt and comparisons. Compute its constants in Python instead: "
            f"{cls.__name__}.constants(step=...)"
        ) from error
    arguments = ", ".join([STEP, *blank.arguments, *carried])
    lines = [f"def constants({arguments}):", *_body(runs, 0, {STEP}, " " * 4)]
    return blank._replace(source="\n".join(lines) + "\n")


def _symbolic_class(cls: type[Algorithm], trace: Trace) -> Any:
    """A subclass whose methods take symbols, and those that `super()` finds too.

    Each base class is followed in the order of resolution by a class of copies of its methods; a
    call by `super()` from before it finds the copies first.
    """
    own = [each for each in cls.__mro__ if issubclass(each, Optimizer) and each is not Optimizer]

    def copies(each: type) -> dict[str, Any]:
        return {
            name: _symbolic(value, trace)
            for name, value in vars(each).items()
            if isinstance(value, FunctionType) and not name.startswith("__")
        }

    bases = [type(each.__name__, (each,), copies(each)) for each in own[1:]]
    return type(cls.__name__, (cls, *bases), copies(cls))


def _symbolic(function: Any, trace: Trace) -> Any:
    """A copy of a method, and of its callees, in which functions of `math` take symbols."""

    def recording(name: str) -> Callable[[Any], Any]:
        plain = getattr(math, name)

        def call(value: Any) -> Any:
            return trace.recorded(name + "({})", value) if type(value) is Symbol else plain(value)

        return call

    # as partials, which the linker takes as they are
    functions = {name: partial(recording(name)) for name in FUNCTIONS}
    functions["pow"] = partial(operator.pow)
    library = SimpleNamespace(**vars(math) | functions)
    swaps: dict[int, Any] = {id(getattr(math, n)): each for n, each in functions.items()}
    swaps |= {id(math): library, id(float): partial(_as_float)}

    def swap(value: Any) -> Any:
        return swaps.get(id(value), value)

    return linked(function, function.__name__, "", lambda callee, module: callee, swap)


def _as_float(value: Any = 0.0) -> Any:
    if not isinstance(value, Symbol):
        return float(value)
    compared = any(sign in value.text for sign in ("<", ">", "=="))
    return (1.0 if value else 0.0) if compared else value


def _body(runs: Sequence[Any], depth: int, known: set[str], indent: str) -> Iterator[str]:
    """The statements of the runs that share their first decisions."""
    known, (decisions, results) = {*known}, runs[0]
    if depth == len(decisions):
        yield from _computed(results, known, indent)
        yield f"{indent}return ({', '.join(result.name for result in results)},)"
        return
    condition = decisions[depth][0]
    yield from _computed(condition.parts or [condition], known, indent)
    yield f"{indent}if {condition.text if condition.parts else f'{condition.name} != 0.0'}:"
    chosen = [run for run in runs if run[0][depth][1]]
    yield from _body(chosen, depth + 1, known, indent + " " * 4)
    rest = [run for run in runs if not run[0][depth][1]]
    yield from _body(rest, depth + 1, known, indent)


def _computed(symbols: Sequence[Symbol], known: set[str], indent: str) -> Iterator[str]:
    """Assignments of symbols that are not known yet, after those of their parts."""
    for symbol in symbols:
        if symbol.parts and symbol.name not in known:
            yield from _computed(symbol.parts, known, indent)
            known.add(symbol.name)
            yield f"{indent}{symbol.name} = {symbol.text}"
