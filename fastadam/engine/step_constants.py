"""Constants of a step: what `hyper` and `carry` return, written to the records of launches."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..rules.algorithm import Algorithm, Values
from .hyperparameters import ReadOnly, checked
from .launch import Launch
from .rule_sums import RuleSums
from .state import Carried, State


class StepConstants:
    """The constants of each cohort that takes a step, and the numbers it carries to the next.

    Args:
        state: the cohorts, with what they carry.
        launches_of: for each group the launches that take its constants.
        names: the names of the numbers that parameters carry from step to step.
        sums: the sums of rules, from which carried numbers may follow.

    Attributes:
        active: whether any cohort takes part in steps.
        numbers: for each cohort the numbers it carries after the step that was prepared.
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
        """Find the cohorts that take the step, and the launches that take their constants."""
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
        """Write the constants that `hyper` returns for these hyperparameters, for each cohort.

        With numbers that are carried, `values` has those of each cohort, else of each group.

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
            author: whose `hyper` and `carry` give them.
            values: the hyperparameters of each group.
            step: what the optimizer's count will be.
            numbers: what each cohort carries before the step, if not what it carries now.

        Returns:
            What each cohort carries after it.

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
        """The hyperparameters of each cohort, with what it carries after the step among them; and
        these numbers by themselves."""
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
        """The number of the cohort that has taken the most steps, which knows what all carry."""
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
