"""Constants of a step: the results of `hyper` and `carry`, written to the records of launches."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..rules.algorithm import Algorithm, Values
from .hyperparameters import ReadOnly, checked
from .launch import Launch
from .rule_sums import RuleSums
from .state import Carried, State


class StepConstants:
    """The constants of each cohort that takes a step, and the numbers that it carries to the next.

    Args:
        state: the cohorts, with the numbers that they carry.
        launches_of: for each group, the launches with its constants.
        names: the names of the carried numbers.
        sums: the sums of rules, on which carried numbers may depend.

    Attributes:
        active: True if any cohort takes part in steps.
        numbers: for each cohort, the numbers that it carries after the prepared step.
        records: the launches and the numbers of the records that `write` writes.
    """

    def __init__(
        self,
        state: State,
        launches_of: Sequence[Sequence[Launch]],
        names: Sequence[str],
        sums: RuleSums,
    ) -> None:
        self._state, self._launches_of, self._sums = state, launches_of, sums
        self.names = names
        self.pair()

    def pair(self) -> None:
        """Pair the cohorts that take the step with the launches that need their constants."""
        grouping, self.numbers = self._state.grouping, self._state.grouping.carried
        self.active = any(cohort.active for cohort in grouping.cohorts)
        each = [
            (number, cohort, launch)
            for number, cohort in enumerate(grouping.cohorts)
            for launch in self._launches_of[cohort.group]
            if cohort.active and not launch.lazy
        ]
        self.records = [(launch, number) for number, _, launch in each]
        self._pairs = [
            (
                cohort.base + cohort.since,
                number if self.names else cohort.group,
                launch.writer(number),
            )
            for number, cohort, launch in each
        ]

    def write(self, author: Algorithm, values: Sequence[Values], step: int) -> None:
        """Write the constants of each cohort, as `hyper` returns them.

        With carried numbers, `values` has the hyperparameters of each cohort, else of each group.

        Raises:
            TypeError, ValueError: if `hyper` does not return a number for each name.
        """
        hyper = author.hyper
        for base, place, write in self._pairs:
            write(hyper(values[place], step - base))

    def write_with_carried(
        self,
        author: Algorithm,
        values: Sequence[Values],
        step: int,
        numbers: Sequence[Carried] | None = None,
    ) -> Sequence[Carried]:
        """Write the constants of each cohort, after updating its carried numbers, if any.

        Args:
            author: the optimizer, whose `hyper` and `carry` are called.
            values: the hyperparameters of each group.
            step: the optimizer's step count after this step.
            numbers: the numbers that each cohort carries before the step; default: the current
                ones.

        Returns:
            The numbers that each cohort carries after the step.

        Raises:
            TypeError, ValueError: if `hyper` or `carry` does not return a number for each name.
        """
        if self.names:
            before = self._state.grouping.carried if numbers is None else numbers
            if author.carries_sums:
                before = [before[self._longest()]] * len(before)
            values, self.numbers = self._carry(author, values, step, before)
        self.write(author, values, step)
        return self.numbers

    def carry_sums(self, author: Algorithm, values: Sequence[Values]) -> None:
        """Update the carried numbers that depend on the sums over all parameters."""
        number = self._longest()
        cohort, numbers = self._state.cohorts[number], self.numbers[number]
        group = ReadOnly({**values[cohort.group], **self._named(numbers)})
        step = cohort.steps(self._state.count) + 1
        after = author.carry_sums(group, step, self._sums.totals())
        self.numbers = [self._checked(after, "carry_sums()")] * len(self.numbers)

    def _carry(
        self, author: Algorithm, values: Sequence[Values], step: int, numbers: Sequence[Carried]
    ) -> tuple[list[Values], list[Carried]]:
        """The hyperparameters of each cohort, including the numbers that it carries after the step;
        and these numbers by themselves."""
        groups: list[Values] = []
        carried: list[Carried] = []
        for cohort, before in zip(self._state.cohorts, numbers, strict=True):
            known = self._named(before)
            group: Values = ReadOnly({**values[cohort.group], **known})
            after: Mapping[str, float] = known
            if not author.carries_sums:
                after = author.carry(group, cohort.steps(step - 1) + 1)
            new = self._checked(after, "carry()")
            carried.append(new if cohort.active else before)
            groups.append(ReadOnly({**group, **after}))
        return groups, carried

    def _named(self, numbers: Carried) -> dict[str, float]:
        return dict(zip(self.names, numbers, strict=True))

    def _longest(self) -> int:
        """The number of the cohort with the most steps, whose carried numbers are those of all."""
        steps = [cohort.steps(self._state.count) for cohort in self._state.cohorts]
        return steps.index(max(steps))

    def _checked(self, numbers: Any, where: str) -> Carried:
        """The numbers that a cohort carries, from the dict that an optimizer returned.

        Raises:
            TypeError, ValueError: if there is not a number for each name.
        """
        if not isinstance(numbers, Mapping) or numbers.keys() != {*self.names}:
            raise ValueError(f"{where} returned {numbers!r}; give a dict with {self.names}")
        return tuple(checked(n, numbers[n], 0.0, f"{where}: ") for n in self.names)
