"""What the author of an optimizer says: a rule, hyperparameters, constants. No arrays here."""

from typing import Any, ClassVar

from ..engine.options import Options
from ..engine.param_groups import Group, ParamGroup, Values, checked
from .rule import Rule


def check_class(cls: Any) -> None:
    """Refuse an optimizer class that lacks a rule, or hyperparameters by name.

    Raises:
        TypeError: naming the attribute, and what it has to be.
    """
    if not isinstance(getattr(cls, "rule", None), Rule):
        raise TypeError(
            f"{cls.__name__}.rule must be a function marked with @fastadam.rule; "
            f"{cls.__name__} is no optimizer by itself"
        )
    for name in ("defaults", "carried"):
        value = getattr(cls, name)
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise TypeError(f"{cls.__name__}.{name} is {value!r}; give a dict with names as keys")


class Algorithm:
    """The mathematics of an optimizer, base of `fastadam.Optimizer`.

    Attributes:
        rule: what one element does in one step.
        defaults: the hyperparameters, and what they are unless given.
        carried: float64 host numbers kept for each parameter, and what they start at.
        uncounted: whether PyTorch saves no step for it, so that any loaded state is past the first,
            and `hyper` counts steps from the first one whose rule has state.
    """

    rule: Rule
    defaults: ClassVar[Values] = {}
    carried: ClassVar[dict[str, float]] = {}
    uncounted: ClassVar[bool] = False
    _options = Options()

    def hyper(self, group: Values, step: int) -> dict[str, float]:
        """The constants of one step, computed in float64 on the host.

        Args:
            group: the hyperparameters of the group, schedules already evaluated; read-only.
            step: how many steps the parameter has taken, this one included; counted from 1.

        Returns:
            A number for every name in `rule.hyper`.
        """
        raise NotImplementedError(f"{self._name} defines no hyper(group, step)")

    def variant(self, group: Values) -> Rule:
        """The rule for a group, where a flag changes which state there is or what is computed."""
        return type(self).rule

    def check(self, group: Values) -> None:
        """Refuse hyperparameters that do not go together; each is checked by itself already."""

    def carry(self, group: Values, step: int) -> dict[str, float]:
        """The host numbers in `carried` after a step, from those before it, which `group` holds.

        `hyper` then finds them in its `group`.
        """
        return {}

    def initial(self, group: Values) -> dict[str, float]:
        """What state starts at, by name; 0 for names left out."""
        return {}

    @property
    def _starts(self) -> bool:
        """Whether its state may start at numbers other than zero."""
        return type(self).initial is not Algorithm.initial

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _settled(self, raw: ParamGroup, params: Any, where: str, step: int = 1) -> Group:
        """A group whose hyperparameters at a step go together, with the rule that follows."""
        group = Group(raw, params, self.defaults, where, self._options)
        group.rule = self._rule_for(group.at(step), group.options)
        return group

    def _rule_for(self, values: Values, options: Options) -> Rule:
        """The rule for hyperparameters that go together, and with the options."""
        self.check(values)
        rule = self.variant(values)
        if not isinstance(rule, Rule):
            raise TypeError(
                f"variant() returned {rule!r}; give a function marked with @fastadam.rule"
            )
        options.check_rule(rule)
        return rule

    def _start(self, rule: Rule, values: Values) -> dict[str, float]:
        """What the state of a group starts at, if a rule moves it."""
        start = self.initial(values)
        if not isinstance(start, dict) or start.keys() - {*rule.state}:
            raise ValueError(
                f"initial() returned {start!r}; give a dict with names of {rule.state}"
            )
        return {name: checked(name, value, 0.0, "initial(): ") for name, value in start.items()}
