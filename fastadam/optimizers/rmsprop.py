"""RMSprop: T. Tieleman and G. Hinton, Lecture 6.5 of Neural Networks for Machine Learning, 2012.

Centered: A. Graves, Generating Sequences with Recurrent Neural Networks, arXiv 2013, section 5.2.
"""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, lerp, rule, variants

CONSTANTS = ("lr", "alpha", "alpha_comp", "eps", "weight_decay", "momentum")


@variants
def rmsprop(centered=False, momentum=False, maximize=False):
    """The rule for these flags."""
    more = ("grad_avg",) * centered + ("momentum_buffer",) * momentum

    @rule(state=("square_avg",) + more, hyper=CONSTANTS, exact=centered)
    def rmsprop(param, grad, state, h):
        if maximize:
            grad = -grad
        grad = decayed(grad, param, h.weight_decay)
        square_avg = h.alpha * state[0] + h.alpha_comp * grad * grad
        new = (square_avg,)
        variance = square_avg
        if centered:
            grad_avg = lerp(state[1], grad, h.alpha_comp)
            variance = square_avg - grad_avg * grad_avg
            new = new + (grad_avg,)
        update = grad / (math.sqrt(variance) + h.eps)
        if momentum:
            update = h.momentum * state[-1] + update
            new = new + (update,)
        return param - h.lr * update, new

    return rmsprop


class RMSprop(Optimizer):
    """RMSprop, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        v = alpha * v + (1 - alpha) * g**2
        p = p - lr * g / (sqrt(v) + eps)

    With `centered`, the square of the mean gradient is subtracted from v. With `momentum`, the
    quotient enters a buffer, `b = momentum * b + g / (sqrt(v) + eps)`, and the update is `lr * b`.
    eps is added outside the root (Keras and optax: inside).

    State: `square_avg` (v). Per float32 element: 4 bytes of state, 20 bytes of traffic per step; 8
    and 28 with `centered`, which adds `grad_avg`; 8 and 28 with `momentum`, which adds
    `momentum_buffer`.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        alpha: decay rate of the averages, in [0, 1), default 0.99 (Hinton: 0.9).
        eps: added to the root, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        momentum: momentum factor, default 0: no buffer.
        centered: divide by the standard deviation instead of the root mean square, default False;
            an error with state in low precision, since the variance is a difference of states.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.RMSprop(w, lr=0.05).step(np.array([3.0, -1.0]))
        >>> w.round(6)
        array([0.5, 1.5])
    """

    rule = rmsprop()
    defaults = {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0}
    defaults |= {"centered": False, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return rmsprop(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        names = ("lr", "alpha", "eps", "weight_decay", "momentum")
        return {name: group[name] for name in names} | {"alpha_comp": 1 - group["alpha"]}
