"""Adafactor: N. Shazeer and M. Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory
Cost, ICML 2018, algorithms 4 and 5, as PyTorch implements them."""

import math
from functools import cache
from typing import Any

from ..optimizer import Optimizer
from ..rules import Factors, Rule, lerp, rule, squared
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

CONSTANTS = ("relative_step", "beta2_comp", "eps1", "most", "eps2", "d", "decay")
LARGEST = 3e38  # of float32, nearly


@cache
def adafactor(eps: bool = True, maximize: bool = False, cautious_weight_decay: bool = False) -> Rule:
    """The rule for these flags; without `eps` the least variance is that of the arithmetic."""
    decay = decay_function(cautious_weight_decay)

    def epsilon(h):
        return h.eps1 if eps else abs(3.0 * (4.0 / 3.0 - 1.0) - 1.0)  # that of rounding

    def bounded(root, h):
        return min(root, h.most if eps else 1.0 / epsilon(h))

    def scaled(grad, inverse_root, h):
        return (-grad if maximize else grad) * bounded(inverse_root, h)

    def squares(param, update):
        return squared(param), squared(update)

    def updated(param, update, h, s):
        size = max(h.eps2, math.sqrt(s.param_squares / s.size))
        step = h.relative_step * size / max(1.0, math.sqrt(s.update_squares / s.size) / h.d)
        return param - decay(step * update, param, h.decay)

    def averaged(number, mean, h):
        return lerp(number, mean, h.beta2_comp)

    def row_factor(row_var, mean, h):
        return 1.0 / math.sqrt(row_var / max(mean, epsilon(h)))

    def column_factor(col_var, h):
        return 1.0 / math.sqrt(col_var)

    def term(grad, h):
        return squared(grad)

    def factored(grad, state, h):
        return scaled(grad, state[0] * state[1], h)

    def factored_squares(param, grad, state, h):
        return squares(param, factored(grad, state, h))

    def averaged_variance(grad, state, h):
        return averaged(state[0], grad * grad, h)

    def own_squares(param, grad, state, h):
        variance = averaged_variance(grad, state, h)
        return squares(param, scaled(grad, 1.0 / math.sqrt(variance), h))

    sums = {"hyper": CONSTANTS, "sums": ("param_squares", "update_squares"), "over": "tensor"}
    factors = Factors(term, averaged, row_factor, column_factor)

    @rule(state=("row_var", "col_var"), prepare=factored_squares, factors=factors, **sums)
    def adafactor_matrices(param, grad, state, h, s):
        return updated(param, factored(grad, state, h), h, s), state

    @rule(state=("variance",), prepare=own_squares, matrices=adafactor_matrices, **sums)
    def adafactor(param, grad, state, h, s):
        variance = averaged_variance(grad, state, h)
        update = scaled(grad, 1.0 / math.sqrt(variance), h)
        return updated(param, update, h, s), (variance,)

    return adafactor


class Adafactor(Optimizer):
    """Adafactor

    """

    rule = adafactor()
    defaults = {"lr": 1e-2, "beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0}
    defaults |= {"weight_decay": 0.0, **DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        known = group["eps"][0] is not None
        return adafactor(known, group["maximize"], group["cautious_weight_decay"])

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)
        if group["beta2_decay"] > 0:
            raise ValueError(f"beta2_decay={group['beta2_decay']!r} must be at most 0")
        if group["d"] < 1:
            raise ValueError(f"d={group['d']!r} must be at least 1")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        eps1, eps2 = group["eps"]
        eps1 = eps1 or 0.0
        return {
            "relative_step": min(group["lr"], 1 / math.sqrt(step)),
            "beta2_comp": step ** group["beta2_decay"],
            "eps1": eps1,
            "most": 1 / eps1 if eps1 * LARGEST > 1 else math.inf,
            "eps2": eps2,
            "d": group["d"],
            "decay": decay_rate(group),
        }
