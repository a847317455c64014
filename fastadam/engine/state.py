"""State of the parameters: its arrays, and the number of steps that each parameter has taken."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from ..kernels.commit import Operation, Write, put, write
from ..kernels.transforms import STATE
from ..memory.checks import Span, span
from ..memory.dtypes import named
from ..memory.placement import STATE as STATE_PLACE
from ..rules import Rule
from .backend import backend_of
from .columns import ROW_STEP, StateColumn, alike, line_shape
from .options import Options

Carried = tuple[float, ...]


def start_of(kept: StateColumn, initial: Mapping[str, float]) -> float:
    """The initial value of all elements of an array of state."""
    value = initial.get(kept.stream.name.removeprefix(STATE), 0)
    start = kept.column.start
    return value if start is None or not value else start


class Ruled(Protocol):
    """A group of parameters that one rule updates."""

    rule: Rule
    idle: Rule | None
    options: Options
    params: Any


class Cohort:
    """Parameters of one group with the same step count, and therefore the same constants.

    Attributes:
        group: the number of the group.
        step: the number of steps taken.
        active: True if the parameters take part in steps.
        since: the number of steps before the state was created, which `hyper` does not count.
        base: the optimizer's step count less the cohort's, constant while the cohort is active.
    """

    __slots__ = ("active", "base", "group", "since", "step")

    def __init__(self, group: int, step: int, active: bool, since: int, count: int) -> None:
        self.group, self.step, self.active, self.since = group, step, active, since
        self.base = count - step

    def steps(self, count: int) -> int:
        """The number of its steps when the optimizer's step count is `count`."""
        return count - self.base if self.active else self.step


class Grouping(NamedTuple):
    """The cohorts of all parameters; immutable, and replaced as a whole.

    Attributes:
        cohorts: the cohorts.
        cohort_of: for each parameter, the number of its cohort.
        active: for each parameter, True if it takes part in steps.
        carried: for each cohort, the host numbers carried from step to step, such as NAdam's
            product of momentum factors.
    """

    cohorts: Sequence[Cohort] = ()
    cohort_of: Sequence[int] = ()
    active: Sequence[bool] = ()
    carried: Sequence[Carried] = ()


def _lost(kept: StateColumn, values: Sequence[float]) -> list[float]:
    """Rounding errors of initial values of state.

    Raises:
        ValueError: if a value is too large for the arithmetic.
    """
    lost, storage = list[float](), cast(Any, kept.stream.storage)
    with np.errstate(all="ignore"):
        for value in values:
            number = np.dtype(storage.compute).type(value)
            lost.append(float(number - storage.held(number)) if value else -0.0)
            if not np.isfinite(lost[-1]):
                name = kept.stream.name.removeprefix(STATE)
                raise ValueError(f"initial(): {name}={value} is too large for float32")
    return lost


def spans(arrays: Mapping[str, Sequence[Any]]) -> list[Span]:
    """The memory of arrays of state."""
    return [
        span(array, f"state[{name!r}][{number}]")
        for name, column in arrays.items()
        for number, array in enumerate(column)
        if array is not None
    ]


class Store(Protocol):
    """A place for state other than memory."""

    def array(self, name: str, number: int) -> Any:
        """An array of the state of a parameter, with saved or with initial values.

        Raises:
            ValueError: if the store has no place for it.
        """

    def check_start(self, name: str, number: int, start: float) -> None:
        """Refuse another initial value than that of the arrays.

        Raises:
            ValueError: naming both.
        """


class State:
    """State arrays by name, one per parameter or None, and step counters, one per cohort.

    A step changes `count`, and `grouping` if numbers are carried; the commitment of the step sets
    both, or neither.

    Attributes:
        arrays: for each name of state, an array or None for each parameter.
        grouping: the cohorts.
        count: the number of steps of the optimizer that updated any parameter.
        pending: steps in progress on a device, which decides whether they count; or None.
        store: allocates the arrays; None: they are in memory.
    """

    store: Store | None = None

    def __init__(self) -> None:
        self.arrays: dict[str, list[Any]] = {}
        self.grouping = Grouping()
        self.count = 0
        self.pending: Any = None

    @property
    def cohorts(self) -> Sequence[Cohort]:
        return self.grouping.cohorts

    @property
    def active(self) -> Sequence[bool]:
        """For each parameter, True if it takes part in steps."""
        return self.grouping.active

    def extended(self, groups: Sequence[Ruled], carried: Carried) -> list[Operation]:
        """The operations that add parameters of new groups, which have taken no step."""
        old, sizes = self.grouping, [len(group.params) for group in groups]
        first, group = len(old.cohorts), 1 + max((c.group for c in old.cohorts), default=-1)
        fresh = [Cohort(group + k, 0, True, 0, self.count) for k, _ in enumerate(groups)]
        grouping = Grouping(
            [*old.cohorts, *fresh],
            [*old.cohort_of, *(first + k for k, size in enumerate(sizes) for _ in range(size))],
            [*old.active, *[True] * sum(sizes)],
            [*old.carried, *[carried] * len(groups)],
        )
        known = self.with_names(name for group in groups for name in group.rule.all_state)
        arrays = {name: [*each, *[None] * sum(sizes)] for name, each in known.items()}
        return put(self, grouping=grouping, arrays=arrays)

    def resolve(self) -> None:
        """Count all steps that were taken; waits for the device."""
        if self.pending:
            self.pending.resolve()

    def know(self, names: Iterable[str]) -> list[Operation]:
        """The operations that add state of these names, without arrays yet."""
        return put(self, arrays=self.with_names(names))

    def with_names(self, names: Iterable[str]) -> dict[str, list[Any]]:
        """The arrays, with None for each parameter under new names."""
        arrays = dict(self.arrays)
        for name in names:
            if name not in arrays:
                arrays[name] = [None] * len(self.grouping.cohort_of)
        return arrays

    @property
    def steps(self) -> list[int]:
        """The number of steps each parameter has taken."""
        self.resolve()
        grouping = self.grouping
        each = [cohort.steps(self.count) for cohort in grouping.cohorts]
        return [each[number] for number in grouping.cohort_of]

    @property
    def carried(self) -> list[Carried]:
        """The host numbers of each parameter."""
        self.resolve()
        grouping = self.grouping
        return [grouping.carried[number] for number in grouping.cohort_of]

    @property
    def since(self) -> list[int]:
        """For each parameter, the number of its steps before its state was created."""
        grouping = self.grouping
        return [grouping.cohorts[number].since for number in grouping.cohort_of]

    def begin(self, rules: Sequence[Rule]) -> None:
        """Count steps from now on for parameters whose state is yet to be created.

        For optimizers without a saved step count in PyTorch, the existence of state is all that a
        checkpoint tells about earlier steps.

        Args:
            rules: the rule of each parameter.
        """
        arrays = self.with_names(name for rule in rules for name in rule.state)
        fresh = [
            any(arrays[name][number] is None for name in rule.state)
            for number, rule in enumerate(rules)
        ]
        if any(fresh):
            both = zip(fresh, self.steps, self.since, strict=True)
            since = [step if new else known for new, step, known in both]
            self.regroup(self.steps, self.carried, self.active, since)

    def regroup(
        self,
        steps: Sequence[int],
        carried: Sequence[Carried],
        active: Sequence[bool],
        since: Sequence[int] | None = None,
    ) -> None:
        """Replace the cohorts; arguments as for `grouped`, `since` unchanged by default."""
        self.grouping = self.grouped(steps, carried, active, since or self.since)

    def grouped(
        self,
        steps: Sequence[int],
        carried: Sequence[Carried],
        active: Sequence[bool],
        since: Sequence[int],
    ) -> Grouping:
        """The cohorts of the parameters, at the current step count.

        Args:
            steps: the number of steps that each parameter has taken.
            carried: the numbers that each carries.
            active: for each, True if it takes part in steps.
            since: for each, the number of steps that `hyper` does not count.
        """
        return self._grouping(steps, carried, active, since, self.count)

    def recounted(self, count: int) -> list[Operation]:
        """The operations that set the optimizer's step count, but not those of the parameters."""
        grouping = self._grouping(self.steps, self.carried, self.active, self.since, count)
        return put(self, count=count, grouping=grouping)

    def _grouping(
        self,
        steps: Sequence[int],
        carried: Sequence[Carried],
        active: Sequence[bool],
        since: Sequence[int],
        count: int,
    ) -> Grouping:
        numbers: dict[tuple[int, int, Carried, bool, int], int] = {}
        old = self.grouping
        groups = [old.cohorts[number].group for number in old.cohort_of]
        keys = zip(groups, steps, carried, active, since, strict=True)
        cohort_of = [numbers.setdefault(key, len(numbers)) for key in keys]
        cohorts = [
            Cohort(group, step, there, before, count) for group, step, _, there, before in numbers
        ]
        return Grouping(cohorts, cohort_of, list(active), [key[2] for key in numbers])

    def created(
        self,
        wanted: Iterable[tuple[StateColumn, Sequence[int]]],
        params: Sequence[Any],
        initial: Sequence[Mapping[str, float]],
    ) -> tuple[dict[str, list[Any]], list[dict[int, float]]]:
        """The arrays of state, including new ones for active parameters without state.

        Args:
            wanted: pairs of a state column and the parameters that have it.
            params: all parameters.
            initial: the initial values of each group, by name; default 0.

        Returns:
            The arrays, and for each column a dict from the parameters with new arrays to the
            rounding errors of their initial values.

        Raises:
            ValueError: if an initial value is too large for the arithmetic.
        """
        wanted = list(wanted)
        arrays = self.with_names(kept.name for kept, _ in wanted)
        cohorts = [self.cohorts[number] for number in self.grouping.cohort_of]
        lacks = list[dict[int, float]]()
        for kept, numbers in wanted:
            column = arrays[kept.name] = [*arrays[kept.name]]
            missing = [i for i in numbers if column[i] is None and cohorts[i].active]
            name = kept.stream.name.removeprefix(STATE)
            values = [initial[cohorts[i].group].get(name, 0) for i in missing]
            lacks.append(dict(zip(missing, _lost(kept, values), strict=True)))
            if missing:
                for i, array in zip(missing, self.allocated(kept, params, missing), strict=True):
                    column[i] = array
                for i in missing:
                    start = start_of(kept, initial[cohorts[i].group])
                    if self.store:
                        self.store.check_start(kept.name, i, start)
                    elif start:
                        column[i].fill(start)
        return arrays, lacks

    def allocated(
        self, kept: StateColumn, params: Sequence[Any], numbers: Sequence[int]
    ) -> list[Any]:
        """New arrays of a column for some parameters: zeros, each on a cache line of its own.

        From a store, they have saved or initial values.
        """
        if self.store:
            return [self.store.array(kept.name, i) for i in numbers]
        dtype, per = named(kept.column.outside), kept.column.per
        beside, by_row = [params[i] for i in numbers], kept.name == ROW_STEP
        shapes = [line_shape(param.shape, kept.line) for param in beside] if kept.line else []
        counts = [param.shape[0] if by_row else -(-param.size // per) for param in beside]
        counts = [math.prod(shape) for shape in shapes] if shapes else counts
        views = backend_of(beside[0]).zeros_beside(beside, counts, dtype, STATE_PLACE)
        if kept.line:
            return [view.reshape(shape) for view, shape in zip(views, shapes, strict=True)]
        if per != 1 or kept.of_rows:
            return views
        return [view.reshape(param.shape) for param, view in zip(beside, views, strict=True)]

    def restored(
        self,
        params: Sequence[Any],
        entries: Sequence[Mapping[str, Any]],
        kept: Sequence[Mapping[str, StateColumn]],
        steps: Sequence[int],
        carried: Sequence[Carried],
        count: int,
        names: Iterable[str],
        write: Write = write,
    ) -> list[Operation]:
        """The operations that restore saved state; its memory is allocated by this call.

        Args:
            params: all parameters.
            entries: for each parameter, its saved arrays by name.
            kept: for each parameter, its state columns by name.
            steps: for each parameter, its number of steps.
            carried: for each parameter, the numbers that it carries.
            count: the optimizer's step count.
            names: the names of all state.
            write: returns the operation that fills an array.
        """
        self.resolve()
        arrays = self.with_names([*names, *(name for entry in entries for name in entry)])
        operations = []
        for name, column in arrays.items():
            saved = [entry.get(name) for entry in entries]
            live = [None if s is None else k for s, k in zip(saved, column, strict=True)]
            new = [i for i, s in enumerate(saved) if s is not None and live[i] is None]
            for array, places in alike(kept[i][name] for i in new).items():
                numbers = [new[place] for place in places]
                for i, zeros in zip(numbers, self.allocated(array, params, numbers), strict=True):
                    live[i] = zeros
            arrays[name] = live
            pairs = zip(live, saved, strict=True)
            operations += [write(array, values) for array, values in pairs if values is not None]
        none = [0] * len(steps)
        grouping = self._grouping(steps, carried, [True] * len(steps), none, count)
        return operations + put(self, arrays=arrays, grouping=grouping, count=count)
