"""Hyperparameters of `param_groups`, read at each step and checked if they changed.

The arguments of constructors, with PyTorch's flags and messages, are here as well.
"""

from collections.abc import Sequence
from itertools import chain, compress
from operator import is_, is_not
from typing import Any

import numpy as np
import torch

from .. import optimizers
from ..cuda.device_rate import DeviceRate, device_rate
from ..engine.hyperparameters import ReadOnly, checked, is_plain, kind_of
from ..engine.options import NAMES, Options
from ..engine.rule_choice import rule_and_names
from ..optimizer import Optimizer
from ..rules import Rule
from ..rules.algorithm import Algorithm, Values
from ..validation import alike, lasts, parts_of
from . import devices
from .state import dtypes

FLAGS = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}
ELSEWHERE = {
    "accumulate_steps": "PyTorch accumulates gradients in .grad; call step() and zero_grad() once "
    "after several backward passes",
    "lazy": "sparse gradients update their rows as in PyTorch; take fastadam.SparseAdam, whose "
    "arrays may be views of tensors, for other ways",
    "state_file": "tensors are in memory; give NumPy arrays to fastadam's own optimizers instead",
    "resident_bytes": "tensors are in memory; it is for arrays in files",
}  # options that these classes do not have, and the reason
NAMES_HERE = tuple(name for name in NAMES if name not in ELSEWHERE)
ROUNDING = 1e-12  # bounds the rounding error of schedulers that end at 0: LinearLR(end_factor=0)
_CHANGED = object()


class CheckedGroup:
    """The checked hyperparameters and options of a group, with the rule for them.

    Attributes:
        values: the values as plain numbers, by name.
        options: the options of the group.
        rule: the rule that updates the parameters.
        read_by_rule: the names of the values on which the choice of the rule depends.
        params: the indices of the active parameters of the group.
    """

    idle: Rule | None = None

    def __init__(
        self,
        given: list[Any] | None,
        values: Values,
        options: Options,
        rule: Rule,
        read_by_rule: frozenset[str],
    ) -> None:
        self._given, self.values, self.options, self.rule = given, values, options, rule
        self.read_by_rule = read_by_rule
        self.params: Sequence[int] = ()

    @property
    def given(self) -> list[Any]:
        """The values as given, in the order of their names."""
        return [*self.values.values()] if self._given is None else self._given

    def take(self, core: Algorithm, changed: Values, where: str) -> bool:
        """Go on with other numbers; returns False, and changes nothing, if other values changed, or
        another rule follows.

        Raises:
            TypeError, ValueError: for numbers out of range.
        """
        known, defaults = self.values, core.defaults
        for name, value in changed.items():
            if name not in known:
                return False
            if not is_plain(name, value, defaults[name]):
                if type(value) is not float or type(known[name]) is not float:
                    return False
                changed[name] = _checked(name, value, defaults[name], where)
        values = type(known)(known, **changed)
        if not self.read_by_rule.isdisjoint(changed):
            rule, names = rule_and_names(core, values, self.options)
            self.read_by_rule |= names
            if rule is not self.rule:
                return False
        self._given, self.values = None, values
        return True


def checked_group(
    core: Algorithm,
    given: list[Any],
    options: Options,
    where: str,
    before: CheckedGroup | None = None,
) -> CheckedGroup:
    """A group after a check of its hyperparameters.

    Args:
        core: the algorithm, with the names of the hyperparameters and the choice of the rule.
        given: a value for each hyperparameter.
        options: the options of the group.
        where: the prefix of messages.
        before: the group of the last step; values that equal its own are not checked again.

    Raises:
        TypeError, ValueError: for invalid values, and incompatible ones.
    """
    known = before.given if before else [_CHANGED] * len(given)
    changed = {
        name: _checked(name, new, default, where)
        for (name, default), new, old in zip(core.defaults.items(), given, known, strict=True)
        if new is not old and not alike(new, old)
    }
    values = kind_of(core)({**before.values, **changed} if before else changed)
    rule, read_by_rule = rule_and_names(core, values, options)
    known_rule = before is not None and before.rule is rule
    if not known_rule and (taken := dtypes(options).keys() & {*rule.all_state}):
        raise ValueError(
            f"{where}the rule {rule.name} has state named {sorted(taken)}, the names of "
            "the copies of ema_decay and shadow_dtype; rename the state"
        )
    return CheckedGroup(given, values, options, rule, read_by_rule)


def lr_of(groups: Sequence[CheckedGroup]) -> float | None:
    """The learning rate to report: that of the first group."""
    return groups[0].values.get("lr") if groups else None


class _SeenGroup:
    """A group as it was last read.

    Attributes:
        names: the keys of the dict, in order.
        values: the values.
        checked: the group after the check.
    """

    __slots__ = "checked", "names", "values"

    def __init__(self, group: Values, checked: CheckedGroup) -> None:
        self.names, self.values, self.checked = list(group), list(group.values()), checked

    def take(self, seen: "_Seen", core: Algorithm, group: Values, number: int) -> bool:
        """Go on with other numbers; returns False if other values changed, or another rule follows.

        Raises:
            TypeError, ValueError: for numbers out of range.
        """
        names, known, values = self.names, self.values, list(group.values())
        if list(group) != names:
            return False
        if all(map(is_, values, known)):
            return True
        seen.checked = [*seen.checked]
        changed = dict(compress(zip(names, values, strict=True), map(is_not, values, known)))
        where = f"param_groups[{number}]: " if len(seen.groups) > 1 else ""
        if not self.checked.take(core, changed, where):
            return False
        self.values = values
        return True


class _Seen:
    """The groups as they were last read; replaced as a whole, in case of an interrupt.

    Attributes:
        groups: each of them.
        checked: the groups after the check; another list from any change on.
        lasting: True if all values are immutable.
    """

    __slots__ = "checked", "groups", "lasting"

    def __init__(
        self, groups: list[_SeenGroup], checked: list[CheckedGroup], lasting: bool
    ) -> None:
        self.groups, self.checked, self.lasting = groups, checked, lasting


class Hyperparameters:
    """The checked content of `param_groups`, cached from step to step."""

    def __init__(self, core: Algorithm, options: Options) -> None:
        self._core, self._base = core, options
        self._names, self._defaults = [*core.defaults], [*core.defaults.values()]
        self._last = _Seen([], [], False)

    def check(self, group: Values, where: str) -> None:
        """Check the hyperparameters and options of a group.

        Raises:
            TypeError, ValueError: naming the hyperparameter.
        """
        checked_group(self._core, self._given(group), self._options(group, where), where)

    def now(self, groups: Sequence[Values]) -> list[CheckedGroup]:
        """The current groups, checked.

        It is the same list as in the last call if nothing changed, and another list of the same
        groups if only numbers did, as schedules change them, and the same rules follow.
        """
        last, core = self._last, self._core
        if not last.lasting or len(groups) != len(last.groups):
            return self._read(groups)
        for number, seen in enumerate(last.groups):
            if not seen.take(last, core, groups[number], number):
                return self._read(groups)
        return last.checked

    def _read(self, groups: Sequence[Values]) -> list[CheckedGroup]:
        """The current groups, whatever changed."""
        last, copies = self._last, list(map(dict, groups))
        given = list(map(self._given, copies))
        checked_groups = self._check_groups(copies, given)
        values = chain.from_iterable(map(self._values, copies))
        lasting = all(map(is_, values, chain.from_iterable(given)))
        if checked_groups == last.checked:
            checked_groups = last.checked
        self._last = _Seen(list(map(_SeenGroup, copies, checked_groups)), checked_groups, lasting)
        return checked_groups

    def _values(self, group: Values) -> Any:
        return map(group.get, self._names, self._defaults)

    def _given(self, group: Values) -> list[Any]:
        named = zip(self._names, self._values(group), self._defaults, strict=True)
        return [
            value if value is unless or lasts(value) else _given(group, name, value, unless)
            for name, value, unless in named
        ]

    def _options(self, group: Values, where: str) -> Options:
        for name in ELSEWHERE.keys() & group.keys():
            raise ValueError(f"{where}{name}: {ELSEWHERE[name]}")
        return self._base.within(group, where)

    def _check_groups(
        self, groups: Sequence[Values], given: Sequence[list[Any]]
    ) -> list[CheckedGroup]:
        """The current groups; only changed ones are checked again."""
        several = len(groups) > 1
        known = self._last.checked
        before = known if len(known) == len(groups) else [None] * len(groups)
        checked_groups = []
        for number, (old, new, group) in enumerate(zip(before, given, groups, strict=True)):
            where = f"param_groups[{number}]: " if several else ""
            options = self._options(group, where)
            same = old and (old.options is options or old.options == options)
            if not old or not same or not alike(old.given, new):
                old = checked_group(self._core, new, options, where, old)
            checked_groups.append(old)
        return checked_groups


def _given(group: Values, name: str, value: Any, default: Any) -> Any:
    """A hyperparameter as a Python value, or a learning rate that stays on its GPU."""
    if name == "lr" and group.get("capturable") and isinstance(value, torch.Tensor):
        there = devices.number(value)
        if there is not value and value.dtype in (torch.float32, torch.float64):
            return device_rate(there)
    return plain(name, value, default)


def with_known_rate(values: Values) -> Values:
    """The hyperparameters of a group, with a learning rate on a GPU fetched."""
    lr = values.get("lr")
    if not isinstance(lr, DeviceRate):
        return values
    found = checked("lr", np.asarray(lr.rate).reshape(()), 0.0, "")
    return ReadOnly({**values, "lr": found})


def _checked(name: str, value: Any, default: Any, where: str) -> Any:
    if isinstance(value, DeviceRate):
        return value
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


def twin_of(core: type[Optimizer]) -> Any:
    """The optimizer of PyTorch that corresponds to one of fastadam's, or None."""
    name = core.__name__
    return getattr(torch.optim, name, None) if vars(optimizers).get(name) is core else None


def plain(name: str, value: Any, default: Any) -> Any:
    """A hyperparameter as a Python value.

    One-element tensors become numbers; any sequence becomes a tuple if the default is one.

    Raises:
        TypeError: for an array of several elements.
        ValueError: for a tensor of several elements.
    """
    if isinstance(default, tuple):
        parts = parts_of(value)
        if parts is None:
            return value
        return tuple(plain(f"{name}[{k}]", part, None) for k, part in enumerate(parts))
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element, not of shape {tuple(value.shape)}")
        return value.item()
    if isinstance(value, np.ndarray):
        if value.ndim:
            raise TypeError(f"{name}={value!r} is an array; give a number")
        return value.item()
    return value


def in_words_of_torch(name: str, value: Any) -> str:
    """PyTorch's message for a hyperparameter that is out of range."""
    if isinstance(value, tuple):
        k, wrong = next((k, part) for k, part in enumerate(value) if not 0 <= part < 1)
        return f"Invalid beta parameter at index {k}: {wrong}"
    named = {"lr": "learning rate", "eps": "epsilon value"}.get(name, f"{name} value")
    return f"Invalid {named}: {value}"


def check_flags(flags: Values, owner: str) -> None:
    """Raise PyTorch's errors for flags; `owner` is the name of the optimizer."""
    if flags.get("fused") and flags.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if flags.get("differentiable"):
        subject = "`fused`" if flags.get("fused") else owner
        raise RuntimeError(f"{subject} does not support `differentiable`")
    capturable = flags.get("capturable")
    if isinstance(flags.get("lr"), torch.Tensor) and flags.get("foreach") and not capturable:
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
    tensors = [isinstance(each, torch.Tensor) for each in parts_of(flags.get("betas")) or ()]
    if any(tensors) and "fused" in flags:  # PyTorch's other optimizers accept a mixture
        if not all(tensors):
            raise ValueError("betas must be either both floats or both Tensors")
        if flags.get("foreach") and not capturable:
            raise ValueError(
                "betas[0] as a Tensor is not supported for capturable=False and foreach=True"
            )
