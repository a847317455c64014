"""Bookkeeping for steps replayed from CUDA graphs, which the host does not see.

The device counts replays, and selects the constants of each from pages that were prepared for all
counts up to the last at which constants change. Before the optimizer is used again, the host waits
for the device and reads the count; afterwards it writes the count back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.launch_plan import StepPlan
from .array import zeros


class CapturedSteps:
    """Bookkeeping for the steps of an optimizer that graphs replay.

    Args:
        owner: the engine, or an object with the members that are used here.

    Attributes:
        active: for each parameter, True if the graphs update it.
    """

    active: Sequence[bool]

    def __init__(self, owner: Any) -> None:
        self._owner, self._plans = owner, list[StepPlan]()
        self._count: Any = None
        self._begun = False

    def __bool__(self) -> bool:
        return bool(self._plans)

    def begin(self, turn: Any) -> None:
        """Read the count of replays, as the optimizer is entered."""
        owner = self._owner
        if turn.captures:
            owner.refresh()
            self._check()
            self._begun, self._eager = True, owner.exchange_plan(None)
        elif self._plans:
            self._catch_up()
            self._begun = True

    def end(self, turn: Any) -> None:
        """Write the step count to the device, as the optimizer is left."""
        owner, begun, self._begun = self._owner, self._begun, False
        if not begun:
            return
        if turn.captures:
            made = owner.exchange_plan(self._eager)
            if made and made.captured:
                self._plans.append(made)
                self.active = made.captured
        else:
            owner.state.resolve()
            self._count[...] = np.int64(owner.state.count)

    def count(self) -> Any:
        """The count of steps on the device, shared by all graphs."""
        if self._count is None:
            self._count = zeros(1, np.int64)
            self._count[...] = np.int64(self._owner.state.count)
        return self._count

    def check_active(self, active: Sequence[bool]) -> None:
        """Refuse a step of other parameters than those of the graphs, whose counts would differ."""
        if self._plans and list(active) != list(self.active):
            raise RuntimeError(
                "a captured step of this optimizer updates other parameters than those that have a "
                "gradient now; give gradients to the same ones, or make a new optimizer"
            )

    def refuse(self, what: str) -> None:
        """Refuse changes that captured graphs would not include."""
        if self._plans:
            raise RuntimeError(
                f"{what}: a step of this optimizer was captured in a CUDA graph, which would go on "
                "as before; make a new optimizer"
            )

    def _catch_up(self) -> None:
        """Count the steps that were replayed."""
        state = self._owner.state
        state.count = int(np.asarray(self._count)[0])

    def _check(self) -> None:
        """Refuse steps that a graph cannot replay.

        Raises:
            RuntimeError: with the reason.
        """
        owner, algorithm = self._owner, self._owner.algorithm
        name = type(algorithm).__name__
        if algorithm.carried:
            raise RuntimeError(
                f"{name} carries {sorted(algorithm.carried)} on the host; not captured"
            )
        if any(group.scheduled for group in owner.groups):
            raise RuntimeError(
                "hyperparameters that are functions of the step cannot be captured in a CUDA "
                "graph; give numbers, and capture again when they change"
            )
        if not algorithm.hyper_depends_on_step_only:
            raise RuntimeError(
                f"hyper() of {name} may depend on more than its group and the step, and a CUDA "
                "graph does not call it again; if it does not, set hyper_depends_on_step_only = "
                "True in the class"
            )
