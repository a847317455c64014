"""Yogi: M. Zaheer et al., Adaptive Methods for Nonconvex Optimization, NeurIPS 2018."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, sign, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .moments import debiased_rate, debiased_root

CONSTANTS = ("step_size", "beta1_comp", "beta2_comp", "root_scale", "eps", "decay")


@variants
def yogi(maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(state=("exp_avg", "exp_avg_sq"), hyper=CONSTANTS)
    def yogi(param, grad, state, h):
        exp_avg, exp_avg_sq = state
        if maximize:
            grad = -grad
        exp_avg = lerp(exp_avg, grad, h.beta1_comp)
        square = grad * grad
        exp_avg_sq = exp_avg_sq - h.beta2_comp * sign(exp_avg_sq - square) * square
        update = h.step_size * (exp_avg / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps))
        return param - decay(update, param, h.decay), (exp_avg, exp_avg_sq)

    return yogi


class Yogi(Optimizer):
    """Yogi: Adam whose second moment changes by at most `(1 - beta2) * g**2` in a step.

        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * sign(v - g**2) * g**2
        p = p - lr * weight_decay * p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    Both moments start at `initial_accumulator_value`, and both are corrected, as in optax (the
    paper: v only, and no correction). State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32
    element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-3.
        initial_accumulator_value: initial value of both moments, default 1e-6.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Yogi(w, lr=0.1).step(np.array([1.0, -2.0]))
        >>> w.round(4)
        array([0.9001, 1.0999])
    """

    rule = yogi()
    defaults = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-3, "initial_accumulator_value": 1e-6}
    defaults |= {"weight_decay": 0.0, "bias_correction": True, **DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return yogi(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def initial(self, group: dict[str, Any]) -> dict[str, float]:
        return dict.fromkeys(("exp_avg", "exp_avg_sq"), group["initial_accumulator_value"])

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        corrected = group["bias_correction"]
        return {
            "step_size": debiased_rate(group, step) if corrected else group["lr"],
            "beta1_comp": 1 - beta1,
            "beta2_comp": 1 - beta2,
            "root_scale": debiased_root(beta2, step) if corrected else 1.0,
            "eps": group["eps"],
            "decay": decay_rate(group),
        }
