"""Setup of a step over tensors: its parameters and their formats, from which a plan is made."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..engine.launch_plan import StepPlan
from ..engine.parameters import Gathered, Parameters
from ..engine.row_inputs import check_rows
from ..engine.step_context import StepContext, StepKind
from .device_steps import decided_there
from .devices import DeviceScope, scope_of
from .gradients import Gradients
from .matrices import TensorWorkspace
from .parameters import ActiveParameters
from .shard_sums import ShardSums
from .shards import check_whole
from .sparse import check_hyper
from .state import check_low_precision, dtypes
from .step_formats import formats_of
from .step_state import StepState

if TYPE_CHECKING:
    from ..kernels.formats import Formats
    from ..rules import Rule
    from ..rules.algorithm import Values
    from .hyperparameters import CheckedGroup
    from .owner import Owner
    from .state_formats import Entry
    from .step_needs import StepNeeds


class StepSetup:
    """The active parameters of an optimizer, their gradients, formats and rules, all checked.

    Args:
        owner: the optimizer.
        groups: a checked group for each of the optimizer's `param_groups`.
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        before: the setup of the last step, None before the first.
        needs: properties of the steps to come.

    Attributes:
        core: the optimizer for arrays, without arrays of its own.
        options: those of the optimizer, with the number of threads of the steps.
        rules: the rule of each group.
        active: the active parameters.
        formats: the storage of each of them, its gradient and its state.
        gradients: checks their gradients, and finds the addresses.
        parts: the parts of `grads` that belong to this process.
        scope: a context of work on the tensors.
        shards: adds up over the processes that have other shards; None without DTensors.
        capturable: True if a step may be captured in a CUDA graph.
        conditional: True if a GPU decides about steps, and counts them.
        counted: True if the state has step counts.
        noisy: True if a parameter is rounded stochastically.

    Raises:
        RuntimeError, TypeError, ValueError: for unsupported tensors, options and formats.
    """

    rules: Sequence[Rule]
    active: ActiveParameters
    formats: Sequence[Formats]
    scope: Any

    def __init__(
        self,
        owner: Owner,
        groups: Sequence[CheckedGroup],
        params: Sequence[Any],
        grads: Sequence[Any],
        before: StepSetup | None,
        needs: StepNeeds,
    ) -> None:
        self.core, self._needs, self._owner = owner._core, needs, type(owner).__name__
        self.options = replace(owner._options, threads=needs.threads)
        self._entries, self._transform = owner._entries, type(owner)._transform
        self.noisy = any(group.options.noisy for group in groups)
        counts = self.options.ema_warmup or self.noisy
        self.counted = not self.core.uncounted or counts
        self.rules = [group.rule for group in groups]
        self._own = [group.options for group in groups]
        besides = self.counted or bool(dtypes(self.options))
        self._keeps = [
            besides or bool(group.rule.all_state or group.options.compensation) for group in groups
        ]
        in_rows = [rule.of_rows for rule in self.rules]
        known = before.active if before else None
        self.active = ActiveParameters(owner, params, grads, self._keeps, in_rows, known)
        self._used = [number for number, some in enumerate(self.active.by_group) if some]
        checked = self.options, self._own, self.rules, owner.param_groups
        check_low_precision(*checked, self.active.memories)
        self.shards = ShardSums(self.active.params) if self.active.sharded else None
        self.parts = self.active.parts(self.active.of(grads))
        owned = (self._owner, type(owner).core.__name__), self.parts, self.options.zero_grads
        self.gradients = Gradients(self.active.memories, *owned)
        check_rows(self.gradients.dtypes, self.options, self.active.arrays[0])
        self.formats = self._chosen_formats()
        same_place = before is not None and before.active.device == self.active.device
        memory = self.active.memories[0].part
        self.scope = before.scope if before and same_place else scope_of(memory)
        self.capturable = any(group.get("capturable") for group in owner.param_groups)
        if needs.masked and self.capturable:
            raise RuntimeError("mask is not supported with capturable=True; leave one of them out")
        with self.scope():
            self.conditional = self._decided_there()
        for group, numbers in zip(groups, self.active.by_group, strict=True):
            group.params = numbers

    def _chosen_formats(self) -> list[Formats]:
        """The storage of each active parameter, its gradient and its state."""
        each = zip(self._own, self.rules, self.active.by_group, strict=True)
        owners = [(own, rule) for own, rule, some in each for _ in some]
        formats = formats_of(owners, self.active.memories, self.gradients.dtypes)
        if self.core.starts_at_zero:
            return formats
        return [each.starting() for each in formats]

    def _decided_there(self) -> bool:
        """True if a GPU decides about steps, and counts them."""
        return decided_there(
            self.scope,
            self.active,
            self._owner,
            [*self.core.carried, *(("matrices",) if self.core.rule.matrix else ())],
            self.capturable,
            self._needs.conditional,
            self.formats,
            self.options,
        )

    @property
    def plain(self) -> bool:
        """True if a step on the CPU consists of launches and counting only."""
        active, gradients = self.active, self.gradients
        more = self.shards, self.options.zero_grads, self.core.carried, gradients.by_row
        return self.scope is nullcontext and not any(
            (*more, active.rest, active.gapped, active.wrapped)
        )

    @property
    def on_device(self) -> bool:
        """True if the parameters are on a GPU."""
        return isinstance(self.scope, DeviceScope)

    def serves(self, groups: Sequence[CheckedGroup]) -> bool:
        """True if these groups have the rules and the options of the setup."""
        return [group.rule for group in groups] == self.rules and [
            group.options for group in groups
        ] == self._own

    def values_of(self, groups: Sequence[CheckedGroup]) -> list[Values]:
        """The hyperparameters of the groups that have active parameters.

        Raises:
            ValueError: for hyperparameters that gradients of rows do not support.
        """
        if self.gradients.by_row:
            rows = dict(zip(self.active.numbers, self.gradients.rows, strict=True))
            for group, numbers in zip(groups, self.active.by_group, strict=True):
                if any(rows[number] for number in numbers):
                    check_hyper(self._owner, group.values)
        return [groups[number].values for number in self._used]

    def state_of(self, groups: Sequence[CheckedGroup], count: int) -> StepState:
        """The state of the active parameters in the optimizer's `state`, after `count` steps."""
        live: list[Entry] = []
        for kept, numbers in zip(self._keeps, self.active.by_group, strict=True):
            live += [self._entries[self.active.everyone[i]] if kept else {} for i in numbers]
        return StepState(self, [groups[number] for number in self._used], live, count)

    def plan_of(self, groups: Sequence[CheckedGroup], kept: StepState) -> StepPlan:
        """The plan of the steps, over the state that `state_of` returned."""
        arrays, used = self.active.arrays, [groups[number] for number in self._used]
        gathered = Gathered(arrays, None, arrays, self.active.names, [])
        check_whole(self.active.params, (group.rule for group in used))
        if self.core.uncounted:
            self._begin_counts(groups, kept)
        context = StepContext(
            groups=used,
            parameters=Parameters().with_groups([gathered], alone=False),
            gradients=self.gradients,
            formats=self.formats,
            state=kept.state,
            carried=tuple(self.core.carried),
            options=self.options,
            copies=kept.copies.streams,
            shards=self.shards,
            workspace=TensorWorkspace(self.active.memories, self._transform),
        )
        kind = StepKind(self._needs.masked, self._needs.scaled, may_skip=self.conditional)
        return StepPlan(context, kind)

    def _begin_counts(self, groups: Sequence[CheckedGroup], kept: StepState) -> None:
        """Count the steps of parameters whose state is new, for rules that PyTorch does not
        count."""
        rules: list[Rule] = [group.rule for group in groups for _ in group.params]
        pairs = zip(self.formats, rules, strict=True)
        kept.state.begin([formats.form_of(rule) for formats, rule in pairs])
