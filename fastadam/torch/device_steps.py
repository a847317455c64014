"""Steps that a GPU counts, and that CUDA graphs replay, over tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import proxy

from .devices import DeviceScope
from .hyperparameters import with_known_rate

if TYPE_CHECKING:
    from ..engine.options import Options
    from ..kernels.formats import Formats
    from ..rules.algorithm import Values
    from .parameters import ActiveParameters


def decided_there(
    scope: Any,
    active: ActiveParameters,
    owner: str,
    carried: Sequence[str],
    capturable: bool,
    wanted: bool,
    formats: Sequence[Formats],
    options: Options,
) -> bool:
    """True if a GPU decides about steps, and counts them.

    Args:
        scope: the context of work on the tensors.
        active: the parameters.
        owner: the name of the optimizer's class.
        carried: the names of numbers that are carried on the host from step to step.
        capturable: True if a step may be captured in a CUDA graph.
        wanted: True if a GPU has a part in the decision.
        formats: the storage of each parameter, its gradient and its state.
        options: those of the optimizer.

    Raises:
        RuntimeError: if `capturable` is for tensors elsewhere, or for what only the host knows.
    """
    if not isinstance(scope, DeviceScope):
        if capturable:
            raise RuntimeError(
                "If capturable=True, params and state_steps must be on supported devices: "
                f"['cuda'], but {active.memories[0].name} is on {active.device}"
            )
        return False
    if capturable and carried:
        raise RuntimeError(
            f"{owner} carries {[*carried]} on the host from step to step; capturable=True is not "
            "supported"
        )
    if not (wanted or capturable) or carried or active.sharded:
        return False
    from ..cuda.conditional_step import ConditionalStep

    return ConditionalStep.serves(formats, options)


class DeviceEngine:
    """The members of an engine that conditional steps and captured ones use, for a tensor step.

    It refers to the step weakly, so that memory is freed without a garbage collection.
    """

    def __init__(self, step: Any) -> None:
        self._step: Any = proxy(step)

    def captured_steps(self) -> Any:
        """The record of the steps that CUDA graphs replay."""
        from ..cuda.graph_capture import CapturedSteps

        return CapturedSteps(self)

    @property
    def plan(self) -> Any:
        return self._step.plan

    @property
    def algorithm(self) -> Any:
        return self._step.core

    @property
    def groups(self) -> Sequence[Any]:
        """The groups with schedules: none."""
        return ()

    @property
    def state(self) -> Any:
        return self._step.state

    def values(self, lr: Any, step: int) -> list[Values]:
        """The hyperparameters of each group."""
        values: list[Values] = self._step.values
        return values

    def known_values(self) -> list[Values]:
        """The hyperparameters, with numbers for those that the GPU has."""
        self._step.state.resolve()
        return [with_known_rate(values) for values in self._step.values]

    def refresh(self) -> None:
        """Do nothing: the hyperparameters are always current."""

    def exchange_plan(self, plan: Any) -> Any:
        """Replace the plan; returns the previous one."""
        self._step.plan, before = plan, self._step.plan
        return before

    def runs(self, active: Sequence[bool]) -> Any:
        """The runs of the counts on the GPU that a step of these parameters advances."""
        return self._step.counters.runs(active)
