"""LAMB: Y. You et al., Large Batch Optimization for Deep Learning: Training BERT in 76 Minutes,
ICLR 2020."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, squared, variants
from .moments import averaging, debiased_root


@variants
def lamb(adapt=False, trust_clip=False, maximize=False):
    """The rule for these flags."""

    def direction(param, grad, state, h):
        if maximize:
            grad = -grad
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        exp_avg_sq = h.beta2 * state[1] + h.beta2_comp * grad * grad
        update = h.numerator * exp_avg / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps)
        return update + h.weight_decay * param, (exp_avg, exp_avg_sq)

    def squares(param, grad, state, h):
        update, _ = direction(param, grad, state, h)
        return squared(param), squared(update)

    def trust(s):
        known = s.param_squares > 0.0 and s.update_squares > 0.0
        ratio = math.sqrt(s.param_squares) / math.sqrt(s.update_squares) if known else 1.0
        return min(ratio, 1.0) if trust_clip else ratio

    names = {
        "state": ("exp_avg", "exp_avg_sq"),
        "hyper": ("lr", "numerator", "root_scale", "beta1_comp", "beta2", "beta2_comp", "eps")
        + ("weight_decay",),
    }

    @rule(**names)
    def plain(param, grad, state, h):
        update, state = direction(param, grad, state, h)
        return param - h.lr * update, state

    sums = ("param_squares", "update_squares")

    @rule(**names, sums=sums, over="tensor", prepare=squares, direction=direction)
    def lamb(param, update, h, s):
        return param - h.lr * trust(s) * update

    return lamb if adapt else plain


class LAMB(Optimizer):
    """LAMB: AdamW with the update of each array scaled to the norm of the array.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        u = (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
        p = p - lr * norm(p) / norm(u) * u

    The ratio of the norms, each over one array, is 1 if either norm is 0. State: `exp_avg` (m) and
    `exp_avg_sq` (v). A step has two passes over memory. Per float32 element: 8 bytes of state, 44
    bytes of traffic per step, 28 of which reach memory if an array stays in the cache between the
    passes.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-6.
        weight_decay: decay of the parameter as part of the update, default 1e-2.
        adapt: False leaves out the ratio, for groups of biases and normalizations; default True
            (apex, timm: only with weight decay).
        trust_clip: True bounds the ratio by 1 (LAMBC), default False.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.array([3.0, 4.0])
        >>> info = fa.LAMB(w, lr=0.1, weight_decay=0).step(np.array([0.01, -7.0]))
        >>> (w - [3, 4]).round(3)  # of length 0.1 * 5
        array([-0.354,  0.354])
    """

    rule = lamb(adapt=True)
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 1e-2}
    defaults |= {"adapt": True, "trust_clip": False, "bias_correction": True, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return lamb(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        (beta1, beta2), corrected = group["betas"], group["bias_correction"]
        return {
            "lr": group["lr"],
            "numerator": 1 / (1 - beta1**step) if corrected else 1.0,
            "root_scale": debiased_root(beta2, step) if corrected else 1.0,
            **averaging(group),
            "weight_decay": group["weight_decay"],
        }
