"""Muon: K. Jordan et al., Muon: An Optimizer for Hidden Layers in Neural Networks, 2024.

Learning rates as those of AdamW: J. Liu et al., Muon is Scalable for LLM Training, arXiv 2025.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..optimizer import Optimizer
from ..rules import Rule, lerp, rule, variants
from .decoupled import DECAY_OPTIONS, check_decay, decay_function, decay_rate

MOST_STEPS = 99  # as in PyTorch


@variants
def muon(nesterov=False, maximize=False, cautious_weight_decay=False):
    """The rule for these flags."""
    decay = decay_function(cautious_weight_decay)

    def averaged(grad, state, h):
        return lerp(state[0], -grad if maximize else grad, h.momentum_comp)

    def direction(param, grad, state, h):
        buffer = averaged(grad, state, h)
        return lerp(-grad if maximize else grad, buffer, h.momentum) if nesterov else buffer

    @rule(
        state=("momentum_buffer",),
        hyper=("lr", "decay", "momentum", "momentum_comp"),
        matrix=direction,
    )
    def muon(param, grad, state, h, s):
        update = decay(h.lr * s.matrix, param, h.decay)
        return param - update, (averaged(grad, state, h),)

    return muon


class Muon(Optimizer):
    """Muon: orthogonalized momentum for matrices of hidden layers, as PyTorch computes it.

        m = momentum * m + (1 - momentum) * g
        n = momentum * m + (1 - momentum) * g     (nesterov; else n = m)
        O = orthogonalized(n)
        p = p - lr * weight_decay * p - lr * ratio * O

    `orthogonalized` divides a matrix by its Frobenius norm, at least `eps`, and takes `ns_steps`
    steps of the Newton-Schulz iteration `X = a X + (b X X^T + c (X X^T)^2) X`, which brings its
    singular values near 1. The ratio of a matrix with r rows and c columns is
    `sqrt(max(1, r / c))`, or with `adjust_lr_fn="match_rms_adamw"` `0.2 * sqrt(max(r, c))`.

    Parameters must have two dimensions; give biases, norms, embeddings and the last layer to an
    optimizer of their own, such as AdamW. The products are NumPy's, in the dtype of the arithmetic
    and in the threads of its BLAS; `fastadam.torch.Muon` has PyTorch's, in bfloat16 as
    `torch.optim.Muon`. All else is two passes over memory: one computes n, the other updates state
    and parameters. The matrices n of all parameters are kept, 4 bytes per float32 element.

    State: `momentum_buffer` (m). Per float32 element: 4 bytes of state, 36 bytes of traffic per
    step besides that of the products.

    Args:
        params: the arrays to update; see `fa.Optimizer`, which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        weight_decay: decay of the parameter in units of `lr`, default 0.1.
        momentum: decay rate of the average of gradients, default 0.95.
        nesterov: Nesterov momentum, default True.
        ns_coefficients: a, b and c of the iteration, default (3.4445, -4.775, 2.0315).
        eps: the least norm by which a matrix is divided, default 1e-7.
        ns_steps: steps of the iteration, from 0 to 99, default 5.
        adjust_lr_fn: "original" or "match_rms_adamw", the ratio above; default None: "original".
        cautious_weight_decay, weight_decay_mode, peak_lr: as for `fa.AdamW`.
        maximize: maximize the objective, default False.

    Raises:
        ValueError: for parameters that do not have two dimensions, are complex, or lie on a device.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.zeros((2, 2))
        >>> info = fa.Muon(w, lr=0.5, ns_steps=20, ns_coefficients=(1.5, -0.5, 0)).step(
        ...     np.array([[3.0, 0.0], [0.0, -1.0]])
        ... )
        >>> w.round(6)
        array([[-0.5,  0. ],
               [ 0. ,  0.5]])
    """

    rule = muon(nesterov=True)
    defaults = {"lr": 1e-3, "weight_decay": 0.1, "momentum": 0.95, "nesterov": True}
    defaults |= {"ns_coefficients": (3.4445, -4.775, 2.0315), "eps": 1e-7, "ns_steps": 5}
    defaults |= {"adjust_lr_fn": None, **DECAY_OPTIONS, "maximize": False}
    uncounted = True
    hyper_depends_on_step_only = True

    def variant(self, group: dict[str, Any]) -> Rule:
        return muon(**group)

    def check(self, group: dict[str, Any]) -> None:
        check_decay(group)
        if group["ns_steps"] > MOST_STEPS:
            raise ValueError(f"ns_steps={group['ns_steps']!r} must be at most {MOST_STEPS}")

    def hyper(self, group: dict[str, Any], step: int) -> dict[str, float]:
        momentum = group["momentum"]
        return {
            "lr": group["lr"],
            "decay": decay_rate(group),
            "momentum": momentum,
            "momentum_comp": 1 - momentum,
        }

    def transform(self, group: dict[str, Any], matrix: Any) -> None:
        with np.errstate(all="ignore"):  # NaN and infinities propagate
            found = orthogonalized(
                matrix, group["ns_coefficients"], group["ns_steps"], group["eps"]
            )
            matrix[...] = ratio(matrix.shape, group["adjust_lr_fn"]) * found


def ratio(shape: Sequence[int], adjust_lr_fn: str | None) -> float:
    """The factor of the learning rate of a matrix of this shape."""
    rows, columns = shape
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / max(1, columns)))


def orthogonalized(
    matrix: Any, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Any:
    """A matrix after so many steps of the Newton-Schulz iteration, as a new array."""
    a, b, c = coefficients
    rows, columns = matrix.shape
    x = matrix.T if rows > columns else matrix
    x = x / np.maximum(np.linalg.norm(x), matrix.dtype.type(eps))
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if rows > columns else x
