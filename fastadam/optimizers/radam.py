"""RAdam: L. Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, ICLR 2020."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, lerp, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .moments import averaging, debiased_rate

CONSTANTS = ("step_size", "beta1_comp", "beta2", "beta2_comp", "eps", "decay", "rectified")


@variants
def radam(maximize=False, decoupled_weight_decay=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(state=("exp_avg", "exp_avg_sq"), hyper=CONSTANTS)
    def radam(param, grad, state, h):
        exp_avg, exp_avg_sq = state
        if maximize:
            grad = -grad
        if not decoupled_weight_decay:
            grad = decayed(grad, param, h.decay)
        exp_avg = lerp(exp_avg, grad, h.beta1_comp)
        exp_avg_sq = h.beta2 * exp_avg_sq + h.beta2_comp * grad * grad
        adapted = exp_avg / (math.sqrt(exp_avg_sq) + h.eps)
        update = h.step_size * (adapted if h.rectified > 0.0 else exp_avg)
        if decoupled_weight_decay:
            update = decay(update, param, h.decay)
        return param - update, (exp_avg, exp_avg_sq)

    return radam


class RAdam(Optimizer):
    """Rectified Adam, as PyTorch computes it.

    With the corrected mean m_hat and the second moment v of `fa.Adam`, with
    `rho = 2 / (1 - beta2) - 1` and `rho_t = rho - 2 * t * beta2**t / (1 - beta2**t)`:

        r = sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
        p = p - lr * m_hat * r * sqrt(1 - beta2**t) / (sqrt(v) + eps)

    if rho_t > 5, and `p = p - lr * m_hat` before, in the first steps. State: `exp_avg` (m) and
    `exp_avg_sq` (v). Per float32 element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        decoupled_weight_decay: weight decay as in AdamW, default False.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.RAdam(w, lr=0.5).step(np.array([1.0, -2.0]))
        >>> w
        array([0.5, 2. ])
    """

    rule = radam()
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {"decoupled_weight_decay": False, **DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return radam(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        decay = group["weight_decay"]
        factor, rectified = rectification(group["betas"][1], step)
        return {
            "step_size": debiased_rate(group, step) * factor,
            **averaging(group),
            "decay": decay_rate(group) if group["decoupled_weight_decay"] else decay,
            "rectified": float(rectified),
        }


def rectification(beta2: float, step: int) -> tuple[float, bool]:
    """The factor r of a step with the correction of v, and True; or 1 and False before rho > 5."""
    correction2 = 1 - beta2**step
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / correction2
    if rho <= 5:
        return 1.0, False
    above = (rho - 4) * (rho - 2) * rho_inf
    return math.sqrt(correction2 * above / ((rho_inf - 4) * (rho_inf - 2) * rho)), True
