"""Arguments of a step over tensors, and its needs: the properties for which a plan is made."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class StepArguments(NamedTuple):
    """Arguments of one step.

    Attributes:
        grads: the gradients of all parameters of the optimizer, None for those without.
        lr: the learning rate that the StepInfo reports.
        grad_scale: the factor of the loss, or None.
        found_inf: True if a gradient is not finite; None if that is not known.
        masks: the masks of all parameters, or None.
    """

    grads: Sequence[Any]
    lr: float | None
    grad_scale: Any
    found_inf: Any
    masks: Sequence[Any] | None


class StepNeeds(NamedTuple):
    """Properties of a step for which a plan is made.

    Attributes:
        scaled: 0 without a gradient scale, NEAR or FAR for its distance from 1 (`reach_of`).
        threads: the number of threads that a step may use.
        conditional: True if a GPU is to decide about steps, and to count them.
        masked: True for steps with masks.
    """

    scaled: int
    threads: int
    conditional: bool
    masked: bool

    def met_by(self, plan: "StepNeeds") -> bool:
        """True if a plan that was made for others meets these."""
        return (
            plan.scaled >= self.scaled
            and plan.threads == self.threads
            and plan.conditional >= self.conditional
            and plan.masked is self.masked
        )
