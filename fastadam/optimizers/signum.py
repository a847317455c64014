"""Signum: J. Bernstein, Y.-X. Wang, K. Azizzadenesheli and A. Anandkumar, signSGD: Compressed
Optimisation for Non-Convex Problems, ICML 2018."""

from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, sign, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate


@variants
def signum(momentum=False, maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(state=("momentum_buffer",) * momentum, hyper=("lr", "momentum_comp", "decay"))
    def signum(param, grad, state, h):
        if maximize:
            grad = -grad
        if momentum:
            grad = lerp(state[0], grad, h.momentum_comp)
            state = (grad,)
        return param - decay(h.lr * sign(grad), param, h.decay), state

    return signum


class Signum(Optimizer):
    """Signum: the sign of the momentum, with decoupled weight decay; SignSGD without momentum.

        m = momentum * m + (1 - momentum) * g
        p = p - lr * weight_decay * p - lr * sign(m)

    With `momentum=0`, m is g and there is no state: SignSGD. The sign of zero is zero. State:
    `momentum_buffer` (m). Per float32 element: 4 bytes of state, 20 bytes of traffic per step; 0
    and 12 without momentum.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, the size of each element's update, default 1e-3.
        momentum: decay rate of the average, in [0, 1), default 0.9.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(3)
        >>> info = fa.Signum(w, lr=0.5).step(np.array([3.0, -0.1, 0.0]))
        >>> w
        array([0.5, 1.5, 1. ])
    """

    rule = signum(momentum=True)
    defaults = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0, **DECAY_OPTIONS}
    defaults |= {"maximize": False}
    count_optional = True  # timm and the packages of authors save none
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return signum(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)
        if group["momentum"] >= 1:
            raise ValueError(f"momentum={group['momentum']!r} must be < 1")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return {
            "lr": group["lr"],
            "momentum_comp": 1 - group["momentum"],
            "decay": decay_rate(group),
        }
