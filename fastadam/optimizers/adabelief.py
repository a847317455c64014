"""AdaBelief: J. Zhuang et al., AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
Gradients, NeurIPS 2020."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .moments import averaging, debiased_rate, debiased_root
from .radam import rectification

CONSTANTS = ("step_size", "beta1_comp", "beta2", "beta2_comp", "root_scale", "eps", "decay")


@variants
def adabelief(amsgrad=False, rectify=False, maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(
        state=("exp_avg", "exp_avg_var") + ("max_exp_avg_var",) * amsgrad,
        hyper=(*CONSTANTS, "rectified"),
    )
    def adabelief(param, grad, state, h):
        if maximize:
            grad = -grad
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        surprise = grad - exp_avg
        exp_avg_var = h.beta2 * state[1] + h.beta2_comp * surprise * surprise + h.eps
        new = (exp_avg, exp_avg_var)
        if amsgrad:
            new = new + (max(exp_avg_var, state[2]),)
        direction = exp_avg / (math.sqrt(new[-1]) * h.root_scale + h.eps)
        if rectify:
            direction = direction if h.rectified > 0.0 else exp_avg
        return param - decay(h.step_size * direction, param, h.decay), new

    return adabelief


class AdaBelief(Optimizer):
    """AdaBelief: Adam divided by the spread of the gradients around their mean.

        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m)**2 + eps
        p = p - lr * weight_decay * p - lr * (m / (1 - beta1**t)) / (sqrt(s / (1 - beta2**t)) + eps)

    State: `exp_avg` (m) and `exp_avg_var` (s). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step; 12 and 36 with `amsgrad`, which adds `max_exp_avg_var`.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of both averages, each in [0, 1), default (0.9, 0.999).
        eps: added to s in every step, and to the root, default 1e-16.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        amsgrad: divide by the root of the largest s, default False.
        rectify: the rectification of `fa.RAdam`, default False (the authors' later
            code: True).
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.AdaBelief(w, lr=0.09).step(np.array([1.0, -2.0]))
        >>> w.round(4)
        array([0.9, 1.1])
    """

    rule = adabelief()
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-16, "weight_decay": 0.0}
    defaults |= {"amsgrad": False, "rectify": False, **DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return adabelief(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        beta2, factor, rectified = group["betas"][1], 1.0, False
        root_scale = debiased_root(beta2, step)
        if group["rectify"]:
            factor, rectified = rectification(beta2, step)
            root_scale = 1.0  # the correction is in the factor
        return {
            "step_size": debiased_rate(group, step) * factor,
            "root_scale": root_scale,
            **averaging(group),
            "decay": decay_rate(group),
            "rectified": float(rectified),
        }
