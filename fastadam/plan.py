"""What stays the same from step to step: the launches, and where their numbers lie."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .groups import Group, Values
from .kernels.factory import Kernel
from .launch import Launch
from .memory import checks
from .memory.inputs import gradients, masks
from .memory.parameters import Parameters
from .norm import Norm
from .options import Options
from .rules import Rule
from .state import State


class Plan:
    """A launch for each rule variant and dtype, looked over again only where something changed."""

    def __init__(
        self,
        groups: Sequence[Group],
        parameters: Parameters,
        state: State,
        carried: Sequence[str],
        options: Options,
        masked: bool,
    ) -> None:
        self._carried, self._options, self.masked = carried, options, masked
        self._parameters, self._state, self.stale = parameters, state, True
        rules = [group.rule for group in groups for _ in group.params]
        members: dict[tuple[Rule, Any], list[int]] = {}
        for number, (rule, array) in enumerate(zip(rules, parameters.arrays, strict=True)):
            members.setdefault((rule, array.dtype), []).append(number)
        names = options.in_kernel + ("mask",) * masked
        self._launches = [
            Launch(rule, parameters.arrays, numbers, names)
            for (rule, _), numbers in members.items()
        ]
        self._runs = [launch.table.runner(options.threads) for launch in self._launches]
        self._launches_of = [
            [launch for launch in self._launches if launch.rule is group.rule] for group in groups
        ]
        arrays = parameters.arrays
        self.gradients = gradients(arrays, parameters.names, parameters.called("grads"))
        self._masks = masks(arrays, parameters.names, parameters.called("mask")) if masked else None
        self.measures = options.measures
        self._norm = Norm(arrays, options.threads) if options.measures else None
        if options.clip_value is not None:
            self._tell("clip_value", options.clip_value)
        self._protect()
        self._pair()

    @property
    def kernels(self) -> list[Kernel]:
        """What a step launches."""
        return [launch.kernel for launch in self._launches] + (
            self._norm.kernels if self._norm else []
        )

    def look(self, arrays: Sequence[Any]) -> None:
        """Check the gradients of a step, and point the launches at them."""
        state, gradients = self._state, self.gradients
        gradients.look(arrays)
        if gradients.active != [state.cohorts[k].active for k in state.cohort_of]:
            state.regroup(state.steps, state.carried, gradients.active)
            self.stale = True
            self._pair()
        for launch in self._launches:
            launch.place("grad", gradients.addresses)
        if self._norm:
            self._norm.look(gradients.addresses, gradients.active)

    def look_at_masks(self, arrays: Sequence[Any]) -> None:
        """Check the masks of a step, and point the launches at them."""
        assert self._masks
        if not self._masks.same(arrays):
            self._masks.look(arrays)
            for launch in self._launches:
                launch.place("mask", self._masks.addresses)

    def _pair(self) -> None:
        """Which cohorts take the step, and which launches want their constants."""
        self._active = [cohort for cohort in self._state.cohorts if cohort.active]
        self.active = bool(self._active)
        self._pairs = [
            (cohort, number if self._carried else cohort.group, launch.writer(number))
            for number, cohort in enumerate(self._state.cohorts)
            for launch in self._launches_of[cohort.group]
            if cohort.active
        ]

    def write_records(
        self, hyper: Callable[[Values, int], Mapping[str, float]], values: Sequence[Values]
    ) -> None:
        """Keep the constants of each cohort that takes the step.

        `values` are the hyperparameters of each group, or of each cohort if it carries numbers.

        Raises:
            TypeError, ValueError: if `hyper` does not return a number for each name.
        """
        for cohort, place, write in self._pairs:
            write(hyper(values[place], cohort.step + 1))

    def carry(
        self, carry: Callable[[Values, int], Mapping[str, float]], values: Sequence[Values]
    ) -> list[Values]:
        """The hyperparameters of each cohort, with what it carries after the step among them."""
        carried = []
        for cohort in self._state.cohorts:
            group = values[cohort.group] | dict(zip(self._carried, cohort.carried, strict=True))
            after = carry(group, cohort.step + 1)
            cohort.next = tuple(after[name] for name in self._carried)
            carried.append({**group, **after})
        return carried

    def measure(self) -> float:
        """The norm of all gradients; tells the kernels by what to multiply them."""
        assert self._norm
        squares = self._norm.squares()
        norm = math.sqrt(np.add.reduce(squares))
        self._tell("grad_scale", self._options.clip_factor(norm, squares))
        return norm

    def _tell(self, option: str, number: Any) -> None:
        """Give an option its number, or one for each parameter."""
        for launch in self._launches:
            launch.numbers[option][:] = number[launch.members] if np.ndim(number) else number

    def run(self) -> None:
        """Count the step and launch."""
        self._state.count += 1
        for cohort in self._active:
            cohort.step += 1
        if self._carried:
            for cohort in self._active:
                cohort.carried = cohort.next
        for run in self._runs:
            run()

    def write_rows(self, initial: Sequence[Mapping[str, float]]) -> None:
        """Create the state that is missing, and point the launches at it."""
        created = [
            self._state.create(name, self._parameters.arrays, launch.members, initial)
            for launch in self._launches
            for name in launch.rule.state
        ]
        for launch in self._launches:
            launch.write_rows(self._state)
        if any(created):
            self._protect()
        self.stale = False

    def _protect(self) -> None:
        """Nothing that a step writes may be its gradient."""
        written = map(checks.span, self._parameters.arrays, self._parameters.names)
        spans = checks.check_apart([*written, *self._state.spans()])
        self.gradients.protect(spans)
        if self._masks:
            self._masks.protect(spans)
