"""Needs of a step over tensors, besides parameters, hyperparameters and state."""

from typing import NamedTuple


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
