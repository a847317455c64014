"""The launch of a parameter whose gradient is row-sparse."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.commit import Operation
from ..kernels.formats import Formats
from ..kernels.row_list import RowList, can_list
from ..kernels.rule_streams import streams
from ..kernels.transforms import STATE, TOUCHED, caught_up
from ..memory.row_table import RowTable, SortedRows
from ..rules import ROW, Rule
from ..rules.algorithm import Algorithm, Values
from .backend import HOST, backend_of
from .columns import ROW_STEP, columns_for, row_steps
from .launch import Launch, kernel_for
from .options import Options
from .row_gradient import RowGradient
from .row_order import distinct

if TYPE_CHECKING:
    from .state import Grouping


WIDE = 16  # elements of a row from which prefetching pays


class RowLaunch(Launch):
    """A kernel over the rows of one parameter that have a gradient.

    With `lazy="rows"` and `"exact"` the state has a number for each row: its count of steps, or
    the last step that it took. The constants depend on it; there is one record for each distinct
    number.

    Args:
        rule: the rule of the parameter.
        formats: the formats of the parameter, its gradient and its state.
        names: the options of the kernel.
        params: all parameters.
        member: the number of this parameter.
        gradient: its row-sparse gradient.
        options: the options of the optimizer.
        idle: the rule of steps without a gradient, for `lazy="exact"`.
        length: the number of elements of a row.
    """

    table: RowTable
    by_row = True

    def __init__(
        self,
        rule: Rule,
        formats: Formats,
        names: tuple[str, ...],
        params: Sequence[Any],
        member: int,
        gradient: RowGradient,
        options: Options,
        idle: Rule | None,
        length: int = 1,
    ) -> None:
        kept = tuple(columns_for(rule.state, formats).values())
        self.lazy, self._gradient, self._idle = options.lazy != "torch", gradient, idle
        self._fresh = False
        self._steps: Any = None
        if rule.state:
            gradient.block = formats.state_storage.block
        gradient.threads, gradient.measured = options.team, options.measures
        if gradient.partial:
            names = (*names, TOUCHED)
        if self.lazy:
            kept = (*kept, row_steps(gradient.width))
            if gradient.partial:
                raise ValueError(
                    f"lazy={options.lazy!r} with state_dtype='int8' needs rows of whole blocks of "
                    f"{gradient.block} elements, not of {gradient.width}; leave one of them out, "
                    "or set a larger min_quantized_size"
                )
        whole = caught_up(rule, idle) if idle else rule
        used = streams(whole, names + formats.options, formats)
        alike = rule.over != ROW or length == gradient.width
        host = backend_of(params[member]) is HOST
        self._listed = host and alike and can_list(used, gradient.width)
        gradient.lazy, gradient.apart = self.lazy, self.lazy or self._listed
        form = RowList(gradient.width, self.lazy) if self._listed else None
        scattered = gradient.width >= WIDE and not form
        kernel = kernel_for(whole, formats, names, params[member], scattered, form)
        super().__init__(whole, kernel, params, [member], kept, [length])
        self.rule = rule  # the rule of the group; the kernel may have that of idle steps besides

    def _table(self, params: Sequence[Any], records: int) -> RowTable:
        made = self._gradient.list if self._listed else self._gradient.table
        return made(self.kernel, records, self.lengths[0])

    def start(self, stream: str, lacks: Mapping[int, float]) -> None:
        if stream == STATE + ROW_STEP:
            self._fresh = self._fresh or bool(lacks)
        elif any(lacks.values()):
            raise ValueError(
                f"Rows: the dtype of state {stream.removeprefix(STATE)!r} cannot represent its "
                "initial value, which only a dense first step corrects; leave state_dtype out"
            )
        super().start(stream, lacks)

    def check_dense(
        self, active: Sequence[bool], state: Mapping[str, Sequence[Any]], names: Sequence[str]
    ) -> None:
        """Do nothing: the gradient is not dense."""

    def write_rows(self, grouping: "Grouping", state: Mapping[str, Sequence[Any]]) -> None:
        super().write_rows(grouping, state)
        array = state[ROW_STEP][self.members[0]] if self.lazy else None
        self._steps = None if array is None else self._gradient.steps_in(array.reshape(-1))

    def ready(self, author: Algorithm, values: Values, step: int, since: int) -> list[Operation]:
        """Set the rows of the step in the table, and write their constants.

        Args:
            author: the optimizer, whose `hyper` returns the constants.
            values: the hyperparameters of the parameter.
            step: the step count of the parameter after this step.
            since: the number of its first steps that `hyper` does not count.

        Returns:
            The operation that counts the step for each row, if rows are counted.

        Raises:
            TypeError, ValueError: if `hyper` does not return a number for each name.
        """
        if not self.lazy:
            self.spread()
            return []
        if self._fresh:  # rows start at the step count of the parameter
            self._steps.fill(step - 1)
            self._fresh = False
        last = self._steps[self._gradient.numbers]
        counts = step - 1 - last if self._idle else last + 1
        known, records = distinct(counts)
        self.table.records_for(len(known))
        for place, count in enumerate(known.tolist()):
            write = self.writer(place)
            if self._idle:
                write({**author.hyper(values, step - since), **author.idle_hyper(values, count)})
            else:
                write(author.hyper(values, count))
        self.spread(records)
        after = np.full_like(last, step) if self._idle else counts
        return [partial(self._steps.__setitem__, self._gradient.numbers, after)]

    def spread(self, records: Any = None) -> None:
        """Set the rows of the step in the table; `records` has one for each row, or is None."""
        runs = self._gradient.runs
        if isinstance(runs, SortedRows):
            self.table.spread_rows("grad", runs)
            return
        packed = {"grad": runs.grads}
        if runs.touched is not None:
            packed[TOUCHED] = runs.touched
        self.table.spread((runs.starts, runs.stops), packed, records)


def check_rows_go_with(rule: Rule, rows: RowGradient, length: int = 1) -> None:
    """Refuse a row-sparse gradient for a rule with sums over all elements, or over rows of another
    length than `length`.

    Raises:
        ValueError: naming the gradient.
    """
    if rule.in_two_passes:
        doing = f"adds up {', '.join(rule.sums)} of" if rule.sums else "transforms"
        raise ValueError(
            f"{rows.name} is Rows, but {rule.name} {doing} whole arrays; give an array"
        )
    if rows.width % length:
        raise ValueError(
            f"{rows.name} is Rows of {rows.width} elements, but {rule.name} adds up "
            f"{', '.join(rule.sums)} of rows of {length}; give an array"
        )


def launch_of(
    key: tuple[Rule, Formats, RowGradient | None],
    members: Sequence[int],
    names: tuple[str, ...],
    params: Sequence[Any],
    options: Options,
    idle: Rule | None,
    lengths: Sequence[int],
    spans: Sequence[int],
) -> Launch:
    """The launch of parameters that have the same rule and formats, or of one with its rows.

    Args:
        key: the rule, the formats, and the row-sparse gradient or None.
        members: the numbers of the parameters.
        names: the options of the kernel.
        params: all parameters.
        options: the options of the optimizer.
        idle: see `RowLaunch`.
        lengths: the number of elements of a row of each member, 1 for rules without rows.
        spans: the number of elements of a matrix, for rules with factors.
    """
    rule, shared, rows = key
    formats = shared.of_any_row
    if rows:
        length = lengths[0]
        check_rows_go_with(rule, rows, length)
        return RowLaunch(rule, formats, names, params, members[0], rows, options, idle, length)
    kept = tuple(columns_for(rule.state, formats).values())
    kernel = kernel_for(rule, shared, names, params[0])
    return Launch(rule, kernel, params, members, kept, lengths, spans)
