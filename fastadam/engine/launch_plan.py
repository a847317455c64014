"""Plan of a step: the launches, and the order of everything that a step does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import add
from typing import Any

from ..kernels.commit import Operation, commit, counter, put, repeated
from ..kernels.cpu import threads
from ..kernels.factory import Kernel
from ..memory import checks
from ..memory.array_headers import never
from ..rules.algorithm import Algorithm, Values
from .accumulation import Window
from .backend import SkippableSteps, backend_of
from .columns import alike
from .files import OptimizerFiles
from .hyperparameters import ReadOnly, checked
from .launch import NOT_CONSTANTS, Launch
from .param_groups import initial_state
from .preprocess import GradientPreprocessor, Verdict
from .row_launch import launch_of
from .rule_sums import RuleSums
from .state import Carried, Cohort, spans
from .step_context import StepContext, StepKind
from .step_inputs import OtherInputs, StepInputs

UPDATE: Verdict = "update"


class StepPlan:
    """The launches of a step, one per rule variant and formats; made anew when either changes.

    A step is `look`, `prepare` and `run`, in this order. Whoever uses a plan drops it if one of
    them raises, since its tables may then hold only a part of what it takes them to hold.

    Args:
        context: what the steps work on.
        kind: the kind of the steps.
        inputs: what takes the place of gradients, in steps like one that has these.

    Attributes:
        kind: the kind of steps that the plan is for.
        gradients: finds and checks the gradients of the parameters.
        preprocessor: what is done before an update.
        active: whether any parameter has a gradient.
        conditional: what takes steps whose verdict is that of a device, or None.
        captured: which parameters a step moves that was captured for a graph; empty without one.
        stale: True until the addresses of the state have been written to the tables.
        direct: True if `write_constants` and one `next(commitment)` are all of a step, once its
            gradients have been found.
        commitment: each `next` launches everything in this thread and counts.
        numbers: for each cohort the host numbers it carries after the step that was prepared.
        records: the launches and the numbers of the records that `write_constants` writes.
        same: `same(arrays)` is True if these are the gradients of the last step, and neither they
            nor the parameters were changed.
    """

    preprocessor: GradientPreprocessor
    records: list[tuple[Launch, int]]
    _by_row: list[tuple[Cohort, Launch]]

    def __init__(
        self, context: StepContext, kind: StepKind, inputs: StepInputs | None = None
    ) -> None:
        context = context.with_inputs(kind.sources.inputs)
        context.state.settle()
        self.kind, self._carried, self._options = kind, context.carried, context.options
        self._parameters, self._state, self.stale = context.parameters, context.state, True
        self.direct = False
        self._with: list[Operation] = []  # what is committed with the step
        self._make_launches(context)
        self._launches_of = [
            [launch for launch in self._all if launch.rule is group.rule]
            for group in context.groups
        ]
        self._rules = [group.rule for group in context.groups]
        self.gradients = context.gradients
        self.same: Callable[[Sequence[Any]], bool] = never
        self._placed: Sequence[int] = []  # where the launches know the gradients to be
        parameters, accumulator = context.parameters, context.accumulator
        backend, self._masks = backend_of(context.arrays[0]), None
        if kind.masked:
            called = parameters.called("mask")
            self._masks = backend.masks(context.arrays, parameters.names, called)
        self._restart = accumulator.restarted() if accumulator else []
        self._alone = self._small and not (self._restart or self._carried)
        self._kept = context.streams
        self.preprocessor = GradientPreprocessor(self._all, context, kind)
        self._others = None
        if inputs and inputs.weights:
            self._others = OtherInputs(parameters, context.gradients.dtypes, inputs)
        self.captured = list[bool]()
        self.conditional = self._skippable(context) if kind.may_skip else None
        if self.conditional:
            self.preprocessor.follow(self.conditional)
        self._files: OptimizerFiles | None = None
        self._created: Mapping[str, Sequence[Any]] | None = None  # the state with what was created
        self._protect(context.state.arrays)
        self._pair()

    def _make_launches(self, context: StepContext) -> None:
        """Make the launches of the update, and those of the sums that rules ask for."""
        options, rules, partition = context.options, context.rules, context.partition
        every = [
            group.options.in_kernel(self.kind.masked, self.kind.scaled) for group in context.groups
        ]
        names = (*dict.fromkeys(chain(*every)), *self.kind.sources.transforms)
        idle = {group.rule: group.idle for group in context.groups}
        kinds = [each.of_any_row for each in context.formats]
        keys = zip(rules, kinds, context.gradients.rows, strict=True)
        lengths = [max(1, each.row) for each in context.formats]
        self._launches = [
            launch_of(
                key,
                members,
                names,
                context.arrays,
                options,
                idle[key[0]],
                [lengths[i] for i in members],
            )
            for key, members in alike(keys).items()
        ]
        if partition:
            for launch in self._launches:
                launch.take_pieces(partition.pieces)
        formats, team = context.formats, options.team
        self._sums = RuleSums(self._launches, context.arrays, formats, names, team, partition)
        self._all = [*self._sums.launches, *self._launches]
        self._small = all(launch.table.small for launch in self._launches)
        self._serial: list[Operation] = []
        if self._small:
            self._serial = [launch.table.serial for launch in self._launches]
        own = context.own_options
        for launch in self._launches:
            launch.bound(own)

    def _skippable(self, context: StepContext) -> SkippableSteps | None:
        """The part that takes steps which a device may skip by itself, or None."""
        asks_host = context.partition or any(
            rule.over == "all" and context.carried for rule in context.rules
        )
        if self._sums and asks_host:
            return None
        updates = [*self._sums.sequence, *self._launches]
        return backend_of(context.arrays[0]).conditional_step(self, updates, context)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels that a step launches."""
        updates = [launch.kernel for launch in self._launches]
        return updates + self._sums.kernels + self.preprocessor.kernels

    def stream(self, files: OptimizerFiles) -> None:
        """Let launches stream through the files of parameters and state."""
        self._files, self._alone = files, False
        files.watch(launch.table for launch in (*self._all, *self.preprocessor.launches))

    # The order of a step

    def look(self, arrays: Sequence[Any]) -> None:
        """Check the gradients of a step, and point the launches at them.

        Raises:
            TypeError, ValueError: for arrays that are not gradients of the parameters.
            OtherDtypesError: for gradients that need another plan.
        """
        state, gradients = self._state, self.gradients
        self.same = never
        gradients.look(arrays)
        if gradients.active != state.active:
            state.regroup(state.steps, state.carried, gradients.active)
            self._sums.look()
            self.recount()
        if gradients.addresses != self._placed:
            self._placed = gradients.addresses
            for launch in self._all:
                launch.place("grad", self._placed)
        self.preprocessor.look(gradients.addresses, gradients.active)

    def prepare(
        self,
        author: Algorithm,
        values: Sequence[Values],
        arrays: Sequence[Any],
        grad_scale: Any = None,
        found_inf: Any = False,
        always: bool = False,
        grad_norm: float | None = None,
    ) -> tuple[Any, Verdict]:
        """Do everything that a step does between its gradients and its commitment.

        First the constants, then what goes ahead of the update and decides whether there is one,
        then the state that is missing.

        Args:
            author: whose `hyper`, `carry` and `initial` are called.
            values: the hyperparameters of each group.
            arrays: the gradients.
            grad_scale: what the loss was multiplied by, or None.
            found_inf: whether the gradients are known not to be finite.
            always: whether state is created for a step that is skipped, too.
            grad_norm: the norm of the gradients, or of more, if it is not to be measured.

        Returns:
            The norm of the gradients, or None if it was not measured; and the verdict.

        Raises:
            TypeError, ValueError: before any element changes.
        """
        step = self._state.count + 1
        self.write_records(author, values, step)
        norm, verdict = None, UPDATE
        if self.preprocessor.needed or found_inf is not False:
            seen = self.gradients.seen(arrays)
            norm, verdict = self.preprocessor.prepare(seen, grad_scale, found_inf, step, grad_norm)
        if self.stale and (verdict == UPDATE or always):
            starts = zip(self._rules, values, strict=True)
            self.write_rows([initial_state(author, *each) for each in starts])
        if self._sums and verdict == UPDATE:
            self._sums.run()
            if author.carries_sums:
                self.numbers = self._carry_sums(author, values)
        if self._by_row and verdict == UPDATE:
            for cohort, launch in self._by_row:
                values_of = values[cohort.group]
                self._with += launch.ready(author, values_of, step - cohort.base, cohort.since)
        return norm, verdict

    # Everything else

    def repoint(self, arrays: Sequence[Any], places: Sequence[int]) -> None:
        """Point the launches at parameters like those before, which are at these addresses now.

        Raises:
            ValueError: for memory that is there twice, before any launch is pointed there.
        """
        self._parameters.replace(arrays)
        sizes, names = self._parameters.nbytes, self._parameters.names
        self._keep_apart(map(checks.Span, places, map(add, places, sizes), names))
        for launch in self._all:
            launch.place("param", places)

    def repoint_kept(self) -> None:
        """Point the launches at what is kept of the parameters, where it is now.

        Raises:
            ValueError: as `repoint`.
        """
        self._protect(self._state.arrays)
        for launch in self._all:
            for name in self._kept.keys() & launch.table.streams:
                launch.place(name, checks.addresses(self._kept[name]))
        self.stale, self.direct = True, False

    def recount(self) -> None:
        """Take over how many steps the parameters have taken, which somebody else said."""
        self.stale, self.direct = True, False
        self._pair()

    def bind_masks(self, arrays: Sequence[Any]) -> None:
        """Check the masks of a step, and point the launches at them."""
        assert self._masks
        if self._options.zero_grads:  # what clears gradients may not clear masks
            self._masks.protect(sorted([*self._written, *self.gradients.spans()]))
        if self._options.zero_grads or not self._masks.same(arrays):
            self._masks.look(arrays)
            for launch in self._launches:
                launch.place("mask", self._masks.addresses)

    def bind_inputs(self, inputs: StepInputs) -> None:
        """Check the inputs of a step after the first, and point the launches at them."""
        if self._others:
            self._others.bind(inputs, self.gradients, self.preprocessor.reading)

    def _pair(self) -> None:
        """Find the cohorts that take the step, and the launches that take their constants."""
        grouping, self.numbers = self._state.grouping, self._state.grouping.carried
        self.active = any(cohort.active for cohort in grouping.cohorts)
        each = [
            (number, cohort, launch)
            for number, cohort in enumerate(grouping.cohorts)
            for launch in self._launches_of[cohort.group]
            if cohort.active and not launch.lazy
        ]
        self.records = [(launch, number) for number, _, launch in each]
        self._pairs = [
            (
                cohort.base + cohort.since,
                number if self._carried else cohort.group,
                *launch.packer(number),
            )
            for number, cohort, launch in each
        ]
        self._by_row = [
            (cohort, launch)
            for launch in self._launches
            if launch.by_row
            and (cohort := grouping.cohorts[grouping.cohort_of[launch.members[0]]])
            and cohort.active
        ]
        self._count()

    def _count(self) -> None:
        """Count from the present count on, with each commitment."""
        self._counter = counter(self._state, "count")
        self.commitment = repeated(self._serial, self._counter)

    def write_records(
        self,
        author: Algorithm,
        values: Sequence[Values],
        step: int,
        numbers: Sequence[Carried] | None = None,
    ) -> Sequence[Carried]:
        """Keep the constants of each cohort that takes a step.

        Args:
            author: whose `hyper` and `carry` give them.
            values: the hyperparameters of each group.
            step: what the optimizer's count will be.
            numbers: what each cohort carries before the step, if not what it carries now.

        Returns:
            What each cohort carries after it.

        Raises:
            TypeError, ValueError: if `hyper` or `carry` does not return a number for each name.
        """
        if self._carried:
            before = self._state.grouping.carried if numbers is None else numbers
            if author.carries_sums:
                before = [before[self._longest()]] * len(before)
            values, self.numbers = self._carry(author, values, step, before)
        self.write_constants(author, values, step)
        return self.numbers

    def write_constants(self, author: Algorithm, values: Sequence[Values], step: int) -> None:
        """Write the constants that `hyper` returns for these hyperparameters, for each cohort."""
        hyper = author.hyper
        for base, place, pick, pack, size, refuse in self._pairs:
            constants = hyper(values[place], step - base)
            try:
                pack(*pick(constants))
            except NOT_CONSTANTS:
                refuse(constants)
            if len(constants) != size:
                refuse(constants)

    def _carry(
        self, author: Algorithm, values: Sequence[Values], step: int, numbers: Sequence[Carried]
    ) -> tuple[list[Values], list[Carried]]:
        """The hyperparameters of each cohort, with what it carries after the step among them; and
        these numbers by themselves."""
        groups, carried = list[Values](), list[Carried]()
        for cohort, before in zip(self._state.cohorts, numbers, strict=True):
            known = dict(zip(self._carried, before, strict=True))
            group: Values = ReadOnly({**values[cohort.group], **known})
            after: Mapping[str, float] = known
            if not author.carries_sums:
                after = author.carry(group, cohort.steps(step - 1) + 1)
            new = self._checked_numbers(after, "carry()")
            carried.append(new if cohort.active else before)
            groups.append(ReadOnly({**group, **after}))
        return groups, carried

    def _longest(self) -> int:
        """The number of the cohort that has taken the most steps, which knows what all carry."""
        steps = [cohort.steps(self._state.count) for cohort in self._state.cohorts]
        return steps.index(max(steps))

    def _carry_sums(self, author: Algorithm, values: Sequence[Values]) -> Sequence[Carried]:
        """The numbers that all cohorts carry after the step, from the sums over all parameters."""
        number = self._longest()
        cohort, numbers = self._state.cohorts[number], self.numbers[number]
        known = dict(zip(self._carried, numbers, strict=True))
        group = ReadOnly({**values[cohort.group], **known})
        step = cohort.steps(self._state.count) + 1
        after = author.carry_sums(group, step, self._sums.totals())
        return [self._checked_numbers(after, "carry_sums()")] * len(self.numbers)

    def _checked_numbers(self, numbers: Any, where: str) -> Carried:
        """The numbers that a cohort carries, from the dict that an optimizer returned.

        Raises:
            TypeError, ValueError: if there is not a number for each name.
        """
        if not isinstance(numbers, Mapping) or numbers.keys() != {*self._carried}:
            raise ValueError(f"{where} returned {numbers!r}; give a dict with {self._carried}")
        return tuple(checked(n, numbers[n], 0.0, f"{where}: ") for n in self._carried)

    def draw(self, numbers: Any, late: Any) -> None:
        """Let the noise of parameters follow these numbers, and steps by so many behind."""
        for launch in self._launches:
            places = [*launch.members] if len(launch.members) > 1 else launch.members[0]
            launch.draws, launch.late = numbers[places], late[places]

    def run(self, *others: Operation) -> None:
        """Launch, count, and whatever belongs to the step: all of it or nothing.

        Args:
            others: more operations that belong to it.
        """
        if self.conditional:  # which may have counted meanwhile
            self._count()
        if self._alone and self.active and not (self._with or others):
            next(self.commitment)
            busy = (
                self.conditional
                or self.stale
                or self.preprocessor.needed
                or self._by_row
                or self._sums
            )
            self.direct = not busy
            return
        if self._alone and self.active and not self._with:
            commit([*self._serial, *others, self._counter.__next__])
        elif self._small or not self.active:
            commit(self._operations(False, others))
        else:
            team = self._options.team
            threads.run(lambda threaded: self._operations(threaded, others), team)
        self._with.clear()
        self._created = None

    def _operations(self, threaded: bool, others: Sequence[Operation]) -> list[Operation]:
        limit, launches, carried = self._options.team, list[Operation](), list[Operation]()
        if self.active:
            for launch in self._launches:
                launches += launch.table.operations(limit, threaded)
        if self._carried:
            grouping = self._state.grouping._replace(carried=self.numbers)
            carried = put(self._state, grouping=grouping)
        counted = [self._counter.__next__] if self.active else []
        operations = [*launches, *self._with, *self._restart, *carried, *others, *counted]
        return self._surrounded(operations) if self._files else operations

    def _surrounded(self, operations: Sequence[Operation]) -> list[Operation]:
        """The operations of a step, with what files need before and behind it."""
        assert self._files
        state, count = self._state, self._state.count + self.active
        changes: dict[str, Any] = {"count": count}
        if self._carried:
            changes["grouping"] = state.grouping._replace(carried=self.numbers)
        if self._created:
            changes["arrays"] = self._created
        if self._restart:
            changes["window"] = Window(0, [False] * len(state.active))
        return self._files.surrounded(operations, f"step {count}", **changes)

    def write_rows(self, initial: Sequence[Mapping[str, float]]) -> None:
        """Create the state that is missing, and point the launches at it.

        It becomes part of the optimizer's state when the step is committed.
        """
        state = self._state
        wanted = [(launch, pair) for launch in self._launches for pair in launch.wanted]
        pairs = [pair for _, pair in wanted]
        arrays, lacks = state.created(pairs, self._parameters.arrays, initial)
        for (launch, (kept, _)), lack in zip(wanted, lacks, strict=True):
            for each in self._sums.with_terms(launch):
                each.start(kept.stream.name, lack)
        for launch in self._all:
            launch.check_dense(state.active, arrays, self._parameters.names)
            launch.write_rows(state.grouping, arrays)
        self._with += put(state, arrays=arrays)
        self._created = arrays
        self._protect(arrays)
        self.stale = False

    def _protect(self, state: Mapping[str, Sequence[Any]]) -> None:
        """Nothing that a step writes may be its gradient."""
        self._spans_kept = [
            checks.span(array, f"{name}[{k}]")
            for name, arrays in self._kept.items()
            for k, array in enumerate(arrays)
            if array is not None
        ]
        self._spans_kept += spans(state)
        self._keep_apart(map(checks.span, self._parameters.arrays, self._parameters.names))

    def _keep_apart(self, params: Iterable[checks.Span]) -> None:
        self._written = checks.check_apart([*params, *self._spans_kept])
        self.gradients.protect(self._written)
        for others in (self._masks, self._others):
            if others:
                others.protect(self._written)
