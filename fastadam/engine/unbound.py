"""Optimizers without arrays: their formulas, to be asked."""

from typing import TYPE_CHECKING, Any

from ..rules.algorithm import check_class
from ..validation import check_known, meant_by
from .param_groups import Group, ParamGroup, Values

if TYPE_CHECKING:
    from ..optimizer import Optimizer


def named(name: str) -> "type[Optimizer]":
    """The optimizer of a name, in any case.

    Raises:
        ValueError: with the names there are.
    """
    from .. import optimizers

    known = {each.lower(): each for each in optimizers.__all__}
    if name.lower() not in known:
        meant = meant_by(name, optimizers.__all__)
        close = f"did you mean {meant!r}? " if meant else ""
        raise ValueError(
            f"{name!r} is no optimizer; {close}There are {', '.join(optimizers.__all__)}"
        )
    found: type[Optimizer] = getattr(optimizers, known[name.lower()])
    return found


def unbound(
    optimizer: "type[Optimizer]", given: Values, where: str = ""
) -> "tuple[Optimizer, Values]":
    """An optimizer that has nothing to move, and its hyperparameters, checked, those of `given` and
    its defaults.

    Raises:
        TypeError, ValueError: for hyperparameters that it does not take; `where` stands before.
    """
    check_class(optimizer)
    made, defaults = optimizer.__new__(optimizer), optimizer.defaults
    check_known(given, defaults, f"{where}{optimizer.__name__}")
    raw: Any = ParamGroup(defaults | given, params=())
    values = Group(raw, (), defaults, where).at(1)
    made.check(values)
    return made, values
