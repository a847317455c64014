"""Results of steps whose skip decision is made on the GPU, resolved when the GPU has reached
them."""

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

MAX_IN_FLIGHT = 8  # steps that may be under way with nobody knowing whether they count


class PendingStep:
    """The result of a step, resolved when the device has reached it.

    Args:
        words: where the device writes it.
        event: what it reaches then.
        base: how many steps had counted for certain when the step was taken.
        carried: what cohorts carry if it counts, for each count that was possible.
        rates: the learning rates, likewise; as DeviceRate if the device has them.
        norm_scale: what the norm is to be multiplied by, None without any.
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
        """Take over what the device has written."""
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
    """The learning rate of a step, which the device may know alone."""
    return float(words[5:6].view(np.float64)[0]) if isinstance(known, DeviceRate) else known


class PendingSteps:
    """The steps in flight, in order, of which the host does not know yet whether they count."""

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
        """Wait for a step and those before it; for all of them without one."""
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
        """True if the steps under way leave behind what is assumed now, for each count."""
        if not self._outcomes:
            return True
        last = self._outcomes[-1]
        return list(last.carried[base - last.base :]) == list(carried[: len(self._outcomes)])
