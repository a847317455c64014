"""AdamMini: Y. Zhang et al., Adam-mini: Use Fewer Learning Rates To Gain More, ICLR 2025."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, squared
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate


def block_length(blocks: int) -> Callable[[Sequence[int]], int]:
    """The function from a shape to the number of elements of a block; see `AdamMini`."""

    def length(shape: Sequence[int]) -> int:
        size = math.prod(shape)
        count = blocks or (shape[0] if len(shape) > 1 else 1)
        if size % max(1, count):
            raise ValueError(
                f"blocks={blocks} do not divide an array of shape {tuple(shape)} evenly; "
                f"give a divisor of its {size} elements"
            )
        return size // max(1, count)

    return length


@cache
def adam_mini(blocks: int = 0, maximize: bool = False, cautious_weight_decay: bool = False) -> Rule:
    """The rule for these flags, and for so many blocks in each parameter."""
    decay = decay_function(cautious_weight_decay)

    def square(param, grad, state, h):
        return (squared(grad),)

    @rule(
        state=("exp_avg", "vmean"),
        hyper=("step_size", "beta1_comp", "beta2_comp", "root_scale", "eps", "decay"),
        sums=("squares",),
        over="row",
        prepare=square,
        row_state=("vmean",),
        row_length=block_length(blocks),
    )
    def adam_mini(param, grad, state, h, s):
        if maximize:
            grad = -grad
        exp_avg = lerp(state[0], grad, h.beta1_comp)
        vmean = lerp(state[1], s.squares / s.size, h.beta2_comp)
        update = h.step_size / (math.sqrt(vmean) * h.root_scale + h.eps) * exp_avg
        return param - decay(update, param, h.decay), (exp_avg, vmean)

    return adam_mini


class AdamMini(Optimizer):
    """Adam-mini: AdamW with one second moment for each block of a parameter, such as a row.

    With the mean of g**2 over the d elements of a block:

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * sum(g**2) / d
        p = p - lr * weight_decay * p
              - lr / (1 - beta1**t) / (sqrt(v) / sqrt(1 - beta2**t) + eps) * m

    Blocks as in the paper's partition for transformers: rows, that is output neurons or tokens, of
    arrays of two dimensions or more, whose first dimension counts them; arrays of one dimension are
    one block; query and key have a block for each head: give them a group with `blocks=`. (The
    package adam-mini decides by the names of parameters: matrices with unknown names are one block
    there, as with `blocks=1`, and biases are updated as by `fa.AdamW`.) State: `exp_avg` (m), and
    `vmean` (v) of one number for each block, in the dtype of the arithmetic. A step reads a block
    twice, in one thread. Per float32 element: 4 bytes of state, 20 bytes of traffic per step; 4
    bytes of state for each block.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        blocks: the number of blocks of each array, which have the same length, such as attention
            heads; 1: the array is one block; default 0: the blocks described above.
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones((2, 2))
        >>> opt = fa.AdamMini(w, lr=0.5)
        >>> info = opt.step(np.array([[1.0, 7.0], [0.0, 2.0]]))
        >>> w.round(3)  # the first row has the root mean square 5
        array([[0.9  , 0.3  ],
               [1.   , 0.293]])
    """

    rule = adam_mini()
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "blocks": 0}
    defaults |= {**DECAY_OPTIONS, "maximize": False}
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return adam_mini(group["blocks"], group["maximize"], group["cautious_weight_decay"])

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        return {
            "step_size": group["lr"] / (1 - beta1**step),
            "beta1_comp": 1 - beta1,
            "beta2_comp": 1 - beta2,
            "root_scale": 1 / math.sqrt(1 - beta2**step),
            "eps": group["eps"],
            "decay": decay_rate(group),
        }
