"""The hyperparameters of `param_groups`: read at each step, checked where they have changed."""

from collections.abc import Sequence
from itertools import chain
from operator import is_
from typing import Any

from ..engine.hyperparameters import ReadOnly, checked
from ..engine.options import NAMES, OWN, Options
from ..engine.param_groups import rule_for
from ..rules.algorithm import Algorithm, Values
from ..validation import alike, lasts
from .arguments import in_words_of_torch, plain
from .state import dtypes

NAMES_HERE = tuple(name for name in NAMES if name != "accumulate_steps")
NO_SUM = (
    "in PyTorch gradients add up in .grad; call step() and zero_grad() after every so many "
    "backward passes"
)
ROUNDING = 1e-12  # schedulers that end at zero miss it by less: LinearLR(end_factor=0)
_CHANGED = object()


class Settled:
    """The hyperparameters of a group, checked, and what follows from them.

    Args:
        core: says which there are, and which rule follows.
        given: a value for each of them.
        options: those of the group.
        where: how messages begin.
        before: the same group as it was, of which only what has changed is checked again.

    Attributes:
        given: what was given.
        values: the same as plain numbers, by name.
        options: the options of the group.
        rule: what moves the parameters.
        params: which parameters those are.
    """

    given: list[Any]

    def __init__(
        self,
        core: Algorithm,
        given: list[Any],
        options: Options,
        where: str,
        before: "Settled | None" = None,
    ) -> None:
        known = before.given if before else [_CHANGED] * len(given)
        changed = {
            name: _checked(name, new, default, where)
            for (name, default), new, old in zip(core.defaults.items(), given, known, strict=True)
            if new is not old and not alike(new, old)
        }
        self.given, self.options = given, options
        self.values: Values = ReadOnly({**before.values, **changed} if before else changed)
        self.rule = rule_for(core, self.values, options)
        looked_at = before is not None and before.rule is self.rule
        if not looked_at and (taken := dtypes(options).keys() & {*self.rule.state}):
            raise ValueError(
                f"{where}the rule {self.rule.name} has state named {sorted(taken)}, under which "
                "ema_decay and shadow_dtype keep their copies; rename the state"
            )
        self.params: Sequence[int] = ()


def lr_of(groups: Sequence[Settled]) -> float | None:
    """The learning rate to report: that of the first group."""
    return groups[0].values.get("lr") if groups else None


class Hyperparameters:
    """The contents of `param_groups` when it was last read."""

    def __init__(self, core: Algorithm, options: Options) -> None:
        self._core, self._base = core, options
        self._names, self._defaults = [*core.defaults], [*core.defaults.values()]
        self._keys = [*self._names, *OWN]
        self._unless = [*self._defaults, *[_CHANGED] * len(OWN)]
        self._seen: list[Any] = []
        self._settled: list[Settled] = []
        self._lasting = False  # whether all that was seen would be exchanged, not edited

    def check(self, group: Values, where: str) -> None:
        """Refuse a group that says something wrong.

        Raises:
            TypeError, ValueError: naming the hyperparameter.
        """
        Settled(self._core, self._given(group), self._options(group, where), where)

    def now(self, groups: Sequence[Values]) -> list[Settled]:
        """Each group as it is now; the list of the last call if they all are as they were."""
        seen = list(chain.from_iterable(map(self._read, groups)))
        if self._lasting and len(seen) == len(self._seen) and all(map(is_, seen, self._seen)):
            return self._settled
        given = list(map(self._given, groups))
        settled = self._settle(groups, given)
        if len(settled) != len(self._settled) or not all(map(is_, settled, self._settled)):
            self._settled = settled
        values = chain.from_iterable(map(self._values, groups))
        self._seen, self._lasting = seen, all(map(is_, values, chain.from_iterable(given)))
        return self._settled

    def _read(self, group: Values) -> Any:
        """All that may be edited; the length tells of names that are new."""
        return chain(map(group.get, self._keys, self._unless), (len(group),))

    def _values(self, group: Values) -> Any:
        return map(group.get, self._names, self._defaults)

    def _given(self, group: Values) -> list[Any]:
        named = zip(self._names, self._values(group), self._defaults, strict=True)
        return [
            value if value is unless or lasts(value) else plain(name, value, unless)
            for name, value, unless in named
        ]

    def _options(self, group: Values, where: str) -> Options:
        if "accumulate_steps" in group:
            raise ValueError(f"{where}accumulate_steps: {NO_SUM}")
        return self._base.within(group, where)

    def _settle(self, groups: Sequence[Values], given: Sequence[list[Any]]) -> list[Settled]:
        """The groups as they are now, checked where they have changed."""
        several = len(groups) > 1
        before = self._settled if len(self._settled) == len(groups) else [None] * len(groups)
        settled = []
        for number, (old, new, group) in enumerate(zip(before, given, groups, strict=True)):
            where = f"param_groups[{number}]: " if several else ""
            options = self._options(group, where)
            same = old and (old.options is options or old.options == options)
            if not old or not same or not alike(old.given, new):
                old = Settled(self._core, new, options, where, old)
            settled.append(old)
        return settled


def _checked(name: str, value: Any, default: Any, where: str) -> Any:
    if name == "lr" and isinstance(value, float) and -ROUNDING < value < 0:
        return 0.0
    try:
        return checked(name, value, default, where)
    except ValueError as error:
        raise ValueError(f"{error} ({in_words_of_torch(name, value)})") from None
    except TypeError:
        if not any(map(callable, value if isinstance(value, tuple) else [value])):
            raise
    raise TypeError(
        f"{where}{name}={value!r} is a function; give a number, and change it with "
        "torch.optim.lr_scheduler, such as LambdaLR"
    )
