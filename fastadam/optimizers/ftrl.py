"""FTRL: H. B. McMahan et al., Ad Click Prediction: a View from the Trenches, KDD 2013."""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, rule, sign, variants


@variants
def ftrl(maximize=False):
    """The rule for these flags."""

    @rule(state=("z", "n"), hyper=("lr_inverse", "beta", "l1", "l2"), exact=True)
    def ftrl(param, grad, state, h):
        z, n = state
        if maximize:
            grad = -grad
        total = n + grad * grad
        root = math.sqrt(total)
        z = z + grad - (root - math.sqrt(n)) * h.lr_inverse * param
        pull = (z - h.l1 * sign(z)) / ((h.beta + root) * h.lr_inverse + h.l2)
        return (0.0 if abs(z) <= h.l1 else -pull), (z, total)

    return ftrl


class FTRL(Optimizer):
    """FTRL-Proximal: sparse linear models by follow-the-regularized-leader (algorithm 1).

        s = (sqrt(n + g**2) - sqrt(n)) / lr
        z = z + g - s * p
        n = n + g**2
        p = 0 if abs(z) <= l1 else -(z - sign(z) * l1) / ((beta + sqrt(n)) / lr + l2)

    The parameter follows from the state alone: start it at zero. Another start is forgotten in part
    at the first step, entirely where the first gradient is zero, as in Keras. A model without
    `l1` and `l2` is Adagrad's. Keras starts n at 0.1, with beta 0.

    State: `z` and `n`; in low precision they are refused, since differences of n are taken. Per
    float32 element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: the paper's alpha, > 0, default 0.1; a number or a function of the step.
        beta: damps the first steps, >= 0, default 1.
        l1: L1 penalty, which makes parameters exactly zero, default 0.
        l2: L2 penalty, default 0.
        initial_accumulator_value: initial value of n, default 0.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.zeros(3)
        >>> info = fa.FTRL(w, lr=0.5, l1=1.0).step(np.array([3.0, -0.5, 1.5]))
        >>> w
        array([-0.25,  0.  , -0.1 ])
    """

    rule = ftrl()
    defaults = {"lr": 0.1, "beta": 1.0, "l1": 0.0, "l2": 0.0, "initial_accumulator_value": 0.0}
    defaults |= {"maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return ftrl(group)

    def check(self, group: dict[str, Any]) -> None:
        if group["lr"] == 0:
            raise ValueError("lr=0: FTRL divides by lr; give a number > 0")
        if group["beta"] < 0:
            raise ValueError(f"beta={group['beta']!r} must be >= 0")

    def initial(self, group: dict[str, Any]) -> dict[str, float]:
        return {"n": group["initial_accumulator_value"]}

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        if group["lr"] == 0:
            raise ValueError("lr=0: FTRL divides by lr; let the schedule end above zero")
        return {"lr_inverse": 1 / group["lr"]} | {k: group[k] for k in ("beta", "l1", "l2")}
