"""The arguments of a plan: the arrays and settings of its steps, and their kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..kernels.formats import Formats
from .accumulation import Accumulator
from .gradients import StepArrays
from .options import Options
from .parameters import Parameters
from .partition import Partition, Shards
from .state import Ruled, State
from .step_inputs import PLAIN, Kind
from .workspace import Workspace


@dataclass(frozen=True)
class StepKind:
    """Properties of a step on which the kernels depend, besides formats and options.

    Attributes:
        masked: True for steps with masks.
        scaled: the range of a scale of the gradients: 0 without one, NEAR or FAR (`reach_of`).
        sources: the transforms and the number of inputs in place of gradients.
        may_skip: True if a device may decide by itself that a step does not count.
    """

    masked: bool = False
    scaled: int = 0
    sources: Kind = PLAIN
    may_skip: bool = True


@dataclass(frozen=True)
class StepContext:
    """The arrays and settings of the steps of a plan.

    Attributes:
        groups: the rule and the options of each group.
        parameters: the arrays, in the order of the groups.
        gradients: checks the gradients, and finds their addresses.
        formats: the storage of each parameter, its gradient and its state.
        state: the state of each parameter, and the counts of steps.
        carried: the names of host numbers that parameters carry from step to step.
        options: those of the optimizer.
        copies: arrays written besides parameters and state, by the names of kernel streams.
        accumulator: the sums of micro-batches, or None.
        partition: the partition, if the parameters are pieces of longer arrays.
        shards: completes norms, if other processes have other elements of the parameters.
        workspace: the memory of the matrices of rules; None: that of the host.
    """

    groups: Sequence[Ruled]
    parameters: Parameters
    gradients: StepArrays
    formats: Sequence[Formats]
    state: State
    carried: Sequence[str]
    options: Options
    copies: Mapping[str, list[Any]]
    accumulator: Accumulator | None = None
    partition: Partition | None = None
    shards: Shards | None = None
    workspace: Workspace | None = None

    def with_inputs(self, count: int) -> "StepContext":
        """The context of steps with `count` inputs in place of gradients; 0: with gradients."""
        if not count:
            return self
        return replace(self, formats=[replace(each, inputs=count) for each in self.formats])

    @property
    def arrays(self) -> Sequence[Any]:
        """The parameters."""
        return self.parameters.arrays

    @property
    def rules(self) -> list[Any]:
        """The rule of each parameter."""
        pairs = zip(self._owners, self.formats, strict=True)
        return [formats.form_of(group.rule) for group, formats in pairs]

    @property
    def _owners(self) -> list[Ruled]:
        """The group of each parameter."""
        return [group for group in self.groups for _ in group.params]

    @property
    def streams(self) -> dict[str, list[Any]]:
        """The arrays that steps write besides parameters and state, by the names of kernel
        streams."""
        sums = {"grad_sum": self.accumulator.sums} if self.accumulator else {}
        return dict(self.copies) | sums

    @property
    def own_options(self) -> list[Options]:
        """The options of each parameter's group; with a partition, of each whole parameter's."""
        if self.partition:
            return [self.groups[number].options for number in self.partition.group_of]
        return [group.options for group in self._owners]
