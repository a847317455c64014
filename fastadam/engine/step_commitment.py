"""Commitment of a step: its launches, and everything that changes with them, all or nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..kernels.commit import Operation, commit, counter, put, repeated
from ..kernels.cpu import openmp, threads
from .accumulation import Window
from .files import OptimizerFiles
from .launch import Launch
from .state import Carried, State
from .tensor_groups import TensorGroups


class StepCommitment:
    """The launches of an update, and what is counted, carried and written to files with them.

    Args:
        state: the count of steps, and the numbers carried from step to step.
        launches: the launches of an update.
        limit: the number of their threads.
        restart: the operations that begin a new accumulation window.
        carries: whether numbers are carried from step to step.
        groups: for launches whose sums are computed with them, the groups of tensors.

    Attributes:
        small: whether threads would cost more than they gain.
        repeated: each `next` launches everything, and counts.
        files: those that launches stream through, or None.
    """

    files: OptimizerFiles | None = None

    def __init__(
        self,
        state: State,
        launches: Sequence[Launch],
        limit: threads.Limit,
        restart: Sequence[Operation],
        carries: bool,
        groups: Mapping[Launch, TensorGroups],
    ) -> None:
        self._state, self._launches, self._limit = state, launches, limit
        self._restart, self._carries, self._groups = restart, carries, groups
        self.small = all(launch.table.small for launch in launches)
        self._serial = [launch.table.serial for launch in launches] if self.small else []
        self.count()

    def count(self) -> None:
        """Count each commitment, starting from the present count."""
        self._counter: Iterator[Any] = counter(self._state, "count")
        self._here: Any = None  # the threads of `repeated`
        self.repeated = repeated(self._serial, self._counter)

    def again(self, others: Sequence[Operation] = ()) -> None:
        """Commit a step of which nothing but `others` differs from the one before."""
        if not self.small and not self._repeats_here():
            self.run(others, True, (), None)
        elif others:
            commit([self.repeated.__next__, *others])
        else:
            next(self.repeated)

    def _repeats_here(self) -> bool:
        """True if `repeated` has the launches of large arrays, on the present threads."""
        here = threads.tasks_here(self._limit), openmp.team
        if here != self._here and here[0]:
            chosen = [launch.table.chosen(self._limit) for launch in self._launches]
            self.repeated, self._here = repeated(chosen, self._counter), here
        return here[0] > 0

    def run(
        self,
        others: Sequence[Operation],
        active: bool,
        numbers: Sequence[Carried],
        created: Mapping[str, Sequence[Any]] | None,
    ) -> None:
        """Commit a step.

        Args:
            others: more operations that belong to it.
            active: whether any parameter takes part, so that the step counts.
            numbers: for each cohort the numbers it carries after the step.
            created: the state, if some of it is new.
        """

        def operations(threaded: bool) -> list[Operation]:
            return self._operations(threaded, others, active, numbers, created)

        if self.small or not active:
            commit(operations(False))
        else:
            threads.run(operations, self._limit)

    def _operations(
        self,
        threaded: bool,
        others: Sequence[Operation],
        active: bool,
        numbers: Sequence[Carried],
        created: Mapping[str, Sequence[Any]] | None,
    ) -> list[Operation]:
        launches: list[Operation] = []
        changes: dict[str, Any] = {}
        if active:
            for launch in self._launches:
                source = self._groups.get(launch, launch.table)
                launches += source.operations(self._limit, threaded)
        if self._carries:
            changes["grouping"] = self._state.grouping._replace(carried=numbers)
        counted = [self._counter.__next__] if active else []
        operations = [*launches, *self._restart, *put(self._state, **changes), *others, *counted]
        if self.files is None:
            return operations
        if created:
            changes["arrays"] = created
        if self._restart:
            changes["window"] = Window(0, [False] * len(self._state.active))
        count = self._state.count + active
        return self.files.surrounded(operations, f"step {count}", count=count, **changes)
