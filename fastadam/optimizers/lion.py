"""Lion: X. Chen et al., Symbolic Discovery of Optimization Algorithms, NeurIPS 2023."""

from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, sign, variants
from .cautious import AGREEING, agreed, agreement, cautiously
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate


@variants
def lion(maximize=False, cautious_weight_decay=False, cautious=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)
    names = {"state": ("exp_avg",), "hyper": ("lr", "beta1_comp", "beta2_comp", "decay")}

    def direction(grad, state, h):
        if maximize:
            grad = -grad
        return lerp(state[0], grad, h.beta1_comp), grad, (lerp(state[0], grad, h.beta2_comp),)

    @rule(**names)
    def lion(param, grad, state, h):
        blended, _, new = direction(grad, state, h)
        return param - decay(h.lr * sign(blended), param, h.decay), new

    def agreeing(param, grad, state, h):
        blended, grad, _ = direction(grad, state, h)
        return agreement(blended, grad)

    @rule(**names, sums=AGREEING, prepare=agreeing)
    def cautious_lion(param, grad, state, h, s):
        blended, grad, new = direction(grad, state, h)
        update = cautiously(agreed(h.lr * sign(blended), blended, grad), s)
        return param - decay(update, param, h.decay), new

    return cautious_lion if cautious else lion


class Lion(Optimizer):
    """Lion: the sign of an interpolated momentum, with decoupled weight decay.

        c = beta1 * m + (1 - beta1) * g
        m = beta2 * m + (1 - beta2) * g
        p = p - lr * weight_decay * p - lr * sign(c)

    The sign of zero is zero: an element with zero gradient and momentum is not changed (DeepSpeed's
    CPU kernel changes it). State: `exp_avg` (m). Per float32 element: 4 bytes of state, 20 bytes of
    traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, the size of each element's update, default 1e-4; a third to a tenth of
            AdamW's is usual.
        betas: of the direction and of the momentum, each in [0, 1), default (0.9, 0.99).
        weight_decay: decay of the parameter in units of `lr`, default 0 (optax 1e-3).
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.
        cautious: True updates only elements with `c * g > 0`, as `fa.Adam` does
            (the authors' Lion counts one element more), default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(3)
        >>> info = fa.Lion(w, lr=0.25).step(np.array([0.1, 0.0, -7.0]))
        >>> w
        array([0.75, 1.  , 1.25])
    """

    rule = lion()
    defaults = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0, **DECAY_OPTIONS}
    defaults |= {"maximize": False, "cautious": False}
    count_optional = True  # timm and the packages of authors save none
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return lion(group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        return {
            "lr": lr,
            "beta1_comp": 1 - beta1,
            "beta2_comp": 1 - beta2,
            "decay": decay_rate(group),
        }
