"""A step over tensors where they are: the core's plan, kept until something moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress, starmap
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..engine.convert import ORDER, SCALE
from ..engine.options import LOW, Options
from ..engine.parameters import Gathered, Parameters
from ..engine.plan import StepPlan
from ..engine.step_info import late_info, new_info
from ..kernels.commit import Operation, commit, put
from ..kernels.formats import COMPENSATION, Formats
from ..memory.dtypes import name_of as name_of_dtype
from .change_detection import Watch
from .counters import Counters
from .devices import Turns, turns_on
from .gradients import Gradients
from .hyperparameters import Settled
from .layouts import addresses
from .parameters import Members
from .state import Entries, TensorCopies, TensorState, check_copies, check_entry, check_step, dtypes
from .state_formats import Entry
from .tensors import Place, name_of

if TYPE_CHECKING:
    from .optimizer import Optimizer


class TensorStep:
    """A plan for the parameters that have had a gradient, and what would make it void.

    Args:
        groups: a settled group for each of the optimizer's `param_groups`.
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        scaled: whether gradients come with a scale, and one FAR from 1.
        threads: how many threads a step may use.
        last: the one before this.
    """

    _members: Members
    _entries: list[Entry]
    _counters: Counters
    _state: TensorState
    _copies: TensorCopies
    _turns: Turns
    _watch: Watch | None = None  # none while a step is on
    _drawn: Any = None  # the cohorts for which launches know what their noise follows
    _drafted = True  # whether state was made of which the entries know nothing yet
    _lost = False  # whether the plan may point at tensors that are gone

    def __init__(
        self,
        owner: Optimizer,
        groups: Sequence[Settled],
        params: Sequence[Any],
        grads: Sequence[Any],
        scaled: int,
        threads: int,
        last: TensorStep | None,
    ) -> None:
        self._core, self._options = owner._core, replace(owner._options, threads=threads)
        self._scaled: int = max(scaled, last._scaled if last else 0)
        self._known: dict[tuple[Any, ...], Formats] = {}
        self._threads, self._all_state = threads, owner._entries
        self._noisy = any(group.options.noisy for group in groups)
        counts = self._options.ema_warmup or self._noisy
        self._counted = not self._core.uncounted or counts
        self._rules = [group.rule for group in groups]
        self._own = [group.options for group in groups]
        besides = self._counted or bool(dtypes(self._options))
        keeps = [
            besides or bool(group.rule.state or group.options.compensation) for group in groups
        ]
        self._members = Members(owner, params, grads, keeps, last._members if last else None)
        self._used = [number for number, some in enumerate(self._members.by_group) if some]
        self._check_whole(owner)
        self._parts: Sequence[Any] | None = self._members.parts(self._members.of(grads))
        owned = type(owner).__name__, self._parts, self._options.zero_grads
        self._gradients = Gradients(self._members.places, *owned)
        each = (o for o, some in zip(self._own, self._members.by_group, strict=True) for _ in some)
        parts = zip(each, self._members.places, self._gradients.dtypes, strict=True)
        self._formats = list(starmap(self._formats_of, parts))
        if not self._core.starts_at_zero:
            self._formats = [each.starting() for each in self._formats]
        same_place = last is not None and last._members.device == self._members.device
        self._turns = last._turns if last and same_place else turns_on(self._members.places[0].part)
        with self._turns():
            for group, numbers in zip(groups, self._members.by_group, strict=True):
                group.params = numbers
            self._set_up_state(groups, keeps, last)
            self._plan, self._draws = self._planned(groups), self._members.draws
        self.take_values(groups)

    def _formats_of(self, options: Options, place: Place, grad: Any) -> Formats:
        key = options, place.array.dtype, grad, place.param.numel()
        if key not in self._known:
            self._known[key] = options.formats(place.array, name_of_dtype(grad), key[-1])
        return self._known[key]

    def _check_whole(self, owner: Optimizer) -> None:
        check_copies(self._options, self._members.places)
        for name in LOW:
            rest = list[str]()
            for k, (group, own) in enumerate(zip(owner.param_groups, self._own, strict=True)):
                found = [*map(name_of, group["params"])]
                if name in group:
                    own.check_params(found, [name], f"param_groups[{k}]: ")
                else:
                    rest += found
            self._options.check_params(rest, [name])
        if self._members.sharded and self._options.measures:
            raise RuntimeError(
                "clip_norm and skip_nonfinite look at the shards of this process only; call "
                "torch.nn.utils.clip_grad_norm_ before the step instead"
            )

    def _set_up_state(
        self, groups: Sequence[Settled], keeps: Sequence[bool], last: TensorStep | None
    ) -> None:
        """Take over what there is in the optimizer's `state`, and make room for the rest."""
        members, live = self._members, list[Entry]()
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
        self._copies = TensorCopies(self._options, members.places, entries)
        state = self._state = TensorState(members.places, entries)
        commit(
            state.extended(
                [groups[number] for number in self._used], tuple(self._core.carried.values())
            )
        )
        state.count = last._state.count if last else 0
        self._count()
        names = dict.fromkeys(name for rule in self._rules for name in rule.state)
        state.adopt([*names], self._formats)

    def _count(self) -> None:
        """Take over the counts that there are in the entries."""
        state, carried, entries = self._state, self._core.carried, self._drafts.drafts
        for entry, name in zip(entries, self._members.names, strict=True):
            check_step(entry, name)
        steps = list(map(self._steps_of, entries))
        start = {"step": 0.0} if self._counted else {}
        state.count = max(state.count, *steps)
        self._counters = Counters(entries, start | carried, state.count)
        host = [self._counters[name].tolist() for name in carried]
        each = list(zip(*host, strict=True)) if carried else [()] * len(steps)
        state.regroup(steps, each, state.active)

    def _needed(self) -> set[str]:
        """Names that all state has, whatever the flags."""
        if self._core.uncounted:
            return set()
        always = {*self._core.rule.state}.intersection(*(rule.state for rule in self._rules))
        return always | {"step", *self._core.carried}

    def _steps_of(self, entry: Entry) -> int:
        """The number of steps a parameter has taken; at least one where PyTorch saves no count."""
        if self._core.uncounted and "step" not in entry:
            return int(any(name in entry for rule in self._rules for name in rule.state))
        return int(entry.get("step", 0))

    def _planned(self, groups: Sequence[Settled]) -> StepPlan:
        arrays = self._members.arrays
        gathered = Gathered(arrays, None, arrays, self._members.names, [])
        parameters = Parameters().with_groups([gathered], alone=False)
        if self._core.uncounted:
            self._state.begin([group.rule for group in groups for _ in group.params])
        return StepPlan(
            [groups[number] for number in self._used],
            parameters,
            self._gradients,
            self._formats,
            self._state,
            tuple(self._core.carried),
            self._options,
            self._copies.streams,
            None,
            False,
            self._scaled,
            gated=False,
        )

    def take_values(self, groups: Sequence[Settled]) -> None:
        """Take the hyperparameters of the next steps, under which the rules are the same."""
        self._groups = groups
        self._values = [groups[number].values for number in self._used]

    # Whether it still holds

    def holds(
        self,
        owner: Optimizer,
        groups: Sequence[Settled],
        params: Sequence[Any],
        scaled: int,
        threads: int,
    ) -> bool:
        """True if parameters, state and rules are those of the last step, where they were."""
        if groups is not self._groups:
            if [group.rule for group in groups] != self._rules:
                return False
            if [group.options for group in groups] != self._own:
                return False
            self.take_values(groups)
        return (
            owner._entries is self._all_state
            and self._threads == threads
            and self._scaled >= scaled
            and owner._sizes() == self._members.sizes
            and all(map(is_, params, self._members.everyone))
            and not any(param.grad is not None for param in self._members.rest)
            and self._state.count < self._counters.last
            and self._stays(owner._handed_out)
        )

    def _stays(self, handed_out: bool) -> bool:
        """True if tensors are where they were, or were found where they are now."""
        watch = self._watch
        if watch is None:
            return False
        moved = not watch.params_stay()
        exchanged = handed_out and not watch.state_stays()
        if self._lost or moved or exchanged or self._counters.touched:
            return self._follows(watch, moved, exchanged)
        return True

    def _follows(self, watch: Watch, moved: bool, exchanged: bool) -> bool:
        """Go on with tensors like those before that are elsewhere, if this is all that changed."""
        if self._lost or self._members.gapped or not watch.alike(moved, exchanged):
            return False
        self._lost = True  # unless all of this comes to its end
        with self._turns():
            try:
                self._drafts.refresh()
                if moved:
                    self._follow_params()
                    watch.follow_params()
                if exchanged:
                    self._state.follow()
                    self._copies.follow()
                    self._plan.repoint_kept()
                if exchanged or self._counters.touched:
                    self._count()
                    self._plan.recount()
                    self._drafted = True
            except (TypeError, ValueError):
                return False  # a new one says what is wrong
        self._lost = False
        return True

    def _follow_params(self) -> None:
        for place in self._members.places:
            place.follow()
        self._gradients.follow()
        arrays = self._members.arrays
        self._plan.repoint(arrays, addresses([place.part for place in self._members.places]))

    # The step

    def step(
        self,
        owner: Optimizer,
        grads: Sequence[Any],
        lr: float | None,
        grad_scale: Any,
        found_inf: bool,
    ) -> None:
        """Update the parameters that have a gradient; `lr` is what to report."""
        watch, self._watch = self._watch, None  # an interrupted step leaves one that is void
        with self._turns():
            self._step(owner, grads, lr, grad_scale, found_inf)
        self._watch = watch if watch and not self._drafted else self._watched()
        self._drafted = False

    def _watched(self) -> Watch:
        """A detector of changes of parameters and state."""
        return Watch(
            self._members.params,
            self._all_state,
            self._entries,
            [*self._state.arrays, *self._copies.streams],
            self._counters.tensors,
        )

    def _step(
        self,
        owner: Optimizer,
        grads: Sequence[Any],
        lr: float | None,
        grad_scale: Any,
        found_inf: bool,
    ) -> None:
        plan, count = self._plan, self._state.count
        grads = self._members.of(grads)
        parts, self._parts = self._parts or self._members.parts(grads), None
        plan.bind(parts)
        if self._noisy and self._drawn is not self._state.grouping:
            plan.draw(self._draws, count - np.array(self._state.steps))
            self._drawn = self._state.grouping
        stale = plan.stale
        norm, verdict = plan.prepare(
            self._core, self._values, parts, grad_scale, found_inf, self._counted
        )
        self._drafted |= stale and not plan.stale
        others = self._drafts.publish() if self._drafted else []
        if self._options.zero_grads:
            others += [*self._gradients.cleared(), *self._members.cleared(grads, parts)]
        updated = verdict == "update"
        fields = count + updated, lr, norm, verdict == "skip", updated
        info = (late_info if callable(norm) else new_info)(fields)
        others += put(owner, info=info, _tensor_step=self)
        if updated:
            self._run(others)
        else:
            commit(others)

    def _run(self, others: Sequence[Operation]) -> None:
        """Launch, count, and whatever belongs to the step: all of it or nothing."""
        active, of = self._gradients.active, self._state.grouping.cohort_of
        carried = {
            name: [self._plan.numbers[cohort][position] for cohort in of]
            for position, name in enumerate(self._core.carried)
        }
        put_back = [operation for place in self._members.gapped for operation in place.put_back()]
        for place in self._members.gapped:
            place.fetch()
        self._plan.run(*put_back, *self._counters.followed(active, carried), *others)
        written = self._members.params
        torch.autograd.graph.increment_version(
            written if all(active) else list(compress(written, active))
        )
