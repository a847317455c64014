"""Adadelta: M. D. Zeiler, ADADELTA: An Adaptive Learning Rate Method, arXiv 2012."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, rule, variants


@variants
def adadelta(maximize=False):
    """The rule for these flags."""

    @rule(state=("square_avg", "acc_delta"), hyper=("lr", "rho", "rho_comp", "eps", "weight_decay"))
    def adadelta(param, grad, state, h):
        square_avg, acc_delta = state
        if maximize:
            grad = -grad
        grad = decayed(grad, param, h.weight_decay)
        square_avg = h.rho * square_avg + h.rho_comp * grad * grad
        delta = math.sqrt(acc_delta + h.eps) / math.sqrt(square_avg + h.eps) * grad
        acc_delta = h.rho * acc_delta + h.rho_comp * delta * delta
        return param - h.lr * delta, (square_avg, acc_delta)

    return adadelta


class Adadelta(Optimizer):
    """Adadelta, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        v = rho * v + (1 - rho) * g**2
        d = g * sqrt(u + eps) / sqrt(v + eps)
        u = rho * u + (1 - rho) * d**2
        p = p - lr * d

    State: `square_avg` (v) and `acc_delta` (u). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: factor on the update, default 1.0, as in the paper (Keras 1e-3).
        rho: decay rate of both averages, in [0, 1), default 0.9.
        eps: added inside both roots, default 1e-6.
        weight_decay: coupled (L2) decay, default 0.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Adadelta(w).step(np.array([1.0, -1.0]))
        >>> w.round(4)
        array([0.9968, 1.0032])
    """

    rule = adadelta()
    defaults = {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return adadelta(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        names = ("lr", "rho", "eps", "weight_decay")
        return {name: group[name] for name in names} | {"rho_comp": 1 - group["rho"]}
