"""Adamax: D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015."""

from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, lerp, rule, variants
from .moments import debiased_rate


@variants
def adamax(maximize=False):
    """The rule for these flags."""

    @rule(
        state=("exp_avg", "exp_inf"),
        hyper=("step_size", "beta1_comp", "beta2", "eps", "weight_decay"),
    )
    def adamax(param, grad, state, h):
        if maximize:
            grad = -grad
        grad = decayed(grad, param, h.weight_decay)
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        before = h.beta2 * state[1]
        exp_inf = max(abs(grad) + h.eps, before) if before == before else before  # NaN stays
        return param - h.step_size * (exp_avg / exp_inf), (exp_avg, exp_inf)

    return adamax


class Adamax(Optimizer):
    """Adamax, Adam with the infinity norm, as PyTorch computes it (section 7.1 of the paper).

    With the gradient g, to which `weight_decay` times the parameter is added:

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, abs(g) + eps)
        p = p - lr / (1 - beta1**t) * m / u

    State: `exp_avg` (m) and `exp_inf` (u). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 2e-3; a number >= 0 or a function of the step.
        betas: decay rates, each in [0, 1), default (0.9, 0.999).
        eps: added to the absolute value of the gradient, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Adamax(w, lr=0.5).step(np.array([3.0, -1.0]))
        >>> w.round(6)
        array([0.5, 1.5])
    """

    rule = adamax()
    defaults = {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {"maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return adamax(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        return {
            "step_size": debiased_rate(group, step),
            "beta1_comp": 1 - beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
        }
