"""A step over tensors where they are: the core's plan, kept until something moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, compress
from operator import is_
from typing import TYPE_CHECKING, Any

import torch

from ..groups import Group
from ..memory.parameters import Gathered, Parameters
from ..optimizer import StepInfo
from ..options import unscale_of
from ..plan import Plan
from .state import Counters, Entry, TensorCopies, TensorState, dtypes
from .tensors import Gradients, Place, local
from .watch import Watch

if TYPE_CHECKING:
    from .optimizer import Optimizer


class Walk:
    """A plan for the parameters that have had a gradient, and what would make it void.

    Args:
        groups: a settled group for each of the optimizer's `param_groups`.
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        scaled: whether gradients come with a scale.
        threads: how many threads a step may use.
        last: the walk before this one.
    """

    def __init__(
        self,
        owner: Optimizer,
        groups: Sequence[Group],
        params: Sequence[Any],
        grads: Sequence[Any],
        scaled: bool,
        threads: int,
        last: Walk | None,
    ) -> None:
        self._core, self._options = owner._core, replace(owner._options, threads=threads)
        self._scaled: bool = scaled or (last is not None and last._scaled)
        self._threads = threads
        self._params, self._all_state = params, owner._entries
        self._counted = not self._core.uncounted or self._options.ema_warmup
        self._rules = [group.rule for group in groups]
        members = self._members(groups, [len(g["params"]) for g in owner.param_groups], grads, last)
        self._used = [number for number, some in enumerate(members) if some]
        self._live = [*chain.from_iterable(members)]
        self._moved = [params[i] for i in self._live]
        self._rest = [params[i] for i in {*range(len(params))} - {*self._live}]
        names = owner._names()
        self._names = [names[i] for i in self._live]
        self._places = [Place(p, n) for p, n in zip(self._moved, self._names, strict=True)]
        self._gapped = [place for place in self._places if not place.dense]
        self._sharded = any(local(param) is not param for param in self._moved)
        self._check_whole()
        self._set_up_state(groups, members, last)
        for group, some in zip(groups, members, strict=True):
            group.params = some
        self._gradients = Gradients(
            self._places, self._names, type(owner).__name__, self._options.zero_grads
        )
        self._plan = self._planned([groups[number] for number in self._used])
        self.settle(groups)
        self._watch = Watch(self._moved, self._all_state, self._entries, self._counters.tensors)

    def _keeps(self, group: Group) -> bool:
        """Whether there is anything to keep for the parameters of a group."""
        return bool(self._counted or group.rule.state or dtypes(self._options))

    def _members(
        self, groups: Sequence[Group], sizes: Sequence[int], grads: Sequence[Any], last: Walk | None
    ) -> list[list[int]]:
        """The numbers of the parameters to move, of each group: with a gradient, now or before."""
        before, first, members = {*map(id, last._moved)} if last else set(), 0, []
        for group, size in zip(groups, sizes, strict=True):
            known = before
            if self._keeps(group):  # unless the user dropped what was kept
                known = before & {*map(id, self._all_state)}
            numbers = range(first, first + size)
            params = self._params
            members.append([i for i in numbers if grads[i] is not None or id(params[i]) in known])
            first += size
        return members

    def _check_whole(self) -> None:
        if self._sharded and self._options.measures:
            raise RuntimeError(
                "clip_norm and skip_nonfinite look at the shards of this process only; call "
                "torch.nn.utils.clip_grad_norm_ before the step instead"
            )

    def _set_up_state(
        self, groups: Sequence[Group], members: Sequence[Sequence[int]], last: Walk | None
    ) -> None:
        """Take over what there is in the optimizer's `state`, and make room for the rest."""
        entries: list[Entry] = []
        for group, some in zip(groups, members, strict=True):
            kept = self._keeps(group)
            entries += [self._all_state[self._params[i]] if kept else {} for i in some]
        start = {"step": 0.0} if self._counted else {}
        carried = tuple(self._core.carried.values())
        steps = [self._steps_of(entry) for entry in entries]
        self._counters = Counters(entries, start | self._core.carried)
        self._copies = TensorCopies(self._options, self._places, entries)
        state = self._state = TensorState(self._places, entries)
        for position, number in enumerate(self._used):
            state.extend(position, len(members[number]), carried)
        numbers = [self._counters[name].tolist() for name in self._core.carried]
        each = list(zip(*numbers, strict=True)) if carried else [()] * len(steps)
        state.regroup(steps, each, [True] * len(steps))
        state.adopt(name for rule in self._rules for name in rule.state)
        state.count = max([*steps, last._state.count if last and not self._counted else 0])
        self._entries = entries

    def _steps_of(self, entry: Entry) -> int:
        """How many steps a parameter has taken; at least one where PyTorch saves no count."""
        if self._core.uncounted and "step" not in entry:
            return int(any(name in entry for rule in self._rules for name in rule.state))
        return int(entry.get("step", 0))

    def _planned(self, groups: Sequence[Group]) -> Plan:
        arrays, names = [place.array for place in self._places], self._names
        parameters = Parameters()
        parameters.add(Gathered(arrays, None, arrays, names, []), alone=False)
        return Plan(
            groups,
            parameters,
            self._gradients,
            self._state,
            tuple(self._core.carried),
            self._options,
            self._copies.streams,
            None,
            False,
            self._scaled,
        )

    def settle(self, groups: Sequence[Group]) -> None:
        """Take the hyperparameters of the next steps, under which the rules are the same."""
        self._groups = groups
        self._values = [groups[number].at(1) for number in self._used]
        self._start = [
            self._core._start(groups[number], groups[number].at(1)) for number in self._used
        ]

    # Whether it still holds

    def holds(
        self,
        owner: Optimizer,
        groups: Sequence[Group],
        params: Sequence[Any],
        scaled: bool,
        threads: int,
    ) -> bool:
        """Whether parameters, state and rules are those of the last step, where they were."""
        if groups is not self._groups:
            if [group.rule for group in groups] != self._rules:
                return False
            self.settle(groups)
        return (
            owner._entries is self._all_state
            and self._threads == threads
            and self._scaled >= scaled
            and len(params) == len(self._params)
            and all(map(is_, params, self._params))
            and not any(param.grad is not None for param in self._rest)
            and not self._counters.touched
            and self._watch.params_stay()
            and not (owner._handed_out and not self._watch.state_stays())
        )

    # The step

    def step(self, grads: Sequence[Any], grad_scale: Any, found_inf: bool) -> StepInfo:
        """Move the parameters that have a gradient."""
        plan, state = self._plan, self._state
        originals = grads if len(grads) == len(self._live) else [grads[i] for i in self._live]
        plan.look(list(originals) if not self._sharded else [*map(_local_or_none, originals)])
        plan.write_records(
            self._core.hyper,
            plan.carry(self._core.carry, self._values) if self._core.carried else self._values,
        )
        norm, verdict, lr = None, "update", self._values[0].get("lr")
        if plan.around or found_inf:
            norm, verdict = plan.prepare(originals, unscale_of(grad_scale), found_inf)
        if plan.stale and (verdict == "update" or self._counted):
            plan.write_rows(self._start)
            self._watch.note()
        if verdict == "update":
            self._run()
        return StepInfo(state.count, lr, norm, verdict == "skip", verdict == "update")

    def _run(self) -> None:
        plan, active = self._plan, self._gradients.active
        for place in self._gapped:
            place.fetch()
        plan.run()
        for place in self._gapped:
            place.put_back()
        if self._options.zero_grads:
            for grad, _ in self._gradients.copies:
                grad.zero_()
        self._counters.follow(self._state, active, tuple(self._core.carried))
        moved = self._moved if all(active) else list(compress(self._moved, active))
        torch.autograd.graph.increment_version(moved)


def _local_or_none(grad: Any) -> Any:
    return None if grad is None else local(grad)
