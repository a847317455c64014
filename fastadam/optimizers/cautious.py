"""Cautious updates: K. Liang, L. Chen, B. Liu and Q. Liu, Cautious Optimizers: Improving Training
with One Line of Code, arXiv 2024, algorithm 1.

Elements whose update has another sign than their gradient are not updated; the others are updated
by more, as much as the share of such elements asks for, at most 1000 times.
"""

from typing import Any

from ..rules.docstrings import SHARED

AGREEING = ("agreeing",)  # the sums of a cautious rule
LEAST = 1e-3

SHARED.update(
    cautious="update only elements with `update * g > 0`,  and these by more, default False.",
)


def agreement(direction: Any, grad: Any) -> Any:
    """The terms of a cautious rule: 1 where the direction of the update and the gradient agree."""
    return (1.0 if direction * grad > 0.0 else 0.0,)


def agreed(update: Any, direction: Any, grad: Any) -> Any:
    """The update where they agree."""
    return update if direction * grad > 0.0 else 0.0


def cautiously(update: Any, s: Any) -> Any:
    """The update of a cautious rule."""
    return update / max(s.agreeing / s.size, LEAST)
