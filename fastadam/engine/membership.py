"""Which arrays an optimizer moves: groups of them, taken in and looked at again when edited."""

from collections.abc import Sequence
from functools import partial
from operator import is_
from typing import Any

from ..cuda.array import lock_for
from ..kernels.commit import Operation, commit, put
from ..kernels.forks import watch
from ..memory.dtypes import name_of
from ..memory.flat import Flat
from ..rules.algorithm import Algorithm
from .accumulation import Accumulator
from .averages import Copies
from .group_arguments import are_groups, check_group, check_tree, first_array, once
from .options import LOW, Options
from .param_groups import Edits, Group, ParamGroup, ParamGroups, Values
from .parameters import Parameters
from .plan import Plan
from .state import State, spans
from .step_info import StepInfo


class Membership(Algorithm):
    """The groups of an [Optimizer][fastadam.Optimizer], and what it keeps for their arrays."""

    def _set_up(self, params: Any, defaults: Values, options: Options) -> None:
        """Begin with these parameters, or with nothing if anything about them is wrong."""
        own = {*vars(self)}  # what a subclass keeps
        self._defaults, self._options = defaults, options
        self._parameters, self._state, self._single = Parameters(), State(), False
        self._copies = Copies(options)
        self._accumulator = Accumulator(options) if options.accumulates else None
        self._groups: list[Group] = []
        self._plan: Plan | None = None
        self._steady: list[Values] | None = None  # the hyperparameters, where none is a schedule
        self._grads: Flat | None = None
        self._last: list[StepInfo | None] = [None]  # what the last step returned
        self._grad_dtypes: list[Any] = []
        self._edits, self._raws = Edits(), ParamGroups()
        self._raws.edits = self._edits
        self._settled(ParamGroup(defaults, params=()), (), "")  # ahead of any look at parameters
        params = once(params)
        self._lock = lock_for(first_array(params), lambda: self._parameters.arrays, self)
        with self._lock:
            if are_groups(params):
                self._add(params)
            else:
                check_tree(params, self.defaults)
                self._add([{"params": params}], alone=True)
            for name in LOW:
                groups = [group for group in self._groups if name not in group.raw]
                dtypes = [name_of(array.dtype) for group in groups for array in group.params]
                options.check_params(dtypes, [name])
        self._base = {*vars(self), "_base"} - own
        watch(self)

    def _add(self, raws: Sequence[Any], alone: bool = False) -> None:
        """Add groups, or none if anything about one is wrong."""
        first = len(self._groups)
        labels = ["" if alone else f"param_groups[{first + k}]" for k, _ in enumerate(raws)]
        for raw, where in zip(raws, labels, strict=True):
            check_group(raw, where)
        trees = [
            (raw["params"], "params" if alone else f"{where}['params']")
            for raw, where in zip(raws, labels, strict=True)
        ]
        gathered = self._parameters.checked(trees, spans(self._state.arrays))
        parameters = self._parameters.with_groups(gathered, alone)
        self._copies.check(name_of(array.dtype) for array in parameters.arrays)
        step, groups = self._state.count + 1, list[Group]()
        for raw, each, where in zip(raws, gathered, labels, strict=True):
            unique = len({*each.paths}) == len(each.arrays)
            names = {"param_names": each.paths} if unique else {}
            own = ParamGroup(names | self._defaults | raw | {"params": tuple(each.arrays)})
            group = self._settled(own, own["params"], where and f"{where}: ", step)
            dtypes = [name_of(array.dtype) for array in each.arrays]
            group.options.check_params(dtypes, LOW.keys() & raw.keys(), group.where)
            group.raw.edits = self._edits
            groups.append(group)
        new = [array for group in groups for array in group.params]
        commit(
            [
                *self._state.extended(groups, tuple(self.carried.values())),
                *(self._accumulator.extended(new) if self._accumulator else ()),
                *self._copies.followed(parameters),
                *put(
                    self,
                    _parameters=parameters,
                    _single=parameters.single and not parameters.flat,
                    _grad_dtypes=self._grad_dtypes + [array.dtype for array in new],
                    _grads=None,
                ),
                partial(list.extend, self._raws, [group.raw for group in groups]),
                *self._adopted([*self._groups, *groups]),
            ]
        )

    def _adopted(self, groups: list[Group]) -> list[Operation]:
        """The operations that go on with these groups, and plan anew if other rules or arrays
        follow from them."""
        scheduled = any(group.scheduled for group in groups)
        steady = None if scheduled else [group.at(1) for group in groups]
        operations = put(self, _steady=steady, _groups=groups)
        if [group.rule for group in groups] != [group.rule for group in self._groups]:
            operations += put(self, _plan=None, rule=groups[0].rule)
        return operations + put(self._edits, pending=False)

    def _refresh(self) -> None:
        """See what the user edited in `param_groups`."""
        if not self._edits.pending:
            return
        if self._copies.swapped:
            raise RuntimeError(
                "the parameters are exchanged with their average; leave swap_ema() first"
            )
        raws = [group.raw for group in self._groups]
        if len(self._raws) != len(raws) or not all(map(is_, self._raws, raws)):
            raise ValueError(
                "param_groups has other groups than the optimizer was given; edit the dicts in "
                "it, use add_param_group, or make a new optimizer"
            )
        step = self._state.count + 1
        groups = [self._settled(g.raw, g.params, g.where, step) for g in self._groups]
        for old, new in zip(self._groups, groups, strict=True):
            old.options.check_kept(new.options, new.where)
        names = [name for group in groups for name in group.rule.state]
        commit([*self._adopted(groups), *self._state.know(names)])

    def _refuse_captured(self, what: str) -> None:
        """Refuse what steps that were captured in CUDA graphs would not know of."""
        if captured := getattr(self._lock, "captured", None):
            captured.refuse(what)
