"""AdamW: I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019."""

from typing import Any

from .adam import Adam, adam


class AdamW(Adam):
    """Adam with decoupled weight decay, as PyTorch computes it.

        p = p - lr * weight_decay * p - lr * m_hat / (sqrt(v_hat) + eps)

    m_hat and v_hat are the corrected moments of `fa.Adam`. The decay is computed from
    the old parameter and does not enter the moments. (bitsandbytes' CUDA kernel decays after the
    update.) PyTorch rounds `1 - lr * weight_decay` to the dtype; here the product is rounded, which
    preserves the digits of a small decay.

    State: `exp_avg` and `exp_avg_sq`. Per float32 element: 8 bytes of state, 28 bytes of traffic
    per step; 12 and 36 with `amsgrad`, which adds `max_exp_avg_sq`.

    Args:
        params: the arrays to update; see `fa.Optimizer`, also for errors.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the two moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 1e-2.
        decoupled_weight_decay: cannot be False, that would be Adam; default True.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0` (L. Chen et al., Cautious Weight Decay, ICLR 2026), default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            which suits weights before a normalization (A. Defazio, Why Gradients Rapidly Increase
            Near the End of Training, arXiv 2025, algorithm 1). With "independent" it is
            `lr / peak_lr * weight_decay * p`, as in algorithm 2 of Loshchilov and Hutter: it
            follows the schedule, not the size of lr, so it must be smaller, such as 1e-5.
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        l1, amsgrad, maximize, bias_correction, eps_mode, cautious: as for `fa.Adam`.

    Raises:
        TypeError: for an unknown argument or one of the wrong type.
        ValueError: for a number out of range, or arrays that cannot be updated in place.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> flat = fa.flatten({"w": np.ones((2, 2)), "b": np.zeros(2)})
        >>> opt = fa.AdamW(flat, lr=0.1)
        >>> opt.grads.tree["w"][...] = 1
        >>> opt.step().lr
        0.1
        >>> flat.tree["w"].round(6)
        array([[0.899, 0.899],
               [0.899, 0.899]])
    """

    rule = adam(decoupled_weight_decay=True)
    defaults = Adam.defaults | {"weight_decay": 1e-2, "decoupled_weight_decay": True}

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not group["decoupled_weight_decay"]:
            raise ValueError("decoupled_weight_decay=False is Adam; use fastadam.Adam")
