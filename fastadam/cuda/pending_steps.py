"""Results of steps whose skip decision is made on the GPU, read when the GPU completes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from threading import RLock
from typing import Any

import numpy as np

from ..engine.state import Carried, State
from ..engine.step_info import StepInfo, late_info
from ..kernels.commit import commit, put
from .device_rate import DeviceRate

MAX_IN_FLIGHT = 8  # steps whose outcome the host does not know yet


class PendingStep:
    """The result of a step, read when the device has completed it.

    Args:
        words: the memory to which the device writes the result.
        event: the event that follows the step in its stream.
        base: the step count that was certain when the step was launched.
        carried: for each possible count, the numbers that cohorts carry if the step counts.
        rates: for each possible count, the learning rate; a DeviceRate if the device has it.
        norm_scale: the factor of the norm; None without a norm.
    """

    known: StepInfo | None = None

    def __init__(
        self,
        pending: PendingSteps,
        words: Any,
        event: Any,
        base: int,
        carried: Sequence[Sequence[Carried]],
        rates: Sequence[float | None],
        norm_scale: float | None,
    ) -> None:
        self._pending, self._words, self.event = pending, words, event
        self.base, self.carried = base, carried
        self._rates, self._norm_scale = rates, norm_scale

    def field(self, number: int) -> Any:
        """A field of its StepInfo, waited for."""
        self._pending.resolve(self)
        assert self.known
        return self.known[number]

    def conclude(self, state: State) -> None:
        """Update the state by the result that the device has written."""
        count, skipped, useless = self._words[:3].tolist()
        place = count - self.base - (not skipped)
        norm = _norm(self._words, useless, self._norm_scale)
        rate = _rate(self._words, self._rates[place])
        if not skipped:
            grouping = state.grouping._replace(carried=self.carried[place])
            commit(put(state, count=count, grouping=grouping))
        self.known = StepInfo(count, rate, norm, bool(skipped), not skipped)


class ReplayedStep:
    """The result of the last replay of a captured step."""

    def __init__(
        self, driver: Any, words: Any, count: int, rate: float | None, norm_scale: float | None
    ) -> None:
        self._driver, self._words, self._count = driver, words, count
        self._rate, self._norm_scale = rate, norm_scale
        self._device = driver.device()

    def field(self, number: int) -> Any:
        """A field of its StepInfo, waited for each time."""
        with self._driver.on(self._device):
            self._driver.finish_all()
        count, skipped, useless = self._words[:3].tolist()
        if count < 0:
            rate = None if isinstance(self._rate, DeviceRate) else self._rate
            return StepInfo(self._count, rate, None, False, False)[number]
        norm, rate = _norm(self._words, useless, self._norm_scale), _rate(self._words, self._rate)
        return StepInfo(count, rate, norm, bool(skipped), not skipped)[number]


def info_of(outcome: PendingStep | ReplayedStep) -> StepInfo:
    """A StepInfo that waits when a field is read."""
    return late_info(partial(outcome.field, number) for number in range(5))


def _norm(words: Any, useless: int, scale: float | None) -> float | None:
    if scale is None or useless:
        return None
    squares, unscale = words[3:5].view(np.float64).tolist()
    norm: float = math.sqrt(squares) * (scale * unscale)
    return norm


def _rate(words: Any, known: Any) -> Any:
    """The learning rate of a step, read from the device if only that has it."""
    return float(words[5:6].view(np.float64)[0]) if isinstance(known, DeviceRate) else known


class PendingSteps:
    """The steps in flight, in order: the host does not know yet whether they count."""

    def __init__(self, state: State) -> None:
        from .context import driver

        self._state, self._driver = state, driver
        self._outcomes: list[PendingStep] = []
        self.lock = RLock()

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(self, outcome: PendingStep) -> None:
        self._outcomes.append(outcome)

    def poll(self) -> None:
        """Resolve the steps that the device has completed."""
        with self.lock:
            while self._outcomes and self._driver.reached(self._outcomes[0].event):
                self._outcomes.pop(0).conclude(self._state)

    def resolve(self, last: PendingStep | None = None) -> None:
        """Wait for a step and those before it; by default for all steps."""
        with self.lock:
            self._driver.bind()
            while self._outcomes and (last is None or last.known is None):
                self._driver.reach(self._outcomes[0].event)
                self._outcomes.pop(0).conclude(self._state)

    def make_room(self) -> None:
        """Wait until another step may be in flight."""
        while len(self._outcomes) >= MAX_IN_FLIGHT:
            self.resolve(self._outcomes[0])

    def agrees(self, base: int, carried: Sequence[Sequence[Carried]]) -> bool:
        """True if, for each possible count, the steps in flight result in these carried numbers."""
        if not self._outcomes:
            return True
        last = self._outcomes[-1]
        return list(last.carried[base - last.base :]) == list(carried[: len(self._outcomes)])
