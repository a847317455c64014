"""SGD: H. Robbins and S. Monro, A Stochastic Approximation Method, Ann. Math. Statist. 1951.

Momentum: B. T. Polyak, Some Methods of Speeding up the Convergence of Iteration Methods, 1964.
Nesterov's: I. Sutskever et al., On the Importance of Initialization and Momentum, ICML 2013.
Decoupled decay: I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
"""

from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, rule, sign, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate


@variants
def sgd(
    momentum=False,
    nesterov=False,
    maximize=False,
    l1=False,
    decoupled_weight_decay=False,
    cautious_weight_decay=False,
    lr_in_momentum=False,
):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    @rule(
        state=(("velocity" if lr_in_momentum else "momentum_buffer"),) * momentum,
        hyper=("lr", "weight_decay", "l1", "momentum", "dampening_comp", "keep"),
    )
    def sgd(param, grad, state, h):
        if maximize:
            grad = -grad
        if not decoupled_weight_decay:
            grad = decayed(grad, param, h.weight_decay)
        if l1:
            grad = grad + h.l1 * sign(param)
        if momentum:
            buffer = h.keep * state[0] + h.dampening_comp * grad
            state = (buffer,)
            if lr_in_momentum:
                update = h.lr * grad + h.momentum * buffer if nesterov else buffer
            else:
                update = h.lr * (grad + h.momentum * buffer if nesterov else buffer)
        else:
            update = h.lr * grad
        if decoupled_weight_decay:
            update = decay(update, param, h.weight_decay)
        return param - update, state

    return sgd


@variants
def coasting(momentum=False, lr_in_momentum=False):
    """The rule of steps without a gradient: the buffer moves the parameter, and decays."""
    buffer = "velocity" if lr_in_momentum else "momentum_buffer"

    @rule(state=(buffer,) * momentum, hyper=("idle_keep", "idle_buffer", "idle_move"))
    def coasting(param, grad, state, h):
        param = param * h.idle_keep
        if momentum:
            param = param - h.idle_move * state[0]
            state = (state[0] * h.idle_buffer,)
        return param, state

    return coasting


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum, as PyTorch computes it.

    With the gradient g, to which `weight_decay * p + l1 * sign(p)` is added:

        b = momentum * b + (1 - dampening) * g    (b = g at the first step)
        p = p - lr * b                            (nesterov: p - lr * (g + momentum * b))

    Without momentum b is g; if momentum is enabled later, its buffer starts with the gradient of
    that step. With `lr_in_momentum` the buffer includes lr, as in Keras and TensorFlow, which
    differs once lr changes:

        b = momentum * b + lr * g
        p = p - b                                 (nesterov: p - (lr * g + momentum * b))

    State: none. Per float32 element: 0 bytes of state, 12 bytes of traffic per step; 4 and 20 with
    `momentum`, which adds `momentum_buffer` (b), or with `lr_in_momentum` `velocity`.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        momentum: momentum factor, default 0: no buffer.
        dampening: dampening of the gradient in the buffer after the first step, default 0.
        weight_decay: decay of the parameter, coupled (L2), default 0.
        decoupled_weight_decay: decay the parameter by `lr * weight_decay * p` instead, as in
            optimi, timm and Keras, default False.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        l1: L1 penalty; its subgradient at zero is zero, default 0.
        nesterov: Nesterov momentum; needs momentum and no dampening, default False.
        lr_in_momentum: include lr in the buffer; needs no dampening, default False.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.SGD(w, lr=0.5, momentum=0.9).step(np.array([1.0, 2.0]))
        >>> w
        array([0.5, 0. ])
    """

    rule = sgd()
    defaults = {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0}
    defaults |= {"decoupled_weight_decay": False, **DECAY_OPTIONS, "l1": 0.0, "nesterov": False}
    defaults |= {"lr_in_momentum": False, "maximize": False}
    uncounted = True
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return sgd(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)
        if group["lr_in_momentum"] and group["dampening"] != 0:
            raise ValueError(
                f"lr_in_momentum=True with dampening={group['dampening']!r}; leave dampening out"
            )
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                "nesterov=True: Nesterov momentum requires a momentum and zero dampening"
            )

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        first, decay, share = step == 1, group["weight_decay"], 1.0
        if group["decoupled_weight_decay"]:
            decay = decay_rate(group)
        if group["lr_in_momentum"]:
            share = group["lr"]
        elif not first:
            share = 1 - group["dampening"]
        return {
            "lr": group["lr"],
            "weight_decay": decay,
            "l1": group["l1"],
            "momentum": group["momentum"],
            "dampening_comp": share,
            "keep": 0.0 if first else group["momentum"],
        }

    def idle(self, group: dict[str, Any]) -> Rule:
        if group["l1"] or (group["momentum"] and group["weight_decay"]):
            raise ValueError(
                "lazy='exact' has no formula for l1, nor for weight_decay with momentum; set them "
                "to 0"
            )
        return coasting(group)

    def idle_hyper(self, group: dict[str, Any], steps: int) -> dict[str, float]:
        lr, momentum = group["lr"], group["momentum"]
        powers = steps * 1.0 if momentum == 1 else (1 - momentum**steps) / (1 - momentum)
        nesterov = momentum if group["nesterov"] else 1.0
        decay = decay_rate(group) if group["decoupled_weight_decay"] else lr * group["weight_decay"]
        return {
            "idle_keep": (1 - decay) ** steps,
            "idle_buffer": momentum**steps,
            "idle_move": (1.0 if group["lr_in_momentum"] else lr) * nesterov * momentum * powers,
        }
