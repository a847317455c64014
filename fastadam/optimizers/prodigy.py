"""Prodigy: K. Mishchenko and A. Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner,
ICML 2024."""

import math
from collections.abc import Mapping
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

MOMENTS = ("beta1", "first_size", "beta2", "second_size", "beta3", "travel_size", "distance_size")
UPDATE = ("dlr", "decay", "eps", "starts")
ESTIMATE = ("d", "d_max", "d_coef", "growth_rate", "numerator", "at_d0")


@variants
def prodigy(decoupled_weight_decay=False, maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    def gradient(param, grad, h):
        grad = -grad if maximize else grad
        return grad if decoupled_weight_decay else decayed(grad, param, h.decay)

    def travelled(param, grad, state, h):
        start = param if h.starts > 0.0 else state[3]
        grad = gradient(param, grad, h)
        total = h.beta3 * state[2] + h.travel_size * grad
        return h.distance_size * grad * (start - param), abs(total)

    def estimate(h, s):
        known = s.denominator > 0.0
        d_hat = h.d_coef * (h.numerator + s.numerator) / s.denominator if known else h.d
        d = max(h.d, d_hat) if h.at_d0 > 0.0 else h.d
        return min(max(h.d_max, d_hat), d * h.growth_rate)

    @rule(
        state=("exp_avg", "exp_avg_sq", "s", "p0"),
        hyper=MOMENTS + UPDATE + ESTIMATE,
        exact=True,
        sums=("numerator", "denominator"),
        over="all",
        prepare=travelled,
    )
    def prodigy(param, grad, state, h, s):
        start = param if h.starts > 0.0 else state[3]
        grad = gradient(param, grad, h)
        exp_avg = h.beta1 * state[0] + h.first_size * grad
        exp_avg_sq = h.beta2 * state[1] + h.second_size * grad * grad
        total = h.beta3 * state[2] + h.travel_size * grad
        root = math.sqrt(exp_avg_sq) + estimate(h, s) * h.eps
        update = h.dlr * exp_avg / root if root > 0.0 else 0.0
        if decoupled_weight_decay:
            update = decay(update, param, h.decay)
        return param - update, (exp_avg, exp_avg_sq, total, start)

    return prodigy


class Prodigy(Optimizer):
    """Prodigy: Adam that estimates its learning rate from the distance to the initial point.

        m = beta1 * m + d * (1 - beta1) * g
        v = beta2 * v + d**2 * (1 - beta2) * g**2
        s = beta3 * s + d**2 / d0 * lr * g
        r = beta3 * r + d**2 / d0 * lr * sum(g * (p0 - p))
        p = p - d * lr * (weight_decay * p + m / (sqrt(v) + d_next * eps))
        d_next = max(d, d_coef * r / sum(abs(s)))

    `d` begins at d0 and grows; the sums are over all parameters, p0 is where they began. As in
    prodigyopt, beta3 is sqrt(beta2), and a step with lr = 0 changes none of these; for beta1 = 0
    prodigyopt scales g by d_next, here by d. State: `exp_avg` (m), `exp_avg_sq` (v), `s` and `p0`;
    `d`, `d_max` and `d_numerator` (r) are carried. A step has two passes over memory. Per float32
    element: 16 bytes of state, 60 bytes of traffic per step. On a GPU each step waits for the sums.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: factor of d, default 1.0; a number >= 0 or a function of the step, such as a decay.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, in units of d, default 1e-8.
        weight_decay: decay of the parameter, default 0.
        decoupled_weight_decay: False adds the decay to the gradient, default True.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        bias_correction: True scales d * lr as Adam does its moments, default False.
        safeguard_warmup: True leaves lr out of s, for a warm-up of lr, default False.
        d0: the first d, default 1e-6; rarely changed.
        d_coef: factor of the estimate of d, default 1.0; the usual way to tune the step.
        growth_rate: the largest growth of d in a step as a factor (1.02 acts as a warm-up),
            default None or infinity: no limit.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.full(3, 10.0)
        >>> opt = fa.Prodigy(w)
        >>> infos = [opt.step(2 * w) for _ in range(200)]
        >>> bool(abs(w).max() < 0.1)
        True
    """

    rule = prodigy(decoupled_weight_decay=True)
    defaults = {"lr": 1.0, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {"decoupled_weight_decay": True, **DECAY_OPTIONS, "bias_correction": False}
    defaults |= {"safeguard_warmup": False, "d0": 1e-6, "d_coef": 1.0, "growth_rate": None}
    defaults |= {"maximize": False}
    carried = {"d": 0.0, "d_max": 0.0, "d_numerator": 0.0}  # d and d_max are d0 while they are 0

    def variant(self, group: dict[str, Any]) -> Rule:
        return prodigy(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group, independent=False)
        for name in ("d0", "d_coef", "growth_rate"):
            if group[name] is not None and not group[name] > 0:
                raise ValueError(f"{name}={group[name]!r} must be above 0")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        (beta1, beta2), d0, d = group["betas"], group["d0"], group["d"] or group["d0"]
        size, decay = d, group["weight_decay"]
        if group["bias_correction"]:
            size *= math.sqrt(1 - beta2**step) / (1 - beta1**step)
        rate = size * group["lr"]
        travel = d / d0 * (d if group["safeguard_warmup"] else rate)
        if not group["lr"]:  # a step that moves nothing tells nothing about d
            beta1, beta2, travel = 1.0, 1.0, 0.0
        return {
            "beta1": beta1,
            "first_size": d * (1 - beta1),
            "beta2": beta2,
            "second_size": d * d * (1 - beta2),
            "beta3": math.sqrt(beta2),
            "distance_size": d / d0 * rate,
            "travel_size": travel,
            "dlr": rate,
            "decay": size * decay_rate(group) if group["decoupled_weight_decay"] else decay,
            "eps": group["eps"],
            "d": d,
            "d_max": group["d_max"] or d0,
            "d_coef": group["d_coef"],
            "growth_rate": group["growth_rate"] or math.inf,
            "numerator": math.sqrt(beta2) * group["d_numerator"],
            "starts": float(step == 1),
            "at_d0": float(d == d0),
        }

    def carry_sums(
        self, group: dict[str, Any], step: int, sums: Mapping[str, float]
    ) -> dict[str, float]:
        d0, d = group["d0"], group["d"] or group["d0"]
        numerator = math.sqrt(group["betas"][1]) * group["d_numerator"] + sums["numerator"]
        unmoved = not group["lr"] and not sums["numerator"]  # in all groups
        if unmoved or not sums["denominator"] > 0:
            return {"d": d, "d_max": group["d_max"] or d0, "d_numerator": group["d_numerator"]}
        d_hat = group["d_coef"] * numerator / sums["denominator"]
        most = max(group["d_max"] or d0, d_hat)
        d = min(most, (max(d, d_hat) if d == d0 else d) * (group["growth_rate"] or math.inf))
        return {"d": d, "d_max": most, "d_numerator": numerator}
