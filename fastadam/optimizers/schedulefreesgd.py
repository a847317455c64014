"""ScheduleFreeSGD: A. Defazio et al., The Road Less Scheduled, NeurIPS 2024."""

from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, rule, variants
from . import schedule_free
from .schedule_free import AVERAGING, check_averaging, share, warmed_up


@variants
def schedule_free_sgd(maximize=False):
    """The rule for these flags."""
    moved = schedule_free.moved

    @rule(state=("z",), hyper=("lr", "share", "move", "weight_decay", "first"), exact=True)
    def schedule_free_sgd(param, grad, state, h):
        if maximize:
            grad = -grad
        param, z = moved(param, state[0], decayed(grad, param, h.weight_decay), h)
        return param, (z,)

    return schedule_free_sgd


class ScheduleFreeSGD(Optimizer):
    """SGD with an average of its iterates in place of a schedule.

    With `c` the share of this step in the sum of the weights `t**r * max(lr)**weight_lr_power`, and
    z starting at p:

        u = g + weight_decay * p
        p = p + c * (z - p) - lr * (1 - momentum * (1 - c)) * u
        z = z - lr * u

    Gradients are those at p, an interpolation of z and its average x: evaluate at x,
    `p + (1 - 1 / momentum) * (z - p)`, inside `with opt.swap_average():`. State: `z`, as in
    schedulefree; `weight_sum` and `lr_max` are carried. Per float32 element: 4 bytes of state, 20
    bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1.0; a number >= 0 or a function of the step.
        momentum: momentum of the interpolation, above 0 and below 1, default 0.9.
        weight_decay: coupled (L2) decay at p, default 0.
        warmup_steps: steps of a linear warm-up of lr, default 0.
        r: exponent of t in the weight of a step, default 0.
        weight_lr_power: exponent of the largest lr so far in that weight, default 2.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> opt = fa.ScheduleFreeSGD(w, lr=0.1)
        >>> for _ in range(3):
        ...     info = opt.step(np.array([1.0, -2.0]))
        >>> with opt.swap_average():
        ...     print(w.round(3))
        [0.8 1.4]
    """

    rule = schedule_free_sgd()
    defaults = {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.0, **AVERAGING, "maximize": False}
    carried = schedule_free.CARRIED
    swap_average = schedule_free.swap_average
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return schedule_free_sgd(group)

    def check(self, group: dict[str, Any]) -> None:
        check_averaging("momentum", group["momentum"])
        if group["momentum"] >= 1:
            raise ValueError(f"momentum={group['momentum']!r} must be below 1")

    def carry(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return schedule_free.carried(group, step)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        lr, part = warmed_up(group, step), share(group, step)
        return {
            "lr": lr,
            "share": part,
            "move": lr * (1 - group["momentum"] * (1 - part)),
            "weight_decay": group["weight_decay"],
            "first": 1.0 if step == 1 else 0.0,
        }

    def _outward(self, group: dict[str, Any]) -> float:
        return float(1 - 1 / group["momentum"])
