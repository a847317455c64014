"""Adan: X. Xie et al., Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
Models, IEEE TPAMI 2024."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .moments import debiased_root

CONSTANTS = ("avg_size", "diff_size", "beta1_comp", "beta2", "beta2_comp", "beta3", "beta3_comp")


@variants
def adan(maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(
        state=("exp_avg", "exp_avg_sq", "exp_avg_diff", "neg_pre_grad"),
        hyper=(*CONSTANTS, "root_scale", "eps", "decay", "later"),
    )
    def adan(param, grad, state, h):
        exp_avg, exp_avg_sq, exp_avg_diff, neg_pre_grad = state
        if maximize:
            grad = -grad
        diff = grad + neg_pre_grad if h.later > 0.0 else 0.0
        nesterov = grad + h.beta2 * diff
        exp_avg = lerp(exp_avg, grad, h.beta1_comp)
        exp_avg_diff = lerp(exp_avg_diff, diff, h.beta2_comp)
        exp_avg_sq = h.beta3 * exp_avg_sq + h.beta3_comp * nesterov * nesterov
        lookahead = h.avg_size * exp_avg + h.diff_size * exp_avg_diff
        update = lookahead / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps)
        new = (exp_avg, exp_avg_sq, exp_avg_diff, -grad)
        return param - decay(update, param, h.decay), new

    return adan


class Adan(Optimizer):
    """Adan: Adam with Nesterov momentum from differences of gradients.

    With d = g - g_previous, which is 0 at the first step:

        m = beta1 * m + (1 - beta1) * g
        n = beta2 * n + (1 - beta2) * d
        v = beta3 * v + (1 - beta3) * (g + beta2 * d)**2
        u = (m / (1 - beta1**t) + beta2 * n / (1 - beta2**t)) / (sqrt(v / (1 - beta3**t)) + eps)
        p = (p - lr * u) / (1 + lr * weight_decay)

    The betas are decay rates, as in the authors' code; the paper's are their complements. State:
    `exp_avg` (m), `exp_avg_sq` (v), `exp_avg_diff` (n) and `neg_pre_grad` (-g). Per float32
    element: 16 bytes of state, 44 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of m, n and v, each in [0, 1), default (0.98, 0.92, 0.99).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        no_prox: decay before the update, as AdamW does, instead of the division, default False.
        cautious_weight_decay: as for `fa.AdamW`; needs `no_prox`.
        weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Adan(w, lr=0.1).step(np.array([1.0, -2.0]))
        >>> w.round(4)
        array([0.9, 1.1])
    """

    rule = adan()
    defaults = {"lr": 1e-3, "betas": (0.98, 0.92, 0.99), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {"no_prox": False, **DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return adan(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)
        if group["cautious_weight_decay"] and not group["no_prox"]:
            raise ValueError("cautious_weight_decay=True needs no_prox=True; add it")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        lr, (beta1, beta2, beta3), decay = group["lr"], group["betas"], decay_rate(group)
        if not group["no_prox"]:  # the division as a decay of parameter and update
            lr, decay = lr / (1 + decay), decay / (1 + decay)
        return {
            "avg_size": lr / (1 - beta1**step),
            "diff_size": lr * beta2 / (1 - beta2**step),
            "beta1_comp": 1 - beta1,
            "beta2": beta2,
            "beta2_comp": 1 - beta2,
            "beta3": beta3,
            "beta3_comp": 1 - beta3,
            "root_scale": debiased_root(beta3, step),
            "eps": group["eps"],
            "decay": decay,
            "later": float(step > 1),
        }
