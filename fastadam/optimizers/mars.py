"""MARS: H. Yuan, Y. Liu, S. Wu, X. Zhou and Q. Gu, MARS: Unleashing the Power of Variance Reduction
for Training Large Models, ICML 2025."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, squared, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .moments import averaging, debiased_rate, debiased_root


@variants
def mars(variance_reduction=False, maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)
    moments = ("exp_avg", "exp_avg_sq")
    hyper = (
        "step_size",
        "beta1_comp",
        "beta2",
        "beta2_comp",
        "root_scale",
        "eps",
        "decay",
        "gamma",
    )

    def adam(param, grad, state, h):
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        exp_avg_sq = h.beta2 * state[1] + h.beta2_comp * grad * grad
        update = h.step_size * (exp_avg / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps))
        return param - decay(update, param, h.decay), (exp_avg, exp_avg_sq)

    def corrected(grad, last_grad, h):
        return grad + h.gamma * (grad - last_grad)

    def square(param, grad, state, h):
        return (squared(corrected(-grad if maximize else grad, state[2], h)),)

    @rule(state=moments, hyper=hyper)
    def plain(param, grad, state, h):
        return adam(param, -grad if maximize else grad, state, h)

    @rule(state=(*moments, "last_grad"), hyper=hyper, sums=("squares",), prepare=square)
    def mars(param, grad, state, h, s):
        grad = -grad if maximize else grad
        scale = 1.0 / max(1.0, math.sqrt(s.squares))
        param, state = adam(param, scale * corrected(grad, state[2], h), state, h)
        return param, (*state, grad)

    return mars if variance_reduction else plain


class MARS(Optimizer):
    """MARS: AdamW with the gradient corrected by its change since the last step.

        c = g + gamma * beta1 / (1 - beta1) * (g - g_last)
        c = c / max(1, norm(c))
        m = beta1 * m + (1 - beta1) * c
        v = beta2 * v + (1 - beta2) * c**2
        p = p - lr * (weight_decay * p + (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps))

    This is MARS-AdamW with the approximate correction, as in the authors' code: `g_last` is the
    gradient of another batch, and 0 before the first step (timm: c = g in the first step). The norm
    is over one array. State: `exp_avg` (m), `exp_avg_sq` (v) and `last_grad`. A step has two passes
    over memory. Per float32 element: 12 bytes of state, 44 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 3e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.95, 0.99).
        gamma: the strength of the correction, default 0.025.
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        variance_reduction: False: AdamW, for groups of biases and normalizations, default True.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(3)
        >>> info = fa.MARS(w, lr=0.1).step(np.array([0.1, -2.0, 3.0]))
        >>> w.round(6)
        array([0.9, 1.1, 0.9])
    """

    rule = mars(variance_reduction=True)
    defaults = {"lr": 3e-3, "betas": (0.95, 0.99), "gamma": 0.025, "eps": 1e-8}
    defaults |= {"weight_decay": 0.0, "variance_reduction": True, **DECAY_OPTIONS}
    defaults |= {"maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return mars(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        beta1 = group["betas"][0]
        return {
            "step_size": debiased_rate(group, step),
            "root_scale": debiased_root(group["betas"][1], step),
            **averaging(group),
            "decay": decay_rate(group),
            "gamma": group["gamma"] * beta1 / (1 - beta1),
        }
