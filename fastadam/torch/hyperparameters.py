"""The hyperparameters of `param_groups`: read at each step, checked where they have changed."""

from collections.abc import Sequence
from itertools import chain
from operator import is_
from typing import Any

from ..algorithm import Algorithm
from ..groups import Values, checked
from .arguments import plain

LASTING = {float, int, bool, str, type(None)}  # what nobody can change in place
ROUNDING = 1e-12  # schedulers that end at zero miss it by less: LinearLR(end_factor=0)
_CHANGED = object()


class Settled:
    """The hyperparameters of a group, checked, and what follows from them.

    Args:
        core: says which there are, and which rule follows.
        given: a value for each of them.
        where: how messages begin.
        before: the same group as it was, of which only what has changed is checked again.

    Attributes:
        given: what was given.
        values: the same as plain numbers, by name.
        rule: what moves the parameters.
        params: which parameters those are.
    """

    given: list[Any]

    def __init__(
        self, core: Algorithm, given: list[Any], where: str, before: "Settled | None" = None
    ) -> None:
        known = before.given if before else [_CHANGED] * len(given)
        changed = {
            name: _checked(name, new, default, where)
            for (name, default), new, old in zip(core.defaults.items(), given, known, strict=True)
            if new != old
        }
        self.given = given
        self.values: Values = {**before.values, **changed} if before else changed
        self.rule = core._rule_for(self.values)
        self.params: Sequence[int] = ()


def lr_of(groups: Sequence[Settled]) -> float | None:
    """The learning rate to report: that of the first group."""
    return groups[0].values.get("lr") if groups else None


class Hyperparameters:
    """What `param_groups` said when it was last looked at."""

    def __init__(self, core: Algorithm) -> None:
        self._core = core
        self._names, self._defaults = [*core.defaults], [*core.defaults.values()]
        self._seen: list[Any] = []
        self._settled: list[Settled] = []
        self._lasting = False  # whether all that was seen would be exchanged, not edited

    def check(self, group: Values, where: str) -> None:
        """Refuse a group that says something wrong.

        Raises:
            TypeError, ValueError: naming the hyperparameter.
        """
        Settled(self._core, self._given(group), where)

    def now(self, groups: Sequence[Values]) -> list[Settled]:
        """Each group as it is now; the list of the last call if they all are as they were."""
        seen = list(chain.from_iterable(map(self._read, groups)))
        if self._lasting and len(seen) == len(self._seen) and all(map(is_, seen, self._seen)):
            return self._settled
        given = list(map(self._given, groups))
        if given != [settled.given for settled in self._settled]:
            self._settled = self._settle(given)
        self._seen, self._lasting = seen, all(map(is_, seen, chain.from_iterable(given)))
        return self._settled

    def _read(self, group: Values) -> Any:
        return map(group.get, self._names, self._defaults)

    def _given(self, group: Values) -> list[Any]:
        named = zip(self._names, self._read(group), strict=True)
        return [value if _lasts(value) else plain(name, value) for name, value in named]

    def _settle(self, given: list[list[Any]]) -> list[Settled]:
        """The groups with what was given for each, checked where they have changed."""
        several = len(given) > 1
        before = self._settled if len(self._settled) == len(given) else [None] * len(given)
        return [
            old
            if old and old.given == new
            else Settled(self._core, new, f"param_groups[{number}]: " if several else "", old)
            for number, (old, new) in enumerate(zip(before, given, strict=True))
        ]


def _lasts(value: Any) -> bool:
    kind = type(value)
    return kind in LASTING or (kind is tuple and LASTING.issuperset(map(type, value)))


def _checked(name: str, value: Any, default: Any, where: str) -> Any:
    if name == "lr" and isinstance(value, float) and -ROUNDING < value < 0:
        return 0.0
    try:
        return checked(name, value, default, where)
    except TypeError:
        if not any(map(callable, value if isinstance(value, tuple) else [value])):
            raise
    raise TypeError(
        f"{where}{name}={value!r} is a function; give a number, and change it with "
        "torch.optim.lr_scheduler, such as LambdaLR"
    )
