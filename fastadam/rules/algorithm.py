"""Algorithms: a rule, its hyperparameters and the constants of a step. No arrays here."""

from collections.abc import Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any, ClassVar, TypeVar

from .rule import Rule

Values = dict[str, Any]
Kind = TypeVar("Kind", bound="Algorithm")


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
    """Mathematics of an optimizer, base of `fastadam.Optimizer`.

    Attributes:
        rule: what one element does in one step.
        defaults: the hyperparameters, and what they are unless given.
        carried: float64 host numbers kept for each parameter, and what they start at.
        uncounted: whether PyTorch saves no step for it, so that any loaded state is past the first,
            and `hyper` counts steps from the first one whose rule has state.
        hyper_depends_on_step_only: whether `hyper` computes the same from the same group and step,
            whenever it is called, so that a CUDA graph may replay steps; False for a class with a
            `hyper` of its own that does not say so.
    """

    rule: Rule
    defaults: ClassVar[Values] = {}
    carried: ClassVar[dict[str, float]] = {}
    uncounted: ClassVar[bool] = False
    hyper_depends_on_step_only: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "hyper" in vars(cls) and "hyper_depends_on_step_only" not in vars(cls):
            cls.hyper_depends_on_step_only = False

    @classmethod
    def without_arrays(cls: type[Kind]) -> Kind:
        """Return an instance without parameters, of which the methods below can be called.

        `__init__` is not called.

        Raises:
            TypeError: if the class lacks a rule, or hyperparameters by name.
        """
        check_class(cls)
        return object.__new__(cls)

    def hyper(self, group: Values, step: int) -> dict[str, float]:
        """The constants of one step, computed in float64 on the host.

        Args:
            group: the hyperparameters of the group, schedules already evaluated; read-only.
            step: how many steps the parameter has taken, this one included; counted from 1.

        Returns:
            A number for every name in `rule.hyper`.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no hyper(group, step)")

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
        """Numbers that state starts at, by name; 0 for names left out."""
        return {}

    @property
    def starts_at_zero(self) -> bool:
        """True if no state starts at another number than zero."""
        return type(self).initial is Algorithm.initial


def signature_of(placed: Iterable[str], defaults: Mapping[str, Any]) -> Signature:
    """The signature `(params, ...)` with these defaults, for `help()` and editors.

    Args:
        placed: the names that may be given by position.
        defaults: the default of each name.
    """
    inline, keyword = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
    names = dict.fromkeys(placed)
    rest = [name for name in defaults if name not in names]
    return Signature(
        [Parameter("params", inline)]
        + [Parameter(name, inline, default=defaults[name]) for name in names]
        + [Parameter(name, keyword, default=defaults[name]) for name in rest]
    )
