"""Plan of a step: its launches, and the order of everything else that it does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import add
from typing import Any

from ..kernels.commit import Operation, put
from ..kernels.factory import Kernel
from ..memory import checks
from ..memory.array_headers import never
from ..rules.algorithm import Algorithm, Values
from .backend import SkippableSteps, backend_of
from .files import OptimizerFiles
from .gradients import StepArrays
from .launch import Launch
from .param_groups import initial_state
from .preprocess import GradientPreprocessor, Verdict
from .state import Carried, Cohort, spans
from .step_commitment import StepCommitment
from .step_constants import StepConstants
from .step_context import StepContext, StepKind
from .step_inputs import OtherInputs, StepInputs
from .update_launches import UpdateLaunches

UPDATE: Verdict = "update"


class StepPlan:
    """The launches of a step, one per rule variant and formats; replaced when either changes.

    A step calls `look`, `prepare` and `run`, in this order. If one of them raises, the plan must
    not be used again, since its tables may be only partly updated.

    Args:
        context: the arrays and settings of the steps.
        kind: the kind of the steps.
        inputs: the inputs of the first step, if the steps have inputs in place of gradients.

    Attributes:
        kind: the kind of the steps.
        gradients: checks the gradients, and finds their addresses.
        preprocessor: the work before an update.
        active: True if any parameter has a gradient.
        conditional: takes steps that a device may skip by itself; None if there are none.
        captured: the `active` flags of a step captured in a CUDA graph; empty without one.
        stale: True until the addresses of the state have been written to the tables.
        steady: True if a step of plain gradients differs from the last one in its gradients and
            constants only.
        direct: True if such a step consists of `write_constants`, `norm.measured`, if there is a
            norm, and `launch`.
        norm: computes the norm of all gradients; None if no option needs it.
        launch: runs all launches, and counts the step; `again` commits more operations with it.
        numbers: for each cohort, the host numbers that it carries after the prepared step.
        records: the launches and the numbers of the records that `write_constants` writes.
        same: `same(arrays)` is True if these are the gradients of the last step, and neither they
            nor the parameters were changed.
    """

    preprocessor: GradientPreprocessor
    _by_row: list[tuple[Cohort, Launch]]

    def __init__(
        self, context: StepContext, kind: StepKind, inputs: StepInputs | None = None
    ) -> None:
        context = context.with_inputs(kind.sources.inputs)
        context.state.resolve()
        self.kind, self._options = kind, context.options
        self._parameters, self._state, self.stale = context.parameters, context.state, True
        self.steady = self.direct = False
        self._with: list[Operation] = []  # committed with the step
        self._partition = context.partition
        launches = self._of_update = UpdateLaunches(context, kind)
        self._launches, self._all = launches.updates, launches.over_params
        self._sums, self._matrices = launches.sums, launches.matrices
        self._factors = launches.factors
        launches_of = [launches.of_group(group) for group in context.groups]
        self._constants = StepConstants(context.state, launches_of, context.carried, self._sums)
        self.write_constants = self._constants.write
        self.write_records = self._constants.write_with_carried
        self._rules = [group.rule for group in context.groups]
        self.gradients = context.gradients
        self.same: Callable[[Sequence[Any]], bool] = never
        self._placed: Sequence[int] = []  # the addresses of gradients in the tables
        self._masks = self._masks_for(context) if kind.masked else None
        accumulator = context.accumulator
        restart, carries = accumulator.restarted() if accumulator else [], bool(context.carried)
        updates, team = [*self._launches, *self._factors.copies], context.options.team
        self._commitment = StepCommitment(
            context.state, updates, team, restart, carries, self._sums.groups
        )
        self._repeats = not (restart or carries or launches.in_passes)
        self._kept = context.streams
        self.preprocessor = GradientPreprocessor(launches.over_gradients, context, kind)
        self.norm = self.preprocessor.norm
        self._others = None
        if inputs and inputs.weights:
            self._others = OtherInputs(context.parameters, context.gradients.dtypes, inputs)
        self.captured = list[bool]()
        self.conditional = self._skippable(context) if kind.may_skip else None
        if self.conditional:
            self.preprocessor.follow(self.conditional)
        self._created: Mapping[str, Sequence[Any]] | None = None  # the state with new arrays
        self._protect(context.state.arrays)
        self._pair()

    @staticmethod
    def _masks_for(context: StepContext) -> StepArrays:
        """The masks of steps."""
        parameters = context.parameters
        called, backend = parameters.called("mask"), backend_of(context.arrays[0])
        return backend.masks(context.arrays, parameters.names, called)

    def _skippable(self, context: StepContext) -> SkippableSteps | None:
        """The part that takes steps that a device may skip by itself, or None."""
        asks_host = context.partition or any(
            rule.over == "all" and context.carried for rule in context.rules
        )
        by_rows = any(context.gradients.rows)
        if self._matrices or self._factors or by_rows or (self._sums and asks_host):
            return None
        updates = [*self._sums.sequence, *self._launches]
        return backend_of(context.arrays[0]).conditional_step(self, updates, context)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels that a step launches."""
        return self._of_update.kernels + self.preprocessor.kernels

    def stream(self, files: OptimizerFiles) -> None:
        """Make the launches stream through the files of parameters and state."""
        self._commitment.files, self._repeats = files, False
        files.stream(launch.table for launch in (*self._all, *self.preprocessor.launches))

    # The order of a step

    def look(self, arrays: Sequence[Any]) -> None:
        """Check the gradients of a step, and set their addresses in the launches.

        Raises:
            TypeError, ValueError: for invalid gradients.
            OtherDtypesError: for gradients that need another plan.
        """
        state, gradients = self._state, self.gradients
        self.same = never
        gradients.bind(arrays)
        others = gradients.active != state.grouping.active
        if others:
            state.regroup(state.steps, state.carried, gradients.active)
            self._sums.clear()
            self.recount()
        if gradients.addresses != self._placed or others:
            self._placed = []  # in case of an interrupt
            for launch in self._of_update.over_gradients:
                launch.place("grad", gradients.addresses)
            self.preprocessor.place(gradients.addresses, gradients.active)
            self._placed = gradients.addresses

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
        """Prepare a step whose gradients are bound, up to its commitment.

        Constants are written, norms computed, which decides whether the step updates, missing
        state is created, and the sums of rules are computed.

        Args:
            author: the optimizer, whose `hyper`, `carry` and `initial` are called.
            values: the hyperparameters of each group.
            arrays: the gradients.
            grad_scale: the factor of the loss, or None.
            found_inf: True if the gradients are known not to be finite.
            always: True to create state even for a step that is skipped.
            grad_norm: the norm of the gradients; None to compute it if an option needs it.

        Returns:
            The norm of the gradients, or None if it was not measured; and the verdict.

        Raises:
            TypeError, ValueError: before any element changes.
        """
        step = self._state.count + 1
        if self.steady and found_inf is False and grad_norm is None:
            self.write_constants(author, values, step)
            norm, verdict = self.preprocessor.again(step)
            if verdict == UPDATE:
                return norm, verdict
        self.write_records(author, values, step)
        norm, verdict = None, UPDATE
        if self.preprocessor.needed or found_inf is not False:
            seen = self.gradients.seen(arrays)
            norm, verdict = self.preprocessor.prepare(seen, grad_scale, found_inf, step, grad_norm)
        if self.stale and (verdict == UPDATE or always):
            starts = zip(self._rules, values, strict=True)
            self.write_rows([initial_state(author, *each) for each in starts])
        if self._factors and verdict == UPDATE:
            self._factors.run()
        if self._sums and verdict == UPDATE:
            self._sums.run()
            if author.carries_sums:
                self._constants.carry_sums(author, values)
        if self._matrices and verdict == UPDATE:
            self._matrices.run(author, values, self._state.active)
        if self._by_row and verdict == UPDATE:
            for cohort, launch in self._by_row:
                values_of = values[cohort.group]
                self._with += launch.ready(author, values_of, step - cohort.base, cohort.since)
        return norm, verdict

    # Changes between steps

    def repoint(self, arrays: Sequence[Any], places: Sequence[int]) -> None:
        """Replace the parameters by others of the same shapes and dtypes, at these addresses.

        Raises:
            ValueError: for overlapping memory, before any address is set.
        """
        self._parameters.replace(arrays)
        sizes, names = self._parameters.nbytes, self._parameters.names
        self._keep_apart(map(checks.Span, places, map(add, places, sizes), names))
        for launch in self._all:
            launch.place("param", places)

    def repoint_kept(self) -> None:
        """Set the current addresses of the copies of the parameters, and mark those of the state
        as stale.

        Raises:
            ValueError: as `repoint`.
        """
        self._protect(self._state.arrays)
        for launch in self._all:
            for name in filter(launch.has, self._kept):
                launch.place(name, checks.addresses(self._kept[name]))
        self.stale, self.steady, self.direct = True, False, False

    def recount(self) -> None:
        """Read the step counts of the parameters again, after they were changed elsewhere."""
        self.stale, self.steady, self.direct = True, False, False
        self._pair()

    def bind_masks(self, arrays: Sequence[Any]) -> None:
        """Check the masks of a step, and set their addresses in the launches."""
        assert self._masks
        if self._options.zero_grads:  # a mask in the memory of a gradient would be cleared
            self._masks.protect(sorted([*self._written, *self.gradients.spans()]))
        if self._options.zero_grads or not self._masks.same(arrays):
            self._masks.bind(arrays)
            for launch in self._launches:
                launch.place("mask", self._masks.addresses)

    def bind_inputs(self, inputs: StepInputs) -> None:
        """Check the inputs of a step besides the first, and set their addresses."""
        if self._others:
            self._others.bind(inputs, self.gradients, self.preprocessor.reading)

    def _pair(self) -> None:
        """Pair the cohorts that take the step with their launches; count from the current count."""
        self._constants.pair()
        grouping = self._state.grouping
        self._by_row = [
            (cohort, launch)
            for launch in self._launches
            if launch.by_row
            and (cohort := grouping.cohorts[grouping.cohort_of[launch.members[0]]])
            and cohort.active
        ]
        self.active = self._constants.active
        commitment = self._commitment
        commitment.count()
        self.again = commitment.again
        self.launch = commitment.repeated.__next__ if commitment.small else commitment.again

    @property
    def numbers(self) -> Sequence[Carried]:
        """For each cohort, the host numbers that it carries after the prepared step."""
        return self._constants.numbers

    @property
    def records(self) -> Sequence[tuple[Launch, int]]:
        """The launches and the numbers of the records that `write_constants` writes."""
        return self._constants.records

    def draw(self, numbers: Any, late: Any) -> None:
        """Set the random stream of each parameter, and the offset of its step count."""
        for launch in self._launches:
            places = [*launch.members] if len(launch.members) > 1 else launch.members[0]
            launch.draws, launch.late = numbers[places], late[places]

    @property
    def counts(self) -> bool:
        """True if the step counts: a parameter has a gradient, here or in another process."""
        return self.active or bool(self._partition and self._partition.active)

    def run(self, *others: Operation) -> None:
        """Launch the update, count the step, and commit its other changes: all or nothing.

        Args:
            others: further operations of the commitment.
        """
        commitment = self._commitment
        if self.steady:
            commitment.again(others)
            return
        if self.conditional:  # it may have counted steps
            commitment.count()
        commitment.run([*self._with, *others], self.counts, self.numbers, self._created)
        self._with.clear()
        self._created = None
        busy = self.conditional or self.stale or self._by_row
        self.steady = self._repeats and self.active and self.preprocessor.repeats and not busy
        self.direct = self.steady and self.preprocessor.direct

    def write_rows(self, initial: Sequence[Mapping[str, float]]) -> None:
        """Create missing state, and set the addresses of all state in the launches.

        New state becomes part of the optimizer's state when the step is committed.
        """
        state = self._state
        wanted = [(launch, pair) for launch in self._launches for pair in launch.wanted]
        pairs = [pair for _, pair in wanted]
        arrays, lacks = state.created(pairs, self._parameters.arrays, initial)
        for (launch, (kept, _)), lack in zip(wanted, lacks, strict=True):
            for each in (*self._sums.with_terms(launch), *self._matrices.first_of(launch)):
                each.start(kept.stream.name, lack)
        for launch in self._of_update.with_state:
            launch.check_dense(state.active, arrays, self._parameters.names)
            launch.write_rows(state.grouping, arrays)
        self._with += put(state, arrays=arrays)
        self._created = arrays
        self._protect(arrays)
        self.stale = False

    def _protect(self, state: Mapping[str, Sequence[Any]]) -> None:
        """Refuse gradients in memory that the step writes."""
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
