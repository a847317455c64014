"""ScheduleFreeAdamW: A. Defazio et al., The Road Less Scheduled, NeurIPS 2024."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, rule, variants
from . import schedule_free
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .schedule_free import AVERAGING, check_averaging, share, warmed_up

CONSTANTS = ("lr", "share", "move", "beta2", "beta2_comp", "root_scale", "eps", "decay", "first")


@variants
def schedule_free_adamw(maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)
    moved = schedule_free.moved

    @rule(state=("z", "exp_avg_sq"), hyper=CONSTANTS, exact=True)
    def schedule_free_adamw(param, grad, state, h):
        z, exp_avg_sq = state
        if maximize:
            grad = -grad
        exp_avg_sq = h.beta2 * exp_avg_sq + h.beta2_comp * grad * grad
        update = decay(grad / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps), param, h.decay)
        param, z = moved(param, z, update, h)
        return param, (z, exp_avg_sq)

    return schedule_free_adamw


class ScheduleFreeAdamW(Optimizer):
    """AdamW with an average of its iterates in place of a schedule.

    With v as in `fa.AdamW`, `c` the share of this step in the sum of the weights
    `t**r * max(lr)**weight_lr_power`, and z starting at p:

        u = g / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
        p = p + c * (z - p) - lr * (1 - beta1 * (1 - c)) * u
        z = z - lr * u

    Gradients are those at p, an interpolation of z and its average x: evaluate at x,
    `p + (1 - 1 / beta1) * (z - p)`, inside `with opt.swap_average():`. State: `z` and `exp_avg_sq`
    (v), as in schedulefree; `weight_sum` and `lr_max` are carried. Per float32 element: 8 bytes of
    state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 2.5e-3; a number >= 0 or a function of the step.
        betas: momentum of the interpolation, above 0, and decay rate of v, each below 1, default
            (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay at p, in units of `lr`, default 0.
        warmup_steps: steps of a linear warm-up of lr, default 0.
        r: exponent of t in the weight of a step, default 0.
        weight_lr_power: exponent of the largest lr so far in that weight, default 2.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> opt = fa.ScheduleFreeAdamW(w, lr=0.1)
        >>> for _ in range(3):
        ...     info = opt.step(np.array([1.0, -2.0]))
        >>> with opt.swap_average():
        ...     print(w.round(3))
        [0.8 1.2]
    """

    rule = schedule_free_adamw()
    defaults = {"lr": 2.5e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {**AVERAGING, **DECAY_OPTIONS, "maximize": False}
    carried = schedule_free.CARRIED
    swap_average = schedule_free.swap_average
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return schedule_free_adamw(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)
        check_averaging("betas[0]", group["betas"][0])

    def carry(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return schedule_free.carried(group, step)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        (beta1, beta2), lr, part = group["betas"], warmed_up(group, step), share(group, step)
        return {
            "lr": lr,
            "share": part,
            "move": lr * (1 - beta1 * (1 - part)),
            "beta2": beta2,
            "beta2_comp": 1 - beta2,
            "root_scale": 1 / math.sqrt(1 - beta2**step),
            "eps": group["eps"],
            "decay": decay_rate(group, lr) / lr if lr else 0.0,
            "first": 1.0 if step == 1 else 0.0,
        }

    def _outward(self, group: dict[str, Any]) -> float:
        return float(1 - 1 / group["betas"][0])
