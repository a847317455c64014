"""Rules: the mathematics of one optimizer step for one element."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, wraps
from inspect import signature
from math import prod
from typing import Any, cast

from .declarations import (
    RESERVED,
    ROW,
    SCOPES,
    SIZE,
    Factors,
    check_direction,
    check_factors,
    check_names,
    check_rows,
)

MATRIX = "matrix"  # the attribute of `s` with an element of a transformed matrix
Function = Callable[..., tuple[Any, tuple[Any, ...]]]


def row_length(shape: Sequence[int]) -> int:
    """The number of elements of a row, if the first dimension counts rows."""
    return prod(shape[1:])


def last_dimension(shape: Sequence[int]) -> int:
    """The number of elements of a row, if the last two dimensions are those of a matrix."""
    return shape[-1]


@dataclass(frozen=True, eq=False)
class Rule:
    """A scalar update with named state and named per-step constants; see `fa.rule`.

    Calling it evaluates the update in plain Python in the dtype of its arguments, with the results
    of the compiled kernel: `math.sqrt` keeps float32, a division by zero gives an infinity.

    A rule with sums takes them as a fifth argument, `s`; `prepare(param, grad, state, h)` returns
    the terms of an element. So does a rule with a matrix; `matrix(param, grad, state, h)` returns
    an element of it.

    A rule with factors finds in `state` what it reads of a row and of a column.

    Attributes:
        direction: the part of the rule without sums, if it is one of its own.
        finish: the other part, `finish(param, number, h, s)`.
        row_state: the names of state with one number for each row.
        row_length: the number of elements of a row of a parameter, from its shape.
        column_state: the names of state with one number for each column of a matrix.
        factors: how these numbers of rows and columns are computed.
        matrices: the rule of parameters of two dimensions or more, None if it is this one.
    """

    function: Function
    state: tuple[str, ...]
    hyper: tuple[str, ...]
    exact: bool = False
    sums: tuple[str, ...] = ()
    over: str = ""
    prepare: "Rule | None" = None
    row_state: tuple[str, ...] = ()
    row_length: Callable[[Sequence[int]], int] = row_length
    matrix: "Rule | None" = None
    column_state: tuple[str, ...] = ()
    factors: Factors | None = None
    matrices: "Rule | None" = None
    direction: "Rule | None" = None
    finish: "Rule | None" = None
    staged: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    _plain: dict[str, Function] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, param: Any, grad: Any, state: tuple[Any, ...], h: Any, *s: Any) -> Any:
        import numpy as np

        compute = param.dtype.name if isinstance(param, np.floating) else ""
        with np.errstate(all="ignore"):
            if compute not in self._plain:
                self._plain[compute] = self._linked(compute)
            return self._plain[compute](param, grad, state, h, *s)

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def in_two_parts(self) -> bool:
        """True if the rule takes what its first part computes, as `s`."""
        return bool(self.sums) or self.matrix is not None

    @property
    def in_two_passes(self) -> bool:
        """True if the first part is a pass over memory of its own."""
        return self.in_two_parts and self.over != ROW

    @property
    def of_rows(self) -> bool:
        """True if the elements of a row must follow each other in memory."""
        return any(form.over == ROW or form.factors for form in self.forms)

    @property
    def forms(self) -> "tuple[Rule, ...]":
        """This rule, and that of matrices, if there is one."""
        return (self, self.matrices) if self.matrices else (self,)

    @property
    def all_state(self) -> tuple[str, ...]:
        """The names of state, for parameters of any shape."""
        return tuple(name for form in self.forms for name in form.state)

    def of(self, shape: Sequence[int]) -> "Rule":
        """The rule of a parameter of this shape."""
        return self.matrices if self.matrices and len(shape) > 1 else self

    @cached_property
    def snapshot(self) -> Function:
        """Snapshot of the function and everything it references, taken at its first use.

        Later changes to module globals therefore change neither a kernel of the rule nor
        `__call__`.

        Raises:
            TypeError: if a kernel cannot be compiled from the function.
        """
        from .linker import check_paths, linked

        def checked(function: Any, module: str = "") -> Any:
            check_paths(function)
            return function

        return cast(
            Function, checked(linked(self.function, self.name, "", checked, lambda value: value))
        )

    def _linked(self, compute: str) -> Function:
        """The function with its constants in one dtype, or as Python floats."""
        from .linker import linked
        from .plain import plain_value, uncompiled

        def swap(value: Any) -> Any:
            return plain_value(value, compute)

        return cast(Function, linked(self.snapshot, self.name, "", uncompiled, swap))


def rule(
    *bare: Any,
    state: Sequence[str] = (),
    hyper: Sequence[str] = (),
    exact: bool = False,
    sums: Sequence[str] = (),
    over: str = "tensor",
    prepare: Callable[..., tuple[Any, ...]] | None = None,
    row_state: Sequence[str] = (),
    row_length: Callable[[Sequence[int]], int] = row_length,
    matrix: Callable[..., Any] | None = None,
    factors: Factors | None = None,
    matrices: Rule | None = None,
    direction: Function | None = None,
) -> Callable[[Function], Rule]:
    """Mark a scalar function as the rule of an optimizer.

    The function is `rule(param, grad, state, h) -> (param, state)`: it computes the new parameter
    and the new state of one element from the old ones, its gradient and the constants of this
    step. Its arguments are scalars. It may use `+ - * /`, comparisons, `a if c else b`, `abs`,
    `min`, `max`, `math.sqrt`, helper functions of the same kind, and constants. A float literal,
    or a float at module level, takes the dtype of the parameter; an int in arithmetic raises an
    error (write `1.0 - x`).

    A rule may need sums over many elements, such as the norm of a parameter. It then has two parts:
    `prepare(param, grad, state, h) -> terms` returns the terms of one element, a tuple with a
    number for each name in `sums`, and changes nothing; the decorated function is
    `rule(param, grad, state, h, s) -> (param, state)`, where `s.name` is a sum, and `s.size` the
    number of elements of the parameter or of the row, if sums are over these. Terms are added in
    float64, in a fixed tree of blocks of 1024 elements, so that results do not depend on the number
    of threads or processes; `s` has the dtype of the parameter. A step then has two passes over
    memory; with `over="row"` one, which reads a row twice while it is in the cache.

    If only a number of an element and its new state are laborious, and neither depends on a sum,
    they can be a part of their own: `direction(param, grad, state, h) -> (number, state)`. The
    decorated function is then `rule(param, number, h, s) -> param`. A step over several arrays on
    the CPU keeps the number in the cache until the sums are known, instead of computing it twice.

    A rule for matrices may need an operation on a matrix as a whole, such as a product. It has two
    parts as well: `matrix(param, grad, state, h) -> number` returns an element of a matrix with the
    shape of the parameter, the method `transform(group, matrix)` of the optimizer then changes the
    matrix in place, and the decorated function finds the element of the result in `s.matrix`.

    A rule may keep a number for each row and each column of a matrix, in place of numbers of
    elements: `fa.Factors` says how they follow from gradients. Its two names of
    state are those of the rows and of the columns; `prepare` and the decorated function find in
    `state` what the factors return of the row and the column of an element, from the new numbers,
    and return `state` as it is. It is for parameters of two dimensions or more, as `matrices=` of a
    rule for others.

    Args:
        state: names of the numbers stored per element, in the order of the tuple `state`.
        hyper: names of the per-step constants, attributes of `h`. The optimizer's `hyper(group,
            step)` returns one float64 for each; the kernel receives it in the parameter's dtype.
        exact: True if state must not be rounded, for example because the rule takes a difference
            of states; `state_dtype="int8"` and `"bfloat16"` then raise an error. Default False.
        sums: names of the sums, attributes of `s`. Default: none.
        over: the elements that are added: those of each parameter ("tensor", the default), of all
            parameters that have a gradient ("all"), or of each row of a parameter ("row").
        prepare: the function that returns the terms of the sums.
        row_state: the names of state with one number for each row, for `over="row"`. It must follow
            from such state, sums and constants alone; `state_dtype` does not apply to it.
        row_length: `row_length(shape)` returns the number of elements of a row, for `over="row"`;
            it divides that of the parameter. Default: the first dimension counts rows, so that an
            array of one dimension has rows of one element.
        matrix: the function that returns an element of the matrix; not together with `sums`.
        factors: how the numbers of rows and columns that are the state follow from gradients, for
            rules with sums over each parameter.
        matrices: the rule, with the same `hyper`, of parameters of two dimensions or more; this one
            is then for the others.
        direction: the function that returns the number and the new state of an element, for rules
            with sums over each parameter, without `factors`.

    Raises:
        TypeError: if a name is not a string, or `state`, `hyper` or `sums` is one string, or there
            are no parentheses, or only one of `sums` and `prepare` is given, or `row_length` is not
            a function, or `factors`, `matrices` or `direction` is not one.
        ValueError: if a name is not an identifier, is reserved, or occurs twice, for an unknown
            `over`, for `row_state` that is not a state, or without `over="row"`, for `factors`
            without sums over each parameter or without two names of state, for `direction` without
            sums over each parameter, and for `matrices` with other names of constants.

    Examples:
        >>> import fastadam as fa
        >>> @fa.rule(state=("exp_avg",), hyper=("lr", "beta", "beta_comp"))
        ... def heavy_ball(param, grad, state, h):
        ...     (exp_avg,) = state
        ...     exp_avg = h.beta * exp_avg + h.beta_comp * grad
        ...     return param - h.lr * exp_avg, (exp_avg,)

        The gradient divided by its norm:

        >>> def square(param, grad, state, h):
        ...     return (grad * grad,)
        >>> @fa.rule(hyper=("lr",), sums=("squares",), over="tensor", prepare=square)
        ... def normalized(param, grad, state, h, s):
        ...     return param - h.lr * grad / math.sqrt(s.squares), state
    """
    if bare:
        name = getattr(bare[0], "__name__", repr(bare[0]))
        raise TypeError(
            f"rule: {name} is decorated with @fastadam.rule alone; declare its names: "
            "@fastadam.rule(state=('exp_avg',), hyper=('lr',)), or @fastadam.rule() if it has none"
        )
    check_names("state", state, reserved=RESERVED)
    check_names("hyper", hyper, reserved=())
    check_names("sums", sums, reserved=(SIZE,))
    if bool(sums) != bool(prepare):
        raise TypeError(f"rule: sums={tuple(sums)!r} and prepare={prepare!r} need each other")
    if sums and matrix:
        raise TypeError(f"rule: sums={tuple(sums)!r} and matrix= cannot be given together")
    if matrices and (matrix or factors):
        raise TypeError("rule: matrices= cannot be given together with matrix= or factors=")
    if over not in SCOPES:
        raise ValueError(f"rule: over={over!r} is unknown; choose from {', '.join(SCOPES)}")
    check_rows(sums, over, state, row_state, row_length)
    check_factors(factors, sums, over, state)
    _check_matrices(matrices, hyper)
    check_direction(direction, sums, over, factors)
    if scales := [name for name in state if name.removesuffix("_scale") in {*state} - {name}]:
        raise ValueError(
            f"rule: state name {scales[0]!r} is reserved for the scales of another in eight bits; "
            "choose another"
        )

    def mark(function: Function) -> Rule:
        for each in (function, prepare or matrix or function):
            if not hasattr(each, "__code__"):
                raise TypeError(f"rule: {each!r} is not a plain Python function")
        names = tuple(state), tuple(hyper), bool(exact)
        if matrix:
            return Rule(function, *names, matrix=Rule(matrix, *names))
        if prepare is None:
            return Rule(function, *names, matrices=matrices)
        terms = Rule(prepare, *names)
        parts: dict[str, Any] = {}
        if direction:
            parts = {"direction": Rule(direction, *names), "finish": Rule(function, *names)}
            function = _joined(direction, function)
        lines = tuple(row_state), row_length
        summed = Rule(function, *names, tuple(sums), over, terms, *lines, **parts)
        if factors is None:
            return replace(summed, matrices=matrices)
        rows, columns = names[0][:1], names[0][1:]
        factored = replace(summed, row_state=rows, column_state=columns)
        return replace(factored, row_length=last_dimension, factors=factors)

    return mark


def _joined(direction: Any, finish: Any) -> Function:
    """A rule with sums from its two parts."""

    def joined(param, grad, state, h, s):  # type: ignore[no-untyped-def]
        number, state = direction(param, grad, state, h)
        return finish(param, number, h, s), state

    joined.__name__ = finish.__name__
    return joined


def variants(make: Callable[..., Rule]) -> Callable[..., Rule]:
    """Cache the rules that `make` returns for each combination of its flags.

    The returned function takes the hyperparameters of a group, a dict, or flags by name. Flags that
    are left out are False, and other names are ignored.
    """
    made, names = cache(make), tuple(signature(make).parameters)

    @wraps(make)
    def variant(group: Mapping[str, Any] | None = None, /, **flags: Any) -> Rule:
        return made(*map(bool, map((flags if group is None else group).get, names)))

    return variant


def _check_matrices(matrices: Rule | None, hyper: Sequence[str]) -> None:
    """Refuse what is not the rule of matrices with these constants."""
    if matrices is None:
        return
    if not isinstance(matrices, Rule):
        raise TypeError(
            f"rule: matrices={matrices!r} must be a function marked with @fastadam.rule"
        )
    if matrices.hyper != tuple(hyper):
        raise ValueError(
            f"rule: hyper={tuple(hyper)!r}, but that of matrices= is {matrices.hyper!r}; declare "
            "the same names in both"
        )
