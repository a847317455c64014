"""NAdam: T. Dozat, Incorporating Nesterov Momentum into Adam, ICLR workshop 2016."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, lerp, rule, variants

CONSTANTS = ("grad_size", "avg_size", "beta1_comp", "beta2", "beta2_comp")


@variants
def nadam(maximize=False, decoupled_weight_decay=False):
    """The rule for these flags."""

    @rule(state=("exp_avg", "exp_avg_sq"), hyper=(*CONSTANTS, "root_scale", "eps", "decay"))
    def nadam(param, grad, state, h):
        if maximize:
            grad = -grad
        if not decoupled_weight_decay:
            grad = decayed(grad, param, h.decay)
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        exp_avg_sq = h.beta2 * state[1] + h.beta2_comp * grad * grad
        ahead = h.grad_size * grad + h.avg_size * exp_avg
        update = ahead / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps)
        if decoupled_weight_decay:
            update = decayed(update, param, h.decay)
        return param - update, (exp_avg, exp_avg_sq)

    return nadam


class NAdam(Optimizer):
    r"""Adam with Nesterov momentum, as PyTorch computes it.

    With the moments of [Adam][fastadam.Adam] and \(\mu_t = \beta_1 (1 - \frac12
    0.96^{t \cdot \mathrm{momentum\_decay}})\):

    $$p_t = p_{t-1} - \frac{\mathrm{lr}}{\sqrt{v_t/(1-\beta_2^t)} + \mathrm{eps}} \left(
      \frac{(1-\mu_t)\, g_t}{1 - \prod_{i \le t} \mu_i} +
      \frac{\mu_{t+1}\, m_t}{1 - \prod_{i \le t+1} \mu_i} \right)$$

    (Keras has no momentum_decay.) State: `exp_avg` and `exp_avg_sq`. Per float32 element: 8 bytes
    of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 2e-3; a number >= 0 or a function of the step.
        betas, eps, weight_decay: as for [Adam][fastadam.Adam], with the same defaults.
        momentum_decay: the rate at which \(\mu\) grows to \(\beta_1\), default 4e-3.
        decoupled_weight_decay, maximize: as for [Adam][fastadam.Adam], default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.NAdam(w, lr=0.1).step(np.array([1.0, -2.0]))
        >>> w.round(3)
        array([0.894, 1.106])
    """

    rule = nadam()
    defaults = {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {"momentum_decay": 4e-3, "decoupled_weight_decay": False, "maximize": False}
    carried = {"mu_product": 1.0}

    def variant(self, group: dict[str, Any]) -> Rule:
        return nadam(**group)

    def carry(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return {"mu_product": group["mu_product"] * _mu(group, step)}

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        mu, mu_next = _mu(group, step), _mu(group, step + 1)
        product = group["mu_product"] if "mu_product" in group else _product(group, step)
        return {
            "grad_size": lr * (1 - mu) / (1 - product),
            "avg_size": lr * mu_next / (1 - product * mu_next),
            "beta1_comp": 1 - beta1,
            "beta2": beta2,
            "beta2_comp": 1 - beta2,
            "root_scale": 1 / math.sqrt(1 - beta2**step),
            "eps": group["eps"],
            "decay": lr * decay if group["decoupled_weight_decay"] else decay,
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
