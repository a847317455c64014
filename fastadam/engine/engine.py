"""Engine of one optimizer: its arrays, groups, state and plan, and the parts of a step."""

from collections.abc import Sequence
from functools import partial
from operator import is_
from typing import Any
from weakref import ref

from ..kernels.commit import Operation, commit, put
from ..kernels.factory import Kernel
from ..kernels.forks import guard
from ..kernels.formats import Formats
from ..memory.dtypes import name_of
from ..memory.files.mapping import mapping_of
from ..rules.algorithm import Algorithm, Values
from .accumulation import Accumulator
from .averages import ParameterCopies
from .backend import HOST, Backend, backend_of
from .binding import plan_for
from .edits import Edits, ParamGroup, ParamGroups
from .files import OptimizerFiles
from .flat import Flat
from .group_arguments import SHADOW, are_groups, check_one_shadow, check_tree, first_array, once
from .hyperparameters import is_plain
from .launch_plan import UPDATE, StepPlan
from .new_groups import new_groups
from .norm_measure import NormMeasure
from .opening import files_for
from .options import Options
from .param_groups import Group, checked_group, edited_group
from .parameters import NO_GRADS, Parameters
from .partition import Partition, Shards
from .rule_choice import rule_for
from .scales import scalar
from .state import State
from .step_info import StepInfo, late_info, new_info
from .step_inputs import LongSum


class Engine:
    """The arrays, groups, state and plan of an `fa.Optimizer`.

    The optimizer has an engine; the engine refers to the optimizer weakly, so that the memory of
    both is freed as soon as the optimizer is no longer used.

    Args:
        algorithm: the optimizer, whose `hyper`, `variant` and other methods are called.
        defaults: the default hyperparameters of the groups.
        options: the options of the optimizer.
        partition: the partition, if the parameters are pieces of longer arrays.

    Attributes:
        defaults, options, partition: the arguments.
        param_groups: the dicts that the user sees and edits.
        groups: the checked groups, as last read from `param_groups`.
        parameters: the arrays, their names and their structure.
        state: the state of each array, and the counts of steps.
        copies: the average and the shadow of the parameters.
        accumulator: the sums of micro-batches, or None.
        files: the files of parameters and state, or None.
        grads: the gradients owned by the optimizer; None until `own_grads` is called.
        grad_dtypes: the dtype of the gradient of each parameter in the last step.
        measure: computes the norm of gradients without a step; None before its first use.
        long_sum: adds up more inputs of a step than a kernel takes; None before its first use.
        info: the result of the last step, or None.
        plan: the launches of a step; None if they must be created anew.
        rounds: the steps of subsets of the parameters; None without subsets.
        subset: for a subset, the numbers of its parameters in the optimizer; else None.
        shards: completes norms, if other processes have other elements of the parameters.
        whole_sizes: with `shards`, the numbers of elements of the whole parameters.
        edits: the user's edits of `param_groups` since they were last read.
        steady: the hyperparameters of each group if none is a schedule, else None.
        single: True if the parameters are one array.
        lock: admits one thread at a time; on a GPU it also selects the stream.
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
        self._algorithm, self.partition = ref(algorithm), partition
        self.defaults, self.options = defaults, options
        self.param_groups, self.edits = ParamGroups(), Edits()
        self.param_groups.edits = self.edits
        self.groups: list[Group] = []
        self.parameters, self.state = Parameters(), State()
        self.copies = ParameterCopies(options)
        self.accumulator = Accumulator(options) if options.accumulates else None
        self.files: OptimizerFiles | None = None
        self.rounds: Any = None
        self.measure: NormMeasure | None = None
        self.subset: Sequence[int] | None = None
        self.shards: Shards | None = None
        self.whole_sizes: Sequence[int] = ()
        self.grads: Flat | None = None
        self.long_sum: LongSum | None = None
        self.plan: StepPlan | None = None
        self.info: StepInfo | None = None
        self.single = False
        self.steady: list[Values] | None = None
        self.grad_dtypes: list[Any] = []

    @property
    def algorithm(self) -> Algorithm:
        """The optimizer."""
        found = self._algorithm()
        assert found is not None
        return found

    # Parameter groups

    def begin(self, params: Any, shadow: Any = None) -> None:
        """Add the first parameters, and the arrays that receive copies of them.

        Raises:
            TypeError, ValueError: for invalid parameters or hyperparameters.
        """
        raw = ParamGroup(self.defaults, params=())
        checked_group(self.algorithm, self.options, raw, (), "")  # before parameters are read
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
        guard(self, "lock")

    def add(
        self, raws: Sequence[Any], alone: bool = False, others: Sequence[Operation] = ()
    ) -> None:
        """Add groups: all, or none if one of them is invalid; commit other operations with it.

        Raises:
            TypeError, ValueError: as `new_groups`.
        """
        new = new_groups(self, raws, alone)
        parameters, arrays = new.parameters, new.arrays
        self.files = files_for(self, new)
        carried = tuple(self.algorithm.carried.values())
        commit(
            [
                *self.state.extended(new.groups, carried),
                *(self.accumulator.extended(arrays) if self.accumulator else ()),
                *self.copies.followed(parameters, new.shadows),
                *put(
                    self,
                    parameters=parameters,
                    single=parameters.single and not parameters.flat,
                    grad_dtypes=self.grad_dtypes + [array.dtype for array in arrays],
                    grads=None,
                    long_sum=None,
                ),
                partial(list.extend, self.param_groups, [group.raw for group in new.groups]),
                *self.adopted([*self.groups, *new.groups]),
                *others,
            ]
        )

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
            files.note_done()

    def adopted(self, groups: list[Group]) -> list[Operation]:
        """The operations that replace the groups, and invalidate the plan if the rules differ."""
        scheduled = any(group.scheduled for group in groups)
        algorithm = self.algorithm
        steady = None if scheduled else [group.at(1) for group in groups]
        operations = put(self, steady=steady, groups=groups)
        if [group.rule for group in groups] != [group.rule for group in self.groups]:
            operations += [*self.invalidated(), *put(algorithm, rule=groups[0].rule)]
        return operations + self.edits.read()

    def note_edits(self) -> None:
        """Record an edit, so that the next operation reads `param_groups`."""
        self.edits.items, self.edits.pending = False, True

    def refresh(self) -> None:
        """Read `param_groups` if the user edited it.

        Raises:
            TypeError, ValueError: for invalid edits.
            RuntimeError: inside `swap_ema()`.
        """
        if self.rounds:
            self.rounds.resolve()
        if not self.edits.pending:
            return
        if self.copies.swapped:
            raise RuntimeError(
                "the parameters are exchanged with their average; "
                f"{self.copies.swapped.way_out} first"
            )
        if self.edits.items and self._take_numbers():
            return
        raws = [group.raw for group in self.groups]
        if len(self.param_groups) != len(raws) or not all(map(is_, self.param_groups, raws)):
            raise ValueError(
                "param_groups has other groups than the optimizer was given; edit the dicts in "
                "it, use add_param_group, or make a new optimizer"
            )
        algorithm, step = self.algorithm, self.state.count + 1
        groups = [edited_group(algorithm, self.options, group, step) for group in self.groups]
        names = [name for group in groups for name in group.rule.all_state]
        commit([*self.adopted(groups), *self.state.know(names)])

    def _take_numbers(self) -> bool:
        """Apply edits of numbers that do not change the rules; returns False, and changes nothing,
        if there are other edits."""
        edits, edited = self.edits, []
        names = [*edits.names]
        for group in self.groups:
            values = group.edited(self._algorithm, names)
            if values is None:
                return False
            edited.append(values)
        for group, values in zip(self.groups, edited, strict=True):
            group.take(values)
        self.steady, self.groups = edited, [*self.groups]
        edits.names.clear()
        edits.pending = False  # last, so that an interrupt before it loses no edit
        return True

    def refuse_captured(self, what: str) -> None:
        """Refuse an operation that would invalidate steps captured in CUDA graphs."""
        if captured := getattr(self.lock, "captured", None):
            captured.refuse(what)

    # The plan

    def invalidate(self) -> None:
        """Invalidate the plan, whose tables may be out of date."""
        self.plan = None

    def invalidated(self) -> list[Operation]:
        """The operations that invalidate the plan as part of a commitment."""
        return put(self, plan=None)

    def exchange_plan(self, plan: StepPlan | None) -> StepPlan | None:
        """Replace the plan; returns the previous one."""
        self.plan, before = plan, self.plan
        return before

    @property
    def sizes(self) -> list[int]:
        """The number of elements of each parameter; for a piece, that of the whole parameter."""
        if self.partition:
            return [self.partition.sizes[piece.number] for piece in self.partition.pieces]
        arrays = self.parameters.arrays
        if self.whole_sizes:
            return [*self.whole_sizes[: len(arrays)]]
        return [array.size for array in arrays]

    def formats(self) -> Sequence[Formats]:
        """The storage of each parameter, its gradient and its state."""
        arrays, dtypes = self.parameters.arrays, self.grad_dtypes
        owners = (group for group in self.groups for _ in group.params)
        formats = [
            own.formats(param, name_of(dtype), size)
            for own, param, dtype, size in zip(owners, arrays, dtypes, self.sizes, strict=True)
        ]
        if not self.algorithm.starts_at_zero:
            formats = [each.starting() for each in formats]
        return self.copies.formats(formats)

    def kernels(self) -> list[Kernel]:
        """The kernels that the next step will launch."""
        with self.lock:
            self.refresh()
            return (self.plan or plan_for(self, False, 0)).kernels

    # A step

    def on(self, stream: Any) -> Any:
        """The lock, as a context in which work goes to a stream of a device."""
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
        """Take a step whose gradients are bound.

        Args:
            algorithm: the optimizer.
            plan, arrays: the plan and the gradients, as `bound` returned them.
            values: the hyperparameters of each group.
            lr: the learning rate of this step only, or None.
            grad_scale, found_inf: as for `fa.Optimizer.step`.
            grad_norm: the norm of the gradients; None to compute it if an option needs it.
            others: operations to commit with the update.
        """
        if plan.conditional and plan.conditional.takes(found_inf, grad_scale, lr):
            return plan.conditional.step(self, lr, grad_scale, found_inf)
        if self.backend is not HOST:
            values = self.current_values(values, scalar(backend_of(lr).to_host(lr)))
        given = arrays, grad_scale, found_inf, False, grad_norm
        norm, verdict = plan.prepare(algorithm, values, *given)
        if updated := verdict == UPDATE:
            plan.run(*others)
            updated = plan.active or plan.counts
        made, rate = late_info if callable(norm) else new_info, values[0].get("lr")
        return made((self.state.count, rate, norm, verdict == "skip", updated))

    def gradients(self, grads: Any) -> Any:
        """The gradients of a step, one per parameter; only their structure is checked."""
        if grads is not None:
            try:
                return self.parameters.matched(grads)
            except ValueError:
                self.parameters.changes.check_containers()  # may raise a better explanation
                raise
        if self.grads is None:
            raise ValueError(NO_GRADS)
        return self.grads.views("opt.grads.tree")

    def values(self, lr: Any, step: int | None = None) -> list[Values]:
        """The hyperparameters of a step, by default the next one, with schedules evaluated.

        Raises:
            TypeError, ValueError: for an invalid `lr`, or an invalid value of a schedule.
        """
        if lr is not None:
            if "lr" not in self.defaults:
                name = type(self.algorithm).__name__
                raise TypeError(f"step() got lr={lr!r}, but {name} has no lr")
            if not is_plain("lr", lr, 0.0):
                lr = self.backend.rate(lr)
        state = self.state
        if state.pending and any(group.switched for group in self.groups):
            state.resolve()  # the rule depends on the count
        step = state.count + 1 if step is None else step
        values = [group.at(step, lr) for group in self.groups]
        if self.steady is None:
            self._adopt_rules(values)
        return values

    def _adopt_rules(self, values: list[Values]) -> None:
        """Check hyperparameters that schedules returned, and adopt the rules that they imply."""
        algorithm, groups = self.algorithm, self.groups
        for group, value in zip(groups, values, strict=True):
            if group.rule_fixed:
                continue
            rule = rule_for(algorithm, value, group.options)
            if rule is not group.rule:
                self.invalidate()
                group.rule = rule
                if self.subset is None:
                    object.__setattr__(algorithm, "rule", groups[0].rule)

    def current_values(self, values: list[Values], lr: float | None) -> list[Values]:
        """The hyperparameters of the next step, after waiting for the step count and the learning
        rate of a device."""
        known = all(type(each.get("lr", 0.0)) is float for each in values)
        if self.state.pending is None and known:
            return values
        self.state.resolve()
        return self.values(lr)

    def own_grads(self) -> Flat:
        """The gradients that `step()` without arguments uses; the first call allocates them.

        Raises:
            TypeError: if the parameters have several dtypes.
        """
        if self.grads is None:
            self.grads = self.parameters.own_grads()
        return self.grads
