"""Averaging in place of a schedule, shared by the schedule-free optimizers.

A. Defazio et al., The Road Less Scheduled, NeurIPS 2024; algorithm 1, and the warm-up of the
authors' package schedulefree.
"""

from contextlib import AbstractContextManager
from typing import Any

CARRIED = {"weight_sum": 0.0, "lr_max": 0.0}
AVERAGING: dict[str, Any] = {"warmup_steps": 0.0, "r": 0.0, "weight_lr_power": 2.0}


def check_averaging(momentum: str, value: float) -> None:
    """Check the hyperparameters of the average.

    Raises:
        ValueError: for a momentum of zero, with which the average cannot be had from the state.
    """
    if value == 0:
        raise ValueError(f"{momentum} must be above 0; without momentum there is no average")


def warmed_up(group: dict[str, Any], step: int) -> float:
    """The learning rate of a step."""
    lr: float = group["lr"] * min(1.0, step / max(1.0, group["warmup_steps"]))
    return lr


def carried(group: dict[str, Any], step: int) -> dict[str, float]:
    """The largest learning rate so far, and the sum of the weights of steps."""
    lr_max = max(group["lr_max"], warmed_up(group, step))
    weight = step ** group["r"] * lr_max ** group["weight_lr_power"]
    return {"weight_sum": group["weight_sum"] + weight, "lr_max": lr_max}


def share(group: dict[str, Any], step: int) -> float:
    """The weight of a step in the average."""
    if "weight_sum" not in group:  # of a bare kernel, whose learning rate has been this one
        total = 0.0
        for t in range(1, step + 1):
            total += _weight(group, t)
        return _weight(group, step) / total if total else 0.0
    weight: float = step ** group["r"] * group["lr_max"] ** group["weight_lr_power"]
    return weight / group["weight_sum"] if group["weight_sum"] else 0.0


def _weight(group: dict[str, Any], step: int) -> float:
    return float(step ** group["r"] * warmed_up(group, step) ** group["weight_lr_power"])


def moved(param, z, update, h):
    """The parameter, where gradients are evaluated, and the sequence z after a step."""
    start = param if h.first > 0.0 else z
    param = param + h.share * (start - param) - h.move * update
    return param, start - h.lr * update


def swap_average(self: Any) -> AbstractContextManager[None]:
    """Replace the parameters by their average inside a `with` block, for evaluation.

    There is no step, and nothing to save or load, before they are back, bit for bit.

    Raises:
        RuntimeError: inside another such block.
    """
    swapped: AbstractContextManager[None] = self._blended("swap_average()", "z", self._outward)
    return swapped
