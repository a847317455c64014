"""The step over tensors: a plan of the core, cached until parameters or state change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import compress
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..engine.launch_plan import StepPlan
from ..engine.parameters import Gathered, Parameters
from ..engine.row_inputs import check_rows
from ..engine.step_context import StepContext, StepKind
from ..engine.step_info import late_info, new_info
from ..kernels.commit import Operation, commit, put
from .change_detection import ChangeDetector, Snapshot, addresses
from .device_steps import DeviceEngine, decided_there
from .devices import DeviceScope, scope_of
from .gradients import Gradients
from .hyperparameters import CheckedGroup
from .matrices import TensorWorkspace
from .parameters import ActiveParameters
from .shard_sums import ShardSums
from .shards import check_whole
from .sparse import check_hyper
from .state import check_low_precision, dtypes
from .state_formats import Entry
from .step_formats import formats_of
from .step_needs import StepNeeds
from .step_state import StepState

if TYPE_CHECKING:
    from .owner import Owner


class TensorStep:
    """A plan for the active parameters, with the conditions under which it is valid.

    Args:
        owner: the optimizer.
        groups: a checked group for each of the optimizer's `param_groups`.
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        last: the step before this one.
        needs: what the step asks of the plan.

    Attributes:
        needs: those that the plan meets.
        groups: the checked groups, and `values` the hyperparameters of those with active
            parameters.
        active: the active parameters.
        gradients: finds and checks their gradients.
        detector: detects changes of the parameters and their state; None during a step.
        known: the parameters, gradients and counters of steps that have them at the same addresses.
        alike: the number of such steps.
        plain: True if a step of all parameters may be taken directly, see `direct_step`.
    """

    needs: StepNeeds
    active: ActiveParameters
    plan: Any  # None while a step is captured for the first time
    _scope: Any  # a context of work on the tensors, for each call
    detector: ChangeDetector | None = None  # None during a step
    groups: Sequence[CheckedGroup] = ()
    known: Snapshot | None = None
    alike = 0
    _drawn: Any = None  # the cohorts for which the random streams of launches are set
    _drafted = True  # True if drafts have state that is not in the entries yet
    _graphs = False  # True if a CUDA graph may replay steps
    _lost = False  # True if the plan may have addresses of tensors that no longer exist

    def __init__(
        self,
        owner: Owner,
        groups: Sequence[CheckedGroup],
        params: Sequence[Any],
        grads: Sequence[Any],
        last: TensorStep | None,
        needs: StepNeeds,
    ) -> None:
        scaled, threads, conditional, masked = needs
        if last:
            last.check_replaceable("step() with other parameters, hyperparameters or state")
        self.core, self._options = owner._core, replace(owner._options, threads=threads)
        reach = max(scaled, last.needs.scaled if last else 0)
        self.needs = needs._replace(scaled=reach)
        self._all_state = owner._entries
        self._noisy = any(group.options.noisy for group in groups)
        counts = self._options.ema_warmup or self._noisy
        self._counted = not self.core.uncounted or counts
        self._rules = [group.rule for group in groups]
        self._transform = type(owner)._transform
        self._own = [group.options for group in groups]
        besides = self._counted or bool(dtypes(self._options))
        keeps = [
            besides or bool(group.rule.all_state or group.options.compensation) for group in groups
        ]
        in_rows = [rule.of_rows for rule in self._rules]
        before = last.active if last else None
        self.active = ActiveParameters(owner, params, grads, keeps, in_rows, before)
        self._used = [number for number, some in enumerate(self.active.by_group) if some]
        checked = self._options, self._own, self._rules, owner.param_groups
        check_low_precision(*checked, self.active.memories)
        self._shards = ShardSums(self.active.params) if self.active.sharded else None
        self._parts: Sequence[Any] | None = self.active.parts(self.active.of(grads))
        self._owner = type(owner).__name__
        called = self._owner, type(owner).core.__name__
        owned = called, self._parts, self._options.zero_grads
        self.gradients = Gradients(self.active.memories, *owned)
        check_rows(self.gradients.dtypes, self._options, self.active.arrays[0])
        groups_of = zip(self._own, self._rules, self.active.by_group, strict=True)
        owners = [(own, rule) for own, rule, some in groups_of for _ in some]
        self._formats = formats_of(owners, self.active.memories, self.gradients.dtypes)
        if not self.core.starts_at_zero:
            self._formats = [each.starting() for each in self._formats]
        same_place = last is not None and last.active.device == self.active.device
        self._scope = last._scope if last and same_place else scope_of(self.active.memories[0].part)
        self._device = DeviceEngine(self)
        capturable = any(group.get("capturable") for group in owner.param_groups)
        if masked and capturable:
            raise RuntimeError("mask is not supported with capturable=True; leave one of them out")
        with self._scope():
            self._conditional = decided_there(
                self._scope,
                self.active,
                self._owner,
                [*self.core.carried, *(("matrices",) if self.core.rule.matrix else ())],
                capturable,
                conditional,
                self._formats,
                self._options,
            )
            for group, numbers in zip(groups, self.active.by_group, strict=True):
                group.params = numbers
            self._kept = self._state_of(groups, keeps, last)
            self.state = self._kept.state
            self.plan, self._draws = self._planned(groups), self.active.draws
        self.follow(groups)
        active = self.active
        self.plain = self._scope is nullcontext and not (
            any((masked, self._shards, self._options.zero_grads, self.core.carried))
            or any((self.gradients.by_row, active.rest, active.gapped, active.wrapped))
        )
        if capturable and self._conditional:
            self._scope.turn.captured = self._device.captured_steps()

    def _state_of(
        self, groups: Sequence[CheckedGroup], keeps: Sequence[bool], last: TensorStep | None
    ) -> StepState:
        """The state of the active parameters in the optimizer's `state`."""
        members, live = self.active, list[Entry]()
        for kept, numbers in zip(keeps, members.by_group, strict=True):
            live += [self._all_state[members.everyone[i]] if kept else {} for i in numbers]
        return StepState(
            self.core,
            self._options,
            members,
            self._rules,
            [groups[number] for number in self._used],
            live,
            self._formats,
            self._counted,
            self._conditional,
            isinstance(self._scope, DeviceScope),
            last.count if last else 0,
        )

    @property
    def counters(self) -> Any:
        """The host numbers of the parameters, or those that a GPU has."""
        return self._kept.counters

    @property
    def count(self) -> int:
        """The count of steps of the optimizer, those under way among them."""
        self.state.resolve()
        return self.state.count

    def _planned(self, groups: Sequence[CheckedGroup]) -> StepPlan:
        arrays = self.active.arrays
        gathered = Gathered(arrays, None, arrays, self.active.names, [])
        parameters = Parameters().with_groups([gathered], alone=False)
        check_whole(self.active.params, (groups[number].rule for number in self._used))
        if self.core.uncounted:
            rules = (group.rule for group in groups for _ in group.params)
            pairs = zip(self._formats, rules, strict=True)
            self.state.begin([formats.form_of(rule) for formats, rule in pairs])
        context = StepContext(
            groups=[groups[number] for number in self._used],
            parameters=parameters,
            gradients=self.gradients,
            formats=self._formats,
            state=self.state,
            carried=tuple(self.core.carried),
            options=self._options,
            copies=self._kept.copies.streams,
            shards=self._shards,
            workspace=TensorWorkspace(self.active.memories, self._transform),
        )
        plan = StepPlan(
            context, StepKind(self.needs.masked, self.needs.scaled, may_skip=self._conditional)
        )
        if self._conditional:
            conditional: Any = plan.conditional
            conditional.runs_of = self._device.runs
        return plan

    def follow(self, groups: Sequence[CheckedGroup]) -> bool:
        """Set the hyperparameters of the next steps; returns False if they need another plan."""
        if groups != self.groups and (
            [group.rule for group in groups] != self._rules
            or [group.options for group in groups] != self._own
        ):
            return False
        if self.gradients.by_row:
            rows = dict(zip(self.active.numbers, self.gradients.rows, strict=True))
            for group, numbers in zip(groups, self.active.by_group, strict=True):
                if any(rows[number] for number in numbers):
                    check_hyper(self._owner, group.values)
        self.values = [groups[number].values for number in self._used]
        self.groups = groups
        return True

    # Validity of the plan

    def serves(self, owner: Owner) -> bool:
        """True if the optimizer has the state of the last step."""
        return owner._entries is self._all_state and not self._lost

    def is_valid(
        self,
        owner: Owner,
        groups: Sequence[CheckedGroup],
        params: Sequence[Any],
        needs: StepNeeds,
    ) -> bool:
        """True if parameters, state and rules are those of the last step, at known addresses."""
        if groups is not self.groups and not self.follow(groups):
            return False
        return (
            self.serves(owner)
            and needs.met_by(self.needs)
            and owner._sizes() == self.active.sizes
            and all(map(is_, params, self.active.everyone))
            and not (self.active.rest and any(p.grad is not None for p in self.active.rest))
            and self.state.count < self._kept.counters.last
            and self._tensors_unchanged(owner._handed_out)
        )

    def _tensors_unchanged(self, handed_out: bool) -> bool:
        """True if all tensors are unchanged, or were reallocated and the plan could be updated."""
        detector = self.detector
        if detector is None:
            return False
        moved = not detector.params_unchanged()
        exchanged = handed_out and not detector.state_unchanged()
        if moved or exchanged or self._kept.counters.touched:
            return self._rebind(detector, moved, exchanged)
        return True

    def _rebind(self, detector: ChangeDetector, moved: bool, exchanged: bool) -> bool:
        """Update the addresses in the plan, if only addresses changed; returns True on success."""
        if self.active.gapped or not detector.alike(moved, exchanged):
            return False
        self._lost = True  # until everything below has succeeded
        with self._scope():
            try:
                self._kept.drafts.refresh()
                if moved:
                    self._rebind_params()
                    detector.update_params()
                if exchanged:
                    self._kept.rebind()
                    self.plan.repoint_kept()
                if exchanged or self._kept.counters.touched:
                    self._kept.count()
                    self.plan.recount()
                    self._drafted = True
            except (TypeError, ValueError):
                return False  # creating a new step raises the error
        self._lost = False
        return True

    def _rebind_params(self) -> None:
        for memory in self.active.memories:
            memory.rebind()
        self.gradients.rebind()
        arrays = self.active.arrays
        self.plan.repoint(arrays, addresses([memory.part for memory in self.active.memories]))

    # The step

    def step(
        self,
        owner: Owner,
        grads: Sequence[Any],
        lr: float | None,
        grad_scale: Any,
        found_inf: Any,
        masks: Sequence[Any] | None,
    ) -> None:
        """Update the parameters that have a gradient; `lr` is reported in the StepInfo."""
        # If the step is interrupted, the detector stays None, and the plan is not used again.
        detector, self.detector = self.detector, None
        if self._scope is nullcontext:
            self._step(owner, grads, lr, grad_scale, found_inf, masks)
        else:
            with self._scope():
                self._step(owner, grads, lr, grad_scale, found_inf, masks)
        self.detector = detector
        if self._drafted or detector is None:
            self.detector = self._kept.detector(self._all_state)
        self._drafted = False

    def _step(
        self,
        owner: Owner,
        grads: Sequence[Any],
        lr: float | None,
        grad_scale: Any,
        found_inf: Any,
        masks: Sequence[Any] | None,
    ) -> None:
        grads = self.active.of(grads)
        parts, self._parts = self._parts or self.active.parts(grads), None
        if self._graphs:
            self._scope.turn.captured.check_active([part is not None for part in parts])
        if self.plan is None:  # a step is captured
            self.plan = self._planned(self.groups)
            self._graphs = True
        plan = self.plan
        plan.look(parts)
        marked = None if masks is None else self.active.marked(masks)  # kept until the launch
        if marked is not None:
            plan.bind_masks(marked)
        found = False if found_inf is None else found_inf
        if self._shards and found_inf is not None:
            found = not self._shards.all_true(not found)
        if self._noisy and self._drawn is not self.state.grouping:
            plan.draw(self._draws, self._late())
            self._drawn = self.state.grouping
        unpack = self._packed()  # before sums over parameters are taken
        if plan.conditional and plan.conditional.takes(found, grad_scale):
            info = plan.conditional.step(self._device, None, grad_scale, found)
            commit([*unpack, *self._finished(owner, info, grads, parts)])
            self._note_written()
            return
        stale, values, count = plan.stale, self.values, self.state.count
        if self._conditional:
            values, count = self._device.known_values(), self.state.count
            lr = values[0].get("lr") if values else lr
        norm, verdict = plan.prepare(self.core, values, parts, grad_scale, found, self._counted)
        self._drafted |= stale and not plan.stale
        others = self._kept.drafts.publish() if self._drafted else []
        updated = verdict == "update"
        fields = count + updated, lr, norm, verdict == "skip", updated
        info = (late_info if callable(norm) else new_info)(fields)
        others += self._finished(owner, info, grads, parts)
        if updated:
            self._run([*unpack, *others])
        else:
            commit(others)

    def _packed(self) -> list[Operation]:
        """Pack parameters with gaps; returns the operations that unpack them after a step."""
        unpack: list[Operation] = []
        for memory in self.active.gapped:
            unpack += memory.unpack()
            memory.pack()
        return unpack

    def _finished(
        self, owner: Owner, info: Any, grads: Sequence[Any], parts: Sequence[Any]
    ) -> list[Operation]:
        """The operations at the end of a step, besides its launches."""
        others: list[Operation] = [partial(object.__setattr__, owner, "info", info)]
        if self._options.zero_grads:
            others += [*self.gradients.cleared(), *self.active.cleared(grads, parts)]
        if owner._tensor_step is not self:
            others += put(owner, _tensor_step=self)
        return others

    def _late(self) -> Any:
        """The difference between the step counts of the optimizer and of each active parameter."""
        grouping = self.state.grouping
        return np.array([grouping.cohorts[number].base for number in grouping.cohort_of])

    def check_replaceable(self, what: str) -> None:
        """Raise an error if a CUDA graph would go on with what is to be replaced.

        Raises:
            RuntimeError: with a fix.
        """
        if self._graphs:
            self._scope.turn.captured.refuse(what)

    def _run(self, others: Sequence[Operation]) -> None:
        """Launch the kernels, count the step and commit its other changes: all or nothing."""
        carried: dict[str, list[float]] = {}  # `dict[str, list[float]]()` takes a microsecond
        for position, name in enumerate(self.core.carried):
            of = self.state.grouping.cohort_of
            carried[name] = [self.plan.numbers[cohort][position] for cohort in of]
        counted = self._kept.counters.advance(self.gradients.active, carried)
        self.plan.run(*counted, *others)
        self._note_written()

    def _note_written(self) -> None:
        """Let autograd know that the parameters were written to."""
        active, written = self.gradients.active, self.active.params
        torch.autograd.graph.increment_version(
            written if all(active) else list(compress(written, active))
        )
