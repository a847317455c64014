"""Choice of the rule of a group, and the hyperparameters on which it depends."""

from collections.abc import Callable
from typing import Any

from ..rules import Rule
from ..rules.algorithm import Algorithm, Values
from .hyperparameters import ReadOnly
from .options import Options


def rule_for(algorithm: Algorithm, values: Values, options: Options) -> Rule:
    """The rule for hyperparameters, after checking that they are compatible with each other and
    with the options.

    Raises:
        TypeError, ValueError: if they are not, or if `variant` does not return a rule.
    """
    algorithm.check(values)
    rule = algorithm.variant(values)
    if not isinstance(rule, Rule):
        raise TypeError(f"variant() returned {rule!r}; give a function marked with @fastadam.rule")
    options.check_rule(rule)
    return rule


def rule_and_names(
    algorithm: Algorithm, values: Values, options: Options
) -> tuple[Rule, frozenset[str]]:
    """The rule, and the names of the hyperparameters that `check` and `variant` read.

    While these are unchanged, so is the rule.

    Raises:
        TypeError, ValueError: as `rule_for`.
    """
    noted = _Noted(values)
    return rule_for(algorithm, noted, options), frozenset(noted.names)


def _of_all(name: str) -> Callable[..., Any]:
    """The method of a dict of this name, which reads everything."""
    method = getattr(dict, name)

    def reading(self: "_Noted", *others: Any) -> Any:
        self.names.update(list(dict.keys(self)))
        return method(self, *others)

    return reading


class _Noted(ReadOnly):
    """Hyperparameters that record the names that are read."""

    def __init__(self, values: Values) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return dict.__getitem__(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return dict.get(self, name, default)

    __iter__ = _of_all("__iter__")  # called by `**group` and `dict(group)` as well
    __reversed__ = _of_all("__reversed__")
    __repr__ = _of_all("__repr__")
    __eq__ = _of_all("__eq__")
    __ne__ = _of_all("__ne__")
    __or__ = _of_all("__or__")
    __ror__ = _of_all("__ror__")
    keys, values, items, copy = map(_of_all, ("keys", "values", "items", "copy"))
