"""Interface of an engine for the functions that add groups to it and bind gradients."""

from collections.abc import Sequence
from typing import Any, Protocol

from ..kernels.formats import Formats
from ..rules.algorithm import Algorithm, Values
from .accumulation import Accumulator
from .averages import ParameterCopies
from .edits import Edits
from .files import OptimizerFiles
from .launch_plan import StepPlan
from .norm_measure import NormMeasure
from .options import Options
from .param_groups import Group
from .parameters import Parameters
from .partition import Partition, Shards
from .state import State
from .step_inputs import LongSum


class EngineParts(Protocol):
    """The members of an `Engine` that these functions use.

    Attributes:
        defaults, options, partition, shards, edits, groups, parameters, state, copies, accumulator,
            files, subset, plan, long_sum, grad_dtypes, measure: those of the engine.
    """

    defaults: Values
    options: Options
    partition: Partition | None
    shards: Shards | None
    edits: Edits
    groups: list[Group]
    parameters: Parameters
    state: State
    copies: ParameterCopies
    accumulator: Accumulator | None
    files: OptimizerFiles | None
    subset: Sequence[int] | None
    plan: StepPlan | None
    grad_dtypes: list[Any]
    long_sum: LongSum | None
    measure: NormMeasure | None

    @property
    def algorithm(self) -> Algorithm:
        """The optimizer."""

    def formats(self) -> Sequence[Formats]:
        """The storage of each parameter, its gradient and its state."""

    def invalidate(self) -> None:
        """Invalidate the plan."""
