"""The part of an optimizer that its author writes: rule, hyperparameters, constants; no arrays."""

from typing import Any, ClassVar

from ..engine.options import Options
from ..engine.param_groups import Group, ParamGroup, Values, checked
from .rule import Rule


def check_class(cls: Any) -> None:
    """Check that an optimizer class has a rule, and dicts of hyperparameters.

    Raises:
        TypeError: if an attribute is missing or has the wrong type; the message names it.
    """
    if not isinstance(getattr(cls, "rule", None), Rule):
        raise TypeError(
            f"{cls.__name__}.rule must be a function marked with @fastadam.rule; "
            f"{cls.__name__} defines none"
        )
    for name in ("defaults", "carried"):
        value = getattr(cls, name)
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise TypeError(f"{cls.__name__}.{name} is {value!r}; give a dict with names as keys")


class Algorithm:
    """The mathematics of an optimizer, base of [Optimizer][fastadam.Optimizer].

    Attributes:
        rule: the update of one element in one step.
        defaults: the names of the hyperparameters and their default values.
        carried: float64 numbers stored on the host for each parameter, with their initial values.
        uncounted: True if PyTorch saves no step count for this optimizer. Any loaded state is then
            taken to be past the first step, and `hyper` counts steps from the first one whose rule
            has state.
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
            step: the number of steps of the parameter, this one included; the first is 1.

        Returns:
            A number for every name in `rule.hyper`.
        """
        raise NotImplementedError(f"{self._name} defines no hyper(group, step)")

    def variant(self, group: Values) -> Rule:
        """The rule for a group; override it if a flag changes the state or the formula."""
        return type(self).rule

    def check(self, group: Values) -> None:
        """Raise ValueError for a bad combination of hyperparameters.

        Each value has already been checked on its own.
        """

    def carry(self, group: Values, step: int) -> dict[str, float]:
        """The host numbers in `carried` after a step, computed from those before it.

        `group` holds the numbers before the step; `hyper` is called with the new ones.
        """
        return {}

    def initial(self, group: Values) -> dict[str, float]:
        """Initial values of state by name; names that are left out start at 0."""
        return {}

    @property
    def _starts(self) -> bool:
        """True if state may start at numbers other than zero."""
        return type(self).initial is not Algorithm.initial

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _settled(self, raw: ParamGroup, params: Any, where: str, step: int = 1) -> Group:
        """A validated group, with the rule for its hyperparameters at a step."""
        group = Group(raw, params, self.defaults, where, self._options)
        group.rule = self._rule_for(group.at(step), group.options)
        return group

    def _rule_for(self, values: Values, options: Options) -> Rule:
        """The rule for these hyperparameters, after checking them together with the options."""
        self.check(values)
        rule = self.variant(values)
        if not isinstance(rule, Rule):
            raise TypeError(
                f"variant() returned {rule!r}; give a function marked with @fastadam.rule"
            )
        options.check_rule(rule)
        return rule

    def _start(self, rule: Rule, values: Values) -> dict[str, float]:
        """Checked initial values of the state of a group under a rule."""
        start = self.initial(values)
        if not isinstance(start, dict) or start.keys() - {*rule.state}:
            raise ValueError(
                f"initial() returned {start!r}; give a dict with names of {rule.state}"
            )
        return {name: checked(name, value, 0.0, "initial(): ") for name, value in start.items()}
