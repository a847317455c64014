"""Steps that are recorded in a CUDA graph and replayed, of which nobody tells the host.

A replay counts: the device keeps the count, and picks the constants that go with it from pages
that were prepared, up to where they do not change any more. Before the optimizer is used again, the
host waits for the device and takes over the count; afterwards it gives it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..engine.param_groups import Group, Values
from ..engine.plan import Plan
from ..engine.state import State
from .array import zeros


class Owner(Protocol):
    """An optimizer, as far as captured steps depend on it."""

    carried: Mapping[str, float]
    _plan: Plan | None
    _state: State
    _groups: list[Group]

    def hyper(self, group: Values, step: int) -> Mapping[str, float]: ...

    def _refresh(self) -> None:
        """Take over what was edited in `param_groups`."""


class CapturedSteps:
    """Bookkeeping for the steps of an optimizer that graphs replay.

    Attributes:
        active: which parameters they move.
    """

    active: Sequence[bool]

    def __init__(self, owner: Owner) -> None:
        self._owner, self._plans = owner, list[Plan]()
        self._count: Any = None
        self._begun = False

    def __bool__(self) -> bool:
        return bool(self._plans)

    def begin(self, turn: Any) -> None:
        """A turn of the optimizer begins."""
        owner = self._owner
        if turn.captures:
            owner._refresh()
            self._check()
            self._begun, self._eager, owner._plan = True, owner._plan, None
        elif self._plans:
            self._catch_up()
            self._begun = True

    def end(self, turn: Any) -> None:
        """A turn ends, in which the optimizer may have taken a step."""
        owner, begun, self._begun = self._owner, self._begun, False
        if not begun:
            return
        if turn.captures:
            if owner._plan and owner._plan.captured:
                self._plans.append(owner._plan)
                self.active = owner._plan.captured
            owner._plan = self._eager
        else:
            owner._state.settle()
            self._count[...] = np.int64(owner._state.count)

    def count(self) -> Any:
        """The count of steps on the device, shared by all graphs."""
        if self._count is None:
            self._count = zeros(1, np.int64)
            self._count[...] = np.int64(self._owner._state.count)
        return self._count

    def check_active(self, active: Sequence[bool]) -> None:
        """Refuse a step after which not all that graphs move would have the count of the rest."""
        if self._plans and list(active) != list(self.active):
            raise RuntimeError(
                "a captured step of this optimizer moves other parameters than those that have a "
                "gradient now; give gradients to the same ones, or make a new optimizer"
            )

    def refuse(self, what: str) -> None:
        """Refuse what graphs would not know of."""
        if self._plans:
            raise RuntimeError(
                f"{what}: a step of this optimizer was captured in a CUDA graph, which would go on "
                "as before; make a new optimizer"
            )

    def _catch_up(self) -> None:
        """Count the steps that were replayed."""
        state = self._owner._state
        state.count = int(np.asarray(self._count)[0])

    def _check(self) -> None:
        """Refuse what a graph cannot replay.

        Raises:
            RuntimeError: with the reason.
        """
        owner = self._owner
        name = type(owner).__name__
        if owner.carried:
            raise RuntimeError(f"{name} carries {sorted(owner.carried)} on the host; not captured")
        if any(group.scheduled for group in owner._groups):
            raise RuntimeError(
                "hyperparameters that are functions of the step cannot be captured in a CUDA "
                "graph; give numbers, and capture again when they change"
            )
        if not type(owner).hyper.__module__.startswith("fastadam.optimizers."):
            raise RuntimeError(
                f"hyper() of {name} is a function of its own, which a CUDA graph cannot call; only "
                "steps of fastadam's own optimizers can be captured"
            )
