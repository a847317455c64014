"""The step over tensors: a plan of the core, cached until parameters or state change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import compress, starmap
from operator import is_
from typing import TYPE_CHECKING, Any
from weakref import proxy

import numpy as np
import torch

from ..engine.convert import ORDER, SCALE
from ..engine.launch_plan import StepPlan
from ..engine.options import LOW, Options
from ..engine.parameters import Gathered, Parameters
from ..engine.row_inputs import check_rows
from ..engine.step_context import StepContext, StepKind
from ..engine.step_info import late_info, new_info
from ..kernels.commit import Operation, commit, put
from ..kernels.formats import COMPENSATION, Formats
from ..memory.dtypes import name_of as name_of_dtype
from .change_detection import ChangeDetector, addresses
from .counters import Counters
from .devices import DeviceScope, scope_of
from .gradients import Gradients
from .hyperparameters import CheckedGroup, with_known_rate
from .matrices import TensorWorkspace
from .parameters import ActiveParameters
from .shard_sums import ShardSums
from .shards import check_whole
from .sparse import check_hyper
from .state import Entries, TensorCopies, TensorState, check_copies, check_entry, check_step, dtypes
from .state_formats import Entry
from .tensors import ParameterMemory, check_rows_in_order, name_of

if TYPE_CHECKING:
    from ..rules import Rule
    from ..rules.algorithm import Values
    from .owner import Owner


class TensorStep:
    """A plan for the active parameters, with the conditions under which it is valid.

    Args:
        owner: the optimizer.
        groups: a checked group for each of the optimizer's `param_groups`.
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        scaled: 0 without a gradient scale, NEAR or FAR for its distance from 1 (`reach_of`).
        threads: the number of threads that a step may use.
        last: the step before this one.
        conditional: True if a GPU is to decide about steps, and to count them.
    """

    _active: ActiveParameters
    _entries: list[Entry]
    _counters: Any  # Counters, or DeviceCounters
    _plan: Any
    _state: TensorState
    _copies: TensorCopies
    _scope: Any  # a context of work on the tensors, for each call
    _detector: ChangeDetector | None = None  # None during a step
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
        scaled: int,
        threads: int,
        last: TensorStep | None,
        conditional: bool = False,
    ) -> None:
        if last:
            last.check_replaceable("step() with other parameters, hyperparameters or state")
        self._core, self._options = owner._core, replace(owner._options, threads=threads)
        self._scaled: int = max(scaled, last._scaled if last else 0)
        self._known: dict[tuple[Any, ...], Formats] = {}
        self._threads, self._all_state = threads, owner._entries
        self._noisy = any(group.options.noisy for group in groups)
        counts = self._options.ema_warmup or self._noisy
        self._counted = not self._core.uncounted or counts
        self._rules = [group.rule for group in groups]
        self._transform = type(owner)._transform
        self._own = [group.options for group in groups]
        besides = self._counted or bool(dtypes(self._options))
        keeps = [
            besides or bool(group.rule.state or group.options.compensation) for group in groups
        ]
        self._active = ActiveParameters(owner, params, grads, keeps, last._active if last else None)
        self._used = [number for number, some in enumerate(self._active.by_group) if some]
        self._check_options(owner)
        self._shards = ShardSums(self._active.params) if self._active.sharded else None
        self._parts: Sequence[Any] | None = self._active.parts(self._active.of(grads))
        self._owner = type(owner).__name__
        called = self._owner, type(owner).core.__name__
        owned = called, self._parts, self._options.zero_grads
        self._gradients = Gradients(self._active.memories, *owned)
        check_rows(self._gradients.dtypes, self._options, self._active.arrays[0])
        owners = zip(self._own, self._rules, self._active.by_group, strict=True)
        each = ((own, rule) for own, rule, some in owners for _ in some)
        parts = zip(each, self._active.memories, self._gradients.dtypes, strict=True)
        self._formats = list(starmap(self._formats_of, parts))
        if not self._core.starts_at_zero:
            self._formats = [each.starting() for each in self._formats]
        same_place = last is not None and last._active.device == self._active.device
        self._scope = (
            last._scope if last and same_place else scope_of(self._active.memories[0].part)
        )
        self._wanted = conditional
        capturable = any(group.get("capturable") for group in owner.param_groups)
        with self._scope():
            self._conditional = self._decided_there(capturable)
            for group, numbers in zip(groups, self._active.by_group, strict=True):
                group.params = numbers
            self._set_up_state(groups, keeps, last)
            self._plan, self._draws = self._planned(groups), self._active.draws
        self.set_hyperparameters(groups)
        if capturable and self._conditional:
            self._scope.turn.captured = self._captured_steps()

    def _decided_there(self, capturable: bool) -> bool:
        """True if a GPU decides about steps, and counts them.

        Raises:
            RuntimeError: if `capturable` is for tensors elsewhere, or for what only the host knows.
        """
        if not isinstance(self._scope, DeviceScope):
            if capturable:
                raise RuntimeError(
                    "If capturable=True, params and state_steps must be on supported devices: "
                    f"['cuda'], but {self._active.memories[0].name} is on {self._active.device}"
                )
            return False
        if capturable and self._core.carried:
            raise RuntimeError(
                f"{self._owner} carries {[*self._core.carried]} on the host from step to step; "
                "capturable=True is not supported"
            )
        if capturable and self._core.rule.matrix:
            raise RuntimeError(
                f"{self._owner} multiplies matrices between two kernels of a step; capturable=True "
                "is not supported"
            )
        only_host = self._core.carried or self._core.rule.matrix or self._shards
        if not (self._wanted or capturable) or only_host:
            return False
        from ..cuda.conditional_step import ConditionalStep

        return ConditionalStep.serves(self._formats, self._options)

    def _captured_steps(self) -> Any:
        from ..cuda.graph_capture import CapturedSteps

        return CapturedSteps(proxy(self))

    def _formats_of(
        self, owner: tuple[Options, Rule], memory: ParameterMemory, grad: Any
    ) -> Formats:
        (options, rule), part = owner, memory.part
        key = *owner, memory.array.dtype, grad, memory.param.numel(), part.shape
        if key not in self._known:
            formats = options.formats(memory.array, name_of_dtype(grad), memory.param.numel())
            self._known[key] = formats.ruled(rule, part.shape)
        check_rows_in_order(memory, self._known[key])
        return self._known[key]

    def _check_options(self, owner: Owner) -> None:
        check_copies(self._options, self._active.memories)
        for name in LOW:
            rest = list[str]()
            for k, (group, own) in enumerate(zip(owner.param_groups, self._own, strict=True)):
                found = [*map(name_of, group["params"])]
                if name in group:
                    own.check_params(found, [name], f"param_groups[{k}]: ")
                else:
                    rest += found
            self._options.check_params(rest, [name])

    def _set_up_state(
        self, groups: Sequence[CheckedGroup], keeps: Sequence[bool], last: TensorStep | None
    ) -> None:
        """Use the existing tensors in the optimizer's `state`, and prepare the missing ones."""
        members, live = self._active, list[Entry]()
        for kept, numbers in zip(keeps, members.by_group, strict=True):
            live += [self._all_state[members.everyone[i]] if kept else {} for i in numbers]
        needed = self._needed()
        single = {"step", *self._core.carried}
        tensors = {COMPENSATION, ORDER, *dtypes(self._options)}
        for name in {name for rule in self._rules for name in rule.state}:
            tensors |= {name, name + SCALE}
        self._entries, self._drafts = live, Entries(live)
        entries = self._drafts.drafts
        for entry, name in zip(entries, members.names, strict=True):
            check_entry(entry, needed, tensors, single, name)
        self._copies = TensorCopies(self._options, members.memories, entries)
        state = self._state = TensorState(members.memories, entries)
        commit(
            state.extended(
                [groups[number] for number in self._used], tuple(self._core.carried.values())
            )
        )
        state.count = last.count if last else 0
        self._count()
        names = dict.fromkeys(name for rule in self._rules for name in rule.state)
        state.adopt([*names], self._formats)

    def _count(self) -> None:
        """Read the step counts and other host numbers from the entries."""
        state, carried, entries = self._state, self._core.carried, self._drafts.drafts
        state.settle()
        known: Any = entries
        if isinstance(self._scope, DeviceScope):
            from .device_counters import DeviceCounters, known_steps

            known = known_steps(entries)
        for entry, name in zip(known, self._active.names, strict=True):
            check_step(entry, name)
        steps = list(map(self._steps_of, known))
        start = {"step": 0.0} if self._counted else {}
        state.count = max(state.count, *steps)
        if self._conditional:
            counted = steps if self._counted else []
            self._counters = DeviceCounters(entries, counted, self._active.device)
        else:
            self._counters = Counters(entries, start | carried, state.count)
        host = [self._counters[name].tolist() for name in carried]
        each = list(zip(*host, strict=True)) if carried else [()] * len(steps)
        state.regroup(steps, each, state.active)

    def _needed(self) -> set[str]:
        """The names that every existing state must have; not those that depend on flags."""
        if self._core.uncounted:
            return set()
        always = {*self._core.rule.state}.intersection(*(rule.state for rule in self._rules))
        return always | {"step", *self._core.carried}

    def _steps_of(self, entry: Entry) -> int:
        """The number of steps of a parameter; 1 if it has state of which PyTorch saves no count."""
        if self._core.uncounted and "step" not in entry:
            return int(any(name in entry for rule in self._rules for name in rule.state))
        return int(entry.get("step", 0))

    def _planned(self, groups: Sequence[CheckedGroup]) -> StepPlan:
        arrays = self._active.arrays
        gathered = Gathered(arrays, None, arrays, self._active.names, [])
        parameters = Parameters().with_groups([gathered], alone=False)
        check_whole(self._active.params, (groups[number].rule for number in self._used))
        if self._core.uncounted:
            self._state.begin([group.rule for group in groups for _ in group.params])
        context = StepContext(
            groups=[groups[number] for number in self._used],
            parameters=parameters,
            gradients=self._gradients,
            formats=self._formats,
            state=self._state,
            carried=tuple(self._core.carried),
            options=self._options,
            copies=self._copies.streams,
            shards=self._shards,
            workspace=TensorWorkspace(self._active.memories, self._transform),
        )
        plan = StepPlan(context, StepKind(scaled=self._scaled, may_skip=self._conditional))
        if self._conditional:
            conditional: Any = plan.conditional
            step = proxy(self)  # memory is given back without a garbage collection
            conditional.runs_of = lambda active: step._counters.runs(active)
        return plan

    def set_hyperparameters(self, groups: Sequence[CheckedGroup]) -> None:
        """Set the hyperparameters of the next steps, which must have the same rules."""
        self._groups = groups
        self._values = [groups[number].values for number in self._used]
        if not any(self._gradients.rows):
            return
        rows = dict(zip(self._active.numbers, self._gradients.rows, strict=True))
        for group, numbers in zip(groups, self._active.by_group, strict=True):
            if any(rows[number] for number in numbers):
                check_hyper(self._owner, group.values)

    # Validity of the plan

    def is_valid(
        self,
        owner: Owner,
        groups: Sequence[CheckedGroup],
        params: Sequence[Any],
        scaled: int,
        threads: int,
        conditional: bool = False,
    ) -> bool:
        """True if parameters, state and rules are those of the last step, at known addresses."""
        if groups is not self._groups:
            if [group.rule for group in groups] != self._rules:
                return False
            if [group.options for group in groups] != self._own:
                return False
            self.set_hyperparameters(groups)
        return (
            owner._entries is self._all_state
            and self._threads == threads
            and self._scaled >= scaled
            and self._wanted >= conditional
            and owner._sizes() == self._active.sizes
            and all(map(is_, params, self._active.everyone))
            and not (self._active.rest and any(p.grad is not None for p in self._active.rest))
            and self._state.count < self._counters.last
            and self._tensors_unchanged(owner._handed_out)
        )

    def _tensors_unchanged(self, handed_out: bool) -> bool:
        """True if all tensors are unchanged, or were reallocated and the plan could be updated."""
        detector = self._detector
        if detector is None:
            return False
        moved = not detector.params_unchanged()
        exchanged = handed_out and not detector.state_unchanged()
        if self._lost or moved or exchanged or self._counters.touched:
            return self._rebind(detector, moved, exchanged)
        return True

    def _rebind(self, detector: ChangeDetector, moved: bool, exchanged: bool) -> bool:
        """Update the addresses in the plan, if only addresses changed; returns True on success."""
        if self._lost or self._active.gapped or not detector.alike(moved, exchanged):
            return False
        self._lost = True  # until everything below has succeeded
        with self._scope():
            try:
                self._drafts.refresh()
                if moved:
                    self._rebind_params()
                    detector.update_params()
                if exchanged:
                    self._state.rebind()
                    self._copies.rebind()
                    self._plan.repoint_kept()
                if exchanged or self._counters.touched:
                    self._count()
                    self._plan.recount()
                    self._drafted = True
            except (TypeError, ValueError):
                return False  # creating a new step raises the error
        self._lost = False
        return True

    def _rebind_params(self) -> None:
        for memory in self._active.memories:
            memory.rebind()
        self._gradients.rebind()
        arrays = self._active.arrays
        self._plan.repoint(arrays, addresses([memory.part for memory in self._active.memories]))

    # The step

    def step(
        self,
        owner: Owner,
        grads: Sequence[Any],
        lr: float | None,
        grad_scale: Any,
        found_inf: Any,
    ) -> None:
        """Update the parameters that have a gradient; `lr` is reported in the StepInfo."""
        # If the step is interrupted, the detector stays None, and the plan is not used again.
        detector, self._detector = self._detector, None
        if self._scope is nullcontext:
            self._step(owner, grads, lr, grad_scale, found_inf)
        else:
            with self._scope():
                self._step(owner, grads, lr, grad_scale, found_inf)
        self._detector = detector if detector and not self._drafted else self._new_detector()
        self._drafted = False

    def _new_detector(self) -> ChangeDetector:
        """A detector of changes to the current parameters and state."""
        return ChangeDetector(
            self._active.params,
            self._all_state,
            self._entries,
            [*self._state.arrays, *self._copies.streams],
            self._counters.tensors,
        )

    def _step(
        self,
        owner: Owner,
        grads: Sequence[Any],
        lr: float | None,
        grad_scale: Any,
        found_inf: Any,
    ) -> None:
        grads = self._active.of(grads)
        parts, self._parts = self._parts or self._active.parts(grads), None
        if self._graphs:
            self._scope.turn.captured.check_active([part is not None for part in parts])
        if self._plan is None:  # a step is captured
            self._plan = self._planned(self._groups)
            self._graphs = True
        plan = self._plan
        plan.look(parts)
        found = False if found_inf is None else found_inf
        if self._shards and found_inf is not None:
            found = not self._shards.all_true(not found)
        if self._noisy and self._drawn is not self._state.grouping:
            plan.draw(self._draws, self._late())
            self._drawn = self._state.grouping
        if plan.conditional and plan.conditional.takes(found, grad_scale):
            self._step_there(owner, grads, parts, grad_scale, found)
            return
        stale, values, count = plan.stale, self._values, self._state.count
        if self._conditional:
            values, count = self._known_values()
            lr = values[0].get("lr") if values else lr
        norm, verdict = plan.prepare(self._core, values, parts, grad_scale, found, self._counted)
        self._drafted |= stale and not plan.stale
        others = self._drafts.publish() if self._drafted else []
        if self._options.zero_grads:
            others += [*self._gradients.cleared(), *self._active.cleared(grads, parts)]
        updated = verdict == "update"
        fields = count + updated, lr, norm, verdict == "skip", updated
        info = (late_info if callable(norm) else new_info)(fields)
        others.append(partial(object.__setattr__, owner, "info", info))
        if owner._tensor_step is not self:
            others += put(owner, _tensor_step=self)
        if updated:
            self._run(others)
        else:
            commit(others)

    def _known_values(self) -> tuple[list[Values], int]:
        """The hyperparameters, with numbers for those that the GPU has, and the count of steps."""
        self._state.settle()
        return [with_known_rate(values) for values in self._values], self._state.count

    def _step_there(
        self,
        owner: Owner,
        grads: Sequence[Any],
        parts: Sequence[Any],
        grad_scale: Any,
        found_inf: Any,
    ) -> None:
        """Take a step about which the GPU decides, without waiting for it."""
        conditional = self._plan.conditional
        unpack: list[Operation] = []
        for memory in self._active.gapped:
            unpack += memory.unpack()
            memory.pack()
        info = conditional.step(self, None, grad_scale, found_inf)
        others: list[Operation] = [*unpack, partial(object.__setattr__, owner, "info", info)]
        if self._options.zero_grads:
            others += [*self._gradients.cleared(), *self._active.cleared(grads, parts)]
        if owner._tensor_step is not self:
            others += put(owner, _tensor_step=self)
        commit(others)
        self._note_written()

    def _late(self) -> Any:
        """The difference between the step counts of the optimizer and of each active parameter."""
        grouping = self._state.grouping
        return np.array([grouping.cohorts[number].base for number in grouping.cohort_of])

    # What the steps of a GPU ask for, and those of CUDA graphs

    @property
    def plan(self) -> Any:
        return self._plan

    @property
    def algorithm(self) -> Any:
        return self._core

    @property
    def groups(self) -> Sequence[Any]:
        """Those whose hyperparameters are functions of the step: none."""
        return ()

    @property
    def state(self) -> TensorState:
        return self._state

    @property
    def count(self) -> int:
        """The count of steps of the optimizer, those under way among them."""
        self._state.settle()
        return self._state.count

    def values(self, lr: Any, step: int) -> list[Values]:
        """The hyperparameters of each group."""
        return self._values

    def refresh(self) -> None:
        """Do nothing: the hyperparameters are those of the moment."""

    def exchange_plan(self, plan: Any) -> Any:
        """Go on with another plan; returns the one so far."""
        self._plan, before = plan, self._plan
        return before

    def check_replaceable(self, what: str) -> None:
        """Raise an error if a CUDA graph would go on with what is to be replaced.

        Raises:
            RuntimeError: with the way out.
        """
        if self._graphs:
            self._scope.turn.captured.refuse(what)

    def _run(self, others: Sequence[Operation]) -> None:
        """Launch the kernels, count the step and commit its other changes: all or nothing."""
        carried: dict[str, list[float]] = {}  # `dict[str, list[float]]()` takes a microsecond
        unpack: list[Operation] = []
        for position, name in enumerate(self._core.carried):
            of = self._state.grouping.cohort_of
            carried[name] = [self._plan.numbers[cohort][position] for cohort in of]
        for memory in self._active.gapped:
            unpack += memory.unpack()
            memory.pack()
        counted = self._counters.advance(self._gradients.active, carried)
        self._plan.run(*unpack, *counted, *others)
        self._note_written()

    def _note_written(self) -> None:
        """Let autograd know that the parameters were written to."""
        active, written = self._gradients.active, self._active.params
        torch.autograd.graph.increment_version(
            written if all(active) else list(compress(written, active))
        )
