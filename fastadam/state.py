"""What an optimizer remembers of each parameter: its state, and how many steps it has taken."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

import numpy as np

from .kernels.stages import STATE
from .launch import Kept, alike
from .memory.checks import Span, span
from .memory.dtypes import named
from .memory.flat import ALIGNMENT, aligned_zeros
from .rules import Rule

Carried = tuple[float, ...]


class Cohort:
    """Parameters of one group that have taken the same steps, and so have the same constants.

    Attributes:
        carried: host numbers that go from step to step, such as NAdam's product.
        next: what they will be after the step.
        since: how many of its steps `hyper` does not count: those before its state began.
    """

    __slots__ = ("active", "carried", "group", "next", "since", "step")

    def __init__(
        self, group: int, step: int, carried: Carried, active: bool, since: int = 0
    ) -> None:
        self.group, self.step, self.active, self.since = group, step, active, since
        self.carried = self.next = carried


class State:
    """State arrays by name, one per parameter or None, and step counters, one per cohort.

    Attributes:
        arrays: for each name of state an array, or None, per parameter.
        cohorts: the cohorts.
        cohort_of: the number of its cohort for each parameter.
        active: whether each parameter goes on.
        count: the steps of the optimizer in which any parameter moved.
        pending: steps of which only a device knows whether they count, if there are any.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, list[Any]] = {}
        self.cohorts: list[Cohort] = []
        self.cohort_of: list[int] = []
        self.active: list[bool] = []
        self.count = 0
        self.pending: Any = None

    def extend(self, group: int, parameters: int, carried: Carried) -> None:
        """Make room for new parameters of a new group, which have taken no step."""
        self.cohort_of += [len(self.cohorts)] * parameters
        self.active += [True] * parameters
        self.cohorts.append(Cohort(group, 0, carried, True))
        for arrays in self.arrays.values():
            arrays += [None] * parameters

    def settle(self) -> None:
        """Count all steps that were taken, and wait for a device that has not come so far."""
        if self.pending:
            self.pending.settle()

    def know(self, names: Iterable[str]) -> None:
        """Make room for state of these names."""
        for name in names:
            self.arrays.setdefault(name, [None] * len(self.cohort_of))

    def spans(self) -> list[Span]:
        """The memory of all state."""
        return [
            span(array, f"state[{name!r}][{number}]")
            for name, arrays in self.arrays.items()
            for number, array in enumerate(arrays)
            if array is not None
        ]

    @property
    def steps(self) -> list[int]:
        """How many steps each parameter has taken."""
        self.settle()
        return [self.cohorts[number].step for number in self.cohort_of]

    @property
    def carried(self) -> list[Carried]:
        """The host numbers of each parameter."""
        self.settle()
        return [self.cohorts[number].carried for number in self.cohort_of]

    @property
    def since(self) -> list[int]:
        """The steps of each parameter before its state began."""
        return [self.cohorts[number].since for number in self.cohort_of]

    def begin(self, rules: Sequence[Rule]) -> None:
        """Let steps count from now on for parameters whose rules have state yet to be created, as
        for an optimizer of which PyTorch saves no step: whether there is state is all it knows."""
        self.know(name for rule in rules for name in rule.state)
        fresh = [
            any(self.arrays[name][number] is None for name in rule.state)
            for number, rule in enumerate(rules)
        ]
        if any(fresh):
            both = zip(fresh, self.steps, self.since, strict=True)
            since = [step if new else known for new, step, known in both]
            self.regroup(self.steps, self.carried, self.active, since)

    def regroup(
        self,
        steps: Sequence[int],
        carried: Sequence[Carried],
        active: Sequence[bool],
        since: Sequence[int] | None = None,
    ) -> None:
        """Say how many steps each parameter has taken, what it carries, whether it goes on, and
        how many of the steps `hyper` does not count, if that changes."""
        numbers: dict[tuple[int, int, Carried, bool, int], int] = {}
        groups = [self.cohorts[number].group for number in self.cohort_of]
        keys = zip(groups, steps, carried, active, since or self.since, strict=True)
        self.cohort_of = [numbers.setdefault(key, len(numbers)) for key in keys]
        self.cohorts, self.active = [Cohort(*key) for key in numbers], list(active)

    def create(
        self,
        kept: Kept,
        params: Sequence[Any],
        numbers: Iterable[int],
        initial: Sequence[Mapping[str, float]],
    ) -> dict[int, float]:
        """Arrays for those active parameters that have none; what each lacks, where numbers are
        rounded, of the number it starts at, which is `initial[group][name]`, or 0.

        Raises:
            ValueError: if that is too large for the arithmetic.
        """
        cohorts = [self.cohorts[number] for number in self.cohort_of]
        known, start = self.arrays[kept.name], kept.column.start
        missing = [i for i in numbers if known[i] is None and cohorts[i].active]
        if not missing:
            return {}
        name, compute = kept.stream.name.removeprefix(STATE), kept.stream.storage.compute
        values = [initial[cohorts[i].group].get(name, 0) for i in missing]
        lacks, storage = dict[int, float](), cast(Any, kept.stream.storage)
        with np.errstate(all="ignore"):
            for i, value in zip(missing, values, strict=True):
                number = np.dtype(compute).type(value)
                lacks[i] = float(number - storage.held(number)) if value else -0.0
                if not np.isfinite(lacks[i]):
                    raise ValueError(f"initial(): {name}={value} is too large for float32")
        self.allocate(kept, params, missing)
        for i, value in zip(missing, values, strict=True):
            if value:
                known[i].fill(value if start is None else start)
        return lacks

    def allocate(self, kept: Kept, params: Sequence[Any], numbers: Sequence[int]) -> None:
        """Zeros for some parameters, each on a cache line of its own."""
        dtype, per = named(kept.column.outside), kept.column.per
        line = ALIGNMENT // dtype.itemsize
        counts = [-(-params[i].size // per) for i in numbers]
        starts = list(accumulate((-(-count // line) * line for count in counts), initial=0))
        buffer = aligned_zeros(starts[-1], dtype, params[numbers[0]])
        for i, start, count in zip(numbers, starts, counts, strict=False):
            view = buffer[start : start + count]
            self.arrays[kept.name][i] = view.reshape(params[i].shape) if per == 1 else view

    def restore(
        self,
        params: Sequence[Any],
        entries: Sequence[Mapping[str, Any]],
        kept: Sequence[Mapping[str, Kept]],
        steps: Sequence[int],
        carried: Sequence[Carried],
        count: int,
    ) -> None:
        """Take over saved state, in the formats of what is kept for each parameter."""
        self.settle()
        self.count = count
        self.regroup(steps, carried, [True] * len(steps), [0] * len(steps))
        for name, known in self.arrays.items():
            saved = [entry.get(name) for entry in entries]
            known[:] = [None if s is None else k for s, k in zip(saved, known, strict=True)]
            new = [i for i, s in enumerate(saved) if s is not None and known[i] is None]
            for array, places in alike(kept[i][name] for i in new).items():
                self.allocate(array, params, [new[place] for place in places])
            for live, array in zip(known, saved, strict=True):
                if array is not None:
                    live[...] = array
