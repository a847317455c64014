"""NAdam: T. Dozat, Incorporating Nesterov Momentum into Adam, ICLR workshop 2016."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, lerp, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate
from .moments import averaging, debiased_root

CONSTANTS = ("grad_size", "avg_size", "beta1_comp", "beta2", "beta2_comp")


@variants
def nadam(maximize=False, decoupled_weight_decay=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(state=("exp_avg", "exp_avg_sq"), hyper=(*CONSTANTS, "root_scale", "eps", "decay"))
    def nadam(param, grad, state, h):
        if maximize:
            grad = -grad
        if not decoupled_weight_decay:
            grad = decayed(grad, param, h.decay)
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        exp_avg_sq = h.beta2 * state[1] + h.beta2_comp * grad * grad
        lookahead = h.grad_size * grad + h.avg_size * exp_avg
        update = lookahead / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps)
        if decoupled_weight_decay:
            update = decay(update, param, h.decay)
        return param - update, (exp_avg, exp_avg_sq)

    return nadam


class NAdam(Optimizer):
    """Adam with Nesterov momentum, as PyTorch computes it.

    With the moments m and v of `fa.Adam` and mu(t), which is
    `beta1 * (1 - 0.96**(t * momentum_decay) / 2)`, `product(t)` being mu(1) * ... * mu(t):

        now = (1 - mu(t)) * g / (1 - product(t))
        later = mu(t + 1) * m / (1 - product(t + 1))
        p = p - lr * (now + later) / (sqrt(v / (1 - beta2**t)) + eps)

    (Keras has no momentum_decay.) State: `exp_avg` and `exp_avg_sq`. Per float32 element: 8 bytes
    of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 2e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        momentum_decay: the rate at which mu grows to beta1, default 4e-3.
        decoupled_weight_decay: decay the parameter instead, as AdamW does, default False.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.NAdam(w, lr=0.1).step(np.array([1.0, -2.0]))
        >>> w.round(3)
        array([0.894, 1.106])
    """

    rule = nadam()
    defaults = {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {"momentum_decay": 4e-3, "decoupled_weight_decay": False, **DECAY_OPTIONS}
    defaults |= {"maximize": False}
    carried = {"mu_product": 1.0}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return nadam(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def carry(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return {"mu_product": group["mu_product"] * _mu(group, step)}

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        lr, decay = group["lr"], group["weight_decay"]
        mu, mu_next = _mu(group, step), _mu(group, step + 1)
        product = group["mu_product"] if "mu_product" in group else _product(group, step)
        return {
            "grad_size": lr * (1 - mu) / (1 - product),
            "avg_size": lr * mu_next / (1 - product * mu_next),
            "root_scale": debiased_root(group["betas"][1], step),
            **averaging(group),
            "decay": decay_rate(group) if group["decoupled_weight_decay"] else decay,
        }


def _mu(group: dict[str, Any], step: int) -> float:
    return float(group["betas"][0] * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"])))


def _product(group: dict[str, Any], step: int) -> float:
    """The result of `carry` after these steps, accurate as far as it changes 1 - product."""
    product = 1.0
    for t in range(1, step + 1):
        product *= _mu(group, t)
        if product < 1e-18:
            break
    return product
