"""Adagrad: J. Duchi, E. Hazan and Y. Singer, Adaptive Subgradient Methods, JMLR 2011."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, rule, variants


@variants
def adagrad(maximize=False, eps_in_sqrt=False):
    """The rule for these flags."""

    @rule(state=("sum",), hyper=("step_size", "eps", "weight_decay"))
    def adagrad(param, grad, state, h):
        if maximize:
            grad = -grad
        grad = decayed(grad, param, h.weight_decay)
        sum_sq = state[0] + grad * grad
        root = math.sqrt(sum_sq + h.eps) if eps_in_sqrt else math.sqrt(sum_sq) + h.eps
        return param - h.step_size * (grad / root), (sum_sq,)

    return adagrad


@rule(state=("sum",))
def unchanged(param, grad, state, h):
    """Steps without a gradient change nothing."""
    return param, state


class Adagrad(Optimizer):
    """Adagrad, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        s = s + g**2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Keras and optax have eps inside the root: `eps_in_sqrt`; their sum starts at 0.1. State:
    `sum` (s). Per float32 element: 4 bytes of state, 20 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        lr_decay: decay rate of the learning rate, default 0.
        weight_decay: coupled (L2) decay, default 0.
        initial_accumulator_value: initial value of the sum, default 0.
        eps: added to the root, default 1e-10.
        eps_in_sqrt: add eps to the number under the root instead, default False.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Adagrad(w, lr=0.5).step(np.array([3.0, -1.0]))
        >>> w
        array([0.5, 1.5])
    """

    rule = adagrad()
    defaults = {"lr": 1e-2, "lr_decay": 0.0, "weight_decay": 0.0}
    defaults |= {"initial_accumulator_value": 0.0, "eps": 1e-10, "eps_in_sqrt": False}
    defaults |= {"maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return adagrad(group)

    def initial(self, group: dict[str, Any]) -> dict[str, float]:
        return {"sum": group["initial_accumulator_value"]}

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return {
            "step_size": group["lr"] / (1 + (step - 1) * group["lr_decay"]),
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
        }

    def idle(self, group: dict[str, Any]) -> Rule:
        if group["weight_decay"]:
            raise ValueError("lazy='exact' has no formula for weight_decay; set it to 0")
        return unchanged
