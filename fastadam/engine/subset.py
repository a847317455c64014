"""Subsets of the parameters of an optimizer, whose steps are planned once."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from ..kernels.commit import Operation, commit
from ..rules.algorithm import Algorithm
from ..validation import Range, alternatives, count, number
from .assignment import check_assigned
from .binding import bound
from .engine import Engine
from .param_groups import Group
from .parameters import NO_GRADS, Gathered, Parameters
from .state import State
from .state_view import numbers_of
from .step_info import StepInfo
from .subset_steps import SubsetSteps

NOT_NEGATIVE_OR_NAN = Range(">= 0", lambda number: not number < 0)


class Subset:
    """Some parameters of an optimizer: `step` updates these, and no others.

    Made by `fa.Optimizer.subset`. Hyperparameters, options, state and counts are
    those of the optimizer. Each parameter counts its own steps. The optimizer's count, which
    schedules and random rounding follow, is the largest of its subsets' counts: once every subset
    has taken a step, so has the optimizer, with the results of one step of all.

    Attributes:
        numbers: the numbers of its parameters in the optimizer, in ascending order.
        info: the result of the last step, None before the first.
    """

    info: StepInfo | None = None

    def __init__(self, optimizer: Algorithm, engine: Engine, which: Any) -> None:
        self._optimizer, self._parent = optimizer, engine
        given, names = _chosen(engine, which)
        self.numbers = sorted(given)
        self._order = [given.index(number) for number in self.numbers]
        self._names = [names[place] for place in self._order] if names else []
        with engine.lock:
            engine.refresh()
            if engine.rounds is None:
                engine.rounds = SubsetSteps(engine)
            self._rounds: SubsetSteps = engine.rounds
            made = self._made = Engine(optimizer, engine.defaults, engine.options)
            made.subset, made.lock, made.backend = self.numbers, engine.lock, engine.backend
            made.parameters = self._parameters()
            made.copies = engine.copies.part(self.numbers)
            made.grad_dtypes = [engine.grad_dtypes[number] for number in self.numbers]
            if engine.whole_sizes:
                made.whole_sizes = [engine.whole_sizes[number] for number in self.numbers]
            self._count, self._groups = len(engine.parameters.arrays), list[Group]()
            self._follow()
        self._rounds.enter(self.numbers)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            check_assigned(self, name, self._optimizer.defaults, {})
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        names = self._names or self.numbers
        return f"{type(self).__name__} of {type(self._optimizer).__name__}({names!r:.200})"

    @property
    def state(self) -> State:
        """The state of the parameters of the subset."""
        return self._made.state

    def step(
        self,
        grads: Any = None,
        *,
        lr: float | None = None,
        mask: Any = None,
        grad_scale: float | None = None,
        found_inf: Any = False,
        grad_norm: float | None = None,
        step: int | None = None,
    ) -> StepInfo:
        """Update the parameters of the subset that have a gradient, in place.

        It may be called in any thread; steps of one optimizer run one after the other.

        Args:
            grads: a dict by the names given to `subset`, or a list in the order of the numbers
                given to it; None in place of an array leaves a parameter unchanged. Default: the
                optimizer's own `grads`.
            lr: a learning rate for this step only.
            mask: arrays of bool, structured as `grads`.
            grad_scale: the factor of the loss.
            found_inf: True skips the step.
            grad_norm: the norm that `clip_norm` and `skip_nonfinite` use, such as that of all
                gradients, which `fa.Optimizer.grad_norm` returns, before division by
                `grad_scale`. Default: the norm of the given gradients.
            step: the step count of the optimizer's step of which this is a part. Default: the next
                one of the subset, which starts at the optimizer's step count when it was created.

        Returns:
            As the optimizer's `step`; `step` is the count of the subset.

        Raises:
            TypeError, ValueError: before any element changes.
        """
        return self.step_with((), grads, lr, mask, grad_scale, found_inf, grad_norm, step)

    def step_with(
        self,
        others: Sequence[Operation],
        grads: Any = None,
        lr: float | None = None,
        mask: Any = None,
        grad_scale: float | None = None,
        found_inf: Any = False,
        grad_norm: float | None = None,
        step: int | None = None,
    ) -> StepInfo:
        """Take a step like `step`, and commit other operations together with its update.

        Raises:
            TypeError, ValueError: before any element changes.
        """
        with self._parent.lock:
            engine = self._made
            try:
                self._follow()
                if grad_norm is not None:
                    self._check_norm(grad_norm)
                if step is not None and count("step(): step", step, 1) != engine.state.count + 1:
                    self._recount(step - 1)
                values = engine.steady
                if lr is not None or values is None:
                    values = engine.values(lr)
                arrays = self._arrays(grads)
                masks = None if mask is None else self._ordered(mask)
                plan, plain = engine.plan, masks is None and grad_scale is None
                if plan is None or not plain or not plan.same(arrays):
                    plan, arrays = bound(engine, arrays, masks, grad_scale)
                recorded = self._rounds.recorded(self.numbers, engine.state)
                given = plan, arrays, values, lr, grad_scale, found_inf, grad_norm
                with_it = [*recorded, *others]
                info = engine.stepped(self._optimizer, *given, with_it)
                object.__setattr__(self, "info", info)
                return info
            except BaseException:  # an interrupt among them
                engine.invalidate()
                raise

    def _recount(self, count: int) -> None:
        """Set the step count of the optimizer from which the subset continues."""
        commit(self.state.recounted(count))
        if self._made.plan:
            self._made.plan.recount()

    def _check_norm(self, grad_norm: Any) -> None:
        """Refuse an invalid norm, and one that no option uses.

        Raises:
            TypeError, ValueError: for these.
        """
        number("step(): grad_norm", grad_norm, NOT_NEGATIVE_OR_NAN, finite=False)
        options = [group.options for group in self._made.groups]
        if not all(each.measures for each in options):
            raise ValueError(
                f"step(): grad_norm={grad_norm!r} is for clip_norm and skip_nonfinite; give the "
                "optimizer one of them, or leave it out"
            )
        if any(each.clips and each.clip_norm_per == "tensor" for each in options):
            raise ValueError(
                f"step(): grad_norm={grad_norm!r} is the norm of all gradients together, but "
                "clip_norm_per='tensor' clips each by its own; leave it out"
            )

    def _ordered(self, given: Any) -> Any:
        """Arrays in the order of the parameters, from the order of the argument of `subset`."""
        if self._names or not isinstance(given, list | tuple) or len(given) != len(self._order):
            return given
        return [given[place] for place in self._order]

    def _arrays(self, grads: Any) -> Any:
        """The gradients of a step, one per parameter."""
        if grads is not None:
            return self._made.gradients(self._ordered(grads))
        if self._parent.grads is None:
            raise ValueError(NO_GRADS)
        views = self._parent.grads.views("opt.grads.tree")
        return [views[number] for number in self.numbers]

    # Updates from the optimizer

    def _parameters(self) -> Parameters:
        """The parameters, in the structure of `grads`."""
        whole = self._parent.parameters
        arrays = [whole.arrays[number] for number in self.numbers]
        tree = dict(zip(self._names, arrays, strict=True)) if self._names else arrays
        names = [whole.names[number] for number in self.numbers]
        facts = [whole.facts[number] for number in self.numbers]
        gathered = Gathered(tree, None, arrays, names, [], None, facts)
        parameters = Parameters().with_groups([gathered], alone=True)
        for container in whole.containers:
            parameters.follow(container)
        return parameters

    def _follow(self) -> None:
        """Adopt changes of the optimizer since the last step."""
        parent = self._parent
        if parent.edits.pending:
            parent.refresh()
        if len(parent.parameters.arrays) != self._count:
            raise ValueError(
                "the optimizer has more parameters than when this subset was made; make it anew: "
                "opt.subset(...)"
            )
        if self._groups is not parent.groups:
            self._take_groups(parent.groups)
        self._rounds.refresh()
        rounds = self._rounds
        if self._epoch != rounds.epoch or rounds.stale(self.numbers, self.state):
            self._take_state()

    def _take_groups(self, groups: list[Group]) -> None:
        """Adopt hyperparameters and rules."""
        engine, first, own = self._made, 0, list[Group]()
        for group in groups:
            mine = [k for k in self.numbers if first <= k < first + len(group.params)]
            if mine:
                part = copy(group)
                part.params = [group.params[k - first] for k in mine]
                own.append(part)
            first += len(group.params)
        if [group.rule for group in own] != [group.rule for group in engine.groups]:
            engine.invalidate()
        engine.groups, self._groups = own, groups
        scheduled = any(group.scheduled for group in own)
        engine.steady = None if scheduled else [group.at(1) for group in own]

    def _take_state(self) -> None:
        """Adopt the state and the step counts."""
        self._parent.state.resolve()
        whole, state, engine = self._parent.state, State(), self._made
        commit(state.extended(engine.groups, tuple(self._optimizer.carried.values())))
        if self._epoch == self._rounds.epoch:  # another subset has common parameters
            state.count = engine.state.count
        else:
            state.count = whole.count if self._epoch < 0 else self._rounds.base
        steps, carried, since = whole.steps, whole.carried, whole.since
        state.regroup(
            [steps[number] for number in self.numbers],
            [carried[number] for number in self.numbers],
            [True] * len(self.numbers),
            [since[number] for number in self.numbers],
        )
        state.arrays = {
            name: [column[number] for number in self.numbers]
            for name, column in whole.arrays.items()
        }
        engine.invalidate()
        engine.state, self._epoch = state, self._rounds.epoch

    _epoch = -1


def _chosen(engine: Engine, which: Any) -> tuple[list[int], list[str]]:
    """The numbers of the chosen parameters, and their names if they were given by name.

    Raises:
        TypeError, ValueError: for anything that is not a name or number of a parameter, and for an
            empty choice.
    """
    given: Any = [which] if isinstance(which, str | int) else which
    if not isinstance(given, Iterable) or isinstance(given, Mapping):
        raise TypeError(f"subset({which!r}): give a list of names or numbers of parameters")
    given = [*given]
    _refuse(engine)
    known = _names(engine)
    count = len(engine.parameters.arrays)
    named = all(isinstance(each, str) for each in given)
    for each in given:
        if named and each not in known:
            there = (
                f"there are {', '.join(known):.200}" if known else f"give numbers, 0 to {count - 1}"
            )
            end = alternatives(each, known, there)
            raise ValueError(f"subset(): there is no parameter {each!r}{end}")
        if not named and (type(each) is not int or not 0 <= each < count):
            raise ValueError(
                f"subset(): {each!r} is not the number of a parameter, 0 to {count - 1}; give "
                "names only, or numbers only"
            )
    if not given or len({*given}) != len(given):
        raise ValueError(f"subset({which!r}): give at least one parameter, each of them once")
    return ([known[name] for name in given], given) if named else (given, [])


def _names(engine: Engine) -> dict[str, int]:
    """The numbers of parameters by their names."""
    tree = engine.parameters.structure
    keys = tree if isinstance(tree, Mapping) else {}
    direct = {key: k for key, k in keys.items() if isinstance(key, str) and isinstance(k, int)}
    return {**numbers_of(engine.param_groups), **direct}


def _refuse(engine: Engine) -> None:
    """Refuse optimizers with options that apply to all parameters together.

    Raises:
        ValueError: naming it.
    """
    options = engine.options
    if options.accumulates:
        raise ValueError(
            f"subset() with accumulate_steps={options.accumulate_steps}: gradients add up over "
            "calls of opt.step for all parameters together; add them up before, and leave it out"
        )
    for group in engine.groups:
        if group.rule.over == "all":
            raise ValueError(
                f"subset(): the rule {group.rule.name} adds over all parameters together; step all "
                "of them with opt.step"
            )
    if engine.files:
        raise ValueError("subset() is for parameters and state in memory, not in files")
    if engine.backend.name != "cpu":
        raise ValueError("subset() is for arrays of the host; these lie on a device")
