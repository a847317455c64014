"""Adam: D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.

Decoupled weight decay: I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, ICLR
2019. AMSGrad: S. J. Reddi, S. Kale and S. Kumar, On the Convergence of Adam and Beyond, ICLR 2018.
"""

import math
from functools import cache
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, rule

CONSTANTS = ("step_size", "beta1_comp", "beta2", "beta2_comp", "root_scale", "eps", "decay")


@cache
def adam(*, amsgrad: bool = False, maximize: bool = False, decoupled: bool = False) -> Rule:
    """The rule, by what is compiled into it."""
    states = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")

    @rule(state=states, hyper=CONSTANTS)
    def adam(param, grad, state, h):
        exp_avg, exp_avg_sq = state[:2]
        if maximize:
            grad = -grad
        if not decoupled:
            grad = grad + h.decay * param
        exp_avg = exp_avg + h.beta1_comp * (grad - exp_avg)
        exp_avg_sq = h.beta2 * exp_avg_sq + h.beta2_comp * grad * grad
        new_state = (exp_avg, exp_avg_sq)
        second = exp_avg_sq
        if amsgrad:
            second = max(exp_avg_sq, state[2])
            new_state = (exp_avg, exp_avg_sq, second)
        update = h.step_size * (exp_avg / (math.sqrt(second) * h.root_scale + h.eps))
        if decoupled:
            update = update + h.decay * param
        return param - update, new_state

    return adam


class Adam(Optimizer):
    r"""Adam, as PyTorch computes it.

    With the gradient \(g_t\) (plus `weight_decay` times the parameter):

    $$m_t = \beta_1 m_{t-1} + (1-\beta_1)\, g_t, \qquad
      v_t = \beta_2 v_{t-1} + (1-\beta_2)\, g_t^2$$
    $$p_t = p_{t-1} - \mathrm{lr}\,
      \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)} + \mathrm{eps}}$$

    State: `exp_avg` and `exp_avg_sq` (and `max_exp_avg_sq` with `amsgrad`), 8 bytes per float32
    parameter (12). A step moves 28 bytes per float32 element (36).

    Args:
        params: the arrays to move; see [Optimizer][fastadam.Optimizer].
        lr: step size, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the two moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay, `g + weight_decay * p` through the moments, default 0.
        amsgrad: divide by the root of the largest \(v\) so far, uncorrected as in PyTorch (optax
            takes the largest corrected one), default False.
        maximize: climb instead of descending, default False.
        decoupled_weight_decay: decay the parameter instead, as [AdamW][fastadam.AdamW] does,
            default False.
        bias_correction: False leaves out both corrections \(1-\beta^t\), default True.
        eps_mode: "torch", or "hat" for the epsilon of TensorFlow and Keras, added to the
            uncorrected root: \(\mathrm{lr}\sqrt{1-\beta_2^t}/(1-\beta_1^t) \cdot m_t /
            (\sqrt{v_t} + \mathrm{eps})\). Keras' own default there is eps=1e-7.
        threads: how many threads a step may use; default [set_threads][fastadam.set_threads].

    Raises:
        TypeError: for an unknown argument or one of the wrong kind.
        ValueError: for a number out of range, or arrays that cannot move in place.

    Example:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(3, np.float32)
        >>> opt = fa.Adam(w, lr=0.1)
        >>> opt.step(np.array([1, -2, 3], np.float32)).step
        1
        >>> w
        array([0.9, 1.1, 0.9], dtype=float32)
    """

    rule = adam()
    defaults = {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "amsgrad": False,
        "maximize": False,
        "decoupled_weight_decay": False,
        "bias_correction": True,
        "eps_mode": "torch",
    }

    def variant(self, group: dict[str, Any]) -> Rule:
        return adam(
            amsgrad=group["amsgrad"],
            maximize=group["maximize"],
            decoupled=group["decoupled_weight_decay"],
        )

    def check(self, group: dict[str, Any]) -> None:
        if group["eps_mode"] not in ("torch", "hat"):
            raise ValueError(f"eps_mode={group['eps_mode']!r}; give 'torch' or 'hat'")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        correction1 = root_correction2 = 1.0
        if group["bias_correction"]:
            correction1, root_correction2 = 1 - beta1**step, math.sqrt(1 - beta2**step)
        hat = group["eps_mode"] == "hat"
        return {
            "step_size": lr / correction1 * (root_correction2 if hat else 1.0),
            "beta1_comp": 1 - beta1,
            "beta2": beta2,
            "beta2_comp": 1 - beta2,
            "root_scale": 1.0 if hat else 1 / root_correction2,
            "eps": group["eps"],
            "decay": lr * decay if group["decoupled_weight_decay"] else decay,
        }
