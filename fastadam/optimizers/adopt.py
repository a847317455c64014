"""ADOPT: S. Taniguchi et al., ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal
Rate, NeurIPS 2024."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, lerp, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

CONSTANTS = ("lr", "beta1_comp", "beta2", "beta2_comp", "eps", "clip", "decay", "later")


@variants
def adopt(clipped=False, maximize=False, decoupled_weight_decay=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(state=("exp_avg", "exp_avg_sq"), hyper=CONSTANTS)
    def adopt(param, grad, state, h):
        exp_avg, exp_avg_sq = state
        if maximize:
            grad = -grad
        if not decoupled_weight_decay:
            grad = decayed(grad, param, h.decay)
        normed = grad / max(math.sqrt(exp_avg_sq), h.eps)  # the root before this gradient
        if clipped:
            normed = min(max(normed, -h.clip), h.clip)
        exp_avg = lerp(exp_avg, normed if h.later > 0.0 else 0.0, h.beta1_comp)
        exp_avg_sq = h.beta2 * exp_avg_sq + h.beta2_comp * grad * grad
        update = h.lr * exp_avg
        if decoupled_weight_decay:
            update = decay(update, param, h.decay)
        return (param - update if h.later > 0.0 else param), (exp_avg, exp_avg_sq)

    return adopt


class ADOPT(Optimizer):
    """ADOPT: Adam that normalizes the gradient by the previous second moment, then averages.

    The first step only sets `v = g**2`. From t = 2:

        n = g / max(sqrt(v), eps), clipped to +-(t - 1)**clip_exp
        m = beta1 * m + (1 - beta1) * n
        p = p - lr * m
        v = beta2 * v + (1 - beta2) * g**2

    There is no bias correction. State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8
    bytes of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.9999).
        eps: the least value of the root, default 1e-6.
        clip_exp: exponent of the bound of n, default 0.25 (timm 0.333); None: no bound.
        weight_decay: coupled (L2) decay, default 0.
        decoupled_weight_decay: decay the parameter instead, as AdamW does, default False.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> opt = fa.ADOPT(w, lr=0.5)
        >>> for _ in range(2):
        ...     info = opt.step(np.array([1.0, -2.0]))
        >>> w
        array([0.95, 1.05])
    """

    rule = adopt(clipped=True)
    defaults = {"lr": 1e-3, "betas": (0.9, 0.9999), "eps": 1e-6, "clip_exp": 0.25}
    defaults |= {"weight_decay": 0.0, "decoupled_weight_decay": False, **DECAY_OPTIONS}
    defaults |= {"maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return adopt(**group, clipped=group["clip_exp"] is not None)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)
        if group["clip_exp"] is not None and group["clip_exp"] < 0:
            raise ValueError(f"clip_exp={group['clip_exp']!r} must be >= 0, or None for no bound")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        (beta1, beta2), decay, first = group["betas"], group["weight_decay"], step == 1
        return {
            "lr": group["lr"],
            "beta1_comp": 1 - beta1,
            "beta2": 0.0 if first else beta2,
            "beta2_comp": 1.0 if first else 1 - beta2,
            "eps": group["eps"],
            "clip": float((step - 1) ** (group["clip_exp"] or 0.0)),
            "decay": decay_rate(group) if group["decoupled_weight_decay"] else decay,
            "later": float(not first),
        }
