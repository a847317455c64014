"""RowwiseAdagrad: D. Mudigere et al., Software-Hardware Co-design for Fast and Scalable Training of
Deep Learning Recommendation Models, ISCA 2022.

The `EXACT_ROWWISE_ADAGRAD` of FBGEMM's embedding tables.
"""

import math
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, decayed, rule, squared, variants


@variants
def rowwise_adagrad(decoupled_weight_decay=False, maximize=False):
    """The rule for these flags."""

    def gradient(param, grad, h):
        grad = -grad if maximize else grad
        return grad if decoupled_weight_decay else decayed(grad, param, h.weight_decay)

    def square(param, grad, state, h):
        return (squared(gradient(param, grad, h)),)

    @rule(
        state=("sum",),
        hyper=("step_size", "eps", "weight_decay"),
        sums=("squares",),
        over="row",
        prepare=square,
        row_state=("sum",),
    )
    def rowwise_adagrad(param, grad, state, h, s):
        grad = gradient(param, grad, h)
        sum_sq = state[0] + s.squares / s.size
        if decoupled_weight_decay:
            param = param - h.weight_decay * param
        return param - h.step_size / (math.sqrt(sum_sq) + h.eps) * grad, (sum_sq,)

    return rowwise_adagrad


class RowwiseAdagrad(Optimizer):
    """Row-wise Adagrad: Adagrad with one sum for each row of a table, as FBGEMM computes it.

    With the gradient g of a row of d elements, to which `weight_decay` times the row is added:

        s = s + sum(g**2) / d
        p = p - lr / (1 + (t - 1) * lr_decay) / (sqrt(s) + eps) * g

    Rows are counted by the first dimension; the elements of an array of one dimension are rows of
    one, for which this is `fa.Adagrad`. (torchrec's class of that name squares the
    mean of the gradient.) For the rows of a gradient
    `fa.Rows` other rows, and their sums, stay as they are. State: `sum` (s), of one
    number for each row, in the dtype of the arithmetic. A step reads a row twice while it is in the
    cache. Per float32 element: 0 bytes of state, 12 bytes of traffic per step if its row has a
    gradient; 4 bytes of state for each row.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        lr_decay: decay rate of the learning rate, default 0.
        weight_decay: decay of the parameter, default 0.
        decoupled_weight_decay: True takes lr * weight_decay * p off p instead, default False.
        initial_accumulator_value: initial value of the sum, default 0.
        eps: added to the root, default 1e-8.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> table = np.ones((3, 2))
        >>> opt = fa.RowwiseAdagrad(table, lr=0.5)
        >>> info = opt.step(fa.Rows([2], np.array([[3.0, -1.0]])))
        >>> opt.state["sum"][0]
        array([0., 0., 5.])
    """

    rule = rowwise_adagrad()
    defaults = {"lr": 1e-2, "lr_decay": 0.0, "weight_decay": 0.0, "decoupled_weight_decay": False}
    defaults |= {"initial_accumulator_value": 0.0, "eps": 1e-8, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return rowwise_adagrad(group)

    def initial(self, group: dict[str, Any]) -> dict[str, float]:
        return {"sum": group["initial_accumulator_value"]}

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        step_size = group["lr"] / (1 + (step - 1) * group["lr_decay"])
        rate = step_size if group["decoupled_weight_decay"] else 1.0
        return {
            "step_size": step_size,
            "eps": group["eps"],
            "weight_decay": rate * group["weight_decay"],
        }
