"""LaProp: L. Ziyin, Z. T. Wang and M. Ueda, LaProp: Separating Momentum and Adaptivity in Adam,
arXiv 2020."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

CONSTANTS = ("beta1", "grad_size", "step_size", "beta2", "beta2_comp", "root_scale", "eps", "decay")


@variants
def laprop(maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(state=("exp_avg", "exp_avg_sq"), hyper=CONSTANTS)
    def laprop(param, grad, state, h):
        exp_avg, exp_avg_sq = state
        if maximize:
            grad = -grad
        exp_avg_sq = h.beta2 * exp_avg_sq + h.beta2_comp * grad * grad
        normed = grad / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps)
        exp_avg = h.beta1 * exp_avg + h.grad_size * normed
        return param - decay(h.step_size * exp_avg, param, h.decay), (exp_avg, exp_avg_sq)

    return laprop


class LaProp(Optimizer):
    """LaProp: Adam that normalizes the gradient first, and averages the quotient.

        v = beta2 * v + (1 - beta2) * g**2
        m = beta1 * m + (1 - beta1) * lr * g / (sqrt(v / (1 - beta2**t)) + eps)
        p = p - lr * weight_decay * p - m / (1 - beta1**t)

    The learning rate is part of the average, as in the authors' code; if it changes, the last
    divisor is the average of its values over its present one. (Their decay follows the update; here
    it is computed from the old parameter.) State: `exp_avg` (m) and `exp_avg_sq` (v), and the
    numbers `exp_avg_lr_1` and `exp_avg_lr_2` for each parameter. Per float32 element: 8 bytes of
    state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 4e-4; a number >= 0 or a function of the step.
        betas: decay rates of the averages, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-15.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.LaProp(w, lr=0.1).step(np.array([1.0, -2.0]))
        >>> w.round(4)
        array([0.9, 1.1])
    """

    rule = laprop()
    defaults = {"lr": 4e-4, "betas": (0.9, 0.999), "eps": 1e-15, "weight_decay": 0.0}
    defaults |= {**DECAY_OPTIONS, "maximize": False}
    carried = {"exp_avg_lr_1": 0.0, "exp_avg_lr_2": 0.0}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return laprop(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def carry(self, group: dict[str, Any], step: int) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        return {
            "exp_avg_lr_1": beta1 * group["exp_avg_lr_1"] + (1 - beta1) * group["lr"],
            "exp_avg_lr_2": beta2 * group["exp_avg_lr_2"] + (1 - beta2),
        }

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        rates = group.get("exp_avg_lr_1", lr * (1 - beta1**step))
        return {
            "beta1": beta1,
            "grad_size": (1 - beta1) * lr,
            "step_size": lr / rates if rates else 0.0,
            "beta2": beta2,
            "beta2_comp": 1 - beta2,
            "root_scale": 1 / math.sqrt(group.get("exp_avg_lr_2", 1 - beta2**step)),
            "eps": group["eps"],
            "decay": decay_rate(group),
        }
