"""Rprop: M. Riedmiller and H. Braun, A Direct Adaptive Method for Faster Backpropagation Learning:
The RPROP Algorithm, ICNN 1993."""

from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, rule, sign, variants


@variants
def rprop(maximize=False):
    """The rule for these flags."""

    @rule(state=("prev", "step_size"), hyper=("shrink", "grow", "smallest", "largest"), exact=True)
    def rprop(param, grad, state, h):
        prev, step_size = state
        if maximize:
            grad = -grad
        agreement = grad * prev
        turned = agreement < 0.0
        step_size = step_size * (
            h.shrink if turned else h.grow if agreement > 0.0 else agreement + 1.0  # NaN stays
        )
        step_size = min(max(step_size, h.smallest), h.largest)
        grad = 0.0 if turned else grad
        return param - sign(grad) * step_size, (grad, step_size)

    return rprop


class Rprop(Optimizer):
    """Resilient backpropagation, as PyTorch computes it, for gradients of the whole data set.

    Every element has a step size h, which grows while the sign of its gradient stays the same:

        h = min(h * etas[1], step_sizes[1])         if g * g_previous > 0
        h = max(h * etas[0], step_sizes[0]), g = 0  if g * g_previous < 0
        p = p - sign(g) * h

    (The 1993 paper takes the last step back in the second case; this is the variant iRprop-.)
    State: `prev` (g) and `step_size` (h); in low precision they are refused, since products of step
    sizes accumulate. Per float32 element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: the step size at the first step, default 1e-2; later values have no effect.
        etas: the factors of h, with 0 < etas[0] < 1 < etas[1], default (0.5, 1.2).
        step_sizes: the least and the largest h, default (1e-6, 50).
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> opt = fa.Rprop(w, lr=0.25)
        >>> for grad in ([1.0, -2.0], [3.0, 2.0]):
        ...     info = opt.step(np.array(grad))
        >>> w
        array([0.45, 1.25])
    """

    rule = rprop()
    defaults = {"lr": 1e-2, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0), "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return rprop(group)

    def check(self, group: dict[str, Any]) -> None:
        shrink, grow = group["etas"]
        if not 0 < shrink < 1 < grow:
            raise ValueError(
                f"etas={group['etas']!r} must be two numbers with 0 < etas[0] < 1 < etas[1]"
            )
        least, most = group["step_sizes"]
        if not 0 <= least <= most:
            raise ValueError(
                f"step_sizes={group['step_sizes']!r} must be two numbers with 0 <= least <= largest"
            )

    def initial(self, group: dict[str, Any]) -> dict[str, float]:
        return {"step_size": group["lr"]}

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        (shrink, grow), (smallest, largest) = group["etas"], group["step_sizes"]
        return {"shrink": shrink, "grow": grow, "smallest": smallest, "largest": largest}
