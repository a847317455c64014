"""One launch: all parameters of one rule variant and dtype, with their kernel and their table."""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..kernels.commit import Operation
from ..kernels.factory import Kernel, kernel
from ..kernels.formats import Formats
from ..kernels.row_list import RowList
from ..kernels.row_pieces import COLUMN_SPAN, ROW_LENGTH
from ..kernels.rule_streams import of_elements, streams, streams_of_terms
from ..kernels.storage.base import COLUMN as BY_COLUMN
from ..kernels.storage.base import ROW as BY_ROW
from ..kernels.storage.base import WHOLE
from ..kernels.transforms import SUM, staged
from ..memory.checks import address, addresses
from ..memory.dtypes import name_of, named
from ..memory.launch_table import SKIPPED, Table
from ..rules import ROW, SIZE, Rule
from ..rules.algorithm import Algorithm, Values
from .backend import backend_of
from .columns import ROW_STEP, StateColumn, alike, with_rows
from .options import Options
from .partition import Piece

if TYPE_CHECKING:
    from .state import Grouping


def kernel_for(
    rule: Rule,
    formats: Formats,
    options: tuple[str, ...] = (),
    like: Any = None,
    scattered: bool = False,
    listed: RowList | None = None,
) -> Kernel:
    """The kernel of a rule with options.

    Args:
        rule: the rule.
        formats: the formats of parameter, gradient and state.
        options: the names of the options.
        like: an array on the device of the kernel; None: the host.
        scattered: True for runs of elements that are far apart in memory.
        listed: True for rows that are given by a list.

    Raises:
        TypeError: for a rule that cannot be compiled.
    """
    names = options + formats.options
    target = backend_of(like).target
    if rule.over == ROW and formats.of_single_elements:
        return kernel(*of_elements(rule, names, formats), target, scattered)
    terms = streams_of_terms(rule, names, formats) if rule.over == ROW else ()
    return kernel(
        staged(rule, names), streams(rule, names, formats), target, scattered, terms, listed
    )


NOT_CONSTANTS = (KeyError, TypeError, struct.error, OverflowError)


class Launch:
    """A kernel and the table of some parameters.

    Attributes:
        rule: the rule.
        kernel: the kernel.
        table: the table of addresses and constants.
        members: the numbers of the parameters in the optimizer.
        sizes: the number of elements of each of them.
        kept: the state columns.
        lengths: the number of elements of a row of each, for kernels over rows; else 1.
        spans: the number of elements of a matrix of each, for kernels with numbers of columns.
        units: the number of elements that may not be divided among chunks.
        numbers: the numbers that options read for each parameter, by name; the host writes them.
        draws: the random stream of each parameter: one number, or an array.
        late: for each parameter, the optimizer's step count less its own; likewise.
        by_row: True for a launch over some rows of a parameter.
        lazy: True if these rows have constants of their own.
    """

    by_row = lazy = False

    def __init__(
        self,
        rule: Rule,
        kernel: Kernel,
        params: Sequence[Any],
        members: Sequence[int],
        kept: Sequence[StateColumn] = (),
        lengths: Any = 1,
        spans: Any = 1,
        units: Any = None,
    ) -> None:
        self.rule, self.kernel, self.members, self.kept = rule, kernel, members, kept
        self._hyper = rule.hyper
        self.draws: Any = np.array(members, np.uint32) if len(members) > 1 else members[0]
        self.late: Any = 0
        mine = [params[i] for i in members]
        self.sizes = [param.size for param in mine]
        self.lengths, self.spans, self.units = lengths, spans, lengths if units is None else units
        self._dtypes = [named(name_of(param.dtype)) for param in mine]
        self.table = self._table(mine, len(params))
        self.table.place("param", [address(param) for param in mine])
        self.numbers: dict[str, Any] = {}
        rooms: dict[str, tuple[Any, Any]] = {}
        for stream in self.kernel.streams:
            for part, column in enumerate(stream.storage.stored):
                if column.per == WHOLE:
                    name = column.part or stream.name
                    if name not in rooms:
                        rooms[name] = self.table.room(column.dtype, len(members))
                    self.numbers[name], places = rooms[name]
                    self.table.place(stream.name, places, part)
        if ROW_LENGTH in self.numbers:
            self.set_number(ROW_LENGTH, self.lengths)
            if SUM + SIZE in self.numbers:  # the size of rows; sums over parameters set another
                self.set_number(SUM + SIZE, self.lengths)
        if COLUMN_SPAN in self.numbers:
            self.set_number(COLUMN_SPAN, self.spans)

    @property
    def wanted(self) -> list[tuple[StateColumn, Sequence[int]]]:
        """The state columns, each with the parameters that have it."""
        found = list[tuple[StateColumn, Sequence[int]]]()
        for kept in self.kept:
            if kept.column.per not in (BY_ROW, BY_COLUMN):
                found.append((kept, self.members))
                continue
            lengths = self.lengths
            if kept.column.per == BY_COLUMN:
                lengths = [span // n for span, n in zip(self.spans, lengths, strict=True)]
            for length, places in alike(lengths).items():
                found.append((with_rows(kept, length), [self.members[k] for k in places]))
        return found

    def _table(self, params: Sequence[Any], records: int) -> Table:
        sizes = [param.size for param in params]
        return backend_of(params[0]).table(self.kernel, sizes, records, self.units)

    def writer(self, number: int) -> Callable[[Mapping[str, float]], None]:
        """A function that stores the constants that `hyper` returned as record `number`.

        It raises ValueError for missing and unknown names and for numbers that are too large, and
        TypeError for anything that is not a number.
        """
        pick, size, refuse = _picker(self._hyper), len(self._hyper), self._refuse
        pack = partial(self.table.pack, number * self.kernel.record.size)

        def write(constants: Mapping[str, float]) -> None:
            try:
                pack(*pick(constants))
            except NOT_CONSTANTS:
                refuse(constants)
            if len(constants) != size:
                refuse(constants)

        return write

    def _refuse(self, constants: Any) -> NoReturn:
        """Raise the error for an invalid result of `hyper`.

        Raises:
            TypeError: for anything that is not a number.
            ValueError: for missing and unknown names, and for numbers that are too large.
        """
        if not isinstance(constants, Mapping):
            raise TypeError(f"hyper() returned {constants!r}; give a dict with {self._hyper}")
        missing = [name for name in self._hyper if name not in constants]
        added = [name for name in constants if name not in self._hyper]
        if missing or added:
            raise ValueError(
                f"hyper() must return one number for each name of its rule; "
                f"missing: {missing}, not in the rule: {added}"
            )
        if all(isinstance(constant, Real) for constant in constants.values()):
            compute = self.kernel.streams[0].storage.compute
            most = float(np.finfo(compute).max)
            large = [f"{name}={n!r}" for name, n in constants.items() if not -most <= n <= most]
            raise ValueError(
                f"hyper() returned {', '.join(large) or constants}, too large for {compute}; make "
                "the hyperparameters smaller that it follows from, such as lr"
            )
        raise TypeError(f"hyper() returned {constants}; give numbers")

    def take_pieces(self, pieces: Sequence[Piece]) -> None:
        """Declare the parameters pieces of longer ones; `pieces` has one for each parameter."""
        mine = [pieces[i] for i in self.members]
        numbers = [piece.number for piece in mine]
        self.draws = np.array(numbers, np.uint32) if len(mine) > 1 else numbers[0]
        self.table.begin_at([piece.start for piece in mine])

    def place(self, stream: str, addresses: Sequence[int], part: int = 0) -> None:
        """Set the addresses of arrays in the table, given for all parameters of the optimizer."""
        self.table.place(stream, [addresses[i] for i in self.members], part)

    def has(self, stream: str) -> bool:
        """True if the kernel has a stream of this name."""
        return stream in self.table.streams

    def set_number(self, option: str, number: Any) -> None:
        """Set the number of an option, or one number per parameter."""
        self.numbers[option][...] = number

    def bound(self, options: Sequence[Options]) -> None:
        """Set the bounds of the parameters, rounded to their dtypes.

        Args:
            options: the options of each parameter of the optimizer.
        """
        for name, free in (("lower", -math.inf), ("upper", math.inf)):
            if name not in self.numbers:
                continue
            bounds = [getattr(options[i], name) for i in self.members]
            pairs = zip(bounds, self._dtypes, strict=True)
            with np.errstate(over="ignore"):  # overflow gives infinity, which is no bound
                self.set_number(
                    name,
                    [free if bound is None else dtype.type(bound) for bound, dtype in pairs],
                )

    def start(self, stream: str, lacks: Mapping[int, float]) -> None:
        """Set the rounding error of the initial values of new state, by parameter, for the next
        step."""
        if stream in self.numbers:
            for place, member in enumerate(self.members):
                if member in lacks:
                    self.numbers[stream][place] = lacks[member]

    def choose(self, records: Sequence[int]) -> None:
        """Set the record of each parameter of the optimizer, or SKIPPED."""
        self.table.rows[:, 0] = [records[i] for i in self.members]

    def check_dense(
        self, active: Sequence[bool], state: Mapping[str, Sequence[Any]], names: Sequence[str]
    ) -> None:
        """Refuse dense gradients for parameters whose steps are counted for each row.

        Raises:
            ValueError: naming the parameter.
        """
        counts = state.get(ROW_STEP)
        for i in self.members if counts else ():
            if counts and counts[i] is not None and active[i]:
                raise ValueError(
                    f"the gradient of {names[i]} is an array, but its steps are counted by row, as "
                    "lazy= asks; give fa.Rows(np.arange(len(grad)), grad), or use lazy='torch'"
                )

    def ready(self, author: Algorithm, values: Values, step: int, since: int) -> list[Operation]:
        """The operations of a step besides the launch; a launch by rows is prepared for it."""
        return []

    def write_rows(self, grouping: "Grouping", state: Mapping[str, Sequence[Any]]) -> None:
        """Set the addresses of state and the record of each parameter in the table."""
        cohorts = grouping.cohorts
        self.choose([k if cohorts[k].active else SKIPPED for k in grouping.cohort_of])
        for name, stream, part, _ in self.kept:
            if stream.name not in self.table.streams:
                continue
            arrays = [state[name][i] for i in self.members]
            if stream.storage.stored[part].per == BY_ROW:
                self._check_rows(name, arrays)
            places = addresses(arrays)
            self.table.place(stream.name, places, part)

    def _check_rows(self, name: str, arrays: Sequence[Any]) -> None:
        """Refuse state whose number of rows is not that of its parameter.

        Raises:
            ValueError: naming the state.
        """
        for array, size, length in zip(arrays, self.sizes, self.lengths, strict=True):
            if array is not None and array.size != size // length:
                raise ValueError(
                    f"state {name!r} has numbers of {array.size} rows, but hyperparameters ask "
                    f"for {size // length}; set these back, or make a new optimizer"
                )


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, float]], Sequence[float]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda constants: [constants[name] for name in names]
