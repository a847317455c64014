"""Grams: Y. Cao, X. Li and Z. Song, Grams: Gradient Descent with Adaptive Momentum Scaling, arXiv
2024."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, sign, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .moments import averaging, debiased_rate, debiased_root

CONSTANTS = ("step_size", "beta1_comp", "beta2", "beta2_comp", "root_scale", "eps", "decay")


@variants
def grams(maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(state=("exp_avg", "exp_avg_sq"), hyper=CONSTANTS)
    def grams(param, grad, state, h):
        exp_avg, exp_avg_sq = state
        if maximize:
            grad = -grad
        exp_avg = lerp(exp_avg, grad, h.beta1_comp)
        exp_avg_sq = h.beta2 * exp_avg_sq + h.beta2_comp * grad * grad
        size = abs(exp_avg / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps))
        return param - decay(h.step_size * (sign(grad) * size), param, h.decay), (
            exp_avg,
            exp_avg_sq,
        )

    return grams


class Grams(Optimizer):
    """Grams: the magnitude of AdamW's update with the sign of the gradient.

        u = (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)
        p = p - lr * weight_decay * p - lr * sign(g) * abs(u)

    m and v are the moments of `fa.Adam`. The sign of zero is zero: an element with a
    zero gradient only decays. State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8
    bytes of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-6.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Grams(w, lr=0.1).step(np.array([1.0, -2.0]))
        >>> w.round(4)
        array([0.9, 1.1])
    """

    rule = grams()
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.0}
    defaults |= {**DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return grams(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return {
            "step_size": debiased_rate(group, step),
            "root_scale": debiased_root(group["betas"][1], step),
            **averaging(group),
            "decay": decay_rate(group),
        }
