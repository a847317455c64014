"""Steps of subsets of the parameters, until they are transferred to the optimizer."""

from collections.abc import Sequence
from functools import partial
from weakref import ref

from ..kernels.commit import Operation, commit, put
from .engine import Engine
from .state import State


class SubsetSteps:
    """Steps of subsets that have not been transferred to the optimizer yet.

    The optimizer's step count is updated at once; the counts and the state of each parameter are
    transferred when they are read.

    Args:
        engine: the engine of the optimizer, which owns this object; referred to weakly.

    Attributes:
        epoch: increases whenever the optimizer's state changes other than by steps of subsets.
        base: the optimizer's step count at the last such change.
    """

    def __init__(self, engine: Engine) -> None:
        self._whole, self._before = ref(engine), engine.state.count
        self._known, self._places = self._now()
        self.epoch, self.base = 0, self._before
        self._untransferred = dict[int, tuple[Sequence[int], State]]()  # not transferred yet
        self._numbers = set[int]()  # of parameters in any subset
        self._shared = False  # True if some are in several subsets
        self._last = dict[int, State]()  # of the subset that updated a parameter last

    @property
    def _engine(self) -> Engine:
        found = self._whole()
        assert found is not None
        return found

    def _now(self) -> tuple[int, tuple[int, int]]:
        state = self._engine.state
        return state.count, (id(state.grouping), id(state.arrays))

    def refresh(self) -> None:
        """Detect steps of all parameters, and loaded state."""
        if (self._known, self._places) != (now := self._now()):
            (self._known, self._places), self.epoch, self.base = now, self.epoch + 1, now[0]

    def enter(self, numbers: Sequence[int]) -> None:
        """Register the parameters of a new subset."""
        self._shared |= not self._numbers.isdisjoint(numbers)
        self._numbers.update(numbers)

    def stale(self, numbers: Sequence[int], own: State) -> bool:
        """True if another subset has updated one of the parameters since `own` was updated."""
        return self._shared and any(self._last.get(n, own) is not own for n in numbers)

    def recorded(self, numbers: Sequence[int], own: State) -> list[Operation]:
        """The operations that record and count a step of a subset.

        Args:
            numbers: the numbers of its parameters.
            own: its state.
        """
        state, count = self._engine.state, own.count + 1
        if state.pending is None:
            self._before = state.count
        now = max(state.count, count)
        return [
            *put(self._engine, plan=None),
            *put(state, count=now, pending=self),
            *put(self, _known=now),
            partial(self._untransferred.__setitem__, id(own), (numbers, own)),
            *([partial(self._last.update, dict.fromkeys(numbers, own))] if self._shared else []),
        ]

    def resolve(self) -> None:
        """Transfer step counts and state of the subsets to the optimizer."""
        with self._engine.lock:
            state = self._engine.state
            grouping, since = state.grouping, state.since
            pending = [*self._untransferred.values()]
            if state.pending is None:  # a signal handler may have transferred them meanwhile
                return
            each = [cohort.steps(self._before) for cohort in grouping.cohorts]
            steps = [each[number] for number in grouping.cohort_of]
            carried = [grouping.carried[number] for number in grouping.cohort_of]
            names = [name for _, own in pending for name in own.arrays]
            arrays = {name: [*column] for name, column in state.with_names(names).items()}
            for numbers, own in pending:
                own_steps, own_since, own_carried = own.steps, own.since, own.carried
                for k, place in enumerate(numbers):
                    steps[place], since[place] = own_steps[k], own_since[k]
                    carried[place] = own_carried[k]
                for name, column in own.arrays.items():
                    for place, array in zip(numbers, column, strict=True):
                        arrays[name][place] = array
            merged = state.grouped(steps, carried, [True] * len(steps), since)
            commit(
                [
                    *put(state, arrays=arrays, grouping=merged, pending=None),
                    *put(self, _known=state.count, _places=(id(merged), id(arrays))),
                    *put(self, _before=state.count),
                    self._untransferred.clear,
                ]
            )
