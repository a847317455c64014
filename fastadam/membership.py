"""Which arrays an optimizer moves: groups of them, taken in and looked at again when edited."""

from collections.abc import Iterator
from operator import is_
from typing import Any

from .accumulator import Accumulator
from .algorithm import Algorithm
from .copies import Copies
from .groups import Edits, Group, ParamGroup, ParamGroups, Values
from .launch_plan import Plan
from .memory.device import lock_for
from .memory.flat import Flat
from .memory.parameters import Parameters
from .memory.tree import leaves
from .options import LOW, Options
from .state import State


class Membership(Algorithm):
    """The groups of an [Optimizer][fastadam.Optimizer], and what it keeps for their arrays."""

    def _set_up(self, params: Any, defaults: Values, options: Options) -> None:
        """Begin with these parameters, or with nothing if anything about them is wrong."""
        own = {*vars(self)}  # what a subclass keeps
        self._defaults, self._options = defaults, options
        self._parameters, self._state = Parameters(), State()
        self._copies = Copies(options)
        self._accumulator = Accumulator(options) if options.accumulates else None
        self._groups: list[Group] = []
        self._plan: Plan | None = None
        self._steady: list[Values] | None = None  # the hyperparameters, where none is a schedule
        self._grads: Flat | None = None
        self._grad_dtypes: list[Any] = []
        self._edits, self._raws = Edits(), ParamGroups()
        self._raws.edits = self._edits
        self._settled(ParamGroup(defaults, params=()), (), "")  # ahead of any look at parameters
        if isinstance(params, Iterator):
            params = list(params)
        self._lock = lock_for(_first_array(params), lambda: self._parameters.arrays, self)
        with self._lock:
            if _is_groups(params):
                for group in params:
                    self._add(group)
            else:
                self._add({"params": params}, alone=True)
            for name in LOW:
                groups = (group for group in self._groups if name not in group.raw)
                options.check_params((a.dtype.name for g in groups for a in g.params), [name])
            self._copies.follow(self._parameters)
        self._base = {*vars(self), "_base"} - own

    def _add(self, raw: Any, alone: bool = False) -> None:
        """Add a group, or nothing if anything about it is wrong."""
        where = "" if alone else f"param_groups[{len(self._groups)}]"
        if not isinstance(raw, dict) or "params" not in raw:
            raise TypeError(f"a parameter group is a dict with 'params', not {raw!r}")
        label = "params" if alone else f"{where}['params']"
        gathered = self._parameters.checked(raw["params"], label, self._state.spans())
        self._copies.check(self._parameters.arrays + gathered.arrays)
        unique = len({*gathered.paths}) == len(gathered.arrays)
        names = {"param_names": gathered.paths} if unique else {}
        raw = ParamGroup(names | self._defaults | raw | {"params": tuple(gathered.arrays)})
        step = self._state.count + 1
        group = self._settled(raw, raw["params"], where and f"{where}: ", step)
        dtypes = [array.dtype.name for array in gathered.arrays]
        group.options.check_params(dtypes, LOW.keys() & raw.keys(), group.where)
        self._parameters.add(gathered, alone)
        raw.edits = self._edits
        self._raws.append(raw)
        self._single = self._parameters.single and not self._parameters.flat
        self._state.extend(len(self._groups), len(gathered.arrays), tuple(self.carried.values()))
        self._grad_dtypes += [array.dtype for array in gathered.arrays]
        self._grads = None
        if self._accumulator:
            self._accumulator.extend(gathered.arrays)
        self._adopt([*self._groups, group])

    def _adopt(self, groups: list[Group]) -> None:
        """Go on with these groups, and plan anew if other rules or arrays follow from them."""
        if [group.rule for group in groups] != [group.rule for group in self._groups]:
            self._plan, self.rule = None, groups[0].rule
            self._state.know(name for group in groups for name in group.rule.state)
        self._edits.pending = False
        scheduled = any(group.scheduled for group in groups)
        self._steady = None if scheduled else [group.at(1) for group in groups]
        self._groups = groups

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
        self._adopt(groups)

    def _refuse_captured(self, what: str) -> None:
        """Refuse what steps that were captured in CUDA graphs would not know of."""
        if captured := getattr(self._lock, "captured", None):
            captured.refuse(what)


def _first_array(params: Any) -> Any:
    """An array of the parameters, if they are what they should be."""
    if _is_groups(params):
        params = params[0]["params"]
    tree = params.tree if isinstance(params, Flat) else params
    return next((leaf for _, leaf in leaves(tree)), None)


def _is_groups(params: Any) -> bool:
    """Whether this is a list of groups rather than a tree of arrays."""
    return (
        isinstance(params, list | tuple)
        and len(params) > 0
        and all(isinstance(group, dict) and "params" in group for group in params)
    )
