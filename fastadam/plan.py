"""What stays the same from step to step: the launches, and where their numbers lie."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .groups import Group
from .launch import Launch
from .memory import checks
from .memory.gradients import Gradients
from .memory.parameters import Parameters
from .rules import Rule
from .state import Cohort, State


class Plan:
    """A launch for each rule variant and dtype, looked over again only where something changed."""

    def __init__(
        self, groups: Sequence[Group], parameters: Parameters, state: State, threads: int | None
    ) -> None:
        self._parameters, self._state, self._stale = parameters, state, True
        rules = [group.rule for group in groups for _ in group.params]
        members: dict[tuple[Rule, Any], list[int]] = {}
        for number, (rule, array) in enumerate(zip(rules, parameters.arrays, strict=True)):
            members.setdefault((rule, array.dtype), []).append(number)
        self._launches = [
            Launch(rule, parameters.arrays, numbers, threads)
            for (rule, _), numbers in members.items()
        ]
        self._launches_of = [
            [launch for launch in self._launches if launch.rule is group.rule] for group in groups
        ]
        self._gradients = Gradients(
            parameters.arrays, parameters.gradient_names, parameters.names
        )
        self._protect()

    def look(self, arrays: Sequence[Any]) -> None:
        """Check the gradients of a step, unless they are the arrays of the last one."""
        if self._gradients.same(arrays):
            return
        state, gradients = self._state, self._gradients
        gradients.look(arrays)
        if gradients.active != [state.cohorts[k].active for k in state.cohort_of]:
            state.regroup(state.steps, gradients.active)
            self._stale = True
        for launch in self._launches:
            launch.write_gradients(gradients.addresses)

    def write_records(
        self, constants: Callable[[Cohort], Mapping[str, float]], source: str
    ) -> None:
        """Keep the constants of each cohort that takes the step."""
        for number, cohort in enumerate(self._state.cohorts):
            if cohort.active:
                values = constants(cohort)
                for launch in self._launches_of[cohort.group]:
                    launch.write_record(number, values, source)

    def write_rows(self, initial: Callable[[int], Mapping[str, float]]) -> None:
        """Create the state that is missing, and point the launches at it."""
        if not self._stale:
            return
        created = [
            self._state.create(name, self._parameters.arrays, launch.members, initial)
            for launch in self._launches
            for name in launch.rule.state
        ]
        for launch in self._launches:
            launch.write_rows(self._state)
        if any(created):
            self._protect()
        self._stale = False

    def run(self) -> None:
        for launch in self._launches:
            launch.table.run()

    def _protect(self) -> None:
        """Nothing that a step writes may be its gradient."""
        written = list(map(checks.span, self._parameters.arrays, self._parameters.names))
        for name, states in self._state.arrays.items():
            for number, array in enumerate(states):
                if array is not None:
                    written.append(checks.span(array, f"state[{name!r}][{number}]"))
        self._gradients.protect(checks.check_apart(written))
