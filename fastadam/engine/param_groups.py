"""Parameter groups: the dicts of the user, checked, and their schedules evaluated for a step."""

from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any, SupportsFloat

from ..kernels.formats import Formats
from ..rules import Rule
from ..rules.algorithm import Algorithm, Values
from ..validation import check_known, parts_of
from .edits import ParamGroup
from .hyperparameters import ReadOnly, checked, is_plain, kind_of
from .options import NAMES, OWN, Options
from .rule_choice import rule_and_names

PLAIN = Options()
CARRIED = (
    "params",
    "initial_lr",
    "name",
    "param_names",
)  # keys of a group that are not hyperparameters
HINT = "give a number, or a function of the step"


class Group:
    """A parameter group, as last read from the user's dict.

    Args:
        raw: the user's dict, which may change between steps. Its hyperparameters are replaced by
            plain Python values, so that it shows the values in use.
        params: its arrays.
        defaults: the hyperparameters of the optimizer, with their defaults.
        where: the beginning of messages, if there are several groups.
        options: the options of the optimizer; the group may have some of its own.

    Attributes:
        rule: the rule that updates its parameters.
        read_by_rule: the names of the hyperparameters on which the choice of the rule depends.
        kind: the type of the hyperparameters of a step.
        options: the options of the group.
        idle: the rule of steps without a gradient, for `lazy="exact"`.
        scheduled: True if a hyperparameter is a function of the step.
        rule_fixed: True if the choice of the rule does not depend on scheduled hyperparameters.
        switched: True if a hyperparameter other than `lr` is scheduled, which may switch state on
            and off.

    Raises:
        TypeError, ValueError: for unknown and missing names, invalid values, and other arrays.
    """

    rule: Rule
    read_by_rule: frozenset[str]
    rule_fixed: bool
    idle: Rule | None = None
    kind: type[Values] = ReadOnly

    def __init__(
        self,
        raw: ParamGroup,
        params: Any,
        defaults: Values,
        where: str,
        options: Options = PLAIN,
    ) -> None:
        self.raw, self.params, self.where, self._defaults = raw, params, where, defaults
        _check_arrays(raw, params, where)
        self.options = options.within(raw, where)
        others = [name for name in raw if name not in CARRIED and name not in NAMES]
        check_known(others, [*defaults, *OWN], f"{where}the group")
        _check_param_names(raw, params, where)
        values: Values = {}
        self._schedules: dict[str, Callable[[int], Any]] = {}
        for name, default in defaults.items():
            if name not in raw:
                raise ValueError(f"{where}{name!r} is missing from its param_groups; put it back")
            value = raw[name]
            parts = parts_of(value) if isinstance(default, tuple) else None
            if parts and any(map(callable, parts)):
                dict.__setitem__(raw, name, parts)
                value = _together(parts, where, name)
            if isinstance(value, type):
                raise TypeError(
                    f"{where}{name}={value.__name__} is a class; call it with its arguments to "
                    "make a schedule"
                )
            if callable(value):
                self._schedules[name] = value
            else:
                values[name] = checked(name, value, default, where, HINT)
        self.scheduled = bool(self._schedules)
        self.switched = bool(self._schedules.keys() - {"lr"})
        own = {name: getattr(self.options, name) for name in NAMES if name in raw}
        dict.update(raw, values | own)
        self._values: Values = ReadOnly(values)
        self._names = None if (names := raw.get("param_names")) is None else [*names]  # a copy

    def follow(self, algorithm: Algorithm, step: int) -> None:
        """Choose the rule by the hyperparameters of a step.

        Raises:
            TypeError, ValueError: for a combination that is not supported.
        """
        values = self.at(step)
        self.rule, self.read_by_rule = rule_and_names(algorithm, values, self.options)
        self.rule_fixed = self.read_by_rule.isdisjoint(self._schedules)
        self.kind = kind_of(algorithm)
        self._values = self.kind(self._values)

    @property
    def unused_state(self) -> set[str]:
        """The names of state that the rule has for other shapes than those of the parameters."""
        used = {name for param in self.params for name in self.rule.of(param.shape).state}
        return {*self.rule.all_state} - used if self.rule.matrices else set()

    def formats(self, param: Any, grad: str | None = None, size: int | None = None) -> Formats:
        """The formats of one of its parameters; see
        `Options.formats`."""
        return self.options.formats(param, grad, size).ruled(self.rule, param.shape)

    def edited(
        self, algorithm: Callable[[], Algorithm | None], names: Iterable[str]
    ) -> Values | None:
        """The hyperparameters after edits of these names; the same object if none was changed.

        None if they are not all numbers, or if the choice of the rule depends on them.
        """
        raw, known = self.raw, self._values
        changed: Values = {}
        if self.scheduled or self.options.lazy != "torch":
            return None
        if raw.get("param_names") != self._names:
            return None
        for name in names:
            if name not in known or name not in raw:
                return None
            new = raw[name]
            if new is not known[name]:
                if not is_plain(name, new, self._defaults[name]):
                    return None
                changed[name] = new
        if not changed:
            return known
        values = self.kind(known, **changed)
        if not self.read_by_rule.isdisjoint(changed):
            author = algorithm()
            assert author is not None
            rule, read = rule_and_names(author, values, self.options)
            self.read_by_rule |= read
            if rule is not self.rule:
                return None
        return values

    def take(self, values: Values) -> None:
        """Adopt the hyperparameters that `edited` returned."""
        self._values = values

    def at(self, step: int, lr: float | None = None) -> Values:
        """The hyperparameters of a step, counted from 1, as plain Python values."""
        if lr is None and not self._schedules:
            return self._values
        new: Values = {}
        for name, schedule in self._schedules.items():
            value, default = _called(schedule, step, self.where, name), self._defaults[name]
            if not is_plain(name, value, default):
                value = checked(name, value, default, f"{self.where}at step {step} ")
            new[name] = value
        if lr is not None:
            new["lr"] = lr
        return self.kind(self._values, **new)

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.raw.items() if k not in ("params", "param_names")}
        elements = sum(param.size for param in self.params)
        text = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        arrays = "1 array" if len(self.params) == 1 else f"{len(self.params)} arrays"
        return f"{arrays}, {elements} elements: {text}"


def _check_arrays(raw: Values, params: Any, where: str) -> None:
    """Refuse a dict with other arrays than those of its group.

    Raises:
        ValueError: with a fix.
    """
    if "params" not in raw:
        raise ValueError(
            f"{where}'params' is missing from its param_groups; put the same arrays back, or "
            "make a new optimizer"
        )
    known = raw["params"]
    if len(known) != len(params) or not all(map(is_, known, params)):
        raise ValueError(
            f"{where}the arrays of param_groups were replaced; write into the arrays, "
            "use add_param_group, or make a new optimizer"
        )


def _check_param_names(raw: Values, params: Sequence[Any], where: str) -> None:
    names = raw.get("param_names")
    if names is None:
        return
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{where}param_names={names!r} is not a list of strings")
    if len({*names}) != len(names):
        raise ValueError(f"{where}param_names={names!r} names something twice")
    if len(names) != len(params):
        raise ValueError(f"{where}param_names has {len(names)} names for {len(params)} parameters")


def _together(parts: tuple[Any, ...], where: str, name: str) -> Callable[[int], tuple[Any, ...]]:
    def together(step: int) -> tuple[Any, ...]:
        return tuple(_called(part, step, where, name) if callable(part) else part for part in parts)

    return together


def _called(schedule: Callable[[int], Any], step: int, where: str, name: str) -> Any:
    """The value of a schedule at a step.

    Raises:
        TypeError: if it cannot be called with a step; names the hyperparameter.
    """
    try:
        return schedule(step)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next:  # raised by the schedule
            raise
        raise TypeError(
            f"{where}{name}={schedule!r} must be a function of one argument, the step: {error}"
        ) from None


def edited_group(algorithm: Algorithm, options: Options, group: Group, step: int) -> Group:
    """The group after edits of its dict.

    Raises:
        TypeError, ValueError: as `checked_group`, and for options that cannot be changed.
    """
    new = checked_group(algorithm, options, group.raw, group.params, group.where, step)
    group.options.check_kept(new.options, new.where)
    return new


def checked_group(
    algorithm: Algorithm, options: Options, raw: ParamGroup, params: Any, where: str, step: int = 1
) -> Group:
    """A group with checked hyperparameters, and with its rule at a step.

    Raises:
        TypeError, ValueError: as `Group`, and as `check`.
    """
    note_peak(raw)
    group = Group(raw, params, algorithm.defaults, where, options)
    group.follow(algorithm, step)
    if group.options.lazy != "torch":
        group.idle = idle_for(algorithm, group, step)
    return group


def idle_for(algorithm: Algorithm, group: Group, step: int) -> Rule | None:
    """The rule of steps without a gradient; None if `lazy` does not need one.

    Raises:
        ValueError: for an optimizer, or hyperparameters, that do not support this `lazy`.
    """
    name, lazy = type(algorithm).__name__, group.options.lazy
    if algorithm.carried:
        raise ValueError(
            f"lazy={lazy!r} is not for {name}, which carries {[*algorithm.carried]} from step to "
            "step for a whole parameter; leave it out"
        )
    if lazy == "rows":
        return None
    if group.scheduled:
        raise ValueError(
            f"{group.where}lazy='exact' takes the steps that a row missed to have had the "
            "hyperparameters of this one; give numbers in place of schedules"
        )
    return algorithm.idle(group.at(step))


def note_peak(group: Values) -> None:
    """Set `peak_lr`, the largest learning rate, in a group whose weight decay needs it."""
    relative = group.get("weight_decay_mode", "AdamW") != "AdamW"
    if relative and group.get("peak_lr") is None:
        lr = group.get("initial_lr", group.get("lr"))
        peak = getattr(lr, "peak", None) if callable(lr) else lr
        if isinstance(peak, SupportsFloat):
            dict.__setitem__(group, "peak_lr", float(peak))  # not recorded as an edit


def initial_state(algorithm: Algorithm, rule: Rule, values: Values) -> dict[str, float]:
    """The initial values of the state of a group, by name.

    Raises:
        TypeError, ValueError: if `initial` returns an unknown name, or anything but numbers.
    """
    start = algorithm.initial(values)
    if not isinstance(start, dict) or start.keys() - {*rule.all_state}:
        raise ValueError(
            f"initial() returned {start!r}; give a dict with names of {rule.all_state}"
        )
    return {name: checked(name, value, 0.0, "initial(): ") for name, value in start.items()}


def values_of(algorithm: Algorithm, given: Values, where: str = "") -> Values:
    """Checked hyperparameters of an algorithm: the given ones, and defaults for the others.

    Raises:
        TypeError, ValueError: for unknown names and invalid values; messages begin with `where`.
    """
    check_known(given, algorithm.defaults, f"{where}{type(algorithm).__name__}")
    raw: Any = ParamGroup(algorithm.defaults | given, params=())
    values = Group(raw, (), algorithm.defaults, where).at(1)
    algorithm.check(values)
    return values
