"""RMSprop: T. Tieleman and G. Hinton, Lecture 6.5 of Neural Networks for Machine Learning, 2012.

Centered: A. Graves, Generating Sequences with Recurrent Neural Networks, arXiv 2013, section 5.2.
"""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, lerp, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

CONSTANTS = ("lr", "alpha", "alpha_comp", "eps", "weight_decay", "momentum")


@variants
def rmsprop(
    centered=False,
    momentum=False,
    maximize=False,
    eps_in_sqrt=False,
    lr_in_momentum=False,
    decoupled_weight_decay=False,
    cautious_weight_decay=False,
):
    """The rule for these flags."""
    decay, buffer = decay_function(cautious_weight_decay), "momentum_buffer"
    if lr_in_momentum:
        buffer = "velocity"
    more = ("grad_avg",) * centered + (buffer,) * momentum

    @rule(state=("square_avg",) + more, hyper=CONSTANTS, exact=centered)
    def rmsprop(param, grad, state, h):
        if maximize:
            grad = -grad
        if not decoupled_weight_decay:
            grad = decayed(grad, param, h.weight_decay)
        square_avg = h.alpha * state[0] + h.alpha_comp * grad * grad
        new = (square_avg,)
        variance = square_avg
        if centered:
            grad_avg = lerp(state[1], grad, h.alpha_comp)
            variance = square_avg - grad_avg * grad_avg
            new = new + (grad_avg,)
        if eps_in_sqrt:
            update = grad / math.sqrt(variance + h.eps)
        else:
            update = grad / (math.sqrt(variance) + h.eps)
        if lr_in_momentum:
            update = h.lr * update
        if momentum:
            update = h.momentum * state[-1] + update
            new = new + (update,)
        if not lr_in_momentum:
            update = h.lr * update
        if decoupled_weight_decay:
            update = decay(update, param, h.weight_decay)
        return param - update, new

    return rmsprop


class RMSprop(Optimizer):
    """RMSprop, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        v = alpha * v + (1 - alpha) * g**2
        p = p - lr * g / (sqrt(v) + eps)

    With `centered`, the square of the mean gradient is subtracted from v. With `momentum`, the
    quotient enters a buffer, `b = momentum * b + g / (sqrt(v) + eps)`, and the update is `lr * b`.
    Keras, TensorFlow and optax have eps inside the root: `eps_in_sqrt`. The former two have lr in
    the buffer: with `lr_in_momentum`, `b = momentum * b + lr * g / (sqrt(v) + eps)` is the update.

    State: `square_avg` (v). Per float32 element: 4 bytes of state, 20 bytes of traffic per step; 8
    and 28 with `centered`, which adds `grad_avg`; 8 and 28 with `momentum`, which adds
    `momentum_buffer`, or with `lr_in_momentum` `velocity`.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        alpha: decay rate of the averages, in [0, 1), default 0.99 (Hinton: 0.9).
        eps: added to the root, default 1e-8.
        eps_in_sqrt: add eps to the number under the root instead, default False.
        lr_in_momentum: include lr in the buffer, default False.
        weight_decay: decay of the parameter, coupled (L2), default 0.
        decoupled_weight_decay: decay the parameter by `lr * weight_decay * p` instead, as in Keras,
            default False.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
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
    defaults |= {"decoupled_weight_decay": False, **DECAY_OPTIONS, "centered": False}
    defaults |= {"eps_in_sqrt": False, "lr_in_momentum": False, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return rmsprop(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        names = ("lr", "alpha", "eps", "weight_decay", "momentum")
        constants = {name: group[name] for name in names} | {"alpha_comp": 1 - group["alpha"]}
        if group["decoupled_weight_decay"]:
            constants["weight_decay"] = decay_rate(group)
        return constants
