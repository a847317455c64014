"""State of the active parameters in the entries of an optimizer's `state`, as its steps use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..engine.convert import ORDER, SCALE
from ..kernels.commit import commit
from ..kernels.formats import COMPENSATION
from .change_detection import ChangeDetector
from .counters import Counters
from .state import Entries, TensorCopies, TensorState, check_entry, check_step, dtypes

if TYPE_CHECKING:
    from ..engine.options import Options
    from ..kernels.formats import Formats
    from ..optimizer import Optimizer as CoreOptimizer
    from ..rules import Rule
    from .hyperparameters import CheckedGroup
    from .parameters import ActiveParameters
    from .state_formats import Entry


class Setup(Protocol):
    """The members of a `StepSetup` that its state uses; see there."""

    core: CoreOptimizer
    options: Options
    active: ActiveParameters
    rules: Sequence[Rule]
    formats: Sequence[Formats]
    counted: bool
    conditional: bool

    @property
    def on_device(self) -> bool: ...


class StepState:
    """The tensors of state that a step updates: existing ones are used, missing ones are prepared.

    Args:
        setup: the parameters and formats of the step.
        groups: the groups with active parameters.
        entries: the entry of each active parameter in the optimizer's `state`.
        count: the step count so far.

    Attributes:
        state: the state as the core sees it.
        drafts: drafts of the entries.
        copies: averages and low-precision copies of the parameters.
        counters: the host numbers of the parameters, or those that a GPU has.

    Raises:
        TypeError, ValueError: for entries with missing names and wrong types.
    """

    counters: Any  # Counters, or DeviceCounters

    def __init__(
        self,
        setup: Setup,
        groups: Sequence[CheckedGroup],
        entries: list[Entry],
        count: int,
    ) -> None:
        core, options, active = setup.core, setup.options, setup.active
        self._core, self._active, self._rules = core, active, setup.rules
        self._counted, self._conditional = setup.counted, setup.conditional
        self._on_device = setup.on_device
        self._entries, self.drafts = entries, Entries(entries)
        drafts = self.drafts.drafts
        self._check(drafts, options)
        self.copies = TensorCopies(options, active.memories, drafts)
        state = self.state = TensorState(active.memories, drafts)
        commit(state.extended(groups, tuple(core.carried.values())))
        state.count = count
        self.count()
        names = dict.fromkeys(name for rule in self._rules for name in rule.all_state)
        state.adopt([*names], setup.formats)

    def _check(self, entries: Sequence[Entry], options: Options) -> None:
        needed, single = self._needed(), {"step", *self._core.carried}
        tensors = {COMPENSATION, ORDER, *dtypes(options)}
        for name in {name for rule in self._rules for name in rule.all_state}:
            tensors |= {name, name + SCALE}
        for entry, name in zip(entries, self._active.names, strict=True):
            check_entry(entry, needed, tensors, single, name)

    def _needed(self) -> set[str]:
        """The names that every existing state must have; not those that depend on flags."""
        if self._core.uncounted:
            return set()
        forms = [form for rule in (self._core.rule, *self._rules) for form in rule.forms]
        always = {*forms[0].state}.intersection(*(form.state for form in forms))
        return always | {"step", *self._core.carried}

    def count(self) -> None:
        """Read the step counts and other host numbers from the entries."""
        state, carried, entries = self.state, self._core.carried, self.drafts.drafts
        state.resolve()
        known: Any = entries
        if self._on_device:
            from .device_counters import DeviceCounters, known_steps

            known = known_steps(entries)
        for entry, name in zip(known, self._active.names, strict=True):
            check_step(entry, name)
        steps = list(map(self._steps_of, known))
        start = {"step": 0.0} if self._counted else {}
        state.count = max(state.count, *steps)
        if self._conditional:
            counted = steps if self._counted else []
            self.counters = DeviceCounters(entries, counted, self._active.device)
        else:
            self.counters = Counters(entries, start | carried, state.count)
        host = [self.counters[name].tolist() for name in carried]
        each = list(zip(*host, strict=True)) if carried else [()] * len(steps)
        state.regroup(steps, each, state.active)

    def _steps_of(self, entry: Entry) -> int:
        """The number of steps of a parameter; 1 if it has state of which PyTorch saves no count."""
        if self._core.uncounted and "step" not in entry:
            return int(any(name in entry for rule in self._rules for name in rule.all_state))
        return int(entry.get("step", 0))

    def rebind(self) -> None:
        """Use the current tensors of the entries, which have the same metadata as before."""
        self.state.rebind()
        self.copies.rebind()

    def detector(self, everything: Any) -> ChangeDetector:
        """A detector of changes to the parameters and to their state in `everything`."""
        names = [*self.state.arrays, *self.copies.streams]
        tensors = self.counters.tensors
        return ChangeDetector(self._active.params, everything, self._entries, names, tensors)
