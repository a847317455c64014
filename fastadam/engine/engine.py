"""Engine of one optimizer: its arrays, groups, state and plan, and the parts of a step."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from operator import is_
from typing import Any
from weakref import ref

import numpy as np

from ..kernels.commit import Operation, commit, put
from ..kernels.factory import Kernel
from ..kernels.forks import watch
from ..kernels.formats import Formats
from ..memory.arrays import is_device
from ..memory.complex_numbers import Pairs
from ..memory.dtypes import name_of
from ..memory.files.mapping import mapping_of
from ..memory.shared import shared_mapping_of
from ..rules.algorithm import Algorithm, Values
from .accumulation import Accumulator
from .averages import ParameterCopies
from .backend import Backend, backend_of
from .files import OptimizerFiles, state_layout
from .flat import Flat
from .gradients import OtherDtypesError
from .group_arguments import (
    SHADOW,
    are_groups,
    check_group,
    check_one_shadow,
    check_tree,
    copies_in,
    first_array,
    once,
)
from .hyperparameters import ReadOnly
from .launch_plan import UPDATE, StepPlan
from .norm_measure import NormMeasure
from .options import LOW, Options, reach_of, scalar
from .param_groups import (
    Edits,
    Group,
    ParamGroup,
    ParamGroups,
    checked_group,
    edited_group,
    initial_state,
    rule_for,
)
from .parameters import NO_GRADS, Gathered, Parameters
from .partition import Partition, Shards
from .row_inputs import check_rows, gradients_for
from .state import State, spans
from .step_info import StepInfo, late_info, new_info
from .step_inputs import MOST_INPUTS, PLAIN, TARGET, Kind, LongSum, StepInputs, inputs_of


class Engine:
    """Everything that an [Optimizer][fastadam.Optimizer] has besides its mathematics.

    The optimizer has an engine; the engine refers to the optimizer weakly, so that the memory of
    both is freed as soon as the optimizer is not used any more.

    Args:
        algorithm: the optimizer, whose `hyper`, `variant` and so on are called.
        defaults: the hyperparameters of groups that do not have them themselves.
        options: the options of all groups.
        partition: whose pieces the parameters are, if they are pieces of longer arrays.

    Attributes:
        param_groups: the dicts that the user sees and edits.
        groups: the same as they were read last, checked.
        parameters: the arrays, their names and their structure.
        state: the state of each array, and the counts of steps.
        copies: the average and the shadow of the parameters.
        accumulator: the sums of micro-batches, or None.
        files: the files of parameters and state, or None if there are none.
        grads: the gradients of the optimizer's own, or None as long as nobody asked for them.
        long_sum: what adds more inputs of a step than a kernel does, or None before that.
        info: the result of the last step, or None.
        plan: the launches of a step, or None if they have to be made anew.
        rounds: the steps of subsets of the parameters, or None without any.
        subset: the numbers of its parameters in the optimizer, if they are a subset of these.
        shards: what completes the norm of gradients, if other processes have other elements.
        edits: whether the user edited `param_groups` since they were read.
        steady: the hyperparameters of each group if none is a schedule, else None.
        single: True if the parameters are one array.
        lock: one thread at a time; on a GPU also the stream of the work.
    """

    backend: Backend
    lock: Any

    def __init__(
        self,
        algorithm: Algorithm,
        defaults: Values,
        options: Options,
        partition: Partition | None = None,
    ) -> None:
        self._algorithm, self._partition = ref(algorithm), partition
        self.defaults, self.options = defaults, options
        self.param_groups, self.edits = ParamGroups(), Edits()
        self.param_groups.edits = self.edits
        self.groups: list[Group] = []
        self.parameters, self.state = Parameters(), State()
        self.copies = ParameterCopies(options)
        self.accumulator = Accumulator(options) if options.accumulates else None
        self.files: OptimizerFiles | None = None
        self.rounds: Any = None
        self._measure: NormMeasure | None = None
        self.subset: Sequence[int] | None = None
        self.shards: Shards | None = None
        self.grads: Flat | None = None
        self.long_sum: LongSum | None = None
        self.plan: StepPlan | None = None
        self.info: StepInfo | None = None
        self.single = False
        self.steady: list[Values] | None = None
        self._grad_dtypes: list[Any] = []

    @property
    def algorithm(self) -> Algorithm:
        """The optimizer."""
        found = self._algorithm()
        assert found is not None
        return found

    # Parameter groups

    def begin(self, params: Any, shadow: Any = None) -> None:
        """Take the first parameters, and the arrays for a copy of them.

        Raises:
            TypeError, ValueError: if anything about them or the hyperparameters is wrong.
        """
        raw = ParamGroup(self.defaults, params=())
        checked_group(self.algorithm, self.options, raw, (), "")  # ahead of any look at parameters
        params = once(params)
        self.backend = backend_of(first_array(params))
        self.lock = self.backend.lock(lambda: self.parameters.arrays, self)
        with self.lock:
            if are_groups(params):
                check_one_shadow(shadow)
                self.add(params)
            else:
                check_tree(params, self.algorithm.defaults)
                self.add([{"params": params, SHADOW: shadow}], alone=True)
            if self.files:
                self.files.resume(self.state, self.accumulator)
        watch(self, "lock")

    def add(self, raws: Sequence[Any], alone: bool = False) -> None:
        """Add groups, or none if anything about one is wrong."""
        algorithm, first = self.algorithm, len(self.groups)
        if self.files and self.files.keeps_state:
            raise ValueError(
                f"add_param_group(): {self.options.state_file} has no room for more parameters; "
                "give all groups to the constructor"
            )
        labels = ["" if alone else f"param_groups[{first + k}]" for k, _ in enumerate(raws)]
        for raw, where in zip(raws, labels, strict=True):
            check_group(raw, where)
        trees = [
            (raw["params"], "params" if alone else f"{where}['params']")
            for raw, where in zip(raws, labels, strict=True)
        ]
        gathered = self.parameters.checked(trees, spans(self.state.arrays))
        if self._partition is None:
            _check_unshared(gathered)
        parameters = self.parameters.with_groups(gathered, alone)
        self.copies.check(name_of(array.dtype) for array in parameters.arrays)
        shadows = [copies_in(raw, each) for raw, each in zip(raws, gathered, strict=True)]
        given = list(chain.from_iterable(shadows))
        self.copies.check_given(given, parameters)
        step, groups = self.state.count + 1, list[Group]()
        for raw, each, where in zip(raws, gathered, labels, strict=True):
            unique = len({*each.paths}) == len(each.arrays)
            names = {"param_names": each.paths} if unique else {}
            own = ParamGroup(names | self.defaults | raw | {"params": tuple(each.arrays)})
            dict.pop(own, SHADOW, None)
            label = where and f"{where}: "
            group = checked_group(algorithm, self.options, own, own["params"], label, step)
            dtypes = [name_of(array.dtype) for array in each.arrays]
            group.options.check_params(dtypes, LOW.keys() & raw.keys(), group.where)
            if any(isinstance(array, Pairs) for array in each.arrays):
                group.options.check_complex(group.where)
            group.raw.edits = self.edits
            groups.append(group)
        for name in LOW if not first else ():
            others = [group for group in groups if name not in group.raw]
            dtypes = [name_of(array.dtype) for group in others for array in group.params]
            self.options.check_params(dtypes, [name])
        new = [array for group in groups for array in group.params]
        self._open_files(parameters, groups)
        commit(
            [
                *self.state.extended(groups, tuple(algorithm.carried.values())),
                *(self.accumulator.extended(new) if self.accumulator else ()),
                *self.copies.followed(parameters, given),
                *put(
                    self,
                    parameters=parameters,
                    single=parameters.single and not parameters.flat,
                    _grad_dtypes=self._grad_dtypes + [array.dtype for array in new],
                    grads=None,
                    long_sum=None,
                ),
                partial(list.extend, self.param_groups, [group.raw for group in groups]),
                *self.adopted([*self.groups, *groups]),
            ]
        )

    def _open_files(self, parameters: Parameters, groups: Sequence[Group]) -> None:
        """Open the state file, or create it, and take note of parameters in files.

        Raises:
            ValueError, OSError: as [open][fastadam.engine.files.OptimizerFiles.open].
        """
        arrays, options = parameters.arrays, self.options
        if self.files:
            self.files.follow(arrays)
            return
        files = OptimizerFiles(options, arrays, self.state, self.accumulator)
        if files.keeps_state:
            _check_state_file(options, arrays[0], self._partition)
            algorithm = self.algorithm
            starts = [initial_state(algorithm, group.rule, group.at(1)) for group in groups]
            names = [name for group in groups for name in group.raw.get("param_names") or ()]
            if len({*names}) != len(arrays):
                names = [*map(str, range(len(arrays)))]
            layout, kept = state_layout(type(algorithm).__name__, groups, starts, names, options)
            size = len(arrays) * (3 + len(algorithm.carried) + len(kept) // len(arrays))
            files.open(layout, kept, size)
            for owner in (self.state, self.copies, self.accumulator):
                if owner:
                    owner.store = files
        self.files = files if files else None

    @property
    def params_in_files(self) -> int:
        """The bytes of the parameters that are in files."""
        arrays = self.parameters.arrays if self.files else ()
        return sum(array.nbytes for array in arrays if mapping_of(array) is not None)

    def committed(self, operations: Sequence[Operation], doing: str) -> None:
        """Commit operations that write to parameters or state outside of steps."""
        files = self.files
        commit([*(files.begun(doing) if files else ()), *operations])
        if files:
            files.settle()

    def mark(self, doing: str) -> None:
        """Note in files, if there are any, what is in progress."""
        if self.files:
            commit(self.files.begun(doing))

    def settle(self) -> None:
        """Note in files, if there are any, that nothing is in progress."""
        if self.files:
            self.files.settle()

    def adopted(self, groups: list[Group]) -> list[Operation]:
        """The operations that go on with these groups, and void the plan if other rules or arrays
        follow from them."""
        scheduled = any(group.scheduled for group in groups)
        steady = None if scheduled else [group.at(1) for group in groups]
        operations = put(self, steady=steady, groups=groups)
        if [group.rule for group in groups] != [group.rule for group in self.groups]:
            operations += [*self.invalidated(), *put(self.algorithm, rule=groups[0].rule)]
        return operations + put(self.edits, pending=False)

    def note_edits(self) -> None:
        """Let the next operation read `param_groups`, as after an edit."""
        self.edits.pending = True

    def refresh(self) -> None:
        """Read `param_groups` if the user edited it.

        Raises:
            TypeError, ValueError: for edits that are wrong.
            RuntimeError: inside `swap_ema()`.
        """
        if self.rounds:
            self.rounds.settle()
        if not self.edits.pending:
            return
        if self.copies.swapped:
            raise RuntimeError(
                "the parameters are exchanged with their average; "
                f"{self.copies.swapped.way_out} first"
            )
        raws = [group.raw for group in self.groups]
        if len(self.param_groups) != len(raws) or not all(map(is_, self.param_groups, raws)):
            raise ValueError(
                "param_groups has other groups than the optimizer was given; edit the dicts in "
                "it, use add_param_group, or make a new optimizer"
            )
        algorithm, step = self.algorithm, self.state.count + 1
        if self._take_numbers(algorithm):
            return
        groups = [edited_group(algorithm, self.options, group, step) for group in self.groups]
        names = [name for group in groups for name in group.rule.state]
        commit([*self.adopted(groups), *self.state.know(names)])

    def _take_numbers(self, algorithm: Algorithm) -> bool:
        """Take over edits of numbers from which the same rules follow; returns False, and changes
        nothing, if there are others.

        Raises:
            TypeError, ValueError: for edits that are wrong.
        """
        edited: list[ReadOnly] = []
        for group in self.groups:
            values = group.edited_numbers()
            if values is None or rule_for(algorithm, values, group.options) is not group.rule:
                return False
            edited.append(values)
        for group, values in zip(self.groups, edited, strict=True):
            group.take_numbers(values)
        self.steady, self.groups = [*edited], [*self.groups]
        self.edits.pending = False  # last, so that an interrupt before it loses no edit
        return True

    def refuse_captured(self, what: str) -> None:
        """Refuse an operation that would invalidate steps captured in CUDA graphs."""
        if captured := getattr(self.lock, "captured", None):
            captured.refuse(what)

    # The plan

    def invalidate(self) -> None:
        """Void the plan: its tables may not hold what it takes them to hold."""
        self.plan = None

    def invalidated(self) -> list[Operation]:
        """The operations that do the same as part of a commitment."""
        return put(self, plan=None)

    def exchange_plan(self, plan: StepPlan | None) -> StepPlan | None:
        """Go on with another plan; returns the one so far."""
        self.plan, before = plan, self.plan
        return before

    def plan_for(self, masked: bool, scaled: int, inputs: StepInputs | None = None) -> StepPlan:
        """The plan, or a new one if it is not for such steps.

        Args:
            masked: whether there are masks.
            scaled: how far a scale of the gradients may be from 1: 0, NEAR or FAR.
            inputs: what takes the place of gradients.
        """
        plan, sources = self.plan, inputs.kind if inputs else PLAIN
        if plan and plan.masked is masked and plan.scaled >= scaled and plan.sources == sources:
            return plan
        scaled = max(scaled, plan.scaled if plan else 0)
        parameters, dtypes, options = self.parameters, self._grad_dtypes, self.options
        arrays, called = (
            parameters.arrays,
            parameters.called(inputs.labels[0] if inputs else "grads"),
        )
        if self.algorithm.uncounted:
            self.state.begin([group.rule for group in self.groups for _ in group.params])
        self.plan = StepPlan(
            self.groups,
            parameters,
            gradients_for(arrays, parameters.names, called, dtypes, options.zero_grads),
            self.formats(),
            self.state,
            tuple(self.algorithm.carried),
            options,
            self.copies.streams,
            self.accumulator,
            masked,
            scaled,
            partition=self._partition,
            inputs=inputs,
        )
        if self.files:
            self.plan.stream(self.files)
        if self.subset is not None:
            numbers = np.array(self.subset, np.uint32)
            self.plan.draw(numbers, np.zeros(len(numbers), np.int64))
        return self.plan

    @property
    def sizes(self) -> list[int]:
        """The number of elements of each parameter, of the whole one for a piece of it."""
        if self._partition:
            return [self._partition.sizes[piece.number] for piece in self._partition.pieces]
        return [array.size for array in self.parameters.arrays]

    def formats(self) -> Sequence[Formats]:
        """The storage of each parameter, its gradient and its state."""
        arrays, dtypes = self.parameters.arrays, self._grad_dtypes
        options = (group.options for group in self.groups for _ in group.params)
        formats = [
            own.formats(param, name_of(dtype), size)
            for own, param, dtype, size in zip(options, arrays, dtypes, self.sizes, strict=True)
        ]
        if not self.algorithm.starts_at_zero:
            formats = [each.starting() for each in formats]
        return self.copies.formats(formats)

    def kernels(self) -> list[Kernel]:
        """The kernels that the next step will launch."""
        with self.lock:
            self.refresh()
            return (self.plan or self.plan_for(False, 0)).kernels

    # A step

    def on(self, stream: Any) -> Any:
        """The lock, with a stream of a device to which work goes meanwhile."""
        return self.backend.on(self.lock, stream)

    def stepped(
        self,
        algorithm: Algorithm,
        plan: StepPlan,
        arrays: Sequence[Any],
        values: list[Values],
        lr: float | None,
        grad_scale: Any,
        found_inf: Any,
        grad_norm: float | None = None,
        others: Sequence[Operation] = (),
    ) -> StepInfo:
        """Take a step whose gradients are bound, whatever belongs to it.

        `grad_norm` is their norm, if it is not to be measured; `others` are committed with the
        update.
        """
        if plan.conditional:
            if plan.conditional.takes(found_inf, grad_scale, lr):
                return plan.conditional.step(self, lr, grad_scale, found_inf)
            values = self.current_values(values, scalar(backend_of(lr).to_host(lr)))
        given = arrays, grad_scale, found_inf, False, grad_norm
        norm, verdict = plan.prepare(algorithm, values, *given)
        if updated := verdict == UPDATE:
            plan.run(*others)
            updated = plan.active
        made, rate = late_info if callable(norm) else new_info, values[0].get("lr")
        return made((self.state.count, rate, norm, verdict == "skip", updated))

    def bound(
        self, arrays: Any, mask: Any, grad_scale: Any, inputs: StepInputs | None = None
    ) -> tuple[StepPlan, Sequence[Any]]:
        """A plan whose launches are pointed at the gradients of a step, and the gradients.

        Raises:
            TypeError, ValueError: for arrays that are wrong, parameters among them.
        """
        if not self.parameters.changes.unchanged():
            self._check_parameters(arrays)
        if mask is not None and self.parameters.has_pairs:
            raise TypeError("step() got a mask, which is for parameters of real numbers only")
        plan = self.plan_for(mask is not None, reach_of(grad_scale), inputs)
        if self.accumulator and self.accumulator.last:
            arrays = self.accumulator.completed(arrays, self._grad_dtypes)
        if not plan.gradients.same(arrays):
            plan = self._looked(plan, arrays, inputs)
        if inputs:
            plan.bind_inputs(inputs)
            arrays = inputs.seen(self.parameters.arrays)
        if mask is not None:
            plan.bind_masks(self.parameters.matched(mask, "mask"))
        elif not self.accumulator and not inputs:
            plan.same = plan.gradients.comparison(self.parameters.changes)
        return plan, arrays

    def _check_parameters(self, arrays: Sequence[Any]) -> None:
        """Check that parameters are still what they were.

        Raises:
            ValueError: naming the array or the container that was changed.
        """
        changes = self.parameters.changes
        changes.check_containers()
        written = [array is not None for array in arrays]
        changes.check_arrays([True] * len(written) if self.accumulator else written)

    def bound_inputs(
        self, grads: Any, target: Any, inputs: Any, mask: Any, grad_scale: Any
    ) -> tuple[StepPlan, Sequence[Any]]:
        """As `bound`, for a step with a target or with inputs in the place of gradients.

        Raises:
            TypeError, ValueError: as `bound`, and for arguments that do not go together.
        """
        found = inputs_of(self.parameters, self.options, grads, target, inputs, grad_scale)
        if len(found.weights) > MOST_INPUTS:
            if not self.parameters.changes.unchanged():
                self._check_parameters(found.arrays[0])
            if self.long_sum is None:
                self.long_sum = LongSum(self.parameters, self.options)
            written = spans(self.state.arrays) + self.parameters.spans
            total = self.long_sum.take(found, sorted(written))
            if not found.kind.transforms:
                return self.bound(total, mask, grad_scale)
            found = StepInputs(Kind((TARGET,)), (), (total,), (TARGET,))
        return self.bound(found.arrays[0], mask, grad_scale, found)

    def gradients(self, grads: Any) -> Any:
        """The gradients of a step, one per parameter; only their structure is checked."""
        if grads is not None:
            try:
                return self.parameters.matched(grads)
            except ValueError:
                self.parameters.changes.check_containers()  # which may explain it
                raise
        if self.grads is None:
            raise ValueError(NO_GRADS)
        return self.grads.views("opt.grads.tree")

    def norm_of(self, arrays: Sequence[Any]) -> float:
        """The norm of gradients, one or None per parameter, as clipping measures it.

        Raises:
            TypeError, ValueError: for arrays that are no gradients.
        """
        if self._measure is None or self._measure.parameters is not self.parameters:
            self._measure = self._new_measure(self._grad_dtypes)
        try:
            return self._measure.of(arrays)
        except OtherDtypesError as other:
            self._measure = self._new_measure(other.dtypes)
            return self._measure.of(arrays)

    def _new_measure(self, dtypes: Sequence[Any]) -> NormMeasure:
        return NormMeasure(self.parameters, dtypes, self.options.team, self.shards)

    def _looked(self, plan: StepPlan, arrays: Sequence[Any], inputs: StepInputs | None) -> StepPlan:
        """The plan, or one for gradients of other dtypes, pointed at the gradients of a step."""
        try:
            plan.look(arrays)
        except OtherDtypesError as other:
            check_rows(other.dtypes, self.options, self.parameters.arrays[0])
            self.invalidate()
            before, self._grad_dtypes = self._grad_dtypes, list(other.dtypes)
            try:
                plan = self.plan_for(plan.masked, plan.scaled, inputs)
            except BaseException:
                self._grad_dtypes = before
                raise
            plan.look(arrays)
        if self.files:
            self.files.residency.look(arrays)
        return plan

    def values(self, lr: Any, step: int | None = None) -> list[Values]:
        """The hyperparameters of a step, by default the next one, schedules evaluated.

        Raises:
            TypeError, ValueError: for an `lr`, or a value of a schedule, that is wrong.
        """
        if lr is not None:
            if "lr" not in self.defaults:
                name = type(self.algorithm).__name__
                raise TypeError(f"step() got lr={lr!r}, but {name} has no lr")
            lr = self.backend.rate(lr)
        state = self.state
        if state.pending and any(group.switched for group in self.groups):
            state.settle()  # what there is to compute depends on the count
        step = state.count + 1 if step is None else step
        values = [group.at(step, lr) for group in self.groups]
        if self.steady is None:
            self._adopt_rules(values)
        return values

    def _adopt_rules(self, values: list[Values]) -> None:
        """Check hyperparameters that a schedule gave, and take the rules that follow from them."""
        algorithm, groups = self.algorithm, self.groups
        for group, value in zip(groups, values, strict=True):
            rule = rule_for(algorithm, value, group.options)
            if rule is not group.rule:
                self.invalidate()
                group.rule = rule
                if self.subset is None:
                    object.__setattr__(algorithm, "rule", groups[0].rule)

    def current_values(self, values: list[Values], lr: float | None) -> list[Values]:
        """The hyperparameters of the next step, once a device has said which steps count, and what
        its learning rate is."""
        known = all(type(each.get("lr", 0.0)) is float for each in values)
        if self.state.pending is None and known:
            return values
        self.state.settle()
        return self.values(lr)

    # Gradients of the optimizer's own

    def own_grads(self) -> Flat:
        """The gradients that `step()` without arguments uses, made at the first call.

        Raises:
            TypeError: if the parameters have several dtypes.
        """
        if self.grads is None:
            self.grads = self.parameters.own_grads()
        return self.grads


def _check_unshared(gathered: Sequence[Gathered]) -> None:
    """Refuse memory that other processes would update as well.

    Raises:
        ValueError: naming the first such array.
    """
    for each in gathered:
        for array, name in zip(each.arrays, each.names, strict=True):
            mapping = shared_mapping_of(array)
            if mapping is not None and len(mapping.processes) > 1:
                raise ValueError(
                    f"{name} is in memory that {len(mapping.processes)} processes share, each of "
                    "which would update it; give it to fastadam.distributed.Sharded"
                )


def _check_state_file(options: Options, first: Any, partition: Any) -> None:
    """Refuse a state file where there can be none.

    Raises:
        ValueError: naming what it does not go together with.
    """
    where = f"state_file={options.state_file!r}"
    if is_device(first):
        raise ValueError(f"{where} is for arrays of the host; these lie on a device")
    if partition:
        raise ValueError(f"{where} is for one process; a part of the state is in each of these")
    if options.lazy != "torch":
        raise ValueError(f"{where} has no room for counts by row; leave out lazy={options.lazy!r}")
