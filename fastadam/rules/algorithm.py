"""The mathematics of an optimizer: rule, hyperparameters and constants, without arrays."""

from collections.abc import Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any, ClassVar, TypeVar

from .declarations import ROW
from .rule import Rule

Values = dict[str, Any]
Kind = TypeVar("Kind", bound="Algorithm")


def check_class(cls: Any) -> None:
    """Check that an optimizer class has a rule, and dicts of hyperparameters.

    Raises:
        TypeError: if an attribute is missing or has the wrong type; the message names it.
    """
    if not isinstance(getattr(cls, "rule", None), Rule):
        raise TypeError(
            f"{cls.__name__}.rule must be a function marked with @fastadam.rule; "
            f"{cls.__name__} defines none; use a class that does, such as fastadam.AdamW"
        )
    for name in ("defaults", "carried"):
        value = getattr(cls, name)
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise TypeError(f"{cls.__name__}.{name} is {value!r}; give a dict with names as keys")


def check_bare(where: str, algorithm: "Algorithm") -> None:
    """Refuse an optimizer that carries sums from step to step, where nothing keeps them, or
    computes with matrices, where shapes are not known.

    Raises:
        TypeError: for such an optimizer; the message begins with `where`.
    """
    name = type(algorithm).__name__
    if algorithm.rule.matrix:
        raise TypeError(f"{where}{name} multiplies matrices; use the class {name}")
    if algorithm.carries_sums:
        raise TypeError(
            f"{where}{name} carries {', '.join(algorithm.carried)} from step to step, which depend "
            f"on all gradients; use the class {name}"
        )


def check_elementwise(where: str, algorithm: "Algorithm") -> None:
    """Refuse an optimizer with sums over rows, where nothing knows the rows.

    Raises:
        TypeError: for such an optimizer; the message begins with `where`.
    """
    if algorithm.rule.over == ROW:
        name = type(algorithm).__name__
        raise TypeError(
            f"{where}{name} adds up {', '.join(algorithm.rule.sums)} of rows, which "
            f"one-dimensional arrays do not have; use the class {name}"
        )


class Algorithm:
    """Mathematics of an optimizer, base of `fastadam.Optimizer`.

    Attributes:
        rule: the update of one element in one step.
        defaults: the names of the hyperparameters and their default values.
        carried: float64 numbers stored on the host for each parameter, with their initial values.
        uncounted: True if PyTorch saves no step count for this optimizer. Any loaded state is then
            taken to be past the first step, and `hyper` counts steps from the first one whose rule
            has state.
        count_optional: True if the update does not depend on the step count and other packages save
            none for this optimizer. A loaded state without a count is taken to be after one step.
        hyper_depends_on_step_only: True if `hyper` computes the same from the same group and step,
            whenever it is called, so that a CUDA graph may replay steps; False for a class with a
            `hyper` of its own that does not say so.
    """

    rule: Rule
    defaults: ClassVar[Values] = {}
    carried: ClassVar[dict[str, float]] = {}
    uncounted: ClassVar[bool] = False
    count_optional: ClassVar[bool] = False
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
            step: the number of steps of the parameter, this one included; the first is 1.

        Returns:
            A number for every name in `rule.hyper`.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no hyper(group, step)")

    def variant(self, group: Values) -> Rule:
        """The rule for a group; override it if a flag changes the state or the formula.

        It and `check` depend on the group alone, and are called again once a hyperparameter that
        they have read is changed.
        """
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

    def carry_sums(self, group: Values, step: int, sums: Mapping[str, float]) -> dict[str, float]:
        """The host numbers in `carried` after a step, computed from those before it and from the
        sums of its rule over all parameters.

        They are the same for all parameters; `group` and `step` are those of one that has taken the
        most steps. `hyper` is called with the numbers before the step, since sums follow from its
        constants. On a GPU each step waits for the sums.
        """
        raise NotImplementedError(f"{type(self).__name__} carries no sums")

    def transform(self, group: Values, matrix: Any) -> None:
        """Transform the matrix of a parameter in place, for a rule with a `matrix`.

        Args:
            group: the hyperparameters of the step; read-only.
            matrix: a two-dimensional array of the dtype of the arithmetic, with the shape of the
                parameter; in `fastadam.torch` a tensor.
        """
        raise NotImplementedError(f"{type(self).__name__} transforms no matrices")

    @property
    def bare(self) -> bool:
        """True if a step needs no more than one-dimensional arrays and their constants."""
        rule = self.rule
        return not self.carries_sums and rule.over != ROW and rule.matrix is None

    @property
    def carries_sums(self) -> bool:
        """True if `carry_sums` is defined; it then takes the place of `carry`."""
        return type(self).carry_sums is not Algorithm.carry_sums

    def initial(self, group: Values) -> dict[str, float]:
        """Initial values of state by name; names that are left out start at 0."""
        return {}

    def idle(self, group: Values) -> Rule:
        """The rule of several steps without a gradient at once, for `lazy="exact"`.

        It has the state of the rule, and names of constants that the rule does not have;
        `idle_hyper` gives these. It is not for `group`, whose hyperparameters may need more than a
        formula: it then raises ValueError.

        Raises:
            ValueError: for an optimizer without such a rule.
        """
        raise ValueError(
            f"lazy='exact': {type(self).__name__} has no formula for steps without a gradient; "
            "use lazy='rows' or 'torch'"
        )

    def idle_hyper(self, group: Values, steps: int) -> dict[str, float]:
        """The constants of a number of steps without a gradient.

        Returns:
            A number for every name in the hyper of the rule that `idle` returned.
        """
        return {}

    @property
    def starts_at_zero(self) -> bool:
        """True if no state starts at a number other than zero."""
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
