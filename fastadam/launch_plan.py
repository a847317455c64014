"""What stays the same from step to step: the launches, and where their numbers lie."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .accumulator import Accumulator
from .ahead import Ahead
from .gate import Gate, capturing
from .graph_step import GraphStep
from .groups import Values, checked
from .kernels.factory import Kernel
from .kernels.formats import Formats
from .launch import Launch, alike, kept_for, kernel_for
from .memory import checks
from .memory.inputs import Inputs, masks
from .memory.parameters import Parameters
from .options import Options
from .rules import Rule
from .state import State


class Ruled(Protocol):
    """A group of parameters that one rule moves."""

    rule: Rule
    options: Options
    params: Any


class Plan:
    """A launch for each rule variant and dtype, looked over again only where something changed.

    Args:
        gradients: finds and checks the gradients of the parameters.
        formats: how each parameter, its gradient and its state are kept.
        kept: what is written besides parameters and state: arrays, by the streams of kernels.
        carried: the names of host numbers that parameters carry from step to step.
        masked: whether steps come with masks.
        scaled: whether steps may come with a scale of their gradients, and one FAR from 1.
        gated: whether a device may say by itself that a step does not count.

    Attributes:
        ahead: what is done before an update.
        active: whether any parameter has a gradient.
        moving: the cohorts that have one.
        gate: what takes steps whose verdict is that of a device, or None.
        captured: which parameters a step moves that was captured for a graph; empty without one.
        stale: whether the launches do not know yet where the state is.
    """

    def __init__(
        self,
        groups: Sequence[Ruled],
        parameters: Parameters,
        gradients: Inputs,
        formats: Sequence[Formats],
        state: State,
        carried: Sequence[str],
        options: Options,
        kept: Mapping[str, list[Any]],
        accumulator: Accumulator | None,
        masked: bool,
        scaled: int,
        gated: bool = True,
    ) -> None:
        state.settle()
        self._carried, self._options, self.masked, self.scaled = carried, options, masked, scaled
        self._parameters, self._state, self.stale = parameters, state, True
        self._accumulator = accumulator
        arrays, names = parameters.arrays, options.in_kernel(masked, scaled)
        rules = [group.rule for group in groups for _ in group.params]
        self._launches = [
            Launch(
                rule,
                kernel_for(rule, inputs, names, arrays[0]),
                arrays,
                members,
                tuple(kept_for(rule.state, inputs).values()),
            )
            for (rule, inputs), members in alike(zip(rules, formats, strict=True)).items()
        ]
        self._runs = [launch.table.runner(options.threads) for launch in self._launches]
        self._launches_of = [
            [launch for launch in self._launches if launch.rule is group.rule] for group in groups
        ]
        self.gradients = gradients
        self._placed: Sequence[int] = []  # where the launches know the gradients to be
        self._masks = masks(arrays, parameters.names, parameters.called("mask")) if masked else None
        self._kept = dict(kept) | ({"grad_sum": accumulator.sums} if accumulator else {})
        self.ahead = Ahead(
            self._launches,
            arrays,
            formats,
            options,
            self._kept,
            accumulator,
            scaled,
            [group.options.clip_norm_per == "tensor" for group in groups for _ in group.params],
        )
        self.gate, self.captured = None, list[bool]()
        if gated and Gate.serves(arrays, formats, options):
            kind = GraphStep if capturing() else Gate
            self.gate = kind(self, self._launches, self.ahead, state, arrays, formats, options)
            self.ahead.follow(self.gate)
        self._protect()
        self._pair()

    @property
    def kernels(self) -> list[Kernel]:
        """What a step launches."""
        return [launch.kernel for launch in self._launches] + self.ahead.kernels

    def look(self, arrays: Sequence[Any]) -> None:
        """Check the gradients of a step, and point the launches at them."""
        state, gradients = self._state, self.gradients
        gradients.look(arrays)
        if gradients.active != state.active:
            state.regroup(state.steps, state.carried, gradients.active)
            self.stale = True
            self._pair()
        if gradients.addresses != self._placed:
            self._placed = gradients.addresses
            for launch in self._launches:
                launch.place("grad", self._placed)
        self.ahead.look(gradients.addresses, gradients.active)

    def look_at_masks(self, arrays: Sequence[Any]) -> None:
        """Check the masks of a step, and point the launches at them."""
        assert self._masks
        if self._options.zero_grads:  # what clears gradients may not clear masks
            self._masks.protect(sorted([*self._written, *self.gradients.spans()]))
        if self._options.zero_grads or not self._masks.same(arrays):
            self._masks.look(arrays)
            for launch in self._launches:
                launch.place("mask", self._masks.addresses)

    def _pair(self) -> None:
        """Which cohorts take the step, and which launches want their constants."""
        self.moving = [cohort for cohort in self._state.cohorts if cohort.active]
        self.active = bool(self.moving)
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
        """The hyperparameters of each cohort, with what it carries after the step among them.

        Raises:
            TypeError, ValueError: if `carry` does not return a finite number for each name.
        """
        carried = []
        for cohort in self._state.cohorts:
            group = values[cohort.group] | dict(zip(self._carried, cohort.carried, strict=True))
            after = carry(group, cohort.step + 1)
            if not isinstance(after, Mapping) or after.keys() != {*self._carried}:
                raise ValueError(f"carry() returned {after!r}; give a dict with {self._carried}")
            cohort.next = tuple(
                checked(name, after[name], 0.0, "carry(): ") for name in self._carried
            )
            carried.append({**group, **after})
        return carried

    def draw(self, numbers: Any, late: Any) -> None:
        """Let the noise of parameters follow these numbers, and steps by so many behind."""
        for launch in self._launches:
            places = [*launch.members] if len(launch.members) > 1 else launch.members[0]
            launch.draws, launch.late = numbers[places], late[places]

    def run(self) -> None:
        """Count the step and launch, if there is anything to move."""
        if self._accumulator:
            self._accumulator.restart()
        if not self.active:
            return
        self._state.count += 1
        for cohort in self.moving:
            cohort.step += 1
        if self._carried:
            for cohort in self.moving:
                cohort.carried = cohort.next
        for run in self._runs:
            run()

    def write_rows(self, initial: Sequence[Mapping[str, float]]) -> None:
        """Create the state that is missing, and point the launches at it."""
        self._state.know(array.name for launch in self._launches for array in launch.kept)
        created = [
            self._state.create(array, self._parameters.arrays, launch.members, initial)
            for launch in self._launches
            for array in launch.kept
        ]
        for launch in self._launches:
            launch.write_rows(self._state)
        if any(created):
            self._protect()
        self.stale = False

    def _protect(self) -> None:
        """Nothing that a step writes may be its gradient."""
        written = list(map(checks.span, self._parameters.arrays, self._parameters.names))
        for name, arrays in self._kept.items():
            written += [checks.span(array, f"{name}[{k}]") for k, array in enumerate(arrays)]
        self._written = checks.check_apart([*written, *self._state.spans()])
        self.gradients.protect(self._written)
        if self._masks:
            self._masks.protect(self._written)
