"""AdEMAMix: M. Pagliardini, P. Ablin and D. Grangier, The AdEMAMix Optimizer: Better, Faster,
Older, ICLR 2025."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .moments import averaging, debiased_rate, debiased_root

CONSTANTS = ("fast_size", "slow_size", "beta1_comp", "beta3_comp", "beta2", "beta2_comp")


@variants
def ademamix(fast=False, maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)
    names = ("exp_avg_fast",) * fast + ("exp_avg_slow", "exp_avg_sq")

    @rule(state=names, hyper=(*CONSTANTS, "root_scale", "eps", "decay"))
    def ademamix(param, grad, state, h):
        if maximize:
            grad = -grad
        exp_avg_slow = lerp(state[-2], grad, h.beta3_comp)
        exp_avg_sq = h.beta2 * state[-1] + h.beta2_comp * grad * grad
        new = (exp_avg_slow, exp_avg_sq)
        exp_avg_fast = grad
        if fast:
            exp_avg_fast = lerp(state[0], grad, h.beta1_comp)
            new = (exp_avg_fast,) + new
        mixed = h.fast_size * exp_avg_fast + h.slow_size * exp_avg_slow
        update = mixed / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps)
        return param - decay(update, param, h.decay), new

    return ademamix


class AdEMAMix(Optimizer):
    """Adam with a second, slower average of the gradients, and decoupled weight decay.

        m1 = beta1 * m1 + (1 - beta1) * g
        m2 = beta3(t) * m2 + (1 - beta3(t)) * g
        v = beta2 * v + (1 - beta2) * g**2
        u = (m1 / (1 - beta1**t) + alpha(t) * m2) / (sqrt(v / (1 - beta2**t)) + eps)
        p = p - lr * weight_decay * p - lr * u

    m2 has no bias correction. `alpha(t)` is `alpha * min(t / alpha_warmup, 1)`. `beta3(t)` grows
    from beta1 to beta3 in `beta3_warmup` steps, so that the half-life of the average grows
    linearly. State: `exp_avg_fast` (m1; none if beta1 is 0), `exp_avg_slow` (m2) and `exp_avg_sq`
    (v). Per float32 element: 12 bytes of state, 36 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of m1, v and m2, each in [0, 1), default (0.9, 0.999, 0.9999).
        alpha: weight of the slow average, >= 0, default 2, as in the authors' code.
        beta3_warmup: steps in which beta3 grows, default None: none.
        alpha_warmup: steps in which alpha grows, default None: none.
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.AdEMAMix(w, lr=0.1).step(np.array([1.0, -2.0]))
        >>> w.round(4)
        array([0.9, 1.1])
    """

    rule = ademamix(fast=True)
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999, 0.9999), "alpha": 2.0, "beta3_warmup": None}
    defaults |= {"alpha_warmup": None, "eps": 1e-8, "weight_decay": 0.0, **DECAY_OPTIONS}
    defaults |= {"maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return ademamix(**group, fast=group["betas"][0] > 0)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        lr, (beta1, _, beta3) = group["lr"], group["betas"]
        warm, slow = group["alpha_warmup"], group["beta3_warmup"]
        if slow and step < slow:
            beta3 = _of_half_life(
                _half_life(beta1) + step / slow * (_half_life(beta3) - _half_life(beta1))
            )
        return {
            "fast_size": debiased_rate(group, step),
            "slow_size": lr * group["alpha"] * (min(step / warm, 1) if warm else 1),
            "beta3_comp": 1 - beta3,
            "root_scale": debiased_root(group["betas"][1], step),
            **averaging(group),
            "decay": decay_rate(group),
        }


def _half_life(beta: float) -> float:
    """Equation (f) of appendix A.1; -1 for beta 0."""
    return math.log(0.5) / math.log(beta) - 1 if beta else -1.0


def _of_half_life(steps: float) -> float:
    """The beta of a half-life."""
    return float(0.5 ** (1 / (steps + 1))) if steps > -1 else 0.0
