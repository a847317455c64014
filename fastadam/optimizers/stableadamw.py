"""StableAdamW: M. Wortsman et al., Stable and Low-Precision Training for Large-Scale
Vision-Language Models, NeurIPS 2023."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, squared, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

CONSTANTS = ("lr", "beta1_comp", "beta2_comp", "eps", "eps_squared", "decay")


@variants
def stableadamw(maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    def ratio(param, grad, state, h):
        exp_avg_sq = lerp(state[1], grad * grad, h.beta2_comp)
        return (squared(grad / math.sqrt(max(exp_avg_sq, h.eps_squared))),)

    @rule(
        state=("exp_avg", "exp_avg_sq"),
        hyper=CONSTANTS,
        sums=("ratios",),
        over="tensor",
        prepare=ratio,
    )
    def stableadamw(param, grad, state, h, s):
        if maximize:
            grad = -grad
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        exp_avg_sq = lerp(state[1], grad * grad, h.beta2_comp)
        scale = 1.0 / max(1.0, math.sqrt(s.ratios / s.size))
        update = scale * h.lr * (exp_avg / (math.sqrt(exp_avg_sq) + h.eps))
        return param - decay(update, param, scale * h.decay), (exp_avg, exp_avg_sq)

    return stableadamw


class StableAdamW(Optimizer):
    """StableAdamW: AdamW that reduces the learning rate where the second moment lags behind.

        b1, b2 = 1 - (1 - beta1) / (1 - beta1**t), 1 - (1 - beta2) / (1 - beta2**t)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        lr_t = lr / max(1, sqrt(mean(g**2 / max(v, eps**2))))
        p = p - lr_t * weight_decay * p - lr_t * m / (sqrt(v) + eps)

    The mean is over one array. Moments are debiased by their decay rates, so they are not those of
    AdamW. State: `exp_avg` (m) and `exp_avg_sq` (v). A step has two passes over memory.
    Per float32 element: 8 bytes of state, 36 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.99).
        eps: added to the root, and the least root in the mean, default 1e-8 (optimi: 1e-6).
        weight_decay: decay of the parameter in units of `lr_t`, default 1e-2.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(3)
        >>> opt = fa.StableAdamW(w, lr=0.1, betas=(0.0, 0.99), weight_decay=0)
        >>> infos = [opt.step(np.full(3, g)) for g in (1.0, 100.0)]  # a spike: lr / 1.41
        >>> w.round(4)
        array([0.8, 0.8, 0.8])
    """

    rule = stableadamw()
    defaults = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 1e-2}
    defaults |= {**DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return stableadamw(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group, independent=False)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        return {
            "lr": group["lr"],
            "beta1_comp": (1 - beta1) / (1 - beta1**step),
            "beta2_comp": (1 - beta2) / (1 - beta2**step),
            "eps": group["eps"],
            "eps_squared": group["eps"] ** 2,
            "decay": decay_rate(group),
        }
