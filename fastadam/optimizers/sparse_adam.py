"""SparseAdam: D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.

The variant at the end of section 2, for the rows that have a gradient, as in PyTorch.
"""

from typing import Any

from ..rules import Rule
from .adam import Adam, adam


class SparseAdam(Adam):
    """Adam for row-sparse gradients, as PyTorch computes it.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + eps)

    for the rows of a gradient `fa.Rows`; other rows, and their moments, stay as they
    are. t counts the steps of the whole array; `lazy="rows"` counts those of each row. eps is added
    before the correction of the root, unlike in `fa.Adam`, which takes Rows as well. A
    gradient that is an array has all rows (PyTorch: an error).

    State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step if its row has a gradient.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root of v, default 1e-8.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> table = np.ones((3, 2))
        >>> info = fa.SparseAdam(table, lr=0.5).step(fa.Rows([2], np.array([[1.0, -1.0]])))
        >>> table.round(6)
        array([[1. , 1. ],
               [1. , 1. ],
               [0.5, 1.5]])
    """

    rule = adam()
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "maximize": False}
    hyper_depends_on_step_only = True
    _REST = {name: Adam.defaults[name] for name in Adam.defaults} | {"eps_mode": "hat"}

    def variant(self, group: dict[str, Any]) -> Rule:
        return adam(group)

    def check(self, group: dict[str, Any]) -> None:
        """Accept any: there is no combination to refuse."""

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return super().hyper(self._REST | group, step)

    def idle(self, group: dict[str, Any]) -> Rule:
        return super().idle(self._REST | group)

    def idle_hyper(self, group: dict[str, Any], steps: int) -> dict[str, float]:
        return super().idle_hyper(self._REST | group, steps)
