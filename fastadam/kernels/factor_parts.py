"""The passes before that of a rule with factors, each as a rule of its own with its streams.

The first adds the terms of each row and, for groups of rows, of each column; the second adds the
groups; the others compute the new numbers of rows and columns, and what the rule reads of them. The
sums of columns are zero before a step and after it.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..rules import ROW, SIZE, Rule, rule
from ..rules.functions import added
from .formats import FLOAT, Formats, floats
from .row_pieces import COLUMN_SPAN, ROW_LENGTH
from .rule_streams import extras_of
from .storage.base import ROW as PER_ROW
from .storage.block_sums import Sums
from .storage.elementwise import Single
from .storage.rows import ColumnNumber, RowNumber, RowSum
from .stream import Stream
from .transforms import STATE, SUM, of_gradients, staged

ROW_MEAN, COLUMN_SUM, TOTAL = SUM + "row_mean", SUM + "column_sum", SUM + "total"
NEW, COUNT = SUM + "new", SUM + "count"
LENGTHS = (Stream(ROW_LENGTH, Single("int64"), "r"), Stream(COLUMN_SPAN, Single("int64"), "r"))


class Pass(NamedTuple):
    """A rule with the streams of its kernel, and those of its sums over rows."""

    rule: Rule
    streams: tuple[Stream, ...]
    terms: tuple[Stream, ...] = ()


def line_sums(inner: Rule, options: tuple[str, ...], formats: Formats) -> Pass:
    """The pass that writes the mean of the terms of each row, and adds those of each column."""
    names = of_gradients(options)
    one, number = _kept(inner, _line_sums), Stream(SUM + SIZE, Single(formats.compute), "r")
    read = (
        Stream("param", formats.param_storage, "r"),
        Stream("grad", formats.grad_storage, "r"),
    )
    row, columns = RowNumber(formats.compute), ColumnNumber("float64")
    extras = [stream._replace(mode="r") for stream in extras_of(names, formats)]
    streams = (
        *read,
        Stream(ROW_MEAN, row, "w"),
        Stream(COLUMN_SUM, columns),
        Stream(TOTAL, RowSum(formats.compute), "r"),
        number,
        *LENGTHS,
        *extras,
    )
    terms = (
        *read,
        Stream(ROW_MEAN, row, "r"),
        Stream(COLUMN_SUM, columns, "r"),
        Stream(TOTAL, Sums(".folded.scratch", PER_ROW), "w"),
        *extras,
    )
    return Pass(staged(one, names), streams, terms)


def _line_sums(inner: Rule) -> Rule:
    assert inner.factors
    term = inner.factors.term

    def entry(param, grad, state, h):
        return (term(grad, h),)

    def summed(param, grad, state, h, s):
        return param, (s.total / s.size, added(state[1], np.float64(term(grad, h))))

    summed.__name__ = f"{inner.name}_lines"
    names = ("row_mean", "column_sum"), inner.hyper, inner.exact
    made = Rule(summed, *names, ("total",), ROW, Rule(entry, *names))
    return replace(made, row_state=names[0][:1], column_state=names[0][1:])


@rule(state=("column_sum", "length", "span"))
def groups_added(param, grad, state, h):
    return param, (state[0] + grad, state[1], state[2])


GROUPS = Pass(
    groups_added,
    (
        Stream("param", FLOAT["float64"], "r"),
        Stream("grad", FLOAT["float64"], "rz"),
        Stream(COLUMN_SUM, ColumnNumber("float64")),
        *LENGTHS,
    ),
)


def rows_updated(inner: Rule, compute: str) -> Pass:
    """The pass over the numbers of rows: those of a matrix are a row of it."""
    number = floats(compute, compute)
    read = (
        Stream("grad", number, "r"),
        Stream(STATE + inner.row_state[0], number, "r"),
    )
    streams = (
        Stream("param", number, "w"),
        *read,
        Stream(NEW, number, "w"),
        Stream(TOTAL, RowSum(compute), "r"),
        Stream(SUM + SIZE, Single(compute), "r"),
        LENGTHS[0],
    )
    terms = (
        Stream("param", number, "r"),
        *read,
        Stream(NEW, number, "r"),
        Stream(TOTAL, Sums(".folded.scratch", PER_ROW), "w"),
    )
    return Pass(staged(_kept(inner, _rows_updated), ()), streams, terms)


def _rows_updated(inner: Rule) -> Rule:
    assert inner.factors
    average, row = inner.factors.average, inner.factors.row

    def entry(param, grad, state, h):
        return (average(state[0], grad, h),)

    def updated(param, grad, state, h, s):
        new = average(state[0], grad, h)
        return row(new, s.total / s.size, h), (state[0], new)

    updated.__name__ = f"{inner.name}_rows"
    names = ("old", "new"), inner.hyper, inner.exact
    return Rule(updated, *names, ("total",), ROW, Rule(entry, *names))


def columns_updated(inner: Rule, compute: str) -> Pass:
    """The pass over the numbers of columns."""
    number = floats(compute, compute)
    streams = (
        Stream("param", number, "w"),
        Stream("grad", floats("float64", compute), "rz"),
        Stream(STATE + inner.column_state[0], number, "r"),
        Stream(NEW, number, "w"),
        Stream(COUNT, Single(compute), "r"),
    )
    return Pass(_kept(inner, _columns_updated), streams)


def _columns_updated(inner: Rule) -> Rule:
    assert inner.factors
    average, column = inner.factors.average, inner.factors.column

    def updated(param, grad, state, h):
        new = average(state[0], grad / state[2], h)
        return column(new, h), (state[0], new, state[2])

    updated.__name__ = f"{inner.name}_columns"
    return Rule(updated, ("old", "new", "count"), inner.hyper, inner.exact)


def _kept(inner: Rule, make: Any) -> Rule:
    """A rule made from another, once."""
    if make not in inner.staged:
        inner.staged[make] = make(inner)
    made: Rule = inner.staged[make]
    return made
