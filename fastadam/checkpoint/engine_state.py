"""Interface between checkpoints and the engine whose state they save and load."""

from collections.abc import Sequence
from typing import Protocol

from ..engine.accumulation import Accumulator
from ..engine.averages import ParameterCopies
from ..engine.edits import ParamGroup
from ..engine.options import Options
from ..engine.param_groups import Group
from ..engine.parameters import Parameters
from ..engine.state import State
from ..kernels.commit import Operation
from ..rules.algorithm import Algorithm


class EngineState(Protocol):
    """The members of an engine that checkpoints use, to read its state and to load one."""

    @property
    def algorithm(self) -> Algorithm:
        """The optimizer: names of hyperparameters and of carried numbers, `initial`."""

    @property
    def options(self) -> Options:
        """The options of all groups."""

    @property
    def param_groups(self) -> Sequence[ParamGroup]:
        """The groups as dicts that the user edits."""

    @property
    def groups(self) -> Sequence[Group]:
        """The checked groups: rule, options, schedules."""

    @property
    def parameters(self) -> Parameters:
        """The arrays, their names and their structure."""

    @property
    def sizes(self) -> Sequence[int]:
        """The number of elements of each parameter; for a piece, that of the whole parameter."""

    @property
    def state(self) -> State:
        """The state of each array, and the counts of steps."""

    @property
    def copies(self) -> ParameterCopies:
        """The average and the shadow of the parameters."""

    @property
    def accumulator(self) -> Accumulator | None:
        """The sums of micro-batches."""

    def committed(self, operations: Sequence[Operation], doing: str) -> None:
        """Run operations that write to parameters or state, all or none."""

    def adopted(self, groups: list[Group]) -> list[Operation]:
        """The operations that replace the groups."""

    def invalidated(self) -> list[Operation]:
        """The operations that invalidate the plan."""
