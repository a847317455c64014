"""Names and parts that a rule declares, and what is refused among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

RESERVED = ("param", "grad", "step", "compensation", "codes_order", "row_step", "row_length") + (
    "column_span",
)
ROW = "row"
SCOPES = ("tensor", "all", ROW)
SIZE = "size"  # the attribute of `s` with the number of elements that a sum is over


@dataclass(frozen=True)
class Factors:
    """Formulas of state with a number for each row and each column of a matrix, for `factors=` of
    `fa.rule`.

    All are functions of the kind of a rule, of scalars. The elements of an array of more than two
    dimensions are matrices in its last two.

    Attributes:
        term: `term(grad, h)` returns a number of an element, of which means over each row and each
            column are taken, with sums in float64.
        average: `average(number, mean, h)` returns the new number of a row or a column.
        row: `row(number, mean, h)` returns what a rule reads of a row; `mean` is the mean of the
            new numbers of all rows of the matrix.
        column: `column(number, h)` returns what a rule reads of a column.
    """

    term: Callable[..., Any]
    average: Callable[..., Any]
    row: Callable[..., Any]
    column: Callable[..., Any]


def check_rows(
    sums: Sequence[str],
    over: str,
    state: Sequence[str],
    row_state: Sequence[str],
    row_length: Callable[[Sequence[int]], int],
) -> None:
    """Refuse state of rows that is none, or that no sums over rows go with."""
    check_names("row_state", row_state, reserved=())
    if row_state and not (sums and over == ROW):
        raise ValueError(
            f"rule: row_state={tuple(row_state)!r} is for rules with sums over rows; give sums, "
            "prepare and over='row'"
        )
    if unknown := [name for name in row_state if name not in state]:
        raise ValueError(f"rule: row_state name {unknown[0]!r} is not in state={tuple(state)!r}")
    if not callable(row_length):
        raise TypeError(f"rule: row_length={row_length!r} is not a function of a shape")


def check_factors(
    factors: Factors | None, sums: Sequence[str], over: str, state: Sequence[str]
) -> None:
    """Refuse factors of a rule that cannot have them."""
    if factors is None:
        return
    if not isinstance(factors, Factors):
        raise TypeError(f"rule: factors={factors!r} must be fastadam.Factors")
    if not (sums and over == "tensor"):
        raise ValueError("rule: factors= is for rules with sums over each parameter; give sums")
    if len(state) != 2:
        raise ValueError(
            f"rule: factors= takes two names of state, of rows and of columns, not {tuple(state)!r}"
        )


def check_direction(
    direction: Any, sums: Sequence[str], over: str, factors: Factors | None
) -> None:
    """Refuse a direction of a rule that cannot have one."""
    if direction is None:
        return
    if not hasattr(direction, "__code__"):
        raise TypeError(f"rule: direction={direction!r} is not a plain Python function")
    if not sums or over != "tensor" or factors:
        raise ValueError(
            "rule: direction= is for rules with sums over each parameter, without factors=; leave "
            "it out"
        )


def check_names(argument: str, names: Sequence[str], reserved: tuple[str, ...]) -> None:
    if isinstance(names, str):
        raise TypeError(f"rule: {argument}={names!r} is one string; write {argument}=({names!r},)")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"rule: {argument} holds {name!r}, which is not a string")
        if not name.isidentifier() or iskeyword(name) or name.startswith("_"):
            raise ValueError(f"rule: {argument} name {name!r} is not a public identifier")
        if name in reserved:
            raise ValueError(f"rule: {argument} name {name!r} is reserved; choose another")
    if len(set(names)) != len(names):
        raise ValueError(f"rule: {argument}={tuple(names)!r} names something twice")
