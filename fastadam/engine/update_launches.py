"""Launches of an update, and of the passes before it that its rules need."""

from itertools import chain

from ..kernels.factory import Kernel
from .columns import alike
from .launch import Launch
from .matrices import RuleMatrices
from .row_launch import launch_of
from .rule_factors import RuleFactors
from .rule_sums import RuleSums
from .state import Ruled
from .step_context import StepContext, StepKind


class UpdateLaunches:
    """The launches of an update, one per rule variant and formats, with those before it.

    Args:
        context: the arrays and settings of the steps.
        kind: the kind of the steps.

    Attributes:
        updates: the launches of the update.
        sums: the sums of rules.
        matrices: the matrices of rules.
        factors: the row and column numbers of rules.
        over_params: all launches over parameters.
        over_gradients: those of them that read gradients.
        with_state: all launches over parameters, and others that read state.
    """

    def __init__(self, context: StepContext, kind: StepKind) -> None:
        names = _options(context, kind)
        self.updates = _updates(context, names)
        formats, team, partition = context.formats, context.options.team, context.partition
        self.sums = RuleSums(self.updates, context.arrays, formats, names, team, partition)
        self.matrices = RuleMatrices(self.updates, context, names)
        self.factors = RuleFactors(self.updates, self.sums, context, names)
        before = [*self.sums.launches, *self.matrices.launches, *self.factors.reading]
        self.over_params: list[Launch] = [*before, *self.updates]
        self.over_gradients = [each for each in self.over_params if each.has("grad")]
        self.with_state: list[Launch] = [*self.over_params, *self.factors.launches]
        for launch in self.updates:
            launch.bound(context.own_options)

    @property
    def in_passes(self) -> bool:
        """True if there are passes before the update."""
        return bool(self.sums or self.matrices or self.factors)

    def of_group(self, group: Ruled) -> list[Launch]:
        """The launches that take the constants of a group."""
        return [launch for launch in self.with_state if launch.rule in group.rule.forms]

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels of all launches."""
        before = self.sums.kernels + self.matrices.kernels + self.factors.kernels
        return [launch.kernel for launch in self.updates] + before


def _options(context: StepContext, kind: StepKind) -> tuple[str, ...]:
    """The options of the kernels."""
    of_groups = (group.options.in_kernel(kind.masked, kind.scaled) for group in context.groups)
    return (*dict.fromkeys(chain(*of_groups)), *kind.sources.transforms)


def _updates(context: StepContext, names: tuple[str, ...]) -> list[Launch]:
    """The launches of the update."""
    idle = {form: group.idle for group in context.groups for form in group.rule.forms}
    kinds = [each.sharing_kernel for each in context.formats]
    keys = zip(context.rules, kinds, context.gradients.rows, strict=True)
    lengths = [max(1, each.row) for each in context.formats]
    columns = [max(1, each.column) for each in context.formats]
    launches = [
        launch_of(
            key,
            members,
            names,
            context.arrays,
            context.options,
            idle[key[0]],
            [lengths[i] for i in members],
            [lengths[i] * columns[i] for i in members],
        )
        for key, members in alike(keys).items()
    ]
    if context.partition:
        for launch in launches:
            launch.take_pieces(context.partition.pieces)
    return launches
