"""Adam: D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.

AMSGrad: S. J. Reddi, S. Kale and S. Kumar, On the Convergence of Adam and Beyond, ICLR 2018.
"""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, lerp, rule, sign, variants
from .cautious import AGREEING, agreed, agreement, cautiously
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

CONSTANTS = ("step_size", "beta1_comp", "beta2", "beta2_comp", "root_scale", "eps", "decay", "l1")


@variants
def adam(
    amsgrad=False,
    maximize=False,
    decoupled_weight_decay=False,
    l1=False,
    cautious_weight_decay=False,
    cautious=False,
):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)
    states = ("exp_avg", "exp_avg_sq") + ("max_exp_avg_sq",) * amsgrad

    def moments(param, grad, state, h):
        if maximize:
            grad = -grad
        if not decoupled_weight_decay:
            grad = decayed(grad, param, h.decay)
        if l1:
            grad = grad + h.l1 * sign(param)
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        exp_avg_sq = h.beta2 * state[1] + h.beta2_comp * grad * grad
        new = (exp_avg, exp_avg_sq)
        if amsgrad:
            new = new + (max(exp_avg_sq, state[2]),)
        update = h.step_size * (exp_avg / (math.sqrt(new[-1]) * h.root_scale + h.eps))
        return update, grad, new

    def moved(param, update, h):
        if decoupled_weight_decay:
            update = decay(update, param, h.decay)
        return param - update

    @rule(state=states, hyper=CONSTANTS)
    def adam(param, grad, state, h):
        update, _, new = moments(param, grad, state, h)
        return moved(param, update, h), new

    def agreeing(param, grad, state, h):
        _, grad, new = moments(param, grad, state, h)
        return agreement(new[0], grad)

    def agreed_update(param, grad, state, h):
        update, grad, new = moments(param, grad, state, h)
        return agreed(update, new[0], grad), new

    names = {"state": states, "hyper": CONSTANTS, "sums": AGREEING}

    @rule(**names, prepare=agreeing, direction=agreed_update)
    def cautious_adam(param, update, h, s):
        return moved(param, cautiously(update, s), h)

    return cautious_adam if cautious else adam


@variants
def decaying(amsgrad=False):
    """The rule of steps without a gradient: moments decay; what they would move is left out."""
    names = ("exp_avg", "exp_avg_sq") + ("max_exp_avg_sq",) * amsgrad

    @rule(state=names, hyper=("idle_keep", "idle_beta1", "idle_beta2"))
    def decaying(param, grad, state, h):
        new = (state[0] * h.idle_beta1, state[1] * h.idle_beta2)
        return param * h.idle_keep, new + state[2:]

    return decaying


class Adam(Optimizer):
    """Adam, as PyTorch computes it.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step; 12 and 36 with `amsgrad`, which adds `max_exp_avg_sq`.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay: `weight_decay * p` is added to the gradient, default 0.
        l1: L1 penalty: `l1 * sign(p)` is added to the gradient, default 0.
        amsgrad: divide by the root of the largest raw v (optax: corrected), default False.
        maximize: maximize the objective, default False.
        decoupled_weight_decay: weight decay as in `fa.AdamW`, default False.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`, if the
            decay is decoupled.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        eps_mode: "torch", or "hat": eps is added before the correction of the root, as in Keras.
        cautious: True updates only elements with `m * g > 0`, in another pass over memory, and
            divides their update by the share of these in the array, at least 1e-3 (K. Liang et
            al., Cautious Optimizers, arXiv 2024), default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(3, np.float32)
        >>> info = fa.Adam(w, lr=0.1).step(np.array([1, -2, 3], np.float32))
        >>> w
        array([0.9, 1.1, 0.9], dtype=float32)
    """

    rule = adam()
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {"l1": 0.0, "amsgrad": False, "maximize": False, "decoupled_weight_decay": False}
    defaults |= {**DECAY_OPTIONS, "bias_correction": True, "eps_mode": "torch"}
    defaults |= {"cautious": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return adam(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        (beta1, beta2), decay = group["betas"], group["weight_decay"]
        step_size, root_scale = group["lr"], 1.0
        if group["bias_correction"]:
            step_size /= 1 - beta1**step
            root_scale /= math.sqrt(1 - beta2**step)
        if group["weight_decay_mode"] != "AdamW":
            decay = decay_rate(group)
        elif group["decoupled_weight_decay"]:  # the same without a call, for the usual case
            decay *= group["lr"]
        if group["eps_mode"] == "hat":
            step_size, root_scale = step_size / root_scale, 1.0
        return {
            "step_size": step_size,
            "beta1_comp": 1 - beta1,
            "beta2": beta2,
            "beta2_comp": 1 - beta2,
            "root_scale": root_scale,
            "eps": group["eps"],
            "decay": decay,
            "l1": group["l1"],
        }

    def idle(self, group: dict[str, Any]) -> Rule:
        coupled = group["weight_decay"] and not group["decoupled_weight_decay"]
        if coupled or group["l1"]:
            raise ValueError(
                "lazy='exact' has no formula for weight_decay or l1 in the gradient; set both to 0,"
                " or decoupled_weight_decay=True"
            )
        return decaying(group)

    def idle_hyper(self, group: dict[str, Any], steps: int) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        keep = 1 - (decay_rate(group) if group["decoupled_weight_decay"] else 0.0)
        return {"idle_keep": keep**steps, "idle_beta1": beta1**steps, "idle_beta2": beta2**steps}
