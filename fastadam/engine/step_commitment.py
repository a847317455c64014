"""Commitment of a step: its launches and all other changes, all or nothing."""

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
    """The launches of an update, together with step counts, carried numbers and file journals.

    Args:
        state: the step count, and the numbers carried from step to step.
        launches: the launches of an update.
        limit: the threads of a launch.
        restart: the operations that begin a new accumulation window.
        carries: True if numbers are carried from step to step.
        groups: for launches whose sums are computed in the same commitment, the groups of tensors.

    Attributes:
        small: True if one thread is faster than several.
        repeated: an iterator, each `next` of which runs all launches and counts the step.
        files: the files through which launches stream, or None.
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
        """Count each commitment as a step, starting from the current count."""
        self._counter: Iterator[Any] = counter(self._state, "count")
        self._here: Any = None  # the threads of `repeated`
        self.repeated = repeated(self._serial, self._counter)

    def again(self, others: Sequence[Operation] = ()) -> None:
        """Commit a step that differs from the last one in `others` only."""
        if not self.small and not self._repeats_here():
            self.run(others, True, (), None)
        elif others:
            commit([self.repeated.__next__, *others])
        else:
            next(self.repeated)

    def _repeats_here(self) -> bool:
        """True if `repeated` runs the launches of large arrays on the current threads."""
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
            others: further operations of the commitment.
            active: True if any parameter takes part, so that the step counts.
            numbers: for each cohort, the numbers that it carries after the step.
            created: the arrays of state, if some of them are new.
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
