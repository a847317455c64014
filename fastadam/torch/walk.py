"""A step over tensors where they are: the core's plan, kept until something moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..launch_plan import Plan
from ..memory.parameters import Gathered, Parameters
from ..options import LOW
from ..step_info import StepInfo, late_info, new_info
from .devices import Turns, turns_on
from .fit import Entry
from .gradients import Gradients
from .hyperparameters import Settled
from .members import Members
from .state import Counters, TensorCopies, TensorState, check_copies, check_entry, dtypes
from .tensors import name_of
from .watch import Watch

if TYPE_CHECKING:
    from .optimizer import Optimizer


class Walk:
    """A plan for the parameters that have had a gradient, and what would make it void.

    Args:
        groups: a settled group for each of the optimizer's `param_groups`.
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        scaled: whether gradients come with a scale, and one FAR from 1.
        threads: how many threads a step may use.
        last: the walk before this one.
    """

    _members: Members
    _entries: list[Entry]
    _counters: Counters
    _turns: Turns

    def __init__(
        self,
        owner: Optimizer,
        groups: Sequence[Settled],
        params: Sequence[Any],
        grads: Sequence[Any],
        scaled: int,
        threads: int,
        last: Walk | None,
    ) -> None:
        self._core, self._options = owner._core, replace(owner._options, threads=threads)
        self._scaled: int = max(scaled, last._scaled if last else 0)
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
        self._formats = [
            options.formats(place.array, dtype.name, place.param.numel())
            for options, place, dtype in zip(
                each, self._members.places, self._gradients.dtypes, strict=True
            )
        ]
        same_place = last is not None and last._members.device == self._members.device
        self._turns = last._turns if last and same_place else turns_on(self._members.places[0].part)
        with self._turns():
            self._set_up_state(keeps, last)
            self._plan, self._draws = self._planned(groups), self._members.draws
        self.settle(groups)
        self._watch = Watch(
            self._members.params,
            self._all_state,
            self._entries,
            [*self._state.arrays, *self._copies.streams],
            self._counters.tensors,
        )

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

    def _set_up_state(self, keeps: Sequence[bool], last: Walk | None) -> None:
        """Take over what there is in the optimizer's `state`, and make room for the rest."""
        members, entries = self._members, list[Entry]()
        for kept, numbers in zip(keeps, members.by_group, strict=True):
            entries += [self._all_state[members.everyone[i]] if kept else {} for i in numbers]
        needed = self._needed()
        for entry, name in zip(entries, members.names, strict=True):
            _drop_none(entry)
            check_entry(entry, needed, name)
        start = {"step": 0.0} if self._counted else {}
        carried = tuple(self._core.carried.values())
        steps = [self._steps_of(entry) for entry in entries]
        self._counters = Counters(entries, start | self._core.carried)
        self._copies = TensorCopies(self._options, members.places, entries)
        state = self._state = TensorState(members.places, entries)
        for position, number in enumerate(self._used):
            state.extend(position, len(members.by_group[number]), carried)
        numbers = [self._counters[name].tolist() for name in self._core.carried]
        each = list(zip(*numbers, strict=True)) if carried else [()] * len(steps)
        state.regroup(steps, each, [True] * len(steps))
        names = dict.fromkeys(name for rule in self._rules for name in rule.state)
        state.adopt([*names], self._formats)
        state.count = max([*steps, last._state.count if last else 0])
        self._entries = entries

    def _needed(self) -> set[str]:
        """What any state that there is has: what flags switch on is not in it."""
        if self._core.uncounted:
            return set()
        always = {*self._core.rule.state}.intersection(*(rule.state for rule in self._rules))
        return always | {"step", *self._core.carried}

    def _steps_of(self, entry: Entry) -> int:
        """How many steps a parameter has taken; at least one where PyTorch saves no count."""
        if self._core.uncounted and "step" not in entry:
            return int(any(name in entry for rule in self._rules for name in rule.state))
        return int(entry.get("step", 0))

    def _planned(self, groups: Sequence[Settled]) -> Plan:
        arrays, parameters = self._members.arrays, Parameters()
        parameters.add(Gathered(arrays, None, arrays, self._members.names, []), alone=False)
        for group, numbers in zip(groups, self._members.by_group, strict=True):
            group.params = numbers
        return Plan(
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

    def settle(self, groups: Sequence[Settled]) -> None:
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
        """Whether parameters, state and rules are those of the last step, where they were."""
        if groups is not self._groups:
            if [group.rule for group in groups] != self._rules:
                return False
            if [group.options for group in groups] != self._own:
                return False
            self.settle(groups)
        return (
            owner._entries is self._all_state
            and self._threads == threads
            and self._scaled >= scaled
            and owner._sizes() == self._members.sizes
            and all(map(is_, params, self._members.everyone))
            and not any(param.grad is not None for param in self._members.rest)
            and not self._counters.touched
            and self._watch.params_stay()
            and not (owner._handed_out and not self._watch.state_stays())
        )

    # The step

    def step(
        self, grads: Sequence[Any], lr: float | None, grad_scale: Any, found_inf: bool
    ) -> StepInfo:
        """Move the parameters that have a gradient; `lr` is what to report."""
        with self._turns():
            return self._step(grads, lr, grad_scale, found_inf)

    def _step(
        self, grads: Sequence[Any], lr: float | None, grad_scale: Any, found_inf: bool
    ) -> StepInfo:
        plan, state = self._plan, self._state
        grads = self._members.of(grads)
        parts, self._parts = self._parts or self._members.parts(grads), None
        plan.look(parts)
        plan.write_records(
            self._core.hyper,
            plan.carry(self._core.carry, self._values) if self._core.carried else self._values,
        )
        norm, verdict = None, "update"
        if plan.ahead.needed or found_inf:
            if self._noisy:
                steps = self._counters["step"].astype(np.int64)
                plan.draw(self._draws, state.count - steps)
            seen = self._gradients.seen(parts)
            norm, verdict = plan.ahead.prepare(seen, grad_scale, found_inf, state.count + 1)
        if plan.stale and (verdict == "update" or self._counted):
            groups = (self._groups[number] for number in self._used)
            plan.write_rows([self._core._start(group.rule, group.values) for group in groups])
            self._watch.note()
        if verdict == "update":
            self._run()
        if self._options.zero_grads:
            self._gradients.clear_copied()
            self._members.clear_moved(grads, parts)
        info = late_info if callable(norm) else new_info
        return info((state.count, lr, norm, verdict == "skip", verdict == "update"))

    def _run(self) -> None:
        plan, active = self._plan, self._gradients.active
        for place in self._members.gapped:
            place.fetch()
        plan.run()
        for place in self._members.gapped:
            place.put_back()
        self._counters.follow(self._state, active, tuple(self._core.carried))
        moved = self._members.params
        torch.autograd.graph.increment_version(
            moved if all(active) else list(compress(moved, active))
        )


def _drop_none(entry: Entry) -> None:
    """Leave out what is None: so older versions of PyTorch save the momentum that is not there."""
    for name in [name for name, value in entry.items() if value is None]:
        del entry[name]
