"""The constants of a step without an optimizer object."""

from typing import Any

from ..rules.algorithm import Algorithm, Values, check_bare
from ..validation import count
from .edits import ParamGroup
from .hyperparameters import ReadOnly, checked
from .param_groups import Group


def constants_of(author: Algorithm, step: Any, given: Values) -> tuple[float, ...]:
    """The constants of a step, in the order of the rule.

    Raises:
        TypeError, ValueError: for a bad step or hyperparameter, or if `hyper` does not return a
            number for each name of the rule.
    """
    where = f"{type(author).__name__}.constants(): "
    check_bare(where, author)
    number = count(f"{where}step", step, 1, "count steps from 1")
    raw: Any = ParamGroup(author.defaults | given, params=())
    group = Group(raw, (), author.defaults, where)
    values = group.at(number)
    author.check(values)
    names = author.variant(values).hyper
    found = author.hyper(_carried(author, group, number), number)
    if not isinstance(found, dict) or found.keys() != {*names}:
        raise ValueError(f"{where}hyper() returned {found!r}; give a dict with {names}")
    return tuple(float(found[name]) for name in names)


def _carried(author: Algorithm, group: Group, step: int) -> Values:
    """The hyperparameters of a step, with the numbers carried from the first step up to it."""
    carried = {name: checked(name, n, 0.0, "carried: ") for name, n in author.carried.items()}
    for t in range(1, step + 1) if carried else ():
        carried = author.carry(ReadOnly({**group.at(t), **carried}), t)
    return ReadOnly({**group.at(step), **carried})
