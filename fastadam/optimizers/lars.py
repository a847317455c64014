"""LARS: Y. You, I. Gitman and B. Ginsburg, Large Batch Training of Convolutional Networks, arXiv
2017."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, rule, squared, variants


@variants
def lars(adapt=False, momentum=False, nesterov=False, trust_clip=False, maximize=False):
    """The rule for these flags."""

    def squares(param, grad, state, h):
        return squared(param), squared(grad)

    def trust(h, s):
        param, grad = math.sqrt(s.param_squares), math.sqrt(s.grad_squares)
        ratio = h.trust_coefficient * param / (grad + h.weight_decay * param + h.eps)
        ratio = ratio if param > 0.0 and grad > 0.0 else 1.0
        return min(ratio / h.lr, 1.0) if trust_clip else ratio

    def descent(param, grad, state, h):
        if not momentum:
            return param - h.lr * grad, state
        momentum_buffer = h.momentum * state[0] + grad
        step = h.momentum * momentum_buffer + grad if nesterov else momentum_buffer
        return param - h.lr * step, (momentum_buffer,)

    names = {
        "state": ("momentum_buffer",) * momentum,
        "hyper": ("lr", "momentum", "weight_decay", "trust_coefficient", "eps"),
    }

    @rule(**names)
    def plain(param, grad, state, h):
        grad = decayed(-grad if maximize else grad, param, h.weight_decay)
        return descent(param, grad, state, h)

    @rule(**names, sums=("param_squares", "grad_squares"), over="tensor", prepare=squares)
    def lars(param, grad, state, h, s):
        grad = decayed(-grad if maximize else grad, param, h.weight_decay)
        return descent(param, trust(h, s) * grad, state, h)

    return lars if adapt else plain


class LARS(Optimizer):
    """LARS: SGD with the gradient of each array scaled in proportion to the norm of the array.

        r = trust_coefficient * norm(p) / (norm(g) + weight_decay * norm(p) + eps)
        b = momentum * b + r * (g + weight_decay * p)
        p = p - lr * b

    The norms are over one array; r is 1 if either is 0. As in timm, `lr` is outside of the momentum
    (the paper: inside). State: `momentum_buffer` (b). A step has two passes over memory. Per
    float32 element: 4 bytes of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1.0; a number >= 0 or a function of the step.
        momentum: decay rate of the momentum, default 0.9; 0 keeps no state.
        weight_decay: coupled (L2) decay: `weight_decay * p` is added to the gradient, default 0.
        trust_coefficient: the length of an update relative to that of the array, default 1e-3.
        eps: added to the denominator of r, default 1e-8.
        adapt: False leaves out r, for groups of biases and normalizations, default True.
        trust_clip: True replaces r by min(r / lr, 1) (LARC), default False.
        nesterov: Nesterov momentum, default False.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.array([3.0, 4.0])
        >>> info = fa.LARS(w, lr=1.0, trust_coefficient=0.1).step(np.array([60.0, -80.0]))
        >>> (w - [3, 4]).round(6)  # of length 0.1 * 5
        array([-0.3,  0.4])
    """

    rule = lars(adapt=True, momentum=True)
    defaults = {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.0, "trust_coefficient": 1e-3}
    defaults |= {"eps": 1e-8, "adapt": True, "trust_clip": False, "nesterov": False}
    defaults |= {"maximize": False}
    count_optional = True  # timm and the packages of authors save none
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return lars(group)

    def check(self, group: dict[str, Any]) -> None:
        if group["nesterov"] and not group["momentum"]:
            raise ValueError("nesterov=True needs a momentum; give momentum=0.9")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return {name: group[name] for name in self.rule.hyper}
