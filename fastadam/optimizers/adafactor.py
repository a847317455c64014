"""Adafactor: N. Shazeer and M. Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory
Cost, ICML 2018, algorithms 4 and 5, as PyTorch implements them."""

import math
from functools import cache
from typing import Any

from ..optimizer import Optimizer
from ..rules import Factors, Rule, lerp, rule, squared
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

CONSTANTS = ("relative_step", "beta2_comp", "eps1", "most", "eps2", "d", "decay")
LARGEST = 3e38  # of float32, nearly


@cache
def adafactor(
    eps: bool = True, maximize: bool = False, cautious_weight_decay: bool = False
) -> Rule:
    """The rule for these flags; without `eps` the least variance is that of the arithmetic."""
    decay = decay_function(cautious_weight_decay)

    def epsilon(h):
        return h.eps1 if eps else abs(3.0 * (4.0 / 3.0 - 1.0) - 1.0)  # that of rounding

    def bounded(root, h):
        return min(root, h.most if eps else 1.0 / epsilon(h))

    def scaled(grad, inverse_root, h):
        return (-grad if maximize else grad) * bounded(inverse_root, h)

    def squares(param, update):
        return squared(param), squared(update)

    def updated(param, update, h, s):
        size = max(h.eps2, math.sqrt(s.param_squares / s.size))
        step = h.relative_step * size / max(1.0, math.sqrt(s.update_squares / s.size) / h.d)
        return param - decay(step * update, param, h.decay)

    def averaged(number, mean, h):
        return lerp(number, mean, h.beta2_comp)

    def row_factor(row_var, mean, h):
        return 1.0 / math.sqrt(row_var / max(mean, epsilon(h)))

    def column_factor(col_var, h):
        return 1.0 / math.sqrt(col_var)

    def term(grad, h):
        return squared(grad)

    def factored(grad, state, h):
        return scaled(grad, state[0] * state[1], h)

    def factored_squares(param, grad, state, h):
        return squares(param, factored(grad, state, h))

    def averaged_variance(grad, state, h):
        return averaged(state[0], grad * grad, h)

    def own_squares(param, grad, state, h):
        variance = averaged_variance(grad, state, h)
        return squares(param, scaled(grad, 1.0 / math.sqrt(variance), h))

    names = ("param_squares", "update_squares")
    sums: dict[str, Any] = {"hyper": CONSTANTS, "sums": names, "over": "tensor"}
    factors = Factors(term, averaged, row_factor, column_factor)

    @rule(state=("row_var", "col_var"), prepare=factored_squares, factors=factors, **sums)
    def adafactor_matrices(param, grad, state, h, s):
        return updated(param, factored(grad, state, h), h, s), state

    @rule(state=("variance",), prepare=own_squares, matrices=adafactor_matrices, **sums)
    def adafactor(param, grad, state, h, s):
        variance = averaged_variance(grad, state, h)
        update = scaled(grad, 1.0 / math.sqrt(variance), h)
        return updated(param, update, h, s), (variance,)

    return adafactor


class Adafactor(Optimizer):
    """Adafactor: a second moment with one number for each row and each column, as in PyTorch.

    For a matrix of r rows and c columns, with the gradient g and b = t**beta2_decay:

        row_var = (1 - b) * row_var + b * mean(g**2)         over each row
        col_var = (1 - b) * col_var + b * mean(g**2)         over each column
        v = row_var * col_var / max(mean(row_var), eps1)     of each element
        u = g / max(sqrt(v), eps1)
        a = min(lr, 1 / sqrt(t)) * max(eps2, rms(p))
        p = p - lr * weight_decay * p - a * u / max(1, rms(u) / d)

    `rms` is the root of the mean of squares of a whole array. An array of more than two dimensions
    is matrices in its last two; one of fewer dimensions has a `variance` for each element instead,
    v = (1 - b) * v + b * g**2. As in PyTorch, unlike the paper, `lr` bounds the relative step (the
    paper has a constant, 1e-2), and `eps1` is not added to squares but bounds the root. State:
    `row_var` and `col_var`, of the shape of the parameter with one column or one row, or
    `variance`; the first two in the dtype of the arithmetic. A step has three passes over memory.
    Per float32 element: 0 bytes of state, 24 bytes of traffic per step, of a matrix; 4 bytes of
    state for each row and each column.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: the largest relative step, default 1e-2; a number >= 0 or a function of the step.
        beta2_decay: the exponent of the weight of a new square, at most 0, default -0.8.
        eps: the pair of eps1, default None, which is the relative rounding error of the arithmetic
            (PyTorch: of the dtype of the parameter), and eps2, the least `rms` of a parameter,
            default 1e-3.
        d: the largest `rms` of an update, at least 1, default 1.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Raises:
        ValueError: for `beta2_decay` above 0, `d` below 1, and complex parameters.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones((2, 3))
        >>> opt = fa.Adafactor(w, lr=0.1)
        >>> info = opt.step(np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]))
        >>> w.round(3)  # g**2 is a product of a column and a row, so all updates are equal
        array([[0.9, 0.9, 0.9],
               [0.9, 0.9, 0.9]])
        >>> opt.state["row_var"][0].shape, opt.state["col_var"][0].shape
        ((2, 1), (1, 3))
    """

    rule = adafactor()
    defaults = {"lr": 1e-2, "beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0}
    defaults |= {"weight_decay": 0.0, **DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        known = group["eps"][0] is not None
        return adafactor(known, group["maximize"], group["cautious_weight_decay"])

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)
        if group["beta2_decay"] > 0:
            raise ValueError(f"beta2_decay={group['beta2_decay']!r} must be at most 0")
        if group["d"] < 1:
            raise ValueError(f"d={group['d']!r} must be at least 1")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        eps1, eps2 = group["eps"]
        eps1 = eps1 or 0.0
        return {
            "relative_step": min(group["lr"], 1 / math.sqrt(step)),
            "beta2_comp": step ** group["beta2_decay"],
            "eps1": eps1,
            "most": 1 / eps1 if eps1 * LARGEST > 1 else math.inf,
            "eps2": eps2,
            "d": group["d"],
            "decay": decay_rate(group),
        }
