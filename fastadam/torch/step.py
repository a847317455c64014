"""The step over tensors: a plan of the core, cached until parameters or state change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import compress
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..engine.step_info import late_info, new_info
from ..kernels.commit import Operation, commit, put
from .change_detection import ChangeDetector, Snapshot, addresses
from .device_steps import DeviceEngine
from .step_setup import StepSetup

if TYPE_CHECKING:
    from ..engine.launch_plan import StepPlan
    from .hyperparameters import CheckedGroup
    from .owner import Owner
    from .parameters import ActiveParameters
    from .step_needs import StepArguments, StepNeeds


class TensorStep:
    """A plan for the active parameters, with the conditions under which it is valid.

    Args:
        owner: the optimizer.
        groups: a checked group for each of the optimizer's `param_groups`.
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        last: the step before this one.
        needs: the properties of the step for which the plan is made.

    Attributes:
        needs: the properties of steps that the plan supports.
        groups: the checked groups, and `values` the hyperparameters of those with active
            parameters.
        active: the active parameters.
        gradients: checks their gradients, and finds the addresses.
        detector: detects changes of the parameters and their state; None during a step.
        known: a snapshot of parameters, gradients and counters, once they have had the same
            addresses for some steps.
        alike: the number of these steps.
        plain: True if a step of all parameters may be taken directly, see `direct_step`.
    """

    needs: StepNeeds
    active: ActiveParameters
    _setup: StepSetup
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
        if last:
            last.check_replaceable("step() with other parameters, hyperparameters or state")
            needs = needs._replace(scaled=max(needs.scaled, last.needs.scaled))
        before = last._setup if last else None
        setup = self._setup = StepSetup(owner, groups, params, grads, before, needs)
        self.needs, self._all_state = needs, owner._entries
        self.core, self.active, self.gradients = setup.core, setup.active, setup.gradients
        self._scope, self._device = setup.scope, DeviceEngine(self)
        self._parts: Sequence[Any] | None = setup.parts
        with self._scope():
            self._kept = setup.state_of(groups, last.count if last else 0)
            self.state = self._kept.state
            self.plan = self._planned(groups)
            self._draws = self.active.draws
        self.follow(groups)
        self.plain = setup.plain and not needs.masked
        if setup.capturable and setup.conditional:
            self._scope.turn.captured = self._device.captured_steps()

    @property
    def counters(self) -> Any:
        """The host numbers of the parameters, or those that a GPU has."""
        return self._kept.counters

    @property
    def count(self) -> int:
        """The step count of the optimizer, including steps in progress."""
        self.state.resolve()
        return self.state.count

    def _planned(self, groups: Sequence[CheckedGroup]) -> StepPlan:
        """The launches of the step."""
        plan = self._setup.plan_of(groups, self._kept)
        if self._setup.conditional:
            conditional: Any = plan.conditional
            conditional.runs_of = self._device.runs
        return plan

    def follow(self, groups: Sequence[CheckedGroup]) -> bool:
        """Set the hyperparameters of the next steps; returns False if they need another plan."""
        if groups != self.groups and not self._setup.serves(groups):
            return False
        self.values = self._setup.values_of(groups)
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

    def step(self, owner: Owner, given: StepArguments) -> None:
        """Update the parameters that have a gradient."""
        # If the step is interrupted, the detector stays None, and the plan is not used again.
        detector, self.detector = self.detector, None
        if self._scope is nullcontext:
            self._step(owner, given)
        else:
            with self._scope():
                self._step(owner, given)
        self.detector = detector
        if self._drafted or detector is None:
            self.detector = self._kept.detector(self._all_state)
        self._drafted = False

    def _step(self, owner: Owner, given: StepArguments) -> None:
        grads, grad_scale, found = self.active.of(given.grads), given.grad_scale, given.found_inf
        parts, self._parts = self._parts or self.active.parts(grads), None
        masks = given.masks
        marked = None if masks is None else self.active.marked(masks)  # kept until the launch
        plan = self._bound(parts, marked)
        if self._setup.shards and found is not None:
            found = not self._setup.shards.all_true(not found)
        found = False if found is None else found
        unpack = self._packed()  # before sums over parameters are taken
        if plan.conditional and plan.conditional.takes(found, grad_scale):
            info = plan.conditional.step(self._device, None, grad_scale, found)
            commit([*unpack, *self._finished(owner, info, grads, parts)])
            self._note_written()
            return
        lr, stale, values, count = given.lr, plan.stale, self.values, self.state.count
        if self._setup.conditional:
            values, count = self._device.known_values(), self.state.count
            lr = values[0].get("lr") if values else lr
        scaled = grad_scale, found, self._setup.counted
        norm, verdict = plan.prepare(self.core, values, parts, *scaled)
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

    def _bound(self, parts: Sequence[Any], masks: Sequence[Any] | None) -> Any:
        """The plan, once it has the addresses of gradients and masks."""
        if self._graphs:
            self._scope.turn.captured.check_active([part is not None for part in parts])
        if self.plan is None:  # a step is captured
            self.plan = self._planned(self.groups)
            self._graphs = True
        plan = self.plan
        plan.look(parts)
        if masks is not None:
            plan.bind_masks(masks)
        if self._setup.noisy and self._drawn is not self.state.grouping:
            plan.draw(self._draws, self._late())
            self._drawn = self.state.grouping
        return plan

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
        if self._setup.options.zero_grads:
            others += [*self.gradients.cleared(), *self.active.cleared(grads, parts)]
        if owner._tensor_step is not self:
            others += put(owner, _tensor_step=self)
        return others

    def _late(self) -> Any:
        """The difference between the step counts of the optimizer and of each active parameter."""
        grouping = self.state.grouping
        return np.array([grouping.cohorts[number].base for number in grouping.cohort_of])

    def check_replaceable(self, what: str) -> None:
        """Raise an error if a CUDA graph would still use the state that is to be replaced.

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
