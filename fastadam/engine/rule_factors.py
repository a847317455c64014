"""The row and column numbers of factored rules: passes before those of their sums."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from ..kernels.factor_parts import (
    COLUMN_SUM,
    COUNT,
    GROUPS,
    NEW,
    ROW_MEAN,
    Pass,
    columns_updated,
    line_sums,
    rows_updated,
)
from ..kernels.factory import Kernel, kernel
from ..kernels.formats import Formats, floats
from ..kernels.stream import Stream
from ..kernels.transforms import FACTOR, STATE
from ..memory.checks import address
from .backend import backend_of
from .columns import StateColumn
from .convert import identity
from .launch import Launch
from .rule_sums import RuleSums
from .step_context import StepContext
from .tensor_groups import TensorGroups, by_some, by_tensor

MOST_ROWS, LEAST_ROWS, GROUPS_OF_A_MATRIX = 64, 4, 16


class Layout:
    """The rows and columns of a parameter of two dimensions or more.

    Attributes:
        rows: the number of rows of a matrix.
        columns: the number of its columns, the elements of a row.
        all_rows, all_columns: those of all matrices together.
        span: the number of elements of a matrix.
        group: the number of elements in a group of rows, whose columns one thread adds up: a few
            rows of one matrix, or all rows of several. It depends on the shape alone, so that the
            results do not depend on the number of threads.
    """

    def __init__(self, formats: Formats, size: int) -> None:
        self.rows, self.columns = formats.column, formats.row
        self.all_rows, self.all_columns = size // self.columns, size // self.rows
        self.span = self.rows * self.columns
        few = min(max(self.rows // GROUPS_OF_A_MATRIX, LEAST_ROWS), MOST_ROWS, self.rows)
        self.group = self.span if size > self.span else few * self.columns

    @property
    def groups(self) -> int:
        """The number of groups of rows."""
        return -(-self.all_rows * self.columns // self.group)


class RuleFactors:
    """The row and column numbers that the launches of a step read, such as those of Adafactor.

    Before the step is committed, only memory of this object is written.

    Args:
        updates: the launches of the update.
        sums: the sums that they read, whose terms depend on row and column numbers.
        context: the arrays and settings of the steps.
        options: the options of the kernels.

    Attributes:
        reading: the launches that read gradients.
        launches: the other launches with the constants of the updates; they read state.
        copies: the launches that write the new state, as part of the commitment; without those
            that are part of groups of tensors.
    """

    def __init__(
        self,
        updates: Sequence[Launch],
        sums: RuleSums,
        context: StepContext,
        options: tuple[str, ...] = (),
    ) -> None:
        self._parts = [
            _Part(update, sums, context, options) for update in updates if update.rule.factors
        ]
        self.reading = [part.reading for part in self._parts]
        self.launches = [launch for part in self._parts for launch in (*part.lines, *part.copies)]
        alone = [part for part in self._parts if not part.join(sums.groups)]
        self.copies = [launch for part in alone for launch in part.copies]
        team = context.options.team
        self._runs = [(part, [*part.runs(team)]) for part in self._parts]

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels that are launched."""
        return [launch.kernel for part in self._parts for launch in part.sequence]

    def run(self) -> None:
        """Compute row and column numbers from the current gradients and state, except those that
        are part of the commitment of a step."""
        for part, runs in self._runs:
            if not (part.groups and part.groups.used):
                for run in runs:
                    run()


class _Part:
    """The passes of one update.

    Attributes:
        groups: the groups of tensors to which they belong, or None.
    """

    groups: TensorGroups | None = None

    def __init__(
        self, update: Launch, sums: RuleSums, context: StepContext, options: tuple[str, ...]
    ) -> None:
        self._update, self._rule, params = update, update.rule, context.arrays
        self._formats = context.formats[update.members[0]].of_any_row
        self._backend, self._params = backend_of(params[0]), params
        self._layouts = [Layout(context.formats[i], params[i].size) for i in update.members]
        compute, layouts = self._formats.compute, self._layouts
        rows, columns = [e.all_rows for e in layouts], [e.all_columns for e in layouts]
        self._means = self._rooms(rows, compute)
        self._partial = self._rooms([e.groups * e.columns for e in layouts], "float64")
        self._totals = self._rooms(columns, "float64")
        self._new = [self._rooms(counts, compute) for counts in (rows, columns)]
        self._factors = [self._rooms(counts, compute) for counts in (rows, columns)]
        for launch in sums.with_terms(update):
            for name, found in zip(self._rule.state, self._factors, strict=True):
                launch.table.place(FACTOR + name, found.addresses)
        self.reading = self._reading(options)
        self._adding = self._adding_groups()
        self.lines = [self._of_rows(), self._of_columns()]
        self.copies = [
            self._copy(name, new) for name, new in zip(self._rule.state, self._new, strict=True)
        ]
        self.sequence = [self.reading, *self._adding, *self.lines, *self.copies]

    def join(self, groups: Mapping[Launch, TensorGroups]) -> bool:
        """Add the passes to the groups of tensors of the update; returns False if it has none."""
        self.groups = groups.get(self._update)
        if self.groups:
            adding = [by_some(launch, launch.members) for launch in self._adding]
            lines, copies = map(by_tensor, self.lines), map(by_tensor, self.copies)
            self.groups.surround([by_tensor(self.reading), *adding, *lines], [*copies])
        return bool(self.groups)

    def runs(self, team: Any) -> Iterator[Callable[[], Any]]:
        """The functions that compute everything, in order."""
        for rooms in (self._partial, self._totals):
            yield lambda zeros=rooms.whole: zeros.fill(0)  # type: ignore[misc]
        for launch in (self.reading, *self._adding, *self.lines):
            yield launch.table.runner(team)

    def _rooms(self, counts: Sequence[int], dtype: str) -> "_Rooms":
        return _Rooms(self._backend.zeros(sum(counts), dtype), counts)

    def _all(self, rooms: "_Rooms") -> list[Any]:
        """The arrays of `rooms`, each at the number of its parameter."""
        found: list[Any] = [None] * len(self._params)
        for number, array in zip(self._update.members, rooms.arrays, strict=True):
            found[number] = array
        return found

    def _kernel(self, made: Pass) -> Kernel:
        return kernel(made.rule, made.streams, self._backend.target, False, made.terms)

    def _reading(self, options: tuple[str, ...]) -> Launch:
        """The pass over gradients."""
        made, groups = line_sums(self._rule, options, self._formats), self._partial
        units = [layout.group for layout in self._layouts]
        launch = Launch(
            self._rule,
            self._kernel(made),
            self._params,
            self._update.members,
            [kept for kept in self._update.kept if kept.stream.name == "param"],
            lengths=[layout.columns for layout in self._layouts],
            spans=units,
            units=units,
        )
        launch.table.place(ROW_MEAN, self._means.addresses)
        several = [layout.groups * layout.columns for layout in self._layouts]
        pairs = zip(several, self._layouts, groups.addresses, self._totals.addresses, strict=True)
        launch.table.place(
            COLUMN_SUM,
            [part if count > layout.all_columns else total for count, layout, part, total in pairs],
        )
        return launch

    def _adding_groups(self) -> list[Launch]:
        """The pass that adds up groups of rows, for matrices with several."""
        members = [
            k
            for k, layout in enumerate(self._layouts)
            if layout.groups * layout.columns > layout.all_columns
        ]
        if not members:
            return []
        arrays, layouts = self._partial.arrays, [self._layouts[k] for k in members]
        whole = [layout.groups * layout.columns for layout in layouts]
        launch = Launch(
            GROUPS.rule,
            self._kernel(GROUPS),
            arrays,
            members,
            lengths=[layout.columns for layout in layouts],
            spans=whole,
            units=whole,
        )
        launch.place("grad", self._partial.addresses)
        launch.place(COLUMN_SUM, self._totals.addresses)
        return [launch]

    def _of_rows(self) -> Launch:
        rows = [layout.rows for layout in self._layouts]
        made = rows_updated(self._rule, self._formats.compute)
        launch = self._line(made, 0, self._means, lengths=rows)
        return launch

    def _of_columns(self) -> Launch:
        made = columns_updated(self._rule, self._formats.compute)
        launch = self._line(made, 1, self._totals)
        launch.set_number(COUNT, [layout.rows for layout in self._layouts])
        return launch

    def _line(self, made: Pass, axis: int, means: "_Rooms", lengths: Any = 1) -> Launch:
        """The pass that computes the new row numbers, or the new column numbers."""
        launch = Launch(
            self._rule,
            self._kernel(made),
            self._all(self._factors[axis]),
            self._update.members,
            [self._state(self._rule.state[axis], STATE + self._rule.state[axis])],
            lengths,
        )
        launch.table.place("grad", means.addresses)
        launch.table.place(NEW, self._new[axis].addresses)
        return launch

    def _state(self, name: str, stream: str) -> StateColumn:
        """The array of state of a name, as a stream of single numbers."""
        compute = self._formats.compute
        return StateColumn(name, Stream(stream, floats(compute, compute)), 0)

    def _copy(self, name: str, new: "_Rooms") -> Launch:
        """The pass that writes the new state."""
        number = floats(self._formats.compute, self._formats.compute)
        streams = (Stream("param", number, "w"), Stream("grad", number, "r"))
        launch = Launch(
            identity,
            kernel(identity, streams, self._backend.target),
            self._all(new),
            self._update.members,
            [self._state(name, "param")],
        )
        launch.table.place("grad", new.addresses)
        return launch


class _Rooms:
    """Arrays in one buffer."""

    def __init__(self, whole: Any, counts: Sequence[int]) -> None:
        self.whole = whole
        stops = [0, *accumulate(counts)]
        self.arrays = [whole[start:stop] for start, stop in pairwise(stops)]
        first = address(whole)
        self.addresses = [first + whole.itemsize * start for start in stops[:-1]]
